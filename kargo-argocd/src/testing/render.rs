//! An application as the API shows it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::app::{App, Operation, OperationState};

/// Argo CD's stamps have whole seconds.
fn stamp(at: Timestamp) -> Value {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string().into()
}

fn operation(operation: &Operation) -> Value {
    json!({
        "sync": {"revision": operation.revision, "prune": operation.prune},
        "info": operation.infos,
        "initiatedBy": if operation.automated { json!({"automated": true}) } else { json!({"username": operation.username}) },
        "retry": {},
    })
}

fn state(state: &OperationState) -> Value {
    let mut shown = json!({
        "operation": operation(&state.operation),
        "phase": state.phase,
        "message": state.message,
        "startedAt": stamp(state.started_at),
        "syncResult": {"revision": state.operation.revision, "resources": null},
    });
    if let Some(at) = state.finished_at {
        shown["finishedAt"] = stamp(at);
    }
    shown
}

pub(crate) fn application(app: &App) -> Value {
    let spec = &app.spec;
    let source = |target: &str| json!({"repoURL": spec.repo_url, "targetRevision": target, "path": spec.path});
    let destination = json!({"server": "https://kubernetes.default.svc", "namespace": spec.name});
    let mut shown = json!({
        "metadata": {
            "name": spec.name, "namespace": "argocd", "uid": app.uid, "resourceVersion": app.version.to_string(),
        },
        "spec": {"project": spec.project, "source": source(&spec.target_revision), "destination": destination},
        "status": {
            "sync": {
                "status": app.shown.sync,
                "revision": app.shown.revision,
                "comparedTo": {"source": source(&app.shown.target), "destination": destination},
            },
            "health": {"status": app.shown.health},
            "history": app.history.iter().map(|entry| json!({
                "id": entry.id,
                "revision": entry.revision,
                "deployStartedAt": stamp(entry.started_at),
                "deployedAt": stamp(entry.deployed_at),
            })).collect::<Vec<_>>(),
        },
    });
    if spec.deleting {
        shown["metadata"]["deletionTimestamp"] = stamp(app.compare_at);
    }
    if spec.auto_sync {
        shown["spec"]["syncPolicy"] = json!({"automated": {"prune": spec.auto_prune}});
    }
    if let Some(requested) = &app.operation {
        shown["operation"] = operation(requested);
    }
    let status = &mut shown["status"];
    if let Some(last) = &app.state {
        status["operationState"] = state(last);
    }
    if let Some(at) = app.shown.reconciled_at {
        status["reconciledAt"] = stamp(at);
    }
    if let Some(error) = &app.shown.error {
        status["conditions"] = json!([{"type": "ComparisonError", "message": error}]);
    }
    if app.shown.resources {
        status["resources"] = json!([{
            "group": "apps", "version": "v1", "kind": "Deployment", "namespace": spec.name, "name": spec.name,
            "status": app.shown.sync, "health": {"status": app.shown.health},
        }]);
    }
    shown
}
