//! The `Link` header, by which registries name the next page.

use kargo_core::{Error, ErrorKind, Result};
use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

/// The next page of what `url` returned with `headers`, if there is one.
///
/// # Errors
/// When the link leads to another origin, which a registry has no reason to do.
pub(super) fn next_page(url: &Url, headers: &HeaderMap) -> Result<Option<Url>> {
    for value in headers.get_all(LINK) {
        let Ok(text) = value.to_str() else { continue };
        let Some(target) = next_target(text) else { continue };
        let invalid = |why: &str| {
            Error::new(
                ErrorKind::InvalidResponse,
                format!("The registry {} names a next page {why}; the listing is not complete.", url.authority()),
            )
        };
        return match within_origin(url, target) {
            Some(next) => Ok(Some(next)),
            None => Err(invalid("on another host")),
        };
    }
    Ok(None)
}

/// Where `target`, absolute or relative, leads from `url`, when that is the same origin.
///
/// A registry behind a proxy that ends TLS often does not know that it is reached by https, and names itself by http. It is
/// still only asked by https.
pub(super) fn within_origin(url: &Url, target: &str) -> Option<Url> {
    let mut next = url.join(target).ok()?;
    let is_downgrade = next.scheme() == "http" && url.scheme() == "https";
    if is_downgrade && next.host_str() == url.host_str() && next.port().is_none() {
        next.set_scheme("https").ok()?;
    }
    let is_same = next.origin() == url.origin() && next.username().is_empty() && next.password().is_none();
    is_same.then_some(next)
}

/// The target of the first link whose relation is `next`.
fn next_target(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        // The parameters end where the next link begins.
        let end = after.find('<').unwrap_or(after.len());
        let is_next = after[..end].split([';', ',']).any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_ascii_whitespace()
                        .any(|rel| rel.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target);
        }
        rest = &after[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(value: &str) -> Result<Option<String>> {
        let url = Url::parse("https://r.example/v2/o/r/tags/list?n=100").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(LINK, value.parse().unwrap());
        next_page(&url, &headers).map(|url| url.map(String::from))
    }

    #[test]
    fn oci_01_relative_and_absolute_links_are_followed() {
        let expected = Some("https://r.example/v2/o/r/tags/list?last=b&n=100".to_owned());
        for value in [
            r#"</v2/o/r/tags/list?last=b&n=100>; rel="next""#,
            r#"<https://r.example/v2/o/r/tags/list?last=b&n=100>; rel=next"#,
            r#"<http://r.example/v2/o/r/tags/list?last=b&n=100>; rel="next""#,
            r#"<https://r.example:443/v2/o/r/tags/list?last=b&n=100>;REL="Next""#,
            r#"<list?last=b&n=100>;title="x,y"; rel="first next""#,
            r#"</first>; rel="prev", </v2/o/r/tags/list?last=b&n=100>; rel="next""#,
        ] {
            assert_eq!(next(value).unwrap(), expected, "{value}");
        }
        assert_eq!(next(r#"</first>; rel="prev""#).unwrap(), None);
        assert_eq!(next("nonsense").unwrap(), None);
    }

    #[test]
    fn a_link_to_another_origin_is_an_error() {
        for value in [
            r#"<https://evil.example/v2/o/r/tags/list>; rel="next""#,
            r#"<//evil.example/v2>; rel="next""#,
            r#"<http://r.example:8080/v2/o/r/tags/list>; rel="next""#,
            r#"<https://r.example:8443/v2/o/r/tags/list>; rel="next""#,
            r#"<https://me:pw@r.example/v2/o/r/tags/list>; rel="next""#,
        ] {
            assert_eq!(next(value).unwrap_err().kind(), ErrorKind::InvalidResponse, "{value}");
        }
    }
}
