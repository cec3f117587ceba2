//! The steps in a pipeline, run by an engine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use kargo_core::manifest::Manifests;
use kargo_core::plugin::{Context, Step, StepDefaults, StepOutcome, StepRequest};
use kargo_core::state::Promotion;
use kargo_core::store::{MemoryStore, Store};
use kargo_core::testing::{ManualClock, ScriptedSource};
use kargo_core::{
    Actor, Clock, Condition, Engine, Phase, Pipeline, Plugins, PromotionId, Stage, StepSpec, Subscription, SystemClock,
    Warehouse,
};
use kargo_git::testing::forge::{FakeForge, Fault};
use kargo_git::{MergePullRequest, OpenPullRequest, Provider, WaitForPullRequest};
use serde_json::{Value, json};

use crate::bench::ALL;

/// How often `git-wait-for-pr` looks when nothing is said.
const INTERVAL: SignedDuration = SignedDuration::from_secs(30);

struct World {
    fake: FakeForge,
    store: Arc<MemoryStore>,
    clock: Arc<dyn Clock>,
    looks: Looks,
}

impl World {
    async fn new(provider: Provider) -> Self {
        let fake = FakeForge::start(provider).await;
        fake.commit("promote", &[("tag", "v2")], "Promote v2");
        Self { fake, store: Arc::new(MemoryStore::new()), clock: Arc::new(SystemClock), looks: Looks::default() }
    }

    fn open(&self) -> StepSpec {
        let open = json!({"repoURL": self.fake.url(), "sourceBranch": "promote", "targetBranch": "main"});
        StepSpec::new("git-open-pr", open).named("open")
    }

    fn wait(&self, number: &str) -> StepSpec {
        let wait = json!({"repoURL": self.fake.url(), "prNumber": number, "pollInterval": "1s"});
        StepSpec::new("git-wait-for-pr", wait).named("wait")
    }

    async fn engine(&self) -> Engine {
        self.engine_for([self.open(), self.wait("1")]).await
    }

    async fn engine_for(&self, steps: impl IntoIterator<Item = StepSpec>) -> Engine {
        let forges = self.fake.forges().unwrap();
        let wait = Watched { step: WaitForPullRequest::new(forges.clone()), looks: self.looks.clone() };
        let plugins = Plugins::builder()
            .source("versions", ScriptedSource::versions(["1.0.0"]))
            .step("git-open-pr", OpenPullRequest::new(forges.clone()))
            .step("git-merge-pr", MergePullRequest::new(forges))
            .step("git-wait-for-pr", wait)
            .build();
        let stage = steps.into_iter().fold(Stage::new("prod").direct("main").auto_promote(), Stage::step);
        let subscription = Subscription::new("versions", json!({}));
        let warehouse = Warehouse::new("main").subscribe(subscription).every(Duration::from_secs(3600));
        let pipeline = Pipeline::builder("shop").warehouse(warehouse).stage(stage).build().unwrap();
        let engine = Engine::builder(pipeline, plugins).store(Arc::clone(&self.store) as Arc<dyn Store>);
        engine.clock(Arc::clone(&self.clock)).start().await.unwrap()
    }
}

/// When `git-wait-for-pr` was called, and how many of the calls have ended.
#[derive(Debug, Clone, Default)]
struct Looks(Arc<(Mutex<Vec<Timestamp>>, AtomicUsize)>);

impl Looks {
    fn times(&self) -> Vec<Timestamp> {
        self.0.0.lock().unwrap().clone()
    }

