//! Letting go of the past: what stays, what goes, and when.

use std::collections::BTreeSet;

use super::*;
use crate::decide::{Action, candidate, collect, decide};
use crate::state::{Cause, Event, EventKind, HoldChange, Trigger};

/// A journal that is written event by event, a second apart.
struct Fold {
    state: State,
    pipeline: Pipeline,
    now: jiff::Timestamp,
}

impl Fold {
    fn new(pipeline: Pipeline) -> Self {
        let mut fold = Self { state: State::new(), pipeline, now: START.parse().expect("a time") };
        fold.append(EventKind::PipelineDefined { pipeline: Arc::new(fold.pipeline.clone()) });
        fold
    }

    fn append(&mut self, kind: EventKind) {
        self.now += Duration::from_secs(1);
        let seq = self.state.seq() + 1;
        let event = Event { seq, at: self.now, actor: Actor::user("alice"), cause: Cause::Outcome, kind };
        self.state.apply(&event).expect("follows");
    }

    fn find(&mut self, warehouse: &str, version: usize) -> FreightId {
        let artifact = GenericArtifact {
            artifact_type: "scripted".into(),
            subscription_name: String::new(),
            version: version.to_string(),
            metadata: serde_json::Value::Null,
        };
        let freight = Freight::new(warehouse, vec![Artifact::Generic(artifact)], self.now);
        let id = freight.id().clone();
        self.append(EventKind::FreightFound { freight, alias: Some(format!("{warehouse}-{version}")), against: None });
        id
    }

    fn request(&mut self, stage: &str, freight: &FreightId, hold: HoldChange) -> PromotionId {
        let promotion = PromotionId::from(format!("{stage}.{:026}", self.state.seq()));
        self.append(EventKind::PromotionRequested {
            promotion: promotion.clone(),
            stage: stage.into(),
            freight: freight.clone(),
            trigger: Trigger::Manual,
            steps: Vec::new(),
            verification: Vec::new(),
            hold,
            rollback: None,
            reason: String::new(),
        });
        promotion
    }

    fn finish(&mut self, promotion: &PromotionId, phase: Phase) {
        let (promotion, message) = (promotion.clone(), String::new());
        self.append(EventKind::PromotionFinished { promotion, phase, message });
    }

    fn verify(&mut self, promotion: &PromotionId, phase: Phase) {
        self.append(EventKind::VerificationStarted { promotion: promotion.clone() });
        let (promotion, message) = (promotion.clone(), String::new());
        self.append(EventKind::VerificationFinished { promotion, phase, message });
    }

    fn promote(&mut self, stage: &str, freight: &FreightId) -> PromotionId {
        let promotion = self.request(stage, freight, HoldChange::None);
        self.append(EventKind::PromotionStarted { promotion: promotion.clone() });
        self.finish(&promotion, Phase::Succeeded);
        self.verify(&promotion, Phase::Succeeded);
        promotion
    }

    /// Lets go of all that can go, and says how many events that took.
    fn collect(&mut self) -> usize {
        let mut events = 0;
        while let Some(draft) = collect(&self.pipeline, &self.state, self.now) {
            if let EventKind::Collected { freight, promotions } = &draft.kind {
                assert!((1..=1_000).contains(&(freight.len() + promotions.len())));
            }
            // The time stands still, so that nothing grows old meanwhile.
            let event = Event {
                seq: self.state.seq() + 1,
                at: self.now,
                actor: draft.actor,
                cause: draft.cause,
                kind: draft.kind,
            };
            self.state.apply(&event).expect("follows");
            events += 1;
        }
        events
    }

    fn freight(&self) -> BTreeSet<FreightId> {
        self.state.freight().map(|known| known.freight().id().clone()).collect()
    }
}

fn retention(promotions: usize, freight: usize, min_age: u64) -> Retention {
    Retention {
        promotions_per_stage: promotions,
        freight_per_warehouse: freight,
        min_age: Duration::from_secs(min_age),
    }
}

fn keeping(retention: Retention, stages: impl IntoIterator<Item = Stage>) -> Pipeline {
    let builder = Pipeline::builder("shop").warehouse(Shop::warehouse()).retention(retention);
    stages.into_iter().fold(builder, PipelineBuilder::stage).build().expect("a valid pipeline")
}

