//! What expressions find in a stage that takes freight of two warehouses, and every variable that a step sees.

use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::Value;

use super::*;
use crate::plugin::{Context, DiscoverRequest, Discovery, Source, Step, StepOutcome, StepRequest};
use crate::state::Promotion;

/// Finds the one artifact that its configuration is.
#[derive(Debug)]
struct Fixed;

#[async_trait]
impl Source for Fixed {
    async fn discover(&self, _: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        let config = request.config.clone();
        let artifact = match (config.get("id"), config.get("digest")) {
            (Some(_), _) => Artifact::Commit(serde_json::from_value(config).unwrap()),
            (_, Some(_)) => Artifact::Image(serde_json::from_value(config).unwrap()),
            _ => Artifact::Chart(serde_json::from_value(config).unwrap()),
        };
        Ok(Discovery::found(vec![artifact]))
    }
}

/// Keeps what it got.
#[derive(Debug, Clone, Default)]
struct Keep(Arc<Mutex<Vec<Value>>>);

#[async_trait]
impl Step for Keep {
    async fn run(&self, _: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        self.0.lock().unwrap().push(request.config.clone());
        if request.config.get("fails").is_some() {
            return Err(Error::new(ErrorKind::InvalidInput, "It was told to."));
        }
        let outputs = request.config.as_object().cloned().unwrap_or_default();
        Ok(StepOutcome::Succeeded { outputs, message: "kept".into() })
    }
}

/// A warehouse that watches the same three repositories as every other, and finds `version` in each.
fn warehouse(name: &str, version: &str) -> Warehouse {
    let subscribe = |config: Value| Subscription::new("fixed", config);
    Warehouse::new(name)
        .subscribe(subscribe(json!({
            "repoURL": "https://git.example/acme/app.git", "id": version.repeat(20), "branch": "main", "tag": version,
            "message": "Ship it", "author": "Ann <ann@acme.example>",
        })))
        .subscribe(subscribe(json!({
            "repoURL": "ghcr.io/acme/app", "tag": version, "digest": format!("sha256:{version}"), "annotations": {"team": name},
        })))
        .subscribe(subscribe(json!({"repoURL": "https://charts.example", "name": "app", "version": version})))
}

struct World {
    engine: Engine,
    keep: Keep,
}

impl World {
    async fn new(stage: Stage) -> Self {
        let (shop, keep) = (Shop::new(), Keep::default());
        let pipeline = Pipeline::builder("shop")
            .warehouse(warehouse("one", "1a"))
            .warehouse(warehouse("two", "2b"))
            .stage(stage.direct("one").direct("two"))
            .build()
            .unwrap();
        let plugins = Plugins::builder().source("fixed", Fixed).step("keep", keep.clone());
        Self { engine: shop.start_with(pipeline, plugins).await, keep }
    }

    /// Promotes the freight of a warehouse.
    async fn promote(&self, origin: &str) -> Promotion {
        let origin = crate::WarehouseName::from(origin);
        let found = self.engine.until(|state| Some(state.newest_first(&origin).next()?.freight().id().clone()));
        let id = self.engine.promote("dev", &found.await.unwrap(), Actor::user("alice")).await.unwrap();
        let ended = self.engine.finished(&id).await.unwrap();
        self.engine
            .until(|state| state.freight_by_id(&ended.freight)?.verified().contains_key("dev").then_some(()))
            .await
            .unwrap();
        ended
    }

    /// What an expression gives once freight of both warehouses is in the stage, or why it gives nothing.
    async fn of_both(expression: &str) -> std::result::Result<Value, String> {
        let config = json!({"x": format!("${{{{ {expression} }}}}")});
        let step = StepSpec::new("keep", json!({}));
        let world =
            Self::new(Stage::new("dev").step(step).step(StepSpec::new("keep", config).continue_on_error())).await;
        world.promote("one").await;
        let ended = world.promote("two").await;
        match ended.steps[1].task.phase {
            Phase::Succeeded => Ok(world.keep.0.lock().unwrap().last().unwrap()["x"].clone()),
            _ => Err(ended.steps[1].task.message.clone()),
        }
    }
}

const GIT: &str = "'https://git.example/acme/app'";
const IMAGE: &str = "'ghcr.io/acme/app'";
const CHART: &str = "'https://charts.example'";

