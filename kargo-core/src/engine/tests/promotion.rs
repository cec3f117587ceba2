//! The way of freight through the stages.

use super::*;
use crate::decide::{GateKind, Standing};
use crate::state::{Cause, EventKind, Trigger};

#[tokio::test(start_paused = true)]
async fn freight_reaches_staging_by_itself_and_production_by_a_person() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let id = verified(&engine, "staging", "1.0.0").await;
    an_hour().await;
    assert_eq!((current(&engine, "dev"), current(&engine, "staging")), (Some("1.0.0".into()), Some("1.0.0".into())));
    assert_eq!(current(&engine, "prod"), None, "production waits for a person");
    assert_eq!(engine.read(|state| state.freight().count()), 1, "the same content is the same freight");

    let promotion = engine.promote("prod", &id, Actor::user("alice")).await.expect("allowed");
    let ended = engine.finished(&promotion).await.expect("ends");
    assert_eq!((ended.phase, ended.trigger), (Phase::Succeeded, Trigger::Manual));
    assert_eq!(current(&engine, "prod").as_deref(), Some("1.0.0"));
    let stages: Vec<StageName> = shop.ship.calls().into_iter().map(|call| call.stage).collect();
    assert_eq!(stages, ["dev", "staging", "prod"], "each stage was shipped to once");
}

