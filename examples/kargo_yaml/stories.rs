//! What happens in each file of `examples/manifests`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kargo_core::state::Promotion;
use kargo_core::{Actor, Engine, FreightId, Phase};
use kargo_oci::ImageSpec;

use crate::places::Places;
use crate::programs;

const HOUR: Duration = Duration::from_secs(60 * 60);
/// How long a thing may take before the story ends badly, in real time.
const PATIENCE: Duration = Duration::from_secs(120);

/// A file, and what is to happen with its freight.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    text: &'static str,
    project: &'static str,
    repository: &'static str,
    /// What the servers have before it begins.
    seed: fn(&Places),
    visits: &'static [Visit],
    /// Branches that are shown at the end, each with a file.
    shown: &'static [(&'static str, &'static str)],
}

/// Freight goes to a stage.
struct Visit {
    stage: &'static str,
    warehouse: &'static str,
    how: How,
    /// How long it has to wait before.
    after: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Automatic,
    Asked,
    /// The promotion waits for somebody to merge.
    PullRequest,
    /// The stage has no steps: it has what all those before it have.
    Inherited,
}

const fn visit(stage: &'static str, warehouse: &'static str, how: How) -> Visit {
    Visit { stage, warehouse, how, after: Duration::ZERO }
}

const fn after(after: Duration, visit: Visit) -> Visit {
    Visit { after, ..visit }
}

macro_rules! manifests {
    ($name:literal) => {
        include_str!(concat!("../manifests/", $name, ".yaml"))
    };
}

pub(crate) const ALL: [Story; 4] = [
    Story {
        name: "quickstart",
        text: manifests!("quickstart"),
        project: "quickstart",
        repository: "https://git.example/acme/web-config.git",
        seed: quickstart,
        visits: &[
            visit("dev", "web", How::Automatic),
            after(Duration::from_secs(31 * 60), visit("staging", "web", How::Automatic)),
            visit("prod", "web", How::Asked),
        ],
        shown: &[("stage/dev", "manifest-1.yaml"), ("stage/prod", "manifest-1.yaml")],
    },
    Story {
        name: "pull-requests",
        text: manifests!("pull-requests"),
        project: "orders",
        repository: "https://git.example/acme/config.git",
        seed: orders,
        visits: &[
            visit("test", "orders", How::Asked),
            after(HOUR.saturating_mul(25), visit("prod", "orders", How::PullRequest)),
        ],
        shown: &[("main", "orders/values-test.yaml"), ("main", "orders/values-prod.yaml")],
    },
    Story {
        name: "rendered-branches",
        text: manifests!("rendered-branches"),
        project: "catalog",
        repository: "https://git.example/acme/catalog.git",
        seed: catalog,
        visits: &[
            visit("canary", "chart", How::Automatic),
            visit("prod-eu", "chart", How::Asked),
            visit("prod-us", "chart", How::Asked),
            visit("everywhere", "chart", How::Inherited),
        ],
        shown: &[("rendered/canary", "deployment.yaml"), ("rendered/prod-us", "deployment.yaml")],
    },
    Story {
        name: "two-warehouses",
        text: manifests!("two-warehouses"),
        project: "billing",
        repository: "https://git.example/acme/billing.git",
        seed: billing,
        visits: &[visit("dev", "config", How::Asked), visit("dev", "code", How::Asked)],
        shown: &[("env/dev", "versions.json"), ("env/dev", "app/settings.yaml")],
    },
];

