//! How much of the past a pipeline keeps in its state.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What of a pipeline's past stays in its state. The journal keeps everything; what the state lets go can no longer be promoted or
/// looked up, so that it stays small however long the pipeline lives.
///
/// Freight that a stage runs, that is approved for a stage which runs older freight, that may yet be promoted, or that a rollback may
/// need, always stays; see
/// [`crate::decide::collect`]. The defaults are Kargo's.
///
/// ```
/// use kargo_core::pipeline::Retention;
///
/// let retention = Retention { freight_per_warehouse: 100, ..Retention::default() };
/// assert_eq!(retention.promotions_per_stage, 20);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// How many of each stage's promotions stay at least, the newest. Default: 20.
    pub promotions_per_stage: usize,
    /// How many pieces of each warehouse's freight stay at least, the newest. Default: 20.
    pub freight_per_warehouse: usize,
    /// What is younger stays: freight from when it was found, promotions from their end. Default: 14 days.
    pub min_age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { promotions_per_stage: 20, freight_per_warehouse: 20, min_age: Duration::from_secs(14 * 24 * 3600) }
    }
}

impl Retention {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
