//! A forge, a promotion, and the three steps.

use jiff::Timestamp;
use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest};
use kargo_core::{Actor, Freight, PromotionInfo, Result};
use kargo_git::testing::forge::FakeForge;
use kargo_git::{Forge, Forges, MergePullRequest, OpenPullRequest, Provider, WaitForPullRequest};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(crate) const ALL: [Provider; 6] = Provider::ALL;

/// A forge with the branch `promote`, one commit ahead of `main`, and a promotion that is about to make a pull request of it.
pub(crate) struct Bench {
    pub(crate) fake: FakeForge,
    pub(crate) forges: Forges,
    pub(crate) promotion: PromotionInfo,
    pub(crate) started_at: Timestamp,
}

pub(crate) fn promotion(id: &str) -> PromotionInfo {
    let freight = Freight::new("main", vec![], Timestamp::UNIX_EPOCH);
    PromotionInfo::new("shop", id, "prod", freight, Actor::user("alice"), Timestamp::now())
}

pub(crate) fn cx() -> Context {
    Context::system("prod.1/step-1")
}

impl Bench {
    pub(crate) async fn new(provider: Provider) -> Self {
        let fake = FakeForge::start(provider).await;
        fake.commit("promote", &[("tag", "v2")], "Promote v2\n\nTested in staging.");
        let forges = fake.forges().unwrap();
        Self { fake, forges, promotion: promotion("prod.1"), started_at: Timestamp::now() }
    }

    /// With the pull request open that the promotion has opened.
    pub(crate) async fn with_open(provider: Provider) -> Self {
        let bench = Self::new(provider).await;
        assert_eq!(number(&bench.open().await.unwrap()), 1);
        bench
    }

    pub(crate) fn forge(&self) -> Arc<dyn Forge> {
        self.forges.repository(&self.fake.url()).unwrap()
    }

    /// A configuration, with more fields than it needs.
    pub(crate) fn config(&self, more: Value) -> Value {
        let mut config = json!({"repoURL": self.fake.url()});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    pub(crate) fn branches(&self) -> Value {
        self.config(json!({"sourceBranch": "promote", "targetBranch": "main"}))
    }

    pub(crate) async fn run(&self, step: &dyn Step, config: &Value, state: Option<&Value>) -> Result<StepOutcome> {
        let mut request = StepRequest::new(&self.promotion, "pr", config, self.started_at);
        request.state = state;
        step.run(&cx(), &request).await
    }

    pub(crate) async fn open_with(&self, config: &Value) -> Result<StepOutcome> {
        self.run(&OpenPullRequest::new(self.forges.clone()), config, None).await
    }

    pub(crate) async fn open(&self) -> Result<StepOutcome> {
        self.open_with(&self.branches()).await
    }

    pub(crate) async fn wait(&self, number: u64) -> Result<StepOutcome> {
        let config = self.config(json!({ "prNumber": number }));
        self.run(&WaitForPullRequest::new(self.forges.clone()), &config, None).await
    }

    pub(crate) async fn merge_with(&self, more: Value, state: Option<&Value>) -> Result<StepOutcome> {
        let step = MergePullRequest::new(self.forges.clone());
        self.run(&step, &self.config(more), state).await
    }

    pub(crate) async fn merge(&self, number: u64) -> Result<StepOutcome> {
        self.merge_with(json!({ "prNumber": number }), None).await
    }

    pub(crate) async fn abort(&self, step: &dyn Step, config: &Value) -> Result<()> {
        step.abort(&cx(), &StepRequest::new(&self.promotion, "pr", config, self.started_at)).await
    }

    /// The states of the pull requests, oldest first.
    pub(crate) fn states(&self) -> Vec<&'static str> {
        self.fake.pull_requests().iter().map(|pull| pull.state).collect()
    }
}

pub(crate) fn outputs(outcome: &StepOutcome) -> &Map<String, Value> {
    match outcome {
        StepOutcome::Succeeded { outputs, .. } => outputs,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn number(outcome: &StepOutcome) -> u64 {
    outputs(outcome)["pr"]["id"].as_u64().unwrap()
}

#[track_caller]
pub(crate) fn assert_failed(outcome: &StepOutcome, words: &str) {
    match outcome {
        StepOutcome::Failed { reason } => assert!(reason.contains(words), "{reason:?} has no {words:?}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_skipped(outcome: &StepOutcome, words: &str) {
    match outcome {
        StepOutcome::Skipped { outputs, reason } => {
            assert!(outputs.is_empty() && reason.contains(words), "{outcome:?}")
        }
        other => panic!("{other:?}"),
    }
}

/// That no pull request is needed, since `target` has it all.
#[track_caller]
pub(crate) fn assert_nothing_to_merge(outcome: &StepOutcome, target: &str) {
    match outcome {
        StepOutcome::Skipped { outputs, reason } => {
            assert!(reason.contains("would change nothing"), "{reason}");
            assert_eq!(json!(outputs), json!({"pr": {"id": null, "url": null}, "commit": target}));
        }
        other => panic!("{other:?}"),
    }
}

/// What a step says that it waits for, and what it wants to remember.
#[track_caller]
pub(crate) fn assert_waits(outcome: StepOutcome, words: &str) -> Option<Value> {
    match outcome {
        StepOutcome::Running { reason, state, .. } => {
            assert!(reason.contains(words), "{reason:?} has no {words:?}");
            state
        }
        other => panic!("{other:?}"),
    }
}