fn quickstart(places: &Places) {
    let image = format!("{}/acme/web", places.registry.host());
    let deployment = format!("kind: Deployment\nspec:\n  containers:\n  - name: web\n    image: {image}\n");
    let mut files = vec![
        ("base/kustomization.yaml".to_owned(), "resources:\n- deployment.yaml\n".to_owned()),
        ("base/deployment.yaml".to_owned(), deployment),
    ];
    for stage in ["dev", "staging", "prod"] {
        files.push((format!("stages/{stage}/kustomization.yaml"), "resources:\n- ../../base\n".to_owned()));
        places.app("quickstart", stage, &format!("stage/{stage}"), ".");
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    places.commit("main", &files);
    places.registry.put_image("acme/web", "1.4.2", &ImageSpec::default());
}

fn orders(places: &Places) {
    let values = "image:\n  tag: none # written by promotions\n";
    places.commit("main", &[("orders/values-test.yaml", values), ("orders/values-prod.yaml", values)]);
    places.app("orders", "test", "main", "orders");
    places.app("orders", "prod", "main", "orders");
    places.registry.put_image("acme/orders", "2.1.0", &ImageSpec::default());
    places.registry.put_image("acme/orders", "2.2.0-rc", &ImageSpec::default());
    places.registry.put_image("charts/service", "0.9.3", &ImageSpec::default());
}

fn catalog(places: &Places) {
    let template = "kind: Deployment\nspec:\n  replicas: {{ .Values.replicas }}\n  region: {{ .Values.region }}\n";
    places.commit(
        "main",
        &[
            ("chart/Chart.yaml", "apiVersion: v2\nname: catalog\nversion: 0.1.0\n"),
            ("chart/templates/deployment.yaml", template),
            ("values/common.yaml", "replicas: 2\nregion: none\n"),
            ("values/canary.yaml", "replicas: 1\n"),
            ("values/prod-eu.yaml", "region: eu\n"),
            ("values/prod-us.yaml", "region: us\n"),
        ],
    );
    places.app("catalog", "canary", "rendered/canary", ".");
}

fn billing(places: &Places) {
    places.commit("main", &[("app/settings.yaml", "currency: EUR\n")]);
    places.commit("env/dev", &[("versions.json", "{\n  \"api\": \"\"\n}\n")]);
    places.repository.tag("v1.3", "main", Some("The settings of May"));
    let image = ImageSpec::default();
    places.registry.put_image("acme/billing-api", &"4f".repeat(20), &image);
    places.registry.put_image("acme/billing-jobs", "stable", &image);
}

/// Runs a file.
#[expect(clippy::print_stdout, reason = "it tells a story")]
pub(crate) async fn tell(story: &Story) -> Result<()> {
    let places = Places::open().await?;
    (story.seed)(&places);
    let manifests = places.manifests(&format!("{}.yaml", story.name), story.repository, story.text)?;
    let engine = places.engine(&manifests).await?;
    ensure!(engine.name().as_str() == story.project, "the project is {}", engine.name());
    let mut told = BTreeSet::new();
    for visit in story.visits {
        if !visit.after.is_zero() {
            println!("  {} later", hours(visit.after));
            places.clock.advance(visit.after);
        }
        let went = tokio::time::timeout(PATIENCE, go(&engine, &places, visit)).await;
        let promotion = went.with_context(|| format!("nothing gets to {}", visit.stage))??;
        let Some(promotion) = promotion else {
            println!("  {:11} has what all stages before it have", visit.stage);
            continue;
        };
        let how = match visit.how {
            How::Automatic => "takes it by itself",
            How::PullRequest => "by alice, and Bob merges the pull request",
            _ => "by alice",
        };
        println!("  {:11} {how}: {}", visit.stage, promotion.phase);
        for step in promotion.steps.iter().filter(|step| told.insert(step.spec.uses.clone())) {
            let stand_in = programs::stand_in(&step.spec.uses).map(|why| format!("  ({why})")).unwrap_or_default();
            let said: String = step.task.message.chars().take(90).collect();
            println!("    {:20} {:10} {said}{stand_in}", step.spec.uses, step.task.phase.to_string());
        }
    }
    for (branch, file) in story.shown {
        println!("  {branch}: {file}");
        for line in places.repository.read(branch, file).lines() {
            println!("    {line}");
        }
    }
    engine.shutdown().await?;
    Ok(())
}

/// Brings the newest freight of a warehouse to a stage, and waits until it is verified there. None when the stage has no steps.
async fn go(engine: &Engine, places: &Places, visit: &Visit) -> Result<Option<Promotion>> {
    let freight = newest(engine, visit.warehouse).await?;
    let promotion = match visit.how {
        How::Inherited => None,
        How::Automatic => Some(
            engine
                .until(|state| {
                    let mine = |one: &&Promotion| one.stage.as_str() == visit.stage && one.freight == freight;
                    state.promotions().find(mine).map(|one| one.id.clone())
                })
                .await?,
        ),
        How::Asked | How::PullRequest => {
            while !engine.why(visit.stage, freight.clone()).admission.is_open() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Some(engine.promote(visit.stage, &freight, Actor::user("alice")).await?)
        }
    };
    if visit.how == How::PullRequest {
        let pull = loop {
            match places.forge.open_pull_request() {
                Some(pull) => break pull,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        places.forge.merge(&pull)?;
    }
    let ended = match &promotion {
        Some(id) => Some(engine.finished(id).await?),
        None => None,
    };
    if let Some(ended) = &ended
        && ended.phase != Phase::Succeeded
    {
        let steps =
            ended.steps.iter().map(|step| format!("\n  {} {} {}", step.spec.uses, step.task.phase, step.task.message));
        bail!("the promotion to {} {}: {}", visit.stage, ended.phase, steps.collect::<String>());
    }
    engine.until(|state| state.freight_by_id(&freight)?.verified().contains_key(visit.stage).then_some(())).await?;
    Ok(ended)
}

/// The newest freight of a warehouse; of one that makes none by itself, what somebody puts together.
async fn newest(engine: &Engine, warehouse: &str) -> Result<FreightId> {
    if warehouse == "config" {
        // It is there once all has been looked for.
        for _ in 0..500 {
            if let Ok(freight) = engine.assemble(warehouse, [], Actor::user("alice")).await {
                return Ok(freight);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        return Ok(engine.assemble(warehouse, [], Actor::user("alice")).await?);
    }
    let found = engine.until(|state| Some(state.newest_first(&warehouse.into()).next()?.freight().id().clone()));
    Ok(found.await?)
}

fn hours(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    if minutes < 60 { format!("{minutes} minutes") } else { format!("{} hours", minutes / 60) }
}
