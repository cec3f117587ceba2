//! YAML: set single values by their key.
//!
//! [`update`] replaces scalar values and changes no byte outside of them; [`upsert`] also writes keys that are not there.
//! A string stays a string: a tag such as `1.10` or `3108617` is quoted where it would otherwise be read as a number.
//! Numbers and bools are written plain. [`merge`] lays one file over another, and [`parse`] reads a file as JSON.
//!
//! # Keys
//!
//! A key is the path to the value, its parts joined by dots: `image.tag`, `spec.containers.0.image`.
//!
//! - A part that is a whole number names an item of a list, counted from 0. `containers[0].image` says the same as
//!   `containers.0.image`. An index must exist. `-1` appends to a list, for [`upsert`] only.
//! - A backslash takes the next character as it is: `annotations.example\.com/tag` has two parts.
//! - A colon before a part says that it is a key of a map, and is dropped: `:2` is the key `2`, never an index.
//! - A file may hold several documents. The key must be in one of them only; `$1.image.tag` names the second
//!   document, counted from 0. (A first key that itself looks like `$1` is written `:$1`.)
//!
//! The key must hold a single value. [`update`] and [`upsert`] remove nothing.
//!
//! # What is kept
//!
//! - Single quotes stay single, double quotes stay double, and a plain value stays plain when it then still reads
//!   as a string under YAML 1.1 and 1.2 alike. Otherwise the new value stands in double quotes.
//! - A block (`|` or `>`) keeps its style when the new value has several lines and the block can hold them; other
//!   values replace it on the line of the key.
//! - An anchor stays on its value, so whatever refers to it follows. A value that is itself an alias is refused,
//!   because writing to it would change the anchor's value or cut the tie.
//! - A value that already is the wanted string is left alone, whatever its quotes.
//! - The tag `!!str` stays. A value under any other tag is refused.
//!
//! ```
//! use kargo_core::edit::yaml;
//!
//! let before = "image:\n  name: shop/app   # the shop\n  tag: v1.4.0 # set by promotions\n";
//! let after = yaml::update(before, &[("image.tag", "v1.5.0")])?;
//! assert_eq!(after, "image:\n  name: shop/app   # the shop\n  tag: v1.5.0 # set by promotions\n");
//!
//! let before = "image:\n    name: shop/app\n# who runs it\nteam: shop\n";
//! let after = yaml::upsert(before, &[("image.tag", "1.10")])?;
//! assert_eq!(after, "image:\n    name: shop/app\n    tag: \"1.10\"\n# who runs it\nteam: shop\n");
//! # Ok::<(), kargo_core::Error>(())
//! ```

mod insert;
mod merge;
mod read;
mod remove;
pub(crate) mod scalar;
mod splice;
mod tree;
mod verify;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::path::Path;
use super::{Effort, MAX_BYTES, Value, can_look};
use crate::{Error, Result};
use splice::Splice;
use tree::{Lookup, Tree};
use verify::{Patch, Want};

pub use merge::merge;
pub(crate) use read::MAX_COPIED;
pub use read::parse;
pub(super) use remove::{remove, rename};

const OPERATION: &str = "update YAML";

/// Sets each key of `updates` to its value and returns the new text. All keys are looked up in `text` as it comes in.
///
/// See the [module](self) for the form of a key and for what is kept. When every value is there already, the text
/// comes back as it was.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), and nothing was changed, when
/// - a key does not exist: the error names the first part that is missing, a near match and the keys that are there;
/// - a key does not hold a single value, is or passes through an alias, or has a tag other than `!!str`;
/// - a key is in several documents of the text, or twice in one map;
/// - two updates name the same value, or a new value is empty;
/// - the text is not YAML, is longer than [`MAX_BYTES`], or holds more than about a million values;
/// - there are so many updates of so long a text that looking for them would take going through more than 4 GiB.
///
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) when the edited text would not read back as exactly the wanted
/// change.
pub fn update<K: AsRef<str>, V: Clone + Into<Value>>(text: &str, updates: &[(K, V)]) -> Result<String> {
    let updates = convert(updates)?;
    if updates.is_empty() {
        return Ok(text.to_owned());
    }
    let tree = Tree::parse(text)?;
    let mut found = Vec::new();
    can_look(OPERATION, updates.len(), text)?;
    for (key, value) in &updates {
        found.push((tree.find(&Path::parse(key)?)?, *key, value));
    }
    set(text, &tree, &found)
}

