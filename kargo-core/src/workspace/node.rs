//! Files and directories, of which copies are cheap.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::children::{Children, Totals};
use super::origin::{Listed, Origin};

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A file.
    File {
        /// Whether it can be run.
        executable: bool,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// What is no part of the tree and only has a place in it, such as a submodule.
    Foreign,
}

/// An entry of a directory, as [`Workspace::list`](super::Workspace::list) gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name, without a path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// Something that an [`Origin`] has.
#[derive(Clone)]
pub struct There {
    /// Who has it.
    pub origin: Arc<dyn Origin>,
    /// By which the origin knows it.
    pub id: Arc<str>,
}

impl fmt::Debug for There {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "There({})", self.id)
    }
}

impl There {
    /// What `origin` knows by `id`.
    pub fn new(origin: Arc<dyn Origin>, id: impl Into<Arc<str>>) -> Self {
        Self { origin, id: id.into() }
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.id == other.id && self.is_comparable_to(other)
    }

    /// Whether the ids alone tell whether both are the same.
    pub(super) fn is_comparable_to(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.origin, &other.origin) || self.origin.shares_ids_with(&*other.origin)
    }
}

/// The contents of a file.
#[derive(Debug, Clone)]
pub enum Contents {
    /// In memory: a step has written them.
    Here(Bytes),
    /// Where the workspace got the file from: nobody has changed it.
    There(There),
}

impl Contents {
    /// Whether it has to be read to tell whether it is the same as `other`.
    pub(super) fn is_in_doubt(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Here(_), Self::Here(_)) => false,
            (Self::There(one), Self::There(two)) => !one.is_comparable_to(two),
            _ => true,
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Here(one), Self::Here(two)) => one == two,
            (Self::There(one), Self::There(two)) => one.same_as(two),
            _ => false,
        }
    }
}

/// A file, a directory or something else that has a place in one. Copies share what they hold.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Node {
    /// A file.
    File {
        /// What is in it.
        contents: Contents,
        /// Whether it can be run.
        executable: bool,
    },
    /// A directory.
    Directory(Directory),
    /// A symbolic link, with where it points to.
    Link(Contents),
    /// A submodule and the like.
    Foreign(There),
}

impl Node {
    /// A file with these contents.
    pub fn file(contents: impl Into<Bytes>) -> Self {
        Self::File { contents: Contents::Here(contents.into()), executable: false }
    }

    /// What it is.
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::File { executable, .. } => EntryKind::File { executable: *executable },
            Self::Directory(_) => EntryKind::Directory,
            Self::Link(_) => EntryKind::Link,
            Self::Foreign(_) => EntryKind::Foreign,
        }
    }

    /// What it counts for.
    pub(super) fn totals(&self) -> Totals {
        match self {
            Self::File { contents: Contents::Here(bytes), .. } | Self::Link(Contents::Here(bytes)) => {
                Totals { bytes: bytes.len(), entries: 1, levels: 0 }
            }
            Self::Directory(directory) => {
                let Totals { bytes, entries, levels } = directory.totals();
                Totals { bytes, entries: entries.saturating_add(1), levels: levels.saturating_add(1) }
            }
            _ => Totals { bytes: 0, entries: 1, levels: 0 },
        }
    }

    /// Whether nothing distinguishes the two, as far as can be seen without reading what is not there: `false` may be said of two that
    /// turn out to be the same.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { contents, executable }, Self::File { contents: other, executable: also }) => {
                executable == also && contents.same_as(other)
            }
            (Self::Directory(one), Self::Directory(two)) => one.same_as(two),
            (Self::Link(one), Self::Link(two)) => one.same_as(two),
            (Self::Foreign(one), Self::Foreign(two)) => one.same_as(two),
            _ => false,
        }
    }
}

/// A directory. One that comes from an [`Origin`] is listed when somebody looks into it.
#[derive(Debug, Clone)]
pub struct Directory {
    /// What it is at its origin, as long as nothing in it has been changed.
    unchanged: Option<There>,
    children: Option<Arc<Children>>,
}

