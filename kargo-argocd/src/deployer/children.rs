//! What belongs to an application that does not get well: what the application itself says of it may be no more than a word.

use jiff::{SignedDuration, Timestamp};
use kargo_core::plugin::Context;
use serde::{Deserialize, Serialize};

use super::ArgoCd;
use super::carry::Job;
use super::memory::AppMemory;
use crate::client::HealthCode;
use crate::judge::unhealthy_nodes;

/// After how long the objects are looked at, and how long until they are again. They are not while nothing is heard of the application.
const A_WHILE: SignedDuration = SignedDuration::from_secs(60);

/// What is remembered of a look at the objects.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Children {
    /// Since when the application has been on its way.
    since: Option<Timestamp>,
    looked_at: Option<Timestamp>,
    /// The application's version then.
    version: Option<String>,
    unwell: String,
}

impl ArgoCd {
    /// `; not well are` the objects of an application that has been on its way for a while, or nothing.
    pub(super) async fn unwell(&self, cx: &Context, job: &Job<'_>, memory: &mut AppMemory) -> String {
        let app = &job.snapshot.app;
        if !matches!(app.status.health.status, Some(HealthCode::Progressing)) {
            memory.children = None;
            return String::new();
        }
        let (now, version) = (cx.now(), &app.metadata.resource_version);
        let known = memory.children.get_or_insert_default();
        let since = *known.since.get_or_insert(now);
        let last = known.looked_at.unwrap_or(since);
        let is_new = known.looked_at.is_none() || known.version != *version;
        if is_new && now.duration_since(last) >= A_WHILE {
            (known.looked_at, known.version) = (Some(now), version.clone());
            // The wait goes on in any case.
            if let Ok(nodes) = cx.guard("look at the objects", self.client.tree(&job.app)).await {
                known.unwell = unhealthy_nodes(&nodes);
            }
        }
        told(&known.unwell)
    }

    /// The same of an application that has failed, as its objects are now.
    pub(super) async fn unwell_now(&self, cx: &Context, job: &Job<'_>) -> String {
        if !matches!(job.snapshot.app.status.health.status, Some(HealthCode::Degraded)) {
            return String::new();
        }
        let nodes = cx.guard("look at the objects", self.client.tree(&job.app)).await;
        told(&nodes.map(|nodes| unhealthy_nodes(&nodes)).unwrap_or_default())
    }
}

fn told(unwell: &str) -> String {
    if unwell.is_empty() { String::new() } else { format!("; not well are {unwell}") }
}
