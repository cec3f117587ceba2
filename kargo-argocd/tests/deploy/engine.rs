//! The deployer within an engine, whose steps have an end of their own and whose newer freight takes the place of older.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use kargo_argocd::testing::{Commits, FakeApp, FakeArgoCd, Timings};
use kargo_argocd::{ArgoCd, ArgoCdApp};
use kargo_core::plugin::{Context, Plugins, Step, StepOutcome, StepRequest};
use kargo_core::state::{Promotion, State};
use kargo_core::testing::ScriptedSource;
use kargo_core::{Actor, Engine, FreightId, Phase, Pipeline, Result, Stage, StepSpec, Subscription, Warehouse};
use serde_json::{Map, Value, json};

use crate::bench::REPO;

/// Ends within its own time, or the test fails.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it ends")
}

/// Says at which commit a version is, as a step that writes it would.
#[derive(Debug)]
struct Written(BTreeMap<String, String>);

#[async_trait]
impl Step for Written {
    async fn run(&self, _cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let versions = request.promotion.freight.artifacts().iter().map(|artifact| artifact.version().to_owned());
        let commit = versions.filter_map(|version| self.0.get(&version)).next().expect("the version was written");
        let outputs = Map::from_iter([("revision".to_owned(), Value::from(commit.as_str()))]);
        Ok(StepOutcome::Succeeded { outputs, message: String::new() })
    }
}

/// A pipeline of one stage, whose versions are commits, and what it deploys to.
struct Shop {
    fake: FakeArgoCd,
    source: ScriptedSource,
    engine: Engine,
}

impl Shop {
    /// Begins with the first of `versions`, each with its commit.
    async fn start(fake: FakeArgoCd, stage: Stage, versions: &[(&str, &str)]) -> Self {
        let source = ScriptedSource::versions([versions[0].0]);
        let written = versions.iter().map(|(version, commit)| ((*version).to_owned(), (*commit).to_owned())).collect();
        let pipeline = Pipeline::builder("shop")
            .warehouse(Warehouse::new("main").subscribe(Subscription::new("image", json!({"name": "app"}))))
            .stage(stage)
            .build()
            .unwrap();
        let plugins = Plugins::builder()
            .source("image", source.clone())
            .step("written", Written(written))
            .deployer("argocd", ArgoCd::new(fake.client().unwrap()))
            .build();
        let engine = Engine::builder(pipeline, plugins).clock(fake.clock()).start().await.unwrap();
        Self { fake, source, engine }
    }

    /// Publishes a version, and waits until there is freight of it.
    async fn publish(&self, version: &str) {
        self.source.publish(version);
        self.engine.refresh("main").await.unwrap();
    }

    async fn freight(&self) -> FreightId {
        let newest = |state: &State| Some(state.newest_first(&"main".into()).next()?.freight().id().clone());
        in_time(self.engine.until(newest)).await.unwrap()
    }

    async fn promoted(&self) -> Promotion {
        let freight = self.freight().await;
        let promotion = self.engine.promote("dev", &freight, Actor::user("alice")).await.unwrap();
        in_time(self.engine.finished(&promotion)).await.unwrap()
    }

    fn deletes(&self) -> usize {
        self.fake.requests().iter().filter(|request| *request == "DELETE /api/v1/applications/shop/operation").count()
    }
}

fn dev(timeout: Duration) -> Stage {
    let sync = StepSpec::deploy("argocd", ArgoCdApp::new("shop")).named("sync").timeout(timeout);
    Stage::new("dev").direct("main").step(StepSpec::new("written", json!({}))).step(sync)
}

