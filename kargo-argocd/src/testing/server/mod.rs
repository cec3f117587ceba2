//! The HTTP side.

mod edit;
mod resource;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get, post};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde::Deserialize;
use serde_json::{Value, json};

use super::settings::{Fault, PASSWORD, TOKEN, USERNAME};
use super::world::{CONTROL, Request};
use super::{Shared, SyncRecord, render};
use crate::client::Info;

const PAGE: &str = "<!doctype html><html><head><title>Argo CD</title></head><body></body></html>";

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let root_path = shared.root_path.clone();
    let api = Router::new()
        .route("/api/version", get(|| async { axum::Json(json!({"Version": "v3.2.0+fake"})) }))
        .route("/api/v1/session", post(log_in))
        .route("/api/v1/applications", get(list))
        .route("/api/v1/applications/{name}", get(read).patch(edit::patch))
        .route("/api/v1/applications/{name}/sync", post(sync))
        .route("/api/v1/applications/{name}/operation", delete(terminate))
        .route("/api/v1/applications/{name}/syncwindows", get(windows))
        .route("/api/v1/applications/{name}/revisions/{revision}/metadata", get(commit))
        .route("/api/v1/applications/{name}/resource-tree", get(resource::tree))
        .route("/api/v1/applications/{name}/resource", get(resource::read))
        .route("/api/v1/applications/{name}/resource/actions", get(resource::actions).post(resource::act_old))
        .route("/api/v1/applications/{name}/resource/actions/v2", post(resource::act))
        .route("/api/v1/stream/applications", get(stream::watch));
    let all = if root_path.is_empty() { api } else { Router::new().nest(&root_path, api) };
    // What the real server answers for a path that it does not know: its page, with HTTP 200.
    all.fallback(|| async { Html(PAGE) })
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), gate))
        .with_state(shared)
}

fn error(status: u16, code: i64, message: impl Into<String>) -> Response {
    let message = message.into();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(json!({"error": message, "code": code, "message": message}))).into_response()
}

/// Faults, the content type, who it is, and the time.
async fn gate(State(shared): State<Arc<Shared>>, request: HttpRequest, next: Next) -> Response {
    // Beside the root path there is nothing but the page.
    let Some(path) = request.uri().path().strip_prefix(shared.root_path.as_str()).map(str::to_owned) else {
        return Html(PAGE).into_response();
    };
    let fault = {
        let mut world = shared.world();
        world.requests.push(format!("{} {path}", request.method()));
        world.fault.clone()
    };
    let mut answer = match fault {
        Some(Fault::Html) => Html(PAGE).into_response(),
        Some(Fault::ContentType) if request.method() != Method::GET => wrong_content_type(),
        Some(Fault::Status { status, code, message }) => error(status, code, message),
        Some(Fault::NoStreams) if path.starts_with("/api/v1/stream/") => Html(PAGE).into_response(),
        Some(Fault::PrunedResources) if path.ends_with("/resource") || path.contains("/resource/actions") => {
            error(400, 3, "Rollout shop not found as part of application shop")
        }
        Some(Fault::OldActions { status: 501 }) if path.ends_with("/actions/v2") => error(501, 12, "Not Implemented"),
        // A path that the gateway does not know is none of the API's errors.
        Some(Fault::OldActions { status }) if path.ends_with("/actions/v2") => {
            (StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND), "Not Found").into_response()
        }
        Some(Fault::LoseSyncAnswers) if path.ends_with("/sync") => {
            let _ = admit(&shared, &path, request, next).await;
            (StatusCode::BAD_GATEWAY, Html("<h1>bad gateway</h1>")).into_response()
        }
        _ => admit(&shared, &path, request, next).await,
    };
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&shared.clock.now())
        && let Ok(value) = HeaderValue::from_str(&date)
    {
        answer.headers_mut().insert(header::DATE, value);
    }
    answer
}

fn wrong_content_type() -> Response {
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Invalid content type").into_response()
}

async fn admit(shared: &Shared, path: &str, request: HttpRequest, next: Next) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if request.method() != Method::GET && content_type != Some("application/json") {
        return wrong_content_type();
    }
    let open = path == "/api/version" || path == "/api/v1/session" || !path.starts_with("/api/");
    if !open && !is_known(shared, request.headers()) {
        return error(401, 16, "no session information");
    }
    next.run(request).await
}

fn is_known(shared: &Shared, headers: &HeaderMap) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
    token == TOKEN || shared.world().session.as_deref() == Some(token)
}

#[derive(Deserialize)]
struct LogIn {
    username: String,
    password: String,
}

async fn log_in(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match serde_json::from_slice::<LogIn>(&body) {
        Ok(who) if who.username == USERNAME && who.password == PASSWORD => {
            let mut world = shared.world();
            world.logins += 1;
            let token = format!("fake.session.{}", world.logins);
            world.session = Some(token.clone());
            axum::Json(json!({ "token": token })).into_response()
        }
        Ok(_) => error(401, 16, "Invalid username or password"),
        Err(fault) => error(400, 3, fault.to_string()),
    }
}

