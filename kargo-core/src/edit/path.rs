//! The path that a key spells.

use crate::{Error, ErrorKind, Result};

/// How many parts a key may have.
const MAX_PARTS: usize = 100;

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// A whole number: an index in a list, a key in a map.
    Either(String, usize),
    /// A key of a map only.
    Key(String),
    /// An index only, as in `[0]`.
    Index(usize),
}

impl Part {
    /// The part as a key of a map.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Either(text, _) | Self::Key(text) => text.clone(),
            Self::Index(index) => index.to_string(),
        }
    }
}

/// A parsed key: which document, if it says so, and the parts.
#[derive(Debug, Clone)]
pub(super) struct Path<'a> {
    pub(super) key: &'a str,
    pub(super) document: Option<usize>,
    pub(super) parts: Vec<Part>,
}

impl<'a> Path<'a> {
    /// A key of a file that may hold several documents.
    pub(super) fn parse(key: &'a str) -> Result<Self> {
        Self::read(key, true)
    }

    /// A key of a file that is one document, where `$1` is a name as any other.
    pub(super) fn of_one_document(key: &'a str) -> Result<Self> {
        Self::read(key, false)
    }

    fn read(key: &'a str, documents: bool) -> Result<Self> {
        if key.is_empty() {
            return Err(invalid("A key is empty; name the value to set, such as \"image.tag\".".to_owned()));
        }
        let mut path = Self { key, document: None, parts: Vec::new() };
        let pieces = split(key)?;
        let count = pieces.len();
        for (position, piece) in pieces.into_iter().enumerate() {
            if documents
                && position == 0
                && count > 1
                && let Some(index) = piece.raw.strip_prefix('$').and_then(whole_number)
            {
                path.document = Some(index);
                continue;
            }
            path.add(piece)?;
        }
        if path.parts.len() > MAX_PARTS {
            return Err(invalid(format!("A key has {} parts; it may have {MAX_PARTS}.", path.parts.len())));
        }
        Ok(path)
    }

    fn add(&mut self, piece: Piece) -> Result<()> {
        if let Some(name) = piece.raw.strip_prefix(':') {
            let name = unescape(name);
            if name.is_empty() {
                return Err(self.empty_part());
            }
            self.parts.push(Part::Key(name));
            return Ok(());
        }
        let (name, indices) = brackets(&piece.raw);
        let text = unescape(name);
        if text.is_empty() && indices.is_empty() {
            return Err(self.empty_part());
        }
        if !text.is_empty() {
            match whole_number(name) {
                Some(index) => self.parts.push(Part::Either(text, index)),
                None => self.parts.push(Part::Key(text)),
            }
        }
        for index in indices {
            match whole_number(index) {
                Some(index) => self.parts.push(Part::Index(index)),
                None => {
                    return Err(invalid(format!(
                        "The key {:?} has the index {index}; an update names an item that exists, counted from 0, \
                         such as \".0\".",
                        self.key
                    )));
                }
            }
        }
        Ok(())
    }

    fn empty_part(&self) -> Error {
        invalid(format!("The key {:?} has an empty part; write a dot inside a name as \"\\.\".", self.key))
    }

    /// The first `count` parts, for messages.
    pub(super) fn up_to(&self, count: usize) -> String {
        let parts: Vec<String> = self.parts.iter().take(count).map(Part::text).collect();
        parts.join(".")
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message).operation("read a key")
}

/// A part as it was written, escapes and all.
struct Piece {
    raw: String,
}

/// Splits at the dots that no backslash protects.
fn split(key: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut raw = String::new();
    let mut chars = key.chars();
    while let Some(c) = chars.next() {
        match c {
            '.' => pieces.push(Piece { raw: std::mem::take(&mut raw) }),
            '\\' => {
                let Some(next) = chars.next() else {
                    return Err(invalid(format!(
                        "The key {key:?} ends in a backslash; a backslash of a name is written \"\\\\\"."
                    )));
                };
                raw.push('\\');
                raw.push(next);
            }
            _ => raw.push(c),
        }
    }
    pieces.push(Piece { raw });
    Ok(pieces)
}

fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        // `split` has seen to it that a backslash is never last.
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

/// Takes the `[0]` at the end of a part off, as many as there are. Other brackets belong to the name.
fn brackets(raw: &str) -> (&str, Vec<&str>) {
    let mut name = raw;
    let mut indices = Vec::new();
    while let Some(rest) = name.strip_suffix(']')
        && let Some(open) = rest.rfind('[')
        && !escaped(&rest[..open])
    {
        let index = &rest[open + 1..];
        let digits = index.strip_prefix('-').unwrap_or(index);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            break;
        }
        indices.push(index);
        name = &rest[..open];
    }
    indices.reverse();
    (name, indices)
}

/// Whether what follows `before` stands behind a backslash.
fn escaped(before: &str) -> bool {
    before.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn whole_number(text: &str) -> Option<usize> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
