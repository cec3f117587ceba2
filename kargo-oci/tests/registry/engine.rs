//! Whole pipelines on images: what an engine makes of a registry that fails, and of demands at discovery and again at promotion.

use std::sync::Arc;
use std::time::Duration;

use kargo_core::plugin::PluginsBuilder;
use kargo_core::state::{Promotion, State};
use kargo_core::store::{MemoryStore, Store};
use kargo_core::testing::{ManualClock, Scripted};
use kargo_core::{Actor, Artifact, Clock, Engine, FreightId, Phase, Pipeline, Plugins, Stage, StepSpec, Warehouse};
use kargo_oci::testing::{Fault, Registry};
use kargo_oci::{Client, ImageSource, ImageSubscription, ImageTag, ImageTagWriter, SignatureCheck, SignatureVerifier};
use serde_json::json;

use crate::discovery::{dated, subscription};
use crate::selection::two_thousand;
use crate::signatures::{Signer, put_signatures, text_about};

/// The pause between two looks.
const INTERVAL: Duration = Duration::from_secs(60);

struct World {
    registry: Registry,
    client: Client,
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
}

impl World {
    fn new(registry: Registry) -> Self {
        let clock = Arc::new(ManualClock::at("2026-02-01T00:00:00Z"));
        // On a clock that stands still nobody wakes up to try again.
        let client = Client::builder().tries(1).build().unwrap();
        Self { registry, client, clock, store: Arc::new(MemoryStore::new()) }
    }

    async fn start(&self, pipeline: &Pipeline, plugins: PluginsBuilder) -> Engine {
        let plugins = plugins.source(ImageSubscription::SOURCE, ImageSource::new(self.client.clone())).build();
        let engine = Engine::builder(pipeline.clone(), plugins).store(Arc::clone(&self.store));
        engine.clock(Arc::clone(&self.clock) as Arc<dyn Clock>).start().await.unwrap()
    }

    /// Lets time pass until this holds.
    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..5_000 {
            if holds() {
                return;
            }
            self.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{what} did not come about");
    }
}

fn tag(artifact: &Artifact) -> &str {
    match artifact {
        Artifact::Image(image) => &image.tag,
        other => panic!("{other:?}"),
    }
}

/// The freight of the image with this tag, once there is such.
async fn freight(engine: &Engine, wanted: &str) -> FreightId {
    let found = engine.until(|state| {
        let found = state.freight().find(|known| tag(&known.freight().artifacts()[0]) == wanted)?;
        Some(found.freight().id().clone())
    });
    found.await.unwrap()
}

/// What runs in dev, by its tag.
fn current(engine: &Engine) -> Option<String> {
    engine
        .read(|state| state.current(&"dev".into()).iter().next().map(|freight| tag(&freight.artifacts()[0]).to_owned()))
}

#[tokio::test]
async fn oci_06_a_listing_that_fails_on_a_page_leaves_all_as_it_was_until_it_is_whole_again() {
    let world = World::new(Registry::builder().page_size(2).start().await);
    for tag in ["1.0.0", "1.1.0", "1.2.0", "1.9.0"] {
        world.registry.put_image("app", tag, &dated(1));
    }
    let warehouse = Warehouse::new("main").subscribe(subscription(&world.registry)).every(INTERVAL);
    let stage = Stage::new("dev").direct("main").auto_promote().step(StepSpec::new("ship", json!({})));
    let pipeline = Pipeline::builder("shop").warehouse(warehouse).stage(stage).build().unwrap();
    let ship = Scripted::succeeding();
    let start = || world.start(&pipeline, Plugins::builder().step("ship", ship.clone()));
    let engine = start().await;
    freight(&engine, "1.9.0").await;
    let shipped = async |engine: &Engine, wanted: &str| {
        let current = |state: &State| Some(tag(&state.current(&"dev".into()).iter().next()?.artifacts()[0]).to_owned());
        engine.until(|state| current(state).filter(|tag| tag == wanted)).await.unwrap();
    };
    shipped(&engine, "1.9.0").await;

    // The highest version is on the third page, and the second one cannot be had.
    world.registry.put_image("app", "2.0.0", &dated(2));
    world.registry.inject(Fault::status(500).on("last=1.1.0"));
    let failed = || world.registry.requests().iter().filter(|request| request.status == 500).count();
    let unchanged = |engine: &Engine| {
        let (count, failing) = engine.read(|state| {
            let failing = state.warehouse(&"main".into()).and_then(|known| known.failing.clone());
            (state.freight().count(), failing)
        });
        assert_eq!((count, current(engine).as_deref(), ship.calls().len()), (1, Some("1.9.0"), 1));
        assert!(failing.as_ref().is_some_and(|failing| failing.contains("500")), "{failing:?}");
    };
    world.until("a look that fails", || failed() > 0).await;
    engine.until(|state| state.warehouse(&"main".into())?.failing.clone()).await.unwrap();
    world.until("some more of them", || failed() > 4).await;
    unchanged(&engine);

    engine.shutdown().await.unwrap();
    let engine = start().await;
    let before = failed();
    world.until("looks that fail after a restart", || failed() > before + 2).await;
    unchanged(&engine);

    world.registry.clear_faults();
    world.until("a look that is whole", || current(&engine).as_deref() == Some("2.0.0")).await;
    assert_eq!(engine.read(|state| state.warehouse(&"main".into()).and_then(|known| known.failing.clone())), None);
    assert_eq!(ship.calls().len(), 2);
}

