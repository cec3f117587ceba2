//! Races between Argo CD's two writers, other actors, and us. Each has a letter, by which a failing test is spoken of.

use serde_json::{Value, json};

use super::super::{Next, Verdict, Wanted};
use super::{Shape, beside, earlier, later, read, stamp, wanted};

const UNPINNED: Next = Next::Sync { pin: false };
const PINNED: Next = Next::Sync { pin: true };

#[test]
fn race_a_health_from_before_the_end_of_the_operation_is_not_believed() {
    let why = read().set("status.reconciledAt", stamp("10:00:01")).is_pending(&Next::Refresh);
    assert!(why.contains("10:00:05") && why.contains("10:00:01"), "{why}");
    read().set("status.reconciledAt", Value::Null).is_pending(&Next::Refresh);
}

#[test]
fn race_a1_report_45_a_comparison_in_the_second_of_the_end_proves_nothing() {
    let same = read()
        .policy(|policy| policy.stable_for = std::time::Duration::ZERO)
        .set("status.reconciledAt", stamp("10:00:05"));
    // A refresh in the same second could only give the same stamp.
    same.clone().now("10:00:05").is_pending(&Next::Look);
    same.clone().now("10:00:06").is_pending(&Next::Refresh);
    same.set("status.reconciledAt", stamp("10:00:06")).is_live();
}

#[test]
fn race_a2_the_wanted_revision_compared_before_it_was_applied_is_not_live() {
    let before = read()
        .set("status.operationState", Value::Null)
        .set("status.history", json!([]))
        .set("status.sync.status", "OutOfSync");
    before.is_pending(&PINNED);
    before.requested("p1").is_pending(&Next::Look);
}

#[test]
fn race_b_report_33_anothers_operation_is_waited_for_even_if_all_looks_live() {
    let why = read().of_another().requested("other").is_pending(&Next::Look);
    assert!(why.contains("the user bob"), "{why}");
}

#[test]
fn race_d_an_automatic_sync_of_the_wanted_revision_is_as_good_as_ours_and_is_named() {
    let theirs = read().of_another().set("status.operationState.operation.initiatedBy", json!({"automated": true}));
    assert!(theirs.is_live().contains("automatic sync"), "{}", theirs.is_live());
    assert!(!read().is_live().contains("automatic"), "ours is ours");
    // Also where ours is noted as asked for, since it was refused or replaced; none is asked for again.
    theirs.clone().latches(|latches| latches.syncs = 1).is_live();
    // Their own end counts as ours does: a comparison from before it proves nothing.
    theirs.set("status.reconciledAt", stamp("10:00:04")).is_pending(&Next::Refresh);
}

#[test]
fn race_e_an_operation_that_replaced_ours_is_judged_by_what_it_left() {
    let replaced = read().operation("Succeeded", &later()).of_another().set("status.sync.revision", later());
    assert!(matches!(replaced.verdict(), Verdict::Later { .. }));
    replaced.set("status.operationState.phase", "Running").requested("other").is_pending(&Next::Look);
}

#[test]
fn race_f_a_later_revision_that_holds_the_wanted_one_is_said_to_be_later() {
    let moved = read().set("status.sync.revision", later());
    match moved.verdict() {
        Verdict::Later { observed, evidence } => {
            assert_eq!(observed.as_str(), later());
            assert!(evidence.contains(&wanted()), "{evidence}");
        }
        other => panic!("{other:?}"),
    }
    let mut unasked = moved.clone();
    unasked.related = false;
    unasked.is_pending(&Next::Relate { observed: later().into(), wanted: wanted().into() });
    moved.clone().set("status.health.status", "Progressing").is_pending(&Next::Look);
    // Where it is not known to hold it, it is not called live; nor is it given up at once, since that may come to be known.
    let mut unknown = moved.operation("Succeeded", &later()).of_another();
    (unknown.related, unknown.unknown) = (false, vec![(later().into(), wanted().into())]);
    unknown.is_pending(&Next::Refresh);
    unknown.clone().again_after(59).is_pending(&Next::Refresh);
    let why = unknown.again_after(60).is_failed();
    assert!(why.contains("not known to hold") && why.contains(&later()) && why.contains(&wanted()), "{why}");
}

#[test]
fn race_g_a_followed_revision_beside_the_wanted_one_fails_after_a_moment_with_both() {
    let beside_it = read().operation("Succeeded", &beside()).of_another().set("status.sync.revision", beside());
    beside_it.is_pending(&Next::Refresh);
    let why = beside_it.again_after(10).is_failed();
    assert!(why.contains(&beside()) && why.contains(&wanted()) && why.contains("main"), "{why}");
}

