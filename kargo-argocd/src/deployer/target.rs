//! Which source of an application is meant, and whether the application can be judged at all.

use kargo_core::{Error, ErrorKind, Result, Revision};

use crate::client::{Application, Source};
use crate::config::{ArgoCdApp, Mode, SourceRef};
use crate::judge::Wanted;
use crate::scrub::without_userinfo;

/// The annotation by which an application is taken out of Argo CD's care.
const SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";

fn fault(text: String) -> Error {
    Error::new(ErrorKind::InvalidInput, text).operation("look at the application")
}

/// What the application should run.
pub(super) fn wanted(config: &ArgoCdApp, app: &Application, revision: Option<&Revision>) -> Result<Wanted> {
    if app.spec.source_hydrator.is_some() && config.mode == Mode::Pinned {
        return Err(fault(format!(
            "Application {} is rendered ahead by Argo CD's source hydrator, onto commits of its own, so that no revision can be pinned; take \
             the mode `tracking`.",
            name(config, app)
        )));
    }
    if app.metadata.annotations.get(SKIP_RECONCILE).is_some_and(|value| value == "true") {
        return Err(fault(format!(
            "Application {} has the annotation {SKIP_RECONCILE}, so Argo CD leaves it alone; remove it.",
            config.app
        )));
    }
    let source = source(config, app)?;
    let pins = pins(config, app)?;
    Ok(match revision {
        Some(revision) if pins.iter().any(|(pinned, _)| pinned == source) => {
            return Err(fault(format!(
                "Application {} is to have source {source} at {revision}, and pinned as well; take that pin out, or say in `source` which \
                 other source is meant.",
                config.app
            )));
        }
        Some(revision) => pins.at(source, revision.clone()),
        None => pins,
    })
}

/// What the pins demand.
pub(super) fn pins(config: &ArgoCdApp, app: &Application) -> Result<Wanted> {
    config.pins.iter().try_fold(Wanted::anything(), |wanted, pin| {
        Ok(wanted.at(find(config, app, &pin.source)?, pin.revision.as_str()))
    })
}

/// The index of the source that is meant.
pub(super) fn source(config: &ArgoCdApp, app: &Application) -> Result<usize> {
    if let Some(named) = &config.source {
        return find(config, app, named);
    }
    // A source that only lends its files to others is not what a promotion changes, unless it is named; nor is one that is pinned.
    let sources = app.spec.written_sources();
    let pinned = pins(config, app)?;
    let own: Vec<usize> = sources
        .iter()
        .enumerate()
        .filter(|(at, source)| !source.is_reference_only() && pinned.iter().all(|(pinned, _)| pinned != *at))
        .map(|(at, _)| at)
        .collect();
    match own.as_slice() {
        // All that brings manifests is pinned, so that it must be the one that lends its files.
        [] if !config.pins.is_empty() => {
            Ok((0..sources.len()).find(|at| pinned.iter().all(|(of, _)| of != *at)).unwrap_or(0))
        }
        [] => Ok(0),
        [only] => Ok(*only),
        several => Err(fault(format!(
            "Application {} has {} sources with manifests; say in `source` which one should be at the revision, by name, by index or by \
             repository.",
            name(config, app),
            several.len()
        ))),
    }
}

fn name<'a>(config: &'a ArgoCdApp, app: &'a Application) -> &'a str {
    if config.app.is_empty() { &app.metadata.name } else { &config.app }
}

