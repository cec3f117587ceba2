//! What an operation proves where the sync status does not: of applications that drift, are pinned, or whose branch has moved on.

use serde_json::json;

use super::super::{Next, Verdict, Wanted};
use super::{earlier, later, read, stamp, wanted};
use crate::config::Mode;

const UNPINNED: Next = Next::Sync { pin: false };
const PINNED: Next = Next::Sync { pin: true };

#[test]
fn race_p_drift_after_anothers_sync_is_synced_once_when_drift_is_not_allowed() {
    let strict = read().set("status.sync.status", "OutOfSync").policy(|policy| policy.allow_drift = false);
    strict.clone().of_another().is_pending(&PINNED);
    let why = strict.latches(|latches| latches.syncs = 1).is_pending(&Next::Refresh);
    assert!(why.contains("allowDrift"), "{why}");
}

#[test]
fn race_p_drift_is_believed_only_long_after_the_end_of_the_sync() {
    // Argo CD's view of the cluster may be from before the sync: then the old workloads are healthy, and all looks like drift.
    let drifting = read().set("status.sync.status", "OutOfSync");
    let compared = |at: &str, now: &str| drifting.clone().set("status.reconciledAt", stamp(at)).now(now);
    compared("10:00:07", "10:00:08").is_pending(&Next::Look);
    compared("10:00:15", "10:00:24").is_pending(&Next::Look);
    compared("10:00:24", "10:00:25").is_pending(&Next::Refresh);
    drifting.set("status.reconciledAt", stamp("10:00:25")).now("10:00:26").is_live();
}

#[test]
fn race_p_a_sync_from_before_the_deployment_says_nothing_of_what_was_changed_since() {
    let edited = read().set("status.sync.status", "OutOfSync").set("status.reconciledAt", stamp("10:00:30"));
    let edited = edited.now("10:00:31");
    edited.clone().is_live();
    let older = edited.clone().of_another().latches(|latches| latches.baseline = Some(super::at("10:00:02")));
    // Somebody may have scaled or edited what it had applied.
    older.is_pending(&PINNED);
    older.clone().latches(|latches| latches.syncs = 1).is_live();
    // The same where the branch has moved on, so that no sync status speaks of the wanted revision.
    let moved = |read: super::Read| read.set("status.sync.revision", later());
    moved(older.clone()).is_pending(&PINNED);
    moved(older.latches(|latches| latches.syncs = 1)).is_live();
    // One that began since is as good as ours.
    edited.of_another().is_live();
}

#[test]
fn race_r_what_awaits_pruning_is_named() {
    let leftover = json!([
        {"kind": "Deployment", "name": "shop", "status": "Synced", "health": {"status": "Healthy"}},
        {"kind": "ConfigMap", "name": "old", "status": "OutOfSync", "requiresPruning": true},
    ]);
    let left = read().set("status.sync.status", "OutOfSync").set("status.resources", leftover);
    let why = left.clone().policy(|policy| policy.allow_drift = false).is_pending(&Next::Refresh);
    assert!(why.contains("ConfigMap/old (no longer wanted, and not pruned)"), "{why}");
    assert!(left.set("status.reconciledAt", stamp("10:00:25")).now("10:00:26").is_live().contains("ConfigMap/old"));
}

#[test]
fn a_pinned_revision_is_live_by_its_operation_and_a_later_comparison() {
    let pinned = read()
        .set("status.sync", json!({"status": "OutOfSync", "revision": earlier()}))
        .policy(|policy| policy.mode = Mode::Pinned);
    // Two seconds after the end Argo CD's view of the cluster may still be the old one, and here nothing would show it.
    pinned.is_pending(&Next::Look);
    let compared = pinned.set("status.reconciledAt", stamp("10:00:15"));
    compared.is_live();
    compared.clone().set("status.history", json!([{"id": 2, "revision": earlier()}])).is_pending(&PINNED);
    compared.clone().set("status.history", json!([])).is_pending(&PINNED);
    let failed = json!([{"kind": "Service", "name": "shop", "status": "SyncFailed"}]);
    compared.set("status.operationState.syncResult.resources", failed).is_pending(&PINNED);
}

#[test]
fn where_any_revision_will_do_a_branch_that_moves_on_is_not_chased() {
    let mut any = read()
        .set("status.sync", json!({"status": "OutOfSync", "revision": later()}))
        .set("status.reconciledAt", stamp("10:00:15"));
    any.wanted = Wanted::anything();
    assert!(matches!(any.verdict(), Verdict::Live { revision, .. } if revision.as_str() == wanted()));
    // What somebody else synced before is not what it follows now.
    any.of_another().is_pending(&UNPINNED);
}

#[test]
fn what_an_operation_applied_is_known_also_of_several_sources() {
    let sources = json!([
        {"repoURL": "https://git.example/config", "targetRevision": "main", "path": "dev"},
        {"repoURL": "https://charts.example", "chart": "shop", "targetRevision": "1.x"},
    ]);
    let synced = json!([wanted(), "1.2.3"]);
    let mut two = read()
        .set("spec", json!({"project": "web", "sources": sources}))
        .set("status.sync", json!({"status": "OutOfSync", "revisions": synced, "comparedTo": {"sources": sources}}))
        // Here Argo CD writes the form for a single source as well, and leaves it out of the history.
        .set("status.operationState.syncResult", json!({"revision": "", "revisions": synced, "sources": sources}))
        .set("status.history", json!([{"id": 1, "revisions": synced, "deployStartedAt": stamp("10:00:02")}]))
        .set("status.reconciledAt", stamp("10:00:25"))
        .now("10:00:26");
    two.is_live();
    two.wanted = Wanted::anything();
    two.is_live();
}
