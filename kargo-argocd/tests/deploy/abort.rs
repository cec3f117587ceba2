//! Stopping.

use std::time::Duration;

use kargo_argocd::client::SyncRequest;
use kargo_argocd::testing::{FakeApp, Fault, Timings};
use kargo_argocd::{AppRef, ArgoCdApp, ArgoCdApps, Selector};
use kargo_core::plugin::Deployment;
use serde_json::json;

use crate::bench::{Bench, REPO, assert_live};

fn slow() -> Timings {
    Timings { operation: Duration::from_secs(120), ..Timings::default() }
}

#[tokio::test]
async fn report_09_report_38_argo_07_an_aborted_deployment_stops_its_own_sync_and_the_next_one_begins_at_once() {
    let bench = Bench::with(slow()).await;
    let broken = bench.commits.commit("main", [("dev", "broken")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let mut first = bench.deploy("p1", ArgoCdApp::new("shop"), &broken);
    first.run_until("the sync runs").await;
    first.abort().await.unwrap();
    assert!(!bench.fake.is_operating("shop"));

    let fixed = bench.commits.commit("main", [("dev", "fixed")]);
    let mut second = bench.deploy("p2", ArgoCdApp::new("shop"), &fixed);
    second.run_until("accepted").await;
    assert!(bench.fake.is_operating("shop"));
    assert_live(&second.run().await.unwrap(), &fixed);
    assert_eq!(bench.fake.syncs().iter().map(|sync| sync.key().unwrap()).collect::<Vec<_>>(), ["p1", "p2"]);
}

#[tokio::test]
async fn argo_07_an_abort_leaves_anothers_operation_alone() {
    let bench = Bench::with(slow()).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    assert!(bench.fake.sync_as_user("shop", "bob", None));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
    assert!(deploy.reasons[0].contains("the user bob"), "{:?}", deploy.reasons);
    deploy.abort().await.unwrap();
    assert!(bench.fake.is_operating("shop"));
}

#[tokio::test]
async fn race_k_a_sync_that_is_stopped_by_somebody_is_a_failure() {
    let bench = Bench::with(slow()).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("the sync runs").await;
    let client = bench.fake.client().unwrap();
    assert!(client.terminate(&AppRef::new("shop")).await.unwrap());
    let ended = deploy.run().await.unwrap();
    assert!(matches!(&ended, Deployment::Failed { reason } if reason.contains("was stopped by somebody")), "{ended:?}");
}

#[tokio::test]
async fn race_ap_a_sync_that_waits_to_be_begun_is_stopped_once_it_has_begun() {
    let bench = Bench::with(Timings { queue: Duration::from_secs(4), ..slow() }).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("accepted").await;
    let time = async {
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            bench.clock.advance(Duration::from_millis(250));
        }
    };
    tokio::select! {
        result = deploy.abort() => result.unwrap(),
        () = time => {}
    }
    assert!(!bench.fake.is_operating("shop"));
    assert_eq!(bench.fake.live_revision("shop"), None);
}

#[tokio::test]
async fn a_sync_that_was_accepted_and_does_not_show_yet_is_stopped_once_it_shows() {
    let bench = Bench::with(slow()).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("accepted").await;
    // As a read shows it that comes from an older cache.
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let shows = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut request = SyncRequest::default();
        request.infos = vec![serde_json::from_value(json!({"name": kargo_argocd::TAG, "value": "p1"})).unwrap()];
        bench.fake.client().unwrap().sync(&AppRef::new("shop"), &request).await.unwrap();
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            bench.clock.advance(Duration::from_millis(250));
        }
    };
    tokio::select! {
        result = deploy.abort() => result.unwrap(),
        () = shows => {}
    }
    assert_eq!(bench.fake.syncs().len(), 2, "the abort has not waited until the sync shows");
    assert!(!bench.fake.is_operating("shop"));
    assert_eq!(bench.fake.live_revision("shop"), None);
}

#[tokio::test]
async fn an_abort_tries_again_when_the_server_fails_for_a_moment() {
    for (status, code) in [(503, 14), (409, 10)] {
        let bench = Bench::with(slow()).await;
        let wanted = bench.commits.commit("main", [("dev", "v1")]);
        bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
        let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
        deploy.run_until("the sync runs").await;
        bench.fake.set_fault(Some(Fault::Status { status, code, message: "a moment, please".into() }));
        let passes = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            bench.fake.set_fault(None);
            loop {
                tokio::time::sleep(Duration::from_millis(2)).await;
                bench.clock.advance(Duration::from_millis(250));
            }
        };
        tokio::select! {
            result = deploy.abort() => result.unwrap(),
            () = passes => {}
        }
        assert!(!bench.fake.is_operating("shop"));
    }
}

