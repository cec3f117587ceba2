//! Which source of an application is meant, and whether the application can be judged at all.

use kargo_core::{Error, ErrorKind, Result, Revision};

use crate::client::Application;
use crate::config::{ArgoCdApp, SourceRef};
use crate::judge::Wanted;

/// The annotation by which an application is taken out of Argo CD's care.
const SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";

fn fault(text: String) -> Error {
    Error::new(ErrorKind::InvalidInput, text).operation("look at the application")
}

/// What the application should run.
pub(super) fn wanted(config: &ArgoCdApp, app: &Application, revision: Option<&Revision>) -> Result<Wanted> {
    if app.spec.source_hydrator.is_some() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "Application {} is rendered by Argo CD's source hydrator, whose revisions are not those that a writer makes; \
                 that cannot be judged yet. Give it a plain source.",
                config.app
            ),
        ));
    }
    if app.metadata.annotations.get(SKIP_RECONCILE).is_some_and(|value| value == "true") {
        return Err(fault(format!(
            "Application {} has the annotation {SKIP_RECONCILE}, so Argo CD leaves it alone; remove it.",
            config.app
        )));
    }
    let source = source(config, app)?;
    Ok(match revision {
        Some(revision) => Wanted::anything().at(source, revision.clone()),
        None => Wanted::anything(),
    })
}

/// The index of the source that is meant.
pub(super) fn source(config: &ArgoCdApp, app: &Application) -> Result<usize> {
    let sources = app.spec.effective_sources();
    match &config.source {
        Some(SourceRef::Index(index)) if *index < sources.len().max(1) => Ok(*index),
        Some(SourceRef::Index(index)) => Err(fault(format!(
            "Application {} has {} sources, so there is none at index {index}; the first is 0.",
            config.app,
            sources.len()
        ))),
        Some(SourceRef::Name(name)) => {
            let known = || {
                let names: Vec<&str> = sources.iter().filter_map(|source| source.name.as_deref()).collect();
                if names.is_empty() {
                    "its sources have no names; use an index".to_owned()
                } else {
                    format!("known are {}", names.join(", "))
                }
            };
            let found = sources.iter().position(|source| source.name.as_deref() == Some(name));
            found.ok_or_else(|| fault(format!("Application {} has no source named {name:?}: {}.", config.app, known())))
        }
        None => {
            // A source that only lends its files to others is not what a promotion changes, unless it is named.
            let own: Vec<usize> = sources
                .iter()
                .enumerate()
                .filter(|(_, source)| !source.is_reference_only())
                .map(|(at, _)| at)
                .collect();
            match own.as_slice() {
                [] => Ok(0),
                [only] => Ok(*only),
                several => Err(fault(format!(
                    "Application {} has {} sources with manifests; say in `source` which one should be at the revision, by name or by index.",
                    config.app,
                    several.len()
                ))),
            }
        }
    }
}
