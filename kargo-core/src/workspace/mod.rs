//! The files that the steps of a promotion work on.
//!
//! A [`Workspace`] is a tree in memory whose parts are fetched when a step looks at them. Mounting a branch fetches nothing, reading a
//! file fetches the directories above it and the file, copying a directory copies a reference. A promotion costs what it changes, however
//! large the repositories are.
//!
//! The engine makes one workspace for each promotion, hands it to every step ([`StepRequest::workspace`]), and takes it back to what it
//! was when a step fails or its answer is lost, so that no step has to clean up after itself. It is not stored: after a restart the steps
//! that made it do so again ([`Step::restores`]).
//!
//! ```
//! use kargo_core::plugin::Context;
//! use kargo_core::workspace::Workspace;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kargo_core::Result<()> {
//! let (workspace, cx) = (Workspace::new(), Context::system("dev.1/step-1"));
//! workspace.write(&cx, "src/env/dev.yaml", "replicas: 2\n").await?;
//! workspace.copy(&cx, "src/env", "out/../../out/env", None).await?;
//! assert_eq!(workspace.read(&cx, "/out/env/dev.yaml").await?.as_deref(), Some(&b"replicas: 2\n"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! [`StepRequest::workspace`]: crate::plugin::StepRequest::workspace
//! [`Step::restores`]: crate::plugin::Step::restores

mod children;
mod diff;
mod disk;
mod limits;
mod node;
mod origin;
mod path;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Context;

pub use diff::{Change, ChangeKind};
pub use limits::WorkspaceLimits;
pub use node::{Contents, Directory, Entry, EntryKind, Node, There};
pub use origin::{Listed, Mount, Origin};
use path::{cut, joined};
pub(crate) use tree::Tree;
use tree::{Last, read, read_all};

/// The files of one promotion. Cheap to clone: copies are the same workspace.
///
/// Paths are relative to the workspace, with `/` between their parts. `..` and a leading `/` do not lead out of it, nor do symbolic
/// links, which are followed: all are taken as if the workspace were all there is, as Kargo does. `.git` is not a name.
///
/// Each method is done at once or not at all, and may be dropped at any time.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    tree: Arc<Mutex<Tree>>,
    limits: WorkspaceLimits,
}

/// What is to be copied into a directory, by what name. The path is shared: it may be long, and the entries many.
type Below = (Node, Arc<Vec<String>>, String);

/// A function that says whether what lies at a path, relative to the directory at hand, is meant.
pub type Keep<'a> = &'a (dyn Fn(&str, EntryKind) -> bool + Send + Sync);

impl Workspace {
    /// An empty workspace with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty workspace.
    pub fn with_limits(limits: WorkspaceLimits) -> Self {
        Self { tree: Arc::new(Mutex::new(Tree { limits, ..Tree::default() })), limits }
    }

    /// The limits.
    pub fn limits(&self) -> WorkspaceLimits {
        self.limits
    }

