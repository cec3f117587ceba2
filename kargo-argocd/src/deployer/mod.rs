//! Argo CD as a [`Deployer`].

mod carry;
mod children;
mod find;
mod memory;
mod observe;
mod rollouts;
mod stop;
mod target;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use kargo_core::plugin::{Context, DeployRequest, Deployer, Deployment, History, Observation, ObserveRequest};
use kargo_core::{Error, ErrorKind, Result, Retry, Revision};
use serde_json::Value;

use crate::client::{AppRef, Client, Snapshot};
use crate::config::{ArgoCdApp, ArgoCdApps};

pub(crate) use carry::{Job, Stand};
pub(crate) use find::missing_app;
use find::{Found, Target};
pub(crate) use memory::{AppMemory, Memory};
pub(crate) use observe::TakenOver;
use stop::Unanswered;
pub(crate) use stop::Which;
pub(crate) use target::is_repository;

/// For how long one call waits for news of its applications before it lets the engine call again.
const HOLD: Duration = Duration::from_secs(30);
/// How long one waits for further news once there is some.
const BURST: Duration = Duration::from_millis(100);
/// How many applications of one step are worked on at once.
const AT_ONCE: usize = 16;

/// Has Argo CD run the wanted revision, and says live only when it does.
///
/// Its steps are configured by [`ArgoCdApp`], or by [`ArgoCdApps`] for several applications. A deployment asks for at most one sync of each
/// application, tagged with [`Context::key`], so that it is found again after a crash; two more follow only when somebody else undoes it or
/// Argo CD does half of it.
///
/// A call that has to wait listens to Argo CD's stream of changes, one for all calls through the same [`Client`], and reads an application
/// only when that tells of it; without the stream it reads every few seconds. Dropping a call at any time is safe.
///
/// ```
/// use kargo_argocd::{ArgoCd, Client};
/// use kargo_core::Plugins;
///
/// # fn main() -> kargo_core::Result<()> {
/// let client = Client::builder("https://argocd.example").token("a.b.c").build()?;
/// let plugins = Plugins::builder().deployer("argocd", ArgoCd::new(client)).build();
/// assert!(plugins.step("deploy:argocd").is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ArgoCd {
    pub(crate) client: Client,
    history: Option<Arc<dyn History>>,
    polls: bool,
    pub(crate) unanswered: Unanswered,
}

impl ArgoCd {
    /// Deploys through `client`.
    pub fn new(client: Client) -> Self {
        Self { client, history: None, polls: false, unanswered: Unanswered::default() }
    }

    /// Asks `history` how revisions follow each other. Without it, an application that runs a later revision than the wanted one cannot
    /// be told from one that runs something else.
    #[must_use]
    pub fn history(mut self, history: impl History) -> Self {
        self.history = Some(Arc::new(history));
        self
    }

    /// Opens no stream of changes, for proxies that cannot bear one, and for tests whose clock stands still during a call.
    #[must_use]
    pub fn polling(mut self) -> Self {
        self.polls = true;
        self
    }

    /// Whether one may wait for news, rather than look again after a while.
    fn listens(&self) -> bool {
        !self.polls && self.client.watch().is_connected()
    }

    /// Waits within a call for news of `apps`, for `pause` at most. Returns whether to look again within this call.
    pub(crate) async fn hold(&self, cx: &Context, apps: &[AppRef], pause: Duration, until: Timestamp) -> Result<bool> {
        let left = Duration::try_from(until.duration_since(cx.now())).unwrap_or_default();
        if left.is_zero() || pause.is_zero() || !self.listens() {
            return Ok(false);
        }
        if self.client.watch().wait(cx, apps, pause.min(left)).await? {
            // Changes come in bursts, and one look at the end of one is enough.
            cx.sleep(BURST).await?;
        }
        Ok(true)
    }

    /// Until when a call may wait for news.
    pub(crate) fn hold_until(&self, cx: &Context) -> Timestamp {
        let most = HOLD.min(cx.remaining() / 2);
        cx.now().checked_add(most).unwrap_or(Timestamp::MAX)
    }

    /// Why a deployment failed, once its syncs that wait are stopped: left alone, they would fire later, unattended.
    pub(crate) async fn left_over(&self, cx: &Context, memory: Memory, reason: String) -> String {
        let stopped = self.stop_all(cx, memory.with_synced(Vec::new()), Which::Waiting).await;
        self.unanswered.forget(cx.key());
        match stopped {
            Ok(()) => reason,
            Err(error) => format!("{reason} A sync that waits could not be stopped: {}", error.report()),
        }
    }

