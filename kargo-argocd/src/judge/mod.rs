//! Is it live? One function, and no I/O.
//!
//! Argo CD's status has two authors. One worker writes `operation` and `status.operationState`, another writes all the rest. What one of
//! them wrote is consistent; what the two wrote together is not: "Succeeded" by the one and "Healthy" by the other may speak of different
//! revisions. [`judge`] believes only what cannot be a mixture:
//!
//! * sync status, revision, health, and the time at which their comparison **began**, which must be later than the end of the last
//!   operation. Stamps have whole seconds, so an equal one proves nothing.
//! * of an operation, only its own outcome: failed is failed.
//!
//! It must never do I/O, read a clock, or remember anything but its [`Latches`].

mod health;
mod hydration;
mod latches;
mod observe;
mod operation;
mod overtaken;
mod revision;
mod standing;
mod words;

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use kargo_core::Revision;
use kargo_core::plugin::Relation;

use crate::client::{Application, OperationState};
use crate::config::{Mode, Paused};
use crate::scrub::without_userinfo;
use hydration::Hydration;

pub use latches::Latches;
pub use observe::observe;
pub(crate) use operation::is_held_back;
pub(crate) use revision::same_revisions;
pub use revision::{Relations, Wanted, same_revision};
pub(crate) use words::{named_node, unhealthy_nodes};

/// All that a verdict depends on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// One read of the application.
    pub app: &'a Application,
    /// What it should run.
    pub wanted: &'a Wanted,
    /// The value under which our operations are tagged.
    pub tag: &'a str,
    /// What earlier judgements noted.
    pub latches: &'a Latches,
    /// How patient and how strict to be.
    pub policy: &'a Policy,
    /// How observed revisions stand to wanted ones, as far as that is known.
    pub relations: &'a Relations,
    /// The server's time at the read.
    pub now: Timestamp,
}

/// A verdict, and what to note for the next judgement.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// To be handed to the next judgement of the same deployment. Losing them makes it more patient, never wrong.
    pub latches: Latches,
}

/// How a deployment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The application runs the wanted revision and is healthy.
    Live {
        /// The revision.
        revision: Revision,
        /// How that is known.
        evidence: String,
    },
    /// The application runs a later revision that holds the wanted one, and is healthy.
    Later {
        /// The revision it runs.
        observed: Revision,
        /// How that is known.
        evidence: String,
    },
    /// Not yet.
    Pending {
        /// Why.
        why: String,
        /// What would help.
        next: Next,
        /// When to look again, if nothing else is done.
        check_after: Duration,
    },
    /// Something outside the application forbids it for now, such as a sync window.
    Blocked {
        /// What does.
        why: String,
        /// When to look again.
        check_after: Duration,
    },
    /// Argo CD does not know, so neither does anybody else.
    Indeterminate {
        /// Why.
        why: String,
        /// When to look again.
        check_after: Duration,
    },
    /// It will not become live.
    Failed {
        /// Why, with what to do.
        why: String,
    },
    /// Argo CD has lost hold of an operation; it goes on only when a person helps.
    Stuck {
        /// What is seen, with what to do.
        why: String,
    },
    /// The application is being deleted.
    Gone {
        /// What is seen.
        why: String,
    },
}

/// What would help a pending deployment on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// Nothing but time.
    Look,
    /// A comparison, since the last one is too old to say.
    Refresh,
    /// A comparison for which everything is rendered anew, since what is known may come from a cache.
    RefreshHard,
    /// To learn how two revisions stand to each other.
    Relate {
        /// The revision that was seen.
        observed: Revision,
        /// The revision that is wanted in its place.
        wanted: Revision,
    },
    /// A sync.
    Sync {
        /// Whether to ask for the wanted revision by its id, rather than for what the application follows.
        pin: bool,
    },
    /// To resume what has paused.
    Resume {
        /// Whether the rest is to be skipped, rather than this one pause.
        full: bool,
    },
}

