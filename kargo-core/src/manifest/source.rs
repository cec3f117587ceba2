//! The text of a file, and where in it things stand.
//!
//! A file may be one line of many megabytes with ten thousand faults in it. What a place costs must not depend on how long its line is:
//! characters are counted once, and of a line only what is around the place is looked at.

use std::ops::Range;
use std::sync::OnceLock;

use super::finding::Snippet;
use super::reader::Span;

/// How much of a long line a snippet shows around the place, in characters.
const SHOWN: usize = 100;
/// The longest scalar, in bytes, in which a part is looked for.
const SEARCHED: usize = 64 << 10;
/// After how many bytes characters are counted anew.
const MARK: usize = 1024;

/// A text with its name.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// Where each line begins, in bytes.
    lines: Vec<u32>,
    /// How many characters begin before every [`MARK`]th byte.
    marks: Vec<u32>,
    /// The passwords in the URLs of the text, in its order, looked for when the first line is shown.
    passwords: OnceLock<Vec<Range<usize>>>,
    /// The lines that are never shown, as ranges in their order.
    hidden: Vec<Range<usize>>,
    /// How many characters were looked at for places and snippets.
    #[cfg(test)]
    looked_at: std::sync::atomic::AtomicUsize,
}

impl Source {
    pub(super) fn new(name: impl Into<String>, text: String) -> Self {
        let begins = text.bytes().zip(1_u32..).filter(|(byte, _)| *byte == b'\n').map(|(_, next)| next);
        let lines = std::iter::once(0).chain(begins).collect();
        let mut marks = Vec::with_capacity(text.len() / MARK + 1);
        let mut count = 0;
        for part in text.as_bytes().chunks(MARK) {
            marks.push(count);
            count += part.iter().filter(|byte| begins_character(**byte)).count() as u32;
        }
        Self {
            name: name.into(),
            text,
            lines,
            marks,
            passwords: OnceLock::new(),
            hidden: Vec::new(),
            #[cfg(test)]
            looked_at: Default::default(),
        }
    }

    /// The line and the column of an offset, both counted from 1; columns in characters.
    pub(super) fn position(&self, offset: u32) -> (usize, usize) {
        let line = self.line(offset);
        let begin = self.lines.get(line).copied().unwrap_or(0);
        (line + 1, self.characters(offset as usize).saturating_sub(self.characters(begin as usize)) + 1)
    }

    /// The index of the line in which an offset is.
    fn line(&self, offset: u32) -> usize {
        self.lines.partition_point(|begin| *begin <= offset).saturating_sub(1)
    }

    /// How many characters begin before an offset.
    fn characters(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        let Some(before) = self.marks.get(offset / MARK).or(self.marks.last()) else { return 0 };
        let from = (offset / MARK).min(self.marks.len() - 1) * MARK;
        self.look(offset - from);
        let rest = self.text.as_bytes()[from..offset].iter().filter(|byte| begins_character(**byte)).count();
        *before as usize + rest
    }

    /// Never shows the lines in which these stand.
    pub(super) fn hide(&mut self, spans: impl IntoIterator<Item = Span>) {
        let mut lines: Vec<Range<usize>> = spans
            .into_iter()
            .map(|span| self.line(span.start)..self.line(span.end.saturating_sub(1).max(span.start)) + 1)
            .collect();
        lines.append(&mut self.hidden);
        lines.sort_unstable_by_key(|lines| lines.start);
        for next in lines {
            match self.hidden.last_mut().filter(|last| next.start <= last.end) {
                Some(last) => last.end = last.end.max(next.end),
                None => self.hidden.push(next),
            }
        }
    }

    /// Never shows anything of the text.
    pub(super) fn hide_all(&mut self) {
        self.hidden = std::iter::once(0..self.lines.len()).collect();
    }

