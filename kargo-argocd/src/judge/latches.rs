//! What one judgement leaves for the next.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{is_tagged, plus, whole_second};
use crate::client::Application;

/// How long an accepted sync may stay unseen: a server may answer a read from a cache that is older than its own acceptance.
const UNSEEN: Duration = Duration::from_secs(30);

/// What is noted from one judgement to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Latches {
    /// When the deployment was first looked at, by the server's time.
    pub since: Option<Timestamp>,
    /// When the comparison began that was the last one then. Only one that began later counts, whatever the server's time says: that may be
    /// a proxy's, while this is Argo CD's own. Where there was none, one that began since the first look counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<Timestamp>,
    /// The application's uid then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// When the operation began that was the last one then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Timestamp>,
    /// The id of what had been deployed last then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployed: Option<i64>,
    /// When the operation began that is known to have applied what is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Timestamp>,
    /// How many syncs of ours were accepted.
    pub syncs: u32,
    /// When the last of them was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posted_at: Option<Timestamp>,
    /// When the operation began that was the last one before that, by Argo CD's own time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posted_after: Option<Timestamp>,
    /// Set when the server refused a revision by its id because the application syncs by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unpinnable: bool,
    /// Since when it has been seen out of sync without anything happening.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_sync_since: Option<Timestamp>,
    /// Since when it has been seen degraded, or without its resources, at the wanted revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwell_since: Option<Timestamp>,
    /// Since when Argo CD has failed to compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_since: Option<Timestamp>,
    /// Since when it has followed a revision that does not lead to the wanted one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub astray_since: Option<Timestamp>,
    /// The revisions that were seen rendered, oldest first, each with the commit that holds what came of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rendered: Vec<(String, String)>,
    /// Since when the rendering of its manifests has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unrendered_since: Option<Timestamp>,
    /// Since when its own operation has been seen being stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopping_since: Option<Timestamp>,
    /// Since when it has run without the images that are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_images_since: Option<Timestamp>,
}

impl Latches {
    /// The sources were changed: only a comparison that begins from now on says anything of them.
    pub(crate) fn begin_anew(&mut self, app: &Application, now: Timestamp) {
        (self.since, self.applied) = (None, None);
        self.begin(app, now);
    }

    /// Notes how things stand at the first look, unless there was one.
    pub(crate) fn begin(&mut self, app: &Application, now: Timestamp) {
        if self.since.is_none() {
            self.since = Some(whole_second(now));
            self.compared = app.status.reconciled_at;
            self.uid.clone_from(&app.metadata.uid);
            self.baseline = app.status.operation_state.as_ref().and_then(|state| state.started_at);
            self.deployed = app.status.history.iter().filter_map(|entry| entry.id).max();
        }
    }

    /// Notes that a sync of `app`, as it was read before, was accepted at `at`.
    pub(crate) fn posted(&mut self, app: &Application, at: Timestamp) {
        self.syncs += 1;
        self.posted_at = Some(at);
        self.posted_after = app.status.operation_state.as_ref().and_then(|state| state.started_at);
    }

    /// Whether a sync was accepted just now of which the application does not show anything.
    pub(crate) fn is_unseen(&self, app: &Application, tag: &str, now: Timestamp) -> bool {
        let Some(posted) = self.posted_at else { return false };
        let state = app.status.operation_state.as_ref();
        let began = state.and_then(|state| state.started_at);
        let owned = state.is_some_and(|state| is_tagged(&state.operation.info, tag));
        // Only Argo CD's own stamps are compared: the server's time may be a proxy's.
        let seen = began > self.posted_after || (self.syncs <= 1 && owned);
        !seen && now < plus(posted, UNSEEN)
    }
}
