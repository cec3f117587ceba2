//! Where the application stands, once nothing runs and the last comparison is recent.

use std::time::Duration;

use kargo_core::Revision;
use serde_json::{Map, Value};

use super::revision::{Standing, shown};
use super::{Case, LATER, Latches, Next, SOON, Verdict, compared_after, health, lasting, operation, overtaken, words};
use crate::client::{Source, SyncCode};
use crate::config::Mode;

/// How much later than the end of its operation a comparison must begin to count when its sync status proves nothing: Argo CD's view of
/// the cluster lags by some seconds, and the health with it.
pub(super) const UNPROVEN: Duration = Duration::from_secs(10);
/// The same where the very revision that was synced is called out of sync, which such a lag looks like.
const DRIFT: Duration = Duration::from_secs(20);
/// How long a followed revision may be off the wanted one's line; a branch may be rewritten and set right in between.
const DIVERGED: Duration = Duration::from_secs(10);

pub(super) fn decide(case: &Case<'_>, latches: &mut Latches) -> Verdict {
    let sync = &case.app.status.sync;
    let (single, many) = (sync.revision.as_deref(), sync.revisions.as_slice());
    let Some(status @ (SyncCode::Synced | SyncCode::OutOfSync)) = &sync.status else {
        return Verdict::Indeterminate {
            why: "Argo CD does not know whether the application is in sync".into(),
            check_after: LATER,
        };
    };
    if !compared_to_spec(case) {
        return Verdict::refresh("the application's sources were edited after the last comparison", SOON);
    }
    let head = case.standing(single, many);
    if let Standing::Ask(observed, wanted) = head {
        return ask(observed, wanted);
    }
    if !matches!(head, Standing::Diverged(_) | Standing::Unknown(_)) {
        latches.astray_since = None;
    }
    let failed = case.state().is_some_and(|state| operation::failed_at_wanted(case, latches, state));
    if *status == SyncCode::Synced && !failed {
        if head.holds_the_wanted() {
            overtaken::note_synced(case, latches);
        }
        match &head {
            Standing::Same => return live(case, latches, single, many),
            Standing::Later(observed) if case.policy.mode != Mode::Pinned => return later(case, latches, observed),
            _ => {}
        }
    }
    match operation::applied(case) {
        Some(Standing::Ask(observed, wanted)) => return ask(observed, wanted),
        Some(applied) => {
            if let Some(verdict) = confirmed(case, latches, &head, &applied) {
                return verdict;
            }
        }
        None => {}
    }
    if let Some(verdict) =
        overtaken::outcome_stands(case, latches, &head).or_else(|| overtaken::verdict(case, latches, &head))
    {
        return verdict;
    }
    match &head {
        _ if case.policy.mode == Mode::Pinned => {
            trigger(case, latches, "the application does not run the wanted revision")
        }
        Standing::Same | Standing::Later(_) => {
            let differs = words::out_of_sync(&case.app.status.resources);
            trigger(
                case,
                latches,
                &format!("the application is {status} with {}{differs}", shown(case.app, single, many)),
            )
        }
        Standing::Earlier(observed) => Verdict::refresh(
            format!(
                "Argo CD sees {observed}, which is before the wanted {}; the repository may lag",
                case.wanted_text()
            ),
            unhurried(case, latches),
        ),
        Standing::Diverged(_) | Standing::Unknown(_) => {
            astray(case, latches, case.app.spec.effective_sources().first(), &head)
        }
        Standing::Absent | Standing::Ask(..) => Verdict::Indeterminate {
            why: "Argo CD does not say which revision each source of the application is at".into(),
            check_after: LATER,
        },
    }
}

fn live(case: &Case<'_>, latches: &mut Latches, single: Option<&str>, many: &[String]) -> Verdict {
    let revision = case.revision_for_report(single, many);
    health::gate(case, latches, revision.as_str()).unwrap_or_else(|| Verdict::Live {
        evidence: format!("Synced with {revision} and {}{}", case.health_text(), case.compared_text()),
        revision,
    })
}

fn later(case: &Case<'_>, latches: &mut Latches, observed: &str) -> Verdict {
    let running = format!("{observed}, which is later than the wanted {} and holds it,", case.wanted_text());
    health::gate(case, latches, &running).unwrap_or_else(|| Verdict::Later {
        observed: observed.into(),
        evidence: format!("Synced with {running} and {}{}", case.health_text(), case.compared_text()),
    })
}

