//! Our change on top of somebody else's, as a rebase of git does it: trees name by name, and files that both have changed by lines.

mod conflict;
mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice as _};
use gix::objs::Kind;
use gix::objs::tree::{Entry, EntryKind, EntryMode};
use kargo_core::Result;
use kargo_core::plugin::Context;

use self::conflict::Fault;
pub(super) use self::conflict::{Conflicts, list};
use self::file::{Choice, Text, merge_texts};
use super::names;
use super::origin::GitOrigin;
use crate::remote::NewObjects;
use crate::tree;

/// A file, a link or a submodule in a tree, or that there is none of the name.
type Leaf = Option<(EntryMode, ObjectId)>;

/// The same in three trees: that of which both sides are made, ours and theirs.
type Three<T> = [Option<T>; 3];

/// What becomes of a name. It may have a directory and something else at first; of those one has to go.
enum Slot {
    Done(EntryMode, ObjectId),
    /// A directory that both sides have changed, by its place among those to be made.
    Both(usize),
    /// A file that both sides have changed, by its place among the texts to be merged.
    Text(EntryMode, usize),
}

/// How two changes go together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Merged {
    /// The tree that has both.
    Tree(ObjectId),
    /// Where they do not.
    Conflict(Conflicts),
}

/// Lays what was changed from `base` to `ours` over `theirs`, and adds what is new to `objects`, where `ours` may be too. Only directories
/// that both sides have changed are read, a level in one request, and only files that both have changed, all of them in one more. Whoever
/// renames a file removes one and adds another here, and `.gitattributes` choose no other way to merge.
pub(super) async fn merge(
    cx: &Context,
    origin: &GitOrigin,
    objects: &mut NewObjects,
    base: Option<ObjectId>,
    ours: ObjectId,
    theirs: ObjectId,
) -> Result<Merged> {
    match [base, Some(ours), Some(theirs)] {
        [Some(base), _, _] if base == ours => return Ok(Merged::Tree(theirs)),
        [Some(base), _, _] if base == theirs => return Ok(Merged::Tree(ours)),
        _ if ours == theirs => return Ok(Merged::Tree(ours)),
        _ => {}
    }
    let mut work = Work::default();
    let mut level: Vec<(String, Three<ObjectId>)> = vec![(String::new(), [base, Some(ours), Some(theirs)])];
    while !level.is_empty() {
        let read = read(cx, origin, objects, level.iter().flat_map(|(_, three)| three)).await?;
        let mut next = Vec::new();
        let first = work.made.len() + level.len();
        for (path, three) in level {
            work.directory(&path, three.map(|id| id.and_then(|id| read.get(&id))), first, &mut next);
        }
        level = next;
    }
    let texts = std::mem::take(&mut work.texts);
    let merged = merge_texts(cx, origin, objects, texts, &mut work.conflicts).await?;
    work.finish(origin.hash, objects, &merged, theirs)
}

/// The entries of a directory.
type Entries = BTreeMap<BString, (EntryMode, ObjectId)>;

/// A merge on its way.
#[derive(Default)]
struct Work {
    /// The path of each directory that both have changed and what becomes of what is in it, those further up first.
    made: Vec<(String, Vec<(BString, Slot)>)>,
    texts: Vec<Text>,
    conflicts: Conflicts,
}

