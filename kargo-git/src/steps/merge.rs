//! Our change on top of somebody else's, as long as they are changes of different files.

use std::collections::{BTreeMap, BTreeSet};

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice as _};
use gix::objs::Kind;
use gix::objs::tree::{Entry, EntryMode};
use kargo_core::Result;
use kargo_core::plugin::Context;

use super::names;
use super::origin::GitOrigin;
use crate::remote::NewObjects;
use crate::tree;

/// What a name stands for in a tree.
type Side = Option<(EntryMode, ObjectId)>;

/// The trees of a directory: that of which both sides are made, ours and theirs. `None` where there is no such directory.
type Three = [Option<ObjectId>; 3];

/// What becomes of a name.
enum Slot {
    Done(EntryMode, ObjectId),
    /// A directory that both sides have changed, by its place among those to be made.
    Both(usize),
}

/// How two changes go together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Merged {
    /// The tree that has both.
    Tree(ObjectId),
    /// The files that both have changed, and differently.
    Conflict(BTreeSet<String>),
}

/// Lays what was changed from `base` to `ours` over `theirs`, and adds new trees to `objects`, where `ours` may be too. Only directories
/// that both sides have changed are read, a level in one request. Files are taken whole: nobody merges the lines of a configuration.
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
    let mut made: Vec<Vec<(BString, Slot)>> = Vec::new();
    let mut conflicts = BTreeSet::new();
    let mut level: Vec<(String, Three)> = vec![(String::new(), [base, Some(ours), Some(theirs)])];
    while !level.is_empty() {
        let mut next = Vec::new();
        let first = made.len() + level.len();
        let read = read(cx, origin, objects, level.iter().flat_map(|(_, three)| three)).await?;
        for (path, three) in level {
            let sides = three.map(|id| id.and_then(|id| read.get(&id)));
            let names: BTreeSet<&BString> = sides.iter().copied().flatten().flat_map(BTreeMap::keys).collect();
            let mut entries = Vec::with_capacity(names.len());
            for name in names {
                let [before, our, their]: [Side; 3] = sides.map(|side| side.and_then(|side| side.get(name)).copied());
                let chosen = match (before, our, their) {
                    (_, our, their) if our == their => our,
                    (before, our, their) if our == before => their,
                    (before, our, their) if their == before => our,
                    three => {
                        let three = <[Side; 3]>::from(three);
                        let below = format!("{path}{}", names::shown(name.as_bstr()));
                        if three.iter().flatten().all(|(mode, _)| mode.is_tree()) {
                            entries.push((name.clone(), Slot::Both(first + next.len())));
                            next.push((format!("{below}/"), three.map(|side| side.map(|(_, id)| id))));
                        } else {
                            conflicts.insert(below);
                        }
                        continue;
                    }
                };
                entries.extend(chosen.map(|(mode, id)| (name.clone(), Slot::Done(mode, id))));
            }
            made.push(entries);
        }
        level = next;
    }
    if !conflicts.is_empty() {
        return Ok(Merged::Conflict(conflicts));
    }
    let mut trees: Vec<Option<ObjectId>> = vec![None; made.len()];
    for (n, entries) in made.into_iter().enumerate().rev() {
        let entries = entries.into_iter().filter_map(|(filename, slot)| {
            let (mode, oid) = match slot {
                Slot::Done(mode, id) => (mode, id),
                Slot::Both(place) => (gix::objs::tree::EntryKind::Tree.into(), trees[place]?),
            };
            Some(Entry { mode, filename, oid })
        });
        let entries: Vec<Entry> = entries.collect();
        if n == 0 || !entries.is_empty() {
            trees[n] = Some(tree::store(entries, origin.hash, objects)?);
        }
    }
    Ok(Merged::Tree(trees.first().copied().flatten().unwrap_or(theirs)))
}

/// The entries of these trees, of which those that are not in `objects` are read together.
async fn read<'a>(
    cx: &Context,
    origin: &GitOrigin,
    objects: &NewObjects,
    ids: impl Iterator<Item = &'a Option<ObjectId>>,
) -> Result<BTreeMap<ObjectId, BTreeMap<BString, (EntryMode, ObjectId)>>> {
    let empty = ObjectId::empty_tree(origin.hash);
    let ids: BTreeSet<ObjectId> = ids.flatten().copied().filter(|id| *id != empty).collect();
    let (new, stored): (Vec<ObjectId>, Vec<ObjectId>) = ids.into_iter().partition(|id| objects.get(id).is_some());
    let read = origin.objects(cx, &stored, Kind::Tree).await?;
    let here = new.iter().filter_map(|id| Some((*id, objects.get(id)?.1.as_slice())));
    let all = here.chain(stored.iter().copied().zip(read.iter().map(Vec::as_slice)));
    let mut trees = BTreeMap::new();
    for (id, data) in all {
        let entries = tree::parse(data, origin.hash)?.into_iter();
        trees.insert(id, entries.map(|entry| (entry.filename, (entry.mode, entry.oid))).collect());
    }
    Ok(trees)
}
