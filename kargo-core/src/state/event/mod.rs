//! Events: the journal's entries, and so the audit trail.

mod text;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actor::Actor;
use crate::error::ErrorKind;
use crate::freight::Freight;
use crate::name::{FreightId, PromotionId, StageName, VerificationId, WarehouseName};
use crate::pipeline::Pipeline;
use crate::promotion::Phase;
use crate::stage::{StepSpec, VerifierSpec};

/// One change, with who made it, when and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the pipeline's journal, from 1, without gaps.
    pub seq: u64,
    /// When it was appended, by the engine's clock.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// Why it was appended.
    pub cause: Cause,
    /// What changed.
    pub kind: EventKind,
}

/// An event that has no place in a journal yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Who causes it.
    pub actor: Actor,
    /// Why.
    pub cause: Cause,
    /// What changes.
    pub kind: EventKind,
}

impl Draft {
    /// What follows from the rules.
    pub fn rule(kind: EventKind) -> Self {
        Self { actor: Actor::engine(), cause: Cause::Rule, kind }
    }

    /// What somebody asked for.
    pub fn request(actor: Actor, kind: EventKind) -> Self {
        Self { actor, cause: Cause::Request, kind }
    }

    /// What came out of an effect.
    pub fn outcome(kind: EventKind) -> Self {
        Self { actor: Actor::engine(), cause: Cause::Outcome, kind }
    }

    pub(crate) fn at(self, seq: u64, at: Timestamp) -> Event {
        Event { seq, at, actor: self.actor, cause: self.cause, kind: self.kind }
    }
}

/// Why an event was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Somebody asked for it.
    Request,
    /// It follows from the pipeline's rules.
    Rule,
    /// An effect ended: a look, a step, a verifier.
    Outcome,
}

/// Work of a promotion that runs outside the fold: a step, or a verifier of its verification.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// A step of a promotion.
    Step {
        /// The promotion.
        promotion: PromotionId,
        /// The step's place, from 0.
        index: usize,
    },
    /// A verifier of one verification of a promotion.
    Verifier {
        /// The promotion.
        promotion: PromotionId,
        /// Which verification of it, from 0.
        attempt: usize,
        /// The verifier's place, from 0.
        index: usize,
    },
}

impl Task {
    /// The promotion that it works for.
    pub fn promotion(&self) -> &PromotionId {
        match self {
            Self::Step { promotion, .. } | Self::Verifier { promotion, .. } => promotion,
        }
    }

