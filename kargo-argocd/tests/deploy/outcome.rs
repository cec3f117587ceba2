//! From a commit to live, or to why not.

use std::time::Duration;

use kargo_argocd::testing::{FakeApp, Timings};
use kargo_argocd::{ArgoCdApp, Mode};
use kargo_core::plugin::{Deployment, Health};

use crate::bench::{Bench, REPO, assert_failed, assert_live};

fn shop() -> FakeApp {
    FakeApp::new("shop").source(REPO, "main", "dev")
}

#[tokio::test]
async fn argo_01_a_deployment_is_live_only_once_the_workloads_of_the_revision_are_ready() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    loop {
        match deploy.poll().await.unwrap() {
            Deployment::Pending { .. } => bench.clock.advance(Duration::from_millis(250)),
            ended => {
                assert_live(&ended, &wanted);
                break;
            }
        }
    }
    assert_eq!(bench.fake.live_revision("shop"), Some(wanted.clone()));
    assert!(bench.fake.is_ready("shop"));
    let syncs = bench.fake.syncs();
    assert_eq!(syncs.len(), 1);
    assert_eq!(syncs[0].key(), Some("p1"));
    assert_eq!(syncs[0].revision, Some(wanted), "a manual application is asked for the very revision");
    assert!(syncs[0].infos.iter().any(|info| info.value == "user:alice"), "{syncs:?}");
}

#[tokio::test]
async fn argo_01_slow_workers_of_argo_cd_do_not_make_it_live_early() {
    let timings = Timings {
        queue: Duration::from_millis(700),
        operation: Duration::from_millis(300),
        ready: Duration::from_secs(20),
        notice: Duration::from_secs(9),
        ..Timings::default()
    };
    let bench = Bench::with(timings).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(shop());
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap();
    assert_live(&ended, &wanted);
    assert!(bench.fake.is_ready("shop"));
}

#[tokio::test]
async fn report_20_a_deployment_of_what_already_runs_is_live_without_a_sync() {
    let (bench, first) = Bench::running(shop()).await;
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &first).poll().await.unwrap();
    assert_live(&ended, &first);
    assert!(bench.fake.syncs().is_empty());
}

#[tokio::test]
async fn report_42_a_revision_that_does_not_touch_the_path_is_live_after_one_refresh() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("prod", "v2")]);
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).poll().await.unwrap();
    assert_live(&ended, &wanted);
    assert!(bench.fake.syncs().is_empty());
}

#[tokio::test]
async fn an_application_that_syncs_by_itself_is_waited_for() {
    let (bench, _) = Bench::running(shop()).await;
    bench.fake.edit_app("shop", |app| app.auto_sync = true);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap();
    assert_live(&ended, &wanted);
    assert!(bench.fake.syncs().is_empty(), "its own sync did it");
}

#[tokio::test]
async fn a_revision_that_never_gets_well_fails_after_the_grace_with_the_reason() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.break_revision(&wanted);
    let began = bench.fake.clock().now();
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let ended = deploy.run().await.unwrap();
    let reason = assert_failed(&ended);
    assert!(reason.contains("Degraded") && reason.contains("Deployment/shop") && reason.contains(&wanted), "{reason}");
    assert!(bench.fake.clock().now().duration_since(began).as_secs() >= 30, "there is a grace: {:?}", deploy.reasons);
}

#[tokio::test]
async fn a_sync_that_fails_is_a_failure_with_argo_cds_message() {
    let (bench, first) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.fail_sync_of(&wanted, "one or more objects failed to apply: quota exceeded");
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap();
    let reason = assert_failed(&ended);
    assert!(reason.contains("quota exceeded") && reason.contains(&wanted), "{reason}");
    assert_eq!(bench.fake.live_revision("shop"), Some(first));
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn an_automatic_sync_that_fails_is_a_failure() {
    let (bench, _) = Bench::running(shop()).await;
    bench.fake.edit_app("shop", |app| app.auto_sync = true);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.fail_sync_of(&wanted, "quota exceeded");
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap();
    assert!(assert_failed(&ended).contains("quota exceeded"));
}

#[tokio::test]
async fn argo_06_progressing_is_neither_failed_nor_unhealthy() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.stall_revision(&wanted);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("is progressing").await;
    bench.pass(600);
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
    assert_eq!(bench.observe("shop").await.health, Health::Progressing);
}

#[tokio::test]
async fn argo_09_a_write_conflict_is_tried_again() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    bench.fake.refuse_next_syncs(2);
    let ended = deploy.run().await.unwrap();
    assert_live(&ended, &wanted);
    assert!(deploy.reasons.iter().any(|reason| reason.contains("was changed just now")), "{:?}", deploy.reasons);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn race_m_report_18_argo_11_a_closed_sync_window_blocks_and_says_so() {
    let (bench, _) = Bench::running(shop()).await;
    bench.fake.edit_app("shop", |app| app.window_closed = true);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("blocked").await;
    assert!(deploy.reasons.last().unwrap().contains("sync window"), "{:?}", deploy.reasons);
    bench.pass(3600);
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }), "it waits however long that takes");
    bench.fake.edit_app("shop", |app| app.window_closed = false);
    assert_live(&deploy.run().await.unwrap(), &wanted);
}

