//! Edits of a commit's tree that fetch no more than the directories on the way.

use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice as _};
use gix::objs::tree::{Entry, EntryKind};
use gix::objs::{Kind, TreeRef, WriteTo as _};
use kargo_core::{Error, ErrorKind, Result, near_match};

use crate::remote::{NewObjects, Session};

/// A tree that is being edited. The commit that it began as is never changed.
#[derive(Debug)]
pub(crate) struct TreeEdit {
    hash: gix::hash::Kind,
    base: ObjectId,
    root: ObjectId,
    new: NewObjects,
}

impl TreeEdit {
    /// Begins with the tree of `commit`.
    pub(crate) async fn on(session: &mut Session, commit: ObjectId) -> Result<Self> {
        let hash = session.hash().await?;
        let roots = session.roots(&[commit]).await?;
        let root = *roots.get(&commit).ok_or_else(|| corrupt(format!("{commit} is not a commit")))?;
        Ok(Self { hash, base: root, root, new: NewObjects::default() })
    }

    /// The contents of the file at `path`, or `None`.
    pub(crate) async fn read(&self, session: &mut Session, path: &str) -> Result<Option<Vec<u8>>> {
        let parts = parts(path)?;
        let Some((name, directories)) = parts.split_last() else { return Ok(None) };
        let mut tree = self.root;
        for directory in directories {
            match find(&self.entries(session, tree).await?, directory) {
                Some(entry) if entry.mode.is_tree() => tree = entry.oid,
                // What lies behind it is another file's business, or another repository's.
                Some(entry) if entry.mode.is_link() || entry.mode.is_commit() => return Err(no_file(path, entry)),
                _ => return Ok(None),
            }
        }
        match find(&self.entries(session, tree).await?, name) {
            Some(entry) if entry.mode.is_blob() => Ok(Some(self.object(session, entry.oid, Kind::Blob).await?)),
            Some(entry) => Err(no_file(path, entry)),
            None => Ok(None),
        }
    }

    /// A path that is there and close to `path`, which is not.
    pub(crate) async fn near(&self, session: &mut Session, path: &str) -> Result<Option<String>> {
        let parts = parts(path)?;
        let mut tree = self.root;
        let mut above = String::new();
        for (n, part) in parts.iter().enumerate() {
            let entries = self.entries(session, tree).await?;
            let last = n + 1 == parts.len();
            match find(&entries, part) {
                Some(entry) if entry.mode.is_tree() && !last => tree = entry.oid,
                _ => {
                    let names: Vec<String> = entries.iter().map(|entry| entry.filename.to_string()).collect();
                    return Ok(near_match(part, names.iter().map(String::as_str)).map(|near| format!("{above}{near}")));
                }
            }
            above.push_str(part);
            above.push('/');
        }
        Ok(None)
    }

    /// Sets the contents of the file at `path`. A file that is there keeps its mode; directories are made.
    pub(crate) async fn write(&mut self, session: &mut Session, path: &str, contents: Vec<u8>) -> Result<()> {
        let blob = self.new.insert(self.hash, Kind::Blob, contents)?;
        self.change(session, path, Some(blob)).await
    }

    /// Removes the file at `path`, and the directories that it leaves empty. Does nothing when there is none.
    #[cfg_attr(not(test), expect(dead_code, reason = "steps that delete files build on it"))]
    pub(crate) async fn remove(&mut self, session: &mut Session, path: &str) -> Result<()> {
        if self.read(session, path).await?.is_none() {
            return Ok(());
        }
        self.change(session, path, None).await
    }

    /// The new tree and the objects that it needs, or `None` when it is the old one.
    pub(crate) fn finish(self) -> Result<Option<(ObjectId, NewObjects)>> {
        if self.root == self.base {
            return Ok(None);
        }
        let mut new = self.new;
        new.keep_reached([self.root], self.hash)?;
        Ok(Some((self.root, new)))
    }

    async fn change(&mut self, session: &mut Session, path: &str, blob: Option<ObjectId>) -> Result<()> {
        let parts = parts(path)?;
        let Some((name, directories)) = parts.split_last() else { return Ok(()) };
        let mut levels = Vec::with_capacity(parts.len());
        let mut tree = Some(self.root);
        for directory in directories {
            let entries = match tree {
                Some(tree) => self.entries(session, tree).await?,
                None => Vec::new(),
            };
            tree = match find(&entries, directory) {
                Some(entry) if entry.mode.is_tree() => Some(entry.oid),
                Some(entry) => return Err(no_file(path, entry)),
                None => None,
            };
            levels.push(entries);
        }
        let mut entries = match tree {
            Some(tree) => self.entries(session, tree).await?,
            None => Vec::new(),
        };
        let mode = match find(&entries, name) {
            Some(entry) if entry.mode.is_blob() => entry.mode,
            Some(entry) => return Err(no_file(path, entry)),
            None => EntryKind::Blob.into(),
        };
        replace(&mut entries, name, blob.map(|oid| (mode, oid)));
        for (directory, mut parent) in directories.iter().zip(levels).rev() {
            let child = if entries.is_empty() { None } else { Some(self.store(entries)?) };
            replace(&mut parent, directory, child.map(|oid| (EntryKind::Tree.into(), oid)));
            entries = parent;
        }
        self.root = self.store(entries)?;
        Ok(())
    }

