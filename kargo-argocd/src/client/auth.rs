//! Who the client is, and the session it may have to open.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

/// How the client proves who it is.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// Not at all, for a server that asks nobody.
    None,
    /// A token of an account or of a project's role. It has to be a JSON Web Token.
    Token(SecretString),
    /// A name and a password, exchanged for a token that is renewed when it has expired.
    Login {
        /// The account's name.
        username: String,
        /// Its password.
        password: SecretString,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token(***)",
            Self::Login { .. } => "Login(***)",
        })
    }
}

/// The credentials, and the token that a log-in gave.
pub(super) struct Session {
    pub(super) credentials: Credentials,
    /// Held while logging in, so that many calls at once log in once.
    token: Mutex<Option<SecretString>>,
}

impl Session {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, token: Mutex::new(None) }
    }

    /// The token to send now; `None` also when a log-in is still to be made.
    pub(super) async fn token(&self) -> Option<SecretString> {
        match &self.credentials {
            Credentials::None => None,
            Credentials::Token(token) => Some(token.clone()),
            Credentials::Login { .. } => self.token.lock().await.clone(),
        }
    }

    /// Lets `log_in` replace the token, unless another call has already replaced `stale`.
    pub(super) async fn renew<E>(
        &self,
        stale: Option<&SecretString>,
        log_in: impl Future<Output = Result<SecretString, E>>,
    ) -> Result<SecretString, E> {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref()
            && stale.is_none_or(|stale| stale.expose_secret() != token.expose_secret())
        {
            return Ok(token.clone());
        }
        // Forgotten first, so that a log-in that fails leaves no token that is known to be bad.
        *held = None;
        let token = log_in.await?;
        *held = Some(token.clone());
        Ok(token)
    }
}
