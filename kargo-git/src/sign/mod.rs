//! Signing commits, so that a reader can tell who made them.

mod gpg;
mod ssh;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use kargo_core::Result;
use secrecy::SecretString;

/// Signs the commits of a [`GitWriter`](crate::GitWriter), so that `git verify-commit` and forges can tell that they are of it. Cheap to
/// clone; prints without secrets.
///
/// ```no_run
/// use kargo_git::{GitWriter, Remote, Signer};
///
/// let key = std::fs::read_to_string("/run/secrets/signing-key").expect("the secret is mounted");
/// let writer = GitWriter::new(Remote::new("https://git.example/acme/config.git")?)
///     .committer("Kargo", "kargo@acme.example")
///     .sign(Signer::ssh(key)?);
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Signer(Arc<Kind>);

enum Kind {
    Ssh(ssh::Key),
    Gpg(gpg::Key),
}

impl Signer {
    /// Signs with an ed25519 key, given as the text of its file in OpenSSH's form (`ssh-keygen -t ed25519`), without a passphrase. No
    /// program is needed. The same commit always gets the same signature, so a step that is run again makes the very same commit.
    ///
    /// # Errors
    /// [`InvalidInput`](kargo_core::ErrorKind::InvalidInput) for what is no such text or needs a passphrase;
    /// [`Unsupported`](kargo_core::ErrorKind::Unsupported) for keys of another kind.
    pub fn ssh(private_key: impl Into<SecretString>) -> Result<Self> {
        Ok(Self(Arc::new(Kind::Ssh(ssh::Key::parse(&private_key.into())?))))
    }

    /// Signs with the OpenPGP key `id`, a fingerprint or whatever else `gpg` knows it by, through the system's program `gpg` and the key
    /// ring in `home`; without one, that of this user. The key has no passphrase, or `gpg-agent` knows it: nobody is asked.
    ///
    /// There is the time in the signature, so a writer's step that is run again makes another commit of the same contents. It is still never
    /// a second one on the branch: the step looks for its own by the trailer `Kargo-Key` first, and of two pushes onto one tip the server
    /// takes one. [`GitSteps`](crate::GitSteps) put the signature out as `signature`, so that a commit which was not pushed yet is the
    /// same one after a restart.
    ///
    /// # Errors
    /// [`InvalidInput`](kargo_core::ErrorKind::InvalidInput) for what can be no key's name. That the key is not there comes out when
    /// a commit is signed.
    pub fn gpg(id: impl Into<String>, home: Option<&Path>) -> Result<Self> {
        Ok(Self(Arc::new(Kind::Gpg(gpg::Key::new(id.into(), home)?))))
    }

    /// Whether the same commit always gets the same signature.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(&*self.0, Kind::Ssh(_))
    }

    /// The signature of `payload`, armored.
    pub(crate) async fn sign(&self, payload: &[u8]) -> Result<String> {
        match &*self.0 {
            Kind::Ssh(key) => Ok(key.sign(payload)),
            Kind::Gpg(key) => key.sign(payload).await,
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Ssh(key) => f.debug_tuple("Ssh").field(&key.fingerprint()).finish(),
            Kind::Gpg(key) => f.debug_tuple("Gpg").field(&key.id()).finish(),
        }
    }
}
