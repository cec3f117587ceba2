//! Each step as a table: its configuration and the files before, and the files, outputs and phase after.

mod archives;
mod attacks;
mod configs;
mod files;
mod messages;
mod paths;
mod programs;
mod records;
mod secrets;
mod structured;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::builtin;
use crate::artifact::{Artifact, Image};
use crate::plugin::{Context, Step, StepOutcome, StepRequest};
use crate::workspace::{Contents, Node, Workspace};
use crate::{Actor, Error, Freight, PromotionInfo};

/// A promotion of freight with two images.
fn promotion() -> PromotionInfo {
    let image = |name: &str, tag: &str| {
        let image: Image =
            serde_json::from_value(json!({"repoURL": name, "tag": tag, "digest": format!("sha256:{tag}")})).unwrap();
        Artifact::Image(image)
    };
    let at = Timestamp::UNIX_EPOCH;
    let freight = Freight::new("main", vec![image("ghcr.io/acme/app", "1.10"), image("ghcr.io/acme/db", "v2")], at);
    PromotionInfo::new("shop", "dev.1", "dev", freight, Actor::engine(), at)
}

fn context() -> Context {
    Context::system("dev.1/step")
}

/// A workspace with `files`; a target behind `->` makes a link.
async fn workspace(files: &[(&str, &str)]) -> Workspace {
    let (workspace, cx) = (Workspace::new(), context());
    for (path, contents) in files {
        match contents.strip_prefix("->") {
            Some(target) => {
                let target = Contents::Here(target.to_owned().into());
                workspace.put(&cx, path, Node::Link(target)).await.unwrap();
            }
            None => workspace.write(&cx, path, (*contents).to_owned()).await.unwrap(),
        }
    }
    workspace
}

/// All files of a workspace; links with `->` before their target.
async fn tree(workspace: &Workspace) -> BTreeMap<String, String> {
    let cx = context();
    let mut tree = BTreeMap::new();
    for (path, node) in workspace.walk(&cx, ".").await.unwrap() {
        let contents = workspace.contents(&cx, std::slice::from_ref(&node)).await.unwrap().remove(0);
        let mark = if matches!(node, Node::Link(_)) { "->" } else { "" };
        tree.insert(path, format!("{mark}{}", String::from_utf8_lossy(&contents)));
    }
    tree
}

async fn call(step: &dyn Step, workspace: &Workspace, config: &Value) -> Result<StepOutcome, Error> {
    let promotion = promotion();
    let request = StepRequest::new(&promotion, "step", config, Timestamp::UNIX_EPOCH).with_workspace(workspace);
    step.run(&context(), &request).await
}

/// Runs the step `uses` on `files`.
async fn run(uses: &str, files: &[(&str, &str)], config: &Value) -> (Workspace, Result<StepOutcome, Error>) {
    let workspace = workspace(files).await;
    let plugins = builtin().build();
    let outcome = call(plugins.step(uses).unwrap(), &workspace, config).await;
    (workspace, outcome)
}

/// The step must succeed, leave `after` (of the files named there) and put out `outputs`.
#[track_caller]
fn succeeds(uses: &str, files: &[(&str, &str)], config: &Value, after: &[(&str, &str)], outputs: Value) {
    block_on(async {
        let (workspace, outcome) = run(uses, files, config).await;
        match outcome {
            Ok(StepOutcome::Succeeded { outputs: put_out, .. }) => {
                assert_eq!(Value::Object(put_out), outputs, "{uses} {config}");
            }
            other => panic!("{uses} {config}: {other:?}"),
        }
        let after: BTreeMap<String, String> =
            after.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
        assert_eq!(tree(&workspace).await, after, "{uses} {config}");
    });
}

/// The step must end as failed for a reason that says all of `parts`, and change nothing.
#[track_caller]
fn fails(uses: &str, files: &[(&str, &str)], config: &Value, parts: &[&str]) {
    block_on(async {
        let (after, outcome) = run(uses, files, config).await;
        let Ok(StepOutcome::Failed { reason }) = outcome else { panic!("{uses} {config}: {outcome:?}") };
        contains(&reason, parts);
        assert_eq!(tree(&after).await, tree(&workspace(files).await).await, "{uses} {config}");
    });
}

/// The step must end in an error that says all of `parts`.
#[track_caller]
fn errs(uses: &str, files: &[(&str, &str)], config: &Value, parts: &[&str]) {
    block_on(async {
        let (_, outcome) = run(uses, files, config).await;
        let error = outcome.expect_err("the step must end in an error");
        contains(&error.to_string(), parts);
    });
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn none() -> Value {
    Value::Object(Map::new())
}
