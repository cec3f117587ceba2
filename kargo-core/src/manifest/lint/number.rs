//! Texts that turn into numbers: a template whose result looks like a number, a boolean or JSON becomes one, so that the tag `1.10` is 1.1.

use std::collections::BTreeMap;

use serde_json::json;

use crate::expr::{Scope, Template, Value};

/// Why the value of `text`, which is `template`, may not stay the text that is meant; nothing when it does, or when that cannot be seen.
///
/// `vars` are the variables whose values are plain texts.
pub(super) fn turns(text: &str, template: &Template, vars: &BTreeMap<&str, &str>) -> Option<String> {
    // With anything around it, an expression gives a part of a text, which hardly ever is a number.
    let is_alone = text.starts_with("${{") && text.trim_end().ends_with("}}") && template.programs().count() == 1;
    let program = template.programs().next().filter(|_| is_alone)?;
    let source = program.source().trim();
    if let Some(name) = source.strip_prefix("vars.")
        && let Some(said) = vars.get(name)
    {
        let scope = Scope::default().variable("vars", Value::from_json(&json!({ name: said })).ok()?).ok()?;
        return match template.evaluate(&scope).ok()?.value().ok()? {
            serde_json::Value::String(_) => None,
            value => {
                Some(format!("The text {said:?} becomes {value}; write ${{{{ quote(vars.{name}) }}}} to keep it."))
            }
        };
    }
    let calls = program.calls();
    let mut functions = calls.iter().map(|call| call.function).filter(|function| *function != "warehouse");
    let (Some(function), None) = (functions.next(), functions.next()) else { return None };
    let example = match (function, source.rsplit_once(").")?.1) {
        ("imageFrom" | "commitFrom", "Tag") => "the tag 1.10 becomes the number 1.1",
        ("commitFrom", "ID") => "an id of digits only becomes a number",
        ("chartFrom" | "artifactFrom", "Version") => "the version 1.10 becomes the number 1.1",
        _ => return None,
    };
    Some(format!("Without quotes {example}; write ${{{{ quote({source}) }}}}."))
}
