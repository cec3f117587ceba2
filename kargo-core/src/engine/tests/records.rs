//! What steps note of stages and freight.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::*;
use crate::plugin::{Context, Record, Step, StepOutcome, StepRequest};
use crate::state::{EventKind, Promotion};

/// Notes what its configuration says, and puts out what it was given to read.
#[derive(Debug)]
struct Note;

#[async_trait]
impl Step for Note {
    async fn run(&self, _: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let text = |key: &str| request.config[key].as_str().unwrap_or_default();
        let values = || request.config["values"].as_object().cloned().unwrap_or_default();
        match text("kind") {
            "Stage" => request.record(Record::StageMetadata { stage: text("name").into(), values: values() }),
            "Freight" => request.record(Record::FreightMetadata { freight: text("name").into(), values: values() }),
            "Alias" => {
                request.record(Record::FreightAlias { freight: text("name").into(), alias: text("alias").into() })
            }
            _ => {}
        }
        if request.config.get("fail").is_some() {
            return Err(Error::new(ErrorKind::InvalidInput, "It is not to be."));
        }
        let outputs = request.config.get("read").map(|read| ("read".to_owned(), read.clone())).into_iter();
        Ok(StepOutcome::Succeeded { outputs: outputs.collect::<Map<String, Value>>(), message: String::new() })
    }
}

async fn run(shop: &Shop, configs: &[Value]) -> (Engine, Promotion) {
    let stage = configs.iter().fold(Stage::new("dev").direct("main"), |stage, config| {
        stage.step(StepSpec::new("note", config.clone()).always())
    });
    let engine = shop.start_with(Shop::of([stage]), Plugins::builder().step("note", Note)).await;
    let id = engine.promote("dev", &freight(&engine, "1.0.0").await, Actor::user("alice")).await.expect("allowed");
    let ended = engine.finished(&id).await.expect("ends");
    (engine, ended)
}

const ME: &str = "${{ ctx.targetFreight.name }}";

#[tokio::test(start_paused = true)]
async fn metadata_is_kept_key_by_key_and_read_by_later_steps_and_after_a_restart() {
    let shop = Shop::new();
    let configs = [
        json!({ "kind": "Stage", "name": "dev", "values": { "a": 1, "b": { "x": true } } }),
        json!({ "kind": "Stage", "name": "dev", "values": { "b": { "y": false } } }),
        json!({ "kind": "Freight", "name": ME, "values": { "ticket": "OPS-1" } }),
        json!({ "kind": "Stage", "name": "dev", "values": { "lost": 1 }, "fail": true }),
        json!({ "read": "${{ stageMetadata('dev') }}" }),
        json!({ "read": format!("${{{{ freightMetadata(ctx.targetFreight.name).ticket }}}}") }),
        json!({ "read": "${{ keys(freightStatus(ctx.targetFreight.name)) }}" }),
        json!({ "read": "${{ stageMetadata('prod') == nil && freightMetadata('nobody') == nil }}" }),
    ];
    let (engine, ended) = run(&shop, &configs).await;
    let read = |place: usize| &ended.steps[place].task.outputs["read"];
    assert_eq!(read(4), &json!({ "a": 1, "b": { "y": false } }), "{:?}", ended.steps[4].task);
    assert_eq!(read(5), "OPS-1");
    assert_eq!(read(6), &json!(["approvedFor", "currentlyIn", "metadata", "verifiedIn"]));
    assert_eq!(read(7), &json!(true));
    let lines: Vec<String> = engine.journal().await.unwrap().iter().map(|event| event.kind.to_string()).collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("metadata ")).count(), 3, "{lines:?}");
    engine.shutdown().await.unwrap();
    let (engine, _) = run(&shop, &configs[4..5]).await;
    let kept = engine.read(|state| state.stage(&"dev".into()).unwrap().metadata.clone());
    assert_eq!(json!(kept), json!({ "a": 1, "b": { "y": false } }));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_noted_fails_the_step_and_notes_nothing() {
    for (config, wanted) in [
        (json!({ "kind": "Stage", "name": "dv", "values": { "a": 1 } }), "Did you mean \"dev\"?"),
        (json!({ "kind": "Freight", "name": "nobody", "values": { "a": 1 } }), "does not exist"),
        (json!({ "kind": "Alias", "name": ME, "alias": "not good" }), "cannot be called"),
        (json!({ "kind": "Stage", "name": "dev", "values": { "a": "x".repeat(300_000) } }), "at most 262144 are kept"),
    ] {
        let (engine, ended) = run(&Shop::new(), &[config]).await;
        assert_eq!(ended.phase, Phase::Failed);
        assert!(ended.steps[0].task.message.contains(wanted), "{}", ended.steps[0].task.message);
        let noted = |event: &crate::state::Event| {
            matches!(event.kind, EventKind::MetadataSet { .. } | EventKind::AliasSet { .. })
        };
        assert!(!engine.journal().await.unwrap().iter().any(noted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_can_give_freight_another_alias() {
    let (engine, ended) = run(&Shop::new(), &[json!({ "kind": "Alias", "name": ME, "alias": "golden-goose" })]).await;
    assert_eq!(ended.phase, Phase::Succeeded, "{}", ended.message);
    assert_eq!(engine.read(|state| state.alias_holder("golden-goose").cloned()), Some(ended.freight));
}
