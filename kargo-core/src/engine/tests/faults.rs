//! Trouble with sources, plug-ins and stores.

use super::*;
use crate::state::EventKind;
use crate::testing::Play;

/// OCI-06, on the engine's side: half a look makes no freight, and the reason is on record once.
#[tokio::test(start_paused = true)]
async fn oci_06_half_a_look_makes_no_freight() {
    let shop = Shop::new();
    let broken = ScriptedSource::versions(["7"]);
    broken.fail(ErrorKind::InvalidResponse, "The registry answered with half a page.");
    let plugins = Plugins::builder()
        .source("versions", shop.source.clone())
        .source("broken", broken.clone())
        .step("ship", shop.ship.clone())
        .verifier("check", shop.check.clone())
        .build();
    let warehouse = Shop::warehouse().subscribe(Subscription::new("broken", json!({})).named("second"));
    let pipeline = Pipeline::builder("shop").warehouse(warehouse).stage(Shop::stage("dev").direct("main")).build();
    let engine =
        Engine::builder(pipeline.expect("valid"), plugins).clock(shop.clock.clone()).start().await.expect("starts");
    an_hour().await;
    assert_eq!(engine.read(|state| state.freight().count()), 0);
    let failing = engine.read(|state| state.warehouse(&"main".into()).and_then(|known| known.failing.clone()));
    assert!(failing.expect("failing").contains("half a page"));
    assert!(broken.looks() > 10, "it goes on looking");
    let failures = |events: Vec<state::Event>| {
        events.into_iter().filter(|event| matches!(event.kind, EventKind::DiscoveryFailed { .. })).count()
    };
    assert_eq!(failures(engine.journal().await.expect("reads")), 1, "the same reason is not journaled again");

    broken.recover();
    freight(&engine, "1.0.0 + 7").await;
    assert_eq!(engine.read(|state| state.warehouse(&"main".into()).and_then(|known| known.failing.clone())), None);
}

#[tokio::test(start_paused = true)]
async fn a_warehouse_that_finds_nothing_says_so() {
    let shop = Shop::new();
    let engine = {
        let empty = ScriptedSource::default();
        let plugins = Plugins::builder()
            .source("versions", empty)
            .step("ship", shop.ship.clone())
            .verifier("check", shop.check.clone())
            .build();
        Engine::builder(Shop::pipeline(), plugins).clock(shop.clock.clone()).start().await.expect("starts")
    };
    let reason = engine.until(|state| state.warehouse(&"main".into())?.failing.clone()).await.expect("says so");
    assert!(reason.contains("found nothing that fits"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_looks_at_once() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    freight(&engine, "1.0.0").await;
    shop.source.publish("1.1.0");
    let asked = engine.now();
    engine.refresh("main").await.expect("is a warehouse");
    freight(&engine, "1.1.0").await;
    assert!(engine.now().duration_since(asked).as_secs() < 5);
    assert_eq!(engine.refresh("mian").await.expect_err("no such warehouse").kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_any_plug_in_is_its_own_failure() {
    #[derive(Debug)]
    struct Panics;
    #[async_trait::async_trait]
    impl plugin::Source for Panics {
        async fn discover(&self, _: &plugin::Context, _: &plugin::DiscoverRequest<'_>) -> Result<plugin::Discovery> {
            panic!("out of luck")
        }
    }
    let shop = Shop::new();
    let plugins = Plugins::builder()
        .source("versions", shop.source.clone())
        .source("panics", Panics)
        .step("ship", shop.ship.clone())
        .writer("ship", Scripted::always(Play::Panic))
        .deployer("ship", Scripted::always(Play::Panic))
        .verifier("check", Scripted::always(Play::Panic))
        .build();
    let pipeline = Pipeline::builder("shop")
        .warehouse(Shop::warehouse())
        .warehouse(Warehouse::new("bad").subscribe(Subscription::new("panics", json!({}))))
        .stage(Stage::new("a").direct("main").auto_promote().step(StepSpec::write("ship", json!({}))))
        .stage(Stage::new("b").direct("main").auto_promote().step(StepSpec::deploy("ship", json!({}))))
        .stage(Shop::stage("c").direct("main").auto_promote())
        .build()
        .expect("valid");
    let engine = Engine::builder(pipeline, plugins).clock(shop.clock.clone()).start().await.expect("starts");
    an_hour().await;
    let phases = engine.read(|state| {
        let verdict = |p: &state::Promotion| (p.stage.to_string(), p.phase, p.verifications.first().map(|v| v.phase));
        let mut phases: Vec<_> = state.promotions().map(verdict).collect();
        phases.sort_by(|a, b| a.0.cmp(&b.0));
        phases
    });
    assert_eq!(
        phases,
        [
            ("a".into(), Phase::Errored, None),
            ("b".into(), Phase::Errored, None),
            ("c".into(), Phase::Succeeded, Some(Phase::Errored))
        ]
    );
    let failing = engine.read(|state| state.warehouse(&"bad".into()).and_then(|known| known.failing.clone()));
    assert!(failing.expect("failing").contains("panicked: out of luck"));
}

#[tokio::test(start_paused = true)]
async fn missing_plug_ins_are_named_before_anything_starts() {
    let shop = Shop::new();
    let stage = Shop::stage("dev").direct("main").step(StepSpec::new("shop", json!({}))).verify("chek", json!({}));
    let error = shop.start_on(Shop::of([stage]), shop.store.clone()).await.expect_err("cannot run");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains(r#"stage "dev", step 2 (shop)"#) && text.contains(r#"Did you mean "ship"?"#), "{text}");
    assert!(text.contains(r#"Did you mean "check"?"#), "{text}");
    assert!(shop.store.pipelines().await.expect("reads").is_empty(), "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn a_second_engine_for_one_pipeline_is_refused_until_the_first_has_stopped() {
    let shop = Shop::new();
    let first = shop.start(Shop::pipeline()).await;
    let error = shop.start_on(Shop::pipeline(), shop.store.clone()).await.expect_err("driven already");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("is driven by"), "{error}");
    first.shutdown().await.expect("stops");
    shop.start(Shop::pipeline()).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_engine_says_so_to_whoever_asks() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let id = freight(&engine, "1.0.0").await;
    engine.shutdown().await.expect("stops");
    engine.shutdown().await.expect("stopping twice is fine");
    let error = engine.promote("prod", &id, Actor::user("alice")).await.expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(engine.until(|_| None::<()>).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_stops_the_engine() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    verified(&engine, "staging", "1.0.0").await;
    drop(engine);
    tokio::time::sleep(Duration::from_secs(1)).await;
    shop.start(Shop::pipeline()).await;
}