/// How a request names what it is about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Find {
    project: Option<String>,
    projects: Option<String>,
    app_namespace: Option<String>,
    selector: Option<String>,
    refresh: Option<String>,
    fields: Option<String>,
}

impl Find {
    fn key(&self, name: &str) -> String {
        key(self.app_namespace.as_deref(), name)
    }
}

/// How the world names an application.
fn key(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        None | Some("" | CONTROL) => name.to_owned(),
        Some(namespace) => format!("{namespace}/{name}"),
    }
}

async fn list(State(shared): State<Arc<Shared>>, Query(find): Query<Find>) -> Response {
    let world = shared.world();
    let selector = find.selector.as_deref().unwrap_or_default();
    let items: Vec<Value> = world
        .apps
        .values()
        .filter(|app| find.projects.as_deref().is_none_or(|wanted| wanted == app.spec.project))
        .filter(|app| {
            find.app_namespace.as_deref().is_none_or(|of| of == app.spec.namespace.as_deref().unwrap_or(CONTROL))
        })
        .filter(|app| selects(selector, &app.spec.labels))
        .map(render::application)
        .collect();
    let items = if items.is_empty() { Value::Null } else { items.into() };
    axum::Json(fields(&json!({"metadata": {}, "items": items}), find.fields.as_deref())).into_response()
}

/// The fields of a value that are asked for, as paths with commas between them; all when nothing is. What is in a list is named by the
/// path of the list.
fn fields(value: &Value, asked: Option<&str>) -> Value {
    fn only(value: &Value, paths: &[&[&str]]) -> Value {
        if paths.iter().any(|path| path.is_empty()) {
            return value.clone();
        }
        match value {
            Value::Array(all) => all.iter().map(|one| only(one, paths)).collect(),
            Value::Object(all) => {
                let below = |name: &str| -> Vec<&[&str]> {
                    paths.iter().filter(|path| path[0] == name).map(|path| &path[1..]).collect()
                };
                let named = all.iter().map(|(name, value)| (name, value, below(name)));
                let named = named.filter(|(_, _, below)| !below.is_empty());
                named.map(|(name, value, below)| (name.clone(), only(value, &below))).collect()
            }
            other => other.clone(),
        }
    }
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return value.clone() };
    let paths: Vec<Vec<&str>> = asked.split(',').map(|path| path.split('.').collect()).collect();
    only(value, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Whether a selector in Kubernetes' text form matches.
fn selects(selector: &str, labels: &std::collections::BTreeMap<String, String>) -> bool {
    let mut depth = 0;
    let parts = selector.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).all(|part| {
        let set = |text: &str| -> Vec<String> {
            text.trim_matches(['(', ')']).split(',').map(|value| value.trim().to_owned()).collect()
        };
        if let Some((label, values)) = part.split_once(" notin ") {
            labels.get(label).is_none_or(|value| !set(values).contains(value))
        } else if let Some((label, values)) = part.split_once(" in ") {
            labels.get(label).is_some_and(|value| set(values).contains(value))
        } else if let Some((label, value)) = part.split_once("!=") {
            labels.get(label).is_none_or(|found| found != value)
        } else if let Some((label, value)) = part.split_once('=') {
            labels.get(label).is_some_and(|found| found == value.trim_start_matches('='))
        } else if let Some(label) = part.strip_prefix('!') {
            !labels.contains_key(label)
        } else {
            labels.contains_key(part)
        }
    })
}

/// Why an application is not shown: with a project that is plain, without one it is hidden whether it exists.
fn hidden(shared: &Shared, key: &str, project: Option<&str>) -> Option<Response> {
    let world = shared.world();
    let found = world.apps.get(key).filter(|app| project.is_none_or(|project| project == app.spec.project));
    match (found, project) {
        (Some(_), _) => None,
        (None, Some(_)) => Some(error(404, 5, format!("applications.argoproj.io \"{key}\" not found"))),
        (None, None) => Some(error(403, 7, "permission denied")),
    }
}

/// The application, or for a while what it was before.
fn show(shared: &Shared, key: &str) -> Response {
    let mut world = shared.world();
    let Some(app) = world.apps.get_mut(key) else {
        return error(404, 5, format!("applications.argoproj.io \"{key}\" not found"));
    };
    let shown = match app.cached.take() {
        Some((old, left)) if left > 0 => {
            app.cached = Some((old.clone(), left - 1));
            old
        }
        _ => render::application(app),
    };
    axum::Json(shown).into_response()
}

