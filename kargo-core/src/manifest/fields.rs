//! Taking the fields out of a map one by one, with every fault noted rather than the first only.
//!
//! What was never asked for is an unknown field, so that the fields that are known are said in one place: where they are read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use super::finding::{Finding, MAX_FINDINGS, MAX_MESSAGE, Place, Rule, Severity, below, path, shortened};
use super::reader::{Data, Entries, Entry, Node, Span};
use super::source::Source;
use crate::name::{name_fault, near_match};

/// How many items a list of steps, variables, stages and the like may have, so that comparing them with each other ends.
const MAX_ITEMS: usize = 1000;

/// Where findings go while one document is read.
pub(super) struct Notes<'s> {
    pub(super) source: &'s Source,
    /// The resource, once it is known: `Stage shop/dev`.
    pub(super) resource: String,
    pub(super) findings: &'s mut Vec<Finding>,
}

impl Notes<'_> {
    /// Whether nothing more is told, so that there is no need to find it.
    pub(super) fn is_full(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    pub(super) fn note(
        &mut self,
        severity: Severity,
        rule: Rule,
        span: Span,
        pointer: &str,
        message: impl Into<String>,
    ) {
        if self.is_full() {
            return;
        }
        let (line, column) = self.source.position(span.start);
        let snippet = self.source.snippet(span);
        let (file, resource) = (self.source.name.clone(), self.resource.clone());
        let place = Place { file, line, column, resource, path: path(pointer), snippet };
        let message = shortened(message.into(), MAX_MESSAGE);
        self.findings.push(Finding { severity, rule, message, place: Some(place) });
    }

    pub(super) fn error(&mut self, rule: Rule, span: Span, pointer: &str, message: impl Into<String>) {
        self.note(Severity::Error, rule, span, pointer, message);
    }

    pub(super) fn warn(&mut self, rule: Rule, span: Span, pointer: &str, message: impl Into<String>) {
        self.note(Severity::Warning, rule, span, pointer, message);
    }

    /// A value that its field does not take.
    fn bad(&mut self, node: &Node, pointer: &str, wanted: &str) {
        let hint = match (&node.data, wanted) {
            (Data::Bool(_) | Data::Number(_), "a text") => " Put quotes around it.",
            (Data::Text(text), _) if wanted.starts_with("a whole number") && text.parse::<i64>().is_ok() => {
                " Take the quotes off."
            }
            (Data::Text(text), "true or false") if matches!(text.as_str(), "true" | "false") => " Take the quotes off.",
            _ => "",
        };
        let message = format!("{} takes {wanted}, and this is {}.{hint}", named(pointer), node.described());
        self.error(Rule::BadValue, node.span, pointer, message);
    }
}

/// The field that a pointer ends in, with what it stands in.
pub(super) fn named(pointer: &str) -> String {
    match path(pointer) {
        path if path.is_empty() => "The document".to_owned(),
        path => format!("The field {path}"),
    }
}

/// A value with its place.
#[derive(Clone)]
pub(super) struct At<'n> {
    pub(super) node: &'n Node,
    pub(super) pointer: String,
}

impl<'n> At<'n> {
    pub(super) fn span(&self) -> Span {
        self.node.span
    }

    pub(super) fn fields(&self, notes: &mut Notes<'_>) -> Option<Fields<'n>> {
        let Data::Map(entries) = &self.node.data else {
            notes.bad(self.node, &self.pointer, "a map");
            return None;
        };
        Some(Fields {
            span: self.node.span,
            pointer: self.pointer.clone(),
            entries,
            asked: Vec::new(),
            retired: Vec::new(),
        })
    }

    pub(super) fn items(&self, notes: &mut Notes<'_>) -> Vec<At<'n>> {
        let Data::List(items) = &self.node.data else {
            notes.bad(self.node, &self.pointer, "a list");
            return Vec::new();
        };
        if items.len() > MAX_ITEMS {
            let message = format!("{} has {} items; it can have {MAX_ITEMS}.", named(&self.pointer), items.len());
            self.error(notes, Rule::BadValue, message);
        }
        let item = |(index, node)| At { node, pointer: below(&self.pointer, index) };
        items.iter().take(MAX_ITEMS).enumerate().map(item).collect()
    }

    pub(super) fn text(&self, notes: &mut Notes<'_>) -> Option<String> {
        let text = self.node.text();
        if text.is_none() {
            notes.bad(self.node, &self.pointer, "a text");
        }
        text.map(str::to_owned)
    }

    pub(super) fn error(&self, notes: &mut Notes<'_>, rule: Rule, message: impl Into<String>) {
        notes.error(rule, self.node.span, &self.pointer, message);
    }
}

/// The fields of a map.
pub(super) struct Fields<'n> {
    pub(super) span: Span,
    pub(super) pointer: String,
    entries: &'n Entries,
    asked: Vec<&'static str>,
    /// What was asked for as an older dialect has it, and is not proposed.
    retired: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    fn entry(&self, name: &str) -> Option<&'n Entry> {
        self.entries.get(name).filter(|entry| !entry.node.is_null())
    }

