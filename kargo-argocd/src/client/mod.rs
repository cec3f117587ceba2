//! Argo CD's REST API, as far as deploying needs it.

mod auth;
mod builder;
mod exchange;
mod fault;
mod model;
mod patch;
mod resource;
mod revision;
mod selector;
mod watch;
mod windows;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

pub use auth::Credentials;
pub use builder::ClientBuilder;
pub use fault::{ApiError, Refusal};
pub use model::{
    Application, Automated, ComparedTo, Condition, HealthCode, HealthStatus, HistoryEntry, HydrateTo, Hydration,
    HydrationPhase, HydratorStatus, Info, Initiator, Metadata, Operation, OperationPhase, OperationState,
    OwnerReference, Resource, ResourceResult, RetryStrategy, Source, SourceHydrator, Spec, Status, Summary, SyncCode,
    SyncOperation, SyncPolicy, SyncResult, SyncSource, SyncStatus,
};

pub use patch::Edit;
pub use resource::{Action, Node, ResourceRef};
pub use revision::CommitMetadata;
pub use selector::{Operator, Requirement, Selector};
pub use windows::{SyncWindow, SyncWindows};

use crate::located::located;
use auth::Session;
use exchange::Ask;
pub(crate) use model::revision_at;
pub(crate) use watch::Watch;

/// A client for one Argo CD server. Cheap to clone.
///
/// ```
/// # fn main() -> kargo_core::Result<()> {
/// let client = kargo_argocd::Client::builder("https://argocd.example/root").token("a.b.c").build()?;
/// assert_eq!(format!("{client:?}"), r#"Client { base: "https://argocd.example/root" }"#);
/// # Ok(())
/// # }
/// ```
///
/// Every call may be dropped at any time; a dropped [`Client::sync`] may or may not have taken effect, which the tag in its
/// [`SyncRequest::infos`] tells afterwards.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    base: Url,
    session: Session,
    timeout: Duration,
    refresh_timeout: Duration,
    /// The one stream of changes, from when it is first asked for.
    watch: OnceLock<Watch>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.0.base.as_str().trim_end_matches('/')).finish()
    }
}

/// How an application is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct AppRef {
    /// Its name.
    pub name: String,
    /// Its namespace; `None` is the one Argo CD itself runs in.
    pub namespace: Option<String>,
    /// Its project. With it, an application that does not exist is told from one that may not be seen.
    pub project: Option<String>,
}

located!(AppRef);

impl AppRef {
    /// The application of this name in Argo CD's own namespace.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), namespace: None, project: None }
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let namespace = self.namespace.iter().map(|namespace| ("appNamespace", namespace.clone()));
        namespace.chain(self.project.iter().map(|project| ("project", project.clone()))).collect()
    }

    /// Adds where it is found to the body of a request.
    fn fill_body(&self, body: &mut Value) {
        if let Some(namespace) = &self.namespace {
            body["appNamespace"] = namespace.as_str().into();
        }
        if let Some(project) = &self.project {
            body["project"] = project.as_str().into();
        }
    }

    /// The application that `app` is.
    pub(crate) fn of(app: &Application) -> Self {
        let project = Some(app.spec.project.clone()).filter(|project| !project.is_empty());
        Self { name: app.metadata.name.clone(), namespace: app.metadata.namespace.clone(), project }
    }
}

impl fmt::Display for AppRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Whether Argo CD is to compare before it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refresh {
    /// Answer with what is known.
    #[default]
    No,
    /// Resolve the followed revision and compare.
    Normal,
    /// Also forget cached manifests.
    Hard,
}

/// One read of an application.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The application. An operation's answer holds it as it was when the operation was accepted.
    pub app: Application,
    /// The server's time, from the answer's `Date`; whole seconds. Argo CD's stamps compare only with this.
    pub server_time: Option<Timestamp>,
}

/// A sync to ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncRequest {
    /// The revision of each source by its index; what is not listed follows its own target revision.
    pub revisions: Vec<(usize, String)>,
    /// Whether the application has several sources, which changes how revisions are sent.
    pub multi_source: bool,
    /// Whether what is no longer wanted is deleted.
    pub prune: bool,
    /// Names and values that travel with the operation.
    pub infos: Vec<Info>,
}

impl SyncRequest {
    fn body(&self, app: &AppRef) -> Value {
        let mut body = json!({"name": app.name, "prune": self.prune, "infos": self.infos});
        app.fill_body(&mut body);
        match self.revisions.as_slice() {
            [] => {}
            [(_, revision), ..] if !self.multi_source => body["revision"] = revision.as_str().into(),
            revisions => {
                // The two lists must have the same length: the server panics on a shorter list of revisions.
                let (positions, revisions): (Vec<usize>, Vec<&str>) =
                    revisions.iter().map(|(index, revision)| (index + 1, revision.as_str())).unzip();
                body["sourcePositions"] = json!(positions);
                body["revisions"] = json!(revisions);
            }
        }
        body
    }
}

/// Which applications to list; by default all that the account may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Search {
    /// Only those of this project.
    pub project: Option<String>,
    /// Only those in this namespace.
    pub namespace: Option<String>,
    /// Only those with such labels.
    pub selector: Option<Selector>,
}

located!(Search);

impl Search {
    /// All that the account may see.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those with such labels.
    #[must_use]
    pub fn selector(mut self, selector: Selector) -> Self {
        self.selector = Some(selector);
        self
    }
}

