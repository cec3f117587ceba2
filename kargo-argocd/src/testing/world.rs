//! All the applications, and the order in which things happen to them.
//!
//! All that happens has a time. [`World::advance`] lets everything happen that is due, in order, each thing stamped with its own time
//! and not with the time of the call, so the same schedule gives the same statuses however often it is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::app::{App, Event, Operation, Step};
use super::settings::{FakeApp, Fault, Timings};
use super::{Commits, SyncRecord};
use crate::client::{Info, Source};

pub(crate) type Resolve = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;
pub(crate) type Manifests = Arc<dyn Fn(&str, &str, &str) -> Option<String> + Send + Sync>;

pub(crate) type EditBefore = Box<dyn FnOnce(&mut FakeApp) + Send>;

/// The namespace of Argo CD itself, whose applications go by their bare names.
pub(crate) const CONTROL: &str = "argocd";

/// All the applications, and how things go with them.
pub(crate) struct World {
    pub(crate) timings: Timings,
    resolve: Resolve,
    manifests: Manifests,
    /// By name, behind `<namespace>/` outside of Argo CD's own.
    pub(crate) apps: BTreeMap<String, App>,
    pub(crate) syncs: Vec<SyncRecord>,
    pub(crate) broken: BTreeSet<String>,
    pub(crate) stalled: BTreeSet<String>,
    pub(crate) failing: BTreeMap<String, String>,
    /// Why operations fail once their first wave is applied.
    pub(crate) failing_halfway: BTreeMap<String, String>,
    /// The branches that the hydrator commits to.
    pub(crate) hydrated: Commits,
    /// Why revisions cannot be rendered.
    pub(crate) unrenderable: BTreeMap<String, String>,
    pub(crate) fault: Option<Fault>,
    pub(crate) session: Option<String>,
    pub(crate) logins: u32,
    pub(crate) conflicts: u32,
    /// Who syncs just before the next sync over the API, and at which revision.
    pub(crate) cuts_in: Option<(String, Option<String>)>,
    /// How many edits of an application are still to be refused.
    pub(crate) edit_conflicts: BTreeMap<String, u32>,
    /// What becomes of an application just before it is edited next.
    pub(crate) edited_before: BTreeMap<String, EditBefore>,
    /// How many reads after an accepted sync are answered with what was before.
    pub(crate) stale_reads: u32,
    /// How many tries of operations are still to fail, and with which message.
    pub(crate) failing_tries: Option<(u32, String)>,
    /// What the watch streams tell: the kind of change, and of which application. `None` where nobody is told.
    pub(crate) changes: Vec<Option<Change>>,
    /// Whether changes reach no stream.
    pub(crate) mute: bool,
    /// How many changes are still to reach no stream.
    pub(crate) dropping: u32,
    /// Streams of an older epoch are cut.
    pub(crate) epoch: u64,
    /// Every request, as `GET /path`.
    pub(crate) requests: Vec<String>,
    /// Every action on a resource, as `<application> <kind>/<name> <action>`.
    pub(crate) actions: Vec<String>,
    created: u64,
    versions: u64,
}

/// A change of an application.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) kind: &'static str,
    pub(crate) app: String,
    /// The version that it was deleted as.
    pub(crate) version: u64,
}

