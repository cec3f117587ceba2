//! What is known of one image: its annotations, when it was built, whether it runs on a platform.

use std::collections::BTreeMap;

use futures::stream;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use oci_spec::image::ANNOTATION_CREATED;
use serde::Deserialize;

use super::shelf::Shelf;
use crate::client::{Client, Fault, Manifest, ManifestContent, ManifestEntry, Platform};
use crate::repository::Repository;

/// The older name of the annotation that says when an image was built.
const BUILD_DATE: &str = "org.label-schema.build-date";
/// How many images of an index are looked at to find the newest.
const CHILDREN: usize = 16;
/// The most that labels may have in all to be kept, in bytes; those after that are left out.
const LABELS: usize = 64 * 1024;
/// The labels that freight gets where the manifest has no annotation of the name: those of the names that OCI has for annotations, and
/// how much they may have, one and all, in bytes. They are in the journal for good.
const OF_FREIGHT: &str = "org.opencontainers.image.";
const LABEL_OF_FREIGHT: usize = 1024;
const LABELS_OF_FREIGHT: usize = 8 * 1024;

/// What is known of an image: facts that follow from its digest, and so never change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageMetadata {
    /// The annotations of the manifest or index, and above them those of its entry for the platform that was asked for.
    pub annotations: BTreeMap<String, String>,
    /// The labels of the configuration, when that was asked for or read for another reason, 64 KiB at most. An index has none of its
    /// own; they are those of its image for the platform that was asked for, else of the first one that was read.
    pub labels: BTreeMap<String, String>,
    /// When it was built, as far as it says: by the annotation `org.opencontainers.image.created`, else
    /// `org.label-schema.build-date`, else the later of the same labels and the configuration. An index without such an
    /// annotation is as new as the newest of its images; where the time does not decide, as the first of them.
    pub created_at: Option<Timestamp>,
    /// The platforms that it runs on, without those that are not known because nobody asked.
    pub platforms: Vec<Platform>,
    /// Whether it runs on the platform that was asked for; true when none was.
    pub fits_platform: bool,
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

/// What is to be found out of an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Whether it runs on this platform.
    pub(crate) platform: Option<&'a Platform>,
    /// Its labels, which may take one request more. Without, they are kept where they are read anyway.
    pub(crate) labels: bool,
    pub(crate) ages: Ages,
}

/// Of which images of an index that does not say when it was built it is asked when they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ages {
    /// Of one, which costs two requests at most.
    One,
    /// Of all, within reason.
    All,
}

/// Where images come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) client: &'a Client,
    pub(crate) repository: &'a Repository,
    /// Where what was fetched before may be found.
    pub(crate) shelf: Option<&'a Shelf>,
}

/// Finds out about the image that `manifest` describes, with as few further requests as that takes.
pub(crate) async fn describe(
    cx: &Context,
    place: Place<'_>,
    manifest: &Manifest,
    wanted: Wanted<'_>,
) -> Result<ImageMetadata, Fault> {
    let mut annotations = manifest.annotations.clone();
    let announced = announced(&annotations);
    match &manifest.content {
        ManifestContent::Image { config, config_type } => {
            let needed = announced.is_none() || wanted.platform.is_some() || wanted.labels;
            let config = if needed && is_image_config(config_type.as_deref()) {
                place.configuration(cx, config).await?
            } else {
                Configuration::default()
            };
            let own =
                Platform::of_image(config.os.as_deref(), config.architecture.as_deref(), config.variant.as_deref());
            Ok(ImageMetadata {
                annotations,
                created_at: announced.or_else(|| config.created()),
                fits_platform: wanted.platform.is_none_or(|platform| own.as_ref() == Some(platform)),
                platforms: own.into_iter().collect(),
                labels: config.labels(),
            })
        }
        ManifestContent::Index { entries } => {
            let fits = |entry: &&ManifestEntry| match wanted.platform {
                Some(platform) => entry.platform.as_ref() == Some(platform),
                None => entry.platform.is_some(),
            };
            let fitting: Vec<&ManifestEntry> = entries.iter().filter(fits).collect();
            let mut metadata = ImageMetadata {
                platforms: entries.iter().filter_map(|entry| entry.platform.clone()).collect(),
                created_at: announced,
                fits_platform: wanted.platform.is_none() || !fitting.is_empty(),
                ..ImageMetadata::default()
            };
            let of_platform = fitting.first().filter(|_| wanted.platform.is_some());
            let wants_labels = wanted.labels && of_platform.is_some();
            let looked_at: Vec<&ManifestEntry> = match (announced, wanted.ages) {
                (Some(_), _) => fitting.iter().take(usize::from(wants_labels)).copied().collect(),
                (None, Ages::One) => telling(&fitting).into_iter().collect(),
                (None, Ages::All) => fitting.iter().take(CHILDREN).copied().collect(),
            };
            let (created, labels) = place.parts(cx, &looked_at, wants_labels).await?;
            (metadata.created_at, metadata.labels) = (announced.or(created), labels);
            if let Some(entry) = of_platform {
                annotations.extend(entry.annotations.clone());
            }
            metadata.annotations = annotations;
            Ok(metadata)
        }
    }
}

