//! Two trees side by side, read as they are stored.

use std::cmp::Ordering;

use gix::ObjectId;
use gix::bstr::ByteSlice as _;
use kargo_core::{Error, ErrorKind, Result};

/// Something in which two trees differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Difference<'a> {
    /// A file, a link or a submodule that is new, gone or changed.
    File { name: &'a [u8] },
    /// A directory that is new, gone or changed.
    Directory { name: &'a [u8], before: Option<ObjectId>, after: Option<ObjectId> },
}

/// An entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry<'a> {
    mode: &'a [u8],
    name: &'a [u8],
    id: &'a [u8],
}

impl Entry<'_> {
    fn is_directory(&self) -> bool {
        matches!(self.mode, b"40000" | b"040000")
    }

    /// The order of Git, in which the names of directories end in a slash. A file and a directory are never the same.
    fn order(&self, other: &Self) -> Ordering {
        let common = self.name.len().min(other.name.len());
        let byte = |entry: &Self| {
            let end = if entry.is_directory() { b'/' } else { 0 };
            entry.name.get(common).copied().unwrap_or(end)
        };
        self.name[..common]
            .cmp(&other.name[..common])
            .then_with(|| byte(self).cmp(&byte(other)))
            .then_with(|| self.name.len().cmp(&other.name.len()))
    }
}

/// Tells `found` each difference, in the order of the trees.
pub(super) fn differences<'a>(
    before: &'a [u8],
    after: &'a [u8],
    hash: gix::hash::Kind,
    mut found: impl FnMut(Difference<'a>),
) -> Result<()> {
    let id = |entry: Entry<'_>| ObjectId::from_bytes_or_panic(entry.id);
    let (mut old, mut new) = (Entries { rest: before, hash }, Entries { rest: after, hash });
    let (mut left, mut right) = (old.next()?, new.next()?);
    loop {
        let order = match (left, right) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.order(&right),
        };
        let gone = left.filter(|_| order != Ordering::Greater);
        let come = right.filter(|_| order != Ordering::Less);
        if let Some(entry) = gone.or(come)
            && gone != come
        {
            found(if entry.is_directory() {
                Difference::Directory { name: entry.name, before: gone.map(id), after: come.map(id) }
            } else {
                Difference::File { name: entry.name }
            });
        }
        if gone.is_some() {
            left = old.next()?;
        }
        if come.is_some() {
            right = new.next()?;
        }
    }
}

/// The entries of a stored tree.
struct Entries<'a> {
    rest: &'a [u8],
    hash: gix::hash::Kind,
}

impl<'a> Entries<'a> {
    fn next(&mut self) -> Result<Option<Entry<'a>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let damaged = || Error::new(ErrorKind::InvalidResponse, "A directory of the repository cannot be read.");
        let (mode, rest) = self.rest.split_once_str(b" ").ok_or_else(damaged)?;
        let (name, rest) = rest.split_once_str(b"\0").ok_or_else(damaged)?;
        let (id, rest) = rest.split_at_checked(self.hash.len_in_bytes()).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(Some(Entry { mode, name, id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: gix::hash::Kind = gix::hash::Kind::Sha1;

    fn tree(entries: &[(&str, &str, u8)]) -> Vec<u8> {
        let entries =
            entries.iter().map(|(mode, name, id)| [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[*id; 20]].concat());
        entries.collect::<Vec<_>>().concat()
    }

    fn between(before: &[(&str, &str, u8)], after: &[(&str, &str, u8)]) -> Vec<String> {
        let (before, after) = (tree(before), tree(after));
        let mut found = Vec::new();
        differences(&before, &after, HASH, |difference| {
            found.push(match difference {
                Difference::File { name } => name.to_str_lossy().into_owned(),
                Difference::Directory { name, before, after } => {
                    let side = |id: Option<ObjectId>| id.map_or("-".to_owned(), |id| id.as_bytes()[0].to_string());
                    format!("{}/ {} {}", name.to_str_lossy(), side(before), side(after))
                }
            });
        })
        .unwrap();
        found
    }

    #[test]
    fn what_is_new_gone_or_changed_is_found_and_nothing_else() {
        let before = [("100644", "a", 1), ("100644", "b", 1), ("40000", "d", 1), ("100644", "e", 1)];
        let after = [("100644", "b", 2), ("100644", "c", 1), ("40000", "d", 2), ("100644", "e", 1), ("40000", "f", 1)];
        assert_eq!(between(&before, &after), ["a", "b", "c", "d/ 1 2", "f/ - 1"]);
        assert_eq!(between(&after, &after), [""; 0]);
        assert_eq!(between(&[], &before), ["a", "b", "d/ - 1", "e"]);
        assert_eq!(between(&[("100644", "a", 1)], &[("100755", "a", 1)]), ["a"], "a mode is a change");
        assert_eq!(between(&[("160000", "a", 1)], &[("160000", "a", 2)]), ["a"], "a submodule is one path");
    }

    #[test]
    fn a_file_that_becomes_a_directory_is_both_gone_and_new() {
        let before = [("100644", "a", 1), ("100644", "a.b", 1), ("100644", "a0", 1)];
        let after = [("100644", "a.b", 1), ("40000", "a", 2), ("100644", "a0", 1)];
        assert_eq!(between(&before, &after), ["a", "a/ - 2"]);
        assert_eq!(between(&after, &before), ["a", "a/ 2 -"]);
    }

    #[test]
    fn a_damaged_tree_is_an_error_and_no_panic() {
        let good = tree(&[("100644", "a", 1)]);
        for cut in 1..good.len() {
            assert!(differences(&[], &good[..cut], HASH, |_| {}).is_err(), "{cut}");
        }
    }
}
