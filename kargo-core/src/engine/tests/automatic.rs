//! What stages do by themselves: policies, matching the upstream stage, holds, superseding.

use super::*;
use crate::stage::{LabelRequirement, PromotionPolicy, Selection, StageSelector};
use crate::testing::Play;

/// CORE-02: by default a stage takes the newest that is verified upstream; one that matches its upstream stage follows it back.
#[tokio::test(start_paused = true)]
async fn core_02_a_rollback_reaches_the_stages_that_match_upstream() {
    let shop = Shop::new();
    let follower = FreightRequest::after("main", ["dev"]).match_upstream();
    let engine = shop
        .start(Shop::of([
            Shop::stage("dev").direct("main").auto_promote(),
            Shop::stage("newest").after("main", ["dev"]).auto_promote(),
            Shop::stage("follower").request(follower).auto_promote(),
        ]))
        .await;
    verified(&engine, "follower", "1.0.0").await;
    shop.source.publish("2.0.0");
    let second = verified(&engine, "follower", "2.0.0").await;
    verified(&engine, "newest", "2.0.0").await;

    let back = engine.rollback("dev", Actor::user("alice")).await.expect("there is earlier freight");
    engine.finished(&back).await.expect("ends");
    an_hour().await;
    assert_eq!(current(&engine, "dev").as_deref(), Some("1.0.0"));
    assert_eq!(current(&engine, "newest").as_deref(), Some("2.0.0"));
    assert_eq!(current(&engine, "follower").as_deref(), Some("1.0.0"));
    let why = engine.why("follower", &second).to_string();
    assert!(why.contains("the freight that the stage would take is"), "{why}");

    // Moving on reaches it as well.
    let on = engine.promote("dev", &second, Actor::user("alice")).await.expect("allowed");
    engine.finished(&on).await.expect("ends");
    an_hour().await;
    assert_eq!(current(&engine, "follower").as_deref(), Some("2.0.0"));
}

/// While the upstream stage is between two states there is nothing to match; what fails there is not matched.
#[tokio::test(start_paused = true)]
async fn a_stage_matches_only_what_its_upstream_stage_has_verified() {
    let shop = Shop::new();
    let follower = FreightRequest::after("main", ["dev"]).match_upstream();
    let engine = shop
        .start(Shop::of([
            Shop::stage("dev").direct("main").auto_promote(),
            Stage::new("follower").request(follower).auto_promote().step(StepSpec::new("ship", json!({}))),
        ]))
        .await;
    verified(&engine, "follower", "1.0.0").await;
    shop.check.set(Play::Fail("no".into()));
    shop.source.publish("2.0.0");
    an_hour().await;
    assert_eq!(current(&engine, "dev").as_deref(), Some("2.0.0"));
    assert_eq!(promotions(&engine, "follower"), 1);
}

