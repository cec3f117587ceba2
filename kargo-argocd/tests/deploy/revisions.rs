//! When what the application follows is not what is wanted.

use kargo_argocd::testing::FakeApp;
use kargo_argocd::{ArgoCd, ArgoCdApp, Mode};
use kargo_core::plugin::{Deployment, Health};

use crate::bench::{Bench, REPO, assert_failed, assert_live};

fn shop() -> FakeApp {
    FakeApp::new("shop").source(REPO, "main", "dev")
}

#[tokio::test]
async fn argo_04_a_later_commit_on_the_shared_branch_still_counts_and_is_named() {
    let (bench, _) = Bench::running(shop()).await;
    bench.fake.edit_app("shop", |app| app.auto_sync = true);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let later = bench.commits.commit("main", [("dev", "v3")]);
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap();
    let evidence = assert_live(&ended, &later);
    assert!(evidence.contains(&wanted) && evidence.contains("later"), "{evidence}");
    assert_eq!(bench.observe("shop").await.health, Health::Healthy);
}

#[tokio::test]
async fn an_application_that_runs_another_revision_than_was_promoted_is_not_healthy() {
    let (bench, first) = Bench::running(shop()).await;
    bench.commits.set_branch("other", &first);
    let apart = bench.commits.commit("other", [("dev", "v9")]);
    bench.fake.edit_app("shop", |app| app.auto_sync = true);
    let later = bench.commits.commit("main", [("dev", "v2")]);
    bench.pass(600);
    assert_eq!(bench.fake.live_revision("shop"), Some(later.clone()));
    let health = async |wanted: &str| bench.observe_result("shop", wanted).await;
    assert_eq!(health(&later).await.health, Health::Healthy);
    assert_eq!(health(&first).await.health, Health::Healthy, "a later commit that holds the promoted one");
    let astray = health(&apart).await;
    assert_eq!(astray.health, Health::Unhealthy);
    assert!(astray.detail.contains("it runs another revision") && astray.detail.contains(&apart), "{astray:?}");
    assert_eq!(health("0123456789012345678901234567890123456789").await.health, Health::Unknown);
}

#[tokio::test]
async fn an_application_of_which_it_is_not_known_what_it_runs_is_not_called_healthy() {
    let mut app = shop();
    (app.history_limit, app.drifts) = (Some(0), true);
    let (bench, first) = Bench::running(app).await;
    let seen = bench.observe_result("shop", &first).await;
    assert_eq!(seen.health, Health::Unknown);
    assert!(seen.detail.contains("which revision it runs is not known") && seen.detail.contains(&first), "{seen:?}");
    assert_eq!(bench.observe("shop").await.health, Health::Healthy, "where nothing in particular is wanted");
}

#[tokio::test]
async fn argo_04_a_commit_of_another_stage_during_the_sync_does_no_harm() {
    let (bench, _) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("accepted").await;
    bench.commits.commit("main", [("prod", "v2")]);
    assert!(matches!(deploy.run().await.unwrap(), Deployment::Live { .. }));
    assert_eq!(bench.fake.live_revision("shop"), Some(wanted));
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn argo_08_a_revision_of_another_branch_fails_with_both_revisions_and_no_sync() {
    let (bench, first) = Bench::running(shop()).await;
    bench.commits.set_branch("other", &first);
    let followed = bench.commits.commit("main", [("dev", "v2")]);
    let wanted = bench.commits.commit("other", [("dev", "v3")]);
    let ended = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted).run().await.unwrap();
    let reason = assert_failed(&ended);
    assert!(reason.contains(&wanted) && reason.contains(&followed) && reason.contains("main"), "{reason}");
    assert!(bench.fake.syncs().is_empty());
}

#[tokio::test]
async fn argo_08_a_revision_of_another_repository_fails_after_a_while_with_both_revisions() {
    let (mut bench, first) = Bench::running(shop()).await;
    // Nobody knows how revisions follow each other.
    bench.argocd = ArgoCd::new(bench.fake.client().unwrap()).polling();
    let wanted = "f".repeat(40);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let ended = deploy.run().await.unwrap();
    let reason = assert_failed(&ended);
    assert!(reason.contains(&wanted) && reason.contains(&first), "{reason}");
    assert!(deploy.reasons.len() > 5, "it keeps looking for a while: {:?}", deploy.reasons);
    assert!(bench.fake.syncs().is_empty());
}

