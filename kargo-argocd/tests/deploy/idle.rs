//! What hundreds of applications cost that do nothing, and how soon what a stream has lost comes to light. On a clock that is turned by hand.

use std::sync::Arc;
use std::time::Duration;

use kargo_argocd::testing::{Commits, FakeApp, FakeArgoCd, Timings};
use kargo_argocd::{AppRef, ArgoCd, ArgoCdApp};
use kargo_core::plugin::{Context, DeployRequest, Deployer, Deployment, Health, Observation, ObserveRequest};
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Clock, Freight, PromotionInfo};

use crate::bench::REPO;

struct Idle {
    clock: Arc<ManualClock>,
    commits: Commits,
    fake: FakeArgoCd,
    argocd: ArgoCd,
}

impl Idle {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at("2026-01-01T10:00:00Z"));
        let commits = Commits::new();
        // What is compared anew every three minutes is written down each time, as by the real controller.
        let fake = FakeArgoCd::builder()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .commits(&commits)
            .timings(Timings { resync: Duration::from_secs(180), ..Timings::default() })
            .start()
            .await
            .unwrap();
        let argocd = ArgoCd::new(fake.client().unwrap());
        Self { clock, commits, fake, argocd }
    }

    fn context(&self, key: &str) -> Context {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let cx = Context::new(clock, Actor::user("alice"), key);
        cx.clone().with_deadline(cx.now() + Duration::from_secs(24 * 3_600))
    }

    async fn observe(&self, app: &str) -> Observation {
        let config = serde_json::to_value(ArgoCdApp::new(app)).unwrap();
        self.argocd.observe(&self.context("observe"), &ObserveRequest::new(&config)).await.unwrap()
    }

    /// Lets some time pass, and what listens hear of it.
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.fake.syncs();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until nobody reads any more.
    async fn settle(&self) {
        let mut before = None;
        while before != Some(self.fake.requests().len()) {
            before = Some(self.fake.requests().len());
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Reads until the stream is open.
    async fn listen(&self, app: &str) {
        for _ in 0..500 {
            self.observe(app).await;
            let before = self.fake.requests().len();
            self.observe(app).await;
            if self.fake.requests().len() == before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the stream does not open");
    }
}

/// How often each kind of request was made, without the names of the applications.
fn kinds(requests: &[String]) -> std::collections::BTreeMap<String, usize> {
    let mut kinds = std::collections::BTreeMap::new();
    for request in requests {
        let parts = request.split('/').map(|part| if part.starts_with("app-") { "*" } else { part });
        *kinds.entry(parts.collect::<Vec<_>>().join("/")).or_default() += 1;
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_deployments_that_wait_for_ten_minutes_cost_two_lists_and_one_look_each() {
    const APPS: usize = 500;
    let idle = Idle::new().await;
    let wanted = idle.commits.commit("main", [("dev", "v1")]);
    idle.fake.stall_revision(&wanted);
    let names: Vec<String> = (0..APPS).map(|at| format!("app-{at:03}")).collect();
    for name in &names {
        idle.fake.create_app(FakeApp::new(name).source(REPO, "main", "dev"));
        // They began at different times, and so are compared anew at different ones.
        idle.clock.advance(Duration::from_millis(300));
        idle.fake.sync_as_user(name, "alice", None);
    }
    idle.listen(&names[0]).await;
    idle.pass(Duration::from_secs(60)).await;
    let (argocd, wanted) = (&idle.argocd, wanted.as_str());
    let deploys: Vec<_> = names
        .iter()
        .map(|name| {
            let (argocd, cx, wanted) = (argocd.clone(), idle.context(&format!("p1.{name}")), wanted.to_owned());
            let config = serde_json::to_value(ArgoCdApp::new(name)).unwrap();
            tokio::spawn(async move {
                let freight = Freight::new("main", Vec::new(), cx.now());
                let promotion = PromotionInfo::new("shop", "p1", "dev", freight, Actor::user("alice"), cx.now());
                let mut state = None;
                loop {
                    let request = DeployRequest::new(&promotion, &config, Some(wanted.as_str().into()), cx.now());
                    match argocd.deploy(&cx, &request.with_state(state.as_ref())).await.unwrap() {
                        Deployment::Pending { check_after, state: next, .. } => {
                            state = next;
                            cx.sleep(check_after).await.unwrap();
                        }
                        other => break other,
                    }
                }
            })
        })
        .collect();
    // By then each has had its comparison, and after a minute of progressing its objects were looked at.
    for _ in 0..60 {
        idle.pass(Duration::from_secs(3)).await;
    }
    let before = idle.fake.requests();
    let trees = before.iter().filter(|request| request.ends_with("/resource-tree")).count();
    assert_eq!(trees, APPS, "each has been looked at once: {:?}", kinds(&before));
    for _ in 0..200 {
        idle.pass(Duration::from_secs(3)).await;
    }
    let new = idle.fake.requests().split_off(before.len());
    // Argo CD has compared each three times since, and nobody has asked for it.
    let kinds = kinds(&new);
    assert!(kinds.keys().all(|kind| kind == "GET /api/v1/applications"), "{kinds:?}");
    assert!(new.len() <= 3, "{kinds:?}");
    assert!(deploys.iter().all(|deploy| !deploy.is_finished()));
    // They wait all the same: what changes is heard of.
    idle.fake.edit_app(&names[7], |app| app.deleting = true);
    for _ in 0..100 {
        idle.pass(Duration::from_secs(1)).await;
        if deploys[7].is_finished() {
            break;
        }
    }
    assert_eq!(deploys.iter().filter(|deploy| deploy.is_finished()).count(), 1);
    deploys.iter().for_each(|deploy| deploy.abort());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stream_has_lost_does_not_fail_a_deployment_that_has_recovered() {
    let idle = Idle::new().await;
    idle.commits.commit("main", [("dev", "v1")]);
    idle.fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev").canary([10]));
    idle.fake.sync_as_user("shop", "alice", None);
    idle.pass(Duration::from_secs(60)).await;
    idle.listen("shop").await;
    let wanted = idle.commits.commit("main", [("dev", "v2")]);
    let config = serde_json::to_value(ArgoCdApp::new("shop")).unwrap();
    let (cx, argocd, revision) = (idle.context("p1"), idle.argocd.clone(), wanted.clone());
    let deploy = tokio::spawn(async move {
        let freight = Freight::new("main", Vec::new(), cx.now());
        let promotion = PromotionInfo::new("shop", "p1", "dev", freight, Actor::user("alice"), cx.now());
        let (mut state, mut reasons) = (None, Vec::new());
        loop {
            let request = DeployRequest::new(&promotion, &config, Some(revision.as_str().into()), cx.now());
            match argocd.deploy(&cx, &request.with_state(state.as_ref())).await.unwrap() {
                Deployment::Pending { check_after, state: next, reason } => {
                    state = next;
                    reasons.push(reason);
                    cx.sleep(check_after).await.unwrap();
                }
                ended => break (ended, reasons),
            }
        }
    });
    let (client, app) = (idle.fake.client().unwrap(), AppRef::new("shop"));
    let rollout = async || client.rollouts(&app).await.unwrap().pop();
    for _ in 0..60 {
        idle.pass(Duration::from_secs(1)).await;
        if rollout().await.is_some_and(|rollout| rollout.pause.is_some()) {
            break;
        }
    }
    assert!(client.abort(&app, &rollout().await.unwrap()).await.unwrap());
    // What one has read is what the other knows: that it is degraded.
    for _ in 0..60 {
        idle.pass(Duration::from_secs(1)).await;
        if idle.observe("shop").await.health == Health::Unhealthy {
            break;
        }
    }
    assert_eq!(idle.observe("shop").await.health, Health::Unhealthy);
    idle.pass(Duration::from_secs(5)).await;
    // Nothing of that is left to be read after what gets lost.
    idle.settle().await;
    idle.observe("shop").await;
    // Tried again and promoted, it gets well, and nobody hears of it.
    idle.fake.drop_next_events(100);
    client.act(&app, &rollout().await.unwrap().object, "retry").await.unwrap();
    idle.pass(Duration::from_secs(3)).await;
    assert!(client.promote_full(&app, &rollout().await.unwrap()).await.unwrap());
    // The grace, and not as long as it takes until what was lost comes to light by itself.
    for _ in 0..200 {
        idle.pass(Duration::from_secs(1)).await;
        if deploy.is_finished() {
            break;
        }
    }
    let (ended, reasons) = tokio::time::timeout(Duration::from_secs(20), deploy).await.expect("it ends").unwrap();
    assert!(
        matches!(&ended, Deployment::Live { revision, .. } if revision.as_str() == wanted),
        "{ended:?} {reasons:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stream_has_lost_comes_to_light_within_five_minutes() {
    for apps in [1, 20] {
        let idle = Idle::new().await;
        idle.commits.commit("main", [("dev", "v1")]);
        let names: Vec<String> = (0..apps).map(|at| format!("app-{at:03}")).collect();
        for name in &names {
            idle.fake.create_app(FakeApp::new(name).source(REPO, "main", "dev"));
            idle.fake.sync_as_user(name, "alice", None);
        }
        idle.pass(Duration::from_secs(60)).await;
        idle.listen(&names[0]).await;
        for name in &names {
            idle.observe(name).await;
        }
        idle.fake.drop_next_events(1);
        idle.fake.edit_app(&names[0], |app| app.deleting = true);
        idle.pass(Duration::from_secs(1)).await;
        let known = idle.observe(&names[0]).await.detail;
        assert!(!known.contains("being deleted"), "the event was not lost: {known}");
        let mut waited = 1;
        while !idle.observe(&names[0]).await.detail.contains("being deleted") {
            idle.pass(Duration::from_secs(5)).await;
            waited += 5;
            assert!(waited <= 305, "{apps} applications: not seen after {waited} s");
        }
        let before = idle.fake.requests().len();
        for name in &names[1..] {
            idle.observe(name).await;
        }
        assert_eq!(idle.fake.requests().len(), before, "the others are as they were, and not read anew");
    }
}
