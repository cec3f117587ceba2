//! Ways in which deployers have been seen to judge Argo CD wrongly, each as the smallest read that shows it, with a number to speak of it.

use serde_json::{Value, json};

use super::super::{Next, Verdict, Wanted, same_revision};
use super::{earlier, later, read, stamp, wanted};

#[test]
fn report_01_verified_before_the_rollout() {
    let early = read().set("status.reconciledAt", stamp("10:00:01")).set("status.sync.revision", earlier());
    let why = early.is_pending(&Next::Refresh);
    assert!(why.contains("10:00:05") && why.contains("10:00:01"), "{why}");
    // Nor does it help that time passes, nor that the wanted revision was seen before the end.
    early.clone().now("11:00:00").is_pending(&Next::Refresh);
    early.clone().set("status.sync.revision", wanted()).is_pending(&Next::Refresh);
    // By a comparison from after the end it is what that shows: here that the wanted revision is not there yet, and then that it is.
    let compared = early.set("status.reconciledAt", stamp("10:00:07"));
    compared.is_pending(&Next::Refresh);
    compared.set("status.sync.revision", wanted()).is_live();
}

#[test]
fn report_02_the_same_without_a_wanted_revision() {
    let mut any = read().set("status.reconciledAt", stamp("10:00:01")).set("status.sync.revision", earlier());
    any.wanted = Wanted::anything();
    any.is_pending(&Next::Refresh);
    any.set("status.reconciledAt", stamp("10:00:07")).is_live();
}

#[test]
fn report_03_live_is_said_at_once_when_it_is_so() {
    read().is_live();
}

#[test]
fn report_04_a_failed_operation_that_created_nothing_is_not_healthy() {
    let nothing = read()
        .operation("Failed", &wanted())
        .set("status.operationState.message", "namespaces \"shop\" not found")
        .set("status.resources", json!([]));
    let why = nothing.is_failed();
    // Why the operation failed, not that there is nothing.
    assert!(why.contains("ended with Failed") && why.contains("namespaces") && why.contains(&wanted()), "{why}");
    nothing.policy(|policy| policy.allow_empty = true).is_failed();
}

#[test]
fn report_05_progressing_is_not_unhealthy() {
    read().set("status.health.status", "Progressing").is_pending(&Next::Look);
}

#[test]
fn report_06_suspended_is_not_unhealthy() {
    read().set("status.health.status", "Suspended").is_pending(&Next::Look);
}

#[test]
fn report_08_never_healthy_ends() {
    read().set("status.health.status", "Degraded").again_after(60).is_failed();
}

#[test]
fn report_10_names_that_are_no_revisions_are_never_equal_to_one() {
    let mut named = read();
    named.wanted = Wanted::revision("v2.0.1");
    named.is_pending(&Next::Relate { observed: wanted().into(), wanted: "v2.0.1".into() });
    assert!(!same_revision(&wanted(), "HEAD"));
    // Of several sources neither; and however often it was synced, it is not synced for ever.
    let sources = json!([{"repoURL": "https://git.example/a"}, {"repoURL": "https://git.example/b", "path": "dev"}]);
    let mut two = read()
        .set("spec", json!({"project": "web", "sources": sources}))
        .set("status.sync", json!({"status": "Synced", "revisions": [wanted(), later()]}))
        .set("status.operationState.syncResult", json!({"revision": "", "revisions": [wanted(), later()]}));
    (two.wanted, two.related) = (Wanted::revision("v2.0.1").at(1, "HEAD"), false);
    for _ in 0..2 {
        match two.verdict() {
            Verdict::Pending { next: Next::Relate { observed, wanted }, .. } => two.unknown.push((observed, wanted)),
            other => panic!("{other:?}"),
        }
    }
    two.is_pending(&Next::Refresh);
    let why = two.again_after(60).is_failed();
    assert!(why.contains("v2.0.1, HEAD") && why.contains(&later()), "{why}");
}

#[test]
fn report_13_a_shared_branch_that_moved_on_is_not_unhealthy() {
    assert!(matches!(read().set("status.sync.revision", later()).verdict(), Verdict::Later { .. }));
}

#[test]
fn report_14_an_ended_state_beside_a_new_operation_is_the_old_ones() {
    let queued = read()
        .requested("p1")
        .set("status.operationState.operation.info", json!([{"name": crate::TAG, "value": "p0"}]));
    assert!(queued.is_pending(&Next::Look).contains("waits to be begun"));
    // Even with our own old tag.
    read().requested("p1").is_pending(&Next::Look);
}

