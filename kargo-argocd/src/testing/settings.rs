//! What a test can set.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kargo_core::{Clock, Result, SystemClock};

use super::world::{CONTROL, Manifests, Resolve, World};
use super::{Commits, FakeArgoCd, FakePause, FastClock};
use crate::client::{Source, SourceHydrator, SyncSource};

/// The token that the fake accepts. It has the form of a JSON Web Token, as the real one demands.
pub(super) const TOKEN: &str = "fake.argocd.token";
/// The account that can log in.
pub(super) const USERNAME: &str = "kargo";
/// Its password.
pub(super) const PASSWORD: &str = "correct horse";

/// How long things take, on the fake's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// From the acceptance of an operation to its begin. Default: none.
    pub queue: Duration,
    /// How long an operation takes; the cluster changes halfway. Default: 1 second.
    pub operation: Duration,
    /// From the change of the cluster to the readiness of its workloads. Default: 2 seconds.
    pub ready: Duration,
    /// How long a comparison takes. It sees the cluster as it was at its begin. Default: none.
    pub comparison: Duration,
    /// From the end of an operation to the comparison that Argo CD makes by itself, and from an edit of what an ApplicationSet made to when
    /// that makes it anew. Default: 500 milliseconds.
    pub notice: Duration,
    /// For how long after a change of the cluster a comparison still sees it as it was. Default: none.
    pub lag: Duration,
    /// From a change of the cluster to the comparison that this causes, at the revisions that are known, and from an action on a Rollout to
    /// when its controller goes on. Default: 100 milliseconds.
    pub touch: Duration,
    /// From the sight of a new revision to the commit of what it is rendered as; it is begun halfway. Default: 1 second.
    pub hydration: Duration,
    /// Between two comparisons that nothing causes. Default: 3 minutes.
    pub resync: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            queue: Duration::ZERO,
            operation: Duration::from_secs(1),
            ready: Duration::from_secs(2),
            comparison: Duration::ZERO,
            notice: Duration::from_millis(500),
            lag: Duration::ZERO,
            touch: Duration::from_millis(100),
            hydration: Duration::from_secs(1),
            resync: Duration::from_secs(180),
        }
    }
}

/// A fault with which every request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// HTTP 200 with the page that the real server shows at a wrong path.
    Html,
    /// An error answer in the real server's form.
    Status {
        /// The HTTP status.
        status: u16,
        /// The gRPC code.
        code: i64,
        /// The text.
        message: String,
    },
    /// Every request but reads is refused for its content type, as behind a proxy that rewrites it.
    ContentType,
    /// Syncs are accepted, and the connection's answer is an error of a proxy, so that the client cannot know.
    LoseSyncAnswers,
    /// The objects that the resource tree shows are gone when they are looked at, as when they are pruned meanwhile.
    PrunedResources,
    /// Streams are answered as by a server that has none: with its page and HTTP 200.
    NoStreams,
    /// The newer form of resource actions is not known, which is answered with this HTTP status: 404 or 405 by a server without it, 501 by
    /// one that has it switched off.
    OldActions {
        /// The HTTP status.
        status: u16,
    },
}

