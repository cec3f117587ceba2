//! Who signs in to a repository: found out for each piece of work, so that credentials which expire are renewed in time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result, Retry};
use secrecy::{ExposeSecret as _, SecretString};

use crate::credentials::{CredentialKind, CredentialSource, NamedCredentials};

/// How long one step goes on with what it was told. A long step asks again, since tokens live for an hour.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// A source of credentials, told from all others. Prints its number alone: what a host's source prints is not for remotes to say.
#[derive(Clone)]
pub(crate) struct Asked {
    source: Arc<dyn CredentialSource>,
    /// What two sources call by one name may be two things.
    number: u64,
}

impl Asked {
    pub(crate) fn new(source: impl CredentialSource) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { source: Arc::new(source), number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").field(&self.number).finish()
    }
}

/// Where the credentials of a remote come from.
#[derive(Debug)]
pub(super) struct Means {
    /// By which they are looked up: the URL without a password.
    pub(super) url: String,
    pub(super) kind: CredentialKind,
    /// Whether what is sent there can be read on the way.
    pub(super) exposed: bool,
    /// Those that were given stay as they are and come first.
    pub(super) given: Option<NamedCredentials>,
    pub(super) source: Option<Asked>,
    pub(super) in_url: Option<NamedCredentials>,
}

impl Means {
    /// Checks that credentials fit the URL.
    pub(super) fn check(&self, credentials: &NamedCredentials) -> Result<()> {
        let (url, name) = (&self.url, &credentials.name);
        let invalid = |text| Err(Error::new(ErrorKind::InvalidInput, text));
        match (self.kind, credentials.kind()) {
            (CredentialKind::Password, CredentialKind::SshKey) => invalid(format!(
                "The credentials {name} do not fit {url}; HTTP takes no ssh key: give a token with Credentials::basic, or use the other kind of URL."
            )),
            (CredentialKind::SshKey, CredentialKind::Password) => invalid(format!(
                "The credentials {name} do not fit {url}; ssh takes no password: give a key with Credentials::ssh_key, or use the other kind of URL."
            )),
            _ if self.exposed => invalid(format!(
                "The credentials {name} for {url} would go over the network unencrypted; use https, or allow_insecure_credentials."
            )),
            _ => Ok(()),
        }
    }

    /// The credentials of this moment, and whether the source has them.
    async fn find(&self, cx: &Context) -> Result<(Option<NamedCredentials>, bool)> {
        if let (None, Some(asked)) = (&self.given, &self.source) {
            let found = cx.guard("ask for credentials", asked.source.get(cx, &self.url, self.kind)).await?;
            if let Some(found) = found {
                self.check(&found)?;
                return Ok((Some(found), true));
            }
        }
        Ok((self.given.as_ref().or(self.in_url.as_ref()).cloned(), false))
    }
}

/// Who signs in, in one piece of work.
#[derive(Debug, Clone)]
pub(super) struct SignIn {
    means: Arc<Means>,
    /// In whose name the source is asked.
    cx: Context,
    current: Option<NamedCredentials>,
    /// Whether the source has them, and not the settings.
    asked: bool,
    asked_at: Timestamp,
    /// Whether what is learned is kept for others to whom the same credentials answer.
    bound: bool,
    tried_again: bool,
    /// What answers by now in place of those that were refused.
    successor: Option<String>,
}

impl SignIn {
    /// Finds out who signs in. When the work is `bound` to the name of its credentials, what answers to another name does not take over
    /// in the middle of it.
    pub(super) async fn begin(cx: &Context, means: &Arc<Means>, bound: bool) -> Result<Self> {
        let (current, asked) = means.find(cx).await?;
        Ok(Self {
            means: Arc::clone(means),
            cx: cx.clone(),
            current,
            asked,
            asked_at: cx.now(),
            bound,
            tried_again: false,
            successor: None,
        })
    }

    /// Goes on in the name of `cx`: with the same credentials in the same step, and with those of the moment in another one or later.
    pub(super) async fn go_on(&mut self, cx: &Context) -> Result<()> {
        let age = Duration::try_from(cx.now().duration_since(self.asked_at)).unwrap_or_default();
        if self.means.source.is_none() || (self.cx.key() == cx.key() && age < FRESH) {
            self.cx = cx.clone();
            return Ok(());
        }
        *self = Self::begin(cx, &self.means, self.bound).await?;
        Ok(())
    }

    /// Whether there are others to try with, now that the server does not accept these. Once, never in a loop: servers lock accounts out.
    pub(super) async fn renew(&mut self) -> Result<bool> {
        let (true, false, Some(old), Some(asked)) = (self.asked, self.tried_again, &self.current, &self.means.source)
        else {
            return Ok(false);
        };
        self.tried_again = true;
        asked.source.refused(&self.cx, &self.means.url, old).await;
        let (new, asked) = self.means.find(&self.cx).await?;
        let Some(new) =
            new.filter(|new| new.credentials.text().expose_secret() != old.credentials.text().expose_secret())
        else {
            return Ok(false);
        };
        if self.bound && !(asked && new.called() == old.called()) {
            self.successor = Some(new.name);
            return Ok(false);
        }
        (self.current, self.asked, self.asked_at) = (Some(new), asked, self.cx.now());
        Ok(true)
    }

    pub(super) fn credentials(&self) -> Option<&NamedCredentials> {
        self.current.as_ref()
    }

    pub(super) fn user_and_password(&self) -> Option<(&str, &SecretString)> {
        self.current.as_ref()?.credentials.user_and_password()
    }

    /// Whether somebody was asked for credentials.
    pub(super) fn has_source(&self) -> bool {
        self.means.source.is_some()
    }

    /// By which it is told what these credentials were shown from what others were: for those that a source renews their name, and for
    /// those that stay all that they are.
    pub(super) fn identity(&self) -> Option<SecretString> {
        let current = self.current.as_ref()?;
        Some(match (self.asked, &self.means.source) {
            (true, Some(Asked { number, .. })) => format!("source {number}\n{}", current.called()).into(),
            _ => current.credentials.text(),
        })
    }

    /// The same error, which another try can mend when other credentials answer by now.
    pub(super) fn hopeful(&self, error: Error) -> Error {
        match &self.successor {
            Some(successor) => error.retry_as(Retry::Backoff).with("credentials by now", successor),
            None => error,
        }
    }
}
