//! Applications with a Rollout.

use kargo_argocd::rollout::RolloutPhase;
use kargo_argocd::testing::{FakeApp, Fault};
use kargo_argocd::{AppRef, ArgoCdApp, Paused};

use crate::bench::{Bench, REPO, assert_failed, assert_live};

async fn canary() -> (Bench, String) {
    let (bench, _) = Bench::running(FakeApp::new("shop").source(REPO, "main", "dev").canary([10, 50])).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    (bench, wanted)
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
    let (bench, wanted) = canary().await;
    bench.fake.set_fault(Some(Fault::OldActions));
    let config = ArgoCdApp::new("shop").paused(Paused::Promote);
    assert_live(&bench.deploy("p1", config, &wanted).run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.actions(), ["shop Rollout/shop promote-full"]);
}

#[tokio::test]
async fn an_aborted_canary_is_degraded_and_fails_after_the_grace() {
    let (bench, wanted) = canary().await;
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("suspended").await;
    let client = bench.fake.client().unwrap();
    let rollout = client.rollouts(&AppRef::new("shop")).await.unwrap().remove(0);
    assert!(client.abort(&AppRef::new("shop"), &rollout).await.unwrap());
    let rollout = client.rollouts(&AppRef::new("shop")).await.unwrap().remove(0);
    assert_eq!((rollout.phase, rollout.weight), (RolloutPhase::Aborted, Some(0)));
    let ended = deploy.run().await.unwrap();
    assert!(assert_failed(&ended).contains("Degraded"), "{ended:?}");
}

#[tokio::test]
async fn report_34_a_canary_that_holds_up_its_own_sync_is_driven_on() {
    let (bench, wanted) = canary().await;
    // The hook waits until all is well, which a paused canary is not; so the operation runs for ever.
    bench.fake.edit_app("shop", |app| app.post_sync = Some(true));
    let mut waiting = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    waiting.run_until("the sync runs").await;
    bench.pass(600);
    assert!(matches!(waiting.poll().await.unwrap(), kargo_core::plugin::Deployment::Pending { .. }));
    assert!(bench.fake.is_operating("shop"));
    // The same deployment, told to drive.
    let mut driving = bench.deploy("p1", ArgoCdApp::new("shop").paused(Paused::Resume), &wanted);
    assert_live(&driving.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.actions(), ["shop Rollout/shop resume", "shop Rollout/shop resume"]);
    assert!(bench.fake.is_ready("shop"));
    assert_eq!(bench.fake.syncs().len(), 1);
}
