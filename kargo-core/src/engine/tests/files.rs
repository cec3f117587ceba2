//! The workspace of a promotion: what steps leave to those behind them, whatever fails or dies in between.

use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::Value;

use super::*;
use crate::plugin::{Context, Step, StepOutcome, StepRequest};
use crate::state::Promotion;
use crate::testing::Play;

/// Appends a word to a file of the workspace, and puts out what is then in it. With a script it does so before it plays the next answer.
#[derive(Debug, Clone)]
struct Append {
    calls: Arc<Mutex<Vec<String>>>,
    plays: Arc<Mutex<Vec<Play>>>,
}

impl Append {
    fn new() -> Self {
        Self { calls: Arc::default(), plays: Arc::default() }
    }

    fn then(self, play: Play) -> Self {
        self.plays.lock().unwrap().push(play);
        self
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

#[async_trait]
impl Step for Append {
    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let word = request.config["word"].as_str().unwrap_or_default();
        let there = request.workspace().read(cx, "log").await?.unwrap_or_default();
        let text = format!("{}{word} ", String::from_utf8_lossy(&there));
        request.workspace().write(cx, "log", text.clone()).await?;
        let outputs = [("text".to_owned(), Value::from(text.trim_end()))].into_iter().collect();
        let how = if request.restored.is_some() { "again " } else { "" };
        self.calls
            .lock()
            .unwrap()
            .push(format!("{how}{word} under {}", cx.key().rsplit('/').next().unwrap_or_default()));
        if let Some(restored) = request.restored {
            assert_eq!(*restored, outputs, "it makes what it made");
            return Ok(StepOutcome::Succeeded { outputs, message: String::new() });
        }
        let play = {
            let mut plays = self.plays.lock().unwrap();
            if plays.is_empty() { Play::Succeed } else { plays.remove(0) }
        };
        match play {
            Play::Error(kind, message) => Err(Error::new(kind, message)),
            Play::Fail(reason) => Ok(StepOutcome::Failed { reason }),
            Play::Hang => std::future::pending().await,
            Play::Wait(check_after) => Ok(StepOutcome::Running { reason: "waits".into(), check_after, state: None }),
            _ => Ok(StepOutcome::Succeeded { outputs, message: String::new() }),
        }
    }
}

fn append(word: &str) -> StepSpec {
    StepSpec::new("append", json!({ "word": word })).named(word)
}

fn last(promotion: &Promotion) -> &Value {
    &promotion.steps.last().expect("a step").task.outputs["text"]
}

async fn start(shop: &Shop, step: &Append, steps: &[StepSpec]) -> Engine {
    let stage = steps.iter().cloned().fold(Stage::new("dev").direct("main"), Stage::step);
    let plugins = Plugins::builder().step("append", step.clone()).step("ship", shop.ship.clone());
    shop.start_with(Shop::of([stage]), plugins).await
}

async fn promote(engine: &Engine) -> PromotionId {
    engine.promote("dev", &freight(engine, "1.0.0").await, Actor::user("alice")).await.expect("allowed")
}

#[tokio::test(start_paused = true)]
async fn what_a_step_leaves_is_there_for_the_next_and_what_a_failed_call_did_is_not() {
    let shop = Shop::new();
    let step = Append::new()
        .then(Play::Succeed)
        .then(Play::Error(ErrorKind::Unavailable, "No answer.".into()))
        .then(Play::Wait(Duration::from_secs(5)))
        .then(Play::Succeed)
        .then(Play::Fail("no".into()));
    let steps =
        [append("a"), append("b"), append("c").continue_on_error(), StepSpec::new("ship", json!({})), append("d")];
    let engine = start(&shop, &step, &steps).await;
    let id = promote(&engine).await;
    let ended = engine.finished(&id).await.expect("ends");
    assert_eq!((ended.phase, last(&ended)), (Phase::Succeeded, &json!("a b d")));
    assert_eq!(step.calls().len(), 6, "nothing was done again in one process");
    let again = engine.finished(&promote(&engine).await).await.expect("ends");
    assert_eq!(last(&again), &json!("a b c d"), "each promotion has its own");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_steps_bring_back_what_they_did() {
    let shop = Shop::new();
    let step = Append::new().then(Play::Succeed).then(Play::Fail("no".into())).then(Play::Succeed).then(Play::Hang);
    let steps = [append("a"), append("b").continue_on_error(), append("c"), append("d")];
    let engine = start(&shop, &step, &steps).await;
    let id = promote(&engine).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(step.calls(), ["a under step-1", "b under step-2", "c under step-3", "d under step-4"]);
    engine.kill();
    drop(engine);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let engine = start(&shop, &step, &steps).await;
    let ended = engine.finished(&id).await.expect("ends");
    assert_eq!((ended.phase, last(&ended)), (Phase::Succeeded, &json!("a c d")));
    assert_eq!(step.calls(), ["again a under step-1", "again c under step-3", "d under step-4"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_at_any_event_ends_with_the_same_files() {
    let steps = [append("a"), StepSpec::new("ship", json!({})), append("b"), append("c")];
    let events = {
        let shop = Shop::new();
        let engine = start(&shop, &Append::new(), &steps).await;
        engine.finished(&promote(&engine).await).await.expect("ends");
        engine.read(State::seq)
    };
    for at in 1..=events {
        let (shop, step) = (Shop::new(), Append::new());
        let engine = start(&shop, &step, &steps).await;
        let id = promote(&engine).await;
        engine.until(|state| (state.seq() >= at).then_some(())).await.expect("gets there");
        engine.kill();
        drop(engine);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let engine = start(&shop, &step, &steps).await;
        let ended = engine.finished(&id).await.expect("ends");
        assert_eq!((ended.phase, last(&ended)), (Phase::Succeeded, &json!("a b c")), "killed at event {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_brought_back_is_an_error_that_says_so() {
    #[derive(Debug)]
    struct Once;
    #[async_trait]
    impl Step for Once {
        fn restores(&self) -> bool {
            true
        }
        async fn run(&self, _: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
            match request.restored {
                None => Ok(StepOutcome::succeeded()),
                Some(_) => Ok(StepOutcome::Failed { reason: "The archive is gone.".into() }),
            }
        }
    }
    let (shop, step) = (Shop::new(), Append::new().then(Play::Hang));
    let run = || async {
        let plugins = Plugins::builder().step("append", step.clone()).step("once", Once);
        let stage =
            Stage::new("dev").direct("main").step(StepSpec::new("once", json!({})).named("fetch")).step(append("a"));
        shop.start_with(Shop::of([stage]), plugins).await
    };
    let engine = run().await;
    let id = promote(&engine).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    engine.kill();
    drop(engine);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let ended = run().await.finished(&id).await.expect("ends");
    assert_eq!(ended.phase, Phase::Errored);
    assert!(
        ended.message.contains("What step fetch (once) did to the workspace")
            && ended.message.contains("The archive is gone."),
        "{}",
        ended.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_configuration_comes_to_something_else_after_a_restart_restores_nothing_wrong() {
    let alias = "${{ ctx.targetFreight.alias }}";
    for (renamed, phase) in [(false, Phase::Succeeded), (true, Phase::Errored)] {
        let (shop, step) = (Shop::new(), Append::new().then(Play::Succeed).then(Play::Hang));
        let steps = [append(alias).named("a"), append("b")];
        let engine = start(&shop, &step, &steps).await;
        let id = promote(&engine).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let freight = freight(&engine, "1.0.0").await;
        if renamed {
            engine.set_alias(&freight, "renamed", Actor::user("alice")).await.expect("it is free");
        }
        engine.kill();
        drop(engine);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let ended = start(&shop, &step, &steps).await.finished(&id).await.expect("ends");
        assert_eq!(ended.phase, phase, "{}", ended.message);
        if renamed {
            assert!(ended.message.contains("What step a (append)"), "{}", ended.message);
            assert!(ended.message.contains("promote the freight once more"), "{}", ended.message);
        }
    }
}

/// The journal has what a step put out without its secrets, and what it puts out when it does its work again is held against that.
#[tokio::test(start_paused = true)]
async fn a_step_that_wrote_a_secret_into_a_file_brings_it_back_after_a_restart() {
    for (step, path) in [("yaml-update", "values.yaml"), ("json-update", "values.json")] {
        let (shop, hangs) = (Shop::new(), Append::new().then(Play::Hang));
        let contents = if step == "yaml-update" { "password: x\n" } else { "{\"password\": \"x\"}" };
        let start = || async {
            let file = StepSpec::new("file-write", json!({ "path": path, "contents": contents }));
            let updates = json!([{ "key": "password", "value": "${{ secret('db').password }}" }]);
            let update = StepSpec::new(step, json!({ "path": path, "updates": updates })).named("update");
            let stage = Stage::new("dev").direct("main").step(file).step(update).step(append("a"));
            let plugins =
                crate::steps::builtin().step("append", hangs.clone()).data(Data::secret([("password", "ab\"cd\\ef")]));
            shop.start_with(Shop::of([stage]), plugins).await
        };
        let engine = start().await;
        let id = promote(&engine).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let journal = engine.journal().await.expect("reads");
        let journal = serde_json::to_string(&journal).expect("is JSON");
        assert!(journal.contains("password: ***") || journal.contains(r#"password: \"***\""#), "{step}: {journal}");
        assert!(!journal.contains("cd\\"), "{step}: {journal}");
        engine.kill();
        drop(engine);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let ended = start().await.finished(&id).await.expect("ends");
        assert_eq!(ended.phase, Phase::Succeeded, "{step}: {}", ended.message);
    }
}
