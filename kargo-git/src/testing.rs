//! For the tests and examples of hosts: a bare repository on disk, made and looked into without a `git` program, and fakes of forges.

pub mod forge;

mod key_ring;
mod promotion;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix::ObjectId;
use gix::bstr::ByteSlice as _;
use gix::objs::tree::EntryKind;
use gix::refs::transaction::PreviousValue;
use jiff::Timestamp;

pub use key_ring::KeyRing;
pub use promotion::{DoneStep, StepByStep};

/// A bare repository. Its own directory goes when the last clone of the value is dropped.
///
/// Methods panic when the disk fails or what they ask for is not there: this is for tests.
///
/// ```
/// use kargo_git::testing::BareRepository;
///
/// let repository = BareRepository::new();
/// repository.commit("main", &[("env/dev/values.yaml", "image:\n  tag: v1\n")], "Start");
/// assert_eq!(repository.read("main", "env/dev/values.yaml"), "image:\n  tag: v1\n");
/// assert_eq!(repository.log("main")[0].subject, "Start");
/// ```
#[derive(Debug, Clone)]
pub struct BareRepository {
    path: PathBuf,
    _directory: Option<Arc<tempfile::TempDir>>,
}

/// A commit, as a test wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedCommit {
    /// The id in full.
    pub id: String,
    /// The first line of the message.
    pub subject: String,
    /// The whole message.
    pub message: String,
    /// The lines `Key: value` of the message's last paragraph, when it is not the first.
    pub trailers: BTreeMap<String, String>,
    /// The author, `Name <mail>`.
    pub author: String,
    /// The author's time.
    pub time: Timestamp,
    /// How many parents it has.
    pub parents: usize,
    /// The files that differ from the first parent's, sorted.
    pub changed_files: Vec<String>,
}

impl Default for BareRepository {
    fn default() -> Self {
        Self::new()
    }
}