    /// One look at all applications of a step, each carried on as far as it goes. The order is that of the configuration.
    /// With `fresh`, all are read; else those of which nothing has been heard count as they were read last.
    async fn look(
        &self,
        cx: &Context,
        request: &DeployRequest<'_>,
        apps: &[ArgoCdApp],
        memory: &mut Memory,
        fresh: bool,
    ) -> Result<Look> {
        let mut targets = Vec::new();
        let mut stands = Vec::new();
        let mut seen = BTreeSet::new();
        // A selector may find what is named as well; the entry that comes first counts.
        let finds: Vec<_> = apps.iter().map(|app| self.find(cx, app, request.started_at, fresh)).collect();
        let mut found = stream::iter(finds).buffered(AT_ONCE);
        while let Some(entry) = found.next().await {
            for one in entry? {
                match one {
                    // By what the server calls it: a reference may leave the namespace and the project out.
                    Found::App(target) if seen.insert(place(&target.snapshot)) => targets.push(*target),
                    Found::App(_) => {}
                    Found::Awaited(reason) => {
                        stands.push(Stand::Pending { reason, check_after: Duration::from_secs(5) })
                    }
                }
            }
        }
        drop(found);
        let names: Vec<AppRef> = targets.iter().map(|target| target.app.clone()).collect();
        let jobs = targets.into_iter().map(|target| {
            let name = target.app.to_string();
            let mut kept = memory.apps.get(&name).cloned().unwrap_or_default();
            async move {
                let stand = self.one(cx, request, target, &mut kept).await;
                (name, kept, stand)
            }
        });
        // All are made before the first is run, since what they leave is put back one by one.
        let jobs: Vec<_> = jobs.collect();
        let mut carried = stream::iter(jobs).buffered(AT_ONCE);
        let mut trouble = None;
        while let Some((name, kept, stand)) = carried.next().await {
            memory.apps.insert(name, kept);
            match stand {
                Ok(stand) => stands.push(stand),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        match trouble {
            Some(error) => Err(error),
            None => Ok(Look { names, stands }),
        }
    }

    async fn one(
        &self,
        cx: &Context,
        request: &DeployRequest<'_>,
        target: Target<'_>,
        memory: &mut AppMemory,
    ) -> Result<Stand> {
        let Target { app, config, snapshot } = target;
        let revision = config.revision.as_deref().map(Revision::from).or_else(|| request.revision.clone());
        let wanted = target::wanted(config, &snapshot.app, revision.as_ref())?;
        let policy = config.policy();
        self.carry(cx, Job { app, wanted, policy: &policy, prune: config.prune, snapshot }, memory).await
    }
}

/// An answer that is none of Argo CD's, such as a page of a proxy, after it has answered before: it passes.
pub(crate) fn passing(error: Error, begun: bool) -> Error {
    if begun && error.kind() == ErrorKind::InvalidResponse { error.retry_as(Retry::Backoff) } else { error }
}

/// What one look found.
struct Look {
    names: Vec<AppRef>,
    stands: Vec<Stand>,
}

/// Many stands as one: what failed first counts, then what is still under way, and live is only what is live in all its parts.
pub(crate) fn merge(stands: Vec<Stand>) -> Stand {
    let (mut failed, mut pending, mut live) = (Vec::new(), Vec::new(), Vec::new());
    let (mut first, mut soonest) = (None, Duration::MAX);
    for stand in stands {
        match stand {
            Stand::Failed { reason } => failed.push(reason),
            Stand::Pending { reason, check_after } => {
                soonest = soonest.min(check_after);
                pending.push(reason);
            }
            Stand::Live { revision, evidence } => {
                first.get_or_insert(revision);
                live.push(evidence);
            }
        }
    }
    match first {
        _ if !failed.is_empty() => Stand::Failed { reason: failed.join(" ") },
        Some(revision) if pending.is_empty() => Stand::Live { revision, evidence: live.join("; ") },
        _ => Stand::Pending { reason: some(&pending), check_after: soonest.min(HOLD) },
    }
}

/// Where the server has it.
pub(crate) fn place(snapshot: &Snapshot) -> (Option<String>, String) {
    let metadata = &snapshot.app.metadata;
    (metadata.namespace.clone(), metadata.name.clone())
}

/// The first few reasons, and how many more there are: a step may have hundreds of applications.
fn some(reasons: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = reasons.get(..SHOWN).unwrap_or(reasons).join("; ");
    match reasons.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

#[async_trait]
impl Deployer for ArgoCd {
    fn validate(&self, config: &Value) -> Result<()> {
        ArgoCdApps::read(config).map(drop)
    }

    async fn deploy(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<Deployment> {
        let apps = ArgoCdApps::read(request.config)?;
        let mut memory = Memory::read(request.state);
        let until = self.hold_until(cx);
        let mut fresh = false;
        loop {
            let syncs = |memory: &Memory| memory.apps.values().map(|app| app.latches.syncs).sum::<u32>();
            let before = syncs(&memory);
            let begun = memory.has_begun();
            let Look { names, stands } =
                self.look(cx, request, &apps, &mut memory, fresh).await.map_err(|error| passing(error, begun))?;
            let (reason, check_after) = match merge(stands) {
                // Some may have been read a while ago, and a stream may lose what it should tell.
                Stand::Live { .. } if names.len() > 1 && !fresh => {
                    fresh = true;
                    continue;
                }
                Stand::Live { revision, evidence } => {
                    self.unanswered.forget(cx.key());
                    return Ok(Deployment::Live { revision, evidence });
                }
                Stand::Failed { .. } if !fresh && !self.polls => {
                    fresh = true;
                    continue;
                }
                Stand::Failed { reason } => {
                    let reason = self.left_over(cx, memory, reason).await;
                    return Ok(Deployment::Failed { reason });
                }
                Stand::Pending { reason, check_after } => (reason, check_after),
            };
            fresh = false;
            // What was asked for belongs into the journal first.
            let asked = syncs(&memory) != before;
            let waits = names.is_empty() || asked || !self.hold(cx, &names, check_after, until).await?;
            if waits {
                return Ok(Deployment::Pending { reason, check_after, state: memory.to_state() });
            }
        }
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest<'_>) -> Result<Observation> {
        let later: Vec<ArgoCdApp> =
            request.later.iter().filter_map(|config| ArgoCdApps::read(config).ok()).flatten().collect();
        let taken = self.taken_over(cx, &later).await;
        self.observe_all(cx, &ArgoCdApps::read(request.config)?, request.revision.as_ref(), &taken).await
    }

    async fn abort(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<()> {
        let (mut apps, mut trouble) = (Vec::new(), None);
        for config in ArgoCdApps::read(request.config)? {
            match &config.selector {
                None => apps.push(config.reference()),
                Some(selector) => match self.search_to_stop(cx, &config.search(selector)).await {
                    Ok(found) => apps.extend(found.iter().map(|one| AppRef::of(&one.app))),
                    Err(error) => trouble = trouble.or(Some(error)),
                },
            }
        }
        let stopped = self.stop_all(cx, Memory::read(request.state).with_synced(apps), Which::All).await;
        self.unanswered.forget(cx.key());
        trouble.map_or(stopped, Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(reason: &str, seconds: u64) -> Stand {
        Stand::Pending { reason: reason.into(), check_after: Duration::from_secs(seconds) }
    }

    fn live(revision: &str) -> Stand {
        Stand::Live { revision: revision.into(), evidence: format!("runs {revision}") }
    }

    #[test]
    fn many_are_live_only_together_and_a_failure_counts_first() {
        let Stand::Pending { reason, check_after } =
            merge(vec![live("a"), pending("b waits", 9), pending("c waits", 2)])
        else {
            panic!("not pending")
        };
        assert_eq!((reason.as_str(), check_after), ("b waits; c waits", Duration::from_secs(2)));
        assert!(
            matches!(merge(vec![live("a"), live("a")]), Stand::Live { evidence, .. } if evidence == "runs a; runs a")
        );
        let failed = Stand::Failed { reason: "no".into() };
        assert!(matches!(merge(vec![pending("b", 1), failed]), Stand::Failed { .. }));
        assert!(matches!(merge(Vec::new()), Stand::Pending { .. }), "nothing at all is not live");
    }

    #[test]
    fn of_many_reasons_a_few_are_shown() {
        let stands = (0..9).map(|at| pending(&format!("app {at}"), 1)).collect();
        assert!(matches!(merge(stands), Stand::Pending { reason, .. } if reason.ends_with("app 4; and 4 more")));
    }
}
