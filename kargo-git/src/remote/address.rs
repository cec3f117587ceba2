//! What a repository's URL means.

use std::net::IpAddr;
use std::path::PathBuf;

use kargo_core::artifact::normalize_git_url;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::Url;
use secrecy::SecretString;

use super::http::scrubbed;
use super::ssh::Destination;

/// A repository's place.
#[derive(Debug)]
pub(super) enum Address {
    /// Behind HTTP. User and password are taken out of the URL.
    Http { base: Url, credentials: Option<(String, SecretString)> },
    /// Behind ssh.
    Ssh(Destination),
    /// On this machine.
    Local(PathBuf),
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self> {
        let invalid = |what: String| Error::new(ErrorKind::InvalidInput, what);
        if url.trim().is_empty() || url.contains(char::is_control) {
            return Err(invalid("The URL of the repository is empty or has control characters in it.".to_owned()));
        }
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        // What stands before a misplaced `://` may be a password.
        let strange = |scheme: &str| !scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        match scheme.as_deref() {
            Some("http" | "https") => {
                // To some it is a slash, with which the host ends, and to others a part of the name in front of the host.
                if url.contains('\\') {
                    return Err(invalid("The URL of the repository has a backslash in it; write slashes.".to_owned()));
                }
                let mut base = Url::parse(url)
                    .map_err(|error| invalid("The URL of the repository cannot be read.".to_owned()).because(error))?;
                let user = decoded(base.username());
                let credentials = match (user.as_str(), base.password().map(decoded)) {
                    ("", None) => None,
                    // A lone user in a URL is how forges write it for people; it is no password.
                    (_, None) => None,
                    (user, Some(password)) => Some((user.to_owned(), SecretString::from(password))),
                };
                // These fail only for URLs without a host, which http(s) URLs are not.
                let _ = base.set_username("");
                let _ = base.set_password(None);
                if base.query().is_some() || base.fragment().is_some() {
                    return Err(invalid(format!(
                        "The URL of the repository {} has a query or a fragment; leave it out.",
                        scrubbed(&base)
                    )));
                }
                Ok(Self::Http { base, credentials })
            }
            Some("file") => {
                let parsed = Url::parse(url).map_err(|error| {
                    invalid("The file:// URL of the repository cannot be read.".to_owned()).because(error)
                })?;
                let path = parsed.to_file_path().map_err(|()| {
                    invalid(format!(
                        "The URL {} names no path on this machine; write file:///path/to/repository.",
                        scrubbed(&parsed)
                    ))
                })?;
                Ok(Self::Local(path))
            }
            Some("ssh" | "git+ssh" | "ssh+git") => {
                Destination::parse_url(url.split_once("://").map_or("", |(_, rest)| rest)).map(Self::Ssh)
            }
            Some(scheme) if strange(scheme) => {
                Err(invalid("The URL of the repository cannot be read: it does not begin with a scheme.".to_owned()))
            }
            Some(scheme) => Err(invalid(format!(
                "Repositories are reached by http://, https://, ssh://, file:// or a path; {scheme}:// is none of them."
            ))),
            None => match Destination::parse_short(url) {
                Some(destination) => destination.map(Self::Ssh),
                None => {
                    let path = std::path::absolute(url)
                        .map_err(|error| invalid(format!("The path {url} cannot be made absolute.")).because(error))?;
                    Ok(Self::Local(path))
                }
            },
        }
    }

    /// As it may be shown.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Http { base, .. } => base.as_str().to_owned(),
            Self::Ssh(destination) => destination.to_string(),
            Self::Local(path) => path.display().to_string(),
        }
    }

    /// The same for all spellings of one repository.
    pub(super) fn lock_key(&self) -> String {
        match self {
            Self::Http { base, .. } => normalize_git_url(base.as_str()),
            Self::Ssh(destination) => normalize_git_url(&destination.to_string()),
            Self::Local(path) => path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string(),
        }
    }
}

/// The form in which URLs are compared to find credentials: that of the place to which they would be sent, however it is written.
pub(crate) fn compared(url: &str) -> Result<String> {
    Ok(match Address::parse(url)? {
        Address::Http { base, .. } => normalize_git_url(base.as_str()),
        Address::Ssh(_) | Address::Local(_) => normalize_git_url(url),
    })
}

pub(crate) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether `url` stays on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_compared_as_it_is_reached() {
        for (url, compared_as) in [
            ("https://me@GitHub.com/acme/x.git", "https://github.com/acme/x"),
            ("https://github.com/acme/../other/x", "https://github.com/other/x"),
            ("https://github.com:443/acme/x", "https://github.com/acme/x"),
            ("git@github.com:acme/x", "ssh://git@github.com/acme/x"),
        ] {
            assert_eq!(compared(url).unwrap(), compared_as, "{url}");
        }
        for url in ["https://attacker.example\\@github.com/acme/x", "https:\\\\attacker.example/x", "http://a/b\\c"] {
            let parsed = compared(url);
            assert!(!parsed.as_deref().is_ok_and(|url| url.starts_with("http")), "{url}: {parsed:?}");
        }
    }
}
