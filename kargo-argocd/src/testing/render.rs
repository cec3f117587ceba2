//! An application as the API shows it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::app::{App, Operation, OperationState};
use super::settings::FakeApp;
use super::world::CONTROL;
use crate::client::{Source, SourceHydrator};

/// Argo CD's stamps have whole seconds.
pub(super) fn stamp(at: Timestamp) -> Value {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string().into()
}

/// A source without the fields that it does not have.
fn source(source: &Source) -> Value {
    let mut shown = serde_json::to_value(source).unwrap_or_default();
    if let Some(fields) = shown.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    shown
}

fn hydrator(settings: &SourceHydrator) -> Value {
    let mut shown = serde_json::to_value(settings).unwrap_or_default();
    shown["drySource"] = source(&settings.dry_source);
    if settings.hydrate_to.is_none()
        && let Some(fields) = shown.as_object_mut()
    {
        fields.remove("hydrateTo");
    }
    shown
}

/// How it is with manifests that are rendered ahead.
fn hydration(app: &App) -> Value {
    let known = &app.hydrator;
    let mut shown = json!({"lastComparedDryRevision": known.looked_at});
    if let Some(phase) = known.phase {
        shown["currentOperation"] = json!({"phase": phase, "message": known.message});
    }
    if let Some((dry, commit, settings)) = &known.last {
        let last = json!({"drySHA": dry, "hydratedSHA": commit, "sourceHydrator": hydrator(settings)});
        if known.phase == Some("Hydrated") {
            shown["currentOperation"] = json!({"phase": "Hydrated", "drySHA": dry, "hydratedSHA": commit});
        }
        shown["lastSuccessfulOperation"] = last;
    }
    shown
}

/// The sources under the name that their number asks for.
fn sources(spec: &FakeApp, of: &[Source], into: &mut Value) {
    if spec.is_multi_source() {
        into["sources"] = of.iter().map(source).collect();
    } else if let Some(only) = of.first() {
        into["source"] = source(only);
    }
}

/// The revisions under the name that the number of sources asks for.
fn revisions(spec: &FakeApp, of: &[String], into: &mut Value) {
    if spec.is_multi_source() {
        into["revisions"] = json!(of);
    } else {
        into["revision"] = of.first().cloned().unwrap_or_default().into();
    }
}

fn operation(spec: &FakeApp, operation: &Operation) -> Value {
    let mut sync = json!({"prune": operation.prune});
    revisions(spec, &operation.revisions, &mut sync);
    if !spec.sync_options.is_empty() {
        sync["syncOptions"] = json!(spec.sync_options);
    }
    json!({
        "sync": sync,
        "info": operation.infos,
        "initiatedBy": if operation.automated { json!({"automated": true}) } else { json!({"username": operation.username}) },
        "retry": if spec.retries > 0 { json!({"limit": spec.retries}) } else { json!({}) },
    })
}

fn state(spec: &FakeApp, state: &OperationState) -> Value {
    let kind = if spec.has_rollout() { "Rollout" } else { "Deployment" };
    let workload = state.applied.then(|| json!({"kind": kind, "name": spec.name, "status": "Synced"}));
    let hooks = state.hooks.iter().map(|(of, phase)| {
        let name = if *of == "PreSync" { "before" } else { "after" };
        json!({"kind": "Job", "name": name, "hookType": of, "hookPhase": phase})
    });
    let mut result = json!({"resources": workload.into_iter().chain(hooks).collect::<Vec<_>>()});
    revisions(spec, &state.operation.revisions, &mut result);
    if spec.is_multi_source() {
        // Of all that holds revisions, this writes the form for a single source as well.
        result["revision"] = "".into();
    }
    sources(spec, &state.operation.sources, &mut result);
    let mut shown = json!({
        "operation": operation(spec, &state.operation),
        "phase": state.phase,
        "message": state.message,
        "startedAt": stamp(state.started_at),
        "syncResult": result,
    });
    if let Some(at) = state.finished_at {
        shown["finishedAt"] = stamp(at);
    }
    if state.retries > 0 {
        shown["retryCount"] = state.retries.into();
    }
    shown
}

fn metadata(app: &App) -> Value {
    let spec = &app.spec;
    let mut shown = json!({
        "name": spec.name,
        "namespace": spec.namespace.as_deref().unwrap_or(CONTROL),
        "uid": app.uid,
        "resourceVersion": app.version.to_string(),
        "annotations": spec.annotations,
        "labels": spec.labels,
    });
    if spec.deleting {
        shown["deletionTimestamp"] = stamp(app.compare_at);
    }
    if let Some(set) = &spec.application_set {
        shown["ownerReferences"] =
            json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": set}]);
    }
    shown
}