/// An application to create.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FakeApp {
    /// Its name.
    pub name: String,
    /// Its namespace; none is Argo CD's own.
    pub namespace: Option<String>,
    /// Its project.
    pub project: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Where its manifests are, and what is followed there.
    pub sources: Vec<Source>,
    /// Whether it syncs by itself.
    pub auto_sync: bool,
    /// Whether automatic syncs prune.
    pub auto_prune: bool,
    /// How often a sync that failed is tried again.
    pub retries: u32,
    /// Its options for syncs.
    pub sync_options: Vec<String>,
    /// Whether a sync window forbids syncs.
    pub window_closed: bool,
    /// Whether people may sync all the same.
    pub manual_sync: bool,
    /// Whether a sync window holds accepted operations back.
    pub window_holds: bool,
    /// Whether it is never in sync, since something else writes to its resources.
    pub drifts: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether its resources are applied in two waves, the second once the first is well.
    pub waves: bool,
    /// Whether it has a hook before the sync, and if so whether that succeeds.
    pub pre_sync: Option<bool>,
    /// Whether it has a hook after the sync, and if so whether that succeeds.
    pub post_sync: Option<bool>,
    /// Whether its manifests come from a cache that holds those of before, until a hard refresh.
    pub stale_manifests: bool,
    /// How many entries of its history are kept. Default: 10.
    pub history_limit: Option<usize>,
    /// How its manifests are rendered ahead, when they are. `sources` is then the branch they are rendered onto.
    pub hydrator: Option<SourceHydrator>,
    /// The weights at which its Rollout pauses, and for what; none is an application without such a Rollout.
    pub canary: Vec<(u32, FakePause)>,
    /// Whether it has a Rollout that shows a preview of each new version, and waits to be told to go on.
    pub blue_green: bool,
    /// The ApplicationSet that made it, and that soon undoes what others change of its sources.
    pub application_set: Option<String>,
}

impl FakeApp {
    /// An application in the project `default` that syncs only when asked.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            namespace: None,
            project: "default".into(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            sources: Vec::new(),
            auto_sync: false,
            auto_prune: false,
            retries: 0,
            sync_options: Vec::new(),
            window_closed: false,
            manual_sync: false,
            window_holds: false,
            drifts: false,
            deleting: false,
            waves: false,
            pre_sync: None,
            post_sync: None,
            stale_manifests: false,
            history_limit: None,
            hydrator: None,
            canary: Vec::new(),
            blue_green: false,
            application_set: None,
        }
    }

    /// Adds a path in a Git repository. Several make a multi-source application.
    #[must_use]
    pub fn source(
        self,
        repo_url: impl Into<String>,
        target_revision: impl Into<String>,
        path: impl Into<String>,
    ) -> Self {
        self.with_source(Source {
            repo_url: repo_url.into(),
            target_revision: Some(target_revision.into()),
            path: Some(path.into()),
            ..Source::default()
        })
    }

    /// Has it rendered ahead: from a path in a Git repository onto a branch there, under the same path.
    #[must_use]
    pub fn hydrated(
        mut self,
        repo_url: impl Into<String>,
        target_revision: impl Into<String>,
        path: impl Into<String>,
        branch: impl Into<String>,
    ) -> Self {
        let path = path.into();
        let dry_source = Source {
            repo_url: repo_url.into(),
            target_revision: Some(target_revision.into()),
            path: Some(path.clone()),
            ..Source::default()
        };
        let sync_source = SyncSource { target_branch: branch.into(), path, ..SyncSource::default() };
        let hydrator = SourceHydrator { dry_source, sync_source, hydrate_to: None };
        self.sources = vec![hydrator.rendered()];
        self.hydrator = Some(hydrator);
        self
    }

    /// Adds a chart in a repository.
    #[must_use]
    pub fn chart(self, repo_url: impl Into<String>, chart: impl Into<String>, version: impl Into<String>) -> Self {
        self.with_source(Source {
            repo_url: repo_url.into(),
            target_revision: Some(version.into()),
            chart: Some(chart.into()),
            ..Source::default()
        })
    }

    /// Adds any source.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// Sets the namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets the project.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = project.into();
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Lets it sync by itself.
    #[must_use]
    pub fn auto_sync(mut self) -> Self {
        self.auto_sync = true;
        self
    }

    /// Lets automatic syncs prune.
    #[must_use]
    pub fn auto_prune(mut self) -> Self {
        self.auto_prune = true;
        self
    }

    /// Closes a sync window.
    #[must_use]
    pub fn window_closed(mut self) -> Self {
        self.window_closed = true;
        self
    }

    /// Keeps it out of sync for ever.
    #[must_use]
    pub fn drifting(mut self) -> Self {
        self.drifts = true;
        self
    }

    /// Gives it a Rollout that pauses at each of these weights until somebody resumes it, once it has run a first version.
    #[must_use]
    pub fn canary(self, weights: impl IntoIterator<Item = u32>) -> Self {
        self.canary_of(weights.into_iter().map(|weight| (weight, FakePause::Open)))
    }

    /// As [`FakeApp::canary`], with what it pauses for.
    #[must_use]
    pub fn canary_of(mut self, steps: impl IntoIterator<Item = (u32, FakePause)>) -> Self {
        self.canary = steps.into_iter().collect();
        self
    }

    /// Gives it a Rollout that shows a preview of each new version after the first, and switches over when it is told to.
    #[must_use]
    pub fn blue_green(mut self) -> Self {
        self.blue_green = true;
        self
    }

    pub(super) fn has_rollout(&self) -> bool {
        self.blue_green || !self.canary.is_empty()
    }

    pub(super) fn pauses(&self) -> Vec<(u32, FakePause)> {
        if self.blue_green { vec![(0, FakePause::Open)] } else { self.canary.clone() }
    }

    /// Its name, behind its namespace where that is not Argo CD's own; this is how the fake's functions find it.
    pub fn key(&self) -> String {
        match self.namespace.as_deref() {
            None | Some(CONTROL) => self.name.clone(),
            Some(namespace) => format!("{namespace}/{}", self.name),
        }
    }

    pub(super) fn is_multi_source(&self) -> bool {
        self.sources.len() > 1
    }
}

