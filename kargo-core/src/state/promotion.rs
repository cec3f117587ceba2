//! What is known of one promotion.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{HoldChange, Rollback, Trigger};
use crate::actor::Actor;
use crate::approval::{Answer, Demand};
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
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// How it stands.
    pub phase: Phase,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// That it goes back, and from what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// Why it was asked for, in the words of who did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who asked to stop it, or the verification of its result, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
    /// Its steps, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepState>,
    /// How its result is to be verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "super::specs::list")]
    pub verification: Vec<Arc<VerifierSpec>>,
    /// The verifications of its result, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verifications: Vec<Verification>,
}

impl Promotion {
    /// The outputs of the steps that have ended, by alias, in order.
    pub fn outputs(&self) -> Vec<(String, Map<String, Value>)> {
        self.outputs_before(self.steps.len())
    }

    /// The same of those before the step at `index`.
    pub(crate) fn outputs_before(&self, index: usize) -> Vec<(String, Map<String, Value>)> {
        let done = self.steps.iter().take(index).filter(|step| step.task.phase.is_terminal());
        done.map(|step| (step.alias.clone(), step.task.outputs.clone())).collect()
    }

    /// The revision that its writer made, or found to hold all that was wanted.
    pub fn revision(&self) -> Option<&str> {
        self.steps.iter().rev().find_map(|step| step.task.outputs.get("revision")?.as_str())
    }
}

/// That somebody asked to stop something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// Who.
    pub actor: Actor,
    /// Why, in words; may be empty.
    pub reason: String,
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "aborted by {}", self.actor)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

/// One step of a promotion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Its name in the promotion.
    pub alias: String,
    /// What it does.
    #[serde(with = "super::specs::one")]
    pub spec: Arc<StepSpec>,
    /// How it stands.
    pub task: TaskState,
}

impl StepState {
    /// The entry at place `index`, not started. Without a name of its own it is called after its place, from 1, as in Kargo.
    pub(super) fn new(index: usize, spec: &Arc<StepSpec>) -> Self {
        let alias = spec.alias.clone().unwrap_or_else(|| format!("step-{}", index + 1));
        Self { alias, spec: Arc::clone(spec), task: TaskState::default() }
    }
}

/// How a step or a verifier stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskState {
    /// How it stands.
    pub phase: Phase,
    /// When it was first called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// How often it could not do its work or find out.
    pub errors: u32,
    /// When it may be tried again after an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// What it waits for, or what went wrong last, or what came of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What it wanted to remember.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// What it put out.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub outputs: Map<String, Value>,
    /// A digest of what its configuration came to, if it may have to restore the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<String>,
    /// What people answered whom it asks for approval, oldest first; of each the last answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
    /// Whether it has said "not yet" at least once: then what it waits for has begun, and errors in looking at it are waited out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting: bool,
    /// Whether it is to stop, or not to begin: an abort was asked for before it ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aborted: bool,
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
            config_digest: None,
            answers: Vec::new(),
            waiting: false,
            aborted: false,
        }
    }
}

impl TaskState {
    /// Whom it asks for approval, while it waits for that.
    pub fn demand(&self) -> Option<Demand> {
        let state = self.state.as_ref().filter(|_| !self.phase.is_terminal() && !self.aborted)?;
        Demand::of_state(state)
    }
}

/// One verification of a promotion's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// How it stands.
    pub phase: Phase,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Its verifiers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verifiers: Vec<VerifierState>,
    /// Who decided what it could not find out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_by: Option<Actor>,
}

/// One verifier of a verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifierState {
    /// What it asks.
    #[serde(with = "super::specs::one")]
    pub spec: Arc<VerifierSpec>,
    /// How it stands.
    pub task: TaskState,
}
