//! Applications with a Rollout.

use std::time::Duration;

use kargo_argocd::rollout::{Pause, Rollout, RolloutPhase};
use kargo_argocd::testing::{FakeApp, FakePause, Fault, Timings};
use kargo_argocd::{AppRef, ArgoCdApp, Client, Paused};
use kargo_core::plugin::{Deployment, Health};

use crate::bench::{Bench, REPO, assert_failed, assert_live};

fn shop() -> FakeApp {
    FakeApp::new("shop").source(REPO, "main", "dev")
}

async fn canary() -> (Bench, String) {
    rolling(shop().canary([10, 50]), Timings::default()).await
}

/// An application that runs a first version, and the commit of the next.
async fn rolling(app: FakeApp, timings: Timings) -> (Bench, String) {
    let bench = Bench::with(timings).await;
    bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(app);
    bench.fake.sync_as_user("shop", "alice", None);
    bench.pass(60);
    assert!(bench.fake.is_ready("shop"));
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    (bench, wanted)
}

async fn rollout(bench: &Bench) -> (Client, AppRef, Rollout) {
    let (client, app) = (bench.fake.client().unwrap(), AppRef::new("shop"));
    let rollout = client.rollouts(&app).await.unwrap().remove(0);
    (client, app, rollout)
}

#[tokio::test]
async fn race_ae_a_paused_canary_is_waited_for_until_somebody_resumes_it() {
    let (bench, wanted) = canary().await;
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("suspended").await;
    bench.pass(60);
    deploy.run_until("suspended").await;
    let client = bench.fake.client().unwrap();
    let app = AppRef::new("shop");
    let rollout = client.rollouts(&app).await.unwrap().remove(0);
    assert_eq!((rollout.phase, rollout.step, rollout.weight), (RolloutPhase::Paused, Some((1, 4)), Some(10)));
    assert!(client.promote_full(&app, &rollout).await.unwrap());
    assert!(!client.resume(&app, &rollout).await.unwrap(), "what is not paused cannot be resumed");
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert!(bench.fake.is_ready("shop"));
}

#[tokio::test]
async fn a_paused_canary_can_be_accepted() {
    let (bench, wanted) = canary().await;
    assert_live(
        &bench.deploy("p1", ArgoCdApp::new("shop").paused(Paused::Accept), &wanted).run().await.unwrap(),
        &wanted,
    );
    assert!(bench.fake.actions().is_empty());
}

#[tokio::test]
async fn a_canary_can_be_driven_from_pause_to_pause_each_ended_once() {
    let (bench, wanted) = canary().await;
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop").paused(Paused::Resume), &wanted);
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert!(bench.fake.is_ready("shop"));
    assert_eq!(bench.fake.actions(), ["shop Rollout/shop resume", "shop Rollout/shop resume"]);
    assert!(deploy.reasons.iter().any(|reason| reason.contains("step 2 of 4 with 10 %")), "{:?}", deploy.reasons);
}

#[tokio::test]
async fn a_canary_can_be_promoted_at_its_first_pause_also_on_a_server_with_the_older_actions() {
    for status in [404, 405, 501] {
        let (bench, wanted) = canary().await;
        bench.fake.set_fault(Some(Fault::OldActions { status }));
        let config = ArgoCdApp::new("shop").paused(Paused::Promote);
        assert_live(&bench.deploy("p1", config, &wanted).run().await.unwrap(), &wanted);
        assert_eq!(bench.fake.actions(), ["shop Rollout/shop promote-full"], "{status}");
    }
}

#[tokio::test]
async fn a_pause_that_ends_by_itself_is_waited_out() {
    let steps = [(10, FakePause::Timed(Duration::from_secs(90))), (50, FakePause::Open)];
    let (bench, wanted) = rolling(shop().canary_of(steps), Timings::default()).await;
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop").paused(Paused::Resume), &wanted);
    deploy.run_until("is paused for 90s at step 2 of 4 with 10 %").await;
    assert!(bench.fake.actions().is_empty());
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.actions(), ["shop Rollout/shop resume"], "the second pause, and not the first");
    assert!(bench.fake.is_ready("shop"));
}

