//! One application, carried on: judged, refreshed, synced, resumed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kargo_core::plugin::{Context, Relation};
use kargo_core::{Error, ErrorKind, Result, Revision};

use super::ArgoCd;
use super::memory::AppMemory;
use crate::client::{AppRef, Info, Refresh, Refusal, Snapshot, SyncAnswer, SyncRequest, api_error};
use crate::config::Mode;
use crate::judge::{Case, Next, Policy, Relations, Verdict, Wanted, judge};

/// How many questions one call may ask before it lets the engine look again, beside those of how revisions stand to each other.
const ROUNDS: usize = 8;
/// After how many seconds Argo CD is asked to compare again when the last comparison told nothing.
const STALE: i64 = 30;

/// The pause between two looks at a closed sync window.
const WINDOW: Duration = Duration::from_secs(30);

/// The least pause between two comparisons that one call asks for, and between two for which everything is rendered anew.
const RESTED: SignedDuration = SignedDuration::from_secs(1);
const HARD_RESTED: SignedDuration = SignedDuration::from_secs(10);

/// What one application is to become.
pub(crate) struct Job<'a> {
    pub(crate) app: AppRef,
    pub(crate) wanted: Wanted,
    pub(crate) policy: &'a Policy,
    /// Whether a sync deletes what is no longer wanted; none is as its own automatic sync does.
    pub(crate) prune: Option<bool>,
    pub(crate) snapshot: Snapshot,
}

/// How an application stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stand {
    Live { revision: Revision, evidence: String },
    Failed { reason: String },
    Pending { reason: String, check_after: Duration },
}

impl Stand {
    pub(super) fn failed(app: &AppRef, why: &str) -> Self {
        Self::Failed { reason: format!("Application {app}: {why}.") }
    }

    pub(super) fn pending(reason: impl Into<String>, check_after: Duration) -> Self {
        Self::Pending { reason: reason.into(), check_after }
    }
}

impl Job<'_> {
    fn now(&self, cx: &Context) -> Timestamp {
        self.snapshot.server_time.unwrap_or_else(|| cx.now())
    }

    /// Whether the last comparison is so old that another may know more.
    fn is_stale(&self, now: Timestamp) -> bool {
        let compared = self.snapshot.app.status.reconciled_at;
        compared.is_none_or(|at| now.duration_since(at).as_secs() >= STALE)
    }
}

/// Whether Argo CD may be asked to compare again. A comparison brings news of itself, on which another must not follow at once.
fn rested(memory: &AppMemory, now: Timestamp, how: Refresh) -> bool {
    let pause = if how == Refresh::Hard { HARD_RESTED } else { RESTED };
    memory.refreshed_at.is_none_or(|at| now.duration_since(at) >= pause)
}

/// Whether an error says that nothing was done.
fn is_answer(error: &Error) -> bool {
    use ErrorKind::{Cancelled, InvalidResponse, Timeout, Unavailable};
    !matches!(error.kind(), Timeout | Unavailable | Cancelled | InvalidResponse)
}

impl ArgoCd {
    pub(crate) async fn relate(&self, cx: &Context, observed: &Revision, wanted: &Revision) -> Result<Relation> {
        match &self.history {
            Some(history) => cx.guard("compare revisions", history.relate(cx, observed, wanted)).await,
            None => Ok(Relation::Unknown),
        }
    }

    /// Judges an application and does what would help it on, until that needs time.
    pub(crate) async fn carry(&self, cx: &Context, mut job: Job<'_>, memory: &mut AppMemory) -> Result<Stand> {
        let mut relations = Relations::default();
        let mut refreshed = false;
        // Each source may be asked about twice: by what was compared, and by what was synced.
        let rounds = ROUNDS + 2 * job.wanted.iter().count();
        for _ in 0..rounds {
            let now = job.now(cx);
            let judgement = judge(&Case {
                app: &job.snapshot.app,
                wanted: &job.wanted,
                tag: cx.key(),
                latches: &memory.latches,
                policy: job.policy,
                relations: &relations,
                now,
            });
            memory.latches = judgement.latches;
            tracing::debug!(app = %job.app, verdict = ?judgement.verdict, "judged");
            let app = &job.app;
            let asked = match &judgement.verdict {
                Verdict::Pending { next: Next::Refresh, .. } => Some(Refresh::Normal),
                Verdict::Pending { next: Next::RefreshHard, .. } => Some(Refresh::Hard),
                _ => None,
            };
            let how = asked.unwrap_or(Refresh::Normal);
            return Ok(match judgement.verdict {
                Verdict::Live { revision, evidence } => Stand::Live { revision, evidence },
                Verdict::Later { observed, evidence } => Stand::Live { revision: observed, evidence },
                Verdict::Failed { why } => {
                    let aborted = self.aborted(cx, app, &job.snapshot.app).await;
                    let more = match aborted {
                        Some((what, _)) => format!("; {what}"),
                        None => self.unwell_now(cx, &job).await,
                    };
                    Stand::failed(app, &format!("{why}{more}"))
                }
                Verdict::Stuck { why } | Verdict::Gone { why } => Stand::failed(app, &why),
                Verdict::Blocked { why, check_after } => {
                    Stand::pending(format!("blocked: application {app}: {why}"), check_after)
                }
                Verdict::Pending { next: Next::Relate { observed, wanted }, .. } => {
                    let relation = self.relate(cx, &observed, &wanted).await?;
                    relations.learn(observed.as_str(), &wanted, relation);
                    continue;
                }
                Verdict::Pending { next: Next::Refresh | Next::RefreshHard, why, check_after }
                | Verdict::Indeterminate { why, check_after }
                    if !refreshed && (asked.is_some() || job.is_stale(now)) && rested(memory, cx.now(), how) =>
                {
                    refreshed = true;
                    memory.refreshed_at = Some(cx.now());
                    // The client's own deadline means "not refreshed", which is no failure; the call's deadline is.
                    let read = async { Ok(self.read(cx, app, how).await) };
                    match cx.guard("refresh the application", read).await? {
                        Ok(snapshot) => {
                            job.snapshot = snapshot;
                            continue;
                        }
                        Err(error) if error.kind() == ErrorKind::Timeout => {
                            let hint = "Argo CD does not finish the comparison; is its application controller running?";
                            Stand::pending(format!("application {app}: {why}. {hint}"), check_after)
                        }
                        Err(error) => return Err(error),
                    }
                }
                Verdict::Pending { next: Next::Sync { pin }, .. } => self.sync(cx, &job, memory, pin).await?,
                Verdict::Pending { next: Next::Resume { full }, why, check_after } => {
                    self.drive(cx, app, memory, full, (&why, check_after)).await?
                }
                Verdict::Pending { why, check_after, .. } | Verdict::Indeterminate { why, check_after } => {
                    let unwell = self.unwell(cx, &job, memory).await;
                    Stand::pending(format!("application {app}: {why}{unwell}"), check_after)
                }
            });
        }
        Ok(Stand::pending(format!("application {}: its revisions change quickly", job.app), Duration::from_secs(2)))
    }

