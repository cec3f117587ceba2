//! The watch stream: what changes, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use kargo_core::Clock;
use serde_json::{Value, json};

use super::super::Shared;
use super::super::world::{CONTROL, Change};

/// The pause after which a comment says that the stream lives.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where a stream is in the list of changes.
struct Cursor {
    shared: Arc<Shared>,
    at: usize,
    epoch: u64,
    told: tokio::sync::watch::Receiver<usize>,
    ended: bool,
}

pub(super) async fn watch(State(shared): State<Arc<Shared>>) -> Response {
    let told = shared.told.subscribe();
    let (first, at, epoch) = {
        let world = shared.world();
        let lines =
            world.apps.iter().map(|(key, app)| line(&Change { kind: "ADDED", app: key.clone(), version: app.version }));
        (lines.collect::<String>(), world.changes.len(), world.epoch)
    };
    let cursor = Cursor { shared, at, epoch, told, ended: false };
    let rest = stream::unfold(cursor, |mut cursor| async move {
        if cursor.ended {
            return None;
        }
        let text = cursor.next().await;
        Some((Ok::<_, Infallible>(Bytes::from(text)), cursor))
    });
    let body = stream::once(async move { Ok(Bytes::from(first)) });
    let body = Body::from_stream(futures::StreamExt::chain(body, rest));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn line(change: &Change) -> String {
    let (namespace, name) = change.app.split_once('/').unwrap_or((CONTROL, &change.app));
    let version = change.version.to_string();
    let metadata = json!({"name": name, "namespace": namespace, "resourceVersion": version});
    let event: Value = json!({"result": {"type": change.kind, "application": {"metadata": metadata}}});
    format!("data: {event}\n\n")
}

impl Cursor {
    /// What is to be sent next.
    async fn next(&mut self) -> String {
        loop {
            let (text, epoch) = {
                let world = self.shared.world();
                let news = world.changes.get(self.at..).unwrap_or_default();
                let text: String = news.iter().flatten().map(line).collect();
                self.at = world.changes.len();
                (text, world.epoch)
            };
            if epoch != self.epoch {
                self.ended = true;
                return "data: {\"result\":{\"type\":\"MODI".to_owned();
            }
            if !text.is_empty() {
                return text;
            }
            let quiet = self.shared.clock.now() + KEEPALIVE;
            let clock: &Arc<dyn Clock> = &self.shared.clock;
            tokio::select! {
                changed = self.told.changed() => if changed.is_err() {
                    self.ended = true;
                    return String::new();
                },
                () = clock.sleep_until(quiet) => return ":\n\n".to_owned(),
            }
        }
    }
}
