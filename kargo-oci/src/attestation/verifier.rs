//! Attestations as a stage's verification.

use async_trait::async_trait;
use kargo_core::Result;
use kargo_core::plugin::{Context, Verdict, Verifier, VerifyRequest};
use serde_json::Value;

use super::check::AttestationCheck;
use crate::client::Client;
use crate::signature::{TrustedRoot, verdict};

/// Verifies that what a key or an identity that is trusted says of the images of freight is good enough: who has built them and from what, which
/// vulnerabilities they have, that there is an SBOM. Register it as [`AttestationCheck::VERIFIER`].
///
/// Attestations are looked for as [`Client::attestations`] does, for the digest of the freight. What nobody that is trusted has signed
/// never counts, and is only named when something is missing. A registry that cannot be asked is an error, and so no verdict.
///
/// ```
/// use kargo_core::{Plugins, Stage};
/// use kargo_oci::{AttestationCheck, AttestationVerifier, Client};
///
/// let plugins =
///     Plugins::builder().verifier(AttestationCheck::VERIFIER, AttestationVerifier::new(Client::anonymous()?)).build();
/// let check = AttestationCheck::new(
///     "-----BEGIN PUBLIC KEY-----\n\
///      MCowBQYDK2VwAyEAdz2YWkdFugz3kgC5zTkVqll9Lw/RaKQ42cBRx48HRK8=\n\
///      -----END PUBLIC KEY-----",
/// );
/// let dev = Stage::new("dev").direct("main").verify(AttestationCheck::VERIFIER, check.sbom().into());
/// # let _ = (plugins, dev);
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AttestationVerifier {
    client: Client,
    root: Option<TrustedRoot>,
}

impl From<AttestationCheck> for Value {
    fn from(check: AttestationCheck) -> Self {
        serde_json::to_value(check).expect("a struct of strings, lists and numbers always becomes JSON")
    }
}

impl AttestationVerifier {
    /// A verifier that asks through `client`.
    pub fn new(client: Client) -> Self {
        Self { client, root: None }
    }

    /// What certificates are judged by, for checks that trust identities.
    #[cfg(feature = "keyless")]
    #[must_use]
    pub fn trusted_root(mut self, root: TrustedRoot) -> Self {
        self.root = Some(root);
        self
    }
}

#[async_trait]
impl Verifier for AttestationVerifier {
    fn validate(&self, config: &Value) -> Result<()> {
        AttestationCheck::read(config, self.root.as_ref()).map(|_| ())
    }

    async fn verify(&self, cx: &Context, request: &VerifyRequest<'_>) -> Result<Verdict> {
        let rule = AttestationCheck::read(request.config, self.root.as_ref())?;
        verdict(cx, &self.client, &request.promotion.freight, &rule).await
    }
}