/// CORE-19: one old piece in use does not keep all that came after it; what is in use stays, however old.
#[test]
fn core_19_an_old_piece_in_use_keeps_itself_only() {
    let prods = ["prod-a", "prod-b", "prod-c", "prod-d"];
    let stages = prods.map(|prod| Shop::stage(prod).after("main", ["dev"]));
    let pipeline = keeping(retention(10, 10, 86_400), [Shop::stage("dev").direct("main")].into_iter().chain(stages));
    let mut fold = Fold::new(pipeline);
    let mut all = Vec::new();
    for version in 0..1029 {
        let id = fold.find("main", version);
        fold.promote("dev", &id);
        if let Some(place) = [0, 200, 500, 900].iter().position(|used| *used == version) {
            fold.promote(prods[place], &id);
        }
        all.push(id);
    }
    assert_eq!(fold.freight().len(), 1029);
    assert_eq!(fold.collect(), 0, "all is younger than a day");
    fold.now += Duration::from_secs(86_400);
    assert!(fold.collect() > 1, "in events of bounded size");
    let in_use = [0, 200, 500, 900].map(|used| all[used].clone());
    let expected: BTreeSet<FreightId> = in_use.into_iter().chain(all[1019..].iter().cloned()).collect();
    assert_eq!(fold.freight(), expected);
    assert_eq!(fold.state.promotions().count(), 10 + 4);
    assert_eq!(fold.state.stage(&"dev".into()).expect("known").attempts.len(), 10, "no memory of what is gone");
    assert_eq!(fold.state.newest_first(&"main".into()).count(), 14);
    assert!(fold.state.find_freight("main-1").is_err() && fold.state.find_freight("main-0").is_ok());
}

/// The newest that production could take stays, though newer freight, which is no good, fills its warehouse's share.
#[test]
fn what_waits_for_a_person_stays() {
    let pipeline =
        keeping(retention(1, 3, 0), [Shop::stage("dev").direct("main"), Shop::stage("prod").after("main", ["dev"])]);
    let mut fold = Fold::new(pipeline);
    let old: Vec<_> = (0..20).map(|version| fold.find("main", version)).collect();
    fold.promote("dev", &old[0]);
    fold.promote("prod", &old[0]);
    let good: Vec<_> = (20..40).map(|version| fold.find("main", version)).collect();
    good.iter().for_each(|id| {
        fold.promote("dev", id);
    });
    fold.append(EventKind::FreightApproved { freight: good[1].clone(), stage: "prod".into() });
    let bad: Vec<_> = (40..80).map(|version| fold.find("main", version)).collect();
    fold.collect();
    let kept = fold.freight();
    assert!(kept.contains(&old[0]), "what prod runs");
    assert!(kept.contains(&good[1]), "what a person approved for prod");
    assert!(good[17..].iter().all(|id| kept.contains(id)), "what prod may take next");
    assert!(bad[37..].iter().all(|id| kept.contains(id)), "the newest");
    assert!(old[1..].iter().chain(&bad[..37]).all(|id| !kept.contains(id)), "nobody wants these");
    // Ten more are in the history of dev, for a rollback.
    assert_eq!(kept.len(), 1 + 1 + 10 + 3);
}

/// Freight that failed is not tried again for having been forgotten, and what failed is not forgotten while the freight is there.
#[test]
fn core_11_what_failed_is_remembered_as_long_as_the_freight_is_there() {
    let pipeline = keeping(retention(0, 1, 0), [Shop::stage("dev").direct("main").auto_promote()]);
    let mut fold = Fold::new(pipeline);
    let good = fold.find("main", 1);
    fold.promote("dev", &good);
    let bad = fold.find("main", 2);
    let failed = fold.request("dev", &bad, HoldChange::None);
    fold.append(EventKind::PromotionStarted { promotion: failed.clone() });
    fold.finish(&failed, Phase::Failed);
    for _ in 0..5 {
        fold.promote("dev", &good);
    }
    fold.collect();
    assert!(fold.state.promotion(&failed).is_some());
    assert_eq!(decide(&fold.pipeline, &fold.state, fold.now), []);
}

