//! Which paths a commit changes: its tree beside its first parent's, directory by directory where they differ. Files are never read.

mod tree;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gix::ObjectId;
use gix::objs::Kind;
use kargo_core::{Error, ErrorKind, Result};

use crate::cache::Trees;
use crate::remote::{Objects, Session, blocking};
use tree::{Difference, differences};

/// How many bytes the paths may take that one commit changes. Trees of few bytes can hold any number of files.
const MAX_PATHS: usize = 64 << 20;

/// The same for all commits that are looked at together.
const MAX_TOGETHER: usize = 512 << 20;

/// How many directories of one level may differ.
const MAX_DIRECTORIES: usize = 1 << 20;

/// The paths that a commit changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChangedPaths(Box<[u8]>);

impl ChangedPaths {
    /// Each path, from the root of the repository.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split_inclusive(|byte| *byte == 0).map(|path| &path[..path.len() - 1])
    }

    /// How many bytes they take.
    pub(crate) fn size(&self) -> usize {
        self.0.len()
    }
}

impl<'a> FromIterator<&'a [u8]> for ChangedPaths {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(paths: I) -> Self {
        let mut bytes = Vec::new();
        for path in paths {
            bytes.extend_from_slice(path);
            bytes.push(0);
        }
        Self(bytes.into())
    }
}

/// Two trees of which one follows the other. What there was not is `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) commit: ObjectId,
    pub(crate) before: Option<ObjectId>,
    pub(crate) after: ObjectId,
}

/// A directory that differs.
struct Open {
    /// The number of the step.
    step: usize,
    /// Empty, or ending in a slash.
    path: Vec<u8>,
    before: Option<ObjectId>,
    after: Option<ObjectId>,
}

/// The paths that each step changes, by its commit. Trees that are neither in `trees` nor in what `session` has are fetched, all of
/// one round together.
pub(crate) async fn changed_paths(
    session: &mut Session,
    trees: &Arc<Trees>,
    steps: Vec<Step>,
) -> Result<BTreeMap<ObjectId, ChangedPaths>> {
    let mut work = Work {
        open: steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.before != Some(step.after))
            .map(|(n, step)| Open { step: n, path: Vec::new(), before: step.before, after: Some(step.after) })
            .collect(),
        paths: vec![Vec::new(); steps.len()],
        size: 0,
        missing: HashSet::new(),
        steps,
    };
    loop {
        let (reader, trees, before) = (session.reader(), Arc::clone(trees), work.missing.len());
        let asked = std::mem::take(&mut work.missing);
        work = blocking(move |abandoned| {
            work.advance(&mut reader.open()?, &trees, abandoned)?;
            Ok(work)
        })
        .await?;
        if work.missing.is_empty() {
            let paths = work.paths.into_iter().map(|paths| ChangedPaths(paths.into()));
            return Ok(work.steps.iter().map(|step| step.commit).zip(paths).collect());
        }
        if before > 0
            && let Some(id) = work.missing.intersection(&asked).next()
        {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                format!("{} was asked for the tree {id} and did not send it.", session.shown()),
            ));
        }
        let mut missing: Vec<ObjectId> = work.missing.iter().copied().collect();
        missing.sort_unstable();
        session.fetch_trees(&missing).await?;
    }
}

struct Work {
    steps: Vec<Step>,
    /// In reverse order of what is looked at next.
    open: Vec<Open>,
    /// Of each step, every path with a zero behind it.
    paths: Vec<Vec<u8>>,
    /// How many bytes those are.
    size: usize,
    missing: HashSet<ObjectId>,
}