#[test]
fn race_g_a_wanted_revision_that_was_undone_is_synced_again_but_not_for_ever() {
    // Somebody synced the revision before; the branch still leads to the wanted one.
    let undone = read().operation("Succeeded", &earlier()).of_another().set("status.sync.status", "OutOfSync");
    undone.clone().latches(|latches| latches.syncs = 2).is_pending(&PINNED);
    let why = undone.latches(|latches| latches.syncs = 3).is_failed();
    assert!(why.contains("after 3 syncs"), "{why}");
}

#[test]
fn race_h_without_a_comparison_since_it_began_nothing_is_known() {
    let frozen = read().latches(|latches| latches.since = Some(super::at("10:00:30"))).now("10:00:40");
    let why = frozen.is_pending(&Next::Refresh);
    assert!(why.contains("has not compared since"), "{why}");
}

#[test]
fn race_i_a_running_operation_with_an_end_waits_for_its_next_try() {
    let retrying = read()
        .requested("p1")
        .set("operation.retry", json!({"limit": 5}))
        .set("status.operationState.phase", "Running")
        .set("status.operationState.retryCount", 2)
        .set("status.operationState.message", "one or more objects failed to apply");
    let why = retrying.is_pending(&Next::Look);
    assert!(why.contains("retry 2 of 5") && why.contains("failed to apply"), "{why}");
    // Without a limit it goes on for ever, and only the step's time ends it.
    let endless = retrying.clone().set("operation.retry", json!({"limit": -1}));
    let why = endless.again_after(7_200).is_pending(&Next::Look);
    assert!(why.contains("(retry 2)"), "{why}");
    // The try itself runs again, and the last one ends as any operation does.
    let running = retrying.clone().set("status.operationState.finishedAt", Value::Null);
    assert!(running.is_pending(&Next::Look).contains("the sync runs"));
    let given_up = retrying.set("operation", Value::Null).set("status.operationState.phase", "Failed");
    assert!(given_up.is_failed().contains("failed to apply"));
}

#[test]
fn race_j_a_retry_that_switched_to_a_later_revision_is_still_waited_for() {
    let switched = read().requested("p1").operation("Running", &later());
    let why = switched.is_pending(&Next::Look);
    assert!(why.contains("tried again"), "{why}");
    // At its end it is what a later revision is: it holds the wanted one, or it has failed with both.
    let ended = read().operation("Succeeded", &later()).set("status.sync.revision", later());
    assert!(matches!(ended.verdict(), Verdict::Later { observed, .. } if observed.as_str() == later()));
    let why = ended.set("status.operationState.phase", "Failed").is_failed();
    assert!(why.contains(&later()) && why.contains(&wanted()), "{why}");
}

#[test]
fn race_k_a_sync_that_somebody_stopped_has_failed() {
    let why =
        read().operation("Failed", &wanted()).set("status.operationState.message", "Operation terminated").is_failed();
    assert!(why.contains("stopped by somebody"), "{why}");
    read().requested("p1").operation("Terminating", &wanted()).is_pending(&Next::Look);
}

#[test]
fn race_x_report_32_a_sync_that_is_being_stopped_and_does_not_stop_is_stuck() {
    let stopping = read().requested("p1").operation("Terminating", &wanted());
    stopping.is_pending(&Next::Look);
    let stopping = stopping.again_after(59);
    stopping.is_pending(&Next::Look);
    let stuck = stopping.clone().again_after(1);
    assert!(matches!(stuck.verdict(), Verdict::Stuck { why } if why.contains("60s") && why.contains("controller")));
    // Another's is for others to mend.
    stuck.set("operation.info", Value::Null).of_another().is_pending(&Next::Look);
    // One that runs again is not being stopped.
    let again = stopping.set("status.operationState.phase", "Running").again_after(1);
    again.set("status.operationState.phase", "Terminating").again_after(59).is_pending(&Next::Look);
}

#[test]
fn race_l_failing_hooks_are_named() {
    let why = read()
        .operation("Failed", &wanted())
        .set("status.operationState.message", "one or more synchronization tasks completed unsuccessfully")
        .set(
            "status.operationState.syncResult.resources",
            json!([
                {"kind": "Job", "name": "migrate", "hookPhase": "Failed", "message": "backoff limit"},
                {"kind": "Job", "name": "smoke", "hookPhase": "Succeeded"},
            ]),
        )
        .is_failed();
    assert!(why.contains("Job/migrate (backoff limit)") && !why.contains("smoke"), "{why}");
}

