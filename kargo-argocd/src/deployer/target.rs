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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn app(spec: Value) -> Application {
        serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": spec})).unwrap()
    }

    fn two() -> Application {
        let chart = json!({"repoURL": "https://charts.example", "chart": "shop", "name": "chart"});
        app(json!({"sources": [chart, {"repoURL": "https://git.example/config", "path": "dev", "name": "config"}]}))
    }

    #[test]
    fn the_only_source_with_manifests_needs_no_name() {
        let config = ArgoCdApp::new("shop");
        let values = json!({"repoURL": "https://git.example/config", "ref": "values"});
        let lent = app(json!({"sources": [values, {"repoURL": "https://charts.example", "chart": "shop"}]}));
        assert_eq!(source(&config, &lent).unwrap(), 1);
        assert_eq!(source(&config, &app(json!({"source": {"path": "dev"}}))).unwrap(), 0);
    }

    #[test]
    fn among_several_sources_one_has_to_be_named_and_to_exist() {
        let config = ArgoCdApp::new("shop");
        assert!(source(&config, &two()).unwrap_err().message().contains("2 sources"));
        let at = |source_ref| source(&config.clone().source(source_ref), &two());
        assert_eq!(at(SourceRef::Index(1)).unwrap(), 1);
        assert_eq!(at(SourceRef::Name("config".into())).unwrap(), 1);
        assert!(at(SourceRef::Index(2)).unwrap_err().message().contains("index 2"));
        assert!(at(SourceRef::Name("other".into())).unwrap_err().message().contains("known are chart, config"));
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let config = ArgoCdApp::new("shop");
        let hydrated = app(json!({"sourceHydrator": {"drySource": {}}}));
        assert_eq!(wanted(&config, &hydrated, None).unwrap_err().kind(), ErrorKind::Unsupported);
        let mut skipped = app(json!({"source": {"path": "dev"}}));
        skipped.metadata.annotations.insert(SKIP_RECONCILE.into(), "true".into());
        assert!(wanted(&config, &skipped, None).unwrap_err().message().contains("skip-reconcile"));
    }
}