    fn store(&mut self, entries: Vec<Entry>) -> Result<ObjectId> {
        store(entries, self.hash, &mut self.new)
    }

    async fn entries(&self, session: &mut Session, tree: ObjectId) -> Result<Vec<Entry>> {
        parse(&self.object(session, tree, Kind::Tree).await?, self.hash)
    }

    async fn object(&self, session: &mut Session, id: ObjectId, wanted: Kind) -> Result<Vec<u8>> {
        let (kind, data) = match self.new.get(&id) {
            Some((kind, data)) => (*kind, data.clone()),
            None => session.object(id).await?,
        };
        if kind == wanted { Ok(data) } else { Err(corrupt(format!("{id} is a {kind} where a {wanted} should be"))) }
    }
}

/// Adds the tree with these entries to `objects`.
pub(crate) fn store(mut entries: Vec<Entry>, hash: gix::hash::Kind, objects: &mut NewObjects) -> Result<ObjectId> {
    if let Some((entry, fault)) = entries.iter().find_map(|entry| Some((entry, name_fault(entry.filename.as_ref())?))) {
        let what = format!("{:?} cannot be the name of a file in a repository: {fault}.", entry.filename);
        return Err(Error::new(ErrorKind::InvalidInput, what));
    }
    entries.sort();
    let mut data = Vec::new();
    gix::objs::Tree { entries }
        .write_to(&mut data)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, "A directory cannot be written.").because(error))?;
    objects.insert(hash, Kind::Tree, data)
}

pub(crate) fn parse(data: &[u8], hash: gix::hash::Kind) -> Result<Vec<Entry>> {
    let tree = TreeRef::from_bytes(data, hash)
        .map_err(|error| corrupt("a directory cannot be read".to_owned()).because(error))?;
    match tree.entries.iter().find_map(|entry| Some((entry, name_fault(entry.filename)?))) {
        Some((entry, fault)) => {
            Err(corrupt(format!("a directory has an entry {:?}, which is no name: {fault}", entry.filename)))
        }
        None => Ok(tree.into_owned().entries),
    }
}

/// Says what is wrong with the name of something in a tree. Git lets nothing out of the repository under such a one, nor into its own
/// directory, whichever system the files go to: there are more ways to write `.git` than one.
fn name_fault(name: &BStr) -> Option<&'static str> {
    use gix::validate::path::component::{Error, Options};
    // What Windows does not like besides does no harm anywhere else.
    let how = Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };
    if name.is_empty() {
        return Some("it is empty");
    }
    // There a backslash is a slash.
    let parts = name.split_str("\\").filter(|part| !part.is_empty());
    let fault = |part: &[u8]| gix::validate::path::component(part.as_bstr(), None, how).err();
    match parts.into_iter().find_map(fault)? {
        Error::Relative => Some("it leads elsewhere"),
        Error::PathSeparator => Some("it has a slash in it"),
        _ => Some("systems take it for .git"),
    }
}

fn find<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.filename == name)
}

fn replace(entries: &mut Vec<Entry>, name: &str, with: Option<(gix::objs::tree::EntryMode, ObjectId)>) {
    entries.retain(|entry| entry.filename != name);
    entries.extend(with.map(|(mode, oid)| Entry { mode, filename: name.into(), oid }));
}

/// Says what is wrong with `path` as the path of a file in a repository.
pub(crate) fn path_fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.starts_with('/') {
        return Some("it must be relative to the root of the repository");
    }
    if path.contains('\\') || path.contains(char::is_control) {
        return Some("it has a backslash or a control character in it");
    }
    path.split('/').find_map(|part| match part {
        "" => Some("it has an empty part"),
        "." | ".." => Some("'.' and '..' may not stand in it"),
        part => name_fault(part.into()).map(|_| "'.git' may not stand in it, however it is written"),
    })
}

fn parts(path: &str) -> Result<Vec<&str>> {
    match path_fault(path) {
        Some(fault) => Err(Error::new(ErrorKind::InvalidInput, format!("{path:?} is no path of a file: {fault}."))),
        None => Ok(path.split('/').collect()),
    }
}

fn no_file(path: &str, entry: &Entry) -> Error {
    let what = match entry.mode.kind() {
        EntryKind::Tree => "a directory",
        EntryKind::Link => "a symbolic link",
        EntryKind::Commit => "a submodule",
        EntryKind::Blob | EntryKind::BlobExecutable => "a file",
    };
    Error::new(
        ErrorKind::InvalidInput,
        format!("{path} cannot be edited, since {} is {what}; name the file itself.", entry.filename),
    )
}

