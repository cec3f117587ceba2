//! The shop: one image, three stages. dev and staging promote by themselves, production waits for a person.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kargo_argocd::testing::{FakeApp, FakeArgoCd};
use kargo_argocd::{ArgoCd, ArgoCdApp};
use kargo_core::plugin::{Context, Deployer, Health, ObserveRequest, Verdict, Verifier, VerifyRequest};
use kargo_core::{Pick, Pipeline, PipelineError, Plugins, Stage, StepSpec, Warehouse};
use kargo_git::testing::BareRepository;
use kargo_git::{GitWriter, Remote, YamlUpdate};
use kargo_oci::{ImageSource, ImageSubscription};

/// The stages, in order.
pub const STAGES: [&str; 3] = ["dev", "staging", "prod"];

/// The pipeline: each stage writes the image's tag into its values file, has Argo CD deploy that commit, and looks whether
/// the application is well.
///
/// # Errors
/// When `image` makes a pipeline that is not valid.
pub fn pipeline(image: &str, interval: Duration) -> Result<Pipeline, PipelineError> {
    let stage = |name: &str| {
        let values = YamlUpdate::new(format!("env/{name}/values.yaml")).set("image.tag", Pick::ImageTag(image.into()));
        let app = ArgoCdApp::new(format!("shop-{name}"));
        Stage::new(name)
            .step(StepSpec::write("config", values).named("commit"))
            .step(StepSpec::deploy("argocd", app.clone()).named("deploy"))
            .verify("smoke", serde_json::json!(app))
    };
    Pipeline::builder("shop")
        .warehouse(Warehouse::new("main").subscribe(ImageSubscription::new(image).constraint("^1")).every(interval))
        .stage(stage("dev").direct("main").auto_promote())
        .stage(stage("staging").after("main", ["dev"]).auto_promote())
        .stage(stage("prod").after("main", ["staging"]))
        .build()
}

/// The plug-ins that the pipeline names.
pub fn plugins(registry: kargo_oci::Client, config: Remote, argocd: kargo_argocd::Client) -> Plugins {
    let argocd = Arc::new(ArgoCd::new(argocd).history(config.clone()));
    Plugins::builder()
        .source("image", ImageSource::new(registry))
        .writer("config", GitWriter::new(config).branch("main"))
        .deployer("argocd", Arc::clone(&argocd))
        .verifier("smoke", Smoke(argocd))
        .build()
}

/// Passes when the application is healthy, as Argo CD sees it.
#[derive(Debug)]
struct Smoke(Arc<ArgoCd>);

#[async_trait]
impl Verifier for Smoke {
    async fn verify(&self, cx: &Context, request: &VerifyRequest<'_>) -> kargo_core::Result<Verdict> {
        let seen = self.0.observe(cx, &ObserveRequest::new(request.config)).await?;
        Ok(match seen.health {
            Health::Healthy => Verdict::pass(seen.detail),
            Health::Unhealthy => Verdict::fail(seen.detail),
            _ => Verdict::pending(seen.detail, Duration::from_secs(2)),
        })
    }
}

/// The values file of a stage, as it is before the first promotion.
pub fn first_values(stage: &str) -> String {
    format!(
        "# Values of the shop in {stage}.\nreplicas: 2\nimage:\n  repository: shop/app\n  tag: none # written by promotions\nresources: {{cpu: 100m, memory: 128Mi}}\n"
    )
}

/// A bare repository with a values file for each stage on branch `main`.
pub fn seed(repository: &BareRepository) {
    let files = STAGES.map(|stage| (format!("env/{stage}/values.yaml"), first_values(stage)));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    repository.commit("main", &files, "The shop's configuration");
}

/// A fake Argo CD with one application for each stage, which follows branch `main` of `repository`. On it, `speed` seconds
/// pass in each real one.
///
/// # Errors
/// When no port is free.
pub async fn argocd(repository: &BareRepository, speed: u32) -> kargo_core::Result<FakeArgoCd> {
    let (heads, trees) = (repository.clone(), repository.clone());
    let fake = FakeArgoCd::builder()
        .speed(speed)
        .revisions(move |_, branch| (branch == "main").then(|| heads.head(branch)))
        .manifests(move |_, revision, path| {
            let files = trees.files_at(revision, path);
            let mut hasher = DefaultHasher::new();
            files.hash(&mut hasher);
            (!files.is_empty()).then(|| hasher.finish().to_string())
        })
        .start()
        .await?;
    for stage in STAGES {
        fake.create_app(FakeApp::new(format!("shop-{stage}")).source(repository.url(), "main", format!("env/{stage}")));
    }
    Ok(fake)
}
