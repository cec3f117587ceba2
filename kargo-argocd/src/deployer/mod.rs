//! Argo CD as a [`Deployer`].

mod target;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kargo_core::plugin::{
    Context, DeployRequest, Deployer, Deployment, Health, History, Observation, ObserveRequest, Relation,
};
use kargo_core::{Error, ErrorKind, Result, Retry, Revision};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::{
    AppRef, Application, Client, Info, Refresh, Refusal, Snapshot, SyncAnswer, SyncRequest, is_missing,
};
use crate::config::{ArgoCdApp, Mode};
use crate::judge::{Case, Latches, Next, Relations, Verdict, Wanted, judge, observe};

/// How many questions one call may ask before it lets the engine look again: a read, a refresh, a few relations.
const ROUNDS: usize = 8;
/// After how many seconds Argo CD is asked to compare again when the last comparison told nothing.
const STALE: i64 = 30;
/// How often, a second apart, an abort asks for the end of an operation that Argo CD has not yet begun, or looks for one that it has
/// accepted and does not show yet.
const ABORT_TRIES: u32 = 10;

/// Has Argo CD run the wanted revision, and says live only when it does.
///
/// Its steps are configured by [`ArgoCdApp`]. A deployment asks for at most one sync, tagged with [`Context::key`], so that it is
/// found again after a crash; two more follow only when somebody else undoes it or Argo CD does half of it.
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
    client: Client,
    history: Option<Arc<dyn History>>,
}

/// What is remembered between two calls. Losing it costs patience, not correctness.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Memory {
    latches: Latches,
    /// Since when Argo CD has been unable to resolve the revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    unresolved_since: Option<Timestamp>,
}

impl Memory {
    /// Memory that cannot be read counts as lost, as after a crash.
    fn read(request: &DeployRequest<'_>) -> Self {
        request.state.and_then(|state| Self::deserialize(state).ok()).unwrap_or_default()
    }

    fn pending(&self, reason: impl Into<String>, check_after: Duration) -> Deployment {
        Deployment::Pending { reason: reason.into(), check_after, state: serde_json::to_value(self).ok() }
    }
}

impl ArgoCd {
    /// Deploys through `client`.
    pub fn new(client: Client) -> Self {
        Self { client, history: None }
    }

    /// Asks `history` how revisions follow each other. Without it, an application that runs a later revision than the wanted one cannot
    /// be told from one that runs something else.
    #[must_use]
    pub fn history(mut self, history: impl History) -> Self {
        self.history = Some(Arc::new(history));
        self
    }

    async fn get(&self, cx: &Context, app: &AppRef, refresh: Refresh) -> Result<Snapshot> {
        cx.guard("read the application", self.client.get(app, refresh)).await
    }

    async fn relate(&self, cx: &Context, observed: &Revision, wanted: &Revision) -> Result<Relation> {
        match &self.history {
            Some(history) => cx.guard("compare revisions", history.relate(cx, observed, wanted)).await,
            None => Ok(Relation::Unknown),
        }
    }

    /// An application that does well, and does not run what was promoted, is not well.
    async fn against(&self, cx: &Context, seen: Observation, wanted: Option<&Revision>) -> Result<Observation> {
        let (Some(runs), Some(wanted)) = (seen.revision.clone(), wanted) else { return Ok(seen) };
        if runs == *wanted || seen.health >= Health::Unknown {
            return Ok(seen);
        }
        let (health, why) = match self.relate(cx, &runs, wanted).await? {
            Relation::Same | Relation::Later => return Ok(seen),
            Relation::Earlier | Relation::Diverged => (Health::Unhealthy, "which does not hold what was promoted"),
            _ => (Health::Unknown, "and whether that holds what was promoted is not known"),
        };
        let detail = format!("it runs another revision, {runs}, {why}: {wanted}; {}", seen.detail);
        Ok(Observation::new(seen.revision, health, detail))
    }