impl Client {
    /// All that is known of the image under `reference`, a tag or a digest: its digest, and its annotations, labels, platforms and
    /// time. Two requests, three for an index with a platform; two for each image of an index that does not say when it was built.
    ///
    /// # Errors
    /// As for [`Client::manifest`], and when the configuration is missing or not one.
    pub async fn image_metadata(
        &self,
        cx: &Context,
        repository: &Repository,
        reference: &str,
        platform: Option<&Platform>,
    ) -> Result<(String, ImageMetadata)> {
        let manifest = self.manifest(cx, repository, reference).await?;
        let place = Place { client: self, repository, shelf: None };
        let metadata = describe(cx, place, &manifest, Wanted { platform, labels: true, ages: Ages::All }).await?;
        Ok((manifest.digest, metadata))
    }
}

impl Place<'_> {
    /// When the newest of these images of an index was built, and the labels of the first of which they were read. `wants_labels` has
    /// those of the very first be read.
    async fn parts(
        self,
        cx: &Context,
        entries: &[&ManifestEntry],
        wants_labels: bool,
    ) -> Result<(Option<Timestamp>, BTreeMap<String, String>), Fault> {
        let entries: Vec<(bool, ManifestEntry)> =
            entries.iter().enumerate().map(|(index, entry)| (wants_labels && index == 0, (*entry).clone())).collect();
        stream::iter(entries)
            .map(|(wants_labels, entry)| async move { self.part(cx, &entry, wants_labels).await })
            .buffered(2)
            .try_fold((None, BTreeMap::new()), |(newest, labels), (created, read)| async move {
                Ok((Option::max(newest, created), if labels.is_empty() { read } else { labels }))
            })
            .await
    }

    async fn part(
        self,
        cx: &Context,
        entry: &ManifestEntry,
        wants_labels: bool,
    ) -> Result<(Option<Timestamp>, BTreeMap<String, String>), Fault> {
        let mut created = announced(&entry.annotations);
        if created.is_some() && !wants_labels {
            return Ok((created, BTreeMap::new()));
        }
        let child = self.child(cx, entry).await?;
        created = created.or_else(|| announced(&child.annotations));
        match child.content {
            ManifestContent::Image { config, config_type }
                if is_image_config(config_type.as_deref()) && (created.is_none() || wants_labels) =>
            {
                let config = self.configuration(cx, &config).await?;
                Ok((created.or_else(|| config.created()), config.labels()))
            }
            // An index in an index is allowed, but nobody's image; it need not be followed to know the digest.
            _ => Ok((created, BTreeMap::new())),
        }
    }

    async fn child(self, cx: &Context, entry: &ManifestEntry) -> Result<Manifest, Fault> {
        if let Some(manifest) = self.kept(&entry.digest).await {
            return Ok(manifest);
        }
        let manifest = self.client.try_manifest(cx, self.repository, &entry.digest).await.map_err(missing_part)?;
        self.keep(&manifest.digest, &manifest.bytes).await;
        Ok(manifest)
    }

    /// A manifest that was fetched before.
    pub(crate) async fn kept(self, digest: &str) -> Option<Manifest> {
        Manifest::kept(self.shelf?.get(self.repository, digest).await?, digest).ok()
    }

    /// Keeps what was fetched, and has this digest.
    pub(crate) async fn keep(self, digest: &str, bytes: &[u8]) {
        if let Some(shelf) = self.shelf {
            shelf.put(self.repository, digest, bytes).await;
        }
    }

    async fn configuration(self, cx: &Context, digest: &str) -> Result<Configuration, Fault> {
        let kept = match self.shelf {
            Some(shelf) => shelf.get(self.repository, digest).await,
            None => None,
        };
        let bytes = match kept {
            Some(bytes) => bytes,
            None => {
                let bytes = self.client.try_blob(cx, self.repository, digest).await.map_err(missing_part)?;
                self.keep(digest, &bytes).await;
                bytes
            }
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            let error = Error::new(
                ErrorKind::InvalidResponse,
                format!("The configuration {digest} of {} is not that of an image.", self.repository),
            )
            .because(error);
            Fault::Image { error, digest: Some(digest.to_owned()) }
        })
    }
}

