//! The configuration of a step that deploys with Argo CD.

use std::time::Duration;

use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::AppRef;
use crate::judge::Policy;

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
    /// The application's name.
    pub app: String,
    /// Its project. With it, an application that does not exist is told from one that may not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Its namespace. Default: the one Argo CD itself runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The source that should be at the wanted revision: its name, or its index counted from 0. Needed when several sources bring
    /// manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// The wanted revision. Default: the one that the nearest writer before this step made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
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
    /// Whether a suspended application counts as healthy. Default: no, it is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_suspended: Option<bool>,
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
}

impl ArgoCdApp {
    /// The application of this name, with all else at its default.
    pub fn new(app: impl Into<String>) -> Self {
        Self {
            app: app.into(),
            project: None,
            namespace: None,
            source: None,
            revision: None,
            mode: Mode::Auto,
            prune: None,
            stable_for: None,
            degraded_grace: None,
            wait_for_app: None,
            allow_drift: None,
            allow_empty: None,
            accept_suspended: None,
        }
    }

    /// Sets the project.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// Sets the namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
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

    /// Sets whether a suspended application counts as healthy.
    #[must_use]
    pub fn accept_suspended(mut self, accept: bool) -> Self {
        self.accept_suspended = Some(accept);
        self
    }

    pub(crate) fn read(config: &Value) -> Result<Self> {
        let example = r#"write it like {"app": "shop-dev", "project": "web"}"#;
        let read: Self = Self::deserialize(config).map_err(|error| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("The configuration for Argo CD cannot be used: {error}; {example}."),
            )
        })?;
        if read.app.trim().is_empty() {
            let text = format!("The configuration for Argo CD names no application: `app` is empty; {example}.");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(read)
    }

    pub(crate) fn reference(&self) -> AppRef {
        let mut app = AppRef::new(&self.app);
        app.namespace.clone_from(&self.namespace);
        app.project.clone_from(&self.project);
        app
    }

    pub(crate) fn policy(&self) -> Policy {
        let default = Policy::default();
        Policy {
            mode: self.mode,
            stable_for: self.stable_for.unwrap_or(default.stable_for),
            unwell_grace: self.degraded_grace.unwrap_or(default.unwell_grace),
            allow_drift: self.allow_drift.unwrap_or(default.allow_drift),
            allow_empty: self.allow_empty.unwrap_or(default.allow_empty),
            accept_suspended: self.accept_suspended.unwrap_or(default.accept_suspended),
            ..default
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_that_cannot_be_meant_is_refused_by_name() {
        let typo = ArgoCdApp::read(&json!({"app": "shop", "pruned": true})).unwrap_err();
        assert_eq!(typo.kind(), ErrorKind::InvalidInput);
        assert!(typo.message().contains("`pruned`"), "{typo}");
        assert!(ArgoCdApp::read(&json!({"app": " "})).unwrap_err().message().contains("`app` is empty"));
        assert!(ArgoCdApp::read(&json!({})).unwrap_err().message().contains("`app`"));
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        let read = ArgoCdApp::read(&json!({"app": "shop", "waitForApp": "1m30s", "source": "main"})).unwrap();
        assert_eq!(read.wait_for_app, Some(Duration::from_secs(90)));
        assert_eq!(read.source, Some(SourceRef::Name("main".into())));
    }
}
