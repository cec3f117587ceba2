//! What a directory of the workspace stands for when git-clone has mounted it: a commit of a repository, and what was made on top.

use std::any::Any;
use std::sync::Arc;

use gix::ObjectId;
use kargo_core::plugin::Context;
use kargo_core::workspace::{Directory, Mount, Workspace};
use kargo_core::{Error, ErrorKind, Result};

use super::origin::GitOrigin;
use crate::commit::{Draft, Identity};
use crate::remote::NewObjects;
use crate::sign::Signer;

/// A checkout. It does not change: what a step makes of it is another one.
#[derive(Debug, Clone)]
pub(super) struct Checkout {
    pub(super) origin: Arc<GitOrigin>,
    /// The branch that is checked out; `None` for a tag or a commit by itself.
    pub(super) branch: Option<String>,
    /// Whether commits were pushed to another branch that the one that is checked out may not have.
    pub(super) elsewhere: bool,
    /// The newest commit that the repository has; `None` on a branch that is new.
    pub(super) base: Option<Known>,
    /// The commits on top of it that only this workspace has, the oldest first.
    pub(super) commits: Vec<New>,
    /// What is in the commit on which the checkout stands.
    pub(super) clean: Arc<Directory>,
    /// The tags that only this workspace has.
    pub(super) tags: Vec<NewTag>,
    /// What commits and tags need that the repository may not have.
    pub(super) objects: Arc<NewObjects>,
    /// Who makes commits.
    pub(super) author: Author,
    /// The directories that were asked for, when not all were.
    pub(super) sparse: Vec<String>,
}

/// A commit and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: ObjectId,
    pub(super) tree: ObjectId,
}

/// A commit that was not pushed yet.
#[derive(Debug, Clone)]
pub(super) struct New {
    pub(super) commit: Known,
    /// The key of the step that made it, which stands in its trailer.
    pub(super) key: String,
    /// By which it is made again on top of another one.
    pub(super) draft: Draft,
}

/// An annotated tag that was not pushed yet.
#[derive(Debug, Clone)]
pub(super) struct NewTag {
    pub(super) name: String,
    pub(super) id: ObjectId,
    /// The commit that it is of.
    pub(super) target: ObjectId,
    /// Whether no branch got that commit when it was pushed, but another one that was made in its place.
    pub(super) is_left_behind: bool,
}

/// Who makes commits, and with what they are signed.
#[derive(Debug, Clone)]
pub(super) struct Author {
    pub(super) identity: Identity,
    pub(super) signer: Option<Signer>,
}

impl Checkout {
    /// What is mounted at `path`, and the directory as it is now.
    pub(super) async fn at(cx: &Context, workspace: &Workspace, path: &str) -> Result<(Directory, Self)> {
        let mounted = workspace.mounted(cx, path).await?;
        if let Some((directory, mount)) = mounted
            && let Some(checkout) = mount.as_any().downcast_ref::<Self>()
        {
            return Ok((directory, checkout.clone()));
        }
        let mounts = workspace.mounts().await;
        let hint = match mounts.len() {
            0 => "no git-clone ran before it".to_owned(),
            _ => format!("checked out are {}", mounts.join(", ")),
        };
        Err(Error::new(ErrorKind::InvalidInput, format!("{path:?} is no checkout of a repository: {hint}.")))
    }

    /// Puts it in the place of what is mounted at `path`.
    pub(super) async fn mount(
        self,
        cx: &Context,
        workspace: &Workspace,
        path: &str,
        directory: Directory,
    ) -> Result<()> {
        workspace.mount(cx, path, directory, Arc::new(self)).await
    }

    /// The commit on which the checkout stands.
    pub(super) fn head(&self) -> Result<Known> {
        let head = self.commits.last().map(|new| new.commit).or(self.base);
        head.ok_or_else(|| Error::new(ErrorKind::Corrupt, "The checkout stands on no commit."))
    }

    /// The same checkout, standing on a commit that `branch` of the repository has.
    pub(super) fn standing_on(mut self, commit: Known, branch: &str) -> Self {
        // The repository has them now, whichever way that was found out, and need not give them back by their ids.
        self.origin.keep(&self.objects);
        if self.commits.last().is_some_and(|last| last.commit.id != commit.id) {
            for tag in &mut self.tags {
                tag.is_left_behind |= self.commits.iter().any(|new| new.commit.id == tag.target);
            }
        }
        self.origin.tell(commit.id);
        if self.head().is_ok_and(|head| head.tree != commit.tree) {
            self.clean = Arc::new(self.directory(commit));
        }
        let own = self.branch.as_deref() == Some(branch);
        self.elsewhere = !own && (self.elsewhere || !self.commits.is_empty());
        self.base = Some(commit);
        self.commits.clear();
        if self.tags.is_empty() {
            self.objects = Arc::default();
        }
        self
    }

    /// Keeps of `objects` what the commits and tags need.
    pub(super) fn keep(&mut self, mut objects: NewObjects) -> Result<()> {
        let commits = self.commits.iter().map(|new| new.commit.id);
        objects.keep_reached(commits.chain(self.tags.iter().map(|tag| tag.id)), self.origin.hash)?;
        self.objects = Arc::new(objects);
        Ok(())
    }

    /// What is in the commit, as a directory.
    pub(super) fn directory(&self, commit: Known) -> Directory {
        Directory::at(Arc::clone(&self.origin) as _, commit.tree.to_string())
    }
}

impl Mount for Checkout {
    fn original(&self) -> Directory {
        (*self.clean).clone()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
