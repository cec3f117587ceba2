//! The step `git-clear`: takes all files out of a checkout.

use async_trait::async_trait;
use kargo_core::Result;
use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest, read_config, read_template};
use kargo_core::workspace::{EntryKind, Workspace};
use serde::Deserialize;
use serde_json::Value;

use super::checkout::Checkout;
use super::is_one_of;

const USES: &str = "git-clear";

#[derive(Debug)]
pub(super) struct GitClear;

/// `git-clear`: takes all files out of a checkout, so that what is written next is all that there is.
///
/// Of a sparse checkout only its directories are emptied, and the files beside them on the way there.
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - There is no checkout at `path`.
///
/// # Example
///
/// ```yaml
/// - uses: git-clone
///   config:
///     repoURL: ${{ vars.repo }}
///     checkout:
///     - branch: rendered
///       path: ./out
/// - uses: git-clear
///   config:
///     path: ./out
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where the checkout is.
    path: String,
}

#[async_trait]
impl Step for GitClear {
    fn validate(&self, config: &Value) -> Result<()> {
        read_config::<Config>(USES, config).map(drop)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        read_template::<Config>(USES, config).map(drop)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        is_one_of(pointer, &["path"])
    }

    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config: Config = read_config(USES, request.config)?;
        let (_, checkout) = Checkout::at(cx, request.workspace(), &config.path).await?;
        if checkout.sparse.is_empty() {
            request.workspace().clear(cx, &config.path).await?;
        } else {
            clear_sparse(cx, request.workspace(), &config.path, &checkout.sparse).await?;
        }
        Ok(StepOutcome::succeeded())
    }
}

/// Takes out what a sparse checkout has: the directories that were asked for, and the files beside them on the way there, as Git's cone
/// mode has it. The rest of the branch is not this promotion's.
async fn clear_sparse(cx: &Context, workspace: &Workspace, root: &str, sparse: &[String]) -> Result<()> {
    let below = |path: &str| sparse.iter().any(|wanted| path == wanted || path.starts_with(&format!("{wanted}/")));
    let above = |path: &str| sparse.iter().any(|wanted| wanted.starts_with(&format!("{path}/")));
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        for entry in workspace.list(cx, &format!("{root}/{directory}")).await?.into_iter().flatten() {
            let path = if directory.is_empty() { entry.name } else { format!("{directory}/{}", entry.name) };
            if entry.kind != EntryKind::Directory || below(&path) {
                workspace.remove(cx, &format!("{root}/{path}")).await?;
            } else if above(&path) {
                open.push(path);
            }
        }
    }
    Ok(())
}
