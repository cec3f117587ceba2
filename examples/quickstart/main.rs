//! An image that is pushed to a registry reaches production through Git and Argo CD.
//!
//! `cargo run --release --example quickstart` tells the whole story on one machine, with nothing installed but Rust: a registry in
//! this process, a bare repository on disk, a fake Argo CD, and a store in one file. Flags put a real registry, repository or
//! Argo CD in the place of each of these; see `--help`.

mod places;
mod report;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;
use kargo_core::store::RedbStore;
use kargo_core::{Actor, Engine, FreightId, PromoteError, PromotionId};
use kargo_examples::shop;

use places::Places;
use report::Live;

#[derive(Debug, Parser)]
#[command(about = "An image that is pushed to a registry reaches production through Git and Argo CD.")]
struct Args {
    /// The image to watch, such as registry.example/shop/app. Default: one in a registry in this process.
    #[arg(long)]
    image: Option<String>,
    /// The user for that registry; the password comes from the variable REGISTRY_PASSWORD.
    #[arg(long, requires = "image")]
    registry_user: Option<String>,
    /// The configuration repository: a URL, or the path of a repository on this machine. It must have env/STAGE/values.yaml with
    /// the key image.tag on branch main, for dev, staging and prod. Default: a new bare one.
    #[arg(long)]
    repository: Option<String>,
    /// The user for that repository; the password comes from the variable GIT_PASSWORD.
    #[arg(long, requires = "repository")]
    repository_user: Option<String>,
    /// The URL of an Argo CD with the applications shop-dev, shop-staging and shop-prod; its token comes from the variable
    /// ARGOCD_TOKEN. Default: a fake one in this process.
    #[arg(long)]
    argocd: Option<String>,
    /// The file of the store. Default: a temporary one. With a file of your own, the next run goes on where this one ended.
    #[arg(long)]
    store: Option<PathBuf>,
    /// How long to wait for something to happen, in seconds, before giving up.
    #[arg(long, default_value_t = 600)]
    patience: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain of causes on one line; nobody is left to tell when this cannot be written.
            let _ = writeln!(std::io::stderr(), "quickstart: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let patience = Duration::from_secs(args.patience);
    tokio::select! {
        told = tokio::time::timeout(patience, story(&args)) => match told {
            Ok(told) => told,
            Err(_) => bail!("the story did not end within {} seconds; see --patience", args.patience),
        },
        _ = tokio::signal::ctrl_c() => bail!("interrupted; with --store, the next run goes on where this one ended"),
    }
}

async fn story(args: &Args) -> Result<()> {
    let places = Places::open(args).await?;
    report::places(&places);

    let pipeline = shop::pipeline(&places.image, places.interval)?;
    let plugins = shop::plugins(places.registry_client.clone(), places.config.clone(), places.argocd_client.clone());
    let store = Arc::new(RedbStore::open(&places.store)?);
    let engine = Engine::builder(pipeline, plugins).store(store).clock(places.clock.clone()).start().await?;
    let live = Live::start(&engine);
    let told = tell(&engine, &places, &live).await;
    engine.shutdown().await?;
    live.end().await?;
    told?;
    report::tables(&engine, &places).await
}

/// The story, as far as it can be told with what is there: what needs a new image happens when the registry is ours.
async fn tell(engine: &Engine, places: &Places, live: &Live) -> Result<()> {
    let alice = Actor::user("alice");
    if let Some(registry) = &places.registry {
        live.chapter("Version 1.0.0 is pushed to the registry").await;
        places.push(registry, "1.0.0").await?;
        engine.refresh("main").await?;
    } else {
        live.chapter(&format!("Waiting for a version ^1 of {}", places.image)).await;
    }
    let first = engine.until(|state| Some(state.newest_first(&"main".into()).next()?.freight().id().clone())).await?;

    if !engine.why("prod", &first).admission.is_open() {
        live.chapter("Alice asks for production at once, and is told what is missing").await;
        match engine.promote("prod", &first, alice.clone()).await {
            Err(PromoteError::Refused(refusal)) => live.line(&refusal.to_string()).await,
            Err(error) => return Err(error.into()),
            Ok(promotion) => bail!("promotion {promotion} should have been refused"),
        }
    }
    live.chapter("dev and staging take it by themselves").await;
    verified(engine, "staging", &first).await?;

    let runs = engine.read(|state| state.current(&"prod".into()).iter().any(|freight| *freight.id() == first));
    if runs {
        live.chapter("Production runs it already").await;
    } else {
        live.chapter("Production waits for a person; Alice promotes").await;
        promote(engine, &first, &alice).await?;
    }

    let Some(registry) = &places.registry else { return Ok(()) };
    live.chapter("Version 1.1.0 is pushed, and takes the same way").await;
    places.push(registry, "1.1.0").await?;
    places.push(registry, "2.0.0-rc.1").await?;
    engine.refresh("main").await?;
    let second = engine
        .until(|state| {
            let newest = state.newest_first(&"main".into()).next()?.freight().id();
            (*newest != first).then(|| newest.clone())
        })
        .await?;
    verified(engine, "staging", &second).await?;
    promote(engine, &second, &alice).await?;

    live.chapter("Something is wrong with 1.1.0: Alice rolls production back").await;
    let back = engine.rollback("prod", alice.clone()).await?;
    ended(engine, &back).await?;
    live.line("It stays so: newer freight waits until a person promotes it.").await;
    Ok(())
}

async fn verified(engine: &Engine, stage: &str, freight: &FreightId) -> Result<()> {
    let settled = engine.until(|state| {
        if state.freight_by_id(freight)?.verified().contains_key(stage) {
            return Some(Ok(()));
        }
        // A stage that promotes by itself does not try again what has failed, so there is nothing more to wait for.
        let bad = state.promotions().find(|promotion| promotion.freight == *freight && went_wrong(promotion))?;
        let message = bad.verifications.last().map_or(&bad.message, |verification| &verification.message);
        Some(Err(anyhow::anyhow!("promotion {} ended {}: {message}", bad.id, bad.phase)))
    });
    settled.await?
}

fn went_wrong(promotion: &kargo_core::state::Promotion) -> bool {
    let phases = [Some(promotion.phase), promotion.verifications.last().map(|verification| verification.phase)];
    phases.into_iter().flatten().any(|phase| phase.is_terminal() && !phase.is_success())
}

async fn promote(engine: &Engine, freight: &FreightId, actor: &Actor) -> Result<()> {
    let promotion = engine.promote("prod", freight, actor.clone()).await?;
    ended(engine, &promotion).await
}

/// Waits until a promotion to production has ended well.
async fn ended(engine: &Engine, promotion: &PromotionId) -> Result<()> {
    let ended = engine.finished(promotion).await?;
    if went_wrong(&ended) {
        bail!("promotion {promotion} ended {}: {}", ended.phase, ended.message);
    }
    Ok(())
}
