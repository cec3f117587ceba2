//! Regular expressions in Go's syntax (RE2), on a matcher that takes linear time.

use regex::{Regex, RegexBuilder};

use super::error::Fault;
use super::limits::Meter;
use super::value::Value;

/// Compiles a pattern. Nothing of the pattern stands in the error, since it may have been computed.
pub(super) fn compile(pattern: &str, size_limit: usize) -> Result<Regex, Fault> {
    // Parsing takes time and memory in proportion to the pattern, so that a pattern is limited before it is compiled.
    if pattern.len() > size_limit.min(16 << 10) {
        return Err(Fault::limit("The regular expression is too long."));
    }
    let built = RegexBuilder::new(&translated(pattern)).size_limit(size_limit).dfa_size_limit(size_limit).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => Fault::limit(format!(
            "The regular expression takes more than {limit} bytes when it is compiled; repeat less in it."
        )),
        _ => Fault::value("This is no regular expression; backslashes are doubled in strings, or write it between `."),
    })
}

/// `text matches pattern`, with a pattern that is only known now.
pub(super) fn matches(text: &Value, pattern: &Value, meter: &mut Meter) -> Result<Value, Fault> {
    match (text, pattern) {
        (Value::Nil, _) | (_, Value::Nil) => Ok(Value::Bool(false)),
        (Value::String(text), Value::String(pattern)) => {
            // Compiling is dear: a pattern per element of a list must not take minutes.
            meter.steps(1_000 + pattern.len() * 100 + text.len() / 8)?;
            Ok(Value::Bool(compile(pattern, meter.regex())?.is_match(text)))
        }
        _ => Err(Fault::kind(format!("matches takes two strings, not {} and {}.", text.kind(), pattern.kind()))),
    }
}

/// The pattern in the syntax of the `regex` crate, where it differs: classes like `\d` are ASCII in Go, `\Q…\E` quotes,
/// a brace that repeats nothing is a brace, and within `[…]` only `-`, `^`, `]` and `\` are special.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars();
    let mut class = false;
    // Whether `]` would be the first character of the class, where it is a character.
    let mut first = false;
    while let Some(c) = rest.next() {
        let at_start = std::mem::take(&mut first);
        let next = rest.clone().next();
        match c {
            '\\' => match rest.next() {
                Some('Q') => {
                    let tail = rest.as_str();
                    let (literal, after) = tail.split_once("\\E").unwrap_or((tail, ""));
                    out.push_str(&regex::escape(literal));
                    rest = after.chars();
                }
                Some('d') => out.push_str(if class { "0-9" } else { "[0-9]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str(if class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str(if class { "\\t\\n\\f\\r " } else { "[\\t\\n\\f\\r ]" }),
                Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
                Some('b') if !class => out.push_str("(?-u:\\b)"),
                Some('B') if !class => out.push_str("(?-u:\\B)"),
                Some(other) => {
                    out.extend(['\\', other]);
                    // The braces of \p{Greek} and \x{10FFFF} are no repetition.
                    if matches!(other, 'p' | 'P' | 'x') && rest.as_str().starts_with('{') {
                        let name = rest.as_str().split_inclusive('}').next().unwrap_or_default();
                        out.push_str(name);
                        rest = rest.as_str()[name.len()..].chars();
                    }
                }
                None => out.push('\\'),
            },
            '[' if !class => {
                class = true;
                first = true;
                out.push('[');
                if next == Some('^') {
                    rest.next();
                    out.push('^');
                }
            }
            '[' if next == Some(':') => {
                out.push('[');
                // A POSIX class goes to its own end.
                let mut last = ' ';
                for c in rest.by_ref() {
                    out.push(c);
                    if last == ':' && c == ']' {
                        break;
                    }
                    last = c;
                }
            }
            '[' => out.push_str("\\["),
            ']' if class && at_start => out.push_str("\\]"),
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => out.extend(['\\', c]),
            '-' if class && next == Some('-') => out.push_str("\\-"),
            '{' if !class && !repeats(rest.as_str()) => out.push_str("\\{"),
            c => out.push(c),
        }
    }
    out
}

/// Whether what follows a brace makes it a repetition: `3}`, `3,}`, `3,5}`.
fn repeats(rest: &str) -> bool {
    // Numbers of repetitions are short, so that a long pattern is not searched to its end for every brace.
    let Some(end) = rest.bytes().take(16).position(|byte| byte == b'}') else { return false };
    let inside = &rest[..end];
    let (from, to) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !from.is_empty() && digits(from) && digits(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_go_says() {
        let is_match = |pattern: &str, text: &str| {
            compile(pattern, 1 << 20).unwrap_or_else(|fault| panic!("{pattern}: {fault:?}")).is_match(text)
        };
        assert!(is_match(r"^\d+$", "42"));
        assert!(!is_match(r"^\d+$", "٤٢"), "digits are ASCII in Go");
        assert!(!is_match(r"^\w$", "é"));
        assert!(!is_match(r"\bé", "é"), "é is no word character in Go");
        assert!(is_match(r"^[\d\-a-c]+$", "1-b"));
        assert!(is_match(r"^[[:alpha:]]+$", "abc"));
        assert!(is_match(r"^[]a]+$", "]a"));
        assert!(is_match(r"^[a&&b]+$", "a&b"));
        assert!(is_match(r"^[[a]+$", "[a"));
        assert!(is_match(r"^\Qa.b\E+$", "a.bbb") && !is_match(r"^\Qa.b\E$", "axb"));
        assert!(is_match("^{a}$", "{a}") && is_match("^a{2,3}$", "aa"));
        assert!(is_match(r"^\p{Greek}$", "α"));
    }

    #[test]
    fn a_pattern_that_is_too_large_is_refused() {
        let fault = compile("(a{1000}){1000}", 1 << 20).unwrap_err();
        assert_eq!(fault.kind, crate::expr::FaultKind::Limit);
        assert!(compile("(", 1 << 20).is_err());
    }
}
