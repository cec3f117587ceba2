//! JSON: set single values by their key.
//!
//! [`update`] has the meaning that Kargo's `json-update` has from tidwall/sjson: keys that are not there are made. The value's
//! bytes change and no others; a new entry stands behind the last one, on a line of its own where the others have lines of
//! their own.
//!
//! Keys are those of [`yaml`](super::yaml): parts joined by dots, `\.` for a dot in a name, `:2` for a key that looks like an
//! index, `-1` to append to a list. There is one document, so `$1` is a name as any other.
//!
//! ```
//! use kargo_core::edit::json;
//!
//! let before = "{\n  \"image\": {\n    \"tag\": \"v1.4.0\"\n  }\n}\n";
//! let after = json::update(before, &[("image.tag", "v1.5.0"), ("image.digest", "sha256:0a")])?;
//! assert_eq!(after, "{\n  \"image\": {\n    \"tag\": \"v1.5.0\",\n    \"digest\": \"sha256:0a\"\n  }\n}\n");
//! # Ok::<(), kargo_core::Error>(())
//! ```

mod tree;

#[cfg(test)]
mod tests;

use serde_json::Value as Json;

use super::assign::{assign, is_first};
use super::path::{Part, Path};
use super::{Effort, Value, bounded, damaged};
use crate::{Error, Result};
use tree::{Node, Shape};

const OPERATION: &str = "update JSON";

/// Sets each key of `updates` to its value, one after the other, and returns the new text.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), and nothing was changed, when
/// - the text is not JSON (with line and column), is longer than [`MAX_BYTES`](super::MAX_BYTES) or nested too deep;
/// - a key holds a map or a list, leads through a single value other than `null`, or is twice in one map;
/// - an index is beyond the end of its list by more than one;
/// - there are so many updates that the text, which each takes reading again, comes to more than 256 MiB.
pub fn update<K: AsRef<str>, V: Clone + Into<Value>>(text: &str, updates: &[(K, V)]) -> Result<String> {
    bounded(OPERATION, text)?;
    let mut edited = text.to_owned();
    let mut effort = Effort::reading(OPERATION, updates.len(), text)?;
    for (key, value) in updates {
        effort.again(&edited)?;
        edited = set(&edited, key.as_ref(), &value.clone().into())?;
    }
    Ok(edited)
}

/// Reads `text`.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the text is not JSON (with line and column), is longer than
/// [`MAX_BYTES`](super::MAX_BYTES) or nested too deep.
pub fn parse(text: &str) -> Result<Json> {
    bounded(OPERATION, text)?;
    read(text)
}

fn invalid(message: String) -> Error {
    super::invalid(OPERATION, message)
}

fn read(text: &str) -> Result<Json> {
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        invalid(format!(
            "The text is not valid JSON at line {}, column {}; correct the file first.",
            error.line(),
            error.column()
        ))
        .because(error)
    })
}

fn set(text: &str, key: &str, value: &Value) -> Result<String> {
    let path = Path::of_one_document(key)?;
    let empty = text.trim_start_matches('\u{feff}').trim().is_empty();
    let mut wanted = if empty { Json::Null } else { read(text)? };
    let root = if empty { Node::null(text.len()) } else { tree::parse(text).ok_or_else(|| damaged(OPERATION))? };
    let (node, depth) = walk(&root, &path)?;
    let rest = &path.parts[depth..];
    let there = match node.shape {
        Shape::Scalar if rest.is_empty() => serde_json::from_str(&text[node.start..node.end]).unwrap_or_default(),
        _ => Json::Null,
    };
    let value = &value.settled(&there);
    let written = if rest.is_empty() { value.to_string() } else { String::new() };
    let (range, new) = match &node.shape {
        Shape::Scalar if rest.is_empty() => (node.start..node.end, written),
        Shape::Scalar if &text[node.start..node.end] == "null" || node.start == node.end => {
            (node.start..node.end, made(rest, value, &path)?)
        }
        Shape::Scalar => {
            return Err(invalid(format!(
                "The key {key:?} cannot be made: {} is a single value, so there is no {:?} in it.",
                place(&path, depth),
                rest[0].text()
            )));
        }
        Shape::Map(_) | Shape::List(_) if rest.is_empty() => {
            return Err(invalid(format!(
                "The key {key:?} holds {}, which an update does not replace; name one of {}.",
                if matches!(node.shape, Shape::Map(_)) { "a map" } else { "a list" },
                node.names(),
            )));
        }
        Shape::Map(entries) => {
            if let Part::Index(index) = rest[0] {
                return Err(invalid(format!(
                    "The key {key:?}: {} is a map, so it has no item [{index}].",
                    place(&path, depth)
                )));
            }
            let name = Json::from(rest[0].text());
            let last = entries.last().map(|(_, start, child)| (*start, child.end));
            let colon = entries.last().map_or(": ", |(end_of_key, _, child)| colon(text, *end_of_key, child.start));
            entry(text, node, last, &format!("{name}{colon}{}", made(&rest[1..], value, &path)?))
        }
        Shape::List(items) => {
            let behind = match &rest[0] {
                Part::Key(part) => part == "-1",
                Part::Either(_, index) | Part::Index(index) => *index == items.len(),
            };
            if !behind {
                return Err(invalid(format!(
                    "The key {key:?} cannot be made: {} is a list of {} items, counted from 0; \"-1\" appends to it.",
                    place(&path, depth),
                    items.len()
                )));
            }
            let last = items.last().map(|item| (item.start, item.end));
            entry(text, node, last, &made(&rest[1..], value, &path)?)
        }
    };
    let edited = format!("{}{new}{}", &text[..range.start], &text[range.end..]);
    assign(&mut wanted, &path.parts, value);
    if read(&edited)? == wanted { Ok(edited) } else { Err(damaged(OPERATION)) }
}

