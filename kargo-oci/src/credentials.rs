//! Who we are to a registry.

use std::fmt::Debug;

use async_trait::async_trait;
use kargo_core::Result;
use secrecy::SecretString;

use crate::repository::{DOCKER_HUB, canonical_host};

/// What is shown to a registry. Passwords never print.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// Nothing.
    #[default]
    Anonymous,
    /// A user and a password or access token.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
}

impl Credentials {
    /// A user and a password.
    pub fn basic(user: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self::Basic { user: user.into(), password: password.into() }
    }
}

/// Knows the credentials of repositories.
///
/// The client asks once per repository and remembers the answer for a few minutes; it asks again when the registry
/// rejects it, so that credentials that expire, as those of cloud registries do, are renewed without a restart.
/// Concurrent requests share one question. An error is not remembered.
///
/// ```
/// use async_trait::async_trait;
/// use kargo_oci::{CredentialSource, Credentials};
///
/// /// Reads the password from the environment.
/// #[derive(Debug)]
/// struct FromEnvironment;
///
/// #[async_trait]
/// impl CredentialSource for FromEnvironment {
///     async fn get(&self, host: &str, _repository: &str) -> kargo_core::Result<Credentials> {
///         Ok(match std::env::var("REGISTRY_PASSWORD") {
///             Ok(password) if host == "ghcr.io" => Credentials::basic("robot", password),
///             _ => Credentials::Anonymous,
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait CredentialSource: Debug + Send + Sync + 'static {
    /// The credentials for `repository`, such as `acme/app`, on `host`, such as `ghcr.io` or `localhost:5000`.
    async fn get(&self, host: &str, repository: &str) -> Result<Credentials>;
}

/// Credentials that are given once, by host or by repository.
///
/// ```
/// use kargo_oci::{Credentials, StaticCredentials};
///
/// let credentials = StaticCredentials::new()
///     .with("ghcr.io", Credentials::basic("robot", "secret"))
///     .with("ghcr.io/acme/private", Credentials::basic("other", "secret"));
/// # let _ = credentials;
/// ```
#[derive(Debug, Clone, Default)]
pub struct StaticCredentials(Vec<(String, Credentials)>);

impl StaticCredentials {
    /// No credentials yet: everything is anonymous.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds credentials for a host (`ghcr.io`), or for all repositories under a path on it (`ghcr.io/acme`). The
    /// longest one that fits is used. A path ends at a slash: `ghcr.io/acme` is not for `ghcr.io/acme-labs/app`. A scheme
    /// in front is dropped, and Docker Hub may go by any of its names, as `https://index.docker.io/v1/`.
    #[must_use]
    pub fn with(mut self, prefix: impl Into<String>, credentials: Credentials) -> Self {
        let prefix = prefix.into();
        let text = prefix.split_once("://").map_or(prefix.as_str(), |(_, rest)| rest).trim_end_matches('/');
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        let host = canonical_host(&host.to_ascii_lowercase());
        // Docker's own configuration names Docker Hub by a version of its API.
        let path = if host == DOCKER_HUB && matches!(path, "v1" | "v2") { "" } else { path };
        let prefix = if path.is_empty() { host } else { format!("{host}/{path}") };
        self.0.push((prefix, credentials));
        self
    }
}

#[async_trait]
impl CredentialSource for StaticCredentials {
    async fn get(&self, host: &str, repository: &str) -> Result<Credentials> {
        let full = format!("{host}/{repository}");
        // `docker.io/nginx` is how people write `docker.io/library/nginx`.
        let official = repository.strip_prefix("library/").filter(|_| host == DOCKER_HUB);
        let short = official.map(|name| format!("{host}/{name}"));
        let covers = |prefix: &str, full: &str| {
            full.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let fits = |prefix: &str| covers(prefix, &full) || short.as_ref().is_some_and(|short| covers(prefix, short));
        let best = self.0.iter().filter(|(prefix, _)| fits(prefix)).max_by_key(|(prefix, _)| prefix.len());
        Ok(best.map(|(_, credentials)| credentials.clone()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn user(credentials: &StaticCredentials, host: &str, repository: &str) -> String {
        match credentials.get(host, repository).await.unwrap() {
            Credentials::Anonymous => "anonymous".into(),
            Credentials::Basic { user, .. } => user,
        }
    }

    #[tokio::test]
    async fn oci_16_the_longest_prefix_wins_and_ends_at_a_slash() {
        let credentials = StaticCredentials::new()
            .with("oci://harbor.local/", Credentials::basic("host", "x"))
            .with("harbor.local/acme", Credentials::basic("acme", "x"));
        assert_eq!(user(&credentials, "harbor.local", "acme/app").await, "acme");
        assert_eq!(user(&credentials, "harbor.local", "acme-labs/app").await, "host");
        assert_eq!(user(&credentials, "harbor.local.evil.example", "acme/app").await, "anonymous");
    }

    #[tokio::test]
    async fn a_host_is_known_by_all_the_names_that_people_write() {
        for (prefix, host, repository) in [
            ("index.docker.io", "docker.io", "acme/app"),
            ("https://index.docker.io/v1/", "docker.io", "acme/app"),
            ("registry-1.docker.io/acme", "docker.io", "acme/app"),
            ("GHCR.io", "ghcr.io", "acme/app"),
            ("https://ghcr.io/acme/", "ghcr.io", "acme/app"),
            ("docker.io/nginx", "docker.io", "library/nginx"),
        ] {
            let credentials = StaticCredentials::new().with(prefix, Credentials::basic("me", "x"));
            assert_eq!(user(&credentials, host, repository).await, "me", "{prefix}");
        }
    }

    #[test]
    fn passwords_never_print() {
        let shown = format!("{:?}", StaticCredentials::new().with("h", Credentials::basic("me", "hunter2")));
        assert!(shown.contains("me") && !shown.contains("hunter2"), "{shown}");
    }
}
