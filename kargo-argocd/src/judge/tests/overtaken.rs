//! Report 19: ours ended well, and the sync of a later commit, which is another's, came after it and failed.

use serde_json::{Value, json};

use super::super::{Next, Verdict, Wanted};
use super::{Read, at, beside, earlier, later, read, stamp, wanted};
use crate::config::Mode;

/// Ours applied the wanted revision at 10:00:05. Automatic sync of a later commit failed at 10:00:10, before it changed anything, and the
/// comparison that began at 10:00:20 shows what is followed by now as not synced.
fn failed_after_ours() -> Read {
    read()
        .set("spec.syncPolicy", json!({"automated": {}}))
        .set("status.operationState", failure(&later(), &json!([])))
        .set("status.sync.status", "OutOfSync")
        .set("status.sync.revision", later())
        .set("status.reconciledAt", stamp("10:00:20"))
        .now("10:00:21")
}

fn failure(revision: &str, resources: &Value) -> Value {
    json!({
        "operation": {"sync": {"revision": revision}, "initiatedBy": {"automated": true}},
        "phase": "Failed",
        "message": "one or more objects failed to apply",
        "syncResult": {"revision": revision, "resources": resources},
        "startedAt": stamp("10:00:07"),
        "finishedAt": stamp("10:00:10"),
    })
}

/// As [`failed_after_ours`], by a sync that had applied something before it failed.
fn failed_halfway() -> Read {
    let results = json!([
        {"kind": "Deployment", "name": "shop", "status": "Synced", "message": "deployment.apps/shop configured"},
        {"kind": "Service", "name": "shop", "status": "SyncFailed", "message": "port is immutable"},
    ]);
    failed_after_ours().set("status.operationState", failure(&later(), &results))
}

#[test]
fn report_19_what_ours_applied_is_neither_live_nor_failed_when_the_sync_that_followed_failed() {
    let why = failed_after_ours().is_pending(&Next::Refresh);
    let told = format!("an operation of automatic sync at {} failed before it changed anything", later());
    assert!(why.contains(&told) && why.contains("failed to apply") && why.contains(&wanted()), "{why}");
    // One before it, of which nothing is shown any more, may have changed something: however well it looks, that proves nothing.
    failed_after_ours().again_after(3_600).is_pending(&Next::Refresh);
    // Nor is it a failure that it does not look well.
    for health in ["Progressing", "Degraded", "Missing"] {
        failed_after_ours().set("status.health.status", health).again_after(3_600).is_pending(&Next::Refresh);
    }
    // What was deployed last may also be later than the wanted revision, and hold it.
    let newest = "e".repeat(40);
    let entry = json!([{"id": 2, "revision": later(), "deployStartedAt": stamp("10:00:06")}]);
    let mut twice = failed_after_ours()
        .set("status.history", entry)
        .set("status.operationState", failure(&newest, &json!([])))
        .set("status.sync.revision", newest.clone());
    twice.related = false;
    twice.unknown = vec![(newest.as_str().into(), wanted().into())];
    twice.is_pending(&Next::Relate { observed: later().into(), wanted: wanted().into() });
    twice.related = true;
    assert!(twice.again_after(60).is_pending(&Next::Refresh).contains(&newest));
    // One that ended before it had a result, as for a cluster that is not known.
    failed_after_ours()
        .set("status.operationState.syncResult", Value::Null)
        .set("status.operationState.operation.sync.revision", later())
        .set("status.operationState.phase", "Error")
        .is_pending(&Next::Refresh);
    // What it did to each object is told as it is: refused, left as it was or not pruned is no change, nor is a hook.
    let untouched = json!([
        {"kind": "Deployment", "name": "shop", "status": "Synced", "message": "deployment.apps/shop unchanged"},
        {"kind": "Service", "name": "shop", "status": "SyncFailed", "message": "port is immutable"},
        {"kind": "ConfigMap", "name": "old", "status": "PruneSkipped"},
        {"kind": "Job", "name": "before", "hookType": "PreSync", "hookPhase": "Failed", "status": "Synced"},
    ]);
    let why =
        failed_after_ours().set("status.operationState", failure(&later(), &untouched)).is_pending(&Next::Refresh);
    assert!(why.contains("before it changed anything") && why.contains("port is immutable"), "{why}");
}