#[tokio::test]
async fn an_inconclusive_analysis_ends_the_drive_with_its_reason_and_is_not_resumed() {
    for paused in [Paused::Resume, Paused::Promote] {
        let steps = [(10, FakePause::Inconclusive), (50, FakePause::Open)];
        let (bench, wanted) = rolling(shop().canary_of(steps), Timings::default()).await;
        let ended = bench.deploy("p1", ArgoCdApp::new("shop").paused(paused), &wanted).run().await.unwrap();
        let reason = assert_failed(&ended);
        assert!(reason.contains("is paused by an inconclusive analysis at step 2 of 4 with 10 %"), "{reason}");
        assert!(reason.contains("AnalysisRun/shop-smoke-1") && reason.contains("assessed Inconclusive"), "{reason}");
        assert!(bench.fake.actions().is_empty(), "that is for a person to say: {:?}", bench.fake.actions());
        let (_, _, rollout) = rollout(&bench).await;
        assert_eq!(rollout.pause, Some(Pause::Inconclusive), "and is left as it is");
    }
}

#[tokio::test]
async fn an_inconclusive_analysis_is_waited_for_where_nobody_is_to_drive() {
    let steps = [(10, FakePause::Inconclusive)];
    let (bench, wanted) = rolling(shop().canary_of(steps), Timings::default()).await;
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("suspended").await;
    bench.pass(600);
    let (client, app, rollout) = rollout(&bench).await;
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
    assert!(client.resume(&app, &rollout).await.unwrap());
    assert_live(&deploy.run().await.unwrap(), &wanted);
}

