//! What follows at once from what is about to be appended, in the same promotion: it is appended with it, so that a step costs one
//! append and not two.

use jiff::Timestamp;

use super::{decide_running, decide_verifying};
use crate::decide::Action;
use crate::pipeline::Pipeline;
use crate::promotion::Phase;
use crate::state::{Ahead, Draft, EventKind, State};

/// `drafts`, and what the rules make of them in the promotion that `ahead` is, which has seen all of them already.
///
/// What comes of it is what deciding after each of them would give: neither its steps nor its verifiers depend on anything else.
pub(crate) fn and_what_follows(
    pipeline: &Pipeline,
    mut ahead: Ahead,
    mut drafts: Vec<Draft>,
    now: Timestamp,
) -> Vec<Draft> {
    let stage = pipeline.stage(&ahead.promotion().stage);
    if stage.is_some_and(|stage| stage.supersedes()) {
        // Newer freight is looked for between any two steps.
        return drafts;
    }
    loop {
        let mut actions = Vec::new();
        let promotion = ahead.promotion();
        match promotion.phase {
            Phase::Running => decide_running(promotion, now, &mut actions),
            // Where the stage was taken out there is nothing to verify.
            phase if phase.is_success() && stage.is_some() => decide_verifying(promotion, now, &mut actions),
            _ => return drafts,
        }
        let mut ended = true;
        for action in actions {
            let Action::Record(draft) = action else { continue };
            ahead.change(&draft.kind, now);
            ended = matches!(draft.kind, EventKind::VerificationFinished { .. });
            drafts.push(draft);
        }
        if ended {
            return drafts;
        }
    }
}

/// An outcome of a task, and what follows from it.
pub(crate) fn outcome_and_what_follows(state: &State, outcome: Draft, now: Timestamp) -> Vec<Draft> {
    let task = match &outcome.kind {
        EventKind::TaskFinished { task, .. } => task,
        _ => return vec![outcome],
    };
    let promotion = state.promotion(task.promotion()).filter(|promotion| state.is_open(promotion));
    let (Some(pipeline), Some(promotion)) = (state.pipeline(), promotion) else { return vec![outcome] };
    let mut ahead = Ahead::of(promotion);
    ahead.change(&outcome.kind, now);
    and_what_follows(pipeline, ahead, vec![outcome], now)
}
