//! The text as a tree that knows where each scalar stands.
//!
//! Nodes live in one vector and name each other by index, so that neither building nor dropping a deep document
//! needs a deep stack.

use std::borrow::Cow;

pub(super) use granit_parser::Event;
use granit_parser::{Parser, StructureStyle, Tag};

use super::scalar::{Style, reads_as_string};
use super::{MAX_BYTES, invalid};
use crate::edit::Value;
use crate::edit::path::{Part, Path};
use crate::{Result, near_match};

/// How many parser events a text may have, so that ten megabytes of commas do not become gigabytes of nodes.
const MAX_EVENTS: usize = 2_000_000;

/// How many keys an error lists.
const KEYS_SHOWN: usize = 20;

#[derive(Debug)]
pub(super) struct Tree<'a> {
    /// Everything the parser said, save for comments.
    pub(super) events: Vec<Event<'a>>,
    /// The comments, in order.
    pub(super) comments: Vec<Cow<'a, str>>,
    pub(super) nodes: Vec<Node>,
    pub(super) documents: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) shape: Shape,
    pub(super) event: usize,
    /// The event that ends a map or a list; that of the node itself otherwise.
    pub(super) last_event: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Behind the bracket that ends a flow collection.
    pub(super) close: usize,
    pub(super) parent: Option<usize>,
    /// Where the event before this one ended: the node's properties and indicators lie between.
    pub(super) gap: usize,
    indent: Option<usize>,
    pub(super) flow: bool,
}

#[derive(Debug)]
pub(super) enum Shape {
    Scalar,
    Alias,
    /// Pairs of a key and its value, which the parser always gives in turn.
    Map(Vec<usize>),
    List(Vec<usize>),
}

/// A scalar value as a splice needs it.
#[derive(Debug)]
pub(super) struct Scalar<'t> {
    pub(super) event: usize,
    pub(super) value: &'t str,
    pub(super) style: Style,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) gap: usize,
    pub(super) indent: Option<usize>,
    pub(super) flow: bool,
    pub(super) in_map: bool,
    pub(super) anchored: bool,
    pub(super) tagged: bool,
}

impl Scalar<'_> {
    /// Whether nothing is written where the value should be, as in `tag:`.
    pub(super) fn is_absent(&self) -> bool {
        self.style == Style::Plain && self.start == self.end
    }

    /// Whether it already reads as `wanted`.
    pub(super) fn reads_as(&self, wanted: &Value) -> bool {
        match wanted {
            Value::String(wanted) => {
                self.value == wanted && !self.is_absent() && (self.tagged || reads_as_string(self.value, self.style))
            }
            other => self.style == Style::Plain && !self.tagged && self.value == other.plain(),
        }
    }
}

/// Where a path led in one document.
pub(super) enum Lookup {
    Found(usize),
    /// `node` has no part `depth` of the path, and why.
    Missing {
        node: usize,
        depth: usize,
        why: String,
    },
    /// The path leads through something that must not be edited.
    Blocked(String),
}

