//! What a long life brings: redefinitions, clocks that jump, outputs of any shape, runtimes that go away.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::artifact::{Artifact, GenericArtifact};
use crate::plugin::{Context, DiscoverRequest, Discovery, Source, Step, StepDefaults, StepOutcome, StepRequest};
use crate::stage::FreightRequest;
use crate::state::EventKind;
use crate::testing::{ManualClock, Play};

/// Lists in lists, `levels` deep.
fn nested(levels: usize) -> serde_json::Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

/// A reader of JSON stops at 128 levels, so a journal that took in more could never be read again.
#[tokio::test(start_paused = true)]
async fn an_output_that_is_nested_too_deep_to_be_read_back_never_enters_the_journal() {
    for levels in [50, 63, 64, 100, 120, 127, 200] {
        let shop = Shop::new();
        shop.ship.set(Play::Output(nested(levels)));
        let engine = shop.start(Shop::pipeline()).await;
        let ended =
            engine.until(|state| state.promotions().find(|p| p.phase.is_terminal()).cloned()).await.expect("ends");
        assert_eq!(ended.phase.is_success(), levels < 64, "{levels}: {}", ended.message);
        assert!(ended.phase.is_success() || ended.message.contains("levels deep"), "{}", ended.message);
        an_hour().await;
        engine.journal().await.expect("reads");
        engine.shutdown().await.expect("stops");
        shop.start(Shop::pipeline()).await;
    }
}

/// The same holds for what a source says of an artifact, and for a configuration.
#[tokio::test(start_paused = true)]
async fn an_artifact_or_a_configuration_that_is_nested_too_deep_is_refused() {
    #[derive(Debug)]
    struct Deep;
    #[async_trait]
    impl Source for Deep {
        async fn discover(&self, _: &Context, _: &DiscoverRequest<'_>) -> Result<Discovery> {
            Ok(Discovery::found(vec![Artifact::Generic(GenericArtifact {
                artifact_type: "deep".into(),
                subscription_name: "deep".into(),
                version: "1".into(),
                metadata: nested(126),
            })]))
        }
    }
    let shop = Shop::new();
    let plugins = Plugins::builder().source("versions", Deep).step("ship", shop.ship.clone()).build();
    let stage = || Stage::new("dev").direct("main");
    let pipeline = Shop::of([stage().step(StepSpec::new("ship", json!({})))]);
    let engine = Engine::builder(pipeline, plugins).store(shop.store.clone()).clock(shop.clock.clone()).start().await;
    let engine = engine.expect("starts");
    an_hour().await;
    let failing = engine.read(|state| state.warehouse(&"main".into()).and_then(|known| known.failing.clone()));
    assert!(failing.expect("failing").contains("levels deep"));
    engine.journal().await.expect("reads");

    let builder = Pipeline::builder("shop").warehouse(Shop::warehouse());
    let error = builder.stage(stage().step(StepSpec::new("ship", nested(126)))).build().expect_err("too deep");
    assert!(error.to_string().contains("levels deep"), "{error}");
}

/// Freight that lost its qualification and has it again is offered behind a control-flow stage, too.
#[tokio::test(start_paused = true)]
async fn freight_that_is_verified_again_goes_on_behind_control_flow_stages() {
    let shop = Shop::new();
    let slow = Scripted::succeeding();
    let plugins = Plugins::builder()
        .source("versions", shop.source.clone())
        .step("ship", shop.ship.clone())
        .step("slow", slow.clone())
        .verifier("check", shop.check.clone())
        .build();
    let pipeline = Shop::of([
        Shop::stage("dev").direct("main").auto_promote(),
        Stage::new("gate").after("main", ["dev"]),
        Stage::new("door").after("main", ["gate"]),
        Stage::new("prod").after("main", ["door"]).auto_promote().step(StepSpec::new("slow", json!({}))),
    ]);
    let engine = Engine::builder(pipeline, plugins).clock(shop.clock.clone()).start().await.expect("starts");
    verified(&engine, "prod", "1.0.0").await;
    // While production is busy, the next freight passes, and loses its standing again.
    slow.set(Play::Wait(Duration::from_secs(10)));
    let old = freight(&engine, "1.0.0").await;
    let busy = engine.promote("prod", &old, Actor::user("alice")).await.expect("allowed");
    shop.source.publish("2.0.0");
    let new = verified(&engine, "door", "2.0.0").await;
    shop.check.set(Play::Fail("errors are up".into()));
    let again = |stage: &'static str, actor: &'static str| engine.promote(stage, &new, Actor::user(actor));
    engine.finished(&again("dev", "bob").await.expect("allowed")).await.expect("ends");
    slow.set(Play::Succeed);
    engine.finished(&busy).await.expect("ends");
    an_hour().await;
    assert_eq!(current(&engine, "prod").as_deref(), Some("1.0.0"));
    shop.check.set(Play::Succeed);
    engine.finished(&again("dev", "bob").await.expect("allowed")).await.expect("ends");
    verified(&engine, "prod", "2.0.0").await;
}

