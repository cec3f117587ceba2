//! Health and error conditions.

use super::{Case, LATER, Latches, Next, SOON, Verdict, lasting, words};
use crate::client::HealthCode;
use crate::config::Paused;

/// What the application's error conditions say by themselves.
pub(super) fn conditions(case: &Case<'_>, latches: &mut Latches) -> Option<Verdict> {
    let message = |kind: &str| {
        case.app.status.conditions.iter().find(|condition| condition.kind == kind).map(|found| found.message.as_str())
    };
    if let Some(text) = message("InvalidSpecError") {
        return Some(Verdict::failed(format!("Argo CD does not accept the application's specification: {text}")));
    }
    if let Some(text) = message("SyncError").filter(|text| text.contains("wipe out all resources")) {
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
    latches.error_since = None;
    message("UnknownError").map(|text| Verdict::Indeterminate {
        // Argo CD says so also when the status was too large to be stored; then all that is shown is old.
        why: format!("Argo CD reports an unknown error, so what it shows may be old: {text}"),
        check_after: LATER,
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
        Some(HealthCode::Healthy) => None,
        Some(HealthCode::Suspended) => {
            let why = format!("the application runs {running} and is suspended{message}{}", details());
            let next = match case.policy.paused {
                Paused::Accept => return None,
                Paused::Wait => Next::Look,
                Paused::Resume => Next::Resume { full: false },
                Paused::Promote => Next::Resume { full: true },
            };
            Some(Verdict::Pending { why, next, check_after: SOON })
        }
        // An empty word is what Argo CD writes before it has looked.
        None | Some(HealthCode::Progressing) => {
            Some(Verdict::look(format!("the application runs {running} and is progressing{message}{}", details())))
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
