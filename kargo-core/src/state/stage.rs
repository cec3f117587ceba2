//! What is known of one stage.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actor::Actor;
use crate::name::{FreightId, PromotionId, WarehouseName};
use crate::plugin::Health;

/// What runs in a stage, what waits there, and what was last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageState {
    /// The freight it runs, per warehouse.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub current: BTreeMap<WarehouseName, FreightId>,
    /// The promotion that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<PromotionId>,
    /// The promotion whose result is being verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifying: Option<PromotionId>,
    /// The promotions that wait, first come first served.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub queue: VecDeque<PromotionId>,
    /// The promotion that ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<PromotionId>,
    /// The promotions that succeeded, newest first; at most [`StageState::HISTORY`].
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub history: VecDeque<PromotionId>,
    /// Why automatic promotions of a warehouse's freight are held.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holds: BTreeMap<WarehouseName, Hold>,
    /// How the last promotion of each freight that ended, ended: the promotion. Looked at before promoting automatically.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attempts: BTreeMap<FreightId, PromotionId>,
    /// How what it runs was at the last look; none before the first look after a promotion, and in stages that are not watched.
    #[serde(default)]
    pub health: Option<StageHealth>,
    /// What steps have noted of the stage, by key. In a box: most stages have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<Map<String, Value>>>,
}

impl StageState {
    /// How many succeeded promotions are remembered in [`StageState::history`]; Kargo's number.
    pub const HISTORY: usize = 10;

    /// Whether this promotion is under way, waits, or is being verified.
    pub(crate) fn has_open(&self, promotion: &PromotionId) -> bool {
        self.running.iter().chain(&self.verifying).chain(&self.queue).any(|open| open == promotion)
    }

    /// Whether nothing is under way or waits.
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.verifying.is_none() && self.queue.is_empty()
    }
}

/// Why automatic promotions are held: somebody asked for it, or chose other freight than the rule would, or the stage went back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The choice that holds them, which ends when what the rule would choose is chosen. None when somebody asked for the hold:
    /// then it lasts until it is released.
    pub choice: Option<Chosen>,
    /// By whom.
    pub actor: Actor,
    /// Why, in words; may be empty.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = if self.reason.is_empty() { String::new() } else { format!(" ({})", self.reason) };
        match &self.choice {
            Some(Chosen { freight, .. }) => write!(
                f,
                "automatic promotions are held since {} chose freight {}{because}; promote the freight that the stage would take, or release the hold, to let them go on",
                self.actor,
                freight.short()
            ),
            None => write!(
                f,
                "automatic promotions are held by {} since {}{because}; release the hold to let them go on",
                self.actor, self.at
            ),
        }
    }
}

/// That freight was chosen against the rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The freight that was chosen.
    pub freight: FreightId,
    /// The promotion by which it was chosen.
    pub promotion: PromotionId,
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
