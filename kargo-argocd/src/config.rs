//! The configuration of a step that deploys with Argo CD.

use std::collections::BTreeSet;
use std::time::Duration;

use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::{AppRef, Search, Selector};
use crate::judge::Policy;
use crate::located::located;

/// Which application is to run the wanted revision, and how strictly that is judged.
///
/// ```
/// use std::time::Duration;
///
/// use kargo_argocd::ArgoCdApp;
/// use kargo_core::StepSpec;
///
/// let step = StepSpec::deploy("argocd", ArgoCdApp::new("shop-dev").project("web").stable_for(Duration::from_secs(5)));
/// assert_eq!(step.config, serde_json::json!({"app": "shop-dev", "project": "web", "stableFor": "5s"}));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ArgoCdApp {
    /// The application's name. Empty where a selector stands in its place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub app: String,
    /// The applications with such labels, in place of one by its name. Which they are is looked up anew each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Its project. With it, an application that does not exist is told from one that may not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Its namespace. Default: the one Argo CD itself runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The source that should be at the wanted revision: its name, its index counted from 0, or its repository. Needed when several
    /// sources bring manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// The wanted revision. Default: the one that the nearest writer before this step made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Other sources that should be at revisions of their own, such as the version of a chart beside its values in Git.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// How syncs are asked for.
    #[serde(default, skip_serializing_if = "Mode::is_auto")]
    pub mode: Mode,
    /// Whether a sync deletes what is no longer wanted. Default: as the application's own automatic sync does; otherwise no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// How long after the end of an operation the comparison that counts must begin. Default: 2 seconds.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional"
    )]
    pub stable_for: Option<Duration>,
    /// How long the application may be degraded at the wanted revision before that is a failure. Default: 30 seconds.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional"
    )]
    pub degraded_grace: Option<Duration>,
    /// How long the application may be missing, such as when an ApplicationSet has yet to make it. Default: not at all.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional"
    )]
    pub wait_for_app: Option<Duration>,
    /// Whether an application that is out of sync even after a full sync of the wanted revision counts as live. Default: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_drift: Option<bool>,
    /// Whether an application without resources counts as live. Default: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_empty: Option<bool>,
    /// Images that must be among those that the application runs, each as Argo CD shows it, such as `ghcr.io/example/shop:1.2.3`. Where they
    /// are not, its manifests are rendered anew, past all caches. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// What becomes of a suspended application, such as one whose Rollout has paused. Default: it is waited for.
    #[serde(default, skip_serializing_if = "Paused::is_wait")]
    pub paused: Paused,
}

/// One source and the revision that it should be at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Pin {
    /// The source.
    pub source: SourceRef,
    /// Its revision: a commit id, a chart's version, or the digest of an OCI artifact.
    pub revision: String,
}

/// What becomes of a suspended application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Paused {
    /// It is waited for: somebody or something else resumes it.
    #[default]
    Wait,
    /// It counts as healthy: that it got as far as its pause is enough.
    Accept,
    /// Its Rollouts are resumed, one pause after the other. Only pauses that wait for somebody are ended: one that lasts for a time is
    /// waited out, and so is one that somebody made by hand. An inconclusive analysis is a failure, with the Rollout left as it is.
    Resume,
    /// Its Rollouts are promoted in full at the first pause that waits for somebody; otherwise as [`Paused::Resume`].
    Promote,
}

impl Paused {
    fn is_wait(&self) -> bool {
        *self == Self::Wait
    }
}

/// How syncs are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// For the wanted revision by its id where the application allows that, otherwise for what it follows. What it follows must lead to
    /// the wanted revision.
    #[default]
    Auto,
    /// For what the application follows, which must lead to the wanted revision.
    Tracking,
    /// For the wanted revision by its id, wherever what the application follows leads. Applications that sync by themselves refuse it.
    Pinned,
}

