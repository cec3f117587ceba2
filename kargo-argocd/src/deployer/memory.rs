//! What is remembered between two calls. Losing it costs patience, not correctness.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// The pauses of Rollouts that were ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resumed: Vec<String>,
}

impl Memory {
    /// Memory that cannot be read counts as lost, as after a crash.
    pub(crate) fn read(state: Option<&Value>) -> Self {
        state.and_then(|state| Self::deserialize(state).ok()).unwrap_or_default()
    }

    pub(crate) fn to_state(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}
