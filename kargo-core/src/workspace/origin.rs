//! Where the parts of a workspace come from that are not there yet.

use std::any::Any;
use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use super::node::{Directory, EntryKind};
use crate::error::Result;
use crate::plugin::Context;

/// A place that directories and files are read from when a step wants them: a repository, an archive.
///
/// Ids are the origin's own, and what stands behind one never changes; for Git they are object ids. Two directories or files of one
/// origin with the same id are the same, and such with different ones count as different.
#[async_trait]
pub trait Origin: Debug + Send + Sync + 'static {
    /// What is in each of these directories, in their order.
    ///
    /// # Errors
    /// When one cannot be read; half of an answer is none.
    async fn list(&self, cx: &Context, directories: &[&str]) -> Result<Vec<Vec<Listed>>>;

    /// The contents of each of these files, in their order; of a symbolic link, what it points to.
    ///
    /// # Errors
    /// As for [`Origin::list`].
    async fn read(&self, cx: &Context, files: &[&str]) -> Result<Vec<Bytes>>;

    /// Whether an id stands for the same with `other` as here, so that what comes from both can be compared without being read. It does
    /// where ids are made of the contents, whichever repositories they are of. Default: no; each origin's ids are its own.
    fn shares_ids_with(&self, other: &dyn Origin) -> bool {
        let _ = other;
        false
    }

    /// Itself, so that a step can tell whether a part of the workspace comes from the repository that it writes to.
    fn as_any(&self) -> &dyn Any;
}

/// One entry of a directory of an [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name, without a path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// By which the origin knows it.
    pub id: String,
}

impl Listed {
    /// An entry.
    pub fn new(name: impl Into<String>, kind: EntryKind, id: impl Into<String>) -> Self {
        Self { name: name.into(), kind, id: id.into() }
    }
}

/// What a step remembers of a directory of the workspace that stands for something elsewhere, such as a branch: see
/// [`Workspace::mount`](super::Workspace::mount).
///
/// It does not change. A step that does something to what it stands for mounts a new one in its place, so that the workspace can be taken
/// back to what it was before the step.
pub trait Mount: Debug + Send + Sync + 'static {
    /// What it stands for as it is there: what [`Workspace::diff`](super::Workspace::diff) compares the directory with.
    fn original(&self) -> Directory;

    /// Itself, for the steps that know what it is.
    fn as_any(&self) -> &dyn Any;
}
