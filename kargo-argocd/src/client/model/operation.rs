//! Operations: what is asked for, and what came of it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::words::OperationPhase;
use super::{Source, or_default, time};

/// A name and a value that travel with an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The value.
    #[serde(deserialize_with = "or_default")]
    pub value: String,
}

/// An operation, as asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// What is to be synced.
    pub sync: Option<SyncOperation>,
    /// Who asked.
    #[serde(deserialize_with = "or_default")]
    pub initiated_by: Initiator,
    /// What the asker attached.
    #[serde(deserialize_with = "or_default")]
    pub info: Vec<Info>,
    /// How often it is tried.
    pub retry: Option<RetryStrategy>,
}

/// How often an operation is tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryStrategy {
    /// The number of tries; below zero there is no limit.
    pub limit: Option<i64>,
}

/// Who asked for an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Initiator {
    /// The user's name.
    pub username: Option<String>,
    /// Whether Argo CD asked by itself.
    pub automated: Option<bool>,
}

impl fmt::Display for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.username, self.automated) {
            (_, Some(true)) => f.write_str("automatic sync"),
            (Some(name), _) if !name.is_empty() => write!(f, "the user {name}"),
            _ => f.write_str("somebody else"),
        }
    }
}

/// What a sync is to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncOperation {
    /// The revision of a single source.
    pub revision: Option<String>,
    /// The revisions of several sources, in their order.
    #[serde(deserialize_with = "or_default")]
    pub revisions: Vec<String>,
    /// Whether nothing is to be changed.
    pub dry_run: Option<bool>,
    /// Whether what is no longer wanted is deleted.
    pub prune: Option<bool>,
    /// Only these resources are synced, when there are any.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<Value>,
}

/// The last operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationState {
    /// The operation as it was asked for.
    #[serde(deserialize_with = "or_default")]
    pub operation: Operation,
    /// How it stands.
    pub phase: Option<OperationPhase>,
    /// What Argo CD says about it.
    pub message: Option<String>,
    /// What it did.
    pub sync_result: Option<SyncResult>,
    /// When it began, in whole seconds.
    #[serde(deserialize_with = "time")]
    pub started_at: Option<Timestamp>,
    /// When it, or its last try, ended, in whole seconds.
    #[serde(deserialize_with = "time")]
    pub finished_at: Option<Timestamp>,
    /// How many tries there were after the first.
    pub retry_count: Option<i64>,
}

/// What a sync did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncResult {
    /// The revision that was synced, for a single source.
    pub revision: Option<String>,
    /// The same for several sources.
    #[serde(deserialize_with = "or_default")]
    pub revisions: Vec<String>,
    /// The source as it was then, for a single one.
    pub source: Option<Source>,
    /// The same for several sources.
    #[serde(deserialize_with = "or_default")]
    pub sources: Vec<Source>,
    /// What was done to each resource.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<ResourceResult>,
}

/// What a sync did to one resource or hook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceResult {
    /// The kind.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// The name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// `Synced`, `SyncFailed`, `Pruned` or `PruneSkipped`.
    pub status: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// When it is run, if it is a hook.
    pub hook_type: Option<String>,
    /// How a hook stands.
    pub hook_phase: Option<OperationPhase>,
}