fn find(config: &ArgoCdApp, app: &Application, source: &SourceRef) -> Result<usize> {
    let sources = app.spec.written_sources();
    let name = name(config, app);
    match source {
        SourceRef::Index(index) if *index < sources.len().max(1) => Ok(*index),
        SourceRef::Index(index) => Err(fault(format!(
            "Application {name} has {} sources, so there is none at index {index}; the first is 0.",
            sources.len()
        ))),
        SourceRef::Name(wanted) => {
            let known = || {
                let names: Vec<&str> = sources.iter().filter_map(|source| source.name.as_deref()).collect();
                if names.is_empty() {
                    "its sources have no names; use an index".to_owned()
                } else {
                    format!("known are {}", names.join(", "))
                }
            };
            let found = sources.iter().position(|source| source.name.as_deref() == Some(wanted));
            found.ok_or_else(|| fault(format!("Application {name} has no source named {wanted:?}: {}.", known())))
        }
        SourceRef::Repository { repo_url, chart } => {
            let matching: Vec<usize> =
                (0..sources.len()).filter(|at| is_repository(&sources[*at], repo_url, chart.as_deref())).collect();
            let shown =
                chart.as_ref().map_or_else(|| repo_url.clone(), |chart| format!("{repo_url} with the chart {chart}"));
            match matching.as_slice() {
                [only] => Ok(*only),
                [] => Err(fault(format!(
                    "Application {name} has no source in the repository {}.",
                    without_userinfo(&shown)
                ))),
                several => Err(fault(format!(
                    "Application {name} has {} sources in the repository {}; tell them apart by name or by index ({}).",
                    several.len(),
                    without_userinfo(&shown),
                    several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                ))),
            }
        }
    }
}

/// Whether a source is in a repository. Git URLs that mean the same are the same; a chart's is compared as it is written.
pub(crate) fn is_repository(source: &Source, repo_url: &str, chart: Option<&str>) -> bool {
    if source.chart.as_deref().filter(|chart| !chart.is_empty()) != chart.filter(|chart| !chart.is_empty()) {
        return false;
    }
    source.repo_url == repo_url || (chart.is_none_or(str::is_empty) && git_url(&source.repo_url) == git_url(repo_url))
}

/// A Git URL without what does not matter: the case of its host, a `.git` and slashes at its end, the short form of ssh.
fn git_url(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    let url = url.strip_suffix(".git").unwrap_or(url);
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{}://{}/{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
        }
        None => match url.split_once(':') {
            Some((host, path)) if !host.contains('/') => {
                format!("ssh://{}/{}", host.to_ascii_lowercase(), path.trim_start_matches('/'))
            }
            _ => url.to_owned(),
        },
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
    fn report_11_two_sources_of_one_repository_are_told_apart_by_index_or_name() {
        let (chart, values) = ("https://git.example/Config.git", "https://git.example/config");
        let app = app(json!({"sources": [
            {"repoURL": chart, "path": "a"}, {"repoURL": "git@GIT.example:other.git", "path": "b"}, {"repoURL": "https://git.example/Config/", "path": "c"},
        ]}));
        let config = ArgoCdApp::new("shop");
        let at = |url: &str| source(&config.clone().source(SourceRef::repository(url)), &app);
        assert!(at(chart).unwrap_err().message().contains("(0, 2)"));
        assert!(at(values).unwrap_err().message().contains("no source in the repository"));
        assert_eq!(at("ssh://git@git.example/other").unwrap(), 1);
    }

    #[test]
    fn a_chart_and_its_values_are_wanted_at_revisions_of_their_own() {
        let config = ArgoCdApp::new("shop").pin(SourceRef::Name("chart".into()), "1.2.3");
        let found = wanted(&config, &two(), Some(&"abc".into())).unwrap();
        assert_eq!(found, Wanted::revision("1.2.3").at(1, "abc"));
        let twice = config.source(SourceRef::Index(0));
        assert!(wanted(&twice, &two(), Some(&"abc".into())).unwrap_err().message().contains("pinned as well"));
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let config = ArgoCdApp::new("shop");
        let hydrated = app(json!({"sourceHydrator": {"drySource": {}}}));
        let pinned = config.clone().mode(Mode::Pinned);
        assert!(wanted(&pinned, &hydrated, None).unwrap_err().message().contains("no revision can be pinned"));
        assert_eq!(wanted(&config, &hydrated, Some(&"abc".into())).unwrap(), Wanted::revision("abc"));
        let mut skipped = app(json!({"source": {"path": "dev"}}));
        skipped.metadata.annotations.insert(SKIP_RECONCILE.into(), "true".into());
        assert!(wanted(&config, &skipped, None).unwrap_err().message().contains("skip-reconcile"));
    }
}
