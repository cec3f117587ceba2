//! The tree of a workspace at one moment, and how it is looked into.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::children::Children;
use super::limits::WorkspaceLimits;
use super::node::{Contents, Directory, Node, There};
use super::origin::Mount;
use super::path::{MAX_LINKS, MAX_WEIGHT, cut, joined, not_too_deep, parts, weight};
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Context;

/// All files, and what some of the directories stand for. A copy costs nothing: what is not changed is shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(super) root: Directory,
    /// By path.
    pub(super) mounts: BTreeMap<String, Arc<dyn Mount>>,
    pub(super) limits: WorkspaceLimits,
}

/// Whether the last part of a path is followed when it is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Followed,
    Itself,
}

impl Tree {
    /// Where `path` leads, through symbolic links, without leaving the workspace: `..` at the top stays there, and a link to an absolute
    /// path begins at the top. Kargo's steps join paths in this way. Directories on the way are listed.
    pub(super) async fn resolve(&mut self, cx: &Context, path: &str, last: Last) -> Result<Vec<String>> {
        let mut open: Vec<String> = parts(path)?;
        open.reverse();
        let mut at: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = open.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            self.list(cx, &at).await?;
            at.push(part);
            // Links may lead deeper than a path alone.
            not_too_deep(&at, 0)?;
            let Some(Node::Link(target)) = self.get(&at) else { continue };
            if open.is_empty() && last == Last::Itself {
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                let message = format!(
                    "{:?} leads through more than {MAX_LINKS} symbolic links; name the file itself.",
                    cut(path)
                );
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            let target = read(cx, &target.clone()).await?;
            let target = String::from_utf8_lossy(&target).into_owned();
            if target.starts_with('/') {
                at.clear();
            } else {
                at.pop();
            }
            let way = parts(&target).map_err(|error| {
                let link =
                    format!("The symbolic link {} on the way to {:?} cannot be followed.", joined(&at), cut(path));
                Error::new(ErrorKind::InvalidInput, link).because(error)
            })?;
            open.extend(way.into_iter().rev());
        }
        Ok(at)
    }

    /// The entry at `path`, as far as the directories above it have been listed. The workspace itself is no entry.
    pub(super) fn get(&self, path: &[String]) -> Option<&Node> {
        let (name, above) = path.split_last()?;
        self.directory(above)?.get(name)
    }

    /// The directory at `path`.
    pub(super) fn directory(&self, path: &[String]) -> Option<&Directory> {
        path.iter().try_fold(&self.root, |directory, name| match directory.get(name) {
            Some(Node::Directory(below)) => Some(below),
            _ => None,
        })
    }

    /// Sees to it that the directory at `path`, if there is one, has been listed.
    pub(super) async fn list(&mut self, cx: &Context, path: &[String]) -> Result<()> {
        self.list_all(cx, &[path.to_vec()]).await
    }

