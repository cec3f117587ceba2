//! The HTTP side.

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
use super::world::Request;
use super::{Shared, SyncRecord, render};
use crate::client::Info;

const PAGE: &str = "<!doctype html><html><head><title>Argo CD</title></head><body></body></html>";

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/version", get(|| async { axum::Json(json!({"Version": "v3.2.0+fake"})) }))
        .route("/api/v1/session", post(log_in))
        .route("/api/v1/applications", get(list))
        .route("/api/v1/applications/{name}", get(read))
        .route("/api/v1/applications/{name}/sync", post(sync))
        .route("/api/v1/applications/{name}/operation", delete(terminate))
        // What the real server answers for a path that it does not know: its page, with HTTP 200.
        .fallback(|| async { Html(PAGE) })
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
    let fault = shared.world().fault.clone();
    let mut answer = match fault {
        Some(Fault::Html) => Html(PAGE).into_response(),
        Some(Fault::Status { status, code, message }) => error(status, code, message),
        Some(Fault::LoseSyncAnswers) if request.uri().path().ends_with("/sync") => {
            let _ = admit(&shared, request, next).await;
            (StatusCode::BAD_GATEWAY, Html("<h1>bad gateway</h1>")).into_response()
        }
        _ => admit(&shared, request, next).await,
    };
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&shared.clock.now())
        && let Ok(value) = HeaderValue::from_str(&date)
    {
        answer.headers_mut().insert(header::DATE, value);
    }
    answer
}

async fn admit(shared: &Shared, request: HttpRequest, next: Next) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if request.method() != Method::GET && content_type != Some("application/json") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Invalid content type").into_response();
    }
    let path = request.uri().path();
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Find {
    project: Option<String>,
    projects: Option<String>,
    refresh: Option<String>,
}

async fn list(State(shared): State<Arc<Shared>>, Query(find): Query<Find>) -> Response {
    let world = shared.world();
    let wanted = |project: &str| find.projects.as_deref().is_none_or(|wanted| wanted == project);
    let items: Vec<Value> =
        world.apps.values().filter(|app| wanted(&app.spec.project)).map(render::application).collect();
    let items = if items.is_empty() { Value::Null } else { items.into() };
    axum::Json(json!({"metadata": {}, "items": items})).into_response()
}

/// Why an application is not shown: with a project that is plain, without one it is hidden whether it exists.
fn hidden(shared: &Shared, name: &str, project: Option<&str>) -> Option<Response> {
    let world = shared.world();
    let found = world.apps.get(name).filter(|app| project.is_none_or(|project| project == app.spec.project));
    match (found, project) {
        (Some(_), _) => None,
        (None, Some(_)) => Some(error(404, 5, format!("applications.argoproj.io \"{name}\" not found"))),
        (None, None) => Some(error(403, 7, "permission denied")),
    }
}

fn show(shared: &Shared, name: &str) -> Response {
    match shared.world().apps.get(name) {
        Some(app) => axum::Json(render::application(app)).into_response(),
        None => error(404, 5, format!("applications.argoproj.io \"{name}\" not found")),
    }
}

async fn read(State(shared): State<Arc<Shared>>, Path(name): Path<String>, Query(find): Query<Find>) -> Response {
    if let Some(answer) = hidden(&shared, &name, find.project.as_deref()) {
        return answer;
    }
    if find.refresh.is_some() {
        refresh(&shared, &name).await;
    }
    show(&shared, &name)
}

/// Waits for a comparison that begins from now on.
async fn refresh(shared: &Shared, name: &str) {
    let asked = shared.clock.now();
    {
        let mut world = shared.world();
        let Some(app) = world.apps.get_mut(name) else { return };
        app.compare_at = app.compare_at.min(asked);
        world.advance(asked);
    }
    shared.changed.notify_one();
    loop {
        let due = {
            let world = shared.world();
            let Some(app) = world.apps.get(name) else { return };
            if app.compared.is_some_and(|at| at >= asked) {
                return;
            }
            app.next().0
        };
        shared.clock.sleep_until(due).await;
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct SyncBody {
    revision: Option<String>,
    prune: bool,
    infos: Vec<Info>,
    project: Option<String>,
}

async fn sync(State(shared): State<Arc<Shared>>, Path(name): Path<String>, body: Bytes) -> Response {
    let body: SyncBody = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(fault) => return error(400, 3, fault.to_string()),
    };
    if let Some(answer) = hidden(&shared, &name, body.project.as_deref()) {
        return answer;
    }
    let now: Timestamp = shared.clock.now();
    let revision = body.revision.filter(|revision| !revision.is_empty());
    let request = Request {
        revision: revision.clone(),
        prune: body.prune,
        infos: body.infos.clone(),
        username: USERNAME.into(),
        automated: false,
    };
    let mut world = shared.world();
    if let Err((status, code, message)) = world.request(&name, request, now) {
        return error(status, code, message);
    }
    world.syncs.push(SyncRecord { app: name.clone(), revision, infos: body.infos, prune: body.prune, at: now });
    drop(world);
    shared.changed.notify_one();
    show(&shared, &name)
}

async fn terminate(State(shared): State<Arc<Shared>>, Path(name): Path<String>, Query(find): Query<Find>) -> Response {
    if let Some(answer) = hidden(&shared, &name, find.project.as_deref()) {
        return answer;
    }
    let now = shared.clock.now();
    if shared.world().terminate(&name, now) {
        shared.changed.notify_one();
        axum::Json(json!({})).into_response()
    } else {
        error(400, 3, "Unable to terminate operation. No operation is in progress")
    }
}