    /// The application, or what to answer while it may be missing.
    async fn find(
        &self,
        cx: &Context,
        request: &DeployRequest<'_>,
        config: &ArgoCdApp,
        memory: &Memory,
    ) -> Result<ControlFlow<Deployment, Snapshot>> {
        let app = config.reference();
        let error = match self.get(cx, &app, Refresh::No).await {
            Ok(snapshot) => return Ok(ControlFlow::Continue(snapshot)),
            Err(error) if is_missing(&error) => error,
            Err(error) => return Err(error),
        };
        if let Some(wait) = config.wait_for_app {
            let until = request.started_at.checked_add(wait).unwrap_or(Timestamp::MAX);
            if cx.now() < until {
                let reason = format!("application {app} is not found or not permitted; waiting for it until {until}");
                return Ok(ControlFlow::Break(memory.pending(reason, Duration::from_secs(5))));
            }
        }
        Err(missing(&app, config, error))
    }

    /// Asks for a sync, and reads the refusals that are no errors.
    async fn sync(&self, cx: &Context, job: &Job<'_>, memory: &mut Memory, pin: bool) -> Result<Deployment> {
        let request = SyncRequest {
            revisions: if pin { job.wanted.iter().map(|(at, of)| (at, of.to_string())).collect() } else { Vec::new() },
            multi_source: !job.snapshot.app.spec.sources.is_empty(),
            // Argo CD's own default is not to prune, also where automatic sync does.
            prune: job.config.prune.unwrap_or_else(|| job.snapshot.app.spec.auto_prune()),
            infos: vec![
                Info { name: crate::TAG.into(), value: cx.key().into() },
                Info { name: crate::ACTOR.into(), value: cx.actor().to_string() },
            ],
        };
        let app = &job.app;
        let refusal = match cx.guard("start a sync", self.client.sync(app, &request)).await? {
            SyncAnswer::Accepted(snapshot) => {
                cx.progress(format!("asked Argo CD to sync application {app}"));
                memory.latches.syncs += 1;
                memory.latches.posted_at = Some(snapshot.server_time.unwrap_or(job.now));
                memory.unresolved_since = None;
                return Ok(memory.pending(format!("application {app}: the sync is accepted"), Duration::from_secs(1)));
            }
            SyncAnswer::Refused(refusal) => refusal,
        };
        let soon = Duration::from_secs(2);
        Ok(match refusal {
            Refusal::OperationInProgress => {
                memory.pending(format!("application {app}: another operation runs, and has to end first"), soon)
            }
            Refusal::Conflict => memory.pending(format!("application {app} was changed just now; trying again"), soon),
            Refusal::SyncWindow(text) => {
                memory.pending(format!("blocked: application {app}: {text}"), Duration::from_secs(30))
            }
            Refusal::AutoSync(_) if pin && job.config.mode == Mode::Auto => {
                memory.latches.unpinnable = true;
                memory.pending(format!("application {app} syncs by itself; following what it follows"), Duration::ZERO)
            }
            Refusal::AutoSync(text) => failed(
                app,
                &format!("it syncs by itself and takes no particular revision ({text}); use the mode `tracking`"),
            ),
            Refusal::Deleting => failed(app, "it is being deleted"),
            Refusal::Revision(text) => {
                let since = *memory.unresolved_since.get_or_insert(job.now);
                let lasted = Duration::try_from(job.now.duration_since(since)).unwrap_or_default();
                if lasted >= job.config.policy().error_grace {
                    return Ok(failed(app, &format!("Argo CD cannot resolve the revision: {text}")));
                }
                memory.pending(format!("application {app}: Argo CD cannot resolve the revision: {text}"), soon)
            }
        })
    }

