//! The steps in a pipeline, run by an engine.

use std::sync::Arc;
use std::time::Duration;

use kargo_core::store::{MemoryStore, Store};
use kargo_core::testing::ScriptedSource;
use kargo_core::{Actor, Engine, Phase, Pipeline, Plugins, PromotionId, Stage, StepSpec, Subscription, Warehouse};
use kargo_git::testing::forge::{FakeForge, Fault};
use kargo_git::{OpenPullRequest, Provider, WaitForPullRequest};
use serde_json::json;

struct World {
    fake: FakeForge,
    store: Arc<MemoryStore>,
}

impl World {
    async fn new(provider: Provider) -> Self {
        let fake = FakeForge::start(provider).await;
        fake.commit("promote", &[("tag", "v2")], "Promote v2");
        Self { fake, store: Arc::new(MemoryStore::new()) }
    }

    async fn engine(&self) -> Engine {
        let forges = self.fake.forges().unwrap();
        let plugins = Plugins::builder()
            .source("versions", ScriptedSource::versions(["1.0.0"]))
            .step("git-open-pr", OpenPullRequest::new(forges.clone()))
            .step("git-wait-for-pr", WaitForPullRequest::new(forges))
            .build();
        let url = self.fake.url();
        let open = json!({"repoURL": url, "sourceBranch": "promote", "targetBranch": "main"});
        let wait = json!({"repoURL": url, "prNumber": 1, "pollInterval": "1s"});
        let subscription = Subscription::new("versions", json!({}));
        let stage = Stage::new("prod")
            .direct("main")
            .auto_promote()
            .step(StepSpec::new("git-open-pr", open).named("open"))
            .step(StepSpec::new("git-wait-for-pr", wait).named("wait"));
        let warehouse = Warehouse::new("main").subscribe(subscription).every(Duration::from_secs(60));
        let pipeline = Pipeline::builder("shop").warehouse(warehouse).stage(stage).build().unwrap();
        Engine::builder(pipeline, plugins).store(Arc::clone(&self.store) as Arc<dyn Store>).start().await.unwrap()
    }
}

/// The promotion, once its second step waits.
async fn waiting(engine: &Engine) -> PromotionId {
    let found = engine.until(|state| {
        let promotion = state.promotions().next()?;
        let waits = promotion.steps.get(1).is_some_and(|step| step.task.message.contains("somebody to merge it"));
        waits.then(|| promotion.id.clone())
    });
    found.await.unwrap()
}

#[tokio::test]
async fn core_26_a_promotion_outlives_its_engine_and_a_gateway_that_times_out() {
    let world = World::new(Provider::GitHub).await;
    let engine = world.engine().await;
    let id = waiting(&engine).await;
    engine.shutdown().await.unwrap();
    world.fake.fault_after(0, Fault::Status(504));
    let engine = world.engine().await;
    world.fake.merge(1);
    let ended = engine.finished(&id).await.unwrap();
    assert_eq!(ended.phase, Phase::Succeeded, "{}", ended.message);
    let outputs = serde_json::to_value(&ended.steps[1].task.outputs).unwrap();
    assert_eq!(outputs["commit"], world.fake.tip("main").as_str());
    assert_eq!(world.fake.pull_requests().len(), 1);
}

#[tokio::test]
async fn a_promotion_that_is_aborted_closes_its_pull_request() {
    let world = World::new(Provider::GitLab).await;
    let engine = world.engine().await;
    let id = waiting(&engine).await;
    engine.abort(&id, Actor::user("alice")).await.unwrap();
    let ended = engine.finished(&id).await.unwrap();
    assert_eq!(ended.phase, Phase::Aborted, "{}", ended.message);
    assert_eq!(world.fake.pull_requests()[0].state, "closed");
}
