//! Which bytes of the text give way to a new value.

use std::ops::Range;

use super::invalid;
use super::scalar::{Style, literal, render_value};
use super::tree::Scalar;
use crate::edit::{Value, spliced};
use crate::{Error, Result};

/// What YAML takes for white space; Unicode knows more, which is content.
pub(super) const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

/// Bytes of the original and what stands there instead.
#[derive(Debug)]
pub(super) struct Splice {
    pub(super) range: Range<usize>,
    pub(super) text: String,
}

/// The original with all splices made. They never overlap, because no two come from one scalar's bytes.
pub(super) fn apply(text: &str, splices: Vec<Splice>) -> String {
    spliced(text, splices.into_iter().map(|splice| (splice.range, splice.text)).collect())
}

/// The splices that make `scalar` read as `value`.
pub(super) fn replace(text: &str, scalar: &Scalar<'_>, key: &str, value: &Value) -> Result<Vec<Splice>> {
    match scalar.style {
        Style::Literal | Style::Folded => block(text, scalar, key, value),
        _ if scalar.is_absent() => absent(text, scalar, key, value),
        style => Ok(vec![Splice { range: scalar.start..scalar.end, text: render_value(value, style, scalar.flow) }]),
    }
}

/// A value where none is: behind the colon or the dash, or behind the anchor or tag.
fn absent(text: &str, scalar: &Scalar<'_>, key: &str, value: &Value) -> Result<Vec<Splice>> {
    let at = if scalar.in_map && !scalar.anchored && !scalar.tagged {
        // The parser places a value that is not there at the end of its key, before the colon.
        match skip_to_indicator(text, scalar.gap) {
            Some(at) if text[at..].starts_with(':') => at + 1,
            _ => {
                return Err(invalid(format!(
                    "The key {key:?} has no value and no colon in the file; write the colon first."
                )));
            }
        }
    } else {
        scalar.start
    };
    let mut written = render_value(value, Style::Plain, scalar.flow);
    if !text[..at].ends_with(BLANK) {
        written.insert(0, ' ');
    }
    if text[at..].starts_with('#') {
        written.push(' ');
    }
    Ok(vec![Splice { range: at..at, text: written }])
}

/// A block gives way from its header to the end of its last line; what else stands on the line of the header, such
/// as a comment, stays there, and so do the empty lines behind the block.
fn block(text: &str, scalar: &Scalar<'_>, key: &str, value: &Value) -> Result<Vec<Splice>> {
    let header = match header(text, scalar.gap) {
        Some(header) => header,
        None => return Err(lost(key)),
    };
    let header_end = line_end(text, header.end);
    let content = text.get(scalar.start..scalar.end).ok_or_else(|| lost(key))?;
    let content_end = if scalar.value.trim_matches(BLANK).is_empty() || scalar.start < header_end {
        header_end
    } else {
        line_end(text, scalar.start + content.trim_end_matches(BLANK).len())
    };
    let rest = &text[header.end..header_end];
    let line_break = break_at(text, header_end);
    // Lines of more blanks than the indentation belong to the block, and would to the new one.
    let blanks_end = scalar.indent.map_or(content_end, |indent| end_of_blanks(text, content_end..scalar.end, indent));
    let block = match (value, scalar.indent, break_at(text, blanks_end)) {
        // Readers disagree about a block whose last line has no end.
        (Value::String(value), Some(indent), Some(_)) if content_end > header_end => {
            literal(value, indent, rest, line_break.unwrap_or("\n"))
        }
        _ => None,
    };
    if let Some(block) = block {
        return Ok(vec![Splice { range: header.start..blanks_end, text: block }]);
    }
    Ok(vec![
        Splice { range: header, text: render_value(value, Style::Plain, false) },
        Splice { range: header_end..content_end, text: String::new() },
    ])
}

/// The end of the last of these lines that is longer than `indent`.
fn end_of_blanks(text: &str, lines: Range<usize>, indent: usize) -> usize {
    let (mut end, mut at) = (lines.start, lines.start);
    while at < lines.end
        && let Some(line_break) = break_at(text, at)
    {
        let start = at + line_break.len();
        at = line_end(text, start);
        if at <= lines.end && at - start > indent {
            end = at;
        }
    }
    end
}

fn lost(key: &str) -> Error {
    invalid(format!("The block under the key {key:?} could not be located; write its value on one line."))
}

/// Where the `|` or `>` of a block stands, with its indicators; the event before it ended at `at`.
pub(super) fn header(text: &str, mut at: usize) -> Option<Range<usize>> {
    loop {
        at = skip_to_indicator(text, at)?;
        let rest = &text[at..];
        match rest.as_bytes().first()? {
            b'|' | b'>' => {
                let indicators = rest[1..].bytes().take_while(|b| matches!(b, b'-' | b'+' | b'0'..=b'9')).count();
                return Some(at..at + 1 + indicators);
            }
            b'-' | b'?' | b':' => at += 1,
            b'&' | b'!' => at += rest.find(BLANK)?,
            _ => return None,
        }
    }
}

/// The first character at or behind `at` that is neither blank nor part of a comment.
pub(super) fn skip_to_indicator(text: &str, mut at: usize) -> Option<usize> {
    loop {
        let rest = text.get(at..)?;
        let c = rest.chars().next()?;
        match c {
            ' ' | '\t' | '\n' | '\r' => at += 1,
            '#' => at = line_end(text, at),
            _ => return Some(at),
        }
    }
}

/// The end of the line that `at` is in, before its break.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    text[at..].find(['\n', '\r']).map_or(text.len(), |length| at + length)
}

/// The line break that stands at `at`.
pub(super) fn break_at(text: &str, at: usize) -> Option<&'static str> {
    let rest = &text[at..];
    ["\r\n", "\n", "\r"].into_iter().find(|line_break| rest.starts_with(line_break))
}
