use serde_json::json;

use super::*;
use crate::pipeline::Retention;
use crate::stage::{FreightRequest, Stage, StepSpec};
use crate::warehouse::{Subscription, Warehouse};

fn stage(name: &str) -> Stage {
    let write = StepSpec::write("config", json!({})).timeout(Duration::from_secs(900));
    Stage::new(name).step(write).step(StepSpec::deploy("argocd", json!({}))).verify("smoke", json!({}))
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
        .stage(stage("dev").direct("main").direct("extra").auto_promote())
        .stage(stage("qa").direct("main"))
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
    let simulation = Simulation::new(pipeline());
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
