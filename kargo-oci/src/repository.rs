//! Names: repositories, tags and digests, checked before any of them becomes part of a URL.

use std::fmt;
use std::net::IpAddr;

use kargo_core::{Error, ErrorKind, Result};
use oci_spec::image::{Digest, DigestAlgorithm};
use sha2::{Digest as _, Sha256, Sha512};

/// Docker Hub, by the one of its names that is used here.
pub(crate) const DOCKER_HUB: &str = "docker.io";

/// A repository of a registry: the host, with its port, and the name on it.
///
/// ```
/// use kargo_oci::Repository;
///
/// let app = Repository::parse("localhost:5000/shop/app")?;
/// assert_eq!((app.host(), app.name()), ("localhost:5000", "shop/app"));
/// // A name without a host is Docker Hub's, as everywhere.
/// assert_eq!(Repository::parse("nginx")?.to_string(), "docker.io/library/nginx");
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Repository {
    host: String,
    name: String,
}

impl Repository {
    /// Reads a repository's URL as Kargo writes it: `host[:port]/name`, without tag, digest or scheme (`oci://` is
    /// accepted and dropped).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that says what does not belong there.
    pub fn parse(url: &str) -> Result<Self> {
        let fault = |why: &str| {
            Err(Error::new(ErrorKind::InvalidInput, format!("The image repository {:?} {why}.", scrub_user_info(url))))
        };
        let text = url.strip_prefix("oci://").unwrap_or(url);
        if text.contains("://") {
            return fault("must be written without http:// or https://, such as ghcr.io/acme/app");
        }
        if text.contains('@') {
            return fault("must not have a user or a digest; write only the host and the name");
        }
        let (host, name) = match text.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
            Some(_) => (DOCKER_HUB, text.to_owned()),
            None => (DOCKER_HUB, format!("library/{text}")),
        };
        if name.contains(':') {
            return fault("must not have a tag; tags are chosen by the subscription's constraint");
        }
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            return fault("has no valid host in front of its first slash");
        }
        if name.len() > 255 || !name.split('/').all(is_name_part) {
            return fault(
                "has a name that registries do not allow: lower-case letters, digits, and . _ - between them",
            );
        }
        let host = canonical_host(&host);
        let name = if host == DOCKER_HUB && !name.contains('/') { format!("library/{name}") } else { name };
        Ok(Self { host, name })
    }

    /// The place that a URL without a user in it names, on a server that need not be a registry.
    pub(crate) fn of_url(url: &reqwest::Url) -> Self {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let host = url.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        Self { host, name: url.path().trim_matches('/').to_owned() }
    }

    /// The registry, with its port when it has one: `ghcr.io`, `localhost:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name on the registry: `acme/app`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the registry is this machine, where plain http is the rule.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback_host(host_without_port(&self.host))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}

/// The one name of a host, in lower case, that goes by several.
pub(crate) fn canonical_host(host: &str) -> String {
    match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        _ => host.to_owned(),
    }
}

pub(crate) fn host_without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(address, _)| address);
    }
    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

pub(crate) fn is_loopback_host(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_host(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Letters and digits with single separators between them; two underscores and any run of hyphens count as one
/// separator.
fn is_name_part(part: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends_well =
        bytes.first().copied().is_some_and(is_alphanumeric) && bytes.last().copied().is_some_and(is_alphanumeric);
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|run| !run.is_empty());
    ends_well
        && separators.into_iter().all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

/// Whether the distribution specification allows this tag.
pub(crate) fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

pub(crate) fn checked_tag(tag: &str) -> Result<&str> {
    if is_tag(tag) {
        return Ok(tag);
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!("{tag:?} is not a tag: at most 128 letters, digits, and . _ - of which . and - may not come first."),
    ))
}

/// Reads a digest. Only sha256 and sha512 are accepted, since anything else could not be checked.
pub(crate) fn checked_digest(text: &str) -> Result<Digest> {
    text.parse::<Digest>()
        .ok()
        .filter(|digest| matches!(digest.algorithm(), DigestAlgorithm::Sha256 | DigestAlgorithm::Sha512))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is not a digest: write sha256: or sha512: and the hash in lower-case hexadecimal."),
            )
        })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The sha256 digest of `bytes`.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

