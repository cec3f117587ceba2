//! What pieces of work on one repository tell each other of its commits, directories and files.
//!
//! What was shown to somebody is told to nobody who signs in as another: what is asked for goes by who signs in at that moment, and what
//! is told by who was signed in when it was fetched. No lock is held while a server is spoken to.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::Kind;
use kargo_core::Result;
use kargo_core::plugin::Context;

use super::objects::NewObjects;
use super::sign_in::SignIn;
use super::{Session, blocking, local};
use crate::cache::{GitCache, Key, Store};

/// The memory that a session has a part in.
pub(super) struct Memory {
    cache: GitCache,
    /// The repository, without who sees it.
    place: Key,
    /// To whom everything was shown that the session has fetched.
    shown_to: ShownTo,
}

enum ShownTo {
    Nobody,
    One(Key),
    /// The credentials were replaced by others in between, so nothing of it is told to anybody.
    Several,
}

impl Memory {
    fn new(cache: GitCache, place: Key) -> Self {
        Self { cache, place, shown_to: ShownTo::Nobody }
    }

    fn key(&self, sign_in: &SignIn) -> Result<Key> {
        self.place.seen_as(sign_in.identity().as_ref())
    }

    /// Notes that something was fetched as the one who signs in.
    pub(super) fn fetched(&mut self, sign_in: &SignIn) -> Result<()> {
        let key = self.key(sign_in)?;
        self.shown_to = match std::mem::replace(&mut self.shown_to, ShownTo::Several) {
            ShownTo::Nobody => ShownTo::One(key),
            ShownTo::One(before) if before == key => ShownTo::One(key),
            _ => ShownTo::Several,
        };
        Ok(())
    }
}

/// What keys are made of is nobody's business.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// An object, as it was found.
type Found = Option<(Kind, Vec<u8>)>;

impl Session {
    /// Has what is fetched remembered in `cache`, as far as that serves: what is on this machine is not fetched.
    pub(super) fn remembering(mut self, cache: GitCache, place: Key) -> Self {
        if let Self::Wire(wire) = &mut self {
            wire.memory = Some(Memory::new(cache, place));
        }
        self
    }

    /// What is remembered for the one who signs in now. Nothing for a server of the old protocol: of a commit that is known already it
    /// might not give the rest.
    async fn known(&mut self) -> Result<Option<Arc<Store>>> {
        let Self::Wire(wire) = self else { return Ok(None) };
        if !wire.advertisement().await?.gives_by_id() {
            return Ok(None);
        }
        let Some(memory) = &wire.memory else { return Ok(None) };
        Ok(Some(memory.cache.store(&memory.key(wire.transport.sign_in())?)))
    }

    /// Remembers what this session has fetched or made, unless it has seen the repository as more than one.
    fn tell<'a>(&self, objects: impl IntoIterator<Item = (ObjectId, Kind, &'a [u8])>) {
        let Self::Wire(wire) = self else { return };
        let Some(memory) = &wire.memory else { return };
        let key = match &memory.shown_to {
            ShownTo::Nobody => memory.key(wire.transport.sign_in()).ok(),
            ShownTo::One(key) => Some(key.clone()),
            ShownTo::Several => None,
        };
        if let Some(key) = key {
            memory.cache.tell(&key, objects);
        }
    }

    /// Remembers what the repository has got from here. Of the commits only `tip`, of which it is certain.
    pub(crate) fn pushed(&self, objects: &NewObjects, tip: ObjectId) {
        self.tell(objects.with_tip(tip));
    }

    /// The trees of these commits, of which those that are not known are fetched, together and with what is needed to read files of
    /// them. What is no commit is left out.
    pub(crate) async fn roots(&mut self, commits: &[ObjectId]) -> Result<HashMap<ObjectId, ObjectId>> {
        let mut roots = HashMap::new();
        let known = self.known().await?;
        let by_id = known.is_some();
        roots
            .extend(known.iter().flat_map(|store| commits.iter().filter_map(|id| Some((*id, store.commit(id)?.tree)))));
        drop(known);
        let missing: Vec<ObjectId> = commits.iter().copied().filter(|id| !roots.contains_key(id)).collect();
        if !missing.is_empty() {
            let found = self.commits(&missing, 1, true).await?;
            roots.extend(found.iter().map(|(id, info)| (*id, info.tree)));
            if by_id {
                // Nobody may look into the root in this session, but others will.
                self.read(found.into_iter().flat_map(|(id, info)| [id, info.tree]).collect()).await?;
            }
        }
        if let (true, Self::Wire(wire)) = (by_id, self) {
            wire.reach_from(commits);
        }
        Ok(roots)
    }

    /// One object.
    pub(crate) async fn object(&mut self, id: ObjectId) -> Result<(Kind, Vec<u8>)> {
        let mut found = self.read(vec![id]).await?;
        self.complete(&[id], &mut found).await?;
        self.whole(&[id], found).map(|mut objects| objects.swap_remove(0))
    }

    /// These trees and files, in their order. What is neither here nor known is fetched, all of it together, in the name of `cx`.
    pub(crate) async fn objects(&mut self, cx: &Context, ids: &[ObjectId]) -> Result<Vec<(Kind, Vec<u8>)>> {
        let mut found = self.read(ids.to_vec()).await?;
        if found.iter().any(Option::is_none) {
            // First, since what is known to one is not to another.
            self.go_on(cx).await?;
            self.complete(ids, &mut found).await?;
        }
        self.whole(ids, found)
    }

    /// Gets what was not `found`.
    async fn complete(&mut self, ids: &[ObjectId], found: &mut [Found]) -> Result<()> {
        if let Some(store) = self.known().await? {
            for (id, found) in ids.iter().zip(&mut *found).filter(|(_, found)| found.is_none()) {
                *found = store.object(id).map(|(kind, data)| (kind, data.to_vec()));
            }
        }
        let missing: BTreeSet<ObjectId> =
            ids.iter().zip(&*found).filter(|(_, found)| found.is_none()).map(|(id, _)| *id).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<ObjectId> = missing.into_iter().collect();
        self.fetch_trees(&missing).await?;
        let fetched: HashMap<ObjectId, Found> =
            missing.iter().copied().zip(self.read(missing.clone()).await?).collect();
        for (id, found) in ids.iter().zip(found).filter(|(_, found)| found.is_none()) {
            *found = fetched.get(id).cloned().flatten();
        }
        Ok(())
    }

    /// Those of these objects that the session has, which are remembered.
    async fn read(&self, ids: Vec<ObjectId>) -> Result<Vec<Found>> {
        let (reader, wanted) = (self.reader(), ids.clone());
        let found = blocking(move |_| {
            let mut objects = reader.open()?;
            wanted.iter().map(|id| objects.find(id)).collect::<Result<Vec<Found>>>()
        })
        .await?;
        let here = ids.into_iter().zip(&found);
        self.tell(here.filter_map(|(id, found)| found.as_ref().map(|(kind, data)| (id, *kind, data.as_slice()))));
        Ok(found)
    }

    fn whole(&self, ids: &[ObjectId], found: Vec<Found>) -> Result<Vec<(Kind, Vec<u8>)>> {
        let missing = |id: &ObjectId| match self {
            Self::Local(local) => local::missing(&local.shown, *id),
            Self::Wire(wire) => wire.missing(*id),
        };
        ids.iter().zip(found).map(|(id, object)| object.ok_or_else(|| missing(id))).collect()
    }
}