async fn read(State(shared): State<Arc<Shared>>, Path(name): Path<String>, Query(find): Query<Find>) -> Response {
    let key = find.key(&name);
    if let Some(answer) = hidden(&shared, &key, find.project.as_deref()) {
        return answer;
    }
    if find.refresh.is_some() {
        refresh(&shared, &key, find.refresh.as_deref() == Some("hard")).await;
    }
    show(&shared, &key)
}

/// Waits for a comparison that begins from now on.
async fn refresh(shared: &Shared, key: &str, hard: bool) {
    let asked = shared.clock.now();
    shared.world().ask_comparison(key, hard, asked);
    shared.changed.notify_one();
    loop {
        let due = {
            let world = shared.world();
            let Some(app) = world.apps.get(key) else { return };
            if app.compared.is_some_and(|at| at >= asked) {
                return;
            }
            app.next().0
        };
        shared.clock.sleep_until(due).await;
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SyncBody {
    revision: Option<String>,
    revisions: Vec<String>,
    source_positions: Vec<usize>,
    prune: bool,
    infos: Vec<Info>,
    project: Option<String>,
    app_namespace: Option<String>,
}

async fn sync(State(shared): State<Arc<Shared>>, Path(name): Path<String>, body: Bytes) -> Response {
    let read = serde_json::from_slice::<Value>(&body).and_then(|sent| Ok((SyncBody::deserialize(&sent)?, sent)));
    let (body, sent) = match read {
        Ok(read) => read,
        Err(fault) => return error(400, 3, fault.to_string()),
    };
    let key = key(body.app_namespace.as_deref(), &name);
    if let Some(answer) = hidden(&shared, &key, body.project.as_deref()) {
        return answer;
    }
    // The real server panics on a shorter list of revisions, and its gateway answers so.
    if body.revisions.len() != body.source_positions.len() || body.source_positions.contains(&0) {
        return error(500, 13, "runtime error: index out of range");
    }
    let now: Timestamp = shared.clock.now();
    let single = body.revision.filter(|revision| !revision.is_empty()).map(|revision| (0, revision));
    let several = body.source_positions.iter().map(|at| at - 1).zip(body.revisions);
    let revisions: Vec<(usize, String)> = single.into_iter().chain(several).collect();
    let request = Request {
        revisions: revisions.clone(),
        prune: body.prune,
        infos: body.infos.clone(),
        username: USERNAME.into(),
        automated: false,
    };
    let mut world = shared.world();
    if let Some((username, revision)) = world.cuts_in.take() {
        let revisions = revision.map(|revision| (0, revision)).into_iter().collect();
        let _ = world.request(&key, Request { revisions, username, ..Request::default() }, now);
    }
    if let Err((status, code, message)) = world.request(&key, request, now) {
        return error(status, code, message);
    }
    let revision = revisions.first().map(|(_, revision)| revision.clone());
    let (infos, prune) = (body.infos, body.prune);
    let record = SyncRecord { app: key.clone(), revision, revisions, infos, prune, body: sent, at: now };
    world.syncs.push(record);
    // The answer to the sync itself is no read.
    let shown = world.apps.get(&key).map(render::application);
    drop(world);
    shared.changed.notify_one();
    axum::Json(shown).into_response()
}

/// Its windows, and whether a person may sync.
async fn windows(State(shared): State<Arc<Shared>>, Path(name): Path<String>, Query(find): Query<Find>) -> Response {
    let key = find.key(&name);
    if let Some(answer) = hidden(&shared, &key, find.project.as_deref()) {
        return answer;
    }
    let world = shared.world();
    let Some(spec) = world.apps.get(&key).map(|app| &app.spec) else { return error(404, 5, "not found") };
    let deny = json!([{"kind": "deny", "schedule": "* * * * *", "duration": "1h", "manualSync": spec.manual_sync}]);
    let open = if spec.window_closed { deny } else { Value::Null };
    let can_sync = !spec.window_closed || spec.manual_sync;
    axum::Json(json!({"activeWindows": open, "assignedWindows": open, "canSync": can_sync})).into_response()
}

/// As the real server, it fails at what is no commit.
async fn commit(Path((_, revision)): Path<(String, String)>) -> Response {
    if !super::world::is_commit(&revision) {
        return error(500, 2, format!("failed to fetch {revision}: exit status 128"));
    }
    axum::Json(json!({"author": "alice <alice@example.com>", "date": "2026-01-01T10:00:00Z", "message": revision}))
        .into_response()
}

async fn terminate(State(shared): State<Arc<Shared>>, Path(name): Path<String>, Query(find): Query<Find>) -> Response {
    let key = find.key(&name);
    if let Some(answer) = hidden(&shared, &key, find.project.as_deref()) {
        return answer;
    }
    let now = shared.clock.now();
    if shared.world().terminate(&key, now) {
        shared.changed.notify_one();
        axum::Json(json!({})).into_response()
    } else {
        error(400, 3, "Unable to terminate operation. No operation is in progress")
    }
}