impl Default for Directory {
    /// An empty one.
    fn default() -> Self {
        Self { unchanged: None, children: Some(Arc::default()) }
    }
}

impl Directory {
    /// A directory that `origin` knows by `id`.
    pub fn at(origin: Arc<dyn Origin>, id: impl Into<Arc<str>>) -> Self {
        Self { unchanged: Some(There::new(origin, id)), children: None }
    }

    /// A directory with these entries.
    pub(super) fn of(children: impl IntoIterator<Item = (String, Node)>) -> Self {
        Self { unchanged: None, children: Some(Arc::new(Children::of(children))) }
    }

    /// What the directory is at its origin; nothing when something in it has been changed since, or it has none.
    pub fn unchanged(&self) -> Option<&There> {
        self.unchanged.as_ref()
    }

    /// What is in it, by name; nothing when nobody has looked into it yet, and then [`Directory::unchanged`] says what it is.
    pub fn children(&self) -> Option<&BTreeMap<String, Node>> {
        self.children.as_deref().map(Children::by_name)
    }

    /// What is known to be in it: nothing, when nobody has looked into it yet.
    pub(super) fn totals(&self) -> Totals {
        self.children.as_deref().map(Children::totals).unwrap_or_default()
    }

    fn same_as(&self, other: &Self) -> bool {
        match (&self.unchanged, &other.unchanged) {
            (Some(one), Some(two)) => one.same_as(two),
            (None, None) => {
                matches!((&self.children, &other.children), (Some(one), Some(two)) if Arc::ptr_eq(one, two))
            }
            _ => false,
        }
    }

    /// What `origin` says is in one of its directories.
    pub(super) fn listed(origin: &Arc<dyn Origin>, listed: Vec<Listed>) -> Arc<Children> {
        let there = |id: String| There::new(Arc::clone(origin), id);
        let node = |listed: Listed| {
            let Listed { name, kind, id } = listed;
            let node = match kind {
                EntryKind::File { executable } => Node::File { contents: Contents::There(there(id)), executable },
                EntryKind::Directory => Node::Directory(Self { unchanged: Some(there(id)), children: None }),
                EntryKind::Link => Node::Link(Contents::There(there(id))),
                EntryKind::Foreign => Node::Foreign(there(id)),
            };
            (name, node)
        };
        // Names that no path can have stay, so that they are not lost when the directory is written back; no step reaches them.
        Arc::new(Children::of(listed.into_iter().map(node)))
    }

    /// Takes in what its origin says is in it. That is no change.
    pub(super) fn fill(&mut self, children: Arc<Children>) {
        self.children = Some(children);
    }

    /// The entries, to be looked at. Empty when nobody has looked into it yet.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.children()?.get(name)
    }

    /// Does something to the directory below it at this path that is no change, such as taking in what an origin says. `None` when there
    /// is none.
    pub(super) fn look<T>(&mut self, path: &[String], look: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let Some((name, rest)) = path.split_first() else { return Some(look(self)) };
        Arc::make_mut(self.children.as_mut()?).look(name, |below| below.look(rest, look)).flatten()
    }

    /// Changes the entries of the directory below it at this path, which is made where it is missing. `None` when something else is in the
    /// way, or nobody has looked into a directory on the way, since what is in it would be lost.
    pub(super) fn change<T>(&mut self, path: &[String], change: impl FnOnce(&mut Children) -> T) -> Option<T> {
        let children = Arc::make_mut(self.children.as_mut()?);
        self.unchanged = None;
        match path.split_first() {
            None => Some(change(children)),
            Some((name, rest)) => {
                if children.by_name().get(name).is_none() {
                    children.insert(name.clone(), Node::Directory(Self::default()));
                }
                children.look(name, |below| below.change(rest, change)).flatten()
            }
        }
    }
}
