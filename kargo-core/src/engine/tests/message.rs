//! `send-message`, through a messenger of the host's, and where people look at pipelines.

use super::*;
use crate::state::Promotion;
use crate::steps::{builtin, send_message};
use crate::testing::Outbox;

fn say(message: &str) -> StepSpec {
    let channel = json!({ "kind": "MessageChannel", "name": "releases" });
    StepSpec::new("send-message", json!({ "channel": channel, "message": message }))
}

async fn run(outbox: &Outbox, steps: impl IntoIterator<Item = StepSpec>) -> (Engine, Promotion) {
    let shop = Shop::new();
    let stage = steps.into_iter().fold(Stage::new("dev").direct("main"), Stage::step);
    let plugins =
        builtin().step("send-message", send_message(outbox.clone())).data(Data::secret([("token", "hunter2-secret")]));
    let engine = shop.start_with(Shop::of([stage]), plugins).await;
    let id = engine.promote("dev", &freight(&engine, "1.0.0").await, Actor::user("alice")).await.expect("allowed");
    let ended = engine.finished(&id).await.expect("ends");
    (engine, ended)
}

#[tokio::test(start_paused = true)]
async fn messages_are_sent_and_later_ones_continue_their_thread() {
    let outbox = Outbox::new();
    let mut reply = say("done");
    reply.config["slack"] = json!({ "threadTS": "${{ outputs.first.slack.threadTS }}" });
    let mut blocks = say("text: \"${{ ctx.stage }}\"\nblocks: [{type: divider}]");
    blocks.config["encodingType"] = json!("yaml");
    let (_, ended) = run(&outbox, [say("${{ ctx.stage }} gets 1.10").named("first"), reply, blocks]).await;
    assert_eq!(ended.phase, Phase::Succeeded, "{}", ended.message);
    let sent = outbox.sent();
    assert_eq!(sent.iter().map(|one| one.text.as_str()).take(2).collect::<Vec<_>>(), ["dev gets 1.10", "done"]);
    assert_eq!((sent[0].thread.as_str(), sent[1].thread.as_str()), ("thread-1", "thread-1"));
    assert_eq!(sent[2].payload, Some(json!({ "text": "dev", "blocks": [{ "type": "divider" }] })));
    assert_eq!(ended.steps[0].task.outputs["slack"]["threadTS"], "thread-1");
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_answer_was_lost_is_seen_once() {
    let outbox = Outbox::new()
        .then_refuse(ErrorKind::Unavailable, "The chat is away.")
        .then_lose_answer(ErrorKind::Timeout, "The chat did not answer.");
    let (_, ended) = run(&outbox, [say("hello"), say("hello")]).await;
    assert_eq!((ended.phase, outbox.calls()), (Phase::Succeeded, 4));
    let ids: Vec<String> = outbox.sent().into_iter().map(|sent| sent.id).collect();
    assert_eq!(ids, [format!("{}/step-1", ended.id), format!("{}/step-2", ended.id)], "two steps are two messages");
}

#[tokio::test(start_paused = true)]
async fn what_another_try_cannot_mend_ends_the_step() {
    let outbox = Outbox::new().then_refuse(ErrorKind::PermissionDenied, "The robot is not in the room.");
    let (_, ended) = run(&outbox, [say("hello")]).await;
    assert_eq!((ended.phase, outbox.calls()), (Phase::Errored, 1));
    let mut broken = say("{\"a\": ");
    broken.config["encodingType"] = json!("json");
    let (_, ended) = run(&Outbox::new(), [broken]).await;
    assert_eq!(ended.phase, Phase::Failed);
    assert!(ended.message.contains("`message` is not what `encodingType`"), "{}", ended.message);
}

#[tokio::test(start_paused = true)]
async fn secrets_in_a_message_are_written_down_nowhere() {
    let outbox = Outbox::new().then_refuse(ErrorKind::Unavailable, "Cannot say \"token hunter2-secret\".");
    let (engine, ended) = run(&outbox, [say("token ${{ secret('chat').token }}")]).await;
    assert_eq!((ended.phase, outbox.sent()[0].text.as_str()), (Phase::Succeeded, "token hunter2-secret"));
    let journal = serde_json::to_string(&engine.journal().await.expect("reads")).expect("is JSON");
    assert!(journal.contains("The chat is away") || journal.contains("***"), "{journal}");
    assert!(!journal.contains("hunter2"), "{journal}");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_there_is_not_and_a_messenger_that_there_is_not_are_told_at_the_start() {
    let pipeline = Shop::of([Stage::new("dev").direct("main").step(say("hello"))]);
    let source = Shop::new().source;
    let outbox = Outbox::new().channels(["deploys"]);
    let plugins = builtin().source("versions", source.clone()).step("send-message", send_message(outbox)).build();
    let refused = plugins.check(&pipeline).expect_err("no such channel");
    assert!(refused.to_string().contains("no channel \"releases\"; there are deploys"), "{refused}");
    let refused = builtin().source("versions", source).build().check(&pipeline).expect_err("no messenger");
    assert!(refused.to_string().contains("register steps::send_message with a messenger"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn expressions_know_where_people_look() {
    let shop = Shop::new();
    let echo = StepSpec::new("compose-output", json!({ "page": "${{ ctx.uiBaseUrl }}/project/${{ ctx.project }}" }));
    let plugins = || builtin().source("versions", shop.source.clone()).build();
    for (url, page) in
        [(Some("https://kargo.example/ui/"), "https://kargo.example/ui/project/shop"), (None, "/project/shop")]
    {
        let pipeline = Shop::of([Stage::new("dev").direct("main").step(echo.clone())]);
        let mut builder = Engine::builder(pipeline, plugins()).clock(Arc::clone(&shop.clock) as _);
        if let Some(url) = url {
            builder = builder.ui_base_url(url);
        }
        let engine = builder.start().await.expect("starts");
        let id = engine.promote("dev", &freight(&engine, "1.0.0").await, Actor::user("alice")).await.expect("allowed");
        let ended = engine.finished(&id).await.expect("ends");
        assert_eq!(ended.steps[0].task.outputs["page"], page);
    }
    for wrong in ["kargo.example", "https://", "https://a:b@kargo.example", "https://kargo.example/a b", "ftp://x"] {
        let engine = Engine::builder(Shop::pipeline(), shop.plugins()).ui_base_url(wrong).start().await;
        let error = engine.map(drop).expect_err("no address");
        assert!(error.message().contains("ui_base_url") && !error.message().contains("a:b"), "{wrong}: {error}");
    }
}
