//! Signatures as a stage's verification.

use async_trait::async_trait;
use kargo_core::Result;
use kargo_core::plugin::{Context, Verdict, Verifier, VerifyRequest};
use serde_json::Value;

use super::check::SignatureCheck;
use super::keyless::TrustedRoot;
use super::subject::verdict;
use crate::client::Client;

/// Verifies that the images of freight are signed by a key or an identity that is trusted. Register it as [`SignatureCheck::VERIFIER`].
///
/// The image is that of the freight's digest, and its signature is looked for beside it, see [`Client::signed_by`]. An image
/// without one, or with none that counts, fails the verification. A registry that cannot be asked is an error, and so neither.
///
/// ```
/// use kargo_core::{Plugins, Stage};
/// use kargo_oci::{Client, SignatureCheck, SignatureVerifier};
///
/// let plugins =
///     Plugins::builder().verifier(SignatureCheck::VERIFIER, SignatureVerifier::new(Client::anonymous()?)).build();
/// let check = SignatureCheck::new(
///     "-----BEGIN PUBLIC KEY-----\n\
///      MCowBQYDK2VwAyEAdz2YWkdFugz3kgC5zTkVqll9Lw/RaKQ42cBRx48HRK8=\n\
///      -----END PUBLIC KEY-----",
/// );
/// let dev = Stage::new("dev").direct("main").verify(SignatureCheck::VERIFIER, check.into());
/// # let _ = (plugins, dev);
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SignatureVerifier {
    client: Client,
    root: Option<TrustedRoot>,
}

impl SignatureVerifier {
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
impl Verifier for SignatureVerifier {
    fn validate(&self, config: &Value) -> Result<()> {
        SignatureCheck::read(config, self.root.as_ref()).map(|_| ())
    }

    async fn verify(&self, cx: &Context, request: &VerifyRequest<'_>) -> Result<Verdict> {
        let rule = SignatureCheck::read(request.config, self.root.as_ref())?;
        verdict(cx, &self.client, &request.promotion.freight, &rule).await
    }
}