#[test]
fn race_n_an_operation_held_back_by_a_window_is_blocked() {
    let held = read()
        .requested("p1")
        .operation("Running", &wanted())
        .set("status.operationState.finishedAt", Value::Null)
        .set("status.operationState.message", "Sync operation blocked by sync window");
    assert!(matches!(held.verdict(), Verdict::Blocked { .. }), "{:?}", held.verdict());
}

#[test]
fn race_o_report_28_an_automatic_sync_that_does_not_come_is_asked_for_after_the_grace() {
    let idle = read()
        .operation("Succeeded", &earlier())
        .of_another()
        .set("spec.syncPolicy", json!({"automated": {}}))
        .set("status.sync.status", "OutOfSync");
    idle.is_pending(&Next::Look);
    idle.clone().again_after(9).is_pending(&Next::Look);
    idle.again_after(10).is_pending(&UNPINNED);
}

#[test]
fn race_q_an_automatic_sync_that_gave_up_is_a_failure_if_it_did_so_since_we_began() {
    let gave_up = read()
        .operation("Failed", &wanted())
        .of_another()
        .set("status.sync.status", "OutOfSync")
        .set("status.operationState.message", "quota exceeded")
        .set("status.conditions", json!([{"type": "SyncError", "message": "Failed last sync attempt"}]));
    assert!(gave_up.is_failed().contains("quota exceeded"));
    // What had failed before may be mended by now, and automatic sync does not try it again: we do, once.
    let old = gave_up.latches(|latches| latches.baseline = Some(super::at("10:00:02")));
    old.is_pending(&PINNED);
    old.operation("Failed", &wanted()).is_failed();
}

#[test]
fn race_s_an_automatic_sync_that_would_delete_everything_is_a_failure() {
    let text = "Skipping sync attempt: auto-sync will wipe out all resources";
    let why = read().set("status.conditions", json!([{"type": "SyncError", "message": text}])).is_failed();
    assert!(why.contains("would delete everything") && why.contains(text), "{why}");
    // Whatever else went wrong beside it, and whatever the order.
    let other = json!({"type": "SyncError", "message": "Failed last sync attempt"});
    let both = json!([other, {"type": "SyncError", "message": text}]);
    assert!(read().set("status.conditions", both).is_failed().contains(text));
    read().set("status.conditions", json!([other])).is_live();
}

#[test]
fn race_t_a_manifest_error_is_given_a_minute_and_healthy_does_not_help() {
    let broken = read()
        .set("status.sync", json!({"status": "Unknown", "revision": ""}))
        .set("status.conditions", json!([{"type": "ComparisonError", "message": "helm template failed"}]));
    broken.is_pending(&Next::Refresh);
    broken.clone().again_after(59).is_pending(&Next::Refresh);
    assert!(broken.clone().again_after(60).is_failed().contains("helm template failed"));
    // While something runs nothing lasts, and the minute begins anew.
    let running = broken.again_after(59).requested("p1");
    let ended = running.again_after(30).set("operation", Value::Null);
    ended.again_after(1).is_pending(&Next::Refresh);
}

#[test]
fn race_u_an_invalid_specification_is_a_failure() {
    let text = "application repo is not permitted in project web";
    let why = read().set("status.conditions", json!([{"type": "InvalidSpecError", "message": text}])).is_failed();
    assert!(why.contains(text), "{why}");
}

#[test]
fn race_v_an_unknown_error_means_that_nothing_shown_can_be_trusted() {
    let large = read()
        .set("status.conditions", json!([{"type": "UnknownError", "message": "etcdserver: request is too large"}]));
    assert!(matches!(large.verdict(), Verdict::Indeterminate { .. }), "{:?}", large.verdict());
    let still = large.clone().again_after(59);
    assert!(matches!(still.verdict(), Verdict::Indeterminate { .. }), "{:?}", still.verdict());
    assert!(large.again_after(60).is_failed().contains("request is too large"));
}

#[test]
fn race_w_report_31_a_success_without_end_and_result_is_none() {
    let hollow = read()
        .operation("Succeeded", &wanted())
        .set("status.operationState.finishedAt", Value::Null)
        .set("status.operationState.syncResult", Value::Null);
    hollow.is_pending(&PINNED);
    assert!(matches!(hollow.clone().latches(|latches| latches.syncs = 3).verdict(), Verdict::Stuck { .. }));
    let waiting = hollow.requested("p1");
    waiting.is_pending(&Next::Look);
    assert!(matches!(waiting.now("10:05:00").verdict(), Verdict::Stuck { .. }));
}

