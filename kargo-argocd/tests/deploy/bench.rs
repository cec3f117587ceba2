//! A repository, a fake Argo CD, a deployer, and a clock for all of them.

use std::sync::Arc;
use std::time::Duration;

use kargo_argocd::testing::{Commits, FakeApp, FakeArgoCd, Timings};
use kargo_argocd::{ArgoCd, ArgoCdApp};
use kargo_core::plugin::{Context, DeployRequest, Deployer, Deployment, Observation, ObserveRequest};
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Clock, Freight, PromotionInfo, Result, Revision};
use serde_json::Value;

pub(crate) const REPO: &str = "https://git.example/config";

pub(crate) struct Bench {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) commits: Commits,
    pub(crate) fake: FakeArgoCd,
    pub(crate) argocd: ArgoCd,
}

/// One deployment, as the engine carries it on.
pub(crate) struct Deploy<'a> {
    bench: &'a Bench,
    key: String,
    config: Value,
    revision: Option<Revision>,
    started_at: jiff::Timestamp,
    state: Option<Value>,
    /// On whose behalf.
    pub(crate) actor: Actor,
    /// Every reason there was for waiting.
    pub(crate) reasons: Vec<String>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(Timings::default()).await
    }

    pub(crate) async fn with(timings: Timings) -> Self {
        let clock = Arc::new(ManualClock::at("2026-01-01T10:00:00.4Z"));
        let commits = Commits::new();
        let fake = FakeArgoCd::builder()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .commits(&commits)
            .timings(timings)
            .start()
            .await
            .unwrap();
        let argocd = ArgoCd::new(fake.client().unwrap()).history(commits.clone()).polling();
        Self { clock, commits, fake, argocd }
    }

    /// A bench with an application that follows `main` and already runs its first commit.
    pub(crate) async fn running(app: FakeApp) -> (Self, String) {
        let bench = Self::new().await;
        let first = bench.commits.commit("main", [("dev", "v1")]);
        let name = app.name.clone();
        bench.fake.create_app(app);
        bench.fake.sync_as_user(&name, "alice", None);
        bench.pass(60);
        assert!(bench.fake.is_ready(&name));
        (bench, first)
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        // Any look lets the fake catch up.
        self.fake.syncs();
    }

    pub(crate) fn deploy(&self, key: &str, config: ArgoCdApp, revision: &str) -> Deploy<'_> {
        self.deploy_all(key, &config, revision)
    }

    /// As [`Bench::deploy`], of one application or of several.
    pub(crate) fn deploy_all(&self, key: &str, config: &impl serde::Serialize, revision: &str) -> Deploy<'_> {
        Deploy {
            bench: self,
            key: key.to_owned(),
            config: serde_json::to_value(config).unwrap(),
            revision: Some(revision.into()),
            started_at: self.clock.now(),
            state: None,
            actor: Actor::user("alice"),
            reasons: Vec::new(),
        }
    }

    pub(crate) async fn observe(&self, app: &str) -> Observation {
        let config = serde_json::to_value(ArgoCdApp::new(app)).unwrap();
        self.argocd.observe(&self.context("observe"), &ObserveRequest::new(&config)).await.unwrap()
    }

    /// As [`Bench::observe`], held against what was promoted.
    pub(crate) async fn observe_result(&self, app: &str, wanted: &str) -> Observation {
        let config = serde_json::to_value(ArgoCdApp::new(app)).unwrap();
        let freight = Freight::new("main", Vec::new(), self.clock.now());
        let promotion = PromotionInfo::new("shop", "p1", "dev", freight, Actor::user("alice"), self.clock.now());
        let request = ObserveRequest::new(&config).result_of(&promotion, Some(wanted.into()));
        self.argocd.observe(&self.context("observe"), &request).await.unwrap()
    }

    pub(crate) fn context(&self, key: &str) -> Context {
        Context::new(Arc::clone(&self.clock) as Arc<dyn Clock>, Actor::user("alice"), key)
    }
}

impl Deploy<'_> {
    fn promotion(&self) -> PromotionInfo {
        let freight = Freight::new("main", Vec::new(), self.started_at);
        PromotionInfo::new("shop", "dev.01.abc", "dev", freight, self.actor.clone(), self.started_at)
    }

    fn context(&self) -> Context {
        Context::new(Arc::clone(&self.bench.clock) as Arc<dyn Clock>, self.actor.clone(), self.key.as_str())
    }

    /// One call, with a deployer that remembers nothing by itself.
    pub(crate) async fn poll(&mut self) -> Result<Deployment> {
        let promotion = self.promotion();
        let request = DeployRequest::new(&promotion, &self.config, self.revision.clone(), self.started_at)
            .with_state(self.state.as_ref());
        let deployment = self.bench.argocd.deploy(&self.context(), &request).await?;
        if let Deployment::Pending { reason, state, .. } = &deployment {
            self.reasons.push(reason.clone());
            self.state.clone_from(state);
        }
        Ok(deployment)
    }

    /// Calls until it ends, letting the time pass that each answer asks for.
    pub(crate) async fn run(&mut self) -> Result<Deployment> {
        for _ in 0..300 {
            match self.poll().await? {
                Deployment::Pending { check_after, .. } => {
                    self.bench.clock.advance(check_after.max(Duration::from_millis(50)))
                }
                ended => return Ok(ended),
            }
        }
        panic!("the deployment did not end: {:#?}", self.reasons);
    }

    /// Calls until a reason for waiting holds `text`.
    pub(crate) async fn run_until(&mut self, text: &str) {
        for _ in 0..300 {
            match self.poll().await.unwrap() {
                Deployment::Pending { reason, .. } if reason.contains(text) => return,
                Deployment::Pending { check_after, .. } => {
                    self.bench.clock.advance(check_after.max(Duration::from_millis(50)))
                }
                ended => panic!("ended before {text:?}: {ended:?} after {:#?}", self.reasons),
            }
        }
        panic!("never {text:?}: {:#?}", self.reasons);
    }

    /// Not asked for by a person.
    pub(crate) fn by_rule(mut self) -> Self {
        self.actor = Actor::engine();
        self
    }

    /// Wants no particular revision.
    pub(crate) fn of_anything(mut self) -> Self {
        self.revision = None;
        self
    }

    /// Forgets what a crash would lose.
    pub(crate) fn crash(&mut self) {
        self.state = None;
    }

    pub(crate) async fn abort(&self) -> Result<()> {
        let promotion = self.promotion();
        let request = DeployRequest::new(&promotion, &self.config, self.revision.clone(), self.started_at)
            .with_state(self.state.as_ref());
        self.bench.argocd.abort(&self.context(), &request).await
    }
}

#[track_caller]
pub(crate) fn assert_live(deployment: &Deployment, wanted: &str) -> String {
    match deployment {
        Deployment::Live { revision, evidence } => {
            assert_eq!(revision.as_str(), wanted, "{evidence}");
            evidence.clone()
        }
        other => panic!("not live: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_failed(deployment: &Deployment) -> &str {
    match deployment {
        Deployment::Failed { reason } => reason,
        other => panic!("not failed: {other:?}"),
    }
}