    /// Tries once to stop the sync under this key.
    async fn stop(&self, cx: &Context, app: &AppRef, config: &ArgoCdApp, memory: &Memory) -> Result<Stop> {
        let snapshot = match self.get(cx, app, Refresh::No).await {
            Ok(snapshot) => snapshot,
            // What is gone runs nothing. What may only not be seen might: that is for a person to look at.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Stop::Done),
            Err(error) if is_missing(&error) => return Err(missing(app, config, error)),
            Err(error) => return Err(error),
        };
        if !runs_under(&snapshot.app, cx.key()) {
            let now = snapshot.server_time.unwrap_or_else(|| cx.now());
            let is_unseen = memory.latches.is_unseen(&snapshot.app, cx.key(), now);
            return Ok(if is_unseen { Stop::Unseen } else { Stop::Done });
        }
        // "None is in progress" is also said of one that waits to be begun; left alone, it would fire later, unattended.
        let is_stopped = cx.guard("stop the sync", self.client.terminate(app)).await?;
        Ok(if is_stopped { Stop::Done } else { Stop::Waiting })
    }
}

/// What one call works on.
struct Job<'a> {
    app: AppRef,
    config: &'a ArgoCdApp,
    wanted: Wanted,
    snapshot: Snapshot,
    now: Timestamp,
}

impl Job<'_> {
    /// Whether the last comparison is so old that another may know more.
    fn is_stale(&self) -> bool {
        let compared = self.snapshot.app.status.reconciled_at;
        compared.is_none_or(|at| self.now.duration_since(at).as_secs() >= STALE)
    }
}

fn failed(app: &AppRef, why: &str) -> Deployment {
    Deployment::Failed { reason: format!("Application {app}: {why}.") }
}

fn missing(app: &AppRef, config: &ArgoCdApp, error: Error) -> Error {
    let hint = match config.project {
        None => "Is the name right, and may the account get it? Naming its project tells the two apart.",
        Some(_) => "Are its name, namespace and project right, and may the account get it?",
    };
    let wait = if config.wait_for_app.is_none() { " If something has yet to create it, set waitForApp." } else { "" };
    Error::new(error.kind(), format!("Application {app} is not found or not permitted. {hint}{wait}")).because(error)
}

#[async_trait]
impl Deployer for ArgoCd {
    fn validate(&self, config: &Value) -> Result<()> {
        ArgoCdApp::read(config).map(drop)
    }

