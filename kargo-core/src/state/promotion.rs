//! What is known of one promotion.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{HoldChange, Trigger};
use crate::actor::Actor;
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::promotion::Phase;
use crate::stage::{StepSpec, VerifierSpec};

/// One promotion of freight to a stage, from the request to the verification of its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// Its id.
    pub id: PromotionId,
    /// The stage.
    pub stage: StageName,
    /// The freight.
    pub freight: FreightId,
    /// That freight, and what the stage kept of its other warehouses when it started.
    pub collection: BTreeMap<WarehouseName, FreightId>,
    /// Who asked for it.
    pub actor: Actor,
    /// What made it.
    pub trigger: Trigger,
    /// What it means for automatic promotions.
    pub hold: HoldChange,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How it stands.
    pub phase: Phase,
    /// Why it ended so.
    pub message: String,
    /// Who asked to stop it.
    pub abort: Option<Actor>,
    /// Its steps, in order.
    pub steps: Vec<StepState>,
    /// How its result is to be verified.
    pub verification: Vec<VerifierSpec>,
    /// The verifications of its result, oldest first.
    pub verifications: Vec<Verification>,
}

/// Promotions that copies of a state share until one of them changes: a snapshot is written from a copy, and taking that must not
/// hold up the engine, however many promotions there are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Promotions(BTreeMap<PromotionId, Arc<Promotion>>);

impl Promotions {
    pub(super) fn insert(&mut self, id: PromotionId, promotion: Promotion) {
        self.0.insert(id, Arc::new(promotion));
    }

    pub(super) fn get_mut(&mut self, id: &PromotionId) -> Option<&mut Promotion> {
        self.0.get_mut(id).map(Arc::make_mut)
    }
}

impl Deref for Promotions {
    type Target = BTreeMap<PromotionId, Arc<Promotion>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Promotion {
    /// The outputs of the steps that have ended, by alias, in order.
    pub fn outputs(&self) -> Vec<(String, Map<String, Value>)> {
        let done = self.steps.iter().filter(|step| step.task.phase.is_terminal());
        done.map(|step| (step.alias.clone(), step.task.outputs.clone())).collect()
    }

    /// The revision that its writer made, or found to hold all that was wanted.
    pub fn revision(&self) -> Option<&str> {
        self.steps.iter().rev().find_map(|step| step.task.outputs.get("revision")?.as_str())
    }
}

/// One step of a promotion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Its name in the promotion.
    pub alias: String,
    /// What it does.
    pub spec: StepSpec,
    /// How it stands.
    pub task: TaskState,
}

/// How a step or a verifier stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskState {
    /// How it stands.
    pub phase: Phase,
    /// When it was first called.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How often it could not do its work or find out.
    pub errors: u32,
    /// When it may be tried again after an error.
    pub retry_at: Option<Timestamp>,
    /// What it waits for, or what went wrong last, or what came of it.
    pub message: String,
    /// What it wanted to remember.
    pub state: Option<Value>,
    /// What it put out.
    pub outputs: Map<String, Value>,
}

impl Default for TaskState {
    fn default() -> Self {
        Self {
            phase: Phase::Pending,
            started_at: None,
            finished_at: None,
            errors: 0,
            retry_at: None,
            message: String::new(),
            state: None,
            outputs: Map::new(),
        }
    }
}

/// One verification of a promotion's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How it stands.
    pub phase: Phase,
    /// Why it ended so.
    pub message: String,
    /// Its verifiers, in order.
    pub verifiers: Vec<VerifierState>,
}

/// One verifier of a verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifierState {
    /// What it asks.
    pub spec: VerifierSpec,
    /// How it stands.
    pub task: TaskState,
}