/// A hold belongs to a rule. It does not outlive the rule, or the request it was made for.
#[tokio::test(start_paused = true)]
async fn holds_end_when_the_stage_no_longer_promotes_by_itself() {
    let shop = Shop::new();
    let stage = || Shop::stage("dev").direct("main");
    let engine = shop.start(Shop::of([stage().auto_promote()])).await;
    let old = verified(&engine, "dev", "1.0.0").await;
    shop.source.publish("2.0.0");
    verified(&engine, "dev", "2.0.0").await;
    let back = engine.promote("dev", &old, Actor::user("alice")).await.expect("allowed");
    engine.finished(&back).await.expect("ends");
    assert!(!engine.read(|state| state.stage(&"dev".into()).expect("known").holds.is_empty()));
    engine.shutdown().await.expect("stops");

    let engine = shop.start(Shop::of([stage()])).await;
    assert!(engine.read(|state| state.stage(&"dev".into()).expect("known").holds.is_empty()));
    engine.shutdown().await.expect("stops");
    let engine = shop.start(Shop::of([stage().auto_promote()])).await;
    an_hour().await;
    assert_eq!(current(&engine, "dev").as_deref(), Some("2.0.0"));
}

/// A warehouse that has something new whenever the stage is free must not keep the others out.
#[tokio::test(start_paused = true)]
async fn a_busy_warehouse_does_not_starve_a_quiet_one() {
    let shop = Shop::new();
    #[derive(Debug)]
    struct Slow;
    #[async_trait]
    impl Step for Slow {
        async fn run(&self, cx: &Context, _: &StepRequest<'_>) -> Result<StepOutcome> {
            cx.sleep(Duration::from_secs(50)).await?;
            Ok(StepOutcome::succeeded())
        }
    }
    let (busy, quiet) = (ScriptedSource::versions(["b1"]), ScriptedSource::versions(["q1"]));
    let plugins =
        Plugins::builder().source("busy", busy.clone()).source("quiet", quiet.clone()).step("ship", Slow).build();
    let warehouse =
        |name: &str| Warehouse::new(name).subscribe(Subscription::new(name, json!({}))).every(Duration::from_secs(20));
    let stage = Stage::new("dev").direct("busy").direct("quiet").auto_promote();
    let pipeline = Pipeline::builder("shop")
        .warehouse(warehouse("busy"))
        .warehouse(warehouse("quiet"))
        .stage(stage.step(StepSpec::new("ship", json!({}))))
        .build()
        .expect("valid");
    let engine = Engine::builder(pipeline, plugins).clock(shop.clock.clone()).start().await.expect("starts");
    for number in 2..32 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        busy.publish(format!("b{number}"));
    }
    let runs: Vec<String> = engine.read(|state| state.current(&"dev".into()).iter().map(|f| f.label()).collect());
    assert!(runs.contains(&"q1".to_owned()), "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_step_tells_its_bounds_is_the_step_s_failure() {
    #[derive(Debug, Default)]
    struct Moody(AtomicUsize);
    #[async_trait]
    impl Step for Moody {
        fn defaults(&self) -> StepDefaults {
            assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "out of luck");
            StepDefaults::default()
        }
        async fn run(&self, _: &Context, _: &StepRequest<'_>) -> Result<StepOutcome> {
            Ok(StepOutcome::succeeded())
        }
    }
    let shop = Shop::new();
    let plugins = Plugins::builder().source("versions", shop.source.clone()).step("moody", Moody::default()).build();
    let stage = Stage::new("dev").direct("main").auto_promote().step(StepSpec::new("moody", json!({})));
    let engine = Engine::builder(Shop::of([stage]), plugins).clock(shop.clock.clone()).start().await.expect("starts");
    let ended = engine.until(|state| state.promotions().find(|p| p.phase.is_terminal()).cloned()).await.expect("ends");
    assert_eq!(ended.phase, Phase::Errored);
    assert!(ended.message.contains("panicked"), "{}", ended.message);
    engine.refresh("main").await.expect("the engine lives");
}

