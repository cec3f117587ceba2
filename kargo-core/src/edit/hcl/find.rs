//! The one value that a key names.

use std::collections::HashSet;

use super::invalid;
use super::tree::{Block, Entry, Node, Scalar};
use crate::edit::path::{Part, Path};
use crate::{Result, near_match};

/// The literal at `path`.
pub(super) fn find<'f>(text: &str, file: &'f [Entry], path: &Path<'_>) -> Result<&'f Scalar> {
    let mut search = Search { path, found: Vec::new(), fault: None };
    search.body(file, 0);
    match search.found.as_slice() {
        [one] => Ok(one),
        [] => {
            Err(invalid(search.fault.map_or_else(|| format!("The key {:?} does not exist.", path.key), |(_, why)| why)))
        }
        several => {
            let line = |scalar: &&Scalar| (text[..scalar.span.start].matches('\n').count() + 1).to_string();
            let lines: Vec<String> = several.iter().map(line).collect();
            Err(invalid(format!(
                "The key {:?} names {} values, at lines {}; write \"[0]\" for the first of several blocks, and \":0\" for a label or a key 0.",
                path.key,
                several.len(),
                lines.join(", ")
            )))
        }
    }
}

/// A key may be read in several ways, since a number is a label, a key or an index: all are tried.
struct Search<'p, 'f> {
    path: &'p Path<'p>,
    found: Vec<&'f Scalar>,
    /// What was wrong on the way that led furthest, with how many parts of the key it could use.
    fault: Option<(usize, String)>,
}

