//! Kargo's steps.

use kargo_argocd::testing::{FakeApp, Fault};
use kargo_argocd::{ArgoCdUpdate, ArgoCdWait};
use kargo_core::plugin::{Health, ObserveRequest, Step, StepOutcome, StepRequest};
use kargo_core::{Actor, Clock, ErrorKind, Freight, PromotionInfo, Result, Retry};
use serde_json::{Map, Value, json};

use crate::bench::{Bench, REPO};

const AUTHORIZED: &str = "kargo.akuity.io/authorized-stage";

fn shop(name: &str) -> FakeApp {
    FakeApp::new(name).source(REPO, "main", "dev").label("app", "shop").annotation(AUTHORIZED, "other:dev, shop:dev")
}

fn promotion(bench: &Bench) -> PromotionInfo {
    let freight = Freight::new("main", Vec::new(), bench.clock.now());
    PromotionInfo::new("shop", "dev.01.abc", "dev", freight, Actor::user("alice"), bench.clock.now())
}

/// Calls a step until it ends, or the time that a promotion gives it is over.
async fn run(bench: &Bench, step: &dyn Step, config: &Value) -> Result<StepOutcome> {
    let promotion = promotion(bench);
    let (cx, began) = (bench.context("p1.step"), bench.clock.now());
    let mut state = None;
    loop {
        let mut request = StepRequest::new(&promotion, "step", config, began);
        request.state = state.as_ref();
        match step.run(&cx, &request).await? {
            StepOutcome::Running { check_after, state: next, reason } => {
                assert!(bench.clock.now() < began + std::time::Duration::from_secs(600), "no end: {reason}");
                state = next;
                bench.pass(check_after.as_secs().max(1));
            }
            ended => return Ok(ended),
        }
    }
}