/// Hashes bytes that come piece by piece.
#[derive(Debug)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// By the algorithm of a digest that was checked.
    pub(crate) fn for_digest(digest: &Digest) -> Self {
        match digest.algorithm() {
            DigestAlgorithm::Sha512 => Self::Sha512(Sha512::new()),
            _ => Self::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Whether all of it is what `digest` names.
    pub(crate) fn is(self, digest: &Digest) -> bool {
        match self {
            Self::Sha256(hasher) => {
                *digest.algorithm() == DigestAlgorithm::Sha256 && digest.digest() == hex(&hasher.finalize())
            }
            Self::Sha512(hasher) => {
                *digest.algorithm() == DigestAlgorithm::Sha512 && digest.digest() == hex(&hasher.finalize())
            }
        }
    }
}

/// Whether `bytes` are what `digest` names.
pub(crate) fn is_digest_of(digest: &Digest, bytes: &[u8]) -> bool {
    match digest.algorithm() {
        DigestAlgorithm::Sha256 => digest.digest() == sha256_hex(bytes),
        DigestAlgorithm::Sha512 => digest.digest() == hex(&Sha512::digest(bytes)),
        _ => false,
    }
}

/// A URL without what stands in front of an `@`, where people leave passwords. A password may hold a slash or another
/// `@`, so rather too much is left out than too little; only a digest keeps its `@`.
pub(crate) fn scrub_user_info(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (&url[..scheme.len() + 3], rest));
    let is_digest = |text: &str| text.starts_with("sha256:") || text.starts_with("sha512:");
    match rest.match_indices('@').rfind(|(at, _)| !is_digest(&rest[*at + 1..])) {
        Some((at, _)) => format!("{scheme}{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read_as_everywhere() {
        for (url, expected) in [
            ("ghcr.io/acme/app", "ghcr.io/acme/app"),
            ("oci://harbor.local/p/app", "harbor.local/p/app"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx"),
            ("acme/app", "docker.io/acme/app"),
            ("registry:5000/app", "registry:5000/app"),
            ("[::1]:5000/app", "[::1]:5000/app"),
            ("127.0.0.1:5000/a/b/c__d-e--f.g", "127.0.0.1:5000/a/b/c__d-e--f.g"),
        ] {
            assert_eq!(Repository::parse(url).unwrap().to_string(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_not_a_repository_is_refused_without_showing_a_password() {
        for url in [
            "",
            "https://ghcr.io/acme/app",
            "ghcr.io/acme/app:1.0",
            "ghcr.io/Acme/app",
            "ghcr.io/acme/../x",
            "ghcr.io/",
            "host:99999/app",
            "ghcr.io/a//b",
            "ghcr.io/acme/app@sha256:00",
            "https://me:hunter2@ghcr.io/app",
            "a b",
            "me:hunter2@ghcr.io/app",
            "https://me:s/hunter2@ghcr.io/app",
            "me:s/hunter2@ghcr.io/app@sha256:00",
        ] {
            let error = Repository::parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn only_digests_that_can_be_checked_are_accepted() {
        assert!(checked_digest(&digest_of(b"x")).is_ok());
        for text in ["md5:abcd", "sha256:../../x", "sha256:AB", "sha256:", "latest"] {
            assert!(checked_digest(text).is_err(), "{text}");
        }
        assert!(is_digest_of(&checked_digest(&digest_of(b"x")).unwrap(), b"x"));
        assert!(!is_digest_of(&checked_digest(&digest_of(b"x")).unwrap(), b"y"));
    }

    #[test]
    fn loopback_is_recognised_in_all_its_spellings() {
        for (url, loopback) in [
            ("localhost:1/a", true),
            ("127.9.0.1/a", true),
            ("[::1]:1/a", true),
            ("10.0.0.1/a", false),
            ("ghcr.io/a", false),
        ] {
            assert_eq!(Repository::parse(url).unwrap().is_loopback(), loopback, "{url}");
        }
    }
}
