//! Signatures as a stage's verification.

use async_trait::async_trait;
use kargo_core::plugin::{Context, Verdict, Verifier, VerifyRequest};
use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cosign::Signed;
use super::key::PublicKey;
use super::subject::{images, naming, repositories, trusted};
use crate::client::Client;
use crate::repository::Repository;

/// Verifies that the images of freight are signed by a key that is trusted. Register it as [`SignatureCheck::VERIFIER`].
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
}

/// The configuration of a [`SignatureVerifier`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureCheck {
    /// The public keys, as PEM. One of them must have signed.
    keys: Vec<String>,
    /// The repositories whose images must be signed; all of the freight's when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
}

impl SignatureCheck {
    /// The name under which [`SignatureVerifier`] is registered for these.
    pub const VERIFIER: &'static str = "image-signature";

    /// Every image of the freight must be signed by this key, in PEM.
    pub fn new(key: impl Into<String>) -> Self {
        Self { keys: vec![key.into()], images: Vec::new() }
    }

    /// Adds another key that is trusted as well, such as while keys are changed.
    #[must_use]
    pub fn or_key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Looks at the image of this repository only, or of others that are added in the same way.
    #[must_use]
    pub fn image(mut self, repo_url: impl Into<String>) -> Self {
        self.images.push(repo_url.into());
        self
    }

    fn read(config: &Value) -> Result<(Vec<PublicKey>, Vec<Repository>)> {
        let fields: Self = serde_json::from_value(config.clone()).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("The check of signatures cannot be read: {error}."))
        })?;
        let keys = trusted(&fields.keys, "signatures")?;
        let images = repositories(&fields.images)?;
        Ok((keys, images))
    }
}

impl From<SignatureCheck> for Value {
    fn from(check: SignatureCheck) -> Self {
        serde_json::to_value(check).expect("a struct of lists of strings always becomes JSON")
    }
}

impl SignatureVerifier {
    /// A verifier that asks through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Verifier for SignatureVerifier {
    fn validate(&self, config: &Value) -> Result<()> {
        SignatureCheck::read(config).map(|_| ())
    }

    async fn verify(&self, cx: &Context, request: &VerifyRequest<'_>) -> Result<Verdict> {
        let (keys, wanted) = SignatureCheck::read(request.config)?;
        let images = match images(&request.promotion.freight, &wanted)? {
            Ok(images) => images,
            Err(reason) => return Ok(Verdict::fail(reason)),
        };
        let mut evidence = Vec::new();
        for (repository, image) in images {
            let name = naming(&repository, image);
            match self.client.signed_by(cx, &repository, &image.digest, &keys).await? {
                Signed::By(key) => evidence.push(format!("{name} is signed by the {key}")),
                Signed::No => return Ok(Verdict::fail(format!("{name} is not signed"))),
                Signed::Badly { signatures, why } => {
                    let text = format!("of {name}, none of {signatures} signatures counts; the last one {why}");
                    return Ok(Verdict::fail(text));
                }
            }
        }
        Ok(Verdict::pass(evidence.join("; ")))
    }
}
