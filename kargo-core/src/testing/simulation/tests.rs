use serde_json::json;

use super::random::Random;
use super::*;
use crate::pipeline::{PipelineBuilder, Retention};
use crate::promotion::Phase;
use crate::stage::{AutoRollback, Condition, FreightRequest, Stage, StepSpec, VerifierSpec};
use crate::warehouse::{Subscription, Warehouse};

fn stage(name: &str) -> Stage {
    let write = StepSpec::write("config", json!({})).timeout(Duration::from_secs(900));
    Stage::new(name).step(write).step(StepSpec::deploy("argocd", json!({}))).verify("smoke", json!({}))
}

/// A stage with all that steps and verifiers can have.
fn elaborate(name: &str) -> Stage {
    Stage::new(name)
        .step(StepSpec::new("lint", json!({})).continue_on_error())
        .step(StepSpec::write("config", json!({})).named("write").timeout(Duration::from_secs(900)))
        .step(StepSpec::deploy("argocd", json!({})))
        .step(StepSpec::new("tell", json!({})).when(Condition::Failure))
        .step(StepSpec::new("close", json!({})).when(Condition::Always.and(Condition::status("write", Phase::Failed))))
        .step(StepSpec::new("clean", json!({})).always())
        .verify("smoke", json!({}))
        .verify_with(VerifierSpec::new("load", json!({})).with_previous())
        .verify("canary", json!({}))
}

/// What pipelines are made of: automatic stages and such by hand, several warehouses, soaking, a control-flow stage, all and any.
fn pipeline() -> Pipeline {
    keeping(Retention::default())
}

fn keeping(retention: Retention) -> Pipeline {
    let warehouse = |name: &str| Warehouse::new(name).subscribe(Subscription::new("image", json!({ "of": name })));
    Pipeline::builder("shop")
        .warehouse(warehouse("main").every(Duration::from_secs(60)))
        .warehouse(warehouse("extra").every(Duration::from_secs(90)))
        .stage(
            stage("dev")
                .direct("main")
                .direct("extra")
                .auto_promote()
                .supersede()
                .watch_health(Duration::from_secs(20)),
        )
        .stage(
            elaborate("qa")
                .direct("main")
                .auto_promote()
                .auto_rollback(AutoRollback::on_any_failure())
                .require_health(),
        )
        .stage(elaborate("shadow").request(FreightRequest::after("main", ["qa"]).match_upstream()).auto_promote())
        .stage(Stage::new("gate").after("main", ["dev"]))
        .stage(
            stage("soaked")
                .request(FreightRequest::after("main", ["gate"]).soak(Duration::from_secs(120)))
                .auto_promote(),
        )
        .stage(stage("prod").request(FreightRequest::after("main", ["dev", "qa"]).all()).after("extra", ["dev"]))
        .retention(retention)
        .build()
        .expect("a valid pipeline")
}

/// The same with a stage less, another more, and others changed.
fn redefined() -> Pipeline {
    let warehouse = |name: &str| Warehouse::new(name).subscribe(Subscription::new("image", json!({ "of": name })));
    Pipeline::builder("shop")
        .warehouse(warehouse("main").every(Duration::from_secs(60)))
        .warehouse(warehouse("extra").every(Duration::from_secs(90)))
        .stage(stage("dev").direct("main").direct("extra").auto_promote())
        .stage(stage("qa").direct("main"))
        .stage(stage("gate").after("main", ["dev"]))
        .stage(stage("late").after("main", ["gate"]).auto_promote())
        .stage(stage("prod").request(FreightRequest::after("main", ["dev", "qa", "gate"]).at_least(2)))
        .build()
        .expect("a valid pipeline")
}

/// How many seeds a plain test run takes; a longer run sets the variable.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    match number("KARGO_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KARGO_SIMULATION_SEEDS").unwrap_or(10_000),
    }
}

#[test]
fn whatever_goes_wrong_the_rules_hold_and_everything_ends() {
    let simulation = Simulation::new(pipeline()).redefining(redefined());
    let (mut crashes, mut promotions) = (0, 0);
    for seed in seeds() {
        let report = simulation.run(seed).unwrap_or_else(|violation| {
            panic!("{violation} KARGO_SIMULATION_SEED={seed} cargo test -p kargo-core --all-features --lib simulation")
        });
        crashes += report.crashes;
        promotions += report.promotions;
    }
    let runs = seeds().count();
    assert!(
        runs < 100 || (crashes > runs && promotions > runs),
        "{crashes} crashes, {promotions} promotions in {runs} runs"
    );
}

