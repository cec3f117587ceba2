//! What of secrets an evaluation has read, and what it has made of them.
//!
//! Whoever masks secrets needs more than the result: a server that is sent `Basic` and a user's name with a password in base64 may answer
//! with the password alone. What was not read is no secret here: a link is none because it lies beside a password.

use std::collections::HashMap;
use std::sync::Arc;

use super::value::Value;

/// Texts that are shorter than this, in bytes, are not followed: they are in every other text.
const SHORTEST: usize = 4;
/// How many texts that were made of secrets are kept for one evaluation.
const MOST_MADE: usize = 64;
/// How many values, or 64 bytes of text, are looked through for one evaluation. What is not looked through counts as made of a secret.
const MOST_LOOKS: usize = 1 << 20;

/// Functions that tell something about a map without a look at what is in it, or give one value of it as it is.
const SHALLOW: [&str; 4] = ["get", "keys", "len", "type"];

#[derive(Default)]
pub(super) struct Traces {
    touched: bool,
    /// What can be read, by its place in memory: whoever hands a text on shares it.
    readable: HashMap<usize, Arc<str>>,
    read: Vec<Arc<str>>,
    made: Vec<Arc<str>>,
    looks: usize,
}

impl Traces {
    /// Something that comes from a secret is at hand.
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    /// The same, and all texts in `value` are the secret's.
    pub(super) fn offer(&mut self, value: &Value) {
        self.touched = true;
        texts(value, &mut |text| {
            if is_followed(text) {
                self.readable.insert(place(text), Arc::clone(text));
            }
        });
    }

    /// `value` is what the expression has come to so far.
    pub(super) fn see(&mut self, value: &Value) {
        if let Value::String(text) = value {
            self.see_text(text);
        }
    }

    fn see_text(&mut self, text: &Arc<str>) {
        if !self.readable.is_empty()
            && let Some(text) = self.readable.remove(&place(text))
        {
            self.read.push(text);
        }
    }

    /// Whether something in these is, or holds, what was read of a secret.
    pub(super) fn are_in<'v>(&mut self, function: &str, values: impl IntoIterator<Item = &'v Value>) -> bool {
        if !self.touched || SHALLOW.contains(&function) {
            return false;
        }
        let mut found = false;
        values.into_iter().for_each(|value| {
            texts(value, &mut |text| {
                self.see_text(text);
                found = found || self.are_part_of(text);
            });
        });
        found
    }

    fn are_part_of(&mut self, text: &str) -> bool {
        let followed = self.read.len() + self.made.len();
        self.looks = self.looks.saturating_add(1 + (text.len() / 64).saturating_mul(followed));
        self.looks > MOST_LOOKS || self.read.iter().chain(&self.made).any(|secret| text.contains(&**secret))
    }

    /// `value` was made of a secret.
    pub(super) fn make(&mut self, value: &Value) {
        texts(value, &mut |text| {
            if self.made.len() < MOST_MADE
                && is_followed(text)
                && !self.read.iter().chain(&self.made).any(|known| known == text)
            {
                self.made.push(Arc::clone(text));
            }
        });
    }

    /// Whether a secret was touched, and the texts that were read of it and made of it.
    pub(super) fn into_parts(self) -> (bool, Vec<Arc<str>>) {
        let mut all = self.read;
        all.extend(self.made);
        (self.touched, all)
    }
}

/// Whether a text says enough to be looked for.
pub(super) fn is_followed(text: &str) -> bool {
    text.len() >= SHORTEST && !matches!(text, "true" | "false" | "null")
}

fn place(text: &Arc<str>) -> usize {
    Arc::as_ptr(text).cast::<u8>().addr()
}

/// Every text in `value`. It is not deeper than values may be.
fn texts(value: &Value, each: &mut dyn FnMut(&Arc<str>)) {
    match value {
        Value::String(text) => each(text),
        Value::List(list) => list.as_slice().iter().for_each(|item| texts(item, each)),
        Value::Map(map) => map.pairs().for_each(|(_, item)| texts(item, each)),
        Value::Record(record) => record.fields.iter().for_each(|field| texts(&field.value, each)),
        _ => {}
    }
}
