//! Artifacts: what a subscription finds and freight carries.
//!
//! Kinds and fields are Kargo's (v1alpha1 Freight). An artifact names exact content: a digest, a commit id, a version.

mod normalize;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use normalize::without_password;
pub use normalize::{normalize_chart_url, normalize_git_url, normalize_image_url, same_repository};

/// A commit of a Git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitCommit {
    /// The repository's URL, as the subscription has it.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// The commit id in full.
    pub id: String,
    /// The branch on which it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The tag by which it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The subject line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The author, `Name <mail>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The subscription's name, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_name: Option<String>,
}

/// A container image, or any artifact of an OCI registry, by tag and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The repository without tag, such as `ghcr.io/acme/app`.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// The tag by which it was found.
    pub tag: String,
    /// The digest that the tag had: the index's for a multi-platform image.
    pub digest: String,
    /// The manifest's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// When the image was built, as far as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// The subscription's name, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_name: Option<String>,
}

/// A Helm chart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    /// `oci://host/path` or the URL of a classic chart repository.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// The chart's name; empty for OCI, where the URL holds it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The version as published.
    pub version: String,
    /// The subscription's name, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_name: Option<String>,
}

/// An artifact of a host's own kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenericArtifact {
    /// The kind, by the name of the source that found it.
    pub artifact_type: String,
    /// The subscription's name.
    pub subscription_name: String,
    /// The version.
    pub version: String,
    /// Anything else; not part of the identity.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub metadata: serde_json::Value,
}

/// One thing of an exact version that a [`crate::plugin::Source`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Artifact {
    /// A Git commit.
    Commit(GitCommit),
    /// A container image.
    Image(Image),
    /// A Helm chart.
    Chart(Chart),
    /// A host's own kind.
    Generic(GenericArtifact),
}

impl Artifact {
    /// The version that people know it by: a tag, a short commit id, a chart version.
    pub fn version(&self) -> &str {
        match self {
            Self::Commit(commit) => commit.tag.as_deref().unwrap_or_else(|| commit.id.get(..7).unwrap_or(&commit.id)),
            Self::Image(image) => &image.tag,
            Self::Chart(chart) => &chart.version,
            Self::Generic(generic) => &generic.version,
        }
    }

    /// The name of the subscription that found it, when it has one.
    pub fn subscription_name(&self) -> Option<&str> {
        match self {
            Self::Commit(commit) => commit.subscription_name.as_deref(),
            Self::Image(image) => image.subscription_name.as_deref(),
            Self::Chart(chart) => chart.subscription_name.as_deref(),
            Self::Generic(generic) => Some(generic.subscription_name.as_str()).filter(|name| !name.is_empty()),
        }
    }

    /// Records the name of the subscription that found it.
    pub(crate) fn set_subscription_name(&mut self, name: &str) {
        match self {
            Self::Commit(commit) => commit.subscription_name = Some(name.into()),
            Self::Image(image) => image.subscription_name = Some(name.into()),
            Self::Chart(chart) => chart.subscription_name = Some(name.into()),
            Self::Generic(generic) => generic.subscription_name = name.into(),
        }
    }

    /// The artifact's part of a freight id's preimage, as Kargo writes it.
    pub(crate) fn identity(&self) -> String {
        let (text, subscription) = match self {
            Self::Commit(commit) => {
                let repo = normalize_git_url(&commit.repo_url);
                let text = match &commit.tag {
                    Some(tag) => format!("{repo}:{tag}:{}", commit.id),
                    None => format!("{repo}:{}", commit.id),
                };
                (text, commit.subscription_name.as_deref())
            }
            Self::Image(image) => {
                (format!("{}:{}@{}", image.repo_url, image.tag, image.digest), image.subscription_name.as_deref())
            }
            Self::Chart(chart) => (
                format!("{}:{}", join_path(&normalize_chart_url(&chart.repo_url), &chart.name), chart.version),
                chart.subscription_name.as_deref(),
            ),
            Self::Generic(generic) => {
                let text = format!("{}:{}:{}", generic.artifact_type, generic.subscription_name, generic.version);
                return text;
            }
        };
        match subscription {
            Some(name) if !name.is_empty() => format!("{text}:{name}"),
            _ => text,
        }
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(commit) => write!(f, "{}@{}", without_password(&commit.repo_url), self.version()),
            Self::Image(image) => write!(f, "{}:{}", without_password(&image.repo_url), image.tag),
            Self::Chart(chart) if chart.name.is_empty() => {
                write!(f, "{}:{}", without_password(&chart.repo_url), chart.version)
            }
            Self::Chart(chart) => write!(f, "{}/{}:{}", without_password(&chart.repo_url), chart.name, chart.version),
            Self::Generic(generic) => {
                write!(f, "{} {}:{}", generic.artifact_type, generic.subscription_name, generic.version)
            }
        }
    }
}

/// Go's `path.Join` of two parts, which Kargo's ids go through: it cleans the result, so `https://x` becomes `https:/x`.
fn join_path(base: &str, name: &str) -> String {
    let rooted = base.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if rooted { format!("/{joined}") } else { joined }
}
