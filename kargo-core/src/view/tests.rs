//! What hosts show, on a whole engine.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use serde_json::json;

use super::*;
use crate::plugin::Health;
use crate::state::{Cause, Event, EventKind};
use crate::store::MemoryStore;
use crate::testing::{Play, Scripted, ScriptedSource, TokioClock};
use crate::*;

/// dev by itself, staging and prod by hand; prod needs an approval or staging.
struct Shop {
    source: ScriptedSource,
    ship: Scripted,
    store: Arc<MemoryStore>,
    clock: Arc<TokioClock>,
}

impl Shop {
    fn new() -> Self {
        Self {
            source: ScriptedSource::versions(["1.0.0"]),
            ship: Scripted::succeeding(),
            store: Arc::new(MemoryStore::new()),
            clock: Arc::new(TokioClock::starting_at("2026-01-01T00:00:00Z")),
        }
    }

    async fn start(&self) -> Engine {
        let stage = |name: &str| {
            let write = StepSpec::new("ship", json!({})).named("write");
            Stage::new(name).step(write).step(StepSpec::deploy("target", json!({})).named("deploy")).label("tier", name)
        };
        let pipeline = Pipeline::builder("shop")
            .warehouse(Warehouse::new("main").subscribe(Subscription::new("versions", json!({}))))
            .stage(stage("dev").direct("main").auto_promote().watch_health(Duration::from_secs(60)))
            .stage(stage("staging").after("main", ["dev"]))
            .stage(stage("prod").after("main", ["staging"]))
            .build()
            .expect("a valid pipeline");
        let plugins = Plugins::builder()
            .source("versions", self.source.clone())
            .step("ship", self.ship.clone())
            .deployer("target", Scripted::succeeding())
            .build();
        let engine = Engine::builder(pipeline, plugins).store(self.store.clone()).clock(self.clock.clone());
        engine.start().await.expect("starts")
    }
}

fn user(name: &str) -> Actor {
    Actor::user(name)
}

async fn verified(engine: &Engine, stage: &str, version: &str) -> FreightId {
    let found = engine.until(|state| {
        let found = state.freight().find(|known| known.freight().label() == version)?;
        found.verified().contains_key(stage).then(|| found.freight().id().clone())
    });
    found.await.expect("verified")
}

async fn trail(engine: &Engine, filter: AuditFilter) -> Vec<AuditEntry> {
    engine.audit(filter).try_collect().await.expect("reads")
}

fn texts(entries: &[AuditEntry]) -> Vec<String> {
    entries.iter().map(ToString::to_string).collect()
}

