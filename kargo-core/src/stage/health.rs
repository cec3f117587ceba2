//! Whether the health of what a stage runs is watched.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the health of what a stage runs is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HealthWatch {
    /// How long after one look the next one follows, give or take a tenth.
    pub every: Duration,
    /// Whether freight that runs here counts as verified only while the stage is healthy.
    #[serde(default)]
    pub required: bool,
}

impl HealthWatch {
    /// The interval when none is set: a minute.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
}
