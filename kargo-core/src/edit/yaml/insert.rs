//! Writes a key that is not there, in the style of what stands around it.

use std::borrow::Cow;

use super::scalar::{Style, render, render_value};
use super::splice::{BLANK, Splice, apply, break_at, header, line_end};
use super::tree::{Event, Lookup, Node, Shape, Tree};
use super::verify::{Comments, Patch, Want, verify};
use super::{damaged, invalid};
use crate::Result;
use crate::edit::Value;
use crate::edit::path::{Part, Path};

/// How much deeper a map stands than the one around it, when the file has no example.
const STEP: usize = 2;

/// Whether `key` says that its value is appended to a list.
pub(super) fn appends(key: &str) -> bool {
    key.ends_with(".-1")
}

/// `text` with the value at `key`, which is not there yet or appends to a list.
pub(super) fn insert(text: &str, key: &str, value: &Value) -> Result<String> {
    let tree = Tree::parse(text)?;
    let path = Path::parse(key)?;
    let insertion = Insertion { around: Around::new(text, &tree), key, value };
    match tree.search(&path)? {
        None => insertion.in_empty_text(&path.parts),
        Some(Lookup::Found(node)) => super::set(text, &tree, &[(node, key, value)]),
        Some(Lookup::Blocked(why)) => Err(invalid(why)),
        Some(Lookup::Missing { node, depth, why }) => {
            if path.document.is_none() && tree.documents.len() > 1 {
                return Err(invalid(format!(
                    "The key {key:?} is in none of the {} documents of the text; say in which one it is to be made, such as \
                     \"$0.{key}\".",
                    tree.documents.len()
                )));
            }
            insertion.below(node, &path.parts[depth..], why)
        }
    }
}

/// What one insertion needs to know.
struct Insertion<'a> {
    around: Around<'a>,
    key: &'a str,
    value: &'a Value,
}

