//! Everything that can be said against a set of manifests without running it.

mod bare;
mod configs;
mod constant;
mod expressions;
mod freight;
mod known;
mod number;
mod references;
mod steps;

use std::collections::BTreeMap;

pub use known::KnownSteps;
#[cfg(test)]
pub(super) use steps::COMMERCIAL;
pub use steps::STEPS;

use super::finding::{Finding, MAX_FINDINGS, Rule, Severity};
use super::kind::Resource;
use super::pipeline::{Draft, Index};
use super::{Manifest, Manifests};

/// Everything that is wrong with a set of manifests: what was found while reading, what keeps the stages from being a pipeline, steps and
/// expressions that cannot work. In the order of the files, and of the places in them.
///
/// `known` are the steps that will be there: by their `uses:` names, of which [`STEPS`] are those of these crates, or the plug-ins
/// themselves, [`Plugins`](crate::Plugins), which then also check the configurations of steps and subscriptions.
///
/// Nothing is evaluated that could have an effect, and no network is used.
pub fn lint<K: KnownSteps + ?Sized>(manifests: &Manifests, known: &K) -> Vec<Finding> {
    let (names, plugins) = (known.names(), known.plugins());
    let index = Index::new(manifests);
    let mut findings = manifests.findings().to_vec();
    for project in index.projects("Stage") {
        findings.extend(Draft::new(&index, project).into_findings(&index, project));
    }
    for project in index.projects("Warehouse") {
        unused(&index, project, &mut findings);
    }
    freight::check(&index, manifests, &mut findings);
    for manifest in manifests {
        if findings.len() >= MAX_FINDINGS {
            break;
        }
        steps::check(manifest, &names, &mut findings);
        expressions::check(&index, manifest, plugins, &mut findings);
        if let Some(plugins) = plugins {
            configs::check(manifest, plugins, &mut findings);
        }
        named(&index, manifest, &mut findings);
    }
    in_order(findings)
}

/// By file, in the order in which they come up first, and by place. What is said twice is said once.
fn in_order(findings: Vec<Finding>) -> Vec<Finding> {
    let mut files: BTreeMap<String, usize> = BTreeMap::new();
    let mut keyed = Vec::with_capacity(findings.len());
    for finding in findings {
        let key = match &finding.place {
            Some(place) => {
                let next = files.len();
                let file = *files.entry(place.file.clone()).or_insert(next);
                (file, place.line, place.column)
            }
            None => (usize::MAX, 0, 0),
        };
        keyed.push((key, finding));
    }
    keyed.sort_by_key(|(key, _)| *key);
    let mut findings: Vec<Finding> = keyed.into_iter().map(|(_, finding)| finding).collect();
    findings.dedup();
    findings.truncate(MAX_FINDINGS);
    findings
}

/// Warehouses whose freight nobody asks for.
fn unused(index: &Index<'_>, project: &str, findings: &mut Vec<Finding>) {
    let requested: std::collections::BTreeSet<&str> = index
        .stages(project)
        .flat_map(|(_, stage)| stage.requested_freight.iter().map(|request| request.origin.as_str()))
        .collect();
    for (manifest, _) in index.warehouses(project) {
        if !requested.contains(manifest.metadata.name.as_str()) {
            let message = "No stage asks for freight of this warehouse; request it, or take the warehouse out.";
            findings.push(manifest.finding(Severity::Warning, Rule::Unused, "/metadata/name", message));
        }
    }
}

/// What freight and promotions name.
fn named(index: &Index<'_>, manifest: &Manifest, findings: &mut Vec<Finding>) {
    let (kind, name, pointer) = match &manifest.resource {
        Resource::Freight(freight) => ("Warehouse", freight.origin.as_str(), "/origin/name"),
        Resource::Promotion(promotion) => ("Stage", promotion.stage.as_str(), "/spec/stage"),
        _ => return,
    };
    if !name.is_empty() && index.find(kind, manifest.project(), name).is_none() {
        let hint = index.proposal(kind, manifest.project(), name);
        let message = format!("There is no {kind} {name:?} here; {hint}");
        findings.push(manifest.finding(Severity::Error, Rule::Reference, pointer, message));
    }
}
