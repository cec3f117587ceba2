//! Credentials that do not change.

use async_trait::async_trait;
use kargo_core::Result;

use super::{CredentialSource, Credentials, longest, normalized};

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
        self.0.push((normalized(&prefix.into()), credentials));
        self
    }
}

#[async_trait]
impl CredentialSource for StaticCredentials {
    async fn get(&self, host: &str, repository: &str) -> Result<Credentials> {
        let entries = self.0.iter().map(|(prefix, credentials)| (prefix.as_str(), credentials));
        Ok(longest(entries, host, repository).cloned().unwrap_or_default())
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(prefix, _)| prefix.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn user(credentials: &StaticCredentials, host: &str, repository: &str) -> String {
        match credentials.get(host, repository).await.unwrap() {
            Credentials::Anonymous => "anonymous".into(),
            Credentials::Basic { user, .. } => user,
            other => panic!("{other:?}"),
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
