//! Applications whose manifests Argo CD renders ahead, and manifests from caches.

use std::time::Duration;

use kargo_argocd::client::HydrateTo;
use kargo_argocd::testing::{FakeApp, Timings};
use kargo_argocd::{ArgoCdApp, Mode};
use kargo_core::ErrorKind;
use kargo_core::plugin::{Deployment, Health};

use crate::bench::{Bench, REPO, assert_failed, assert_live};

fn shop() -> FakeApp {
    FakeApp::new("shop").hydrated(REPO, "main", "dev", "env/dev")
}

async fn running() -> (Bench, String) {
    running_with(Timings::default()).await
}

async fn running_with(timings: Timings) -> (Bench, String) {
    let bench = Bench::with(timings).await;
    let first = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(shop());
    bench.pass(60);
    bench.fake.sync_as_user("shop", "alice", None);
    bench.pass(60);
    assert!(bench.fake.is_ready("shop"));
    (bench, first)
}

/// What the application really runs, as text.
fn content(bench: &Bench) -> Option<String> {
    bench.commits.content(&bench.fake.live_revision("shop")?, "dev")
}

#[tokio::test]
async fn a_dry_revision_is_live_once_what_is_rendered_of_it_runs() {
    let (bench, first) = running().await;
    assert_eq!(bench.observe("shop").await.revision.unwrap().as_str(), first);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let evidence = assert_live(&deploy.run().await.unwrap(), &wanted);
    assert!(evidence.contains("is rendered as"), "{evidence}");
    assert_eq!(content(&bench).as_deref(), Some("v2"));
    assert!(bench.fake.is_ready("shop"));
    assert_eq!(bench.fake.syncs().len(), 1);
    assert_eq!(bench.fake.syncs()[0].revision, None, "its branch leads there");
    let seen = bench.observe_result("shop", &wanted).await;
    assert_eq!((seen.health, seen.revision.unwrap().as_str()), (Health::Healthy, wanted.as_str()), "{}", seen.detail);
}

#[tokio::test]
async fn a_rendering_that_takes_its_time_is_waited_for_also_by_automatic_sync() {
    let slow = Timings { hydration: Duration::from_secs(45), ..Timings::default() };
    let (bench, _) = running_with(slow).await;
    bench.fake.edit_app("shop", |app| app.auto_sync = true);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("renders the manifests onto env/dev").await;
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(content(&bench).as_deref(), Some("v2"));
    assert!(bench.fake.syncs().is_empty(), "its own sync did it");
}

#[tokio::test]
async fn report_37_a_dry_revision_that_changes_nothing_there_is_live_without_a_sync() {
    let (bench, _) = running().await;
    let wanted = bench.commits.commit("main", [("prod", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(content(&bench).as_deref(), Some("v1"));
}

#[tokio::test]
async fn a_rendering_that_fails_fails_the_deployment_with_argo_cds_words() {
    let (bench, first) = running().await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.fail_rendering_of(&wanted, "helm template failed");
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap();
    assert!(assert_failed(&ended).contains("helm template failed"), "{ended:?}");
    assert!(bench.fake.syncs().is_empty());
    let seen = bench.observe_result("shop", &wanted).await;
    assert_eq!(seen.health, Health::Unhealthy, "{seen:?}");
    assert!(seen.detail.contains(&first), "{seen:?}");
}

#[tokio::test]
async fn what_is_rendered_onto_a_branch_of_its_own_is_waited_for_until_it_is_brought_over() {
    let (bench, _) = running().await;
    bench.fake.edit_app("shop", |app| {
        let hydrator = app.hydrator.as_mut().unwrap();
        hydrator.hydrate_to =
            Some(serde_json::from_value::<HydrateTo>(serde_json::json!({"targetBranch": "env/dev-next"})).unwrap());
    });
    let at = bench.commits.head("env/dev").unwrap();
    bench.commits.set_branch("env/dev-next", &at);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("somebody has to bring it to env/dev").await;
    bench.pass(3600);
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }), "however long that takes");
    let next = bench.commits.head("env/dev-next").unwrap();
    bench.commits.set_branch("env/dev", &next);
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(content(&bench).as_deref(), Some("v2"));
}

#[tokio::test]
async fn no_commit_can_be_pinned_where_argo_cd_makes_the_commits() {
    let (bench, _) = running().await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let error = bench.deploy("p1", ArgoCdApp::new("shop").mode(Mode::Pinned), &wanted).poll().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("tracking"), "{error}");
}

#[tokio::test]
async fn a_crash_before_every_call_syncs_a_rendered_application_once() {
    let (bench, _) = running().await;
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
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn report_27_manifests_from_an_old_cache_are_found_out_by_the_image_and_rendered_anew() {
    for (demanded, runs) in [(None, "image: shop:1"), (Some("shop:2"), "image: shop:2")] {
        let (bench, _) = Bench::running(FakeApp::new("shop").source(REPO, "main", "dev")).await;
        bench.commits.commit("main", [("dev", "image: shop:1")]);
        bench.fake.sync_as_user("shop", "alice", None);
        bench.pass(60);
        bench.fake.edit_app("shop", |app| app.stale_manifests = true);
        let wanted = bench.commits.commit("main", [("dev", "image: shop:2")]);
        let mut config = ArgoCdApp::new("shop");
        config.images.extend(demanded.map(str::to_owned));
        // Without the demand nothing tells: Argo CD itself calls it Synced.
        assert_live(&bench.deploy("p1", config, &wanted).run().await.unwrap(), &wanted);
        let live = bench.fake.live_revision("shop").unwrap();
        assert!(bench.fake.is_ready("shop"));
        let ran =
            if demanded.is_some() { bench.commits.content(&live, "dev").unwrap() } else { "image: shop:1".into() };
        assert_eq!(ran, runs);
        let rendered_anew = !bench.fake.app("shop").unwrap().stale_manifests;
        assert_eq!(rendered_anew, demanded.is_some());
    }
}
