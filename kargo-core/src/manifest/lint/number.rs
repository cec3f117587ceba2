//! Texts that turn into numbers: a template whose result looks like a number, a boolean or JSON becomes one, so that the tag `1.10` is 1.1.

use std::collections::BTreeMap;

use crate::expr::{Environment, Program, Scope, Template, Value};

/// Why the value of a template may not stay the text that is meant; nothing when it does, or when that cannot be seen.
///
/// `vars` are the variables whose values are plain texts.
pub(super) fn turns(template: &Template, vars: &BTreeMap<&str, &str>) -> Option<String> {
    let programs: Vec<&Program> = template.programs().collect();
    let [program] = programs.as_slice() else { return None };
    let quoted = program
        .calls()
        .iter()
        .any(|call| matches!(call.function, "quote" | "unsafeQuote" | "string" | "int" | "float"));
    if quoted {
        return None;
    }
    // A variable that is a plain text and is taken as it is.
    let reads = program.reads();
    if let [read] = reads.as_slice()
        && let ["vars", name] = read.path.as_slice()
        && let Some(text) = vars.get(name)
    {
        let mut values = Value::Map(crate::expr::Map::empty());
        if let Ok(read) = Value::from_json(&serde_json::json!({*name: *text})) {
            values = read;
        }
        let scope = Scope::default().variable("vars", values).ok()?;
        let value = template.evaluate(&scope).ok()?.value().ok()?;
        return match value {
            serde_json::Value::String(_) => None,
            value => {
                Some(format!("The text {text:?} becomes {value}; write ${{{{ quote(vars.{name}) }}}} to keep it."))
            }
        };
    }
    let versions = ["imageFrom", "commitFrom", "chartFrom", "artifactFrom"];
    let function = program.calls().iter().map(|call| call.function).find(|name| versions.contains(name))?;
    let alone = program.calls().len() - program.calls().iter().filter(|call| call.function == "warehouse").count() == 1;
    if !alone {
        return None;
    }
    // The member behind the call, as it is written.
    let whole = program.source();
    let member = whole.trim().rsplit('.').next().unwrap_or_default().trim();
    let example = match (function, member) {
        ("imageFrom", "Tag") | ("commitFrom", "Tag") => "the tag 1.10 becomes the number 1.1",
        ("commitFrom", "ID") => "an id of digits only becomes a number",
        ("chartFrom" | "artifactFrom", "Version") => "the version 1.10 becomes the number 1.1",
        _ => return None,
    };
    let alone = Template::parse(&format!("${{{{{whole}}}}}"), &Environment::step()).is_ok();
    alone.then(|| format!("Without quotes {example}; write ${{{{ quote({}) }}}}.", whole.trim()))
}
