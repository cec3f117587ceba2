//! The fold.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::event::{Event, EventKind, HoldChange, Task};
use super::promotion::{Promotion, StepState, TaskState, Verification, VerifierState};
use super::stage::{Hold, StageState};
use super::{Approval, FreightState, State, Verified};
use crate::clock::elapsed;
use crate::name::{PromotionId, StageName, WarehouseName};
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
        let only = |stage: &StageName| Affected::Stages(vec![stage.clone()]);
        match &event.kind {
            EventKind::PipelineDefined { pipeline } => {
                self.pipeline = Some(Arc::clone(pipeline));
                for (name, stage) in &mut self.stages {
                    // A hold belongs to the rule that it holds, and ends with it.
                    stage.holds.retain(|origin, _| promotes_by_itself(pipeline, name, origin));
                }
                // That freight passed through a stage when it had no steps says nothing about the stage with steps.
                let has_steps = |name: &StageName| pipeline.stage(name).is_some_and(|stage| !stage.is_control_flow());
                for known in self.freight.values_mut() {
                    let FreightState { verified, presence, .. } = known;
                    verified.retain(|stage, verified| {
                        let keep = verified.promotion.is_some() || !has_steps(stage);
                        if !keep {
                            presence.remove(stage);
                        }
                        keep
                    });
                }
                Ok(Affected::All)
            }
            EventKind::FreightFound { freight } => {
                let origin = freight.origin().clone();
                self.by_age.entry(origin.clone()).or_default().insert((freight.discovered_at(), freight.id().clone()));
                self.warehouses.entry(origin.clone()).or_default().latest = Some(freight.id().clone());
                let state = || FreightState::new(freight.clone());
                self.freight.entry(freight.id().clone()).or_insert_with(state);
                let requesting = self.pipeline.iter().flat_map(|pipeline| pipeline.requesting(&origin));
                Ok(Affected::Stages(requesting.map(|stage| stage.name().clone()).collect()))
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
                let known = self.freight.get_mut(freight).ok_or_else(|| dangling(format!("freight {freight}")))?;
                known.approved.insert(stage.clone(), Approval { actor: event.actor.clone(), at });
                Ok(self.with_downstream(stage))
            }
            EventKind::FreightPassed { freight, stage } => {
                let known = self.freight.get_mut(freight).ok_or_else(|| dangling(format!("freight {freight}")))?;
                known.verified.insert(stage.clone(), Verified { at, promotion: None });
                let presence = known.presence.entry(stage.clone()).or_default();
                presence.since.get_or_insert(at);
                Ok(self.with_downstream(stage))
            }
            EventKind::PromotionRequested { promotion, stage, freight, trigger, steps, verification, hold } => {
                if !self.freight.contains_key(freight) {
                    return Err(dangling(format!("freight {freight}")));
                }
                let alias = |index: usize| format!("step-{}", index + 1);
                let steps = steps.iter().enumerate().map(|(index, spec)| StepState {
                    alias: spec.alias.clone().unwrap_or_else(|| alias(index)),
                    spec: spec.clone(),
                    task: TaskState::default(),
                });
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
                    steps: steps.collect(),
                    verification: verification.clone(),
                    verifications: Vec::new(),
                };
                self.promotions.insert(promotion.clone(), requested);
                self.stages.entry(stage.clone()).or_default().queue.push_back(promotion.clone());
                Ok(only(stage))
            }
            EventKind::PromotionStarted { promotion } => {
                let found =
                    self.promotions.get_mut(promotion).ok_or_else(|| dangling(format!("promotion {promotion}")))?;
                let stage = self.stages.entry(found.stage.clone()).or_default();
                stage.queue.retain(|waiting| waiting != promotion);
                stage.running = Some(promotion.clone());
                let definition = self.pipeline.as_ref().and_then(|pipeline| pipeline.stage(&found.stage));
                let still_requested =
                    |origin: &WarehouseName| definition.is_some_and(|stage| stage.request_for(origin).is_some());
                let kept = stage.current.iter().filter(|(origin, _)| still_requested(origin));
                found.collection = kept.map(|(origin, id)| (origin.clone(), id.clone())).collect();
                if let Some(known) = self.freight.get(&found.freight) {
                    found.collection.insert(known.freight.origin().clone(), found.freight.clone());
                }
                found.started_at = Some(at);
                found.phase = Phase::Running;
                Ok(only(&found.stage.clone()))
            }
            EventKind::AbortRequested { promotion } => {
                let found =
                    self.promotions.get_mut(promotion).ok_or_else(|| dangling(format!("promotion {promotion}")))?;
                found.abort = Some(event.actor.clone());
                Ok(only(&found.stage.clone()))
            }
            EventKind::PromotionFinished { promotion, phase, message } => {
                let stage = self.finish_promotion(promotion, *phase, message, at);
                let stage = stage.ok_or_else(|| dangling(format!("promotion {promotion}")))?;
                Ok(self.with_downstream(&stage))
            }
            EventKind::VerificationStarted { promotion } => {
                let found =
                    self.promotions.get_mut(promotion).ok_or_else(|| dangling(format!("promotion {promotion}")))?;
                let verifiers = found.verification.iter();
                found.verifications.push(Verification {
                    started_at: at,
                    finished_at: None,
                    phase: Phase::Running,
                    message: String::new(),
                    verifiers: verifiers
                        .map(|spec| VerifierState { spec: spec.clone(), task: TaskState::default() })
                        .collect(),
                });
                Ok(only(&found.stage.clone()))
            }
            EventKind::VerificationFinished { promotion, phase, message } => {
                let stage = self.finish_verification(promotion, *phase, message, at);
                let stage = stage.ok_or_else(|| dangling(format!("verification of promotion {promotion}")))?;
                Ok(self.with_downstream(&stage))
            }
            EventKind::TaskStarted { task } => {
                let (stage, state) = self.task_mut(task).ok_or_else(|| dangling(format!("task {task}")))?;
                state.started_at = Some(at);
                state.phase = Phase::Running;
                Ok(only(&stage))
            }
            EventKind::TaskWaiting { task, reason, state: remember } => {
                let (stage, state) = self.task_mut(task).ok_or_else(|| dangling(format!("task {task}")))?;
                state.message.clone_from(reason);
                state.state.clone_from(remember);
                // Errors count in a row: an answer ends the row.
                state.errors = 0;
                state.retry_at = None;
                Ok(only(&stage))
            }
            EventKind::TaskErrored { task, reason, retry_at, .. } => {
                let (stage, state) = self.task_mut(task).ok_or_else(|| dangling(format!("task {task}")))?;
                state.errors += 1;
                state.message.clone_from(reason);
                state.retry_at = Some(*retry_at);
                Ok(only(&stage))
            }
            EventKind::TaskFinished { task, phase, message, outputs } => {
                let (stage, state) = self.task_mut(task).ok_or_else(|| dangling(format!("task {task}")))?;
                state.finished_at = Some(at);
                state.phase = *phase;
                state.message.clone_from(message);
                state.outputs.clone_from(outputs);
                state.retry_at = None;
                Ok(only(&stage))
            }
        }
    }

    fn finish_promotion(&mut self, id: &PromotionId, phase: Phase, message: &str, at: Timestamp) -> Option<StageName> {
        let promotion = self.promotions.get_mut(id)?;
        promotion.phase = phase;
        promotion.message = message.to_owned();
        promotion.finished_at = Some(at);
        let stage = self.stages.entry(promotion.stage.clone()).or_default();
        stage.queue.retain(|waiting| waiting != id);
        stage.running.take_if(|running| running == id);
        stage.last = Some(id.clone());
        stage.attempts.insert(promotion.freight.clone(), id.clone());
        if let Some(origin) = self.freight.get(&promotion.freight).map(|known| known.freight.origin().clone()) {
            // An abort means that the choice was taken back; a failure does not.
            match promotion.hold {
                HoldChange::Hold
                    if phase != Phase::Aborted
                        && self.pipeline.as_ref().is_some_and(|p| promotes_by_itself(p, &promotion.stage, &origin)) =>
                {
                    let (freight, actor) = (promotion.freight.clone(), promotion.actor.clone());
                    stage.holds.insert(origin, Hold { freight, promotion: id.clone(), actor, at });
                }
                HoldChange::Resume if phase.is_success() => {
                    stage.holds.remove(&origin);
                }
                _ => {}
            }
        }
        let name = promotion.stage.clone();
        if phase.is_success() {
            stage.verifying = Some(id.clone());
            remember(&mut stage.history, id);
            let collection = promotion.collection.clone();
            let before = std::mem::replace(&mut stage.current, collection.clone());
            for (origin, left) in &before {
                if collection.get(origin) != Some(left) {
                    self.leave(left, &name, at);
                }
            }
            for (origin, entered) in &collection {
                if before.get(origin) != Some(entered)
                    && let Some(known) = self.freight.get_mut(entered)
                {
                    known.presence.entry(name.clone()).or_default().since = Some(at);
                }
            }
        }
        Some(name)
    }

    fn leave(&mut self, freight: &crate::name::FreightId, stage: &StageName, at: Timestamp) {
        let Some(known) = self.freight.get_mut(freight) else { return };
        let verified = known.verified.contains_key(stage);
        let Some(presence) = known.presence.get_mut(stage) else { return };
        if let Some(since) = presence.since.take()
            && verified
        {
            presence.longest = presence.longest.max(elapsed(since, at));
        }
    }

    fn finish_verification(
        &mut self,
        id: &PromotionId,
        phase: Phase,
        message: &str,
        at: Timestamp,
    ) -> Option<StageName> {
        let promotion = self.promotions.get_mut(id)?;
        let verification = promotion.verifications.last_mut()?;
        verification.phase = phase;
        verification.message = message.to_owned();
        verification.finished_at = Some(at);
        let name = promotion.stage.clone();
        self.stages.entry(name.clone()).or_default().verifying.take_if(|verifying| verifying == id);
        for freight in promotion.collection.values() {
            let Some(known) = self.freight.get_mut(freight) else { continue };
            if phase.is_success() {
                let verified = || Verified { at, promotion: Some(id.clone()) };
                known.verified.entry(name.clone()).or_insert_with(verified);
            } else if *freight == promotion.freight && matches!(phase, Phase::Failed | Phase::Inconclusive) {
                // What was promoted has been looked at again and is not good. What only came along keeps its standing, and so
                // does all when nothing was found out: an abort or an error says nothing about the freight.
                known.verified.remove(&name);
            }
        }
        Some(name)
    }

    fn task_mut(&mut self, task: &Task) -> Option<(StageName, &mut TaskState)> {
        let promotion = self.promotions.get_mut(task.promotion())?;
        let stage = promotion.stage.clone();
        let state = match task {
            Task::Step { index, .. } => &mut promotion.steps.get_mut(*index)?.task,
            Task::Verifier { attempt, index, .. } => {
                &mut promotion.verifications.get_mut(*attempt)?.verifiers.get_mut(*index)?.task
            }
        };
        Some((stage, state))
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

fn promotes_by_itself(pipeline: &Pipeline, stage: &StageName, origin: &WarehouseName) -> bool {
    pipeline.stage(stage).is_some_and(|stage| stage.auto_promotes() && stage.request_for(origin).is_some())
}

fn remember(history: &mut VecDeque<PromotionId>, id: &PromotionId) {
    history.push_front(id.clone());
    history.truncate(StageState::HISTORY);
}
