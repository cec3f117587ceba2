//! Finds what is said of an image: Sigstore's bundles that refer to it, the attestations that cosign keeps under a tag beside it,
//! those that BuildKit keeps in its index, and reports that nobody has signed.

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;

use super::envelope::{self, Judged};
use crate::client::{ABOUT, Client, Descriptor, Fault, Manifest, ManifestEntry, Parts, Referrer, tag_beside};
use crate::repository::{Repository, checked_digest};
use crate::signature::{Signer, Trust};

/// How the media types of Sigstore's bundles begin, of whatever version.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// The media type of an envelope alone.
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The media type of a statement that nobody has signed, and the annotation that has the type of its predicate.
const STATEMENT: &str = "application/vnd.in-toto+json";
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// The annotation of an index's entry that BuildKit makes for what it says of an image.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// How many of these are looked at for one image.
const WITHIN: usize = 10;
/// Kinds by which some registries list everything, so that only the manifest tells.
const ANYTHING: [&str; 3] =
    ["application/vnd.oci.empty.v1+json", "application/vnd.oci.image.config.v1+json", "application/octet-stream"];
/// How many manifests and layers are looked at, and how large a layer may be, in bytes: an SBOM of many packages has some millions.
const LOOKED_AT: usize = 200;
const BYTES: u64 = 16 * 1024 * 1024;
/// How much of a type that somebody has written is shown.
const SHOWN: usize = 100;

/// A statement about an image that somebody who is trusted has signed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attestation {
    /// The type of what is said: `https://slsa.dev/provenance/v1`.
    pub predicate_type: String,
    /// Whose signature it has.
    pub signer: Signer,
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
    /// Why this is not all, as a sentence's end, when there is more than is looked at: "has more than 200 bundles". What is demanded of
    /// what is said cannot be known then; a signature that was found is one all the same.
    pub incomplete: Option<String>,
}

impl Attestations {
    fn claim(&mut self, kind: &str, why: &str) {
        self.claims.push(Claim { kind: kind.chars().take(SHOWN).collect(), why: why.to_owned() });
    }

    fn add(&mut self, judged: Option<Judged>) {
        match judged {
            Some(Judged::Signed { signer, predicate_type, statement }) => {
                self.signed.push(Attestation { predicate_type, signer, statement });
            }
            Some(Judged::Claimed { predicate_type, why }) => self.claim(&predicate_type, &why),
            None => self.claim("", "does not have the form of a signed statement"),
        }
    }

    /// These and those.
    pub(super) fn with(&self, others: &Self) -> Self {
        let mut all = self.clone();
        all.signed.extend(others.signed.iter().cloned());
        all.claims.extend(others.claims.iter().cloned());
        all.incomplete = all.incomplete.or_else(|| others.incomplete.clone());
        all
    }
}

/// A look for what is said of one image.
#[derive(Debug, Clone, Copy)]
struct Look<'a> {
    cx: &'a Context,
    client: &'a Client,
    repository: &'a Repository,
    /// The image.
    digest: &'a str,
    trust: &'a Trust,
}

impl Client {
    /// What is said of the image with `digest`, of which that counts which somebody whom `trust` names has signed: by bundles that
    /// refer to the image, as cosign 3 writes them, and by attestations under the tag `sha256-<hash>.att`, as cosign 1 and 2 do.
    ///
    /// It takes the list of what refers to the image, a look at the tag, and two requests for each bundle.
    ///
    /// # Errors
    /// When the registry cannot be asked: then nothing is known. That nothing is said is no error, and neither is something that is broken:
    /// whoever may push could otherwise keep all other images from being looked at. See [`Attestations::incomplete`] for too much of it.
    pub async fn attestations(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
        trust: &Trust,
    ) -> Result<Attestations> {
        checked_digest(digest)?;
        let look = Look { cx, client: self, repository, digest, trust };
        let mut found = Attestations::default();
        look.bundles(digest, &mut found).await?;
        look.beside(&mut found).await?;
        Ok(found)
    }

    /// The same for an image of an index, in which BuildKit keeps what it says of it: in manifests beside it that name it. What refers to
    /// such a manifest counts as well, when it is signed and about the image.
    pub(super) async fn attestations_within(
        &self,
        cx: &Context,
        repository: &Repository,
        index: &[ManifestEntry],
        image: &ManifestEntry,
        trust: &Trust,
    ) -> Result<Attestations> {
        let mut found = self.attestations(cx, repository, &image.digest, trust).await?;
        let look = Look { cx, client: self, repository, digest: &image.digest, trust };
        let is_about = |entry: &&ManifestEntry| {
            let annotation = |name: &str| entry.annotations.get(name).map(String::as_str);
            annotation(REFERENCE_TYPE) == Some("attestation-manifest")
                && annotation(ABOUT) == Some(image.digest.as_str())
        };
        for entry in index.iter().filter(is_about).take(WITHIN) {
            look.within(&entry.digest, &mut found).await?;
            look.bundles(&entry.digest, &mut found).await?;
        }
        Ok(found)
    }
}

