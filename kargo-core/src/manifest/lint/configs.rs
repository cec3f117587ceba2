//! The configurations of steps and subscriptions, as the plug-ins that get them see them.

use std::error::Error as _;

use serde_json::Value;

use super::steps::steps_of;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::manifest::finding::{Finding, Rule, Severity, below};
use crate::manifest::kind::{Resource, place};
use crate::plugin::{Plugins, WrongField, proposal};

/// Has the plug-ins check every configuration of a manifest, each as it is written. What is not registered is told elsewhere.
pub(super) fn check(manifest: &Manifest, plugins: &Plugins, findings: &mut Vec<Finding>) {
    if let Some((steps, list)) = steps_of(manifest) {
        for (at, step) in steps.iter().enumerate() {
            let Some(uses) = step.uses.as_deref().filter(|uses| plugins.step(uses).is_ok()) else { continue };
            if let Err(error) = plugins.check_step(uses, &step.config) {
                findings.push(finding(manifest, &format!("{list}/{at}/config"), &step.config, &error));
            }
        }
    }
    let Resource::Warehouse(warehouse) = &manifest.resource else { return };
    for (at, subscription) in warehouse.subscriptions.iter().enumerate() {
        let mut pointer = below(&format!("/spec/subscriptions/{at}"), &subscription.source);
        if place(subscription).is_none() {
            // A source of the host's sees what stands there alone.
            pointer.push_str("/config");
        }
        let subscription = crate::manifest::pipeline::to_subscription(subscription.clone());
        if plugins.source(&subscription.source).is_ok()
            && let Err(error) = plugins.check_subscription(&subscription)
        {
            findings.push(finding(manifest, &pointer, &subscription.config, &error));
        }
    }
}

/// What a plug-in has against the configuration at `pointer`, at the field that it means when that can be seen.
fn finding(manifest: &Manifest, pointer: &str, config: &Value, error: &Error) -> Finding {
    let said = error.report();
    let is_unknown = said.contains("unknown field") || said.contains("no field");
    let field = match error.source().and_then(|source| source.downcast_ref::<WrongField>()) {
        Some(wrong) => wrong.pointer.clone(),
        None => only_field(&said, config).unwrap_or_default(),
    };
    let message = match proposal(&said).filter(|_| !said.contains("did you mean")) {
        Some(near) => format!("{}; did you mean {near:?}?", said.trim_end_matches('.')),
        None => said,
    };
    let pointer = format!("{pointer}{field}");
    let rule = if is_unknown { Rule::UnknownField } else { Rule::BadValue };
    match is_unknown {
        true => manifest.finding_at_key(Severity::Error, rule, &pointer, message),
        false => manifest.finding(Severity::Error, rule, &pointer, message),
    }
}

/// The one field of a configuration that a message names, for plug-ins that say no more. None when it could be several.
fn only_field(message: &str, config: &Value) -> Option<String> {
    let quoted = message.split('`').skip(1).step_by(2);
    let words: Vec<&str> = message.split_whitespace().collect();
    let called = words.windows(2).filter(|pair| pair[0] == "field").map(|pair| pair[1]);
    let named = quoted.chain(called).map(|name| name.trim_matches(|c: char| !c.is_alphanumeric() && c != '_'));
    for name in named.filter(|name| !name.is_empty()) {
        let mut found = Vec::new();
        fields_called(config, name, String::new(), &mut found);
        if let [field] = found.as_slice() {
            return Some(field.clone());
        }
    }
    None
}

fn fields_called(value: &Value, name: &str, pointer: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                let pointer = below(&pointer, key);
                if key == name {
                    found.push(pointer.clone());
                }
                fields_called(inner, name, pointer, found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                fields_called(inner, name, below(&pointer, index), found);
            }
        }
        _ => {}
    }
}
