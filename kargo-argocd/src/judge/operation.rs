//! What operations say: the one that runs, and the last one that ended.

use std::time::Duration;

use jiff::Timestamp;

use super::revision::{Standing, same_revisions};
use super::{Case, Latches, Next, SOON, Verdict, WINDOW, health, lasting, overtaken, plus, words};
use crate::client::{OperationPhase, OperationState, Source, SyncResult};

/// How long an operation may look lost before it is called so.
const LOST: Duration = Duration::from_secs(60);

pub(super) fn is_dry_run(state: &OperationState) -> bool {
    state.operation.sync.as_ref().is_some_and(|sync| sync.dry_run == Some(true))
}

/// Whether a sync window keeps the operation from being begun.
pub(crate) fn is_held_back(state: &OperationState) -> bool {
    state.message.as_deref().is_some_and(|text| text.starts_with("Sync operation blocked by sync window"))
}

fn is_completed(state: &OperationState) -> bool {
    state.phase.as_ref().is_some_and(OperationPhase::is_completed)
}

/// "Succeeded", without an end and without a result: written by nobody who did the work.
fn is_hollow(state: &OperationState) -> bool {
    state.phase == Some(OperationPhase::Succeeded) && state.finished_at.is_none() && state.sync_result.is_none()
}

/// The revisions that the operation synced, or was asked to when it did not get that far.
pub(super) fn revisions(state: &OperationState) -> (Option<&str>, &[String]) {
    let nothing: (Option<&str>, &[String]) = (None, &[]);
    let of_result = state.sync_result.as_ref().map(|result| (result.revision.as_deref(), result.revisions.as_slice()));
    let filled =
        |(single, many): &(Option<&str>, &[String])| single.is_some_and(|text| !text.is_empty()) || !many.is_empty();
    let of_request = || state.operation.sync.as_ref().map(|sync| (sync.revision.as_deref(), sync.revisions.as_slice()));
    of_result.filter(filled).or_else(of_request).unwrap_or(nothing)
}

/// What to do while an operation runs or waits; nothing when none does.
pub(super) fn in_progress(case: &Case<'_>, latches: &mut Latches) -> Option<Verdict> {
    let state = case.state();
    let older_than = |at: Option<Timestamp>| at.is_none_or(|at| case.now >= plus(at, LOST));
    match (&case.app.operation, state) {
        (Some(requested), state) => {
            if let Some(state) = state.filter(|state| is_hollow(state) && older_than(state.started_at)) {
                let since = state.started_at.map(|at| format!(" since {at}")).unwrap_or_default();
                return Some(Verdict::Stuck {
                    why: format!(
                        "an operation is asked for, and the last one is called Succeeded{since} without an end or a result; \
                         Argo CD has lost hold of it. Remove the application's `operation` field, or restart the application controller"
                    ),
                });
            }
            let own = case.owns_requested_operation();
            let running = state.filter(|state| !is_completed(state));
            let Some(state) = running else {
                // An ended state beside a new operation is the old operation's, and says nothing about the new one.
                let whose =
                    if own { "the sync".to_owned() } else { format!("an operation of {}", requested.initiated_by) };
                return Some(Verdict::look(format!("{whose} waits to be begun")));
            };
            let message = words::outcome(state);
            if is_held_back(state) {
                return Some(Verdict::Blocked {
                    why: format!("a sync window holds the operation back{message}"),
                    check_after: WINDOW,
                });
            }
            if !own && !case.owns_last_operation() {
                return Some(Verdict::look(format!(
                    "an operation of {} runs, and has to end first{message}",
                    requested.initiated_by
                )));
            }
            if state.phase == Some(OperationPhase::Terminating) {
                let lasted = lasting(&mut latches.stopping_since, case.now);
                return Some(if lasted >= LOST {
                    Verdict::Stuck {
                        why: format!(
                            "the sync is being stopped for {}s, and does not stop{message}. Restart the application controller, or \
                             remove the application's `operation` field",
                            lasted.as_secs()
                        ),
                    }
                } else {
                    Verdict::look(format!("the sync is being stopped{message}"))
                });
            }
            latches.stopping_since = None;
            // A running phase with an end is the pause before the next try.
            if state.finished_at.is_some() {
                let tries = state.retry_count.unwrap_or(0);
                let limit = match requested.retry.as_ref().and_then(|retry| retry.limit) {
                    Some(limit) if limit >= 0 => format!(" of {limit}"),
                    _ => String::new(),
                };
                return Some(Verdict::look(format!(
                    "the sync failed and is tried again (retry {tries}{limit}){message}"
                )));
            }
            let why = format!("the sync runs{message}");
            if paused_by_us(case, state) {
                // A hook or a later wave waits for what has paused, and so would this for ever.
                let next = health::resumes(case.policy.paused).unwrap_or(Next::Look);
                return Some(Verdict::Pending { why, next, check_after: SOON });
            }
            Some(Verdict::look(why))
        }
        (None, Some(state)) if !is_completed(state) => Some(if older_than(state.started_at) {
            let why = "an operation is called running, but none is asked for any more; Argo CD has lost hold of it";
            again(case, latches, why).unwrap_or_else(|| Verdict::Stuck {
                why: format!("{why}, and asking again did not help. Restart the application controller"),
            })
        } else {
            Verdict::look("an operation is called running, but none is asked for any more")
        }),
        _ => unseen(case, latches),
    }
}

