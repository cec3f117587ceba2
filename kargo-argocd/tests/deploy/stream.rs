//! The stream of changes: how soon a verdict follows, and what it costs.

use std::time::Duration;

use kargo_argocd::testing::{Commits, FakeApp, FakeArgoCd, Fault, Timings};
use kargo_argocd::{ArgoCd, ArgoCdApp, Mode, Selector};
use kargo_core::plugin::{Context, DeployRequest, Deployer, Deployment, ObserveRequest};
use kargo_core::{Actor, Freight, PromotionInfo};

use crate::bench::REPO;

/// A deployment as an engine carries it on, in real time.
async fn deploy(fake: &FakeArgoCd, argocd: &ArgoCd, app: &str, wanted: &str) {
    deploy_as(fake, argocd, ArgoCdApp::new(app), wanted).await;
}

async fn deploy_as(fake: &FakeArgoCd, argocd: &ArgoCd, config: ArgoCdApp, wanted: &str) {
    let app = config.app.clone();
    let cx = Context::new(fake.clock(), Actor::engine(), format!("p1.{app}"));
    // An engine makes a context for each call; this one is for all of them, on a clock that may run faster than the real one.
    let cx = cx.clone().with_deadline(cx.now() + Duration::from_secs(24 * 3600));
    let freight = Freight::new("main", Vec::new(), cx.now());
    let promotion = PromotionInfo::new("shop", "p1", "dev", freight, Actor::engine(), cx.now());
    let config = serde_json::to_value(config).unwrap();
    let mut state = None;
    loop {
        let request = DeployRequest::new(&promotion, &config, Some(wanted.into()), cx.now());
        match argocd.deploy(&cx, &request.with_state(state.as_ref())).await.unwrap() {
            Deployment::Pending { check_after, state: next, .. } => {
                state = next;
                cx.sleep(check_after).await.unwrap();
            }
            Deployment::Live { .. } => return,
            other => panic!("{other:?}"),
        }
    }
}

/// A fake in real time, whose workloads take longer to get well than any poll would wait.
async fn slow_fake(commits: &Commits) -> FakeArgoCd {
    let timings =
        Timings { operation: Duration::from_millis(100), ready: Duration::from_secs(5), ..Timings::default() };
    FakeArgoCd::builder().commits(commits).timings(timings).start().await.unwrap()
}

fn reads(fake: &FakeArgoCd, app: &str) -> usize {
    let path = format!("GET /api/v1/applications/{app}");
    fake.requests().iter().filter(|request| **request == path).count()
}