/// What a run of random events leaves, against rules that are written down a second time.
#[test]
fn whatever_happened_what_is_needed_stays_and_the_rest_goes() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = move |end: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % end as u64) as usize
    };
    let (mut gone, mut stayed) = (0, 0);
    for round in 0..400 {
        let retention = retention(below(3), 1 + below(3), [0, 40, 100][below(3)]);
        let warehouse = |name| Warehouse::new(name).subscribe(Subscription::new("versions", json!({})));
        let soaking = crate::stage::FreightRequest::after("main", ["dev"]).soak(Duration::from_secs(30));
        let pipeline = Pipeline::builder("shop")
            .warehouse(warehouse("main"))
            .warehouse(warehouse("extra"))
            .stage(Shop::stage("dev").direct("main").direct("extra").auto_promote())
            .stage(Shop::stage("qa").direct("main"))
            .stage(Shop::stage("soaked").request(soaking).auto_promote())
            .stage(
                Shop::stage("prod")
                    .request(crate::stage::FreightRequest::after("main", ["dev", "qa"]).all())
                    .after("extra", ["dev"]),
            )
            .retention(retention)
            .build()
            .expect("a valid pipeline");
        let mut fold = Fold::new(pipeline);
        let stages = ["dev", "qa", "soaked", "prod"];
        let mut freight = vec![(false, fold.find("main", 0)), (true, fold.find("extra", 0))];
        for version in 1..60 {
            let stage = stages[below(4)];
            let (extra, id) = freight[freight.len() - 1 - below(freight.len().min(8))].clone();
            let asked = !extra || stage == "dev" || stage == "prod";
            let known = fold.state.stage(&stage.into()).cloned().unwrap_or_default();
            match below(6) {
                0 | 1 => {
                    let extra = below(4) == 0;
                    freight.push((extra, fold.find(if extra { "extra" } else { "main" }, version)));
                }
                2 if asked => fold.append(EventKind::FreightApproved { freight: id, stage: stage.into() }),
                3 if asked && known.queue.len() < 2 => {
                    fold.request(stage, &id, [HoldChange::None, HoldChange::Hold, HoldChange::Resume][below(3)]);
                }
                _ => match (&known.running, &known.verifying, known.queue.front()) {
                    (Some(running), ..) => {
                        fold.finish(
                            running,
                            [Phase::Succeeded, Phase::Succeeded, Phase::Failed, Phase::Aborted][below(4)],
                        );
                    }
                    (_, Some(verifying), _) => {
                        fold.verify(verifying, [Phase::Succeeded, Phase::Succeeded, Phase::Failed][below(3)]);
                    }
                    (.., Some(waiting)) => fold.append(EventKind::PromotionStarted { promotion: waiting.clone() }),
                    _ => {}
                },
            }
        }
        let before = fold.state.clone();
        fold.collect();
        check(&before, &fold, &retention).unwrap_or_else(|wrong| panic!("round {round}: {wrong}"));
        gone += before.freight().count() - fold.state.freight().count();
        stayed += fold.state.freight().count();
    }
    assert!(gone > 1_000 && stayed > 1_000, "{gone} gone, {stayed} stayed");
}