/// What is found later is newer, whatever the clock says, and looks go on.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_neither_stops_looks_nor_makes_new_freight_old() {
    let shop = Shop::new();
    let clock = Arc::new(ManualClock::at(START));
    let engine = Engine::builder(Shop::pipeline(), shop.plugins()).clock(clock.clone()).start().await.expect("starts");
    verified(&engine, "staging", "1.0.0").await;
    for (number, time) in ["2020-01-01T00:00:00Z", "2025-12-31T00:00:00Z", START].into_iter().enumerate() {
        clock.set(time.parse().expect("a time"));
        let version = format!("1.{}.0", number + 1);
        shop.source.publish(&version);
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            clock.advance(Duration::from_secs(60));
        }
        tokio::time::timeout(Duration::from_secs(600), verified(&engine, "staging", &version)).await.expect(time);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_always_hangs_is_journaled_once() {
    #[derive(Debug)]
    struct Hangs;
    #[async_trait]
    impl Source for Hangs {
        async fn discover(&self, _: &Context, _: &DiscoverRequest<'_>) -> Result<Discovery> {
            std::future::pending().await
        }
    }
    let shop = Shop::new();
    let plugins = Plugins::builder().source("versions", Hangs).step("ship", shop.ship.clone()).build();
    let stage = Stage::new("dev").direct("main").step(StepSpec::new("ship", json!({})));
    let engine = Engine::builder(Shop::of([stage]), plugins).clock(shop.clock.clone()).start().await.expect("starts");
    for _ in 0..5 {
        an_hour().await;
    }
    let events = engine.journal().await.expect("reads");
    let failures = events.iter().filter(|event| matches!(event.kind, EventKind::DiscoveryFailed { .. })).count();
    assert_eq!(failures, 1);
}

/// A reason that is worded anew with every look does not flood the journal.
#[tokio::test(start_paused = true)]
async fn a_failing_source_that_words_it_anew_each_time_does_not_flood_the_journal() {
    let shop = Shop::new();
    let warehouse = Shop::warehouse().every(Duration::from_secs(1));
    let stage = Shop::stage("dev").direct("main");
    let pipeline = Pipeline::builder("shop").warehouse(warehouse).stage(stage).build().expect("valid");
    let engine = shop.start(pipeline).await;
    for number in 0..600 {
        shop.source.fail(ErrorKind::Unavailable, format!("Request {number} failed."));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let events = engine.journal().await.expect("reads");
    let failures = events.iter().filter(|event| matches!(event.kind, EventKind::DiscoveryFailed { .. })).count();
    assert!((1..=12).contains(&failures), "{failures} in ten minutes");
}

/// Trouble that comes and goes with each look is told about as often as trouble that changes its words.
#[tokio::test(start_paused = true)]
async fn a_source_that_fails_every_other_time_does_not_flood_the_journal() {
    #[derive(Debug, Default)]
    struct EveryOther(AtomicUsize);

    #[async_trait]
    impl Source for EveryOther {
        async fn discover(&self, cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
            if self.0.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                return Err(Error::new(ErrorKind::Unavailable, "One of two replicas is away."));
            }
            ScriptedSource::versions(["1.0.0"]).discover(cx, request).await
        }
    }

    let shop = Shop::new();
    let warehouse = Shop::warehouse().every(Duration::from_secs(1));
    let pipeline = Pipeline::builder("shop").warehouse(warehouse).stage(Shop::stage("dev").direct("main")).build();
    let plugins = Plugins::builder().source("versions", EveryOther::default()).step("ship", shop.ship.clone());
    let engine = Engine::builder(pipeline.expect("valid"), plugins.verifier("check", shop.check.clone()).build())
        .clock(Arc::clone(&shop.clock) as _)
        .start()
        .await
        .expect("starts");
    tokio::time::sleep(Duration::from_secs(600)).await;
    let events = engine.journal().await.expect("reads");
    let told = events.iter().filter(|event| matches!(event.kind, EventKind::DiscoveryFailed { .. })).count();
    assert!((1..=12).contains(&told) && events.len() <= 30, "{told} failures, {} events", events.len());
}

