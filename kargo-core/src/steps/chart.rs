//! A chart on disk, with the charts beside it that `helm` would look for on this machine.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::files::leads_out;
use super::foreign::{fields, read, text};
use super::kustomize::clean;
use super::program::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Context;
use crate::workspace::{Node, Workspace};

/// Where a chart says what it is and what it depends on. By the locks `helm dependency build` fetches.
const FILES: [&str; 4] = ["Chart.yaml", "requirements.yaml", "Chart.lock", "requirements.lock"];
/// How many charts may depend on each other.
const MAX_CHARTS: usize = 1_000;

/// Writes the chart at `path` to disk, and those that it, the charts in its `charts` and they themselves depend on by a path.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] when one of their files names a chart outside of the workspace, by its repository or its name, or could be
/// read otherwise by `helm`.
pub(super) async fn export(cx: &Context, workspace: &Workspace, place: &Place, path: &str) -> Result<()> {
    let mut seen = BTreeSet::from([path.to_owned()]);
    let mut open = vec![path.to_owned()];
    while let Some(chart) = open.pop() {
        place.export(cx, workspace, &chart).await?;
        let inside = format!("./{chart}");
        if !matches!(workspace.node(cx, &inside).await?, Some(Node::Directory(_))) {
            continue;
        }
        if chart == path && workspace.node(cx, &format!("{inside}/Chart.yaml")).await?.is_none() {
            return Err(workspace.missing(cx, &format!("{inside}/Chart.yaml")).await);
        }
        for (file, _) in workspace.walk(cx, &inside).await? {
            let (directory, name) = file.rsplit_once('/').unwrap_or(("", &file));
            if !FILES.iter().any(|known| known.eq_ignore_ascii_case(name)) || !is_chart(directory) {
                continue;
            }
            let (file, directory) = (clean(&format!("{chart}/{file}")), clean(&format!("{chart}/{directory}")));
            for document in read(cx, workspace, &file).await? {
                for target in beside(&document, &file, &directory)? {
                    // One that is not there helm tells of, if it looks for it.
                    let is_there = workspace.node(cx, &format!("./{target}")).await?.is_some();
                    if is_there && seen.insert(target.clone()) {
                        open.push(target);
                    }
                }
            }
        }
        if seen.len() > MAX_CHARTS {
            let message = format!("The chart in {path:?} depends on more than {MAX_CHARTS} charts beside it.");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    Ok(())
}

/// Whether a directory of a chart is a chart: it itself, and those in `charts`.
fn is_chart(directory: &str) -> bool {
    let parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    parts.len().is_multiple_of(2) && parts.iter().step_by(2).all(|part| *part == "charts")
}

/// The charts that a chart's file refers to by a path, within the workspace.
fn beside(document: &Map<String, Value>, file: &str, directory: &str) -> Result<Vec<String>> {
    let refused = |what: String| Err(Error::new(ErrorKind::InvalidInput, what).with("file", file));
    let names_path = |name: &str| name.contains(['/', '\\']) || name == "..";
    if let Some(name) = fields(document, "name").filter_map(text).find(|name| names_path(name)) {
        return refused(format!("The chart's name {name:?} is a path."));
    }
    let mut found = Vec::new();
    let lists = fields(document, "dependencies").filter_map(Value::as_array);
    for dependency in lists.flatten().filter_map(Value::as_object) {
        let name = fields(dependency, "name").find_map(text).unwrap_or_default();
        for field in ["name", "alias"] {
            if let Some(name) = fields(dependency, field).filter_map(text).find(|name| names_path(name)) {
                return refused(format!("The `{field}` of the chart's dependency {name:?} is a path."));
            }
        }
        for repository in fields(dependency, "repository").filter_map(text) {
            let repository = repository.trim();
            let Some(path) = repository.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("file://")) else {
                continue;
            };
            let path = &repository[path.len()..];
            let target = format!("{directory}/{path}");
            if path.starts_with('/') || path.contains('\\') || leads_out(&target) {
                return refused(format!("The chart's dependency {name:?} is outside of the workspace: {path:?}."));
            }
            found.push(clean(&target));
        }
    }
    Ok(found)
}