#[test]
fn report_15_an_operation_that_ended_with_an_error_has_failed() {
    let why = read()
        .operation("Error", &wanted())
        .set("status.operationState.message", "ComparisonError: helm template failed")
        .set("status.conditions", json!([{"type": "SyncError", "message": "…"}]))
        .is_failed();
    assert!(why.contains("helm template failed"), "{why}");
}

#[test]
fn report_16_an_operation_that_hangs_shows_its_message() {
    let hangs = read()
        .requested("p1")
        .operation("Running", &wanted())
        .set("status.operationState.finishedAt", Value::Null)
        .set("status.operationState.message", "waiting for healthy state of apps/Deployment/shop");
    assert!(hangs.is_pending(&Next::Look).contains("apps/Deployment/shop"));
}

#[test]
fn report_19_a_following_automatic_sync_does_not_make_ours_fail() {
    let following = read()
        .requested("other")
        .operation("Running", &later())
        .of_another()
        .set("status.operationState.startedAt", stamp("10:00:06"))
        .set("status.operationState.finishedAt", Value::Null);
    following.is_pending(&Next::Look);
    let ended = following
        .set("operation", Value::Null)
        .set("status.operationState.phase", "Succeeded")
        .set("status.operationState.finishedAt", stamp("10:00:08"))
        .set("status.reconciledAt", stamp("10:00:11"))
        .set("status.sync.revision", later())
        .now("10:00:12");
    assert!(matches!(ended.verdict(), Verdict::Later { .. }));
    // At the wanted revision it is as good as ours. One that fails at another is in a table of its own.
    ended.operation("Succeeded", &wanted()).of_another().set("status.sync.revision", wanted()).is_live();
}

#[test]
fn report_21_the_results_of_the_operation_before_are_not_ours() {
    let before = read().operation("Succeeded", &earlier()).of_another().set("status.sync.status", "OutOfSync");
    before.is_pending(&Next::Sync { pin: true });
}

#[test]
fn report_22_degraded_from_before_is_not_failed_before_the_sync_ran() {
    let before = read()
        .operation("Succeeded", &earlier())
        .of_another()
        .set("status.sync.status", "OutOfSync")
        .set("status.health.status", "Degraded");
    before.clone().again_after(3600).is_pending(&Next::Sync { pin: true });
    // Nor while ours runs. Once the wanted revision is there, half a minute of that is enough, whatever it was before.
    let running = before.clone().again_after(3600).requested("p1");
    running.is_pending(&Next::Look);
    let settled =
        read().set("status.health.status", "Degraded").latches(|latches| *latches = running.judgement().latches);
    settled.is_pending(&Next::Look);
    settled.clone().again_after(29).is_pending(&Next::Look);
    settled.again_after(30).is_failed();
}

#[test]
fn report_23_a_health_that_flaps_is_waited_out_by_stable_for() {
    let patient = read().policy(|policy| policy.stable_for = std::time::Duration::from_secs(10));
    patient.is_pending(&Next::Look);
    let later = patient.set("status.reconciledAt", stamp("10:00:15")).now("10:00:15");
    later.clone().set("status.health.status", "Progressing").is_pending(&Next::Look);
    later.is_live();
}

#[test]
fn report_25_out_of_sync_with_an_older_head_after_a_successful_sync_is_a_matter_of_time() {
    read()
        .set("status.sync", json!({"status": "OutOfSync", "revision": earlier()}))
        .set("status.reconciledAt", stamp("10:01:00"))
        .now("10:01:00")
        .is_pending(&Next::Refresh);
}

#[test]
fn report_26_the_revision_of_the_last_operation_need_not_be_the_one_compared() {
    read().operation("Succeeded", &earlier()).of_another().is_live();
}

#[test]
fn report_29_an_automatic_sync_that_failed_is_not_waited_for() {
    read()
        .operation("Failed", &wanted())
        .of_another()
        .set("spec.syncPolicy", json!({"automated": {"selfHeal": true}}))
        .set("status.sync.status", "OutOfSync")
        .is_failed();
}

#[test]
fn report_35_a_time_of_transition_is_not_needed() {
    read().set("status.health", json!({"status": "Healthy", "lastTransitionTime": null})).is_live();
}