impl BareRepository {
    /// A new one in a temporary directory.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("the disk has room for a test");
        let mut repository = Self::create(directory.path().join("repository.git"));
        repository._directory = Some(Arc::new(directory));
        repository
    }

    /// A new one at `path`, which stays.
    pub fn create(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        gix::init_bare(&path).expect("the test may make a repository there");
        std::fs::write(path.join("HEAD"), "ref: refs/heads/main\n").expect("the repository was just made");
        Self { path, _directory: None }
    }

    /// One that is there.
    pub fn open(path: impl AsRef<Path>) -> Self {
        let repository = Self { path: path.as_ref().to_owned(), _directory: None };
        repository.repository();
        repository
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its `file://` URL.
    pub fn url(&self) -> String {
        reqwest::Url::from_file_path(&self.path).expect("the path is absolute").to_string()
    }

    /// Commits `files` on `branch`, on top of what is there, and returns the id. Makes the branch when there is none.
    pub fn commit(&self, branch: &str, files: &[(&str, &str)], message: &str) -> String {
        self.commit_at(branch, files, message, Timestamp::now())
    }

    /// As [`BareRepository::commit`], at another time than now.
    pub fn commit_at(&self, branch: &str, files: &[(&str, &str)], message: &str, time: Timestamp) -> String {
        self.write_commit(branch, &[], files, message, time)
    }

    /// Merges `other` into `branch`, whose files with `files` are the outcome, and returns the id.
    pub fn merge(&self, branch: &str, other: &str, files: &[(&str, &str)], message: &str) -> String {
        let other = self.tip(other).expect("the branch to merge is there");
        self.write_commit(branch, &[other], files, message, Timestamp::now())
    }

    /// Makes `branch` stand at the commit `id`, as a forced push does.
    pub fn reset(&self, branch: &str, id: &str) {
        self.set_ref(&format!("refs/heads/{branch}"), object_id(id), PreviousValue::Any);
    }

    /// Makes the ref `name`, in full, point at any object, or moves it there.
    pub fn point(&self, name: &str, id: &str) {
        self.set_ref(name, object_id(id), PreviousValue::Any);
    }

    /// Removes the tag `name`.
    pub fn delete_tag(&self, name: &str) {
        let name = gix::refs::FullName::try_from(format!("refs/tags/{name}")).expect("the test gives a good name");
        let edit = gix::refs::transaction::RefEdit::delete(name, PreviousValue::MustExist);
        self.repository().edit_references_as([edit], Some(tester_ref())).expect("nobody else moves the test's refs");
    }

    /// Stores an annotated tag of `target`, any object, made at `time`, and returns its id. No ref points at it.
    pub fn tag_object(&self, name: &str, target: &str, message: &str, time: Timestamp) -> String {
        let repository = self.repository();
        let target = object_id(target);
        let target_kind = repository.find_object(target).expect("what is tagged is there").kind;
        let tagger = Some(tester(time));
        let tag =
            gix::objs::Tag { target, target_kind, name: name.into(), tagger, message: message.into(), signature: None };
        repository.write_object(&tag).expect("the disk has room").detach().to_string()
    }

    /// Stores a file that is part of no commit, and returns the id.
    pub fn blob(&self, contents: &[u8]) -> String {
        self.repository().write_blob(contents).expect("the disk has room").detach().to_string()
    }

    /// The id of the tree of the commit `id`.
    pub fn tree_of(&self, id: &str) -> String {
        let repository = self.repository();
        let commit = repository.find_commit(object_id(id)).expect("the commit is there");
        commit.tree_id().expect("the commit has a tree").detach().to_string()
    }

    fn write_commit(
        &self,
        branch: &str,
        merged: &[ObjectId],
        files: &[(&str, &str)],
        message: &str,
        time: Timestamp,
    ) -> String {
        let repository = self.repository();
        let parent = self.tip(branch);
        let base = parent.map_or_else(
            || ObjectId::empty_tree(repository.object_hash()),
            |parent| repository.find_commit(parent).and_then(|c| Ok(c.tree_id()?.detach())).expect("the tip is there"),
        );
        let mut contents = self.files(base);
        for (path, text) in files {
            let blob = repository.write_blob(text.as_bytes()).expect("the disk has room").detach();
            contents.insert((*path).to_owned(), (EntryKind::Blob.into(), blob));
        }
        let tree = write_tree(&repository, &contents);
        let commit = gix::objs::Commit {
            tree,
            parents: parent.into_iter().chain(merged.iter().copied()).collect(),
            author: tester(time),
            committer: tester(time),
            encoding: None,
            message: message.into(),
            extra_headers: Vec::new(),
        };
        let id = repository.write_object(&commit).expect("the disk has room").detach();
        let expected =
            parent.map_or(PreviousValue::MustNotExist, |parent| PreviousValue::MustExistAndMatch(parent.into()));
        self.set_ref(&format!("refs/heads/{branch}"), id, expected);
        id.to_string()
    }

    /// Makes `branch` stand where `from` does.
    pub fn branch(&self, branch: &str, from: &str) {
        let id = self.tip(from).expect("the branch to start from is there");
        self.set_ref(&format!("refs/heads/{branch}"), id, PreviousValue::MustNotExist);
    }

    /// Tags the tip of `branch`: with an annotated tag when there is a message, else with a plain ref. Returns the id that the tag
    /// ref has.
    pub fn tag(&self, name: &str, branch: &str, message: Option<&str>) -> String {
        let target = self.tip(branch).expect("the branch to tag is there");
        let id = match message {
            None => target,
            Some(message) => object_id(&self.tag_object(name, &target.to_string(), message, Timestamp::now())),
        };
        self.set_ref(&format!("refs/tags/{name}"), id, PreviousValue::MustNotExist);
        id.to_string()
    }

    /// The id of the commit on which `branch` stands.
    pub fn head(&self, branch: &str) -> String {
        self.tip(branch).unwrap_or_else(|| panic!("the test's repository has the branch {branch}")).to_string()
    }

    /// The text of a file on `branch`.
    pub fn read(&self, branch: &str, path: &str) -> String {
        let repository = self.repository();
        let tree = repository
            .find_commit(self.tip(branch).expect("the branch is there"))
            .and_then(|commit| Ok(commit.tree_id()?.detach()))
            .expect("the commit has a tree");
        let (_, blob) = self.files(tree).remove(path).unwrap_or_else(|| panic!("the branch {branch} has {path}"));
        let blob = repository.find_object(blob).expect("the blob is there");
        String::from_utf8(blob.data.clone()).expect("the file is text")
    }

    /// The text of every file below `directory` in the commit `id`, by path. Nothing when there is no such commit. An empty
    /// `directory` stands for all of it; what is not text is left out.
    pub fn files_at(&self, id: &str, directory: &str) -> BTreeMap<String, String> {
        let repository = self.repository();
        let commit = ObjectId::from_hex(id.as_bytes()).ok().and_then(|id| repository.find_commit(id).ok());
        let Some(tree) = commit.and_then(|commit| Some(commit.tree_id().ok()?.detach())) else {
            return BTreeMap::new();
        };
        let below = |path: &str| {
            let directory = directory.trim_matches('/');
            directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
        };
        let files = self.files(tree).into_iter().filter(|(path, _)| below(path));
        let text = |blob| String::from_utf8(repository.find_object(blob).ok()?.data.clone()).ok();
        files.filter_map(|(path, (_, blob))| Some((path, text(blob)?))).collect()
    }

    /// The first-parent history of `branch`, newest first. Empty when there is no such branch.
    pub fn log(&self, branch: &str) -> Vec<LoggedCommit> {
        let repository = self.repository();
        let mut log = Vec::new();
        let mut next = self.tip(branch);
        while let Some(id) = next {
            let object = repository.find_commit(id).expect("the commit is there");
            let commit = object.decode().expect("the commit can be read");
            let parents: Vec<ObjectId> = commit.parents().collect();
            next = parents.first().copied();
            let before = next.map_or_else(BTreeMap::new, |parent| {
                let parent = repository.find_commit(parent).expect("the parent is there");
                self.files(parent.tree_id().expect("the parent has a tree").detach())
            });
            let after = self.files(commit.tree());
            let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let changed = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
            let author = commit.author().expect("the commit has an author");
            let message = commit.message.to_str_lossy().into_owned();
            log.push(LoggedCommit {
                id: id.to_string(),
                subject: message.lines().next().unwrap_or_default().to_owned(),
                trailers: trailers(&message),
                author: format!("{} <{}>", author.name, author.email),
                time: Timestamp::from_second(author.time().expect("the author has a time").seconds)
                    .expect("the time is one"),
                parents: parents.len(),
                changed_files: changed.cloned().collect(),
                message,
            });
        }
        log
    }

    fn repository(&self) -> gix::Repository {
        crate::remote::open(&self.path).expect("the test's repository is there")
    }

    fn tip(&self, branch: &str) -> Option<ObjectId> {
        let repository = self.repository();
        let reference = repository.try_find_reference(&format!("refs/heads/{branch}")).expect("refs can be read");
        reference.and_then(|reference| reference.try_id().map(gix::Id::detach))
    }

    fn set_ref(&self, name: &str, id: ObjectId, expected: PreviousValue) {
        let name = gix::refs::FullName::try_from(name).expect("the test gives a good name");
        let edit = gix::refs::transaction::RefEdit::update(name, id, expected, "test");
        self.repository().edit_references_as([edit], Some(tester_ref())).expect("nobody else moves the test's refs");
    }

    /// All files of a tree, by path.
    fn files(&self, tree: ObjectId) -> Files {
        let repository = self.repository();
        let mut files = Files::new();
        let mut open = vec![(String::new(), tree)];
        while let Some((above, tree)) = open.pop() {
            if tree == ObjectId::empty_tree(repository.object_hash()) {
                continue;
            }
            let tree = repository.find_tree(tree).expect("the tree is there");
            for entry in tree.decode().expect("the tree can be read").entries {
                let path = format!("{above}{}", entry.filename);
                if entry.mode.is_tree() {
                    open.push((format!("{path}/"), entry.oid.to_owned()));
                } else {
                    files.insert(path, (entry.mode, entry.oid.to_owned()));
                }
            }
        }
        files
    }
}

