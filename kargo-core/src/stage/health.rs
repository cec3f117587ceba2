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

    /// With an interval that neither spins nor overflows a clock, whatever a definition says: a second at least, a century at most.
    pub(super) fn within_reach(self) -> Self {
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        Self { every: self.every.clamp(Duration::from_secs(1), LONGEST), ..self }
    }
}
