//! What nobody should give an engine, and some do: a clear error or a defined outcome, and never a hang.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde_json::Value;

use super::*;
use crate::plugin::{
    Context, DeployRequest, Deployer, Deployment, DiscoverRequest, Discovery, Observation, ObserveRequest, Source,
    Step, StepDefaults, StepOutcome, StepRequest, Verdict, Verifier, VerifyRequest, WriteRequest, Writer, Written,
};
use crate::state::{Cause, Event, EventKind};
use crate::store::Lease;
use crate::testing::Play;

/// Panics in the methods that are named.
#[derive(Debug, Clone)]
struct Panics(&'static str);

impl Panics {
    fn at(&self, method: &str) {
        if self.0 == method {
            // Without the process's hook, so that the test is not noisy.
            std::panic::resume_unwind(Box::new(format!("{method} says so")));
        }
    }
}

#[async_trait]
impl Source for Panics {
    fn validate(&self, _: &Value) -> Result<()> {
        self.at("source.validate");
        Ok(())
    }

    async fn discover(&self, cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        self.at("source.discover");
        ScriptedSource::versions(["1.0.0"]).discover(cx, request).await
    }
}

#[async_trait]
impl Step for Panics {
    fn validate(&self, _: &Value) -> Result<()> {
        self.at("step.validate");
        Ok(())
    }

    fn defaults(&self) -> StepDefaults {
        self.at("step.defaults");
        StepDefaults::default()
    }

    async fn run(&self, _: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        self.at("step.run");
        if self.0 == "step.abort" && !request.resumed {
            let reason = "nothing".to_owned();
            return Ok(StepOutcome::Running { reason, check_after: Duration::from_secs(3600), state: None });
        }
        Ok(StepOutcome::succeeded())
    }

    async fn abort(&self, _: &Context, _: &StepRequest<'_>) -> Result<()> {
        self.at("step.abort");
        Ok(())
    }
}

#[async_trait]
impl Writer for Panics {
    fn validate(&self, _: &Value) -> Result<()> {
        self.at("writer.validate");
        Ok(())
    }

    async fn write(&self, _: &Context, _: &WriteRequest<'_>) -> Result<Written> {
        self.at("writer.write");
        Ok(Written::new("1", true))
    }
}

#[async_trait]
impl Deployer for Panics {
    fn validate(&self, _: &Value) -> Result<()> {
        self.at("deployer.validate");
        Ok(())
    }

    async fn deploy(&self, _: &Context, _: &DeployRequest<'_>) -> Result<Deployment> {
        self.at("deployer.deploy");
        if self.0 == "deployer.abort" {
            return Ok(Deployment::pending("nothing", Duration::from_secs(3600)));
        }
        Ok(Deployment::Live { revision: "1".into(), evidence: String::new() })
    }

    async fn observe(&self, _: &Context, _: &ObserveRequest<'_>) -> Result<Observation> {
        Ok(Observation::new(None, plugin::Health::Healthy, ""))
    }

    async fn abort(&self, _: &Context, _: &DeployRequest<'_>) -> Result<()> {
        self.at("deployer.abort");
        Ok(())
    }
}

#[async_trait]
impl Verifier for Panics {
    fn validate(&self, _: &Value) -> Result<()> {
        self.at("verifier.validate");
        Ok(())
    }

    async fn verify(&self, _: &Context, _: &VerifyRequest<'_>) -> Result<Verdict> {
        self.at("verifier.verify");
        Ok(Verdict::pass(""))
    }
}

/// An engine of plug-ins of which one method panics, or why it does not start.
async fn start(method: &'static str) -> Result<Engine> {
    let panics = || Panics(method);
    let plugins = Plugins::builder()
        .source("versions", panics())
        .step("step", panics())
        .writer("writer", panics())
        .deployer("deployer", panics())
        .verifier("check", panics())
        .build();
    let stage = Stage::new("dev").direct("main").verify("check", json!({}));
    let steps = [
        StepSpec::new("step", json!({})),
        StepSpec::write("writer", json!({})),
        StepSpec::deploy("deployer", json!({})),
    ];
    let pipeline = Shop::of([steps.into_iter().fold(stage, Stage::step)]);
    let clock = Arc::new(TokioClock::starting_at(START));
    Engine::builder(pipeline, plugins).clock(clock).start().await
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_any_method_of_any_plug_in_stays_there() {
    for method in ["source.validate", "step.validate", "writer.validate", "deployer.validate", "verifier.validate"] {
        let error = start(method).await.expect_err("refused").to_string();
        assert!(error.contains("The plug-in panicked while it checked its configuration"), "{method}: {error}");
    }
    let engine = start("source.discover").await.expect("starts");
    let failing = engine.until(|state| state.warehouse(&"main".into())?.failing.clone()).await.expect("it says so");
    assert!(failing.contains("panicked: source.discover says so"), "{failing}");

    for method in [
        "step.defaults",
        "step.run",
        "step.abort",
        "writer.write",
        "deployer.deploy",
        "deployer.abort",
        "verifier.verify",
    ] {
        let engine = start(method).await.expect("starts");
        let id = freight(&engine, "1.0.0").await;
        let promotion = engine.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
        if method.ends_with("abort") {
            tokio::time::sleep(Duration::from_secs(1)).await;
            engine.abort(&promotion, Actor::user("alice")).await.expect("under way");
        }
        let ended = engine.finished(&promotion).await.expect("ends");
        let (phase, message) = match ended.verifications.last() {
            Some(verification) => (verification.phase, &verification.message),
            None => (ended.phase, &ended.message),
        };
        let expected = if method.ends_with("abort") { Phase::Aborted } else { Phase::Errored };
        assert_eq!(phase, expected, "{method}: {message}");
        assert!(message.contains(&format!("panicked: {method} says so")), "{method}: {message}");
        let again = engine.promote("dev", &id, Actor::user("alice")).await.expect("the engine goes on");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(engine.read(|state| state.promotion(&again).is_some_and(|again| again.started_at.is_some())));
    }
}

/// The journal of a story with one freight, as bytes.
async fn journal() -> Vec<Vec<u8>> {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    freight(&engine, "1.0.0").await;
    engine.shutdown().await.expect("stops");
    let mut records = shop.store.read(&"shop".into(), 0, 100).await.expect("readable");
    records.truncate(2);
    records
}

/// An engine on a journal of these records, without a snapshot.
async fn start_on(records: Vec<Vec<u8>>) -> Result<Engine> {
    let store = MemoryStore::new();
    store.append(&"shop".into(), 0, records, None).await.expect("a store takes any bytes");
    Shop::new().start_on(Shop::pipeline(), Arc::new(store)).await
}

/// Freight that can no longer be read, or an event that only a later version knows, stops the start with a sentence that says
/// which and what to do; nothing is skipped, and nothing is changed.
#[tokio::test(start_paused = true)]
async fn stored_freight_that_no_longer_parses_is_named() {
    let whole = journal().await;
    start_on(whole.clone()).await.expect("it is whole");
    let text = String::from_utf8(whole[1].clone()).expect("text");
    assert!(text.contains("freight-found"), "{text}");
    for broken in [
        text.replace("\"artifacts\":[{", "\"artifacts\":[{\"no\":"),
        text.replace("artifacts", "artefacts"),
        text.replace("freight-found", "freight-lost"),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        let error = start_on(vec![whole[0].clone(), broken.into_bytes()]).await.expect_err("unreadable");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        assert!(
            text.contains(r#"event 2 of pipeline "shop""#) && text.contains("restore the store from a backup"),
            "{text}"
        );
    }
}

/// Ten thousand pieces of freight at once, as after a long time without a look: the newest is promoted, and all of them pass
/// where nothing stops them.
#[tokio::test(start_paused = true)]
async fn ten_thousand_pieces_of_freight_at_once_are_no_trouble() {
    let shop = Shop::new();
    let start: jiff::Timestamp = START.parse().expect("a time");
    let pipeline = || {
        Shop::of([
            Stage::new("gate").direct("main"),
            Shop::stage("dev").after("main", ["gate"]).auto_promote(),
            Shop::stage("prod").after("main", ["dev"]),
        ])
    };
    let artifact = |version: String| {
        Artifact::Generic(GenericArtifact {
            artifact_type: "test".into(),
            subscription_name: "main".into(),
            version,
            metadata: Default::default(),
        })
    };
    let found = |number: i64| {
        let at = start - jiff::SignedDuration::from_secs(20_000 - number);
        EventKind::FreightFound {
            freight: Freight::new("main", vec![artifact(format!("0.0.{number}"))], at),
            alias: None,
            against: None,
        }
    };
    let defined = EventKind::PipelineDefined { pipeline: Arc::new(pipeline()) };
    let kinds = [defined].into_iter().chain((0..10_000).map(found));
    let events = kinds.enumerate().map(|(index, kind)| {
        let (seq, actor) = (index as u64 + 1, Actor::engine());
        crate::store::encode_event(&Event { seq, at: start, actor, cause: Cause::Outcome, kind }).expect("encodes")
    });
    shop.store.append(&"shop".into(), 0, events.collect(), None).await.expect("appends");
    let engine = shop.start(pipeline()).await;
    verified(&engine, "dev", "1.0.0").await;
    let passed = engine.read(|state| state.freight().filter(|known| known.verified().contains_key("gate")).count());
    assert_eq!(passed, 10_001);
    assert!(promotions(&engine, "dev") <= 2, "only what is newest is promoted");
}

/// A store that can only be read, unless it is made writable.
#[derive(Debug)]
struct ReadOnly {
    inner: MemoryStore,
    writable: AtomicBool,
}

impl ReadOnly {
    fn new(inner: MemoryStore) -> Arc<Self> {
        Arc::new(Self { inner, writable: AtomicBool::new(false) })
    }

    fn write(&self) -> Result<&MemoryStore> {
        if self.writable.load(Ordering::SeqCst) {
            return Ok(&self.inner);
        }
        Err(Error::new(ErrorKind::PermissionDenied, "The store is read-only; make its file writable."))
    }
}

#[async_trait]
impl Store for ReadOnly {
    async fn append(
        &self,
        pipeline: &PipelineName,
        expected: u64,
        records: Vec<Vec<u8>>,
        fence: Option<u64>,
    ) -> Result<()> {
        self.write()?.append(pipeline, expected, records, fence).await
    }

    async fn read(&self, pipeline: &PipelineName, after: u64, limit: usize) -> Result<Vec<Vec<u8>>> {
        self.inner.read(pipeline, after, limit).await
    }

    async fn head(&self, pipeline: &PipelineName) -> Result<u64> {
        self.inner.head(pipeline).await
    }

    async fn save_snapshot(&self, pipeline: &PipelineName, seq: u64, snapshot: Vec<u8>) -> Result<()> {
        self.write()?.save_snapshot(pipeline, seq, snapshot).await
    }

    async fn load_snapshot(&self, pipeline: &PipelineName) -> Result<Option<(u64, Vec<u8>)>> {
        self.inner.load_snapshot(pipeline).await
    }

    async fn pipelines(&self) -> Result<Vec<PipelineName>> {
        self.inner.pipelines().await
    }

    async fn acquire_lease(&self, pipeline: &PipelineName, holder: &str, ttl: Duration) -> Result<Lease> {
        // Leases in another place than the journal, which is worse: the first append finds out.
        self.inner.acquire_lease(pipeline, holder, ttl).await
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        self.inner.renew_lease(lease, ttl).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        self.inner.release_lease(lease).await
    }

    async fn wait(&self, pipeline: &PipelineName, after: u64, timeout: Duration) -> Result<()> {
        self.inner.wait(pipeline, after, timeout).await
    }

    async fn put_side(&self, key: &str, value: Vec<u8>) -> Result<()> {
        self.write()?.put_side(key, value).await
    }

    async fn get_side(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.inner.get_side(key).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_only_store_stops_the_start_or_all_work_and_says_so() {
    let shop = Shop::new();
    let error = shop.start_on(Shop::pipeline(), ReadOnly::new(MemoryStore::new())).await.expect_err("unwritable");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("make its file writable"), "{error}");

    // With a journal that defines the same pipeline there is nothing to write at first.
    let known = MemoryStore::new();
    known.append(&"shop".into(), 0, vec![journal().await.swap_remove(0)], None).await.expect("appends");
    let engine = shop.start_on(Shop::pipeline(), ReadOnly::new(known)).await.expect("it has nothing to write yet");
    an_hour().await;
    assert!(engine.trouble().expect("it says so").contains("make its file writable"));
    assert!(shop.ship.calls().is_empty(), "what cannot be journaled is not done");
    let refused = engine.promote("dev", "0123", Actor::user("alice")).await.expect_err("there is no freight");
    assert!(refused.to_string().contains("the freight does not exist"), "{refused}");
}

/// Whoever asked has the error; everybody else finds it in the engine's trouble, until the store takes what is written again.
#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_written_is_trouble_until_the_store_can_be_written() {
    let shop = Shop::new();
    let store = ReadOnly::new(MemoryStore::new());
    store.writable.store(true, Ordering::SeqCst);
    let engine = shop.start_on(Shop::pipeline(), store.clone()).await.expect("starts");
    let id = verified(&engine, "dev", "1.0.0").await;
    assert_eq!(engine.trouble(), None);
    store.writable.store(false, Ordering::SeqCst);
    let failed = engine.promote("dev", &id, Actor::user("alice")).await.expect_err("nothing can be written");
    assert_eq!(failed.kind(), ErrorKind::PermissionDenied);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(engine.trouble().expect("it says so").contains("make its file writable"));
    store.writable.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.trouble(), None, "without a request that finds out");
    let promotion = engine.promote("dev", &id, Actor::user("alice")).await.expect("taken");
    assert!(engine.finished(&promotion).await.expect("ends").phase.is_success());
}

/// CORE-23: each value of a configuration is taken from the freight for itself; none changes what another finds.
/// CORE-24: a version that looks like a number stays the text that it is, in the value and in the file.
#[test]
fn core_23_and_core_24_picked_values_are_texts_and_do_not_touch_each_other() {
    let commit = Artifact::Commit(GitCommit {
        repo_url: "https://git.example/app.git".into(),
        id: "0123456789abcdef0123456789abcdef01234567".into(),
        branch: None,
        tag: None,
        message: None,
        author: None,
        subscription_name: None,
    });
    for tag in ["1", "1.2", "20240101", "1e10", "0x10", "010", ".5", "true", "null", "2024-01-01"] {
        let image = Artifact::Image(Image {
            repo_url: "ghcr.io/acme/app".into(),
            tag: tag.into(),
            digest: format!("sha256:{}", "a".repeat(64)),
            annotations: Default::default(),
            created_at: None,
            subscription_name: None,
        });
        let freight = Freight::new("main", vec![commit.clone(), image], jiff::Timestamp::UNIX_EPOCH);
        let (id, freight) = (freight.id().to_string(), FreightCollection::new().with(freight));
        let resolve = |pick: Pick| pick.resolve(&freight).expect("it is there");
        let commit = || resolve(Pick::CommitId("https://git.example/app".into()));
        let before = commit();
        assert_eq!(resolve(Pick::FreightId("main".into())), id);
        let text = resolve(Pick::ImageTag("ghcr.io/acme/app".into()));
        assert_eq!((text.as_str(), commit()), (tag, before), "CORE-23");
        let file = crate::edit::yaml::update("tag: old\n", &[("tag".to_owned(), text)]).expect("edits");
        assert_eq!(file, format!("tag: \"{tag}\"\n"), "CORE-24");
    }
}

/// A script that says too much: a megabyte of output is refused as the step's own failure.
#[tokio::test(start_paused = true)]
async fn an_output_of_a_megabyte_is_the_steps_failure() {
    let shop = Shop::new();
    shop.ship.set(Play::Output(json!("x".repeat(1 << 20))));
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main").auto_promote()])).await;
    let ended = engine.until(|state| state.promotions().find(|promotion| promotion.phase.is_terminal()).cloned());
    let ended = ended.await.expect("ends");
    assert_eq!(ended.phase, Phase::Errored);
    assert!(ended.message.contains("at most 1048576 are kept in the journal"), "{}", ended.message);
}
