//! What a manifest refers to, as far as copies, downloads and signatures go by it.

use std::collections::BTreeMap;

use kargo_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::manifest::Manifest;
use crate::repository::checked_digest;

/// A reference by digest, with its size in bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: Option<String>,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) artifact_type: Option<String>,
    #[serde(default)]
    urls: Option<Vec<String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Option<String>>>,
}

/// All that a manifest or index refers to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Parts {
    #[serde(default)]
    pub(crate) artifact_type: Option<String>,
    #[serde(default)]
    pub(crate) config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    pub(crate) subject: Option<Descriptor>,
}

impl Descriptor {
    /// The annotation of this name.
    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name)?.as_deref()
    }

    /// Whether this is a layer that registries do not hold, since its licence forbids that: it is fetched from elsewhere.
    fn is_foreign(&self) -> bool {
        let kind = self.media_type.as_deref().unwrap_or_default();
        self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
            && (kind.contains(".nondistributable.") || kind.contains(".foreign."))
    }
}

impl Parts {
    pub(crate) fn layers(&self) -> &[Descriptor] {
        self.layers.as_deref().unwrap_or_default()
    }

    pub(crate) fn manifests(&self) -> &[Descriptor] {
        self.manifests.as_deref().unwrap_or_default()
    }

    /// The blobs that a registry has to hold.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(self.layers()).filter(|blob| !blob.is_foreign())
    }
}

impl Manifest {
    /// What this refers to. `name` is for errors.
    pub(crate) fn parts(&self, name: &str) -> Result<Parts> {
        let invalid = |why: String| Error::new(ErrorKind::InvalidResponse, format!("The manifest of {name} {why}."));
        let parts: Parts = serde_json::from_slice(&self.bytes)
            .map_err(|error| invalid("refers to its parts in a way that is not understood".into()).because(error))?;
        let all = parts.config.iter().chain(parts.layers()).chain(parts.manifests()).chain(&parts.subject);
        for part in all {
            checked_digest(&part.digest)
                .map_err(|_| invalid(format!("refers to {:?}, which is not a digest", part.digest)))?;
        }
        Ok(parts)
    }
}
