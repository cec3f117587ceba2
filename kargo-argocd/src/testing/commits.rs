//! A repository in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use kargo_core::plugin::{Context, History, Relation};
use kargo_core::{Result, Revision};

/// Branches of commits in memory, for the fake to resolve and for a deployer to ask how they follow each other. Clones share the commits.
///
/// ```
/// use kargo_argocd::testing::Commits;
///
/// let commits = Commits::new();
/// let first = commits.commit("main", [("dev", "v1"), ("prod", "v1")]);
/// let second = commits.commit("main", [("dev", "v2")]);
/// assert_eq!(commits.head("main"), Some(second.clone()));
/// // The second leaves prod as the first wrote it.
/// assert_eq!(commits.content(&second, "prod"), commits.content(&first, "prod"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Commits(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    branches: BTreeMap<String, String>,
    commits: BTreeMap<String, Commit>,
}

#[derive(Debug, Clone, Default)]
struct Commit {
    parent: Option<String>,
    files: BTreeMap<String, String>,
}

impl Commits {
    /// No commits.
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Commits `files`, paths with their content, on a branch; returns the id.
    pub fn commit<'a>(&self, branch: &str, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut inner = self.inner();
        let parent = inner.branches.get(branch).cloned();
        let mut commit = parent.as_ref().and_then(|id| inner.commits.get(id)).cloned().unwrap_or_default();
        commit.parent = parent;
        commit.files.extend(files.into_iter().map(|(path, content)| (path.to_owned(), content.to_owned())));
        // Knuth's multiplier spreads the count, so that ids differ in their first digits, as people see them.
        let number = inner.commits.len() as u32 + 1;
        let id = format!("{:08x}{number:032x}", number.wrapping_mul(2_654_435_761));
        inner.commits.insert(id.clone(), commit);
        inner.branches.insert(branch.to_owned(), id.clone());
        id
    }

    /// Lets a branch begin at, or be moved to, a commit.
    pub fn set_branch(&self, branch: &str, id: &str) {
        self.inner().branches.insert(branch.to_owned(), id.to_owned());
    }

    /// The newest commit of a branch.
    pub fn head(&self, branch: &str) -> Option<String> {
        self.inner().branches.get(branch).cloned()
    }

    /// What a path holds at a commit.
    pub fn content(&self, id: &str, path: &str) -> Option<String> {
        self.inner().commits.get(id)?.files.get(path).cloned()
    }

    /// How `observed` stands to `wanted`.
    pub fn relation(&self, observed: &str, wanted: &str) -> Relation {
        let inner = self.inner();
        if !inner.commits.contains_key(observed) || !inner.commits.contains_key(wanted) {
            return Relation::Unknown;
        }
        if observed == wanted {
            Relation::Same
        } else if inner.ancestors(observed).contains(wanted) {
            Relation::Later
        } else if inner.ancestors(wanted).contains(observed) {
            Relation::Earlier
        } else {
            Relation::Diverged
        }
    }
}

impl Inner {
    fn ancestors(&self, id: &str) -> BTreeSet<String> {
        let parent = |id: &String| self.commits.get(id).and_then(|commit| commit.parent.clone());
        std::iter::successors(parent(&id.to_owned()), parent).collect()
    }
}

#[async_trait]
impl History for Commits {
    async fn relate(&self, _cx: &Context, observed: &Revision, wanted: &Revision) -> Result<Relation> {
        Ok(self.relation(observed.as_str(), wanted.as_str()))
    }
}
