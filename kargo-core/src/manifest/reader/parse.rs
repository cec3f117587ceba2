//! From parser events to values.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::scalar::resolve;
use super::{
    Data, Entries, Entry, Fault, MAX_BYTES, MAX_COPIED, MAX_DOCUMENTS, MAX_FAULTS, MAX_KEY, MAX_LEVELS, MAX_VALUES,
    Node, Span,
};

/// Reads all documents of a text that can be read, and what is wrong with it. Empty documents are left out.
pub(in crate::manifest) fn read(text: &str) -> (Vec<Node>, Vec<Fault>) {
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    let whole = |message: String| Fault { message, span: Span::default() };
    if text.len() > MAX_BYTES {
        let message = format!("The text has {} bytes, and {MAX_BYTES} are read at most; split it.", text.len());
        return (documents, vec![whole(message)]);
    }
    if let Some(at) = text.find('\0') {
        let span = Span { start: at as u32, end: at as u32 + 1 };
        let message = "There is a NUL character, which YAML does not have; a file in UTF-16 has to be saved as UTF-8.";
        return (documents, vec![Fault { message: message.into(), span }]);
    }
    let options = granit_parser::options! { emit_comments: false, emit_unresolved_aliases: true };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { text, spent: 0, copied: 0, faults: Vec::new(), ..Builder::default() };
    loop {
        let outcome = match parser.next() {
            None => break,
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or_default();
                let span = Span { start: range.start as u32, end: range.end as u32 };
                builder.event(event, span)
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len()) as u32;
                let span = Span { start: at, end: at };
                Err(Stop::Document(Fault { message: not_yaml(&error.info()), span }))
            }
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(document)) if documents.len() < MAX_DOCUMENTS => documents.push(document),
            Ok(Some(document)) => {
                let message = format!("The text has more than {MAX_DOCUMENTS} documents; split it.");
                builder.faults.push(Fault { message, span: document.span });
                break;
            }
            Err(Stop::Text(fault)) => {
                builder.faults.push(fault);
                break;
            }
            Err(Stop::Document(fault)) => {
                builder.faults.push(fault);
                builder.reset();
                if builder.faults.len() >= MAX_FAULTS || !parser.proceed_next_document().unwrap_or(false) {
                    break;
                }
            }
        }
    }
    faults.append(&mut builder.faults);
    faults.truncate(MAX_FAULTS);
    (documents, faults)
}

/// Why reading cannot go on.
enum Stop {
    /// With this document.
    Document(Fault),
    /// At all: a limit of the whole text is reached.
    Text(Fault),
}

/// A list or map that is not closed yet.
struct Open {
    span: Span,
    anchor: usize,
    /// How many values there were before it.
    before: usize,
    within: Within,
}

enum Within {
    List(Vec<Node>),
    /// The entries, what is merged in, and the key whose value comes next.
    Map(Vec<Entry>, Vec<Node>, Option<Key>),
}

enum Key {
    Named(String, Span),
    Merge,
    /// One that was found wrong; its value is read and dropped.
    Wrong,
}

/// A value that an alias may stand for.
struct Anchored {
    node: Node,
    values: usize,
    levels: usize,
    bytes: usize,
}

#[derive(Default)]
struct Builder<'t> {
    text: &'t str,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    root: Option<Node>,
    spent: usize,
    copied: usize,
    faults: Vec<Fault>,
}

