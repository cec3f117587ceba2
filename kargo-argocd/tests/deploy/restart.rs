//! Crashes: nothing is deployed twice.

use std::time::Duration;

use kargo_argocd::ArgoCdApp;
use kargo_argocd::testing::{FakeApp, Fault};
use kargo_core::plugin::Deployment;

use crate::bench::{Bench, REPO, assert_live};

fn shop() -> FakeApp {
    FakeApp::new("shop").source(REPO, "main", "dev")
}

#[tokio::test]
async fn a_crash_after_the_sync_was_accepted_leads_to_no_second_sync() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("accepted").await;
    deploy.crash();
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_crash_before_every_single_call_still_ends_live_with_one_sync() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let ended = loop {
        deploy.crash();
        match deploy.poll().await.unwrap() {
            Deployment::Pending { check_after, .. } => bench.clock.advance(check_after),
            ended => break ended,
        }
    };
    assert_live(&ended, &wanted);
    assert!(bench.fake.is_ready("shop"));
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_sync_whose_answer_was_lost_is_found_again_by_its_tag() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    bench.fake.set_fault(Some(Fault::LoseSyncAnswers));
    let error = deploy.poll().await.unwrap_err();
    assert_eq!(error.kind(), kargo_core::ErrorKind::Unavailable);
    bench.fake.set_fault(None);
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn race_b_another_operation_is_waited_for_and_never_stopped() {
    let (bench, first) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    assert!(bench.fake.sync_as_user("shop", "bob", Some(&first)));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let ended = deploy.run().await.unwrap();
    assert_live(&ended, &wanted);
    assert!(deploy.reasons[0].contains("the user bob"), "{:?}", deploy.reasons);
    assert_eq!(bench.fake.syncs().len(), 1);
    let history: Vec<String> = bench.fake.live_history("shop").into_iter().map(|(_, revision)| revision).collect();
    assert_eq!(history, [first.clone(), first, wanted], "bob's operation was carried out");
}

#[tokio::test]
async fn race_d_anothers_operation_at_the_wanted_revision_is_as_good_as_ones_own() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    assert!(bench.fake.sync_as_user("shop", "bob", Some(&wanted)));
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap();
    assert_live(&ended, &wanted);
    assert!(bench.fake.is_ready("shop"));
    assert!(bench.fake.syncs().is_empty());
}

#[tokio::test]
async fn race_c_two_hosts_with_the_same_deployment_ask_for_one_sync() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut here = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let mut there = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let (a, b) = tokio::join!(here.poll(), there.poll());
    assert!(matches!((a.unwrap(), b.unwrap()), (Deployment::Pending { .. }, Deployment::Pending { .. })));
    bench.clock.advance(Duration::from_secs(1));
    assert_live(&here.run().await.unwrap(), &wanted);
    assert_live(&there.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn race_c_report_33_an_operation_that_comes_between_our_read_and_our_sync_is_waited_for() {
    let (bench, first) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.sync_before_next_sync("bob", Some(&first));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
    assert!(deploy.reasons[0].contains("another operation runs, and has to end first"), "{:?}", deploy.reasons);
    assert!(bench.fake.syncs().is_empty() && bench.fake.is_operating("shop"));
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.syncs().len(), 1, "one of our own");
    let history: Vec<String> = bench.fake.live_history("shop").into_iter().map(|(_, revision)| revision).collect();
    assert_eq!(history, [first.clone(), first, wanted], "bob's operation was carried out");
}

#[tokio::test]
async fn a_sync_asks_for_what_the_application_does_not_say_itself_and_for_nothing_else() {
    let mut app = shop().auto_prune();
    (app.retries, app.sync_options) = (3, vec!["CreateNamespace=true".into(), "Prune=confirm".into()]);
    let (bench, _) = Bench::running(app).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let config = ArgoCdApp::new("shop").project("default").prune(true);
    assert_live(&bench.deploy("p1", config, &wanted).run().await.unwrap(), &wanted);
    // Options, a strategy or retries that are sent would take the place of the application's own; resources would make it a partial sync.
    let infos = serde_json::json!([
        {"name": kargo_argocd::TAG, "value": "p1"}, {"name": kargo_argocd::ACTOR, "value": "user:alice"},
    ]);
    let expected =
        serde_json::json!({"name": "shop", "project": "default", "prune": true, "infos": infos, "revision": wanted});
    assert_eq!(bench.fake.syncs()[0].body, expected);
}
