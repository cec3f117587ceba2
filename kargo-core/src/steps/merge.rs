//! `yaml-merge`.

use async_trait::async_trait;

use super::config;
use super::typed::{Builtin, committed};
use crate::edit;
use crate::error::Result;
use crate::plugin::{Context, StepOutcome, StepRequest};

#[derive(Debug)]
pub(super) struct YamlMerge;

#[async_trait]
impl Builtin for YamlMerge {
    const USES: &'static str = "yaml-merge";
    type Config = config::YamlMerge;

    async fn run(&self, cx: &Context, config: config::YamlMerge, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let workspace = request.workspace();
        let mut merged = String::new();
        let mut files = Vec::new();
        for path in &config.in_files {
            let Some(contents) = workspace.read(cx, path).await? else {
                if config.ignore_missing_files {
                    continue;
                }
                return Err(workspace.missing(cx, path).await);
            };
            files.push(path);
            let text = edit::text(path, &contents)?;
            merged = edit::yaml::merge(&merged, text).map_err(|error| error.with("file", path))?;
        }
        workspace.write(cx, &config.out_file, merged).await?;
        // Kargo's words, also for a single file, which is copied.
        if files.len() <= 1 {
            return Ok(committed("no YAML files merged".to_owned()));
        }
        let lines: String = files.iter().map(|file| format!("\n- {file}")).collect();
        Ok(committed(format!("Merged YAML files to {}\n{lines}", config.out_file)))
    }
}
