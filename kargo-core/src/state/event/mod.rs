//! Events: the journal's entries, and so the audit trail.

mod text;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actor::Actor;
use crate::approval::{Ground, Verdict};
use crate::error::ErrorKind;
use crate::freight::Freight;
use crate::name::{FreightId, PromotionId, StageName, VerificationId, WarehouseName};
use crate::pipeline::Pipeline;
use crate::plugin::Health;
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
    /// The stage goes back by itself.
    Rollback,
}

/// That a promotion goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The freight that it goes back from.
    pub from: FreightId,
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

/// What metadata belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetadataOf {
    /// A stage.
    Stage(StageName),
    /// Freight.
    Freight(FreightId),
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
    /// A step of a promotion set metadata of a stage or of freight: entries take the place of those of the same key, others stay.
    MetadataSet {
        /// Whose.
        of: MetadataOf,
        /// The entries.
        values: serde_json::Map<String, serde_json::Value>,
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
        steps: Vec<Arc<StepSpec>>,
        /// How its result will be verified; fixed from here on.
        verification: Vec<Arc<VerifierSpec>>,
        /// What it means for automatic promotions.
        hold: HoldChange,
        /// That it goes back, and from what.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rollback: Option<Rollback>,
        /// Why it was asked for, in the words of who did.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
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
        /// Why, in words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Somebody holds a stage's automatic promotions of a warehouse's freight, until they are released.
    AutoPromotionHeld {
        /// The stage.
        stage: StageName,
        /// The warehouse.
        origin: WarehouseName,
        /// Why, in words.
        reason: String,
    },
    /// Somebody lets a stage's automatic promotions of a warehouse's freight go on.
    AutoPromotionReleased {
        /// The stage.
        stage: StageName,
        /// The warehouse.
        origin: WarehouseName,
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
    /// Somebody asked for another verification of a promotion's result.
    VerificationRequested {
        /// The promotion.
        promotion: PromotionId,
        /// How it will be verified: as the stage is defined now.
        verification: Vec<Arc<VerifierSpec>>,
    },
    /// Somebody decided what a verification could not find out. The word is theirs: `Succeeded` or `Failed`.
    VerificationJudged {
        /// The promotion.
        promotion: PromotionId,
        /// What they decided.
        phase: Phase,
        /// Why, in their words.
        reason: String,
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
    /// What a stage runs is in other health than the journal last told, or for another reason. Not every look is journaled.
    HealthChanged {
        /// The stage.
        stage: StageName,
        /// The promotion that the stage runs.
        promotion: PromotionId,
        /// How it is.
        health: Health,
        /// Why, in words, by deploy step.
        reason: String,
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
    /// Somebody who is asked by a step that waits for approval answered it.
    StepAnswered {
        /// The step.
        task: Task,
        /// What they said.
        verdict: Verdict,
        /// As which of those who are asked.
        grounds: Vec<Ground>,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
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
        /// A digest of what the configuration came to, with the secrets masked, for a step that may have to be called again to restore the
        /// workspace: by then its expressions may come to something else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config_digest: Option<String>,
    },
}