#[test]
fn a_stage_can_match_only_one_upstream_stage_that_runs_something() {
    let request = |stages: &[&str]| FreightRequest::after("main", stages.iter().copied()).match_upstream();
    let problems = |request: FreightRequest| {
        let builder = Pipeline::builder("shop").warehouse(Shop::warehouse());
        let builder = builder.stage(Shop::stage("a").direct("main")).stage(Shop::stage("b").direct("main"));
        let built = builder.stage(Stage::new("gate").direct("main")).stage(Shop::stage("c").request(request)).build();
        built.map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert_eq!(problems(request(&["a"])), "");
    let direct = FreightRequest { selection: Selection::MatchUpstream, ..FreightRequest::direct("main") };
    for wrong in [request(&["a", "b"]), request(&["gate"]), direct] {
        assert!(problems(wrong).contains("so it must name exactly one, with steps"));
    }
    assert!(problems(FreightRequest::after("main", ["a", "a"])).contains(r#"names the upstream stage "a" twice"#));
    for count in [0, 3] {
        let wrong = problems(FreightRequest::after("main", ["a", "b"]).at_least(count));
        assert!(wrong.contains(&format!("demands {count} of its 2 upstream stages")), "{wrong}");
    }
}

/// CORE-13: besides any and all, some of the upstream stages.
#[tokio::test(start_paused = true)]
async fn core_13_two_of_three_upstream_stages_are_enough() {
    let shop = Shop::new();
    let regions = ["eu", "us", "ap"];
    let two = FreightRequest::after("main", regions).at_least(2);
    let stages = regions.map(|name| Shop::stage(name).direct("main"));
    let engine = shop.start(Shop::of(stages.into_iter().chain([Shop::stage("all").request(two)]))).await;
    let id = freight(&engine, "1.0.0").await;
    for (promoted, region) in regions.iter().enumerate() {
        assert_eq!(engine.why("all", &id).admission.is_open(), promoted >= 2);
        if promoted < 2 {
            let why = engine.why("all", &id).to_string();
            assert!(why.contains("2 of the 3 upstream stages must have verified it"), "{why}");
        }
        let promotion = engine.promote(*region, &id, Actor::user("alice")).await.expect("allowed");
        engine.finished(&promotion).await.expect("ends");
    }
    assert!(engine.why("all", &id).admission.is_open());
}

#[test]
fn of_several_policies_the_first_that_matches_decides() {
    let stage = |name: &str, tier: &str| Stage::new(name).direct("main").label("tier", tier);
    let build = |policies: Vec<PromotionPolicy>| {
        let stages = [stage("dev", "test"), stage("uat", "test"), stage("prod-eu", "live"), stage("prod-us", "live")];
        let builder = Pipeline::builder("shop").warehouse(Shop::warehouse());
        let builder = stages.into_iter().fold(builder, PipelineBuilder::stage);
        policies.into_iter().fold(builder, PipelineBuilder::policy).build()
    };
    let automatic = |policies| {
        let pipeline = build(policies).expect("valid");
        let automatic = pipeline.stages().filter(|stage| stage.auto_promotes());
        automatic.map(|stage| stage.name().to_string()).collect::<Vec<_>>().join(" ")
    };
    let on = |selector| PromotionPolicy::new(selector).auto_promote();
    let off = PromotionPolicy::new;
    let name = StageSelector::name;
    let tier = |values: &[&str]| LabelRequirement::NotIn {
        key: "tier".into(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    assert_eq!(automatic(vec![off(name("uat")), on(StageSelector::all())]), "dev prod-eu prod-us");
    assert_eq!(automatic(vec![on(StageSelector::all()), off(name("uat"))]), "dev prod-eu prod-us uat");
    assert_eq!(automatic(vec![on(name("glob:prod-{eu,ap}"))]), "prod-eu");
    assert_eq!(automatic(vec![on(name("regex:^(dev|.*-us)$"))]), "dev prod-us");
    assert_eq!(automatic(vec![on(StageSelector::all().label("tier", "live"))]), "prod-eu prod-us");
    assert_eq!(automatic(vec![on(StageSelector::all().require(tier(&["live"])))]), "dev uat");
    assert_eq!(automatic(vec![on(name("regex:-").label("tier", "test"))]), "");

    for (policies, problem) in [
        (vec![on(name("prd"))], r#"Promotion policy 1 is for stage "prd", which does not exist."#),
        (vec![on(name("dev")), off(name("dev"))], r#"Two promotion policies are for stage "dev""#),
        (vec![on(name("regex:("))], r#"Promotion policy 1 has the pattern "regex:(", which cannot be used"#),
        (vec![on(name("glob:{"))], r#"Promotion policy 1 has the pattern "glob:{", which cannot be used"#),
        (vec![on(name("globe:*"))], r#"there is no kind of pattern "globe""#),
    ] {
        let error = build(policies).expect_err("refused").to_string();
        assert!(error.contains(problem), "{error}");
    }
}

/// A policy has the last word over what the stage says of itself.
#[test]
fn a_policy_that_matches_overrules_the_stage() {
    let stage = Shop::stage("prod").direct("main").auto_promote();
    let builder = Pipeline::builder("shop").warehouse(Shop::warehouse()).stage(stage);
    let pipeline = builder.policy(PromotionPolicy::new(StageSelector::name("prod"))).build().expect("valid");
    assert!(!pipeline.stage(&"prod".into()).expect("there").auto_promotes());
}

/// A freeze: with an owner and a reason, until somebody lifts it.
#[tokio::test(start_paused = true)]
async fn automatic_promotions_are_held_until_they_are_released() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    verified(&engine, "staging", "1.0.0").await;
    let alice = || Actor::user("alice");
    engine.hold("staging", "main", alice(), "the week before the fair").await.expect("it promotes by itself");
    shop.source.publish("2.0.0");
    let second = verified(&engine, "dev", "2.0.0").await;
    an_hour().await;
    assert_eq!(current(&engine, "staging").as_deref(), Some("1.0.0"));
    let why = engine.why("staging", &second).to_string();
    assert!(why.contains("held by user:alice since 2026-01-01T"), "{why}");
    assert!(why.contains("(the week before the fair); release the hold"), "{why}");

    // People may promote, and that does not lift it.
    let promotion = engine.promote("staging", &second, Actor::user("bob")).await.expect("allowed");
    engine.finished(&promotion).await.expect("ends");
    shop.source.publish("3.0.0");
    verified(&engine, "dev", "3.0.0").await;
    an_hour().await;
    assert_eq!(current(&engine, "staging").as_deref(), Some("2.0.0"));

    engine.release("staging", "main", alice()).await.expect("it is held");
    verified(&engine, "staging", "3.0.0").await;
    let error = engine.release("staging", "main", alice()).await.expect_err("nothing holds them");
    assert!(error.to_string().contains("so there is nothing to release"), "{error}");
    let error = engine.hold("prod", "main", alice(), "").await.expect_err("it waits for people anyway");
    assert!(error.to_string().contains("does not promote by itself"), "{error}");
    let error = engine.hold("staging", "other", alice(), "").await.expect_err("it does not ask for that");
    assert!(error.to_string().contains(r#"does not ask for freight of warehouse "other""#), "{error}");
}

/// Releasing also ends a hold that came from choosing other freight.
#[tokio::test(start_paused = true)]
async fn a_hold_by_choice_can_be_released_too() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let first = verified(&engine, "staging", "1.0.0").await;
    shop.source.publish("2.0.0");
    verified(&engine, "staging", "2.0.0").await;
    let back = Promote::new("staging", &first, Actor::user("alice")).because("orders are lost");
    let back = engine.promote_with(back).await.expect("allowed");
    engine.finished(&back).await.expect("ends");
    let second = freight(&engine, "2.0.0").await;
    let why = engine.why("staging", &second).to_string();
    assert!(why.contains("(orders are lost); promote the freight that the stage would take, or release"), "{why}");
    engine.release("staging", "main", Actor::user("alice")).await.expect("it is held");
    an_hour().await;
    assert_eq!(current(&engine, "staging").as_deref(), Some("2.0.0"));
}

/// Newer freight takes the place of an automatic promotion under way where the stage asks for it, and only there.
#[tokio::test(start_paused = true)]
async fn newer_freight_supersedes_a_running_automatic_promotion_on_request() {
    for supersede in [false, true] {
        let shop = Shop::new();
        shop.ship.set(Play::Wait(Duration::from_secs(10)));
        let stage = Shop::stage("dev").direct("main").auto_promote();
        let engine = shop.start(Shop::of([if supersede { stage.supersede() } else { stage }])).await;
        freight(&engine, "1.0.0").await;
        for version in ["1.1.0", "1.2.0", "1.3.0"] {
            shop.source.publish(version);
            tokio::time::sleep(Duration::from_secs(120)).await;
        }
        let ended: Vec<(Phase, String)> =
            engine.read(|state| state.promotions().map(|p| (p.phase, p.message.clone())).collect());
        if supersede {
            assert_eq!(
                ended.iter().map(|(phase, _)| *phase).collect::<Vec<_>>(),
                [Phase::Aborted, Phase::Aborted, Phase::Aborted, Phase::Running]
            );
            assert!(ended[0].1.contains("aborted by engine (freight") && ended[0].1.contains("takes its place)"));
            assert_eq!(shop.ship.aborts().len(), 3, "what was set going was stopped");
        } else {
            assert_eq!(ended.len(), 1);
        }
        shop.ship.set(Play::Succeed);
        verified(&engine, "dev", "1.3.0").await;
        let (expected, found) = (if supersede { 4 } else { 2 }, promotions(&engine, "dev"));
        assert_eq!(found, expected, "without it, only the newest is promoted once the stage is free");
    }
}

/// What a person asked for is not superseded by what the rule would do.
#[tokio::test(start_paused = true)]
async fn a_persons_promotion_is_not_superseded_by_newer_freight() {
    let shop = Shop::new();
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main").auto_promote().supersede()])).await;
    let first = verified(&engine, "dev", "1.0.0").await;
    shop.ship.set(Play::Wait(Duration::from_secs(600)));
    let again = engine.promote("dev", &first, Actor::user("alice")).await.expect("allowed");
    shop.source.publish("2.0.0");
    tokio::time::sleep(Duration::from_secs(300)).await;
    let phase = engine.read(|state| state.promotion(&again).expect("known").phase);
    assert_eq!((phase, promotions(&engine, "dev")), (Phase::Running, 2));
}

/// A person in a hurry: what is under way is stopped, what waits never starts.
#[tokio::test(start_paused = true)]
async fn a_person_can_supersede_what_is_under_way_and_what_waits() {
    let shop = Shop::new();
    shop.ship.set(Play::Wait(Duration::from_secs(10)));
    let engine = shop.start(Shop::of([Shop::stage("dev").direct("main")])).await;
    let first = freight(&engine, "1.0.0").await;
    let running = engine.promote("dev", &first, Actor::user("alice")).await.expect("allowed");
    let waiting = engine.promote("dev", &first, Actor::user("alice")).await.expect("allowed");
    shop.source.publish("1.0.1");
    let fix = freight(&engine, "1.0.1").await;
    let urgent = Promote::new("dev", &fix, Actor::user("bob")).because("hot fix").superseding();
    let urgent = engine.promote_with(urgent).await.expect("allowed");
    shop.ship.set(Play::Succeed);
    assert_eq!(engine.finished(&urgent).await.expect("ends").phase, Phase::Succeeded);
    for (id, how) in [(&running, "step step-1 (ship): aborted by user:bob (freight"), (&waiting, "before it started")] {
        let ended = engine.finished(id).await.expect("ends");
        assert_eq!(ended.phase, Phase::Aborted);
        assert!(ended.message.contains(how), "{}", ended.message);
    }
}

/// A step that takes 200 seconds.
#[derive(Debug)]
struct Slow;

#[async_trait::async_trait]
impl plugin::Step for Slow {
    async fn run(&self, cx: &plugin::Context, request: &plugin::StepRequest<'_>) -> Result<plugin::StepOutcome> {
        let left = Duration::from_secs(200).saturating_sub(crate::clock::elapsed(request.started_at, cx.now()));
        if left.is_zero() {
            return Ok(plugin::StepOutcome::succeeded());
        }
        Ok(plugin::StepOutcome::Running { reason: "it takes its time".into(), check_after: left, state: None })
    }
}

/// A stage whose name sorts behind the one that it matches gets its turn all the same, however much is waiting there.
#[tokio::test(start_paused = true)]
async fn a_stage_that_matches_a_busy_one_does_not_starve() {
    for follower in ["a-follower", "z-follower"] {
        let shop = Shop::new();
        let request = FreightRequest::after("main", ["dev"]).match_upstream();
        let stages = [
            Stage::new("dev").direct("main").auto_promote().step(StepSpec::new("slow", json!({}))),
            Shop::stage(follower).request(request).auto_promote(),
        ];
        let plugins = Plugins::builder().step("slow", Slow).step("ship", shop.ship.clone());
        let engine = shop.start_with(Shop::of(stages), plugins.verifier("check", shop.check.clone())).await;
        // The next version always appears while the one before it is still being promoted.
        for number in 0..40 {
            shop.source.publish(format!("2.0.{number}"));
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
        let (upstream, followed) = (promotions(&engine, "dev"), promotions(&engine, follower));
        assert!(upstream > 15 && followed + 2 >= upstream, "{follower} followed {followed} of {upstream} times");
    }
}

/// The rule's own abort says nothing of the freight: when it is chosen again, it is promoted again.
#[tokio::test(start_paused = true)]
async fn freight_that_was_superseded_is_promoted_when_it_is_chosen_again() {
    let shop = Shop::new();
    let request = FreightRequest::after("main", ["dev"]).match_upstream();
    let slow = Scripted::succeeding();
    let follower = Stage::new("follower").request(request).auto_promote().supersede();
    let stages = [Shop::stage("dev").direct("main"), follower.step(StepSpec::new("slow", json!({})))];
    let plugins = Plugins::builder().step("ship", shop.ship.clone()).step("slow", slow.clone());
    let engine = shop.start_with(Shop::of(stages), plugins.verifier("check", shop.check.clone())).await;
    let promote = |freight: FreightId| {
        let engine = engine.clone();
        async move {
            let promotion = engine.promote("dev", &freight, Actor::user("alice")).await.expect("allowed");
            engine.finished(&promotion).await.expect("ends");
        }
    };
    let first = freight(&engine, "1.0.0").await;
    promote(first.clone()).await;
    an_hour().await;
    assert_eq!(current(&engine, "follower").as_deref(), Some("1.0.0"));
    shop.source.publish("2.0.0");
    let second = freight(&engine, "2.0.0").await;
    slow.set(Play::Wait(Duration::from_secs(10)));
    promote(second.clone()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    promote(first).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    promote(second).await;
    slow.set(Play::Succeed);
    an_hour().await;
    assert_eq!(current(&engine, "follower").as_deref(), Some("2.0.0"));
}

/// Superseding is for newer freight, and for changes that have not been made yet: while a promotion cleans up, it is let end, and
/// its result is verified.
#[tokio::test(start_paused = true)]
async fn a_promotion_that_only_cleans_up_is_not_superseded() {
    let shop = Shop::new();
    let clean = Scripted::always(Play::Wait(Duration::from_secs(10)));
    let stage = Shop::stage("dev").direct("main").auto_promote().supersede();
    let stage = stage.step(StepSpec::new("clean", json!({})).always());
    let plugins = Plugins::builder().step("ship", shop.ship.clone()).step("clean", clean.clone());
    let engine = shop.start_with(Shop::of([stage]), plugins.verifier("check", shop.check.clone())).await;
    freight(&engine, "1.0.0").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    shop.source.publish("2.0.0");
    freight(&engine, "2.0.0").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    clean.set(Play::Succeed);
    verified(&engine, "dev", "1.0.0").await;
    verified(&engine, "dev", "2.0.0").await;
}

/// What `why` names as the hold can be released, also while the promotion that brings it has not ended.
#[tokio::test(start_paused = true)]
async fn the_hold_of_a_promotion_under_way_can_be_released() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let first = verified(&engine, "staging", "1.0.0").await;
    shop.source.publish("2.0.0");
    let second = verified(&engine, "staging", "2.0.0").await;
    shop.ship.set(Play::Wait(Duration::from_secs(10)));
    let back = engine.promote("staging", &first, Actor::user("alice")).await.expect("allowed");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let why = engine.why("staging", &second).to_string();
    assert!(why.contains("release the hold"), "{why}");
    engine.release("staging", "main", Actor::user("alice")).await.expect("it is held");
    shop.ship.set(Play::Succeed);
    engine.finished(&back).await.expect("ends");
    an_hour().await;
    assert_eq!(current(&engine, "staging").as_deref(), Some("2.0.0"), "it is not held again");
}
