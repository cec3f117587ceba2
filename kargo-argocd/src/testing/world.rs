//! The two workers, and the order in which they write.
//!
//! All that happens has a time. [`World::advance`] lets everything happen that is due, in order, each thing stamped with its own time
//! and not with the time of the call, so the same schedule gives the same statuses however often it is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::SyncRecord;
use super::app::{App, Comparison, Entry, Event, Fate, Live, Operation, OperationState, Shown, Step};
use super::settings::{FakeApp, Fault, Timings};
use crate::client::Info;

pub(crate) type Resolve = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;
pub(crate) type Manifests = Arc<dyn Fn(&str, &str, &str) -> Option<String> + Send + Sync>;

/// All the applications, and how things go with them.
pub(crate) struct World {
    pub(crate) timings: Timings,
    resolve: Resolve,
    manifests: Manifests,
    pub(crate) apps: BTreeMap<String, App>,
    pub(crate) syncs: Vec<SyncRecord>,
    pub(crate) broken: BTreeSet<String>,
    pub(crate) stalled: BTreeSet<String>,
    pub(crate) failing: BTreeMap<String, String>,
    pub(crate) fault: Option<Fault>,
    pub(crate) session: Option<String>,
    pub(crate) logins: u32,
    pub(crate) conflicts: u32,
    created: u64,
}

/// An operation that somebody asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) revision: Option<String>,
    pub(crate) prune: bool,
    pub(crate) infos: Vec<Info>,
    pub(crate) username: String,
    pub(crate) automated: bool,
}

/// Why an operation was not accepted: HTTP status, gRPC code, text.
pub(crate) type Refused = (u16, i64, String);

impl World {
    pub(crate) fn new(timings: Timings, resolve: Resolve, manifests: Manifests) -> Self {
        Self {
            timings,
            resolve,
            manifests,
            apps: BTreeMap::new(),
            syncs: Vec::new(),
            broken: BTreeSet::new(),
            stalled: BTreeSet::new(),
            failing: BTreeMap::new(),
            fault: None,
            session: None,
            logins: 0,
            conflicts: 0,
            created: 0,
        }
    }

    pub(crate) fn create(&mut self, spec: FakeApp, now: Timestamp) {
        self.created += 1;
        let uid = format!("00000000-0000-4000-8000-{:012}", self.created);
        self.apps.insert(spec.name.clone(), App::new(spec, uid, now));
        self.advance(now);
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.apps.values().map(|app| app.next().0).min()
    }

