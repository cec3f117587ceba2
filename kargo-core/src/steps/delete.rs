//! `delete`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use globset::GlobBuilder;

use super::config;
use super::files::{kind_of, leads_out};
use super::typed::Builtin;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::{Context, StepOutcome, StepRequest};
use crate::workspace::{Node, Workspace};

#[derive(Debug)]
pub(super) struct Delete;

#[async_trait]
impl Builtin for Delete {
    const USES: &'static str = "delete";
    type Config = config::Delete;

    async fn run(&self, cx: &Context, config: config::Delete, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let workspace = request.workspace();
        let mut found = BTreeSet::new();
        for path in config.path.iter().chain(config.paths.iter().flatten()) {
            if leads_out(path) {
                return Err(invalid(format!("The path {path:?} leads out of the workspace, so nothing was deleted.")));
            }
            let before = found.len();
            if config.paths_are_globs {
                found.extend(matching(cx, workspace, path).await?);
            } else if is_there(cx, workspace, path).await? {
                found.insert(path.clone());
            }
            if config.strict && found.len() == before && !found.contains(path) {
                let why = if config.paths_are_globs { "matches nothing" } else { "does not exist" };
                let message = format!("The path {path:?} {why}, and `strict` makes that an error.");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
        }
        for path in found {
            // What lay in a directory is gone with it.
            workspace.remove(cx, &path).await?;
        }
        Ok(StepOutcome::succeeded())
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

async fn is_there(cx: &Context, workspace: &Workspace, path: &str) -> Result<bool> {
    let path = path.trim_end_matches('/');
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        // Resolved by the workspace, which refuses to delete itself.
        "" | "." | ".." => Ok(true),
        _ => Ok(kind_of(cx, workspace, above, name).await?.is_some()),
    }
}

/// The paths that `pattern` matches: of files and links, and of the directories above them.
async fn matching(cx: &Context, workspace: &Workspace, pattern: &str) -> Result<Vec<String>> {
    let clean = pattern.trim_start_matches("./").trim_start_matches('/');
    let glob = GlobBuilder::new(clean).literal_separator(true).backslash_escape(true).build();
    let matcher = glob
        .map_err(|error| invalid(format!("{pattern:?} is no pattern for paths; correct it.")).because(error))?
        .compile_matcher();
    // Only the directory that the pattern names to the letter is looked at.
    let parts: Vec<&str> = clean.split('/').collect();
    let literal = parts[..parts.len() - 1].iter().take_while(|part| !part.contains(['*', '?', '[', '{', '\\']));
    let root = literal.copied().collect::<Vec<_>>().join("/");
    let start = if root.is_empty() { "." } else { &root };
    if !matches!(workspace.node(cx, start).await?, Some(Node::Directory(_))) {
        return Ok(Vec::new());
    }
    let mut found = BTreeSet::new();
    for (path, _) in workspace.walk(cx, start).await? {
        let path = if root.is_empty() { path } else { format!("{root}/{path}") };
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        found.extend(ends.map(|end| &path[..end]).filter(|part| matcher.is_match(part)).map(str::to_owned));
    }
    Ok(found.into_iter().collect())
}
