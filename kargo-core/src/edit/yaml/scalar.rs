//! How a string is written so that every YAML reader reads the same string.

use std::sync::LazyLock;

pub(crate) use granit_parser::ScalarStyle as Style;
use regex::Regex;

use crate::edit::{MAX_BYTES, Value};

/// Words that YAML 1.1 or 1.2 reads as a boolean, a null, a merge key or a default, in any case.
const WORDS: [&str; 12] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", "<<", "="];

/// Whatever a reader of YAML 1.1 or 1.2 takes for a number or a time: whole, octal, hexadecimal and binary numbers, fractions,
/// base 60, infinities, dates.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)^(?:
            [-+]?(?:[0-9][0-9_,]*)?\.?[0-9_]*(?:[eE][-+]?[0-9_]+)?
          | [-+]?0[xX][0-9a-fA-F_]+
          | [-+]?0[oO][0-7_]+
          | [-+]?0[bB][01_]+
          | [-+]?[0-9][0-9_]*(?::[0-9_]+)+(?:\.[0-9_]*)?
          | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\x20\t].*)?
          | [-+]?\.(?i:inf|nan)
        )$",
    )
    .expect("the pattern is constant and is compiled by the tests")
});

/// Whether a scalar of this content and style is a string, not a number, a boolean, a null or a date.
pub(super) fn reads_as_string(value: &str, style: Style) -> bool {
    style != Style::Plain || !(value.is_empty() || is_word(value) || NUMBER.is_match(value))
}

fn is_word(value: &str) -> bool {
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(value))
}

/// `value` on one line: a string in the style that was there, a number or a bool plain.
pub(super) fn render_value(value: &Value, style: Style, flow: bool) -> String {
    match value {
        Value::String(text) => render(text, style, flow),
        other => other.plain(),
    }
}

/// `value` on one line, in the style that was there when that can hold it, else in double quotes.
pub(crate) fn render(value: &str, style: Style, flow: bool) -> String {
    match style {
        Style::SingleQuoted if value.chars().all(is_safe) => format!("'{}'", value.replace('\'', "''")),
        Style::Plain | Style::Literal | Style::Folded if can_be_plain(value, flow) => value.to_owned(),
        _ => double_quoted(value),
    }
}

/// Stricter than YAML: what old readers or people could take for something else is not written plain.
fn can_be_plain(value: &str, flow: bool) -> bool {
    const INDICATORS: &str = "-?:,[]{}#&*!|>'\"%@`+";
    let Some(first) = value.chars().next() else { return false };
    reads_as_string(value, Style::Plain)
        && value.chars().all(is_safe)
        && !INDICATORS.contains(first)
        && !value.starts_with("...")
        && !value.starts_with(char::is_whitespace)
        && !value.ends_with(char::is_whitespace)
        && !value.ends_with(':')
        && !value.contains(": ")
        && !value.contains(" #")
        // Readers of YAML 1.1 end a plain scalar at a colon inside a flow collection.
        && !(flow && value.contains([',', '[', ']', '{', '}', ':']))
}

/// Printable, and no kind of line break or tab: such a character means itself everywhere.
fn is_safe(c: char) -> bool {
    !needs_escape(c) && c != '\t'
}

fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

pub(super) fn double_quoted(value: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\0' => text.push_str("\\0"),
            c if needs_escape(c) && (c as u32) < 0x100 => {
                let _ = write!(text, "\\x{:02x}", c as u32);
            }
            c if needs_escape(c) => {
                let _ = write!(text, "\\u{:04x}", c as u32);
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// The header and the lines of a literal block that reads as `value`, without the last line break; nothing when
/// only double quotes can hold it. `header` is what follows `|` up to the end of the line, such as a comment.
pub(crate) fn literal(value: &str, indent: usize, header: &str, line_break: &str) -> Option<String> {
    let (body, chomping) = match value.strip_suffix('\n') {
        Some(body) => (body, ""),
        None => (value, "-"),
    };
    let holds = indent > 0
        && body.contains('\n')
        && !body.starts_with([' ', '\t', '\n'])
        && !body.ends_with('\n')
        && body.chars().all(|c| !needs_escape(c) || c == '\n' || c == '\t')
        // A line of blanks only is easily stripped by an editor, and with it the value changes.
        && body.split('\n').all(|line| line.is_empty() || !line.trim().is_empty());
    // Each line is indented, which can be far more than it says.
    let blanks = || indent.saturating_mul(body.split('\n').filter(|line| !line.is_empty()).count());
    if !holds || blanks() > MAX_BYTES {
        return None;
    }
    let mut text = format!("|{chomping}{header}");
    for line in body.split('\n') {
        text.push_str(line_break);
        if !line.is_empty() {
            text.extend(std::iter::repeat_n(' ', indent));
            text.push_str(line);
        }
    }
    Some(text)
}