    /// Lets everything happen that is due at `now`.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        loop {
            let next = self.apps.iter().map(|(name, app)| (app.next(), name)).min();
            let Some(((at, event), name)) = next.filter(|((at, _), _)| *at <= now) else { return };
            let name = name.clone();
            let Some(mut app) = self.apps.remove(&name) else { return };
            app.version += 1;
            match event {
                Event::Operation => self.operate(&mut app, at),
                Event::Health => {
                    // A child changed: the health is written again, and nothing else.
                    app.health_at = None;
                    if let Some(live) = app.live.as_ref().filter(|_| app.shown.reconciled_at.is_some()) {
                        app.shown.health = live.health(at);
                    }
                }
                Event::CompareBegin => {
                    let result = self.compare(&app, at);
                    app.comparison = Some(Comparison { began: at, due: later(at, self.timings.comparison), result });
                    app.compare_at = later(at, self.timings.resync);
                }
                Event::CompareEnd => self.write_comparison(&mut app, at),
            }
            self.apps.insert(name, app);
        }
    }

    fn operate(&mut self, app: &mut App, at: Timestamp) {
        let Some((_, step)) = app.step.take() else { return };
        let Some(operation) = app.operation.clone() else { return };
        match step {
            Step::Begin => {
                app.state = Some(OperationState {
                    operation,
                    phase: "Running",
                    message: "waiting for completion of the apply".into(),
                    started_at: at,
                    finished_at: None,
                });
                app.step = Some((later(at, self.timings.operation / 2), Step::Apply));
            }
            Step::Apply => {
                if !self.failing.contains_key(&operation.revision) {
                    self.apply(app, &operation.revision, at);
                }
                app.step = Some((later(at, self.timings.operation / 2), Step::End));
            }
            Step::End => {
                let terminated = app.state.as_ref().is_some_and(|state| state.phase == "Terminating");
                let failure = self.failing.get(&operation.revision).cloned();
                let failure = if terminated { Some("Operation terminated".to_owned()) } else { failure };
                if let Some(state) = &mut app.state {
                    state.finished_at = Some(at);
                    (state.phase, state.message) = match &failure {
                        Some(message) => ("Failed", message.clone()),
                        None => ("Succeeded", "successfully synced (all tasks run)".into()),
                    };
                    if failure.is_none() {
                        let id = app.history.last().map_or(0, |entry| entry.id + 1);
                        let (started_at, revision) = (state.started_at, operation.revision);
                        app.history.push(Entry { id, revision, started_at, deployed_at: at });
                    }
                }
                app.operation = None;
                // The refresh worker hears of it a little later; until then its part of the status is old.
                app.compare_at = app.compare_at.min(later(at, self.timings.notice));
            }
        }
    }

    fn apply(&self, app: &mut App, revision: &str, at: Timestamp) {
        let manifests = (self.manifests)(&app.spec.repo_url, revision, &app.spec.path);
        let unchanged = app.live.as_ref().is_some_and(|live| live.manifests == manifests);
        app.before = app.live.clone();
        match &mut app.live {
            // The same manifests again: nothing rolls out, and what was not ready does not become so.
            Some(live) if unchanged => live.revision = revision.to_owned(),
            live => {
                let fate = if self.broken.contains(revision) {
                    Fate::Broken
                } else if self.stalled.contains(revision) {
                    Fate::Stalled
                } else {
                    Fate::Ready
                };
                let settled_at = later(at, self.timings.ready);
                *live = Some(Live { revision: revision.to_owned(), manifests, applied_at: at, settled_at, fate });
                app.health_at = Some(settled_at);
            }
        }
        app.live_log.push((at, revision.to_owned()));
    }

    /// To which commit a target revision leads.
    fn resolve(&self, repo_url: &str, target: &str) -> Option<String> {
        if is_commit(target) { Some(target.to_owned()) } else { (self.resolve)(repo_url, target) }
    }

    /// What a comparison that begins now will write: all of it from the same look at the cluster.
    fn compare(&self, app: &App, at: Timestamp) -> Shown {
        let mut shown = Shown { target: app.spec.target_revision.clone(), reconciled_at: Some(at), ..Shown::default() };
        let fresh = app.live.as_ref().filter(|live| at >= later(live.applied_at, self.timings.lag));
        let seen = fresh.or(app.before.as_ref());
        shown.health = seen.map_or("Missing", |live| live.health(at));
        let head = self.resolve(&app.spec.repo_url, &app.spec.target_revision);
        let manifests = head
            .as_ref()
            .and_then(|head| (self.manifests)(&app.spec.repo_url, head, &app.spec.path).map(|found| (head, found)));
        let Some((head, manifests)) = manifests else {
            shown.sync = "Unknown";
            shown.error = Some(format!(
                "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unknown desc = \
                 unable to resolve '{}' to a commit SHA, or no such path {}",
                app.spec.target_revision, app.spec.path
            ));
            return shown;
        };
        shown.revision.clone_from(head);
        shown.resources = true;
        let same = seen.is_some_and(|live| live.manifests.as_ref() == Some(&manifests));
        shown.sync = if same && !app.spec.drifts { "Synced" } else { "OutOfSync" };
        shown
    }

    fn write_comparison(&mut self, app: &mut App, at: Timestamp) {
        let Some(comparison) = app.comparison.take() else { return };
        app.shown = comparison.result;
        app.compared = Some(comparison.began);
        // One at a time: what was asked for meanwhile begins now.
        app.compare_at = app.compare_at.max(at);
        // Automatic sync tries each revision once, and not while something runs or a window is closed.
        let head = app.shown.revision.clone();
        let wants = app.spec.auto_sync && app.shown.sync == "OutOfSync" && !app.spec.window_closed;
        if wants && app.operation.is_none() && app.attempted.as_ref() != Some(&head) {
            app.attempted = Some(head.clone());
            let prune = app.spec.auto_prune;
            let request = Request { revision: Some(head), automated: true, prune, ..Request::default() };
            self.accept(app, request, at);
        }
    }

    /// Accepts or refuses an operation, as the API server does.
    pub(crate) fn request(&mut self, name: &str, request: Request, now: Timestamp) -> Result<(), Refused> {
        if self.conflicts > 0 {
            self.conflicts -= 1;
            let text = "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version";
            return Err((409, 10, text.into()));
        }
        let Some(mut app) = self.apps.remove(name) else {
            return Err((403, 7, format!("permission denied: applications, sync, {name}")));
        };
        let answer = self.check(&app, &request);
        if let Ok(revision) = &answer {
            self.accept(&mut app, Request { revision: Some(revision.clone()), ..request }, now);
        }
        self.apps.insert(name.to_owned(), app);
        self.advance(now);
        answer.map(drop)
    }

    fn check(&self, app: &App, request: &Request) -> Result<String, Refused> {
        if app.spec.window_closed {
            return Err((403, 7, "cannot sync: blocked by sync window".into()));
        }
        if app.spec.deleting {
            return Err((400, 9, "application is deleting".into()));
        }
        let target = &app.spec.target_revision;
        let wanted = request.revision.as_ref().unwrap_or(target);
        if app.spec.auto_sync && wanted != target {
            return Err((400, 9, format!("Cannot sync to {wanted}: auto-sync currently set to {target}")));
        }
        let revision = self.resolve(&app.spec.repo_url, wanted).ok_or_else(|| {
            (400, 9, format!("error resolving repo revision: unable to resolve '{wanted}' to a commit SHA"))
        })?;
        if app.operation.is_some() {
            return Err((400, 9, "another operation is already in progress".into()));
        }
        Ok(revision)
    }

    fn accept(&self, app: &mut App, request: Request, at: Timestamp) {
        app.operation = Some(Operation {
            revision: request.revision.unwrap_or_default(),
            prune: request.prune,
            username: request.username,
            automated: request.automated,
            infos: request.infos,
        });
        // The server takes the last operation's outcome away, so that nobody mistakes it for the new one's.
        app.state = None;
        app.step = Some((later(at, self.timings.queue), Step::Begin));
        app.version += 1;
    }

    /// Asks for the end of the operation; `false` when none has begun.
    pub(crate) fn terminate(&mut self, name: &str, now: Timestamp) -> bool {
        let Some(app) = self.apps.get_mut(name) else { return false };
        let Some(state) = app.state.as_mut().filter(|state| state.phase == "Running") else { return false };
        state.phase = "Terminating";
        app.step = Some((now, Step::End));
        app.version += 1;
        self.advance(now);
        true
    }
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
