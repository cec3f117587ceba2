//! One promotion at a time: order, failures, aborts, timeouts, retries.

use super::*;
use crate::testing::Play;

/// CORE-11: a failing automatic promotion is made once, until something changes.
#[tokio::test(start_paused = true)]
async fn core_11_a_failed_automatic_promotion_is_not_repeated() {
    let shop = Shop::new();
    shop.ship.set(Play::Fail("the path does not exist".into()));
    let engine = shop.start(Shop::pipeline()).await;
    let id = freight(&engine, "1.0.0").await;
    for _ in 0..10 {
        an_hour().await;
    }
    assert_eq!((promotions(&engine, "dev"), shop.ship.calls().len()), (1, 1));
    let why = engine.why("dev", &id).to_string();
    assert!(why.contains("its last promotion to the stage ended Failed; promote it by hand"), "{why}");

    shop.ship.set(Play::Succeed);
    shop.source.publish("1.1.0");
    verified(&engine, "staging", "1.1.0").await;
}

/// CORE-08: however a promotion ends, the next one starts. CORE-09: so it does without health or verification.
#[tokio::test(start_paused = true)]
async fn core_08_a_failed_promotion_does_not_block_the_queue() {
    let shop = Shop::new();
    let stage = Stage::new("dev").direct("main").step(StepSpec::new("ship", json!({})));
    let engine = shop.start(Shop::of([stage])).await;
    let id = freight(&engine, "1.0.0").await;
    for play in [
        Play::Fail("no".into()),
        Play::Error(ErrorKind::InvalidInput, "No.".into()),
        Play::Panic,
        Play::Output(json!("x".repeat(1 << 20))),
        Play::Succeed,
    ] {
        shop.ship.set(play.clone());
        let promotion = engine.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
        let ended = engine.finished(&promotion).await.expect("ends");
        let expected = match play {
            Play::Fail(_) => Phase::Failed,
            Play::Succeed => Phase::Succeeded,
            _ => Phase::Errored,
        };
        assert_eq!(ended.phase, expected, "{play:?}: {}", ended.message);
    }
    assert_eq!(current(&engine, "dev").as_deref(), Some("1.0.0"));
}

#[tokio::test(start_paused = true)]
async fn promotions_run_one_after_the_other_in_the_order_asked() {
    let shop = Shop::new();
    shop.ship.set(Play::Wait(Duration::from_secs(5)));
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main")])).await;
    let id = freight(&engine, "1.0.0").await;
    let mut asked = Vec::new();
    for number in 0..5 {
        asked.push(engine.promote("dev", &id, Actor::user(&number.to_string())).await.expect("allowed"));
    }
    let running = |state: &State| state.promotions().filter(|p| p.phase == Phase::Running).count();
    engine.until(|state| (running(state) == 1).then_some(())).await.expect("one starts");
    an_hour().await;
    shop.ship.set(Play::Succeed);
    for promotion in &asked {
        engine.finished(promotion).await.expect("ends");
    }
    let started = engine.read(|state| {
        let mut all: Vec<_> = state.promotions().cloned().collect();
        all.sort_by_key(|promotion| promotion.started_at);
        all.into_iter().map(|promotion| promotion.id).collect::<Vec<_>>()
    });
    assert_eq!(started, asked);
}

#[tokio::test(start_paused = true)]
async fn a_passing_error_is_tried_again_after_a_pause_and_says_so() {
    let shop = Shop::new();
    let away = || Play::Error(ErrorKind::Unavailable, "The target is away.".into());
    let ship = shop.ship.clone().then(away()).then(away());
    let engine = shop.start(Shop::pipeline()).await;
    verified(&engine, "dev", "1.0.0").await;
    let calls: Vec<_> = ship.calls().into_iter().filter(|call| call.stage == "dev").collect();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| call.key == calls[0].key), "every try has the same key");
    assert_eq!(calls.iter().map(|call| call.resumed).collect::<Vec<_>>(), [false, true, true]);
    let errors = engine.journal().await.expect("reads").into_iter().filter_map(|event| match event.kind {
        crate::state::EventKind::TaskErrored { reason, retry_at, .. } => {
            Some((reason, retry_at.duration_since(event.at)))
        }
        _ => None,
    });
    let errors: Vec<_> = errors.collect();
    assert_eq!(errors.len(), 2);
    assert!(errors[0].0.contains("The target is away.") && errors[0].0.contains("plug-in: ship"), "{errors:?}");
    assert!(errors.iter().all(|(_, pause)| pause.as_millis() >= 500));
}