impl Insertion<'_> {
    fn below(&self, node: usize, parts: &[Part], why: String) -> Result<String> {
        let Node { shape, event, last_event, .. } = &self.around.tree.nodes[node];
        let mut wants = Vec::new();
        match (shape, &parts[0]) {
            (Shape::Map(_), Part::Index(_)) | (Shape::Alias, _) => {
                Err(invalid(format!("The key {:?} cannot be made: {why}", self.key)))
            }
            (Shape::Map(children), part) => {
                wants.push(Want::New(Cow::Owned(part.text().into())));
                self.wants(&parts[1..], &mut wants)?;
                let splice = if self.around.tree.is_flow(node) {
                    let entry = self.flow_entry(parts, self.has_quoted_keys(children));
                    self.around.in_flow(node, children.last().copied(), entry)
                } else {
                    let column = self.around.column(self.around.tree.nodes[children[0]].start);
                    self.around.behind(node, column, self.entry(parts, column))
                };
                self.finish(splice, *last_event..*last_event, wants)
            }
            (Shape::List(items), part) => {
                if !is_behind(part, items.len()) {
                    return Err(invalid(format!(
                        "The key {:?} cannot be made: {why} A new item stands behind the last one: \"-1\" or {}.",
                        self.key,
                        items.len()
                    )));
                }
                self.wants(&parts[1..], &mut wants)?;
                let splice = if self.around.tree.is_flow(node) {
                    self.around.in_flow(node, items.last().copied(), self.flow_value(&parts[1..], false))
                } else {
                    let column = self.around.dash(items[0]).ok_or_else(damaged)?;
                    let item = self.item(&parts[1..], column);
                    self.around.behind(node, column, item)
                };
                self.finish(splice, *last_event..*last_event, wants)
            }
            (Shape::Scalar, _) => {
                self.check_null(node, &why)?;
                self.wants(parts, &mut wants)?;
                let splice = self.instead_of_null(node, parts)?;
                self.finish(splice, *event..*event + 1, wants)
            }
        }
    }

    /// Only what says that there is nothing may become a map or a list.
    fn check_null(&self, node: usize, why: &str) -> Result<()> {
        let null = match &self.around.tree.events[self.around.tree.nodes[node].event] {
            Event::Scalar(text, Style::Plain, 0, None) => matches!(&**text, "" | "~" | "null" | "Null" | "NULL"),
            _ => false,
        };
        if null { Ok(()) } else { Err(invalid(format!("The key {:?} cannot be made: {why}", self.key))) }
    }

    fn instead_of_null(&self, node: usize, parts: &[Part]) -> Result<Splice> {
        let Node { start, end, flow, parent, .. } = &self.around.tree.nodes[node];
        let block = |at: usize, column: usize| {
            let lines = self.block(parts, column);
            Splice { range: at..at, text: format!("{}{}{lines}", self.around.line_break, " ".repeat(column)) }
        };
        match parent {
            // Something is written there, such as `~`, or there is no room for lines.
            _ if *flow || start != end => {
                let mut text = self.flow_value(parts, false);
                if start == end && !self.around.text[..*start].ends_with(BLANK) {
                    text.insert(0, ' ');
                }
                let at = if start == end { self.behind_colon(*start) } else { *start };
                Ok(Splice { range: at..at.max(*end), text })
            }
            None => Ok(self.at_the_end(self.block(parts, 0))),
            Some(parent) => match &self.around.tree.nodes[*parent].shape {
                Shape::Map(children) => {
                    let place = children.iter().position(|child| *child == node).ok_or_else(damaged)?;
                    let column = self.around.column(self.around.tree.nodes[children[place - 1]].start);
                    Ok(block(line_end(self.around.text, *start), column + self.around.step))
                }
                _ => {
                    let column = self.around.dash(node).ok_or_else(damaged)? + STEP;
                    let blank = if self.around.text[..*start].ends_with(BLANK) { "" } else { " " };
                    Ok(Splice { range: *start..*start, text: format!("{blank}{}", self.block(parts, column)) })
                }
            },
        }
    }

    /// A flow map may hold a key without a value, such as `{a: , b}`; the value goes behind the colon.
    fn behind_colon(&self, at: usize) -> usize {
        let rest = &self.around.text[at..];
        let blanks = rest.len() - rest.trim_start_matches(BLANK).len();
        if rest[blanks..].starts_with(':') { at + blanks + 1 } else { at }
    }

    fn in_empty_text(&self, parts: &[Part]) -> Result<String> {
        let mut wants = vec![Want::DocumentStart];
        self.wants(parts, &mut wants)?;
        wants.push(Want::DocumentEnd);
        // The end of the stream is its last event.
        let at = self.around.tree.events.len().saturating_sub(1);
        self.finish(self.at_the_end(self.block(parts, 0)), at..at, wants)
    }

    fn at_the_end(&self, lines: String) -> Splice {
        let at = self.around.text.len();
        let before =
            if self.around.text.trim_start_matches('\u{feff}').is_empty() || self.around.text.ends_with(['\n', '\r']) {
                ""
            } else {
                self.around.line_break
            };
        Splice { range: at..at, text: format!("{before}{lines}{}", self.around.line_break) }
    }

    fn finish(&self, splice: Splice, events: std::ops::Range<usize>, wants: Vec<Want<'_>>) -> Result<String> {
        let edited = apply(self.around.text, vec![splice]);
        verify(self.around.tree, &edited, vec![Patch { events, wants }], Comments::Stay)?;
        Ok(edited)
    }

    /// The events of the value behind `parts`.
    fn wants<'w>(&'w self, parts: &[Part], wants: &mut Vec<Want<'w>>) -> Result<()> {
        let Some(part) = parts.first() else {
            wants.push(Want::New(Cow::Borrowed(self.value)));
            return Ok(());
        };
        if makes_list(part) {
            wants.push(Want::ListStart);
            self.wants(&parts[1..], wants)?;
            wants.push(Want::ListEnd);
            return Ok(());
        }
        if let Part::Either(_, index) | Part::Index(index) = part {
            return Err(invalid(format!(
                "The key {:?} cannot be made: the list of its item {index} is not there, and a new one begins with item 0. \
                 (A key of a map that looks like an index is written \":{index}\".)",
                self.key
            )));
        }
        wants.push(Want::MapStart);
        wants.push(Want::New(Cow::Owned(part.text().into())));
        self.wants(&parts[1..], wants)?;
        wants.push(Want::MapEnd);
        Ok(())
    }

    /// The lines of what `parts` make, the first one without its indentation.
    fn block(&self, parts: &[Part], column: usize) -> String {
        match parts.first() {
            None => render_value(self.value, Style::Plain, false),
            Some(part) if makes_list(part) => self.item(&parts[1..], column),
            Some(_) => self.entry(parts, column),
        }
    }

    fn entry(&self, parts: &[Part], column: usize) -> String {
        let key = render(&parts[0].text(), Style::Plain, false);
        if parts.len() == 1 {
            return format!("{key}: {}", self.block(&[], column));
        }
        let deeper = column + self.around.step;
        format!("{key}:{}{}{}", self.around.line_break, " ".repeat(deeper), self.block(&parts[1..], deeper))
    }

    fn item(&self, parts: &[Part], column: usize) -> String {
        format!("- {}", self.block(parts, column + STEP))
    }

    fn flow_entry(&self, parts: &[Part], quoted: bool) -> String {
        let style = if quoted { Style::DoubleQuoted } else { Style::Plain };
        format!("{}: {}", render(&parts[0].text(), style, true), self.flow_value(&parts[1..], quoted))
    }

    fn flow_value(&self, parts: &[Part], quoted: bool) -> String {
        match parts.first() {
            None if quoted => render_value(self.value, Style::DoubleQuoted, true),
            None => render_value(self.value, Style::Plain, true),
            Some(part) if makes_list(part) => format!("[{}]", self.flow_value(&parts[1..], quoted)),
            Some(_) => format!("{{{}}}", self.flow_entry(parts, quoted)),
        }
    }

    /// Whether a map is written as JSON would.
    fn has_quoted_keys(&self, children: &[usize]) -> bool {
        let mut keys = children.iter().step_by(2).peekable();
        keys.peek().is_some()
            && keys.all(|key| {
                let event = &self.around.tree.events[self.around.tree.nodes[*key].event];
                matches!(event, Event::Scalar(_, Style::DoubleQuoted, ..))
            })
    }
}

