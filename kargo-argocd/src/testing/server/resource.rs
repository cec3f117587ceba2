//! The objects of an application, and actions on them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::super::{Shared, render};
use super::{Find, error, hidden, key};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Which {
    kind: String,
    resource_name: String,
    #[serde(default)]
    app_namespace: Option<String>,
    #[serde(default)]
    project: Option<String>,
    #[serde(default)]
    action: Option<String>,
}

pub(super) async fn tree(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(find): Query<Find>,
) -> Response {
    let key = find.key(&name);
    if let Some(answer) = hidden(&shared, &key, find.project.as_deref()) {
        return answer;
    }
    let now = shared.clock.now();
    axum::Json(shared.world().apps.get(&key).map(|app| render::tree(app, now))).into_response()
}

fn missing(which: &Which) -> Response {
    error(400, 3, format!("{} {} not found as part of application", which.kind, which.resource_name))
}

pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Response {
    let key = key(which.app_namespace.as_deref(), &name);
    if let Some(answer) = hidden(&shared, &key, which.project.as_deref()) {
        return answer;
    }
    let now = shared.clock.now();
    let found = shared.world().apps.get(&key).and_then(|app| render::rollout(app, now));
    match found.filter(|_| which.kind == "Rollout") {
        Some(object) => axum::Json(json!({"manifest": object.to_string()})).into_response(),
        None => missing(&which),
    }
}

pub(super) async fn actions(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Response {
    let key = key(which.app_namespace.as_deref(), &name);
    let (world, now) = (shared.world(), shared.clock.now());
    let live = world.apps.get(&key).and_then(|app| app.live.as_ref());
    let offered = live.and_then(|live| Some(live.rollout.as_ref()?.actions(now >= live.settled_at)));
    offered.map_or_else(|| missing(&which), |offered| axum::Json(offered).into_response())
}

/// The older form: the action alone in the body, as a JSON string.
pub(super) async fn act_old(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
    body: Bytes,
) -> Response {
    match serde_json::from_slice::<String>(&body) {
        Ok(action) => done(&shared, &name, &Which { action: Some(action), ..which }),
        Err(fault) => error(400, 3, fault.to_string()),
    }
}

pub(super) async fn act(State(shared): State<Arc<Shared>>, Path(name): Path<String>, body: Bytes) -> Response {
    match serde_json::from_slice::<Which>(&body) {
        Ok(which) => done(&shared, &name, &which),
        Err(fault) => error(400, 3, fault.to_string()),
    }
}

fn done(shared: &Shared, name: &str, which: &Which) -> Response {
    let key = key(which.app_namespace.as_deref(), name);
    if let Some(answer) = hidden(shared, &key, which.project.as_deref()) {
        return answer;
    }
    let action = which.action.as_deref().unwrap_or_default();
    let now = shared.clock.now();
    let did = shared.world().act(&key, action, now);
    shared.changed.notify_one();
    if did { axum::Json(json!({})).into_response() } else { error(400, 3, format!("action {action} is not available")) }
}
