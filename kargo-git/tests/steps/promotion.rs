//! A promotion and a repository for its steps.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use kargo_core::plugin::Plugins;
use kargo_git::testing::{BareRepository, StepByStep};
use kargo_git::{GitSource, GitSteps};
use serde_json::{Map, Value, json};

/// A promotion of which each step is one call, and of which the checkout is `src`.
pub(crate) struct Promotion(StepByStep);

impl Deref for Promotion {
    type Target = StepByStep;

    fn deref(&self) -> &StepByStep {
        &self.0
    }
}

impl DerefMut for Promotion {
    fn deref_mut(&mut self) -> &mut StepByStep {
        &mut self.0
    }
}

pub(crate) fn steps() -> GitSteps {
    GitSteps::new(GitSource::new()).committer("Kargo", "kargo@acme.example")
}

impl Promotion {
    pub(crate) fn new(id: &str) -> Self {
        Self::with(id, steps())
    }

    pub(crate) fn with(id: &str, steps: GitSteps) -> Self {
        Self(StepByStep::new(id, steps.register(Plugins::builder()).build()))
    }

    pub(crate) async fn clone(&mut self, repository: &BareRepository, branch: &str) -> Map<String, Value> {
        let config = json!({"repoURL": repository.url(), "checkout": [{"path": "./src", "branch": branch}]});
        self.run("git-clone", config).await
    }

    pub(crate) async fn commit(&mut self, message: &str) -> String {
        let outputs = self.run("git-commit", json!({"path": "src", "message": message})).await;
        outputs["commit"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn push(&mut self) -> Map<String, Value> {
        self.run("git-push", json!({"path": "src"})).await
    }
}

pub(crate) fn files(repository: &BareRepository, branch: &str) -> BTreeMap<String, String> {
    repository.files_at(&repository.head(branch), "")
}

pub(crate) fn start() -> BareRepository {
    let repository = BareRepository::new();
    repository.commit("main", &[("env/dev/values.yaml", "tag: v1\n"), ("README.md", "Hello\n")], "Start");
    repository
}
