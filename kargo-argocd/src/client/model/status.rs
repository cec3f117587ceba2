//! What is: an application's status.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::words::{HealthCode, HydrationPhase, SyncCode};
use super::{OperationState, Source, SourceHydrator, or_default, time};

/// What is, written by two workers of Argo CD: `operation_state` by one, all else by the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The last comparison.
    #[serde(deserialize_with = "or_default")]
    pub sync: SyncStatus,
    /// The health.
    #[serde(deserialize_with = "or_default")]
    pub health: HealthStatus,
    /// The last operation, running or ended.
    pub operation_state: Option<OperationState>,
    /// Successful full syncs, oldest first.
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<HistoryEntry>,
    /// Errors and warnings.
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
    /// When the last full comparison **began**, in whole seconds.
    #[serde(deserialize_with = "time")]
    pub reconciled_at: Option<Timestamp>,
    /// The managed resources.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<Resource>,
    /// How it is with manifests that are rendered ahead.
    #[serde(deserialize_with = "or_default")]
    pub source_hydrator: HydratorStatus,
    /// What is summed up over all resources.
    #[serde(deserialize_with = "or_default")]
    pub summary: Summary,
}

/// What is summed up over all resources.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// The images that run.
    #[serde(deserialize_with = "or_default")]
    pub images: Vec<String>,
}

/// How it is with manifests that are rendered ahead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HydratorStatus {
    /// The last rendering, under way or ended.
    pub current_operation: Option<Hydration>,
    /// The last one that succeeded.
    pub last_successful_operation: Option<Hydration>,
    /// The last revision that was looked at. It may have brought nothing new, or its rendering may still wait to be begun.
    pub last_compared_dry_revision: Option<String>,
}

/// One rendering of manifests onto a branch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hydration {
    /// How it stands; one that is known to have succeeded does not say.
    pub phase: Option<HydrationPhase>,
    /// The revision that was rendered.
    #[serde(rename = "drySHA")]
    pub dry_sha: Option<String>,
    /// The commit that holds what came of it.
    #[serde(rename = "hydratedSHA")]
    pub hydrated_sha: Option<String>,
    /// Why it failed.
    pub message: Option<String>,
    /// The settings with which it was rendered.
    pub source_hydrator: Option<SourceHydrator>,
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStatus {
    /// Whether the cluster holds what the revision asks for.
    pub status: Option<SyncCode>,
    /// To what the followed revision resolved, for a single source.
    pub revision: Option<String>,
    /// The same for several sources.
    #[serde(deserialize_with = "or_default")]
    pub revisions: Vec<String>,
    /// What was compared.
    #[serde(deserialize_with = "or_default")]
    pub compared_to: ComparedTo,
}

/// What a comparison went by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ComparedTo {
    /// The one source.
    pub source: Option<Source>,
    /// The sources.
    #[serde(deserialize_with = "or_default")]
    pub sources: Vec<Source>,
    /// The destination.
    #[serde(deserialize_with = "or_default")]
    pub destination: Map<String, Value>,
}

/// A health, with its reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthStatus {
    /// How well it is.
    pub status: Option<HealthCode>,
    /// Why.
    pub message: Option<String>,
}

/// A successful full sync.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HistoryEntry {
    /// Counts up.
    pub id: Option<i64>,
    /// The revision, for a single source.
    pub revision: Option<String>,
    /// The same for several sources.
    #[serde(deserialize_with = "or_default")]
    pub revisions: Vec<String>,
    /// The source as it was then, for a single one.
    pub source: Option<Source>,
    /// The same for several sources.
    #[serde(deserialize_with = "or_default")]
    pub sources: Vec<Source>,
    /// When its operation began.
    #[serde(deserialize_with = "time")]
    pub deploy_started_at: Option<Timestamp>,
    /// When its operation ended.
    #[serde(deserialize_with = "time")]
    pub deployed_at: Option<Timestamp>,
}

/// An error or a warning about an application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Such as `ComparisonError`.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// The text.
    #[serde(deserialize_with = "or_default")]
    pub message: String,
}

/// A managed resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// The kind.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// The name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Whether it is as wanted.
    pub status: Option<SyncCode>,
    /// How well it is.
    pub health: Option<HealthStatus>,
    /// Whether it is no longer wanted, but still there.
    pub requires_pruning: Option<bool>,
}
