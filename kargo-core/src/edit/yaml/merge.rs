//! Lays one YAML text over another.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;

use serde_json::Value as Json;

use super::insert::Around;
use super::read::parse;
use super::scalar::{Style, double_quoted, literal, reads_as_string, render};
use super::splice::{Splice, apply, line_end};
use super::tree::{Event, Node, Shape, Tree};
use super::{MAX_BYTES, damaged, invalid};
use crate::{Error, ErrorKind, Result};

/// How deep values may be nested.
const MAX_DEPTH: usize = 128;

/// Lays `over` over `base` and returns the new text: maps are merged key by key, anything else is replaced, and `null` takes a key
/// away. That is how kustomize's kyaml merges without a schema, which Kargo's `yaml-merge` uses; lists are not merged.
///
/// What `over` does not change stays in `base` byte for byte. New keys stand behind the others of their map, in their order. Comments of
/// `over` are not taken along, and those of replaced values go. When one of the two is empty, the text is the other.
///
/// ```
/// use kargo_core::edit::yaml;
///
/// let base = "image:\n  tag: v1 # of all\nargs: [a, b]\ndebug: true\n";
/// let merged = yaml::merge(base, "image: {tag: v2, pull: Always}\nargs: [c]\ndebug: null\n")?;
/// assert_eq!(merged, "image:\n  tag: v2 # of all\n  pull: Always\nargs: [c]\n");
/// # Ok::<(), kargo_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidInput`] when a text is not YAML or holds several documents, or `over` is no map where `base` is one;
/// [`ErrorKind::Unsupported`] when a place is written in a way in which it cannot be changed: such as a map that comes from an alias.
pub fn merge(base: &str, over: &str) -> Result<String> {
    let (mut wanted, over_value) = match (one(base)?, one(over)?) {
        (Some(wanted), Some(over_value)) => (wanted, over_value),
        (None, Some(_)) => return Ok(over.to_owned()),
        (_, None) => return Ok(base.to_owned()),
    };
    if !(wanted.is_object() && over_value.is_object()) {
        return Err(invalid("Only maps can be merged, and one of the YAML texts is none.".to_owned()));
    }
    lay_over(&mut wanted, &over_value);
    let overlay = Tree::parse(over)?;
    let root = *overlay.documents.first().ok_or_else(damaged)?;
    // What goes is taken out last, since new keys are put behind what is there.
    let mut text = Cow::Borrowed(base);
    for removes in [false, true] {
        let tree = Tree::parse(&text)?;
        let document = *tree.documents.first().ok_or_else(damaged)?;
        let mut pass = Pass {
            around: Around::new(&text, &tree),
            overlay: &overlay,
            removes,
            splices: Vec::new(),
            blanks: Cell::new(0),
        };
        pass.maps(document, root, 0)?;
        let splices = pass.splices;
        if !splices.is_empty() {
            text = Cow::Owned(apply(&text, splices));
        }
    }
    let merged = text.into_owned();
    let read = one(&merged).map_err(|error| damaged().because(error))?;
    if read.is_some_and(|read| read == wanted) { Ok(merged) } else { Err(damaged()) }
}

/// The one document of a text; nothing when that is empty.
fn one(text: &str) -> Result<Option<Json>> {
    let mut documents = parse(text)?;
    if documents.len() > 1 {
        return Err(invalid("A YAML text that is merged must be one document, and this one holds several.".to_owned()));
    }
    Ok(documents.pop().filter(|document| !document.is_null()))
}

/// What the merged text must read as.
fn lay_over(base: &mut Json, over: &Json) {
    let Json::Object(over) = over else {
        *base = over.clone();
        return;
    };
    if !base.is_object() {
        *base = Json::Object(serde_json::Map::new());
    }
    let Some(base) = base.as_object_mut() else { return };
    for (key, value) in over {
        if value.is_null() {
            base.remove(key);
        } else {
            lay_over(base.entry(key.clone()).or_insert(Json::Null), value);
        }
    }
}

/// One walk through both texts.
struct Pass<'a> {
    around: Around<'a>,
    overlay: &'a Tree<'a>,
    removes: bool,
    splices: Vec<Splice>,
    /// The blanks that new lines begin with.
    blanks: Cell<usize>,
}