/// An operation that somebody asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// The revision of a source by its index.
    pub(crate) revisions: Vec<(usize, String)>,
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
            failing_halfway: BTreeMap::new(),
            hydrated: Commits::new(),
            unrenderable: BTreeMap::new(),
            fault: None,
            session: None,
            logins: 0,
            conflicts: 0,
            cuts_in: None,
            edit_conflicts: BTreeMap::new(),
            edited_before: BTreeMap::new(),
            stale_reads: 0,
            failing_tries: None,
            changes: Vec::new(),
            mute: false,
            dropping: 0,
            epoch: 0,
            requests: Vec::new(),
            actions: Vec::new(),
            created: 0,
            versions: 0,
        }
    }

    pub(crate) fn create(&mut self, spec: FakeApp, now: Timestamp) {
        self.created += 1;
        self.versions += 1;
        let uid = format!("00000000-0000-4000-8000-{:012}", self.created);
        let key = spec.key();
        self.apps.insert(key.clone(), App::new(spec, uid, self.versions, now));
        self.tell("ADDED", &key, self.versions);
        self.advance(now);
    }

    pub(crate) fn delete(&mut self, key: &str) {
        if self.apps.remove(key).is_some() {
            self.versions += 1;
            self.tell("DELETED", key, self.versions);
        }
    }

    /// Somebody changed an application.
    pub(crate) fn changed(&mut self, app: &mut App) {
        self.versions += 1;
        app.version = self.versions;
        self.tell("MODIFIED", &app.spec.key(), self.versions);
    }

    fn tell(&mut self, kind: &'static str, key: &str, version: u64) {
        let change = Change { kind, app: key.to_owned(), version };
        let dropped = self.dropping > 0;
        self.dropping = self.dropping.saturating_sub(1);
        self.changes.push((!self.mute && !dropped).then_some(change));
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
            match event {
                Event::Operation => self.operate(&mut app, at),
                Event::Hydrate => self.hydrate(&mut app, at),
                Event::Rollout => self.roll_on(&mut app, at),
                Event::Regenerate => app.regenerate(),
                Event::Health => self.write_health(&mut app, at),
                Event::Touch => self.touch(&mut app, at),
                Event::CompareBegin => self.begin_comparison(&mut app, at),
                Event::CompareEnd => self.write_comparison(&mut app, at),
            }
            // The begin of a comparison writes nothing.
            if event != Event::CompareBegin {
                self.changed(&mut app);
            }
            self.apps.insert(name, app);
        }
    }

    /// Begins to compare an application at `at`, if that is not done already before.
    pub(crate) fn ask_comparison(&mut self, key: &str, hard: bool, at: Timestamp) {
        if let Some(app) = self.apps.get_mut(key) {
            app.compare_at = app.compare_at.min(at);
            if hard {
                (app.hydrator.hard, app.rendered, app.spec.stale_manifests) = (true, None, false);
            }
        }
        self.advance(at);
    }

    /// What the sources hold, or what a cache holds in its place.
    pub(super) fn rendered(&self, app: &mut App, sources: &[Source], revisions: &[String]) -> Option<String> {
        if let Some(old) = app.rendered.as_ref().filter(|_| app.spec.stale_manifests) {
            return Some(old.clone());
        }
        app.rendered = self.render(sources, revisions);
        app.rendered.clone()
    }

    /// What the sources hold, when all of them can be rendered.
    pub(crate) fn render(&self, sources: &[Source], revisions: &[String]) -> Option<String> {
        let mut texts = Vec::new();
        for (source, revision) in sources.iter().zip(revisions).filter(|(source, _)| !source.is_reference_only()) {
            let path = source.chart.as_deref().or(source.path.as_deref()).unwrap_or(".");
            let of_hydrator = self.hydrated.content(revision, path);
            let known = of_hydrator.or_else(|| (self.manifests)(&source.repo_url, revision, path));
            // A chart that is not known is what its name and version say.
            let mut text = known.or_else(|| Some(format!("{} {revision}", source.chart.as_ref()?)))?;
            if !source.rest.is_empty() {
                text.push_str(&format!("\nwith {}", serde_json::Value::Object(source.rest.clone())));
            }
            texts.push(text);
        }
        Some(texts.join("\n---\n"))
    }

    /// To which commit or version a target revision leads.
    pub(super) fn resolve(&self, source: &Source, target: &str) -> Option<String> {
        let concrete = match source.chart {
            Some(_) => target.starts_with(|c: char| c.is_ascii_digit() || c == 'v') && !target.contains('x'),
            None => is_commit(target) || target.starts_with("sha256:"),
        };
        if concrete {
            return Some(target.to_owned());
        }
        (self.resolve)(&source.repo_url, target).or_else(|| self.hydrated.head(target))
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
        if let Ok(revisions) = &answer {
            if self.stale_reads > 0 {
                app.cached = Some((super::render::application(&app), self.stale_reads));
            }
            self.accept(&mut app, revisions.clone(), request, now);
        }
        self.apps.insert(name.to_owned(), app);
        self.advance(now);
        answer.map(drop)
    }

    fn check(&self, app: &App, request: &Request) -> Result<Vec<String>, Refused> {
        if app.spec.window_closed && !app.spec.manual_sync {
            return Err((403, 7, "cannot sync: blocked by sync window".into()));
        }
        if app.spec.deleting {
            return Err((400, 9, "application is deleting".into()));
        }
        let sources = app.spec.sources.as_slice();
        if let Some((at, _)) = request.revisions.iter().find(|(at, _)| *at >= sources.len()) {
            return Err((500, 2, format!("source position {} is out of range", at + 1)));
        }
        let mut revisions = Vec::new();
        for (at, source) in sources.iter().enumerate() {
            let target = source.target_revision.as_deref().unwrap_or("HEAD");
            let named = request.revisions.iter().find(|(of, _)| *of == at).map(|(_, revision)| revision.as_str());
            let wanted = named.unwrap_or(target);
            if app.spec.auto_sync && wanted != target {
                let text = match sources.len() {
                    1 => format!("Cannot sync to {wanted}: auto-sync currently set to {target}"),
                    _ => format!(
                        "Cannot sync source {} to {wanted}: auto-sync currently set to {target}",
                        source.repo_url
                    ),
                };
                return Err((400, 9, text));
            }
            revisions.push(self.resolve(source, wanted).ok_or_else(|| {
                (400, 9, format!("error resolving repo revision: unable to resolve '{wanted}' to a commit SHA"))
            })?);
        }
        if app.operation.is_some() {
            return Err((400, 9, "another operation is already in progress".into()));
        }
        Ok(revisions)
    }

    pub(super) fn accept(&mut self, app: &mut App, revisions: Vec<String>, request: Request, at: Timestamp) {
        let Request { prune, username, automated, infos, .. } = request;
        let sources = app.spec.sources.clone();
        app.operation = Some(Operation { revisions, prune, username, automated, infos, sources });
        // The server takes the last operation's outcome away, so that nobody mistakes it for the new one's.
        app.state = None;
        app.step = Some((later(at, self.timings.queue), Step::Begin));
        self.changed(app);
    }

    /// Asks for the end of the operation; `false` when none has begun.
    pub(crate) fn terminate(&mut self, name: &str, now: Timestamp) -> bool {
        let Some(mut app) = self.apps.remove(name) else { return false };
        let running = app.state.as_mut().filter(|state| state.phase == "Running");
        let found = running.map(|state| state.phase = "Terminating").is_some();
        if found {
            app.step = Some((now, Step::End));
            self.changed(&mut app);
        }
        self.apps.insert(name.to_owned(), app);
        self.advance(now);
        found
    }

    /// Does an action on the Rollout of an application.
    pub(crate) fn act(&mut self, name: &str, action: &str, now: Timestamp) -> bool {
        let Some(mut app) = self.apps.remove(name) else { return false };
        let noted = later(now, self.timings.touch);
        let done = app.live.as_mut().is_some_and(|live| {
            let settled = now >= live.settled_at;
            live.rollout.as_mut().and_then(|rollout| rollout.act(action, settled, noted)).is_some()
        });
        if done {
            self.actions.push(format!("{name} Rollout/{} {action}", app.spec.name));
            if !matches!(action, "resume" | "promote-full") {
                self.rolled(&mut app, now);
            }
        }
        self.apps.insert(name.to_owned(), app);
        self.advance(now);
        done
    }

    /// More or fewer workloads of the same: the children change, and nothing else.
    pub(crate) fn scale(&mut self, name: &str, now: Timestamp) {
        let Some(mut app) = self.apps.remove(name) else { return };
        if let Some(live) = &mut app.live {
            live.settled_at = later(now, self.timings.ready);
            self.write_health(&mut app, now);
            app.health_at = app.live.as_ref().map(|live| live.settled_at);
            self.changed(&mut app);
        }
        self.apps.insert(name.to_owned(), app);
        self.advance(now);
    }

    /// The Rollout's pause is over.
    fn roll_on(&mut self, app: &mut App, at: Timestamp) {
        if let Some(rollout) = app.live.as_mut().and_then(|live| live.rollout.as_mut()) {
            rollout.go_on();
        }
        self.rolled(app, at);
    }

    /// The Rollout has changed what runs.
    fn rolled(&mut self, app: &mut App, at: Timestamp) {
        let Some(live) = app.live.as_mut() else { return };
        live.settled_at = later(at, self.timings.ready);
        (app.health_at, app.touch_at) = (Some(live.settled_at), Some(at));
        // What has waited for this goes on once all is well, or once it is known that it is not.
        if let Some((due, Step::Hook | Step::LastWave)) = &mut app.step {
            *due = if live.is_paused() { Timestamp::MAX } else { live.settled_at };
        }
    }
}

pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
