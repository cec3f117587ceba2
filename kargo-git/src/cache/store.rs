//! What is known of one repository, as one credential sees it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use gix::ObjectId;
use gix::objs::Kind;
use kargo_core::Result;
use kargo_core::plugin::Relation;

use super::commit::{CachedCommit, CachedTag};
use super::listing::Listing;
use super::objects::{Objects, Trees};
use crate::changes::ChangedPaths;
use crate::remote::{RemoteRef, Session};

/// How many tips are remembered from which all was fetched.
const HEADS: usize = 16;

/// How many relations are remembered.
const RELATIONS: usize = 1024;

/// Everything that is known of one repository.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(super) listing: Listing,
    /// Held by whoever fetches, so that others find what they need instead of fetching it too.
    pub(super) fetching: tokio::sync::Mutex<()>,
    objects: Objects,
    /// How many looks have begun.
    looks: AtomicU64,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    commits: HashMap<ObjectId, Arc<CachedCommit>>,
    tags: HashMap<ObjectId, Arc<CachedTag>>,
    /// What refs point at that is neither a commit nor a tag.
    others: HashSet<ObjectId>,
    /// Tips from which commits and trees were fetched, the last one at the end.
    heads: Vec<ObjectId>,
    /// How pairs of commits stand to each other, which never changes.
    relations: HashMap<(ObjectId, ObjectId), Relation>,
    size: usize,
}

impl Store {
    /// The number of a look that begins now. What the repository did not have before that, it is asked for again.
    pub(crate) fn begin_look(&self) -> u64 {
        self.looks.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The number of the look that began last, for all that are at work can use what one of them finds.
    pub(super) fn newest_look(&self) -> u64 {
        self.looks.load(Ordering::SeqCst)
    }

    /// The refs whose names begin with one of `prefixes`, as they are now. Those who ask at the same time are told together.
    pub(crate) async fn refs(&self, session: &mut Session, prefixes: &[&str]) -> Result<Arc<Vec<RemoteRef>>> {
        self.listing.refs(session, prefixes).await
    }

    /// The directories that are known.
    pub(crate) fn trees(&self) -> &Arc<Trees> {
        &self.objects.trees
    }

    /// A directory or a file, when it is known.
    pub(crate) fn object(&self, id: &ObjectId) -> Option<(Kind, Arc<[u8]>)> {
        self.objects.get(id)
    }

    /// Remembers an object for a while. A commit that cannot be read is none to be remembered.
    pub(crate) fn keep(&self, id: ObjectId, kind: Kind, data: &[u8]) {
        match kind {
            Kind::Commit if self.commit(&id).is_none() => {
                if let Ok(commit) = CachedCommit::parse(data, id.kind()) {
                    self.remember(id, commit);
                }
            }
            Kind::Commit | Kind::Tag => {}
            Kind::Tree | Kind::Blob => self.objects.keep(id, kind, data),
        }
    }

    pub(crate) fn commit(&self, id: &ObjectId) -> Option<Arc<CachedCommit>> {
        self.read().commits.get(id).cloned()
    }

    pub(crate) fn tag(&self, id: &ObjectId) -> Option<Arc<CachedTag>> {
        self.read().tags.get(id).cloned()
    }

    /// Whether it is known what `id` is.
    pub(super) fn knows(&self, id: &ObjectId) -> bool {
        let known = self.read();
        known.commits.contains_key(id) || known.tags.contains_key(id) || known.others.contains(id)
    }

    /// Remembers a commit, unless it is known, and gives what is remembered.
    pub(super) fn remember(&self, id: ObjectId, commit: CachedCommit) -> Arc<CachedCommit> {
        let mut known = self.write();
        if let Some(commit) = known.commits.get(&id) {
            return Arc::clone(commit);
        }
        known.size += commit.size();
        let commit = Arc::new(commit);
        known.commits.insert(id, Arc::clone(&commit));
        commit
    }

    pub(super) fn remember_tag(&self, id: ObjectId, tag: CachedTag) {
        let mut known = self.write();
        known.size += tag.size();
        known.tags.insert(id, Arc::new(tag));
    }

    pub(super) fn remember_other(&self, id: ObjectId) {
        let mut known = self.write();
        if known.others.insert(id) {
            known.size += size_of::<ObjectId>() * 2;
        }
    }

    pub(super) fn remember_changes(&self, commit: &CachedCommit, changed: ChangedPaths) {
        let size = changed.size();
        if commit.set_changed(changed) {
            self.write().size += size;
        }
    }

    pub(super) fn heads(&self) -> Vec<ObjectId> {
        self.read().heads.clone()
    }

    pub(super) fn remember_head(&self, id: ObjectId) {
        let mut known = self.write();
        known.heads.retain(|head| *head != id);
        known.heads.push(id);
        if known.heads.len() > HEADS {
            known.heads.remove(0);
        }
    }

    /// How `observed` stands to `wanted`, when that was found out before.
    pub(crate) fn relation(&self, observed: ObjectId, wanted: ObjectId) -> Option<Relation> {
        self.read().relations.get(&(observed, wanted)).copied()
    }

    /// Remembers how two commits stand to each other, unless that is not known.
    pub(crate) fn remember_relation(&self, observed: ObjectId, wanted: ObjectId, relation: Relation) {
        if relation == Relation::Unknown {
            return;
        }
        let mut known = self.write();
        if known.relations.len() >= RELATIONS {
            known.relations.clear();
        }
        known.relations.insert((observed, wanted), relation);
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        self.read().size + self.objects.size() + self.listing.size()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}
