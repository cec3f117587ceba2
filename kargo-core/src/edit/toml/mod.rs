//! TOML: set single values by their key.
//!
//! [`update`] replaces scalar values and changes no byte outside of them; the key must exist. [`upsert`] also writes keys that are not
//! there. Keys are those of [`yaml`](super::yaml): parts joined by dots, `\.` for a dot in a name, a whole number for an item of an array
//! or of an array of tables, `-1` to append to one, for [`upsert`] only. There is one document, so `$1` is a name as any other.
//!
//! ```
//! use kargo_core::edit::toml;
//!
//! let before = "[[service]]\nimage = 'shop/app:1.4' # the shop\n";
//! let after = toml::update(before, &[("service.0.image", "shop/app:1.5")])?;
//! assert_eq!(after, "[[service]]\nimage = 'shop/app:1.5' # the shop\n");
//!
//! let after = toml::upsert(before, &[("service.0.replicas", 3)])?;
//! assert_eq!(after, "[[service]]\nimage = 'shop/app:1.4' # the shop\nreplicas = 3\n");
//! # Ok::<(), kargo_core::Error>(())
//! ```

mod insert;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;

use serde_json::Value as Json;
use toml_edit::{Document, Value as Toml};

use super::assign::assign;
use super::path::Path;
use super::{Effort, Value, bounded, can_look, damaged, spliced};
use crate::{Error, Result};
use tree::{Lookup, look_up, scalar, table};

const OPERATION: &str = "update TOML";

/// Sets each key of `updates` to its value and returns the new text. All keys are looked up in `text` as it comes in.
///
/// A string between single quotes stays there when they can hold the new one; other strings stand in double quotes.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), and nothing was changed, when
/// - the text is not TOML (with the line) or longer than [`MAX_BYTES`](super::MAX_BYTES);
/// - a key does not exist: the error names the first part that is missing, a near match and the keys that are there;
/// - a key does not hold a single value, or two updates name the same one;
/// - there are so many updates of so long a text that looking for them would take going through more than 4 GiB.
pub fn update<K: AsRef<str>, V: Clone + Into<Value>>(text: &str, updates: &[(K, V)]) -> Result<String> {
    let document = read(text)?;
    let mut found = Vec::new();
    can_look(OPERATION, updates.len(), text)?;
    for (key, value) in updates {
        let path = Path::of_one_document(key.as_ref())?;
        match look_up(&document, &path)? {
            Lookup::Found(old) => found.push((path, old, value.clone().into())),
            Lookup::Missing { why, .. } => {
                return Err(invalid(format!("The key {:?} does not exist: {why}", key.as_ref())));
            }
        }
    }
    set(text, &document, found)
}

/// Sets each key of `updates` to its value, as [`update`] does, and writes the keys that are not there.
///
/// A new key stands behind the last one of its table, on a line of its own; in an inline table it stands inside the braces. Tables on the
/// way are made as they are needed: with a header at the end of a text that has headers, and else by a key with dots. So are arrays whose
/// index is 0 or `-1`, or the one behind the last; an array of tables gets another header. Keys that are missing are written one after
/// the other, so that a later one can stand beside an earlier one.
///
/// # Errors
///
/// Those of [`update`], save for keys that do not exist. A key cannot be made below a single value, or in an array beyond its end, and an
/// item of an array of tables is no single value. So many cannot be made that the text, which each takes reading again, comes to more than
/// 256 MiB.
pub fn upsert<K: AsRef<str>, V: Clone + Into<Value>>(text: &str, updates: &[(K, V)]) -> Result<String> {
    let document = read(text)?;
    let (mut found, mut missing) = (Vec::new(), Vec::<(Path<'_>, Value)>::new());
    let mut made = HashMap::new();
    can_look(OPERATION, updates.len(), text)?;
    for (key, value) in updates {
        let (path, value): (_, Value) = (Path::of_one_document(key.as_ref())?, value.clone().into());
        match look_up(&document, &path)? {
            Lookup::Found(old) => found.push((path, old, value)),
            Lookup::Missing { .. } => {
                let appends = path.parts.iter().any(|part| part.text() == "-1");
                if let Some(earlier) = made.insert(path.parts.clone(), path.key).filter(|_| !appends) {
                    return Err(set_twice(earlier, path.key));
                }
                missing.push((path, value.settled(&Json::Null)));
            }
        }
    }
    let mut effort = Effort::reading(OPERATION, missing.len(), text)?;
    let edited = set(text, &document, found)?;
    missing.iter().try_fold(edited, |edited, (path, value)| {
        effort.again(&edited)?;
        insert::insert(&edited, path, value)
    })
}

/// Sets the values that were found.
fn set(text: &str, document: &Document<&str>, found: Vec<(Path<'_>, &Toml, Value)>) -> Result<String> {
    let mut wanted = table(document.as_table());
    let mut splices: Vec<(Range<usize>, String)> = Vec::new();
    let mut keys: HashMap<usize, &str> = HashMap::new();
    for (path, old, value) in found {
        let value = value.settled(&match old {
            // A date is no string that a text could take the place of unseen, but in JSON it is one.
            Toml::Datetime(_) => Json::Null,
            old => scalar(old),
        });
        let span = old.span().ok_or_else(|| damaged(OPERATION))?;
        if let Some(earlier) = keys.insert(span.start, path.key) {
            return Err(set_twice(earlier, path.key));
        }
        assign(&mut wanted, &path.parts, &value);
        let is_there = match (old, &value) {
            (Toml::String(old), Value::String(new)) => old.value() == new,
            (Toml::Integer(_) | Toml::Float(_) | Toml::Boolean(_), Value::Number(_) | Value::Bool(_)) => {
                scalar(old) == Json::from(value.clone())
            }
            _ => false,
        };
        let new = if is_there { text[span.clone()].to_owned() } else { written(&value, &text[span.clone()]) };
        splices.push((span, new));
    }
    check(spliced(text, splices), &wanted)
}

/// Reads `text` as JSON. Dates and times are strings, and so are infinities and NaN, which JSON does not have.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the text is not TOML (with the line), or longer than
/// [`MAX_BYTES`](super::MAX_BYTES).
pub fn parse(text: &str) -> Result<Json> {
    Ok(table(read(text)?.as_table()))
}

/// The edited text, when it reads as `wanted`.
fn check(edited: String, wanted: &Json) -> Result<String> {
    let reads = read(&edited).map_err(|error| damaged(OPERATION).because(error))?;
    if table(reads.as_table()) == *wanted { Ok(edited) } else { Err(damaged(OPERATION)) }
}

fn set_twice(earlier: &str, key: &str) -> Error {
    invalid(format!("The updates {earlier:?} and {key:?} set the same value; keep one of them."))
}

fn invalid(message: String) -> Error {
    super::invalid(OPERATION, message)
}

fn read(text: &str) -> Result<Document<&str>> {
    bounded(OPERATION, text)?;
    Document::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        invalid(format!("The text is not valid TOML at line {line}; correct the file first.")).because(error)
    })
}

/// `value` as TOML, in the quotes of `old` when they can hold it.
fn written(value: &Value, old: &str) -> String {
    match value {
        Value::String(text) => {
            let literal =
                old.starts_with('\'') && !text.contains('\'') && !text.chars().any(|c| c.is_control() && c != '\t');
            if literal { format!("'{text}'") } else { value.to_string().replace('\u{7f}', "\\u007f") }
        }
        other => other.plain(),
    }
}