/// A part of an image that the registry does not have is that image's fault. It may yet come.
fn missing_part(fault: Fault) -> Fault {
    match fault {
        Fault::Look(error) if error.kind() == ErrorKind::NotFound => Fault::Image { error, digest: None },
        other => other,
    }
}

/// Whether a configuration of this media type is an image's. Charts and other artifacts have anything there, or nothing.
fn is_image_config(media_type: Option<&str>) -> bool {
    matches!(
        media_type,
        None | Some("application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json")
    )
}

impl Configuration {
    /// The later of what the labels and what the configuration itself say.
    fn created(&self) -> Option<Timestamp> {
        let labels = self.config.as_ref().and_then(|config| config.labels.as_ref());
        let label = |key: &str| labels.and_then(|labels| labels.get(key)?.as_deref()?.parse::<Timestamp>().ok());
        let labelled = label(ANNOTATION_CREATED).or_else(|| label(BUILD_DATE));
        labelled.max(self.created.as_deref().and_then(|created| created.parse().ok()))
    }

    fn labels(self) -> BTreeMap<String, String> {
        let labels = self.config.and_then(|config| config.labels).unwrap_or_default();
        let mut left = LABELS;
        let mut fits = |(key, value): &(String, String)| {
            let size = key.len() + value.len();
            left = left.saturating_sub(size);
            left > 0
        };
        labels.into_iter().filter_map(|(key, value)| Some((key, value?))).take_while(|label| fits(label)).collect()
    }
}

/// The image of an index that says by itself when it was built, the latest of them; else the first.
fn telling<'a>(entries: &[&'a ManifestEntry]) -> Option<&'a ManifestEntry> {
    let says = entries.iter().copied().filter(|entry| announced(&entry.annotations).is_some());
    says.max_by_key(|entry| announced(&entry.annotations)).or(entries.first().copied())
}

impl ImageMetadata {
    /// What freight has of it: the annotations, and the labels of the names that OCI has for annotations, such as the source and the
    /// revision, which most builders write into labels alone.
    pub(super) fn of_freight(&self) -> BTreeMap<String, String> {
        let mut left = LABELS_OF_FREIGHT;
        let mut fits = |(key, value): &(&String, &String)| {
            let size = key.len() + value.len();
            let fits = size <= LABEL_OF_FREIGHT.min(left);
            left -= if fits { size } else { 0 };
            fits
        };
        let labels = self.labels.iter().filter(|(key, _)| key.starts_with(OF_FREIGHT)).filter(|label| fits(label));
        let mut all: BTreeMap<String, String> = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
        all.extend(self.annotations.clone());
        all
    }
}

fn announced(annotations: &BTreeMap<String, String>) -> Option<Timestamp> {
    let read = |key: &str| annotations.get(key)?.parse::<Timestamp>().ok();
    read(ANNOTATION_CREATED).or_else(|| read(BUILD_DATE))
}