/// CORE-27: who did what, to which freight, in which stage and when, is on record and can be asked for after a restart.
#[tokio::test(start_paused = true)]
async fn core_27_the_trail_is_there_after_a_restart_by_actor_stage_and_freight() {
    let shop = Shop::new();
    let engine = shop.start().await;
    let first = verified(&engine, "dev", "1.0.0").await;
    let promoted = engine.promote("staging", &first, user("u1")).await.expect("allowed");
    engine.finished(&promoted).await.expect("ends");
    shop.source.publish("1.1.0");
    let second = verified(&engine, "dev", "1.1.0").await;
    engine.approve(&second, "prod", user("u2")).await.expect("can be approved");
    shop.ship.set(Play::Wait(Duration::from_secs(5)));
    let aborted = engine.promote("prod", &second, user("u1")).await.expect("allowed");
    engine.until(|state| state.stage(&"prod".into())?.running.clone()).await.expect("starts");
    engine.abort(&aborted, user("u2")).await.expect("can be aborted");
    engine.finished(&aborted).await.expect("ends");
    engine.shutdown().await.expect("stops");

    let engine = shop.start().await;
    let by_u2 = trail(&engine, AuditFilter::default().actor(user("u2"))).await;
    let kinds: Vec<_> =
        by_u2.iter().map(|entry| (entry.stage.as_ref().map(StageName::as_str), entry.freight.as_ref())).collect();
    assert_eq!(kinds, [(Some("prod"), Some(&second)), (Some("prod"), Some(&second))]);
    assert!(matches!(by_u2[0].event.kind, EventKind::FreightApproved { .. }));
    assert!(matches!(by_u2[1].event.kind, EventKind::AbortRequested { .. }));
    let line = by_u2[1].to_string();
    let expected = format!("user:u2: abort of promotion {aborted} requested (freight {} to prod)", second.short());
    assert!(line.starts_with("2026-01-01T") && line.ends_with(&expected), "{line}");

    let by_u1 = trail(&engine, AuditFilter::default().actor(user("u1"))).await;
    let asked: Vec<_> = by_u1.iter().filter_map(|entry| entry.promotion.clone()).collect();
    assert_eq!(asked, [promoted.clone(), aborted.clone()]);

    // By stage and by freight, events that name only a promotion or a task are there too, with how it ended.
    let in_prod = trail(&engine, AuditFilter::default().stage("prod")).await;
    assert!(in_prod.iter().any(|entry| matches!(entry.event.kind, EventKind::TaskStarted { .. })));
    let ends = |entry: &AuditEntry| match &entry.event.kind {
        EventKind::PromotionFinished { phase, .. } => Some(*phase),
        _ => None,
    };
    assert_eq!(in_prod.iter().filter_map(ends).collect::<Vec<_>>(), [Phase::Aborted]);
    assert!(in_prod.iter().all(|entry| entry.stage.as_ref().map(StageName::as_str) == Some("prod")));
    let of_first = trail(&engine, AuditFilter::default().freight(first.clone())).await;
    assert!(matches!(of_first[0].event.kind, EventKind::FreightFound { .. }), "{:?}", texts(&of_first));
    assert_eq!(of_first.iter().filter_map(ends).collect::<Vec<_>>(), [Phase::Succeeded, Phase::Succeeded]);
    let both = trail(&engine, AuditFilter::default().freight(first).stage("staging").actor(user("u1"))).await;
    assert_eq!(both.len(), 1, "{:?}", texts(&both));
}

