//! Ways to sign in.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

/// What one signs in with: a user name and a password or token for HTTP, or a private key for ssh. Prints without secrets.
///
/// ```
/// use kargo_git::{Credentials, Remote};
///
/// let token = Credentials::basic("kargo", "the token");
/// let remote = Remote::builder("https://git.example/acme/config.git").credentials(token).build()?;
///
/// # let (private_key, known_hosts) = ("-----BEGIN OPENSSH PRIVATE KEY-----", "git.example ssh-ed25519 AAAA");
/// let key = Credentials::ssh_key(private_key);
/// let remote = Remote::builder("git@git.example:acme/config.git").credentials(key).known_hosts(known_hosts).build()?;
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Credentials(pub(super) Way);

/// What the credentials are.
#[derive(Clone)]
pub(super) enum Way {
    /// For HTTP.
    Basic { user: String, password: SecretString },
    /// For ssh.
    SshKey(SecretString),
}

impl Credentials {
    /// For HTTP's Basic authentication, which all forges take with a token as the password.
    pub fn basic(user: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self(Way::Basic { user: user.into(), password: password.into() })
    }

    /// A private key for ssh, as the text of its file, in any form that the program `ssh` reads; without a passphrase, since nobody is
    /// there to type it. The user is the one in the URL, or `git`.
    ///
    /// While it signs in, the key lies in a temporary file that only this user may read; should the process be killed just then, the file,
    /// whose name begins with `kargo-git-key-`, is left behind. No other key is offered, neither of an agent nor of `~/.ssh`; those that an
    /// `ssh_config` names for the host come behind it.
    pub fn ssh_key(private_key: impl Into<SecretString>) -> Self {
        Self(Way::SshKey(private_key.into()))
    }

    /// User and password or token, when that is what they are.
    pub(crate) fn user_and_password(&self) -> Option<(&str, &SecretString)> {
        match &self.0 {
            Way::Basic { user, password } => Some((user, password)),
            Way::SshKey(_) => None,
        }
    }

    /// The private key, when that is what they are.
    pub(crate) fn key(&self) -> Option<&SecretString> {
        match &self.0 {
            Way::SshKey(key) => Some(key),
            Way::Basic { .. } => None,
        }
    }

    /// All that they are, to be told from others.
    pub(crate) fn text(&self) -> SecretString {
        match &self.0 {
            Way::Basic { user, password } => format!("basic {user}\n{}", password.expose_secret()).into(),
            Way::SshKey(key) => format!("ssh {}", key.expose_secret()).into(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Basic { user, .. } => f.debug_struct("Basic").field("user", user).finish_non_exhaustive(),
            Way::SshKey(_) => f.debug_struct("SshKey").finish_non_exhaustive(),
        }
    }
}

/// The text of a private key as it stands in a file. On its way through forms and variables a key often loses its last line feed, or
/// gets carriage returns, and is none any more to those who read it.
pub(crate) fn as_file(key: &SecretString) -> SecretString {
    SecretString::from(format!("{}\n", key.expose_secret().trim().replace("\r\n", "\n")))
}