impl Mode {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// Which of several sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SourceRef {
    /// By its place, counted from 0.
    Index(usize),
    /// By its name.
    Name(String),
    /// By its repository, which no other source of the application may share.
    Repository {
        /// The repository. How its URL is written, such as with `.git` at the end, does not matter.
        #[serde(rename = "repoURL")]
        repo_url: String,
        /// The chart, in a repository of charts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chart: Option<String>,
    },
}

impl SourceRef {
    /// The only source in this repository.
    pub fn repository(repo_url: impl Into<String>) -> Self {
        Self::Repository { repo_url: repo_url.into(), chart: None }
    }
}

located!(ArgoCdApp);

impl ArgoCdApp {
    /// The application of this name, with all else at its default.
    pub fn new(app: impl Into<String>) -> Self {
        Self {
            app: app.into(),
            selector: None,
            project: None,
            namespace: None,
            source: None,
            revision: None,
            pins: Vec::new(),
            mode: Mode::Auto,
            prune: None,
            stable_for: None,
            degraded_grace: None,
            wait_for_app: None,
            allow_drift: None,
            allow_empty: None,
            images: Vec::new(),
            paused: Paused::Wait,
        }
    }

    /// The applications that `selector` selects, with all else at its default.
    pub fn selected(selector: Selector) -> Self {
        Self { selector: Some(selector), ..Self::new("") }
    }

    /// Sets which source should be at the wanted revision.
    #[must_use]
    pub fn source(mut self, source: SourceRef) -> Self {
        self.source = Some(source);
        self
    }

    /// Sets the wanted revision, in place of the one that a writer made.
    #[must_use]
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = Some(revision.into());
        self
    }

    /// Demands `revision` of another source too.
    #[must_use]
    pub fn pin(mut self, source: SourceRef, revision: impl Into<String>) -> Self {
        self.pins.push(Pin { source, revision: revision.into() });
        self
    }

    /// Sets how syncs are asked for.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets whether a sync deletes what is no longer wanted.
    #[must_use]
    pub fn prune(mut self, prune: bool) -> Self {
        self.prune = Some(prune);
        self
    }

    /// Sets how long after the end of an operation the comparison that counts must begin.
    #[must_use]
    pub fn stable_for(mut self, time: Duration) -> Self {
        self.stable_for = Some(time);
        self
    }

    /// Sets how long the application may be degraded at the wanted revision.
    #[must_use]
    pub fn degraded_grace(mut self, time: Duration) -> Self {
        self.degraded_grace = Some(time);
        self
    }

    /// Sets how long the application may be missing.
    #[must_use]
    pub fn wait_for_app(mut self, time: Duration) -> Self {
        self.wait_for_app = Some(time);
        self
    }

    /// Sets whether an application that drifts even after a full sync counts as live.
    #[must_use]
    pub fn allow_drift(mut self, allow: bool) -> Self {
        self.allow_drift = Some(allow);
        self
    }

    /// Sets whether an application without resources counts as live.
    #[must_use]
    pub fn allow_empty(mut self, allow: bool) -> Self {
        self.allow_empty = Some(allow);
        self
    }

    /// Demands that the application runs this image.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.images.push(image.into());
        self
    }

    /// Sets what becomes of a suspended application.
    #[must_use]
    pub fn paused(mut self, paused: Paused) -> Self {
        self.paused = paused;
        self
    }

    fn check(&self) -> Result<()> {
        let fault = |text: &str| {
            Error::new(ErrorKind::InvalidInput, format!("The configuration for Argo CD {text}; {EXAMPLE}."))
        };
        match &self.selector {
            None if self.app.trim().is_empty() => {
                Err(fault("names no application: `app` is empty, and there is no `selector`"))
            }
            Some(_) if !self.app.is_empty() => Err(fault("has both `app` and `selector`; take one of them")),
            Some(selector) => selector.check(),
            None => Ok(()),
        }
    }

    pub(crate) fn reference(&self) -> AppRef {
        let mut app = AppRef::new(&self.app);
        app.namespace.clone_from(&self.namespace);
        app.project.clone_from(&self.project);
        app
    }

    /// Where the selected applications are looked for.
    pub(crate) fn search(&self, selector: &Selector) -> Search {
        let mut search = Search::new().selector(selector.clone());
        search.namespace.clone_from(&self.namespace);
        search.project.clone_from(&self.project);
        search
    }

    pub(crate) fn policy(&self) -> Policy {
        let default = Policy::default();
        Policy {
            mode: self.mode,
            stable_for: self.stable_for.unwrap_or(default.stable_for),
            unwell_grace: self.degraded_grace.unwrap_or(default.unwell_grace),
            allow_drift: self.allow_drift.unwrap_or(default.allow_drift),
            allow_empty: self.allow_empty.unwrap_or(default.allow_empty),
            images: self.images.clone(),
            paused: self.paused,
            ..default
        }
    }
}