/// A text, and what there is to know about its style.
pub(super) struct Around<'a> {
    pub(super) text: &'a str,
    pub(super) tree: &'a Tree<'a>,
    /// How much deeper a map stands than the one around it.
    pub(super) step: usize,
    pub(super) line_break: &'static str,
}

impl<'a> Around<'a> {
    pub(super) fn new(text: &'a str, tree: &'a Tree<'a>) -> Self {
        Self { text, tree, step: step(text, tree), line_break: line_break(text) }
    }

    /// `lines` behind the last value of the block collection `node`, before what follows it.
    pub(super) fn behind(&self, node: usize, column: usize, lines: String) -> Splice {
        self.behind_at(self.end(node), column, lines)
    }

    /// The same where the end of the collection is known.
    pub(super) fn behind_at(&self, at: usize, column: usize, lines: String) -> Splice {
        let pad = " ".repeat(column);
        // A block that keeps its empty lines ends behind a line break.
        let text = if self.text[..at].ends_with(['\n', '\r']) {
            format!("{pad}{lines}{}", self.line_break)
        } else {
            format!("{}{pad}{lines}", self.line_break)
        };
        Splice { range: at..at, text }
    }

    pub(super) fn in_flow(&self, node: usize, last: Option<usize>, entry: String) -> Splice {
        match last {
            Some(last) => {
                let at = self.flow_end(last);
                Splice { range: at..at, text: format!(", {entry}") }
            }
            None => {
                let at = self.tree.nodes[node].close - 1;
                Splice { range: at..at, text: entry }
            }
        }
    }

