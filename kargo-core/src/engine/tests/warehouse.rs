//! Warehouses: what they make by themselves, what people make of what they found, and what it is called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::freight::{Choice, Pick};
use crate::plugin::{Context, Cursor, DiscoverRequest, Discovery, Judgement, Source, Step, StepOutcome, StepRequest};
use crate::state::{Cause, Event, EventKind, FreightState, WarehouseState};

/// A registry: the tags of each repository, oldest first. A subscription may ask for those with a prefix only.
#[derive(Debug, Clone, Default)]
struct Registry(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Registry {
    fn push(&self, repository: &str, tag: &str) {
        self.0.lock().expect("whole").entry(repository.to_owned()).or_default().push(tag.to_owned());
    }
}

#[async_trait]
impl Source for Registry {
    async fn discover(&self, _: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        let text = |field: &str| request.config[field].as_str().unwrap_or_default().to_owned();
        let (repo_url, prefix) = (text("repoURL"), text("prefix"));
        let tags = self.0.lock().expect("whole").get(&repo_url).cloned().unwrap_or_default();
        let fitting = tags.iter().rev().filter(|tag| tag.starts_with(&prefix));
        let candidates = fitting.map(|tag| {
            Artifact::Image(Image {
                repo_url: repo_url.clone(),
                tag: tag.clone(),
                digest: format!("sha256:{}", crate::freight::sha1_hex(tag)),
                annotations: BTreeMap::new(),
                created_at: None,
                subscription_name: None,
            })
        });
        Ok(Discovery::Found { candidates: candidates.collect(), cursor: Some(Cursor(json!(tags.len()))) })
    }
}

/// A step that keeps what its configuration picks from the freight.
#[derive(Debug, Clone, Default)]
struct Picking(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Step for Picking {
    async fn run(&self, _: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let picks: Vec<Pick> = serde_json::from_value(request.config["picks"].clone()).expect("picks");
        for pick in picks {
            self.0.lock().expect("whole").push(pick.resolve(&request.promotion.collection)?);
        }
        Ok(StepOutcome::succeeded())
    }
}

const FRONTEND: &str = "ghcr.io/acme/frontend";
const BACKEND: &str = "ghcr.io/acme/backend";

fn image(name: &str, repository: &str) -> Subscription {
    Subscription::new("registry", json!({ "repoURL": repository })).named(name)
}

fn front_and_back() -> Warehouse {
    Warehouse::new("main")
        .subscribe(image("frontend", FRONTEND))
        .subscribe(image("backend", BACKEND))
        .every(Duration::from_secs(60))
}

fn same_tag(artifacts: &[Artifact]) -> Result<Judgement> {
    let alike = artifacts.windows(2).all(|pair| pair[0].version() == pair[1].version());
    Ok(Judgement::of(alike, "their tags differ"))
}

struct Town {
    shop: Shop,
    registry: Registry,
    picking: Picking,
}

impl Town {
    /// Frontend has v1 and v2, backend has v1.
    fn half_released() -> Self {
        let registry = Registry::default();
        registry.push(FRONTEND, "v1");
        registry.push(FRONTEND, "v2");
        registry.push(BACKEND, "v1");
        Self { shop: Shop::new(), registry, picking: Picking::default() }
    }

    fn plugins(&self) -> plugin::PluginsBuilder {
        Plugins::builder()
            .source("registry", self.registry.clone())
            .step("ship", self.shop.ship.clone())
            .step("pick", self.picking.clone())
            .verifier("check", self.shop.check.clone())
            .criterion("same-tag", same_tag)
    }

    async fn start_with(&self, warehouse: Warehouse, stage: Stage, plugins: Plugins) -> Result<Engine> {
        let pipeline = Pipeline::builder("shop").warehouse(warehouse).stage(stage).build().expect("a valid pipeline");
        let builder = Engine::builder(pipeline, plugins).store(self.shop.store.clone());
        builder.clock(self.shop.clock.clone()).start().await
    }

    async fn start(&self, warehouse: Warehouse) -> Engine {
        self.start_with(warehouse, Shop::stage("dev").direct("main"), self.plugins().build()).await.expect("starts")
    }
}

fn labels(engine: &Engine) -> Vec<String> {
    engine.read(|state| state.newest_first(&"main".into()).map(|known| known.freight().label()).collect())
}

fn known(engine: &Engine) -> WarehouseState {
    engine.read(|state| state.warehouse(&"main".into()).cloned()).unwrap_or_default()
}

async fn journaled<T>(engine: &Engine, find: impl Fn(&EventKind) -> Option<T>) -> Vec<T> {
    let journal = engine.journal().await.expect("reads");
    journal.iter().filter_map(|event| find(&event.kind)).collect()
}

async fn waits(engine: &Engine) -> Vec<Option<String>> {
    let wait = |kind: &EventKind| match kind {
        EventKind::WarehouseWaiting { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    journaled(engine, wait).await
}

/// CORE-16: no freight of half a release; one piece when the other half is there; until then it is reported, and is no error.
#[tokio::test(start_paused = true)]
async fn core_16_no_freight_is_made_of_half_a_release() {
    let town = Town::half_released();
    let engine = town.start(front_and_back().when("same-tag")).await;
    let waiting = engine.until(|state| state.warehouse(&"main".into())?.waiting.clone()).await.expect("waits");
    assert_eq!(waiting, format!("{FRONTEND}:v2, {BACKEND}:v1 (same-tag: their tags differ)"));
    an_hour().await;
    assert_eq!(labels(&engine), Vec::<String>::new());
    assert_eq!(known(&engine).failing, None, "it is no error");
    assert_eq!(waits(&engine).await.len(), 1, "the same is not journaled again");

    town.registry.push(BACKEND, "v2");
    freight(&engine, "v2 + v2").await;
    an_hour().await;
    assert_eq!(labels(&engine), ["v2 + v2"], "exactly one");
    assert_eq!(known(&engine).waiting, None);

    // The next half waits again, and what is withdrawn waits no longer.
    town.registry.push(FRONTEND, "v3");
    an_hour().await;
    assert!(known(&engine).waiting.is_some_and(|waiting| waiting.contains("frontend:v3")));
    town.registry.0.lock().expect("whole").get_mut(FRONTEND).expect("known").pop();
    an_hour().await;
    assert_eq!((known(&engine).waiting, labels(&engine).len()), (None, 1));
    assert_eq!(waits(&engine).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_person_may_assemble_against_the_criteria_and_the_journal_says_so() {
    let town = Town::half_released();
    let engine = town.start(front_and_back().when("same-tag")).await;
    an_hour().await;
    let id = engine.assemble("main", [], Actor::user("alice")).await.expect("a person may");
    assert_eq!(labels(&engine), ["v2 + v1"]);
    an_hour().await;
    assert_eq!(known(&engine).waiting, None, "what is freight does not wait");
    let journal = engine.journal().await.expect("reads");
    let found = |event: &&Event| matches!(&event.kind, EventKind::FreightFound { freight, .. } if *freight.id() == id);
    let event = journal.iter().find(found).expect("journaled");
    assert_eq!((event.actor.as_str(), event.cause), ("user:alice", Cause::Request));
    assert!(
        event.kind.to_string().ends_with("assembled against criterion same-tag: their tags differ"),
        "{}",
        event.kind
    );
    // What agrees with them is not said to be against them.
    let id = engine.assemble("main", [Choice::of("frontend", "v1")], Actor::user("alice")).await.expect("assembles");
    let against = journaled(&engine, |kind| match kind {
        EventKind::FreightFound { freight, against, .. } if *freight.id() == id => Some(against.clone()),
        _ => None,
    });
    assert_eq!(against.await, [None]);
}

#[tokio::test(start_paused = true)]
async fn a_manual_warehouse_looks_and_makes_nothing_until_somebody_chooses() {
    let town = Town::half_released();
    let engine = town.start(front_and_back().manual()).await;
    let early = engine.discovered("main").await;
    an_hour().await;
    assert_eq!(early.expect_err("it has not looked yet").kind(), ErrorKind::Unavailable);
    assert_eq!(labels(&engine), Vec::<String>::new());
    let versions = |found: &[Discovered]| -> Vec<Vec<String>> {
        let versions = |one: &Discovered| one.candidates.iter().map(|artifact| artifact.version().to_owned()).collect();
        found.iter().map(versions).collect()
    };
    let found = engine.discovered("main").await.expect("has looked");
    assert_eq!(versions(&found), [vec!["v2", "v1"], vec!["v1"]]);
    assert_eq!(found[1].subscription.name.as_deref(), Some("backend"));

    let alice = || Actor::user("alice");
    let newest = engine.assemble("main", [], alice()).await.expect("the newest of each");
    let chosen = engine.assemble("main", [Choice::of(0, "v1")], alice()).await.expect("chosen");
    assert_eq!(labels(&engine), ["v1 + v1", "v2 + v1"], "what is assembled later is newer");
    // The same content again is the same freight, however it is chosen.
    let head = engine.read(State::seq);
    let Artifact::Image(first) = found[0].candidates[1].clone() else { panic!("an image") };
    let digest = first.digest.clone();
    for choice in [
        Choice::of("frontend", "v1"),
        Choice::of("frontend", digest.as_str()),
        Choice::of(0, format!("v1@{digest}")),
        Choice::of(0, Artifact::Image(Image { subscription_name: None, ..first })),
    ] {
        let again = engine.assemble("main", [choice, Choice::of("backend", "v1")], alice()).await;
        assert_eq!(again.expect("is there"), chosen);
    }
    assert_eq!(engine.assemble("main", [], alice()).await.expect("is there"), newest);
    assert_eq!(engine.read(State::seq), head, "nothing was journaled");
    engine.promote("dev", &chosen, alice()).await.expect("it is freight like any other");
    engine.shutdown().await.expect("stops");

    // After a restart the last look is still known, before there is a new one.
    let plugins = town.plugins().source("registry", SilentSource).build();
    let stage = Shop::stage("dev").direct("main");
    let engine = town.start_with(front_and_back().manual(), stage, plugins).await.expect("starts");
    assert_eq!(engine.discovered("main").await.expect("kept"), found);
    assert_eq!(engine.assemble("main", [Choice::of(0, "v1")], alice()).await.expect("is there"), chosen);
}

/// A source that does not answer.
#[derive(Debug)]
struct SilentSource;

#[async_trait]
impl Source for SilentSource {
    async fn discover(&self, _: &Context, _: &DiscoverRequest<'_>) -> Result<Discovery> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_assembled_is_refused_with_what_can() {
    let town = Town::half_released();
    let engine = town.start(front_and_back()).await;
    freight(&engine, "v2 + v1").await;
    let head = engine.read(State::seq);
    let other = Artifact::Chart(Chart {
        repo_url: "oci://x".into(),
        name: String::new(),
        version: "1.0.0".into(),
        subscription_name: None,
    });
    for (choices, kind, part) in [
        (
            vec![Choice::of("frontend", "v7.0")],
            ErrorKind::NotFound,
            r#"has not discovered "v7.0". It has found "v2", "v1"."#,
        ),
        (vec![Choice::of("frontend", "v22")], ErrorKind::NotFound, r#"Did you mean "v2"?"#),
        (vec![Choice::of("fronted", "v1")], ErrorKind::InvalidInput, r#"Did you mean "frontend"?"#),
        (vec![Choice::of("database", "v1")], ErrorKind::InvalidInput, r#"called "frontend", "backend""#),
        (vec![Choice::of(2, "v1")], ErrorKind::InvalidInput, "no subscription at place 2: it has 2, counted from 0"),
        (vec![Choice::of(0, "v1"), Choice::of("frontend", "v2")], ErrorKind::InvalidInput, "has two choices"),
        (vec![Choice::of(1, other)], ErrorKind::NotFound, r#"has not discovered oci://x:1.0.0. It has found "v1"."#),
    ] {
        let error = engine.assemble("main", choices, Actor::user("alice")).await.expect_err(part);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    for error in [
        engine.assemble("mian", [], Actor::user("alice")).await.expect_err("no such warehouse"),
        engine.discovered("mian").await.expect_err("no such warehouse"),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(r#"Did you mean "main"?"#), "{error}");
    }
    assert_eq!(engine.read(State::seq), head, "nothing was journaled");
    let id = engine.assemble("main", [Choice::of("frontend", "v1")], Actor::user("alice")).await.expect("assembles");
    assert_eq!(labels(&engine), ["v1 + v1", "v2 + v1"], "an automatic warehouse takes choices too");
    assert!(engine.why("dev", &id).admission.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_criterion_that_is_missing_or_panics_or_babbles_is_met() {
    let town = Town::half_released();
    let stage = || Shop::stage("dev").direct("main");
    let missing = town.start_with(front_and_back().when("same-tags"), stage(), town.plugins().build()).await;
    let error = missing.expect_err("not registered").to_string();
    assert!(error.contains(r#"No criterion is registered as "same-tags". Did you mean "same-tag"?"#), "{error}");

    let quiet = |_: &[Artifact]| -> Result<Judgement> { std::panic::resume_unwind(Box::new("out of range")) };
    let plugins = town.plugins().criterion("broken", quiet).build();
    let engine = town.start_with(front_and_back().when("broken"), stage(), plugins).await.expect("starts");
    let failing = engine.until(|state| state.warehouse(&"main".into())?.failing.clone()).await.expect("says so");
    assert!(failing.contains(r#"The criterion "broken" panicked: out of range"#), "{failing}");
    assert_eq!(labels(&engine), Vec::<String>::new());
    // A person is not stopped by it.
    engine.assemble("main", [], Actor::user("alice")).await.expect("assembles");
    engine.shutdown().await.expect("stops");

    // A reason that is worded anew each time does not flood the journal.
    let town = Town::half_released();
    let count = Mutex::new(0);
    let babbling = move |_: &[Artifact]| {
        let mut count = count.lock().expect("whole");
        *count += 1;
        Ok(Judgement::Unsatisfied(format!("asked {count} times")))
    };
    let plugins = town.plugins().criterion("babbling", babbling).build();
    let warehouse = front_and_back().when("same-tag").when("babbling").every(Duration::from_secs(1));
    let engine = town.start_with(warehouse, stage(), plugins).await.expect("starts");
    town.registry.push(BACKEND, "v2");
    an_hour().await;
    let told = waits(&engine).await.len();
    assert!((50..=62).contains(&told), "once a minute: {told}");
}

/// Two subscriptions to one repository are two artifacts of the freight, and a pick says which by the subscription's name.
#[tokio::test(start_paused = true)]
async fn core_17_one_repository_may_be_watched_twice_under_two_names() {
    let town = Town::half_released();
    town.registry.push(FRONTEND, "canary-1");
    let watch = |name: &str, prefix: &str| {
        Subscription::new("registry", json!({ "repoURL": FRONTEND, "prefix": prefix })).named(name)
    };
    let warehouse = Warehouse::new("main").subscribe(watch("stable", "v")).subscribe(watch("canary", "canary-"));
    let picks =
        [Pick::ImageTag("stable".into()), Pick::ImageTag("canary".into()), Pick::ImageReference("canary".into())];
    let stage = Stage::new("dev").direct("main").auto_promote().step(StepSpec::new("pick", json!({ "picks": picks })));
    let engine = town.start_with(warehouse, stage, town.plugins().build()).await.expect("starts");
    let id = verified(&engine, "dev", "v2 + canary-1").await;
    let picked = town.picking.0.lock().expect("whole").clone();
    assert_eq!(picked[..2], ["v2", "canary-1"]);
    assert!(picked[2].starts_with("ghcr.io/acme/frontend:canary-1@sha256:"), "{}", picked[2]);

    let collection = engine.read(|state| state.current(&"dev".into()));
    let error = Pick::ImageTag(FRONTEND.into()).resolve(&collection).expect_err("which one?").to_string();
    assert!(error.contains(r#"by the name of its subscription ("stable", "canary")"#), "{error}");
    // One of the two moves, and only that one.
    let chosen = [Choice::of("stable", "v1"), Choice::of("canary", "canary-1")];
    assert_ne!(engine.assemble("main", chosen, Actor::user("alice")).await.expect("assembles"), id);
    assert_eq!(labels(&engine), ["v1 + canary-1", "v2 + canary-1"]);
}

#[tokio::test(start_paused = true)]
async fn freight_is_called_by_an_alias_from_the_start_and_people_may_change_it() {
    let shop = Shop::new();
    let engine = shop.start(Shop::pipeline()).await;
    let first = freight(&engine, "1.0.0").await;
    shop.source.publish("1.1.0");
    let second = freight(&engine, "1.1.0").await;
    let alias = |id: &FreightId| {
        engine.read(|state| state.freight_by_id(id).and_then(FreightState::alias).map(ToOwned::to_owned))
    };
    let find = |text: &str| engine.read(|state| state.find_freight(text).map(|known| known.freight().id().clone()));
    let given = alias(&first).expect("two words");
    assert_eq!(given.split('-').count(), 2, "{given}");
    assert_ne!(alias(&second), Some(given.clone()));
    for text in [given.as_str(), first.as_str(), &first.as_str()[..4], first.short()] {
        assert_eq!(find(text).expect(text), first);
    }

    let alice = || Actor::user("alice");
    engine.set_alias(&first, "summer", alice()).await.expect("is free");
    assert_eq!((find("summer").expect("called so"), alias(&first).as_deref()), (first.clone(), Some("summer")));
    let error = find(&given).expect_err("called otherwise now");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(find("sumer").expect_err("nearly").to_string().contains(r#"Did you mean "summer"?"#));
    for (text, part) in [
        ("summer", format!("freight {} (1.0.0) is", first.short())),
        ("Summer!", "only lower-case letters".to_owned()),
        (first.as_str(), "form of a freight's id".to_owned()),
    ] {
        let error = engine.set_alias(&second, text, alice()).await.expect_err(text);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&part), "{error}");
    }
    let head = engine.read(State::seq);
    engine.set_alias(&first, "summer", alice()).await.expect("is so already");
    assert_eq!(engine.read(State::seq), head);
    engine.clear_alias(&first, alice()).await.expect("clears");
    assert_eq!(alias(&first), None);
    engine.set_alias(&second, "summer", alice()).await.expect("is free again");
    assert_eq!(find("summer").expect("called so"), second);
    let unknown = engine.set_alias("0123", "winter", alice()).await.expect_err("no such freight");
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    let lines = journaled(&engine, |kind| matches!(kind, EventKind::AliasSet { .. }).then(|| kind.to_string())).await;
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1], format!("alias of freight {} taken away", first.short()));
    engine.shutdown().await.expect("stops");
    let engine = shop.start(Shop::pipeline()).await;
    let found = engine.read(|state| state.find_freight("summer").map(|known| known.freight().id().clone()));
    assert_eq!(found.expect("kept"), second);
}

/// Journals and snapshots of before there were aliases, criteria and policies.
#[test]
fn what_was_journaled_before_there_were_aliases_is_read() {
    let freight = generic(1, START.parse().expect("a time"));
    let old = json!({"freight-found": {"freight": freight}});
    let kind: EventKind = serde_json::from_value(old).expect("reads");
    let mut state = State::new();
    state.apply(&event(1, kind)).expect("follows");
    let known = state.find_freight(&freight.id().as_str()[..4]).expect("by its digits");
    assert_eq!(known.alias(), None);
    let mut snapshot = serde_json::to_value(&state).expect("writes");
    snapshot.as_object_mut().expect("a map").remove("aliases").expect("was there");
    assert_eq!(snapshot["freight"][freight.id().as_str()].get("alias"), None);
    snapshot["warehouses"]["main"].as_object_mut().expect("a map").remove("waiting").expect("was there");
    assert_eq!(serde_json::from_value::<State>(snapshot).expect("reads"), state);
    let warehouse = serde_json::to_value(Shop::warehouse()).expect("writes");
    assert_eq!(warehouse.as_object().expect("a map").len(), 3, "a plain warehouse is written as it was: {warehouse}");
}

fn generic(number: usize, at: jiff::Timestamp) -> Freight {
    let artifact = GenericArtifact {
        artifact_type: "scripted".into(),
        subscription_name: String::new(),
        version: format!("1.0.{number}"),
        metadata: serde_json::Value::Null,
    };
    Freight::new("main", vec![Artifact::Generic(artifact)], at)
}

fn event(seq: u64, kind: EventKind) -> Event {
    Event { seq, at: START.parse().expect("a time"), actor: Actor::engine(), cause: Cause::Outcome, kind }
}

/// Finds `count` pieces of freight one after the other, as the engine does.
fn find_many(count: usize) -> State {
    let mut state = State::new();
    for number in 0..count {
        let artifacts = generic(number, jiff::Timestamp::UNIX_EPOCH).artifacts().to_vec();
        let now = START.parse().expect("a time");
        let (_, kind) = crate::engine::discover::new_freight(&state, &"main".into(), artifacts, None, now);
        state.apply(&event(state.seq() + 1, kind.expect("is new"))).expect("follows");
    }
    state
}

#[test]
fn of_many_finds_in_a_row_each_gets_its_own_alias_within_a_few_tries() {
    let state = find_many(20_000);
    // Counted, not timed: the look for a free alias is all that could grow with what is there.
    let tries = std::cell::Cell::new(0_usize);
    for number in 20_000..21_000 {
        let new = generic(number, jiff::Timestamp::UNIX_EPOCH);
        crate::freight::generated_alias(new.id(), |alias| {
            tries.set(tries.get() + 1);
            state.alias_holder(alias).is_some()
        });
    }
    assert!(tries.get() < 1_000 * 50, "{} tries for 1,000 aliases beside 20,000", tries.get());
    let aliases: BTreeSet<&str> = state.freight().filter_map(FreightState::alias).collect();
    assert_eq!(aliases.len(), 20_000, "each has its own");
    let known = state.freight().next().expect("there is freight");
    let ambiguous: Vec<_> = state.freight().map(|known| known.freight().id().as_str()[..4].to_owned()).collect();
    let twice = ambiguous.windows(2).find(|pair| pair[0] == pair[1]).expect("two of 20,000 begin alike");
    let error = state.find_freight(&twice[0]).expect_err("which one?");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("ids that begin with"), "{error}");
    assert_eq!(
        state.find_freight(&known.freight().id().as_str()[..3]).expect_err("too short").kind(),
        ErrorKind::NotFound
    );
}
