//! Configurations, conditions and variables with expressions, from the promotion to the plug-in.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::Value;

use super::*;
use crate::name::PipelineName;
use crate::plugin::{Context, ProjectData, Step, StepOutcome, StepRequest, Verdict, Verifier, VerifyRequest};
use crate::state::Promotion;

/// Puts out its configuration. What it got is kept.
#[derive(Debug, Clone, Default)]
struct Echo(Arc<Mutex<Vec<Value>>>);

impl Echo {
    fn got(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Step for Echo {
    fn validate(&self, config: &Value) -> Result<()> {
        if config.get("refused").is_some_and(|refused| refused == true) {
            return Err(Error::new(ErrorKind::InvalidInput, "The field \"refused\" must not be true."));
        }
        Ok(())
    }

    fn takes_text(&self, pointer: &str) -> bool {
        pointer == "/tag"
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        self.0.lock().unwrap().push(request.config.clone());
        cx.progress(format!("got {}", request.config));
        if request.config.get("wait").is_some() {
            let check_after = Duration::from_secs(60);
            return Ok(StepOutcome::Running { reason: "waits".into(), check_after, state: None });
        }
        if let Some(failure) = request.config.get("fail") {
            return Err(Error::new(ErrorKind::InvalidInput, format!("Nobody takes {failure}.")));
        }
        let outputs = request.config.as_object().cloned().unwrap_or_default();
        Ok(StepOutcome::Succeeded { outputs, message: format!("put out {}", request.config) })
    }

    async fn abort(&self, _: &Context, request: &StepRequest<'_>) -> Result<()> {
        self.0.lock().unwrap().push(json!({ "aborted": request.config }));
        Ok(())
    }
}

#[async_trait]
impl Verifier for Echo {
    async fn verify(&self, _: &Context, request: &VerifyRequest<'_>) -> Result<Verdict> {
        self.0.lock().unwrap().push(request.config.clone());
        Ok(Verdict::Pass { evidence: String::new() })
    }
}

/// A project with one secret and one config map, which counts how often it is asked.
#[derive(Debug, Clone, Default)]
struct Vault(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl ProjectData for Vault {
    async fn secret(
        &self,
        _: &Context,
        project: &PipelineName,
        name: &str,
        shared: bool,
    ) -> Result<Option<BTreeMap<String, SecretString>>> {
        self.0.lock().unwrap().push(format!("{project}/{name}/{shared}"));
        let entries = [("token", "hunter2-secret"), ("url", "https://forge.example/acme"), ("pin", "48392017")];
        let entries = entries.map(|(key, value)| (key.to_owned(), SecretString::from(value))).into();
        Ok((name == "forge").then_some(entries))
    }

    async fn config_map(
        &self,
        _: &Context,
        _: &PipelineName,
        name: &str,
        _: bool,
    ) -> Result<Option<BTreeMap<String, String>>> {
        self.0.lock().unwrap().push(name.to_owned());
        Ok(Some([("region".to_owned(), "eu".to_owned())].into()))
    }
}

struct World {
    shop: Shop,
    echo: Echo,
    check: Echo,
    vault: Vault,
}

impl World {
    fn with(version: &str) -> Self {
        let shop = Shop { source: crate::testing::ScriptedSource::versions([version]), ..Shop::new() };
        Self { shop, echo: Echo::default(), check: Echo::default(), vault: Vault::default() }
    }

    async fn run(&self, stage: Stage) -> (Engine, Promotion) {
        let subscription = Subscription::new("versions", json!({ "name": "app" })).named("app");
        let warehouse = Warehouse::new("main").subscribe(subscription);
        let pipeline =
            Pipeline::builder("shop").warehouse(warehouse).stage(stage.direct("main")).build().expect("valid");
        let plugins = Plugins::builder()
            .step("echo", self.echo.clone())
            .step("compose-output", self.echo.clone())
            .verifier("echo", self.check.clone())
            .data(self.vault.clone());
        let engine = self.shop.start_with(pipeline, plugins).await;
        let found = engine.until(|state| state.freight().next().map(|known| known.freight().id().clone()));
        let id = found.await.expect("found");
        let promotion = engine.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
        let ended = engine.finished(&promotion).await.expect("ends");
        (engine, ended)
    }
}

fn echo(config: Value) -> StepSpec {
    StepSpec::new("echo", config)
}

#[tokio::test(start_paused = true)]
async fn core_24_a_text_stays_a_text_where_one_is_wanted_and_in_variables() {
    for version in ["1.10", "1e10", "20240101", "1", "true", "0123"] {
        let world = World::with(version);
        let step = echo(json!({ "tag": "${{ vars.tag }}", "other": "${{ vars.n + 1 }}", "whole": "v${{ vars.tag }}" }))
            .var("tag", "${{ artifactFrom('app').Version }}")
            .var("n", "${{ 1 + 1 }}");
        let (_, ended) = world.run(Stage::new("dev").step(step)).await;
        assert_eq!(ended.phase, Phase::Succeeded, "{}", ended.message);
        assert_eq!(world.echo.got(), [json!({ "tag": version, "other": 3, "whole": format!("v{version}") })]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_sees_its_promotion_and_what_the_steps_before_it_put_out() {
    let world = World::with("1.0.0");
    let first = echo(json!({ "a": "${{ ctx.stage }}/${{ ctx.project }}", "by": "${{ ctx.meta.promotion.actor }}" }))
        .named("first");
    let second = echo(json!({
        "a": "${{ outputs.first.a }}",
        "freight": "${{ ctx.targetFreight.name }}",
        "origin": "${{ ctx.targetFreight.origin.name }}",
        "status": "${{ status('first') }}",
        "none": "${{ status('nobody') }}",
        "me": "${{ ctx.meta.step.alias }}",
        "rollback": "${{ ctx.meta.promotion.rollback }}",
    }))
    .named("second");
    let (_, ended) = world.run(Stage::new("dev").step(first).step(second)).await;
    let freight = ended.freight.as_str();
    assert_eq!(
        world.echo.got(),
        [
            json!({ "a": "dev/shop", "by": "user:alice" }),
            json!({
                "a": "dev/shop", "freight": freight, "origin": "main", "status": "Succeeded", "none": "", "me": "second",
                "rollback": false,
            }),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn steps_of_a_task_see_each_other_by_their_own_names_and_others_what_the_task_composes() {
    let world = World::with("1.0.0");
    let build = echo(json!({ "tag": "x" })).named("build::make");
    let compose = StepSpec::new(
        "compose-output",
        json!({ "tag": "${{ task.outputs.make.tag }}y", "was": "${{ status('make') }}" }),
    )
    .named("build::out");
    let after = echo(
        json!({ "tag": "${{ outputs.build.tag }}", "same": "${{ outputs['build::out'].tag }}", "task": "${{ task == nil }}" }),
    );
    let (_, ended) = world.run(Stage::new("dev").step(build).step(compose).step(after)).await;
    assert_eq!(ended.phase, Phase::Succeeded, "{}", ended.message);
    assert_eq!(
        world.echo.got()[1..],
        [json!({ "tag": "xy", "was": "Succeeded" }), json!({ "tag": "xy", "same": "xy", "task": true })]
    );
}

#[tokio::test(start_paused = true)]
async fn a_condition_is_evaluated_when_its_step_would_begin() {
    let run_if = |text: &str| Condition::Expression(text.to_owned());
    let world = World::with("1.0.0");
    let stage = Stage::new("dev")
        .step(echo(json!({ "go": false })).named("first"))
        .step(echo(json!({})).named("no").when(run_if("${{ outputs.first.go }}")))
        .step(echo(json!({ "fail": true })).named("bad").continue_on_error())
        .step(echo(json!({})).named("yes").when(run_if("${{ success() && status('bad') == 'Errored' }}")))
        .step(echo(json!({ "fail": true })).named("worse"))
        .step(echo(json!({})).named("left-out"))
        .step(echo(json!({})).named("clean").when(run_if("${{ failure() }}")))
        .step(
            echo(json!({})).named("either").when(Condition::Success.or(run_if("${{ vars.on == 'x' }}"))).var("on", "x"),
        )
        .step(echo(json!({})).named("odd").when(run_if("${{ 1 + 1 }}")).continue_on_error());
    let (_, ended) = world.run(stage).await;
    let phases: Vec<_> = ended.steps.iter().map(|step| (step.alias.as_str(), step.task.phase)).collect();
    use Phase::{Errored, Skipped, Succeeded};
    let wanted = [
        ("first", Succeeded),
        ("no", Skipped),
        ("bad", Errored),
        ("yes", Succeeded),
        ("worse", Errored),
        ("left-out", Skipped),
        ("clean", Succeeded),
        ("either", Succeeded),
        ("odd", Errored),
    ];
    assert_eq!(phases, wanted);
    assert_eq!(ended.steps[1].task.message, "its condition does not hold");
    assert!(ended.steps[8].task.message.contains("neither true nor false"), "{}", ended.steps[8].task.message);
}

#[tokio::test(start_paused = true)]
async fn after_an_abort_only_expressions_are_evaluated_that_ask_for_it() {
    let world = World::with("1.0.0");
    let waits = Scripted::always(crate::testing::Play::Wait(Duration::from_secs(5)));
    let run_if = |text: &str| Condition::Expression(text.to_owned());
    let stage = Stage::new("dev")
        .direct("main")
        .step(StepSpec::new("wait", json!({})).named("wait"))
        .step(echo(json!({})).named("not").when(run_if("${{ true }}")))
        .step(echo(json!({})).named("clean").when(run_if("${{ always() && status('wait') == 'Aborted' }}")));
    let plugins = Plugins::builder().step("echo", world.echo.clone()).step("wait", waits);
    let engine = world.shop.start_with(Shop::of([stage]), plugins).await;
    let id = engine.promote("dev", &freight(&engine, "1.0.0").await, Actor::user("alice")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    engine.abort(&id, Actor::user("bob")).await.unwrap();
    let ended = engine.finished(&id).await.unwrap();
    let phases: Vec<_> = ended.steps.iter().map(|step| step.task.phase).collect();
    assert_eq!((ended.phase, phases), (Phase::Aborted, vec![Phase::Aborted, Phase::Skipped, Phase::Succeeded]));
}

#[tokio::test(start_paused = true)]
async fn secrets_reach_the_plug_in_and_nothing_else() {
    let world = World::with("1.0.0");
    let secret = "${{ secret('forge').token }}";
    let stage = Stage::new("dev")
        .step(echo(json!({ "header": format!("Bearer {secret}"), "deep": [{ "x": secret }], "region": "${{ configMap('env').region }}" })))
        .step(echo(json!({ "fail": "${{ vars.token }}" })).var("token", secret))
        .step(echo(json!({ "none": "${{ sharedSecret('other').token == nil }}" })).always());
    let (engine, ended) = world.run(stage).await;
    let got = world.echo.got();
    assert_eq!(
        got[0],
        json!({ "header": "Bearer hunter2-secret", "deep": [{ "x": "hunter2-secret" }], "region": "eu" })
    );
    assert_eq!(got[1], json!({ "fail": "hunter2-secret" }));
    assert_eq!(ended.steps[0].task.outputs["header"], "***");
    assert!(ended.steps[1].task.message.contains("Nobody takes \"***\"."), "{}", ended.steps[1].task.message);
    let journal = serde_json::to_string(&engine.journal().await.unwrap()).unwrap();
    assert!(journal.contains("***") && !journal.contains("hunter2"), "{journal}");
    assert_eq!(*world.vault.0.lock().unwrap(), ["shop/forge/false", "env", "shop/forge/false", "shop/other/true"]);
}

#[tokio::test(start_paused = true)]
async fn what_expressions_make_of_secrets_is_masked_and_what_they_leave_alone_is_not() {
    let world = World::with("1.0.0");
    let step = echo(json!({
        "base64": "${{ toBase64(secret('forge').token) }}",
        "number": "${{ secret('forge').pin }}",
        "list": "${{ [secret('forge').pin + '0'] }}",
        "link": "https://forge.example/acme/pull/7",
    }));
    let (engine, ended) = world.run(Stage::new("dev").step(step)).await;
    let got = &world.echo.got()[0];
    assert_eq!((&got["base64"], &got["number"]), (&json!("aHVudGVyMi1zZWNyZXQ="), &json!(48_392_017)));
    let outputs = &ended.steps[0].task.outputs;
    assert_eq!(json!(outputs["base64"]), "***");
    assert_eq!((&outputs["number"], &outputs["list"]), (&json!("***"), &json!(["***"])));
    assert_eq!(outputs["link"], "https://forge.example/acme/pull/7", "what was not read is no secret here");
    let journal = serde_json::to_string(&engine.journal().await.unwrap()).unwrap();
    assert!(!journal.contains("48392017") && !journal.contains("aHVudGVy"), "{journal}");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_has_begun_goes_on_and_is_stopped_whatever_became_of_its_condition() {
    let world = World::with("1.0.0");
    let condition = Condition::Expression("${{ success() && now().Second() == 0 }}".into());
    let stage = Stage::new("dev").direct("main").step(echo(json!({ "wait": "${{ ctx.stage }}" })).when(condition));
    let plugins = Plugins::builder().step("echo", world.echo.clone());
    let engine = world.shop.start_with(Shop::of([stage]), plugins).await;
    let id = engine.promote("dev", &freight(&engine, "1.0.0").await, Actor::user("alice")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert_eq!(world.echo.got(), vec![json!({ "wait": "dev" }); 3]);
    engine.abort(&id, Actor::user("bob")).await.unwrap();
    let ended = engine.finished(&id).await.unwrap();
    assert_eq!(ended.phase, Phase::Aborted, "{}", ended.message);
    assert_eq!(world.echo.got().last(), Some(&json!({ "aborted": { "wait": "dev" } })));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_evaluated_ends_the_step_with_the_place_and_no_other_try() {
    let cases = [
        (json!({ "a": { "b": "${{ outputs.nobody.tag }}" } }), Phase::Errored, "/a/b"),
        (json!({ "a": "${{ freightMetadata(ctx.targetFreight.name).x }}" }), Phase::Errored, "/a"),
        (json!({ "refused": "${{ true }}" }), Phase::Failed, "must not be true"),
    ];
    for (config, phase, wanted) in cases {
        let world = World::with("1.0.0");
        let (_, ended) = world.run(Stage::new("dev").step(echo(config))).await;
        let task = &ended.steps[0].task;
        assert_eq!((task.phase, task.errors), (phase, 0), "{}", task.message);
        assert!(task.message.contains(wanted), "{}", task.message);
        assert!(world.echo.got().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_compile_is_refused_before_anything_runs() {
    let shop = Shop::new();
    let stage = Stage::new("dev")
        .direct("main")
        .step(echo(json!({ "a": "${{ imageForm('x').Tag }}" })))
        .step(echo(json!({})).when(Condition::Expression("${{ (1 }}".into())))
        .step(echo(json!({})).var("x", "${{"))
        .verify("echo", json!({ "arg": "${{ failure() }}" }));
    let plugins = Plugins::builder()
        .source("versions", shop.source.clone())
        .step("echo", Echo::default())
        .verifier("echo", Echo::default());
    let error = Engine::builder(Shop::of([stage]), plugins.build()).start().await.expect_err("refused").to_string();
    for part in [
        "step 1 (echo)",
        "imageFrom",
        "step 2 (echo)",
        "Its if",
        "step 3 (echo)",
        "variable \"x\"",
        "verifier \"echo\"",
        "failure",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn arguments_of_verifiers_are_evaluated_too() {
    let world = World::with("1.2.3");
    let mut spec =
        VerifierSpec::new("echo", json!({ "version": "${{ artifactFrom('app').Version }}", "url": "${{ vars.url }}" }));
    spec.vars = vec![Variable::new("url", "https://${{ ctx.stage }}.example")];
    let (_, ended) = world.run(Stage::new("dev").step(echo(json!({}))).verify_with(spec)).await;
    assert_eq!(ended.verifications[0].phase, Phase::Succeeded, "{}", ended.verifications[0].message);
    assert_eq!(world.check.got(), [json!({ "version": "1.2.3", "url": "https://dev.example" })]);
}
