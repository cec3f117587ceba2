//! What went wrong in an expression, and where.

use std::fmt;
use std::sync::Arc;

type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What kind of fault an expression has, in terms a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The text is not an expression.
    Syntax,
    /// A name is not known here.
    UnknownName,
    /// An operator or a function got a value of a kind that it cannot take.
    Type,
    /// The kind is right, but the value is not: an index out of range, a text that is no number.
    Value,
    /// A limit of [`Limits`](super::Limits) was reached.
    Limit,
    /// The host could not answer; [`std::error::Error::source`] says why.
    Host,
}

/// A fault without its place: what functions return. The evaluation adds the place.
///
/// A fault must never hold a value that an expression has computed, since that may come from a secret: it names
/// kinds and places.
#[derive(Debug)]
pub struct Fault {
    pub(super) kind: FaultKind,
    pub(super) message: String,
    pub(super) source: Option<BoxError>,
}

impl Fault {
    /// A fault with a sentence that says what is wrong and what to write instead.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The host could not answer, because of `source`.
    pub fn host(message: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { kind: FaultKind::Host, message: message.into(), source: Some(source.into()) }
    }

    /// What is wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn syntax(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Syntax, message)
    }

    pub(super) fn kind(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Type, message)
    }

    pub(super) fn value(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Value, message)
    }

    pub(super) fn limit(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Limit, message)
    }

    pub(super) fn at(self, source: &Arc<str>, span: Span) -> Error {
        Error(Box::new(Inner {
            kind: self.kind,
            message: self.message,
            text: source.clone(),
            span,
            pointer: None,
            source: self.source,
        }))
    }
}

/// A place in a source, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    pub(super) fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// An expression that cannot be compiled or evaluated: what is wrong, and the line with a mark under the place.
///
/// ```
/// use kargo_core::expr::{Environment, Program};
///
/// let error = Program::compile("1 + lenn('abc')", &Environment::bare()).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "There is no function lenn; did you mean len?\n  | 1 + lenn('abc')\n  |     ^^^^"
/// );
/// ```
///
/// Values that the expression has computed are never part of it, because they may come from a secret.
pub struct Error(Box<Inner>);

struct Inner {
    kind: FaultKind,
    message: String,
    text: Arc<str>,
    span: Span,
    /// Where in a configuration the text stands.
    pointer: Option<String>,
    source: Option<BoxError>,
}

/// How much of a long line is shown around the place.
const SHOWN: usize = 100;

impl Error {
    /// What kind of fault it is.
    pub fn kind(&self) -> FaultKind {
        self.0.kind
    }

    /// The sentence alone, without the line and the mark.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where in the source the fault is, in bytes.
    pub fn place(&self) -> std::ops::Range<usize> {
        self.0.span.start as usize..self.0.span.end as usize
    }

    /// The JSON pointer of the text in its configuration, if it stands in one.
    pub fn pointer(&self) -> Option<&str> {
        self.0.pointer.as_deref()
    }

    pub(super) fn within(mut self, pointer: &str) -> Self {
        self.0.pointer = Some(pointer.to_owned());
        self
    }

    /// Takes out the host's error, if the host could not answer.
    pub fn into_source(self) -> Option<Box<dyn std::error::Error + Send + Sync + 'static>> {
        self.0.source
    }

    /// The line of the place with a mark under it, as two lines.
    fn excerpt(&self) -> (String, String) {
        let text = &self.0.text;
        let start = floor(text, self.0.span.start as usize);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let column = text[line_start..start].chars().count();
        let end = floor(text, self.0.span.end as usize).clamp(start, line_start + line.len().max(start - line_start));
        let width = text[start..end].chars().count().max(1);
        // A tab or a control character would move the mark away from its place.
        let characters: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let from = if characters.len() > SHOWN { column.saturating_sub(SHOWN / 2) } else { 0 };
        let to = (from + SHOWN).min(characters.len());
        let shown: String = characters.get(from..to).unwrap_or_default().iter().collect();
        let left = if from > 0 { "… " } else { "" };
        let right = if to < characters.len() { " …" } else { "" };
        let pad = column - from + left.chars().count();
        let width = width.min(SHOWN.saturating_sub(column - from).max(1));
        (format!("{left}{shown}{right}"), format!("{}{}", " ".repeat(pad), "^".repeat(width)))
    }
}

/// The nearest start of a character at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, mark) = self.excerpt();
        match &self.0.pointer {
            Some(pointer) => write!(f, "{} (in {pointer})\n  | {line}\n  | {mark}", self.0.message),
            None => write!(f, "{}\n  | {line}\n  | {mark}", self.0.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source_text", &self.0.text)
            .field("span", &self.0.span)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
