//! Who we are to servers of repositories, asked anew for each piece of work.

mod github_app;
mod jwt;
mod rules;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use kargo_core::Result;
use kargo_core::plugin::Context;
use secrecy::{ExposeSecret as _, SecretString};

use crate::remote::Credentials;

pub use github_app::{GitHubApp, GitHubAppBuilder};
pub use rules::CredentialRules;

/// Credentials, and what they are called where they are set up. Prints without secrets.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NamedCredentials {
    /// Stands in errors, so that people see which ones were used. What was learned of a repository is kept by it: credentials that are
    /// renewed keep their name, so that nothing is fetched again, and such as open something else, or somebody else's, have another.
    pub name: String,
    /// What one signs in with.
    pub credentials: Credentials,
    /// By which rules know again from which of their sources they are; of rules within rules, the outer ones first.
    given_by: Vec<u64>,
}

impl NamedCredentials {
    /// Credentials by a name.
    pub fn new(name: impl Into<String>, credentials: Credentials) -> Self {
        Self { name: name.into(), credentials, given_by: Vec::new() }
    }

    /// Of which kind they are.
    pub(crate) fn kind(&self) -> CredentialKind {
        match self.credentials.user_and_password() {
            Some(_) => CredentialKind::Password,
            None => CredentialKind::SshKey,
        }
    }

    /// What they are called and whom they sign in: the same when they are renewed.
    pub(crate) fn called(&self) -> String {
        let user = self.credentials.user_and_password().map_or("", |(user, _)| user);
        format!("{:?} {}\n{user}", self.kind(), self.name)
    }

    /// As errors name them.
    pub(crate) fn shown(&self) -> String {
        match self.credentials.user_and_password() {
            Some((user, _)) if !user.is_empty() => format!("the credentials {} (user {user})", self.name),
            _ => format!("the credentials {}", self.name),
        }
    }

    /// The password or token, to be compared.
    pub(crate) fn secret(&self) -> Option<&str> {
        self.credentials.user_and_password().map(|(_, password): (&str, &SecretString)| password.expose_secret())
    }
}

/// What credentials are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialKind {
    /// A user and a password or token: Git over HTTP, and the APIs of forges.
    Password,
    /// A private key: Git over ssh.
    SshKey,
}

/// Knows the credentials of repositories: for [`crate::GitSource`] and [`crate::GitSteps`] by [`crate::GitSource::credentials_from`], for a
/// [`crate::GitWriter`] by that of its remote, [`crate::RemoteBuilder::credentials_from`], and for the APIs of forges by [`crate::Forges`].
///
/// It is asked before each piece of work, so that credentials which expire are renewed without a restart. Whoever implements it keeps
/// what is costly to get, and lets go of it when told that it was refused. All requests of one piece of work, such as an attempt to push,
/// carry what it gave, and what it gave after a refusal.
///
/// ```
/// use async_trait::async_trait;
/// use kargo_core::plugin::Context;
/// use kargo_git::{CredentialKind, CredentialSource, Credentials, NamedCredentials};
///
/// /// Reads the token from the environment.
/// #[derive(Debug)]
/// struct FromEnvironment;
///
/// #[async_trait]
/// impl CredentialSource for FromEnvironment {
///     async fn get(&self, _: &Context, url: &str, kind: CredentialKind) -> kargo_core::Result<Option<NamedCredentials>> {
///         Ok(match std::env::var("GIT_TOKEN") {
///             Ok(token) if kind == CredentialKind::Password && url.starts_with("https://github.com/acme/") => {
///                 Some(NamedCredentials::new("GIT_TOKEN", Credentials::basic("kargo", token)))
///             }
///             _ => None,
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait CredentialSource: Debug + Send + Sync + 'static {
    /// The credentials of this kind for the repository with the clone URL `url`, which has no password in it. The API of a forge wants a
    /// password also when the URL is one for ssh.
    ///
    /// # Errors
    /// When they cannot be found out. Having none is no error, but `None`.
    async fn get(&self, cx: &Context, url: &str, kind: CredentialKind) -> Result<Option<NamedCredentials>>;

    /// Told that a server did not accept `refused`, which [`CredentialSource::get`] had returned for `url`: that very value or a clone of it,
    /// so that a source which asks others knows whose it is. It is asked once more then.
    async fn refused(&self, cx: &Context, url: &str, refused: &NamedCredentials) {
        let _ = (cx, url, refused);
    }
}

#[async_trait]
impl<T: CredentialSource + ?Sized> CredentialSource for Arc<T> {
    async fn get(&self, cx: &Context, url: &str, kind: CredentialKind) -> Result<Option<NamedCredentials>> {
        (**self).get(cx, url, kind).await
    }

    async fn refused(&self, cx: &Context, url: &str, refused: &NamedCredentials) {
        (**self).refused(cx, url, refused).await;
    }
}
