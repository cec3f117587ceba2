//! Checks Kargo manifests: `cargo run -p kargo-examples --example lint -- examples/manifests`.
//!
//! Prints what is wrong, as a compiler would, and ends with status 1 when there is an error among it. Every step of these crates checks the
//! configurations that it would get; steps that a host adds are named with `--step`, and their configurations are not looked at.

use std::path::PathBuf;
use std::process::ExitCode;

use async_trait::async_trait;
use clap::Parser;
use kargo_core::manifest::{Finding, Manifests, lint};
use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest};
use kargo_core::{Error, ErrorKind};
use kargo_examples::steps::every_step;

/// Checks Kargo manifests.
#[derive(Debug, Parser)]
struct Arguments {
    /// Files, and folders that are looked through. Default: the manifests among these examples.
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests"))]
    paths: Vec<PathBuf>,
    /// A step that there is beside Kargo's own.
    #[arg(long = "step")]
    steps: Vec<String>,
    /// Takes warnings for errors.
    #[arg(long)]
    strict: bool,
}

/// A step of the host's, of which no more is known than its name.
#[derive(Debug)]
struct Elsewhere;

#[async_trait]
impl Step for Elsewhere {
    fn takes_text(&self, _: &str) -> bool {
        true
    }

    async fn run(&self, _: &Context, _: &StepRequest<'_>) -> kargo_core::Result<StepOutcome> {
        Err(Error::new(ErrorKind::Unsupported, "The step is the host's, and is not here."))
    }
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let manifests = Manifests::load(&arguments.paths)?;
    let plugins = arguments.steps.iter().fold(every_step()?, |plugins, step| plugins.step(step, Elsewhere));
    let findings = lint(&manifests, &plugins.build());
    for finding in &findings {
        println!("{finding}\n");
    }
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let (read, warnings) = (manifests.iter().count(), findings.len() - errors);
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    println!("{}: {}, {}.", counted(read, "manifest"), counted(errors, "error"), counted(warnings, "warning"));
    let failed = errors > 0 || arguments.strict && findings.iter().any(|finding| !Finding::is_error(finding));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