impl Pass<'_> {
    fn maps(&mut self, base: usize, over: usize, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(invalid(format!("The YAML text is nested more than {MAX_DEPTH} levels deep.")));
        }
        let (overlay, tree) = (self.overlay, self.around.tree);
        let (Shape::Map(theirs), Shape::Map(ours)) = (&overlay.nodes[over].shape, &tree.nodes[base].shape) else {
            return Err(damaged());
        };
        // Looked up, and not for: both maps may have a million keys.
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(ours.len() / 2);
        for (place, [key, _]) in ours.as_chunks::<2>().0.iter().enumerate() {
            if let Some(name) = tree.key_text(*key) {
                places.entry(name).or_insert(place * 2);
            }
        }
        let mut news = Vec::new();
        for [key, value] in theirs.as_chunks::<2>().0 {
            let name = self.name(*key)?;
            let gone = self.is_null(*value);
            match places.get(name) {
                Some(place) if gone && self.removes => self.remove(base, ours, *place)?,
                Some(place) if !gone => self.replace(ours[*place], ours[*place + 1], *value, depth)?,
                None if !gone && !self.removes => news.push((*key, *value)),
                _ => {}
            }
        }
        // Behind what is put into the last entry, which may end at the same place.
        self.add(base, ours, &news)
    }

    fn is_null(&self, node: usize) -> bool {
        match &self.overlay.events[self.overlay.nodes[node].event] {
            Event::Scalar(text, Style::Plain, _, None) => super::read::plain(text).is_null(),
            _ => false,
        }
    }

    fn are_maps(&self, base: usize, over: usize) -> bool {
        matches!(self.around.tree.nodes[base].shape, Shape::Map(_))
            && matches!(self.overlay.nodes[over].shape, Shape::Map(_))
    }

    /// The key of the overlay at `node`.
    fn name(&self, node: usize) -> Result<&str> {
        let name = self.overlay.key_text(node).filter(|name| *name != "<<");
        name.ok_or_else(|| unsupported("a key that is no text, or \"<<\""))
    }

    /// New entries of the map `base`, behind what it has.
    fn add(&mut self, base: usize, children: &[usize], news: &[(usize, usize)]) -> Result<()> {
        if news.is_empty() {
            return Ok(());
        }
        if self.around.tree.is_flow(base) {
            let entry =
                |(key, value): &(usize, usize)| Ok(format!("{}: {}", self.flow(*key, 0)?, self.flow(*value, 0)?));
            let entries = news.iter().map(entry).collect::<Result<Vec<_>>>()?.join(", ");
            let splice = self.around.in_flow(base, children.last().copied(), entries);
            self.splices.push(splice);
            return Ok(());
        }
        let first = children.first().ok_or_else(damaged)?;
        let column = self.around.column(self.around.tree.nodes[*first].start);
        let at = self.around.end(base);
        for (key, value) in news {
            self.take(column)?;
            let lines = self.entry_below(*key, *value, column, 0)?;
            let splice = self.around.behind_at(at, column, lines);
            self.splices.push(splice);
        }
        Ok(())
    }

    /// Counts blanks that stand before lines: as many as the columns, which may be many more bytes than the texts have.
    fn take(&self, blanks: usize) -> Result<()> {
        let blanks = self.blanks.get().saturating_add(blanks);
        self.blanks.set(blanks);
        if blanks <= MAX_BYTES {
            return Ok(());
        }
        let message =
            format!("The merged YAML text would have more than {MAX_BYTES} bytes of indentation; split the files.");
        Err(invalid(message))
    }

    fn replace(&mut self, key: usize, base: usize, over: usize, depth: usize) -> Result<()> {
        if self.are_maps(base, over) {
            return self.maps(base, over, depth + 1);
        }
        if self.removes {
            return Ok(());
        }
        let (tree, text) = (self.around.tree, self.around.text);
        let name = tree.key_text(key).unwrap_or_default();
        let Node { shape, start, end, flow, .. } = &tree.nodes[base];
        let over_scalar = matches!(self.overlay.nodes[over].shape, Shape::Scalar);
        if matches!(shape, Shape::Scalar) {
            let scalar = tree.scalar(base, name)?;
            let block = matches!(scalar.style, Style::Literal | Style::Folded);
            if over_scalar && self.same(base, over) {
                return Ok(());
            }
            if over_scalar && (block || scalar.is_absent()) {
                let value = self.value(over)?;
                self.splices.extend(super::splice::replace(text, &scalar, name, &value)?);
                return Ok(());
            }
            if block {
                return Err(unsupported("a block that a map or a list would take the place of"));
            }
        }
        if *flow || tree.is_flow(base) || matches!(shape, Shape::Alias) || over_scalar && matches!(shape, Shape::Scalar)
        {
            let new = self.flow(over, 0)?;
            self.splices.push(Splice { range: *start..self.around.flow_end(base).max(*end), text: new });
            return Ok(());
        }
        // A block: the value ends the line of its key, or stands below it.
        let column = self.around.column(tree.nodes[key].start) + self.around.step;
        let after_key =
            text[tree.nodes[key].end..].find(':').map(|at| tree.nodes[key].end + at + 1).ok_or_else(damaged)?;
        let key_line = line_end(text, after_key);
        let (inline, below) = match &self.overlay.nodes[over].shape {
            Shape::Map(children) | Shape::List(children) if !children.is_empty() => (
                String::new(),
                format!("{}{}{}", self.around.line_break, " ".repeat(column), self.block(over, column, 0)?),
            ),
            _ => (format!(" {}", self.block(over, column, 0)?), String::new()),
        };
        if matches!(shape, Shape::Scalar) {
            let range = if start == end { after_key..after_key } else { after_key..*end };
            let line = line_end(text, *end).max(key_line);
            self.splices.push(Splice { range, text: inline });
            self.splices.push(Splice { range: line..line, text: below });
        } else {
            self.splices.push(Splice { range: after_key..after_key, text: inline });
            self.splices.push(Splice { range: key_line..self.around.end(base), text: below });
        }
        Ok(())
    }

    fn same(&self, base: usize, over: usize) -> bool {
        let (ours, theirs) = (&self.around.tree.events[self.around.tree.nodes[base].event], self.event(over));
        match (ours, theirs) {
            (Event::Scalar(one, style, _, None), Event::Scalar(two, other, _, None)) => {
                one == two && (style == other || reads_as_string(one, *style) && reads_as_string(two, *other))
            }
            _ => false,
        }
    }

    fn event(&self, node: usize) -> &Event<'_> {
        &self.overlay.events[self.overlay.nodes[node].event]
    }

    /// A scalar of the overlay as what an edit takes.
    fn value(&self, node: usize) -> Result<super::Value> {
        let Event::Scalar(text, style, _, tag) = self.event(node) else { return Err(damaged()) };
        if tag.is_some() {
            return Err(unsupported("a tag"));
        }
        if reads_as_string(text, *style) {
            return Ok(super::Value::String(text.clone().into_owned()));
        }
        match super::read::plain(text) {
            Json::Bool(value) => Ok(super::Value::Bool(value)),
            Json::Number(number) => Ok(super::Value::Number(number)),
            _ => Ok(super::Value::String(text.clone().into_owned())),
        }
    }

    fn remove(&mut self, map: usize, children: &[usize], place: usize) -> Result<()> {
        let (tree, text) = (self.around.tree, self.around.text);
        let name = &tree.nodes[children[place]];
        let value_end = self.around.flow_end(children[place + 1]).max(name.end);
        if tree.is_flow(map) {
            let range = match (children.get(place + 2), place.checked_sub(1)) {
                (Some(next), _) => name.start..tree.nodes[*next].start,
                (None, Some(before)) => self.around.flow_end(children[before])..value_end,
                (None, None) => name.start..value_end,
            };
            self.splices.push(Splice { range, text: String::new() });
            return Ok(());
        }
        if children.len() == 2 {
            return Err(unsupported("a map whose only key is taken away"));
        }
        let line = text[..name.start].rfind(['\n', '\r']).map_or(0, |at| at + 1);
        let last = children[place + 1];
        let end = match tree.nodes[last].shape {
            Shape::Scalar if tree.nodes[last].start == tree.nodes[last].end => line_end(text, name.end),
            _ => self.around.end(last),
        };
        let after = end + super::splice::break_at(text, end).map_or(0, str::len);
        self.splices.push(Splice { range: line..after, text: String::new() });
        Ok(())
    }

    fn entry_below(&self, key: usize, value: usize, column: usize, depth: usize) -> Result<String> {
        self.name(key)?;
        let name = self.flow(key, depth)?;
        let deeper = column + self.around.step;
        let block = self.block(value, deeper, depth)?;
        let is_empty = match &self.overlay.nodes[value].shape {
            Shape::Map(children) | Shape::List(children) => children.is_empty(),
            _ => true,
        };
        if is_empty {
            return Ok(format!("{name}: {block}"));
        }
        Ok(format!("{name}:{}{}{block}", self.around.line_break, " ".repeat(deeper)))
    }

    /// The lines of a value of the overlay, the first one without its indentation.
    fn block(&self, node: usize, column: usize, depth: usize) -> Result<String> {
        if depth > MAX_DEPTH {
            return Err(unsupported("values nested too deep"));
        }
        let lines = match &self.overlay.nodes[node].shape {
            Shape::Map(children) => children.len() / 2,
            Shape::List(items) => items.len(),
            Shape::Scalar | Shape::Alias => 0,
        };
        self.take(lines.saturating_mul(column))?;
        let pause = format!("{}{}", self.around.line_break, " ".repeat(column));
        match &self.overlay.nodes[node].shape {
            Shape::Map(children) if !children.is_empty() => {
                let entries = children
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|[key, value]| self.entry_below(*key, *value, column, depth + 1));
                Ok(entries.collect::<Result<Vec<_>>>()?.join(&pause))
            }
            Shape::List(items) if !items.is_empty() => {
                let items = items.iter().map(|item| Ok(format!("- {}", self.block(*item, column + 2, depth + 1)?)));
                Ok(items.collect::<Result<Vec<_>>>()?.join(&pause))
            }
            _ => match self.event(node) {
                Event::Scalar(text, Style::Literal | Style::Folded, _, None) if text.contains('\n') => {
                    let lines = literal(text, column, "", self.around.line_break);
                    Ok(lines.unwrap_or_else(|| double_quoted(text)))
                }
                _ => self.flow(node, depth),
            },
        }
    }

    /// A value of the overlay on one line.
    fn flow(&self, node: usize, depth: usize) -> Result<String> {
        if depth > MAX_DEPTH {
            return Err(unsupported("values nested too deep"));
        }
        match (&self.overlay.nodes[node].shape, self.event(node)) {
            (Shape::Map(children), _) => {
                let entries = children.as_chunks::<2>().0.iter().map(|[key, value]| {
                    self.name(*key)?;
                    Ok(format!("{}: {}", self.flow(*key, depth)?, self.flow(*value, depth + 1)?))
                });
                Ok(format!("{{{}}}", entries.collect::<Result<Vec<_>>>()?.join(", ")))
            }
            (Shape::List(items), _) => {
                let items = items.iter().map(|item| self.flow(*item, depth + 1));
                Ok(format!("[{}]", items.collect::<Result<Vec<_>>>()?.join(", ")))
            }
            (Shape::Scalar, Event::Scalar(text, style, _, None)) => Ok(match style {
                Style::Plain if reads_as_string(text, Style::Plain) => render(text, Style::Plain, true),
                // A number, a bool or the like, which has no character that means something.
                Style::Plain => {
                    if text.is_empty() {
                        "null".to_owned()
                    } else {
                        text.clone().into_owned()
                    }
                }
                style => render(text, *style, true),
            }),
            (Shape::Scalar, _) => Err(unsupported("a tag")),
            (Shape::Alias, _) => Err(unsupported("an alias")),
        }
    }
}

fn unsupported(what: &str) -> Error {
    let message = format!("The YAML texts cannot be merged, as one has {what}; write it in another way.");
    Error::new(ErrorKind::Unsupported, message).operation(super::OPERATION)
}
