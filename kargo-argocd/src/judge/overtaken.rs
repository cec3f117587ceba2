//! Where the wanted revision was applied, and an operation of somebody else came after it and failed.
//!
//! The failure is another's, and so is what to do about it. What runs nobody can say: the history knows nothing of operations that failed, and
//! even where the last of them changed nothing, one before it may have, of which nothing is shown any more. So it is not live, and not a
//! failure either; and a sync of ours that cannot name the wanted revision could only bring back that failure.

use super::revision::{Standing, same_revisions, shown};
use super::{Case, Latches, Verdict, compared_after, operation, standing, words};
use crate::client::{HistoryEntry, OperationPhase, OperationState, ResourceResult};
use crate::config::Mode;

/// Notes that the last operation applied what is wanted. For a commit of rendered manifests that cannot be told from it alone.
pub(super) fn note(case: &Case<'_>, latches: &mut Latches) {
    let Some(state) = case.state() else { return };
    let ours = case.owns_last_operation();
    let counts = ours || (state.started_at != latches.baseline && !case.wanted.is_anything());
    if counts && operation::applied(case).is_some_and(|standing| standing.holds_the_wanted()) {
        latches.applied = state.started_at;
    }
}

/// Notes that what was deployed last is in sync by a comparison from after it, and holds the wanted revision.
pub(super) fn note_synced(case: &Case<'_>, latches: &mut Latches) {
    let sync = &case.app.status.sync;
    let newest = case.app.status.history.iter().max_by_key(|entry| entry.id);
    let same =
        |entry: &&HistoryEntry| same_revisions((&entry.revision, &entry.revisions), (&sync.revision, &sync.revisions));
    if let Some(entry) = newest.filter(same) {
        latches.applied = entry.deploy_started_at;
    }
}

/// What was deployed in full last, and since this deployment began, where another's operation at another revision came after it and failed.
pub(super) fn outlived<'a>(case: &Case<'a>, latches: &Latches) -> Option<&'a HistoryEntry> {
    let state = failure(case)?;
    let entry = case.app.status.history.iter().max_by_key(|entry| entry.id)?;
    let noted = latches.applied.is_some() && entry.deploy_started_at == latches.applied;
    // By Argo CD's own counting and stamps. When nothing in particular is wanted, only what is known to be ours says that it is this
    // deployment's.
    let is_new = entry.id > latches.deployed && entry.deploy_started_at > latches.baseline;
    let counts = noted || (is_new && !case.wanted.is_anything());
    (counts && !failed_at(state, &entry.revision, &entry.revisions)).then_some(entry)
}

/// The last operation, when it is another's, and failed.
fn failure<'a>(case: &Case<'a>) -> Option<&'a OperationState> {
    let failed = |state: &&OperationState| matches!(state.phase, Some(OperationPhase::Failed | OperationPhase::Error));
    case.state()
        .filter(failed)
        .filter(|state| state.finished_at.is_some() && !operation::is_dry_run(state) && !case.owns_last_operation())
}

/// Whether these are the revisions that it failed at.
fn failed_at(state: &OperationState, single: &Option<String>, many: &[String]) -> bool {
    let (one, several) = operation::revisions(state);
    same_revisions((&one.map(str::to_owned), several), (single, many))
}

/// Whether an operation that failed left the application's objects as they were.
fn changed_nothing(state: &OperationState) -> bool {
    // What an earlier try did is no longer shown.
    let tried_once = state.retry_count.unwrap_or(0) == 0;
    tried_once && state.sync_result.iter().flat_map(|result| &result.resources).all(is_untouched)
}

fn is_untouched(resource: &ResourceResult) -> bool {
    // A hook is none of the application's objects.
    let is_hook = resource.hook_type.as_deref().is_some_and(|hook| !hook.is_empty());
    let says_unchanged = || resource.message.as_deref().is_some_and(|message| message.ends_with(" unchanged"));
    is_hook
        || match resource.status.as_deref() {
            Some("SyncFailed" | "PruneSkipped") => true,
            Some("Synced") => says_unchanged(),
            _ => false,
        }
}

/// Whether what was applied is all that is asked for: where no health is, the outcome of that operation stands, whatever came next.
pub(super) fn outcome_stands(case: &Case<'_>, latches: &Latches, head: &Standing) -> Option<Verdict> {
    let (state, entry) = (failure(case)?, outlived(case, latches)?);
    let (single, many) = (entry.revision.as_deref(), entry.revisions.as_slice());
    if case.policy.healthy || !operation::are_these_sources(case, &entry.source, &entry.sources) {
        return None;
    }
    let sync = &case.app.status.sync;
    let is_followed = same_revisions((&entry.revision, many), (&sync.revision, &sync.revisions));
    let applied = case.standing(single, many);
    match (head, &applied) {
        (_, Standing::Ask(observed, wanted)) => return Some(standing::ask(observed.clone(), wanted.clone())),
        (_, Standing::Same) if case.policy.mode == Mode::Pinned => {}
        // Where the sync status speaks of what was applied, it says that something else runs.
        _ if case.policy.mode == Mode::Pinned || is_followed => return None,
        _ if case.wanted.is_anything() => {}
        (Standing::Later(_), Standing::Same | Standing::Later(_)) | (Standing::Unknown(_), Standing::Same) => {}
        _ => return None,
    }
    let (what, ended) = (told(case, state), case.last_operation_end()?);
    if let Some(wait) = compared_after(case, ended, case.policy.stable_for.max(standing::UNPROVEN), || what.clone()) {
        return Some(wait);
    }
    let revision = case.revision_for_report(single, many);
    let running = shown(case.app, single, many);
    let evidence = format!("an operation synced {running} in full, {what}{}", case.compared_text());
    Some(match applied {
        Standing::Later(observed) => Verdict::Later { observed: observed.into(), evidence },
        _ => Verdict::Live { revision, evidence },
    })
}

/// What there is to wait for when the operation that failed has left the application between two revisions, and no sync of ours could
/// name the wanted one.
pub(super) fn verdict(case: &Case<'_>, latches: &Latches, head: &Standing) -> Option<Verdict> {
    let state = failure(case)?;
    // Where the wanted revision itself is followed, or something newer than what failed, a sync is worth it.
    let leads_on = matches!(head, Standing::Later(_) | Standing::Unknown(_)) || case.wanted.is_anything();
    let sync = &case.app.status.sync;
    if !leads_on || !failed_at(state, &sync.revision, &sync.revisions) {
        return None;
    }
    let was_applied = match outlived(case, latches) {
        Some(entry) => match case.standing(entry.revision.as_deref(), &entry.revisions) {
            Standing::Ask(observed, wanted) => return Some(standing::ask(observed, wanted)),
            standing => standing.holds_the_wanted(),
        },
        // Where no history is kept, what was seen has to do.
        None => case.app.spec.revision_history_limit == Some(0) && latches.applied.is_some(),
    };
    if !was_applied || case.pins(latches) {
        return None;
    }
    let why = format!(
        "{} was applied, {}. It goes on when what is followed is synced again or mended",
        case.wanted_text(),
        told(case, state)
    );
    Some(Verdict::refresh(why, standing::unhurried(case, latches)))
}

/// What came after it.
pub(super) fn told(case: &Case<'_>, state: &OperationState) -> String {
    let (single, many) = operation::revisions(state);
    let who = &state.operation.initiated_by;
    let left = if changed_nothing(state) { "before it changed anything" } else { "after it had changed something" };
    format!(
        "and then an operation of {who} at {} failed {left}{}",
        shown(case.app, single, many),
        words::outcome(state)
    )
}
