//! What a promotion under way needs next: its steps one after the other, then its verifiers.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Map;

use super::Action;
use crate::clock::later;
use crate::plugin::StepDefaults;
use crate::promotion::Phase;
use crate::state::{Draft, EventKind, Promotion, Task, TaskState};

/// What a list of tasks, run in order, needs next.
enum Next {
    /// These actions; it is not at its end.
    Act(Vec<Action>),
    /// Nothing: every task succeeded.
    AllSucceeded,
    /// Nothing: one did not succeed, and what follows it does not run.
    Ended { phase: Phase, message: String },
}

pub(super) fn decide_running(promotion: &Promotion, now: Timestamp, actions: &mut Vec<Action>) {
    let tasks = promotion.steps.iter().enumerate().map(|(index, step)| {
        let task = Task::Step { promotion: promotion.id.clone(), index };
        let timeout = step.spec.retry.timeout.unwrap_or_else(|| StepDefaults::default().timeout);
        (format!("step {} ({})", step.alias, step.spec.uses), task, &step.task, timeout)
    });
    let finished = |phase, message| {
        Action::Record(Draft::rule(EventKind::PromotionFinished { promotion: promotion.id.clone(), phase, message }))
    };
    match next(promotion, tasks, now) {
        Next::Act(act) => actions.extend(act),
        Next::AllSucceeded => actions.push(finished(Phase::Succeeded, String::new())),
        Next::Ended { phase, message } => actions.push(finished(phase, message)),
    }
}

/// How long a verifier may take when its entry does not say.
const VERIFIER_TIMEOUT: Duration = Duration::from_secs(30 * 60);

pub(super) fn decide_verifying(promotion: &Promotion, now: Timestamp, actions: &mut Vec<Action>) {
    let begun = promotion.verifications.last().filter(|last| !last.phase.is_terminal());
    let Some(verification) = begun else {
        let promotion = promotion.id.clone();
        actions.push(Action::Record(Draft::rule(EventKind::VerificationStarted { promotion })));
        return;
    };
    let attempt = promotion.verifications.len() - 1;
    let tasks = verification.verifiers.iter().enumerate().map(|(index, verifier)| {
        let task = Task::Verifier { promotion: promotion.id.clone(), attempt, index };
        let timeout = verifier.spec.timeout.unwrap_or(VERIFIER_TIMEOUT);
        (format!("verifier {}", verifier.spec.verifier), task, &verifier.task, timeout)
    });
    let finished = |phase, message| {
        Action::Record(Draft::rule(EventKind::VerificationFinished { promotion: promotion.id.clone(), phase, message }))
    };
    match next(promotion, tasks, now) {
        Next::Act(act) => actions.extend(act),
        Next::AllSucceeded => {
            let message = if verification.verifiers.is_empty() { "no verifiers are configured" } else { "" };
            actions.push(finished(Phase::Succeeded, message.to_owned()));
        }
        Next::Ended { phase, message } => actions.push(finished(phase, message)),
    }
}

fn next<'a>(
    promotion: &Promotion,
    tasks: impl Iterator<Item = (String, Task, &'a TaskState, Duration)>,
    now: Timestamp,
) -> Next {
    for (name, task, state, timeout) in tasks {
        match state.phase {
            phase if phase.is_success() => {}
            phase if phase.is_terminal() => {
                return Next::Ended { phase, message: format!("{name}: {}", state.message) };
            }
            Phase::Pending => {
                if let Some(actor) = &promotion.abort {
                    return Next::Ended { phase: Phase::Aborted, message: format!("aborted by {actor} before {name}") };
                }
                return Next::Act(vec![Action::Record(Draft::rule(EventKind::TaskStarted { task }))]);
            }
            _ => return Next::Act(call(promotion, task, state, timeout, now)),
        }
    }
    // An abort that was asked for after the last task's end comes too late: all of it has happened.
    Next::AllSucceeded
}

/// A task that was started and has not ended: call it, or stop it.
fn call(promotion: &Promotion, task: Task, state: &TaskState, timeout: Duration, now: Timestamp) -> Vec<Action> {
    if let Some(actor) = &promotion.abort {
        return vec![Action::Stop { task, phase: Phase::Aborted, message: format!("aborted by {actor}") }];
    }
    let until = later(state.started_at.unwrap_or(now), timeout);
    if now >= until {
        let waited = if state.message.is_empty() { String::new() } else { format!("; last: {}", state.message) };
        let message = format!("not done within {}s{waited}", timeout.as_secs_f64());
        return vec![Action::Stop { task, phase: Phase::Errored, message }];
    }
    let wake = Action::Wake { stage: promotion.stage.clone(), at: until };
    vec![Action::Run { task, not_before: state.retry_at }, wake]
}

/// The end of a stopped task, as the engine records it.
pub(crate) fn stopped(task: Task, phase: Phase, message: String) -> Draft {
    Draft::outcome(EventKind::TaskFinished { task, phase, message, outputs: Map::new() })
}