impl Work {
    /// Looks at all that is here, and notes what is missing.
    fn advance(&mut self, objects: &mut Objects, trees: &Trees, abandoned: &AtomicBool) -> Result<()> {
        let mut stuck = Vec::new();
        // Neighbours in history are made from each other, so each level is done in their order.
        let mut level = std::mem::take(&mut self.open);
        while !level.is_empty() {
            let mut next = Vec::new();
            for open in level {
                if abandoned.load(Ordering::SeqCst) {
                    return Err(Error::new(ErrorKind::Cancelled, "Nobody waits for the comparison any more."));
                }
                let before = self.tree(open.before, objects, trees)?;
                let after = self.tree(open.after, objects, trees)?;
                let (Some(before), Some(after)) = (before, after) else {
                    stuck.push(open);
                    continue;
                };
                let hash = self.steps[open.step].after.kind();
                let paths = &mut self.paths[open.step];
                self.size -= paths.len();
                differences(&before, &after, hash, |difference| match difference {
                    Difference::File { name } => {
                        paths.extend_from_slice(&open.path);
                        paths.extend_from_slice(name);
                        paths.push(0);
                    }
                    Difference::Directory { name, before, after } => {
                        let path = [&open.path, name, b"/"].concat();
                        next.push(Open { step: open.step, path, before, after });
                    }
                })?;
                self.size += paths.len();
                // Directories that wait count too: a tree can hold another one a thousand times.
                if paths.len() > MAX_PATHS || self.size > MAX_TOGETHER || next.len() > MAX_DIRECTORIES {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!(
                            "The commits up to {} change more paths than can be looked at; lower the search_depth of the source, or do without filters by path.",
                            self.steps[open.step].commit
                        ),
                    ));
                }
            }
            level = next;
        }
        self.open = stuck;
        Ok(())
    }

    /// The contents of a tree, empty when there is none; `None` when it is missing.
    fn tree(&mut self, id: Option<ObjectId>, objects: &mut Objects, trees: &Trees) -> Result<Option<Arc<[u8]>>> {
        let Some(id) = id else { return Ok(Some(Arc::default())) };
        if id == ObjectId::empty_tree(id.kind()) {
            return Ok(Some(Arc::default()));
        }
        if let Some(tree) = trees.get(&id) {
            return Ok(Some(tree));
        }
        match objects.find(&id)? {
            Some((Kind::Tree, data)) => Ok(Some(data.into())),
            Some((kind, _)) => {
                Err(Error::new(ErrorKind::InvalidResponse, format!("{id} is a {kind} where a tree should be.")))
            }
            None => {
                self.missing.insert(id);
                Ok(None)
            }
        }
    }
}

/// The trees from `root` downwards that can be read without fetching, level by level, until they take `bytes`.
pub(crate) fn top_of(
    root: ObjectId,
    bytes: usize,
    objects: &mut Objects,
    known: &Trees,
) -> Result<Vec<(ObjectId, Arc<[u8]>)>> {
    let (mut found, mut size) = (Vec::new(), 0);
    let mut seen = HashSet::from([root]);
    let mut level = vec![root];
    while !level.is_empty() {
        let mut next = Vec::new();
        for id in level {
            let tree: Arc<[u8]> = match known.get(&id) {
                Some(tree) => tree,
                None => match objects.find(&id)? {
                    Some((Kind::Tree, data)) => data.into(),
                    _ => continue,
                },
            };
            size += tree.len();
            if size > bytes {
                return Ok(found);
            }
            differences(&[], &tree, id.kind(), |difference| {
                if let Difference::Directory { after: Some(after), .. } = difference
                    && seen.insert(after)
                {
                    next.push(after);
                }
            })?;
            found.push((id, tree));
        }
        level = next;
    }
    Ok(found)
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use gix::objs::tree::EntryKind;

    use super::*;
    use crate::remote::{Remote, open};
    use crate::testing::BareRepository;

    async fn changes(repository: &BareRepository, before: Option<ObjectId>, after: ObjectId) -> Result<Vec<String>> {
        let mut session = Remote::new(repository.url())?.session(&kargo_core::plugin::Context::system("read")).await?;
        let step = Step { commit: ObjectId::null(gix::hash::Kind::Sha1), before, after };
        let changed = changed_paths(&mut session, &Arc::default(), vec![step]).await?;
        let paths = changed[&step.commit].iter().map(|path| String::from_utf8_lossy(path).into_owned());
        Ok(paths.collect())
    }

    #[tokio::test]
    async fn only_what_differs_is_descended_into() {
        let repository = BareRepository::new();
        let tree = |commit: String| ObjectId::from_hex(repository.tree_of(&commit).as_bytes()).unwrap();
        let first = tree(repository.commit("main", &[("a/b/c", "1"), ("a/d", "1"), ("e", "1")], "First"));
        let second = tree(repository.commit("main", &[("a/b/c", "2"), ("f/g", "1")], "Second"));
        assert_eq!(changes(&repository, Some(first), second).await.unwrap(), ["f/g", "a/b/c"]);
        assert_eq!(changes(&repository, None, first).await.unwrap(), ["e", "a/d", "a/b/c"]);
        assert!(changes(&repository, Some(first), first).await.unwrap().is_empty());
        // The same directory under another name has no other entries, and no change may be lost on it.
        let empty = ObjectId::empty_tree(gix::hash::Kind::Sha1);
        assert_eq!(changes(&repository, Some(second), empty).await.unwrap().len(), 4);
    }

    #[tokio::test]
    async fn a_few_trees_that_stand_for_billions_of_files_are_refused() {
        let repository = BareRepository::new();
        let objects = open(repository.path()).unwrap();
        let mut oid = objects.write_blob(b"x").unwrap().detach();
        let mut mode = EntryKind::Blob;
        for _ in 0..4 {
            let name = |n: u32| format!("{n:04}").into();
            let entries = (0..1100).map(|n| gix::objs::tree::Entry { mode: mode.into(), filename: name(n), oid });
            oid = objects.write_object(&gix::objs::Tree { entries: entries.collect() }).unwrap().detach();
            mode = EntryKind::Tree;
        }
        let error = changes(&repository, None, oid).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}