/// Collects what a [`FakeArgoCd`] needs.
pub struct FakeArgoCdBuilder {
    clock: Arc<dyn Clock>,
    timings: Timings,
    resolve: Resolve,
    manifests: Manifests,
    hydrated: Commits,
    root_path: String,
}

impl std::fmt::Debug for FakeArgoCdBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeArgoCdBuilder")
            .field("clock", &self.clock)
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}

impl Default for FakeArgoCdBuilder {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            timings: Timings::default(),
            resolve: Arc::new(|_, _| None),
            manifests: Arc::new(|_, revision, _| Some(revision.to_owned())),
            hydrated: Commits::new(),
            root_path: String::new(),
        }
    }
}

impl FakeArgoCdBuilder {
    /// Sets the clock that it goes by, also for the `Date` of its answers. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lets `speed` of its seconds pass in each real one, so that a deployment of some seconds is quick to watch.
    #[must_use]
    pub fn speed(self, speed: u32) -> Self {
        self.clock(Arc::new(FastClock::new(speed)))
    }

    /// Sets how long things take.
    #[must_use]
    pub fn timings(mut self, timings: Timings) -> Self {
        self.timings = timings;
        self
    }

    /// Sets how a repository's URL and a target revision, such as a branch, lead to a commit id; `None` when they do not. Commit ids
    /// themselves are not asked for. It is called under a lock and must not call the fake.
    #[must_use]
    pub fn revisions(mut self, resolve: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.resolve = Arc::new(resolve);
        self
    }

    /// Sets what a repository holds at a revision and path, or a hash of it; `None` when there is nothing. Two revisions with the same
    /// content leave an application in sync. Default: each revision differs. It is called under a lock and must not call the fake.
    #[must_use]
    pub fn manifests(mut self, manifests: impl Fn(&str, &str, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.manifests = Arc::new(manifests);
        self
    }

    /// Takes revisions and content from `commits`, whatever the repository's URL, and has what is rendered ahead committed there.
    #[must_use]
    pub fn commits(mut self, commits: &Commits) -> Self {
        self.hydrated = commits.clone();
        let (heads, contents) = (commits.clone(), commits.clone());
        self.revisions(move |_, target| heads.head(target))
            .manifests(move |_, revision, path| contents.content(revision, path))
    }

    /// Puts it under a path of its host, as `--rootpath` does with the real server. Default: none.
    #[must_use]
    pub fn root_path(mut self, path: &str) -> Self {
        let path = path.trim_matches('/');
        self.root_path = if path.is_empty() { String::new() } else { format!("/{path}") };
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub async fn start(self) -> Result<FakeArgoCd> {
        let mut world = World::new(self.timings, self.resolve, self.manifests);
        world.hydrated = self.hydrated;
        FakeArgoCd::serve(self.clock, world, self.root_path).await
    }
}
