//! Judges that make a mistake on purpose, each of which the schedules must find out.

use jiff::SignedDuration;

use super::super::super::{Case, Judgement, Verdict, judge};
use super::{Judge, SCHEDULES, run_all};
use crate::client::{OperationPhase, SyncCode};

/// Takes a comparison that began in the second of the operation's end for a later one.
fn believes_equal_stamps(case: &Case<'_>) -> Judgement {
    let mut app = case.app.clone();
    let ended = app.status.operation_state.as_ref().and_then(|state| state.finished_at);
    if ended.is_some() && ended == app.status.reconciled_at {
        app.status.reconciled_at = ended.map(|at| at + SignedDuration::from_secs(10));
    }
    judge(&Case { app: &app, ..*case })
}

/// Does not look at the sync status.
fn ignores_the_sync_status(case: &Case<'_>) -> Judgement {
    let mut app = case.app.clone();
    app.status.sync.status = Some(SyncCode::Synced);
    judge(&Case { app: &app, ..*case })
}

/// Is content with an operation that succeeded.
fn trusts_the_phase(case: &Case<'_>) -> Judgement {
    let state = case.app.status.operation_state.as_ref();
    let succeeded =
        state.is_some_and(|state| state.phase == Some(OperationPhase::Succeeded)) && case.owns_last_operation();
    let mut judgement = judge(case);
    if succeeded && let Some((_, revision)) = case.wanted.iter().next() {
        judgement.verdict = Verdict::Live { revision: revision.clone(), evidence: "it succeeded".into() };
    }
    judgement
}

/// Takes a revision that was looked at for one that was rendered.
fn trusts_a_look(case: &Case<'_>) -> Judgement {
    let mut app = case.app.clone();
    let status = &mut app.status.source_hydrator;
    if let Some(last) = &mut status.last_successful_operation {
        last.dry_sha = status.last_compared_dry_revision.clone();
    }
    judge(&Case { app: &app, ..*case })
}

/// Takes the commit that was rendered last for one of the wanted revision.
fn trusts_the_last_rendering(case: &Case<'_>) -> Judgement {
    let mut app = case.app.clone();
    let wanted = case.wanted.iter().next().map(|(_, revision)| revision.to_string());
    if let Some(last) = &mut app.status.source_hydrator.last_successful_operation {
        last.dry_sha = wanted;
    }
    judge(&Case { app: &app, ..*case })
}

/// Does not look at the sources that an operation was of, nor at those that were compared.
fn ignores_the_sources(case: &Case<'_>) -> Judgement {
    let mut app = case.app.clone();
    app.status.sync.compared_to.source = None;
    if let Some(result) = app.status.operation_state.as_mut().and_then(|state| state.sync_result.as_mut()) {
        result.source = None;
    }
    judge(&Case { app: &app, ..*case })
}

/// Never comes to a good end.
fn never_says_live(case: &Case<'_>) -> Judgement {
    let mut judgement = judge(case);
    if let Verdict::Live { evidence, .. } | Verdict::Later { evidence, .. } = judgement.verdict {
        judgement.verdict = Verdict::look(evidence);
    }
    judgement
}

/// Does not wait for workloads.
fn fails_early(case: &Case<'_>) -> Judgement {
    fails_where(case, "is progressing")
}

/// Does not wait for others.
fn fails_beside_others(case: &Case<'_>) -> Judgement {
    fails_where(case, "has to end first")
}

/// Calls a lagging sync status an end.
fn fails_out_of_sync(case: &Case<'_>) -> Judgement {
    fails_where(case, "what is known of sync and health may be from before that")
}

fn fails_where(case: &Case<'_>, text: &str) -> Judgement {
    let mut judgement = judge(case);
    if let Verdict::Pending { why, .. } = &judgement.verdict
        && why.contains(text)
    {
        judgement.verdict = Verdict::failed(why.clone());
    }
    judgement
}

fn fault_of(name: &str, mutant: Judge) -> String {
    run_all(mutant, 0..SCHEDULES).err().unwrap_or_else(|| panic!("{name} is not found out"))
}

/// Takes what looks like drift right after the sync for drift.
fn believes_drift_at_once(case: &Case<'_>) -> Judgement {
    let mut app = case.app.clone();
    if app.status.sync.status == Some(SyncCode::OutOfSync) {
        app.status.reconciled_at = app.status.reconciled_at.map(|at| at + SignedDuration::from_secs(30));
    }
    judge(&Case { app: &app, ..*case })
}

/// Takes what an older operation applied for what runs by now.
fn trusts_an_older_operation(case: &Case<'_>) -> Judgement {
    let mut latches = case.latches.clone();
    latches.begin(case.app, case.now);
    latches.baseline = None;
    judge(&Case { latches: &latches, ..*case })
}

/// Takes for granted that an operation that failed changed nothing, so that what was applied before it still runs.
fn trusts_a_failure(case: &Case<'_>) -> Judgement {
    let mut judgement = judge(case);
    if let Verdict::Pending { why, .. } = &judgement.verdict
        && why.contains("failed before it changed anything")
        && let Some((_, revision)) = case.wanted.iter().next()
    {
        judgement.verdict = Verdict::Live { revision: revision.clone(), evidence: why.clone() };
    }
    judgement
}

#[test]
fn a_judge_that_makes_a_mistake_is_found_out() {
    let mutants: [(&str, Judge); 9] = [
        ("equal stamps", believes_equal_stamps),
        ("no sync status", ignores_the_sync_status),
        ("phase alone", trusts_the_phase),
        ("a look at a revision", trusts_a_look),
        ("the last rendering", trusts_the_last_rendering),
        ("no sources", ignores_the_sources),
        ("drift at once", believes_drift_at_once),
        ("an older operation", trusts_an_older_operation),
        ("a failure", trusts_a_failure),
    ];
    for (name, mutant) in mutants {
        let fault = fault_of(name, mutant);
        assert!(fault.contains("called live with"), "{name} fails for another reason: {fault}");
    }
}

#[test]
fn a_judge_that_never_comes_to_an_end_or_gives_up_early_is_found_out() {
    let fault = fault_of("never live", never_says_live);
    assert!(fault.contains("it never ended"), "{fault}");
    let mutants: [(&str, Judge); 3] = [
        ("progressing fails", fails_early),
        ("another's operation fails", fails_beside_others),
        ("an old comparison fails", fails_out_of_sync),
    ];
    for (name, mutant) in mutants {
        let fault = fault_of(name, mutant);
        assert!(fault.contains("which nothing explains"), "{name} fails for another reason: {fault}");
    }
}