/// A pipeline drawn from `seed`: any shape that is valid.
fn drawn(seed: u64) -> Pipeline {
    let mut random = Random::new(seed);
    let warehouses = ["a", "b"];
    let warehouse = |name: &&str| {
        Warehouse::new(*name)
            .subscribe(Subscription::new("image", json!({ "of": name })))
            .every(Duration::from_secs(60))
    };
    let mut builder = warehouses.iter().map(warehouse).fold(Pipeline::builder("drawn"), PipelineBuilder::warehouse);
    // Which warehouses' freight the stages so far ask for, and whether freight merely passes there.
    let mut made: Vec<(String, Vec<&str>, bool)> = Vec::new();
    for number in 0..2 + random.below(7) {
        let name = format!("s{number}");
        let passes = random.below(5) == 0;
        let mut drawn = match (passes, random.below(4)) {
            (true, _) => Stage::new(name.as_str()),
            (false, 0) => elaborate(&name),
            (false, 1) => Stage::new(name.as_str()).step(StepSpec::new("ship", json!({}))),
            (false, _) => stage(&name),
        };
        let mut asked = Vec::new();
        for origin in warehouses {
            if !asked.is_empty() && random.below(3) > 0 {
                continue;
            }
            let upstream: Vec<&(String, Vec<&str>, bool)> =
                made.iter().filter(|made| made.1.contains(&origin)).collect();
            let upstream: Vec<_> = upstream.into_iter().filter(|_| random.below(2) == 0).collect();
            let names: Vec<&str> = upstream.iter().map(|made| made.0.as_str()).collect();
            let request = match (names.len(), random.below(5)) {
                (0, _) => FreightRequest::direct(origin),
                (1, 0) if !upstream[0].2 => FreightRequest::after(origin, names).match_upstream(),
                (_, 1) => FreightRequest::after(origin, names).all(),
                (count, 2) => FreightRequest::after(origin, names).at_least(1 + random.below(count)),
                (_, 3) => FreightRequest::after(origin, names).soak(Duration::from_secs(30 + random.below(300) as u64)),
                _ => FreightRequest::after(origin, names),
            };
            drawn = drawn.request(request);
            asked.push(origin);
        }
        if random.below(3) > 0 {
            drawn = drawn.auto_promote();
        }
        if random.below(3) == 0 {
            drawn = drawn.supersede();
        }
        if random.below(3) == 0 {
            drawn = drawn.auto_rollback(AutoRollback::on_any_failure());
        }
        builder = builder.stage(drawn);
        made.push((name, asked, passes));
    }
    builder.build().expect("drawn by the rules")
}

/// Of any pipeline: the rules hold, everything ends, and deciding on what an event affects is enough.
#[test]
fn the_rules_hold_for_pipelines_of_any_shape() {
    for seed in seeds().take(1_000) {
        let violation = |violation| panic!("pipeline {seed}: {violation}");
        Simulation::new(drawn(seed)).redefining(drawn(seed + 1)).run(seed).unwrap_or_else(violation);
    }
}

/// The past is let go at every start, as soon as nothing needs it.
#[test]
fn whatever_goes_wrong_the_rules_hold_with_a_short_memory() {
    let retention = Retention { promotions_per_stage: 0, freight_per_warehouse: 1, min_age: Duration::ZERO };
    let (short, long) = (Simulation::new(keeping(retention)), Simulation::new(pipeline()));
    let (mut left, mut all) = (0, 0);
    for seed in seeds().take(1_000) {
        left += short.run(seed).unwrap_or_else(|violation| panic!("{violation}")).promotions;
        all += long.run(seed).map_or(0, |report| report.promotions);
    }
    assert!(seeds().count() < 100 || left < all, "{left} promotions left of about {all}");
}

#[test]
fn without_trouble_a_run_is_quiet() {
    for seed in 0..50 {
        let report = Simulation::new(pipeline()).trouble(0).run(seed).expect("no rule is broken");
        assert!(report.events > 10, "{report:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let run = || Simulation::new(pipeline()).run(seed).expect("no rule is broken");
        assert_eq!(run(), run(), "seed {seed}");
    }
}
