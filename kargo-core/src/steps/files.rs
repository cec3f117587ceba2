//! `copy` and `file-write`.

use async_trait::async_trait;

use super::config;
use super::ignore::Ignore;
use super::typed::{Builtin, failed};
use crate::error::Result;
use crate::plugin::{Context, StepOutcome, StepRequest};
use crate::workspace::{EntryKind, Workspace};

#[derive(Debug)]
pub(super) struct Copy;

#[async_trait]
impl Builtin for Copy {
    const USES: &'static str = "copy";
    type Config = config::Copy;

    async fn run(&self, cx: &Context, config: config::Copy, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let ignore = Ignore::parse(&config.ignore)?;
        let keep = ignore
            .as_ref()
            .map(|ignore| move |path: &str, kind: EntryKind| !ignore.names(path, kind == EntryKind::Directory));
        let keep = keep.as_ref().map(|keep| keep as crate::workspace::Keep<'_>);
        request.workspace().copy(cx, &config.in_path, &config.out_path, keep).await?;
        Ok(StepOutcome::succeeded())
    }
}

#[derive(Debug)]
pub(super) struct FileWrite;

#[async_trait]
impl Builtin for FileWrite {
    const USES: &'static str = "file-write";
    type Config = config::FileWrite;

    async fn run(&self, cx: &Context, config: config::FileWrite, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let workspace = request.workspace();
        let path = &config.path;
        if path.starts_with('/') {
            return failed(format!("The path {path:?} must be relative to the workspace."));
        }
        if leads_out(path) {
            return failed(format!("The path {path:?} leads out of the workspace."));
        }
        if path.split('/').any(|part| part.eq_ignore_ascii_case(".git")) {
            return failed(format!("The path {path:?} has `.git` in it, which steps can neither see nor change."));
        }
        if let Some(link) = link_on_the_way(cx, workspace, path).await? {
            return failed(format!("The path {path:?} leads through {link:?}, which is a symbolic link."));
        }
        if !config.overwrite && workspace.node(cx, path).await?.is_some() {
            return failed(format!("{path:?} is there already; set `overwrite` to true to replace it."));
        }
        workspace.write_file(cx, path, config.contents.into(), Some(false)).await?;
        Ok(StepOutcome::succeeded())
    }
}

/// Whether `..` leads `path` above where it begins.
pub(super) fn leads_out(path: &str) -> bool {
    let mut depth = 0_usize;
    path.split('/').any(|part| {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
        false
    })
}

/// The first symbolic link that `path` names or leads through.
pub(super) async fn link_on_the_way(cx: &Context, workspace: &Workspace, path: &str) -> Result<Option<String>> {
    let mut above = String::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        let here = if above.is_empty() { part.to_owned() } else { format!("{above}/{part}") };
        if part != ".." && kind_of(cx, workspace, &above, part).await? == Some(EntryKind::Link) {
            return Ok(Some(here));
        }
        above = here;
    }
    Ok(None)
}

/// What the entry `name` of a directory is; a link is a link.
pub(super) async fn kind_of(
    cx: &Context,
    workspace: &Workspace,
    directory: &str,
    name: &str,
) -> Result<Option<EntryKind>> {
    let directory = if directory.is_empty() { "." } else { directory };
    if !matches!(workspace.node(cx, directory).await?, Some(crate::workspace::Node::Directory(_))) {
        return Ok(None);
    }
    let entries = workspace.list(cx, directory).await?.unwrap_or_default();
    Ok(entries.into_iter().find(|entry| entry.name == name).map(|entry| entry.kind))
}