fn outputs(outcome: StepOutcome) -> Map<String, Value> {
    match outcome {
        StepOutcome::Succeeded { outputs, .. } => outputs,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_update_changes_the_sources_and_syncs_once() {
    let (bench, _) = Bench::running(shop("shop")).await;
    let wanted = bench.commits.commit("side", [("dev", "v2")]);
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let config = json!({"apps": [{"name": "shop", "sources": [{
        "repoURL": "https://git.example/config.git", "desiredRevision": wanted, "updateTargetRevision": true,
        "helm": {"images": [{"key": "image.tag", "value": "1.2.3"}]},
        "kustomize": {"images": [{"repoURL": "nginx", "tag": "1.27"}]},
    }]}]});
    let outputs = outputs(run(&bench, &update, &config).await.unwrap());
    let app = bench.fake.app("shop").unwrap();
    assert_eq!(app.sources[0].target_revision.as_ref(), Some(&wanted));
    assert_eq!(app.sources[0].path.as_deref(), Some("dev"), "the rest stays");
    assert_eq!(app.sources[0].rest["helm"]["parameters"], json!([{"name": "image.tag", "value": "1.2.3"}]));
    assert_eq!(app.sources[0].rest["kustomize"]["images"], json!(["nginx:1.27"]));
    assert_eq!(bench.fake.live_revision("shop"), Some(wanted.clone()));
    assert_eq!(bench.fake.syncs().len(), 1);
    assert_eq!(outputs["apps"][0]["name"], "shop");
    assert_eq!(outputs["apps"][0]["namespace"], "argocd");
    // Once all is as it should be, nothing is done a second time.
    run(&bench, &update, &config).await.unwrap();
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn an_update_is_done_with_the_sync_and_its_health_is_watched_afterwards() {
    let (bench, _) = Bench::running(shop("shop")).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.stall_revision(&wanted);
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let config = json!({"apps": [{"name": "shop", "sources": [{"repoURL": REPO, "desiredRevision": wanted}]}]});
    outputs(run(&bench, &update, &config).await.unwrap());
    assert!(!bench.fake.is_ready("shop"), "as in Kargo, the health is not waited for");
    let (cx, promotion) = (bench.context("observe"), promotion(&bench));
    let watched = update.deployer().unwrap();
    let request = ObserveRequest::new(&config).result_of(&promotion, None);
    let seen = watched.observe(&cx, &request).await.unwrap();
    assert_eq!(seen.health, Health::Progressing, "{seen:?}");
    // Somebody else's revision in the same place is not what was promoted.
    let other = bench.commits.commit("other", [("dev", "v9")]);
    assert!(bench.fake.sync_as_user("shop", "bob", Some(&other)));
    bench.pass(60);
    let seen = watched.observe(&cx, &request).await.unwrap();
    assert_eq!(seen.health, Health::Unhealthy, "{seen:?}");
    assert!(seen.detail.contains(&other) && seen.detail.contains(&wanted), "{seen:?}");
}

#[tokio::test]
async fn an_application_that_does_not_let_the_stage_change_it_is_left_alone() {
    let bench = Bench::new().await;
    bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("closed").source(REPO, "main", "dev").label("app", "shop"));
    bench.fake.create_app(shop("open"));
    bench.fake.create_app(shop("glob").annotation(AUTHORIZED, "shop:*"));
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let named = |name: &str| json!({"apps": [{"name": name}]});
    let error = run(&bench, &update, &named("closed")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains(AUTHORIZED) && error.message().contains("\"shop:dev\""), "{error}");
    assert!(run(&bench, &update, &named("glob")).await.unwrap_err().message().contains("pattern"));
    bench.fake.delete_app("glob");
    let selected = json!({"apps": [{"selector": {"matchLabels": {"app": "shop"}}}]});
    let outputs = outputs(run(&bench, &update, &selected).await.unwrap());
    assert_eq!(outputs["apps"], json!([{"name": "open", "namespace": "argocd"}]));
    assert!(bench.fake.live_revision("closed").is_none());
}

#[tokio::test]
async fn of_several_applications_all_are_changed_or_none() {
    let bench = Bench::new().await;
    bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(shop("a"));
    let elsewhere = FakeApp::new("b").source("https://git.example/other", "main", "dev");
    bench.fake.create_app(elsewhere.label("app", "shop").annotation(AUTHORIZED, "shop:dev"));
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let source = json!({"repoURL": REPO, "desiredRevision": "abc", "updateTargetRevision": true});
    let config = json!({"apps": [{"selector": {"matchLabels": {"app": "shop"}}, "sources": [source]}]});
    let error = run(&bench, &update, &config).await.unwrap_err();
    assert!(error.message().contains("Application b"), "{error}");
    assert_eq!(bench.fake.app("a").unwrap().sources[0].target_revision.as_deref(), Some("main"));
    assert!(bench.fake.syncs().is_empty());
}

#[tokio::test]
async fn report_10_a_desired_revision_that_never_comes_ends_with_both() {
    let (bench, first) = Bench::running(shop("shop").auto_sync()).await;
    let wanted = bench.commits.commit("side", [("dev", "v2")]);
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let config = json!({"apps": [{"name": "shop", "sources": [{"repoURL": REPO, "desiredRevision": wanted}]}]});
    let StepOutcome::Failed { reason } = run(&bench, &update, &config).await.unwrap() else { panic!("not failed") };
    assert!(reason.contains(&wanted) && reason.contains(&first), "{reason}");
    assert!(bench.fake.syncs().len() <= 3, "it is not synced for ever");
}

#[tokio::test]
async fn report_15_a_sync_that_fails_fails_the_step() {
    let (bench, _) = Bench::running(shop("shop")).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.fail_sync_of(&wanted, "quota exceeded");
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let StepOutcome::Failed { reason } = run(&bench, &update, &json!({"apps": [{"name": "shop"}]})).await.unwrap()
    else {
        panic!("not failed")
    };
    assert!(reason.contains("quota exceeded"), "{reason}");
}

#[tokio::test]
async fn a_wait_does_not_take_the_old_version_for_the_new_one() {
    let (bench, _) = Bench::running(shop("shop").auto_sync()).await;
    // Argo CD has not seen this commit yet: all still looks Synced and Healthy.
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let wait = ArgoCdWait::new(bench.argocd.clone());
    let outputs = outputs(run(&bench, &wait, &json!({"apps": [{"name": "shop"}]})).await.unwrap());
    assert_eq!(bench.fake.live_revision("shop"), Some(wanted));
    assert!(bench.fake.is_ready("shop"));
    assert_eq!(outputs["healthStatus"], json!({"argocd/shop": "Healthy"}));
}

#[tokio::test]
async fn a_wait_ends_when_the_application_breaks() {
    let (bench, _) = Bench::running(shop("shop").auto_sync()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.fake.break_revision(&wanted);
    let wait = ArgoCdWait::new(bench.argocd.clone());
    let config = json!({"apps": [{"selector": {"matchLabels": {"app": "shop"}}}]});
    let StepOutcome::Failed { reason } = run(&bench, &wait, &config).await.unwrap() else { panic!("not failed") };
    assert!(reason.contains("Degraded"), "{reason}");
    let config = json!({"apps": [{"name": "shop", "waitFor": ["degraded"]}]});
    assert_eq!(outputs(run(&bench, &wait, &config).await.unwrap())["healthStatus"]["argocd/shop"], "Degraded");
}

#[tokio::test]
async fn an_aborted_update_stops_its_own_sync() {
    let bench = Bench::with(kargo_argocd::testing::Timings {
        operation: std::time::Duration::from_secs(600),
        ..Default::default()
    })
    .await;
    bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(shop("shop"));
    bench.pass(5);
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let (promotion, config) = (promotion(&bench), json!({"apps": [{"name": "shop"}]}));
    let request = StepRequest::new(&promotion, "step", &config, bench.clock.now());
    let cx = bench.context("p1.step");
    assert!(matches!(update.run(&cx, &request).await.unwrap(), StepOutcome::Running { .. }));
    bench.pass(5);
    assert!(bench.fake.is_operating("shop"));
    update.abort(&cx, &request).await.unwrap();
    assert!(!bench.fake.is_operating("shop"));
}

/// What a health watch asks of a step of a promotion, with the steps that came after it.
async fn watched(
    bench: &Bench,
    update: &ArgoCdUpdate,
    config: &Value,
    later: &[&Value],
) -> kargo_core::plugin::Observation {
    let promotion = promotion(bench);
    let request = ObserveRequest::new(config).result_of(&promotion, None).before(later.iter().copied());
    update.deployer().unwrap().observe(&bench.context("observe"), &request).await.unwrap()
}

#[tokio::test]
async fn argo_05_of_several_updates_of_one_source_the_last_one_says_what_is_right() {
    let (bench, _) = Bench::running(shop("shop")).await;
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let mut configs = Vec::new();
    for content in ["v2", "v3", "v4"] {
        let revision = bench.commits.commit("side", [("dev", content)]);
        let source = json!({"repoURL": REPO, "desiredRevision": revision, "updateTargetRevision": true});
        let config = json!({"apps": [{"name": "shop", "sources": [source]}]});
        outputs(run(&bench, &update, &config).await.unwrap());
        configs.push(config);
    }
    bench.pass(60);
    let [first, second, last] = configs.as_slice() else { panic!("three") };
    let alone = watched(&bench, &update, first, &[]).await;
    assert_eq!(alone.health, Health::Healthy, "the last one holds it: {alone:?}");
    let back = json!({"apps": [{"name": "shop", "sources": [{"repoURL": REPO, "desiredRevision": first["apps"][0]["sources"][0]["desiredRevision"], "updateTargetRevision": true}]}]});
    outputs(run(&bench, &update, &back).await.unwrap());
    bench.pass(60);
    let contradicted = watched(&bench, &update, last, &[]).await;
    assert_eq!(contradicted.health, Health::Unhealthy, "{contradicted:?}");
    let told = watched(&bench, &update, last, &[&back]).await;
    assert_eq!(told.health, Health::Healthy, "{told:?}");
    assert_eq!(watched(&bench, &update, second, &[last, &back]).await.health, Health::Healthy);
    assert_eq!(watched(&bench, &update, &back, &[]).await.health, Health::Healthy);
    // A later step of which nothing can be known may have taken it over.
    let hidden = json!({"apps": [{"name": "hidden", "sources": [{"repoURL": REPO}]}]});
    let unsure = watched(&bench, &update, last, &[&hidden]).await;
    assert_eq!(unsure.health, Health::Unknown, "{unsure:?}");
    // A later step about something else takes nothing over.
    bench.fake.create_app(shop("other"));
    let other = json!({"apps": [{"name": "other", "sources": [{"repoURL": REPO}]}]});
    assert_eq!(watched(&bench, &update, last, &[&other]).await.health, Health::Unhealthy);
}

#[tokio::test]
async fn an_image_that_changes_alone_is_synced_though_the_revision_and_drift_say_all_is_done() {
    let mut app = shop("shop");
    app.drifts = true;
    let (bench, first) = Bench::running(app).await;
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let image = |tag: &str| {
        let image = json!({"repoURL": "nginx", "tag": tag});
        json!({"apps": [{"name": "shop", "sources": [{"repoURL": REPO, "kustomize": {"images": [image]}}]}]})
    };
    let before = bench.fake.live_history("shop").len();
    outputs(run(&bench, &update, &image("1.27")).await.unwrap());
    assert_eq!(bench.fake.live_history("shop").len(), before + 1, "what drifts anyway says nothing of the new image");
    assert_eq!(bench.fake.live_revision("shop"), Some(first.clone()));
    // Somebody else's sync of the same sources is as good, where nothing drifts.
    bench.fake.edit_app("shop", |app| app.drifts = false);
    assert!(bench.fake.sync_as_user("shop", "bob", None));
    bench.pass(60);
    let syncs = bench.fake.syncs().len();
    outputs(run(&bench, &update, &image("1.27")).await.unwrap());
    assert_eq!(bench.fake.syncs().len(), syncs, "nothing is synced that is in sync");
    // With Helm's parameters it is the same.
    let helm = json!({"apps": [{"name": "shop", "sources": [{"repoURL": REPO, "helm": {"images": [{"key": "image.tag", "value": "9"}]}}]}]});
    outputs(run(&bench, &update, &helm).await.unwrap());
    assert_eq!(bench.fake.syncs().len(), syncs + 1);
    assert_eq!(bench.fake.app("shop").unwrap().sources[0].rest["helm"]["parameters"][0]["value"], "9");
}

#[tokio::test]
async fn a_hook_before_the_sync_that_refuses_fails_the_step_after_one_sync() {
    for retries in [0, 2] {
        let mut app = shop("shop");
        (app.pre_sync, app.retries) = (Some(false), retries);
        let bench = Bench::new().await;
        let wanted = bench.commits.commit("main", [("dev", "v1")]);
        bench.fake.create_app(app);
        let update = ArgoCdUpdate::new(bench.argocd.clone());
        let config = json!({"apps": [{"name": "shop", "sources": [{"repoURL": REPO, "desiredRevision": wanted}]}]});
        let ended = run(&bench, &update, &config).await.unwrap();
        let StepOutcome::Failed { reason } = ended else { panic!("not failed: {ended:?}") };
        assert!(reason.contains("Job/before"), "{reason}");
        assert_eq!(bench.fake.syncs().len(), 1, "tries of the same operation are Argo CD's business");
        assert_eq!(bench.fake.live_revision("shop"), None, "nothing was applied");
    }
}

#[tokio::test]
async fn a_desired_revision_of_an_application_that_is_rendered_ahead_is_the_dry_one() {
    let bench = Bench::new().await;
    bench.commits.commit("main", [("dev", "v1")]);
    let app = FakeApp::new("shop").hydrated(REPO, "main", "dev", "env/dev").annotation(AUTHORIZED, "shop:dev");
    bench.fake.create_app(app);
    bench.pass(60);
    let wanted = bench.commits.commit("release", [("dev", "v2")]);
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let source = json!({"repoURL": REPO, "desiredRevision": wanted, "updateTargetRevision": true});
    let config = json!({"apps": [{"name": "shop", "sources": [source]}]});
    outputs(run(&bench, &update, &config).await.unwrap());
    let live = bench.fake.live_revision("shop").unwrap();
    assert_eq!(bench.commits.content(&live, "dev").as_deref(), Some("v2"));
    let dry = bench.fake.app("shop").unwrap().hydrator.unwrap().dry_source;
    assert_eq!(dry.target_revision.as_deref(), Some(wanted.as_str()));
    bench.pass(60);
    assert_eq!(watched(&bench, &update, &config, &[]).await.health, Health::Healthy);
    let image = json!({"repoURL": REPO, "kustomize": {"images": [{"repoURL": "nginx", "tag": "2"}]}});
    let error = run(&bench, &update, &json!({"apps": [{"name": "shop", "sources": [image]}]})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn race_p_drift_after_anothers_sync_of_the_same_sources_is_synced_once_by_an_update() {
    let mut app = shop("shop");
    app.drifts = true;
    let (bench, _) = Bench::running(app).await;
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let config = json!({"apps": [{"name": "shop"}]});
    outputs(run(&bench, &update, &config).await.unwrap());
    assert_eq!(bench.fake.syncs().len(), 1, "the sync before was alice's");
}

#[tokio::test]
async fn argo_09_an_edit_that_somebody_comes_before_is_made_again_with_what_is_there_then() {
    for conflict in [true, false] {
        let bench = Bench::new().await;
        bench.commits.commit("main", [("dev", "v1")]);
        for name in ["a", "b", "c"] {
            bench.fake.create_app(shop(name));
        }
        bench.pass(5);
        let wanted = bench.commits.commit("side", [("dev", "v2")]);
        let images = json!({"images": ["nginx:1"]});
        if conflict {
            bench.fake.refuse_next_edits("b", 1);
        } else {
            // Somebody sets images in between, so that what the edit expects is no longer so.
            bench.fake.edit_app("b", |app| {
                drop(app.sources[0].rest.insert("kustomize".into(), json!({"images": ["nginx:0"]})))
            });
            let theirs = images.clone();
            bench.fake.edit_before_next_edit("b", move |app| {
                app.sources[0].rest.insert("kustomize".into(), theirs);
            });
        }
        let update = ArgoCdUpdate::new(bench.argocd.clone());
        let source = json!({
            "repoURL": REPO, "desiredRevision": wanted, "updateTargetRevision": true,
            "kustomize": {"images": [{"repoURL": "nginx", "tag": "2"}]},
        });
        let config = json!({"apps": [{"selector": {"matchLabels": {"app": "shop"}}, "sources": [source]}]});
        outputs(run(&bench, &update, &config).await.unwrap());
        for name in ["a", "b", "c"] {
            let app = bench.fake.app(name).unwrap();
            assert_eq!(app.sources[0].target_revision.as_ref(), Some(&wanted), "{name}");
            assert_eq!(app.sources[0].rest["kustomize"]["images"], json!(["nginx:2"]), "{name}");
            assert_eq!(bench.fake.live_revision(name).as_ref(), Some(&wanted), "{name}");
        }
        let requests = bench.fake.requests();
        let edits = |name: &str| {
            requests.iter().filter(|asked| **asked == format!("PATCH /api/v1/applications/{name}")).count()
        };
        assert_eq!((edits("a"), edits("b"), edits("c")), (1, 2, 1), "conflict {conflict}");
        assert_eq!(bench.fake.syncs().len(), 3);
    }
}

#[tokio::test]
async fn race_g_what_an_application_set_changes_back_fails_after_a_few_times_and_names_the_set() {
    let mut app = shop("shop");
    app.application_set = Some("shops".into());
    let (bench, first) = Bench::running(app).await;
    let wanted = bench.commits.commit("side", [("dev", "v2")]);
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let source = json!({"repoURL": REPO, "desiredRevision": wanted, "updateTargetRevision": true});
    let config = json!({"apps": [{"name": "shop", "sources": [source]}]});
    let ended = run(&bench, &update, &config).await.unwrap();
    let StepOutcome::Failed { reason } = &ended else { panic!("not failed: {ended:?}") };
    assert!(reason.contains("changed back 3 times") && reason.contains("ApplicationSet shops"), "{reason}");
    assert!(reason.contains("ignoreApplicationDifferences"), "{reason}");
    let requests = bench.fake.requests();
    assert_eq!(requests.iter().filter(|asked| asked.starts_with("PATCH ")).count(), 3);
    assert!(bench.fake.syncs().len() <= 3, "{:?}", bench.fake.syncs());
    assert_eq!(bench.fake.app("shop").unwrap().sources[0].target_revision.as_deref(), Some("main"));
    let _ = first;
}

#[tokio::test]
async fn two_entries_of_one_application_are_one_change_of_it() {
    let (bench, _) = Bench::running(shop("shop").source(REPO, "main", "prod")).await;
    let wanted = bench.commits.commit("side", [("dev", "v2"), ("prod", "v2")]);
    let update = ArgoCdUpdate::new(bench.argocd.clone());
    let source = json!({"repoURL": REPO, "desiredRevision": wanted, "updateTargetRevision": true});
    let image = json!({"repoURL": REPO, "kustomize": {"images": [{"repoURL": "nginx", "tag": "2"}]}});
    let selector = json!({"matchLabels": {"app": "shop"}});
    let config = json!({"apps": [{"name": "shop", "sources": [source]}, {"selector": selector, "sources": [image]}]});
    let outputs = outputs(run(&bench, &update, &config).await.unwrap());
    assert_eq!(outputs["apps"], json!([{"name": "shop", "namespace": "argocd"}]));
    let app = bench.fake.app("shop").unwrap();
    assert_eq!(app.sources[0].target_revision.as_ref(), Some(&wanted));
    assert_eq!(app.sources[0].rest["kustomize"]["images"], json!(["nginx:2"]));
    assert_eq!(bench.fake.syncs().len(), 1);
    assert_eq!(bench.fake.requests().iter().filter(|asked| asked.starts_with("PATCH ")).count(), 1);
}

/// A step that meets a page of a proxy: at its first call the address may be wrong, later that passes.
async fn meets_a_page(bench: &Bench, step: &dyn Step, config: &Value) {
    let (promotion, cx) = (promotion(bench), bench.context("p1.step"));
    let call = async |state: Option<&Value>| {
        let mut request = StepRequest::new(&promotion, "step", config, bench.clock.now());
        request.state = state;
        step.run(&cx, &request).await
    };
    bench.fake.set_fault(Some(Fault::Html));
    let error = call(None).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidResponse, Retry::Never), "{error}");
    bench.fake.set_fault(None);
    let StepOutcome::Running { state: Some(mut state), .. } = call(None).await.unwrap() else { panic!("it is done") };
    bench.fake.set_fault(Some(Fault::Html));
    let error = call(Some(&state)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidResponse, Retry::Backoff), "{error}");
    bench.fake.set_fault(None);
    for _ in 0..60 {
        bench.pass(2);
        match call(Some(&state)).await.unwrap() {
            StepOutcome::Running { state: next, .. } => state = next.unwrap(),
            ended => return drop(outputs(ended)),
        }
    }
    panic!("no end");
}

#[tokio::test]
async fn an_odd_answer_in_the_middle_of_an_update_passes_and_one_at_its_begin_does_not() {
    let (bench, _) = Bench::running(shop("shop")).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let config = json!({"apps": [{"name": "shop", "sources": [{"repoURL": REPO, "desiredRevision": wanted}]}]});
    meets_a_page(&bench, &ArgoCdUpdate::new(bench.argocd.clone()), &config).await;
    assert_eq!((bench.fake.live_revision("shop"), bench.fake.syncs().len()), (Some(wanted), 1));
}

#[tokio::test]
async fn an_odd_answer_in_the_middle_of_a_wait_passes_and_one_at_its_begin_does_not() {
    let (bench, _) = Bench::running(shop("shop")).await;
    bench.commits.commit("main", [("dev", "v2")]);
    assert!(bench.fake.sync_as_user("shop", "bob", None));
    meets_a_page(&bench, &ArgoCdWait::new(bench.argocd.clone()), &json!({"apps": [{"name": "shop"}]})).await;
    assert!(bench.fake.is_ready("shop"));
}

#[tokio::test]
async fn report_19_an_update_is_done_by_its_own_sync_whatever_comes_of_the_next() {
    for waves in [false, true] {
        let mut app = shop("shop");
        app.waves = waves;
        let (bench, _) = Bench::running(app).await;
        let wanted = bench.commits.commit("main", [("dev", "v2")]);
        let update = ArgoCdUpdate::new(bench.argocd.clone());
        let config = json!({"apps": [{"name": "shop", "sources": [{"repoURL": REPO, "desiredRevision": wanted}]}]});
        let (promotion, cx) = (promotion(&bench), bench.context("p1.step"));
        let request = StepRequest::new(&promotion, "step", &config, bench.clock.now());
        let StepOutcome::Running { state, .. } = update.run(&cx, &request).await.unwrap() else { panic!("at once") };
        while bench.fake.live_revision("shop").as_ref() != Some(&wanted) || bench.fake.is_operating("shop") {
            bench.pass(1);
        }
        // Before the step looks again, a next commit is synced, and fails: halfway where there are waves.
        let later = bench.commits.commit("main", [("dev", "v3")]);
        bench.fake.break_revision(&later);
        if !waves {
            bench.fake.fail_sync_of(&later, "quota exceeded");
        }
        assert!(bench.fake.sync_as_user("shop", "bob", None));
        bench.pass(30);
        let mut kept = state;
        let mut ended = None;
        for _ in 0..60 {
            let request = StepRequest::new(&promotion, "step", &config, bench.clock.now());
            let mut request = request;
            request.state = kept.as_ref();
            match update.run(&cx, &request).await.unwrap() {
                StepOutcome::Running { state, .. } => kept = state,
                other => {
                    ended = Some(other);
                    break;
                }
            }
            bench.pass(2);
        }
        let Some(StepOutcome::Succeeded { message, .. }) = ended else { panic!("{ended:?}") };
        assert!(message.contains(&wanted) && message.contains(&later), "{message}");
        assert_eq!(bench.fake.syncs().len(), 1, "{message}");
    }
}
