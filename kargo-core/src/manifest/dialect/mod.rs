//! What older Kargos wrote, read as what has taken its place, each time with a warning that says what to write.
//!
//! A field that only older files have is asked for with `retired`, so that it is never proposed.

mod mechanisms;
mod origin;
mod stage;
mod step;
mod subscription;

use serde_json::Value;

pub(super) use origin::resolve_upstream;
pub(super) use stage::stage;
pub(super) use step::step;
pub(super) use subscription::{image_strategy, tag_filters};

/// The bare expression that gives the same as `text`, a template: its one expression, or the text as a literal. None for a mix.
fn expression(text: &str) -> Option<String> {
    let trimmed = text.trim();
    if let Some(inner) = trimmed.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"))
        && !inner.contains("}}")
    {
        return Some(inner.trim().to_owned());
    }
    (!text.contains("${{") && !text.contains("${%")).then(|| Value::from(text).to_string())
}

/// A call of `imageFrom`, `commitFrom` or `chartFrom` for an artifact of freight, with the warehouse if one is named.
fn artifact_of(function: &str, arguments: &[&str], origin: Option<&Value>) -> Option<String> {
    let mut list = arguments.iter().map(|text| expression(text)).collect::<Option<Vec<_>>>()?;
    if let Some(name) = origin.and_then(|origin| origin.get("name")).and_then(Value::as_str) {
        list.push(format!("warehouse({})", Value::from(name)));
    }
    Some(format!("{function}({})", list.join(", ")))
}

/// What older Kargos wrote as the value of an image: `Tag`, `Digest`, `ImageAndTag`, `ImageAndDigest`.
fn image_value(image: &str, word: &str, origin: Option<&Value>) -> Option<String> {
    let call = artifact_of("imageFrom", &[image], origin)?;
    Some(match word {
        "Tag" => format!("${{{{ quote({call}.Tag) }}}}"),
        "Digest" => format!("${{{{ {call}.Digest }}}}"),
        "ImageAndTag" => format!("{image}:${{{{ {call}.Tag }}}}"),
        "ImageAndDigest" => format!("{image}@${{{{ {call}.Digest }}}}"),
        _ => return None,
    })
}

/// The output `key` of the step `alias`, as a template.
fn output_of(alias: &str, key: &str) -> String {
    format!("${{{{ outputs[{}].{key} }}}}", Value::from(alias))
}