fn check(before: &State, fold: &Fold, retention: &Retention) -> Result<(), String> {
    let (after, now) = (&fold.state, fold.now);
    let freight = |id: &FreightId| after.freight_by_id(id).is_some();
    let promotion = |id: &PromotionId| after.promotion(id).is_some();
    let must = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    // Nothing that is left speaks of what is gone.
    for (name, stage) in after.stages() {
        let known = before.stage(name).expect("stages stay");
        must(
            known.queue == stage.queue && known.history == stage.history && known.current == stage.current,
            format!("{name} changed"),
        )?;
        let needed =
            stage.queue.iter().chain(&stage.history).chain(&stage.running).chain(&stage.verifying).chain(&stage.last);
        let needed = needed
            .chain(stage.attempts.values())
            .chain(stage.holds.values().flat_map(|hold| &hold.choice).map(|choice| &choice.promotion));
        needed.into_iter().try_for_each(|id| must(promotion(id), format!("{name} needs {id}")))?;
        let runs = stage
            .current
            .values()
            .chain(stage.attempts.keys())
            .chain(stage.holds.values().flat_map(|hold| &hold.choice).map(|choice| &choice.freight));
        runs.into_iter().try_for_each(|id| must(freight(id), format!("{name} needs {id}")))?;
    }
    for kept in after.promotions() {
        let carried = kept.collection.values().chain([&kept.freight]);
        carried.into_iter().try_for_each(|id| must(freight(id), format!("{} carries {id}", kept.id)))?;
    }
    // No decision is another one.
    let asked = |state: &State| -> Vec<(StageName, FreightId)> {
        let actions = decide(&fold.pipeline, state, now).into_iter();
        let asked = actions.filter_map(|action| match action {
            Action::Record(draft) => match draft.kind {
                EventKind::PromotionRequested { stage, freight, .. } => Some((stage, freight)),
                _ => None,
            },
            _ => None,
        });
        asked.collect()
    };
    must(asked(before) == asked(after), format!("{:?} became {:?}", asked(before), asked(after)))?;
    let age = |id: &FreightId| before.freight_by_id(id).map(|known| (known.freight().discovered_at(), id.clone()));
    let newer = |stage: &Stage, id: &FreightId, origin: &WarehouseName| {
        let runs = before.stage(stage.name()).and_then(|known| known.current.get(origin)).and_then(age);
        age(id) > runs
    };
    for known in before.freight() {
        let (id, origin) = (known.freight().id(), known.freight().origin());
        let newest =
            before.newest_first(origin).take(retention.freight_per_warehouse).any(|one| one.freight().id() == id);
        let young = now.duration_since(known.freight().discovered_at()).unsigned_abs() < retention.min_age;
        let asking =
            fold.pipeline.stages().filter(|stage| stage.request_for(origin).is_some() && newer(stage, id, origin));
        let asking: Vec<&Stage> = asking.collect();
        let approved = asking.iter().any(|stage| known.approved().contains_key(stage.name()));
        let next = asking
            .iter()
            .any(|stage| candidate(&fold.pipeline, before, stage, origin, now).is_some_and(|next| next.id() == id));
        must(
            freight(id) || !(newest || young || approved || next),
            format!("{id} went: {newest} {young} {approved} {next}"),
        )?;
        let carried =
            after.promotions().any(|kept| kept.freight == *id || kept.collection.values().any(|one| one == id));
        let runs = after.stages().any(|(_, stage)| {
            stage.current.values().any(|one| one == id)
                || stage.holds.values().flat_map(|hold| &hold.choice).any(|choice| choice.freight == *id)
        });
        let made = after
            .warehouse(origin)
            .is_some_and(|known| known.latest.as_ref() == Some(id) || known.offered.as_ref() == Some(id));
        let possible = asking.iter().any(|stage| {
            let request = stage.request_for(origin).expect("asks for it");
            request.direct || request.stages.iter().any(|upstream| known.verified().contains_key(upstream))
        });
        let reason = newest || young || approved || carried || runs || made || possible;
        must(!freight(id) || reason, format!("{id} stayed without a reason"))?;
    }
    for known in before.promotions() {
        let stage = before.stage(&known.stage).expect("known");
        let of_stage = before.promotions().rev().filter(|one| one.stage == known.stage);
        let newest = of_stage.take(retention.promotions_per_stage).any(|one| one.id == known.id);
        let ended = known.verifications.last().and_then(|last| last.finished_at).or(known.finished_at);
        let young = ended.is_none_or(|ended| now.duration_since(ended).unsigned_abs() < retention.min_age);
        must(promotion(&known.id) || !(newest || young), format!("{} went: {newest} {young}", known.id))?;
        let attempt = stage.attempts.get(&known.freight) == Some(&known.id) && freight(&known.freight);
        let needed = stage.history.contains(&known.id)
            || [&stage.last, &stage.running, &stage.verifying].into_iter().flatten().any(|one| *one == known.id)
            || stage.holds.values().flat_map(|hold| &hold.choice).any(|choice| choice.promotion == known.id);
        must(
            !promotion(&known.id) || newest || young || attempt || needed,
            format!("{} stayed without a reason", known.id),
        )?;
    }
    Ok(())
}

#[test]
fn a_long_past_is_let_go_in_a_few_events() {
    let pipeline =
        keeping(Retention::default(), [Shop::stage("dev").direct("main"), Shop::stage("prod").after("main", ["dev"])]);
    let mut fold = Fold::new(pipeline);
    for version in 0..10_000 {
        let id = fold.find("main", version);
        fold.promote("dev", &id);
    }
    fold.now += Duration::from_secs(30 * 24 * 3600);
    let events = fold.collect();
    assert!((20..=100).contains(&events), "{events} events");
    assert_eq!((fold.freight().len(), fold.state.promotions().count()), (20, 20));
    assert!(collect(&fold.pipeline, &fold.state, fold.now).is_none());
}

async fn collections(engine: &Engine) -> Vec<(usize, usize)> {
    let journal = engine.journal().await.expect("reads");
    let counts = journal.iter().filter_map(|event| match &event.kind {
        EventKind::Collected { freight, promotions } => Some((freight.len(), promotions.len())),
        _ => None,
    });
    counts.collect()
}