/// Sets each key of `updates` to its value, as [`update`] does, and writes the keys that are not there.
///
/// A new key stands behind the last one of its map, in the indentation of that map; in a map in braces it stands inside
/// them. Maps on the way are made as they are needed, and so are lists whose index is 0 or `-1`, or the one behind the last.
/// Keys that are missing are written one after the other, so that a later one can stand beside an earlier one.
///
/// # Errors
///
/// Those of [`update`], save for keys that do not exist. A key cannot be made
/// - below a single value, such as `image.tag` where `image` is a string;
/// - in a list beyond its end;
/// - in a text of several documents, when the key does not say in which one;
/// - when so many are to be made that the text, which each takes reading again, would come to more than 256 MiB.
pub fn upsert<K: AsRef<str>, V: Clone + Into<Value>>(text: &str, updates: &[(K, V)]) -> Result<String> {
    let updates = convert(updates)?;
    if updates.is_empty() {
        return Ok(text.to_owned());
    }
    let tree = Tree::parse(text)?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    can_look(OPERATION, updates.len(), text)?;
    for (key, value) in &updates {
        match tree.search(&Path::parse(key)?)? {
            Some(Lookup::Found(node)) => found.push((node, *key, value)),
            Some(Lookup::Blocked(why)) => return Err(invalid(why)),
            Some(Lookup::Missing { .. }) | None => missing.push((*key, value.settled(&serde_json::Value::Null))),
        }
    }
    let (mut effort, mut made) = (Effort::reading(OPERATION, missing.len(), text)?, HashSet::new());
    let mut edited = set(text, &tree, &found)?;
    for (key, value) in &missing {
        if !made.insert(*key) && !insert::appends(key) {
            return Err(set_twice(key, key));
        }
        effort.again(&edited)?;
        edited = insert::insert(&edited, key, value)?;
    }
    Ok(edited)
}

/// The updates with their values as what an edit takes.
fn convert<K: AsRef<str>, V: Clone + Into<Value>>(updates: &[(K, V)]) -> Result<Vec<(&str, Value)>> {
    let convert = |(key, value): &'_ (K, V)| -> Result<Value> {
        let value: Value = value.clone().into();
        if value.is_empty() {
            return Err(invalid(format!(
                "The new value for the key {:?} is empty; an update never blanks a value, so leave the update out \
                 or give it a value.",
                key.as_ref()
            )));
        }
        Ok(value)
    };
    updates.iter().map(|update| Ok((update.0.as_ref(), convert(update)?))).collect()
}

/// The value with its kind, where `scalar` stands now.
fn settled<'v>(scalar: &tree::Scalar<'_>, value: &'v Value) -> Cow<'v, Value> {
    let Value::Untyped(text) = value else { return Cow::Borrowed(value) };
    let is_plain = scalar.style == scalar::Style::Plain && !scalar.tagged && text.trim_start_matches('-').len() <= 6;
    let there = if is_plain { read::plain(scalar.value) } else { serde_json::Value::Null };
    // A fraction is more often a version.
    Cow::Owned(value.settled(if there.is_f64() { &serde_json::Value::Null } else { &there }))
}

/// Sets the nodes that were found.
fn set(text: &str, tree: &Tree<'_>, found: &[(usize, &str, &Value)]) -> Result<String> {
    let mut splices: Vec<Splice> = Vec::new();
    let mut patches: Vec<Patch<'_>> = Vec::new();
    let mut keys: HashMap<usize, &str> = HashMap::new();
    for (node, key, value) in found {
        if let Some(earlier) = keys.insert(*node, key) {
            return Err(set_twice(earlier, key));
        }
        let scalar = tree.scalar(*node, key)?;
        let value = settled(&scalar, value);
        if scalar.tagged && !matches!(*value, Value::String(_)) {
            return Err(invalid(format!(
                "The key {key:?} has a tag that makes it a string, and the new value {value} is none; remove the tag from \
                 the file first, or set a text."
            )));
        }
        if scalar.reads_as(&value) {
            continue;
        }
        splices.extend(splice::replace(text, &scalar, key, &value)?);
        patches.push(Patch { events: scalar.event..scalar.event + 1, wants: vec![Want::Set(value)] });
    }
    if splices.is_empty() {
        return Ok(text.to_owned());
    }
    let edited = splice::apply(text, splices);
    verify::verify(tree, &edited, patches, verify::Comments::Stay)?;
    Ok(edited)
}

fn set_twice(earlier: &str, key: &str) -> Error {
    invalid(format!("The updates {earlier:?} and {key:?} set the same value; keep one of them."))
}

fn invalid(message: String) -> Error {
    super::invalid(OPERATION, message)
}

fn damaged() -> Error {
    super::damaged(OPERATION)
}
