//! The shop of the quickstart as a process of its own: it runs the pipeline until a version is verified in production, asking for
//! production as soon as staging has verified it. It may be killed at any instant and started again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use kargo_argocd::testing::FastClock;
use kargo_core::store::RedbStore;
use kargo_core::{Actor, Engine};
use kargo_examples::shop;
use kargo_git::{Credentials, Remote};

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    image: String,
    #[arg(long)]
    repository: String,
    #[arg(long, env = "SHOP_GIT_USER")]
    git_user: Option<String>,
    #[arg(long, env = "SHOP_GIT_PASSWORD", hide_env_values = true)]
    git_password: Option<String>,
    #[arg(long)]
    argocd: String,
    #[arg(long, env = "SHOP_ARGOCD_TOKEN", hide_env_values = true)]
    argocd_token: String,
    #[arg(long)]
    store: PathBuf,
    /// The version to wait for.
    #[arg(long)]
    version: String,
    /// How many seconds pass in each real one.
    #[arg(long, default_value_t = 1)]
    speed: u32,
    /// How long to wait, in real seconds.
    #[arg(long, default_value_t = 300)]
    patience: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut config = Remote::builder(&args.repository);
    if let (Some(user), Some(password)) = (&args.git_user, &args.git_password) {
        config = config.credentials(Credentials::basic(user, password.as_str()));
    }
    let argocd = kargo_argocd::Client::builder(&args.argocd).token(args.argocd_token.as_str()).build()?;
    let plugins = shop::plugins(kargo_oci::Client::anonymous()?, config.build()?, argocd);
    let pipeline = shop::pipeline(&args.image, Duration::from_secs(5))?;
    let store = Arc::new(RedbStore::open(&args.store)?);
    let engine = Engine::builder(pipeline, plugins).store(store).clock(Arc::new(FastClock::new(args.speed)));
    let engine = engine.start().await?;
    let done = tokio::time::timeout(Duration::from_secs(args.patience), to_production(&engine, &args.version)).await;
    if done.is_err() {
        let trouble = engine.trouble().unwrap_or_else(|| "none".to_owned());
        bail!(
            "{} is not in production after {} seconds; trouble with the store: {trouble}",
            args.version,
            args.patience
        );
    }
    done??;
    engine.shutdown().await?;
    Ok(())
}

async fn to_production(engine: &Engine, version: &str) -> Result<()> {
    let verified = |stage: &'static str| {
        engine.until(move |state| {
            let known = state.newest_first(&"main".into()).find(|known| known.freight().label() == version)?;
            known.verified().contains_key(stage).then(|| known.freight().id().clone())
        })
    };
    let freight = verified("staging").await?;
    // The request survives in the journal; whoever comes after a kill must not ask twice.
    let asked = engine.read(|state| state.promotions().any(|p| p.stage == "prod" && p.freight == freight));
    if !asked {
        engine.promote("prod", &freight, Actor::user("alice")).await.context("promote to production")?;
    }
    verified("prod").await?;
    Ok(())
}