impl Look<'_> {
    /// What bundles say that refer to the manifest with the digest `of`.
    async fn bundles(self, of: &str, found: &mut Attestations) -> Result<()> {
        let referrers = match self.client.try_referrers(self.cx, self.repository, of).await {
            Ok(referrers) => referrers,
            Err(Fault::Image { error, .. }) => {
                found.incomplete = Some(format!("has referrers that cannot be listed: {}", error.message()));
                return Ok(());
            }
            Err(Fault::Look(error)) => return Err(error),
        };
        let mut looked_at = 0;
        for referrer in referrers {
            let kind = referrer.artifact_type.as_deref().unwrap_or_default();
            if !may_be_bundle(kind) {
                found.claim(kind, "is not signed");
                continue;
            }
            looked_at += 1;
            if looked_at > LOOKED_AT {
                found.incomplete = Some(format!("has more than {LOOKED_AT} bundles; delete those that are old"));
                return Ok(());
            }
            self.bundle(&referrer, found).await?;
        }
        Ok(())
    }

    async fn bundle(self, referrer: &Referrer, found: &mut Attestations) -> Result<()> {
        let kind = referrer.artifact_type.as_deref().unwrap_or_default();
        let Some(manifest) = self.listed(&referrer.digest, kind, found).await? else { return Ok(()) };
        let Some(parts) = self.parts(&manifest, kind, found) else { return Ok(()) };
        let is_bundle = |layer: &&Descriptor| layer.media_type.as_deref().is_some_and(|kind| kind.starts_with(BUNDLE));
        // By the specification a bundle is alone in its manifest.
        match parts.layers().iter().find(is_bundle) {
            Some(layer) => {
                if let Some(bytes) = self.statement(layer, found).await? {
                    found.add(envelope::of_bundle(&bytes, self.digest, self.trust));
                }
            }
            None => found.claim(parts.artifact_type.as_deref().unwrap_or(kind), "is not signed"),
        }
        Ok(())
    }

    /// What cosign keeps under the tag beside the image.
    async fn beside(self, found: &mut Attestations) -> Result<()> {
        let Some(tag) = tag_beside(self.digest, "att") else { return Ok(()) };
        match self.client.try_manifest(self.cx, self.repository, &tag).await {
            Ok(manifest) => self.envelopes(&manifest, found).await,
            Err(Fault::Look(error)) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(Fault::Image { error, .. }) => {
                found.claim("", error.message());
                Ok(())
            }
            Err(Fault::Look(error)) => Err(error),
        }
    }

    /// What BuildKit has put beside the image in its index.
    async fn within(self, digest: &str, found: &mut Attestations) -> Result<()> {
        let Some(manifest) = self.listed(digest, "attestation-manifest", found).await? else { return Ok(()) };
        let Some(parts) = self.parts(&manifest, "attestation-manifest", found) else { return Ok(()) };
        let is_bare = |layer: &&Descriptor| layer.media_type.as_deref() == Some(STATEMENT);
        for layer in parts.layers().iter().filter(is_bare).take(LOOKED_AT) {
            let kind = layer.annotation(PREDICATE_TYPE).unwrap_or_default();
            found.claim(kind, "is a part of the image's index, and not signed by itself");
        }
        self.envelopes(&manifest, found).await
    }

    /// What a manifest refers to, unless that is not understood, which is a claim then.
    fn parts(self, manifest: &Manifest, kind: &str, found: &mut Attestations) -> Option<Parts> {
        let parts = manifest.parts(&format!("{}@{}", self.repository, manifest.digest)).ok();
        if parts.is_none() {
            found.claim(kind, "is damaged");
        }
        parts
    }

    async fn envelopes(self, manifest: &Manifest, found: &mut Attestations) -> Result<()> {
        let Some(parts) = self.parts(manifest, "", found) else { return Ok(()) };
        let layers = parts.layers().iter().filter(|layer| layer.media_type.as_deref() == Some(ENVELOPE));
        for layer in layers.take(LOOKED_AT) {
            if let Some(bytes) = self.statement(layer, found).await? {
                found.add(envelope::alone(&bytes, layer, self.digest, self.trust));
            }
        }
        Ok(())
    }

    /// A manifest that is listed somewhere, unless it is no use, which is a claim then.
    async fn listed(self, digest: &str, kind: &str, found: &mut Attestations) -> Result<Option<Manifest>> {
        match self.client.try_manifest(self.cx, self.repository, digest).await {
            Ok(manifest) => return Ok(Some(manifest)),
            Err(Fault::Look(error)) if error.kind() == ErrorKind::NotFound => {
                found.claim(kind, "is listed, but missing");
            }
            Err(Fault::Image { .. }) => found.claim(kind, "is damaged"),
            Err(Fault::Look(error)) => return Err(error),
        }
        Ok(None)
    }

    /// The bytes of a layer, unless they are no use, which is a claim then.
    async fn statement(self, layer: &Descriptor, found: &mut Attestations) -> Result<Option<Vec<u8>>> {
        let kind = layer.annotation("predicateType").or(layer.media_type.as_deref()).unwrap_or_default();
        if layer.size > BYTES {
            found.claim(kind, "is larger than 16 MiB");
            return Ok(None);
        }
        match self.client.try_blob_of_size(self.cx, self.repository, &layer.digest, layer.size).await {
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
