//! Verification: in groups, once more, and by a person.

use super::*;
use crate::testing::Play;

/// A stage whose verifiers are these, the later ones running with the first when `together`.
fn verified_by(names: &[&str], together: bool) -> Stage {
    let entry = |(index, name): (usize, &&str)| {
        let entry = VerifierSpec::new(*name, json!({}));
        if together && index > 0 { entry.with_previous() } else { entry }
    };
    let stage = Stage::new("dev").direct("main").auto_promote().step(StepSpec::new("ship", json!({})));
    names.iter().enumerate().map(entry).fold(stage, Stage::verify_with)
}

async fn start(shop: &Shop, stage: Stage, verifiers: &[(&str, &Scripted)]) -> Engine {
    let plugins = Plugins::builder().step("ship", shop.ship.clone());
    let plugins = verifiers.iter().fold(plugins, |all, (name, verifier)| all.verifier(*name, (*verifier).clone()));
    let downstream = Stage::new("prod").after("main", ["dev"]).step(StepSpec::new("ship", json!({})));
    shop.start_with(Shop::of([stage, downstream]), plugins).await
}

/// How the last verification in dev ended, once it has.
async fn ended(engine: &Engine) -> (Phase, String) {
    let last = engine.until(|state| {
        let stage = state.stage(&"dev".into())?;
        let last = state.promotion(stage.history.front()?)?.verifications.last()?;
        (stage.is_idle() && last.phase.is_terminal()).then(|| (last.phase, last.message.clone()))
    });
    last.await.expect("ends")
}

#[tokio::test(start_paused = true)]
async fn verifiers_run_one_after_the_other_unless_they_are_to_run_together() {
    for together in [false, true] {
        let shop = Shop::new();
        let slow = Scripted::succeeding().then(Play::Wait(Duration::from_secs(100)));
        let quick = Scripted::succeeding();
        let engine =
            start(&shop, verified_by(&["slow", "quick"], together), &[("slow", &slow), ("quick", &quick)]).await;
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(quick.calls().len(), usize::from(together));
        assert_eq!(ended(&engine).await.0, Phase::Succeeded);
        assert_eq!(quick.calls().len(), 1);
    }
}

/// One no decides: the others are stopped, rather than waited for.
#[tokio::test(start_paused = true)]
async fn of_verifiers_that_run_together_the_first_failure_decides() {
    let shop = Shop::new();
    let never = Scripted::always(Play::Wait(Duration::from_secs(10)));
    let no = Scripted::always(Play::Fail("2 % of the requests fail".into()));
    let later = Scripted::succeeding();
    let stage = verified_by(&["never", "no"], true).verify("later", json!({}));
    let engine = start(&shop, stage, &[("never", &never), ("no", &no), ("later", &later)]).await;
    assert_eq!(ended(&engine).await, (Phase::Failed, "verifier no: 2 % of the requests fail".to_owned()));
    let calls = never.calls().len();
    an_hour().await;
    assert_eq!((never.calls().len(), later.calls().len()), (calls, 0));
}

