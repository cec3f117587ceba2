//! Two changes of one text laid over each other by lines, as git does it when it merges or rebases.

mod histogram;

use std::ops::Range;

use gix_imara_diff::sources::byte_lines;
use gix_imara_diff::{Hunk, Interner, Token};

/// How far into a file git looks for a zero byte, by which it tells binary files.
const LOOKED_AT: usize = 8000;

/// How many lines a text may have that is looked at by lines: a short pack can unfold to a text with so many that they fill the memory.
pub(crate) const MAX_LINES: usize = 1_000_000;

/// Lines of a text, counted from 0. An empty range is a place between two lines.
pub(crate) type Lines = Range<usize>;

/// How two changes of one text go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merged {
    /// The text that has both.
    Text(Vec<u8>),
    /// The lines of their text that both have changed, and differently, or that stand next to ours with no line between them.
    Conflict(Vec<Lines>),
    /// At least one is no text, so that there are no lines to go by.
    Binary,
    /// At least one has more than [`MAX_LINES`].
    TooLong,
}

/// Lays what was changed from `base` to `ours` over `theirs`. Line ends and a missing one at the end are part of the lines.
pub(crate) fn merge(base: &[u8], ours: &[u8], theirs: &[u8]) -> Merged {
    if [base, ours, theirs].into_iter().any(is_binary) {
        return Merged::Binary;
    }
    if [base, ours, theirs].into_iter().any(is_too_long) {
        return Merged::TooLong;
    }
    let text = Texts::new(base, ours, theirs);
    let (mut merged, mut conflicts): (Vec<Token>, _) = (Vec::with_capacity(text.theirs.len()), Vec::new());
    let (mut left, mut right) = (text.our_hunks().into_iter().peekable(), text.their_hunks().into_iter().peekable());
    // How far the base has been gone through.
    let mut done = 0;
    loop {
        let begin = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(hunk), None) | (None, Some(hunk)) => hunk.before.start,
            (Some(one), Some(other)) => one.before.start.min(other.before.start),
        };
        // Changes that touch belong together: nothing says in which order they would have to stand.
        let (mut end, mut from_left, mut from_right) = (begin, Span::default(), Span::default());
        loop {
            if let Some(hunk) = left.next_if(|hunk| hunk.before.start <= end) {
                end = end.max(hunk.before.end);
                from_left.take(hunk);
            } else if let Some(hunk) = right.next_if(|hunk| hunk.before.start <= end) {
                end = end.max(hunk.before.end);
                from_right.take(hunk);
            } else {
                break;
            }
        }
        merged.extend(&text.base[done..begin as usize]);
        done = end as usize;
        let ours = from_left.text(&text.ours, begin, end);
        let theirs = from_right.text(&text.theirs, begin, end);
        match (ours, theirs) {
            (Some((lines, _)), None) | (None, Some((lines, _))) => merged.extend(lines),
            (Some((ours, _)), Some((theirs, _))) if ours == theirs => merged.extend(ours),
            (Some((ours, _)), Some((theirs, at))) => conflicts.push(apart(ours, theirs, at)),
            (None, None) => {}
        }
    }
    if !conflicts.is_empty() {
        return Merged::Conflict(conflicts);
    }
    merged.extend(&text.base[done..]);
    Merged::Text(merged.into_iter().flat_map(|line| text.interner[line]).copied().collect())
}

fn is_binary(text: &[u8]) -> bool {
    text.iter().take(LOOKED_AT).any(|byte| *byte == 0)
}

fn is_too_long(text: &[u8]) -> bool {
    text.iter().filter(|byte| **byte == b'\n').nth(MAX_LINES).is_some()
}

/// Three texts as numbers that stand for their lines.
struct Texts<'a> {
    interner: Interner<&'a [u8]>,
    base: Vec<Token>,
    ours: Vec<Token>,
    theirs: Vec<Token>,
}

impl<'a> Texts<'a> {
    fn new(base: &'a [u8], ours: &'a [u8], theirs: &'a [u8]) -> Self {
        let mut interner = Interner::new(0);
        let mut read = |text: &'a [u8]| byte_lines(text).map(|line| interner.intern(line)).collect();
        let (base, ours, theirs) = (read(base), read(ours), read(theirs));
        Self { interner, base, ours, theirs }
    }

    fn our_hunks(&self) -> Vec<Hunk> {
        histogram::hunks(&self.base, &self.ours, self.interner.num_tokens())
    }

    fn their_hunks(&self) -> Vec<Hunk> {
        histogram::hunks(&self.base, &self.theirs, self.interner.num_tokens())
    }
}

/// The changes of one side to a piece of the base.
#[derive(Debug, Default)]
struct Span(Option<(Hunk, Hunk)>);

impl Span {
    fn take(&mut self, hunk: Hunk) {
        self.0 = Some(match self.0.take() {
            Some((first, _)) => (first, hunk),
            None => (hunk.clone(), hunk),
        });
    }

    /// What the side makes of the piece from `begin` to `end`, and where that stands; `None` when the side has not changed it.
    fn text<'t>(&self, side: &'t [Token], begin: u32, end: u32) -> Option<(&'t [Token], usize)> {
        let (first, last) = self.0.as_ref()?;
        let from = first.after.start - (first.before.start - begin);
        let to = last.after.end + (end - last.before.end);
        Some((&side[range(&(from..to))], from as usize))
    }
}

/// The lines of `theirs` in which it differs from `ours`, of which it is known that they do. `theirs` begins at the line `at`.
fn apart(ours: &[Token], theirs: &[Token], at: usize) -> Lines {
    let same =
        |pairs: &mut dyn Iterator<Item = (&Token, &Token)>| pairs.take_while(|(one, other)| one == other).count();
    let before = same(&mut ours.iter().zip(theirs));
    let behind = same(&mut ours[before..].iter().rev().zip(theirs[before..].iter().rev()));
    at + before..at + theirs.len() - behind
}

fn range(lines: &Range<u32>) -> Lines {
    lines.start as usize..lines.end as usize
}

/// Lines as people count them.
pub(crate) fn shown(lines: &[Lines]) -> String {
    const SHOWN: usize = 5;
    let each = |lines: &Lines| match lines.len() {
        0 => format!("behind {}", lines.start),
        1 => lines.end.to_string(),
        _ => format!("{}-{}", lines.start + 1, lines.end),
    };
    let what = if matches!(lines, [one] if one.len() < 2) { "line" } else { "lines" };
    let list: Vec<String> = lines.iter().take(SHOWN).map(each).collect();
    let more = if lines.len() > SHOWN { ", ..." } else { "" };
    format!("{what} {}{more}", list.join(", "))
}

#[cfg(test)]
mod tests;