fn tester(time: Timestamp) -> gix::actor::Signature {
    let time = gix::date::Time { seconds: time.as_second(), offset: 0 };
    gix::actor::Signature { name: "Tester".into(), email: "tester@localhost".into(), time }
}

fn tester_ref() -> gix::actor::SignatureRef<'static> {
    gix::actor::SignatureRef { name: "Tester".into(), email: "tester@localhost".into(), time: "0 +0000" }
}

fn object_id(id: &str) -> ObjectId {
    ObjectId::from_hex(id.as_bytes()).expect("the test gives an id in full")
}

type Files = BTreeMap<String, (gix::objs::tree::EntryMode, ObjectId)>;

fn write_tree(repository: &gix::Repository, files: &Files) -> ObjectId {
    let mut entries: Vec<gix::objs::tree::Entry> = Vec::new();
    let mut directories: BTreeMap<&str, Files> = BTreeMap::new();
    for (path, (mode, oid)) in files {
        match path.split_once('/') {
            Some((directory, rest)) => {
                directories.entry(directory).or_default().insert(rest.to_owned(), (*mode, *oid));
            }
            None => entries.push(gix::objs::tree::Entry { mode: *mode, filename: path.as_str().into(), oid: *oid }),
        }
    }
    for (directory, files) in directories {
        let oid = write_tree(repository, &files);
        entries.push(gix::objs::tree::Entry { mode: EntryKind::Tree.into(), filename: directory.into(), oid });
    }
    entries.sort();
    repository.write_object(&gix::objs::Tree { entries }).expect("the disk has room").detach()
}

fn trailers(message: &str) -> BTreeMap<String, String> {
    let Some((_, last)) = message.trim_end().rsplit_once("\n\n") else { return BTreeMap::new() };
    let pairs = last.lines().filter_map(|line| line.split_once(": "));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