#[test]
fn report_36_an_empty_revision_is_compared_with_nothing() {
    assert!(!same_revision("", ""));
    let empty = read()
        .set("status.sync", json!({"status": "Synced", "revision": ""}))
        .set("status.operationState", Value::Null);
    assert!(matches!(empty.verdict(), Verdict::Indeterminate { .. }), "{:?}", empty.verdict());
    // As after manifests that cannot be rendered: whatever stands there or does not, it is the error that counts.
    for revision in [Value::Null, "".into(), "main".into()] {
        let broken = read()
            .set("status.sync", json!({"status": "Unknown", "revision": revision}))
            .set("status.conditions", json!([{"type": "ComparisonError", "message": "helm template failed"}]));
        assert!(broken.is_pending(&Next::Refresh).contains("helm template failed"));
        assert!(broken.again_after(60).is_failed().contains("helm template failed"));
    }
}

#[test]
fn report_39_an_application_of_mere_configuration_is_live_when_it_is_synced() {
    let only = json!([{"kind": "ConfigMap", "name": "shop", "status": "Synced"}]);
    read().set("status.resources", only).is_live();
}

#[test]
fn report_40_what_has_to_settle_is_looked_at_again() {
    let soon = read().set("status.reconciledAt", stamp("10:00:04")).now("10:00:05");
    match soon.verdict() {
        Verdict::Pending { next: Next::Look, check_after, .. } => assert_eq!(check_after.as_secs(), 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn report_41_a_branch_name_where_a_commit_should_be_is_not_one() {
    let unknown = read().set("status.sync", json!({"status": "Unknown", "revision": "main"}));
    assert!(matches!(unknown.verdict(), Verdict::Indeterminate { .. }));
    // Nor does it become one by being said beside another status.
    for status in ["OutOfSync", "Synced"] {
        let named = read().set("status.sync.status", status).set("status.sync.revision", "main");
        let mut named = named.set("status.operationState", Value::Null).set("status.history", json!([]));
        named.is_pending(&Next::Relate { observed: "main".into(), wanted: wanted().into() });
        named.unknown = vec![("main".into(), wanted().into())];
        named.is_pending(&Next::Refresh);
    }
}

#[test]
fn report_43_reasons_do_not_change_with_the_order_of_the_resources() {
    let unwell = |names: [&str; 2]| {
        let resources: Vec<Value> = names
            .iter()
            .map(|name| json!({"kind": "Deployment", "name": name, "health": {"status": "Progressing"}}))
            .collect();
        read().set("status.health.status", "Progressing").set("status.resources", resources).is_pending(&Next::Look)
    };
    assert_eq!(unwell(["a", "b"]), unwell(["b", "a"]));
    let conditions = |order: [&str; 2]| {
        let all: Vec<Value> = order.iter().map(|text| json!({"type": "ComparisonError", "message": text})).collect();
        read().set("status.conditions", all).is_pending(&Next::Refresh)
    };
    assert_eq!(conditions(["no chart", "no values"]), conditions(["no values", "no chart"]));
}

#[test]
fn short_commits_and_versions_are_recognised() {
    assert!(same_revision(&wanted(), &wanted().to_uppercase()));
    assert!(same_revision(&wanted(), &wanted()[..7]));
    assert!(!same_revision(&wanted(), &wanted()[..6]));
    assert!(!same_revision(&wanted()[..7], &wanted()), "an observed revision is never shortened");
    assert!(same_revision("1.2.3", "v1.2.3"));
    assert!(!same_revision("main", "vmain"));
}

#[test]
fn a_lost_memory_makes_it_more_patient_and_never_wrong() {
    let fresh = read().latches(|latches| *latches = super::Latches::default());
    fresh.is_pending(&Next::Refresh);
    assert_eq!(fresh.judgement().latches.syncs, 1, "our tag is seen");
    let compared = fresh.again_after(1).set("status.reconciledAt", stamp("10:00:09"));
    compared.is_live();
}

#[test]
fn passwords_that_argo_cd_quotes_do_not_reach_a_verdict() {
    let text = "failed to fetch https://bob:hunter2@git.example/config";
    let broken = read().set("status.conditions", json!([{"type": "ComparisonError", "message": text}]));
    let why = broken.is_pending(&Next::Refresh);
    assert!(why.contains("https://***@git.example/config"), "{why}");
    let app = serde_json::from_value(broken.app.clone()).unwrap();
    assert!(!super::super::observe(&app, 0).detail.contains("hunter2"));
}

#[test]
fn report_34_a_sync_that_a_paused_rollout_holds_up_is_waited_for() {
    let paused = read()
        .operation("Running", &wanted())
        .set("status.operationState.finishedAt", Value::Null)
        .requested(super::TAG)
        .set("status.health.status", "Suspended");
    assert!(paused.is_pending(&Next::Look).contains("the sync runs"));
}

#[test]
fn report_34_a_rollout_that_holds_up_its_own_sync_is_resumed_where_that_is_asked_for() {
    let running = read()
        .operation("Running", &wanted())
        .set("status.operationState.finishedAt", Value::Null)
        .requested(super::TAG)
        .set("status.health.status", "Suspended")
        .policy(|policy| policy.paused = crate::config::Paused::Resume);
    // What is suspended may be what ran before, as long as the sync has not applied its own.
    running.is_pending(&Next::Look);
    let rollout = json!([{"kind": "Rollout", "name": "shop", "status": "Synced"}]);
    let applied = running.set("status.operationState.syncResult.resources", rollout);
    applied.is_pending(&Next::Resume { full: false });
    applied.clone().policy(|policy| policy.paused = crate::config::Paused::Wait).is_pending(&Next::Look);
    applied.clone().set("status.health.status", "Progressing").is_pending(&Next::Look);
    applied.set("operation.info", Value::Null).of_another().is_pending(&Next::Look);
}

#[test]
fn report_27_synced_from_an_old_cache_is_not_live_when_the_image_is_demanded() {
    let images = |images: Value| {
        read().set("status.summary", json!({ "images": images })).policy(|policy| policy.images = vec!["shop:2".into()])
    };
    images(json!(["db:1", "shop:2"])).is_live();
    let old = images(json!(["shop:1"]));
    let why = old.is_pending(&Next::RefreshHard);
    assert!(why.contains("shop:2") && why.contains("shop:1") && why.contains("cache"), "{why}");
    // Rendered anew it differs, and is synced again, though the last operation was at that very revision.
    old.clone()
        .set("status.sync.status", "OutOfSync")
        .set("status.reconciledAt", stamp("10:00:25"))
        .now("10:00:26")
        .is_pending(&Next::Sync { pin: true });
    assert!(old.again_after(60).is_failed().contains("shop:2"));
    images(Value::Null).is_pending(&Next::RefreshHard);
    images(json!(["shop:1"])).policy(|policy| policy.images.clear()).is_live();
    // Nor is a pause that is accepted one of the old version.
    let paused = |running: &str| {
        let accepts = images(json!([running])).policy(|policy| policy.paused = crate::config::Paused::Accept);
        accepts.set("status.health.status", "Suspended")
    };
    paused("shop:2").is_live();
    paused("shop:1").is_pending(&Next::RefreshHard);
}

#[test]
fn report_24_a_health_that_changed_before_the_end_of_the_operation_is_believed_by_its_comparison_alone() {
    let health = json!({"status": "Healthy", "lastTransitionTime": stamp("09:00:00")});
    let steady = read().set("status.health", health);
    steady.is_live();
    steady.clone().set("status.reconciledAt", stamp("10:00:04")).is_pending(&Next::Refresh);
    // A transition since then proves nothing either: it may be the old version's.
    let health = json!({"status": "Healthy", "lastTransitionTime": stamp("10:00:06")});
    steady.set("status.health", health).set("status.reconciledAt", stamp("10:00:05")).is_pending(&Next::Refresh);
}

#[test]
fn an_operation_of_other_sources_at_the_same_revision_proves_nothing() {
    let source = |image: &str| {
        json!({
            "repoURL": "https://git.example/config", "targetRevision": "main", "path": "dev", "kustomize": {"images": [image]},
        })
    };
    let edited = read()
        .set("spec.source", source("shop:2"))
        .set("status.sync.comparedTo.source", source("shop:2"))
        .set("status.sync.status", "OutOfSync")
        .set("status.reconciledAt", stamp("10:00:25"))
        .now("10:00:26")
        .set("status.operationState.syncResult.source", source("shop:1"));
    edited.is_pending(&Next::Sync { pin: true });
    // Drift after a sync of these very sources is drift, wherever they lead.
    let mut same = source("shop:2");
    same["targetRevision"] = "release".into();
    edited.set("status.operationState.syncResult.source", same).is_live();
}
