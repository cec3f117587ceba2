//! What of an application is news.
//!
//! Argo CD compares every application every few minutes, and writes down when it has, also where nothing else has changed. That alone is no
//! news to anybody: who waits for a comparison asks for one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::Application;
use super::super::model::Metadata;

/// What the stream is to tell of an application. Its resources are left out, of which there may be thousands: when one of them changes
/// between two comparisons, the version alone tells that something has.
pub(super) const FIELDS: [&str; 22] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.resourceVersion",
    "metadata.deletionTimestamp",
    "metadata.annotations",
    "metadata.labels",
    "spec",
    "operation",
    "status.reconciledAt",
    "status.sync.status",
    "status.sync.revision",
    "status.sync.revisions",
    "status.health",
    "status.operationState.phase",
    "status.operationState.message",
    "status.operationState.startedAt",
    "status.operationState.finishedAt",
    "status.operationState.retryCount",
    "status.conditions",
    "status.sourceHydrator",
    "status.summary.images",
];

/// By these annotations Argo CD itself notes that a comparison was asked for.
const REFRESH: &str = "argocd.argoproj.io/refresh";

/// A comparison that began so long after the end of the last operation proves no more than one that began then.
const SETTLED: Duration = Duration::from_secs(30);

/// What is told of an application.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) metadata: Metadata,
    /// A digest of what may be of interest; none where that was not told.
    pub(super) gist: Option<u64>,
    /// When the last comparison began.
    pub(super) compared: Option<Timestamp>,
}

impl Told {
    pub(super) fn of(app: &Application) -> Self {
        Self { metadata: app.metadata.clone(), gist: Some(gist(app)), compared: app.status.reconciled_at }
    }

    /// Whether there was a comparison since `before`, and it changed nothing.
    pub(super) fn only_compared(&self, gist: u64, before: Option<Timestamp>) -> bool {
        self.gist == Some(gist) && before.is_some() && self.compared > before
    }
}

/// A digest of all that [`FIELDS`] hold but the version and the time of the last comparison. It is the same only within one process.
pub(super) fn gist(app: &Application) -> u64 {
    let (metadata, status) = (&app.metadata, &app.status);
    let annotations: Map<String, Value> =
        metadata.annotations.clone().into_iter().filter(|(key, _)| !key.starts_with(REFRESH)).collect();
    let operation = status
        .operation_state
        .as_ref()
        .map(|state| json!([state.phase, state.message, state.started_at, state.finished_at, state.retry_count]));
    let text = json!([
        [metadata.uid, metadata.deletion_timestamp, annotations, metadata.labels],
        app.spec,
        app.operation,
        [status.sync.status, status.sync.revision, status.sync.revisions, status.health, status.conditions],
        [operation, status.source_hydrator, status.summary],
    ]);
    let mut hasher = DefaultHasher::new();
    text.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Whether a further comparison of the application would prove nothing that the last one does not.
pub(super) fn is_settled(app: &Application) -> bool {
    let ended = app.status.operation_state.as_ref().and_then(|state| state.finished_at);
    let needed = ended.map(|at| at.checked_add(SETTLED).unwrap_or(Timestamp::MAX));
    app.operation.is_none() && app.status.reconciled_at.is_some_and(|at| needed.is_none_or(|needed| at >= needed))
}
