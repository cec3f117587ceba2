//! Sync windows.

use kargo_argocd::testing::FakeApp;
use kargo_argocd::{AppRef, ArgoCdApp};
use kargo_core::plugin::Deployment;

use crate::bench::{Bench, REPO, assert_live};

#[tokio::test]
async fn argo_11_race_m_report_18_a_window_that_lets_people_through_keeps_automation_back() {
    for manual_sync in [false, true] {
        for by_user in [false, true] {
            let (bench, before) = Bench::running(FakeApp::new("shop").source(REPO, "main", "dev")).await;
            bench.fake.edit_app("shop", |app| (app.window_closed, app.manual_sync) = (true, manual_sync));
            let wanted = bench.commits.commit("main", [("dev", "v2")]);
            let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
            if !by_user {
                deploy = deploy.by_rule();
            }
            if by_user && manual_sync {
                assert_live(&deploy.run().await.unwrap(), &wanted);
                assert!(deploy.reasons.iter().all(|reason| !reason.contains("blocked")), "{:?}", deploy.reasons);
                continue;
            }
            let case = format!("manualSync {manual_sync}, user {by_user}");
            deploy.run_until("blocked").await;
            assert!(deploy.reasons.last().unwrap().contains("sync window"), "{case}: {:?}", deploy.reasons);
            bench.pass(3600);
            assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }), "{case}");
            assert!(bench.fake.syncs().is_empty(), "{case}");
            assert_eq!(bench.fake.live_revision("shop").as_ref(), Some(&before), "{case}");
            bench.fake.edit_app("shop", |app| app.window_closed = false);
            assert_live(&deploy.run().await.unwrap(), &wanted);
            assert_eq!(bench.fake.syncs().len(), 1, "{case}");
        }
    }
}

#[tokio::test]
async fn the_windows_of_an_application_are_read() {
    let (bench, _) = Bench::running(FakeApp::new("shop").source(REPO, "main", "dev")).await;
    let (client, app) = (bench.fake.client().unwrap(), AppRef::new("shop").project("default"));
    let none = client.sync_windows(&app).await.unwrap();
    assert!(none.can_sync && none.active.is_empty() && none.assigned.is_empty());
    bench.fake.edit_app("shop", |app| (app.window_closed, app.manual_sync) = (true, true));
    let closed = client.sync_windows(&app).await.unwrap();
    assert!(closed.can_sync, "which Argo CD says of people");
    assert!(closed.active[0].manual_sync && closed.keeps_automation_back().is_some(), "{closed:?}");
}
