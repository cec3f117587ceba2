//! A fake Argo CD for the tests of hosts, spoken to over HTTP by the real client.
//!
//! What makes Argo CD hard to deploy with is that two workers write one status. The fake has both: one carries operations out, the other
//! compares, each in its own time, with stamps of whole seconds, and each overwrites only its own part. So the same half-old,
//! half-new status can be read from it as from the real one, while [`FakeArgoCd::live_revision`] tells what really runs.
//!
//! Time is a [`kargo_core::Clock`]: the machine's, one that is turned by hand, or a [`FastClock`].
//!
//! ```
//! use kargo_argocd::testing::{Commits, FakeApp, FakeArgoCd};
//! use kargo_argocd::{ArgoCd, ArgoCdApp};
//! use kargo_core::plugin::{Context, DeployRequest, Deployer, Deployment};
//! use kargo_core::{Actor, Freight, PromotionInfo};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kargo_core::Result<()> {
//! let commits = Commits::new();
//! let wanted = commits.commit("main", [("dev", "image: app:1.0.0")]);
//! let fake = FakeArgoCd::builder().commits(&commits).speed(100).start().await?;
//! fake.create_app(FakeApp::new("shop-dev").source("https://git.example/config", "main", "dev"));
//! assert_eq!(fake.live_revision("shop-dev"), None);
//!
//! let argocd = ArgoCd::new(fake.client()?).history(commits);
//! let cx = Context::new(fake.clock(), Actor::engine(), "promotion-1.deploy");
//! let freight = Freight::new("main", Vec::new(), cx.now());
//! let promotion = PromotionInfo::new("shop", "promotion-1", "dev", freight, Actor::engine(), cx.now());
//! let config = serde_json::to_value(ArgoCdApp::new("shop-dev")).unwrap();
//! let mut memory = None;
//! loop {
//!     let request = DeployRequest::new(&promotion, &config, Some(wanted.as_str().into()), cx.now());
//!     match argocd.deploy(&cx, &request.with_state(memory.as_ref())).await? {
//!         Deployment::Pending { check_after, state, .. } => {
//!             memory = state;
//!             cx.sleep(check_after).await?;
//!         }
//!         Deployment::Live { revision, .. } => break assert_eq!(revision, wanted.as_str()),
//!         other => panic!("{other:?}"),
//!     }
//! }
//! assert_eq!(fake.live_revision("shop-dev"), Some(wanted));
//! assert!(fake.is_ready("shop-dev"));
//! assert_eq!(fake.syncs().len(), 1);
//! # Ok(())
//! # }
//! ```

mod app;
mod clock;
mod commits;
mod compare;
mod hydrate;
mod operate;
mod render;
mod rollout;
mod server;
mod settings;
mod world;

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use kargo_core::{Clock, Error, ErrorKind, Result};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::client::{Client, Info};

pub use clock::FastClock;
pub use commits::Commits;
pub use rollout::FakePause;
pub use settings::{FakeApp, FakeArgoCdBuilder, Fault, Timings};

use world::{Request, World};

/// The model without the server, for tests of the judgement on many schedules.
#[cfg(test)]
pub(crate) mod model {
    pub(crate) use super::app::App;
    pub(crate) use super::render::application;
    pub(crate) use super::world::{Request, World};
}

/// A stateful Argo CD on a free port of this machine. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeArgoCd {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

/// What the server's tasks and the test share.
struct Shared {
    clock: Arc<dyn Clock>,
    /// Where the server is on its host; empty, or with a slash in front.
    root_path: String,
    world: Mutex<World>,
    /// Told when something new may be due.
    changed: Notify,
    /// How many changes there have been, for those who stream them.
    told: watch::Sender<usize>,
}

/// The world, locked. Streams hear of what was changed once it is let go.
struct Locked<'a> {
    world: MutexGuard<'a, World>,
    told: &'a watch::Sender<usize>,
}

