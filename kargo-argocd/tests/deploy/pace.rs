//! In real time, on a clock that runs fast, where comparisons take their time and refreshes block.

use std::time::{Duration, Instant};

use kargo_argocd::testing::{Commits, FakeApp, FakeArgoCd, Timings};
use kargo_argocd::{AppRef, ArgoCd, ArgoCdApp, Client};
use kargo_core::plugin::{Context, DeployRequest, Deployer, Deployment};
use kargo_core::{Actor, ErrorKind, Freight, PromotionInfo};

use crate::bench::{Bench, REPO};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_fake_takes_a_deployment_through_in_a_moment() {
    let commits = Commits::new();
    let wanted = commits.commit("main", [("dev", "v1")]);
    let timings = Timings { comparison: Duration::from_millis(800), ..Timings::default() };
    let fake = FakeArgoCd::builder().commits(&commits).timings(timings).speed(50).start().await.unwrap();
    fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let argocd = ArgoCd::new(fake.client().unwrap());
    let cx = Context::new(fake.clock(), Actor::engine(), "p1");
    let freight = Freight::new("main", Vec::new(), cx.now());
    let promotion = PromotionInfo::new("shop", "p1", "dev", freight, Actor::engine(), cx.now());
    let config = serde_json::to_value(ArgoCdApp::new("shop")).unwrap();
    let (began, mut state) = (Instant::now(), None);
    loop {
        let request = DeployRequest::new(&promotion, &config, Some(wanted.as_str().into()), cx.now());
        match argocd.deploy(&cx, &request.with_state(state.as_ref())).await.unwrap() {
            Deployment::Pending { check_after, state: next, .. } => {
                state = next;
                cx.sleep(check_after).await.unwrap();
            }
            Deployment::Live { .. } => break,
            other => panic!("{other:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it takes too long");
    }
    assert_eq!(fake.live_revision("shop"), Some(wanted));
    assert!(fake.is_ready("shop"));
    assert_eq!(fake.syncs().len(), 1);
}

/// The manual clock stands still, so the comparison never ends: as with a controller that is down.
#[tokio::test]
async fn a_refresh_that_does_not_end_is_waited_for_again_and_is_no_failure() {
    let mut bench = Bench::with(Timings { comparison: Duration::from_secs(5), ..Timings::default() }).await;
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let client = Client::builder(bench.fake.url())
        .token(bench.fake.token())
        .refresh_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let refreshed = client.get(&AppRef::new("shop"), kargo_argocd::client::Refresh::Normal).await;
    assert_eq!(refreshed.unwrap_err().kind(), ErrorKind::Timeout);
    bench.argocd = ArgoCd::new(client).polling();
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    assert!(matches!(deploy.poll().await.unwrap(), Deployment::Pending { .. }));
    assert!(deploy.reasons[0].contains("is its application controller running?"), "{:?}", deploy.reasons);
}
