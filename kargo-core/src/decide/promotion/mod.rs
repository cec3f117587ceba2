//! What a promotion under way needs next: its steps one after the other, then its verifiers.

mod ahead;
mod steps;
mod verifiers;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Map;

use super::Action;
use crate::clock::later;
use crate::promotion::Phase;
use crate::state::{Draft, EventKind, Promotion, Task, TaskState};

pub(crate) use ahead::{and_what_follows, outcome_and_what_follows};
pub(super) use steps::decide_running;
pub(super) use verifiers::decide_verifying;

/// A task that was started and has not ended: call it, or stop it.
fn call(promotion: &Promotion, task: Task, state: &TaskState, timeout: Duration, now: Timestamp) -> Vec<Action> {
    if state.aborted {
        let message = promotion.abort.as_ref().map_or_else(|| "aborted".to_owned(), ToString::to_string);
        return vec![Action::Stop { task, phase: Phase::Aborted, message }];
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
    Draft::outcome(EventKind::TaskFinished { task, phase, message, outputs: Map::new(), config_digest: None })
}
