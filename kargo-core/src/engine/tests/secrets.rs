//! Servers that answer with what they were sent, in another form than they were sent it.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::*;
use crate::plugin::{Context, Record, Step, StepOutcome, StepRequest, Verdict, Verifier, VerifyRequest};
use crate::state::Promotion;

const USER: &str = "deploy-bot";
const PASSWORD: &str = "hunter2-secret";
const FORGE: &str = "https://forge.example/acme";

/// A server that tells all about the header that it was sent: its halves, what is in it decoded, its beginning.
#[derive(Debug)]
struct Talkative;

fn told(config: &Value) -> Value {
    let header = config["header"].as_str().unwrap_or_default();
    let last = header.rsplit(' ').next().unwrap_or_default();
    let decoded = STANDARD.decode(last).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    json!({ "credentials": last, "decoded": decoded, "parts": decoded.split(':').collect::<Vec<_>>(), "flag": "is true", "link": format!("{FORGE}/pull/7") })
}

#[async_trait]
impl Step for Talkative {
    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let told = told(request.config);
        cx.progress(format!("The server says {told}."));
        if request.config.get("fails").is_some() {
            return Err(Error::new(ErrorKind::InvalidInput, format!("The server refuses {told}.")));
        }
        if request.config.get("waits").is_some() && !request.resumed {
            let check_after = Duration::from_secs(60);
            return Ok(StepOutcome::Running { reason: format!("not yet {told}"), check_after, state: Some(told) });
        }
        let values = [("told".to_owned(), told.clone())].into_iter().collect();
        request.record(Record::StageMetadata { stage: request.promotion.stage.clone(), values });
        let outputs = told.as_object().cloned().unwrap_or_default();
        Ok(StepOutcome::Succeeded { outputs, message: format!("it said {told}") })
    }
}

#[async_trait]
impl Verifier for Talkative {
    async fn verify(&self, _: &Context, request: &VerifyRequest<'_>) -> Result<Verdict> {
        Ok(Verdict::Pass { evidence: told(request.config).to_string() })
    }
}

async fn run(stage: Stage) -> (Promotion, String) {
    let plugins = Plugins::builder().step("ask", Talkative).verifier("ask", Talkative).data(Data::secret([
        ("user", USER),
        ("password", PASSWORD),
        ("url", FORGE),
        ("flag", "true"),
    ]));
    let engine = Shop::new().start_with(Shop::of([stage.direct("main")]), plugins).await;
    let id = engine.promote("dev", &freight(&engine, "1.0.0").await, Actor::user("alice")).await.unwrap();
    let ended = engine.finished(&id).await.unwrap();
    (ended, serde_json::to_string(&engine.journal().await.unwrap()).unwrap())
}

fn ask(config: Value) -> StepSpec {
    StepSpec::new("ask", config)
}

#[track_caller]
fn assert_silent(what: &str, written: &str) {
    let encoded = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for secret in [PASSWORD, &encoded] {
        assert!(!written.contains(secret), "{what}: {secret} in {written}");
    }
    assert!(written.contains("***"), "{what}: {written}");
}

const BASIC: [(&str, &str); 5] = [
    ("beside a prefix", "Basic ${{ toBase64(secret('x').user + ':' + secret('x').password) }}"),
    ("behind a prefix in the expression", "${{ 'Basic ' + toBase64(secret('x').user + ':' + secret('x').password) }}"),
    ("by an index, in a closure", "${{ map(['password'], 'Basic ' + toBase64('u:' + secret('x')[#]))[0] }}"),
    (
        "in a local",
        "${{ let entries = secret('x'); 'Basic ' + toBase64(get(entries, 'user') + ':' + entries.password) }}",
    ),
    ("made of all of it", "Basic ${{ toBase64(join(map(keys(secret('x')), secret('x')[#]), ':')) }}"),
];

#[tokio::test(start_paused = true)]
async fn what_a_server_makes_of_a_secret_is_masked_in_outputs_messages_and_the_journal() {
    for (what, header) in BASIC {
        let (ended, journal) = run(Stage::new("dev").step(ask(json!({ "header": header })))).await;
        assert_eq!(ended.phase, Phase::Succeeded, "{what}: {ended:?}");
        assert_silent(what, &journal);
        let task = &ended.steps[0].task;
        assert_silent(what, &Value::Object(task.outputs.clone()).to_string());
        assert_silent(what, &task.message);
        assert_eq!(task.outputs["credentials"], "***", "{what}");
        assert_eq!(task.outputs["flag"], "is true", "{what}: a word that is everywhere");
        if what != "made of all of it" {
            assert_eq!(task.outputs["link"], format!("{FORGE}/pull/7"), "{what}: what was not read is no secret here");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_variable_was_made_of_is_masked_where_the_variable_is_read() {
    let made = "${{ toBase64(secret('x').user + ':' + secret('x').password) }}";
    for header in
        ["Basic ${{ vars.basic }}", "${{ 'Basic ' + vars.basic }}", "Basic ${{ vars['basic'] }}", "${{ vars.again }}"]
    {
        let step = ask(json!({ "header": header })).var("basic", made).var("again", "Basic ${{ vars.basic }}");
        let (ended, journal) = run(Stage::new("dev").step(step)).await;
        assert_eq!(ended.phase, Phase::Succeeded, "{header}: {ended:?}");
        assert_silent(header, &journal);
        assert_eq!(ended.steps[0].task.outputs["parts"], json!(["***", "***"]), "{header}");
    }
    let step = ask(json!({ "header": "${{ vars.open }}" })).var("basic", made).var("open", "deploy-bot");
    let (ended, _) = run(Stage::new("dev").step(step)).await;
    assert_eq!(ended.steps[0].task.outputs["credentials"], USER, "a variable that nobody reads hides nothing");
}

#[tokio::test(start_paused = true)]
async fn what_a_server_makes_of_a_secret_is_masked_in_errors_while_it_waits_and_in_verdicts() {
    let (_, header) = BASIC[0];
    let (ended, journal) = run(Stage::new("dev").step(ask(json!({ "header": header, "fails": true })))).await;
    assert_ne!(ended.phase, Phase::Succeeded);
    assert_silent("an error", &journal);
    assert_silent("its message", &ended.steps[0].task.message);
    let (ended, journal) = run(Stage::new("dev").step(ask(json!({ "header": header, "waits": true })))).await;
    assert_eq!(ended.phase, Phase::Succeeded);
    assert_silent("a state, and what it waits for", &journal);
    let (ended, journal) =
        run(Stage::new("dev").step(StepSpec::new("ask", json!({}))).verify("ask", json!({ "header": header }))).await;
    assert_eq!(ended.phase, Phase::Succeeded);
    assert_silent("a verdict", &journal);
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_secret_are_masked() {
    for header in [
        "Bearer ${{ split(secret('x').password, '-')[0] }}",
        "Bearer ${{ secret('x').password[0:7] }}",
        "Bearer ${{ secret('x').password | trimSuffix('-secret') }}",
    ] {
        let (ended, journal) = run(Stage::new("dev").step(ask(json!({ "header": header })))).await;
        assert_eq!(ended.phase, Phase::Succeeded, "{header}: {ended:?}");
        assert!(!journal.contains("hunter2"), "{header}: {journal}");
    }
}
