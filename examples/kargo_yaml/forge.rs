//! A forge for the repository on this disk.
//!
//! The fake forge keeps a repository of its own. The steps are the real ones, and speak to it over HTTP; around them stands what a real
//! forge has by itself: it sees what was pushed, and what is merged there is merged in the repository.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use kargo_core::plugin::{Context, PluginsBuilder, Step, StepDefaults, StepOutcome, StepRequest};
use kargo_git::testing::BareRepository;
use kargo_git::testing::forge::{FakeForge, FakePullRequest};
use kargo_git::{MergePullRequest, OpenPullRequest, Provider, WaitForPullRequest};
use serde_json::Value;

#[derive(Clone)]
pub(crate) struct Forge(Arc<Inner>);

struct Inner {
    fake: FakeForge,
    repository: BareRepository,
}

impl fmt::Debug for Forge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forge")
    }
}

impl Forge {
    pub(crate) async fn start(repository: BareRepository) -> Self {
        Self(Arc::new(Inner { fake: FakeForge::start(Provider::Gitea).await, repository }))
    }

    /// Registers the steps for pull requests, as users of this forge.
    pub(crate) fn register(&self, plugins: PluginsBuilder) -> Result<PluginsBuilder> {
        let forges = self.0.fake.forges()?;
        Ok(plugins
            .step("git-open-pr", self.around(OpenPullRequest::new(forges.clone())))
            .step("git-wait-for-pr", self.around(WaitForPullRequest::new(forges.clone())))
            .step("git-merge-pr", self.around(MergePullRequest::new(forges))))
    }

    fn around<S>(&self, step: S) -> OnForge<S> {
        OnForge { step, forge: self.clone() }
    }

    /// The pull request that is open.
    pub(crate) fn open_pull_request(&self) -> Option<FakePullRequest> {
        self.0.fake.pull_requests().into_iter().find(|pull| pull.state == "open")
    }

    /// What a reviewer does.
    pub(crate) fn merge(&self, pull: &FakePullRequest) -> Result<()> {
        let Inner { fake, repository } = &*self.0;
        let head = repository.log(&pull.source).first().context("the branch is there")?.id.clone();
        let files = repository.files_at(&head, "");
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        repository.merge(&pull.target, &pull.source, &files, &format!("Merge: {}", pull.title));
        fake.merge(pull.number);
        Ok(())
    }

    /// Sees what was pushed.
    fn receive(&self, branch: &str) {
        let Inner { fake, repository } = &*self.0;
        let Some(head) = repository.log(branch).first().cloned() else { return };
        let files = repository.files_at(&head.id, "");
        let known = |path: &String| fake.read(branch, path);
        if files.iter().any(|(path, text)| known(path).as_ref() != Some(text)) {
            let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            fake.commit(branch, &files, &head.message);
        }
    }
}

/// A step that knows the repository by the forge's URL.
#[derive(Debug)]
struct OnForge<S> {
    step: S,
    forge: Forge,
}

impl<S> OnForge<S> {
    fn there(&self, config: &Value) -> Value {
        let mut config = config.clone();
        config["repoURL"] = self.forge.0.fake.url().into();
        config
    }
}

#[async_trait]
impl<S: Step> Step for OnForge<S> {
    fn validate(&self, config: &Value) -> kargo_core::Result<()> {
        self.step.validate(&self.there(config))
    }

    fn validate_template(&self, config: &Value) -> kargo_core::Result<()> {
        self.step.validate_template(&self.there(config))
    }

    fn takes_text(&self, pointer: &str) -> bool {
        self.step.takes_text(pointer)
    }

    fn defaults(&self) -> StepDefaults {
        self.step.defaults()
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> kargo_core::Result<StepOutcome> {
        let (config, forge) = (self.there(request.config), &self.forge);
        for branch in ["targetBranch", "sourceBranch"].iter().filter_map(|field| config[field].as_str()) {
            forge.receive(branch);
        }
        let mut request = request.clone();
        request.config = &config;
        let mut outcome = self.step.run(cx, &request).await?;
        // The commit by which it was merged has another id in the repository.
        if let StepOutcome::Succeeded { outputs, .. } = &mut outcome
            && let Some(commit) = outputs.get_mut("commit")
            && let Some(merged) = forge.0.repository.log("main").first()
        {
            *commit = merged.id.clone().into();
        }
        Ok(outcome)
    }
}