fn corrupt(what: String) -> Error {
    Error::new(ErrorKind::Corrupt, format!("The repository is damaged: {what}."))
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::remote::Remote;
    use crate::testing::BareRepository;

    async fn begin(files: &[(&str, &str)]) -> (BareRepository, Session, TreeEdit) {
        let repository = BareRepository::new();
        let tip = repository.commit("main", files, "Start");
        let mut session =
            Remote::new(repository.url()).unwrap().session(&kargo_core::plugin::Context::system("read")).await.unwrap();
        let tip = ObjectId::from_hex(tip.as_bytes()).unwrap();
        let edit = TreeEdit::on(&mut session, tip).await.unwrap();
        (repository, session, edit)
    }

    /// The names of the entries of a tree that is in `new`, in its order.
    fn names(new: &NewObjects, tree: ObjectId) -> Vec<String> {
        let (_, data) = new.get(&tree).unwrap();
        parse(data, tree.kind()).unwrap().into_iter().map(|entry| entry.filename.to_string()).collect()
    }

    #[tokio::test]
    async fn files_are_written_read_back_and_removed_with_their_empty_directories() {
        let (_repository, mut session, mut edit) = begin(&[("a/b/c", "1"), ("d", "2")]).await;
        edit.write(&mut session, "x/y/z", b"3".to_vec()).await.unwrap();
        assert_eq!(edit.read(&mut session, "x/y/z").await.unwrap().as_deref(), Some(b"3".as_slice()));
        edit.remove(&mut session, "a/b/c").await.unwrap();
        edit.remove(&mut session, "not/there").await.unwrap();
        let (root, new) = edit.finish().unwrap().unwrap();
        assert_eq!(names(&new, root), ["d", "x"]);
        assert_eq!(new.bottom_up().len(), 4, "the root, x, y and z: nothing that is not new and in use");
    }

    #[tokio::test]
    async fn an_edit_that_is_taken_back_is_no_change() {
        let (_repository, mut session, mut edit) = begin(&[("a/b", "1")]).await;
        edit.write(&mut session, "a/b", b"2".to_vec()).await.unwrap();
        edit.write(&mut session, "a/b", b"1".to_vec()).await.unwrap();
        assert!(edit.finish().unwrap().is_none());
    }

    #[tokio::test]
    async fn entries_are_in_the_order_of_git_in_which_directories_end_in_a_slash() {
        let (_repository, mut session, mut edit) = begin(&[("a.b", "1"), ("a/c", "1")]).await;
        edit.write(&mut session, "a0", b"2".to_vec()).await.unwrap();
        let (root, new) = edit.finish().unwrap().unwrap();
        assert_eq!(names(&new, root), ["a.b", "a", "a0"]);
    }

    #[tokio::test]
    async fn nothing_is_read_or_written_through_a_symbolic_link() {
        let (_repository, mut session, mut edit) = begin(&[("a/b", "1")]).await;
        let link = edit.new.insert(edit.hash, Kind::Blob, b"a".to_vec()).unwrap();
        let mut entries = edit.entries(&mut session, edit.root).await.unwrap();
        entries.push(Entry { mode: EntryKind::Link.into(), filename: "link".into(), oid: link });
        edit.root = edit.store(entries).unwrap();
        for path in ["link", "link/b"] {
            let read = edit.read(&mut session, path).await.unwrap_err();
            let written = edit.write(&mut session, path, b"2".to_vec()).await.unwrap_err();
            for error in [read, written] {
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}");
                assert!(error.message().contains("symbolic link"), "{error}");
            }
        }
        assert_eq!(edit.read(&mut session, "a/b/c").await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_mode_of_a_file_is_kept() {
        let (_repository, mut session, mut edit) = begin(&[("a/b", "1")]).await;
        let blob = edit.new.insert(edit.hash, Kind::Blob, b"#!/bin/sh\n".to_vec()).unwrap();
        let mut entries = edit.entries(&mut session, edit.root).await.unwrap();
        entries.push(Entry { mode: EntryKind::BlobExecutable.into(), filename: "run".into(), oid: blob });
        edit.root = edit.store(entries).unwrap();
        edit.write(&mut session, "run", b"#!/bin/sh -e\n".to_vec()).await.unwrap();
        let entries = edit.entries(&mut session, edit.root).await.unwrap();
        assert_eq!(find(&entries, "run").unwrap().mode.kind(), EntryKind::BlobExecutable);
    }

    #[tokio::test]
    async fn a_file_is_never_replaced_by_a_directory_nor_the_other_way_round() {
        let (_repository, mut session, mut edit) = begin(&[("a/b", "1")]).await;
        for path in ["a", "a/b/c"] {
            let error = edit.write(&mut session, path, b"2".to_vec()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}");
        }
    }
}
