//! Writes a key that is not there, in the style of what stands around it.

use std::ops::Range;

use toml_edit::{Array, InlineTable, Item, Table};

use super::tree::{Lookup, Node, Place, look_up, table};
use super::{OPERATION, check, invalid, read, written};
use crate::Result;
use crate::edit::assign::{assign, is_first};
use crate::edit::path::{Part, Path};
use crate::edit::{Value, damaged};

/// What YAML and TOML take for blanks within a line.
const BLANK: [char; 2] = [' ', '\t'];

/// `text` with the value at `path`, which is not there yet or appends to an array.
pub(super) fn insert(text: &str, path: &Path<'_>, value: &Value) -> Result<String> {
    let document = read(text)?;
    let Lookup::Missing { place, why } = look_up(&document, path)? else {
        return super::update(text, &[(path.key, value.clone())]);
    };
    let mut wanted = table(document.as_table());
    assign(&mut wanted, &path.parts, value);
    let insertion = Insertion { text, root: document.as_table(), path, value };
    let splices = insertion.splices(&place, &path.parts[place.depth..], why)?;
    let mut edited = text.to_owned();
    // From the back, so that places stay where they are.
    for (at, new) in splices.into_iter().rev() {
        edited.replace_range(at, &new);
    }
    check(edited, &wanted)
}

/// What one insertion needs to know.
struct Insertion<'a> {
    text: &'a str,
    root: &'a Table,
    path: &'a Path<'a>,
    value: &'a Value,
}

/// Bytes of the original and what stands there instead, in their order.
type Splices = Vec<(Range<usize>, String)>;