    /// The line of a place with what to mark in it; none when that line is not to be shown.
    pub(super) fn snippet(&self, span: Span) -> Option<Snippet> {
        let line = self.line(span.start);
        let hidden = self.hidden.partition_point(|hidden| hidden.end <= line);
        if self.hidden.get(hidden).is_some_and(|hidden| hidden.contains(&line)) {
            return None;
        }
        let begin = *self.lines.get(line)? as usize;
        let end = self.lines.get(line + 1).map_or(self.text.len(), |next| *next as usize);
        let line = self.text.get(begin..end)?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        let end = begin + line.strip_suffix('\r').unwrap_or(line).len();
        let place = self.text.floor_char_boundary((span.start as usize).clamp(begin, end));
        // Enough on both sides, whichever turns out to be short.
        let after: Vec<(usize, char)> = self.shown(place..end).take(SHOWN + 1).collect();
        let before: Vec<(usize, char)> = self.shown_backwards(begin..place).take(SHOWN).collect();
        self.look(after.len() + before.len());
        let least = SHOWN.saturating_sub(after.len()).max(SHOWN / 2);
        let left = if before.len() + after.len() <= SHOWN { before.len() } else { before.len().min(least) };
        let shown: Vec<(usize, char)> =
            before[..left].iter().rev().chain(&after).take(SHOWN).map(|(at, c)| (*at, *c)).collect();
        let marked = shown[left.min(shown.len())..].iter().filter(|(at, _)| *at < span.end as usize).count();
        let text: String = shown.iter().map(|(_, c)| if c.is_control() { ' ' } else { *c }).collect();
        let text = text.trim_end().to_owned();
        let width = marked.min(text.chars().count().saturating_sub(left)).max(1);
        Some(Snippet { text, column: left + 1, width })
    }

    /// The characters of a part of the text, without passwords.
    fn shown(&self, part: Range<usize>) -> impl Iterator<Item = (usize, char)> {
        let mut at = part.start;
        std::iter::from_fn(move || {
            if let Some(hidden) = self.password_at(at) {
                at = hidden.end;
            }
            let c = self.text.get(at..part.end)?.chars().next()?;
            let found = (at, c);
            at += c.len_utf8();
            Some(found)
        })
    }

    /// As [`Source::shown`], from the end to the beginning.
    fn shown_backwards(&self, part: Range<usize>) -> impl Iterator<Item = (usize, char)> {
        let mut end = part.end;
        std::iter::from_fn(move || {
            if let Some(hidden) = end.checked_sub(1).and_then(|last| self.password_at(last)) {
                end = hidden.start;
            }
            let c = self.text.get(part.start..end)?.chars().next_back()?;
            end -= c.len_utf8();
            Some((end, c))
        })
    }

    fn password_at(&self, offset: usize) -> Option<&Range<usize>> {
        let passwords = self.passwords.get_or_init(|| passwords(&self.text));
        let next = passwords.partition_point(|hidden| hidden.end <= offset);
        passwords.get(next).filter(|hidden| hidden.contains(&offset))
    }

    /// The place in the source of `part`, a range of bytes of the scalar that stands at `span` and reads as `value`. Where escapes or
    /// folds keep it from being found, or it is a very long one, it is the whole scalar.
    pub(super) fn within(&self, span: Span, value: &str, part: std::ops::Range<usize>) -> Span {
        let Some(written) = self.text.get(span.range()).filter(|written| written.len() <= SEARCHED) else {
            return span;
        };
        let start = part.start.min(value.len());
        // Blocks are indented, so that only lines are found as they are.
        let line_start = value.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line_end = value.get(start..).and_then(|rest| rest.find('\n')).map_or(value.len(), |at| start + at);
        let Some(line) = value.get(line_start..line_end) else { return span };
        let nth = value.get(..line_start).map_or(0, |before| before.matches(line).count());
        let Some((found, _)) = written.match_indices(line).nth(nth) else { return span };
        let start = span.start as usize + found + (start - line_start);
        let end = start + part.end.min(line_end).saturating_sub(part.start).max(1);
        let end =
            (start..=end.min(self.text.len())).rev().find(|end| self.text.is_char_boundary(*end)).unwrap_or(start);
        Span { start: start as u32, end: end as u32 }
    }

    fn look(&self, characters: usize) {
        #[cfg(test)]
        self.looked_at.fetch_add(characters, std::sync::atomic::Ordering::Relaxed);
        #[cfg(not(test))]
        let _ = characters;
    }
}