    /// The application was changed by ourselves, so that the last read no longer counts.
    pub(crate) fn touched(&self, app: &AppRef) {
        if !self.polls {
            self.client.watch().touched(app);
        }
    }

    /// Why the sync is to wait for a window, though Argo CD would let a person do it: nobody asked for it but a rule.
    async fn kept_back(&self, cx: &Context, app: &AppRef) -> Result<Option<String>> {
        if cx.actor().as_str().starts_with("user:") {
            return Ok(None);
        }
        match cx.guard("look at the sync windows", self.client.sync_windows(app)).await {
            Ok(windows) => Ok(windows.keeps_automation_back()),
            // A server without it has no windows that tell people from automation.
            Err(error) if api_error(&error).is_some_and(|api| matches!(api.status, 405 | 501)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for a sync, and reads the refusals that are no errors.
    async fn sync(&self, cx: &Context, job: &Job<'_>, memory: &mut AppMemory, pin: bool) -> Result<Stand> {
        let request = SyncRequest {
            revisions: if pin { job.wanted.iter().map(|(at, of)| (at, of.to_string())).collect() } else { Vec::new() },
            multi_source: !job.snapshot.app.spec.sources.is_empty(),
            // Argo CD's own default is not to prune, also where automatic sync does.
            prune: job.prune.unwrap_or_else(|| job.snapshot.app.spec.auto_prune()),
            infos: vec![
                Info { name: crate::TAG.into(), value: cx.key().into() },
                Info { name: crate::ACTOR.into(), value: cx.actor().to_string() },
            ],
        };
        let (app, now) = (&job.app, job.now(cx));
        if let Some(why) = self.kept_back(cx, app).await? {
            return Ok(Stand::pending(format!("blocked: application {app}: {why}"), WINDOW));
        }
        // Also when the answer is lost, the last read no longer counts.
        self.touched(app);
        self.unanswered.asked(cx.key(), app);
        let answer = cx.guard("start a sync", self.client.sync(app, &request)).await;
        if answer.as_ref().map_or_else(is_answer, |_| true) {
            self.unanswered.answered(cx.key(), app);
        }
        let answer = answer?;
        self.touched(app);
        let refusal = match answer {
            SyncAnswer::Accepted(snapshot) => {
                cx.progress(format!("asked Argo CD to sync application {app}"));
                memory.latches.posted(&job.snapshot.app, snapshot.server_time.unwrap_or(now));
                memory.unresolved_since = None;
                return Ok(Stand::pending(format!("application {app}: the sync is accepted"), Duration::from_secs(1)));
            }
            SyncAnswer::Refused(refusal) => refusal,
        };
        let soon = Duration::from_secs(2);
        Ok(match refusal {
            Refusal::OperationInProgress => {
                Stand::pending(format!("application {app}: another operation runs, and has to end first"), soon)
            }
            Refusal::Conflict => Stand::pending(format!("application {app} was changed just now; trying again"), soon),
            Refusal::SyncWindow(text) => Stand::pending(format!("blocked: application {app}: {text}"), WINDOW),
            Refusal::AutoSync(_) if pin && job.policy.mode == Mode::Auto => {
                memory.latches.unpinnable = true;
                Stand::pending(format!("application {app} syncs by itself; following what it follows"), Duration::ZERO)
            }
            Refusal::AutoSync(text) => Stand::failed(
                app,
                &format!("it syncs by itself and takes no particular revision ({text}); use the mode `tracking`"),
            ),
            Refusal::Deleting => Stand::failed(app, "it is being deleted"),
            Refusal::Revision(text) => {
                let since = *memory.unresolved_since.get_or_insert(now);
                let lasted = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                if lasted >= job.policy.error_grace {
                    return Ok(Stand::failed(app, &format!("Argo CD cannot resolve the revision: {text}")));
                }
                Stand::pending(format!("application {app}: Argo CD cannot resolve the revision: {text}"), soon)
            }
        })
    }
}