#[tokio::test(start_paused = true)]
async fn an_artifact_that_two_warehouses_have_is_found_by_the_one_that_is_named() {
    for (expression, wanted) in [
        (format!("commitFrom({GIT}, warehouse('one')).ID"), json!("1a".repeat(20))),
        (format!("commitFrom({GIT}, warehouse('two')).Tag"), json!("2b")),
        (format!("imageFrom({IMAGE}, warehouse('one')).Digest"), json!("sha256:1a")),
        (format!("imageFrom({IMAGE}, warehouse('two')).Annotations['team']"), json!("two")),
        (format!("chartFrom({CHART}, 'app', warehouse('one')).Version"), json!("1a")),
        (format!("chartFrom({CHART}, warehouse('two')).Version"), json!("2b")),
        // What is not there is nil, with and without a warehouse.
        (format!("commitFrom({GIT}, warehouse('three')) == nil"), json!(true)),
        (format!("imageFrom({IMAGE}, warehouse('three'))"), json!(null)),
        ("commitFrom('https://git.example/acme/web')?.ID ?? 'none'".to_owned(), json!("none")),
        ("imageFrom('ghcr.io/acme/web')".to_owned(), json!(null)),
        (format!("chartFrom({CHART}, 'web', warehouse('one'))"), json!(null)),
        ("artifactFrom('app')".to_owned(), json!(null)),
    ] {
        assert_eq!(World::of_both(&expression).await, Ok(wanted), "{expression}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_name_an_artifact_of_two_warehouses_is_an_error_that_says_what_to_write() {
    for expression in [
        format!("commitFrom({GIT}).ID"),
        format!("imageFrom({IMAGE}).Tag"),
        format!("chartFrom({CHART}, 'app').Version"),
        format!("chartFrom({CHART}).Version"),
    ] {
        let error = World::of_both(&expression).await.expect_err(&expression);
        assert!(error.contains("Freight of several warehouses has"), "{error}");
        assert!(error.contains("warehouse(\"one\") or warehouse(\"two\"), as the last argument"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_artifact_that_one_piece_of_freight_has_twice_is_an_error_that_says_what_to_write() {
    let git = |id: &str| json!({"repoURL": "https://git.example/acme/app.git", "id": id.repeat(20)});
    let image = |tag: &str| json!({"repoURL": "ghcr.io/acme/app", "tag": tag, "digest": format!("sha256:{tag}")});
    let chart =
        |name: &str, version: &str| json!({"repoURL": "https://charts.example", "name": name, "version": version});
    for (expression, pair, way) in [
        (format!("commitFrom({GIT}).ID"), [git("1a"), git("2b")], "in a warehouse of its own"),
        (format!("imageFrom({IMAGE}, warehouse('one')).Tag"), [image("1a"), image("2b")], "in a warehouse of its own"),
        (
            format!("chartFrom({CHART}, 'app').Version"),
            [chart("app", "1"), chart("app", "2")],
            "in a warehouse of its own",
        ),
        (
            format!("chartFrom({CHART}).Version"),
            [chart("app", "1"), chart("web", "1")],
            "name the chart as the second argument, such as \"app\"",
        ),
    ] {
        let [stable, edge] = pair;
        let named = |name: &str, config: Value| Subscription::new("fixed", config).named(name);
        let warehouse = Warehouse::new("one").subscribe(named("stable", stable)).subscribe(named("edge", edge));
        let (shop, keep) = (Shop::new(), Keep::default());
        let step = StepSpec::new("keep", json!({"x": format!("${{{{ {expression} }}}}")}));
        let stage = Stage::new("dev").direct("one").step(step);
        let pipeline = Pipeline::builder("shop").warehouse(warehouse).stage(stage).build().unwrap();
        let plugins = Plugins::builder().source("fixed", Fixed).step("keep", keep.clone());
        let engine = shop.start_with(pipeline, plugins).await;
        let origin = crate::WarehouseName::from("one");
        let id = engine.until(|state| Some(state.newest_first(&origin).next()?.freight().id().clone())).await.unwrap();
        let id = engine.promote("dev", &id, Actor::user("alice")).await.unwrap();
        let ended = engine.finished(&id).await.unwrap();
        assert_ne!(ended.phase, Phase::Succeeded, "{expression}");
        let message = &ended.steps[0].task.message;
        assert!(message.contains("Freight of the warehouse \"one\" has"), "{message}");
        assert!(message.contains("more than once") && message.contains(way), "{message}");
        assert!(keep.0.lock().unwrap().is_empty(), "{expression}");
    }
}

#[tokio::test(start_paused = true)]
async fn as_long_as_one_warehouse_has_freight_in_the_stage_no_name_is_needed() {
    let config = json!({"tag": format!("${{{{ quote(imageFrom({IMAGE}).Tag) }}}}"), "other": format!("${{{{ imageFrom({IMAGE}, warehouse('one')) }}}}")});
    let world = World::new(Stage::new("dev").step(StepSpec::new("keep", config))).await;
    assert_eq!(world.promote("two").await.phase, Phase::Succeeded);
    assert_eq!(world.keep.0.lock().unwrap()[0], json!({"tag": "2b", "other": null}));
}

#[tokio::test(start_paused = true)]
async fn section_4_3_a_step_sees_every_variable() {
    let config = json!({
        "ctx": "${{ ctx }}",
        "vars": "${{ vars }}",
        "outputs": "${{ outputs }}",
        "task": "${{ task.outputs }}",
        "first": "${{ stepMetas.first }}",
        "bad": "${{ stepMetas['write::bad'] }}",
        "counted": "${{ stepMetas['write::bad'].ErrorCount + 1 }}",
        "took": "${{ stepMetas.first.FinishedAt >= stepMetas.first.StartedAt }}",
        "steps": "${{ sort(keys(stepMetas)) }}",
        "target": "${{ target == nil }}",
    });
    let stage = Stage::new("dev")
        .step(StepSpec::new("keep", json!({"n": 1})).named("first"))
        .step(StepSpec::new("keep", json!({"fails": true})).named("write::bad").continue_on_error())
        .step(StepSpec::new("keep", json!({"tag": "x"})).named("write::own"))
        .step(
            StepSpec::new("keep", config).named("write::all").var("a", "${{ ctx.stage }}").var("b", "${{ vars.a }}-b"),
        );
    let world = World::new(stage).await;
    let ended = world.promote("one").await;
    assert_eq!(ended.phase, Phase::Succeeded, "{}", ended.message);
    let got = world.keep.0.lock().unwrap().last().unwrap().clone();
    let alias = world
        .engine
        .read(|state| state.freight_by_id(&ended.freight).and_then(|known| known.alias().map(ToString::to_string)));
    assert_eq!(
        got["ctx"],
        json!({
            "uiBaseUrl": "", "project": "shop", "promotion": ended.id.as_str(), "stage": "dev",
            "targetFreight": {
                "name": ended.freight.as_str(), "alias": alias.unwrap_or_default(),
                "origin": {"kind": "Warehouse", "name": "one"},
            },
            "meta": {"promotion": {"actor": "user:alice", "rollback": false}, "step": {"alias": "write::all"}},
        })
    );
    assert_eq!(got["vars"], json!({"a": "dev", "b": "dev-b"}));
    assert_eq!(got["outputs"], json!({"first": {"n": 1}, "write::bad": {}, "write::own": {"tag": "x"}}));
    assert_eq!(got["task"], json!({"bad": {}, "own": {"tag": "x"}}));
    let (first, bad) = (&got["first"], &got["bad"]);
    assert_eq!(
        (&first["alias"], &first["status"], &first["message"]),
        (&json!("first"), &json!("Succeeded"), &json!("kept"))
    );
    assert_eq!((&first["continueOnError"], &first["errorCount"]), (&json!(false), &json!(0)));
    let started = ended.steps[0].task.started_at.unwrap().to_string();
    assert_eq!(first["startedAt"], json!(started));
    assert_eq!((&bad["status"], &bad["continueOnError"]), (&json!("Errored"), &json!(true)));
    assert!(bad["message"].as_str().unwrap_or_default().contains("It was told to."), "{bad}");
    assert_eq!(
        (&got["counted"], &got["took"], &got["target"]),
        (&json!(ended.steps[1].task.errors + 1), &json!(true), &json!(true))
    );
    assert_eq!(got["steps"], json!(["first", "write::bad", "write::own"]));
}
