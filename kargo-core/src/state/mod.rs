//! The state of a pipeline as the fold of its journal.
//!
//! [`State::apply`] is the only way in which a [`State`] changes, and [`Event`]s are its only input: whoever has the journal
//! has the state. Nothing here does I/O, reads a clock or draws a random number.

mod apply;
mod event;
mod find;
mod promotion;
mod shared;
mod specs;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actor::Actor;
use crate::clock::elapsed;
use crate::freight::{Freight, FreightCollection};
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::pipeline::Pipeline;

pub(crate) use apply::Ahead;
pub use apply::{Affected, ApplyError};
pub(crate) use event::verification_id;
pub use event::{Cause, Draft, Event, EventKind, HoldChange, MetadataOf, Rollback, Task, Trigger};
pub use promotion::{Abort, Promotion, StepState, TaskState, Verification, VerifierState};
use shared::SharedMap;
pub(crate) use specs::numbered;
pub use stage::{Chosen, Hold, StageHealth, StageState};

/// All that is known of a pipeline at one point of its journal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    seq: u64,
    #[serde(deserialize_with = "crate::pipeline::journaled_option")]
    pipeline: Option<Arc<Pipeline>>,
    freight: SharedMap<FreightId, FreightState>,
    /// Freight of each warehouse by age, so that the newest is found without looking at all.
    by_age: BTreeMap<WarehouseName, BTreeSet<(Timestamp, FreightId)>>,
    /// Whose each alias is.
    #[serde(default)]
    aliases: BTreeMap<String, FreightId>,
    warehouses: SharedMap<WarehouseName, WarehouseState>,
    stages: BTreeMap<StageName, StageState>,
    promotions: SharedMap<PromotionId, Promotion>,
}

impl State {
    /// The state before the first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much there is to write down: the pieces of freight and the promotions.
    pub(crate) fn weight(&self) -> u64 {
        (self.freight.len() + self.promotions.len()) as u64
    }

    /// The sequence number of the last event applied; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The pipeline as last defined.
    pub fn pipeline(&self) -> Option<&Arc<Pipeline>> {
        self.pipeline.as_ref()
    }

    /// All freight, by id.
    pub fn freight(&self) -> impl Iterator<Item = &FreightState> {
        self.freight.values().map(Arc::as_ref)
    }

    /// The freight of this id.
    pub fn freight_by_id(&self, id: &FreightId) -> Option<&FreightState> {
        self.freight.get(id).map(Arc::as_ref)
    }

    /// The freight of `warehouse`, newest first. Of two found at the same time the larger id counts as newer, as in Kargo.
    pub fn newest_first(&self, warehouse: &WarehouseName) -> impl Iterator<Item = &FreightState> {
        self.by_age
            .get(warehouse)
            .into_iter()
            .flatten()
            .rev()
            .filter_map(|(_, id)| self.freight.get(id).map(Arc::as_ref))
    }

