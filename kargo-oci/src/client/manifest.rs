//! Manifests and indexes, as far as discovery reads them. Unknown fields are allowed: what is pushed on is always the
//! bytes.

use std::collections::BTreeMap;
use std::fmt;

use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::repository::checked_digest;

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// The annotation by which BuildKit's attestations in an index name the image that they are about.
pub(crate) const ABOUT: &str = "vnd.docker.reference.digest";

/// The most entries that an index may have.
const ENTRIES: usize = 1_000;
/// The most that annotations may have in all, in bytes.
const ANNOTATIONS: usize = 64 * 1024;

/// A manifest or index, its bytes and their digest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Manifest {
    /// The digest of the bytes, as computed here.
    pub digest: String,
    /// The media type, by the body or else the response.
    pub media_type: String,
    /// The bytes as they were received.
    pub bytes: Vec<u8>,
    /// What they say.
    pub content: ManifestContent,
    /// The annotations of the manifest or index itself.
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ManifestContent {
    /// One image, or another artifact.
    Image {
        /// The digest of the configuration.
        config: String,
        /// The media type of the configuration, which says what kind of artifact this is.
        config_type: Option<String>,
    },
    /// Several, mostly one per platform.
    Index {
        /// The entries in their order.
        entries: Vec<ManifestEntry>,
    },
}

/// An entry of an index.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ManifestEntry {
    /// The digest of the manifest.
    pub digest: String,
    /// The platform, when it names a real one: attestations and other attachments name none, or `unknown`.
    pub platform: Option<Platform>,
    /// Whether it says nothing of a platform, not even `unknown`. Container runtimes take such an entry for one that may run anywhere.
    pub runs_anywhere: bool,
    /// The annotations of the entry.
    pub annotations: BTreeMap<String, String>,
}

/// An operating system and a processor: `linux/amd64`, `linux/arm/v7`.
///
/// What is the same is equal, however it is written: `arm64` is `arm64/v8` and `aarch64`, `arm` is `arm/v7`, and `amd64` is
/// `amd64/v1` and `x86_64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: String,
}

