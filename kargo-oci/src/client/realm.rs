//! Which token servers may be shown a password.
//!
//! A registry names its token server in a challenge, and whoever can answer in the registry's place could name their
//! own. So a password goes only to where it belongs: the registry itself, a host below it, a pair that is known, or a host
//! that the operator trusts. A host beside the registry is not enough: which domains belong to one owner is only known from
//! the list of public suffixes, which would be out of date in a program that is not, and lacks the domains under which cloud
//! providers put their customers' registries.

use kargo_core::{Error, ErrorKind, Result};
use reqwest::Url;

use super::names::is_internal;

/// Token servers of well-known registries that are not below them.
const KNOWN: [(&str, &str); 5] = [
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("docker.elastic.co", "docker-auth.elastic.co"),
    ("registry.digitalocean.com", "api.digitalocean.com"),
    ("rg.fr-par.scw.cloud", "api.scaleway.com"),
];

/// The token server that a challenge of `registry` names.
///
/// # Errors
/// When a password must not be sent there.
pub(super) fn check(registry: &Url, realm: &str, trusted: &[String]) -> Result<Url> {
    let host_of = |url: &Url| url.host_str().unwrap_or_default().to_ascii_lowercase();
    let refuse = |why: String| {
        Err(Error::new(
            ErrorKind::Unauthenticated,
            format!(
                "The registry {} sends its clients to a token server that {why}, so no credentials were sent there.",
                registry.authority()
            ),
        ))
    };
    let Ok(url) = Url::parse(realm) else { return refuse("has no valid address".into()) };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("has a user in its address".into());
    }
    if url.origin() == registry.origin() {
        return Ok(url);
    }
    let (from, to) = (host_of(registry), host_of(&url));
    let is_trusted = is_trusted(&url, trusted);
    let is_scheme_fine =
        url.scheme() == "https" || (url.scheme() == "http" && registry.scheme() == "http" && is_trusted);
    if !is_scheme_fine {
        return refuse(format!("is not reached by https ({}://{})", url.scheme(), url.authority()));
    }
    if is_trusted || (url.scheme() == "https" && from == to) || KNOWN.contains(&(from.as_str(), to.as_str())) {
        return Ok(url);
    }
    if is_internal(&url) || !is_below(&from, &to) {
        return refuse(format!(
            "is another host ({to}); if that is right, name it to ClientBuilder::trust_realm when the client is built"
        ));
    }
    Ok(url)
}

/// Whether the operator trusts the token server.
pub(super) fn is_trusted(url: &Url, trusted: &[String]) -> bool {
    let names = |host: &String| {
        url.host_str().is_some_and(|to| host.eq_ignore_ascii_case(to)) || host.eq_ignore_ascii_case(url.authority())
    };
    trusted.iter().any(names)
}

/// Whether `to` is a host below `from`: whoever owns a name owns those under it.
fn is_below(from: &str, to: &str) -> bool {
    let is_name = from.contains('.') && from.parse::<std::net::IpAddr>().is_err();
    is_name && to.strip_suffix(from).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(registry: &str, realm: &str, trusted: &[&str]) -> bool {
        let trusted: Vec<String> = trusted.iter().map(|host| (*host).to_owned()).collect();
        check(&Url::parse(registry).unwrap(), realm, &trusted).is_ok()
    }

    #[test]
    fn a_password_goes_only_where_it_belongs() {
        for (registry, realm, expected) in [
            ("https://ghcr.io/v2/", "https://ghcr.io/token", true),
            ("https://registry-1.docker.io/v2/", "https://auth.docker.io/token", true),
            ("https://registry.gitlab.com/v2/", "https://gitlab.com/jwt/auth", true),
            ("https://docker.elastic.co/v2/", "https://docker-auth.elastic.co/auth", true),
            ("https://corp.example/v2/", "https://auth.corp.example/token", true),
            ("https://harbor.corp.example/v2/", "https://sso.corp.example/token", false),
            ("https://harbor.corp.example/v2/", "https://corp.example/token", false),
            ("https://corp.example/v2/", "https://evilcorp.example/token", false),
            ("https://10.0.0.1/v2/", "https://x.10.0.0.1/token", false),
            ("https://ghcr.io/v2/", "https://evil.example/token", false),
            ("https://ghcr.io/v2/", "http://ghcr.io/token", false),
            ("https://ghcr.io/v2/", "https://me:pw@ghcr.io/token", false),
            ("https://ghcr.io/v2/", "https://ghcr.io.evil.example/token", false),
            ("https://shop.co.uk/v2/", "https://evil.co.uk/token", false),
            ("https://mine.azurecr.io/v2/", "https://evil.azurecr.io/token", false),
            ("https://mine.azurecr.io/v2/", "https://mine.azurecr.io/oauth2/token", true),
            ("https://registry.example/v2/", "https://169.254.169.254/token", false),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/token", true),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:6000/token", false),
            ("https://10.0.0.1/v2/", "https://10.0.0.2/token", false),
            ("https://ghcr.io/v2/", "token", false),
        ] {
            assert_eq!(allowed(registry, realm, &[]), expected, "{registry} -> {realm}");
        }
    }

    #[test]
    fn the_operator_can_trust_a_host() {
        assert!(allowed("https://ghcr.io/v2/", "https://auth.example/token", &["auth.example"]));
        assert!(allowed("http://127.0.0.1:5000/v2/", "http://127.0.0.1:6000/token", &["127.0.0.1:6000"]));
        assert!(!allowed("https://ghcr.io/v2/", "http://auth.example/token", &["auth.example"]));
    }
}
