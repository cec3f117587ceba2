//! The fold.

mod ahead;
mod collect;
mod freight;
mod health;
mod promotion;
mod task;

use std::collections::BTreeSet;

pub(crate) use ahead::Ahead;

use super::event::{Cause, Event, EventKind, MetadataOf};
use super::promotion::{Abort, Promotion};
use super::stage::Hold;
use super::{Approval, State};
use crate::approval::Answer;
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::pipeline::Pipeline;
use crate::stage::{Selection, Stage};

/// Why an event does not follow on a state. A journal that was written by this crate has no such event: the store has lost
/// or mixed up entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A gap, or a repetition.
    #[error("event {found} cannot follow event {last}; the journal has a gap or a repetition")]
    OutOfOrder {
        /// The last event applied.
        last: u64,
        /// The event that was to follow.
        found: u64,
    },
    /// The event names something that is not there.
    #[error("event {seq} speaks of {what}, which is not in the journal before it")]
    Dangling {
        /// The event.
        seq: u64,
        /// What is not there.
        what: String,
    },
}

/// For which stages an event can change a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Affected {
    /// For any.
    All,
    /// For these.
    Stages(Vec<StageName>),
}

impl State {
    /// Applies the next event, and says for which stages decisions may differ now.
    ///
    /// # Errors
    /// [`ApplyError`] when the event cannot follow; the state is then as before.
    pub fn apply(&mut self, event: &Event) -> Result<Affected, ApplyError> {
        if event.seq != self.seq + 1 {
            return Err(ApplyError::OutOfOrder { last: self.seq, found: event.seq });
        }
        let affected = self.change(event)?;
        self.seq = event.seq;
        Ok(affected)
    }

    fn change(&mut self, event: &Event) -> Result<Affected, ApplyError> {
        let at = event.at;
        let dangling = |what: String| ApplyError::Dangling { seq: event.seq, what };
        let no_freight = |id: &FreightId| dangling(format!("freight {id}"));
        let no_promotion = |id: &PromotionId| dangling(format!("promotion {id}"));
        match &event.kind {
            EventKind::PipelineDefined { pipeline } => {
                self.define(pipeline);
                Ok(Affected::All)
            }
            EventKind::FreightFound { freight, alias, .. } => {
                // What a person assembled is not what the warehouse offers.
                let offered = event.cause == Cause::Outcome;
                Ok(self.add_freight(freight, alias.as_deref(), offered))
            }
            EventKind::FreightOffered { warehouse, freight } => {
                self.warehouses.or_default(warehouse).offered = Some(freight.clone());
                Ok(Affected::Stages(Vec::new()))
            }
            EventKind::Collected { freight, promotions } => Ok(self.collect(freight, promotions)),
            EventKind::WarehouseWaiting { warehouse, reason } => {
                self.warehouses.or_default(warehouse).waiting.clone_from(reason);
                Ok(Affected::Stages(Vec::new()))
            }
            EventKind::AliasSet { freight, alias } => {
                self.call_freight(freight, alias.as_deref()).ok_or_else(|| no_freight(freight))
            }
            EventKind::MetadataSet { of, values } => {
                let metadata = match of {
                    MetadataOf::Stage(stage) => &mut self.stages.entry(stage.clone()).or_default().metadata,
                    MetadataOf::Freight(freight) => {
                        &mut self.freight.get_mut(freight).ok_or_else(|| no_freight(freight))?.metadata
                    }
                };
                metadata.get_or_insert_default().extend(values.clone());
                Ok(Affected::Stages(Vec::new()))
            }
            EventKind::DiscoveryFailed { warehouse, reason } => {
                self.warehouses.or_default(warehouse).failing = Some(reason.clone());
                Ok(Affected::Stages(Vec::new()))
            }
            EventKind::DiscoveryRecovered { warehouse } => {
                self.warehouses.or_default(warehouse).failing = None;
                Ok(Affected::Stages(Vec::new()))
            }
            EventKind::FreightApproved { freight, stage } => {
                let known = self.freight.get_mut(freight).ok_or_else(|| no_freight(freight))?;
                known.approved.insert(stage.clone(), Approval { actor: event.actor.clone(), at });
                Ok(self.with_downstream(stage))
            }
            EventKind::FreightPassed { freight, stage } => {
                self.pass_freight(freight, stage, at).ok_or_else(|| no_freight(freight))
            }
            EventKind::PromotionRequested { promotion, stage, freight, .. } => {
                if !self.freight.contains_key(freight) {
                    return Err(no_freight(freight));
                }
                if let Some(mut requested) = Promotion::requested(&event.kind, &event.actor, at) {
                    if let Some(definition) = self.pipeline.as_ref().and_then(|pipeline| pipeline.stage(stage)) {
                        requested.share(definition);
                    }
                    self.promotions.insert(promotion.clone(), requested);
                }
                self.stages.entry(stage.clone()).or_default().queue.push_back(promotion.clone());
                Ok(only(stage))
            }
            EventKind::PromotionStarted { promotion } => {
                self.start_promotion(promotion, at).ok_or_else(|| no_promotion(promotion))
            }
            EventKind::AbortRequested { promotion, reason } => {
                let abort = Abort { actor: event.actor.clone(), reason: reason.clone() };
                let found = self.promotions.get_mut(promotion).ok_or_else(|| no_promotion(promotion))?;
                found.stop(abort);
                Ok(only(&found.stage.clone()))
            }
            EventKind::AutoPromotionHeld { stage, origin, reason } => {
                let hold = Hold { choice: None, actor: event.actor.clone(), reason: reason.clone(), at };
                self.stages.entry(stage.clone()).or_default().holds.insert(origin.clone(), hold);
                Ok(only(stage))
            }
            EventKind::AutoPromotionReleased { stage, origin } => {
                self.release(stage, origin);
                Ok(only(stage))
            }
            EventKind::VerificationRequested { promotion, verification } => {
                let found = self.promotions.get_mut(promotion).ok_or_else(|| no_promotion(promotion))?;
                found.verification.clone_from(verification);
                found.abort = None;
                let stage = found.stage.clone();
                self.stages.entry(stage.clone()).or_default().verifying = Some(promotion.clone());
                Ok(self.with_followers(&stage))
            }
            EventKind::VerificationJudged { promotion, phase, reason } => {
                let stage = self.finish_verification(promotion, *phase, reason, at, Some(&event.actor));
                let stage = stage.ok_or_else(|| dangling(format!("verification of promotion {promotion}")))?;
                Ok(self.with_downstream(&stage))
            }
            EventKind::PromotionFinished { promotion, phase, message } => {
                let stage = self.finish_promotion(promotion, *phase, message, at);
                let stage = stage.ok_or_else(|| no_promotion(promotion))?;
                if phase.is_success() {
                    self.forget_health(&stage);
                }
                Ok(self.with_downstream(&stage))
            }
            EventKind::VerificationStarted { promotion } => {
                let found = self.promotions.get_mut(promotion).ok_or_else(|| no_promotion(promotion))?;
                found.begin_verification(at);
                Ok(only(&found.stage.clone()))
            }
            EventKind::VerificationFinished { promotion, phase, message } => {
                let stage = self.finish_verification(promotion, *phase, message, at, None);
                let stage = stage.ok_or_else(|| dangling(format!("verification of promotion {promotion}")))?;
                Ok(self.with_downstream(&stage))
            }
            EventKind::HealthChanged { stage, promotion, health, reason } => {
                let changed = self.change_health(stage, promotion, *health, reason, at);
                changed.ok_or_else(|| dangling(format!("promotion {promotion} as what stage {stage} runs")))
            }
            EventKind::StepAnswered { task, verdict, grounds, message } => {
                let (stage, state) = self.task_mut(task).ok_or_else(|| dangling(format!("task {task}")))?;
                let (actor, verdict) = (event.actor.clone(), *verdict);
                state.answer(Answer { actor, verdict, grounds: grounds.clone(), message: message.clone(), at });
                Ok(only(&stage))
            }
            EventKind::TaskStarted { task }
            | EventKind::TaskWaiting { task, .. }
            | EventKind::TaskErrored { task, .. }
            | EventKind::TaskFinished { task, .. } => {
                let (stage, state) = self.task_mut(task).ok_or_else(|| dangling(format!("task {task}")))?;
                state.change(&event.kind, at);
                Ok(only(&stage))
            }
        }
    }