    async fn deploy(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<Deployment> {
        let config = ArgoCdApp::read(request.config)?;
        let policy = config.policy();
        let mut memory = Memory::read(request);
        let snapshot = match self.find(cx, request, &config, &memory).await? {
            ControlFlow::Continue(snapshot) => snapshot,
            ControlFlow::Break(answer) => return Ok(answer),
        };
        let wanted = target::wanted(&config, &snapshot.app, request.revision.as_ref())?;
        let now = snapshot.server_time.unwrap_or_else(|| cx.now());
        let mut job = Job { app: config.reference(), config: &config, wanted, snapshot, now };
        let mut relations = Relations::default();
        let mut refreshed = false;
        for _ in 0..ROUNDS {
            let judgement = judge(&Case {
                app: &job.snapshot.app,
                wanted: &job.wanted,
                tag: cx.key(),
                latches: &memory.latches,
                policy: &policy,
                relations: &relations,
                now: job.now,
            });
            memory.latches = judgement.latches;
            tracing::debug!(app = %job.app, verdict = ?judgement.verdict, "judged");
            let app = &job.app;
            let needs_refresh = matches!(judgement.verdict, Verdict::Pending { next: Next::Refresh, .. });
            let (why, check_after) = match judgement.verdict {
                Verdict::Live { revision, evidence } => return Ok(Deployment::Live { revision, evidence }),
                Verdict::Later { observed, evidence } => return Ok(Deployment::Live { revision: observed, evidence }),
                Verdict::Failed { why } | Verdict::Stuck { why } | Verdict::Gone { why } => {
                    return Ok(failed(app, &why));
                }
                Verdict::Blocked { why, check_after } => (format!("blocked: application {app}: {why}"), check_after),
                Verdict::Pending { next: Next::Relate { observed, wanted }, .. } => {
                    let relation = self.relate(cx, &observed, &wanted).await?;
                    relations.learn(observed.as_str(), &wanted, relation);
                    continue;
                }
                Verdict::Pending { next: Next::Refresh, why, check_after }
                | Verdict::Indeterminate { why, check_after }
                    if !refreshed && (needs_refresh || job.is_stale()) =>
                {
                    refreshed = true;
                    // The client's own deadline means "not refreshed", which is no failure; the call's deadline is.
                    let read =
                        cx.guard("refresh the application", async { Ok(self.client.get(app, Refresh::Normal).await) });
                    match read.await? {
                        Ok(snapshot) => {
                            job.now = snapshot.server_time.unwrap_or_else(|| cx.now());
                            job.snapshot = snapshot;
                            continue;
                        }
                        Err(error) if error.kind() == ErrorKind::Timeout => {
                            let hint = "Argo CD does not finish the comparison; is its application controller running?";
                            (format!("application {app}: {why}. {hint}"), check_after)
                        }
                        Err(error) => return Err(error),
                    }
                }
                Verdict::Pending { next: Next::Sync { pin }, .. } => {
                    return self.sync(cx, &job, &mut memory, pin).await;
                }
                Verdict::Pending { why, check_after, .. } | Verdict::Indeterminate { why, check_after } => {
                    (format!("application {app}: {why}"), check_after)
                }
            };
            return Ok(memory.pending(why, check_after));
        }
        Ok(memory.pending(format!("application {}: its revisions change quickly", job.app), Duration::from_secs(2)))
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest<'_>) -> Result<Observation> {
        let config = ArgoCdApp::read(request.config)?;
        let app = config.reference();
        let read = |result: Result<Snapshot>| {
            result.map_err(|error| if is_missing(&error) { missing(&app, &config, error) } else { error })
        };
        let snapshot = read(self.get(cx, &app, Refresh::No).await)?;
        let source = target::source(&config, &snapshot.app)?;
        let observation = observe(&snapshot.app, source);
        let wanted = request.revision.as_ref();
        if observation.health != Health::Unknown {
            return self.against(cx, observation, wanted).await;
        }
        // One comparison may be all that is missing.
        match cx.guard("refresh the application", async { Ok(self.client.get(&app, Refresh::Normal).await) }).await? {
            Ok(snapshot) => self.against(cx, observe(&snapshot.app, source), wanted).await,
            Err(error) if error.kind() == ErrorKind::Timeout => Ok(observation),
            Err(error) => read(Err(error)).map(|_| observation),
        }
    }

    async fn abort(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<()> {
        let config = ArgoCdApp::read(request.config)?;
        let app = config.reference();
        let memory = Memory::read(request);
        let mut attempt = 1;
        loop {
            let is_last = attempt == ABORT_TRIES;
            match self.stop(cx, &app, &config, &memory).await {
                Ok(Stop::Done) => return Ok(()),
                Ok(Stop::Unseen) if is_last => return Ok(()),
                Ok(Stop::Waiting) if is_last => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!(
                            "The sync of application {app} cannot be stopped: Argo CD keeps it waiting and calls it not in progress."
                        ),
                    )
                    .operation("stop the sync"));
                }
                // An abort is not asked for a second time, and a sync that goes on would be watched by nobody.
                Err(error) if is_last || error.retry() == Retry::Never => return Err(error),
                _ => {}
            }
            attempt += 1;
            cx.sleep(Duration::from_secs(1)).await?;
        }
    }
}

/// What came of one try to stop a sync.
enum Stop {
    /// Nothing of ours runs, or soon does no longer.
    Done,
    /// It is accepted and does not show yet.
    Unseen,
    /// It is accepted and not begun, and cannot be stopped before.
    Waiting,
}

fn runs_under(app: &Application, key: &str) -> bool {
    let tagged = |operation: &crate::client::Operation| {
        operation.info.iter().any(|info| info.name == crate::TAG && info.value == key)
    };
    app.operation.as_ref().is_some_and(tagged)
}