/// On whose clock `speed` seconds pass in a real one. The engine's deadlines do as well, so that not too many may.
async fn fake(commits: &Commits, speed: u32) -> FakeArgoCd {
    FakeArgoCd::builder().commits(commits).speed(speed).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_aa_an_endless_progressing_ends_with_the_time_of_its_step_and_says_what_it_waited_for() {
    let commits = Commits::new();
    let wanted = commits.commit("main", [("dev", "v1")]);
    let fake = fake(&commits, 50).await;
    fake.create_app(FakeApp::new("shop").source(REPO, "main", "dev"));
    fake.stall_revision(&wanted);
    let shop = Shop::start(fake, dev(Duration::from_secs(300)), &[("1.0.0", &wanted)]).await;
    let ended = shop.promoted().await;
    let step = &ended.steps[1].task;
    let took = step.finished_at.unwrap().duration_since(step.started_at.unwrap()).as_secs();
    assert!((300..400).contains(&took), "{took} s");
    assert_eq!(ended.phase, Phase::Errored);
    let message = &ended.message;
    assert!(message.contains("not done within 300s") && message.contains("progressing"), "{message}");
    assert!(message.contains("Deployment/shop"), "{message}");
    // What is behind it, which the application itself does not show.
    assert!(message.contains("Pod/shop-0 is Progressing (Back-off pulling image"), "{message}");
    assert_eq!(shop.fake.syncs().len(), 1);
    shop.engine.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_16_an_operation_that_hangs_ends_with_the_time_of_its_step_says_why_and_is_terminated() {
    let commits = Commits::new();
    let wanted = commits.commit("main", [("dev", "v1")]);
    let fake = fake(&commits, 30).await;
    let mut app = FakeApp::new("shop").source(REPO, "main", "dev");
    // The second wave waits for the first, which does not get ready.
    app.waves = true;
    fake.create_app(app);
    fake.stall_revision(&wanted);
    let shop = Shop::start(fake, dev(Duration::from_secs(120)), &[("1.0.0", &wanted)]).await;
    let ended = shop.promoted().await;
    assert_eq!(ended.phase, Phase::Errored);
    assert!(ended.message.contains("waiting for healthy state of apps/Deployment/shop"), "{}", ended.message);
    assert!(!shop.fake.is_operating("shop"), "left alone it would go on, unattended");
    assert_eq!((shop.fake.syncs().len(), shop.deletes()), (1, 1));
    shop.engine.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_38_newer_freight_terminates_the_endless_retries_of_the_older_and_goes_live() {
    let commits = Commits::new();
    let bad = commits.commit("main", [("dev", "bad")]);
    commits.set_branch("fix", &bad);
    let fixed = commits.commit("fix", [("dev", "fixed")]);
    let fake = fake(&commits, 20).await;
    let mut app = FakeApp::new("shop").source(REPO, "main", "dev");
    app.retries = u32::MAX;
    fake.create_app(app);
    fake.fail_sync_of(&bad, "one or more objects failed to apply");
    let stage = dev(Duration::from_secs(7_200)).auto_promote().supersede();
    let shop = Shop::start(fake, stage, &[("1.0.0", &bad), ("1.0.1", &fixed)]).await;
    let retries = |state: &State| {
        let waits =
            |promotion: &&Promotion| promotion.steps.iter().any(|step| step.task.message.contains("tried again"));
        state.promotions().find(waits).map(|promotion| promotion.id.clone())
    };
    let old = in_time(shop.engine.until(retries)).await.unwrap();
    commits.set_branch("main", &fixed);
    shop.publish("1.0.1").await;
    let next = |state: &State| state.promotions().find(|new| new.id != old).map(|new| new.id.clone());
    let new = in_time(shop.engine.until(next)).await.unwrap();
    let new = in_time(shop.engine.finished(&new)).await.unwrap();
    assert_eq!(new.phase, Phase::Succeeded, "{}", new.message);
    let old = in_time(shop.engine.finished(&old)).await.unwrap();
    assert_eq!(old.phase, Phase::Aborted);
    assert!(old.message.contains("takes its place"), "{}", old.message);
    assert_eq!(shop.deletes(), 1, "the old operation was terminated");
    let syncs = shop.fake.syncs();
    let revisions: Vec<_> = syncs.iter().map(|sync| sync.revision.as_deref()).collect();
    assert_eq!(revisions, [Some(bad.as_str()), Some(fixed.as_str())]);
    // At once, which is a moment of real time: on the fake's clock, twenty times as long.
    let waited = syncs[1].at.duration_since(old.finished_at.unwrap());
    assert!(waited.as_secs() < 100, "{waited:?}");
    assert_eq!(shop.fake.live_revision("shop"), Some(fixed));
    assert!(shop.fake.is_ready("shop"));
    shop.engine.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_19_what_a_later_commit_left_halfway_ends_with_the_time_of_the_step_and_says_whose_it_is() {
    let commits = Commits::new();
    let wanted = commits.commit("main", [("dev", "v1")]);
    let timings = Timings { ready: Duration::from_secs(50), resync: Duration::from_secs(5), ..Timings::default() };
    let fake = FakeArgoCd::builder().commits(&commits).timings(timings).speed(40).start().await.unwrap();
    let mut app = FakeApp::new("shop").source(REPO, "main", "dev").auto_sync();
    app.waves = true;
    fake.create_app(app);
    let shop = Shop::start(fake, dev(Duration::from_secs(500)), &[("1.0.0", &wanted)]).await;
    let freight = shop.freight().await;
    let id = shop.engine.promote("dev", &freight, Actor::user("alice")).await.unwrap();
    // Applied in full, and its last workloads not ready yet.
    let applied = |state: &State| {
        let all = state.promotions().flat_map(|promotion| &promotion.steps);
        all.into_iter()
            .any(|step| step.task.message.contains("runs") && step.task.message.contains("is progressing"))
            .then_some(())
    };
    in_time(shop.engine.until(applied)).await.unwrap();
    let later = commits.commit("main", [("dev", "v2")]);
    shop.fake.fail_second_wave_of(&later, "quota exceeded");
    let ended = in_time(shop.engine.finished(&id)).await.unwrap();
    assert_eq!(ended.phase, Phase::Errored, "{}", ended.message);
    let message = &ended.message;
    assert!(message.contains("not done within 500s") && message.contains("quota exceeded"), "{message}");
    assert!(message.contains("automatic sync") && message.contains(&later) && message.contains(&wanted), "{message}");
    assert!(shop.fake.syncs().is_empty(), "nothing was asked for");
    shop.engine.shutdown().await.unwrap();
}
