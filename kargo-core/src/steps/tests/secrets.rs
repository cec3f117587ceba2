//! What steps show of texts that are not theirs, cut short: the engine's journal has no part of a secret.

use super::*;
use crate::steps::helm;
use crate::steps::program::Program;
use crate::steps::typed::Typed;
use crate::testing::{Data, ScriptedSource};
use crate::{Engine, Pipeline, Stage, StepSpec, Subscription, Warehouse};

const SECRET: &str = "hunter2-hunter2-hunter2";

/// What the journal says of a promotion with these steps, which fails.
async fn journal(steps: Vec<StepSpec>) -> String {
    let versions = Subscription::new("versions", json!({}));
    let stage = steps.into_iter().fold(Stage::new("dev").direct("main"), Stage::step);
    let pipeline =
        Pipeline::builder("shop").warehouse(Warehouse::new("main").subscribe(versions)).stage(stage).build().unwrap();
    let shell = Program { name: "sh", install: "a shell" };
    let plugins = builtin()
        .step("helm", Typed(helm::Template(shell)))
        .source("versions", ScriptedSource::versions(["1.0.0"]))
        .data(Data::secret([("token", SECRET)]))
        .build();
    let engine = Engine::builder(pipeline, plugins).start().await.unwrap();
    let found = engine.until(|state| state.freight().next().map(|known| known.freight().id().clone())).await.unwrap();
    let id = engine.promote("dev", &found, Actor::user("alice")).await.unwrap();
    let ended = engine.finished(&id).await.unwrap();
    assert!(!matches!(ended.phase, crate::Phase::Succeeded), "{}", ended.message);
    let journal = serde_json::to_string(&engine.journal().await.unwrap()).unwrap();
    assert!(journal.contains(&ended.message[..40]), "{journal}");
    journal
}

#[test]
fn a_secret_at_the_end_of_what_is_shown_of_a_programs_words_is_masked_whole() {
    // The directory's name, which is shown as a dot, makes room for what is behind the cut.
    let script = "p=; i=0; while [ $i -lt 20 ]; do p=\"$p$PWD/\"; i=$((i+1)); done\nfor a; do case $a in --set=*) s=${a#--set=k=};; esac; done\n\
                  n=$((4090-${#p})); printf \"%s%0${n}d%s rest\" \"$p\" 7 \"$s\" >&2\nexit 1\n";
    let write = |path: &str, contents: &str| StepSpec::new("file-write", json!({"path": path, "contents": contents}));
    let set = json!([{"key": "k", "value": "${{ secret('forge').token }}"}]);
    let steps = vec![
        write("Chart.yaml", "name: shop\n"),
        write("template", script),
        StepSpec::new("helm", json!({"path": ".", "outPath": "o.yaml", "setValues": set})),
    ];
    let journal = block_on(journal(steps));
    assert!(journal.contains("0007***") && !journal.contains("hunt"), "{journal}");
}

#[cfg(feature = "http")]
#[test]
fn a_secret_at_the_end_of_what_is_shown_of_an_answer_is_masked_whole() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let journal = block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let body = format!("{}{SECRET} is wrong", "x".repeat(193));
            let head = format!("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        });
        let headers = json!([{"name": "X-Key", "value": "${{ secret('forge').token }}"}]);
        journal(vec![StepSpec::new("http", json!({"url": url, "headers": headers}))]).await
    });
    assert!(journal.contains("xxx***") && !journal.contains("hunt"), "{journal}");
}