/// Whether a Rollout that this operation has applied may be what holds it up. Before that, what is suspended is what ran before.
fn paused_by_us(case: &Case<'_>, state: &OperationState) -> bool {
    let applied = state.sync_result.iter().flat_map(|result| &result.resources);
    health::is_suspended(case.app)
        && applied.into_iter().any(|one| one.kind == "Rollout" && one.status.as_deref() == Some("Synced"))
}

/// Pending while a sync that was accepted has not shown up yet.
fn unseen(case: &Case<'_>, latches: &Latches) -> Option<Verdict> {
    latches.is_unseen(case.app, case.tag, case.now).then(|| Verdict::Pending {
        why: "the sync was accepted and does not show yet".into(),
        next: Next::Look,
        check_after: Duration::from_secs(1),
    })
}

/// One more sync, when the deployment may ask for one.
pub(super) fn again(case: &Case<'_>, latches: &Latches, why: &str) -> Option<Verdict> {
    (latches.syncs < case.policy.max_syncs).then(|| Verdict::Pending {
        why: why.to_owned(),
        next: Next::Sync { pin: case.pins(latches) },
        check_after: SOON,
    })
}

/// What the end of our own operation means, where it means something by itself.
pub(super) fn own_outcome(case: &Case<'_>, latches: &Latches) -> Option<Verdict> {
    let state = case.state().filter(|state| case.owns_last_operation() && !is_dry_run(state))?;
    if is_hollow(state) {
        let why = "the sync is called Succeeded without an end or a result";
        return Some(again(case, latches, why).unwrap_or_else(|| Verdict::Stuck {
            why: format!("{why}, again and again; Argo CD has lost hold of it. Restart the application controller"),
        }));
    }
    match state.phase.as_ref()? {
        OperationPhase::Succeeded if is_partial(state) => {
            let why = "Argo CD synced only some resources, though all were asked for";
            Some(again(case, latches, why).unwrap_or_else(|| Verdict::failed(format!("{why}, again and again"))))
        }
        OperationPhase::Failed | OperationPhase::Error => Some(failure(case, latches, state)),
        _ => None,
    }
}

fn is_partial(state: &OperationState) -> bool {
    state.operation.sync.as_ref().is_some_and(|sync| !sync.resources.is_empty())
}

