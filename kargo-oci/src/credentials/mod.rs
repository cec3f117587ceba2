//! Who we are to a registry.

mod docker;
mod fixed;
mod helper;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use kargo_core::Result;
use secrecy::SecretString;

use crate::repository::{DOCKER_HUB, canonical_host};

pub use docker::DockerConfig;
pub use fixed::StaticCredentials;

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
    /// A token that a token server exchanges for one that a registry accepts, as Azure's registries give out.
    Identity(SecretString),
    /// A token that the registry itself accepts as it is.
    Bearer(SecretString),
}

impl Credentials {
    /// A user and a password.
    pub fn basic(user: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self::Basic { user: user.into(), password: password.into() }
    }

    /// A token to exchange for another one (`identitytoken` in Docker's configuration).
    pub fn identity(token: impl Into<SecretString>) -> Self {
        Self::Identity(token.into())
    }

    /// A token to show as it is (`registrytoken` in Docker's configuration).
    pub fn bearer(token: impl Into<SecretString>) -> Self {
        Self::Bearer(token.into())
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
    ///
    /// For a classic chart repository these are its host and the path of its URL.
    ///
    /// # Errors
    /// When they cannot be found out. Having none is no error, but [`Credentials::Anonymous`].
    async fn get(&self, host: &str, repository: &str) -> Result<Credentials>;

    /// How long [`CredentialSource::get`] may take before its question is given up: 30 seconds by default.
    fn deadline(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// What this source has credentials for, as hosts or repositories. Only for an error to name the ones that are near when
    /// none fits; nothing by default.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A host, or a path on it, in the form in which they are compared: without scheme, in lower case, and Docker Hub by one of
/// its names.
fn normalized(prefix: &str) -> String {
    let text = prefix.split_once("://").map_or(prefix, |(_, rest)| rest).trim_end_matches('/');
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    let host = canonical_host(&host.to_ascii_lowercase());
    // Docker's own configuration names registries by a version of their API.
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    if path.is_empty() { host } else { format!("{host}/{path}") }
}

/// Of `entries`, by normalized prefix, the one with the longest that covers the repository. A path ends at a slash.
fn longest<'a, T>(entries: impl Iterator<Item = (&'a str, T)>, host: &str, repository: &str) -> Option<T> {
    let full = format!("{host}/{repository}");
    // `docker.io/nginx` is how people write `docker.io/library/nginx`.
    let official = repository.strip_prefix("library/").filter(|_| host == DOCKER_HUB);
    let short = official.map(|name| format!("{host}/{name}"));
    let covers = |prefix: &str, full: &str| {
        full.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let fits = |prefix: &str| covers(prefix, &full) || short.as_ref().is_some_and(|short| covers(prefix, short));
    entries.filter(|(prefix, _)| fits(prefix)).max_by_key(|(prefix, _)| prefix.len()).map(|(_, entry)| entry)
}