    /// What is in the file at `path`; `None` when there is no such file.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when a directory is there, or the path is none; and what reading it brings.
    pub async fn read(&self, cx: &Context, path: &str) -> Result<Option<Bytes>> {
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Followed).await?;
        match tree.get(&at).cloned() {
            Some(Node::File { contents, .. }) => {
                drop(tree);
                read(cx, &contents).await.map(Some)
            }
            None if !at.is_empty() => Ok(None),
            _ => Err(no_file(path)),
        }
    }

    /// What is in the file at `path`, as text.
    ///
    /// # Errors
    /// As [`Workspace::read`]; [`ErrorKind::NotFound`] when there is no such file, with a near match; [`ErrorKind::InvalidInput`] when it
    /// is not UTF-8.
    pub async fn read_text(&self, cx: &Context, path: &str) -> Result<String> {
        let Some(bytes) = self.read(cx, path).await? else { return Err(self.missing(cx, path).await) };
        String::from_utf8(bytes.into()).map_err(|_| {
            let message = format!("The file {:?} is not UTF-8 text, and only text can be edited.", cut(path));
            Error::new(ErrorKind::InvalidInput, message)
        })
    }

    /// The error that nothing is at `path`, with what is there and is spelt nearly the same.
    pub async fn missing(&self, cx: &Context, path: &str) -> Error {
        let hint = match self.near(cx, path).await {
            Ok(Some(near)) => format!(" Did you mean {near:?}?"),
            _ => String::new(),
        };
        Error::new(ErrorKind::NotFound, format!("There is no {:?} in the workspace.{hint}", cut(path)))
    }

    async fn near(&self, cx: &Context, path: &str) -> Result<Option<String>> {
        let mut tree = self.tree.lock().await;
        let mut above = Vec::new();
        for part in tree.resolve(cx, path, Last::Followed).await? {
            tree.list(cx, &above).await?;
            let Some(directory) = tree.directory(&above) else { return Ok(None) };
            if directory.get(&part).is_none() {
                let names = directory.children().into_iter().flatten().map(|(name, _)| name.as_str());
                let near = crate::near_match(&part, names).map(str::to_owned);
                return Ok(near.map(|near| {
                    above.push(near);
                    joined(&above)
                }));
            }
            above.push(part);
        }
        Ok(None)
    }

    /// Puts a file at `path`, over one that is there, and makes the directories above it. A file that is there stays executable if it is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when a directory or a submodule is there, the path is none, or a limit is exceeded.
    pub async fn write(&self, cx: &Context, path: &str, contents: impl Into<Bytes>) -> Result<()> {
        self.write_file(cx, path, contents.into(), None).await
    }

    /// The same, and says whether the file can be run; `None` leaves that as it is.
    ///
    /// # Errors
    /// As [`Workspace::write`].
    pub async fn write_file(&self, cx: &Context, path: &str, contents: Bytes, executable: Option<bool>) -> Result<()> {
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Followed).await?;
        let was = match tree.get(&at) {
            Some(Node::File { executable, .. }) => *executable,
            None if !at.is_empty() => false,
            _ => return Err(no_file(path)),
        };
        let node = Node::File { contents: Contents::Here(contents), executable: executable.unwrap_or(was) };
        self.place(&mut tree, &at, node)
    }

    /// What is at `path`. A directory is not listed for that; a symbolic link is followed.
    ///
    /// # Errors
    /// When the path is none, or a directory above it cannot be read.
    pub async fn node(&self, cx: &Context, path: &str) -> Result<Option<Node>> {
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Followed).await?;
        Ok(if at.is_empty() { Some(Node::Directory(tree.root.clone())) } else { tree.get(&at).cloned() })
    }

    /// Puts `node` at `path`, in place of what is there, and makes the directories above it. What the path, or one below it, was
    /// mounted as it is no more.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the path is none or is the workspace itself, or a limit is exceeded.
    pub async fn put(&self, cx: &Context, path: &str, node: Node) -> Result<()> {
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Itself).await?;
        tree.unmount(&at);
        self.place(&mut tree, &at, node)
    }

    /// The entries of the directory at `path`, by name; `None` when there is nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is no directory; and what reading it brings.
    pub async fn list(&self, cx: &Context, path: &str) -> Result<Option<Vec<Entry>>> {
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Followed).await?;
        tree.list(cx, &at).await?;
        let Some(directory) = tree.directory(&at) else {
            return if tree.get(&at).is_some() { Err(no_directory(path)) } else { Ok(None) };
        };
        let entry = |(name, node): (&String, &Node)| Entry { name: name.clone(), kind: node.kind() };
        Ok(Some(directory.children().into_iter().flatten().map(entry).collect()))
    }

    /// All that is below the directory at `path` and is no directory, by its path relative to it, in the order of the paths.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is nothing; [`ErrorKind::InvalidInput`] when it is no directory, or there is more than
    /// [`WorkspaceLimits::entries`].
    pub async fn walk(&self, cx: &Context, path: &str) -> Result<Vec<(String, Node)>> {
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Followed).await?;
        if tree.directory(&at).is_none() {
            let there = tree.get(&at).is_some();
            drop(tree);
            return Err(if there { no_directory(path) } else { self.missing(cx, path).await });
        }
        let found = tree.list_below(cx, &at, self.limits).await?;
        let node = |path: Vec<String>| Some((path[at.len()..].join("/"), tree.get(&path)?.clone()));
        Ok(found.into_iter().filter_map(node).collect())
    }

    /// The contents of several nodes that [`Workspace::walk`] or [`Workspace::node`] gave: of files what is in them, of links where they
    /// point to. One request to each origin.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when one is neither; and what reading brings.
    pub async fn contents(&self, cx: &Context, nodes: &[Node]) -> Result<Vec<Bytes>> {
        let contents = nodes.iter().map(|node| match node {
            Node::File { contents, .. } | Node::Link(contents) => Ok(contents.clone()),
            Node::Directory(_) | Node::Foreign(_) => {
                Err(Error::new(ErrorKind::InvalidInput, "A directory or a submodule has no contents to read."))
            }
        });
        read_all(cx, &contents.collect::<Result<Vec<_>>>()?).await
    }

    /// Takes away what is at `path`, a link itself rather than what it points to, and says whether there was something. What was mounted
    /// there is no more.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the path is none or is the workspace itself.
    pub async fn remove(&self, cx: &Context, path: &str) -> Result<bool> {
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Itself).await?;
        let Some((name, above)) = at.split_last() else { return Err(itself(path)) };
        if tree.get(&at).is_none() {
            return Ok(false);
        }
        tree.unmount(&at);
        tree.change(above, |children| children.remove(name))?;
        Ok(true)
    }

    /// Takes away all that is in the directory at `path`, which stays what it is mounted as.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is nothing; [`ErrorKind::InvalidInput`] when it is no directory.
    pub async fn clear(&self, cx: &Context, path: &str) -> Result<()> {
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Followed).await?;
        if tree.directory(&at).is_none() {
            let there = tree.get(&at).is_some();
            drop(tree);
            return Err(if there { no_directory(path) } else { self.missing(cx, path).await });
        }
        // Not listed: what goes need not be known.
        match at.split_last() {
            Some((name, above)) => {
                tree.change(above, |children| children.insert(name.clone(), Node::Directory(Directory::default())))?;
            }
            None => tree.root = Directory::default(),
        }
        let prefix = if at.is_empty() { String::new() } else { format!("{}/", joined(&at)) };
        let kept = joined(&at);
        tree.mounts.retain(|mount, _| *mount == kept || !mount.starts_with(&prefix));
        Ok(())
    }

    /// Copies the file or directory at `from` to `to`. A directory that is at `to` gets the files of the other, over its own where both
    /// have one. With `keep`, only those for which it says so; it is asked with paths relative to `from`, and not about what lies in a
    /// directory that it does not keep.
    ///
    /// Without `keep`, a directory that is not yet at `to` is copied without being read.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is nothing at `from`; [`ErrorKind::InvalidInput`] when a file would take the place of a directory
    /// or the other way round, or a limit is exceeded.
    pub async fn copy(&self, cx: &Context, from: &str, to: &str, keep: Option<Keep<'_>>) -> Result<()> {
        let mut tree = self.tree.lock().await;
        let source = tree.resolve(cx, from, Last::Followed).await?;
        let target = tree.resolve(cx, to, Last::Followed).await?;
        let found = match tree.get(&source).cloned() {
            Some(found) => found,
            None if source.is_empty() => Node::Directory(tree.root.clone()),
            None => {
                drop(tree);
                return Err(self.missing(cx, from).await);
            }
        };
        let mut after = tree.clone();
        let depth = target.len();
        let mut open = Vec::new();
        let mut next = Some((found, target));
        while let Some((node, at)) = next {
            after.list(cx, at.split_last().map_or(&[], |(_, above)| above)).await?;
            let there =
                if at.is_empty() { Some(true) } else { after.get(&at).map(|node| node.kind() == EntryKind::Directory) };
            match (node, there) {
                (Node::Directory(directory), there @ (Some(true) | None)) if there.is_some() || keep.is_some() => {
                    self.lay_over(cx, &mut after, (directory, at, depth), keep, &mut open).await?;
                }
                (Node::Directory(_), Some(false)) => {
                    let message = format!("{:?} is a file, and a directory cannot take its place.", cut(&joined(&at)));
                    return Err(Error::new(ErrorKind::InvalidInput, message));
                }
                (_, Some(true)) => {
                    let message = format!("{:?} is a directory, and a file cannot take its place.", cut(&joined(&at)));
                    return Err(Error::new(ErrorKind::InvalidInput, message));
                }
                (node, _) => self.place(&mut after, &at, node)?,
            }
            next = open.pop().map(|(node, above, name): Below| (node, above.iter().cloned().chain([name]).collect()));
        }
        *tree = after;
        Ok(())
    }

    /// Notes what is to be done for each entry of a directory that is laid over the one at `at`, which is in what is copied, `depth` parts
    /// deep.
    async fn lay_over(
        &self,
        cx: &Context,
        tree: &mut Tree,
        (directory, at, depth): (Directory, Vec<String>, usize),
        keep: Option<Keep<'_>>,
        open: &mut Vec<Below>,
    ) -> Result<()> {
        let mut one = Tree { root: directory, ..Tree::default() };
        one.list(cx, &[]).await?;
        tree.list(cx, &at).await?;
        path::not_too_deep(&at, 0)?;
        if tree.get(&at).is_none() {
            tree.has_room(&at, 1)?;
        }
        tree.change(&at, |_| ())?;
        let above = Arc::new(at);
        for (name, child) in one.root.children().into_iter().flatten() {
            let is_kept = keep.is_none_or(|keep| {
                let below: Vec<&str> = above[depth..].iter().chain([name]).map(String::as_str).collect();
                keep(&below.join("/"), child.kind())
            });
            if is_kept {
                open.push((child.clone(), Arc::clone(&above), name.clone()));
            }
            if open.len() > self.limits.entries {
                let message = format!("More than {} files are to be copied at once.", self.limits.entries);
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
        }
        Ok(())
    }

    /// Puts `directory` at `path`, and says what it stands for, such as a branch that a later step writes back to. What is there goes.
    ///
    /// # Errors
    /// As [`Workspace::put`].
    pub async fn mount(&self, cx: &Context, path: &str, directory: Directory, mount: Arc<dyn Mount>) -> Result<()> {
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Itself).await?;
        tree.unmount(&at);
        if at.is_empty() {
            // It was in a workspace, or is not looked into yet, so it is not too large.
            tree.root = directory;
        } else {
            self.place(&mut tree, &at, Node::Directory(directory))?;
        }
        tree.mounts.insert(joined(&at), mount);
        Ok(())
    }

    /// What the directory at `path` was mounted as, and what it is now; `None` when it was not.
    ///
    /// # Errors
    /// When the path is none.
    pub async fn mounted(&self, cx: &Context, path: &str) -> Result<Option<(Directory, Arc<dyn Mount>)>> {
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Followed).await?;
        let Some(mount) = tree.mounts.get(&joined(&at)).cloned() else { return Ok(None) };
        Ok(tree.directory(&at).map(|directory| (directory.clone(), mount)))
    }

    /// The directory at `path` with everything below it listed: one request to each origin a level.
    ///
    /// # Errors
    /// As [`Workspace::walk`].
    pub async fn listed(&self, cx: &Context, path: &str) -> Result<Directory> {
        self.walk(cx, path).await?;
        let mut tree = self.tree.lock().await;
        let at = tree.resolve(cx, path, Last::Followed).await?;
        Ok(tree.directory(&at).cloned().unwrap_or_default())
    }

    /// The paths at which something is mounted, in their order.
    pub async fn mounts(&self) -> Vec<String> {
        self.tree.lock().await.mounts.keys().cloned().collect()
    }

    /// Puts a node at a path that has been resolved, within the limits. After an error all is as before.
    fn place(&self, tree: &mut Tree, at: &[String], node: Node) -> Result<()> {
        let Some((name, above)) = at.split_last() else { return Err(itself(".")) };
        let new = node.totals();
        let refused = |message| Err(Error::new(ErrorKind::InvalidInput, message));
        if matches!(node, Node::File { .. }) && new.bytes > self.limits.file {
            return refused(format!(
                "{:?} would have {} bytes, and a file may have {}.",
                cut(&joined(at)),
                new.bytes,
                self.limits.file
            ));
        }
        let goes = tree.get(at).map(Node::totals).unwrap_or_default();
        path::not_too_deep(at, new.levels)?;
        tree.has_room(at, new.entries.saturating_sub(goes.entries))?;
        let written = tree.root.totals().bytes.saturating_sub(goes.bytes).saturating_add(new.bytes);
        if new.bytes > 0 && written > self.limits.written {
            return refused(format!(
                "With {:?} the files that were written would have more than {} bytes together.",
                cut(&joined(at)),
                self.limits.written
            ));
        }
        // Looked at first, so that nothing has to be taken back: a copy to go back to would have each change copy whole directories.
        if !tree.can_hold(above) {
            return refused(format!("{:?} is not a directory, or a part of it is not.", cut(&joined(above))));
        }
        tree.change(above, |children| children.insert(name.clone(), node))
    }

    /// The tree as it is now.
    pub(crate) async fn snapshot(&self) -> Tree {
        self.tree.lock().await.clone()
    }

    /// Takes the workspace back to what it was.
    pub(crate) async fn reset(&self, to: Tree) {
        *self.tree.lock().await = to;
    }
}

fn no_file(path: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{:?} is not a file but a directory or a submodule.", cut(path)))
}

fn no_directory(path: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{:?} is a file, where a directory is needed.", cut(path)))
}

fn itself(path: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{:?} is the workspace itself; name something in it.", cut(path)))
}
