//! Who may enter: availability, soak, approval, control flow.

use super::*;
use crate::stage::FreightRequest;
use crate::testing::Play;

/// CORE-13: one upstream stage is enough by default; all of them on request.
#[tokio::test(start_paused = true)]
async fn core_13_any_upstream_stage_or_all_of_them() {
    let shop = Shop::new();
    let upstream = ["a", "b"];
    let engine = shop
        .start(Shop::of([
            Shop::stage("a").direct("main").auto_promote(),
            Shop::stage("b").direct("main"),
            Shop::stage("any").request(FreightRequest::after("main", upstream)),
            Shop::stage("all").request(FreightRequest::after("main", upstream).all()),
        ]))
        .await;
    let id = verified(&engine, "a", "1.0.0").await;
    assert!(engine.why("any", &id).admission.is_open());
    let refused = engine.promote("all", &id, Actor::user("alice")).await.expect_err("b is missing");
    assert!(refused.to_string().contains("every upstream stage must have verified it"), "{refused}");
    assert!(refused.to_string().contains("not verified in stage b"), "{refused}");
    let promotion = engine.promote("b", &id, Actor::user("alice")).await.expect("allowed");
    engine.finished(&promotion).await.expect("ends");
    assert!(engine.why("all", &id).admission.is_open());
}

/// CORE-03: soaking counts from entering the stage, in one stay, and every path gives the same answer.
#[tokio::test(start_paused = true)]
async fn core_03_soaking_counts_the_time_in_the_stage() {
    let shop = Shop::new();
    let hour = Duration::from_secs(3600);
    let engine = shop
        .start(Shop::of([
            Shop::stage("dev").direct("main").auto_promote(),
            Shop::stage("prod").request(FreightRequest::after("main", ["dev"]).soak(hour)).auto_promote(),
        ]))
        .await;
    let first = verified(&engine, "dev", "1.0.0").await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    shop.source.publish("2.0.0");
    let second = verified(&engine, "dev", "2.0.0").await;
    tokio::time::sleep(Duration::from_secs(3000)).await;
    let refused = engine.promote("prod", &second, Actor::user("alice")).await.expect_err("too early");
    assert!(refused.to_string().contains("of the required 1h in stage dev; that is reached at"), "{refused}");

    // Nothing but time has to pass.
    verified(&engine, "prod", "2.0.0").await;
    let entered = engine.read(|state| state.freight_by_id(&second).expect("known").presence()["dev"].since);
    let promoted = engine.read(|state| state.promotions().find(|p| p.stage == "prod").expect("one").requested_at);
    assert_eq!(promoted.duration_since(entered.expect("there")).as_secs(), 3600);
    an_hour().await;
    let refused = engine.promote("prod", &first, Actor::user("alice")).await.expect_err("it stayed five minutes");
    assert!(refused.to_string().contains("it is not there now"), "{refused}");
}

/// CORE-05: an approval opens the conditions of a request, but does not replace the request.
#[tokio::test(start_paused = true)]
async fn core_05_an_approval_does_not_replace_the_request() {
    let shop = Shop::new();
    let with_other = |stage: Stage| {
        let other = Warehouse::new("other").subscribe(Subscription::new("versions", json!({"name": "other"})));
        let builder = Pipeline::builder("shop").warehouse(Shop::warehouse()).warehouse(other);
        builder.stage(Shop::stage("dev").direct("main")).stage(stage).build().expect("valid")
    };
    let engine = shop.start(with_other(Shop::stage("prod").after("main", ["dev"]))).await;
    let id = engine
        .until(|state| {
            state.freight().find(|known| *known.freight().origin() == "main").map(|k| k.freight().id().clone())
        })
        .await
        .expect("found");
    assert!(!engine.why("prod", &id).admission.is_open());
    engine.approve(&id, "prod", Actor::user("boss")).await.expect("approves");
    assert!(engine.why("prod", &id).admission.is_open());
    let why = engine.why("prod", &id).to_string();
    assert!(why.contains("it was approved for the stage by user:boss"), "{why}");
    engine.shutdown().await.expect("stops");

    let engine = shop.start(with_other(Shop::stage("prod").direct("other"))).await;
    let refused = engine.promote("prod", &id, Actor::user("alice")).await.expect_err("not asked for any more");
    assert!(refused.to_string().contains("does not ask for freight of warehouse main"), "{refused}");
}

/// CORE-14: freight passes through a stage without steps, also when that is the first, and soaking behind it works.
#[tokio::test(start_paused = true)]
async fn core_14_freight_passes_through_a_control_flow_stage() {
    let shop = Shop::new();
    let engine = shop
        .start(Shop::of([
            Stage::new("entry").direct("main"),
            Shop::stage("dev").after("main", ["entry"]).auto_promote(),
            Shop::stage("late")
                .request(FreightRequest::after("main", ["entry"]).soak(Duration::from_secs(600)))
                .auto_promote(),
        ]))
        .await;
    let id = verified(&engine, "dev", "1.0.0").await;
    assert_eq!(current(&engine, "entry"), None, "it has no current freight");
    verified(&engine, "late", "1.0.0").await;
    let refused = engine.promote("entry", &id, Actor::user("alice")).await.expect_err("it has no steps");
    assert!(refused.to_string().contains("the stage has no steps"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn freight_of_two_warehouses_meets_in_one_stage() {
    let shop = Shop::new();
    let warehouse = |name: &str| {
        Warehouse::new(name)
            .subscribe(Subscription::new("versions", json!({ "name": name })))
            .every(Duration::from_secs(60))
    };
    let pipeline = Pipeline::builder("shop")
        .warehouse(warehouse("front"))
        .warehouse(warehouse("back"))
        .stage(Shop::stage("dev").direct("front").direct("back").auto_promote())
        .build()
        .expect("valid");
    let engine = shop.start(pipeline).await;
    let both = engine.until(|state| (state.current(&"dev".into()).iter().count() == 2).then_some(()));
    both.await.expect("both arrive");
    an_hour().await;
    assert_eq!(promotions(&engine, "dev"), 2);
    let all_verified = |state: &State| state.freight().all(|known| known.verified().contains_key("dev"));
    assert!(engine.read(all_verified));
}

/// The newest freight that may enter can be older than what runs. Going back is a person's choice.
#[tokio::test(start_paused = true)]
async fn automatic_promotion_never_goes_back_to_older_freight() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    verified(&engine, "staging", "1.0.0").await;
    shop.source.publish("2.0.0");
    let new = verified(&engine, "staging", "2.0.0").await;
    shop.check.set(Play::Fail("errors are up".into()));
    let again = engine.promote("dev", &new, Actor::user("alice")).await.expect("allowed");
    engine.finished(&again).await.expect("ends");
    assert!(!engine.why("staging", &new).admission.is_open(), "it has lost its qualification");
    shop.check.set(Play::Succeed);
    an_hour().await;
    assert_eq!(current(&engine, "staging").as_deref(), Some("2.0.0"));
    assert_eq!(promotions(&engine, "staging"), 2);
}