    /// The same for several at once: one request to each origin, in which each of its directories stands once, wherever it lies.
    pub(super) async fn list_all(&mut self, cx: &Context, paths: &[Vec<String>]) -> Result<()> {
        let mut open: Vec<(&Vec<String>, There)> = paths
            .iter()
            .filter_map(|path| {
                let directory = self.directory(path)?;
                let there = directory.unchanged().filter(|_| directory.children().is_none())?;
                Some((path, there.clone()))
            })
            .collect();
        while let Some((_, first)) = open.first() {
            let origin = Arc::clone(&first.origin);
            let (of_it, others): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|(_, there)| Arc::ptr_eq(&there.origin, &origin));
            open = others;
            let mut ids: Vec<&str> = Vec::new();
            let mut places: HashMap<&str, usize> = HashMap::new();
            for (_, there) in &of_it {
                places.entry(&there.id).or_insert_with(|| {
                    ids.push(&there.id);
                    ids.len() - 1
                });
            }
            let listed = origin.list(cx, &ids).await?;
            if listed.len() != ids.len() {
                let message = format!("{} directories were asked for, and {} came.", ids.len(), listed.len());
                return Err(
                    Error::new(ErrorKind::InvalidResponse, message).operation("list directories of a workspace")
                );
            }
            let listed: Vec<Arc<Children>> =
                listed.into_iter().map(|listed| Directory::listed(&origin, listed)).collect();
            for (path, there) in &of_it {
                let Some(children) = places.get(&*there.id).and_then(|place| listed.get(*place)) else { continue };
                not_too_deep(path, usize::from(!children.by_name().is_empty()))?;
                self.has_room(path, children.totals().entries)?;
                self.root.look(path, |directory| directory.fill(Arc::clone(children)));
            }
        }
        Ok(())
    }

    /// Refuses `more` files and directories at `path` when the workspace would then know of too many.
    pub(super) fn has_room(&self, path: &[String], more: usize) -> Result<()> {
        let WorkspaceLimits { known, .. } = self.limits;
        if self.root.totals().entries.saturating_add(more) <= known {
            return Ok(());
        }
        let message = format!(
            "With {:?} the workspace would have more than {known} files and directories, where each copy counts; copy or look at smaller \
             parts.",
            cut(&joined(path))
        );
        Err(Error::new(ErrorKind::InvalidInput, message))
    }

    /// Lists everything below `path`, level by level, and gives the paths of what is no directory, in the order of their names.
    pub(super) async fn list_below(
        &mut self,
        cx: &Context,
        path: &[String],
        limits: WorkspaceLimits,
    ) -> Result<Vec<Vec<String>>> {
        let mut level = vec![path.to_vec()];
        let mut found = Vec::new();
        let (mut seen, mut weighed) = (0, 0);
        let refused = |message| Err(Error::new(ErrorKind::InvalidInput, message));
        while !level.is_empty() {
            self.list_all(cx, &level).await?;
            let mut next = Vec::new();
            for directory in &level {
                for (name, node) in self.directory(directory).and_then(Directory::children).into_iter().flatten() {
                    let mut below = directory.clone();
                    below.push(name.clone());
                    seen += 1;
                    weighed += weight(&below);
                    // While they are counted, as one level may have as many as there are copies of copies.
                    if seen > limits.entries {
                        return refused(format!(
                            "There are more than {} files and directories in {:?}; name a smaller part of it.",
                            limits.entries,
                            cut(&joined(path))
                        ));
                    }
                    if weighed > MAX_WEIGHT {
                        return refused(format!(
                            "The paths of the files in {:?} take more than {MAX_WEIGHT} bytes together; name a smaller part of it.",
                            cut(&joined(path))
                        ));
                    }
                    match node {
                        Node::Directory(_) => next.push(below),
                        _ => found.push(below),
                    }
                }
            }
            level = next;
        }
        found.sort();
        Ok(found)
    }

    /// Changes the entries of the directory at `path`, which is made if it is missing. What lies on the way has been listed.
    pub(super) fn change(&mut self, path: &[String], change: impl FnOnce(&mut Children)) -> Result<()> {
        self.root.change(path, change).ok_or_else(|| {
            let message = format!("{:?} is not a directory, or a part of it is not.", cut(&joined(path)));
            Error::new(ErrorKind::InvalidInput, message)
        })
    }

    /// Whether there is a directory at `path`, or one can be made there, and all on the way has been listed.
    pub(super) fn can_hold(&self, path: &[String]) -> bool {
        let mut directory = &self.root;
        for name in path {
            match directory.get(name) {
                Some(Node::Directory(below)) => directory = below,
                Some(_) => return false,
                None => return directory.children().is_some(),
            }
        }
        directory.children().is_some()
    }

    /// What lies at or below `path` stands for nothing elsewhere any more.
    pub(super) fn unmount(&mut self, path: &[String]) {
        let at = joined(path);
        self.mounts.retain(|mount, _| !(path.is_empty() || *mount == at || mount.starts_with(&format!("{at}/"))));
    }
}

/// What is in a file.
pub(super) async fn read(cx: &Context, contents: &Contents) -> Result<Bytes> {
    match contents {
        Contents::Here(bytes) => Ok(bytes.clone()),
        Contents::There(_) => Ok(read_all(cx, std::slice::from_ref(contents)).await?.swap_remove(0)),
    }
}

/// What is in several files: one request to each origin.
pub(super) async fn read_all(cx: &Context, files: &[Contents]) -> Result<Vec<Bytes>> {
    let mut read: Vec<Option<Bytes>> = files
        .iter()
        .map(|contents| match contents {
            Contents::Here(bytes) => Some(bytes.clone()),
            Contents::There(_) => None,
        })
        .collect();
    while let Some(first) = read.iter().position(Option::is_none) {
        let Contents::There(first) = &files[first] else { continue };
        let origin = Arc::clone(&first.origin);
        let (places, ids): (Vec<usize>, Vec<&str>) = files
            .iter()
            .enumerate()
            .filter_map(|(place, contents)| match contents {
                Contents::There(there) if Arc::ptr_eq(&there.origin, &origin) => Some((place, there.id.as_ref())),
                _ => None,
            })
            .unzip();
        let contents = origin.read(cx, &ids).await?;
        if contents.len() != ids.len() {
            let message = format!("{} files were asked for, and {} came.", ids.len(), contents.len());
            return Err(Error::new(ErrorKind::InvalidResponse, message).operation("read files of a workspace"));
        }
        for (place, contents) in places.into_iter().zip(contents) {
            read[place] = Some(contents);
        }
    }
    Ok(read.into_iter().flatten().collect())
}