pub(super) fn ask(observed: String, wanted: Revision) -> Verdict {
    let why = format!("the application is at {observed}, wanted is {wanted}");
    Verdict::Pending { why, next: Next::Relate { observed: observed.into(), wanted }, check_after: SOON }
}

/// An operation applied the wanted revision, or one that holds it, in full, and the sync status does not confirm it: because what the
/// application follows has moved on, or because it is never in sync.
fn confirmed(case: &Case<'_>, latches: &mut Latches, head: &Standing, applied: &Standing) -> Option<Verdict> {
    let is_older =
        !case.owns_last_operation() && case.state().is_some_and(|state| state.started_at == latches.baseline);
    let drifts = match (head, applied) {
        // When any revision will do, what somebody else synced must still be what is followed. Ours synced what was followed then, and
        // chasing a branch that moves on is not this deployment's business.
        _ if case.wanted.is_anything() && !operation::synced_what_is_followed(case) => {
            if !case.owns_last_operation() {
                return None;
            }
            false
        }
        (_, Standing::Same) if case.policy.mode == Mode::Pinned => false,
        (Standing::Same, Standing::Same) => true,
        (Standing::Later(_), Standing::Same) => false,
        // What is followed by now may hold the wanted revision or not: what runs is known all the same.
        (Standing::Unknown(_), Standing::Same) if !is_older || case.pins(latches) => false,
        // Whatever else comes on that branch, what runs holds the wanted revision; chasing the branch is not this deployment's business.
        (Standing::Later(followed), Standing::Later(of)) if case.policy.mode != Mode::Pinned => followed == of,
        _ => return None,
    };
    let differs = words::out_of_sync(&case.app.status.resources);
    if drifts && !case.policy.allow_drift {
        let why = format!(
            "what the application follows was synced, yet it is OutOfSync{differs}. If that is how it always is, set allowDrift"
        );
        // Another's sync may have left something out that ours does not, such as pruning.
        let retry = (latches.syncs == 0).then(|| operation::again(case, latches, &why)).flatten();
        return Some(retry.unwrap_or_else(|| Verdict::refresh(why, LATER)));
    }
    // Whatever was changed by hand since an older operation would look the same.
    if is_older && latches.syncs == 0 {
        let why = format!("the last sync was before this deployment, and the application is OutOfSync since{differs}");
        return Some(operation::again(case, latches, &why).unwrap_or_else(|| Verdict::refresh(why, LATER)));
    }
    let ended = case.last_operation_end()?;
    let settle = case.policy.stable_for.max(if drifts { DRIFT } else { UNPROVEN });
    let wait = compared_after(case, ended, settle, || {
        format!("an operation that ended at {ended} synced what is wanted; one more comparison is needed")
    });
    if wait.is_some() {
        return wait;
    }
    let note = match head {
        _ if drifts => format!("; it is OutOfSync all the same{differs}"),
        Standing::Later(followed) => format!("; it follows {followed} by now, which is later"),
        Standing::Unknown(followed) => {
            format!("; it follows {followed} by now, which is not known to hold it")
        }
        _ => String::new(),
    };
    let how = |what: &str| {
        let (health, compared) = (case.health_text(), case.compared_text());
        format!("an operation synced {what} in full, and the application is {health}{compared}{note}")
    };
    Some(match applied {
        Standing::Later(observed) => {
            let running = format!("{observed}, which is later than the wanted {} and holds it,", case.wanted_text());
            health::gate(case, latches, &running)
                .unwrap_or_else(|| Verdict::Later { observed: observed.as_str().into(), evidence: how(&running) })
        }
        _ => {
            let state = case.state()?;
            let (single, many) = operation::revisions(state);
            let revision = case.revision_for_report(single, many);
            health::gate(case, latches, revision.as_str())
                .unwrap_or_else(|| Verdict::Live { evidence: how(revision.as_str()), revision })
        }
    })
}

