//! Stages that name upstream stages but no warehouse: it is the one whose freight the upstream stages take.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::Manifest;
use crate::manifest::finding::{Finding, Rule, Severity};
use crate::manifest::kind::{Resource, Stage};
use crate::name::WarehouseName;
use crate::stage::FreightRequest;

/// Gives each stage that takes freight from upstream stages only the requests that follow from theirs.
pub(in crate::manifest) fn resolve_upstream(manifests: &mut [Manifest], findings: &mut Vec<Finding>) {
    if !manifests.iter().any(|manifest| stage_of(manifest).is_some_and(|stage| !stage.upstream.is_empty())) {
        return;
    }
    let key = |manifest: &Manifest| (manifest.metadata.namespace.clone(), manifest.metadata.name.clone());
    let places: BTreeMap<_, usize> = manifests
        .iter()
        .enumerate()
        .filter(|(_, one)| stage_of(one).is_some())
        .map(|(at, one)| (key(one), at))
        .collect();
    let mut downstream: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut found: BTreeMap<usize, BTreeSet<WarehouseName>> = BTreeMap::new();
    let mut news = Vec::new();
    for (at, manifest) in manifests.iter().enumerate() {
        let Some(stage) = stage_of(manifest) else { continue };
        for name in &stage.upstream {
            let upstream = places.get(&(manifest.metadata.namespace.clone(), name.clone()));
            upstream.into_iter().for_each(|upstream| downstream.entry(*upstream).or_default().push(at));
        }
        news.extend(stage.requested_freight.iter().map(|request| (at, request.origin.clone())));
    }
    // What arrives at a stage arrives at those after it, each time for the first time only, so that a ring ends.
    while let Some((at, origin)) = news.pop() {
        if found.entry(at).or_default().insert(origin.clone()) {
            news.extend(downstream.get(&at).into_iter().flatten().map(|after| (*after, origin.clone())));
        }
    }
    let waiting = |at: &usize| stage_of(&manifests[*at]).is_some_and(|stage| !stage.upstream.is_empty());
    let origins: Vec<_> =
        (0..manifests.len()).filter(waiting).map(|at| (at, found.remove(&at).unwrap_or_default())).collect();
    for (at, found) in origins {
        let manifest = &mut manifests[at];
        if found.is_empty() {
            let message = "No warehouse can be found upstream of this stage; write requestedFreight with its origin.";
            findings.push(manifest.finding(Severity::Error, Rule::OldDialect, "/spec/subscriptions", message));
        }
        let Resource::Stage(stage) = &mut manifest.resource else { continue };
        let upstream = std::mem::take(&mut stage.upstream);
        let direct: Vec<WarehouseName> = stage.requested_freight.iter().map(|request| request.origin.clone()).collect();
        for origin in found.into_iter().filter(|origin| !direct.contains(origin)) {
            stage.requested_freight.push(FreightRequest::after(origin, upstream.iter().map(String::as_str)));
        }
    }
}

fn stage_of(manifest: &Manifest) -> Option<&Stage> {
    match &manifest.resource {
        Resource::Stage(stage) => Some(stage),
        _ => None,
    }
}