impl Builder<'_> {
    fn reset(&mut self) {
        self.open.clear();
        self.anchors.clear();
        self.root = None;
    }

    fn note(&mut self, span: Span, message: impl Into<String>) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { message: message.into(), span });
        }
    }

    /// The document that this event completes, if it does.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Stop> {
        match event {
            Event::DocumentStart(..) => self.reset(),
            Event::DocumentEnd => {
                let root = self.root.take().filter(|root| !root.is_null());
                self.reset();
                return Ok(root);
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag, span)?,
            Event::SequenceStart(_, anchor, tag) => self.begin(Within::List(Vec::new()), anchor, tag, span)?,
            Event::MappingStart(_, anchor, tag) => {
                self.begin(Within::Map(Vec::new(), Vec::new(), None), anchor, tag, span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span)?,
            Event::Alias(anchor) => self.alias(anchor, span)?,
            Event::UnresolvedAlias(name) => {
                let message = format!("The alias *{name} has no anchor &{name} before it in this document.");
                self.note(span, message);
                self.spend(1, span)?;
                self.complete(Node { data: Data::Null, span }, 0, 0)?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn spend(&mut self, values: usize, span: Span) -> Result<(), Stop> {
        self.spent = self.spent.saturating_add(values);
        if self.spent <= MAX_VALUES {
            return Ok(());
        }
        let message = format!(
            "The text has more than {MAX_VALUES} values, counting those that its aliases stand for; split it, or take aliases out."
        );
        Err(Stop::Text(Fault { message, span }))
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        span: Span,
    ) -> Result<(), Stop> {
        self.spend(1, span)?;
        let data = resolve(text, style, tag.as_deref()).unwrap_or_else(|message| {
            self.note(span, message);
            Data::Text(text.to_owned())
        });
        let is_merge = text == "<<" && style == ScalarStyle::Plain;
        if is_merge && let Some(Open { within: Within::Map(_, _, key @ None), .. }) = self.open.last_mut() {
            *key = Some(Key::Merge);
            return Ok(());
        }
        self.complete(Node { data, span }, anchor, 1)
    }

    fn begin(&mut self, within: Within, anchor: usize, tag: Option<Cow<'_, Tag>>, span: Span) -> Result<(), Stop> {
        self.spend(1, span)?;
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.note(span, format!("The tag {tag} means nothing here; remove it."));
        }
        if self.open.len() >= MAX_LEVELS {
            return Err(Stop::Document(too_deep(span)));
        }
        self.open.push(Open { span, anchor, before: self.spent - 1, within });
        Ok(())
    }

    fn end(&mut self, span: Span) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let span = Span { start: open.span.start, end: span.end.max(open.span.end) };
        let data = match open.within {
            Within::List(items) => Data::List(items),
            Within::Map(entries, merged, _) => Data::Map(Entries::new(self.map(entries, merged))),
        };
        let values = self.spent - open.before;
        self.complete(Node { data, span }, open.anchor, values)
    }

    /// The entries of a map, without those that say a key again, and with those that are merged in.
    fn map(&mut self, mut entries: Vec<Entry>, merged: Vec<Node>) -> Vec<Entry> {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|a, b| entries[*a].key.cmp(&entries[*b].key).then(a.cmp(b)));
        let (mut repeated, mut again) = (vec![false; entries.len()], Vec::new());
        for pair in order.windows(2) {
            let (first, second) = (&entries[pair[0]], &entries[pair[1]]);
            if first.key == second.key {
                repeated[pair[1]] = true;
                again.push((first.at, second.at, second.key.clone()));
            }
        }
        again.truncate(MAX_FAULTS.saturating_sub(self.faults.len()));
        // Lines are counted once for all of them, and only for those that are told.
        again.sort_by_key(|(first, ..)| first.start);
        let (mut line, mut counted) = (1, 0);
        for (first, second, key) in again {
            let upto = first.start as usize;
            line += self.text.get(counted..upto).map_or(0, |text| text.matches('\n').count());
            counted = upto;
            self.note(second, format!("The key {key:?} is here already, in line {line}; remove one."));
        }
        let mut repeated = repeated.into_iter();
        entries.retain(|_| !repeated.next().unwrap_or(false));
        if merged.is_empty() {
            return entries;
        }
        let mut known: std::collections::HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        let sources = merged.into_iter().flat_map(|node| match node.data {
            Data::List(items) => items,
            _ => vec![node],
        });
        for source in sources {
            match source.data {
                Data::Map(more) => {
                    entries.extend(more.into_list().into_iter().filter(|entry| known.insert(entry.key.clone())))
                }
                _ => self.note(source.span, "Behind << stands a map, an alias of one, or a list of them."),
            }
        }
        entries
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Stop> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            self.note(span, "The alias stands within what it refers to, so it has no end.");
            self.spend(1, span)?;
            return self.complete(Node { data: Data::Null, span }, 0, 1);
        };
        let (values, levels, bytes) = (anchored.values, anchored.levels, anchored.bytes);
        // What it would take is known before anything is copied.
        self.spend(values, span)?;
        self.copied = self.copied.saturating_add(bytes);
        if self.copied > MAX_COPIED {
            let message = format!("The aliases stand for more than {MAX_COPIED} bytes; take some out.");
            return Err(Stop::Text(Fault { message, span }));
        }
        if self.open.len() + levels > MAX_LEVELS {
            return Err(Stop::Document(too_deep(span)));
        }
        let Some(anchored) = self.anchors.get(&anchor) else { return Ok(()) };
        let node = Node { data: anchored.node.data.clone(), span };
        self.complete(node, 0, values)
    }

    /// Puts a finished value where it belongs.
    fn complete(&mut self, node: Node, anchor: usize, values: usize) -> Result<(), Stop> {
        if anchor != 0 {
            self.spend(values, node.span)?;
            let bytes = text_bytes(&node);
            self.copied = self.copied.saturating_add(bytes);
            let levels = levels(&node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), values, levels, bytes });
        }
        let Some(top) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut top.within {
            Within::List(items) => items.push(node),
            Within::Map(entries, merged, key) => match key.take() {
                Some(Key::Named(name, at)) => entries.push(Entry { key: name, at, node }),
                Some(Key::Merge) => merged.push(node),
                Some(Key::Wrong) => {}
                None => {
                    let at = node.span;
                    let name = match node.data {
                        Data::Text(text) => Some(text),
                        Data::Bool(value) => Some(value.to_string()),
                        Data::Number(number) => Some(number.to_string()),
                        Data::Null | Data::List(_) | Data::Map(_) => None,
                    };
                    let wrong = match &name {
                        None => Some("A key must be a text; put quotes around it.".to_owned()),
                        // Every path below it has it.
                        Some(name) if name.len() > MAX_KEY => {
                            Some(format!("A key has {} bytes, and {MAX_KEY} at most are read; shorten it.", name.len()))
                        }
                        Some(_) => None,
                    };
                    *key = Some(name.filter(|_| wrong.is_none()).map_or(Key::Wrong, |name| Key::Named(name, at)));
                    if let Some(wrong) = wrong {
                        self.note(at, wrong);
                    }
                }
            },
        }
        Ok(())
    }
}

/// What the parser says, without the place, which is told beside it, and with what is most often the cause.
fn not_yaml(info: &str) -> String {
    let hint = if info.contains("tab") {
        " Indent with blanks instead of tabs."
    } else if info.contains("block") || info.contains("expected key") || info.contains("mapping values") {
        " The indentation here, or above, is probably not what is meant."
    } else {
        ""
    };
    format!("This is not YAML: {info}.{hint}")
}

fn too_deep(span: Span) -> Fault {
    Fault { message: format!("The document is nested more than {MAX_LEVELS} levels deep; make it flatter."), span }
}

fn levels(node: &Node) -> usize {
    match &node.data {
        Data::List(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Data::Map(entries) => 1 + entries.iter().map(|entry| levels(&entry.node)).max().unwrap_or(0),
        _ => 0,
    }
}

fn text_bytes(node: &Node) -> usize {
    match &node.data {
        Data::Text(text) => text.len(),
        Data::List(items) => items.iter().map(text_bytes).sum(),
        Data::Map(entries) => entries.iter().map(|entry| entry.key.len() + text_bytes(&entry.node)).sum(),
        _ => 0,
    }
}
