//! Where in the manifests a problem of a pipeline is.

use super::Index;
use crate::manifest::Manifest;
use crate::manifest::finding::{Finding, Rule, Severity};
use crate::name::{StageName, WarehouseName};
use crate::pipeline::{PipelineError, Problem};

/// The problems of a project's pipeline that are not found when its manifests are read.
pub(super) fn unread(error: &PipelineError) -> impl Iterator<Item = &Problem> {
    error.problems().iter().filter(|problem| {
        !matches!(
            problem,
            Problem::BadName { .. }
                | Problem::NoRequests { .. }
                | Problem::NoSources { .. }
                | Problem::NoSubscriptions { .. }
                | Problem::RepeatedRequest { .. }
                | Problem::RepeatedUpstream { .. }
                | Problem::RepeatedAlias { .. }
                | Problem::ReservedAlias { .. }
                | Problem::RepeatedSubscription { .. }
                | Problem::RepeatedPolicy { .. }
                | Problem::BadPattern { .. }
        )
    })
}

/// How many problems of a project are told: to find the place of each takes a look at all that its stage asks for.
const MAX_PROBLEMS: usize = 1000;

/// The problems of a project's pipeline as findings.
pub(super) fn findings<'p>(
    index: &Index<'_>,
    project: &str,
    problems: impl IntoIterator<Item = &'p Problem>,
) -> Vec<Finding> {
    problems.into_iter().take(MAX_PROBLEMS).map(|problem| finding(index, project, problem)).collect()
}

fn finding(index: &Index<'_>, project: &str, problem: &Problem) -> Finding {
    let rule = match problem {
        Problem::Cycle { .. } => Rule::Cycle,
        Problem::NeverArrives { .. } => Rule::NeverArrives,
        Problem::UnknownStage { .. } | Problem::UnknownWarehouse { .. } | Problem::UnknownPolicyStage { .. } => {
            Rule::Reference
        }
        Problem::Duplicate { .. } | Problem::RepeatedAlias { .. } => Rule::Duplicate,
        _ => Rule::Pipeline,
    };
    let message = problem.to_string();
    match place(index, project, problem) {
        Some((manifest, pointer)) => manifest.finding(Severity::Error, rule, &pointer, message),
        None => {
            let message = format!("Project {project:?}: {message}");
            Finding { severity: Severity::Error, rule, message, place: None }
        }
    }
}

/// The manifest and the pointer of its field.
fn place<'m>(index: &Index<'m>, project: &str, problem: &Problem) -> Option<(&'m Manifest, String)> {
    let stage = |name: &StageName| index.find("Stage", Some(project), name.as_str());
    let at = |name: &StageName, pointer: &str| Some((stage(name)?, pointer.to_owned()));
    match problem {
        Problem::Cycle { members } => {
            let (first, last) = (members.first()?, members.last()?);
            let request = |origin: &Option<WarehouseName>| request(stage(first)?, origin.as_ref(), Some(last));
            Some((stage(first)?, request(&None)?))
        }
        Problem::UnknownStage { stage: name, unknown, .. } => {
            Some((stage(name)?, request(stage(name)?, None, Some(unknown))?))
        }
        Problem::UnknownWarehouse { stage: name, unknown, .. } => {
            let pointer = request(stage(name)?, Some(unknown), None)?;
            Some((stage(name)?, format!("{pointer}/origin/name")))
        }
        Problem::NeverArrives { stage: name, origin, upstream } => {
            Some((stage(name)?, request(stage(name)?, Some(origin), Some(upstream))?))
        }
        Problem::NoSources { stage: name, origin }
        | Problem::RepeatedRequest { stage: name, origin }
        | Problem::RepeatedUpstream { stage: name, origin, .. }
        | Problem::NotSoMany { stage: name, origin, .. }
        | Problem::NothingToMatch { stage: name, origin } => {
            let pointer = request(stage(name)?, Some(origin), None)?;
            Some((stage(name)?, format!("{pointer}/sources")))
        }
        Problem::NoRequests { stage: name } => at(name, "/spec/requestedFreight"),
        Problem::RepeatedAlias { stage: name, .. } | Problem::ReservedAlias { stage: name, .. } => {
            at(name, "/spec/promotionTemplate/spec/steps")
        }
        Problem::NothingToVerify { stage: name } => at(name, "/spec/verification"),
        Problem::NoSubscriptions { warehouse } => {
            Some((index.find("Warehouse", Some(project), warehouse.as_str())?, "/spec/subscriptions".to_owned()))
        }
        Problem::RepeatedSubscription { warehouse, second, .. } => {
            let pointer = format!("/spec/subscriptions/{}", second - 1);
            Some((index.find("Warehouse", Some(project), warehouse.as_str())?, pointer))
        }
        Problem::UnknownPolicyStage { policy, .. } | Problem::BadPattern { policy, .. } => {
            let config = index.find("ProjectConfig", Some(project), project)?;
            Some((config, format!("/spec/promotionPolicies/{}", policy - 1)))
        }
        _ => None,
    }
}

/// The pointer of a stage's request for freight of `origin` that names `upstream`, where they are given.
fn request(manifest: &Manifest, origin: Option<&WarehouseName>, upstream: Option<&StageName>) -> Option<String> {
    let crate::manifest::Resource::Stage(stage) = &manifest.resource else { return None };
    let found = stage.requested_freight.iter().enumerate().find(|(_, request)| {
        origin.is_none_or(|origin| request.origin == *origin)
            && upstream.is_none_or(|upstream| request.stages.contains(upstream))
    });
    let (at, request) = found?;
    let pointer = format!("/spec/requestedFreight/{at}");
    Some(match upstream.and_then(|upstream| request.stages.iter().position(|stage| stage == upstream)) {
        Some(place) => format!("{pointer}/sources/stages/{place}"),
        None => pointer,
    })
}
