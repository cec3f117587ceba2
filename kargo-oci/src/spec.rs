//! Small images, for tests and try-outs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use oci_spec::image::{ANNOTATION_CREATED, MediaType};
use serde_json::{Map, Value, json};

use crate::client::Platform;
use crate::repository::digest_of;

/// What a small image should be. It is a valid image: a configuration, layers and a manifest.
///
/// ```
/// use kargo_oci::ImageSpec;
///
/// let spec = ImageSpec::new("linux", "arm64").created("2026-01-02T03:04:05Z".parse()?).label("team", "shop");
/// # let _ = spec;
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageSpec {
    platform: Platform,
    created: Option<Timestamp>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    layers: Vec<Vec<u8>>,
}

impl Default for ImageSpec {
    /// An image for linux/amd64.
    fn default() -> Self {
        Self::new("linux", "amd64")
    }
}

impl ImageSpec {
    /// An image for a system and an architecture.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            platform: Platform::new(os, architecture, ""),
            created: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            layers: Vec::new(),
        }
    }

    /// Sets when it was built: in the configuration, where builders put it.
    #[must_use]
    pub fn created(mut self, created: Timestamp) -> Self {
        self.created = Some(created);
        self
    }

    /// Sets when it was built, in the manifest's annotation as well.
    #[must_use]
    pub fn created_annotation(self, created: Timestamp) -> Self {
        self.created(created).annotation(ANNOTATION_CREATED, created.to_string())
    }

    /// Adds a label of the configuration.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds an annotation of the manifest.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Adds a layer, a tar archive. Without any, the image has one empty layer.
    #[must_use]
    pub fn layer(mut self, tar: impl Into<Vec<u8>>) -> Self {
        self.layers.push(tar.into());
        self
    }
}

/// What an artifact that is no image should be, for [`Client::push_artifact`](crate::Client::push_artifact): its type, files and annotations,
/// and what it is about.
///
/// ```
/// use kargo_oci::ArtifactSpec;
///
/// let report = ArtifactSpec::new("application/vnd.acme.report.v1+json")
///     .layer("application/vnd.acme.report.v1+json", r#"{"tests": 120, "failed": 0}"#)
///     .annotation("org.opencontainers.image.title", "report.json");
/// # let _ = report;
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ArtifactSpec {
    artifact_type: String,
    layers: Vec<(String, Vec<u8>)>,
    annotations: BTreeMap<String, String>,
    pub(crate) subject: Option<String>,
}

impl ArtifactSpec {
    /// An artifact of this type, a media type, without anything in it.
    pub fn new(artifact_type: impl Into<String>) -> Self {
        Self { artifact_type: artifact_type.into(), layers: Vec::new(), annotations: BTreeMap::new(), subject: None }
    }

    /// Adds a file of this media type.
    pub fn layer(mut self, media_type: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        self.layers.push((media_type.into(), bytes.into()));
        self
    }

    /// Adds an annotation of the manifest.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Says that it is about what has this digest in the same repository: it is among the referrers of that then.
    pub fn about(mut self, digest: impl Into<String>) -> Self {
        self.subject = Some(digest.into());
        self
    }

    /// The blobs and the manifest. `subject` describes what it is about.
    pub(crate) fn build(self, subject: Option<Value>) -> Built {
        let nothing = || (MediaType::EmptyJSON.to_string(), b"{}".to_vec());
        let describe = |(media_type, bytes): &(String, Vec<u8>)| json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()});
        let config = nothing();
        // There has to be one.
        let layers = if self.layers.is_empty() { vec![nothing()] } else { self.layers };
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest.to_string(),
            "artifactType": self.artifact_type,
            "config": describe(&config),
            "layers": layers.iter().map(describe).collect::<Vec<_>>(),
        });
        if let Some(subject) = subject {
            manifest["subject"] = subject;
        }
        annotate(&mut manifest, &self.annotations);
        let blobs = layers.into_iter().chain([config]).map(|(_, bytes)| bytes).collect();
        Built { blobs, manifests: vec![(MediaType::ImageManifest.to_string(), manifest.to_string().into_bytes())] }
    }
}

/// An image or index, ready to be pushed: blobs first, then manifests in their order.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) blobs: Vec<Vec<u8>>,
    /// Media type and bytes; the last one is what a tag is to name.
    pub(crate) manifests: Vec<(String, Vec<u8>)>,
}

impl Built {
    pub(crate) fn image(spec: &ImageSpec) -> Self {
        // Two blocks of zeros are the end of every tar archive, and so an empty one.
        let layers = if spec.layers.is_empty() { vec![vec![0; 1024]] } else { spec.layers.clone() };
        let mut config = json!({
            "architecture": spec.platform.architecture(),
            "os": spec.platform.os(),
            "config": {"Labels": spec.labels},
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| digest_of(layer)).collect::<Vec<_>>()},
        });
        if let Some(created) = spec.created {
            config["created"] = created.to_string().into();
        }
        let config = config.to_string().into_bytes();
        let descriptors: Vec<Value> =
            layers.iter().map(|layer| descriptor(&MediaType::ImageLayer, layer, &BTreeMap::new())).collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest.to_string(),
            "config": descriptor(&MediaType::ImageConfig, &config, &BTreeMap::new()),
            "layers": descriptors,
        });
        annotate(&mut manifest, &spec.annotations);
        let mut blobs = layers;
        blobs.push(config);
        Self { blobs, manifests: vec![(MediaType::ImageManifest.to_string(), manifest.to_string().into_bytes())] }
    }

    pub(crate) fn index(specs: &[ImageSpec], annotations: &BTreeMap<String, String>) -> Self {
        let mut all = Self { blobs: Vec::new(), manifests: Vec::new() };
        let mut entries = Vec::new();
        for spec in specs {
            let image = Self::image(spec);
            all.blobs.extend(image.blobs);
            for (media_type, bytes) in image.manifests {
                let mut entry = descriptor(&MediaType::ImageManifest, &bytes, &spec.annotations);
                let mut platform = json!({"os": spec.platform.os(), "architecture": spec.platform.architecture()});
                if !spec.platform.variant().is_empty() {
                    platform["variant"] = spec.platform.variant().into();
                }
                entry["platform"] = platform;
                entries.push(entry);
                all.manifests.push((media_type, bytes));
            }
        }
        let mut index =
            json!({"schemaVersion": 2, "mediaType": MediaType::ImageIndex.to_string(), "manifests": entries});
        annotate(&mut index, annotations);
        all.manifests.push((MediaType::ImageIndex.to_string(), index.to_string().into_bytes()));
        all
    }
}

fn descriptor(media_type: &MediaType, bytes: &[u8], annotations: &BTreeMap<String, String>) -> Value {
    let mut descriptor = json!({"mediaType": media_type.to_string(), "digest": digest_of(bytes), "size": bytes.len()});
    annotate(&mut descriptor, annotations);
    descriptor
}

fn annotate(object: &mut Value, annotations: &BTreeMap<String, String>) {
    if !annotations.is_empty() {
        let annotations: Map<String, Value> =
            annotations.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
        object["annotations"] = annotations.into();
    }
}