/// A host that drops its runtime without a word kills the engine, as a crash would: nothing is recorded as failed.
#[test]
fn a_runtime_that_is_dropped_is_no_failure_of_what_was_under_way() {
    for _ in 0..100 {
        let store = Arc::new(MemoryStore::new());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let source = ScriptedSource::versions(["1"]);
        let ship = Scripted::always(Play::Hang);
        let plugins = Plugins::builder().source("versions", source).step("ship", ship.clone()).build();
        let stages = (0..8).map(|number| {
            Stage::new(format!("s{number}")).direct("main").auto_promote().step(StepSpec::new("ship", json!({})))
        });
        let pipeline = Shop::of(stages);
        let engine = runtime.block_on(async {
            let engine = Engine::builder(pipeline, plugins).store(store.clone()).start().await.expect("starts");
            while ship.calls().len() < 8 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            engine
        });
        drop(runtime);
        drop(engine);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let records = runtime.block_on(store.read(&"shop".into(), 0, 10_000)).expect("reads");
        let ended = records.iter().filter(|record| String::from_utf8_lossy(record).contains("task-finished")).count();
        assert_eq!(ended, 0);
    }
}

/// What was valid when it was journaled stays readable when the rules for new definitions have become stricter.
#[tokio::test(start_paused = true)]
async fn a_journal_with_a_definition_that_would_be_refused_today_can_be_read() {
    let shop = Shop::new();
    let of = |config| Shop::of([Stage::new("dev").direct("main").step(StepSpec::new("ship", config))]);
    let engine = shop.start(of(json!({"at": "NOWHERE"}))).await;
    freight(&engine, "1.0.0").await;
    engine.shutdown().await.expect("stops");
    let older = Arc::new(MemoryStore::new());
    let today =
        |text: &[u8]| String::from_utf8_lossy(text).replace("NOWHERE", "https://user:word@example.org").into_bytes();
    let records = shop.store.read(&"shop".into(), 0, 1000).await.expect("reads");
    older.append(&"shop".into(), 0, records.iter().map(|record| today(record)).collect(), None).await.expect("appends");
    for snapshot in [false, true] {
        if snapshot {
            let (seq, bytes) = shop.store.load_snapshot(&"shop".into()).await.expect("loads").expect("there is one");
            older.save_snapshot(&"shop".into(), seq, today(&bytes)).await.expect("saves");
        }
        let engine = shop.start_on(of(json!({})), older.clone()).await.expect("reads what was journaled");
        assert_eq!(engine.read(|state| state.freight().count()), 1);
        engine.journal().await.expect("reads");
        engine.shutdown().await.expect("stops");
    }
    let refused: Result<Pipeline, _> = serde_json::from_value(json!({"name": "shop", "warehouses": [], "stages": []}));
    assert!(refused.expect_err("a host's own is checked").to_string().contains("has no stages"));
}

/// The state in memory and the state that is read back are one and the same, to the last digit.
#[test]
fn numbers_are_read_back_as_they_were_written() {
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = f64::from_bits(bits);
        if number.is_finite() {
            let text = json!(number).to_string();
            let back: f64 = serde_json::from_str(&text).expect("a number");
            assert_eq!(back.to_bits(), number.to_bits(), "{text}");
        }
    }
}

/// "For ever" is a number like any other.
#[tokio::test(start_paused = true)]
async fn options_of_any_size_stop_nothing() {
    let shop = Shop::new();
    for (longest, every) in [(Duration::MAX, u64::MAX), (Duration::from_secs(u64::MAX / 4), 0)] {
        let options = EngineOptions {
            snapshot_every: every,
            compact_after: every,
            lease: longest,
            shutdown_grace: longest,
            discovery_deadline: longest,
            store_deadline: longest,
        };
        let builder = Engine::builder(Shop::pipeline(), shop.plugins()).store(shop.store.clone());
        let engine = builder.clock(shop.clock.clone()).options(options).start().await.expect("starts");
        verified(&engine, "staging", "1.0.0").await;
        engine.shutdown().await.expect("stops");
    }
}