    /// The warehouses that have made freight which is still there, by name.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &WarehouseName> {
        self.by_age.keys()
    }

    /// What is known of `stage`. A stage that nothing has happened to yet has none.
    pub fn stage(&self, stage: &StageName) -> Option<&StageState> {
        self.stages.get(stage)
    }

    /// What is known of the stages that something has happened to, by name.
    pub fn stages(&self) -> impl Iterator<Item = (&StageName, &StageState)> {
        self.stages.iter()
    }

    /// All promotions, by id: those of one stage in the order of their creation.
    pub fn promotions(&self) -> impl DoubleEndedIterator<Item = &Promotion> {
        self.promotions.values().map(Arc::as_ref)
    }

    /// The promotion of this id.
    pub fn promotion(&self, id: &PromotionId) -> Option<&Promotion> {
        self.promotions.get(id).map(Arc::as_ref)
    }

    /// Whether a promotion, or the verification of its result, has still to end.
    pub fn is_open(&self, promotion: &Promotion) -> bool {
        let verifying = self.stages.get(&promotion.stage).and_then(|stage| stage.verifying.as_ref());
        !promotion.phase.is_terminal() || verifying == Some(&promotion.id)
    }

    /// What is known of `warehouse`.
    pub fn warehouse(&self, warehouse: &WarehouseName) -> Option<&WarehouseState> {
        self.warehouses.get(warehouse).map(Arc::as_ref)
    }

    /// The freight that `stage` runs: that of the last promotion that succeeded there, per warehouse.
    pub fn current(&self, stage: &StageName) -> FreightCollection {
        let ids = self.stages.get(stage).into_iter().flat_map(|stage| stage.current.values());
        ids.filter_map(|id| self.freight.get(id)).map(|known| known.freight.clone()).collect()
    }

    /// The state of a task, if the promotion it belongs to has it.
    pub fn task(&self, task: &Task) -> Option<&TaskState> {
        match task {
            Task::Step { promotion, index } => Some(&self.promotions.get(promotion)?.steps.get(*index)?.task),
            Task::Verifier { promotion, attempt, index } => {
                let verification = self.promotions.get(promotion)?.verifications.get(*attempt)?;
                Some(&verification.verifiers.get(*index)?.task)
            }
        }
    }
}

/// Freight, and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FreightState {
    pub(crate) freight: Freight,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) alias: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) approved: BTreeMap<StageName, Approval>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) verified: BTreeMap<StageName, Verified>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) presence: BTreeMap<StageName, Presence>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Box<Map<String, Value>>>,
}

impl FreightState {
    pub(crate) fn new(freight: Freight) -> Self {
        let (approved, verified, presence) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { freight, alias: None, approved, verified, presence, metadata: None }
    }

    /// The freight itself.
    pub fn freight(&self) -> &Freight {
        &self.freight
    }

    /// The name that people say: two words at first, or what somebody called it. Unique in the pipeline. None when somebody took it
    /// away, and for freight of journals from before there were aliases.
    pub fn alias(&self) -> Option<&str> {
        self.alias.as_deref()
    }

    /// What steps have noted of it, by key.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.metadata.as_deref()
    }

    /// The stages it is approved for, whatever their conditions.
    pub fn approved(&self) -> &BTreeMap<StageName, Approval> {
        &self.approved
    }

    /// The stages in which it is verified.
    pub fn verified(&self) -> &BTreeMap<StageName, Verified> {
        &self.verified
    }

    /// The stages that run it now, or have.
    pub fn presence(&self) -> &BTreeMap<StageName, Presence> {
        &self.presence
    }

    /// How long it has stayed in `stage` without a break, at best: the current stay, or the longest that ended while it
    /// was verified there. Counted from entering the stage, not from the verification.
    pub fn soaked(&self, stage: &StageName, now: Timestamp) -> Duration {
        self.presence.get(stage).map_or(Duration::ZERO, |presence| {
            let current = presence.since.map_or(Duration::ZERO, |since| elapsed(since, now));
            current.max(presence.longest)
        })
    }
}

/// Somebody's word that freight may enter a stage whatever its conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Whose.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// That freight was found good in a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When first, since it was last found otherwise.
    pub at: Timestamp,
    /// The promotion whose verification said so; none for a control-flow stage, through which freight passes.
    pub promotion: Option<PromotionId>,
}

/// When freight was in a stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Since when, if it is there now.
    pub since: Option<Timestamp>,
    /// The longest stay that has ended, among those in which it was verified there.
    pub longest: Duration,
}

/// What is known of a warehouse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarehouseState {
    /// The freight it made last.
    pub latest: Option<FreightId>,
    /// Why its last look failed, if it did.
    pub failing: Option<String>,
    /// Why the newest artifacts make no freight though the look succeeded: a criterion is not satisfied with them.
    #[serde(default)]
    pub waiting: Option<String>,
    /// The freight that its last look would have made, if there is such: what is newest where it looks. Often that is what it made
    /// last, but versions can be withdrawn.
    #[serde(default)]
    pub offered: Option<FreightId>,
}
