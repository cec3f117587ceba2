//! Health after promotion: when targets are looked at, what the journal tells of it, and what it means downstream.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::Value;

use super::*;
use crate::plugin::{Context, DeployRequest, Deployer, Deployment, Health, Observation, ObserveRequest};
use crate::state::{EventKind, StageHealth};

/// How a target answers one look.
#[derive(Debug, Clone)]
enum Look {
    Is(Health, &'static str),
    Error(&'static str),
    Panic,
    Hang,
}

use Look::{Error as Fails, Hang, Is, Panic};

const WELL: Look = Is(Health::Healthy, "all runs");
const ROLLING: Look = Is(Health::Progressing, "scales");
const BAD: Look = Is(Health::Unhealthy, "crashes");

/// A target that is live at once, and is looked at by a script: what is queued, then what stands. Clones share it.
#[derive(Debug, Clone)]
struct Target(Arc<Mutex<Script>>);

#[derive(Debug)]
struct Script {
    queued: VecDeque<Look>,
    standing: Look,
    looks: Vec<Looked>,
}

/// The stage, the promotion and the revision of one look.
type Looked = (String, PromotionId, Option<Revision>);

impl Target {
    fn standing(look: Look) -> Self {
        Self(Arc::new(Mutex::new(Script { queued: VecDeque::new(), standing: look, looks: Vec::new() })))
    }

    fn set(&self, look: Look) {
        self.0.lock().unwrap().standing = look;
    }

    fn then(&self, looks: impl IntoIterator<Item = Look>) {
        self.0.lock().unwrap().queued.extend(looks);
    }

    fn looks(&self) -> Vec<Looked> {
        self.0.lock().unwrap().looks.clone()
    }
}

#[async_trait]
impl Deployer for Target {
    async fn deploy(&self, _cx: &Context, request: &DeployRequest<'_>) -> Result<Deployment> {
        let revision = Revision::from(format!("rev-{}", request.promotion.freight.label()));
        Ok(Deployment::Live { revision, evidence: String::new() })
    }

    async fn observe(&self, _cx: &Context, request: &ObserveRequest<'_>) -> Result<Observation> {
        let look = {
            let Script { queued, standing, looks } = &mut *self.0.lock().unwrap();
            let promotion = request.promotion.expect("the engine says which");
            looks.push((promotion.stage.to_string(), promotion.id.clone(), request.revision.clone()));
            queued.pop_front().unwrap_or_else(|| standing.clone())
        };
        match look {
            Is(health, detail) => Ok(Observation::new(None, health, detail)),
            Fails(sentence) => Err(Error::new(ErrorKind::Unavailable, sentence)),
            Panic => std::panic::resume_unwind(Box::new("the script says so")),
            Hang => std::future::pending().await,
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn stage(name: &str) -> Stage {
    Stage::new(name).step(StepSpec::deploy("target", json!({})).named("app")).watch_health(MINUTE)
}

fn plugins(shop: &Shop, targets: &[(&str, &Target)]) -> Plugins {
    let plugins = Plugins::builder().source("versions", shop.source.clone()).step("ship", shop.ship.clone());
    targets.iter().fold(plugins, |plugins, (name, target)| plugins.deployer(name, (*target).clone())).build()
}

async fn start(shop: &Shop, pipeline: Pipeline, targets: &[(&str, &Target)]) -> Engine {
    let engine = Engine::builder(pipeline, plugins(shop, targets)).store(shop.store.clone()).clock(shop.clock.clone());
    engine.start().await.expect("starts")
}

fn health(engine: &Engine, stage: &str) -> Option<StageHealth> {
    engine.read(|state| state.stage(&stage.into())?.health.clone())
}

async fn becomes(engine: &Engine, stage: &str, health: Health) -> StageHealth {
    let found = engine.until(|state| state.stage(&stage.into())?.health.clone().filter(|known| known.health == health));
    found.await.expect("comes")
}

/// What the journal told of health.
async fn told(engine: &Engine) -> Vec<(Health, String)> {
    let events = engine.journal().await.expect("reads").into_iter();
    let told = events.filter_map(|event| match event.kind {
        EventKind::HealthChanged { health, reason, .. } => Some((health, reason)),
        _ => None,
    });
    told.collect()
}

/// CORE-09: health that comes and goes never keeps a promotion waiting, and does not fill the journal.
#[tokio::test(start_paused = true)]
async fn core_09_a_promotion_starts_at_once_while_health_flaps() {
    let shop = Shop::new();
    let target = Target::standing(WELL);
    target.then((0..600).flat_map(|_| [ROLLING, WELL]));
    let engine = start(&shop, Shop::of([stage("dev").direct("main")]), &[("target", &target)]).await;
    let id = freight(&engine, "1.0.0").await;
    for _ in 0..3 {
        let asked = engine.now();
        let promotion = engine.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
        let ended = engine.finished(&promotion).await.expect("ends");
        assert_eq!((ended.phase, ended.started_at), (Phase::Succeeded, Some(asked)));
        an_hour().await;
    }
    assert!(target.looks().len() > 150, "{}", target.looks().len());
    let told = told(&engine).await;
    assert!(told.len() <= 6, "{told:?}");
}

/// What is bad at every other look is bad: it is told at once each time that it was well for long enough, and is not well in between.
#[tokio::test(start_paused = true)]
async fn a_target_that_is_bad_at_every_other_look_does_not_fill_the_journal() {
    let shop = Shop::new();
    let target = Target::standing(WELL);
    let engine = start(&shop, Shop::of([stage("dev").direct("main").auto_promote()]), &[("target", &target)]).await;
    becomes(&engine, "dev", Health::Healthy).await;
    target.then((0..100).flat_map(|_| [BAD, WELL]));
    while target.looks().len() < 150 {
        tokio::time::sleep(MINUTE).await;
    }
    let told_of = told(&engine).await;
    // Well, bad, well once, and bad from then on.
    let healths: Vec<Health> = told_of.iter().map(|(health, _)| *health).collect();
    assert_eq!(healths, [Health::Healthy, Health::Unhealthy, Health::Healthy, Health::Unhealthy], "{told_of:?}");
    // Once it stays well, it is.
    an_hour().await;
    an_hour().await;
    assert_eq!(health(&engine, "dev").expect("known").health, Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn health_is_told_when_it_changes_and_lasts_and_a_bad_one_at_once() {
    let shop = Shop::new();
    let target = Target::standing(WELL);
    let engine = start(&shop, Shop::of([stage("dev").direct("main").auto_promote()]), &[("target", &target)]).await;
    let first = becomes(&engine, "dev", Health::Healthy).await;
    assert_eq!(first.reason, "app: all runs");
    let (of, _, revision) = target.looks()[0].clone();
    assert_eq!((of.as_str(), revision), ("dev", Some("rev-1.0.0".into())));

    // One lost answer says nothing; two in a row do.
    target.then([Fails("The target is away."), WELL, ROLLING, WELL]);
    an_hour().await;
    assert_eq!(told(&engine).await.len(), 1);
    let before = target.looks().len();
    target.set(Fails("The target is away."));
    let unknown = becomes(&engine, "dev", Health::Unknown).await;
    assert_eq!(target.looks().len(), before + 2);
    assert!(unknown.reason.contains("app: The target is away."), "{}", unknown.reason);
    assert!(unknown.since > first.since);

    let before = target.looks().len();
    target.set(BAD);
    let bad = becomes(&engine, "dev", Health::Unhealthy).await;
    assert_eq!((target.looks().len(), bad.reason.as_str()), (before + 1, "app: crashes"));
    // The same again is not told again; the reason is, when it is another.
    an_hour().await;
    target.set(Is(Health::Unhealthy, "crashes still"));
    an_hour().await;
    let last = health(&engine, "dev").expect("known");
    assert_eq!((last.since, last.reason.as_str()), (bad.since, "app: crashes still"));
    assert_eq!(told(&engine).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_panic_a_hang_and_an_error_of_one_deployer_leave_the_others_answers() {
    let shop = Shop::new();
    let (well, strange) = (Target::standing(WELL), Target::standing(Panic));
    let two = stage("dev").direct("main").auto_promote().step(StepSpec::deploy("strange", json!({})).named("db"));
    let engine = start(&shop, Shop::of([two]), &[("target", &well), ("strange", &strange)]).await;
    let known = becomes(&engine, "dev", Health::Unknown).await;
    assert!(known.reason.starts_with("app: all runs; db: The deployer panicked: the script says so"), "{known:?}");
    strange.set(Hang);
    an_hour().await;
    let known = health(&engine, "dev").expect("known");
    assert!(known.reason.contains("db: No answer came before the call's deadline"), "{known:?}");
    strange.set(BAD);
    let known = becomes(&engine, "dev", Health::Unhealthy).await;
    assert_eq!(known.reason, "app: all runs; db: crashes");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_at_while_a_promotion_runs_and_a_late_answer_is_dropped() {
    let shop = Shop::new();
    let target = Target::standing(WELL);
    target.then([WELL, Hang]);
    let dev = stage("dev").direct("main").step(StepSpec::new("ship", json!({})));
    let engine = start(&shop, Shop::of([dev]), &[("target", &target)]).await;
    let id = freight(&engine, "1.0.0").await;
    let promote = || engine.promote("dev", &id, Actor::user("alice"));
    engine.finished(&promote().await.expect("allowed")).await.expect("ends");
    becomes(&engine, "dev", Health::Healthy).await;
    while target.looks().len() < 2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // The second look hangs; its answer, "not known", would come in the middle of the next promotion.
    shop.ship.set(crate::testing::Play::Wait(Duration::from_secs(5)));
    let second = promote().await.expect("allowed");
    tokio::time::sleep(4 * MINUTE).await;
    assert_eq!(target.looks().len(), 2, "nothing is looked at in between");
    shop.ship.set(crate::testing::Play::Succeed);
    engine.finished(&second).await.expect("ends");
    becomes(&engine, "dev", Health::Healthy).await;
    assert_eq!(target.looks()[2].1, second);
    assert!(told(&engine).await.iter().all(|(health, _)| *health == Health::Healthy));
}

#[tokio::test(start_paused = true)]
async fn freight_counts_downstream_only_while_the_stage_that_requires_health_is_healthy() {
    let shop = Shop::new();
    let target = Target::standing(ROLLING);
    target.then([Hang]);
    let pipeline = Shop::of([
        stage("dev").direct("main").auto_promote().require_health(),
        Stage::new("prod").after("main", ["dev"]).auto_promote().step(StepSpec::new("ship", json!({}))),
    ]);
    let engine = start(&shop, pipeline, &[("target", &target)]).await;
    let id = verified(&engine, "dev", "1.0.0").await;
    let why = engine.why("prod", &id).to_string();
    assert!(why.contains("stage dev has to be healthy, and has not been looked at since its last promotion"), "{why}");

    becomes(&engine, "dev", Health::Progressing).await;
    let refused = engine.promote("prod", &id, Actor::user("alice")).await.expect_err("not healthy").to_string();
    assert!(refused.contains("stage dev is Progressing since 2026-01-01T"), "{refused}");
    assert!(refused.contains("counts as verified only while it is healthy (app: scales)"), "{refused}");
    an_hour().await;
    assert_eq!(promotions(&engine, "prod"), 0);

    // Nothing but the health changes, and the stage downstream goes on by itself.
    target.set(WELL);
    verified(&engine, "prod", "1.0.0").await;

    // What the stage no longer runs is not judged by how it is now.
    target.set(BAD);
    shop.source.publish("1.1.0");
    let next = verified(&engine, "dev", "1.1.0").await;
    becomes(&engine, "dev", Health::Unhealthy).await;
    an_hour().await;
    assert_eq!(current(&engine, "prod").as_deref(), Some("1.0.0"));
    engine.promote("prod", &next, Actor::user("alice")).await.expect_err("not healthy");
    let again = engine.promote("prod", &id, Actor::user("alice")).await.expect("allowed");
    assert_eq!(engine.finished(&again).await.expect("ends").phase, Phase::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_deploys_nothing_is_not_kept_back_by_its_health() {
    let shop = Shop::new();
    let target = Target::standing(BAD);
    let pipeline = Shop::of([
        Stage::new("dev").direct("main").auto_promote().step(StepSpec::new("ship", json!({}))).require_health(),
        Stage::new("prod").after("main", ["dev"]).auto_promote().step(StepSpec::new("ship", json!({}))),
    ]);
    let engine = start(&shop, pipeline, &[("target", &target)]).await;
    verified(&engine, "prod", "1.0.0").await;
    assert_eq!(health(&engine, "dev").expect("known").health, Health::NotApplicable);
    assert!(target.looks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restart_looks_at_once_and_a_definition_without_a_watch_ends_it() {
    let shop = Shop::new();
    let target = Target::standing(WELL);
    let watched = || Shop::of([stage("dev").direct("main").auto_promote()]);
    let engine = start(&shop, watched(), &[("target", &target)]).await;
    becomes(&engine, "dev", Health::Healthy).await;
    engine.shutdown().await.expect("stops");

    target.then([BAD, Hang]);
    let engine = start(&shop, watched(), &[("target", &target)]).await;
    let before = engine.now();
    assert_eq!(becomes(&engine, "dev", Health::Unhealthy).await.since, before);
    while target.looks().len() < 3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // A look that hangs does not keep the engine from stopping.
    let asked = engine.now();
    engine.shutdown().await.expect("stops");
    assert_eq!(engine.now(), asked);

    let looks = target.looks().len();
    let plain = Stage::new("dev").direct("main").step(StepSpec::deploy("target", json!({})).named("app"));
    let engine = start(&shop, Shop::of([plain]), &[("target", &target)]).await;
    an_hour().await;
    assert_eq!((target.looks().len(), health(&engine, "dev")), (looks, None));
}

/// Journals of versions before health was watched have neither field.
#[test]
fn a_stage_and_its_state_without_health_can_be_read() {
    let stage: Stage = serde_json::from_value(json!({"name": "dev", "requests": []})).expect("reads");
    assert_eq!(stage.health_watch(), None);
    let mut state = serde_json::to_value(crate::state::StageState::default()).expect("writes");
    state.as_object_mut().expect("an object").remove("health");
    let state: crate::state::StageState = serde_json::from_value(state).expect("reads");
    assert_eq!(state.health, None);
}

/// Says with which configuration it was asked, and with which ones later steps deployed.
#[derive(Debug, Clone, Default)]
struct Asked(Arc<Mutex<Vec<Question>>>);

/// The configuration, and those of later steps.
type Question = (Value, Vec<Value>);

#[async_trait]
impl Deployer for Asked {
    async fn deploy(&self, _cx: &Context, _request: &DeployRequest<'_>) -> Result<Deployment> {
        Ok(Deployment::Live { revision: "r1".into(), evidence: String::new() })
    }

    async fn observe(&self, _cx: &Context, request: &ObserveRequest<'_>) -> Result<Observation> {
        let later = request.later.iter().map(|config| (*config).clone()).collect();
        self.0.lock().unwrap().push((request.config.clone(), later));
        Ok(Observation::new(None, Health::Healthy, "all runs"))
    }
}

/// ARGO-05: several steps of one promotion deploy to one place, and the last of them counts.
#[tokio::test(start_paused = true)]
async fn argo_05_a_deployer_is_told_what_later_steps_of_the_same_kind_asked_for() {
    let (shop, asked, other) = (Shop::new(), Asked::default(), Target::standing(WELL));
    let deploy = |name: &str, place: &str| StepSpec::deploy(name, json!({ "place": place }));
    let steps = [deploy("asked", "a"), deploy("target", "b"), deploy("asked", "c"), deploy("asked", "d")];
    let steps = steps.into_iter().enumerate().map(|(at, step)| step.named(format!("deploy-{at}")));
    let stage = steps.fold(Stage::new("dev").direct("main").auto_promote(), |stage, step| stage.step(step));
    let pipeline = Shop::of([stage.watch_health(MINUTE)]);
    let plugins = Plugins::builder().source("versions", shop.source.clone()).step("ship", shop.ship.clone());
    let plugins = plugins.deployer("asked", asked.clone()).deployer("target", other.clone()).build();
    let engine = Engine::builder(pipeline, plugins).store(shop.store.clone()).clock(shop.clock.clone());
    let engine = engine.start().await.expect("starts");
    becomes(&engine, "dev", Health::Healthy).await;
    let mut seen = asked.0.lock().unwrap().clone();
    seen.sort_by_key(|(config, _)| config["place"].to_string());
    // However often it was looked.
    seen.dedup();
    let place = |place: &str| json!({ "place": place });
    assert_eq!(
        seen,
        [(place("a"), vec![place("c"), place("d")]), (place("c"), vec![place("d")]), (place("d"), Vec::new()),]
    );
}
