//! How an application is, outside any deployment.

use std::time::Duration;

use kargo_core::Revision;
use kargo_core::plugin::{Health, Observation};

use super::{plus, words};
use crate::client::{Application, HealthCode, SyncCode, revision_at};
use crate::scrub::without_userinfo;

/// What the application runs in the source at `source`, and how it is.
///
/// The sync status is not part of the health: an application may drift for ever and be well. A health that was written before the last
/// operation ended is not believed; `Unknown` then means that a refresh is needed.
pub fn observe(app: &Application, source: usize) -> Observation {
    let revision = running(app, source);
    let status = &app.status;
    let observation = |health, detail: String| Observation::new(revision.clone(), health, without_userinfo(&detail));
    if let Some(at) = app.metadata.deletion_timestamp {
        return observation(Health::Unhealthy, format!("the application is being deleted, since {at}"));
    }
    let error = status
        .conditions
        .iter()
        .filter(|condition| matches!(condition.kind.as_str(), "InvalidSpecError" | "ComparisonError" | "UnknownError"))
        .map(|condition| format!("{}: {}", condition.kind, condition.message))
        .min();
    if let Some(error) = error {
        return observation(Health::Unhealthy, error);
    }
    if let Some(operation) = &app.operation {
        return observation(Health::Progressing, format!("an operation of {} is under way", operation.initiated_by));
    }
    let ended = status.operation_state.as_ref().and_then(|state| state.finished_at);
    let believable = match (ended, status.reconciled_at) {
        (Some(ended), Some(compared)) => compared >= plus(ended, Duration::from_secs(1)),
        (None, Some(_)) => true,
        (_, None) => false,
    };
    if !believable {
        return observation(Health::Unknown, "Argo CD has not compared since the last operation ended".into());
    }
    let drift = match status.sync.status {
        Some(SyncCode::OutOfSync) => format!("; it is OutOfSync{}", words::out_of_sync(&status.resources)),
        _ => String::new(),
    };
    let word = status.health.status.as_ref();
    let health = match word {
        Some(HealthCode::Healthy) => Health::Healthy,
        None | Some(HealthCode::Progressing | HealthCode::Suspended) => Health::Progressing,
        Some(HealthCode::Degraded | HealthCode::Missing) => Health::Unhealthy,
        Some(HealthCode::Unknown | HealthCode::Other(_)) => Health::Unknown,
    };
    let word = word.map(ToString::to_string).filter(|word| !word.is_empty()).unwrap_or_else(|| "not known yet".into());
    observation(health, format!("Argo CD's health: {word}{}{drift}", words::unhealthy(&status.resources)))
}

/// What runs: for manifests that are rendered ahead the dry revision, where that is known; otherwise what is synced.
fn running(app: &Application, source: usize) -> Option<Revision> {
    let synced = synced(app, source)?;
    if app.spec.source_hydrator.is_none() {
        return Some(synced);
    }
    let last = app.status.source_hydrator.last_successful_operation.as_ref()?;
    let same = last.hydrated_sha.as_deref().is_some_and(|commit| super::same_revision(commit, synced.as_str()));
    last.dry_sha.as_deref().filter(|dry| same && !dry.is_empty()).map(Revision::from)
}

/// What is synced: the compared revision when the cluster holds it, else the newest that was deployed.
fn synced(app: &Application, source: usize) -> Option<Revision> {
    let sources = app.spec.effective_sources().len();
    let sync = &app.status.sync;
    if sync.status == Some(SyncCode::Synced) {
        return revision_at(sources, source, sync.revision.as_deref(), &sync.revisions).map(Revision::from);
    }
    let newest = app.status.history.iter().max_by_key(|entry| entry.id)?;
    revision_at(sources, source, newest.revision.as_deref(), &newest.revisions).map(Revision::from)
}