#[tokio::test(start_paused = true)]
async fn errors_without_end_end_the_step() {
    let shop = Shop::new();
    shop.ship.set(Play::Error(ErrorKind::Unavailable, "The target is away.".into()));
    let step = StepSpec::new("ship", json!({})).error_threshold(3);
    let engine = shop.start(Shop::of([Stage::new("dev").direct("main").step(step)])).await;
    let id = freight(&engine, "1.0.0").await;
    let promotion = engine.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
    let ended = engine.finished(&promotion).await.expect("ends");
    assert_eq!(ended.phase, Phase::Errored);
    assert!(ended.message.contains("the last of 3 errors in a row"), "{}", ended.message);
    assert_eq!(shop.ship.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_is_stopped_at_its_timeout() {
    let shop = Shop::new();
    shop.ship.set(Play::Hang);
    let step = StepSpec::new("ship", json!({})).timeout(Duration::from_secs(90));
    let engine = shop.start(Shop::of([Stage::new("dev").direct("main").step(step)])).await;
    let id = freight(&engine, "1.0.0").await;
    let promotion = engine.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
    let ended = engine.finished(&promotion).await.expect("ends");
    assert_eq!(ended.phase, Phase::Errored);
    assert!(ended.message.contains("not done within 90s"), "{}", ended.message);
    let took = ended.finished_at.expect("ended").duration_since(ended.started_at.expect("started"));
    assert_eq!(took.as_secs(), 90);
    assert_eq!(shop.ship.aborts(), [shop.ship.calls()[0].key.clone()], "what it had set going is stopped");
}

/// ARGO-07, on the engine's side: a promotion that hangs can be aborted at once, and the next one starts.
#[tokio::test(start_paused = true)]
async fn argo_07_an_abort_takes_effect_at_once() {
    let shop = Shop::new();
    let ship = shop.ship.clone().then(Play::Hang);
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main")])).await;
    let id = freight(&engine, "1.0.0").await;
    let alice = || Actor::user("alice");
    let hangs = engine.promote("dev", &id, alice()).await.expect("allowed");
    let waits = engine.promote("dev", &id, alice()).await.expect("allowed");
    let next = engine.promote("dev", &id, alice()).await.expect("allowed");
    engine.until(|_| (!ship.calls().is_empty()).then_some(())).await.expect("it is called");
    let asked = engine.now();
    engine.abort(&waits, Actor::user("bob")).await.expect("can be aborted");
    engine.abort(&hangs, Actor::user("bob")).await.expect("can be aborted");
    let (hung, waited) = (engine.finished(&hangs).await.expect("ends"), engine.finished(&waits).await.expect("ends"));
    assert_eq!((hung.phase, waited.phase), (Phase::Aborted, Phase::Aborted));
    assert_eq!(waited.started_at, None);
    assert!(hung.message.contains("aborted by user:bob"), "{}", hung.message);
    let ended = engine.finished(&next).await.expect("ends");
    assert_eq!(ended.phase, Phase::Succeeded);
    assert!(ended.started_at.expect("started").duration_since(asked).as_millis() < 1000);
    assert_eq!(ship.aborts().len(), 1);
    let error = engine.abort(&hangs, alice()).await.expect_err("it has ended");
    assert!(error.to_string().contains("has ended already, Aborted"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_a_verification_and_the_freight_is_not_verified() {
    let shop = Shop::new();
    shop.check.set(Play::Hang);
    let engine = shop.start(Shop::pipeline()).await;
    let promotion = engine.until(|state| state.stage(&"dev".into())?.verifying.clone()).await.expect("verifies");
    engine.until(|_| (!shop.check.calls().is_empty()).then_some(())).await.expect("it is called");
    engine.abort(&promotion, Actor::user("bob")).await.expect("can be aborted");
    let ended = engine.finished(&promotion).await.expect("ends");
    assert_eq!(ended.verifications[0].phase, Phase::Aborted);
    assert!(engine.read(|state| state.freight().all(|known| known.verified().is_empty())));
}

#[tokio::test(start_paused = true)]
async fn the_steps_after_a_failure_do_not_run() {
    let shop = Shop::new();
    let after = Scripted::succeeding();
    shop.ship.set(Play::Fail("no".into()));
    let plugins = Plugins::builder()
        .source("versions", shop.source.clone())
        .step("ship", shop.ship.clone())
        .step("after", after.clone())
        .build();
    let stage = Stage::new("dev").direct("main").auto_promote();
    let stage = stage.step(StepSpec::new("ship", json!({}))).step(StepSpec::new("after", json!({})));
    let engine = Engine::builder(Shop::of([stage]), plugins).clock(shop.clock.clone()).start().await.expect("starts");
    let ended = engine.until(|state| state.promotions().find(|p| p.phase.is_terminal()).cloned()).await.expect("ends");
    assert_eq!(ended.phase, Phase::Failed);
    assert_eq!(ended.message, "step step-1 (ship): no");
    assert!(after.calls().is_empty());
}
