//! Where a file of manifests is run: the servers that it names, in this process.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use jiff::Timestamp;
use kargo_argocd::testing::{FakeApp, FakeArgoCd};
use kargo_argocd::{ArgoCd, ArgoCdUpdate, ArgoCdWait};
use kargo_core::manifest::{ANALYSIS, Manifests, lint};
use kargo_core::plugin::{
    Context, DiscoverRequest, Discovery, PluginsBuilder, Source, Verdict, Verifier, VerifyRequest,
};
use kargo_core::testing::ManualClock;
use kargo_core::{Artifact, Engine, GenericArtifact, steps};
use kargo_git::testing::BareRepository;
use kargo_git::{GitSource, GitSteps};
use kargo_oci::testing::Registry;
use kargo_oci::{ChartSource, Client, ImageSource};
use tempfile::TempDir;

use crate::forge::Forge;
use crate::programs;

/// The servers of one story, and its time.
pub(crate) struct Places {
    pub(crate) registry: Registry,
    pub(crate) repository: BareRepository,
    pub(crate) argocd: FakeArgoCd,
    pub(crate) forge: Forge,
    pub(crate) clock: Arc<ManualClock>,
    ticking: tokio::task::JoinHandle<()>,
    _folder: TempDir,
}

impl Drop for Places {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}

impl Places {
    pub(crate) async fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let repository = BareRepository::create(folder.path().join("repository.git"));
        // Ten seconds pass in each real one, and a day when the story says so.
        let clock = Arc::new(ManualClock::new(Timestamp::now()));
        let ticked = Arc::clone(&clock);
        let ticking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                ticked.advance(Duration::from_millis(100));
            }
        });
        let (heads, trees) = (repository.clone(), repository.clone());
        let argocd = FakeArgoCd::builder()
            .clock(Arc::clone(&clock) as _)
            .revisions(move |_, branch| heads.log(branch).first().map(|commit| commit.id.clone()))
            .manifests(move |_, revision, path| {
                let files = trees.files_at(revision, path.trim_matches('.'));
                let mut hasher = DefaultHasher::new();
                files.hash(&mut hasher);
                (!files.is_empty()).then(|| hasher.finish().to_string())
            })
            .start()
            .await?;
        let forge = Forge::start(repository.clone()).await;
        Ok(Self { registry: Registry::start().await, repository, argocd, forge, clock, ticking, _folder: folder })
    }

    /// Seeds a branch.
    pub(crate) fn commit(&self, branch: &str, files: &[(&str, &str)]) {
        self.repository.commit(branch, files, "Start");
    }

    /// An application that follows a path of a branch, and lets the stage change it.
    pub(crate) fn app(&self, project: &str, stage: &str, branch: &str, path: &str) {
        let app = match project {
            "quickstart" => format!("web-{stage}"),
            project => format!("{project}-{stage}"),
        };
        let app = FakeApp::new(app)
            .source(self.address(), branch, path)
            .annotation("kargo.akuity.io/authorized-stage", format!("{project}:{stage}"));
        self.argocd.create_app(app);
    }

    fn address(&self) -> String {
        self.repository.path().display().to_string()
    }

    /// The manifests of a file, with the addresses of these places.
    pub(crate) fn manifests(&self, file: &str, repository: &str, text: &str) -> Result<Manifests> {
        let text = text.replace("registry.example", self.registry.host()).replace(repository, &self.address());
        let manifests = Manifests::parse(file, text);
        let plugins = self.plugins(&manifests)?.build();
        let findings: Vec<String> = lint(&manifests, &plugins).iter().map(ToString::to_string).collect();
        ensure!(findings.is_empty(), "{}", findings.join("\n"));
        Ok(manifests)
    }

    /// The engine of the one project that manifests are of.
    pub(crate) async fn engine(&self, manifests: &Manifests) -> Result<Engine> {
        let project = manifests.pipelines()?.pop().context("there is no project")?;
        let plugins = project.register(self.plugins(manifests)?).build();
        Ok(Engine::builder(project.pipeline, plugins).clock(Arc::clone(&self.clock) as _).start().await?)
    }

    fn plugins(&self, manifests: &Manifests) -> Result<PluginsBuilder> {
        let argocd = ArgoCd::new(self.argocd.client()?);
        let (registry, repositories) = (Client::anonymous()?, GitSource::new());
        let plugins = steps::builtin()
            .source("image", ImageSource::new(registry.clone()))
            .source("chart", ChartSource::new(registry))
            .source("git", repositories.clone())
            // Of a kind of the team's own, as two-warehouses.yaml has it.
            .source("database", Schemas)
            .verifier(ANALYSIS, Analysis)
            .data(manifests.clone())
            .step("argocd-update", ArgoCdUpdate::new(argocd.clone()))
            .step("argocd-wait", ArgoCdWait::new(argocd));
        let plugins = GitSteps::new(repositories).committer("Kargo", "kargo@acme.example").register(plugins);
        Ok(programs::register(self.forge.register(plugins)?))
    }
}

/// The versions of a database's schema: a source that a host brings along.
#[derive(Debug)]
struct Schemas;

#[async_trait]
impl Source for Schemas {
    async fn discover(&self, _: &Context, _: &DiscoverRequest<'_>) -> kargo_core::Result<Discovery> {
        let newest = GenericArtifact {
            artifact_type: "database".into(),
            subscription_name: "schema".into(),
            version: "42".into(),
            metadata: serde_json::Value::Null,
        };
        Ok(Discovery::Found { candidates: vec![Artifact::Generic(newest)], cursor: None })
    }
}

/// Stands for whatever evaluates analysis templates; it gets their specs and the arguments of the stage.
#[derive(Debug)]
struct Analysis;

#[async_trait]
impl Verifier for Analysis {
    async fn verify(&self, _: &Context, request: &VerifyRequest<'_>) -> kargo_core::Result<Verdict> {
        let url = request.config["args"][0]["value"].as_str().unwrap_or_default();
        Ok(Verdict::pass(format!("{url} is well")))
    }
}
