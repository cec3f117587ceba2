//! What is: an application's status.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::words::{HealthCode, SyncCode};
use super::{OperationState, Source, or_default, time};

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
