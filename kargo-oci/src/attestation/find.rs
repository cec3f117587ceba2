//! Finds what is said of an image: Sigstore's bundles that refer to it, the attestations that cosign keeps under a tag beside it,
//! and reports that nobody has signed.

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;

use super::envelope::{self, Envelope, Judged};
use crate::client::{Client, Descriptor, Fault, Referrer};
use crate::repository::{Repository, checked_digest};
use crate::signature::PublicKey;

/// How the media types of Sigstore's bundles begin, of whatever version.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// The media type of an envelope alone.
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Kinds by which some registries list everything, so that only the manifest tells.
const ANYTHING: [&str; 3] =
    ["application/vnd.oci.empty.v1+json", "application/vnd.oci.image.config.v1+json", "application/octet-stream"];
/// How many manifests and layers are looked at, and how large a layer may be, in bytes: an SBOM of many packages has some millions.
const LOOKED_AT: usize = 200;
const BYTES: u64 = 16 * 1024 * 1024;
/// How much of a type that somebody has written is shown.
const SHOWN: usize = 100;

/// A statement about an image that a key that is trusted has signed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attestation {
    /// The type of what is said: `https://slsa.dev/provenance/v1`.
    pub predicate_type: String,
    /// Whose signature it has.
    pub key: PublicKey,
    statement: Vec<u8>,
}

impl Attestation {
    /// What is said.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidResponse`] when it does not have this form.
    pub fn predicate<P: DeserializeOwned>(&self) -> Result<P> {
        let invalid = || {
            let text = format!("An attestation of type {:?} does not have the form of one.", self.predicate_type);
            Error::new(ErrorKind::InvalidResponse, text)
        };
        envelope::predicate(&self.statement).map_err(|error| invalid().because(error))?.ok_or_else(invalid)
    }
}

/// Something that is said of an image and that does not count: anybody who may push could have written it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// What it says it is: the type of a predicate, or of an artifact. Empty when it does not say.
    pub kind: String,
    /// Why it does not count, as a sentence's end: "is not signed".
    pub why: String,
}

/// All that is said of an image.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Attestations {
    /// What counts.
    pub signed: Vec<Attestation>,
    /// What does not.
    pub claims: Vec<Claim>,
}

impl Attestations {
    fn claim(&mut self, kind: &str, why: &str) {
        self.claims.push(Claim { kind: kind.chars().take(SHOWN).collect(), why: why.to_owned() });
    }

    fn judge(&mut self, envelope: Option<Envelope>, digest: &str, keys: &[PublicKey]) {
        match envelope.map(|envelope| envelope.judge(digest, keys)) {
            Some(Judged::Signed { key, predicate_type, statement }) => {
                self.signed.push(Attestation { predicate_type, key, statement });
            }
            Some(Judged::Claimed { predicate_type, why }) => self.claim(&predicate_type, why),
            None => self.claim("", "does not have the form of a signed statement"),
        }
    }
}

impl Client {
    /// What is said of the image with `digest`, of which that counts which one of `keys` has signed: by bundles that refer to the image,
    /// as cosign 3 writes them, and by attestations under the tag `sha256-<hash>.att`, as cosign 1 and 2 do. Signatures without a key,
    /// by certificates and a transparency log, do not count.
    ///
    /// It takes the list of what refers to the image, a look at the tag, and two requests for each bundle.
    ///
    /// # Errors
    /// When the registry cannot be asked, or more than 200 manifests would have to be looked at: then nothing is known. That nothing is
    /// said is no error.
    pub async fn attestations(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
        keys: &[PublicKey],
    ) -> Result<Attestations> {
        checked_digest(digest)?;
        let mut found = Attestations::default();
        let mut looked_at = 0;
        for referrer in self.referrers(cx, repository, digest).await? {
            let kind = referrer.artifact_type.as_deref().unwrap_or_default();
            if !may_be_bundle(kind) {
                found.claim(kind, "is not signed");
                continue;
            }
            looked_at += 1;
            if looked_at > LOOKED_AT {
                let text =
                    format!("More than {LOOKED_AT} bundles refer to {repository}@{digest}; delete those that are old.");
                return Err(Error::new(ErrorKind::InvalidResponse, text).operation("look for attestations"));
            }
            self.bundle(cx, repository, digest, &referrer, keys, &mut found).await?;
        }
        let beside = format!("{}.att", digest.replace(':', "-"));
        match self.try_manifest(cx, repository, &beside).await {
            Ok(manifest) => {
                let parts = manifest.parts(&format!("{repository}:{beside}"))?;
                let layers = parts.layers().iter().filter(|layer| layer.media_type.as_deref() == Some(ENVELOPE));
                for layer in layers.take(LOOKED_AT) {
                    if let Some(bytes) = self.statement(cx, repository, layer, &mut found).await? {
                        found.judge(envelope::alone(&bytes), digest, keys);
                    }
                }
            }
            Err(Fault::Look(error)) if error.kind() == ErrorKind::NotFound => {}
            Err(Fault::Image { error, .. }) => found.claim("", error.message()),
            Err(Fault::Look(error)) => return Err(error),
        }
        Ok(found)
    }

    async fn bundle(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
        referrer: &Referrer,
        keys: &[PublicKey],
        found: &mut Attestations,
    ) -> Result<()> {
        let kind = referrer.artifact_type.as_deref().unwrap_or_default();
        let manifest = match self.try_manifest(cx, repository, &referrer.digest).await {
            Ok(manifest) => manifest,
            Err(Fault::Look(error)) if error.kind() == ErrorKind::NotFound => {
                found.claim(kind, "is listed, but missing");
                return Ok(());
            }
            Err(Fault::Image { .. }) => {
                found.claim(kind, "is damaged");
                return Ok(());
            }
            Err(Fault::Look(error)) => return Err(error),
        };
        let parts = manifest.parts(&format!("{repository}@{}", manifest.digest))?;
        let is_bundle = |layer: &&Descriptor| layer.media_type.as_deref().is_some_and(|kind| kind.starts_with(BUNDLE));
        // By the specification a bundle is alone in its manifest.
        match parts.layers().iter().find(is_bundle) {
            Some(layer) => {
                if let Some(bytes) = self.statement(cx, repository, layer, found).await? {
                    found.judge(envelope::of_bundle(&bytes), digest, keys);
                }
            }
            None => found.claim(parts.artifact_type.as_deref().unwrap_or(kind), "is not signed"),
        }
        Ok(())
    }

    /// The bytes of a layer, unless they are no use, which is a claim then.
    async fn statement(
        &self,
        cx: &Context,
        repository: &Repository,
        layer: &Descriptor,
        found: &mut Attestations,
    ) -> Result<Option<Vec<u8>>> {
        let kind = layer.annotation("predicateType").or(layer.media_type.as_deref()).unwrap_or_default();
        if layer.size > BYTES {
            found.claim(kind, "is larger than 16 MiB");
            return Ok(None);
        }
        match self.try_blob_of_size(cx, repository, &layer.digest, layer.size).await {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(Fault::Image { .. }) => found.claim(kind, "is damaged"),
            Err(Fault::Look(error)) if error.kind() == ErrorKind::NotFound => found.claim(kind, "is missing"),
            Err(Fault::Look(error)) => return Err(error),
        }
        Ok(None)
    }
}

/// Whether an artifact that is listed as of this kind could be a bundle. Registries are not all exact about it.
fn may_be_bundle(kind: &str) -> bool {
    kind.is_empty() || kind.starts_with(BUNDLE) || ANYTHING.contains(&kind)
}
