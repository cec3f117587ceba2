//! What is wanted: an application's specification.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::or_default;

/// An application's specification.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The project it belongs to.
    #[serde(deserialize_with = "or_default")]
    pub project: String,
    /// Where it is deployed.
    #[serde(deserialize_with = "or_default")]
    pub destination: Map<String, Value>,
    /// Its one source.
    pub source: Option<Source>,
    /// Its sources; when there are any, `source` does not count.
    #[serde(deserialize_with = "or_default")]
    pub sources: Vec<Source>,
    /// Set when its manifests are rendered ahead onto a branch; then neither `source` nor `sources` counts.
    pub source_hydrator: Option<SourceHydrator>,
    /// How it is synced.
    pub sync_policy: Option<SyncPolicy>,
    /// How many history entries are kept.
    pub revision_history_limit: Option<i64>,
}

impl Spec {
    /// The sources that are compared and synced, in order. Of an application whose manifests are rendered ahead, that is the branch they
    /// are rendered onto.
    pub fn effective_sources(&self) -> Cow<'_, [Source]> {
        match &self.source_hydrator {
            Some(hydrator) => Cow::Owned(vec![hydrator.rendered()]),
            None => Cow::Borrowed(self.written_sources()),
        }
    }

    /// The sources that people and promotions write to, in order. Of an application whose manifests are rendered ahead, that is what they
    /// are rendered from.
    pub fn written_sources(&self) -> &[Source] {
        match &self.source_hydrator {
            Some(hydrator) => std::slice::from_ref(&hydrator.dry_source),
            None if self.sources.is_empty() => self.source.as_slice(),
            None => &self.sources,
        }
    }

    /// Whether Argo CD syncs by itself.
    pub fn auto_sync(&self) -> bool {
        self.automated().is_some_and(|automated| automated.enabled != Some(false))
    }

    /// Whether automatic syncs prune.
    pub fn auto_prune(&self) -> bool {
        self.automated().is_some_and(|automated| automated.prune == Some(true))
    }

    fn automated(&self) -> Option<&Automated> {
        self.sync_policy.as_ref()?.automated.as_ref()
    }
}

/// One source of an application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// The repository.
    #[serde(rename = "repoURL", deserialize_with = "or_default")]
    pub repo_url: String,
    /// The branch, tag, commit or chart version that is followed.
    pub target_revision: Option<String>,
    /// The path in the repository.
    pub path: Option<String>,
    /// The chart, when the repository holds charts.
    pub chart: Option<String>,
    /// The name under which other sources refer to this one's files.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The source's own name.
    pub name: Option<String>,
    /// All else, kept so that two sources compare as a whole.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Source {
    /// Whether it only lends its files to other sources and brings no manifests of its own.
    pub fn is_reference_only(&self) -> bool {
        self.reference.is_some() && self.path.is_none() && self.chart.is_none()
    }

    /// Whether both hold the same at the same revision, whatever they follow.
    pub(crate) fn holds_the_same(&self, other: &Self) -> bool {
        let followed = |source: &Self| Self { target_revision: None, ..source.clone() };
        followed(self) == followed(other)
    }
}

/// How an application's manifests are rendered ahead, onto a branch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceHydrator {
    /// What is rendered; promotions write there.
    #[serde(deserialize_with = "or_default")]
    pub dry_source: Source,
    /// What is synced.
    #[serde(deserialize_with = "or_default")]
    pub sync_source: SyncSource,
    /// Where it is rendered to, when that is another branch than the synced one, which somebody else has to bring there.
    pub hydrate_to: Option<HydrateTo>,
}

impl SourceHydrator {
    /// The branch that is synced, as a source.
    pub(crate) fn rendered(&self) -> Source {
        let repo_url = self.sync_source.repo_url.as_ref().filter(|url| !url.is_empty());
        Source {
            repo_url: repo_url.unwrap_or(&self.dry_source.repo_url).clone(),
            target_revision: Some(self.sync_source.target_branch.clone()),
            path: Some(self.sync_source.path.clone()),
            ..Source::default()
        }
    }
}

/// The branch that rendered manifests are synced from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncSource {
    /// The repository; none is that of what is rendered.
    #[serde(rename = "repoURL", skip_serializing_if = "Option::is_none")]
    pub repo_url: Option<String>,
    /// The branch.
    #[serde(deserialize_with = "or_default")]
    pub target_branch: String,
    /// The path there.
    #[serde(deserialize_with = "or_default")]
    pub path: String,
}

/// The branch that manifests are rendered onto.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HydrateTo {
    /// The branch.
    #[serde(deserialize_with = "or_default")]
    pub target_branch: String,
}

/// How an application is synced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncPolicy {
    /// Present when Argo CD syncs by itself.
    pub automated: Option<Automated>,
}

/// How Argo CD syncs by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Automated {
    /// Delete what is no longer wanted.
    pub prune: Option<bool>,
    /// Sync again when the cluster drifts.
    pub self_heal: Option<bool>,
    /// `false` switches it off.
    pub enabled: Option<bool>,
}
