//! What is known of one stage.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::name::{FreightId, PromotionId, WarehouseName};
use crate::plugin::Health;

/// What runs in a stage, what waits there, and what was last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageState {
    /// The freight it runs, per warehouse.
    pub current: BTreeMap<WarehouseName, FreightId>,
    /// The promotion that is under way.
    pub running: Option<PromotionId>,
    /// The promotion whose result is being verified.
    pub verifying: Option<PromotionId>,
    /// The promotions that wait, first come first served.
    pub queue: VecDeque<PromotionId>,
    /// The promotion that ended last.
    pub last: Option<PromotionId>,
    /// The promotions that succeeded, newest first; at most [`StageState::HISTORY`].
    pub history: VecDeque<PromotionId>,
    /// Why automatic promotions of a warehouse's freight are held.
    pub holds: BTreeMap<WarehouseName, Hold>,
    /// How the last promotion of each freight that ended, ended: the promotion. Looked at before promoting automatically.
    pub attempts: BTreeMap<FreightId, PromotionId>,
    /// How what it runs was at the last look; none before the first look after a promotion, and in stages that are not watched.
    #[serde(default)]
    pub health: Option<StageHealth>,
}

impl StageState {
    /// How many succeeded promotions are remembered in [`StageState::history`]; Kargo's number.
    pub const HISTORY: usize = 10;

    /// Whether nothing is under way or waits.
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.verifying.is_none() && self.queue.is_empty()
    }
}

/// Why automatic promotions are held: somebody chose other freight than the rule would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The freight that was chosen.
    pub freight: FreightId,
    /// The promotion by which it was chosen.
    pub promotion: PromotionId,
    /// By whom.
    pub actor: Actor,
    /// Since when.
    pub at: Timestamp,
}

/// How what a stage runs is, as the deployers of its current promotion said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageHealth {
    /// How it is.
    pub health: Health,
    /// Why, in words, by deploy step.
    pub reason: String,
    /// Since when the journal has it so.
    pub since: Timestamp,
    /// The promotion whose result was looked at.
    pub promotion: PromotionId,
}
