//! Text to tokens.

use std::borrow::Cow;

use super::error::{Fault, Span};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Identifier,
    Number,
    String,
    Operator,
    Bracket,
    End,
}

#[derive(Debug, Clone)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    /// What was written; for a string what it means.
    pub(super) text: Cow<'s, str>,
    pub(super) span: Span,
}

impl Token<'_> {
    pub(super) fn is(&self, kind: Kind, text: &str) -> bool {
        self.kind == kind && self.text == text
    }

    pub(super) fn operator(&self, text: &str) -> bool {
        self.is(Kind::Operator, text)
    }

    pub(super) fn bracket(&self, text: &str) -> bool {
        self.is(Kind::Bracket, text)
    }

    /// How an error calls it.
    pub(super) fn described(&self) -> String {
        match self.kind {
            Kind::End => "the end of the expression".to_owned(),
            // The text may be long, or be what its author would not see in a log.
            Kind::String => "a string".to_owned(),
            _ => format!("`{}`", self.text),
        }
    }
}

/// Words that are operators.
const WORDS: [&str; 11] =
    ["not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"];

pub(super) fn letter(c: char) -> bool {
    c == '_' || c == '$' || c.is_alphabetic()
}

pub(super) fn alphanumeric(c: char) -> bool {
    letter(c) || c.is_numeric()
}

/// The tokens of `text[start..end]`, with places in `text`. The last one is [`Kind::End`].
pub(super) fn tokens(text: &str, start: usize, end: usize) -> Result<Vec<Token<'_>>, (Fault, Span)> {
    let mut lexer = Lexer { text, at: start, end };
    let mut tokens = Vec::with_capacity((end - start) / 3 + 2);
    loop {
        let token = lexer.next()?;
        let last = token.kind == Kind::End;
        tokens.push(token);
        if last {
            return Ok(tokens);
        }
    }
}

struct Lexer<'s> {
    text: &'s str,
    at: usize,
    end: usize,
}

type Lexed<T> = Result<T, (Fault, Span)>;

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.text[self.at..self.end]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn second(&self) -> Option<char> {
        self.rest().chars().nth(1)
    }

    fn token(&mut self, kind: Kind, length: usize) -> Token<'s> {
        let start = self.at;
        self.at += length;
        Token { kind, text: Cow::Borrowed(&self.text[start..self.at]), span: Span::new(start, self.at) }
    }

    fn fault<T>(&self, start: usize, message: impl Into<String>) -> Lexed<T> {
        Err((Fault::syntax(message), Span::new(start, self.at.max(start + 1))))
    }

    fn skip(&mut self) -> Lexed<()> {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.find('\n').map_or(rest.len(), |at| at + 1);
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(close) = comment.find("*/") else {
                    return self.fault(self.at, "The comment is not closed; write */ behind it.");
                };
                self.at += close + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Lexed<Token<'s>> {
        self.skip()?;
        let Some(first) = self.peek() else { return Ok(self.token(Kind::End, 0)) };
        let second = self.second();
        Ok(match first {
            '\'' | '"' => return self.string(first),
            '`' => return self.raw_string(),
            '0'..='9' => return self.number(),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => return self.number(),
            '.' if second == Some('.') => self.token(Kind::Operator, 2),
            '?' if matches!(second, Some('.' | '?')) => self.token(Kind::Operator, 2),
            ':' if second == Some(':') => self.token(Kind::Operator, 2),
            '|' if second == Some('|') => self.token(Kind::Operator, 2),
            '&' if second == Some('&') => self.token(Kind::Operator, 2),
            '*' if second == Some('*') => self.token(Kind::Operator, 2),
            '=' | '!' | '<' | '>' if second == Some('=') => self.token(Kind::Operator, 2),
            '.' | '?' | ':' | '|' | '*' | '=' | '!' | '<' | '>' | ',' | ';' | '%' | '+' | '-' | '^' | '/' | '#' => {
                self.token(Kind::Operator, 1)
            }
            '(' | ')' | '[' | ']' | '{' | '}' => self.token(Kind::Bracket, 1),
            c if letter(c) => {
                let rest = self.rest();
                let length = rest.find(|c| !alphanumeric(c)).unwrap_or(rest.len());
                let kind = if WORDS.contains(&&rest[..length]) { Kind::Operator } else { Kind::Identifier };
                self.token(kind, length)
            }
            '&' => {
                self.at += 1;
                return self.fault(self.at - 1, "There is no operator &; for \"and\" write &&, for bits bitand().");
            }
            '“' | '”' | '‘' | '’' => {
                let start = self.at;
                self.at += first.len_utf8();
                return self.fault(start, "Typographic quotes do not enclose a string; write ' or \".");
            }
            other => {
                let start = self.at;
                self.at += other.len_utf8();
                return self.fault(start, format!("The character {other:?} has no meaning here."));
            }
        })
    }

    fn number(&mut self) -> Lexed<Token<'s>> {
        let bytes = self.rest().as_bytes();
        let run = |from: usize, digit: fn(&u8) -> bool| {
            from + bytes[from..].iter().take_while(|byte| digit(byte) || **byte == b'_').count()
        };
        let mut length = match (bytes[0], bytes.get(1)) {
            (b'0', Some(b'x' | b'X')) => run(2, u8::is_ascii_hexdigit),
            (b'0', Some(b'o' | b'O' | b'b' | b'B')) => run(2, u8::is_ascii_digit),
            _ => {
                let mut length = run(0, u8::is_ascii_digit);
                // Two dots are a range, as in 1..3.
                if bytes.get(length) == Some(&b'.') && bytes.get(length + 1) != Some(&b'.') {
                    length = run(length + 1, u8::is_ascii_digit);
                }
                if matches!(bytes.get(length), Some(b'e' | b'E')) {
                    length += 1 + usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
                    length = run(length, u8::is_ascii_digit);
                }
                length
            }
        };
        let tail = &self.rest()[length..];
        let letters = tail.find(|c| !alphanumeric(c)).unwrap_or(tail.len());
        if letters > 0 {
            let start = self.at;
            length += letters;
            self.at += length;
            return self.fault(start, "This is no number; put a text into quotes.");
        }
        Ok(self.token(Kind::Number, length))
    }

    fn raw_string(&mut self) -> Lexed<Token<'s>> {
        let start = self.at;
        let body = &self.rest()[1..];
        let mut from = 0;
        let mut doubled = false;
        while let Some(at) = body[from..].find('`').map(|at| from + at) {
            if body[at + 1..].starts_with('`') {
                doubled = true;
                from = at + 2;
                continue;
            }
            self.at += at + 2;
            let text = if doubled { Cow::Owned(body[..at].replace("``", "`")) } else { Cow::Borrowed(&body[..at]) };
            return Ok(Token { kind: Kind::String, text, span: Span::new(start, self.at) });
        }
        self.fault(start, "The string is not closed; write ` behind it.")
    }

    fn string(&mut self, quote: char) -> Lexed<Token<'s>> {
        let start = self.at;
        let body = &self.rest()[1..];
        let mut owned: Option<String> = None;
        let mut plain = 0;
        let mut at = 0;
        while let Some(c) = body[at..].chars().next() {
            match c {
                '\n' => break,
                '\\' => {
                    let text = owned.get_or_insert_default();
                    text.push_str(&body[plain..at]);
                    match escape(&body[at + 1..]) {
                        Ok((meaning, length)) => {
                            text.push(meaning);
                            at += 1 + length;
                            plain = at;
                        }
                        Err(message) => {
                            self.at += at + 3;
                            return self.fault(start + 1 + at, message);
                        }
                    }
                }
                c if c == quote => {
                    self.at += at + 2;
                    let text = match owned {
                        Some(text) => Cow::Owned(text + &body[plain..at]),
                        None => Cow::Borrowed(&body[..at]),
                    };
                    return Ok(Token { kind: Kind::String, text, span: Span::new(start, self.at) });
                }
                c => at += c.len_utf8(),
            }
        }
        self.fault(start, format!("The string is not closed; write {quote} behind it, or ` around several lines."))
    }
}