/// How patient and how strict a judgement is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// How syncs are asked for, and what is demanded of the followed revision.
    pub mode: Mode,
    /// How long after the end of an operation the comparison that counts must begin. At least a second. Default: 2 seconds.
    pub stable_for: Duration,
    /// Whether an application that stays out of sync after a full successful sync of the wanted revision counts as live. One that was synced
    /// before this deployment began is synced once more first, since somebody may have changed it since. Default: yes.
    pub allow_drift: bool,
    /// Whether an application without resources counts as live. Default: no.
    pub allow_empty: bool,
    /// Images that must be among those that the application runs. Default: none.
    pub images: Vec<String>,
    /// What becomes of a suspended application, such as one whose Rollout has paused. Default: it is waited for.
    pub paused: Paused,
    /// Whether the application must be healthy. Default: yes. Otherwise it is called live as soon as the wanted revision is applied in full,
    /// which is all that Kargo's `argocd-update` waits for.
    pub healthy: bool,
    /// How long it may be degraded at the wanted revision before that is a failure. Default: 30 seconds.
    pub unwell_grace: Duration,
    /// How long Argo CD may fail to compare before that is a failure. Default: 1 minute.
    pub error_grace: Duration,
    /// How long it may follow a revision of which nothing is known before that is a failure. Default: 1 minute.
    pub revision_grace: Duration,
    /// How long Argo CD's own automatic sync is waited for before one is asked for. Default: 10 seconds.
    pub auto_sync_grace: Duration,
    /// How many syncs one deployment may ask for in all. Default: 3, the first and two more.
    pub max_syncs: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            stable_for: Duration::from_secs(2),
            allow_drift: true,
            allow_empty: false,
            images: Vec::new(),
            paused: Paused::Wait,
            healthy: true,
            unwell_grace: Duration::from_secs(30),
            error_grace: Duration::from_secs(60),
            revision_grace: Duration::from_secs(60),
            auto_sync_grace: Duration::from_secs(10),
            max_syncs: 3,
        }
    }
}

/// The pause between two looks at something that moves.
const SOON: Duration = Duration::from_secs(2);
/// The pause between two looks at something that does not.
const LATER: Duration = Duration::from_secs(10);
/// The pause between two looks at a closed sync window.
const WINDOW: Duration = Duration::from_secs(30);

impl Verdict {
    fn look(why: impl Into<String>) -> Self {
        Self::Pending { why: why.into(), next: Next::Look, check_after: SOON }
    }

    fn refresh(why: impl Into<String>, check_after: Duration) -> Self {
        Self::Pending { why: why.into(), next: Next::Refresh, check_after }
    }

    fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into() }
    }

    /// Without the passwords that Argo CD's messages may quote: verdicts are kept in journals.
    fn scrubbed(mut self) -> Self {
        let text = match &mut self {
            Self::Live { evidence, .. } | Self::Later { evidence, .. } => evidence,
            Self::Pending { why, .. }
            | Self::Blocked { why, .. }
            | Self::Indeterminate { why, .. }
            | Self::Failed { why }
            | Self::Stuck { why }
            | Self::Gone { why } => why,
        };
        *text = without_userinfo(text);
        self
    }

    /// Whether it ends the deployment.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Live { .. } | Self::Later { .. } | Self::Failed { .. } | Self::Stuck { .. } | Self::Gone { .. }
        )
    }
}

/// Judges one read of an application.
///
/// ```
/// use kargo_argocd::client::Application;
/// use kargo_argocd::judge::{Case, Latches, Policy, Relations, Verdict, Wanted, judge};
/// use serde_json::json;
///
/// // "Succeeded" and "Healthy", but the comparison began before the operation ended: the health is that of the old revision.
/// let app: Application = serde_json::from_value(json!({
///     "metadata": {"name": "shop"},
///     "spec": {"source": {"repoURL": "https://git.example/config", "targetRevision": "main", "path": "."}},
///     "status": {
///         "operationState": {"phase": "Succeeded", "finishedAt": "2026-01-01T10:00:05Z", "syncResult": {"revision": "bbb"}},
///         "reconciledAt": "2026-01-01T10:00:01Z",
///         "sync": {"status": "Synced", "revision": "aaa"},
///         "health": {"status": "Healthy"},
///     },
/// })).unwrap();
/// let judgement = judge(&Case {
///     app: &app,
///     wanted: &Wanted::revision("bbb"),
///     tag: "promotion-1",
///     latches: &Latches::default(),
///     policy: &Policy::default(),
///     relations: &Relations::default(),
///     now: "2026-01-01T10:00:06Z".parse().unwrap(),
/// });
/// assert!(matches!(judgement.verdict, Verdict::Pending { .. }));
/// ```
pub fn judge(case: &Case<'_>) -> Judgement {
    let mut latches = begin(case);
    let verdict = decide(case, &mut latches).scrubbed();
    Judgement { verdict, latches }
}

fn begin(case: &Case<'_>) -> Latches {
    let mut latches = case.latches.clone();
    let uid = &case.app.metadata.uid;
    // Deleted and made anew in between: all that was noted is about another object.
    if latches.uid.is_some() && uid.is_some() && latches.uid != *uid {
        latches = Latches::default();
    }
    latches.begin(case.app, case.now);
    if case.owns_last_operation() || case.owns_requested_operation() {
        latches.syncs = latches.syncs.max(1);
    }
    latches
}

