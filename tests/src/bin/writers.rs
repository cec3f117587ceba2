//! Writers that race for one branch, through Kargo's steps: each makes so many commits of a file of its own, one promotion for each.

use anyhow::{Result, bail};
use clap::Parser;
use kargo_core::plugin::{Plugins, StepOutcome};
use kargo_git::testing::StepByStep;
use kargo_git::{Credentials, GitSource, GitSteps};
use serde_json::json;

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    repository: String,
    #[arg(long, env = "WRITERS_USER")]
    user: String,
    #[arg(long, env = "WRITERS_PASSWORD", hide_env_values = true)]
    password: String,
    /// The number of the first writer.
    #[arg(long)]
    first: u32,
    #[arg(long)]
    writers: u32,
    #[arg(long)]
    commits: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let access = GitSource::new().credentials(&args.repository, Credentials::basic(&args.user, args.password.as_str()));
    let plugins = GitSteps::new(access).register(Plugins::builder()).build();
    let writers = (args.first..args.first + args.writers).map(|writer| {
        let (plugins, repository) = (plugins.clone(), args.repository.clone());
        tokio::spawn(async move {
            for n in 0..args.commits {
                promote(StepByStep::new(&format!("w{writer}.{n}"), plugins.clone()), &repository, writer, n).await?;
            }
            Ok::<_, anyhow::Error>(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    Ok(())
}

async fn promote(mut promotion: StepByStep, repository: &str, writer: u32, n: u32) -> Result<()> {
    let checkout = json!([{"path": "src", "branch": "main"}]);
    promotion.try_run("git-clone", json!({"repoURL": repository, "checkout": checkout})).await?;
    promotion.write(&format!("src/race/w{writer}.yaml"), &format!("{n}\n")).await;
    promotion.try_run("git-commit", json!({"path": "src", "message": format!("Writer {writer}, commit {n}")})).await?;
    match promotion.try_run("git-push", json!({"path": "src", "maxAttempts": 50})).await? {
        StepOutcome::Succeeded { .. } => Ok(()),
        other => bail!("writer {writer}, commit {n}: {other:?}"),
    }
}