/// What came of asking for a sync.
#[derive(Debug, Clone, PartialEq)]
pub enum SyncAnswer {
    /// It was accepted.
    Accepted(Box<Snapshot>),
    /// It was not, for a reason that is no error.
    Refused(Refusal),
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "Version")]
    version: String,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Option<Vec<Application>>,
}

impl Client {
    /// Begins a client for the server at `url`, with the server's root path if it has one.
    ///
    /// A server on this machine (`localhost`, `127.0.0.0/8`, `::1`) is reached without the proxy of the environment.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    /// The server's version, such as `v3.2.0`.
    ///
    /// # Errors
    /// When the server cannot be reached or answers with something else.
    pub async fn version(&self) -> Result<String> {
        let answer = self.call(&Ask::get(&["api", "version"], &[], "tell its version")).await?;
        Ok(answer.decode::<Version>()?.version)
    }

    /// The applications that `search` asks for, each as it is, in the order of their namespaces and names.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub async fn list(&self, search: &Search) -> Result<Vec<Snapshot>> {
        let project = search.project.iter().map(|project| ("projects", project.clone()));
        let namespace = search.namespace.iter().map(|namespace| ("appNamespace", namespace.clone()));
        let selector = search.selector.iter().map(|selector| ("selector", selector.to_string()));
        let query: Vec<_> = project.chain(namespace).chain(selector).collect();
        let answer = self.call(&Ask::get(&["api", "v1", "applications"], &query, "list applications")).await?;
        let items = answer.decode::<List>()?.items.unwrap_or_default();
        if items.iter().any(|app| app.metadata.name.is_empty()) {
            return Err(answer.of_another_shape());
        }
        let mut found: Vec<Snapshot> =
            items.into_iter().map(|app| Snapshot { app, server_time: answer.server_time }).collect();
        let place = |one: &Snapshot| (one.app.metadata.namespace.clone(), one.app.metadata.name.clone());
        found.sort_by_key(place);
        Ok(found)
    }

    /// Reads an application. With a refresh, the answer comes after the comparison; the server itself sets no end to that,
    /// so the client does (see [`ClientBuilder::refresh_timeout`]).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::PermissionDenied`] when there is no such application or it may not be seen,
    /// [`ErrorKind::Timeout`] when a refresh takes too long, and what else can go wrong on the way.
    pub async fn get(&self, app: &AppRef, refresh: Refresh) -> Result<Snapshot> {
        let mut query = app.query();
        let timeout = match refresh {
            Refresh::No => self.0.timeout,
            Refresh::Normal | Refresh::Hard => {
                let word = if refresh == Refresh::Hard { "hard" } else { "normal" };
                query.push(("refresh", word.to_owned()));
                self.0.refresh_timeout
            }
        };
        let what = format!("read the application {app}");
        let path = ["api", "v1", "applications", &app.name];
        self.call(&Ask { timeout: Some(timeout), ..Ask::get(&path, &query, &what) }).await?.snapshot()
    }

    /// Asks for a sync.
    ///
    /// # Errors
    /// As for [`Client::get`]. After [`ErrorKind::Timeout`] it is not known whether the operation was accepted.
    pub async fn sync(&self, app: &AppRef, request: &SyncRequest) -> Result<SyncAnswer> {
        let what = format!("sync the application {app}");
        let path = ["api", "v1", "applications", &app.name, "sync"];
        match self.call(&Ask::post(&path, &request.body(app), &what)).await {
            Ok(answer) => Ok(SyncAnswer::Accepted(Box::new(answer.snapshot()?))),
            Err(error) => match api_error(&error).and_then(Refusal::of) {
                Some(refusal) => Ok(SyncAnswer::Refused(refusal)),
                None => Err(error),
            },
        }
    }

    /// Asks for the end of the operation that runs. Returns `false` when Argo CD says that none does, which it also says for an
    /// operation that it has accepted and not yet begun.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn terminate(&self, app: &AppRef) -> Result<bool> {
        let what = format!("stop the operation of the application {app}");
        let path = ["api", "v1", "applications", &app.name, "operation"];
        let query = app.query();
        let ask = Ask { method: reqwest::Method::DELETE, ..Ask::get(&path, &query, &what) };
        match self.call(&ask).await {
            Ok(_) => Ok(true),
            Err(error) => match api_error(&error) {
                Some(api)
                    if api.status == 400
                        && api.message.to_ascii_lowercase().contains("no operation is in progress") =>
                {
                    Ok(false)
                }
                _ => Err(error),
            },
        }
    }

    /// The stream of changes, opened on the first use. Must be called within a tokio runtime.
    pub(crate) fn watch(&self) -> &Watch {
        self.0.watch.get_or_init(|| Watch::open(self))
    }
}

/// Argo CD's own answer inside an error.
pub(crate) fn api_error(error: &Error) -> Option<&ApiError> {
    std::error::Error::source(error)?.downcast_ref()
}

/// Whether an error says that the application is not there, or not for this account.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multi_source_revision_is_sent_with_its_position_counted_from_one() {
        let request = SyncRequest { revisions: vec![(1, "abc".into())], multi_source: true, ..SyncRequest::default() };
        let body = request.body(&AppRef::new("shop").project("web"));
        assert_eq!(body["sourcePositions"], json!([2]));
        assert_eq!(body["revisions"], json!(["abc"]));
        assert_eq!(body["project"], "web");
        assert!(body.get("revision").is_none());
    }
}
