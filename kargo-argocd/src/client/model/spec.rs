//! What is wanted: an application's specification.

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
    /// Set when its manifests are rendered ahead onto a branch.
    pub source_hydrator: Option<Value>,
    /// How it is synced.
    pub sync_policy: Option<SyncPolicy>,
    /// How many history entries are kept.
    pub revision_history_limit: Option<i64>,
}

impl Spec {
    /// The sources that count, in order.
    pub fn effective_sources(&self) -> &[Source] {
        if self.sources.is_empty() { self.source.as_slice() } else { &self.sources }
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
