//! Signatures as cosign keeps them beside an image: a manifest under the tag `sha256-<hash>.sig`, whose layers are the signed
//! texts, with the signatures in their annotations.
//!
//! The signed text names the digest of the image. What else it names, such as the repository, is not to be believed: images are
//! copied together with their signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::trust::{Signer, Trust};
use crate::client::{Client, Descriptor, Fault, tag_beside};
use crate::repository::{Repository, checked_digest};

/// The media type of a signed text.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation that has the signature, in base64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The annotation that has the certificate, where the signature is by one.
pub(crate) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// What a signed text says it is.
const TYPE: &str = "cosign container image signature";
/// The type of the statement that is a signature and nothing else, in a bundle.
const BUNDLED: &str = "https://sigstore.dev/cosign/sign/v1";
/// How many signatures of one image are looked at.
const SIGNATURES: usize = 50;
/// The most that a signed text may have, in bytes.
const TEXT: u64 = 64 * 1024;

/// Whether an image is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signed {
    /// It is, by this signer.
    By(Signer),
    /// It has no signature at all.
    No,
    /// It has this many signatures, none of which counts, and this is what is wrong with the last one.
    Badly {
        /// How many were looked at.
        signatures: usize,
        /// A sentence's end: "is of no key that is trusted".
        why: String,
    },
}

#[derive(Deserialize)]
struct Text {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl Client {
    /// Whether the image with `digest` is signed by one whom `trust` names, as `cosign sign` does it. One request for the signatures,
    /// and one for each until one counts.
    ///
    /// Looked for is the tag beside the image, `sha256-<hash>.sig`, which cosign 1 and 2 write, and then, when nothing there counts,
    /// the bundles that refer to the image, which cosign 3 writes; these cost as much as [`Client::attestations`].
    ///
    /// # Errors
    /// When the registry cannot be asked: then nothing is known. That there is no signature is no error.
    pub async fn signed_by(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
        trust: &Trust,
    ) -> Result<Signed> {
        checked_digest(digest)?;
        let beside = self.signed_beside(cx, repository, digest, trust).await?;
        if let Signed::By(_) = beside {
            return Ok(beside);
        }
        let found = self.attestations(cx, repository, digest, trust).await?;
        if let Some(signature) = found.signed.into_iter().find(|signed| signed.predicate_type == BUNDLED) {
            return Ok(Signed::By(signature.signer));
        }
        let mut claims = found.claims.into_iter().filter(|claim| claim.kind == BUNDLED);
        if let Some(why) = found.incomplete {
            let before = if let Signed::Badly { signatures, .. } = beside { signatures } else { 0 };
            let why = format!("is not known, since the image {why}");
            return Ok(Signed::Badly { signatures: before + claims.count() + 1, why });
        }
        Ok(match (beside, claims.next_back()) {
            (beside, None) => beside,
            (Signed::Badly { signatures, .. }, Some(claim)) => {
                Signed::Badly { signatures: signatures + 1 + claims.count(), why: claim.why }
            }
            (_, Some(claim)) => Signed::Badly { signatures: 1 + claims.count(), why: claim.why },
        })
    }

    /// The same for the signatures under the tag beside the image.
    async fn signed_beside(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
        trust: &Trust,
    ) -> Result<Signed> {
        let Some(tag) = tag_beside(digest, "sig") else { return Ok(Signed::No) };
        let unreadable = |error: &Error| {
            Ok(Signed::Badly {
                signatures: 1,
                why: format!("cannot be read: {}", error.message().trim_end_matches('.')),
            })
        };
        let manifest = match self.try_manifest(cx, repository, &tag).await {
            Ok(manifest) => manifest,
            Err(Fault::Look(error)) if error.kind() == ErrorKind::NotFound => return Ok(Signed::No),
            Err(Fault::Look(error)) => return Err(error),
            // What somebody has pushed there says nothing of other images, and there may be a bundle.
            Err(Fault::Image { error, .. }) => return unreadable(&error),
        };
        let parts = match manifest.parts(&format!("{repository}:{tag}")) {
            Ok(parts) => parts,
            Err(error) => return unreadable(&error),
        };
        let layers = parts.layers().iter().filter(|layer| layer.media_type.as_deref() == Some(SIMPLE_SIGNING));
        let mut looked_at = 0;
        let mut why = String::new();
        for layer in layers.take(SIGNATURES) {
            looked_at += 1;
            match self.judge(cx, repository, digest, layer, trust).await? {
                Ok(signer) => return Ok(Signed::By(signer)),
                Err(fault) => why = fault,
            }
        }
        Ok(if looked_at == 0 { Signed::No } else { Signed::Badly { signatures: looked_at, why } })
    }

    /// Who made a signature, or why it does not count.
    async fn judge(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
        layer: &Descriptor,
        trust: &Trust,
    ) -> Result<Result<Signer, String>> {
        let annotation = layer.annotation(SIGNATURE);
        let Some(signature) = annotation.and_then(|text| STANDARD.decode(text.trim()).ok()) else {
            return Ok(Err("has no signature in its annotation".into()));
        };
        if layer.size > TEXT {
            return Ok(Err("has no text that could be signed".into()));
        }
        let text = match self.try_blob(cx, repository, &layer.digest).await {
            Ok(text) => text,
            Err(Fault::Image { .. }) => return Ok(Err("is of a text that is damaged".into())),
            Err(Fault::Look(error)) if error.kind() == ErrorKind::NotFound => {
                return Ok(Err("is of a text that is missing".into()));
            }
            Err(Fault::Look(error)) => return Err(error),
        };
        // First whose it is, and only then what it says.
        let signer = match (trust.key_of(&text, [&signature]), trust.keyless()) {
            (Some(signer), _) => signer,
            (None, Some(root)) if layer.annotation(CERTIFICATE).is_some() => {
                match root.text(&text, &signature, layer, trust) {
                    Ok(signer) => signer,
                    Err(why) => return Ok(Err(why)),
                }
            }
            (None, _) => return Ok(Err("is of no key that is trusted".into())),
        };
        Ok(match serde_json::from_slice::<Text>(&text) {
            Ok(Text { critical }) if critical.kind != TYPE => Err("is of a text that is not about an image".into()),
            Ok(Text { critical }) if critical.image.digest != digest => Err("is that of another image".into()),
            Ok(_) => Ok(signer),
            Err(_) => Err("is of a text that is not about an image".into()),
        })
    }
}
