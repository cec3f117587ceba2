//! YAML that another program reads after it was looked at here: what the two could understand differently is refused.

use granit_parser::{Event, Parser};
use serde_json::{Map, Value};

use crate::edit::yaml;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Context;
use crate::workspace::Workspace;

/// Characters at which YAML 1.1, which programs in Go read, ends a line, and YAML 1.2 does not: behind one, a comment could hide a key.
const BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
/// The tags that say what a value is anyway.
const TAGS: [&str; 7] = ["str", "int", "float", "bool", "null", "map", "seq"];

/// The documents in `text`.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] as for [`yaml::parse`], and for what other programs could read otherwise: tags by which a text becomes
/// another, line breaks of YAML 1.1, and `<<`, of which not all programs agree what it leaves as it is.
pub(super) fn parse(text: &str) -> Result<Vec<Value>> {
    let refused = |what: String| Err(Error::new(ErrorKind::InvalidInput, what));
    let documents = yaml::parse(text)?;
    if text.contains(BREAKS) {
        return refused(
            "It has a line break in it (U+0085, U+2028 or U+2029) that not every program takes for one.".into(),
        );
    }
    // What is no YAML has been refused.
    for (event, _) in Parser::new_from_str(text).map_while(Result::ok) {
        let (Event::Scalar(_, _, _, tag) | Event::MappingStart(_, _, tag) | Event::SequenceStart(_, _, tag)) = &event
        else {
            continue;
        };
        if tag.as_ref().is_some_and(|tag| !TAGS.iter().any(|core| tag.is_yaml_core_schema_tag(core))) {
            return refused("It has a YAML tag in it, such as `!!binary`; write the value itself.".into());
        }
        if matches!(&event, Event::Scalar(text, ..) if text.as_ref() == "<<") {
            return refused("It merges maps by `<<`; write their entries out.".into());
        }
    }
    Ok(documents)
}

/// The documents in a file, each of which is a map; those without a value are left out.
///
/// # Errors
/// As for [`parse`], with the file's name; and when a document is no map.
pub(super) async fn read(cx: &Context, workspace: &Workspace, file: &str) -> Result<Vec<Map<String, Value>>> {
    let text = workspace.read_text(cx, &format!("./{file}")).await?;
    let refused = |error: Error| {
        let message = format!("{file:?} is not handed to a program: {}", error.message());
        Error::new(ErrorKind::InvalidInput, message)
    };
    let maps =
        parse(&text).map_err(refused)?.into_iter().filter(|document| !document.is_null()).map(
            |document| match document {
                Value::Object(map) => Ok(map),
                _ => Err(refused(Error::new(ErrorKind::InvalidInput, "It is no YAML map."))),
            },
        );
    maps.collect()
}

/// A field's name, as programs in Go know it again: whatever its case, with two characters that count as `s` and `k`.
pub(super) fn folded(field: &str) -> String {
    field.to_lowercase().replace('\u{17f}', "s")
}

/// The values of the field `name`, however it is spelt.
pub(super) fn fields<'v>(map: &'v Map<String, Value>, name: &str) -> impl Iterator<Item = &'v Value> {
    map.iter().filter(move |(field, _)| folded(field) == name).map(|(_, value)| value)
}

/// The text that a program takes a single value for.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The texts in a list, or the one that stands in its place.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        other => text(other).into_iter().collect(),
    }
}

/// What is wrong with a text that becomes an entry of a list which a program splits at commas, as the end of a sentence.
pub(super) fn splits(text: &str) -> Option<&'static str> {
    text.contains([',', '"', '\n', '\r'])
        .then_some("has a comma, a quote or a line break in it, at which the program would split it")
}

/// Whether `text` is a name in letters, digits, `.`, `_` and `-` that cannot be taken for an option or a path.
pub(super) fn is_plain_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && !text.contains("..")
}
