//! The watch stream: what changes, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use kargo_core::Clock;
use serde::Deserialize;
use serde_json::json;

use super::super::Shared;
use super::super::render::application;
use super::super::world::{CONTROL, Change, World};
use super::fields;

/// The pause after which a comment says that the stream lives.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where a stream is in the list of changes.
struct Cursor {
    shared: Arc<Shared>,
    at: usize,
    epoch: u64,
    told: tokio::sync::watch::Receiver<usize>,
    /// What of an event is asked for.
    fields: Option<String>,
    ended: bool,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    fields: Option<String>,
}

pub(super) async fn watch(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    let told = shared.told.subscribe();
    let fields = asked.fields;
    let (first, at, epoch) = {
        let world = shared.world();
        let lines = world.apps.keys().map(|key| {
            let added = Change { kind: "ADDED", app: key.clone(), version: 0 };
            line(&world, &added, fields.as_deref())
        });
        (lines.collect::<String>(), world.changes.len(), world.epoch)
    };
    let cursor = Cursor { shared, at, epoch, told, fields, ended: false };
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

/// A change, with the application as it is by now.
fn line(world: &World, change: &Change, asked: Option<&str>) -> String {
    let application = match world.apps.get(&change.app).filter(|_| change.kind != "DELETED") {
        Some(app) => application(app),
        None => {
            let (namespace, name) = change.app.split_once('/').unwrap_or((CONTROL, &change.app));
            let version = change.version.to_string();
            json!({"metadata": {"name": name, "namespace": namespace, "resourceVersion": version}})
        }
    };
    let event = json!({"result": {"type": change.kind, "application": application}});
    format!("data: {}\n\n", fields(&event, asked))
}

impl Cursor {
    /// What is to be sent next.
    async fn next(&mut self) -> String {
        loop {
            let (text, epoch) = {
                let world = self.shared.world();
                let news = world.changes.get(self.at..).unwrap_or_default();
                // Of one application only the last is of interest: what went before looks the same by now.
                let is_last = |(at, change): &(usize, &Change)| {
                    !news.iter().skip(at + 1).flatten().any(|later| later.app == change.app)
                };
                let news_of = news.iter().enumerate().filter_map(|(at, change)| Some((at, change.as_ref()?)));
                let lines = news_of.filter(is_last).map(|(_, change)| line(&world, change, self.fields.as_deref()));
                let text: String = lines.collect();
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