/// CORE-06: the check was made stricter; verified once more by it, the freight is not good, and stops flowing.
#[tokio::test(start_paused = true)]
async fn core_06_a_second_verification_uses_the_verifiers_of_now() {
    let shop = Shop::new();
    let (old, strict) = (Scripted::succeeding(), Scripted::always(Play::Fail("too slow".into())));
    let verifiers = [("old", &old), ("strict", &strict)];
    let engine = start(&shop, verified_by(&["old"], false), &verifiers).await;
    let id = verified(&engine, "dev", "1.0.0").await;
    assert!(engine.why("prod", &id).admission.is_open());
    engine.shutdown().await.expect("stops");

    let engine = start(&shop, verified_by(&["strict"], false), &verifiers).await;
    let promotion = engine.verify_again("dev", Actor::user("alice")).await.expect("it runs something");
    let promotion = engine.finished(&promotion).await.expect("ends");
    let phases: Vec<Phase> = promotion.verifications.iter().map(|verification| verification.phase).collect();
    assert_eq!(phases, [Phase::Succeeded, Phase::Failed]);
    let why = engine.why("prod", &id).to_string();
    assert!(why.contains("it is not verified in stage dev: its last verification there ended Failed"), "{why}");
    assert_eq!(current(&engine, "dev").as_deref(), Some("1.0.0"), "it runs there all the same");

    // Good again, it flows again.
    strict.set(Play::Succeed);
    engine.verify_again("dev", Actor::user("alice")).await.expect("it runs something");
    assert_eq!(ended(&engine).await.0, Phase::Succeeded);
    assert!(engine.why("prod", &id).admission.is_open());
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_or_was_never_there_cannot_be_verified_again() {
    let shop = Shop::new();
    let check = Scripted::always(Play::Wait(Duration::from_secs(10)));
    let engine = start(&shop, verified_by(&["check"], false), &[("check", &check)]).await;
    let refused = |stage: &'static str| {
        let engine = engine.clone();
        async move { engine.verify_again(stage, Actor::user("alice")).await.expect_err("refused").to_string() }
    };
    freight(&engine, "1.0.0").await;
    assert!(refused("prod").await.contains(r#"Stage "prod" runs nothing yet"#));
    assert!(refused("prd").await.contains(r#"Did you mean "prod"?"#));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(refused("dev").await.contains(r#"Stage "dev" is busy with promotion dev."#));
}

/// A verification that could not say asks a person, and the queue does not wait for the answer.
#[tokio::test(start_paused = true)]
async fn an_inconclusive_verification_is_judged_by_a_person() {
    for verdict in [Phase::Succeeded, Phase::Failed] {
        let shop = Shop::new();
        let check = Scripted::always(Play::Inconclusive("too few requests".into()));
        let engine = start(&shop, verified_by(&["check"], false), &[("check", &check)]).await;
        assert_eq!(ended(&engine).await.0, Phase::Inconclusive);
        let id = freight(&engine, "1.0.0").await;
        let promotion = engine.read(|state| state.promotions().next().expect("one").id.clone());
        assert!(!engine.why("prod", &id).admission.is_open());
        let odd = engine.judge(&promotion, Phase::Skipped, Actor::user("carol"), "").await.expect_err("no verdict");
        assert!(odd.to_string().contains("judged Succeeded or Failed, not Skipped"), "{odd}");

        engine.judge(&promotion, verdict, Actor::user("carol"), "looked at it").await.expect("open to judgement");
        assert_eq!(engine.why("prod", &id).admission.is_open(), verdict == Phase::Succeeded);
        let last = engine.read(|state| state.promotion(&promotion).expect("known").verifications[0].clone());
        assert_eq!((last.phase, last.message.as_str()), (verdict, "looked at it"));
        assert_eq!(last.judged_by, Some(Actor::user("carol")));
        let twice = engine.judge(&promotion, verdict, Actor::user("carol"), "").await.expect_err("decided");
        assert!(twice.to_string().contains("which says it all"), "{twice}");
    }
}

/// A verifier as a step, in front of the one that ships.
fn gated() -> Stage {
    let gate = StepSpec::verify("check", json!({})).named("gate");
    let ship = StepSpec::new("ship", json!({ "why": "${{ outputs.gate.evidence }}" }));
    Stage::new("dev").direct("main").step(gate).step(ship)
}

/// What becomes of a promotion whose gate plays this, and of its gate.
async fn through(gate: &Scripted) -> (Shop, state::Promotion) {
    let shop = Shop::new();
    let plugins = Plugins::builder().step("ship", shop.ship.clone()).verifier("check", gate.clone());
    let engine = shop.start_with(Shop::of([gated()]), plugins).await;
    let id = freight(&engine, "1.0.0").await;
    let promotion = engine.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
    let ended = engine.finished(&promotion).await.expect("ends");
    (shop, ended)
}

#[tokio::test(start_paused = true)]
async fn a_verifier_as_a_step_lets_through_what_passes_and_nothing_else() {
    let no = || Play::Fail("it is not signed".into());
    let unsure = || Play::Inconclusive("two say no".into());
    for (play, phase, message) in [
        (Play::Succeed, Phase::Succeeded, "the script says so"),
        (no(), Phase::Failed, "it is not signed"),
        (unsure(), Phase::Failed, "it cannot be said whether this is good: two say no"),
    ] {
        let (shop, ended) = through(&Scripted::always(play)).await;
        let gate = &ended.steps[0];
        assert_eq!((gate.alias.as_str(), gate.task.phase, gate.task.message.as_str()), ("gate", phase, message));
        assert_eq!(ended.phase, phase);
        assert_eq!(shop.ship.calls().len(), usize::from(phase == Phase::Succeeded), "{message}");
        if phase == Phase::Failed {
            assert_eq!(ended.message, format!("step gate (verify:check): {message}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_verifier_as_a_step_is_asked_again_while_it_does_not_know() {
    let wait = || Play::Wait(Duration::from_secs(30));
    let away = Play::Error(ErrorKind::Unavailable, "The registry is away.".into());
    let gate = Scripted::succeeding().then(wait()).then(away).then(wait());
    let (shop, ended) = through(&gate).await;
    assert_eq!((ended.phase, gate.calls().len(), shop.ship.calls().len()), (Phase::Succeeded, 4, 1));
    // What cannot be found out is no verdict.
    let gate = Scripted::always(Play::Error(ErrorKind::InvalidInput, "There is no such key.".into()));
    let (shop, ended) = through(&gate).await;
    assert_eq!((ended.phase, shop.ship.calls().len()), (Phase::Errored, 0));
    assert!(ended.message.contains("There is no such key."), "{}", ended.message);
}

#[test]
fn a_verifier_that_is_not_registered_is_no_step_either() {
    let plugins = Plugins::builder().verifier("check", Scripted::succeeding()).build();
    assert!(plugins.step("verify:check").is_ok());
    let error = plugins.step("verify:chek").expect_err("there is none").to_string();
    assert!(error.contains(r#"Did you mean "verify:check"?"#), "{error}");
}
