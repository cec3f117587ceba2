//! Directories of a workspace as trees of Git.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::Kind;
use gix::objs::tree::{Entry, EntryKind as GitKind};
use kargo_core::plugin::Context;
use kargo_core::workspace::{Contents, Directory, EntryKind, Listed, Node, Origin, There, Workspace};
use kargo_core::{Error, ErrorKind, Result};

use super::names;
use super::origin::GitOrigin;
use crate::remote::{NewObjects, parse_id};
use crate::tree;

/// What an entry of a directory is, as far as it is known.
enum Slot {
    /// An object that the repository has or that was made.
    Object(ObjectId),
    /// A file of another origin, by its place among those to be read.
    Read(usize),
    /// A directory, by its place among those to be made.
    Directory(usize),
}

/// The tree that `directory` is, whose new parts are added to `objects`. What is unchanged is not looked into; what comes from another
/// repository is read, a level together. A directory with nothing in it is left out, as Git does.
pub(super) async fn record(
    cx: &Context,
    workspace: &Workspace,
    directory: &Directory,
    origin: &GitOrigin,
    objects: &mut NewObjects,
) -> Result<ObjectId> {
    if let Some(id) = directory.unchanged().and_then(|there| own(there, origin)) {
        return Ok(id);
    }
    let mut made: Vec<Vec<(String, GitKind, Slot)>> = Vec::new();
    let mut to_read: Vec<Node> = Vec::new();
    let mut level = vec![directory.clone()];
    let mut seen = 0;
    while !level.is_empty() {
        let mut next = Vec::new();
        let first = made.len() + level.len();
        for children in children(cx, &level).await? {
            seen += children.len();
            if seen > workspace.limits().entries {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!(
                        "More than {} files and directories are to be committed at once.",
                        workspace.limits().entries
                    ),
                ));
            }
            let mut entries = Vec::with_capacity(children.len());
            for (name, node) in children {
                let (kind, slot) = match node {
                    Node::Directory(directory) => match directory.unchanged().and_then(|there| own(there, origin)) {
                        Some(id) => (GitKind::Tree, Slot::Object(id)),
                        None => {
                            next.push(directory);
                            (GitKind::Tree, Slot::Directory(first + next.len() - 1))
                        }
                    },
                    Node::Foreign(there) => match own(&there, origin) {
                        Some(id) => (GitKind::Commit, Slot::Object(id)),
                        None => return Err(submodule(&name)),
                    },
                    Node::File { ref contents, executable } => {
                        let kind = if executable { GitKind::BlobExecutable } else { GitKind::Blob };
                        (kind, file(contents, &node, origin, objects, &mut to_read)?)
                    }
                    Node::Link(ref contents) => (GitKind::Link, file(contents, &node, origin, objects, &mut to_read)?),
                    _ => return Err(submodule(&name)),
                };
                entries.push((name, kind, slot));
            }
            made.push(entries);
        }
        level = next;
    }
    let mut read = Vec::with_capacity(to_read.len());
    for bytes in workspace.contents(cx, &to_read).await? {
        read.push(objects.insert(origin.hash, Kind::Blob, bytes.to_vec())?);
    }
    // Those below come behind those above.
    let mut trees: Vec<Option<ObjectId>> = vec![None; made.len()];
    for (n, entries) in made.into_iter().enumerate().rev() {
        let entries = entries.into_iter().filter_map(|(name, kind, slot)| {
            let oid = match slot {
                Slot::Object(id) => id,
                Slot::Read(place) => read[place],
                Slot::Directory(place) => trees[place]?,
            };
            Some(Entry { mode: kind.into(), filename: names::stored(&name), oid })
        });
        let entries: Vec<Entry> = entries.collect();
        if n == 0 || !entries.is_empty() {
            trees[n] = Some(tree::store(entries, origin.hash, objects)?);
        }
    }
    trees.into_iter().next().flatten().ok_or_else(|| Error::new(ErrorKind::Other, "The directory has no tree."))
}

/// What is in each of these directories. One request to each origin.
async fn children(cx: &Context, directories: &[Directory]) -> Result<Vec<BTreeMap<String, Node>>> {
    let mut found: Vec<Option<BTreeMap<String, Node>>> =
        directories.iter().map(|directory| directory.children().cloned()).collect();
    while let Some(first) = found.iter().position(Option::is_none) {
        let Some(there) = directories[first].unchanged() else {
            found[first] = Some(BTreeMap::new());
            continue;
        };
        let origin = &there.origin;
        let open = found.iter().zip(directories).enumerate().filter_map(|(place, (found, directory))| {
            let there = directory.unchanged().filter(|there| Arc::ptr_eq(&there.origin, origin))?;
            found.is_none().then_some((place, there.id.as_ref()))
        });
        let (places, ids): (Vec<usize>, Vec<&str>) = open.unzip();
        let listed = origin.list(cx, &ids).await?;
        if listed.len() != ids.len() {
            let message = format!("{} directories were asked for, and {} came.", ids.len(), listed.len());
            return Err(Error::new(ErrorKind::InvalidResponse, message));
        }
        for (place, listed) in places.into_iter().zip(listed) {
            found[place] = Some(listed.into_iter().map(|listed| node(listed, origin)).collect());
        }
    }
    Ok(found.into_iter().flatten().collect())
}

fn node(listed: Listed, origin: &Arc<dyn Origin>) -> (String, Node) {
    let there = There::new(Arc::clone(origin), listed.id.as_str());
    let node = match listed.kind {
        EntryKind::File { executable } => Node::File { contents: Contents::There(there), executable },
        EntryKind::Directory => Node::Directory(Directory::at(there.origin, there.id)),
        EntryKind::Link => Node::Link(Contents::There(there)),
        // A kind that is not known yet is none that can be committed.
        _ => Node::Foreign(there),
    };
    (listed.name, node)
}

/// The id of what `origin` has.
fn own(there: &There, origin: &GitOrigin) -> Option<ObjectId> {
    let theirs = there.origin.as_any().downcast_ref::<GitOrigin>()?;
    if theirs.same_as(origin) { parse_id(&there.id) } else { None }
}

fn file(
    contents: &Contents,
    node: &Node,
    origin: &GitOrigin,
    objects: &mut NewObjects,
    to_read: &mut Vec<Node>,
) -> Result<Slot> {
    Ok(match contents {
        Contents::Here(bytes) => Slot::Object(objects.insert(origin.hash, Kind::Blob, bytes.to_vec())?),
        Contents::There(there) => match own(there, origin) {
            Some(id) => Slot::Object(id),
            None => {
                to_read.push(node.clone());
                Slot::Read(to_read.len() - 1)
            }
        },
    })
}

fn submodule(name: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("{name:?} is a submodule of another repository, which cannot be committed to this one; leave it out."),
    )
}
