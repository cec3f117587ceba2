//! Whose signatures count: those of keys, and those of identities that a certificate names.

use std::fmt;

use kargo_core::{Error, ErrorKind, Result};

use super::identity::{Rule, SignerIdentity};
use super::key::PublicKey;
use super::keyless::TrustedRoot;

/// Whose signatures count.
///
/// ```
/// use kargo_oci::{PublicKey, Trust};
///
/// let key = PublicKey::from_pem(
///     "-----BEGIN PUBLIC KEY-----\n\
///      MCowBQYDK2VwAyEAdz2YWkdFugz3kgC5zTkVqll9Lw/RaKQ42cBRx48HRK8=\n\
///      -----END PUBLIC KEY-----",
/// )?;
/// let trust = Trust::nobody().key(key);
/// # let _ = trust;
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Trust {
    keys: Vec<PublicKey>,
    identities: Vec<Rule>,
    root: Option<TrustedRoot>,
}

/// Who has made a signature that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signer {
    /// The holder of this key.
    Key(PublicKey),
    /// Whoever has shown to the issuer to be this, at the time of the signature.
    Identity {
        /// The name in the certificate: an address of mail, or the URI of a workflow.
        identity: String,
        /// Who vouches for it: `https://token.actions.githubusercontent.com`.
        issuer: String,
    },
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "the {key}"),
            Self::Identity { identity, issuer } => write!(f, "{identity:?}, as {issuer:?} knows it"),
        }
    }
}

impl From<PublicKey> for Trust {
    fn from(key: PublicKey) -> Self {
        Self::nobody().key(key)
    }
}

impl Trust {
    /// No signature counts yet. What is added counts each for itself.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Signatures of this key count.
    #[must_use]
    pub fn key(mut self, key: PublicKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Signatures of this identity count, by certificates and logs that `root` vouches for. One root is meant for all identities:
    /// the last one given.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the identity is not one that can be matched.
    #[cfg(feature = "keyless")]
    pub fn identity(mut self, identity: &SignerIdentity, root: &TrustedRoot) -> Result<Self> {
        self.identities.push(identity.rule()?);
        self.root = Some(root.clone());
        Ok(self)
    }

    /// What a configuration trusts. `what` is checked by it, for errors.
    pub(crate) fn read(
        keys: &[String],
        identities: &[SignerIdentity],
        root: Option<&TrustedRoot>,
        what: &str,
    ) -> Result<Self> {
        let invalid = |why: &str| Error::new(ErrorKind::InvalidInput, format!("The check of {what} {why}."));
        if keys.is_empty() && identities.is_empty() {
            return Err(invalid("trusts nobody: give at least one of keys, or of identities"));
        }
        if !identities.is_empty() && root.is_none() {
            return Err(invalid(TrustedRoot::WANTED));
        }
        let keys = keys.iter().map(|key| PublicKey::from_pem(key)).collect::<Result<_>>()?;
        let identities = identities.iter().map(SignerIdentity::rule).collect::<Result<_>>()?;
        Ok(Self { keys, identities, root: root.cloned() })
    }

    /// The key that has made one of `signatures` of exactly these bytes.
    pub(crate) fn key_of<'a>(
        &self,
        message: &[u8],
        signatures: impl IntoIterator<Item = &'a Vec<u8>>,
    ) -> Option<Signer> {
        signatures.into_iter().find_map(|signature| {
            let key = self.keys.iter().find(|key| key.verifies(message, signature))?;
            Some(Signer::Key(key.clone()))
        })
    }

    /// What certificates are judged by, when any counts.
    pub(crate) fn keyless(&self) -> Option<&TrustedRoot> {
        self.root.as_ref().filter(|_| !self.identities.is_empty())
    }

    /// The signer that a certificate names, when it is one that counts.
    ///
    /// # Errors
    /// A sentence's end that says who it is.
    #[cfg_attr(not(feature = "keyless"), expect(dead_code, reason = "without the feature no certificate is read"))]
    pub(crate) fn identity_of(&self, identity: Option<&str>, issuer: Option<&str>) -> Result<Signer, String> {
        let (identity, issuer) = (identity.unwrap_or_default(), issuer.unwrap_or_default());
        if self.identities.iter().any(|rule| rule.fits(identity, issuer)) {
            return Ok(Signer::Identity { identity: identity.to_owned(), issuer: issuer.to_owned() });
        }
        let shown = |text: &str| text.chars().take(200).collect::<String>();
        Err(format!("is signed by {:?}, as {:?} knows it, who is not trusted", shown(identity), shown(issuer)))
    }
}