impl Insertion<'_> {
    fn splices(&self, place: &Place<'_>, rest: &[Part], why: String) -> Result<Splices> {
        let refused = |why: String| invalid(format!("The key {:?} cannot be made: {why}", self.path.key));
        let behind = |count: usize| match &rest[0] {
            Part::Key(part) => part == "-1",
            Part::Either(_, index) | Part::Index(index) => *index == count,
        };
        let end = |count: usize| format!("{why} A new item stands behind the last one: \"-1\" or {count}.");
        match place.node {
            Node::Table(_) | Node::Inline(_) if matches!(rest[0], Part::Index(_)) => Err(refused(why)),
            Node::Scalar(_) => Err(refused(why)),
            Node::Table(_) | Node::Inline(_) => self.entry(place, rest),
            Node::Array(array) if !behind(array.len()) => Err(refused(end(array.len()))),
            Node::Array(array) => self.item(array, &self.made(&rest[1..])?),
            Node::Tables(tables) if !behind(tables.len()) => Err(refused(end(tables.len()))),
            Node::Tables(_) if rest.len() == 1 || is_list(&rest[1]) => Err(refused(format!(
                "{:?} is an array of tables; name a key of the new one.",
                self.path.up_to(place.depth)
            ))),
            Node::Tables(_) => {
                let (names, made) = self.names(&rest[1..])?;
                let header = format!("[[{}]]", keys(&place.header));
                Ok(self.section(&header, &format!("{} = {made}", keys(&names)), end_of(place.node)))
            }
        }
    }

    /// The keys with which `parts` begin, and what is to stand behind them.
    fn names(&self, parts: &[Part]) -> Result<(Vec<String>, String)> {
        let count = parts.iter().position(is_list).unwrap_or(parts.len()).max(1);
        Ok((parts[..count].iter().map(Part::text).collect(), self.made(&parts[count..])?))
    }

    /// A new entry of a table.
    fn entry(&self, place: &Place<'_>, rest: &[Part]) -> Result<Splices> {
        let (names, made) = self.names(rest)?;
        let home = match place.home {
            Node::Inline(home) => return self.inline_entry(home, &[&place.below[..], &names].concat(), &made),
            Node::Table(home) => home,
            _ => return Err(damaged(OPERATION)),
        };
        let is_root = std::ptr::eq(home, self.root);
        let itself = place.below.is_empty();
        let has_headers = self.root.iter().any(|(_, item)| match item {
            Item::Table(table) => !table.is_dotted(),
            Item::ArrayOfTables(_) => true,
            _ => false,
        });
        // A table of which only the headers of others speak, or one that is new among tables with headers.
        let of_headers = itself && !is_root && home.is_implicit();
        if let Some((name, above)) = names.split_last()
            && (of_headers || (is_root && itself && !above.is_empty() && has_headers))
        {
            let header = [&place.header[..], above].concat();
            let entry = format!("{} = {made}", keys(std::slice::from_ref(name)));
            let end = if is_root { self.text.trim_end().len() } else { end_of(place.node) };
            return Ok(self.section(&format!("[{}]", keys(&header)), &entry, end));
        }
        let neighbour = match place.node {
            Node::Table(table) => last_entry(table).or_else(|| last_entry(home)),
            _ => last_entry(home),
        };
        let key = keys(&[&place.below[..], &names].concat());
        Ok(match neighbour {
            Some((before, value)) => {
                let sign = self.text.get(before.end..value.start).filter(|sign| sign.trim_matches(BLANK) == "=");
                vec![self.line(value.end, self.indent(before.start), &format!("{key}{}{made}", sign.unwrap_or(" = ")))]
            }
            None if !is_root => {
                let header = home.span().ok_or_else(|| damaged(OPERATION))?;
                vec![self.line(header.end, self.indent(header.start), &format!("{key} = {made}"))]
            }
            None => self.first(&format!("{key} = {made}")),
        })
    }

    /// The first entry of the document itself: before the first header and the comment on it.
    fn first(&self, entry: &str) -> Splices {
        let Some(header) = self.root.iter().filter_map(|(_, item)| first_header(item)).min() else {
            let end = self.text.len();
            let open = !self.text.trim_start_matches('\u{feff}').is_empty() && !self.text.ends_with('\n');
            let before = if open { self.line_break() } else { "" };
            return vec![(end..end, format!("{before}{entry}{}", self.line_break()))];
        };
        let mut at = line_start(self.text, header);
        while let Some(above) = self.text[..at].strip_suffix('\n')
            && above[line_start(above, above.len())..].trim_start_matches('\u{feff}').trim_start().starts_with('#')
        {
            at = line_start(above, above.len());
        }
        if at == 0 {
            at = self.text.len() - self.text.trim_start_matches('\u{feff}').len();
        }
        vec![(at..at, format!("{entry}{0}{0}", self.line_break()))]
    }

    fn inline_entry(&self, home: &InlineTable, key: &[String], made: &str) -> Result<Splices> {
        let entry = format!("{} = {made}", keys(key));
        let span = home.span().ok_or_else(|| damaged(OPERATION))?;
        Ok(match last_of(home) {
            Some(last) => vec![(last..last, format!(", {entry}"))],
            None => vec![(self.inside(&span), format!(" {entry} "))],
        })
    }

    /// A new item behind the last one of an array.
    fn item(&self, array: &Array, made: &str) -> Result<Splices> {
        let span = array.span().ok_or_else(|| damaged(OPERATION))?;
        let Some(last) = array.iter().last() else {
            return Ok(vec![(self.inside(&span), made.to_owned())]);
        };
        let last = last.span().ok_or_else(|| damaged(OPERATION))?;
        let before = &self.text[..last.start];
        let pause = &before[before.trim_end_matches([' ', '\t', '\n', '\r']).len()..];
        if !pause.contains('\n') {
            // The blank before a first item is that of the bracket.
            let pause = if array.len() == 1 || pause.is_empty() { " " } else { pause };
            return Ok(vec![(last.end..last.end, format!(",{pause}{made}"))]);
        }
        // Each has a line of its own, with the comment on it.
        let rest = &self.text[last.end..span.end];
        let comma = rest.find(|c: char| !c.is_whitespace()).filter(|at| rest[*at..].starts_with(','));
        let line = last.end + comma.map_or(0, |at| at + 1);
        let end = line_end(self.text, line).min(span.end - 1);
        Ok(match comma {
            Some(_) => vec![(end..end, format!("{pause}{made},"))],
            None if end == last.end => vec![(end..end, format!(",{pause}{made}"))],
            None => vec![(last.end..last.end, ",".to_owned()), (end..end, format!("{pause}{made}"))],
        })
    }

    /// Where the first thing goes between brackets: in place of blanks, but not of comments.
    fn inside(&self, brackets: &Range<usize>) -> Range<usize> {
        let (start, end) = (brackets.start + 1, brackets.end - 1);
        if self.text[start..end].trim().is_empty() { start..end } else { start..start }
    }

    /// What `parts` make where nothing is.
    fn made(&self, parts: &[Part]) -> Result<String> {
        Ok(match parts.first() {
            None => written(self.value, ""),
            Some(part) if is_first(part) => format!("[{}]", self.made(&parts[1..])?),
            Some(Part::Either(_, index) | Part::Index(index)) => {
                return Err(invalid(format!(
                    "The key {:?} cannot be made: the array of its item {index} is not there, and a new one begins with item 0. \
                     (A key of a table that looks like an index is written \":{index}\".)",
                    self.path.key
                )));
            }
            Some(part) => format!("{{ {} = {} }}", keys(&[part.text()]), self.made(&parts[1..])?),
        })
    }

    /// A line behind the one that `at` is on.
    fn line(&self, at: usize, indent: &str, line: &str) -> (Range<usize>, String) {
        let end = line_end(self.text, at);
        (end..end, format!("{}{indent}{line}", self.line_break()))
    }

    /// A header with an entry, behind the line that `at` is on.
    fn section(&self, header: &str, entry: &str, at: usize) -> Splices {
        let end = line_end(self.text, at);
        let line_break = self.line_break();
        let last = if self.text[end..].is_empty() { line_break } else { "" };
        vec![(end..end, format!("{line_break}{line_break}{header}{line_break}{entry}{last}"))]
    }

    /// The blanks with which the line of `at` begins.
    fn indent(&self, at: usize) -> &str {
        let line = &self.text[line_start(self.text, at)..at];
        &line[..line.len() - line.trim_start_matches(BLANK).len()]
    }

    fn line_break(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }
}