    /// The value of a field. One that says nothing (`name:`) is as one that is not there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<At<'n>> {
        self.asked.push(name);
        self.entry(name).map(|entry| At { node: &entry.node, pointer: below(&self.pointer, name) })
    }

    /// The value of a field that only older files have.
    pub(super) fn retired(&mut self, name: &'static str) -> Option<At<'n>> {
        self.retired.push(name);
        self.entry(name).map(|entry| At { node: &entry.node, pointer: below(&self.pointer, name) })
    }

    /// As [`Fields::retired`], with a warning at the key that says what to write instead.
    pub(super) fn old(&mut self, notes: &mut Notes<'_>, name: &'static str, instead: &str) -> Option<At<'n>> {
        let at = self.retired(name)?;
        let key = self.entry(name).map_or(self.span, |entry| entry.at);
        let message = format!("{} is of an older Kargo; {instead}", named(&at.pointer));
        notes.warn(Rule::OldDialect, key, &at.pointer, message);
        Some(at)
    }

    /// A field that only the commercial edition of Kargo heeds, with a note at the key.
    pub(super) fn commercial(
        &mut self,
        notes: &mut Notes<'_>,
        name: &'static str,
        severity: Severity,
        instead: &str,
    ) -> Option<At<'n>> {
        let at = self.retired(name)?;
        let key = self.entry(name).map_or(self.span, |entry| entry.at);
        let message = format!("{} is of Kargo's commercial edition; {instead}", named(&at.pointer));
        notes.note(severity, Rule::Commercial, key, &at.pointer, message);
        Some(at)
    }

    pub(super) fn missing(&self, notes: &mut Notes<'_>, name: &str) {
        // The start of the map is enough to point at.
        let span = Span { end: self.span.start + 1, ..self.span };
        let message = format!("{} is missing; it must be set.", named(&below(&self.pointer, name)));
        notes.error(Rule::MissingField, span, &self.pointer, message);
    }

    pub(super) fn text(&mut self, notes: &mut Notes<'_>, name: &'static str) -> Option<String> {
        self.take(name)?.text(notes)
    }

    /// A text that says something.
    pub(super) fn some_text(&mut self, notes: &mut Notes<'_>, name: &'static str) -> Option<String> {
        self.text(notes, name).filter(|text| !text.is_empty())
    }

    pub(super) fn required_text(&mut self, notes: &mut Notes<'_>, name: &'static str) -> Option<String> {
        match self.take(name) {
            None => {
                self.missing(notes, name);
                None
            }
            Some(at) => {
                let text = at.text(notes)?;
                if text.is_empty() {
                    at.error(notes, Rule::MissingField, format!("{} is empty; it must be set.", named(&at.pointer)));
                    return None;
                }
                Some(text)
            }
        }
    }

    /// The name of a resource, which must be one that Kubernetes allows.
    pub(super) fn resource_name(&mut self, notes: &mut Notes<'_>, name: &'static str) -> Option<String> {
        let text = self.required_text(notes, name)?;
        if let Some(fault) = name_fault(&text)
            && let Some(at) = self.take(name)
        {
            at.error(notes, Rule::BadValue, format!("{} cannot be {text:?}: {fault}.", named(&at.pointer)));
        }
        Some(text)
    }

    pub(super) fn flag(&mut self, notes: &mut Notes<'_>, name: &'static str) -> Option<bool> {
        let at = self.take(name)?;
        match at.node.data {
            Data::Bool(value) => Some(value),
            _ => {
                notes.bad(at.node, &at.pointer, "true or false");
                None
            }
        }
    }

    pub(super) fn count(
        &mut self,
        notes: &mut Notes<'_>,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let at = self.take(name)?;
        let (least, most) = (range.start(), range.end());
        let value = match &at.node.data {
            Data::Number(number) => number.as_u64().filter(|value| range.contains(value)),
            _ => None,
        };
        if value.is_none() {
            let wanted = match *most {
                u64::MAX => format!("a whole number from {least}"),
                most if most == u64::from(u32::MAX) => format!("a whole number from {least}"),
                _ => format!("a whole number from {least} to {most}"),
            };
            match &at.node.data {
                Data::Number(number) => {
                    let message = format!("{} takes {wanted}, not {number}.", named(&at.pointer));
                    at.error(notes, Rule::BadValue, message);
                }
                _ => notes.bad(at.node, &at.pointer, &wanted),
            }
        }
        value
    }

    pub(super) fn duration(&mut self, notes: &mut Notes<'_>, name: &'static str) -> Option<Duration> {
        let at = self.take(name)?;
        let text = at.text(notes)?;
        match super::duration::parse(&text) {
            Ok(duration) => Some(duration),
            Err(fault) => {
                at.error(notes, Rule::BadValue, format!("{} cannot be {text:?}: {fault}.", named(&at.pointer)));
                None
            }
        }
    }

    /// One of some words. An empty text is as none.
    pub(super) fn word(
        &mut self,
        notes: &mut Notes<'_>,
        name: &'static str,
        words: &[&'static str],
    ) -> Option<&'static str> {
        let at = self.take(name)?;
        let text = at.text(notes)?;
        if text.is_empty() {
            return None;
        }
        let word = words.iter().find(|word| **word == text);
        if word.is_none() {
            let near = words.iter().find(|word| word.eq_ignore_ascii_case(&text)).copied();
            let hint = match near.or_else(|| near_match(&text, words.iter().copied())) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("it can be {}.", listed(words)),
            };
            at.error(notes, Rule::BadValue, format!("{} cannot be {text:?}; {hint}", named(&at.pointer)));
        }
        word.copied()
    }

    pub(super) fn items(&mut self, notes: &mut Notes<'_>, name: &'static str) -> Vec<At<'n>> {
        self.take(name).map(|at| at.items(notes)).unwrap_or_default()
    }

    pub(super) fn texts(&mut self, notes: &mut Notes<'_>, name: &'static str) -> Vec<String> {
        self.items(notes, name).iter().filter_map(|item| item.text(notes)).collect()
    }

    pub(super) fn object(&mut self, notes: &mut Notes<'_>, name: &'static str) -> Option<Fields<'n>> {
        self.take(name)?.fields(notes)
    }

    /// A map of texts, such as labels.
    pub(super) fn text_map(&mut self, notes: &mut Notes<'_>, name: &'static str) -> BTreeMap<String, String> {
        let Some(fields) = self.object(notes, name) else { return BTreeMap::new() };
        let mut map = BTreeMap::new();
        for entry in fields.entries.iter() {
            let at = At { node: &entry.node, pointer: below(&fields.pointer, &entry.key) };
            if let Some(text) = at.text(notes) {
                map.insert(entry.key.clone(), text);
            }
        }
        map
    }

    /// Anything, kept as it is.
    pub(super) fn json(&mut self, name: &'static str) -> Option<Value> {
        self.take(name).map(|at| at.node.json())
    }

    /// The keys that are there and were not asked for.
    pub(super) fn rest(&self) -> impl Iterator<Item = &'n Entry> {
        let known = |key: &str| self.asked.contains(&key) || self.retired.contains(&key);
        self.entries.iter().filter(move |entry| !known(&entry.key)).collect::<Vec<_>>().into_iter()
    }

    /// Says of each field that was not asked for that there is none of that name.
    pub(super) fn finish(self, notes: &mut Notes<'_>) {
        for entry in self.rest() {
            if notes.is_full() {
                return;
            }
            let hint = match self.empty_above(entry) {
                Some(above) => format!("if it belongs to {above:?} above, which is empty, indent it."),
                None => self.proposal(&entry.key),
            };
            let place = match path(&self.pointer) {
                path if path.is_empty() => "here".to_owned(),
                path => format!("in {path}"),
            };
            let message = format!("There is no field {:?} {place}; {hint}", entry.key);
            notes.error(Rule::UnknownField, entry.at, &below(&self.pointer, &entry.key), message);
        }
    }

    /// The field above `entry`, when it is known, says nothing, and only others that are not known stand between: then what follows was
    /// probably meant to be in it.
    fn empty_above(&self, entry: &Entry) -> Option<&'n str> {
        let known = |entry: &&Entry| self.asked.contains(&entry.key.as_str());
        let above = self.entries.iter().take_while(|other| other.at.start < entry.at.start).filter(known).last()?;
        above.node.is_null().then_some(above.key.as_str())
    }

    fn proposal(&self, key: &str) -> String {
        let same = self.asked.iter().find(|asked| asked.eq_ignore_ascii_case(key)).copied();
        let unset = || self.asked.iter().copied().filter(|asked| self.entry(asked).is_none());
        match same.or_else(|| near_match(key, unset())) {
            Some(near) => format!("did you mean {near:?}?"),
            None => {
                let mut fields: Vec<&str> = self.asked.clone();
                fields.sort_unstable();
                fields.dedup();
                format!("it has {}.", listed(&fields))
            }
        }
    }
}

/// How many words a list of them has at most.
const LISTED: usize = 40;

/// `"a", "b" and "c"`; of a great many the first, and how many more there are.
pub(super) fn listed(words: &[impl Display]) -> String {
    let mut quoted: Vec<String> = words.iter().take(LISTED).map(|word| format!("\"{word}\"")).collect();
    if words.len() > LISTED {
        quoted.push(format!("{} more", words.len() - LISTED));
    }
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}
