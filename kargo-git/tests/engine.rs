//! Kargo's steps for Git in a pipeline: expressions in their configurations, and an engine that is stopped in the middle.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kargo_core::plugin::{Context, Plugins, Step, StepOutcome, StepRequest};
use kargo_core::store::{MemoryStore, Store};
use kargo_core::{Actor, Engine, Phase, Pipeline, Result, Stage, StepSpec, Warehouse};
use kargo_git::testing::BareRepository;
use kargo_git::{GitSource, GitSteps, GitSubscription, Timeouts};
use serde_json::json;

/// Writes a file of the workspace.
#[derive(Debug)]
struct Write;

#[async_trait]
impl Step for Write {
    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let text = |field: &str| request.config[field].as_str().unwrap().to_owned();
        request.workspace().write(cx, &text("path"), text("text")).await?;
        Ok(StepOutcome::succeeded())
    }
}

/// Waits until it is opened.
#[derive(Debug, Clone, Default)]
struct Gate {
    open: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

impl Gate {
    async fn reached(&self) {
        let before = self.calls.load(Ordering::SeqCst);
        while self.calls.load(Ordering::SeqCst) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[async_trait]
impl Step for Gate {
    async fn run(&self, _: &Context, _: &StepRequest<'_>) -> Result<StepOutcome> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.open.load(Ordering::SeqCst) {
            return Ok(StepOutcome::succeeded());
        }
        let (reason, check_after) = ("the gate is shut".to_owned(), Duration::from_millis(20));
        Ok(StepOutcome::Running { reason, check_after, state: None })
    }
}

#[tokio::test]
async fn a_promotion_that_is_interrupted_between_its_steps_pushes_each_commit_once() {
    let (app, config) = (BareRepository::new(), BareRepository::new());
    let revision = app.commit("main", &[("main.go", "package main\n")], "Start");
    config.commit("main", &[("dev/values.yaml", "revision: none\n"), ("README.md", "Hello\n")], "Start");
    let gates = [Gate::default(), Gate::default()];
    let step = |uses: &str, config| StepSpec::new(uses, config);
    let mut stage = Stage::new("dev").direct("main");
    for step in [
        step("git-clone", json!({"repoURL": config.url(), "checkout": [{"path": "./src", "branch": "main"}]})),
        step("write", json!({"path": "src/dev/values.yaml", "text": format!("revision: {revision}\n")})),
        step("git-commit", json!({"path": "./src", "message": "Promote to ${{ ctx.stage }}"})).named("commit"),
        step("gate-0", json!({})),
        step("git-push", json!({"path": "./src", "targetBranch": "${{ 'main' }}"})).named("push"),
        step("gate-1", json!({})),
        step("write", json!({"path": "src/pushed", "text": "${{ outputs.push.commit }}"})).named("note"),
        step("git-commit", json!({"path": "./src", "message": "Note ${{ outputs.push.branch }}"})).named("again"),
        step("git-push", json!({"path": "./src"})).named("push-again"),
    ] {
        stage = stage.step(step);
    }
    let access = GitSource::new();
    let plugins = Plugins::builder().source("git", access.clone()).step("write", Write);
    let plugins = plugins.step("gate-0", gates[0].clone()).step("gate-1", gates[1].clone());
    let plugins = GitSteps::new(access).register(plugins).build();
    let warehouse = Warehouse::new("main").subscribe(GitSubscription::new(app.url()).branch("main"));
    let pipeline = Pipeline::builder("shop").warehouse(warehouse).stage(stage).build().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let start = || Engine::builder(pipeline.clone(), plugins.clone()).store(Arc::clone(&store)).start();

    let engine = start().await.unwrap();
    let newest = engine.until(|state| Some(state.newest_first(&"main".into()).next()?.freight().id().clone()));
    let freight = newest.await.unwrap();
    let id = engine.promote("dev", &freight, Actor::user("alice")).await.unwrap();
    gates[0].reached().await;
    engine.shutdown().await.unwrap();
    assert_eq!(config.log("main").len(), 1);

    // What is not pushed yet is made again, on top of what others have pushed meanwhile.
    config.commit("main", &[("README.md", "Bye\n")], "Theirs");
    let engine = start().await.unwrap();
    gates[0].open.store(true, Ordering::SeqCst);
    gates[1].reached().await;
    engine.shutdown().await.unwrap();
    assert_eq!(config.log("main").len(), 3);

    // What is pushed is put in its place and not pushed again.
    let engine = start().await.unwrap();
    gates[1].open.store(true, Ordering::SeqCst);
    let ended = engine.finished(&id).await.unwrap();
    assert_eq!(ended.phase, Phase::Succeeded, "{ended:?}");
    engine.shutdown().await.unwrap();
    let log = config.log("main");
    let subjects: Vec<&str> = log.iter().map(|commit| commit.subject.as_str()).collect();
    assert_eq!(subjects, ["Note main", "Promote to dev", "Theirs", "Start"]);
    assert_eq!(config.read("main", "dev/values.yaml"), format!("revision: {revision}\n"));
    assert_eq!(config.read("main", "pushed"), log[1].id);
    assert_eq!(log[0].changed_files, ["pushed"]);
}

#[tokio::test]
async fn git_15_a_server_that_says_nothing_holds_up_its_own_warehouse_alone() {
    // It takes connections, and that is all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/acme/silent.git", silent.local_addr().unwrap());
    let (app, config) = (BareRepository::new(), BareRepository::new());
    app.commit("main", &[("main.go", "package main\n")], "Start");
    config.commit("main", &[("dev/values.yaml", "revision: none\n")], "Start");
    let timeouts = Timeouts { read: Duration::from_millis(300), ..Timeouts::default() };
    let access = GitSource::new().timeouts(timeouts);
    let plugins = Plugins::builder().source("git", access.clone()).step("write", Write);
    let plugins = GitSteps::new(access).register(plugins).build();
    let stage = Stage::new("dev")
        .direct("good")
        .auto_promote()
        .step(StepSpec::new("git-clone", json!({"repoURL": config.url(), "checkout": [{"path": "src"}]})))
        .step(StepSpec::new("write", json!({"path": "src/dev/values.yaml", "text": "revision: new\n"})))
        .step(StepSpec::new("git-commit", json!({"path": "src", "message": "Promote"})))
        .step(StepSpec::new("git-push", json!({"path": "src"})));
    let warehouse = |name: &str, url: &str| {
        let subscription = GitSubscription::new(url).branch("main");
        Warehouse::new(name).subscribe(subscription).every(Duration::from_millis(100))
    };
    let pipeline = Pipeline::builder("shop")
        .warehouse(warehouse("silent", &silent))
        .warehouse(warehouse("good", &app.url()))
        .stage(stage)
        .build()
        .unwrap();
    let engine = Engine::builder(pipeline, plugins).store(Arc::new(MemoryStore::new())).start().await.unwrap();
    let failing = engine.until(|state| state.warehouse(&"silent".into())?.failing.clone()).await.unwrap();
    assert!(failing.contains(&silent) && failing.contains("broke off"), "{failing}");
    // The other goes on as if nothing were: what is there, and what comes while the first waits for its server.
    for round in 1..=2 {
        let promoted = engine.until(|state| {
            let done = state.promotions().filter(|promotion| promotion.phase == Phase::Succeeded).count();
            (done >= round).then_some(())
        });
        promoted.await.unwrap();
        app.commit("main", &[("main.go", &format!("package main // {round}\n"))], "More");
    }
    assert_eq!(config.read("main", "dev/values.yaml"), "revision: new\n");
    assert!(engine.read(|state| state.warehouse(&"good".into()).unwrap().failing.is_none()));
    assert!(engine.read(|state| state.newest_first(&"silent".into()).next().is_none()));
    engine.shutdown().await.unwrap();
}