fn trigger(case: &Case<'_>, latches: &mut Latches, why: &str) -> Verdict {
    if case.app.spec.auto_sync() && latches.syncs == 0 {
        // Its own automatic sync comes first; ours is for when that does not come, as after a closed window.
        if lasting(&mut latches.out_of_sync_since, case.now) < case.policy.auto_sync_grace {
            return Verdict::look(format!("{why}; waiting for its automatic sync"));
        }
    }
    operation::again(case, latches, why).unwrap_or_else(|| {
        Verdict::failed(format!("{why} after {} syncs; wanted is {}", latches.syncs, case.wanted_text()))
    })
}

/// What is followed does not lead to the wanted revision, or is not known to.
pub(super) fn astray(
    case: &Case<'_>,
    latches: &mut Latches,
    followed: Option<&Source>,
    standing: &Standing,
) -> Verdict {
    let (grace, observed, how) = match standing {
        Standing::Diverged(observed) => (DIVERGED, observed.as_str(), "does not hold"),
        Standing::Unknown(observed) => (case.policy.revision_grace, observed.as_str(), "is not known to hold"),
        _ => (case.policy.revision_grace, "nothing that is known", "does not hold"),
    };
    let lasted = lasting(&mut latches.astray_since, case.now);
    let target = followed.and_then(|source| source.target_revision.as_deref());
    let target = target.filter(|target| !target.is_empty()).unwrap_or("HEAD");
    let why = format!(
        "the application follows {target}, which leads to {observed}; that {how} the wanted {}",
        case.wanted_text()
    );
    if lasted >= grace {
        return Verdict::failed(format!(
            "{why}. Is the change written to the branch and repository that the application follows?"
        ));
    }
    Verdict::refresh(why, unhurried(case, latches))
}

/// The pause between refreshes that only time can make useful: each costs Argo CD a look at the repository and a rendering.
pub(super) fn unhurried(case: &Case<'_>, latches: &Latches) -> Duration {
    let lasted = latches.since.map(|since| case.now.duration_since(since).as_secs()).unwrap_or_default();
    if lasted < 20 { SOON } else { LATER }
}

/// Whether the last comparison went by the specification as it is now. What a comparison does not say is not held against it.
fn compared_to_spec(case: &Case<'_>) -> bool {
    let spec = &case.app.spec;
    let compared = &case.app.status.sync.compared_to;
    // Beside a list of sources Argo CD writes an empty one. A list says nothing of a single source, nor the other way round.
    let one = compared.source.as_ref().filter(|source| !source.repo_url.is_empty());
    let sources = if spec.sources.is_empty() {
        let own = spec.effective_sources();
        compared.sources.is_empty() && (one.is_none() || own.is_empty() || one == own.first())
    } else {
        compared.sources == spec.sources || (compared.sources.is_empty() && one.is_none())
    };
    sources && same_destination(&spec.destination, &compared.destination)
}

/// A comparison may fill in a server for a name, so only what both say is compared.
fn same_destination(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    a.iter().all(|(key, value)| b.get(key).is_none_or(|other| other == value))
}

impl Case<'_> {
    /// Whether a sync is to name the wanted revision. Applications that sync by themselves refuse that.
    pub(super) fn pins(&self, latches: &Latches) -> bool {
        // A commit of rendered manifests is Argo CD's own, and what it follows leads there.
        let may = !self.wanted.is_anything() && self.app.spec.source_hydrator.is_none();
        may && match self.policy.mode {
            Mode::Pinned => true,
            Mode::Tracking => false,
            Mode::Auto => !self.app.spec.auto_sync() && !latches.unpinnable,
        }
    }

    pub(super) fn wanted_text(&self) -> String {
        let all: Vec<&str> = self.wanted.iter().map(|(_, revision): (usize, &Revision)| revision.as_str()).collect();
        if all.is_empty() { "any revision".to_owned() } else { all.join(", ") }
    }

    fn health_text(&self) -> String {
        self.app.status.health.status.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    pub(super) fn compared_text(&self) -> String {
        let compared =
            self.app.status.reconciled_at.map(|at| format!(" by the comparison begun at {at}")).unwrap_or_default();
        let ended = self.last_operation_end().map(|at| {
            let who = self.state().filter(|_| !self.owns_last_operation()).map(|state| &state.operation.initiated_by);
            let who = who.map(|who| format!(", which was of {who}")).unwrap_or_default();
            format!(", after the last operation's end at {at}{who}")
        });
        compared + &ended.unwrap_or_default()
    }
}
