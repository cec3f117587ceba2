//! The text of a file, and where in it things stand.

use super::finding::Snippet;
use super::reader::Span;
use crate::artifact::without_password;

/// How much of a long line a snippet shows around the place.
const SHOWN: usize = 100;

/// A text with its name.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// Where each line begins, in bytes.
    lines: Vec<u32>,
}

impl Source {
    pub(super) fn new(name: impl Into<String>, text: String) -> Self {
        let begins = text.bytes().zip(1_u32..).filter(|(byte, _)| *byte == b'\n').map(|(_, next)| next);
        let lines = std::iter::once(0).chain(begins).collect();
        Self { name: name.into(), text, lines }
    }

    /// The line and the column of an offset, both counted from 1; columns in characters.
    pub(super) fn position(&self, offset: u32) -> (usize, usize) {
        let line = self.lines.partition_point(|begin| *begin <= offset).saturating_sub(1);
        let begin = self.lines.get(line).copied().unwrap_or(0) as usize;
        let before = self.text.get(begin..offset as usize).unwrap_or_default();
        (line + 1, before.chars().count() + 1)
    }

    /// The line of a place with what to mark in it.
    pub(super) fn snippet(&self, span: Span) -> Option<Snippet> {
        let (line, column) = self.position(span.start);
        let begin = *self.lines.get(line - 1)? as usize;
        let text = self.text.get(begin..)?.lines().next()?;
        let clean = without_password(text);
        if clean != text {
            // With the password gone, the columns are others: the line alone is shown.
            return Some(Snippet { text: cut(&clean, 0).0, column: 0, width: 0 });
        }
        let end = (span.end as usize).min(begin + text.len());
        let width = self.text.get(span.start as usize..end).map_or(1, |marked| marked.chars().count().max(1));
        let (shown, left) = cut(text, column - 1);
        let column = column - left;
        let width = width.min(shown.chars().count().saturating_sub(column - 1).max(1));
        Some(Snippet { text: shown, column, width })
    }

    /// The place in the source of `part`, a range of bytes of the scalar that stands at `span` and reads as `value`. Where escapes or
    /// folds keep it from being found, it is the whole scalar.
    pub(super) fn within(&self, span: Span, value: &str, part: std::ops::Range<usize>) -> Span {
        let Some(written) = self.text.get(span.range()) else { return span };
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
}

/// `text` with at most [`SHOWN`] characters around `column` (from 0), and how many were left out before.
fn cut(text: &str, column: usize) -> (String, usize) {
    let characters: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let from =
        if characters.len() > SHOWN { column.saturating_sub(SHOWN / 2).min(characters.len() - SHOWN) } else { 0 };
    let to = (from + SHOWN).min(characters.len());
    (characters[from..to].iter().collect::<String>().trim_end().to_owned(), from)
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
        assert!(!snippet.text.contains("hunter2") && snippet.text.contains("git.example"), "{snippet:?}");
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
