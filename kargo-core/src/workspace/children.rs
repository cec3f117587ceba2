//! What is in a directory, and how much that is: known at any time without a walk, since a walk through copies of copies has no end.

use std::collections::BTreeMap;

use super::node::{Directory, Node};

/// How much there is. What is there several times counts as often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    /// The bytes of the files that are held in memory.
    pub(super) bytes: usize,
    /// Files and directories.
    pub(super) entries: usize,
    /// How many directories lie within each other.
    pub(super) levels: usize,
}

/// The entries of a directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Children {
    by_name: BTreeMap<String, Node>,
    bytes: usize,
    entries: usize,
    /// How many of the entries have so many levels, by levels; the last one is not 0. So the depth is known after the deepest has gone.
    levels: Vec<usize>,
}

impl Children {
    pub(super) fn of(children: impl IntoIterator<Item = (String, Node)>) -> Self {
        let mut all = Self::default();
        for (name, node) in children {
            all.insert(name, node);
        }
        all
    }

    pub(super) fn by_name(&self) -> &BTreeMap<String, Node> {
        &self.by_name
    }

    pub(super) fn totals(&self) -> Totals {
        Totals { bytes: self.bytes, entries: self.entries, levels: self.levels.len() }
    }

    pub(super) fn insert(&mut self, name: String, node: Node) {
        self.count(node.totals());
        if let Some(old) = self.by_name.insert(name, node) {
            self.discount(old.totals());
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(old) = self.by_name.remove(name) {
            self.discount(old.totals());
        }
    }

    /// Does something to the directory of this name; `None` when there is none.
    pub(super) fn look<T>(&mut self, name: &str, look: impl FnOnce(&mut Directory) -> T) -> Option<T> {
        let node = self.by_name.get_mut(name)?;
        let before = node.totals();
        let Node::Directory(directory) = node else { return None };
        let done = look(directory);
        let after = node.totals();
        self.count(after);
        self.discount(before);
        Some(done)
    }

    fn count(&mut self, Totals { bytes, entries, levels }: Totals) {
        self.bytes += bytes;
        self.entries += entries;
        if levels > 0 {
            self.levels.resize(self.levels.len().max(levels), 0);
            self.levels[levels - 1] += 1;
        }
    }

    fn discount(&mut self, Totals { bytes, entries, levels }: Totals) {
        self.bytes -= bytes;
        self.entries -= entries;
        if levels > 0 {
            self.levels[levels - 1] -= 1;
            while self.levels.last() == Some(&0) {
                self.levels.pop();
            }
        }
    }
}