#[tokio::test]
async fn an_abort_of_which_the_server_hears_nothing_says_so_in_the_end() {
    let bench = Bench::with(slow()).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("the sync runs").await;
    bench.fake.set_fault(Some(Fault::Status { status: 503, code: 14, message: "gone fishing".into() }));
    let time = async {
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            bench.clock.advance(Duration::from_millis(250));
        }
    };
    let error = tokio::select! {
        result = deploy.abort() => result.unwrap_err(),
        () = time => unreachable!("time does not end"),
    };
    assert!(error.message().contains("gone fishing"), "{error}");
}

#[tokio::test]
async fn an_abort_where_the_application_is_gone_has_nothing_to_do() {
    let bench = Bench::with(slow()).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop").project("default"), &wanted);
    deploy.run_until("the sync runs").await;
    bench.fake.delete_app("shop");
    deploy.abort().await.unwrap();
    let hidden = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).abort().await.unwrap_err();
    assert!(hidden.message().contains("not found or not permitted"), "{hidden}");
}

/// Lets time pass beside `work`.
async fn passing<T>(bench: &Bench, work: impl Future<Output = T>) -> T {
    let time = async {
        loop {
            tokio::time::sleep(Duration::from_millis(2)).await;
            bench.clock.advance(Duration::from_millis(250));
        }
    };
    tokio::select! {
        result = work => result,
        () = time => unreachable!("time does not end"),
    }
}

#[tokio::test]
async fn race_x_report_32_a_sync_that_can_never_be_stopped_is_an_error_after_a_few_tries() {
    let bench = Bench::with(Timings { queue: Duration::from_secs(3_600), ..slow() }).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("accepted").await;
    let error = passing(&bench, deploy.abort()).await.unwrap_err();
    assert!(
        error.message().contains("shop cannot be stopped") && error.message().contains("not in progress"),
        "{error}"
    );
    let tries = bench.fake.requests().iter().filter(|request| request.starts_with("DELETE ")).count();
    assert_eq!(tries, 10);
}

#[tokio::test]
async fn one_application_that_cannot_be_stopped_leaves_no_other_running() {
    let bench = Bench::with(slow()).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    for name in ["a", "b", "c"] {
        bench.fake.create_app(FakeApp::new(name).source(REPO, "main", "dev").label("tier", "web"));
    }
    let apps = ArgoCdApps::new([ArgoCdApp::selected(Selector::label("tier", "web"))]);
    let mut deploy = bench.deploy_all("p1", &apps, &wanted);
    deploy.run_until("the sync runs").await;
    // Hidden by now, so that nothing can be known of it, and out of the labels, so that only the memory knows of it.
    bench.fake.delete_app("a");
    bench.fake.edit_app("c", |app| app.labels.clear());
    let ended = deploy.abort().await;
    assert!(!bench.fake.is_operating("b") && !bench.fake.is_operating("c"));
    assert!(ended.unwrap_err().message().contains("not found or not permitted"));
}

#[tokio::test]
async fn a_sync_whose_call_was_dropped_on_its_way_is_stopped_once_it_shows() {
    let bench = Bench::with(slow()).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    bench.pass(5);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    // Whether it was accepted is not known.
    bench.fake.set_fault(Some(Fault::LoseSyncAnswers));
    deploy.poll().await.unwrap_err();
    bench.fake.set_fault(None);
    // As if it had not been there yet.
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let arrives = async {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let mut request = SyncRequest::default();
        request.infos = vec![serde_json::from_value(json!({"name": kargo_argocd::TAG, "value": "p1"})).unwrap()];
        bench.fake.client().unwrap().sync(&AppRef::new("shop"), &request).await.unwrap();
    };
    let (stopped, ()) = passing(&bench, async { tokio::join!(deploy.abort(), arrives) }).await;
    stopped.unwrap();
    assert!(!bench.fake.is_operating("shop"));
    assert_eq!(bench.fake.live_revision("shop"), None);
}

#[tokio::test]
async fn where_one_application_fails_a_sync_of_another_that_waits_for_a_window_does_not_fire_later() {
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    let mut held = FakeApp::new("held").source(REPO, "main", "dev");
    held.window_holds = true;
    bench.fake.create_app(held);
    bench.fake.create_app(FakeApp::new("bad").source(REPO, "gone", "dev"));
    let apps = ArgoCdApps::new([ArgoCdApp::new("held"), ArgoCdApp::new("bad")]);
    let mut deploy = bench.deploy_all("p1", &apps, &wanted);
    let ended = passing(&bench, deploy.run()).await.unwrap();
    assert!(matches!(&ended, Deployment::Failed { reason } if reason.contains("Application bad")), "{ended:?}");
    assert_eq!(bench.fake.syncs().iter().map(|sync| sync.app.as_str()).collect::<Vec<_>>(), ["held"]);
    bench.fake.edit_app("held", |app| app.window_holds = false);
    bench.pass(600);
    assert_eq!(bench.fake.live_revision("held"), None, "nobody would have watched it");
}