#[tokio::test(start_paused = true)]
async fn the_trail_is_read_by_time_cause_promotion_and_warehouse_and_page_by_page() {
    let shop = Shop::new();
    let engine = shop.start().await;
    let first = verified(&engine, "dev", "1.0.0").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let noon = engine.now();
    let promoted = engine.promote("staging", &first, user("u1")).await.expect("allowed");
    engine.finished(&promoted).await.expect("ends");

    let all = trail(&engine, AuditFilter::default()).await;
    assert_eq!(all.len() as u64, engine.read(crate::state::State::seq));
    let before = trail(&engine, AuditFilter::default().until(noon)).await;
    let after = trail(&engine, AuditFilter::default().from(noon)).await;
    assert_eq!([before.clone(), after.clone()].concat(), all);
    let of_one = trail(&engine, AuditFilter::default().promotion(promoted.clone())).await;
    assert_eq!(of_one, after, "nothing else happened since");
    let asked = trail(&engine, AuditFilter::default().cause(Cause::Request)).await;
    assert_eq!(asked.len(), 1);
    let of_main = trail(&engine, AuditFilter::default().warehouse("main")).await;
    assert_eq!(of_main.len(), all.len() - 1, "all but the definition");
    assert!(trail(&engine, AuditFilter::default().warehouse("other")).await.is_empty());

    // Pages from the newest on are the same entries, each once.
    let (mut pages, mut next) = (Vec::new(), None);
    loop {
        let page = engine.audit_page(AuditFilter::default(), next, 4).await.expect("reads");
        assert!(page.entries.len() <= 4);
        pages.extend(page.entries);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    pages.reverse();
    assert_eq!(pages, all);
    engine.shutdown().await.expect("stops");
    assert_eq!(trail(&engine, AuditFilter::default()).await[..all.len()], all[..], "the store still has it");
}

#[tokio::test(start_paused = true)]
async fn the_pipeline_shows_what_runs_what_is_under_way_and_what_waits() {
    let shop = Shop::new();
    let engine = shop.start().await;
    let first = verified(&engine, "dev", "1.0.0").await;
    let found = engine.until(|state| state.stage(&"dev".into())?.health.clone());
    found.await.expect("is looked at");
    shop.ship.set(Play::Wait(Duration::from_secs(5)));
    let under_way = engine.promote("staging", &first, user("u1")).await.expect("allowed");
    let waiting = engine.promote("staging", &first, user("u2")).await.expect("allowed");
    let stuck = engine
        .until(|state| Some(state.promotion(&under_way)?.steps[0].task.message.clone()).filter(|m| !m.is_empty()));
    stuck.await.expect("waits");

    let now = engine.now();
    let view = engine.read(|state| pipeline(state, now)).expect("defined");
    assert_eq!((view.at, view.seq, view.name.as_str()), (now, engine.read(crate::state::State::seq), "shop"));
    assert_eq!(view.warehouses[0].latest.as_ref().expect("found").label, "1.0.0");
    let names: Vec<_> = view.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["dev", "staging", "prod"]);
    let [dev, staging, prod] = &view.stages[..] else { panic!("three stages") };
    assert_eq!((dev.runs[0].freight.id.clone(), dev.automatic), (first, true));
    assert!(dev.runs[0].since.is_some() && dev.runs[0].verified_at.is_some() && dev.under_way.is_none());
    assert_eq!(dev.health.as_ref().expect("looked at").health, Health::Healthy);
    assert_eq!(dev.last.as_ref().and_then(|last| last.verification), Some(Phase::Succeeded));
    assert_eq!(prod.labels.get("tier").map(String::as_str), Some("prod"));
    assert!(prod.runs.is_empty() && prod.last.is_none());

    let busy = staging.under_way.as_ref().expect("a promotion");
    assert_eq!(
        (busy.promotion.id.clone(), busy.verifying, busy.promotion.actor.clone()),
        (under_way, false, user("u1"))
    );
    let activity = busy.activity.as_ref().expect("a step");
    assert_eq!((activity.number, activity.of, activity.name.as_str()), (1, 2, "write"));
    assert_eq!((activity.phase, activity.waits_for.as_str()), (Phase::Running, "the script says so"));
    assert_eq!(staging.queue.iter().map(|line| line.id.clone()).collect::<Vec<_>>(), [waiting]);

    let json = serde_json::to_string(&view).expect("writes");
    assert_eq!(serde_json::from_str::<PipelineView>(&json).expect("reads"), view);
}

#[tokio::test(start_paused = true)]
async fn a_stage_shows_why_its_automatic_promotions_are_held_and_a_warehouse_why_its_look_fails() {
    let shop = Shop::new();
    let engine = shop.start().await;
    let first = verified(&engine, "dev", "1.0.0").await;
    shop.source.publish("1.1.0");
    verified(&engine, "dev", "1.1.0").await;
    let back = engine.promote("dev", &first, user("u1")).await.expect("allowed");
    engine.finished(&back).await.expect("ends");
    shop.source.fail(ErrorKind::Unavailable, "The registry is away.");
    engine.refresh("main").await.expect("it exists");
    let fails = engine.until(|state| state.warehouse(&"main".into())?.failing.clone());
    let why = fails.await.expect("fails");
    let now = engine.now();
    let view = engine.read(|state| pipeline(state, now)).expect("defined");
    let hold = &view.stages[0].holds[0];
    let freight = hold.freight.as_ref().expect("chosen").label.as_str();
    assert_eq!((freight, hold.promotion.as_ref(), &hold.actor), ("1.0.0", Some(&back), &user("u1")));
    assert_eq!(view.warehouses[0].failing.as_deref(), Some(why.as_str()));
}