#[test]
fn race_x_report_32_a_running_operation_that_nobody_asks_for_is_lost() {
    let lost = read().operation("Running", &wanted()).set("status.operationState.finishedAt", Value::Null);
    lost.is_pending(&Next::Look);
    let lost = lost.now("10:05:00");
    lost.is_pending(&PINNED);
    assert!(matches!(lost.latches(|latches| latches.syncs = 3).verdict(), Verdict::Stuck { .. }));
}

#[test]
fn race_y_report_30_a_partial_sync_that_should_have_been_full_is_no_success() {
    let partial =
        read().set("status.operationState.operation.sync.resources", json!([{"kind": "ConfigMap", "name": "one"}]));
    partial.is_pending(&PINNED);
    partial.latches(|latches| latches.syncs = 3).is_failed();
}

#[test]
fn race_z_a_dry_run_changes_nothing() {
    let dry = read()
        .operation("Failed", &wanted())
        .set("status.operationState.operation.sync.dryRun", true)
        .set("status.reconciledAt", stamp("10:00:04"));
    dry.is_live();
    let out = dry.set("status.sync.status", "OutOfSync");
    out.is_pending(&PINNED);
}

#[test]
fn race_ab_degraded_at_the_wanted_revision_fails_after_the_grace_and_a_dip_does_not() {
    let unwell = read().set("status.health.status", "Degraded");
    unwell.is_pending(&Next::Look);
    unwell.clone().again_after(29).is_pending(&Next::Look);
    unwell.clone().again_after(30).is_failed();
    let recovered = unwell.again_after(10).set("status.health.status", "Progressing");
    recovered.again_after(25).set("status.health.status", "Degraded").is_pending(&Next::Look);
}

#[test]
fn race_ab_degraded_before_the_wanted_revision_is_applied_says_nothing() {
    let before = read()
        .operation("Succeeded", &earlier())
        .of_another()
        .set("status.sync.status", "OutOfSync")
        .set("status.health.status", "Degraded");
    before.is_pending(&PINNED);
    before.clone().again_after(600).is_pending(&PINNED);
    before.requested("p1").is_pending(&Next::Look);
}

#[test]
fn race_ac_unknown_health_is_not_known() {
    let unknown = read().set("status.health.status", "Unknown");
    assert!(matches!(unknown.verdict(), Verdict::Indeterminate { .. }));
    let new_word = read().set("status.health.status", "Hibernating");
    assert!(matches!(new_word.verdict(), Verdict::Indeterminate { why, .. } if why.contains("Hibernating")));
}

#[test]
fn race_ad_missing_resources_fail_after_the_grace() {
    let missing = read().set("status.health.status", "Missing");
    missing.is_pending(&Next::Look);
    missing.again_after(30).is_failed();
    // Before anything is applied there can be nothing.
    let before = read()
        .set("status.operationState", Value::Null)
        .set("status.history", json!([]))
        .set("status.sync.status", "OutOfSync")
        .set("status.health.status", "Missing");
    before.is_pending(&PINNED);
    before.clone().again_after(600).is_pending(&PINNED);
    let running = before.requested("p1").latches(|latches| latches.syncs = 1);
    running.is_pending(&Next::Look);
    running.again_after(600).is_pending(&Next::Look);
}

#[test]
fn race_ae_suspended_is_waited_for_unless_it_is_accepted() {
    let paused = read().set("status.health.status", "Suspended");
    assert!(paused.is_pending(&Next::Look).contains("suspended"));
    paused.policy(|policy| policy.paused = crate::config::Paused::Accept).is_live();
}

#[test]
fn race_af_report_44_an_application_without_resources_is_not_live_unless_that_is_meant() {
    let empty = read().set("status.resources", json!([]));
    assert!(empty.is_failed().contains("allowEmpty"));
    empty.policy(|policy| policy.allow_empty = true).is_live();
}

#[test]
fn race_ag_report_24_no_transition_of_health_is_needed() {
    read().set("status.health", json!({"status": "Healthy"})).is_live();
}

#[test]
fn race_ah_a_revision_that_changes_nothing_is_live_without_an_operation() {
    read().operation("Succeeded", &earlier()).of_another().is_live();
    read().set("status.operationState", Value::Null).set("status.history", Value::Null).is_live();
}

