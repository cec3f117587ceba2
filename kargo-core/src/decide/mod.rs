//! What is to be done: pure functions of pipeline, state and time.
//!
//! The same inputs give the same actions, always. [`decide`] looks at every stage, [`decide_stage`] at one; since stages
//! meet only through freight, the engine calls the latter for those that an event [`Affected`](crate::state::Affected).

mod admission;
mod auto;
mod collect;
mod gate;
mod id;
mod promotion;
mod rollback;

use jiff::Timestamp;

use crate::name::StageName;
use crate::pipeline::Pipeline;
use crate::promotion::Phase;
use crate::state::{Ahead, Draft, EventKind, State, Task};

pub use admission::{Admission, Refusal, admission, admits, why};
pub use auto::{candidate, hold_change, holds};
pub use collect::collect;
pub use gate::{Gate, GateKind, Standing, Why};
pub(crate) use id::promotion_id;
pub(crate) use promotion::{and_what_follows, outcome_and_what_follows, stopped};
use promotion::{decide_running, decide_verifying};
pub use rollback::{rollback_target, under_way};

/// Something that the engine is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Append this event.
    Record(Draft),
    /// Call this task's plug-in, unless it is being called already.
    Run {
        /// The task.
        task: Task,
        /// Not before this time: the pause after an error.
        not_before: Option<Timestamp>,
    },
    /// Stop what this task set going, then record that it ended with this phase.
    Stop {
        /// The task.
        task: Task,
        /// How it ends.
        phase: Phase,
        /// Why.
        message: String,
    },
    /// Decide on this stage again at this time.
    Wake {
        /// The stage.
        stage: StageName,
        /// When.
        at: Timestamp,
    },
}

/// What is to be done in all stages.
pub fn decide(pipeline: &Pipeline, state: &State, now: Timestamp) -> Vec<Action> {
    pipeline.stages().flat_map(|stage| decide_stage(pipeline, state, stage.name(), now)).collect()
}

/// What is to be done in `stage`. Nothing, when the pipeline has no such stage; what is under way there is then let go on.
pub fn decide_stage(pipeline: &Pipeline, state: &State, stage: &StageName, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    let known = state.stage(stage);
    if let Some(promotion) = known.and_then(|known| state.promotion(known.running.as_ref()?)) {
        match auto::superseded(pipeline, state, promotion, now, &mut actions) {
            Some(abort) => actions.push(Action::Record(abort)),
            None => decide_running(promotion, now, &mut actions),
        }
        return actions;
    }
    if let Some(promotion) = known.and_then(|known| state.promotion(known.verifying.as_ref()?)) {
        decide_verifying(promotion, now, &mut actions);
        return actions;
    }
    if let Some(promotion) = known.and_then(|known| state.promotion(known.queue.front()?)) {
        let start = start(pipeline, state, promotion, now);
        let mut ahead = Ahead::of(promotion);
        ahead.change(&start.kind, now);
        actions.extend(and_what_follows(pipeline, ahead, vec![start], now).into_iter().map(Action::Record));
        return actions;
    }
    let Some(definition) = pipeline.stage(stage) else { return actions };
    if definition.is_control_flow() {
        auto::decide_control_flow(pipeline, state, definition, now, &mut actions);
    } else if let Some(back) = rollback::decide_rollback(pipeline, state, definition, now) {
        actions.extend(at_once(pipeline, back, now).into_iter().map(Action::Record));
    } else {
        auto::decide_automatic(pipeline, state, definition, now, &mut actions);
    }
    actions
}

/// A request for a promotion to a stage in which nothing is under way or waits, with its start and what follows.
pub(crate) fn at_once(pipeline: &Pipeline, request: Draft, now: Timestamp) -> Vec<Draft> {
    let Some(mut ahead) = Ahead::requested(&request.kind, &request.actor, now) else { return vec![request] };
    let start = Draft::rule(EventKind::PromotionStarted { promotion: ahead.promotion().id.clone() });
    ahead.change(&start.kind, now);
    and_what_follows(pipeline, ahead, vec![request, start], now)
}

/// The head of the queue starts, or ends because what allowed it has gone since.
fn start(pipeline: &Pipeline, state: &State, promotion: &crate::state::Promotion, now: Timestamp) -> Draft {
    let id = || promotion.id.clone();
    if let Some(abort) = &promotion.abort {
        let message = format!("{abort} before it started");
        return Draft::rule(EventKind::PromotionFinished { promotion: id(), phase: Phase::Aborted, message });
    }
    let admission = admission(pipeline, state, &promotion.stage, &promotion.freight, now);
    match admission.into_result() {
        Ok(()) => Draft::rule(EventKind::PromotionStarted { promotion: id() }),
        Err(refusal) => {
            let message = format!("it was allowed when it was requested, but no longer: {refusal}");
            Draft::rule(EventKind::PromotionFinished { promotion: id(), phase: Phase::Errored, message })
        }
    }
}