#[tokio::test]
async fn a_repository_that_lags_behind_is_waited_for() {
    let (bench, first) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    bench.commits.set_branch("main", &first);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("the repository may lag").await;
    bench.pass(120);
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
    bench.commits.set_branch("main", &wanted);
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_pinned_revision_goes_where_the_branch_does_not_lead() {
    let (bench, first) = Bench::running(shop()).await;
    bench.commits.set_branch("other", &first);
    let wanted = bench.commits.commit("other", [("dev", "hotfix")]);
    let config = ArgoCdApp::new("shop").mode(Mode::Pinned);
    let ended = bench.deploy("p1", config, &wanted).run().await.unwrap();
    assert_live(&ended, &wanted);
    assert_eq!(bench.fake.live_revision("shop"), Some(wanted));
    assert!(bench.fake.is_ready("shop"));
    assert_eq!(bench.fake.syncs().len(), 1);
}

#[tokio::test]
async fn a_pinned_revision_is_refused_by_an_application_that_syncs_by_itself() {
    let (bench, first) = Bench::running(shop()).await;
    bench.fake.edit_app("shop", |app| app.auto_sync = true);
    bench.commits.set_branch("other", &first);
    let wanted = bench.commits.commit("other", [("dev", "hotfix")]);
    let config = ArgoCdApp::new("shop").mode(Mode::Pinned);
    let ended = bench.deploy("p1", config, &wanted).run().await.unwrap();
    let reason = assert_failed(&ended);
    assert!(reason.contains("auto-sync currently set to main") && reason.contains("tracking"), "{reason}");
}

#[tokio::test]
async fn race_g_what_somebody_else_undoes_is_done_again_a_bounded_number_of_times() {
    let (bench, first) = Bench::running(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let mut undone = 0;
    let ended = loop {
        match deploy.poll().await.unwrap() {
            Deployment::Pending { check_after, .. } => bench.clock.advance(check_after),
            ended => break ended,
        }
        if !bench.fake.is_operating("shop") && bench.fake.live_revision("shop").as_ref() == Some(&wanted) {
            undone += 1;
            assert!(bench.fake.sync_as_user("shop", "bob", Some(&first)));
        }
    };
    let reason = assert_failed(&ended);
    assert!(reason.contains("after 3 syncs") && reason.contains(&wanted), "{reason}");
    assert_eq!((bench.fake.syncs().len(), undone), (3, 3));
}

#[tokio::test]
async fn race_t_a_branch_that_does_not_exist_fails_after_the_grace_with_argo_cds_words() {
    let bench = Bench::new().await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "mian", "dev"));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let ended = deploy.run().await.unwrap();
    assert!(assert_failed(&ended).contains("unable to resolve 'mian'"), "{ended:?}");
    assert!(deploy.reasons.len() > 3, "{:?}", deploy.reasons);
    assert_eq!(bench.observe("shop").await.health, Health::Unhealthy);
}

#[tokio::test]
async fn without_a_wanted_revision_it_is_whatever_the_application_follows() {
    let (bench, _) = Bench::running(shop()).await;
    let newest = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), "").of_anything();
    assert_live(&deploy.run().await.unwrap(), &newest);
    assert!(bench.fake.is_ready("shop"));
    let mut again = bench.deploy("p2", ArgoCdApp::new("shop"), "").of_anything();
    assert_live(&again.run().await.unwrap(), &newest);
    assert_eq!(bench.fake.syncs().len(), 1, "what is already as it should be is not synced");
}

#[tokio::test]
async fn race_f_where_nobody_knows_how_revisions_follow_what_ours_applied_is_live_and_a_branch_that_moved_before_is_not()
 {
    let (mut bench, _) = Bench::running(shop()).await;
    bench.argocd = ArgoCd::new(bench.fake.client().unwrap()).polling();
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    deploy.run_until("accepted").await;
    let next = bench.commits.commit("main", [("dev", "v3")]);
    let evidence = assert_live(&deploy.run().await.unwrap(), &wanted);
    assert!(evidence.contains(&next) && evidence.contains("not known to hold"), "{evidence}");
    assert_eq!((bench.fake.live_revision("shop"), bench.fake.syncs().len()), (Some(wanted), 1));
    assert!(bench.fake.is_ready("shop"));
    let missed = bench.commits.commit("main", [("dev", "v4")]);
    let newest = bench.commits.commit("main", [("dev", "v5")]);
    let ended = bench.deploy("p2", ArgoCdApp::new("shop"), &missed).run().await.unwrap();
    let reason = assert_failed(&ended);
    assert!(reason.contains(&missed) && reason.contains(&newest) && reason.contains("not known to hold"), "{reason}");
}
