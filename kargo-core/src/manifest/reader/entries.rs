//! The entries of a map, found by their keys without looking at all of them.

use std::ops::Deref;

use super::{Node, Span};

/// How many entries are looked through one by one.
const FEW: usize = 16;

/// A key of a map with its value.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::manifest) struct Entry {
    pub(in crate::manifest) key: String,
    pub(in crate::manifest) at: Span,
    pub(in crate::manifest) node: Node,
}

/// The entries of a map, each key once, in the order in which they stand.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::manifest) struct Entries {
    list: Vec<Entry>,
    /// Where in `list` they are, in the order of the keys. Empty when there are few: a map of a hundred thousand keys, in which
    /// something is said of each, must not take the square of that.
    by_key: Vec<u32>,
}

impl Entries {
    pub(super) fn new(list: Vec<Entry>) -> Self {
        let mut by_key = Vec::new();
        if list.len() > FEW {
            by_key = (0..list.len() as u32).collect();
            by_key.sort_unstable_by(|a, b| list[*a as usize].key.cmp(&list[*b as usize].key));
        }
        Self { list, by_key }
    }

    pub(in crate::manifest) fn get(&self, key: &str) -> Option<&Entry> {
        if self.by_key.is_empty() {
            return self.list.iter().find(|entry| entry.key == key);
        }
        let found = self.by_key.binary_search_by(|at| self.list[*at as usize].key.as_str().cmp(key)).ok()?;
        self.list.get(self.by_key[found] as usize)
    }

    pub(super) fn into_list(self) -> Vec<Entry> {
        self.list
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::super::Data;
    use super::*;

    #[test]
    fn entries_are_found_in_small_and_large_maps_and_keep_their_order() {
        for count in [0, 1, FEW, FEW + 1, 1000] {
            let entry = |n: usize| Entry {
                key: format!("k{}", n * 7 % 1009),
                at: Span { start: n as u32, end: 0 },
                node: Node { data: Data::Null, span: Span::default() },
            };
            let entries = Entries::new((0..count).map(entry).collect());
            assert!(entries.iter().map(|entry| entry.at.start).is_sorted());
            for n in 0..count {
                let found = entries.get(&format!("k{}", n * 7 % 1009)).map(|entry| entry.at.start);
                assert_eq!(found, Some(n as u32), "{count}");
            }
            assert_eq!(entries.get("nowhere"), None);
        }
    }
}