#[tokio::test(start_paused = true)]
async fn freight_shows_where_it_is_was_and_why_it_is_not_further() {
    let shop = Shop::new();
    let engine = shop.start().await;
    let first = verified(&engine, "dev", "1.0.0").await;
    let look = |id: &FreightId| {
        let now = engine.now();
        engine.read(|state| freight(state, id, now)).expect("it exists")
    };
    let view = look(&first);
    assert_eq!((view.freight.label.as_str(), view.artifacts.len()), ("1.0.0", 1));
    let [dev, staging, prod] = &view.stages[..] else { panic!("three stages ask") };
    assert!(dev.since.is_some() && dev.been_there && dev.verified.is_some() && dev.why_not.is_none());
    let may = staging.why_not.as_ref().expect("not there");
    assert!(may.may_enter);
    assert_eq!(may.missing, ["the stage waits for a person to promote"]);
    let not = prod.why_not.as_ref().expect("not there");
    assert!(!not.may_enter);
    let missing = not.missing.join("; ");
    assert!(missing.contains("it is not verified in stage staging: it has not been promoted there"), "{missing}");
    assert!(not.gates.iter().any(|gate| !gate.open && !gate.required));

    engine.approve(&first, "prod", user("u2")).await.expect("can be approved");
    shop.source.publish("1.1.0");
    verified(&engine, "dev", "1.1.0").await;
    let view = look(&first);
    assert!(view.stages[0].since.is_none() && view.stages[0].been_there && view.stages[0].why_not.is_some());
    assert_eq!(view.stages[2].approved.as_ref().map(|approval| approval.actor.clone()), Some(user("u2")));
    assert!(view.stages[2].why_not.as_ref().expect("not there").may_enter);
    assert!(engine.read(|state| freight(state, &"none".into(), engine.now())).is_none());
}

#[tokio::test(start_paused = true)]
async fn promotions_are_found_by_every_condition_and_page_by_page() {
    let shop = Shop::new();
    let engine = shop.start().await;
    let first = verified(&engine, "dev", "1.0.0").await;
    for number in 0..5 {
        let actor = user(if number % 2 == 0 { "u1" } else { "u2" });
        if number == 4 {
            shop.ship.set(Play::Fail("no".into()));
        }
        let promotion = engine.promote("staging", &first, actor).await.expect("allowed");
        engine.finished(&promotion).await.expect("ends");
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let find = |filter: PromotionFilter| engine.read(|state| promotions(state, &filter));
    let all = find(PromotionFilter::default());
    assert_eq!((all.promotions.len(), all.next), (6, None));
    let order = |line: &PromotionLine| (line.requested_at, line.id.clone());
    assert!(all.promotions.windows(2).all(|two| order(&two[0]) > order(&two[1])));
    let count = |filter| find(filter).promotions.len();
    assert_eq!(count(PromotionFilter::default().stage("staging")), 5);
    assert_eq!(count(PromotionFilter::default().actor(user("u1"))), 3);
    assert_eq!(count(PromotionFilter::default().phase(Phase::Failed)), 1);
    assert_eq!(count(PromotionFilter::default().freight(first)), 6);
    assert_eq!(count(PromotionFilter::default().freight("none")), 0);
    let third = all.promotions[2].requested_at;
    assert_eq!(count(PromotionFilter::default().from(third)), 3);
    assert_eq!(count(PromotionFilter::default().until(third)), 3);

    let (mut found, mut filter) = (Vec::new(), PromotionFilter::default().limit(4));
    loop {
        let page = find(filter.clone());
        found.extend(page.promotions);
        let Some(next) = page.next else { break };
        filter = filter.after(next);
    }
    assert_eq!(found, all.promotions);
}

/// Who asks what became of freight that is not there any more finds the entry by which the state let it go.
#[test]
fn the_trail_of_freight_ends_with_its_collection() {
    let event =
        |seq, kind| Event { seq, at: jiff::Timestamp::UNIX_EPOCH, actor: Actor::engine(), cause: Cause::Rule, kind };
    let collected =
        |ids: [&str; 2]| EventKind::Collected { freight: vec![ids[0].into()], promotions: vec![ids[1].into()] };
    let found = |filter: AuditFilter| {
        let mut reader = AuditReader::new(filter);
        let events = [event(1, collected(["f1", "p1"])), event(2, collected(["f2", "p2"]))];
        events.iter().filter_map(|event| reader.read(event)).map(|entry| entry.event.seq).collect::<Vec<_>>()
    };
    assert_eq!(found(AuditFilter::default().freight("f2")), [2]);
    assert_eq!(found(AuditFilter::default().promotion("p1")), [1]);
    assert_eq!(found(AuditFilter::default().freight("f3")), [0_u64; 0]);
}
