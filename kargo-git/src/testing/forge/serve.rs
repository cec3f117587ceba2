//! The HTTP side: what is asked, by whom, and the faults that a test has ordered.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::world::World;
use super::{Fault, OWNER, Provider, Shared, azure, bitbucket_cloud, bitbucket_data_center, gitea, github, gitlab};

const PAGE: &str = "<!doctype html><html><head><title>Sign in</title></head><body></body></html>";

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// The parts of the path, decoded each on its own.
    pub(super) path: Vec<String>,
    query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
    /// Scheme and authority by which the server is spoken to.
    pub(super) origin: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    body: Option<Value>,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    pub(super) fn new(status: u16, body: Value) -> Self {
        Self { status, body: Some(body), headers: Vec::new() }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    pub(super) fn empty(status: u16) -> Self {
        Self { status, body: None, headers: Vec::new() }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Request {
    /// A parameter of the query.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str, default: usize) -> usize {
        self.query(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// What is asked for that the API's documentation does not have, so that a misspelling shows.
    fn unknown(&self, known: &[&str]) -> Option<String> {
        self.query.iter().map(|(key, _)| key).find(|key| !known.contains(&key.as_str())).cloned()
    }

    /// Refuses parameters that the documentation does not have.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Reply> {
        match self.unknown(known) {
            Some(key) => Err(Reply::new(400, json!({"message": format!("there is no parameter {key}")}))),
            None => Ok(()),
        }
    }

    /// The body as it is documented; each field that is not is refused.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Reply> {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if kind != Some("application/json") {
            return Err(Reply::new(415, json!({"message": "the body must be application/json"})));
        }
        serde_json::from_slice(&self.body).map_err(|fault| Reply::new(422, json!({"message": fault.to_string()})))
    }

    /// The body as it came.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The items of one page, and the address of the next.
    pub(super) fn page<T>(&self, items: Vec<T>, per_page: usize, max: usize) -> (Vec<T>, Option<String>) {
        let (page, per_page) = (self.number("page", 1).max(1), per_page.clamp(1, max));
        let total = items.len();
        let items = items.into_iter().skip((page - 1) * per_page).take(per_page).collect();
        let next = (page * per_page < total).then(|| {
            let query =
                self.query.iter().filter(|(key, _)| key != "page").map(|(key, value)| format!("{key}={value}&"));
            format!("{}/{}?{}page={}", self.origin, self.path.join("/"), query.collect::<String>(), page + 1)
        });
        (items, next)
    }
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

fn decoded(text: &str) -> String {
    crate::remote::decoded(text)
}

async fn handle(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.map(|bytes| bytes.to_vec()).unwrap_or_default();
    let path: Vec<String> = parts.uri.path().split('/').skip(1).map(decoded).collect();
    let query = parts.uri.query().unwrap_or_default();
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(&key.replace('+', " ")), decoded(&value.replace('+', " ")))
    });
    let request = Request {
        method: parts.method.to_string(),
        path,
        query: query.collect(),
        headers: parts.headers,
        body,
        origin: shared.origin.clone(),
    };
    let fault = shared.log(&request);
    let answer = |shared: &Shared| {
        // Let go of before the API looks at it, too.
        let served = shared.database().as_ref().and_then(|database| database.git(&request));
        served.unwrap_or_else(|| respond(answer(shared, &request)))
    };
    match fault {
        None => answer(&shared),
        Some(Fault::LoseAnswer) => {
            let _ = answer(&shared);
            (StatusCode::BAD_GATEWAY, Html("<h1>bad gateway</h1>")).into_response()
        }
        Some(Fault::Hang) => {
            let _ = answer(&shared);
            shared.hung.notify_one();
            std::future::pending().await
        }
        Some(Fault::MergedFirst(number)) => {
            shared.world().merge_by_hand(number);
            answer(&shared)
        }
        Some(Fault::Html) => Html(PAGE).into_response(),
        Some(Fault::Status(status)) => respond(Reply::new(status, json!({"message": "this was ordered by a test"}))),
        Some(Fault::RateLimited { seconds }) => limited(shared.provider, seconds),
        Some(Fault::Redirect(to)) => respond(Reply::empty(302).header("location", to)),
    }
}

/// How each provider asks to slow down.
fn limited(provider: Provider, seconds: u64) -> Response {
    let message = json!({"message": "API rate limit exceeded"});
    let reset = || (jiff::Timestamp::now().as_second() + i64::try_from(seconds).unwrap_or(0)).to_string();
    respond(match provider {
        Provider::GitHub => {
            let reply = Reply::new(403, message).header("x-ratelimit-remaining", "0");
            reply.header("x-ratelimit-reset", reset())
        }
        Provider::GitLab => Reply::new(429, message).header("ratelimit-reset", reset()),
        _ => Reply::new(429, message).header("retry-after", seconds.to_string()),
    })
}

fn respond(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match reply.body {
        Some(body) => (status, axum::Json(body)).into_response(),
        None => (status, Body::empty()).into_response(),
    };
    for (name, value) in reply.headers {
        let value = HeaderValue::from_str(&value).expect("the fake's headers are plain text");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

fn answer(shared: &Shared, request: &Request) -> Reply {
    let mut world = shared.world();
    let outcome = match shared.provider {
        Provider::GitHub => github::answer(&mut world, request, shared),
        Provider::GitLab => gitlab::answer(&mut world, request, shared),
        Provider::Gitea => gitea::answer(&mut world, request, shared),
        Provider::BitbucketCloud => bitbucket_cloud::answer(&mut world, request, shared),
        Provider::BitbucketDataCenter => bitbucket_data_center::answer(&mut world, request, shared),
        Provider::Azure => azure::answer(&mut world, request, shared),
    };
    outcome.unwrap_or_else(|reply| reply)
}

/// The parts of the path behind `prefix`, as borrowed text.
pub(super) fn behind<'a>(request: &'a Request, prefix: &[&str]) -> Option<Vec<&'a str>> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    path.starts_with(prefix).then(|| path[prefix.len()..].to_vec())
}

/// The number in a path.
pub(super) fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// A pull request's page.
pub(super) fn page_of(request: &Request, number: u64) -> String {
    format!("{}/{OWNER}/pull/{number}", request.origin)
}

/// All pull requests, newest first.
pub(super) fn newest_first(world: &World) -> Vec<super::world::Pull> {
    world.pulls.iter().rev().cloned().collect()
}
