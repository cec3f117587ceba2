//! What a registry answers with status 401: how it wants to be asked.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// A `WWW-Authenticate` challenge that this client can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The best challenge of a response: Bearer before Basic.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut basic = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            for (scheme, parameters) in challenges(value.to_str().ok()?) {
                let get = |name: &str| {
                    parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
                };
                if scheme.eq_ignore_ascii_case("bearer")
                    && let Some(realm) = get("realm").filter(|realm| !realm.is_empty())
                {
                    return Some(Self::Bearer { realm, service: get("service"), scope: get("scope") });
                }
                if scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                }
            }
        }
        basic
    }
}

type Parameters = Vec<(String, String)>;

/// Splits a header into its challenges. Commas separate parameters as well as challenges, so a word that is followed by
/// `=` is a parameter and any other begins a challenge.
fn challenges(text: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let trimmed = after.trim_start_matches([' ', '\t']);
        if let (Some(value), Some((_, parameters))) = (trimmed.strip_prefix('='), found.last_mut()) {
            let (value, after) = parameter_value(value.trim_start_matches([' ', '\t']));
            parameters.push((word.to_owned(), value));
            rest = after;
        } else {
            if !word.is_empty() {
                found.push((word.to_owned(), Vec::new()));
            }
            rest = after.strip_prefix('=').unwrap_or(after);
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found
}

/// A quoted string or a bare word, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (index, character) in quoted.char_indices() {
        match character {
            _ if escaped => {
                value.push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[index + 1..]),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, reqwest::header::HeaderValue::from_static(value));
        }
        Challenge::from_headers(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into), scope: scope.map(Into::into) })
    }

    #[test]
    fn challenges_are_read_in_all_their_spellings() {
        assert_eq!(
            read(&[r#"Bearer realm="https://a/t",service="r",scope="repository:x/y:pull,push""#]),
            bearer("https://a/t", Some("r"), Some("repository:x/y:pull,push"))
        );
        assert_eq!(read(&[r#"bearer service=r, realm="https://a/\"t""#]), bearer("https://a/\"t", Some("r"), None));
        assert_eq!(read(&[r#"Basic realm="x", Bearer realm="https://a/t""#]), bearer("https://a/t", None, None));
        assert_eq!(read(&[r#"Basic realm="x""#, r#"Bearer realm="https://a/t""#]), bearer("https://a/t", None, None));
        assert_eq!(read(&["Basic"]), Some(Challenge::Basic));
        assert_eq!(read(&["Negotiate abc=="]), None);
        assert_eq!(read(&["Bearer scope=x"]), None);
        assert_eq!(read(&[r#"= , =" Bearer realm="#]), None);
        assert_eq!(read(&[]), None);
    }
}
