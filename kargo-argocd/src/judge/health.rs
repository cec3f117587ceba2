//! Health and error conditions.

use std::time::Duration;

use super::{Case, LATER, Latches, Next, SOON, Verdict, lasting, operation, words};
use crate::client::{Application, Condition, HealthCode, HealthStatus, Resource, SyncCode};
use crate::config::Paused;

/// How long an application may be healthy without the wanted images before that is a failure. Argo CD sums images up from what runs, which
/// it may hear of a little later.
const IMAGES: Duration = Duration::from_secs(60);

/// What would resume what has paused, where that is to be done.
pub(super) fn resumes(paused: Paused) -> Option<Next> {
    match paused {
        Paused::Wait | Paused::Accept => None,
        Paused::Resume => Some(Next::Resume { full: false }),
        Paused::Promote => Some(Next::Resume { full: true }),
    }
}

/// Whether a Rollout has paused. Beside something that progresses only the Rollout's own health says so.
pub(super) fn is_suspended(app: &Application) -> bool {
    let suspended = |health: &HealthStatus| health.status == Some(HealthCode::Suspended);
    let paused = |one: &Resource| one.kind == "Rollout" && one.health.as_ref().is_some_and(suspended);
    let progressing = matches!(app.status.health.status, None | Some(HealthCode::Progressing));
    suspended(&app.status.health) || (progressing && app.status.resources.iter().any(paused))
}

/// Whether the wanted images run: nothing when they do. Manifests may come from a cache that is older than the revision they are shown for,
/// and then all looks well.
fn images(case: &Case<'_>, latches: &mut Latches, running: &str) -> Option<Verdict> {
    let run = &case.app.status.summary.images;
    let missing: Vec<&str> =
        case.policy.images.iter().filter(|wanted| !run.contains(wanted)).map(String::as_str).collect();
    if missing.is_empty() {
        latches.without_images_since = None;
        return None;
    }
    let run = if run.is_empty() { "none that is known".to_owned() } else { run.join(", ") };
    let why = format!(
        "the application is healthy with {running}, and does not run {} but {run}; its manifests may come from an old cache",
        missing.join(", ")
    );
    let lasted = lasting(&mut latches.without_images_since, case.now);
    // Rendered anew, they differ from what runs.
    let differs = case.app.status.sync.status == Some(SyncCode::OutOfSync);
    if let Some(verdict) = differs.then(|| operation::again(case, latches, &why)).flatten() {
        latches.without_images_since = None;
        return Some(verdict);
    }
    Some(if lasted >= IMAGES {
        Verdict::failed(format!("{why}. Is the image in the manifests of that revision, and is the path right?"))
    } else {
        Verdict::Pending { why, next: Next::RefreshHard, check_after: LATER }
    })
}

/// What the application's error conditions say by themselves.
pub(super) fn conditions(case: &Case<'_>, latches: &mut Latches) -> Option<Verdict> {
    // Always the same one, in whatever order they are shown: the reason is kept, and is news when it changes.
    let message = |kind: &str| {
        let meant = case.app.status.conditions.iter().filter(|condition| condition.kind == kind);
        meant.map(|condition| condition.message.as_str()).min()
    };
    if let Some(text) = message("InvalidSpecError") {
        return Some(Verdict::failed(format!("Argo CD does not accept the application's specification: {text}")));
    }
    let wipe = |condition: &&Condition| condition.kind == "SyncError" && condition.message.contains("wipe out all");
    if let Some(text) = case.app.status.conditions.iter().find(wipe).map(|condition| &condition.message) {
        return Some(Verdict::failed(format!(
            "Argo CD does not sync by itself, since that would delete everything: {text}"
        )));
    }
    if let Some(text) = message("ComparisonError") {
        let lasted = lasting(&mut latches.error_since, case.now);
        if lasted >= case.policy.error_grace {
            return Some(Verdict::failed(format!("Argo CD cannot render or compare the application: {text}")));
        }
        return Some(Verdict::refresh(format!("Argo CD cannot compare at the moment: {text}"), LATER));
    }
    let Some(text) = message("UnknownError") else {
        latches.error_since = None;
        return None;
    };
    // Argo CD says so also when the status was too large to be stored; then all that is shown is old.
    let why = format!("Argo CD reports an unknown error, so what it shows may be old: {text}");
    Some(match lasting(&mut latches.error_since, case.now) >= case.policy.error_grace {
        true => Verdict::failed(why),
        false => Verdict::Indeterminate { why, check_after: LATER },
    })
}

/// Whether the application, known to run the right thing, is well: nothing when it is.
pub(super) fn gate(case: &Case<'_>, latches: &mut Latches, running: &str) -> Option<Verdict> {
    if !case.policy.healthy {
        return None;
    }
    let status = &case.app.status;
    let details = || words::unhealthy(&status.resources);
    let message = status.health.message.as_deref().filter(|message| !message.is_empty());
    let message = message.map(|message| format!(" ({message})")).unwrap_or_default();
    let health = status.health.status.as_ref();
    if !matches!(health, Some(HealthCode::Degraded | HealthCode::Missing)) {
        latches.unwell_since = None;
    }
    match health {
        Some(HealthCode::Healthy) if status.resources.is_empty() && !case.policy.allow_empty => {
            Some(Verdict::failed(format!(
                "the application runs {running} and has no resources at all; is its path right? Set allowEmpty if that is meant"
            )))
        }
        Some(HealthCode::Healthy) => images(case, latches, running),
        Some(HealthCode::Suspended) => {
            let why = format!("the application runs {running} and is suspended{message}{}", details());
            if case.policy.paused == Paused::Accept {
                return images(case, latches, running);
            }
            let next = resumes(case.policy.paused).unwrap_or(Next::Look);
            Some(Verdict::Pending { why, next, check_after: SOON })
        }
        // An empty word is what Argo CD writes before it has looked.
        None | Some(HealthCode::Progressing) => {
            let why = format!("the application runs {running} and is progressing{message}{}", details());
            let next = resumes(case.policy.paused).filter(|_| is_suspended(case.app)).unwrap_or(Next::Look);
            Some(Verdict::Pending { why, next, check_after: SOON })
        }
        Some(word @ (HealthCode::Degraded | HealthCode::Missing)) => {
            let lasted = lasting(&mut latches.unwell_since, case.now);
            let why = format!("the application runs {running} and is {word}{message}{}", details());
            if lasted >= case.policy.unwell_grace {
                return Some(Verdict::failed(why));
            }
            Some(Verdict::Pending { why, next: Next::Look, check_after: SOON })
        }
        Some(other) if other.to_string().is_empty() => {
            Some(Verdict::look(format!("the application runs {running} and has no health yet")))
        }
        Some(other) => Some(Verdict::Indeterminate {
            why: format!("the application runs {running}, and its health is {other}{message}{}", details()),
            check_after: SOON,
        }),
    }
}