impl Work {
    /// Chooses name by name. Directories that both have changed are put into `next`, where the first is number `first` of all.
    fn directory(
        &mut self,
        path: &str,
        sides: Three<&Entries>,
        first: usize,
        next: &mut Vec<(String, Three<ObjectId>)>,
    ) {
        let names: BTreeSet<&BString> = sides.iter().copied().flatten().flat_map(BTreeMap::keys).collect();
        let mut slots = Vec::with_capacity(names.len());
        for name in names {
            let found: Three<(EntryMode, ObjectId)> = sides.map(|side| side.and_then(|side| side.get(name)).copied());
            let below = || format!("{path}{}", names::shown(name.as_bstr()));
            let leaves = found.map(|found| found.filter(|(mode, _)| !mode.is_tree()));
            match file::choose(leaves) {
                Choice::Take(leaf) => slots.extend(leaf.map(|(mode, id)| (name.clone(), Slot::Done(mode, id)))),
                Choice::Merge { mode, ids } => {
                    slots.push((name.clone(), Slot::Text(mode, self.texts.len())));
                    self.texts.push(Text { path: below(), ids });
                }
                Choice::Fault(fault) => _ = self.conflicts.insert(below(), fault),
            }
            let trees = found.map(|found| found.filter(|(mode, _)| mode.is_tree()).map(|(_, id)| id));
            match unchanged_by_one(trees) {
                Some(tree) => {
                    slots.extend(tree.map(|id| (name.clone(), Slot::Done(EntryKind::Tree.into(), id))));
                }
                None => {
                    slots.push((name.clone(), Slot::Both(first + next.len())));
                    next.push((format!("{}/", below()), trees));
                }
            }
        }
        self.made.push((path.to_owned(), slots));
    }

    /// Makes the trees, from the bottom up.
    fn finish(
        mut self,
        hash: gix::hash::Kind,
        objects: &mut NewObjects,
        texts: &[Option<ObjectId>],
        theirs: ObjectId,
    ) -> Result<Merged> {
        let mut trees: Vec<Option<ObjectId>> = vec![None; self.made.len()];
        for (n, (path, slots)) in self.made.into_iter().enumerate().rev() {
            let mut entries: Vec<Entry> = Vec::with_capacity(slots.len());
            for (filename, slot) in slots {
                let (mode, oid) = match slot {
                    Slot::Done(mode, id) => (mode, Some(id)),
                    Slot::Text(mode, place) => (mode, texts.get(place).copied().flatten()),
                    Slot::Both(place) => (EntryKind::Tree.into(), trees.get(place).copied().flatten()),
                };
                let Some(oid) = oid else { continue };
                if entries.last().is_some_and(|last| last.filename == filename) {
                    self.conflicts.insert(format!("{path}{}", names::shown(filename.as_bstr())), Fault::Directory);
                    continue;
                }
                entries.push(Entry { mode, filename, oid });
            }
            if n == 0 || !entries.is_empty() {
                trees[n] = Some(tree::store(entries, hash, objects)?);
            }
        }
        Ok(match self.conflicts.is_empty() {
            true => Merged::Tree(trees.first().copied().flatten().unwrap_or(theirs)),
            false => Merged::Conflict(self.conflicts),
        })
    }
}

/// What becomes of something that at most one side has changed, or both in the same way.
fn unchanged_by_one<T: PartialEq>([before, our, their]: Three<T>) -> Option<Option<T>> {
    if our == their || their == before {
        Some(our)
    } else if our == before {
        Some(their)
    } else {
        None
    }
}

/// The entries of these trees, of which those that are not in `objects` are read together.
async fn read<'a>(
    cx: &Context,
    origin: &GitOrigin,
    objects: &NewObjects,
    ids: impl Iterator<Item = &'a Option<ObjectId>>,
) -> Result<BTreeMap<ObjectId, Entries>> {
    let empty = ObjectId::empty_tree(origin.hash);
    let ids = ids.flatten().copied().filter(|id| *id != empty).collect();
    let mut trees = BTreeMap::new();
    for (id, data) in load(cx, origin, objects, ids, Kind::Tree).await? {
        let entries = tree::parse(&data, origin.hash)?.into_iter();
        trees.insert(id, entries.map(|entry| (entry.filename, (entry.mode, entry.oid))).collect());
    }
    Ok(trees)
}

/// These objects, of which those that are not in `objects` are read together.
async fn load(
    cx: &Context,
    origin: &GitOrigin,
    objects: &NewObjects,
    ids: BTreeSet<ObjectId>,
    kind: Kind,
) -> Result<BTreeMap<ObjectId, Vec<u8>>> {
    let (new, stored): (Vec<ObjectId>, Vec<ObjectId>) = ids.into_iter().partition(|id| objects.get(id).is_some());
    let read = origin.objects(cx, &stored, kind).await?;
    let here = new.into_iter().filter_map(|id| Some((id, objects.get(&id)?.1.clone())));
    Ok(here.chain(stored.into_iter().zip(read)).collect())
}