/// The engine lets go by itself, once an hour and only when something has happened; the audit trail keeps what went.
#[tokio::test(start_paused = true)]
async fn the_engine_lets_go_of_the_past_and_its_journal_does_not() {
    let shop = Shop::new();
    let pipeline = || keeping(retention(2, 2, 0), [Shop::stage("dev").direct("main").auto_promote()]);
    let engine = shop.start(pipeline()).await;
    verified(&engine, "dev", "1.0.0").await;
    let first = engine.read(|state| state.promotions().next().map(|found| found.id.clone())).expect("promoted");
    for version in 1..20 {
        shop.source.publish(format!("1.0.{version}"));
        verified(&engine, "dev", &format!("1.0.{version}")).await;
    }
    an_hour().await;
    let (freight, promotions) = engine.read(|state| (state.freight().count(), state.promotions().count()));
    assert_eq!((freight, promotions), (10, 10), "the history of the stage stays for a rollback");
    assert_eq!(collections(&engine).await, [(10, 10)]);
    assert!(engine.read(|state| state.promotion(&first).is_none()));
    let journal = engine.journal().await.expect("reads");
    let ended = |event: &&Event| matches!(&event.kind, EventKind::PromotionFinished { promotion, phase: Phase::Succeeded, .. } if *promotion == first);
    assert_eq!(journal.iter().filter(ended).count(), 1, "the audit trail has it");
    assert_eq!(engine.finished(&first).await.expect_err("gone").kind(), ErrorKind::NotFound);

    // An idle pipeline does nothing.
    let head = engine.read(State::seq);
    tokio::time::sleep(Duration::from_secs(3 * 24 * 3600)).await;
    assert_eq!(engine.read(State::seq), head);
    engine.shutdown().await.expect("stops");
    let engine = shop.start(pipeline()).await;
    let mut replayed = State::new();
    for event in engine.journal().await.expect("reads") {
        replayed.apply(&event).expect("follows");
    }
    engine.read(|state| assert_eq!(*state, replayed));
}

/// What a look still finds newest is not let go, so it does not come back as new: not what was made last, and not what was newest
/// before and is again, since the newer one was withdrawn.
#[tokio::test(start_paused = true)]
async fn freight_that_is_still_on_offer_does_not_come_back_as_new() {
    let shop = Shop::new();
    let pipeline = || keeping(retention(0, 0, 0), [Shop::stage("dev").direct("main")]);
    let engine = shop.start(pipeline()).await;
    let first = freight(&engine, "1.0.0").await;
    shop.source.publish("1.1.0");
    let second = freight(&engine, "1.1.0").await;
    engine.shutdown().await.expect("stops");

    // 1.1.0 is withdrawn before its predecessor is let go.
    let shop = Shop { source: ScriptedSource::versions(["0.1.0", "0.2.0", "1.0.0"]), ..shop };
    let held = keeping(retention(0, 2, 0), [Shop::stage("dev").direct("main")]);
    let engine = shop.start(held).await;
    an_hour().await;
    let offered = engine.read(|state| state.warehouse(&"main".into()).and_then(|known| known.offered.clone()));
    assert_eq!(offered, Some(first.clone()));
    engine.shutdown().await.expect("stops");
    let engine = shop.start(pipeline()).await;
    shop.source.publish("1.0.0");
    an_hour().await;
    an_hour().await;
    for id in [&first, &second] {
        assert!(engine.read(|state| state.freight_by_id(id).is_some()), "on offer, and made last");
    }
    let journal = engine.journal().await.expect("reads");
    let found = journal.iter().filter(|event| matches!(event.kind, EventKind::FreightFound { .. })).count();
    let offers = journal.iter().filter(|event| matches!(event.kind, EventKind::FreightOffered { .. })).count();
    assert_eq!((found, offers), (2, 1));
}

/// Definitions of before there was a retention keep what Kargo keeps.
#[test]
fn a_definition_without_a_retention_has_kargos_numbers() {
    let plain = serde_json::to_value(Shop::pipeline()).expect("writes");
    assert!(plain.get("retention").is_none(), "{plain}");
    let read: Pipeline = serde_json::from_value(plain).expect("reads");
    assert_eq!(read.retention(), &Retention::default());
    let other = keeping(retention(1, 2, 3), [Shop::stage("dev").direct("main")]);
    let back: Pipeline = serde_json::from_value(serde_json::to_value(&other).expect("writes")).expect("reads");
    assert_eq!((back.retention(), back == other), (&retention(1, 2, 3), true));
}