#[test]
fn report_19_between_two_revisions_nothing_is_live_and_nothing_failed_and_nothing_is_asked_for() {
    let halfway = failed_halfway();
    let why = halfway.is_pending(&Next::Refresh);
    assert!(
        why.contains("after it had changed something") && why.contains("Service/shop (port is immutable)"),
        "{why}"
    );
    assert!(why.contains(&wanted()) && why.contains(&later()) && why.contains("mended"), "{why}");
    // However long that lasts: it ends with the step's time, or with what mends it.
    halfway.clone().again_after(3_600).is_pending(&Next::Refresh);
    let newest = "e".repeat(40);
    let mut mended = halfway
        .clone()
        .operation("Succeeded", &newest)
        .of_another()
        .set("status.sync", json!({"status": "Synced", "revision": newest}))
        .set("status.reconciledAt", stamp("10:02:00"))
        .now("10:02:01");
    mended.is_pending(&Next::Relate { observed: newest.as_str().into(), wanted: wanted().into() });
    mended = mended.set("status.sync.revision", later());
    assert!(matches!(mended.verdict(), Verdict::Later { .. }), "{:?}", mended.verdict());
    // What is followed by now is newer than what failed: where nobody else syncs that, a sync is worth it.
    let mut newer = halfway.set("status.sync", json!({"status": "OutOfSync", "revision": newest}));
    newer.related = false;
    newer.unknown = vec![(later().into(), wanted().into()), (newest.as_str().into(), wanted().into())];
    assert!(newer.again_after(60).is_failed().contains("not known to hold"));
    let newer = failed_halfway()
        .set("status.operationState.operation.sync.revision", newest.clone())
        .set("status.operationState.syncResult.revision", newest);
    newer.again_after(10).is_pending(&Next::Sync { pin: false });
    // What an earlier try of it did is not shown.
    let retried = failed_after_ours().set("status.operationState.retryCount", 2);
    retried.is_pending(&Next::Refresh);
    // Of what a newer Argo CD may say, nothing is guessed.
    let other = json!([{"kind": "Service", "name": "shop", "status": "Replaced"}]);
    failed_after_ours().set("status.operationState", failure(&later(), &other)).is_pending(&Next::Refresh);
}

#[test]
fn report_19_where_a_sync_can_name_the_wanted_revision_it_is_brought_back() {
    let pinned = |read: Read| read.set("spec.syncPolicy", Value::Null).policy(|policy| policy.mode = Mode::Pinned);
    pinned(failed_after_ours()).is_pending(&Next::Sync { pin: true });
    let halfway = pinned(failed_halfway());
    halfway.is_pending(&Next::Sync { pin: true });
    let why = halfway.latches(|latches| latches.syncs = 3).is_failed();
    assert!(why.contains("after 3 syncs"), "{why}");
    // Also where the mode follows from the application; one that follows asks for nothing.
    let manual = |mode: Mode| failed_halfway().set("spec.syncPolicy", Value::Null).policy(|policy| policy.mode = mode);
    manual(Mode::Auto).is_pending(&Next::Sync { pin: true });
    manual(Mode::Tracking).is_pending(&Next::Refresh);
    // Whatever the branch leads to, pinned means the wanted revision.
    for at in [earlier(), beside()] {
        pinned(failed_after_ours()).set("status.sync.revision", at.clone()).is_pending(&Next::Sync { pin: true });
        pinned(failed_after_ours())
            .set("status.operationState.syncResult.revision", at)
            .is_pending(&Next::Sync { pin: true });
    }
}

#[test]
fn report_19_only_what_was_applied_since_the_deployment_began_outlives_a_failure() {
    // Deployed before, with the failure before as well: what is followed is tried once, and fails with both.
    let before = failed_after_ours().latches(|latches| {
        (latches.deployed, latches.baseline) = (Some(1), Some(at("10:00:07")));
    });
    let before = before.again_after(10);
    before.is_pending(&Next::Sync { pin: false });
    // Deployed before, and failed since.
    let since = failed_after_ours().latches(|latches| {
        (latches.deployed, latches.baseline) = (Some(1), Some(at("10:00:02")));
    });
    since.again_after(10).is_pending(&Next::Sync { pin: false });
    // But one that was under way when it began counts, or one from before, once it was seen in sync with the wanted revision.
    let mut seen = read().latches(|latches| {
        (latches.deployed, latches.baseline) = (Some(1), Some(at("10:00:02")));
    });
    seen = seen.of_another().set("status.health.status", "Progressing");
    seen.is_pending(&Next::Look);
    let noted = seen.judgement().latches;
    failed_after_ours().latches(|latches| *latches = noted).is_pending(&Next::Refresh);
    // Something else was deployed last.
    let other = json!([
        {"id": 1, "revision": wanted(), "deployStartedAt": stamp("10:00:02")},
        {"id": 2, "revision": earlier(), "deployStartedAt": stamp("10:00:06")},
    ]);
    failed_after_ours().set("status.history", other).again_after(10).is_pending(&Next::Sync { pin: false });
    // The wanted revision itself failed in the end.
    failed_after_ours().set("status.operationState", failure(&wanted(), &json!([]))).is_failed();
    // The failure was our own, as when a retry had moved on.
    let own = json!([{"name": crate::TAG, "value": super::TAG}]);
    failed_after_ours().set("status.operationState.operation.info", own).is_failed();
}

