//! What is known of one image: its annotations, when it was built, whether it runs on a platform.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use oci_spec::image::ANNOTATION_CREATED;
use serde::Deserialize;

use crate::client::{Client, Manifest, ManifestContent, ManifestEntry, Platform};
use crate::repository::Repository;

/// The older name of the annotation that says when an image was built.
const BUILD_DATE: &str = "org.label-schema.build-date";
/// How many images of an index are looked at to find the newest.
const CHILDREN: usize = 16;

/// Facts that follow from a digest, and so never change.
#[derive(Debug, Clone)]
pub(crate) struct ImageMetadata {
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) created_at: Option<Timestamp>,
    /// Whether the image runs on the platform that was asked for; true when none was.
    pub(crate) fits_platform: bool,
}

/// The part of an image's configuration that matters here. Everything is optional: other artifacts have other things
/// there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    created: Option<String>,
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    config: Option<Runtime>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Runtime {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, Option<String>>>,
}

/// Finds out about the image that `manifest` describes, with as few further requests as that takes.
pub(crate) async fn describe(
    cx: &Context,
    client: &Client,
    repository: &Repository,
    manifest: &Manifest,
    platform: Option<&Platform>,
) -> Result<ImageMetadata> {
    let mut annotations = manifest.annotations.clone();
    let announced = announced(&annotations);
    match &manifest.content {
        ManifestContent::Image { config } => {
            if let (Some(created), None) = (announced, platform) {
                return Ok(ImageMetadata { annotations, created_at: Some(created), fits_platform: true });
            }
            let config = configuration(cx, client, repository, config).await?;
            let own =
                Platform::of_image(config.os.as_deref(), config.architecture.as_deref(), config.variant.as_deref());
            let fits_platform = platform.is_none_or(|platform| own.as_ref() == Some(platform));
            Ok(ImageMetadata { annotations, created_at: announced.or_else(|| config.created()), fits_platform })
        }
        ManifestContent::Index { entries } => {
            let fits = |entry: &&ManifestEntry| match platform {
                Some(platform) => entry.platform.as_ref() == Some(platform),
                None => entry.platform.is_some(),
            };
            let fitting: Vec<&ManifestEntry> = entries.iter().filter(fits).collect();
            if platform.is_some() {
                let Some(entry) = fitting.first() else {
                    return Ok(ImageMetadata { annotations, created_at: announced, fits_platform: false });
                };
                annotations.extend(entry.annotations.clone());
            }
            let created_at = match announced {
                Some(created) => Some(created),
                None => newest(cx, client, repository, &fitting).await?,
            };
            Ok(ImageMetadata { annotations, created_at, fits_platform: true })
        }
    }
}

/// When the newest image of an index was built.
async fn newest(
    cx: &Context,
    client: &Client,
    repository: &Repository,
    entries: &[&ManifestEntry],
) -> Result<Option<Timestamp>> {
    let entries: Vec<ManifestEntry> = entries.iter().take(CHILDREN).map(|entry| (*entry).clone()).collect();
    let times: Vec<Result<Option<Timestamp>>> = stream::iter(entries)
        .map(|entry| async move {
            if let Some(created) = announced(&entry.annotations) {
                return Ok(Some(created));
            }
            let child = client.manifest(cx, repository, &entry.digest).await?;
            if let Some(created) = announced(&child.annotations) {
                return Ok(Some(created));
            }
            match child.content {
                ManifestContent::Image { config } => {
                    Ok(configuration(cx, client, repository, &config).await?.created())
                }
                // An index in an index is allowed, but nobody's image; it need not be followed to know the digest.
                ManifestContent::Index { .. } => Ok(None),
            }
        })
        .buffer_unordered(2)
        .collect()
        .await;
    times.into_iter().try_fold(None, |newest, created| Ok(newest.max(created?)))
}

async fn configuration(cx: &Context, client: &Client, repository: &Repository, digest: &str) -> Result<Configuration> {
    let bytes = client.blob(cx, repository, digest).await?;
    // Charts and other artifacts may have anything here, or nothing. Only JSON that claims to be a configuration and
    // has wrong types in it is a fault.
    match serde_json::from_slice(&bytes) {
        Ok(configuration) => Ok(configuration),
        Err(error) if error.is_data() => Err(Error::new(
            ErrorKind::InvalidResponse,
            format!("The configuration {digest} of {repository} is not that of an image."),
        )
        .because(error)),
        Err(_) => Ok(Configuration::default()),
    }
}

impl Configuration {
    /// The later of what the labels and what the configuration itself say.
    fn created(&self) -> Option<Timestamp> {
        let labels = self.config.as_ref().and_then(|config| config.labels.as_ref());
        let label = |key: &str| labels.and_then(|labels| labels.get(key)?.as_deref()?.parse::<Timestamp>().ok());
        let labelled = label(ANNOTATION_CREATED).or_else(|| label(BUILD_DATE));
        labelled.max(self.created.as_deref().and_then(|created| created.parse().ok()))
    }
}

fn announced(annotations: &BTreeMap<String, String>) -> Option<Timestamp> {
    let read = |key: &str| annotations.get(key)?.parse::<Timestamp>().ok();
    read(ANNOTATION_CREATED).or_else(|| read(BUILD_DATE))
}
