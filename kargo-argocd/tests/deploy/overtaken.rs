//! Ours ended well, and the sync of a later commit, which is another's, came after it and failed.

use std::time::Duration;

use kargo_argocd::testing::{FakeApp, Timings};
use kargo_argocd::{ArgoCdApp, Mode};
use kargo_core::plugin::Deployment;

use crate::bench::{Bench, Deploy, REPO, assert_live};

fn shop() -> FakeApp {
    FakeApp::new("shop").source(REPO, "main", "dev")
}

/// An application that runs a first version. Its workloads take half a minute to get well, so that a next sync finds ours applied, and not
/// live yet.
async fn slow(app: FakeApp) -> Bench {
    let timings = Timings { ready: Duration::from_secs(30), resync: Duration::from_secs(5), ..Timings::default() };
    let bench = Bench::with(timings).await;
    bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(app);
    bench.fake.sync_as_user("shop", "alice", None);
    bench.pass(300);
    assert!(bench.fake.is_ready("shop"));
    bench
}

/// Until the wanted revision is applied.
async fn applied(bench: &Bench, deploy: &mut Deploy<'_>, wanted: &str) {
    deploy.run_until("is progressing").await;
    assert_eq!(bench.fake.live_revision("shop").as_deref(), Some(wanted));
    assert!(!bench.fake.is_ready("shop"));
}

#[tokio::test]
async fn report_19_an_automatic_sync_that_follows_and_fails_is_neither_live_nor_a_failure_nor_synced_again() {
    let bench = slow(shop()).await;
    bench.fake.edit_app("shop", |app| app.auto_sync = true);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    applied(&bench, &mut deploy, &wanted).await;
    let later = bench.commits.commit("main", [("dev", "v3")]);
    bench.fake.fail_sync_of(&later, "quota exceeded");
    bench.pass(15);
    deploy.run_until("failed before it changed anything").await;
    let reason = deploy.reasons.last().unwrap();
    assert!(reason.contains(&wanted) && reason.contains(&later) && reason.contains("quota exceeded"), "{reason}");
    // An earlier one may have changed something, of which nothing is shown any more: so it is not live, and it has not failed either.
    bench.pass(600);
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
    assert!(bench.fake.syncs().is_empty(), "nothing was asked for: {:?}", deploy.reasons);
    let mended = bench.commits.commit("main", [("dev", "v4")]);
    assert_live(&deploy.run().await.unwrap(), &mended);
    assert!(bench.fake.syncs().is_empty());
}

#[tokio::test]
async fn report_19_after_an_automatic_sync_that_fails_halfway_it_is_waited_until_somebody_mends_it() {
    let mut app = shop();
    app.waves = true;
    let bench = slow(app).await;
    bench.fake.edit_app("shop", |app| app.auto_sync = true);
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    applied(&bench, &mut deploy, &wanted).await;
    // Its first wave is applied and well, and all looks healthy.
    let later = bench.commits.commit("main", [("dev", "v3")]);
    bench.fake.fail_second_wave_of(&later, "quota exceeded");
    deploy.run_until("failed after it had changed something").await;
    let reason = deploy.reasons.last().unwrap();
    assert!(reason.contains(&wanted) && reason.contains(&later) && reason.contains("automatic sync"), "{reason}");
    assert!(reason.contains("quota exceeded"), "{reason}");
    // For as long as the step has time: it is nobody's fault that nobody mends it.
    for _ in 0..60 {
        bench.pass(10);
        assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
    }
    assert!(bench.fake.syncs().is_empty(), "{:?}", deploy.reasons);
    let mended = bench.commits.commit("main", [("dev", "v4")]);
    assert_live(&deploy.run().await.unwrap(), &mended);
    assert!(bench.fake.is_ready("shop"));
    assert!(bench.fake.syncs().is_empty(), "{:?}", deploy.reasons);
}

#[tokio::test]
async fn report_19_what_somebodys_failed_sync_left_of_a_pinned_revision_is_put_right() {
    let mut app = shop();
    app.waves = true;
    let bench = slow(app).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop").mode(Mode::Pinned), &wanted);
    applied(&bench, &mut deploy, &wanted).await;
    let later = bench.commits.commit("main", [("dev", "v3")]);
    bench.fake.break_revision(&later);
    assert!(bench.fake.sync_as_user("shop", "bob", None));
    assert_live(&deploy.run().await.unwrap(), &wanted);
    assert_eq!(bench.fake.live_revision("shop"), Some(wanted.clone()));
    assert!(bench.fake.is_ready("shop"));
    let ran: Vec<String> = bench.fake.live_history("shop").into_iter().map(|(_, revision)| revision).skip(1).collect();
    assert_eq!(ran, [wanted.clone(), later, wanted], "bob's was carried out, and ours once more");
    assert_eq!(bench.fake.syncs().len(), 2);
}

#[tokio::test]
async fn report_19_a_later_commit_that_fails_before_the_wanted_one_was_ever_applied_is_tried_once_and_fails_with_both()
{
    let bench = slow(shop()).await;
    let wanted = bench.commits.commit("main", [("dev", "v2")]);
    let later = bench.commits.commit("main", [("dev", "v3")]);
    bench.fake.fail_sync_of(&later, "quota exceeded");
    bench.fake.edit_app("shop", |app| app.auto_sync = true);
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let ended = deploy.run().await.unwrap();
    let reason = crate::bench::assert_failed(&ended);
    assert!(reason.contains(&wanted) && reason.contains(&later) && reason.contains("quota exceeded"), "{reason}");
    assert_eq!(bench.fake.syncs().len(), 1);
}
