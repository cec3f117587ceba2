//! Which steps there are, and which never run.

use super::constant::condition as constant;
use crate::manifest::Manifest;
use crate::manifest::fields::listed;
use crate::manifest::finding::{Finding, Rule, Severity};
use crate::manifest::kind::{Resource, Step};
use crate::manifest::pipeline::{OF_STAGES, OF_TASKS};
use crate::name::near_match;

/// The steps that these crates have, by their `uses:` names: those of Kargo's open-source edition, and of the commercial one `hcl-update`
/// and `wait-for-approval`. `send-message` is there only when the host gives it a messenger: [`send_message`](crate::steps::send_message).
pub const STEPS: [&str; 37] = [
    "argocd-update",
    "argocd-wait",
    "compose-output",
    "copy",
    "delete",
    "fail",
    "file-write",
    "git-clear",
    "git-clone",
    "git-commit",
    "git-merge-pr",
    "git-open-pr",
    "git-push",
    "git-tag",
    "git-wait-for-pr",
    "github-push",
    "hcl-update",
    "helm-template",
    "helm-update-chart",
    "http",
    "http-download",
    "json-parse",
    "json-update",
    "kustomize-build",
    "kustomize-set-image",
    "oci-download",
    "oci-push",
    "set-freight-alias",
    "set-metadata",
    "tar",
    "toml-parse",
    "toml-update",
    "untar",
    "wait-for-approval",
    "yaml-merge",
    "yaml-parse",
    "yaml-update",
];

/// The steps of the commercial edition, and what does the same here.
pub(in crate::manifest) const COMMERCIAL: [(&str, &str); 23] = [
    ("get-user-input", "set vars in the stage"),
    ("record-audit-event", "leave it out: the journal records every step"),
    ("tf-plan", "have a pipeline of the forge plan, and start it with http"),
    ("tf-apply", "have a pipeline of the forge apply, and start it with http"),
    ("tf-output", "read the output with http, or from a file with json-parse"),
    ("gha-dispatch-workflow", "use http with GitHub's API for workflow dispatches"),
    ("gha-wait-for-workflow", "use http with GitHub's API for workflow runs, with a successExpression"),
    ("gh-create-issue", "use http with GitHub's API for issues"),
    ("gh-update-issue", "use http with GitHub's API for issues"),
    ("gh-search-issues", "use http with GitHub's API for searches"),
    ("gh-wait-for-issue-state", "use http with GitHub's API for issues, with a successExpression"),
    ("gh-issue-add-comment", "use http with GitHub's API for comments"),
    ("gh-issue-update-comment", "use http with GitHub's API for comments"),
    ("gh-issue-delete-comment", "use http with GitHub's API for comments"),
    ("jira", "use http with Jira's API"),
    ("snow-create", "use http with ServiceNow's API"),
    ("snow-update", "use http with ServiceNow's API"),
    ("snow-delete", "use http with ServiceNow's API"),
    ("snow-query-for-records", "use http with ServiceNow's API"),
    ("snow-wait-for-condition", "use http with ServiceNow's API, with a successExpression"),
    ("jfrog-evidence", "use http with Artifactory's API"),
    ("github-dispatch-workflow", "use http with GitHub's API for workflow dispatches"),
    ("servicenow", "use http with ServiceNow's API"),
];

/// The steps that a manifest lists, with the pointer of the list.
pub(super) fn steps_of(manifest: &Manifest) -> Option<(&[Step], &'static str)> {
    match &manifest.resource {
        Resource::Stage(stage) => Some((&stage.steps, OF_STAGES)),
        Resource::PromotionTask(task) | Resource::ClusterPromotionTask(task) => Some((&task.steps, OF_TASKS)),
        Resource::Promotion(promotion) => Some((&promotion.steps, OF_TASKS)),
        _ => None,
    }
}

/// Checks that each step is known, and can run.
pub(super) fn check(manifest: &Manifest, known: &[&str], findings: &mut Vec<Finding>) {
    let Some((steps, pointer)) = steps_of(manifest) else { return };
    let mut failed: Option<usize> = None;
    for (index, step) in steps.iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        if let Some(uses) = &step.uses
            && !known.contains(&uses.as_str())
        {
            findings.push(unknown(manifest, uses, known, &format!("{pointer}/uses")));
        }
        if step.condition.as_deref().and_then(constant) == Some(false) {
            let message = "The step never runs, since its condition is always false; take the step out.";
            findings.push(manifest.finding(Severity::Warning, Rule::Unreachable, &format!("{pointer}/if"), message));
        } else if let Some(failed) = failed
            && step.condition.is_none()
        {
            let message = format!(
                "The step never runs: step {} before it always fails. Give it an if, such as ${{{{ failure() }}}}, or take it out.",
                failed + 1
            );
            findings.push(manifest.finding(Severity::Warning, Rule::Unreachable, &pointer, message));
        }
        let fails = step.uses.as_deref() == Some("fail") && !step.continue_on_error;
        if fails && step.condition.as_deref().is_none_or(|condition| constant(condition) == Some(true)) {
            failed = failed.or(Some(index));
        }
    }
}

fn unknown(manifest: &Manifest, uses: &str, known: &[&str], pointer: &str) -> Finding {
    let ours = match uses {
        "send-message" => Some("register steps::send_message with a messenger of the host's under this name"),
        "hcl-update" | "wait-for-approval" => Some("begin the host's plug-ins with steps::builtin, which has it"),
        _ => None,
    };
    if let Some(way) = ours {
        let message = format!("The step {uses:?} is not registered; {way}.");
        return manifest.finding(Severity::Error, Rule::UnknownStep, pointer, message);
    }
    if let Some((_, instead)) = COMMERCIAL.iter().find(|(name, _)| *name == uses) {
        let message = format!(
            "The step {uses:?} is of Kargo's commercial edition; {instead}, or register a step of the host's under this name."
        );
        return manifest.finding(Severity::Error, Rule::Commercial, pointer, message);
    }
    let hint = match near_match(uses, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => "no step is known.".to_owned(),
        None if known.len() > 8 => "a step of the host's has to be registered under this name.".to_owned(),
        None => format!("there are {}.", listed(known)),
    };
    manifest.finding(Severity::Error, Rule::UnknownStep, pointer, format!("There is no step {uses:?}; {hint}"))
}