    /// The key under which its effect is idempotent: the same on every try.
    pub fn key(&self) -> String {
        match self {
            Self::Step { promotion, index } => format!("{promotion}/step-{}", index + 1),
            Self::Verifier { promotion, attempt, index } => {
                format!("{}/verifier-{}", verification_id(promotion, *attempt), index + 1)
            }
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

pub(crate) fn verification_id(promotion: &PromotionId, attempt: usize) -> VerificationId {
    VerificationId::from(format!("{promotion}.v{}", attempt + 1))
}

/// What made a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// Somebody asked for it.
    Manual,
    /// The stage promotes by itself.
    Automatic,
}

/// What a promotion means for the stage's automatic promotions of that warehouse's freight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldChange {
    /// Nothing.
    #[default]
    None,
    /// Hold them: somebody chose other freight than the rule would.
    Hold,
    /// Let them go on: somebody chose what the rule would.
    Resume,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EventKind {
    /// The pipeline was defined, or defined anew. Promotions under way keep the steps they started with.
    PipelineDefined {
        /// The definition.
        #[serde(deserialize_with = "crate::pipeline::journaled")]
        pipeline: Arc<Pipeline>,
    },
    /// A warehouse found new freight, or somebody assembled it of what the warehouse had found.
    FreightFound {
        /// The freight.
        freight: Freight,
        /// The name that people say. None in journals from before there were aliases.
        #[serde(default)]
        alias: Option<String>,
        /// Which criterion of the warehouse is not satisfied with it, and why, when somebody assembled it all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        against: Option<String>,
    },
    /// A warehouse's newest artifacts make no freight, since a criterion is not satisfied with them, or no longer wait for it.
    WarehouseWaiting {
        /// The warehouse.
        warehouse: WarehouseName,
        /// The versions, and why not; none when nothing waits any more.
        reason: Option<String>,
    },
    /// A warehouse's newest artifacts are now those of freight that was there before.
    FreightOffered {
        /// The warehouse.
        warehouse: WarehouseName,
        /// The freight.
        freight: FreightId,
    },
    /// The state let go of the past that the pipeline's retention does not keep. The journal still has it.
    Collected {
        /// The freight.
        freight: Vec<FreightId>,
        /// The promotions.
        promotions: Vec<PromotionId>,
    },
    /// Somebody gave freight another alias, or took it away.
    AliasSet {
        /// The freight.
        freight: FreightId,
        /// The alias from now on.
        alias: Option<String>,
    },
    /// A warehouse's look failed, for another reason than the one before. Freight it made stays.
    DiscoveryFailed {
        /// The warehouse.
        warehouse: WarehouseName,
        /// Why.
        reason: String,
    },
    /// A warehouse's looks succeed again.
    DiscoveryRecovered {
        /// The warehouse.
        warehouse: WarehouseName,
    },
    /// Somebody approved freight for a stage.
    FreightApproved {
        /// The freight.
        freight: FreightId,
        /// The stage.
        stage: StageName,
    },
    /// Freight passed through a control-flow stage.
    FreightPassed {
        /// The freight.
        freight: FreightId,
        /// The stage.
        stage: StageName,
    },
    /// A promotion was asked for. It waits in the stage's queue.
    PromotionRequested {
        /// Its id.
        promotion: PromotionId,
        /// The stage.
        stage: StageName,
        /// The freight.
        freight: FreightId,
        /// What made it.
        trigger: Trigger,
        /// What it will do; fixed from here on.
        steps: Vec<StepSpec>,
        /// How its result will be verified; fixed from here on.
        verification: Vec<VerifierSpec>,
        /// What it means for automatic promotions.
        hold: HoldChange,
    },
    /// A promotion began.
    PromotionStarted {
        /// The promotion.
        promotion: PromotionId,
    },
    /// Somebody asked to stop a promotion.
    AbortRequested {
        /// The promotion.
        promotion: PromotionId,
    },
    /// A promotion ended.
    PromotionFinished {
        /// The promotion.
        promotion: PromotionId,
        /// How.
        phase: Phase,
        /// Why.
        message: String,
    },
    /// The verification of a promotion's result began.
    VerificationStarted {
        /// The promotion.
        promotion: PromotionId,
    },
    /// The verification of a promotion's result ended. Only `Succeeded` makes its freight verified in the stage.
    VerificationFinished {
        /// The promotion.
        promotion: PromotionId,
        /// How.
        phase: Phase,
        /// Why.
        message: String,
    },
    /// A task is about to be called for the first time.
    TaskStarted {
        /// The task.
        task: Task,
    },
    /// A task said "not yet", with another reason or something to remember. Repetitions are not journaled.
    TaskWaiting {
        /// The task.
        task: Task,
        /// What it waits for.
        reason: String,
        /// What it wants to remember.
        state: Option<Value>,
    },
    /// A task could not do its work or find out; it will be tried again.
    TaskErrored {
        /// The task.
        task: Task,
        /// The kind of the error.
        error: ErrorKind,
        /// The error in words.
        reason: String,
        /// When it may be tried again.
        retry_at: Timestamp,
    },
    /// A task ended.
    TaskFinished {
        /// The task.
        task: Task,
        /// How.
        phase: Phase,
        /// Why, or what came of it.
        message: String,
        /// For later steps.
        outputs: Map<String, Value>,
    },
}
