//! Promotions and their verification, from start to end.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Affected, promotes_by_itself};
use crate::actor::Actor;
use crate::clock::elapsed;
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::pipeline::Pipeline;
use crate::promotion::Phase;
use crate::stage::{Condition, Stage, VerifierSpec};
use crate::state::event::{EventKind, HoldChange, Task};
use crate::state::promotion::{Abort, Promotion, StepState, TaskState, Verification, VerifierState};
use crate::state::stage::{Chosen, Hold, StageState};
use crate::state::{State, Verified};

impl State {
    pub(super) fn start_promotion(&mut self, id: &PromotionId, at: Timestamp) -> Option<Affected> {
        let found = self.promotions.get_mut(id)?;
        let stage = self.stages.entry(found.stage.clone()).or_default();
        stage.queue.retain(|waiting| waiting != id);
        stage.running = Some(id.clone());
        let definition = self.pipeline.as_ref().and_then(|pipeline| pipeline.stage(&found.stage));
        let still_requested =
            |origin: &WarehouseName| definition.is_some_and(|stage| stage.request_for(origin).is_some());
        let kept = stage.current.iter().filter(|(origin, _)| still_requested(origin));
        found.collection = kept.map(|(origin, id)| (origin.clone(), id.clone())).collect();
        if let Some(known) = self.freight.get(&found.freight) {
            found.collection.insert(known.freight.origin().clone(), found.freight.clone());
        }
        found.start(at);
        let stage = found.stage.clone();
        Some(self.with_followers(&stage))
    }

    /// The state with its promotions sharing the steps and verifiers of the definition: a snapshot of a version that wrote out all of
    /// them has copies.
    pub(crate) fn shared(mut self) -> Self {
        if let Some(pipeline) = self.pipeline.clone() {
            for promotion in self.promotions.values_mut() {
                let definition = pipeline.stage(&promotion.stage);
                definition.into_iter().for_each(|definition| promotion.share(definition));
            }
        }
        self
    }