    /// Waits until the engine has done all that it does without the clock going on.
    async fn settle(&self) {
        loop {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            if self.times().len() == self.0.1.load(Ordering::SeqCst) {
                return;
            }
            // An answer is on its way, by the time of the network.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[derive(Debug)]
struct Watched {
    step: WaitForPullRequest,
    looks: Looks,
}

#[async_trait]
impl Step for Watched {
    fn validate(&self, config: &Value) -> kargo_core::Result<()> {
        self.step.validate(config)
    }

    fn defaults(&self) -> StepDefaults {
        self.step.defaults()
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> kargo_core::Result<StepOutcome> {
        self.looks.0.0.lock().unwrap().push(cx.now());
        let outcome = self.step.run(cx, request).await;
        self.looks.0.1.fetch_add(1, Ordering::SeqCst);
        outcome
    }

    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> kargo_core::Result<()> {
        self.step.abort(cx, request).await
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

/// The only promotion, once it has ended.
async fn ended(engine: &Engine) -> Promotion {
    let id = engine.until(|state| state.promotions().next().map(|promotion| promotion.id.clone())).await.unwrap();
    engine.finished(&id).await.unwrap()
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

/// The steps of a stage as an older Kargo has them, which refer to each other without expressions.
fn old_steps(url: &str) -> Vec<StepSpec> {
    let manifest = format!(
        "apiVersion: kargo.akuity.io/v1alpha1
kind: Warehouse
metadata: {{name: main, namespace: shop}}
spec: {{subscriptions: [{{image: {{repoURL: ghcr.io/acme/app}}}}]}}
---
apiVersion: kargo.akuity.io/v1alpha1
kind: Stage
metadata: {{name: prod, namespace: shop}}
spec:
  requestedFreight: [{{origin: {{kind: Warehouse, name: main}}, sources: {{direct: true}}}}]
  promotionTemplate:
    spec:
      steps:
      - uses: git-open-pr
        as: open
        config: {{repoURL: '{url}', sourceBranch: promote, targetBranch: main}}
      - uses: git-wait-for-pr
        as: wait
        config: {{repoURL: '{url}', prNumberFromStep: open}}
"
    );
    let pipelines = Manifests::parse("shop.yaml", manifest).pipelines().unwrap();
    pipelines[0].pipeline.stage(&"prod".into()).unwrap().steps().iter().map(|step| (**step).clone()).collect()
}

#[tokio::test]
async fn git_08_without_a_difference_both_are_skipped_and_the_promotion_succeeds() {
    for provider in ALL {
        let guard = Condition::Expression("${{ status('open') == 'Succeeded' }}".to_owned());
        for form in ["an expression", "a condition", "of an older Kargo", "merged by the promotion"] {
            let world = World::new(provider).await;
            world.fake.branch("promote", "main");
            let number = "${{ outputs.open.pr.id }}";
            let merge = StepSpec::new("git-merge-pr", json!({"repoURL": world.fake.url(), "prNumber": number}));
            let steps = match form {
                "an expression" => vec![world.open(), world.wait(number)],
                "a condition" => vec![world.open(), world.wait(number).when(guard.clone())],
                "of an older Kargo" => old_steps(&world.fake.url()),
                _ => vec![world.open(), merge.named("merge")],
            };
            let engine = world.engine_for(steps).await;
            let ended = ended(&engine).await;
            assert_eq!(ended.phase, Phase::Succeeded, "{provider}, {form}: {}", ended.message);
            let phases: Vec<Phase> = ended.steps.iter().map(|step| step.task.phase).collect();
            assert_eq!(phases, [Phase::Skipped, Phase::Skipped], "{provider}, {form}");
            assert!(world.fake.pull_requests().is_empty(), "{provider}, {form}");
            assert_eq!(ended.steps[0].task.outputs["commit"], world.fake.tip("main").as_str(), "{provider}, {form}");
        }
    }
}

/// Scenario S12 of the specification.
#[tokio::test]
async fn one_that_is_closed_fails_the_promotion() {
    for provider in ALL {
        for condition in [None, Some(Condition::Expression("${{ status('open') == 'Succeeded' }}".to_owned()))] {
            let world = World::new(provider).await;
            let wait = world.wait("${{ outputs.open.pr.id }}");
            let wait = condition.into_iter().fold(wait, StepSpec::when);
            let engine = world.engine_for([world.open(), wait]).await;
            let id = waiting(&engine).await;
            world.fake.close(1);
            let ended = engine.finished(&id).await.unwrap();
            assert_eq!(ended.phase, Phase::Failed, "{provider}: {}", ended.message);
            assert!(ended.message.contains("closed without being merged"), "{provider}: {}", ended.message);
        }
    }
}

/// A promotion that waits, by a clock that the test turns; and that clock.
async fn watched(provider: Provider, before_first_look: impl FnOnce(&FakeForge)) -> (World, Engine, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let world = World { clock: Arc::clone(&clock) as _, ..World::new(provider).await };
    world.fake.open("promote", "main");
    before_first_look(&world.fake);
    // The number is known, so that all requests are those of looks.
    let wait = json!({"repoURL": world.fake.url(), "prNumber": 1});
    let engine = world.engine_for([StepSpec::new("git-wait-for-pr", wait).named("wait")]).await;
    while world.looks.times().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.looks.settle().await;
    (world, engine, clock)
}

/// Lets time pass, second by second.
async fn pass(world: &World, clock: &ManualClock, seconds: u32) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        world.looks.settle().await;
    }
}

#[tokio::test]
async fn git_27_it_looks_once_an_interval_and_ends_within_one_of_the_merge() {
    for provider in ALL {
        let (world, engine, clock) = watched(provider, |_| {}).await;
        let began = world.looks.times()[0];
        pass(&world, &clock, 95).await;
        world.fake.merge(1);
        let merged = clock.now();
        while engine.read(|state| state.promotions().any(|promotion| !promotion.phase.is_terminal())) {
            assert!(clock.now().duration_since(merged) <= INTERVAL, "{provider}: it has not seen the merge");
            pass(&world, &clock, 1).await;
        }
        assert_eq!(ended(&engine).await.phase, Phase::Succeeded, "{provider}");
        let looks = world.looks.times();
        let intervals = clock.now().duration_since(began).as_secs() / INTERVAL.as_secs();
        assert!(looks.len() as i64 <= intervals + 1, "{provider}: {looks:?}");
        assert!(looks.windows(2).all(|two| two[1].duration_since(two[0]) == INTERVAL), "{provider}: {looks:?}");
        let requests = match provider {
            // What an open one waits for is a question of its own.
            Provider::BitbucketDataCenter => 2 * looks.len() - 1,
            // And so are the last digits of the commit by which it was merged.
            Provider::BitbucketCloud => looks.len() + 1,
            _ => looks.len(),
        };
        assert_eq!(world.fake.requests().len(), requests, "{provider}: {:?}", world.fake.requests());
    }
}

#[tokio::test]
async fn git_27_nothing_is_asked_before_the_pause_is_over_that_the_forge_asks_for() {
    for provider in ALL {
        let (world, engine, clock) = watched(provider, |_| {}).await;
        pass(&world, &clock, 29).await;
        world.fake.fault_after(0, Fault::RateLimited { seconds: 90 });
        pass(&world, &clock, 90).await;
        let looks = world.looks.times();
        assert_eq!(looks.len(), 2, "{provider}: {looks:?}");
        world.fake.merge(1);
        pass(&world, &clock, 5).await;
        let looks = world.looks.times();
        let pause = looks[2].duration_since(looks[1]);
        assert!((90..=92).contains(&pause.as_secs()), "{provider}: {pause}");
        assert_eq!(ended(&engine).await.phase, Phase::Succeeded, "{provider}");
    }
}

#[tokio::test]
async fn git_27_trouble_of_the_forge_is_waited_out_from_the_first_look_on() {
    for provider in ALL {
        let (world, engine, clock) = watched(provider, |fake| fake.set_fault(Some(Fault::Status(502)))).await;
        pass(&world, &clock, 20).await;
        assert!((2..=6).contains(&world.looks.times().len()), "{provider}: {:?}", world.looks.times());
        world.fake.set_fault(None);
        world.fake.merge(1);
        pass(&world, &clock, 60).await;
        assert_eq!(ended(&engine).await.phase, Phase::Succeeded, "{provider}");
    }
}