impl<'f> Search<'_, 'f> {
    fn part(&self, depth: usize) -> Option<Part> {
        self.path.parts.get(depth).cloned()
    }

    fn place(&self, depth: usize) -> String {
        if depth == 0 { "the file".to_owned() } else { format!("{:?}", self.path.up_to(depth)) }
    }

    fn fault(&mut self, depth: usize, message: String) {
        if self.fault.as_ref().is_none_or(|(furthest, _)| *furthest < depth) {
            self.fault = Some((depth, message));
        }
    }

    fn missing(&mut self, depth: usize, why: String) {
        self.fault(depth, format!("The key {:?} does not exist: {why}", self.path.key));
    }

    /// None of `there` is the part at `depth`.
    fn unknown(&mut self, depth: usize, name: &str, kind: &str, there: &[&str]) {
        let near = near_match(name, there.iter().copied())
            .map_or_else(|| ".".to_owned(), |near| format!("; did you mean {near:?}?"));
        let mut seen = HashSet::new();
        let shown: Vec<&str> = there.iter().copied().filter(|name| seen.insert(*name)).collect();
        let listed = match shown.len() {
            0 => "There is nothing.".to_owned(),
            1..=20 => format!("There is {}.", shown.join(", ")),
            more => format!("There is {} and {} more.", shown[..20].join(", "), more - 20),
        };
        let place = self.place(depth);
        self.missing(depth, format!("there is no {kind}{name:?} in {place}{near} {listed}"));
    }

    /// Looks for the part at `depth` among the entries of a file or a block.
    fn body(&mut self, entries: &'f [Entry], depth: usize) {
        let Some(part) = self.part(depth) else {
            let place = self.place(depth);
            return self.fault(
                depth,
                format!(
                    "The key {:?} is a block and no single value; name one of the arguments of {place}.",
                    self.path.key
                ),
            );
        };
        let name = part.text();
        let (mut blocks, mut seen) = (Vec::new(), false);
        for entry in entries {
            match entry {
                Entry::Argument(argument, node) if *argument == name => {
                    seen = true;
                    self.node(node, depth + 1);
                }
                Entry::Block(block) if block.name == name => blocks.push(block),
                _ => {}
            }
        }
        if !blocks.is_empty() {
            self.blocks(&blocks, 0, depth + 1);
        } else if !seen {
            let there: Vec<&str> = entries.iter().map(Entry::name).collect();
            self.unknown(depth, &name, "", &there);
        }
    }

    /// Looks for the part at `depth` among blocks of one name, whose first labels the key has named.
    fn blocks(&mut self, blocks: &[&'f Block], labels: usize, depth: usize) {
        let (whole, open): (Vec<&'f Block>, Vec<&'f Block>) =
            blocks.iter().partition(|block| block.labels.len() == labels);
        let label = |block: &&'f Block| block.labels[labels].as_str();
        let place = self.place(depth);
        let Some(part) = self.part(depth) else {
            let what = match open.first() {
                Some(block) => format!("a block with labels, such as {:?}", label(block)),
                None => "a block".to_owned(),
            };
            return self.fault(
                depth,
                format!("The key {:?} is {what}, and no single value; name an argument in it.", self.path.key),
            );
        };
        let name = part.text();
        let labelled: Vec<&'f Block> = match part {
            // An index, and nothing else.
            Part::Index(_) => Vec::new(),
            Part::Either(..) | Part::Key(_) => open.iter().copied().filter(|block| label(block) == name).collect(),
        };
        if !labelled.is_empty() {
            self.blocks(&labelled, labels + 1, depth + 1);
        } else if whole.is_empty() {
            let there: Vec<&str> = open.iter().map(label).collect();
            return self.unknown(depth, &name, "label ", &there);
        }
        if let (Part::Either(_, index) | Part::Index(index), false) = (&part, whole.is_empty()) {
            match whole.get(*index) {
                Some(block) => self.body(&block.body, depth + 1),
                None => {
                    let count = whole.len();
                    self.missing(
                        depth,
                        format!("{place} stands there {count} times, counted from 0, so there is no {index}."),
                    );
                }
            }
        }
        match whole.as_slice() {
            [one] if !matches!(part, Part::Index(_)) => self.body(&one.body, depth),
            [] | [_] => {}
            several if matches!(part, Part::Key(_)) => {
                let (count, key) = (several.len(), self.path.up_to(depth));
                self.missing(
                    depth,
                    format!("{place} stands there {count} times; name one by its index, such as \"{key}.0\"."),
                );
            }
            _ => {}
        }
    }

    fn node(&mut self, node: &'f Node, depth: usize) {
        let (place, key) = (self.place(depth), self.path.key);
        match (node, self.part(depth)) {
            (Node::Scalar(scalar), None) => self.found.push(scalar),
            (Node::Scalar(_), Some(_)) => self.missing(depth, format!("{place} is a single value.")),
            (Node::Computed { what: what @ "a heredoc", .. }, None) => {
                self.fault(
                    depth,
                    format!("The key {key:?} holds {what}; write it in quotes on one line, so that it can be set."),
                );
            }
            (Node::Computed { what, text }, None) => {
                let shown: String = text.chars().take(60).collect();
                self.fault(
                    depth,
                    format!("The key {key:?} holds {what} ({shown}), and no single value; set what it is made of."),
                );
            }
            (Node::Computed { what, .. }, Some(_)) => {
                self.missing(depth, format!("{place} is {what}, in which nothing can be named."))
            }
            (Node::List(items), Some(Part::Either(_, index) | Part::Index(index))) => match items.get(index) {
                Some(item) => self.node(item, depth + 1),
                None => {
                    let count = items.len();
                    self.missing(
                        depth,
                        format!("{place} has {count} items, counted from 0, so there is no item {index}."),
                    );
                }
            },
            (Node::List(_), Some(Part::Key(_))) => {
                let key = self.path.up_to(depth);
                self.missing(depth, format!("{place} is a list; name an item by its index, such as \"{key}.0\"."));
            }
            (Node::List(_), None) => self.fault(depth, format!("The key {key:?} is a list; name one of its items.")),
            (Node::Object(_), None) => {
                self.fault(depth, format!("The key {key:?} is an object; name one of its keys."))
            }
            (Node::Object(_), Some(Part::Index(index))) => {
                self.missing(depth, format!("{place} is an object, so it has no item {index}."));
            }
            (Node::Object(entries), Some(part)) => {
                let name = part.text();
                let mut seen = false;
                for (_, item) in entries.iter().filter(|(key, _)| key.as_deref() == Some(name.as_str())) {
                    seen = true;
                    self.node(item, depth + 1);
                }
                if !seen {
                    let there: Vec<&str> = entries.iter().filter_map(|(key, _)| key.as_deref()).collect();
                    self.unknown(depth, &name, "", &there);
                }
            }
        }
    }
}

impl Entry {
    fn name(&self) -> &str {
        match self {
            Self::Argument(name, _) => name,
            Self::Block(block) => &block.name,
        }
    }
}
