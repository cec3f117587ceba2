//! Going back, when asked and without being asked.

use super::*;
use crate::stage::AutoRollback;
use crate::state::{Promotion, Trigger};
use crate::testing::Play;

/// The promotions of `stage`, oldest first.
fn of(engine: &Engine, stage: &str) -> Vec<Promotion> {
    engine.read(|state| state.promotions().filter(|promotion| promotion.stage == *stage).cloned().collect())
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_a_promotion_of_the_last_verified_freight_with_its_own_record() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let first = verified(&engine, "staging", "1.0.0").await;
    shop.source.publish("2.0.0");
    let second = verified(&engine, "staging", "2.0.0").await;
    let calls = shop.ship.calls().len();
    let back = Rollback::new("staging", Actor::user("alice")).because("orders are lost");
    let back = engine.rollback_with(back).await.expect("there is earlier freight");
    let ended = engine.finished(&back).await.expect("ends");
    assert_eq!((ended.phase, &ended.freight, ended.trigger), (Phase::Succeeded, &first, Trigger::Manual));
    assert_eq!(ended.rollback.as_ref().map(|rollback| &rollback.from), Some(&second));
    assert_eq!((ended.reason.as_str(), ended.verifications.len()), ("orders are lost", 1));
    assert_eq!(shop.ship.calls().len(), calls + 1, "the same steps run");
    an_hour().await;
    assert_eq!(current(&engine, "staging").as_deref(), Some("1.0.0"), "it stays until a person moves on");
    let trail: Vec<String> =
        engine.journal().await.expect("readable").iter().map(|event| event.kind.to_string()).collect();
    let line = format!("back from {}: orders are lost; it holds automatic promotions", second.short());
    assert!(trail.iter().any(|entry| entry.contains(&line)), "{trail:#?}");
    let on = engine.promote("staging", &second, Actor::user("alice")).await.expect("allowed");
    engine.finished(&on).await.expect("ends");
    shop.source.publish("3.0.0");
    verified(&engine, "staging", "3.0.0").await;
}

