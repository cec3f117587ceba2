//! In real time, on a clock that runs fast, where comparisons take their time and refreshes block.

use std::time::{Duration, Instant};

use kargo_argocd::testing::{Commits, FakeApp, FakeArgoCd, Fault, Timings};
use kargo_argocd::{AppRef, ArgoCd, ArgoCdApp, Client};
use kargo_core::plugin::{Context, DeployRequest, Deployer, Deployment};
use kargo_core::{Actor, Clock, ErrorKind, Freight, PromotionInfo};

use crate::bench::{Bench, REPO, assert_live};

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

/// What polls learns of it one interval later at most, however the end of the work and the looks fall: after it is live, and has been for
/// `stable_for` after the operation's end.
async fn lags_by_less_than_an_interval(ready: u64, streams_fail: bool) {
    const TICK: Duration = Duration::from_millis(20);
    let timings = Timings { ready: Duration::from_millis(ready), ..Timings::default() };
    let mut bench = Bench::with(timings).await;
    if streams_fail {
        bench.fake.set_fault(Some(Fault::NoStreams));
        bench.argocd = ArgoCd::new(bench.fake.client().unwrap()).history(bench.commits.clone());
    }
    let wanted = bench.commits.commit("main", [("dev", "v1")]);
    bench.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let mut deploy = bench.deploy("p1", ArgoCdApp::new("shop"), &wanted);
    let (mut live, mut interval) = (None, Duration::ZERO);
    loop {
        match deploy.poll().await.unwrap() {
            Deployment::Pending { check_after, .. } => interval = check_after,
            ended => break drop(assert_live(&ended, &wanted)),
        }
        let mut waited = Duration::ZERO;
        while waited < interval {
            bench.clock.advance(TICK);
            waited += TICK;
            bench.fake.syncs();
            if live.is_none() && bench.fake.is_ready("shop") {
                live = Some(bench.clock.now());
            }
        }
        assert!(deploy.reasons.len() < 300, "{:?}", deploy.reasons);
    }
    let live = live.expect("it was ready before it was said to be live");
    let settled = bench.fake.operation_ended("shop").unwrap() + Duration::from_secs(2);
    let delay = Duration::try_from(bench.clock.now().duration_since(live.max(settled))).unwrap_or_default();
    let case = format!("ready after {ready} ms, streams fail {streams_fail}");
    assert!(interval <= Duration::from_secs(2), "{case}: it looks every other second: {interval:?}");
    assert!(delay <= Duration::from_secs(2), "{case}: live for {delay:?}");
}

#[tokio::test]
async fn without_a_stream_the_verdict_comes_within_one_poll_interval() {
    for ready in [0, 500, 2_000, 6_000, 6_170, 6_990, 7_310, 7_999] {
        lags_by_less_than_an_interval(ready, false).await;
    }
    lags_by_less_than_an_interval(6_500, true).await;
}

/// The manual clock stands still, so the comparison never ends: as with a controller that is down.
#[tokio::test]
async fn race_h_a_refresh_that_does_not_end_is_waited_for_again_and_is_no_failure() {
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
