//! That images are signed, as a configuration demands it.

use async_trait::async_trait;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cosign::Signed;
use super::identity::SignerIdentity;
use super::keyless::TrustedRoot;
use super::signers::signers;
use super::subject::{Good, Judgement, Rule, repositories};
use super::trust::Trust;
use crate::client::{Client, Platform};
use crate::repository::Repository;

/// Demands a signature. It is the configuration of a [`SignatureVerifier`](super::SignatureVerifier), and what
/// [`ImageSubscription::signed`](crate::ImageSubscription::signed) takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureCheck {
    /// The public keys, as PEM. One of them must have signed, or one of the identities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    identities: Vec<SignerIdentity>,
    /// The repositories whose images must be signed; all of the freight's when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
}

impl SignatureCheck {
    /// The name under which [`SignatureVerifier`](super::SignatureVerifier) is registered for these.
    pub const VERIFIER: &'static str = "image-signature";

    /// Every image of the freight must be signed by this key, in PEM.
    pub fn new(key: impl Into<String>) -> Self {
        Self { keys: vec![key.into()], identities: Vec::new(), images: Vec::new() }
    }

    /// Every image of the freight must be signed by this identity, without a key.
    pub fn keyless(identity: SignerIdentity) -> Self {
        Self { keys: Vec::new(), identities: vec![identity], images: Vec::new() }
    }

    pub(super) fn read(config: &Value, root: Option<&TrustedRoot>) -> Result<SignatureRule> {
        let fields: Self = serde_json::from_value(config.clone()).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("The check of signatures cannot be read: {error}."))
        })?;
        fields.rule(root)
    }

    pub(crate) fn rule(&self, root: Option<&TrustedRoot>) -> Result<SignatureRule> {
        let trust = Trust::read(&self.keys, &self.identities, root, "signatures")?;
        Ok(SignatureRule { trust, images: repositories(&self.images)? })
    }
}

signers!(SignatureCheck);

impl From<SignatureCheck> for Value {
    fn from(check: SignatureCheck) -> Self {
        serde_json::to_value(check).expect("a struct of lists of strings always becomes JSON")
    }
}

/// A [`SignatureCheck`] that has been read.
#[derive(Debug)]
pub(crate) struct SignatureRule {
    trust: Trust,
    images: Vec<Repository>,
}

#[async_trait]
impl Rule for SignatureRule {
    fn images(&self) -> &[Repository] {
        &self.images
    }

    async fn judge(
        &self,
        cx: &Context,
        client: &Client,
        repository: &Repository,
        digest: &str,
        _platform: Option<&Platform>,
    ) -> Result<Judgement> {
        Ok(match client.signed_by(cx, repository, digest, &self.trust).await? {
            Signed::By(signer) => Ok(Good { evidence: format!("is signed by {signer}"), until: None }),
            Signed::No => Err("is not signed".into()),
            Signed::Badly { signatures, why } => {
                Err(format!("has no signature that counts: of {signatures}, the last one {why}"))
            }
        })
    }
}