    /// How many characters stand before `at` on its line.
    pub(super) fn column(&self, at: usize) -> usize {
        column(self.text, at)
    }

    /// The column of the dash before an item of a block list.
    pub(super) fn dash(&self, item: usize) -> Option<usize> {
        let Node { start, gap, .. } = &self.tree.nodes[item];
        // Behind the end of the event before there are blanks and comments only, and then the dash.
        let at = super::splice::skip_to_indicator(self.text, *gap).filter(|at| self.text[*at..].starts_with('-'));
        at.or_else(|| self.text[..*start].rfind('-')).map(|at| self.column(at))
    }

    pub(super) fn flow_end(&self, node: usize) -> usize {
        let Node { shape, end, close, .. } = &self.tree.nodes[node];
        match shape {
            Shape::Scalar | Shape::Alias => *end,
            Shape::Map(_) | Shape::List(_) => *close,
        }
    }

    /// The end of the last line of `node`, with the comment on it.
    pub(super) fn end(&self, mut node: usize) -> usize {
        loop {
            let Node { shape, event, start, end, close, .. } = &self.tree.nodes[node];
            match shape {
                Shape::Map(children) | Shape::List(children) if !self.tree.is_flow(node) => match children.last() {
                    Some(last) => node = *last,
                    None => return line_end(self.text, *end),
                },
                Shape::Map(_) | Shape::List(_) => return line_end(self.text, *close),
                Shape::Scalar => {
                    return match &self.tree.events[*event] {
                        Event::Scalar(value, Style::Literal | Style::Folded, ..) => {
                            self.block_end(node, *start, *end, value)
                        }
                        _ => line_end(self.text, *end),
                    };
                }
                Shape::Alias => return line_end(self.text, *end),
            }
        }
    }

    /// The end of a `|` or `>` block: of its last line, or of the empty lines that it keeps.
    fn block_end(&self, node: usize, start: usize, end: usize, value: &str) -> usize {
        let gap = self.tree.nodes[node].gap;
        let header = header(self.text, gap);
        let keeps = header.as_ref().is_some_and(|header| self.text[header.clone()].contains('+'));
        if keeps {
            return end;
        }
        let header_end = header.map_or(start, |header| line_end(self.text, header.end));
        if value.trim_matches(BLANK).is_empty() || start < header_end {
            return header_end;
        }
        let content = self.text[start..end].trim_end_matches(BLANK).len();
        line_end(self.text, start + content)
    }
}

fn column(text: &str, at: usize) -> usize {
    let line = text[..at].rfind(['\n', '\r']).map_or(0, |at| at + 1);
    text[line..at].trim_start_matches('\u{feff}').chars().count()
}

/// Whether a part that is not there makes a list: its first item, or one at the end.
fn makes_list(part: &Part) -> bool {
    match part {
        Part::Either(_, index) | Part::Index(index) => *index == 0,
        Part::Key(key) => key == "-1",
    }
}

/// Whether `part` names the place behind the last of `count` items.
fn is_behind(part: &Part, count: usize) -> bool {
    match part {
        Part::Either(_, index) | Part::Index(index) => *index == count,
        Part::Key(key) => key == "-1",
    }
}

/// The line break of the text.
fn line_break(text: &str) -> &'static str {
    text.find(['\n', '\r']).and_then(|at| break_at(text, at)).unwrap_or("\n")
}

/// How much deeper the first block map within another one stands.
fn step(text: &str, tree: &Tree<'_>) -> usize {
    let first = |node: usize| match &tree.nodes[node].shape {
        Shape::Map(children) if !tree.is_flow(node) => children.first().map(|key| column(text, tree.nodes[*key].start)),
        _ => None,
    };
    let mut steps = tree.nodes.iter().enumerate().filter_map(|(index, node)| {
        let (outer, inner) = (first(node.parent?)?, first(index)?);
        inner.checked_sub(outer).filter(|step| (1..=8).contains(step))
    });
    steps.next().unwrap_or(STEP)
}