/// That freight passed through a stage when it had no steps says nothing about the stage with steps.
/// A stage that is taken out takes with it what was found out there; what is under way there goes on, and what waits ends.
#[tokio::test(start_paused = true)]
async fn a_stage_that_comes_back_under_its_name_begins_anew() {
    let shop = Shop::new();
    let dev = || Shop::stage("dev").direct("main");
    let last = || Shop::stage("last").request(FreightRequest::after("main", ["dev", "staging"]));
    let whole = || Shop::of([dev(), Shop::stage("staging").after("main", ["dev"]), last()]);
    let engine = shop.start(whole()).await;
    let id = freight(&engine, "1.0.0").await;
    for stage in ["dev", "staging"] {
        let promotion = engine.promote(stage, &id, Actor::user("alice")).await.expect("allowed");
        engine.finished(&promotion).await.expect("ends");
    }
    shop.ship.set(Play::Wait(Duration::from_secs(5)));
    let running = engine.promote("staging", &id, Actor::user("alice")).await.expect("allowed");
    let waiting = engine.promote("staging", &id, Actor::user("alice")).await.expect("allowed");
    tokio::time::sleep(Duration::from_secs(10)).await;
    engine.shutdown().await.expect("stops");

    let without = [dev(), Shop::stage("last").request(FreightRequest::after("main", ["dev"]).at_least(1))];
    let engine = shop.start(Shop::of(without)).await;
    shop.ship.set(Play::Succeed);
    assert_eq!(
        engine.finished(&running).await.expect("ends").phase,
        Phase::Succeeded,
        "it keeps the steps it started with"
    );
    let ended = engine.finished(&waiting).await.expect("ends");
    assert!(ended.phase == Phase::Errored && ended.message.contains("the stage does not exist"), "{}", ended.message);
    engine.shutdown().await.expect("stops");

    let engine = shop.start(whole()).await;
    assert_eq!(current(&engine, "staging"), None);
    let why = engine.why("last", &id).to_string();
    assert!(
        why.contains("it is verified in stage dev") && why.contains("it is not verified in stage staging"),
        "{why}"
    );
}

#[tokio::test(start_paused = true)]
async fn freight_that_passed_is_not_verified_once_the_stage_has_steps() {
    let shop = Shop::new();
    let prod = || Shop::stage("prod").after("main", ["gate"]);
    let engine = shop.start(Shop::of([Stage::new("gate").direct("main"), prod()])).await;
    let id = verified(&engine, "gate", "1.0.0").await;
    engine.shutdown().await.expect("stops");

    let engine = shop.start(Shop::of([Shop::stage("gate").direct("main"), prod()])).await;
    let refused =
        engine.promote("prod", &id, Actor::user("alice")).await.expect_err("it was never promoted to the gate");
    assert!(refused.to_string().contains("not verified in stage gate: it has not been promoted there"), "{refused}");
    let promotion = engine.promote("gate", &id, Actor::user("alice")).await.expect("allowed");
    engine.finished(&promotion).await.expect("ends");
    assert!(engine.why("prod", &id).admission.is_open());
}

/// A registry that hangs must not use up the time in which a host has to stop.
#[tokio::test(start_paused = true)]
async fn a_hanging_look_does_not_hold_up_the_shutdown() {
    #[derive(Debug)]
    struct Hangs;

    #[async_trait]
    impl Source for Hangs {
        async fn discover(&self, _: &Context, _: &DiscoverRequest<'_>) -> Result<Discovery> {
            std::future::pending().await
        }
    }

    let shop = Shop::new();
    let plugins = Plugins::builder().source("versions", Hangs).step("ship", shop.ship.clone());
    let engine = Engine::builder(Shop::pipeline(), plugins.verifier("check", shop.check.clone()).build())
        .store(Arc::clone(&shop.store) as Arc<dyn Store>)
        .clock(Arc::clone(&shop.clock) as _)
        .start()
        .await
        .expect("starts");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let begun = tokio::time::Instant::now();
    engine.shutdown().await.expect("stops");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let journal = shop.store.read(&"shop".into(), 0, 100).await.expect("readable");
    assert_eq!(journal.len(), 1, "a look that was cut short is no trouble of the warehouse");
}

/// A definition may say anything of the interval; the engine neither spins nor falls over it.
#[tokio::test(start_paused = true)]
async fn a_health_watch_with_an_impossible_interval_is_bounded() {
    let stage = |every| Shop::stage("dev").direct("main").auto_promote().watch_health(every);
    let mut zero = serde_json::to_value(stage(Duration::from_secs(60))).expect("writes");
    zero["health"]["every"] = json!({"secs": 0, "nanos": 0});
    let zero: Stage = serde_json::from_value(zero).expect("reads");
    assert_eq!(zero.health_watch().expect("watched").every, Duration::from_secs(1));
    for stage in [zero, stage(Duration::MAX)] {
        let shop = Shop::new();
        let engine = shop.start(Shop::of([stage])).await;
        verified(&engine, "dev", "1.0.0").await;
        an_hour().await;
        engine.promote("dev", &freight(&engine, "1.0.0").await, Actor::user("alice")).await.expect("it still answers");
    }
}