/// Reads until the stream is open, so that what follows is told by it.
async fn listening(fake: &FakeArgoCd, argocd: &ArgoCd, app: &str) {
    let config = serde_json::to_value(ArgoCdApp::new(app)).unwrap();
    let cx = Context::new(fake.clock(), Actor::engine(), "observe");
    for _ in 0..500 {
        argocd.observe(&cx, &ObserveRequest::new(&config)).await.unwrap();
        let before = reads(fake, app);
        argocd.observe(&cx, &ObserveRequest::new(&config)).await.unwrap();
        if reads(fake, app) == before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the stream does not open");
}

/// How long after the application is truly live, and after its operation has settled, the verdict comes.
async fn delay(ready: Duration, mode: Mode) -> Duration {
    let commits = Commits::new();
    let wanted = commits.commit("main", [("dev", "v1")]);
    let timings = Timings { operation: Duration::from_millis(100), ready, ..Timings::default() };
    let fake = FakeArgoCd::builder().commits(&commits).timings(timings).start().await.unwrap();
    fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let argocd = ArgoCd::new(fake.client().unwrap());
    listening(&fake, &argocd, "shop").await;
    let truly = async {
        while !fake.is_ready("shop") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        fake.clock().now()
    };
    let said = async {
        deploy_as(&fake, &argocd, ArgoCdApp::new("shop").mode(mode), &wanted).await;
        assert!(fake.is_ready("shop"));
        fake.clock().now()
    };
    let (truly, said) = tokio::join!(truly, said);
    assert_eq!(fake.syncs().len(), 1);
    // What is healthy right after the operation may be the old version: two seconds is how long that is not believed.
    let settled = fake.operation_ended("shop").unwrap() + Duration::from_secs(2);
    Duration::try_from(said.duration_since(truly.max(settled))).unwrap_or_default()
}

/// The bound of the documentation: a second after it is live and has been for `stable_for` after the operation's end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_follows_the_stream_within_a_second() {
    let mut rows = Vec::new();
    for ready in [0, 500, 2_000, 5_000] {
        for mode in [Mode::Auto, Mode::Pinned] {
            let ready = Duration::from_millis(ready);
            rows.push(async move { (ready, mode, delay(ready, mode).await) });
        }
    }
    for (ready, mode, delay) in futures::future::join_all(rows).await {
        assert!(delay < Duration::from_secs(1), "ready after {ready:?}, {mode:?}: {delay:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_applications_share_one_stream_and_the_idle_ones_cost_no_request() {
    let commits = Commits::new();
    commits.commit("main", [("dev", "v1")]);
    let fake = slow_fake(&commits).await;
    let names: Vec<String> = (0..500).map(|at| format!("app-{at:03}")).collect();
    for name in &names {
        fake.create_app(FakeApp::new(name).source(REPO, "main", "dev"));
    }
    let argocd = ArgoCd::new(fake.client().unwrap());
    listening(&fake, &argocd, &names[0]).await;
    let observe = |name: &str| {
        let (argocd, cx) = (argocd.clone(), Context::new(fake.clock(), Actor::engine(), "observe"));
        let config = serde_json::to_value(ArgoCdApp::new(name)).unwrap();
        async move { argocd.observe(&cx, &ObserveRequest::new(&config)).await.unwrap() }
    };
    for name in &names {
        observe(name).await;
    }
    let before = fake.requests().len();
    for _ in 0..3 {
        for name in &names {
            observe(name).await;
        }
    }
    assert_eq!(fake.requests().len(), before, "nothing happens, so nothing is asked");
    let streams = fake.requests().iter().filter(|request| request.contains("/stream/")).count();
    assert_eq!(streams, 1);
    // One of them changes: only that one is read again.
    fake.edit_app(&names[7], |app| app.deleting = true);
    let deleted = async {
        while !observe(&names[7]).await.detail.contains("being deleted") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), deleted).await.unwrap();
    let new = fake.requests().split_off(before);
    assert!(!new.is_empty() && new.iter().all(|request| request.ends_with(&names[7])), "{new:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cut_in_the_middle_of_a_line_is_opened_again() {
    let commits = Commits::new();
    let wanted = commits.commit("main", [("dev", "v1")]);
    let fake = slow_fake(&commits).await;
    fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let argocd = ArgoCd::new(fake.client().unwrap());
    listening(&fake, &argocd, "shop").await;
    let cut = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        fake.cut_streams();
    };
    tokio::join!(cut, deploy(&fake, &argocd, "shop", &wanted));
    assert!(fake.is_ready("shop"));
    listening(&fake, &argocd, "shop").await;
    let streams = fake.requests().iter().filter(|request| request.contains("/stream/")).count();
    assert_eq!(streams, 2, "no herd of connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_stream_the_verdict_comes_by_polling() {
    let commits = Commits::new();
    let wanted = commits.commit("main", [("dev", "v1")]);
    let fake = FakeArgoCd::builder().commits(&commits).speed(20).start().await.unwrap();
    fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    fake.set_fault(Some(Fault::NoStreams));
    let argocd = ArgoCd::new(fake.client().unwrap());
    deploy(&fake, &argocd, "shop", &wanted).await;
    assert!(fake.is_ready("shop"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_loses_what_it_should_tell_does_not_make_a_deployment_wait_for_ever() {
    let commits = Commits::new();
    let wanted = commits.commit("main", [("dev", "v1")]);
    let fake = FakeArgoCd::builder().commits(&commits).speed(50).start().await.unwrap();
    fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    let argocd = ArgoCd::new(fake.client().unwrap());
    listening(&fake, &argocd, "shop").await;
    fake.mute_streams(true);
    let done = deploy(&fake, &argocd, "shop", &wanted);
    tokio::time::timeout(Duration::from_secs(60), done).await.expect("it ends");
    assert!(fake.is_ready("shop"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_by_their_labels_cost_no_request_while_nothing_happens() {
    let commits = Commits::new();
    commits.commit("main", [("dev", "v1")]);
    let fake = slow_fake(&commits).await;
    let labelled = |name: &str| FakeApp::new(name).source(REPO, "main", "dev").label("tier", "web");
    for name in ["web-1", "web-2"] {
        fake.create_app(labelled(name));
    }
    let argocd = ArgoCd::new(fake.client().unwrap());
    listening(&fake, &argocd, "web-1").await;
    let config = serde_json::to_value(ArgoCdApp::selected(Selector::label("tier", "web"))).unwrap();
    let cx = Context::new(fake.clock(), Actor::engine(), "observe");
    let observe = async || argocd.observe(&cx, &ObserveRequest::new(&config)).await.unwrap();
    // Each is compared once when it is made, and once it is known that nothing runs there.
    tokio::time::sleep(Duration::from_millis(500)).await;
    observe().await;
    let before = fake.requests().len();
    for _ in 0..20 {
        observe().await;
    }
    assert_eq!(fake.requests().len(), before, "{:?}", fake.requests().split_off(before));
    // A new one is found by one list.
    fake.create_app(labelled("web-3"));
    fake.edit_app("web-3", |app| app.deleting = true);
    let found = async {
        while !observe().await.detail.contains("web-3: the application is being deleted") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found).await.unwrap();
}
