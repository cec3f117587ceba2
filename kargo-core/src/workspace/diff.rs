//! What was changed in a directory, at the cost of the change: what still is what its origin has is not looked into.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::WorkspaceLimits;
use super::node::{Contents, Directory, EntryKind, Node};
use super::path::{MAX_WEIGHT, joined, weight};
use super::tree::{Tree, read_all};
use super::{Workspace, cut};
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Context;

/// The names under which the two sides are looked into together.
const SIDES: [&str; 2] = ["before", "after"];

/// A path at which a directory differs from what it was mounted as.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Change {
    /// The path, relative to the directory.
    pub path: String,
    /// What was there; `None` when it is new. No directory.
    pub before: Option<Node>,
    /// What is there; `None` when it was taken away. No directory.
    pub after: Option<Node>,
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It was taken away.
    Removed,
    /// It is another file, or can be run now, or no longer, or is a link where a file was.
    Modified,
}

impl Change {
    /// What became of the path.
    pub fn kind(&self) -> ChangeKind {
        match (&self.before, &self.after) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            _ => ChangeKind::Modified,
        }
    }

    /// Both contents, when they have to be read to tell whether there is a change.
    fn doubt(&self) -> Option<[Contents; 2]> {
        let (before, after) = match (self.before.as_ref()?, self.after.as_ref()?) {
            (Node::File { contents: before, executable }, Node::File { contents: after, executable: also })
                if executable == also =>
            {
                (before, after)
            }
            (Node::Link(before), Node::Link(after)) => (before, after),
            _ => return None,
        };
        before.is_in_doubt(after).then(|| [before.clone(), after.clone()])
    }
}

impl Workspace {
    /// What differs in the directory that is mounted at `path` from what it was mounted as, in the order of the paths: files, links and
    /// submodules, for directories are what is in them. A file that was written as it was before is no change.
    ///
    /// Directories that nobody has changed are not looked into. Of the others, what they were is listed, one request to each origin a
    /// level, and files that were written are compared with what they were, all in one request. What is in them can be had from
    /// [`Workspace::contents`].
    ///
    /// ```
    /// use kargo_core::plugin::Context;
    /// use kargo_core::workspace::{Change, Workspace};
    ///
    /// /// As `git status --short` shows it.
    /// async fn status(workspace: &Workspace, cx: &Context) -> kargo_core::Result<Vec<String>> {
    ///     let changes = workspace.diff(cx, "src").await?;
    ///     Ok(changes.iter().map(|Change { path, .. }| format!("M {path}")).collect())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when nothing is mounted at `path`, or there is more to be looked at than
    /// [`WorkspaceLimits::entries`]; and what reading brings.
    pub async fn diff(&self, cx: &Context, path: &str) -> Result<Vec<Change>> {
        let Some((directory, mount)) = self.mounted(cx, path).await? else {
            let message = format!("Nothing is mounted at {:?}, so there is nothing to compare it with.", cut(path));
            return Err(Error::new(ErrorKind::InvalidInput, message));
        };
        between(cx, mount.original(), directory, self.limits()).await
    }
}

async fn between(cx: &Context, before: Directory, after: Directory, limits: WorkspaceLimits) -> Result<Vec<Change>> {
    let sides = [before, after].map(Node::Directory);
    if sides[0].same_as(&sides[1]) {
        return Ok(Vec::new());
    }
    // As one tree, so that both are listed in the same requests.
    let children = SIDES.map(str::to_owned).into_iter().zip(sides);
    let limits = WorkspaceLimits { known: limits.known.saturating_mul(2), ..limits };
    let mut tree = Tree { root: Directory::of(children), limits, ..Tree::default() };
    let mut changes = Vec::new();
    let (mut seen, mut weighed) = (0, 0);
    let mut level: Vec<Vec<String>> = vec![Vec::new()];
    while !level.is_empty() {
        let both = level.iter().flat_map(|path| SIDES.map(|side| on(side, path)));
        tree.list_all(cx, &both.collect::<Vec<_>>()).await?;
        let mut next = Vec::new();
        for path in level {
            let entries = SIDES.map(|side| tree.directory(&on(side, &path)).and_then(Directory::children));
            let names: BTreeSet<&String> = entries.iter().copied().flatten().flat_map(BTreeMap::keys).collect();
            for name in names {
                let nodes = entries.map(|entries| entries.and_then(|entries| entries.get(name)));
                if let [Some(before), Some(after)] = nodes
                    && before.same_as(after)
                {
                    continue;
                }
                let mut below = path.clone();
                below.push(name.clone());
                seen += 1;
                weighed += weight(&below);
                if seen > limits.entries || weighed > MAX_WEIGHT {
                    let message = format!(
                        "More than {} files and directories differ, or their paths take more than {MAX_WEIGHT} bytes; compare less at once.",
                        limits.entries
                    );
                    return Err(Error::new(ErrorKind::InvalidInput, message));
                }
                let [before, after] =
                    nodes.map(|node| node.filter(|node| node.kind() != EntryKind::Directory).cloned());
                if before.is_some() || after.is_some() {
                    changes.push(Change { path: joined(&below), before, after });
                }
                if nodes.into_iter().flatten().any(|node| node.kind() == EntryKind::Directory) {
                    next.push(below);
                }
            }
        }
        level = next;
    }
    settle(cx, &mut changes).await?;
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(changes)
}

/// Leaves out what turns out to be the same.
async fn settle(cx: &Context, changes: &mut Vec<Change>) -> Result<()> {
    let doubts: Vec<Option<[Contents; 2]>> = changes.iter().map(Change::doubt).collect();
    let contents: Vec<Contents> = doubts.iter().flatten().flatten().cloned().collect();
    let read = read_all(cx, &contents).await?;
    let mut pairs = read.as_chunks::<2>().0.iter();
    let mut doubts = doubts.into_iter();
    changes.retain(|_| match doubts.next().flatten() {
        Some(_) => pairs.next().is_none_or(|[before, after]| before != after),
        None => true,
    });
    Ok(())
}

fn on(side: &str, path: &[String]) -> Vec<String> {
    std::iter::once(side.to_owned()).chain(path.iter().cloned()).collect()
}
