//! The steps of a promotion one by one, without an engine.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kargo_core::plugin::{Context, Plugins, StepOutcome, StepRequest};
use kargo_core::workspace::Workspace;
use kargo_core::{Actor, Clock, Freight, PromotionInfo, Result, SystemClock};
use serde_json::{Map, Value};

/// A promotion whose steps a test runs one by one on one workspace.
///
/// Methods panic when something is not as a test expects it: this is for tests.
///
/// ```
/// use kargo_core::Plugins;
/// use kargo_git::testing::{BareRepository, StepByStep};
/// use kargo_git::{GitSource, GitSteps};
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let repository = BareRepository::new();
/// repository.commit("main", &[("env/dev/values.yaml", "tag: v1\n")], "Start");
/// let plugins = GitSteps::new(GitSource::new()).register(Plugins::builder()).build();
///
/// let mut promotion = StepByStep::new("dev.1", plugins);
/// promotion.run("git-clone", json!({"repoURL": repository.url(), "checkout": [{"path": "./src"}]})).await;
/// promotion.write("src/env/dev/values.yaml", "tag: v2\n").await;
/// promotion.run("git-commit", json!({"path": "./src", "message": "Promote"})).await;
/// promotion.run("git-push", json!({"path": "./src"})).await;
/// assert_eq!(repository.read("main", "env/dev/values.yaml"), "tag: v2\n");
/// # }
/// ```
#[derive(Debug)]
pub struct StepByStep {
    plugins: Plugins,
    info: PromotionInfo,
    workspace: Workspace,
    clock: Arc<dyn Clock>,
    patience: Duration,
    done: Vec<DoneStep>,
    called: usize,
}

/// A step that succeeded or had nothing to do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DoneStep {
    /// Which one it was, from 1 on.
    pub number: usize,
    /// Its kind.
    pub uses: String,
    /// Its configuration.
    pub config: Value,
    /// What it put out.
    pub outputs: Map<String, Value>,
}

impl StepByStep {
    /// The promotion `id` to the stage `dev`, asked for just now by the user alice.
    pub fn new(id: &str, plugins: Plugins) -> Self {
        let now = Timestamp::from_second(Timestamp::now().as_second()).expect("it is a time");
        let freight = Freight::new("main", vec![], now);
        let info = PromotionInfo::new("shop", id, "dev", freight, Actor::user("alice"), now);
        let (clock, patience) = (Arc::new(SystemClock), Context::DEFAULT_DEADLINE);
        Self { plugins, info, workspace: Workspace::new(), clock, patience, done: Vec::new(), called: 0 }
    }

    /// Goes by another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Gives each call from now on so long. Default: [`Context::DEFAULT_DEADLINE`].
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same promotion on a workspace that is empty, as after a restart.
    #[must_use]
    pub fn restarted(&self) -> Self {
        let (plugins, info, clock) = (self.plugins.clone(), self.info.clone(), self.clock.clone());
        let patience = self.patience;
        Self { plugins, info, workspace: Workspace::new(), clock, patience, done: Vec::new(), called: 0 }
    }

    /// When all of its steps were started, in whole seconds.
    pub fn started_at(&self) -> Timestamp {
        self.info.requested_at
    }

    /// The plug-ins.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// The files.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The steps so far that did not fail.
    pub fn done(&self) -> &[DoneStep] {
        &self.done
    }

    /// What the step `number` is called with.
    pub fn context(&self, number: usize) -> Context {
        let cx = Context::new(self.clock.clone(), Actor::user("alice"), format!("{}/step-{number}", self.info.id));
        let deadline = cx.now() + self.patience;
        cx.with_deadline(deadline)
    }

    /// Calls the step `number`, as one that was interrupted before when it is `resumed`, and only to bring back what it did when it is told
    /// what it had put out.
    ///
    /// # Errors
    /// What the step returns.
    pub async fn call(
        &self,
        number: usize,
        uses: &str,
        config: &Value,
        resumed: bool,
        restored: Option<&Map<String, Value>>,
    ) -> Result<StepOutcome> {
        let mut request = StepRequest::new(&self.info, uses, config, self.started_at());
        request = request.with_workspace(&self.workspace);
        request.resumed = resumed;
        request.restored = restored;
        self.plugins.step(uses)?.run(&self.context(number), &request).await
    }

    /// Runs the next step.
    ///
    /// # Errors
    /// What the step returns.
    pub async fn try_run(&mut self, uses: &str, config: Value) -> Result<StepOutcome> {
        self.called += 1;
        let outcome = self.call(self.called, uses, &config, false, None).await?;
        if let StepOutcome::Succeeded { outputs, .. } | StepOutcome::Skipped { outputs, .. } = &outcome {
            let (uses, outputs) = (uses.to_owned(), outputs.clone());
            self.done.push(DoneStep { number: self.called, uses, config, outputs });
        }
        Ok(outcome)
    }

    /// Runs the next step, which must succeed, and returns what it puts out.
    pub async fn run(&mut self, uses: &str, config: Value) -> Map<String, Value> {
        match self.try_run(uses, config.clone()).await {
            Ok(StepOutcome::Succeeded { outputs, .. }) => outputs,
            other => panic!("{uses} {config}: {other:?}"),
        }
    }

    /// Runs the next step, which must fail or end in an error, and returns why.
    pub async fn fails(&mut self, uses: &str, config: Value) -> String {
        match self.try_run(uses, config.clone()).await {
            Ok(StepOutcome::Failed { reason }) => reason,
            Err(error) => error.to_string(),
            other => panic!("{uses} {config}: {other:?}"),
        }
    }

    /// Writes a file, as a step before the next one could.
    pub async fn write(&self, path: &str, text: &str) {
        self.workspace.write(&self.context(0), path, text.to_owned()).await.expect("the workspace takes the file");
    }

    /// The text of a file, if it is there.
    pub async fn read(&self, path: &str) -> Option<String> {
        let bytes = self.workspace.read(&self.context(0), path).await.expect("the workspace can be read");
        bytes.map(|bytes| String::from_utf8(bytes.to_vec()).expect("the file is text"))
    }
}