#[tokio::test(start_paused = true)]
async fn promoting_too_early_is_refused_with_what_is_missing() {
    let shop = Shop::new();
    shop.check.set(crate::testing::Play::Wait(Duration::from_secs(10)));
    let engine = shop.start(Shop::pipeline()).await;
    let id = freight(&engine, "1.0.0").await;
    let refused = engine.promote("prod", &id, Actor::user("alice")).await.expect_err("not verified in staging");
    let PromoteError::Refused(refusal) = refused else { panic!("not a refusal: {refused}") };
    let missing: Vec<&GateKind> = refusal.admission().missing().map(|gate| &gate.kind).collect();
    let upstream = GateKind::Verified { upstream: "staging".into(), standing: Standing::Absent };
    assert!(missing.contains(&&upstream), "{missing:?}");
    let text = refusal.to_string();
    assert!(text.contains(r#"may not enter stage "prod""#) && text.contains("not verified in stage staging"), "{text}");

    let text = engine.why("prod", &id).to_string();
    assert!(text.contains("[closed] it is not verified in stage staging: it has not been promoted there"), "{text}");
    assert!(text.contains("[closed] the stage waits for a person to promote"), "{text}");
    assert_eq!(promotions(&engine, "prod"), 0);

    let unknown = engine.promote("prd", &id, Actor::user("alice")).await.expect_err("no such stage");
    assert!(unknown.to_string().contains(r#"did you mean "prod"?"#), "{unknown}");
    let unknown = engine.promote("prod", "0000000", Actor::user("alice")).await.expect_err("no such freight");
    assert!(unknown.to_string().contains("the freight does not exist"), "{unknown}");
}

/// CORE-01, on the upstream's side: a rollback by hand stays, for that warehouse only, until the newest is chosen by hand.
#[tokio::test(start_paused = true)]
async fn core_01_a_rollback_stays_until_a_person_moves_on() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let old = verified(&engine, "staging", "1.0.0").await;
    shop.source.publish("2.0.0");
    let new = verified(&engine, "staging", "2.0.0").await;
    assert_eq!(current(&engine, "staging").as_deref(), Some("2.0.0"));

    let rollback = engine.promote("staging", &old, Actor::user("alice")).await.expect("allowed");
    assert!(engine.finished(&rollback).await.expect("ends").phase.is_success());
    an_hour().await;
    assert_eq!(current(&engine, "staging").as_deref(), Some("1.0.0"), "automatic promotion does not undo it");
    let why = engine.why("staging", &new).to_string();
    assert!(why.contains("automatic promotions are held since user:alice chose freight"), "{why}");

    shop.source.publish("3.0.0");
    verified(&engine, "dev", "3.0.0").await;
    an_hour().await;
    assert_eq!(current(&engine, "staging").as_deref(), Some("1.0.0"), "nor does newer freight");

    let newest = freight(&engine, "3.0.0").await;
    let onward = engine.promote("staging", &newest, Actor::user("bob")).await.expect("allowed");
    engine.finished(&onward).await.expect("ends");
    shop.source.publish("4.0.0");
    verified(&engine, "staging", "4.0.0").await;
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_of_several_new_versions_is_promoted() {
    let shop = Shop::new();
    shop.ship.set(crate::testing::Play::Wait(Duration::from_secs(600)));
    let engine = shop.start(Shop::pipeline()).await;
    freight(&engine, "1.0.0").await;
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        shop.source.publish(version);
        freight(&engine, version).await;
    }
    shop.ship.set(crate::testing::Play::Succeed);
    verified(&engine, "staging", "1.3.0").await;
    let freights = engine
        .read(|state| state.promotions().filter(|p| p.stage == "dev").map(|p| p.freight.clone()).collect::<Vec<_>>());
    assert_eq!(freights.len(), 2, "a backlog does not build up while a promotion is under way");
}

/// CORE-27: who did what is on record, and still there after a restart.
#[tokio::test(start_paused = true)]
async fn core_27_the_audit_trail_survives_a_restart() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let id = verified(&engine, "staging", "1.0.0").await;
    engine.approve(&id, "prod", Actor::user("u1")).await.expect("approves");
    let promotion = engine.promote("prod", &id, Actor::user("u2")).await.expect("allowed");
    engine.finished(&promotion).await.expect("ends");
    let before = engine.journal().await.expect("reads");
    engine.shutdown().await.expect("stops");

    let engine = shop.start(Shop::pipeline()).await;
    let after = engine.journal().await.expect("reads");
    assert_eq!(after[..before.len()], before[..]);
    let by = |name: &str| after.iter().filter(|event| event.actor == Actor::user(name)).collect::<Vec<_>>();
    assert!(matches!(&by("u1")[..], [event] if matches!(event.kind, EventKind::FreightApproved { .. })));
    assert!(matches!(&by("u2")[..], [event] if matches!(event.kind, EventKind::PromotionRequested { .. })
        && event.cause == Cause::Request));
    assert!(after.iter().enumerate().all(|(index, event)| event.seq == index as u64 + 1), "no gaps");
}

#[tokio::test(start_paused = true)]
async fn the_event_stream_has_everything_and_ends_with_the_engine() {
    use futures::TryStreamExt;
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let collected = tokio::spawn(engine.events(0).try_collect::<Vec<_>>());
    verified(&engine, "staging", "1.0.0").await;
    engine.shutdown().await.expect("stops");
    let streamed = collected.await.expect("no panic").expect("reads");
    assert_eq!(streamed, engine.journal().await.expect("reads"));
    assert!(streamed.len() > 10);
}

/// CORE-07: each promotion is verified for itself.
#[tokio::test(start_paused = true)]
async fn core_07_a_second_promotion_of_the_same_freight_is_verified_afresh() {
    let shop = Shop::new();
    shop.check.set(crate::testing::Play::Fail("the page is blank".into()));
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main")])).await;
    let id = freight(&engine, "1.0.0").await;
    let first = engine.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
    let first = engine.finished(&first).await.expect("ends");
    assert_eq!(first.verifications[0].phase, Phase::Failed);
    assert!(first.verifications[0].message.contains("the page is blank"));
    assert!(engine.read(|state| state.freight_by_id(&id).expect("known").verified().is_empty()));

    shop.check.set(crate::testing::Play::Succeed);
    let second = engine.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
    engine.finished(&second).await.expect("ends");
    assert!(engine.read(|state| state.freight_by_id(&id).expect("known").verified().contains_key("dev")));
    let keys: Vec<String> = shop.check.calls().into_iter().map(|call| call.key).collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
}

/// CORE-06: freight that is found bad later is no longer available downstream.
#[tokio::test(start_paused = true)]
async fn core_06_a_later_failure_takes_the_qualification_away() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let id = verified(&engine, "staging", "1.0.0").await;
    assert!(engine.why("prod", &id).admission.is_open());
    shop.check.set(crate::testing::Play::Fail("errors are up".into()));
    let again = engine.promote("staging", &id, Actor::user("alice")).await.expect("allowed");
    engine.finished(&again).await.expect("ends");
    let why = engine.why("prod", &id);
    assert!(!why.admission.is_open());
    assert!(why.to_string().contains("its last verification there ended Failed"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_definition_is_an_event_and_leaves_what_runs_alone() {
    let shop = Shop::new();
    shop.ship.set(crate::testing::Play::Wait(Duration::from_secs(60)));
    let engine = shop.start(Shop::pipeline()).await;
    engine.until(|state| state.stage(&"dev".into())?.running.clone()).await.expect("starts");
    engine.shutdown().await.expect("stops");

    let changed = Shop::of([Shop::stage("qa").direct("main").auto_promote()]);
    let engine = shop.start(changed).await;
    shop.ship.set(crate::testing::Play::Succeed);
    verified(&engine, "qa", "1.0.0").await;
    let ended = engine.until(|state| state.promotions().find(|p| p.stage == "dev" && p.phase.is_terminal()).cloned());
    assert_eq!(ended.await.expect("ends").phase, Phase::Succeeded, "it ends with the steps it started with");
    let defined = engine.journal().await.expect("reads").into_iter();
    assert_eq!(defined.filter(|event| matches!(event.kind, EventKind::PipelineDefined { .. })).count(), 2);
}