/// Whether a byte is the first of a character.
fn begins_character(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// Where in a text the passwords of URLs are: from the colon behind the user to the `@`.
fn passwords(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, mark) in text.match_indices("://") {
        let from = at + mark.len();
        let rest = &text[from..];
        let end = rest.find(|c: char| matches!(c, '/' | '?' | '#' | '"' | '<' | '>') || c.is_whitespace());
        let authority = &rest[..end.unwrap_or(rest.len())];
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some(colon) = user.find(':')
        {
            let host = if colon == 0 { user.len() + 1 } else { user.len() };
            found.push(from + colon..from + host);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_and_columns_in_characters() {
        let source = Source::new("x.yaml", "a: 1\nüb: 2\r\n".into());
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(4), (1, 5));
        assert_eq!(source.position(5), (2, 1));
        assert_eq!(source.position(8), (2, 3));
        assert_eq!(source.position(99), (3, 1));
        let snippet = source.snippet(Span { start: 10, end: 11 }).unwrap();
        assert_eq!((snippet.text.as_str(), snippet.column, snippet.width), ("üb: 2", 5, 1));
    }

    #[test]
    fn long_lines_are_cut_and_passwords_left_out() {
        let source =
            Source::new("x.yaml", format!("a: {} # end\nurl: https://me:hunter2@git.example/x\n", "v".repeat(500)));
        let snippet = source.snippet(Span { start: 300, end: 700 }).unwrap();
        assert!(snippet.text.len() <= SHOWN && snippet.column + snippet.width <= SHOWN + 1, "{snippet:?}");
        let at = source.text.find("url").unwrap() as u32;
        let snippet = source.snippet(Span { start: at, end: at + 3 }).unwrap();
        assert_eq!((snippet.text.as_str(), snippet.column, snippet.width), ("url: https://me@git.example/x", 1, 3));
    }

    #[test]
    fn every_password_of_a_line_is_left_out_and_what_is_marked_stays_marked() {
        let text = "a: {x: https://me:hunter2@one/, y: 'ssh://:hunter2@two', z: http://u:h:unter2@h@three/p@q, w: 1}";
        let source = Source::new("x", text.into());
        for (at, end) in [(text.find("w: 1").unwrap(), 1), (text.find("hunter2").unwrap(), 7), (0, text.len())] {
            let snippet = source.snippet(Span { start: at as u32, end: (at + end) as u32 }).unwrap();
            assert_eq!(snippet.text, "a: {x: https://me@one/, y: 'ssh://two', z: http://u@three/p@q, w: 1}");
            assert!(snippet.column - 1 + snippet.width <= snippet.text.len(), "{snippet:?}");
        }
        let at = text.find("w: 1").unwrap() as u32;
        let snippet = source.snippet(Span { start: at, end: at + 1 }).unwrap();
        assert_eq!(&snippet.text[snippet.column - 1..snippet.column - 1 + snippet.width], "w");
        // Also where the URL begins far before what is shown.
        let long = format!("a: https://{}:{}@host/{{ w: 1", "u".repeat(5000), "hunter2".repeat(5000));
        let source = Source::new("x", long.clone());
        for at in [long.len() - 4, long.len() - 20, 20_000, 5_011] {
            let snippet = source.snippet(Span { start: at as u32, end: at as u32 + 1 }).unwrap();
            assert!(!snippet.text.contains("hunter2"), "{snippet:?}");
        }
    }

    #[test]
    fn a_place_in_a_long_line_costs_no_more_than_one_in_a_short_one() {
        let text = "ä: [1, 2], ".repeat(1 << 20);
        let source = Source::new("x", text.clone());
        let places = 10_000;
        for n in 0..places {
            let at = text.floor_char_boundary(n * (text.len() / places)) as u32;
            let (line, column) = source.position(at);
            assert_eq!(line, 1);
            if n % 1000 == 0 {
                assert_eq!(column, text[..at as usize].chars().count() + 1);
            }
            let snippet = source.snippet(Span { start: at, end: text.len() as u32 }).unwrap();
            assert!(snippet.column + snippet.width + 1 >= SHOWN && snippet.column + snippet.width <= SHOWN + 1);
        }
        let each = source.looked_at.load(std::sync::atomic::Ordering::Relaxed) / places;
        assert!(each < 2 * MARK + 3 * SHOWN, "{each} characters were looked at for each place");
    }

    #[test]
    fn a_part_of_a_scalar_is_found_in_plain_quoted_and_block_scalars() {
        for text in ["x: ab ${{ y }}", "x: 'ab ${{ y }}'", "x: |\n  first\n  ab ${{ y }}\n"] {
            let (documents, _) = super::super::reader::read(text);
            let node = documents[0].at("/x");
            let value = node.text().unwrap();
            let at = value.find('y').unwrap();
            let source = Source::new("x", text.into());
            assert_eq!(&text[source.within(node.span, value, at..at + 1).range()], "y", "{text}");
        }
    }
}
