//! YAML as Kubernetes reads it, with the place of every value.
//!
//! Kubernetes turns YAML into JSON and knows nothing else: maps with text keys, lists, texts, numbers, booleans, null. Which plain
//! scalar is what follows the Go library that it uses, which is of the age of YAML 1.1 (`yes` and `on` are booleans, `012` is ten)
//! without its numbers of base 60 and its dates. Aliases are copied where they stand and merge keys (`<<`) are merged.
//!
//! Nothing here may take more than a bounded time and memory, whatever the text is: see the constants.

mod entries;
mod parse;
mod scalar;
#[cfg(test)]
mod tests;

use serde_json::{Map, Number, Value};

use super::finding::unescaped;
use crate::edit::yaml::MAX_COPIED;
pub(super) use entries::{Entries, Entry};
pub(super) use parse::read;

/// The longest text, in bytes: 16 MiB.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// How many documents a text may have.
pub(super) const MAX_DOCUMENTS: usize = 20_000;
/// How many values a text may have, with the copies that aliases stand for.
pub(super) const MAX_VALUES: usize = 1_000_000;
/// How many levels deep values may be nested.
pub(super) const MAX_LEVELS: usize = 64;
/// The longest key, in bytes: what YAML allows for one without a `?`, and more than any of Kubernetes' has.
const MAX_KEY: usize = 1024;
/// How many faults of one text are told.
const MAX_FAULTS: usize = 200;

/// A place in a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value and where it stands. A copy that an alias stands for has the alias' place; what is in it, the anchor's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) data: Data,
    pub(super) span: Span,
}

/// What JSON can say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Entries),
}

/// Something that keeps a document, or a part of it, from being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) span: Span,
}

impl Node {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Map(entries) => entries.get(key),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Where the key stands in which a JSON pointer ends.
    pub(super) fn key(&self, pointer: &str) -> Option<Span> {
        let (above, key) = pointer.rsplit_once('/')?;
        self.at(above).get(&unescaped(key)).map(|entry| entry.at)
    }

    pub(super) fn is_null(&self) -> bool {
        self.data == Data::Null
    }

    /// What it is, for people.
    pub(super) fn described(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a boolean",
            Data::Number(_) => "a number",
            Data::Text(_) => "a text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }

    pub(super) fn json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(value) => Value::Number(value.clone()),
            Data::Text(value) => Value::String(value.clone()),
            Data::List(items) => Value::Array(items.iter().map(Self::json).collect()),
            Data::Map(entries) => {
                Value::Object(entries.iter().map(|e| (e.key.clone(), e.node.json())).collect::<Map<_, _>>())
            }
        }
    }

    /// The node that a JSON pointer names, or the last one on the way to it, and the place that stands for it: a key with what
    /// follows it is pointed to by its key when it leads on.
    pub(super) fn at<'n>(&'n self, pointer: &str) -> &'n Self {
        let mut node = self;
        for segment in pointer.split('/').skip(1) {
            let next = match &node.data {
                Data::Map(entries) => entries.get(&unescaped(segment)).map(|entry| &entry.node),
                Data::List(items) => segment.parse().ok().and_then(|index: usize| items.get(index)),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }
}
