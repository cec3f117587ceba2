//! Expressions that give the same whatever the promotion is: what they give is known already, and so is that they fail.

use serde_json::Value as Json;

use crate::expr::{Environment, Error, Program, Template, Value};

/// The first fault of a template that it has each time.
pub(super) fn fault_of(template: &Template) -> Option<Error> {
    let failed = |program: &Program| program.constant().and_then(Result::err);
    // Together they may also give what cannot become a text, such as a number without an end.
    template.programs().find_map(failed).or_else(|| template.constant().and_then(Result::err))
}

/// What a condition is whatever the promotion is; nothing when that depends.
pub(super) fn condition(text: &str) -> Option<bool> {
    value_of(&Template::parse(text, &Environment::step()).ok()?)?.as_bool()
}

fn value_of(template: &Template) -> Option<Json> {
    template.constant()?.ok()?.value().ok()
}

/// Why a condition is never true or false; nothing when it is, or may be.
pub(super) fn no_condition(text: &str) -> Option<String> {
    let template = Template::parse(text, &Environment::step()).ok()?;
    match value_of(&template) {
        Some(Json::Bool(_)) => None,
        Some(_) if template.is_alone() => {
            Some("The condition gives neither true nor false; compare what it gives with something.".to_owned())
        }
        _ if template.is_alone() => None,
        _ => {
            let whole = "${{ a && b }}";
            Some(format!(
                "The condition is a text with expressions in it, which is neither true nor false; write one expression, as in {whole}."
            ))
        }
    }
}

/// Why a bare expression that must hold or not does neither, ever.
pub(super) fn no_bool(program: &Program) -> Option<String> {
    match program.constant()?.ok()? {
        Value::Bool(_) => None,
        // Criteria and filters take their words for it.
        Value::String(text) if text.parse::<bool>().is_ok() => None,
        _ => Some("The expression gives neither true nor false; compare what it gives with something.".to_owned()),
    }
}
