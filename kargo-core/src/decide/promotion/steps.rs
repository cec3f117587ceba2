//! The steps of a promotion: which runs next, which are left out, and how it ends.

use jiff::Timestamp;
use serde_json::Map;

use super::call;
use crate::decide::Action;
use crate::plugin::StepDefaults;
use crate::promotion::Phase;
use crate::stage::{Before, Condition};
use crate::state::{Draft, EventKind, Promotion, StepState, Task};

/// What the next step is, in the order of the list. A step that failed does not end the list: what follows is left out,
/// unless its condition says otherwise.
pub(in crate::decide) fn decide_running(promotion: &Promotion, now: Timestamp, actions: &mut Vec<Action>) {
    for (index, step) in promotion.steps.iter().enumerate() {
        let task = Task::Step { promotion: promotion.id.clone(), index };
        match step.task.phase {
            Phase::Pending => match left_out(promotion, index) {
                None => return actions.push(Action::Record(Draft::rule(EventKind::TaskStarted { task }))),
                Some(message) => {
                    let (phase, outputs) = (Phase::Skipped, Map::new());
                    let skipped = EventKind::TaskFinished { task, phase, message, outputs, config_digest: None };
                    actions.push(Action::Record(Draft::rule(skipped)));
                }
            },
            phase if phase.is_terminal() => {}
            _ => {
                let timeout = step.spec.retry.timeout.unwrap_or_else(|| StepDefaults::default().timeout);
                return actions.extend(call(promotion, task, &step.task, timeout, now));
            }
        }
    }
    let (phase, message) = end(promotion);
    let finished = EventKind::PromotionFinished { promotion: promotion.id.clone(), phase, message };
    actions.push(Action::Record(Draft::rule(finished)));
}

/// What became of the steps before the one at this place.
struct StepsBefore<'a> {
    promotion: &'a Promotion,
    index: usize,
}

impl StepsBefore<'_> {
    fn first_failed(&self) -> Option<&StepState> {
        let before = self.promotion.steps.iter().take(self.index);
        before.filter(|step| !step.spec.continue_on_error).find(|step| severity(step.task.phase) > 0)
    }
}

impl Before for StepsBefore<'_> {
    fn failed(&self) -> bool {
        self.first_failed().is_some_and(|step| step.task.phase != Phase::Aborted)
    }

    fn aborted(&self) -> bool {
        self.promotion.abort.is_some()
    }

    fn phase_of(&self, step: &str) -> Option<Phase> {
        let found = self.promotion.steps.iter().take(self.index).find(|before| before.alias == step)?;
        // One that is still to begin, before this one, is being left out by the same decision.
        Some(if found.task.phase == Phase::Pending { Phase::Skipped } else { found.task.phase })
    }
}

/// Why the step at this place does not run, if it does not.
fn left_out(promotion: &Promotion, index: usize) -> Option<String> {
    let step = &promotion.steps[index];
    if step.task.aborted {
        return Some(promotion.abort.as_ref().map_or_else(|| "aborted".to_owned(), ToString::to_string));
    }
    let before = StepsBefore { promotion, index };
    let condition = step.spec.condition.as_ref().unwrap_or(&Condition::Success);
    // What depends on an expression is found out when the step is called.
    if condition.holds(&before, &mut |_| None) != Some(false) {
        return None;
    }
    Some(match (&step.spec.condition, before.first_failed()) {
        (None, Some(failed)) => format!("step {} before it ended {}", failed.alias, failed.task.phase),
        _ => "its condition does not hold".to_owned(),
    })
}

/// How bad an end is; 0 when it is none. The order is Kargo's.
fn severity(phase: Phase) -> u8 {
    match phase {
        Phase::Aborted => 1,
        Phase::Failed | Phase::Inconclusive => 2,
        Phase::Errored => 3,
        _ => 0,
    }
}

/// How a promotion ends whose steps have all ended: as the worst of those that count.
fn end(promotion: &Promotion) -> (Phase, String) {
    let name = |step: &StepState| format!("step {} ({})", step.alias, step.spec.uses);
    let counted = promotion.steps.iter().filter(|step| !step.spec.continue_on_error);
    let bad = counted.filter(|step| severity(step.task.phase) > 0);
    // The first of the worst: what came after it may have followed from it.
    let worst = bad.rev().max_by_key(|step| severity(step.task.phase));
    // An abort that came after the last step had done its work comes too late: all of it has happened.
    let cut = promotion
        .steps
        .iter()
        .find(|step| step.task.aborted && (step.task.phase == Phase::Aborted || step.task.started_at.is_none()));
    match (cut, worst) {
        (Some(cut), worst) => {
            let by = promotion.abort.as_ref().map_or_else(|| "aborted".to_owned(), ToString::to_string);
            let mut message = match cut.task.phase {
                Phase::Aborted => format!("{}: {}", name(cut), cut.task.message),
                _ => format!("{by} before {}", name(cut)),
            };
            if let Some(worst) = worst.filter(|worst| worst.task.phase != Phase::Aborted) {
                message = format!("{message}; {}: {}", name(worst), worst.task.message);
            }
            (Phase::Aborted, message)
        }
        (None, Some(worst)) => (worst.task.phase, format!("{}: {}", name(worst), worst.task.message)),
        (None, None) => (Phase::Succeeded, String::new()),
    }
}