const EXAMPLE: &str = r#"write it like {"app": "shop-dev", "project": "web"}"#;

/// Several applications for one step. The step is done once all of them are live, and fails with the first that does.
///
/// ```
/// use kargo_argocd::{ArgoCdApp, ArgoCdApps, Selector};
/// use kargo_core::StepSpec;
///
/// let web = ArgoCdApp::selected(Selector::label("tier", "web")).project("shop");
/// let step = StepSpec::deploy("argocd", ArgoCdApps::new([ArgoCdApp::new("shop-db"), web]));
/// assert_eq!(step.config["apps"][0], serde_json::json!({"app": "shop-db"}));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ArgoCdApps {
    /// The applications.
    pub apps: Vec<ArgoCdApp>,
    /// The revision that those want which name none. Default: the one that the nearest writer before this step made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl ArgoCdApps {
    /// These applications.
    pub fn new(apps: impl IntoIterator<Item = ArgoCdApp>) -> Self {
        Self { apps: apps.into_iter().collect(), revision: None }
    }

    /// Sets the revision that those want which name none.
    #[must_use]
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = Some(revision.into());
        self
    }

    /// Reads a step's configuration, of one application or of several.
    pub(crate) fn read(config: &Value) -> Result<Vec<ArgoCdApp>> {
        let read = match config.get("apps") {
            Some(_) => Self::deserialize(config).map(|read| read.apps),
            None => ArgoCdApp::deserialize(config).map(|only| vec![only]),
        };
        let fault = |text: String| {
            Error::new(ErrorKind::InvalidInput, format!("The configuration for Argo CD {text}; {EXAMPLE}."))
        };
        let apps = read.map_err(|error| fault(format!("cannot be used: {error}")))?;
        if apps.is_empty() {
            return Err(fault("names no application: `apps` is empty".into()));
        }
        let mut seen = BTreeSet::new();
        for app in &apps {
            app.check()?;
            if app.selector.is_none() && !seen.insert(app.reference().to_string()) {
                return Err(fault(format!("names the application {} twice; `pins` is for its other sources", app.app)));
            }
        }
        Ok(apps)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_that_cannot_be_meant_is_refused_by_name() {
        let typo = ArgoCdApps::read(&json!({"app": "shop", "pruned": true})).unwrap_err();
        assert_eq!(typo.kind(), ErrorKind::InvalidInput);
        assert!(typo.message().contains("`pruned`"), "{typo}");
        let message = |config| ArgoCdApps::read(&config).unwrap_err().message().to_owned();
        assert!(message(json!({"app": " "})).contains("`app` is empty"));
        assert!(message(json!({})).contains("`app`"));
        assert!(message(json!({"apps": []})).contains("`apps` is empty"));
        assert!(message(json!({"apps": [{"app": "shop"}, {"app": "shop"}]})).contains("twice"));
        assert!(message(json!({"app": "shop", "selector": {"matchLabels": {"a": "b"}}})).contains("both"));
        assert!(message(json!({"selector": {}})).contains("selector is empty"));
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        let read =
            ArgoCdApps::read(&json!({"app": "shop", "waitForApp": "1m30s", "source": "main"})).unwrap().remove(0);
        assert_eq!(read.wait_for_app, Some(Duration::from_secs(90)));
        assert_eq!(read.source, Some(SourceRef::Name("main".into())));
    }
}
