//! Manifests of Kubernetes as they come out of a renderer: apart, and each with a file's name.

use std::collections::BTreeMap;

use crate::edit;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Context;
use crate::workspace::Workspace;

/// One manifest.
#[derive(Debug, Default)]
pub(super) struct Manifest<'t> {
    /// As it was written.
    pub(super) text: &'t str,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Splits a stream into its documents; those without a value are left out.
///
/// # Errors
/// When one of them is not YAML.
pub(super) fn split(stream: &str) -> Result<Vec<Manifest<'_>>> {
    let mut manifests = Vec::new();
    let mut start = 0;
    let marks = stream.match_indices("---").map(|(at, _)| at).filter(|at| {
        let line_starts = *at == 0 || stream[..*at].ends_with('\n');
        line_starts && stream[at + 3..].chars().next().is_none_or(char::is_whitespace)
    });
    for end in marks.chain([stream.len()]) {
        let text = &stream[start..end];
        start = (end + 3).min(stream.len());
        for document in edit::yaml::parse(text)? {
            let field = |pointer: &str| {
                document.pointer(pointer).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
            };
            if !document.is_null() {
                let api = field("/apiVersion");
                let (group, version) = api.rsplit_once('/').unwrap_or(("", &api));
                manifests.push(Manifest {
                    text: text.trim_matches(['\n', '\r', ' ']),
                    group: group.to_owned(),
                    version: version.to_owned(),
                    kind: field("/kind"),
                    namespace: field("/metadata/namespace"),
                    name: field("/metadata/name"),
                });
            }
        }
    }
    Ok(manifests)
}

/// Whether a path names a file that gets all manifests.
pub(super) fn is_one_file(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

/// Writes each manifest to a file of its own in `directory`.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] when two would have the same name: one of them would be lost.
pub(super) async fn write_each(
    cx: &Context,
    workspace: &Workspace,
    directory: &str,
    manifests: &[Manifest<'_>],
    file_name: impl Fn(usize, &Manifest<'_>) -> String + Send,
) -> Result<()> {
    let mut files: BTreeMap<String, &str> = BTreeMap::new();
    for (index, manifest) in manifests.iter().enumerate() {
        // A name is not a path.
        let name = file_name(index, manifest).to_lowercase().replace('/', "_");
        if files.insert(name.clone(), manifest.text).is_some() {
            let message = format!(
                "Two manifests would be written to {name:?} in {directory:?}; render them into one file instead."
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    for (name, text) in files {
        workspace.write(cx, &format!("{directory}/{name}"), format!("{text}\n")).await?;
    }
    Ok(())
}