/// The meaning of an escape without its backslash, and how many bytes it takes.
fn escape(rest: &str) -> Result<(char, usize), &'static str> {
    const UNKNOWN: &str =
        "This escape has no meaning; for a backslash write \\\\, or put the string between backticks.";
    let bytes = rest.as_bytes();
    let simple = match bytes.first() {
        Some(b'a') => '\u{7}',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'v') => '\u{b}',
        Some(b'\\') => '\\',
        Some(b'\'') => '\'',
        Some(b'"') => '"',
        Some(b'`') => '`',
        Some(b'?') => '?',
        Some(b'u') if bytes.get(1) == Some(&b'{') => {
            let digits = rest[2..].find('}').filter(|length| (1..=6).contains(length)).ok_or(UNKNOWN)?;
            return Ok((code(&rest[2..2 + digits], 16)?, digits + 3));
        }
        Some(b'x' | b'X') => return Ok((code(rest.get(1..3).ok_or(UNKNOWN)?, 16)?, 3)),
        Some(b'u') => return Ok((code(rest.get(1..5).ok_or(UNKNOWN)?, 16)?, 5)),
        Some(b'U') => return Ok((code(rest.get(1..9).ok_or(UNKNOWN)?, 16)?, 9)),
        Some(b'0'..=b'3') => return Ok((code(rest.get(0..3).ok_or(UNKNOWN)?, 8)?, 3)),
        _ => return Err(UNKNOWN),
    };
    Ok((simple, 1))
}

fn code(digits: &str, radix: u32) -> Result<char, &'static str> {
    let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits
        .and_then(|digits| u32::from_str_radix(digits, radix).ok())
        .and_then(char::from_u32)
        .ok_or("This escape names no character.")
}

/// Where the text of an expression in a template ends: the place of `close` behind `start`, outside of strings, comments
/// and brackets. Without such a place it is the first `close` at all, so that the error is about what stands before it.
pub(super) fn end_of_expression(text: &str, start: usize, close: &str) -> Option<usize> {
    let first = start + text[start..].find(close)?;
    let mut lexer = Lexer { text, at: start, end: text.len() };
    let mut open = 0_usize;
    loop {
        if lexer.skip().is_err() {
            return Some(first);
        }
        if open == 0 && lexer.rest().starts_with(close) {
            return Some(lexer.at);
        }
        // What is no token may still be in front of the end, as in `${{ a § b }}`; the parser will say so.
        let Ok(token) = lexer.next() else { return Some(first) };
        match (token.kind, token.text.as_ref()) {
            (Kind::End, _) => return Some(first),
            (Kind::Bracket, "(" | "[" | "{") => open += 1,
            (Kind::Bracket, _) => open = open.saturating_sub(1),
            _ => {}
        }
    }
}