#[test]
fn report_19_a_failure_at_another_revision_where_the_wanted_one_is_followed_is_put_right() {
    let back = failed_after_ours().set("status.sync.revision", wanted());
    back.again_after(10).is_pending(&Next::Sync { pin: false });
    // As where what is followed does not hold the wanted revision: that is for a person.
    let apart = failed_after_ours().set("status.sync.revision", beside());
    apart.is_pending(&Next::Refresh);
    assert!(apart.again_after(10).is_failed().contains("does not hold"));
}

#[test]
fn report_19_of_any_revision_ours_is_the_one_that_counts() {
    let mut ours = read();
    ours.wanted = Wanted::anything();
    let noted = ours.judgement().latches;
    assert_eq!(noted.applied, Some(at("10:00:02")), "what ours applied is noted");
    let any = |mut read: Read, noted: &super::Latches| {
        (read.wanted, read.latches) = (Wanted::anything(), noted.clone());
        read
    };
    any(failed_after_ours(), &noted).is_pending(&Next::Refresh);
    any(failed_halfway(), &noted).is_pending(&Next::Refresh);
    // Where it was not ours, what failed is what was to be deployed.
    any(failed_after_ours(), &read().latches).is_failed();
    // Also where the same was synced once more.
    any(failed_after_ours().set("status.operationState", failure(&wanted(), &json!([]))), &noted).is_failed();
}

#[test]
fn report_19_without_history_ours_is_not_live_and_not_failed() {
    let unkept = |read: Read| {
        let read = read.set("spec.revisionHistoryLimit", 0).set("status.history", json!([]));
        read.latches(|latches| latches.applied = Some(at("10:00:02")))
    };
    // Something else may have been deployed in between.
    unkept(failed_after_ours()).again_after(60).is_pending(&Next::Refresh);
    unkept(failed_halfway()).again_after(60).is_pending(&Next::Refresh);
}

#[test]
fn report_19_where_no_health_is_asked_for_the_outcome_of_ours_stands_whatever_came_of_the_next() {
    failed_halfway().policy(|policy| policy.healthy = false).is_live();
    let applied = failed_after_ours().policy(|policy| policy.healthy = false);
    let evidence = applied.clone().set("status.health.status", "Degraded").is_live();
    assert!(evidence.contains(&wanted()) && evidence.contains("failed to apply"), "{evidence}");
    // A comparison right after that failure may show a view of the cluster from before.
    let compared = |began: &str| applied.clone().set("status.reconciledAt", stamp(began));
    compared("10:00:08").is_pending(&Next::Refresh);
    compared("10:00:19").is_pending(&Next::Refresh);
    compared("10:00:20").is_live();
    // What was deployed were other sources; where they lead is no matter.
    let source = json!({"repoURL": "https://git.example/config", "path": "other"});
    applied.clone().set("status.history.0.source", source).is_pending(&Next::Refresh);
    let same = json!({"repoURL": "https://git.example/config", "path": "dev", "targetRevision": "release"});
    applied.clone().set("status.history.0.source", same).is_live();
    let mut any = applied;
    any.wanted = Wanted::anything();
    any.latches.applied = Some(at("10:00:02"));
    assert!(matches!(any.verdict(), Verdict::Live { revision, .. } if revision.as_str() == wanted()));
}

#[test]
fn report_19_where_nothing_is_known_of_the_later_commit_it_is_no_failure_either() {
    let mut unknown = failed_after_ours();
    (unknown.related, unknown.unknown) = (false, vec![(later().into(), wanted().into())]);
    unknown.again_after(600).is_pending(&Next::Refresh);
    // As where nothing failed, and the branch has just moved on.
    let mut moved = read().set("status.sync", json!({"status": "OutOfSync", "revision": later()}));
    (moved.related, moved.unknown) = (false, vec![(later().into(), wanted().into())]);
    moved.is_pending(&Next::Look);
    let evidence = moved.set("status.reconciledAt", stamp("10:00:15")).now("10:00:16").is_live();
    assert!(evidence.contains("not known to hold"), "{evidence}");
}