#[tokio::test]
async fn a_crash_before_every_call_resumes_each_pause_once() {
    // After an action the controller takes its time, during which the Rollout still calls itself paused.
    let slow = Timings { touch: Duration::from_secs(5), ..Timings::default() };
    let (bench, wanted) = rolling(shop().canary([10, 50]), slow).await;
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop").paused(Paused::Resume), &wanted);
    let ended = loop {
        deploy.crash();
        match deploy.poll().await.unwrap() {
            Deployment::Pending { check_after, .. } => bench.clock.advance(check_after),
            ended => break ended,
        }
    };
    assert_live(&ended, &wanted);
    assert!(bench.fake.is_ready("shop"));
    assert_eq!(bench.fake.actions(), ["shop Rollout/shop resume", "shop Rollout/shop resume"]);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_blue_green_deployment_waits_with_its_preview_until_somebody_switches_over() {
    let (bench, wanted) = rolling(shop().blue_green(), Timings::default()).await;
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("suspended").await;
    bench.pass(600);
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
    let (client, app, preview) = rollout(&bench).await;
    assert_eq!((preview.phase, &preview.pause, preview.weight), (RolloutPhase::Paused, &Some(Pause::Open), None));
    assert!(preview.to_string().contains("waits with its preview"), "{preview}");
    assert!(client.resume(&app, &preview).await.unwrap());
    assert_live(&deploy.run().await.unwrap(), &wanted);
    let (_, _, done) = rollout(&bench).await;
    assert_eq!((done.phase, done.pause), (RolloutPhase::Healthy, None));
}

#[tokio::test]
async fn a_blue_green_deployment_can_be_driven_to_its_switch() {
    for (paused, action) in [(Paused::Resume, "resume"), (Paused::Promote, "promote-full")] {
        let (bench, wanted) = rolling(shop().blue_green(), Timings::default()).await;
        let config = ArgoCdApp::new("shop").paused(paused);
        assert_live(&bench.deploy("p1", config, &wanted).run().await.unwrap(), &wanted);
        assert_eq!(bench.fake.actions(), [format!("shop Rollout/shop {action}")]);
        assert!(bench.fake.is_ready("shop"));
    }
}

/// Aborted by somebody, it is degraded, while Argo CD calls the new revision synced.
async fn aborted(app: FakeApp) {
    let (bench, wanted) = rolling(app, Timings::default()).await;
    let before = bench.fake.live_revision("shop").unwrap();
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("suspended").await;
    let (client, app, paused) = rollout(&bench).await;
    assert!(client.abort(&app, &paused).await.unwrap());
    let (_, _, back) = rollout(&bench).await;
    assert_eq!(back.phase, RolloutPhase::Aborted);
    let began = bench.fake.clock().now();
    let ended = deploy.run().await.unwrap();
    let reason = assert_failed(&ended);
    assert!(bench.fake.clock().now().duration_since(began).as_secs() >= 25, "somebody may try it again at once");
    assert!(reason.contains("Degraded") && reason.contains("was aborted and went back"), "{reason}");
    assert!(reason.contains(&format!("the previous revision {before} is live")), "{reason}");
    assert_eq!(bench.fake.live_revision("shop").as_ref(), Some(&before));
    let seen = bench.observe_result("shop", &wanted).await;
    assert_eq!((seen.health, seen.revision.unwrap().as_str()), (Health::Unhealthy, before.as_str()), "{}", seen.detail);
    assert!(seen.detail.contains("was aborted"), "{}", seen.detail);
}

#[tokio::test]
async fn an_aborted_canary_fails_after_the_grace_and_says_what_is_live() {
    aborted(shop().canary([10, 50])).await;
}

#[tokio::test]
async fn an_aborted_blue_green_deployment_fails_after_the_grace_and_says_what_is_live() {
    aborted(shop().blue_green()).await;
}

#[tokio::test]
async fn report_34_a_canary_that_holds_up_its_own_sync_is_driven_on() {
    let (bench, wanted) = canary().await;
    // The hook waits until all is well, which a paused canary is not; so the operation runs for ever.
    bench.fake.edit_app("shop", |app| app.post_sync = Some(true));
    let mut waiting = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    waiting.run_until("the sync runs").await;
    bench.pass(600);
    assert!(matches!(waiting.poll().await.unwrap(), Deployment::Pending { .. }));
    assert!(bench.fake.is_operating("shop"));
    // The same deployment, told to drive.
    let mut driving = bench.deploy("p1", ArgoCdApp::new("shop").paused(Paused::Resume), &wanted);
    assert_live(&driving.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.actions(), ["shop Rollout/shop resume", "shop Rollout/shop resume"]);
    assert!(bench.fake.is_ready("shop"));
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_rollout_that_is_pruned_between_the_look_at_the_tree_and_at_itself_is_no_error_and_nothing_is_resumed() {
    let (bench, wanted) = canary().await;
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop").paused(Paused::Resume), &wanted);
    deploy.run_until("the sync is accepted").await;
    bench.pass(60);
    let (client, app, seen) = rollout(&bench).await;
    bench.fake.set_fault(Some(Fault::PrunedResources));
    let tree = client.tree(&app).await.unwrap();
    assert!(tree.iter().any(|node| node.object.kind == "Rollout"), "the tree still shows it: {tree:?}");
    assert_eq!(client.rollouts(&app).await.unwrap(), []);
    // As when it goes later still.
    assert!(!client.resume(&app, &seen).await.unwrap(), "what is gone cannot be resumed");
    for _ in 0..3 {
        assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
        bench.pass(2);
    }
    assert!(deploy.reasons.last().unwrap().contains("suspended"), "{:?}", deploy.reasons);
    assert!(bench.fake.actions().is_empty());
    // Whatever else goes wrong is an error.
    bench.fake.set_fault(Some(Fault::Status { status: 400, code: 3, message: "no such version".into() }));
    assert!(client.rollouts(&app).await.is_err() && client.resume(&app, &seen).await.is_err());
    bench.fake.set_fault(None);
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.actions().len(), 2);
}