#[test]
fn race_ai_and_aj_revisions_of_several_sources_are_taken_by_their_index() {
    let sources = json!([
        {"repoURL": "https://git.example/values", "targetRevision": "main", "ref": "values"},
        {"repoURL": "https://charts.example", "chart": "shop", "targetRevision": "1.x"},
    ]);
    let mut two = read()
        .set("spec.sources", sources.clone())
        .set("status.sync.comparedTo", json!({ "sources": sources }))
        .set("status.sync.revisions", json!(["main", "1.2.3"]))
        .set("status.operationState.syncResult", json!({"revisions": [later(), "1.2.3"]}));
    two.wanted = Wanted::anything().at(1, "1.2.3");
    two.is_live();
    // A list that does not fit the sources is not guessed at.
    let short = two.clone().set("status.sync.revisions", json!(["1.2.3"]));
    assert!(matches!(short.verdict(), Verdict::Indeterminate { .. }), "{:?}", short.verdict());
    // One source is one, in whichever form it is told.
    let single = |form: Value| read().set("status.sync.revision", Value::Null).set("status.sync.revisions", form);
    single(json!([wanted()])).is_live();
    assert!(matches!(single(json!([])).verdict(), Verdict::Indeterminate { .. }));
    two.wanted = Wanted::anything().at(1, "1.2.4");
    two.is_pending(&Next::Relate { observed: "1.2.3".into(), wanted: "1.2.4".into() });
}

#[test]
fn race_ak_a_comparison_with_other_sources_than_now_does_not_count() {
    let edited = read().set("spec.source.targetRevision", "release");
    assert!(edited.is_pending(&Next::Refresh).contains("edited"));
}

#[test]
fn race_al_an_application_made_anew_begins_anew() {
    let anew = read().set("metadata.uid", "2").latches(|latches| latches.syncs = 3).now("10:01:00");
    let judgement = anew.judgement();
    assert!(matches!(judgement.verdict, Verdict::Pending { next: Next::Refresh, .. }), "{judgement:?}");
    assert_eq!(judgement.latches.since, Some(super::at("10:01:00")));
    assert!(matches!(read().set("metadata.deletionTimestamp", stamp("10:00:08")).verdict(), Verdict::Gone { .. }));
}

#[test]
fn race_am_a_server_time_that_is_behind_does_not_delay() {
    read().now("09:00:00").is_live();
    let settling = read().set("status.reconciledAt", stamp("10:00:05"));
    settling.now("09:00:00").is_pending(&Next::Refresh);
}

#[test]
fn race_am_a_server_time_that_is_ahead_does_not_delay() {
    let ahead = read().now("11:00:00").latches(|latches| latches.since = Some(super::at("11:00:00")));
    ahead.is_pending(&Next::Refresh);
    // A comparison that is newer than the first one seen is new, by Argo CD's own clock.
    ahead.latches(|latches| latches.compared = Some(super::at("10:00:06"))).is_live();
}

#[test]
fn an_accepted_sync_that_does_not_show_yet_is_not_asked_for_again() {
    let mut unseen = read().operation("Succeeded", &earlier()).of_another().set("status.sync.status", "OutOfSync");
    unseen.latches.syncs = 1;
    (unseen.latches.posted_at, unseen.latches.posted_after) =
        (Some(super::at("10:00:08")), Some(super::at("10:00:02")));
    assert!(unseen.is_pending(&Next::Look).contains("does not show yet"));
    unseen.clone().now("10:00:40").is_pending(&PINNED);
    unseen.app = unseen.app.with_operation("Succeeded", &wanted());
    unseen.now("10:00:09").set("status.sync.status", "Synced").is_live();
}

#[test]
fn race_ak_a_comparison_with_one_source_says_nothing_of_a_list_of_sources_and_the_other_way_round() {
    let moved = json!([{"repoURL": "https://git.example/config", "targetRevision": "main", "path": "other"}]);
    let edited = "edited after the last comparison";
    let to_list = read().set("spec", json!({"project": "web", "sources": moved}));
    assert!(to_list.is_pending(&Next::Refresh).contains(edited));
    let to_one = read().set("status.sync", json!({"status": "Synced", "comparedTo": {"sources": moved}}));
    let to_one = to_one.set("status.sync.revisions", json!([wanted()]));
    assert!(to_one.is_pending(&Next::Refresh).contains(edited));
    // Beside a list, Argo CD writes an empty source.
    let compared = json!({"source": {"repoURL": ""}, "sources": moved});
    let list = read().set("spec", json!({"project": "web", "sources": moved}));
    list.set("status.sync", json!({"status": "Synced", "revisions": [wanted()], "comparedTo": compared})).is_live();
}