impl Platform {
    /// A platform of an operating system and an architecture, and a variant where there are several (or an empty one).
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        // The spellings are those that containerd takes for one platform.
        let (architecture, variant) = match (architecture, variant) {
            ("aarch64" | "arm64", "v8" | "8") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("i386", variant) => ("386", variant),
            ("armhf", "") | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", "") | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            same => same,
        };
        Self { os: os.into(), architecture: architecture.into(), variant: variant.into() }
    }

    /// Reads `os/architecture` or `os/architecture/variant`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is neither.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        match parts.as_slice() {
            [os, architecture] if parts.iter().all(is_word) => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] if parts.iter().all(is_word) => Ok(Self::new(os, architecture, variant)),
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is not a platform; write the system and the architecture, such as linux/amd64."),
            )),
        }
    }

    /// The same from what an image says, or nothing when it names no real platform.
    pub(crate) fn of_image(os: Option<&str>, architecture: Option<&str>, variant: Option<&str>) -> Option<Self> {
        let real = |text: Option<&str>| text.map(str::to_owned).filter(|text| !text.is_empty() && text != "unknown");
        Some(Self::new(&real(os)?, &real(architecture)?, variant.unwrap_or_default()))
    }

    /// The operating system.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The variant; empty where there is only one.
    pub fn variant(&self) -> &str {
        &self.variant
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<BodyEntry>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<Vec<BodyEntry>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BodyEntry {
    digest: String,
    media_type: Option<String>,
    platform: Option<BodyPlatform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
struct BodyPlatform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

fn annotations(found: Option<BTreeMap<String, Option<String>>>) -> Option<BTreeMap<String, String>> {
    let found: BTreeMap<_, _> =
        found.unwrap_or_default().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let size: usize = found.iter().map(|(key, value)| key.len() + value.len()).sum();
    (size <= ANNOTATIONS).then_some(found)
}

/// A content type without its parameters, when it is that of a manifest.
pub(super) fn accepted(content_type: Option<&str>) -> Option<&str> {
    let plain = content_type?.split(';').next()?.trim();
    ACCEPTED.contains(&plain).then_some(plain)
}

impl Manifest {
    /// Reads `bytes`, which have this digest. `name` is for errors.
    pub(super) fn read(bytes: Vec<u8>, digest: String, content_type: Option<&str>, name: &str) -> Result<Self> {
        let invalid = |why: String| Error::new(ErrorKind::InvalidResponse, format!("The manifest of {name} {why}."));
        let body: Body = serde_json::from_slice(&bytes).map_err(|error| {
            invalid(format!(
                "is not JSON of a manifest (content type {:?}); it begins with {}",
                content_type.unwrap_or(""),
                super::exchange::excerpt(&bytes)
            ))
            .because(error)
        })?;
        if body.schema_version == Some(1) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{name} is of Docker's first manifest format, which has no digests; push it again or ignore the tag."
                ),
            ));
        }
        let content_type = accepted(content_type);
        let too_large = || invalid(format!("has more than {ANNOTATIONS} bytes of annotations"));
        let digest_of = |entry: &BodyEntry| {
            checked_digest(&entry.digest)
                .map(|digest| digest.to_string())
                .map_err(|_| invalid(format!("refers to {:?}, which is not a digest", entry.digest)))
        };
        let (content, kind) = match (body.config, body.manifests) {
            (None, Some(manifests)) if body.layers.is_none() => {
                if manifests.len() > ENTRIES {
                    return Err(invalid(format!("has more than {ENTRIES} entries")));
                }
                let entries = manifests.into_iter().map(|entry| {
                    let digest = digest_of(&entry)?;
                    let platform = entry.platform.as_ref().and_then(|platform| {
                        Platform::of_image(
                            platform.os.as_deref(),
                            platform.architecture.as_deref(),
                            platform.variant.as_deref(),
                        )
                    });
                    let says = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
                    let said = entry.platform.as_ref();
                    Ok(ManifestEntry {
                        digest,
                        platform,
                        runs_anywhere: !said.is_some_and(|said| says(&said.os) || says(&said.architecture)),
                        annotations: annotations(entry.annotations).ok_or_else(too_large)?,
                    })
                });
                (ManifestContent::Index { entries: entries.collect::<Result<_>>()? }, OCI_INDEX)
            }
            (Some(config), None) => {
                (ManifestContent::Image { config: digest_of(&config)?, config_type: config.media_type }, OCI_MANIFEST)
            }
            (None, None) => return Err(invalid("is neither an image nor an index".into())),
            // Two readers could take it for two different things.
            _ => return Err(invalid("claims to be an image and an index at once".into())),
        };
        let annotations = annotations(body.annotations).ok_or_else(too_large)?;
        let media_type = body.media_type.or(content_type.map(str::to_owned)).unwrap_or_else(|| kind.to_owned());
        Ok(Self { digest, media_type, bytes, content, annotations })
    }

    /// Reads bytes that were kept, and that have this digest.
    pub(crate) fn kept(bytes: Vec<u8>, digest: &str) -> Result<Self> {
        let manifest = Self::read(bytes, digest.to_owned(), None, digest)?;
        manifest.check_type(None, digest).map(|()| manifest)
    }

    /// Whether all agree on what this is: the body's media type, the response's, and the fields that there are. Two readers that
    /// go by different ones would otherwise take it for two different things.
    pub(super) fn check_type(&self, content_type: Option<&str>, name: &str) -> Result<()> {
        let invalid = |why: String| Error::new(ErrorKind::InvalidResponse, format!("The manifest of {name} {why}."));
        let said = self.media_type.as_str();
        if let Some(header) = accepted(content_type).filter(|header| *header != said) {
            return Err(invalid(format!("says it is {said:?} but was sent as {header:?}")));
        }
        let is_index = matches!(self.content, ManifestContent::Index { .. });
        if ACCEPTED.contains(&said) && matches!(said, OCI_INDEX | DOCKER_LIST) != is_index {
            let what = if is_index { "an index" } else { "a single image" };
            return Err(invalid(format!("says it is {said:?} but has the fields of {what}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: serde_json::Value, content_type: Option<&str>) -> Result<Manifest> {
        let manifest = Manifest::read(body.to_string().into_bytes(), "sha256:x".into(), content_type, "r/app:1")?;
        manifest.check_type(content_type, "r/app:1").map(|()| manifest)
    }

    fn entry() -> serde_json::Value {
        serde_json::json!({"digest": format!("sha256:{}", "0".repeat(64)), "size": 1, "mediaType": "x"})
    }

    #[test]
    fn a_manifest_that_two_readers_could_take_differently_is_refused() {
        let both = serde_json::json!({"schemaVersion": 2, "config": entry(), "layers": [], "manifests": []});
        assert_eq!(read(both, None).unwrap_err().kind(), ErrorKind::InvalidResponse);
        let image = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entry(), "layers": []});
        assert!(read(image.clone(), Some(OCI_INDEX)).is_err());
        assert!(read(image.clone(), Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8")).is_ok());
        assert!(read(image, Some("text/plain")).is_ok());
        let mut image = serde_json::json!({"schemaVersion": 2, "config": entry(), "layers": []});
        assert!(read(image.clone(), Some(OCI_INDEX)).is_err());
        image["mediaType"] = DOCKER_LIST.into();
        assert!(read(image, None).is_err());
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "manifests": []});
        assert!(read(index, None).is_err());
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        let mut image = serde_json::json!({"schemaVersion": 2, "config": entry()});
        image["config"]["digest"] = "md5:abcd".into();
        assert!(read(image, None).is_err());
        assert_eq!(read(serde_json::json!({"schemaVersion": 1}), None).unwrap_err().kind(), ErrorKind::Unsupported);
        let many = serde_json::json!({"manifests": vec![entry(); ENTRIES + 1]});
        assert!(read(many, None).is_err());
    }

    #[test]
    fn null_annotations_and_missing_layers_are_no_reason_to_refuse() {
        let image = serde_json::json!({"config": entry(), "annotations": {"a": "1", "b": null}});
        assert_eq!(read(image, None).unwrap().annotations, BTreeMap::from([("a".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn platforms_are_compared_by_what_they_mean() {
        assert_eq!(Platform::parse("linux/arm64").unwrap(), Platform::new("linux", "arm64", "v8"));
        for (one, other) in [
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/armel"),
            ("linux/aarch64", "linux/arm64/v8"),
            ("linux/x86_64", "linux/amd64/v1"),
        ] {
            assert_eq!(Platform::parse(one).unwrap(), Platform::parse(other).unwrap());
        }
        assert_ne!(Platform::parse("linux/amd64/v3").unwrap(), Platform::parse("linux/amd64").unwrap());
        assert_ne!(Platform::parse("linux/arm/v6").unwrap(), Platform::parse("linux/arm/v7").unwrap());
        for text in ["linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux /amd64", ""] {
            assert!(Platform::parse(text).is_err(), "{text:?}");
        }
    }
}
