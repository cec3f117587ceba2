//! Texts that turn into numbers: a template whose result looks like a number, a boolean or JSON becomes one, so that the tag `1.10` is 1.1.

use std::collections::BTreeMap;

use serde_json::json;

use crate::expr::{Scope, Template, Value};

/// The texts that may turn, where a value is kept as what it turned into.
#[derive(Debug, Clone)]
pub(super) struct Turning<'a> {
    /// The variables whose values are plain texts.
    pub(super) vars: BTreeMap<&'a str, &'a str>,
    /// Whether only what cannot be turned back counts: of a step of the host's it is not known whether it wants a number, and `3` may well
    /// be one.
    pub(super) lossy: bool,
}

/// Why the value of `text`, which is `template`, may not stay the text that is meant; nothing when it does, or when that cannot be seen.
pub(super) fn turns(text: &str, template: &Template, turning: &Turning<'_>) -> Option<String> {
    // With anything around it, an expression gives a part of a text, which hardly ever is a number.
    let is_alone = text.starts_with("${{") && text.trim_end().ends_with("}}") && template.programs().count() == 1;
    let program = template.programs().next().filter(|_| is_alone)?;
    let source = program.source().trim();
    if let Some(name) = source.strip_prefix("vars.")
        && let Some(said) = turning.vars.get(name)
    {
        let scope = Scope::default().variable("vars", Value::from_json(&json!({ name: said })).ok()?).ok()?;
        let value = template.evaluate(&scope).ok()?.value().ok()?;
        return turned(said, &value, turning.lossy)
            .map(|turned| format!("{turned}; write ${{{{ quote(vars.{name}) }}}} to keep it."));
    }
    if let Some(Ok(Value::String(said))) = program.constant() {
        let value = template.constant()?.ok()?.value().ok()?;
        return turned(&said, &value, false)
            .map(|turned| format!("{turned}; write ${{{{ quote({source}) }}}} to keep it."));
    }
    let calls = program.calls();
    let mut functions = calls.iter().map(|call| call.function).filter(|function| *function != "warehouse");
    let (Some(function), None) = (functions.next(), functions.next()) else { return None };
    let (_, member) = source.rsplit_once('.')?;
    let (member, part) =
        member.split_once('[').map_or((member, None), |(member, part)| (member, part.strip_suffix(']')));
    let example = match (function, member, part) {
        ("imageFrom" | "commitFrom", "Tag", None) => "the tag 1.10 becomes the number 1.1",
        ("commitFrom", "ID", None) => "an id of digits only becomes a number",
        // A short one is of digits only, or looks like 12e45, once in a few hundred times.
        ("commitFrom", "ID", Some(part)) if part.contains(':') => {
            "a short id of digits only, such as 3108617, becomes a number"
        }
        ("chartFrom" | "artifactFrom", "Version", None) => "the version 1.10 becomes the number 1.1",
        _ => return None,
    };
    Some(format!("Without quotes {example}; write ${{{{ quote({source}) }}}}."))
}

fn turned(said: &str, value: &serde_json::Value, lossy: bool) -> Option<String> {
    let written = value.to_string();
    let stays = value.is_string() || lossy && written == said;
    (!stays).then(|| format!("The text {said:?} becomes {written}"))
}