fn failure(case: &Case<'_>, latches: &Latches, state: &OperationState) -> Verdict {
    let text = state.message.as_deref().unwrap_or_default();
    // A write conflict inside the cluster passes with the next try.
    if text.contains("the object has been modified; please apply your changes")
        && let Some(verdict) = again(case, latches, "the sync met a write conflict in the cluster")
    {
        return verdict;
    }
    let (single, many) = revisions(state);
    let shown = super::revision::shown(case.app, single, many);
    let at = if shown.is_empty() { String::new() } else { format!(" at {shown}") };
    let wanted =
        if case.are_wanted(single, many) { String::new() } else { format!(", wanted was {}", case.wanted_text()) };
    if text.contains("Operation terminated") {
        return Verdict::failed(format!("the sync{at} was stopped by somebody{wanted}{}", words::outcome(state)));
    }
    let phase = state.phase.as_ref().map(ToString::to_string).unwrap_or_default();
    Verdict::failed(format!("the sync{at} ended with {phase}{wanted}{}", words::outcome(state)))
}

/// What the end of another's operation means: one that began since the deployment did, and failed at the wanted revision, is how
/// automatic sync says that it cannot.
pub(super) fn others_outcome(case: &Case<'_>, latches: &Latches) -> Option<Verdict> {
    let state = case.state().filter(|state| failed_at_wanted(case, latches, state) && !case.owns_last_operation())?;
    (state.started_at != latches.baseline).then(|| failure(case, latches, state))
}

/// Whether the last operation failed, and did so at the wanted revision. Where any is, that is not one that came after it was applied.
pub(super) fn failed_at_wanted(case: &Case<'_>, latches: &Latches, state: &OperationState) -> bool {
    let (single, many) = revisions(state);
    let failed = matches!(state.phase, Some(OperationPhase::Failed | OperationPhase::Error));
    let is_later = || case.wanted.is_anything() && overtaken::outlived(case, latches).is_some();
    failed && !is_dry_run(state) && case.are_wanted(single, many) && !is_later()
}

/// How what the last operation put into the cluster stands to the wanted revision, when it put it there in full and nothing has been
/// deployed since.
pub(super) fn applied(case: &Case<'_>) -> Option<Standing> {
    let state = case.state()?;
    let result = state.sync_result.as_ref()?;
    let complete = state.phase == Some(OperationPhase::Succeeded)
        && state.finished_at.is_some()
        && !is_dry_run(state)
        && !is_partial(state)
        && result.resources.iter().all(|resource| resource.status.as_deref() != Some("SyncFailed"))
        && is_newest(case, state, result)
        && are_these_sources(case, &result.source, &result.sources);
    complete.then(|| case.standing(result.revision.as_deref(), &result.revisions))
}

/// Whether the newest entry of the history is this operation's.
fn is_newest(case: &Case<'_>, state: &OperationState, result: &SyncResult) -> bool {
    match case.app.status.history.iter().max_by_key(|entry| entry.id) {
        Some(entry) => {
            let same = same_revisions((&entry.revision, &entry.revisions), (&result.revision, &result.revisions));
            same && (entry.deploy_started_at.is_none() || entry.deploy_started_at == state.started_at)
        }
        // No history is kept at all.
        None => case.app.spec.revision_history_limit == Some(0),
    }
}

/// Whether what was synced were the sources as they are now: an image that changed since, at the same revision, is not what was applied.
/// What is not said is not held against it.
pub(super) fn are_these_sources(case: &Case<'_>, one: &Option<Source>, several: &[Source]) -> bool {
    let now = case.app.spec.effective_sources();
    let then: &[Source] = if several.is_empty() { one.as_slice() } else { several };
    // Beside a list of sources Argo CD writes an empty one.
    let said = then.iter().any(|source| !source.repo_url.is_empty());
    !said || (then.len() == now.len() && then.iter().zip(now.iter()).all(|(then, now)| then.holds_the_same(now)))
}

/// Whether the last operation synced what the last comparison compared with.
pub(super) fn synced_what_is_followed(case: &Case<'_>) -> bool {
    let sync = &case.app.status.sync;
    let result = case.state().and_then(|state| state.sync_result.as_ref());
    result
        .is_some_and(|result| same_revisions((&result.revision, &result.revisions), (&sync.revision, &sync.revisions)))
}