impl<'a> Tree<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return Err(invalid(format!(
                "The YAML text has {} bytes; at most {MAX_BYTES} are edited. Split the file.",
                text.len()
            )));
        }
        if text.contains('\0') {
            return Err(invalid("The text holds a NUL character, so it is not YAML.".to_owned()));
        }
        let options = granit_parser::options! {
            emit_anchor_events: true,
            emit_comments: true,
            max_buffered_comment_events: usize::MAX,
        };
        let mut tree = Self { events: Vec::new(), comments: Vec::new(), nodes: Vec::new(), documents: Vec::new() };
        let mut open: Vec<usize> = Vec::new();
        let mut gap = 0;
        for next in Parser::new_from_str_with_options(text, options) {
            let (event, span) = next.map_err(|error| {
                invalid(format!(
                    "The text is not valid YAML at line {}, column {}; correct the file first.",
                    error.marker().line(),
                    error.marker().col() + 1
                ))
                .because(error)
            })?;
            let (start, end) = match span.byte_range() {
                Some(range) if text.get(range.clone()).is_some() => (range.start, range.end),
                _ => return Err(invalid("The YAML parser lost its place in the text.".to_owned())),
            };
            let shape = match &event {
                Event::Comment(comment, _) => {
                    tree.comments.push(comment.clone());
                    continue;
                }
                Event::Scalar(..) => Some(Shape::Scalar),
                Event::Alias(_) | Event::UnresolvedAlias(_) => Some(Shape::Alias),
                Event::MappingStart(..) => Some(Shape::Map(Vec::new())),
                Event::SequenceStart(..) => Some(Shape::List(Vec::new())),
                Event::MappingEnd | Event::SequenceEnd => {
                    if let Some(closed) = open.pop() {
                        tree.nodes[closed].last_event = tree.events.len();
                        tree.nodes[closed].close = end;
                    }
                    None
                }
                _ => None,
            };
            if tree.events.len() == MAX_EVENTS {
                return Err(invalid("The YAML text has too many values to be edited; split the file.".to_owned()));
            }
            let opens = matches!(shape, Some(Shape::Map(_) | Shape::List(_)));
            if let Some(shape) = shape {
                let node = tree.add(&open, shape, start, end, gap, span.indent);
                if opens {
                    open.push(node);
                }
            }
            // An anchor is told after its node, though it stands before it.
            if !matches!(event, Event::Anchor(..)) {
                gap = end;
            }
            tree.events.push(event);
        }
        Ok(tree)
    }

    fn add(
        &mut self,
        open: &[usize],
        shape: Shape,
        start: usize,
        end: usize,
        gap: usize,
        indent: Option<usize>,
    ) -> usize {
        let node = self.nodes.len();
        let parent = open.last().copied();
        let flow = parent.is_some_and(|parent| self.is_flow(parent));
        let event = self.events.len();
        self.nodes.push(Node { shape, event, last_event: event, start, end, close: end, parent, gap, indent, flow });
        match parent.map(|parent| &mut self.nodes[parent].shape) {
            Some(Shape::Map(children) | Shape::List(children)) => children.push(node),
            _ => self.documents.push(node),
        }
        node
    }

    /// Whether `node` is a map or a list in brackets.
    pub(super) fn is_flow(&self, node: usize) -> bool {
        matches!(
            self.events.get(self.nodes[node].event),
            Some(Event::MappingStart(StructureStyle::Flow, ..) | Event::SequenceStart(StructureStyle::Flow, ..))
        )
    }

    /// The one node that `path` names.
    pub(super) fn find(&self, path: &Path<'_>) -> Result<usize> {
        let key = path.key;
        match self.search(path)? {
            Some(Lookup::Found(node)) => Ok(node),
            Some(Lookup::Missing { why, .. }) => Err(invalid(format!("The key {key:?} does not exist: {why}"))),
            Some(Lookup::Blocked(why)) => Err(invalid(why)),
            None => Err(invalid(format!("The key {key:?} does not exist: the text is empty."))),
        }
    }

    /// Where `path` leads: to the one node that it names, or as far as it goes; nothing when there is no document.
    pub(super) fn search(&self, path: &Path<'_>) -> Result<Option<Lookup>> {
        let key = path.key;
        let documents = match path.document {
            None => &self.documents[..],
            Some(index) => match self.documents.get(index) {
                Some(document) => std::slice::from_ref(document),
                None => {
                    return Err(invalid(format!(
                        "The key {key:?} names document {index}, but the text has {} documents, counted from 0.",
                        self.documents.len()
                    )));
                }
            },
        };
        let mut hits = Vec::new();
        let mut missing: Option<(usize, Lookup)> = None;
        for (index, document) in documents.iter().enumerate() {
            match self.look_up(*document, path) {
                miss @ Lookup::Missing { depth, .. } => {
                    if missing.as_ref().is_none_or(|(deepest, _)| depth > *deepest) {
                        missing = Some((depth, miss));
                    }
                }
                hit => hits.push((index, hit)),
            }
        }
        if hits.len() > 1 {
            let places: Vec<String> = hits.iter().map(|(index, _)| format!("\"${index}.{key}\"")).collect();
            return Err(invalid(format!(
                "The key {key:?} is in several documents of the text; say which one: {}.",
                places.join(" or ")
            )));
        }
        Ok(hits.pop().map(|(_, hit)| hit).or(missing.map(|(_, miss)| miss)))
    }

    fn look_up(&self, document: usize, path: &Path<'_>) -> Lookup {
        let mut node = document;
        for (depth, part) in path.parts.iter().enumerate() {
            let place = if depth == 0 { "the document".to_owned() } else { format!("{:?}", path.up_to(depth)) };
            let name = part.text();
            let missing = |why: String| Lookup::Missing { node, depth, why };
            node = match (&self.nodes[node].shape, part) {
                (Shape::Map(_), Part::Index(index)) => {
                    return missing(format!(
                        "{place} is a map, so it has no item [{index}]; its keys are: {}.",
                        self.keys_of(node)
                    ));
                }
                (Shape::Map(children), Part::Key(_) | Part::Either(..)) => {
                    let mut values = children
                        .as_chunks::<2>()
                        .0
                        .iter()
                        .filter_map(|[key, value]| (self.key_text(*key) == Some(name.as_str())).then_some(*value));
                    match (values.next(), values.next()) {
                        (Some(value), None) => value,
                        (Some(_), Some(_)) => {
                            return Lookup::Blocked(format!(
                                "The key {:?} is ambiguous: {place} has {name:?} more than once; remove one.",
                                path.key
                            ));
                        }
                        (None, _) => return missing(self.missing_key(node, &place, &name)),
                    }
                }
                (Shape::List(items), Part::Either(_, index) | Part::Index(index)) => match items.get(*index) {
                    Some(item) => *item,
                    None if items.is_empty() => return missing(format!("{place} is an empty list.")),
                    None => {
                        return missing(format!(
                            "{place} has no item {index}; its items are 0 to {}.",
                            items.len() - 1
                        ));
                    }
                },
                (Shape::List(items), Part::Key(_)) => {
                    return missing(format!(
                        "{place} is a list of {} items, so {name:?} cannot be one of its keys; name an item by its \
                         index, such as \"{}0\".",
                        items.len(),
                        if depth == 0 { String::new() } else { format!("{}.", path.up_to(depth)) }
                    ));
                }
                (Shape::Scalar, _) => {
                    return missing(format!("{place} is a single value, so there is no {name:?} in it."));
                }
                (Shape::Alias, _) => {
                    return Lookup::Blocked(format!(
                        "The key {:?} leads through {place}, which is an alias; setting it would change the anchor's \
                         own value. Set the key where the anchor stands, or write the map out.",
                        path.key
                    ));
                }
            };
        }
        Lookup::Found(node)
    }

    fn missing_key(&self, map: usize, place: &str, name: &str) -> String {
        let keys = self.keys(map);
        let near = near_match(name, keys.iter().copied())
            .map(|near| format!("; did you mean {near:?}?"))
            .unwrap_or_else(|| ".".to_owned());
        if keys.is_empty() {
            return format!("there is no {name:?} in {place}, which is an empty map.");
        }
        let merged = if keys.contains(&"<<") { " Keys that \"<<\" merges in are not set here." } else { "" };
        format!("there is no {name:?} in {place}{near} The keys there are: {}.{merged}", self.keys_of(map))
    }

    fn keys_of(&self, map: usize) -> String {
        let keys = self.keys(map);
        let more = keys.len().saturating_sub(KEYS_SHOWN);
        let mut text = keys[..keys.len() - more].join(", ");
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        if text.is_empty() { "none".to_owned() } else { text }
    }

    /// The keys of a map, as far as they are scalars.
    pub(super) fn keys(&self, map: usize) -> Vec<&str> {
        match &self.nodes[map].shape {
            Shape::Map(children) => children.iter().step_by(2).filter_map(|key| self.key_text(*key)).collect(),
            _ => Vec::new(),
        }
    }

    /// The text of a key that is a scalar and is there at all.
    pub(super) fn key_text(&self, node: usize) -> Option<&str> {
        let Node { event, start, end, .. } = &self.nodes[node];
        match &self.events[*event] {
            Event::Scalar(text, style, ..) if *style != Style::Plain || start != end => Some(text),
            _ => None,
        }
    }

    /// The scalar at `node`, which `key` named; anything else is refused.
    pub(super) fn scalar(&self, node: usize, key: &str) -> Result<Scalar<'_>> {
        let Node { shape, event, start, end, gap, indent, flow, parent, .. } = &self.nodes[node];
        let kind = match shape {
            Shape::Scalar => None,
            Shape::Map(_) => Some(format!("is a map with the keys {}; name one of them", self.keys_of(node))),
            Shape::List(items) => Some(format!("is a list of {} items; name one of them", items.len())),
            Shape::Alias => Some(
                "is an alias; setting it would change the anchor's own value. Set the key where the anchor stands, \
                 or write the value out"
                    .to_owned(),
            ),
        };
        if let Some(kind) = kind {
            return Err(invalid(format!("The key {key:?} {kind}.")));
        }
        let Event::Scalar(value, style, anchor, tag) = &self.events[*event] else {
            return Err(invalid(format!("The key {key:?} does not hold a single value.")));
        };
        if let Some(tag) = tag.as_deref()
            && !is_text_tag(tag)
        {
            return Err(invalid(format!(
                "The key {key:?} has the tag {tag}, so it does not hold a string; remove the tag from the file first."
            )));
        }
        Ok(Scalar {
            event: *event,
            value,
            style: *style,
            start: *start,
            end: *end,
            gap: *gap,
            indent: *indent,
            flow: *flow,
            in_map: parent.is_some_and(|parent| matches!(self.nodes[parent].shape, Shape::Map(_))),
            anchored: *anchor != 0,
            tagged: tag.is_some(),
        })
    }
}

/// Whether a tag says no more than that the value is a string.
pub(super) fn is_text_tag(tag: &Tag) -> bool {
    tag.is_yaml_core_schema_tag("str") || tag.to_string() == "!"
}
