//! Several sources, several applications, and applications by their labels.

use std::time::Duration;

use kargo_argocd::testing::{Commits, FakeApp, FakeArgoCd};
use kargo_argocd::{ArgoCdApp, ArgoCdApps, Mode, Selector, SourceRef};
use kargo_core::plugin::{Deployer, Deployment, Health, ObserveRequest};
use kargo_core::testing::ManualClock;
use kargo_core::{Clock, ErrorKind};

use crate::bench::{Bench, REPO, assert_failed, assert_live};

const CHARTS: &str = "https://charts.example";

fn chart_and_values() -> FakeApp {
    FakeApp::new("shop").chart(CHARTS, "shop", "1.0.0").source(REPO, "main", "dev")
}

fn web(name: &str) -> FakeApp {
    FakeApp::new(name).source(REPO, "main", "dev").label("tier", "web")
}

#[tokio::test]
async fn one_of_several_sources_is_deployed_by_its_repository() {
    let (bench, _) = Bench::running(chart_and_values()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let config = ArgoCdApp::new("shop").source(SourceRef::repository("https://git.example/config.git"));
    assert_live(&bench.deploy("p1", config, &wanted).run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.live_revisions("shop"), ["1.0.0".to_owned(), wanted.clone()]);
    assert_eq!(bench.fake.syncs()[0].revisions, [(1, wanted)]);
}

#[tokio::test]
async fn a_chart_and_its_values_go_live_together() {
    let (bench, _) = Bench::running(chart_and_values()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let chart = SourceRef::Repository { repo_url: CHARTS.into(), chart: Some("shop".into()) };
    let config = ArgoCdApp::new("shop").pin(chart, "1.1.0").mode(Mode::Pinned);
    let ended = bench.deploy("p1", config, &wanted).run().await.unwrap();
    assert!(matches!(ended, Deployment::Live { .. }), "{ended:?}");
    assert_eq!(bench.fake.live_revisions("shop"), ["1.1.0".to_owned(), wanted.clone()]);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_chart_alone_is_deployed_by_its_version() {
    let (bench, _) = Bench::running(FakeApp::new("shop").chart(CHARTS, "shop", "1.0.0")).await;
    assert_live(&bench.deploy("p1", ArgoCdApp::new("shop").mode(Mode::Pinned), "1.2.0").run().await.unwrap(), "1.2.0");
    assert_eq!(bench.fake.live_revision("shop").as_deref(), Some("1.2.0"));
}

#[tokio::test]
async fn an_application_outside_of_argo_cds_namespace_is_found_there() {
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(web("shop").namespace("team"));
    assert!(
        bench.deploy("p0", ArgoCdApp::new("shop"), &wanted).run().await.is_err(),
        "it is another one than in Argo CD's own"
    );
    let config = ArgoCdApp::new("shop").namespace("team").project("default");
    assert_live(&bench.deploy("p1", config, &wanted).run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.live_revision("team/shop"), Some(wanted));
}

#[tokio::test]
async fn race_an_a_step_of_several_applications_is_live_when_all_of_them_are() {
    let bench = Bench::new().await;
    let first = bench.commits.commit("main", [("dev", "v1")]);
    for app in [web("web-1"), web("web-2").namespace("team"), web("db").label("tier", "db")] {
        bench.fake.create_app(app);
    }
    let apps = ArgoCdApps::new([ArgoCdApp::selected(Selector::label("tier", "web")), ArgoCdApp::new("db")]);
    let mut deploy = bench.deploy_all("p1", &apps, &first);
    assert_live(&deploy.run().await.unwrap(), &first);
    for app in ["web-1", "team/web-2", "db"] {
        assert_eq!(bench.fake.live_revision(app).as_ref(), Some(&first), "{app}");
        assert!(bench.fake.is_ready(app), "{app}");
    }
    let mut synced: Vec<String> = bench.fake.syncs().into_iter().map(|sync| sync.app).collect();
    synced.sort();
    assert_eq!(synced, ["db", "team/web-2", "web-1"], "each is synced once");
}

#[tokio::test]
async fn one_application_that_fails_fails_the_step_by_its_name() {
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1"), ("bad", "v1")]);
    bench.fake.create_app(web("web-1"));
    bench.fake.create_app(FakeApp::new("web-2").source(REPO, "gone", "bad"));
    let apps = ArgoCdApps::new([ArgoCdApp::new("web-1"), ArgoCdApp::new("web-2")]);
    let ended = bench.deploy_all("p1", &apps, &wanted).run().await.unwrap();
    assert!(assert_failed(&ended).contains("Application web-2"), "{ended:?}");
}

#[tokio::test]
async fn a_crash_between_two_calls_syncs_none_of_several_twice() {
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    for name in ["web-1", "web-2", "web-3"] {
        bench.fake.create_app(web(name));
    }
    let apps = ArgoCdApps::new([ArgoCdApp::selected(Selector::label("tier", "web"))]);
    let mut deploy = bench.deploy_all("p1", &apps, &wanted);
    let ended = loop {
        deploy.crash();
        match deploy.poll().await.unwrap() {
            Deployment::Pending { check_after, .. } => bench.clock.advance(check_after),
            ended => break ended,
        }
    };
    assert_live(&ended, &wanted);
    assert_eq!(bench.fake.syncs().len(), 3);
}

#[tokio::test]
async fn argo_12_a_selector_that_finds_nothing_yet_can_be_waited_for() {
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    let config = ArgoCdApp::selected(Selector::label("tier", "web"));
    let error = bench.deploy("p0", config.clone(), &wanted).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("tier=web") && error.message().contains("waitForApp"), "{error}");
    let mut deploy = bench.deploy("p1", config.wait_for_app(Duration::from_secs(60)), &wanted);
    deploy.run_until("not found").await;
    bench.fake.create_app(web("web-1"));
    assert_live(&deploy.run().await.unwrap(), &wanted);
}

#[tokio::test]
async fn an_abort_stops_the_syncs_of_all_and_nobody_elses() {
    let bench =
        Bench::with(kargo_argocd::testing::Timings { operation: Duration::from_secs(600), ..Default::default() }).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    for name in ["web-1", "web-2", "other"] {
        bench.fake.create_app(web(name));
    }
    assert!(bench.fake.sync_as_user("other", "bob", None));
    let apps = ArgoCdApps::new([ArgoCdApp::selected(Selector::label("tier", "web"))]);
    let mut deploy = bench.deploy_all("p1", &apps, &wanted);
    deploy.run_until("the sync runs").await;
    deploy.abort().await.unwrap();
    assert!(!bench.fake.is_operating("web-1") && !bench.fake.is_operating("web-2"));
    assert!(bench.fake.is_operating("other"));
}

#[tokio::test]
async fn several_applications_have_one_health() {
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    for name in ["web-1", "web-2"] {
        bench.fake.create_app(web(name));
    }
    let apps = ArgoCdApps::new([ArgoCdApp::selected(Selector::label("tier", "web"))]);
    assert_live(&bench.deploy_all("p1", &apps, &wanted).run().await.unwrap(), &wanted);
    let config = serde_json::to_value(&apps).unwrap();
    let request = ObserveRequest::new(&config);
    let seen = bench.argocd.observe(&bench.context("observe"), &request).await.unwrap();
    assert_eq!(seen.health, Health::Healthy, "{seen:?}");
    let worse = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.break_revision(&worse);
    assert!(bench.fake.sync_as_user("web-2", "bob", None));
    bench.pass(60);
    let seen = bench.argocd.observe(&bench.context("observe"), &request).await.unwrap();
    assert_eq!(seen.health, Health::Unhealthy);
    assert!(seen.detail.contains("argocd/web-2: ") && !seen.detail.contains("web-1: "), "{seen:?}");
}

#[tokio::test]
async fn race_i_a_sync_that_fails_is_tried_again_as_the_application_says() {
    let mut app = web("shop");
    (app.retries, app.sync_options) = (3, vec!["Prune=confirm".into()]);
    let (bench, _) = Bench::running(app).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.fail_next_tries(2, "one or more objects failed to apply");
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert!(deploy.reasons.iter().any(|reason| reason.contains("retry 1 of 3")), "{:?}", deploy.reasons);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn race_n_a_sync_that_a_window_holds_back_is_blocked_and_stopped_by_an_abort() {
    let mut app = web("shop");
    app.window_holds = true;
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(app);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("blocked").await;
    // Left alone, it would fire once the window opens, unattended.
    deploy.abort().await.unwrap();
    bench.fake.edit_app("shop", |app| app.window_holds = false);
    bench.pass(600);
    assert_eq!(bench.fake.live_revision("shop"), None);
}

#[tokio::test]
async fn race_l_waves_and_hooks_are_waited_for() {
    let mut app = web("shop");
    (app.waves, app.post_sync) = (true, Some(true));
    let (bench, _) = Bench::running(app).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("hook").await;
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert!(bench.fake.is_ready("shop"));
    bench.fake.edit_app("shop", |app| app.post_sync = Some(false));
    let next = bench.commits.commit("main", [("dev", "v3")]);
    let ended = bench.deploy("p2", ArgoCdApp::new("shop"), &next).run().await.unwrap();
    assert!(assert_failed(&ended).contains("Job/after"), "{ended:?}");
}

#[tokio::test]
async fn reads_from_a_stale_cache_lead_to_no_second_sync() {
    let (bench, _) = Bench::running(web("shop")).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.stale_reads(4);
    assert_live(&bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn argo_15_only_commits_are_asked_about_by_their_id() {
    let (bench, _) = Bench::running(chart_and_values()).await;
    let client = bench.fake.client().unwrap();
    let app = kargo_argocd::AppRef::new("shop");
    let [version, commit] = bench.fake.live_revisions("shop").try_into().unwrap();
    assert_eq!(client.commit_metadata(&app, &version, 0).await.unwrap(), None);
    let found = client.commit_metadata(&app, &commit, 1).await.unwrap().unwrap();
    assert!(found.author.starts_with("alice") && found.message == commit, "{found:?}");
    let asked = bench.fake.requests().into_iter().filter(|request| request.ends_with("/metadata"));
    assert_eq!(asked.collect::<Vec<_>>(), [format!("GET /api/v1/applications/shop/revisions/{commit}/metadata")]);
}

#[tokio::test]
async fn a_chart_that_follows_a_range_is_live_at_the_version_that_this_leads_to() {
    let (clock, commits) = (std::sync::Arc::new(ManualClock::at("2026-01-01T10:00:00.4Z")), Commits::new());
    let fake = FakeArgoCd::builder()
        .clock(std::sync::Arc::clone(&clock) as std::sync::Arc<dyn Clock>)
        .revisions(|_, target| (target == "1.x").then(|| "1.2.3".to_owned()))
        .manifests(|_, revision, path| Some(format!("{path} {revision}")))
        .start()
        .await
        .unwrap();
    fake.create_app(FakeApp::new("shop").chart(CHARTS, "shop", "1.x"));
    fake.create_app(FakeApp::new("auto").chart(CHARTS, "shop", "1.x").auto_sync());
    let argocd = kargo_argocd::ArgoCd::new(fake.client().unwrap()).polling();
    let bench = Bench { clock, commits, fake, argocd };
    for (app, syncs) in [("shop", 1), ("auto", 1)] {
        assert_live(&bench.deploy("p1", ArgoCdApp::new(app), "1.2.3").run().await.unwrap(), "1.2.3");
        assert_eq!(bench.fake.live_revision(app).as_deref(), Some("1.2.3"));
        assert_eq!(bench.fake.syncs().len(), syncs, "the other syncs by itself");
    }
    // The range is no version, and is never taken for one.
    let ended = bench.deploy("p2", ArgoCdApp::new("shop"), "1.2.4").run().await.unwrap();
    assert!(assert_failed(&ended).contains("1.2.4") && assert_failed(&ended).contains("1.2.3"), "{ended:?}");
}

#[tokio::test]
async fn an_artifact_of_a_registry_is_deployed_by_its_digest() {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let (before, wanted) = (digest("a"), digest("b"));
    let (clock, commits) = (std::sync::Arc::new(ManualClock::at("2026-01-01T10:00:00.4Z")), Commits::new());
    let (old, new) = (before.clone(), wanted.clone());
    let fake = FakeArgoCd::builder()
        .clock(std::sync::Arc::clone(&clock) as std::sync::Arc<dyn Clock>)
        .revisions(move |_, target| match target {
            "1.0.0" => Some(old.clone()),
            "1.1.0" => Some(new.clone()),
            _ => None,
        })
        .start()
        .await
        .unwrap();
    fake.create_app(FakeApp::new("shop").source("oci://registry.example/config", "1.0.0", "."));
    let argocd = kargo_argocd::ArgoCd::new(fake.client().unwrap()).polling();
    let bench = Bench { clock, commits, fake, argocd };
    assert_live(&bench.deploy("p1", ArgoCdApp::new("shop"), &before).run().await.unwrap(), &before);
    bench.fake.edit_app("shop", |app| app.sources[0].target_revision = Some("1.1.0".into()));
    assert_live(&bench.deploy("p2", ArgoCdApp::new("shop"), &wanted).run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.live_revision("shop"), Some(wanted.clone()));
    // By its digest also where the tag leads elsewhere.
    let pinned = ArgoCdApp::new("shop").mode(Mode::Pinned);
    assert_live(&bench.deploy("p3", pinned, &before).run().await.unwrap(), &before);
    let revisions: Vec<_> = bench.fake.syncs().into_iter().map(|sync| sync.revision.unwrap()).collect();
    assert_eq!(revisions, [before.clone(), wanted, before]);
}

#[tokio::test]
async fn several_sources_that_always_drift_go_live_after_one_sync() {
    let mut app = chart_and_values();
    app.drifts = true;
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(app);
    let config = ArgoCdApp::new("shop").source(SourceRef::Index(1));
    let ended = bench.deploy("p1", config, &wanted).run().await.unwrap();
    assert!(assert_live(&ended, &wanted).contains("OutOfSync all the same"), "{ended:?}");
    assert_eq!(bench.fake.syncs().len(), 1);
    assert_eq!(bench.fake.syncs()[0].body["sourcePositions"], serde_json::json!([2]));
    assert_eq!(bench.fake.syncs()[0].body["revisions"], serde_json::json!([wanted]));
}

#[tokio::test]
async fn however_many_sources_have_moved_on_each_is_asked_about_in_one_call() {
    let mut app = FakeApp::new("shop");
    for at in 0..12 {
        app = app.source(format!("https://git.example/config-{at}"), format!("branch-{at}"), "dev");
    }
    let bench = Bench::new().await;
    let mut wanted = Vec::new();
    for at in 0..12 {
        let branch = format!("branch-{at}");
        let first = bench.commits.commit(&branch, [("dev", "v1")]);
        bench.commits.commit(&branch, [("dev", "v2")]);
        wanted.push(first);
    }
    bench.fake.create_app(app);
    assert!(bench.fake.sync_as_user("shop", "alice", None));
    bench.pass(60);
    let mut config = ArgoCdApp::new("shop").mode(Mode::Tracking).source(SourceRef::Index(0));
    for (at, revision) in wanted.iter().enumerate().skip(1) {
        config = config.pin(SourceRef::Index(at), revision.as_str());
    }
    let ended = bench.deploy("p1", config, &wanted[0]).poll().await.unwrap();
    assert!(matches!(&ended, Deployment::Live { evidence, .. } if evidence.contains("later")), "{ended:?}");
}
