//! `shop.yaml`, with all that a host needs to run it in one place: it reads the manifests, registers the steps that they use, and starts an
//! engine for each project.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kargo_argocd::{ArgoCd, ArgoCdUpdate, ArgoCdWait};
use kargo_core::manifest::{Manifests, lint};
use kargo_core::plugin::Health;
use kargo_core::state::StageHealth;
use kargo_core::store::RedbStore;
use kargo_core::{Actor, Engine, FreightId, Plugins, StageName, steps};
use kargo_examples::shop;
use kargo_git::testing::BareRepository;
use kargo_git::{GitSource, GitSteps};
use kargo_oci::testing::Registry;
use kargo_oci::{Client, ImageSource, ImageSpec};

const MANIFESTS: &str = include_str!("shop.yaml");

/// Kargo's steps and sources, for whatever manifests use.
fn plugins(registry: Client, argocd: ArgoCd) -> kargo_core::plugin::PluginsBuilder {
    let repositories = GitSource::new();
    let plugins = steps::builtin()
        .source("image", ImageSource::new(registry))
        .source("git", repositories.clone())
        .step("argocd-update", ArgoCdUpdate::new(argocd.clone()))
        .step("argocd-wait", ArgoCdWait::new(argocd));
    GitSteps::new(repositories).committer("Kargo", "kargo@shop.example").register(plugins)
}

#[expect(clippy::print_stdout, reason = "it tells a story")]
pub(crate) async fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let repository = BareRepository::create(folder.path().join("config.git"));
    shop::seed(&repository);
    let registry = Registry::start().await;
    registry.put_image("shop/app", "1.0.0", &ImageSpec::default());
    let fake = shop::argocd(&repository, 10).await?;
    for stage in shop::STAGES {
        // As Kargo, a stage may change only the applications that say so.
        let key = "kargo.akuity.io/authorized-stage".to_owned();
        fake.edit_app(&format!("shop-{stage}"), |app| drop(app.annotations.insert(key, format!("shop:{stage}"))));
    }

    let text = MANIFESTS
        .replace("registry.example", registry.host())
        .replace("https://git.example/shop/config.git", &repository.url());
    let manifests = Manifests::parse("shop.yaml", text);
    let argocd = ArgoCd::new(fake.client()?);
    let plugins = plugins(Client::anonymous()?, argocd);
    let findings: Vec<String> = lint(&manifests, &plugins.clone().build()).iter().map(ToString::to_string).collect();
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    let mut projects = manifests.pipelines()?;
    let Some(project) = projects.pop().filter(|_| projects.is_empty()) else { bail!("one project was expected") };

    let plugins: Plugins = project.register(plugins).build();
    let store = Arc::new(RedbStore::open(folder.path().join("kargo.redb"))?);
    let engine = Engine::builder(project.pipeline, plugins).store(store).clock(fake.clock()).start().await?;

    println!("1.0.0 is in the registry. dev and staging promote by themselves:");
    let freight = verified(&engine, "staging", "1.0.0").await?;
    println!("\n1.1.0 is pushed, and 1.0.0 goes to production, as somebody wishes:");
    registry.put_image("shop/app", "1.1.0", &ImageSpec::default().label("version", "1.1.0"));
    // As in Kargo, what runs in staging may go on once it is healthy there.
    let is_well = |health: &StageHealth| health.health == Health::Healthy;
    engine
        .until(|state| state.stage(&StageName::from("staging"))?.health.as_ref().is_some_and(is_well).then_some(()))
        .await?;
    let promotion = engine.promote("prod", &freight, Actor::user("alice")).await?;
    let ended = engine.finished(&promotion).await?;
    println!("  promotion {promotion} {}", ended.phase);
    for step in &ended.steps {
        println!("    {:24} {:10} {}", step.spec.uses, step.task.phase.to_string(), step.task.message);
    }
    verified(&engine, "staging", "1.1.0").await?;

    println!("\nWhat Git has of it:");
    for commit in repository.log("main").iter().rev() {
        let line = commit.message.lines().next().unwrap_or_default();
        println!("  {} {line}", &commit.id[..8]);
    }
    println!("\nWhat each stage runs, by its values file and by Argo CD:");
    for stage in shop::STAGES {
        let values = repository.read("main", &format!("env/{stage}/values.yaml"));
        let tag = values.lines().find_map(|line| line.trim().strip_prefix("tag: ")).unwrap_or_default();
        let live = fake.live_revision(&format!("shop-{stage}")).unwrap_or_default();
        let tag = tag.split(" #").next().unwrap_or_default();
        println!("  {stage:8} {tag:8} {}", &live[..live.len().min(8)]);
        let wanted = if stage == "prod" { "1.0.0" } else { "1.1.0" };
        ensure!(tag == wanted, "{stage} should have {wanted}, and has {tag:?}");
        ensure!(
            repository.log("main").iter().any(|commit| commit.id == live),
            "{stage} runs no commit of main: {live:?}"
        );
    }
    let noted = engine.read(|state| state.stage(&StageName::from("prod"))?.metadata.clone()).unwrap_or_default();
    println!("\nWhat the promotion to production noted: {}", serde_json::Value::Object(*noted));
    engine.shutdown().await?;
    Ok(())
}

/// Waits until `stage` has verified the freight with the image tagged `tag`.
async fn verified(engine: &Engine, stage: &str, tag: &str) -> Result<FreightId> {
    let found = engine.until(|state| {
        let known = state.freight().find(|known| known.freight().images().any(|image| image.tag == tag))?;
        known.verified().contains_key(stage).then(|| known.freight().id().clone())
    });
    let found = tokio::time::timeout(Duration::from_secs(120), found).await;
    found.with_context(|| format!("{tag} does not get to {stage}"))?.map_err(Into::into)
}
