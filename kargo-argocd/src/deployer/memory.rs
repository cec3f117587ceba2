//! What is remembered between two calls. Losing it costs patience, not correctness.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::children::Children;
use crate::client::AppRef;
use crate::judge::Latches;

/// What is remembered of each application, by how it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Memory {
    pub(crate) apps: BTreeMap<String, AppMemory>,
}

/// What is remembered of one application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AppMemory {
    pub(crate) latches: Latches,
    /// Since when Argo CD has been unable to resolve the revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unresolved_since: Option<Timestamp>,
    /// When Argo CD was last asked to compare.
    #[serde(skip)]
    pub(crate) refreshed_at: Option<Timestamp>,
    /// What was not well of all that belongs to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) children: Option<Children>,
    /// The pauses of Rollouts that were ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resumed: Vec<String>,
}

impl Memory {
    /// Memory that cannot be read counts as lost, as after a crash.
    pub(crate) fn read(state: Option<&Value>) -> Self {
        state.and_then(|state| Self::deserialize(state).ok()).unwrap_or_default()
    }

    /// Whether an application has been looked at.
    pub(crate) fn has_begun(&self) -> bool {
        self.apps.values().any(|app| app.latches.since.is_some())
    }

    /// Each of `apps` with what is remembered of it, and the others for which a sync was asked.
    pub(crate) fn with_synced(mut self, apps: Vec<AppRef>) -> Vec<(AppRef, AppMemory)> {
        let mut all: BTreeMap<String, (AppRef, AppMemory)> = BTreeMap::new();
        for app in apps {
            let kept = self.apps.remove(&app.to_string()).unwrap_or_default();
            all.entry(app.to_string()).or_insert((app, kept));
        }
        // Those that a selector has found before, and may find no more.
        for (name, kept) in self.apps.into_iter().filter(|(_, kept)| kept.latches.syncs > 0) {
            let app = match name.split_once('/') {
                Some((namespace, name)) => AppRef::new(name).namespace(namespace),
                None => AppRef::new(&name),
            };
            all.entry(name).or_insert((app, kept));
        }
        all.into_values().collect()
    }

    pub(crate) fn to_state(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}