#[tokio::test(start_paused = true)]
async fn going_back_twice_goes_to_and_fro_and_says_so_when_there_is_nowhere_to_go() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let error = engine.rollback("prod", Actor::user("alice")).await.expect_err("nothing ran there");
    assert!(error.to_string().contains("nothing was promoted to it yet"), "{error}");
    verified(&engine, "staging", "1.0.0").await;
    let error = engine.rollback("staging", Actor::user("alice")).await.expect_err("only one ran there");
    assert!(error.to_string().contains("is verified there; promote the freight that it is to run"), "{error}");
    let error = engine.rollback("stagin", Actor::user("alice")).await.expect_err("misspelt");
    assert!(error.to_string().contains(r#"Did you mean "staging"?"#), "{error}");
    let error = engine.rollback_with(Rollback::new("staging", Actor::user("alice")).of("other")).await;
    assert!(error.expect_err("none of that").to_string().contains(r#"no freight of warehouse "other""#));
}

/// What is under way is what one goes back from, and it is stopped.
#[tokio::test(start_paused = true)]
async fn a_rollback_stops_what_is_under_way_and_what_waits() {
    let shop = Shop::new();
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main")])).await;
    let first = freight(&engine, "1.0.0").await;
    let done = engine.promote("dev", &first, Actor::user("alice")).await.expect("allowed");
    engine.finished(&done).await.expect("ends");
    shop.source.publish("2.0.0");
    let second = freight(&engine, "2.0.0").await;
    shop.ship.set(Play::Wait(Duration::from_secs(10)));
    let running = engine.promote("dev", &second, Actor::user("alice")).await.expect("allowed");
    let waiting = engine.promote("dev", &second, Actor::user("alice")).await.expect("allowed");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let back = engine.rollback("dev", Actor::user("bob")).await.expect("there is earlier freight");
    shop.ship.set(Play::Succeed);
    let ended = engine.finished(&back).await.expect("ends");
    assert_eq!((ended.phase, ended.freight), (Phase::Succeeded, first));
    for id in [running, waiting] {
        assert_eq!(engine.finished(&id).await.expect("ends").phase, Phase::Aborted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_verification_takes_the_stage_back_and_holds_it() {
    let shop = Shop::new();
    let stage = Shop::stage("dev").direct("main").auto_promote().auto_rollback(AutoRollback::on_failed_verification());
    let engine = shop.start(Shop::of([stage])).await;
    let first = verified(&engine, "dev", "1.0.0").await;
    shop.check.set(Play::Fail("errors are up".into()));
    shop.source.publish("2.0.0");
    let second = freight(&engine, "2.0.0").await;
    let bad = engine.until(|state| {
        let bad = state.promotions().find(|promotion| promotion.freight == second)?;
        bad.verifications.last().filter(|last| last.phase.is_terminal()).map(|_| bad.id.clone())
    });
    let bad = bad.await.expect("ends");
    shop.check.set(Play::Succeed);
    an_hour().await;
    assert_eq!(current(&engine, "dev").as_deref(), Some("1.0.0"));
    let all = of(&engine, "dev");
    let last = all.last().expect("one");
    assert_eq!((last.trigger, &last.freight, last.actor.clone()), (Trigger::Rollback, &first, Actor::engine()));
    assert_eq!(last.reason, format!("verification of promotion {bad} Failed"));

    // Newer freight waits for a person, who sees why.
    shop.source.publish("3.0.0");
    let third = freight(&engine, "3.0.0").await;
    an_hour().await;
    assert_eq!(of(&engine, "dev").len(), 3);
    let why = engine.why("dev", &third).to_string();
    assert!(why.contains("engine chose freight") && why.contains("verification of promotion dev."), "{why}");
    // Released, the freight that failed is not tried again by itself, but newer freight is.
    engine.release("dev", "main", Actor::user("alice")).await.expect("it is held");
    verified(&engine, "dev", "3.0.0").await;
    assert_eq!(of(&engine, "dev").len(), 4);
}

/// The loop guard: what a rollback could not mend is left to a person.
#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_is_not_followed_by_another() {
    let shop = Shop::new();
    let stage = Shop::stage("dev").direct("main").auto_promote().auto_rollback(AutoRollback::on_any_failure());
    let engine = shop.start(Shop::of([stage])).await;
    verified(&engine, "dev", "1.0.0").await;
    shop.source.publish("2.0.0");
    verified(&engine, "dev", "2.0.0").await;
    shop.check.set(Play::Fail("the database is down".into()));
    shop.ship.set(Play::Fail("the database is down".into()));
    shop.source.publish("3.0.0");
    for _ in 0..10 {
        an_hour().await;
    }
    let ends: Vec<(Trigger, Phase)> = of(&engine, "dev").iter().map(|p| (p.trigger, p.phase)).collect();
    assert_eq!(ends[2..], [(Trigger::Automatic, Phase::Failed), (Trigger::Rollback, Phase::Failed)]);
    assert_eq!(current(&engine, "dev").as_deref(), Some("2.0.0"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_promotion_puts_the_current_freight_back_where_the_stage_asks_for_it() {
    for when in [AutoRollback::on_any_failure(), AutoRollback::on_failed_verification()] {
        let asked = when.on_promotion.contains(&Phase::Failed);
        let shop = Shop::new();
        let engine = shop.start(Shop::of([Shop::stage("dev").direct("main").auto_promote().auto_rollback(when)])).await;
        let first = verified(&engine, "dev", "1.0.0").await;
        let _ = shop.ship.clone().then(Play::Fail("it does not come up".into()));
        shop.source.publish("2.0.0");
        let second = freight(&engine, "2.0.0").await;
        let failed = engine
            .until(|state| state.promotions().any(|p| p.freight == second && p.phase == Phase::Failed).then_some(()));
        failed.await.expect("fails");
        an_hour().await;
        let all = of(&engine, "dev");
        assert_eq!(all.len(), if asked { 3 } else { 2 });
        if asked {
            assert_eq!((&all[2].freight, all[2].phase), (&first, Phase::Succeeded), "what it had changed is put right");
        }
    }
}

/// A failure that is long past is no reason to change what runs: the policy may have been added since.
#[tokio::test(start_paused = true)]
async fn a_failure_from_long_ago_does_not_take_the_stage_back() {
    let shop = Shop::new();
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main").auto_promote()])).await;
    verified(&engine, "dev", "1.0.0").await;
    shop.check.set(Play::Fail("errors are up".into()));
    shop.source.publish("2.0.0");
    an_hour().await;
    engine.shutdown().await.expect("stops");
    let stage = Shop::stage("dev").direct("main").auto_promote().auto_rollback(AutoRollback::on_failed_verification());
    let engine = shop.start(Shop::of([stage])).await;
    an_hour().await;
    assert_eq!(of(&engine, "dev").len(), 2);
    assert_eq!(current(&engine, "dev").as_deref(), Some("2.0.0"));
}

/// An abort is a person's word, not a failure.
#[tokio::test(start_paused = true)]
async fn an_abort_does_not_take_the_stage_back() {
    let shop = Shop::new();
    let stage = Shop::stage("dev").direct("main").auto_promote().auto_rollback(AutoRollback::on_any_failure());
    let engine = shop.start(Shop::of([stage])).await;
    verified(&engine, "dev", "1.0.0").await;
    shop.ship.set(Play::Wait(Duration::from_secs(10)));
    shop.source.publish("2.0.0");
    freight(&engine, "2.0.0").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    engine.abort(&of(&engine, "dev")[1].id.clone(), Actor::user("alice")).await.expect("under way");
    an_hour().await;
    assert_eq!(of(&engine, "dev").len(), 2);
}

/// A stage that runs freight of two warehouses goes back with the one that was promoted last, and keeps the other.
#[tokio::test(start_paused = true)]
async fn a_rollback_leaves_the_other_warehouse_alone() {
    let shop = Shop::new();
    let other = ScriptedSource::versions(["a"]);
    let warehouse = |name: &str, source: &str| {
        Warehouse::new(name).subscribe(Subscription::new(source, json!({}))).every(Duration::from_secs(60))
    };
    let pipeline = Pipeline::builder("shop")
        .warehouse(warehouse("front", "versions"))
        .warehouse(warehouse("back", "other"))
        .stage(Shop::stage("dev").direct("front").direct("back").auto_promote())
        .build()
        .expect("valid");
    let plugins = Plugins::builder().step("ship", shop.ship.clone()).verifier("check", shop.check.clone());
    let engine = shop.start_with(pipeline, plugins.source("other", other.clone())).await;
    verified(&engine, "dev", "1.0.0").await;
    verified(&engine, "dev", "a").await;
    shop.source.publish("2.0.0");
    verified(&engine, "dev", "2.0.0").await;
    other.publish("b");
    verified(&engine, "dev", "b").await;
    let runs = || engine.read(|state| state.current(&"dev".into()).iter().map(Freight::label).collect::<Vec<_>>());
    assert_eq!(runs(), ["b", "2.0.0"]);
    let back = engine.rollback("dev", Actor::user("alice")).await.expect("there is earlier freight");
    engine.finished(&back).await.expect("ends");
    assert_eq!(runs(), ["a", "2.0.0"]);
    let back = Rollback::new("dev", Actor::user("alice")).of("front");
    let back = engine.rollback_with(back).await.expect("there is earlier freight");
    engine.finished(&back).await.expect("ends");
    assert_eq!(runs(), ["a", "1.0.0"]);
}

/// Whoever asks again while a rollback is under way wants the same: neither forward again, nor one further back.
#[tokio::test(start_paused = true)]
async fn a_second_rollback_while_one_is_under_way_goes_to_the_same_freight() {
    let shop = Shop::new();
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main").auto_promote()])).await;
    for version in ["2.0.0", "3.0.0"] {
        shop.source.publish(version);
        verified(&engine, "dev", version).await;
    }
    shop.ship.set(Play::Wait(Duration::from_secs(10)));
    let first = engine.rollback("dev", Actor::user("alice")).await.expect("there is earlier freight");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let second = engine.rollback("dev", Actor::user("bob")).await.expect("the same again");
    shop.ship.set(Play::Succeed);
    let freights = [&first, &second].map(|id| engine.read(|state| state.promotion(id).expect("known").freight.clone()));
    assert_eq!(freights[0], freights[1]);
    engine.finished(&second).await.expect("ends");
    assert_eq!(engine.finished(&first).await.expect("ends").phase, Phase::Aborted);
    assert_eq!(current(&engine, "dev").as_deref(), Some("2.0.0"));
}

/// A double click whose second promotion is taken back does not hide what the stage ran last.
#[tokio::test(start_paused = true)]
async fn a_promotion_that_never_began_is_not_what_a_stage_goes_back_from() {
    let shop = Shop::new();
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main")])).await;
    let promote = |freight: FreightId| {
        let engine = engine.clone();
        async move { engine.promote("dev", &freight, Actor::user("alice")).await.expect("allowed") }
    };
    let first = freight(&engine, "1.0.0").await;
    engine.finished(&promote(first).await).await.expect("ends");
    shop.source.publish("2.0.0");
    let second = freight(&engine, "2.0.0").await;
    shop.ship.set(Play::Wait(Duration::from_secs(10)));
    let (running, waiting) = (promote(second.clone()).await, promote(second).await);
    engine.abort(&waiting, Actor::user("alice")).await.expect("it waits");
    shop.ship.set(Play::Succeed);
    engine.finished(&running).await.expect("ends");
    engine.finished(&waiting).await.expect("ends");
    let back = engine.rollback("dev", Actor::user("alice")).await.expect("there is earlier freight");
    engine.finished(&back).await.expect("ends");
    assert_eq!(current(&engine, "dev").as_deref(), Some("1.0.0"));
}

/// That a waiting promotion was refused at its turn is no failure: nothing was tried.
#[tokio::test(start_paused = true)]
async fn a_refusal_at_its_turn_does_not_take_the_stage_back_or_count_against_the_freight() {
    let shop = Shop::new();
    let prod = Shop::stage("prod").after("main", ["dev"]).auto_rollback(AutoRollback::on_any_failure());
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main").auto_promote(), prod])).await;
    for version in ["1.0.0", "2.0.0"] {
        shop.source.publish(version);
        let id = verified(&engine, "dev", version).await;
        let promotion = engine.promote("prod", &id, Actor::user("alice")).await.expect("allowed");
        engine.finished(&promotion).await.expect("ends");
    }
    let second = freight(&engine, "2.0.0").await;
    shop.ship.set(Play::Wait(Duration::from_secs(10)));
    let running = engine.promote("prod", &second, Actor::user("alice")).await.expect("allowed");
    let refused = engine.promote("prod", &second, Actor::user("alice")).await.expect("allowed now");
    tokio::time::sleep(Duration::from_secs(5)).await;
    shop.check.set(Play::Fail("the check is stricter".into()));
    engine.verify_again("dev", Actor::user("alice")).await.expect("it runs something");
    tokio::time::sleep(Duration::from_secs(5)).await;
    shop.check.set(Play::Succeed);
    shop.ship.set(Play::Succeed);
    engine.finished(&running).await.expect("ends");
    let ended = engine.finished(&refused).await.expect("ends");
    assert!(ended.phase == Phase::Errored && ended.started_at.is_none(), "{}", ended.message);
    an_hour().await;
    assert_eq!(current(&engine, "prod").as_deref(), Some("2.0.0"));
    assert_eq!(of(&engine, "prod").len(), 4);
    let why = engine.why("prod", &second).to_string();
    assert!(why.contains("no promotion of it to the stage has ended badly"), "{why}");
}

/// One warehouse's freight filling the short history does not hide the other's.
#[tokio::test(start_paused = true)]
async fn a_rollback_finds_freight_from_before_many_promotions_of_another_warehouse() {
    let shop = Shop::new();
    let other = ScriptedSource::versions(["a"]);
    let warehouse = |name: &str, source: &str| {
        Warehouse::new(name).subscribe(Subscription::new(source, json!({}))).every(Duration::from_secs(60))
    };
    let pipeline = Pipeline::builder("shop")
        .warehouse(warehouse("front", "versions"))
        .warehouse(warehouse("back", "other"))
        .stage(Shop::stage("dev").direct("front").direct("back").auto_promote())
        .build()
        .expect("valid");
    let plugins = Plugins::builder().step("ship", shop.ship.clone()).verifier("check", shop.check.clone());
    let engine = shop.start_with(pipeline, plugins.source("other", other.clone())).await;
    verified(&engine, "dev", "a").await;
    other.publish("b");
    verified(&engine, "dev", "b").await;
    for number in 1..=12 {
        let version = format!("2.0.{number}");
        shop.source.publish(&version);
        verified(&engine, "dev", &version).await;
    }
    let back = Rollback::new("dev", Actor::user("alice")).of("back");
    let back = engine.rollback_with(back).await.expect("there is earlier freight");
    engine.finished(&back).await.expect("ends");
    let runs = engine.read(|state| state.current(&"dev".into()).iter().map(Freight::label).collect::<Vec<_>>());
    assert_eq!(runs, ["a", "2.0.12"]);
}

#[test]
fn a_stage_goes_back_after_bad_ends_only() {
    let mut when = AutoRollback::on_any_failure();
    when.on_promotion.insert(Phase::Succeeded);
    let stage = Shop::stage("dev").direct("main").auto_rollback(when);
    let built = Pipeline::builder("shop").warehouse(Shop::warehouse()).stage(stage).build();
    let error = built.expect_err("refused").to_string();
    assert!(error.contains("is to go back after a promotion that Succeeded; name only bad ends"), "{error}");
}
