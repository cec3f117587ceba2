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
    /// What is in the repository at the end.
    shown: &'static [Shown],
    /// The applications, each with the branch of whose last commits one is live there, and which that is: 0 for the last.
    live: &'static [(&'static str, &'static str, usize)],
}

/// A file of a branch, with what must be in it. `registry.example` stands for the registry of these places.
struct Shown {
    branch: &'static str,
    file: &'static str,
    expected: &'static str,
    /// The step that makes it with a program. Where that is installed, rather than a step of this example in its place, it may write the
    /// file in another form, and under another name.
    by: &'static str,
}

const fn shown(branch: &'static str, file: &'static str, expected: &'static str) -> Shown {
    Shown { branch, file, expected, by: "" }
}

const fn made(by: &'static str, shown: Shown) -> Shown {
    Shown { by, ..shown }
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
    /// By somebody who asks once more for what is there already: there is nothing to commit, to propose or to wait for.
    Again,
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
        shown: &[
            made("kustomize-build", shown("stage/dev", "deployment-web.yaml", WEB)),
            made("kustomize-build", shown("stage/staging", "deployment-web.yaml", WEB)),
            made("kustomize-build", shown("stage/prod", "deployment-web.yaml", WEB)),
        ],
        live: &[("web-dev", "stage/dev", 0), ("web-staging", "stage/staging", 0), ("web-prod", "stage/prod", 0)],
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
            visit("prod", "orders", How::Again),
        ],
        shown: &[shown("main", "orders/values-test.yaml", ORDERS), shown("main", "orders/values-prod.yaml", ORDERS)],
        // The merge is the last commit, and behind it stands what it merged.
        live: &[("orders-test", "main", 1), ("orders-prod", "main", 0)],
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
        shown: &[
            made("helm-template", shown("rendered/canary", "deployment.yaml", CANARY)),
            made("helm-template", shown("rendered/prod-eu", "deployment.yaml", EU)),
            made("helm-template", shown("rendered/prod-us", "deployment.yaml", US)),
        ],
        live: &[("catalog-canary", "rendered/canary", 0)],
    },
    Story {
        name: "two-warehouses",
        text: manifests!("two-warehouses"),
        project: "billing",
        repository: "https://git.example/acme/billing.git",
        seed: billing,
        visits: &[
            visit("dev", "config", How::Asked),
            visit("dev", "code", How::Asked),
            visit("prod", "config", How::Asked),
            visit("prod", "code", How::Asked),
        ],
        shown: &[
            shown("env/dev", "versions.json", VERSIONS),
            shown("env/dev", "app/settings.yaml", "currency: EUR\n"),
            shown("env/prod", "versions.json", VERSIONS),
            shown("env/prod", "app/settings.yaml", "currency: EUR\n"),
        ],
        live: &[("billing-prod", "env/prod", 0)],
    },
];

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - image: registry.example/acme/web:1.4.2
        name: web
";

const ORDERS: &str = "image:
  tag: 2.1.0 # written by promotions
";

const CANARY: &str = "kind: Deployment\nspec:\n  replicas: 1\n  region: none\n";
const EU: &str = "kind: Deployment\nspec:\n  replicas: 2\n  region: eu\n";
const US: &str = "kind: Deployment\nspec:\n  replicas: 2\n  region: us\n";

const VERSIONS: &str = "{
  \"api\": \"4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f\",
  \"jobs\": \"sha256:948fd7f8c06ac1746b370c943dd3e401d3c1d742d1ed03eaf895bac5a066d9e3\",
  \"schema\": \"42\",
  \"region\": \"eu\"
}
";

fn quickstart(places: &Places) {
    let image = format!("{}/acme/web", places.registry.host());
    let deployment = WEB.replace("registry.example/acme/web:1.4.2", &image);
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
    for stage in ["dev", "prod"] {
        places.commit(&format!("env/{stage}"), &[("versions.json", "{\n  \"api\": \"\"\n}\n")]);
    }
    places.app("billing", "prod", "env/prod", ".");
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
            How::Again => "by alice, once more",
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
    for Shown { branch, file, expected, by } in story.shown {
        if !by.is_empty() && programs::stand_in(by).is_none() {
            println!("  {branch}: what {by} has made");
            continue;
        }
        println!("  {branch}: {file}");
        let text = places.repository.read(branch, file).replace(places.registry.host(), "registry.example");
        text.lines().for_each(|line| println!("    {line}"));
        ensure!(text == *expected, "{file} of {branch} should be\n{expected}");
    }
    for (app, branch, behind) in story.live {
        let commit = places.repository.log(branch).get(*behind).map(|commit| commit.id.clone());
        let live = places.argocd.live_revision(app);
        ensure!(
            commit.is_some() && live == commit,
            "{app} runs {live:?}, and commit {behind} of {branch} is {commit:?}"
        );
        println!("  {app} runs {branch}");
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
        How::Asked | How::PullRequest | How::Again => {
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
    if let Some(ended) = ended.as_ref().filter(|_| visit.how == How::Again) {
        ensure!(places.forge.open_pull_request().is_none(), "there is nothing to propose");
        for uses in ["git-commit", "git-open-pr", "git-wait-for-pr", "argocd-update"] {
            let step = ended.steps.iter().find(|step| step.spec.uses == uses);
            let phase = step.map(|step| step.task.phase);
            ensure!(phase == Some(Phase::Skipped), "{uses} should be skipped, and is {phase:?}");
        }
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
