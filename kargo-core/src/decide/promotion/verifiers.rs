//! The verifiers of a promotion's result: those that run together at once, one group after the other.

use std::time::Duration;

use jiff::Timestamp;

use super::call;
use crate::decide::Action;
use crate::promotion::Phase;
use crate::state::{Draft, EventKind, Promotion, Task, VerifierState};

/// How long a verifier may take when its entry does not say.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

pub(in crate::decide) fn decide_verifying(promotion: &Promotion, now: Timestamp, actions: &mut Vec<Action>) {
    let begun = promotion.verifications.last().filter(|last| !last.phase.is_terminal());
    let Some(verification) = begun else {
        let promotion = promotion.id.clone();
        return actions.push(Action::Record(Draft::rule(EventKind::VerificationStarted { promotion })));
    };
    let attempt = promotion.verifications.len() - 1;
    let finished = |phase, message| {
        Action::Record(Draft::rule(EventKind::VerificationFinished { promotion: promotion.id.clone(), phase, message }))
    };
    if verification.verifiers.is_empty() {
        return actions.push(finished(Phase::Succeeded, "no verifiers are configured".to_owned()));
    }
    let mut first = 0;
    for group in verification.verifiers.chunk_by(|_, next| next.spec.with_previous) {
        let open = decide_group(promotion, attempt, first, group, now, actions);
        if open {
            return;
        }
        let not_passed = |verifier: &&VerifierState| !verifier.task.phase.is_success();
        if let Some(worst) = group.iter().rev().filter(not_passed).max_by_key(|worst| weight(worst.task.phase)) {
            let name = &worst.spec.verifier;
            return actions.push(match worst.task.phase {
                Phase::Pending => {
                    let by = promotion.abort.as_ref().map_or_else(|| "aborted".to_owned(), ToString::to_string);
                    finished(Phase::Aborted, format!("{by} before verifier {name}"))
                }
                phase => finished(phase, format!("verifier {name}: {}", worst.task.message)),
            });
        }
        first += group.len();
    }
    actions.push(finished(Phase::Succeeded, String::new()));
}

/// What verifiers that run together need next, and whether any of them is still to end.
fn decide_group(
    promotion: &Promotion,
    attempt: usize,
    first: usize,
    group: &[VerifierState],
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> bool {
    // One no decides; what the others would say changes nothing.
    let failed = group.iter().find(|verifier| verifier.task.phase == Phase::Failed);
    let mut open = false;
    for (place, verifier) in group.iter().enumerate() {
        let task = Task::Verifier { promotion: promotion.id.clone(), attempt, index: first + place };
        match (verifier.task.phase, failed) {
            (Phase::Pending, None) if !verifier.task.aborted => {
                open = true;
                actions.push(Action::Record(Draft::rule(EventKind::TaskStarted { task })));
            }
            (Phase::Running, None) => {
                open = true;
                let timeout = verifier.spec.timeout.unwrap_or(TIMEOUT);
                actions.extend(call(promotion, task, &verifier.task, timeout, now));
            }
            (Phase::Running, Some(failed)) => {
                open = true;
                let message = format!("not needed any more: verifier {} has failed", failed.spec.verifier);
                actions.push(Action::Stop { task, phase: Phase::Aborted, message });
            }
            _ => {}
        }
    }
    open
}

/// Which end decides, among those that ran together: a no before not knowing.
fn weight(phase: Phase) -> u8 {
    match phase {
        Phase::Failed => 4,
        Phase::Errored => 3,
        Phase::Inconclusive => 2,
        Phase::Aborted => 1,
        _ => 0,
    }
}