/// Whether `part` cannot be the key of a new table: it begins a list, or is an index for which there is none.
fn is_list(part: &Part) -> bool {
    is_first(part) || !matches!(part, Part::Key(_))
}

/// A key with dots between its parts.
fn keys(parts: &[String]) -> String {
    let bare = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let part = |part: &String| if bare(part) { part.clone() } else { written(&Value::String(part.clone()), "") };
    parts.iter().map(part).collect::<Vec<_>>().join(".")
}

/// The places of the last entry among the lines of a table: its key, and its value.
fn last_entry(table: &Table) -> Option<(Range<usize>, Range<usize>)> {
    let entries = table.iter().filter_map(|(name, item)| match item {
        Item::Value(value) => Some((table.key(name)?.span()?, value.span()?)),
        Item::Table(inner) if inner.is_dotted() => last_entry(inner),
        _ => None,
    });
    entries.max_by_key(|(_, value)| value.end)
}

/// The end of the last value in an inline table.
fn last_of(table: &InlineTable) -> Option<usize> {
    let ends = table.iter().filter_map(|(_, value)| match value {
        toml_edit::Value::InlineTable(inner) if inner.is_dotted() => last_of(inner),
        value => Some(value.span()?.end),
    });
    ends.max()
}

/// The end of all that belongs to a table or an array of tables.
fn end_of(node: Node<'_>) -> usize {
    fn table(table: &Table) -> usize {
        let own = table.span().map_or(0, |span| span.end);
        table.iter().map(|(_, item)| self::item(item)).fold(own, usize::max)
    }
    match node {
        Node::Table(inner) => table(inner),
        Node::Tables(tables) => tables.iter().map(table).max().unwrap_or(0),
        Node::Scalar(_) | Node::Inline(_) | Node::Array(_) => 0,
    }
}

fn item(item: &Item) -> usize {
    match item {
        Item::None => 0,
        Item::Value(value) => value.span().map_or(0, |span| span.end),
        Item::Table(table) => end_of(Node::Table(table)),
        Item::ArrayOfTables(tables) => end_of(Node::Tables(tables)),
    }
}

/// Where the first header of a table, or of those in it, stands.
fn first_header(item: &Item) -> Option<usize> {
    match item {
        Item::Table(table) if table.is_dotted() => None,
        Item::Table(table) => {
            let own = table.span().filter(|_| !table.is_implicit()).map(|span| span.start);
            table.iter().filter_map(|(_, item)| first_header(item)).chain(own).min()
        }
        Item::ArrayOfTables(tables) => tables.iter().filter_map(|table| Some(table.span()?.start)).min(),
        Item::None | Item::Value(_) => None,
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |before| before + 1)
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |length| at + text[at..at + length].trim_end_matches('\r').len())
}
