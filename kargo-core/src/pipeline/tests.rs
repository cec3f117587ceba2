use serde_json::json;

use super::*;
use crate::stage::{FreightRequest, StepSpec};
use crate::warehouse::Subscription;

fn warehouse() -> Warehouse {
    Warehouse::new("main").subscribe(Subscription::new("image", json!({"repoURL": "r.example/app"})))
}

fn problems(builder: PipelineBuilder) -> Vec<Problem> {
    builder.build().expect_err("the pipeline is not valid").problems().to_vec()
}

#[test]
fn a_cycle_is_refused_by_its_members_in_order() {
    let found = problems(
        Pipeline::builder("p")
            .warehouse(warehouse())
            .stage(Stage::new("entry").direct("main"))
            .stage(Stage::new("a").after("main", ["c", "entry"]))
            .stage(Stage::new("b").after("main", ["a"]))
            .stage(Stage::new("c").after("main", ["b"])),
    );
    assert_eq!(found, [Problem::Cycle { members: vec!["a".into(), "b".into(), "c".into()] }]);
    assert!(found[0].to_string().contains("a -> b -> c -> a"));
}

#[test]
fn a_stage_that_waits_for_itself_is_a_cycle() {
    let found = problems(Pipeline::builder("p").warehouse(warehouse()).stage(Stage::new("a").after("main", ["a"])));
    assert_eq!(found, [Problem::Cycle { members: vec!["a".into()] }]);
}

#[test]
fn an_unknown_stage_is_named_with_its_near_match() {
    let error = Pipeline::builder("p")
        .warehouse(warehouse())
        .stage(Stage::new("staging").direct("main"))
        .stage(Stage::new("prod").after("main", ["stagin"]))
        .build()
        .expect_err("unknown stage");
    assert!(
        error.to_string().contains(
            r#"Stage "prod" takes freight from stage "stagin", which does not exist. Did you mean "staging"?"#
        ),
        "{error}"
    );
}

#[test]
fn every_problem_is_reported_in_one_pass() {
    let found = problems(
        Pipeline::builder("P")
            .warehouse(Warehouse::new("empty"))
            .stage(Stage::new("a").direct("man"))
            .stage(Stage::new("a").direct("empty"))
            .stage(Stage::new("b"))
            .stage(Stage::new("c").request(FreightRequest::after("empty", Vec::<&str>::new())))
            .stage(Stage::new("d").direct("empty").direct("empty"))
            .stage(
                Stage::new("e")
                    .after("empty", ["b"])
                    .step(StepSpec::new("x", json!({})).named("same"))
                    .step(StepSpec::new("x", json!({})).named("same"))
                    .step(StepSpec::new("x", json!({})).named("step-1")),
            ),
    );
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    for part in [
        r#"pipeline name "P""#,
        r#""empty" has no subscriptions"#,
        r#"two stages with the name "a""#,
        r#""b" asks for no freight"#,
        r#""c" asks for freight of warehouse "empty" but names no source"#,
        r#""d" asks for freight of warehouse "empty" twice"#,
        r#"two steps named "same""#,
        r#"names a step "step-1""#,
        "which does not ask for it",
    ] {
        assert!(texts.iter().any(|text| text.contains(part)), "{part:?} not in {texts:#?}");
    }
}

/// CORE-17: the same repository twice needs names, whatever the spelling of the URL.
#[test]
fn core_17_one_repository_twice_is_refused_unless_named() {
    let subscription = |url: &str| Subscription::new("image", json!({ "repoURL": url }));
    let pipeline = |second: Subscription| {
        Pipeline::builder("p")
            .warehouse(Warehouse::new("main").subscribe(subscription("docker.io/library/busybox")).subscribe(second))
            .stage(Stage::new("a").direct("main"))
    };
    let found = problems(pipeline(subscription("Busybox")));
    assert_eq!(found, [Problem::RepeatedSubscription { warehouse: "main".into(), first: 1, second: 2 }]);
    assert!(pipeline(subscription("busybox").named("other")).build().is_ok());
}

#[test]
fn a_pipeline_survives_the_way_through_json_and_is_checked_on_the_way_back() {
    let pipeline = Pipeline::builder("p")
        .warehouse(warehouse())
        .stage(Stage::new("dev").direct("main").auto_promote())
        .stage(Stage::new("b-prod").after("main", ["staging"]))
        .stage(Stage::new("staging").after("main", ["dev"]))
        .build()
        .expect("valid");
    let order: Vec<&str> = pipeline.stages_in_order().map(|stage| stage.name().as_str()).collect();
    assert_eq!(order, ["dev", "staging", "b-prod"]);
    let text = serde_json::to_string(&pipeline).expect("serialises");
    assert_eq!(serde_json::from_str::<Pipeline>(&text).expect("parses"), pipeline);
    let error = serde_json::from_str::<Pipeline>(
        &text.replace(r#""dev""#, r#""dv""#).replace("\"name\":\"dv\"", "\"name\":\"dev\""),
    )
    .expect_err("a dangling reference");
    assert!(error.to_string().contains("Did you mean"), "{error}");
}

#[test]
fn a_password_in_a_configuration_is_refused_and_not_repeated() {
    let url = "https://bot:s3cret@git.example/config";
    let warehouse = Warehouse::new("main").subscribe(Subscription::new("git", json!({"nested": [{"repoURL": url}]})));
    let stage =
        Stage::new("a").direct("main").step(StepSpec::new("x", json!({ "url": url }))).verify("v", json!([url]));
    let error = Pipeline::builder("p").warehouse(warehouse).stage(stage).build().expect_err("secrets");
    assert_eq!(error.problems().len(), 3, "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[test]
fn subscriptions_of_a_host_s_own_kind_are_told_apart_by_their_configuration() {
    let subscription = |train: &str| Subscription::new("daily", json!({ "train": train }));
    let pipeline = |second: Subscription| {
        let warehouse = Warehouse::new("main").subscribe(subscription("a").named("one")).subscribe(second);
        Pipeline::builder("p").warehouse(warehouse).stage(Stage::new("a").direct("main")).build()
    };
    assert!(pipeline(subscription("b")).is_ok());
    assert!(pipeline(subscription("b").named("one")).is_err(), "one name twice");
    assert!(pipeline(subscription("b").named("")).is_err(), "an empty name");
}

#[test]
fn a_pipeline_of_twenty_thousand_stages_in_a_row_is_no_deep_stack() {
    let first = Stage::new("s0").direct("main");
    let builder = Pipeline::builder("p").warehouse(warehouse()).stage(first);
    let rest = (1..20_000).map(|n| Stage::new(format!("s{n}")).after("main", [format!("s{}", n - 1)]));
    let pipeline = rest.fold(builder, PipelineBuilder::stage).build().expect("valid");
    assert_eq!(pipeline.stages_in_order().last().map(|stage| stage.name().as_str()), Some("s19999"));
}