/// Follows `path` as far as it goes: to which node, and how many parts.
fn walk<'n>(root: &'n Node, path: &Path<'_>) -> Result<(&'n Node, usize)> {
    let mut node = root;
    for (depth, part) in path.parts.iter().enumerate() {
        let next = match (&node.shape, part) {
            (Shape::Map(entries), Part::Key(_) | Part::Either(..)) => {
                let name = part.text();
                let mut hits = entries.iter().filter(|(_, _, child)| child.name.as_deref() == Some(&name));
                let hit = hits.next();
                if hits.next().is_some() {
                    let place = place(path, depth);
                    return Err(invalid(format!(
                        "The key {:?} is ambiguous: {place} has {name:?} more than once; remove one.",
                        path.key
                    )));
                }
                hit.map(|(_, _, child)| child)
            }
            (Shape::List(items), Part::Either(_, index) | Part::Index(index)) => items.get(*index),
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => return Ok((node, depth)),
        }
    }
    Ok((node, path.parts.len()))
}

fn place(path: &Path<'_>, depth: usize) -> String {
    if depth == 0 { "the document".to_owned() } else { format!("{:?}", path.up_to(depth)) }
}

/// What `parts` make where nothing is: maps, and lists for an index.
fn made(parts: &[Part], value: &Value, path: &Path<'_>) -> Result<String> {
    Ok(match parts.first() {
        None => value.to_string(),
        Some(part) if is_first(part) => format!("[{}]", made(&parts[1..], value, path)?),
        Some(Part::Either(_, index) | Part::Index(index)) => {
            return Err(invalid(format!(
                "The key {:?} cannot be made: the list of its item {index} is not there, and a new one begins with item 0. \
                 (A key of a map that looks like an index is written \":{index}\".)",
                path.key
            )));
        }
        Some(part) => format!("{{{}: {}}}", Json::from(part.text()), made(&parts[1..], value, path)?),
    })
}

/// The colon as the entry before has it, with the blanks around it.
fn colon(text: &str, end_of_key: usize, value: usize) -> &str {
    let colon = &text[end_of_key..value];
    if colon.contains(['\n', '\r']) { ": " } else { colon }
}

/// Where a new entry goes and how it is written, behind the last one from `last.0` to `last.1` if there is one.
fn entry(text: &str, node: &Node, last: Option<(usize, usize)>, new: &str) -> (std::ops::Range<usize>, String) {
    match last {
        None => (node.start + 1..node.end - 1, new.to_owned()),
        Some((start, end)) => {
            let before = &text[..start];
            let blanks = &before[before.trim_end_matches([' ', '\t', '\n', '\r']).len()..];
            // A compact file has no blank behind its commas, which a first entry cannot show.
            let pause =
                match blanks {
                    "" if before.ends_with('{') || before.ends_with('[') => {
                        if text.contains(": ") || text.contains(", ") { " " } else { "" }
                    }
                    // `{ "a": 1 }`: the blank before a first entry is that of the brace.
                    other => other,
                };
            (end..end, format!(",{pause}{new}"))
        }
    }
}
