//! Parts of a workspace as files on disk, for programs that need such.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::node::{Contents, Directory, Node};
use super::path::is_name;
use super::{Workspace, WorkspaceLimits, cut};
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Context;

/// How many files are read from their origin at once.
const BATCH: usize = 512;

impl Workspace {
    /// Writes what is in the directory at `path` into `target` on this machine's disk, which must be a directory, and should be empty and
    /// the caller's alone. Symbolic links that lead out of it are left out, and so are submodules.
    ///
    /// Cancelled in between, some of the files are there.
    ///
    /// # Errors
    /// As [`Workspace::walk`]; [`ErrorKind::Other`] when the disk is full or cannot be written.
    pub async fn export(&self, cx: &Context, path: &str, target: &Path) -> Result<()> {
        let found = self.walk(cx, path).await?;
        for batch in found.chunks(BATCH) {
            let with_contents: Vec<&(String, Node)> = batch
                .iter()
                .filter(|(path, node)| {
                    matches!(node, Node::File { .. } | Node::Link(_)) && path.split('/').all(is_name)
                })
                .collect();
            let nodes: Vec<Node> = with_contents.iter().map(|(_, node)| node.clone()).collect();
            let contents = self.contents(cx, &nodes).await?;
            let files: Vec<(PathBuf, String, Node, Bytes)> = with_contents
                .into_iter()
                .zip(contents)
                .map(|((path, node), bytes)| (target.join(path), path.clone(), node.clone(), bytes))
                .collect();
            on_disk(move || files.iter().try_for_each(|(at, path, node, bytes)| set_down(at, path, node, bytes)))
                .await?;
        }
        Ok(())
    }

    /// Puts the files in the directory `source` on this machine's disk in the directory at `path`, in place of what is there. Symbolic
    /// links stay what they are, and whatever is neither file, directory nor link is left out, as is `.git`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when a limit is exceeded; [`ErrorKind::Other`] when the disk cannot be read.
    pub async fn import(&self, cx: &Context, source: &Path, path: &str) -> Result<()> {
        let (source, limits) = (source.to_owned(), self.limits());
        let files = Self::with_limits(limits);
        for (path, node) in on_disk(move || pick_up(&source, limits)).await? {
            files.put(cx, &path, node).await?;
        }
        let directory = files.snapshot().await.root;
        self.put_directory(cx, path, directory).await
    }

    /// Puts `directory` at `path`, in place of what is there; what is mounted there stays mounted.
    pub(crate) async fn put_directory(&self, cx: &Context, path: &str, directory: Directory) -> Result<()> {
        if self.list(cx, path).await?.is_some() {
            self.clear(cx, path).await?;
            // Into the cleared one, which stays what it is mounted as.
            let from = Self::with_limits(self.limits());
            from.put(cx, "all", Node::Directory(directory)).await?;
            for (name, node) in from.listed(cx, "all").await?.children().into_iter().flatten() {
                self.put(cx, &format!("{path}/{name}"), node.clone()).await?;
            }
            return Ok(());
        }
        self.put(cx, path, Node::Directory(directory)).await
    }
}

/// Runs what waits for the disk where it keeps nobody else waiting.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Cancelled, "The runtime went away while files were moved.").because(error))
    })
}

fn failed(what: &'static str, at: &Path, error: io::Error) -> Error {
    let message = format!("{} cannot be {what}; see to its permissions and to the room on the disk.", at.display());
    Error::new(ErrorKind::Other, message).because(error)
}

fn set_down(at: &Path, path: &str, node: &Node, bytes: &Bytes) -> Result<()> {
    if let Some(above) = at.parent() {
        fs::create_dir_all(above).map_err(|error| failed("made", above, error))?;
    }
    match node {
        Node::Link(_) => {
            let target = String::from_utf8_lossy(bytes);
            if stays_inside(path, &target) {
                link(&target, at).map_err(|error| failed("made", at, error))
            } else {
                Ok(())
            }
        }
        Node::File { executable, .. } => {
            fs::write(at, bytes).map_err(|error| failed("written", at, error))?;
            if *executable { make_executable(at).map_err(|error| failed("written", at, error)) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// Whether a link at `path` leads to a place below the same directory. `..` counts only at its beginning: behind a name, which may be a
/// link itself, it could lead anywhere.
fn stays_inside(path: &str, target: &str) -> bool {
    let depth = path.split('/').count() - 1;
    let up = target.split('/').take_while(|part| matches!(*part, ".." | ".")).filter(|part| *part == "..").count();
    let down = target.split('/').skip_while(|part| matches!(*part, ".." | "."));
    !target.starts_with('/') && up <= depth && down.into_iter().all(|part| part.is_empty() || is_name(part))
}

#[cfg(unix)]
fn link(target: &str, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

#[cfg(not(unix))]
fn link(_: &str, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn make_executable(at: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = fs::metadata(at)?.permissions();
    permissions.set_mode(permissions.mode() | 0o111);
    fs::set_permissions(at, permissions)
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}

fn pick_up(source: &Path, limits: WorkspaceLimits) -> Result<Vec<(String, Node)>> {
    let too_much = |what: String| Err(Error::new(ErrorKind::InvalidInput, format!("{}: {what}.", source.display())));
    let mut found = Vec::new();
    let mut bytes = 0_usize;
    let mut open = vec![(source.to_owned(), String::new())];
    while let Some((directory, relative)) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(|error| failed("read", &directory, error))? {
            let entry = entry.map_err(|error| failed("read", &directory, error))?;
            let at = entry.path();
            let Some(name) = entry.file_name().to_str().map(str::to_owned).filter(|name| is_name(name)) else {
                continue;
            };
            let path = if relative.is_empty() { name } else { format!("{relative}/{name}") };
            let metadata = fs::symlink_metadata(&at).map_err(|error| failed("read", &at, error))?;
            let kind = metadata.file_type();
            if kind.is_dir() {
                open.push((at, path));
            } else if kind.is_symlink() {
                let target = fs::read_link(&at).map_err(|error| failed("read", &at, error))?;
                let target = target.to_string_lossy().into_owned();
                found.push((path, Node::Link(Contents::Here(target.into()))));
            } else if kind.is_file() {
                bytes = bytes.saturating_add(usize::try_from(metadata.len()).unwrap_or(usize::MAX));
                if bytes > limits.written {
                    return too_much(format!("the files have more than {} bytes together", limits.written));
                }
                let contents = fs::read(&at).map_err(|error| failed("read", &at, error))?;
                let executable = is_executable(&metadata);
                found.push((path, Node::File { contents: Contents::Here(contents.into()), executable }));
            }
            if found.len() + open.len() > limits.entries {
                return too_much(format!("there are more than {} files in {:?}", limits.entries, cut(&relative)));
            }
        }
    }
    Ok(found)
}
