//! The fold.

mod collect;
mod freight;
mod promotion;
mod task;

use std::collections::BTreeSet;

use super::event::{Cause, Event, EventKind};
use super::promotion::{Promotion, StepState};
use super::{Approval, State};
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::pipeline::Pipeline;
use crate::promotion::Phase;
use crate::stage::Stage;

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
                self.warehouses.entry(warehouse.clone()).or_default().offered = Some(freight.clone());
                Ok(Affected::Stages(Vec::new()))
            }
            EventKind::Collected { freight, promotions } => Ok(self.collect(freight, promotions)),
            EventKind::WarehouseWaiting { warehouse, reason } => {
                self.warehouses.entry(warehouse.clone()).or_default().waiting.clone_from(reason);
                Ok(Affected::Stages(Vec::new()))
            }
            EventKind::AliasSet { freight, alias } => {
                self.call_freight(freight, alias.as_deref()).ok_or_else(|| no_freight(freight))
            }
            EventKind::DiscoveryFailed { warehouse, reason } => {
                self.warehouses.entry(warehouse.clone()).or_default().failing = Some(reason.clone());
                Ok(Affected::Stages(Vec::new()))
            }
            EventKind::DiscoveryRecovered { warehouse } => {
                self.warehouses.entry(warehouse.clone()).or_default().failing = None;
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
            EventKind::PromotionRequested { promotion, stage, freight, trigger, steps, verification, hold } => {
                if !self.freight.contains_key(freight) {
                    return Err(no_freight(freight));
                }
                let requested = Promotion {
                    id: promotion.clone(),
                    stage: stage.clone(),
                    freight: freight.clone(),
                    collection: Default::default(),
                    actor: event.actor.clone(),
                    trigger: *trigger,
                    hold: *hold,
                    requested_at: at,
                    started_at: None,
                    finished_at: None,
                    phase: Phase::Pending,
                    message: String::new(),
                    abort: None,
                    steps: steps.iter().enumerate().map(|(index, spec)| StepState::new(index, spec)).collect(),
                    verification: verification.clone(),
                    verifications: Vec::new(),
                };
                self.promotions.insert(promotion.clone(), requested);
                self.stages.entry(stage.clone()).or_default().queue.push_back(promotion.clone());
                Ok(only(stage))
            }
            EventKind::PromotionStarted { promotion } => {
                self.start_promotion(promotion, at).ok_or_else(|| no_promotion(promotion))
            }
            EventKind::AbortRequested { promotion } => {
                let found = self.promotions.get_mut(promotion).ok_or_else(|| no_promotion(promotion))?;
                found.abort = Some(event.actor.clone());
                Ok(only(&found.stage.clone()))
            }
            EventKind::PromotionFinished { promotion, phase, message } => {
                let stage = self.finish_promotion(promotion, *phase, message, at);
                let stage = stage.ok_or_else(|| no_promotion(promotion))?;
                Ok(self.with_downstream(&stage))
            }
            EventKind::VerificationStarted { promotion } => {
                self.start_verification(promotion, at).ok_or_else(|| no_promotion(promotion))
            }
            EventKind::VerificationFinished { promotion, phase, message } => {
                let stage = self.finish_verification(promotion, *phase, message, at);
                let stage = stage.ok_or_else(|| dangling(format!("verification of promotion {promotion}")))?;
                Ok(self.with_downstream(&stage))
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

    /// `stage` and those after it. Whether freight may pass a control-flow stage is asked anew behind it, so those behind that
    /// are affected as well, though no event of its own may come.
    fn with_downstream(&self, stage: &StageName) -> Affected {
        let mut names = vec![stage.clone()];
        let mut seen = BTreeSet::from([stage.clone()]);
        let mut next = 0;
        while let Some(name) = names.get(next).cloned() {
            next += 1;
            let Some(pipeline) = &self.pipeline else { break };
            let passes = pipeline.stage(&name).is_some_and(Stage::is_control_flow);
            if name == *stage || passes {
                let downstream = pipeline.downstream(&name).map(|stage| stage.name());
                names.extend(downstream.filter(|name| seen.insert((*name).clone())).cloned());
            }
        }
        Affected::Stages(names)
    }
}

/// Only `stage` is affected.
fn only(stage: &StageName) -> Affected {
    Affected::Stages(vec![stage.clone()])
}

fn promotes_by_itself(pipeline: &Pipeline, stage: &StageName, origin: &WarehouseName) -> bool {
    pipeline.stage(stage).is_some_and(|stage| stage.auto_promotes() && stage.request_for(origin).is_some())
}