    pub(super) fn finish_promotion(
        &mut self,
        id: &PromotionId,
        phase: Phase,
        message: &str,
        at: Timestamp,
    ) -> Option<StageName> {
        let promotion = self.promotions.get_mut(id)?;
        promotion.finish(phase, message, at);
        let name = promotion.stage.clone();
        let stage = self.stages.entry(name.clone()).or_default();
        stage.queue.retain(|waiting| waiting != id);
        stage.running.take_if(|running| running == id);
        if !has_stage(&self.pipeline, &name) {
            // The stage was taken out meanwhile; what came of it is not this pipeline's business any more.
            self.forget_idle(&name);
            return Some(name);
        }
        if promotion.started_at.is_some() {
            stage.last = Some(id.clone());
        }
        // One that was refused at its turn says nothing of the freight; one that a person took back does.
        if promotion.started_at.is_some() || phase == Phase::Aborted {
            stage.attempts.insert(promotion.freight.clone(), id.clone());
        }
        if let Some(origin) = self.freight.get(&promotion.freight).map(|known| known.freight.origin().clone()) {
            // An abort means that the choice was taken back; a failure does not.
            match promotion.hold {
                HoldChange::Hold
                    if phase != Phase::Aborted
                        && self.pipeline.as_ref().is_some_and(|p| promotes_by_itself(p, &promotion.stage, &origin))
                        // A hold that somebody asked for lasts until somebody releases it.
                        && stage.holds.get(&origin).is_none_or(|hold| hold.choice.is_some()) =>
                {
                    stage.holds.insert(origin, promotion.as_hold(at));
                }
                HoldChange::Resume if phase.is_success() => {
                    stage.holds.retain(|held, hold| *held != origin || hold.choice.is_none());
                }
                _ => {}
            }
        }
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

    fn leave(&mut self, freight: &FreightId, stage: &StageName, at: Timestamp) {
        let Some(known) = self.freight.get_mut(freight) else { return };
        let verified = known.verified.contains_key(stage);
        let Some(presence) = known.presence.get_mut(stage) else { return };
        if let Some(since) = presence.since.take()
            && verified
        {
            presence.longest = presence.longest.max(elapsed(since, at));
        }
    }

    /// Ends the hold on `origin`, and that of promotions which would hold it when they end.
    pub(super) fn release(&mut self, name: &StageName, origin: &WarehouseName) {
        let stage = self.stages.entry(name.clone()).or_default();
        stage.holds.remove(origin);
        for id in stage.running.iter().chain(&stage.queue) {
            if let Some(open) = self.promotions.get_mut(id)
                && self.freight.get(&open.freight).is_some_and(|known| known.freight.origin() == origin)
            {
                open.hold = HoldChange::None;
            }
        }
    }

    /// Lets go of a stage that the pipeline has no longer, once nothing is under way there.
    fn forget_idle(&mut self, name: &StageName) {
        if !has_stage(&self.pipeline, name) && self.stages.get(name).is_some_and(StageState::is_idle) {
            self.stages.remove(name);
        }
    }

    pub(super) fn finish_verification(
        &mut self,
        id: &PromotionId,
        phase: Phase,
        message: &str,
        at: Timestamp,
        judge: Option<&Actor>,
    ) -> Option<StageName> {
        let promotion = self.promotions.get_mut(id)?;
        promotion.end_verification(phase, message, at, judge)?;
        let name = promotion.stage.clone();
        let stage = self.stages.entry(name.clone()).or_default();
        stage.verifying.take_if(|verifying| verifying == id);
        // What a stage ran before it was taken out says nothing of the one that came back under its name.
        if !has_stage(&self.pipeline, &name) || !stage.history.contains(id) {
            self.forget_idle(&name);
            return Some(name);
        }
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
}

impl Promotion {
    /// A promotion that was just asked for.
    pub(super) fn requested(kind: &EventKind, actor: &Actor, at: Timestamp) -> Option<Self> {
        let EventKind::PromotionRequested {
            promotion,
            stage,
            freight,
            trigger,
            steps,
            verification,
            hold,
            rollback,
            reason,
        } = kind
        else {
            return None;
        };
        Some(Self {
            id: promotion.clone(),
            stage: stage.clone(),
            freight: freight.clone(),
            collection: Default::default(),
            actor: actor.clone(),
            trigger: *trigger,
            hold: *hold,
            requested_at: at,
            started_at: None,
            finished_at: None,
            phase: Phase::Pending,
            message: String::new(),
            rollback: rollback.clone(),
            reason: reason.clone(),
            abort: None,
            steps: steps.iter().enumerate().map(|(index, spec)| StepState::new(index, spec)).collect(),
            verification: verification.clone(),
            verifications: Vec::new(),
        })
    }

    /// Takes steps and verifiers that are as the stage has them from there: those of an event that was read are copies.
    pub(super) fn share(&mut self, stage: &Stage) {
        for (step, own) in self.steps.iter_mut().zip(&stage.steps) {
            if !Arc::ptr_eq(&step.spec, own) && step.spec == *own {
                step.spec = Arc::clone(own);
            }
        }
        for (verifier, own) in self.verification.iter_mut().zip(&stage.verification) {
            if !Arc::ptr_eq(verifier, own) && verifier == own {
                *verifier = Arc::clone(own);
            }
        }
    }

    /// What an event changes in the promotion alone, of those that follow from its own steps and verifiers.
    pub(super) fn change(&mut self, kind: &EventKind, at: Timestamp) {
        match kind {
            EventKind::PromotionStarted { .. } => self.start(at),
            EventKind::PromotionFinished { phase, message, .. } => self.finish(*phase, message, at),
            EventKind::VerificationStarted { .. } => self.begin_verification(at),
            EventKind::VerificationFinished { phase, message, .. } => {
                self.end_verification(*phase, message, at, None);
            }
            EventKind::TaskStarted { task }
            | EventKind::TaskWaiting { task, .. }
            | EventKind::TaskErrored { task, .. }
            | EventKind::TaskFinished { task, .. } => {
                if let Some(state) = self.task_mut(task) {
                    state.change(kind, at);
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, at: Timestamp) {
        self.started_at = Some(at);
        self.phase = Phase::Running;
    }

    fn finish(&mut self, phase: Phase, message: &str, at: Timestamp) {
        self.phase = phase;
        self.message = message.to_owned();
        self.finished_at = Some(at);
    }

    pub(super) fn begin_verification(&mut self, at: Timestamp) {
        let aborted = self.abort.is_some();
        let state = |spec: &Arc<VerifierSpec>| VerifierState {
            spec: Arc::clone(spec),
            task: TaskState { aborted, ..TaskState::default() },
        };
        self.verifications.push(Verification {
            started_at: at,
            finished_at: None,
            phase: Phase::Running,
            message: String::new(),
            verifiers: self.verification.iter().map(state).collect(),
            judged_by: None,
        });
    }

    fn end_verification(&mut self, phase: Phase, message: &str, at: Timestamp, judge: Option<&Actor>) -> Option<()> {
        let verification = self.verifications.last_mut()?;
        verification.judged_by = judge.cloned();
        verification.phase = phase;
        verification.message = message.to_owned();
        verification.finished_at = Some(at);
        Some(())
    }

    /// The state of a task of this promotion.
    pub(super) fn task_mut(&mut self, task: &Task) -> Option<&mut TaskState> {
        Some(match task {
            Task::Step { index, .. } => &mut self.steps.get_mut(*index)?.task,
            Task::Verifier { attempt, index, .. } => {
                &mut self.verifications.get_mut(*attempt)?.verifiers.get_mut(*index)?.task
            }
        })
    }

    /// Marks what an abort stops: every task that has not ended. Steps that are there for cleaning up still run, until
    /// it is asked for once more.
    pub(super) fn stop(&mut self, abort: Abort) {
        let again = self.abort.is_some();
        let outlives = |step: &StepState| step.spec.condition.as_ref().is_some_and(Condition::outlives_abort);
        for step in &mut self.steps {
            let spared = !again && outlives(step);
            step.task.aborted |= !step.task.phase.is_terminal() && !spared;
        }
        for verifier in self.verifications.last_mut().into_iter().flat_map(|last| &mut last.verifiers) {
            verifier.task.aborted |= !verifier.task.phase.is_terminal();
        }
        self.abort = Some(abort);
    }

    /// The hold that it means for automatic promotions from `at`.
    pub(crate) fn as_hold(&self, at: Timestamp) -> Hold {
        let choice = Chosen { freight: self.freight.clone(), promotion: self.id.clone() };
        Hold { choice: Some(choice), actor: self.actor.clone(), reason: self.reason.clone(), at }
    }
}

/// Whether the pipeline has this stage.
fn has_stage(pipeline: &Option<Arc<Pipeline>>, stage: &StageName) -> bool {
    pipeline.as_ref().is_some_and(|pipeline| pipeline.stage(stage).is_some())
}

fn remember(history: &mut VecDeque<PromotionId>, id: &PromotionId) {
    history.push_front(id.clone());
    history.truncate(StageState::HISTORY);
}
