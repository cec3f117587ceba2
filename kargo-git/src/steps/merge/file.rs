//! A name that is a file, a link or a submodule, in the three trees of a merge.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use gix::ObjectId;
use gix::objs::Kind;
use gix::objs::tree::EntryMode;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};

use super::conflict::{Conflicts, Fault};
use super::{Leaf, Three, load, unchanged_by_one};
use crate::lines::{self, Merged};
use crate::remote::{NewObjects, blocking};
use crate::steps::origin::GitOrigin;

/// A file of which both sides have changed the contents.
pub(super) struct Text {
    pub(super) path: String,
    /// Its blobs: that of which both are made, when there is one, ours and theirs.
    pub(super) ids: (Option<ObjectId>, ObjectId, ObjectId),
}

/// What is to be done about a name.
pub(super) enum Choice {
    Take(Leaf),
    /// The contents have to be looked at; they get this mode.
    Merge {
        mode: EntryMode,
        ids: (Option<ObjectId>, ObjectId, ObjectId),
    },
    Fault(Fault),
}

/// Chooses as git does: contents and mode each by themselves.
pub(super) fn choose(leaves: Three<(EntryMode, ObjectId)>) -> Choice {
    if let Some(leaf) = unchanged_by_one(leaves) {
        return Choice::Take(leaf);
    }
    let [before, our, their] = leaves;
    let (our, their) = match (our, their) {
        (Some(our), Some(their)) => (our, their),
        (None, _) => return Choice::Fault(Fault::RemovedHere),
        (_, None) => return Choice::Fault(Fault::RemovedThere),
    };
    match [our.0, their.0] {
        modes if modes.iter().all(EntryMode::is_blob) => {}
        modes if modes.iter().all(EntryMode::is_link) => return Choice::Fault(Fault::Link),
        modes if modes.iter().all(EntryMode::is_commit) => return Choice::Fault(Fault::Submodule),
        _ => return Choice::Fault(Fault::Kind),
    }
    let Some(Some(mode)) = unchanged_by_one([before.map(|before| before.0), Some(our.0), Some(their.0)]) else {
        return Choice::Fault(Fault::Mode);
    };
    let before = before.filter(|(mode, _)| mode.is_blob()).map(|(_, id)| id);
    match unchanged_by_one([before, Some(our.1), Some(their.1)]) {
        Some(id) => Choice::Take(id.map(|id| (mode, id))),
        None => Choice::Merge { mode, ids: (before, our.1, their.1) },
    }
}

/// Merges files, and adds the outcomes to `objects`. Their ids, in the order of `texts`; `None` for those whose changes do not go together,
/// which are told to `conflicts`.
pub(super) async fn merge_texts(
    cx: &Context,
    origin: &GitOrigin,
    objects: &mut NewObjects,
    texts: Vec<Text>,
    conflicts: &mut Conflicts,
) -> Result<Vec<Option<ObjectId>>> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let ids: BTreeSet<ObjectId> = texts
        .iter()
        .flat_map(|Text { ids: (base, ours, theirs), .. }| [*ours, *theirs].into_iter().chain(*base))
        .collect();
    let read = load(cx, origin, objects, ids, Kind::Blob).await?;
    // Two long texts are compared for a while.
    let merged = cx.guard(
        "merge files",
        blocking(move |abandoned| {
            let mut merged = Vec::with_capacity(texts.len());
            for Text { path, ids: (base, ours, theirs) } in texts {
                if abandoned.load(Ordering::SeqCst) {
                    return Err(Error::new(ErrorKind::Cancelled, "Nobody waits for the merge any more."));
                }
                let of = |id: &ObjectId| read.get(id).map(Vec::as_slice).unwrap_or_default();
                let base = base.as_ref().map(of).unwrap_or_default();
                merged.push((path, lines::merge(base, of(&ours), of(&theirs))));
            }
            Ok(merged)
        }),
    );
    let mut done = Vec::new();
    for (path, merged) in merged.await? {
        let fault = match merged {
            Merged::Text(text) => {
                done.push(Some(objects.insert(origin.hash, Kind::Blob, text)?));
                continue;
            }
            Merged::Conflict(lines) => Fault::Lines(lines),
            Merged::Binary => Fault::Binary,
            Merged::TooLong => Fault::TooLong,
        };
        conflicts.insert(path, fault);
        done.push(None);
    }
    Ok(done)
}