#[tokio::test]
async fn ten_warehouses_on_one_repository_list_it_once_in_each_round() {
    let world = World::new(two_thousand(100).await);
    let mut pipeline = Pipeline::builder("shop");
    for number in 0..10 {
        let one = subscription(&world.registry).constraint(format!("~1.{number}.0")).discovery_limit(1);
        pipeline = pipeline.warehouse(Warehouse::new(format!("w{number}")).subscribe(one).every(INTERVAL));
    }
    let pipeline =
        pipeline.stage(Stage::new("dev").direct("w0").step(StepSpec::new("ship", json!({})))).build().unwrap();
    let engine = world.start(&pipeline, Plugins::builder().step("ship", Scripted::succeeding())).await;
    engine.until(|state| (state.freight().count() == 10).then_some(())).await.unwrap();
    assert_eq!(world.registry.count("GET", "tags/list"), 20, "as many as there are pages");
    assert_eq!(world.registry.count("GET", "/manifests/"), 10);

    // The same in the round after that, with one conditional request for each warehouse's image.
    world.registry.clear_requests();
    world.clock.advance(INTERVAL);
    let looked = || world.registry.requests().iter().filter(|request| request.status == 304).count();
    for _ in 0..5_000 {
        if looked() == 10 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(looked(), 10);
    assert_eq!(world.registry.requests().len(), 20 + 10);
}

/// A stage that tags the image of the freight, once it is signed.
async fn signed_pipeline(world: &World, ours: &Signer, manual: bool) -> Engine {
    let check = SignatureCheck::new(ours.public());
    let warehouse =
        Warehouse::new("main").subscribe(subscription(&world.registry).signed(check.clone())).every(INTERVAL);
    let app = format!("{}/app", world.registry.host());
    let stage = Stage::new("prod")
        .direct("main")
        .step(StepSpec::verify(SignatureCheck::VERIFIER, serde_json::Value::from(check)).named("signed"))
        .step(StepSpec::write(ImageTag::WRITER, ImageTag::new(app, "prod")).named("tag"));
    let warehouse = if manual { warehouse.manual() } else { warehouse };
    let pipeline = Pipeline::builder("shop").warehouse(warehouse).stage(stage).build().unwrap();
    let plugins = Plugins::builder()
        .verifier(SignatureCheck::VERIFIER, SignatureVerifier::new(world.client.clone()))
        .writer(ImageTag::WRITER, ImageTagWriter::new(world.client.clone()));
    world.start(&pipeline, plugins).await
}

async fn promote(engine: &Engine, freight: &FreightId) -> Promotion {
    let promotion = engine.promote("prod", freight, Actor::user("alice")).await.unwrap();
    engine.finished(&promotion).await.unwrap()
}

#[tokio::test]
async fn a_signature_is_demanded_at_discovery_and_again_before_anything_is_written() {
    for manual in [false, true] {
        let (world, ours) = (World::new(Registry::start().await), Signer::new());
        let put = |tag: &str| {
            let digest = world.registry.put_image("app", tag, &kargo_oci::ImageSpec::default().label("tag", tag));
            put_signatures(&world.registry, &digest, &[ours.sign(&world.registry, &text_about(&digest))]);
            digest
        };
        let first = put("1.0.0");
        let engine = signed_pipeline(&world, &ours, manual).await;
        let found = async |wanted: &str| {
            if !manual {
                return freight(&engine, wanted).await;
            }
            loop {
                match engine.assemble("main", [kargo_core::Choice::of(0, wanted)], Actor::user("alice")).await {
                    Ok(freight) => return freight,
                    // It has not looked yet.
                    Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        let ended = promote(&engine, &found("1.0.0").await).await;
        assert_eq!(ended.phase, Phase::Succeeded, "{}", ended.message);
        assert!(ended.steps[0].task.message.contains("is signed by"), "{}", ended.steps[0].task.message);
        assert_eq!(world.registry.digest("app", "prod"), Some(first.clone()));

        let second = put("1.1.0");
        engine.refresh("main").await.unwrap();
        let freight = found("1.1.0").await;
        world.registry.remove_tag("app", &format!("{}.sig", second.replace(':', "-")));
        world.registry.clear_requests();
        let ended = promote(&engine, &freight).await;
        assert_eq!(ended.phase, Phase::Failed);
        assert!(ended.message.starts_with("step signed (verify:image-signature):"), "{}", ended.message);
        assert!(ended.message.contains("1.1.0") && ended.message.contains("is not signed"), "{}", ended.message);
        assert_eq!((world.registry.count("PUT", ""), world.registry.count("POST", "")), (0, 0));
        assert_eq!(world.registry.digest("app", "prod"), Some(first));
    }
}