fn specification(spec: &FakeApp) -> Value {
    let destination = json!({"server": "https://kubernetes.default.svc", "namespace": spec.name});
    let mut shown = json!({"project": spec.project, "destination": destination});
    match &spec.hydrator {
        Some(settings) => shown["sourceHydrator"] = hydrator(settings),
        None => sources(spec, &spec.sources, &mut shown),
    }
    if let Some(limit) = spec.history_limit {
        shown["revisionHistoryLimit"] = limit.into();
    }
    let mut policy = Map::new();
    if spec.auto_sync {
        policy.insert("automated".into(), json!({"prune": spec.auto_prune}));
    }
    if spec.retries > 0 {
        policy.insert("retry".into(), json!({"limit": spec.retries}));
    }
    if !spec.sync_options.is_empty() {
        policy.insert("syncOptions".into(), json!(spec.sync_options));
    }
    if !policy.is_empty() {
        shown["syncPolicy"] = policy.into();
    }
    shown
}

fn resources(app: &App) -> Value {
    let spec = &app.spec;
    let (group, version, kind) = workload(spec);
    json!([{
        "group": group, "version": version, "kind": kind, "namespace": spec.name, "name": spec.name,
        "status": app.shown.sync, "health": {"status": app.shown.health},
    }])
}

pub(crate) fn application(app: &App) -> Value {
    let spec = &app.spec;
    let mut compared = json!({"destination": {"server": "https://kubernetes.default.svc", "namespace": spec.name}});
    sources(spec, &app.shown.sources, &mut compared);
    let mut sync = json!({"status": app.shown.sync, "comparedTo": compared});
    revisions(spec, &app.shown.revisions, &mut sync);
    let history = app.history.iter().map(|entry| {
        let (started, deployed) = (stamp(entry.started_at), stamp(entry.deployed_at));
        let mut shown = json!({"id": entry.id, "deployStartedAt": started, "deployedAt": deployed});
        revisions(spec, &entry.revisions, &mut shown);
        sources(spec, &entry.sources, &mut shown);
        shown
    });
    let mut shown = json!({
        "metadata": metadata(app),
        "spec": specification(spec),
        "status": {"sync": sync, "health": {"status": app.shown.health}, "history": history.collect::<Vec<_>>()},
    });
    if let Some(requested) = &app.operation {
        shown["operation"] = operation(spec, requested);
    }
    let status = &mut shown["status"];
    if let Some(last) = &app.state {
        status["operationState"] = state(spec, last);
    }
    if let Some(at) = app.shown.reconciled_at {
        status["reconciledAt"] = stamp(at);
    }
    if let Some(error) = &app.shown.error {
        status["conditions"] = json!([{"type": "ComparisonError", "message": error}]);
    }
    if spec.hydrator.is_some() {
        status["sourceHydrator"] = hydration(app);
    }
    if !app.shown.images.is_empty() {
        status["summary"] = json!({"images": app.shown.images});
    }
    if app.shown.resources {
        status["resources"] = resources(app);
    }
    shown
}

/// The group, version and kind of what it runs by.
fn workload(spec: &FakeApp) -> (&'static str, &'static str, &'static str) {
    if spec.has_rollout() { ("argoproj.io", "v1alpha1", "Rollout") } else { ("apps", "v1", "Deployment") }
}

/// The objects in the cluster and how they stand, as the resource tree shows them.
pub(crate) fn tree(app: &App, now: Timestamp) -> Value {
    let Some(live) = &app.live else { return json!({"nodes": null}) };
    let spec = &app.spec;
    let (group, version, kind) = workload(spec);
    let parent = json!({"group": group, "kind": kind, "namespace": spec.name, "name": spec.name, "uid": format!("{}-workload", app.uid)});
    let child = |group: &str, kind: &str, name: String, health: Value| {
        json!({
            "group": group, "version": "v1", "kind": kind, "namespace": spec.name, "name": name, "uid": format!("{}-{name}", app.uid),
            "parentRefs": [&parent], "health": health,
        })
    };
    let mut own = parent.clone();
    (own["version"], own["health"]) = (version.into(), json!({"status": live.health(now)}));
    let pod = match live.health(now) {
        "Degraded" => json!({"status": "Degraded", "message": "back-off 5m0s restarting failed container=main"}),
        "Progressing" => json!({"status": "Progressing", "message": "Back-off pulling image \"shop:new\""}),
        _ => json!({"status": "Healthy"}),
    };
    let mut nodes = vec![own, child("", "Pod", format!("{}-0", spec.name), pod)];
    if live.is_inconclusive(now) {
        let health = json!({"status": "Unknown", "message": "metric \"errors\" assessed Inconclusive"});
        nodes.push(child("argoproj.io", "AnalysisRun", format!("{}-smoke-1", spec.name), health));
    }
    json!({ "nodes": nodes })
}

/// The Rollout of an application, as the cluster holds it.
pub(crate) fn rollout(app: &App, now: Timestamp) -> Option<Value> {
    let live = app.live.as_ref()?;
    let revision = live.revisions.first().map(String::as_str).unwrap_or_default();
    Some(live.rollout.as_ref()?.object(&app.spec.name, revision, live.settled_at, now))
}
