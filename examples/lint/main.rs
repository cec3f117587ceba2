//! Checks Kargo manifests: `cargo run -p kargo-examples --example lint -- examples/manifests`.
//!
//! Prints what is wrong, as a compiler would, and ends with status 1 when there is an error among it. Steps that the host adds are named
//! with `--step`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kargo_core::manifest::{Finding, Manifests, STEPS, lint};

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

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let manifests = Manifests::load(&arguments.paths)?;
    let known: Vec<&str> = STEPS.into_iter().chain(arguments.steps.iter().map(String::as_str)).collect();
    let findings = lint(&manifests, &known);
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
