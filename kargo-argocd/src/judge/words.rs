//! What is seen, in words.

use crate::client::{HealthCode, Node, OperationState, Resource, ResourceRef, SyncCode};
use crate::scrub::without_userinfo;

/// How many objects are named in one sentence.
const NAMED: usize = 5;

/// Names of objects, sorted, so that the same state always gives the same sentence.
fn named(mut names: Vec<String>) -> String {
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let list = names.join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

/// An object of the resource tree with its health.
pub(crate) fn named_node(node: &Node) -> String {
    let health = node.health.as_ref();
    let word = health.and_then(|health| health.status.as_ref()).map(|word| format!(" is {word}")).unwrap_or_default();
    let message = health.and_then(|health| health.message.as_deref()).filter(|message| !message.is_empty());
    let message = message.map(|message| format!(" ({message})")).unwrap_or_default();
    without_userinfo(&format!("{}{word}{message}", node.object))
}

/// The objects of a resource tree that are not well, or nothing when all are. What brings others forth is left out where one of those is
/// named.
pub(crate) fn unhealthy_nodes(nodes: &[Node]) -> String {
    let is_unwell = |node: &&Node| {
        let status = node.health.as_ref().and_then(|health| health.status.as_ref());
        status.is_some_and(|status| *status != HealthCode::Healthy)
    };
    let unwell: Vec<&Node> = nodes.iter().filter(is_unwell).collect();
    let is_parent = |node: &Node| {
        let same = |of: &ResourceRef| place(of) == place(&node.object);
        unwell.iter().any(|other| other.parent_refs.iter().any(same))
    };
    named(unwell.iter().filter(|node| !is_parent(node)).map(|node| named_node(node)).collect())
}

fn place(object: &ResourceRef) -> (&String, &String, &String, &String) {
    (&object.group, &object.kind, &object.namespace, &object.name)
}

/// `: the unhealthy resources with their reasons`, or nothing when none is known.
pub(super) fn unhealthy(resources: &[Resource]) -> String {
    let names: Vec<String> = resources
        .iter()
        .filter_map(|resource| {
            let health = resource.health.as_ref()?;
            let status = health.status.as_ref().filter(|status| **status != HealthCode::Healthy)?;
            let message = health.message.as_deref().filter(|message| !message.is_empty());
            let message = message.map(|message| format!(" ({message})")).unwrap_or_default();
            Some(format!("{}/{} is {status}{message}", resource.kind, resource.name))
        })
        .collect();
    if names.is_empty() { String::new() } else { format!(": {}", named(names)) }
}

/// `: the resources that differ`, or nothing when none is known.
pub(super) fn out_of_sync(resources: &[Resource]) -> String {
    let names: Vec<String> = resources
        .iter()
        .filter(|resource| resource.status == Some(SyncCode::OutOfSync))
        .map(|resource| {
            let pruning =
                if resource.requires_pruning == Some(true) { " (no longer wanted, and not pruned)" } else { "" };
            format!("{}/{}{pruning}", resource.kind, resource.name)
        })
        .collect();
    if names.is_empty() { String::new() } else { format!(": {}", named(names)) }
}

/// `: what Argo CD says of an operation, and which resources and hooks failed`, or nothing.
pub(super) fn outcome(state: &OperationState) -> String {
    let failed: Vec<String> = state
        .sync_result
        .iter()
        .flat_map(|result| &result.resources)
        .filter(|resource| {
            resource.status.as_deref() == Some("SyncFailed")
                || resource
                    .hook_phase
                    .as_ref()
                    .is_some_and(|phase| phase.is_completed() && phase.to_string() != "Succeeded")
        })
        .map(|resource| match resource.message.as_deref().filter(|message| !message.is_empty()) {
            Some(message) => format!("{}/{} ({message})", resource.kind, resource.name),
            None => format!("{}/{}", resource.kind, resource.name),
        })
        .collect();
    let message = state.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
    match (message, failed.is_empty()) {
        (None, true) => String::new(),
        (Some(message), true) => format!(": {message}"),
        (None, false) => format!(": failed were {}", named(failed)),
        (Some(message), false) => format!(": {message}; failed were {}", named(failed)),
    }
}