impl Deref for Locked<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let count = self.world.changes.len();
        self.told.send_if_modified(|known| std::mem::replace(known, count) != count);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Shared {
    /// The world as it is now: all that was due has happened.
    fn world(&self) -> Locked<'_> {
        // A panic in a test's own closure poisons the lock; the world is still whole.
        let mut world = self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        world.advance(self.clock.now());
        Locked { world, told: &self.told }
    }

    /// Lets things happen when they are due, so that what closures say is asked for at the right time.
    async fn pump(self: Arc<Self>) {
        loop {
            let due = self.world().next_due();
            let changed = self.changed.notified();
            match due {
                Some(due) => tokio::select! {
                    () = self.clock.sleep_until(due) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }
}

/// A sync that was asked for over the API, and accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncRecord {
    /// The application.
    pub app: String,
    /// The revision that was named, if one was; of several sources the first that was.
    pub revision: Option<String>,
    /// The revisions that were named, by the index of their source.
    pub revisions: Vec<(usize, String)>,
    /// What the asker attached.
    pub infos: Vec<Info>,
    /// Whether what is no longer wanted was to be deleted.
    pub prune: bool,
    /// All that was asked for, as it was sent.
    pub body: serde_json::Value,
    /// When.
    pub at: Timestamp,
}

impl SyncRecord {
    /// The key of the deployment that asked, when it was one of this crate's.
    pub fn key(&self) -> Option<&str> {
        self.infos.iter().find(|info| info.name == crate::TAG).map(|info| info.value.as_str())
    }
}

impl FakeArgoCd {
    /// Begins a fake.
    pub fn builder() -> FakeArgoCdBuilder {
        FakeArgoCdBuilder::default()
    }

    async fn serve(clock: Arc<dyn Clock>, world: World, root_path: String) -> Result<Self> {
        let fault = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "The fake Argo CD cannot listen on this machine.").because(error)
        };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        let (world, told) = (Mutex::new(world), watch::channel(0).0);
        let shared = Arc::new(Shared { clock, root_path, world, changed: Notify::new(), told });
        let router = server::router(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the fake Argo CD stopped");
            }
        });
        let pumping = tokio::spawn(Arc::clone(&shared).pump());
        Ok(Self { shared, address, tasks: vec![serving, pumping] })
    }

    /// The base URL, with the root path if it has one.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, self.shared.root_path)
    }

    /// The token that it accepts.
    pub fn token(&self) -> &'static str {
        settings::TOKEN
    }

    /// The name and password that it accepts for a log-in.
    pub fn login(&self) -> (&'static str, &'static str) {
        (settings::USERNAME, settings::PASSWORD)
    }

    /// A client with that token.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn client(&self) -> Result<Client> {
        Client::builder(self.url()).token(self.token()).build()
    }

    /// The clock it goes by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock)
    }

    /// Adds an application, in place of one of the same name.
    pub fn create_app(&self, app: FakeApp) {
        let now = self.shared.clock.now();
        self.shared.world().create(app, now);
        self.shared.changed.notify_one();
    }

    /// Removes an application.
    pub fn delete_app(&self, name: &str) {
        self.shared.world().delete(name);
    }

    /// What the application really runs, whatever its status says. Of a Rollout that was aborted that is what ran before.
    pub fn live_revision(&self, app: &str) -> Option<String> {
        self.live_revisions(app).into_iter().next()
    }

    /// What the application really runs, for each of its sources.
    pub fn live_revisions(&self, app: &str) -> Vec<String> {
        let world = self.shared.world();
        let aborted = |live: &app::Live| live.rollout.as_ref().is_some_and(|rollout| rollout.aborted);
        let runs = |app: &app::App| match &app.live {
            Some(live) if aborted(live) => app.before.clone(),
            live => live.clone(),
        };
        world.apps.get(app).and_then(runs).map(|live| live.revisions).unwrap_or_default()
    }

    /// Whether all that the application runs is really ready.
    pub fn is_ready(&self, app: &str) -> bool {
        let now = self.shared.clock.now();
        self.shared.world().apps.get(app).and_then(|app| app.live.as_ref()).is_some_and(|live| live.is_ready(now))
    }

    /// What the application has run, and since when, oldest first.
    pub fn live_history(&self, app: &str) -> Vec<(Timestamp, String)> {
        self.shared.world().apps.get(app).map(|app| app.live_log.clone()).unwrap_or_default()
    }

    /// The accepted syncs, oldest first.
    pub fn syncs(&self) -> Vec<SyncRecord> {
        self.shared.world().syncs.clone()
    }

    /// How many times a name and password were exchanged for a token.
    pub fn logins(&self) -> u32 {
        self.shared.world().logins
    }

    /// Ends every session that a log-in opened.
    pub fn expire_sessions(&self) {
        self.shared.world().session = None;
    }

    /// Whether an operation is asked for or runs.
    pub fn is_operating(&self, app: &str) -> bool {
        self.shared.world().apps.get(app).is_some_and(|app| app.operation.is_some())
    }

    /// Starts an operation as a person at the user interface would. Returns whether it was accepted.
    pub fn sync_as_user(&self, app: &str, username: &str, revision: Option<&str>) -> bool {
        let now = self.shared.clock.now();
        let revisions = revision.map(|revision| (0, revision.to_owned())).into_iter().collect();
        let request = Request { revisions, username: username.to_owned(), ..Request::default() };
        let accepted = self.shared.world().request(app, request, now).is_ok();
        self.shared.changed.notify_one();
        accepted
    }

    /// Changes an application's settings, as an edit of its specification would.
    pub fn edit_app(&self, name: &str, edit: impl FnOnce(&mut FakeApp)) {
        let mut world = self.shared.world();
        if let Some(mut app) = world.apps.remove(name) {
            edit(&mut app.spec);
            app.generated = (app.spec.sources.clone(), app.spec.hydrator.clone());
            world.changed(&mut app);
            world.apps.insert(name.to_owned(), app);
        }
    }

    /// What the application's settings are now.
    pub fn app(&self, name: &str) -> Option<FakeApp> {
        self.shared.world().apps.get(name).map(|app| app.spec.clone())
    }

    /// Lets the next `times` tries of operations fail with `message`.
    pub fn fail_next_tries(&self, times: u32, message: &str) {
        self.shared.world().failing_tries = Some((times, message.to_owned()));
    }

    /// After each accepted sync, answers `times` reads with what was before it, as from a cache.
    pub fn stale_reads(&self, times: u32) {
        self.shared.world().stale_reads = times;
    }

    /// Whether changes reach no stream, as when the server's buffer overflows.
    pub fn mute_streams(&self, mute: bool) {
        self.shared.world().mute = mute;
    }

    /// Lets the next `count` changes reach no stream, as when the server's buffer overflows for a moment.
    pub fn drop_next_events(&self, count: u32) {
        self.shared.world().dropping = count;
    }

    /// Cuts every open stream in the middle of a line.
    pub fn cut_streams(&self) {
        self.shared.world().epoch += 1;
        self.shared.told.send_modify(|_| ());
    }

    /// Every request so far, as `GET /api/v1/applications/shop`.
    pub fn requests(&self) -> Vec<String> {
        self.shared.world().requests.clone()
    }

    /// Every action on a resource that was done, as `shop Rollout/shop resume`.
    pub fn actions(&self) -> Vec<String> {
        self.shared.world().actions.clone()
    }

    /// When something happens next by itself, for those who turn the clock by hand.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.shared.world().next_due()
    }

    /// Lets workloads of `revision` never get well: they become degraded when they should be ready.
    pub fn break_revision(&self, revision: &str) {
        self.shared.world().broken.insert(revision.to_owned());
    }

    /// Lets workloads of `revision` never get ready.
    pub fn stall_revision(&self, revision: &str) {
        self.shared.world().stalled.insert(revision.to_owned());
    }

    /// Lets operations at `revision` fail with `message`.
    pub fn fail_sync_of(&self, revision: &str, message: &str) {
        self.shared.world().failing.insert(revision.to_owned(), message.to_owned());
    }

    /// Lets operations at `revision` of an application with waves fail with `message` once the first wave is applied and well.
    pub fn fail_second_wave_of(&self, revision: &str, message: &str) {
        self.shared.world().failing_halfway.insert(revision.to_owned(), message.to_owned());
    }

    /// Lets the rendering of `revision` ahead fail with `message`.
    pub fn fail_rendering_of(&self, revision: &str, message: &str) {
        self.shared.world().unrenderable.insert(revision.to_owned(), message.to_owned());
    }

    /// Lets what could not be rendered be rendered after all.
    pub fn mend_rendering(&self) {
        self.shared.world().unrenderable.clear();
    }

    /// Answers the next `times` syncs with a write conflict.
    pub fn refuse_next_syncs(&self, times: u32) {
        self.shared.world().conflicts = times;
    }

    /// Lets `username` sync just before the next sync that is asked for over the API, so that this one comes too late.
    pub fn sync_before_next_sync(&self, username: &str, revision: Option<&str>) {
        self.shared.world().cuts_in = Some((username.to_owned(), revision.map(str::to_owned)));
    }

    /// Answers the next `times` edits of an application with a write conflict.
    pub fn refuse_next_edits(&self, app: &str, times: u32) {
        self.shared.world().edit_conflicts.insert(app.to_owned(), times);
    }

    /// Changes an application just before it is edited over the API next, as somebody else would between a read and an edit.
    pub fn edit_before_next_edit(&self, app: &str, edit: impl FnOnce(&mut FakeApp) + Send + 'static) {
        self.shared.world().edited_before.insert(app.to_owned(), Box::new(edit));
    }

    /// Scales an application's workloads, as an autoscaler does: without any operation they are on their way until the new ones are ready.
    pub fn scale(&self, app: &str) {
        let now = self.shared.clock.now();
        self.shared.world().scale(app, now);
        self.shared.changed.notify_one();
    }

    /// When the last operation of an application ended, exactly.
    pub fn operation_ended(&self, app: &str) -> Option<Timestamp> {
        self.shared.world().apps.get(app)?.state.as_ref()?.finished_at
    }

    /// Answers every request with a fault, or with none again.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.world().fault = fault;
    }
}

impl Drop for FakeArgoCd {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