fn decide(case: &Case<'_>, latches: &mut Latches) -> Verdict {
    if let Some(at) = case.app.metadata.deletion_timestamp {
        return Verdict::Gone { why: format!("the application is being deleted, since {at}") };
    }
    // Of manifests that are rendered ahead, what is synced is a commit of what came of the wanted revision.
    Hydration::note(case, latches);
    let noted = latches.rendered.clone();
    let hydration = Hydration::of(case, latches, &noted);
    let rendered = hydration.as_ref().map(|hydration| (hydration.rendered(), hydration.relations(case.relations)));
    let (wanted, relations) = rendered.as_ref().map_or((case.wanted, case.relations), |(wanted, of)| (wanted, of));
    let synced = &Case { wanted, relations, ..*case };
    if let Some(verdict) = operation::in_progress(synced, latches) {
        // While something runs, nothing lasts.
        latches.out_of_sync_since = None;
        latches.unwell_since = None;
        latches.without_images_since = None;
        latches.error_since = None;
        latches.astray_since = None;
        return verdict;
    }
    overtaken::note(case, latches);
    let verdict = operation::own_outcome(synced, latches)
        .or_else(|| freshness(synced, latches))
        .or_else(|| health::conditions(synced, latches))
        .or_else(|| hydration.as_ref().and_then(|hydration| hydration.gate(case, synced, latches)))
        .or_else(|| operation::others_outcome(synced, latches))
        .unwrap_or_else(|| standing::decide(synced, latches));
    match hydration {
        Some(hydration) => hydration.told(case, verdict),
        None => verdict,
    }
}

/// Whether the last comparison is recent enough to say anything: it must have begun after the deployment was first looked at, and clearly
/// after the last operation ended.
fn freshness(case: &Case<'_>, latches: &Latches) -> Option<Verdict> {
    let settled = case.last_operation_end().and_then(|ended| {
        compared_after(case, ended, case.policy.stable_for.max(Duration::from_secs(1)), || {
            format!("the last operation ended at {ended}; what is known of sync and health may be from before that")
        })
    });
    settled.or_else(|| {
        let why = || "Argo CD has not compared since this deployment began".to_owned();
        match (latches.compared, latches.since) {
            // One in the same second may have begun before.
            (Some(compared), _) => compared_after(case, compared, Duration::from_secs(1), why),
            (None, Some(since)) => compared_after(case, since, Duration::ZERO, why),
            (None, None) => None,
        }
    })
}

/// Pending until a comparison began at least `settle` after `event`. A refresh is asked for only once it can give one.
fn compared_after(
    case: &Case<'_>,
    event: Timestamp,
    settle: Duration,
    why: impl FnOnce() -> String,
) -> Option<Verdict> {
    let compared = case.app.status.reconciled_at;
    let needed = plus(event, settle);
    if compared.is_some_and(|at| at >= needed) {
        return None;
    }
    let last = match compared {
        Some(at) => format!("{} (last comparison: {at})", why()),
        None => format!("{} (there is no comparison yet)", why()),
    };
    // More than `settle` to wait means that two clocks disagree; then only Argo CD's own can tell.
    let wait = Duration::try_from(needed.duration_since(case.now)).unwrap_or_default();
    Some(if wait.is_zero() || wait > settle {
        Verdict::refresh(last, SOON)
    } else {
        Verdict::Pending { why: last, next: Next::Look, check_after: wait }
    })
}

impl<'a> Case<'a> {
    fn state(&self) -> Option<&'a OperationState> {
        self.app.status.operation_state.as_ref()
    }

    /// Whether the last operation, running or ended, is ours.
    fn owns_last_operation(&self) -> bool {
        self.state().is_some_and(|state| is_tagged(&state.operation.info, self.tag))
    }

    /// Whether the operation that was asked for is ours.
    fn owns_requested_operation(&self) -> bool {
        self.app.operation.as_ref().is_some_and(|operation| is_tagged(&operation.info, self.tag))
    }

    /// When the last operation that could change anything ended.
    fn last_operation_end(&self) -> Option<Timestamp> {
        self.state().filter(|state| !operation::is_dry_run(state)).and_then(|state| state.finished_at)
    }

    fn relation(&self, observed: &str, wanted: &Revision) -> Option<Relation> {
        self.relations.get(observed, wanted)
    }
}

fn is_tagged(infos: &[crate::client::Info], tag: &str) -> bool {
    infos.iter().any(|info| info.name == crate::TAG && info.value == tag)
}

fn plus(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// How long something has been so, noting when it began.
fn lasting(since: &mut Option<Timestamp>, now: Timestamp) -> Duration {
    let began = *since.get_or_insert(now);
    Duration::try_from(now.duration_since(began)).unwrap_or_default()
}