    /// `stage` and those that match it: while it is busy there is nothing to match.
    pub(super) fn with_followers(&self, stage: &StageName) -> Affected {
        let matches = |after: &&Stage| {
            let requests = after.requests().iter();
            requests.filter(|request| request.selection == Selection::MatchUpstream).any(|r| r.stages.contains(stage))
        };
        let downstream = self.pipeline.iter().flat_map(|pipeline| pipeline.downstream(stage)).filter(matches);
        Affected::Stages(downstream.map(|after| after.name()).chain([stage]).cloned().collect())
    }

    /// `stage` and those that it reaches.
    fn with_downstream(&self, stage: &StageName) -> Affected {
        let mut names = vec![stage.clone()];
        names.extend(self.reached_from(stage));
        Affected::Stages(names)
    }

    /// The stages whose decisions look at `stage`: those after it. Whether freight may pass a control-flow stage is asked anew
    /// behind it, so those behind that are reached as well, though no event of its own may come.
    pub(crate) fn reached_from(&self, stage: &StageName) -> Vec<StageName> {
        let Some(pipeline) = &self.pipeline else { return Vec::new() };
        let mut names: Vec<StageName> = Vec::new();
        let mut seen = BTreeSet::from([stage]);
        let mut from = Some(stage.clone());
        let mut next = 0;
        while let Some(name) = from {
            if name == *stage || pipeline.stage(&name).is_some_and(Stage::is_control_flow) {
                let downstream = pipeline.downstream(&name).map(|stage| stage.name());
                names.extend(downstream.filter(|name| seen.insert(name)).cloned());
            }
            from = names.get(next).cloned();
            next += 1;
        }
        names
    }
}

/// Only `stage` is affected.
fn only(stage: &StageName) -> Affected {
    Affected::Stages(vec![stage.clone()])
}

fn promotes_by_itself(pipeline: &Pipeline, stage: &StageName, origin: &WarehouseName) -> bool {
    pipeline.stage(stage).is_some_and(|stage| stage.auto_promotes() && stage.request_for(origin).is_some())
}