#[tokio::test]
async fn argo_14_an_application_that_always_drifts_becomes_live_and_is_healthy() {
    let (bench, _) = Bench::running(shop()).await;
    bench.fake.edit_app("shop", |app| app.drifts = true);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap();
    let evidence = assert_live(&ended, &wanted);
    assert!(evidence.contains("OutOfSync all the same: Deployment/shop"), "{evidence}");
    assert!(bench.fake.is_ready("shop"));
    assert_eq!(bench.fake.syncs().len(), 1, "drift is not synced for ever");
    let observation = bench.observe("shop").await;
    assert_eq!(observation.health, Health::Healthy);
    assert_eq!(observation.revision.unwrap().as_str(), wanted);
}

#[tokio::test]
async fn argo_14_drift_can_be_refused() {
    let (bench, _) = Bench::running(shop()).await;
    bench.fake.edit_app("shop", |app| app.drifts = true);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop").allow_drift(false), &wanted);
    deploy.run_until("set allowDrift").await;
    bench.pass(600);
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_sync_prunes_as_automatic_sync_does_unless_told_otherwise() {
    for (told, expected) in [(None, true), (Some(false), false)] {
        // Another path is out of the way of its own automatic sync: the window is closed while that would try.
        let (bench, _) = Bench::running(shop().auto_prune()).await;
        bench.fake.edit_app("shop", |app| (app.auto_sync, app.window_closed) = (true, true));
        let wanted = bench.commits.commit("main", [("dev", "v2")]);
        let mut config = ArgoCdApp::new("shop").mode(Mode::Tracking);
        config.prune = told;
        let mut deploy = bench.deploy("p1", config, &wanted);
        deploy.run_until("blocked").await;
        bench.fake.edit_app("shop", |app| app.window_closed = false);
        // Read without a refresh, the automatic sync does not fire before ours.
        deploy.run_until("accepted").await;
        assert_eq!(bench.fake.syncs()[0].prune, expected);
        assert_eq!(bench.fake.syncs()[0].revision, None, "tracking names no revision");
        assert_live(&deploy.run().await.unwrap(), &wanted);
    }
}

#[tokio::test]
async fn report_07_race_ao_scaling_after_the_deployment_is_progress_and_never_unhealthy() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    assert_live(&bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap(), &wanted);
    assert_eq!(bench.observe_result("shop", &wanted).await.health, Health::Healthy);
    bench.pass(3600);
    bench.fake.scale("shop");
    let mut seen = Vec::new();
    for _ in 0..30 {
        let observation = bench.observe_result("shop", &wanted).await;
        assert_eq!(observation.revision.unwrap().as_str(), wanted);
        seen.push(observation.health);
        bench.clock.advance(Duration::from_millis(200));
    }
    assert_eq!(seen[0], Health::Progressing);
    assert_eq!(seen.last(), Some(&Health::Healthy));
    assert!(seen.iter().all(|health| matches!(health, Health::Progressing | Health::Healthy)), "{seen:?}");
    assert_eq!(bench.fake.syncs().len(), 1, "and nothing is synced for it");
}

#[tokio::test]
async fn race_p_what_was_edited_by_hand_since_an_older_sync_is_put_right() {
    let (bench, first) = Bench::running(shop()).await;
    // As somebody would who scales it down: it differs from what was synced, and is healthy.
    bench.fake.edit_app("shop", |app| app.drifts = true);
    bench.pass(300);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &first);
    deploy.run_until("accepted").await;
    bench.fake.edit_app("shop", |app| app.drifts = false);
    assert_live(&deploy.run().await.unwrap(), &first);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_view_of_the_cluster_that_lags_is_not_taken_for_drift() {
    let timings = Timings {
        lag: Duration::from_secs(8),
        touch: Duration::from_secs(1),
        ready: Duration::from_secs(30),
        ..Timings::default()
    };
    let bench = Bench::with(timings).await;
    bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(shop());
    bench.fake.sync_as_user("shop", "alice", None);
    bench.pass(120);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    assert_live(&bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap(), &wanted);
    assert!(bench.fake.is_ready("shop"), "the old workloads were healthy, and looked like drift");
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn what_failed_names_the_objects_that_are_not_well() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.break_revision(&wanted);
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap();
    let reason = assert_failed(&ended);
    assert!(reason.contains("not well are Pod/shop-0 is Degraded (back-off 5m0s restarting"), "{reason}");
}
