//! Reading many objects of a repository: what is fetched together, and where it is found afterwards.

use std::path::PathBuf;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::Kind;
use gix_pack::cache::lru::MemoryCappedHashmap;
use kargo_core::Result;

use super::objects::Pack;
use super::wire::Part;
use super::{Session, local};

/// How many objects are asked for in one request at most. That many ids stay below the megabyte that proxies let through.
const IDS: usize = 10_000;

/// How much memory, in bytes, holds the objects of one pack from which others are made.
const BASES: usize = 24 << 20;

/// A piece of the history of one ref.
#[derive(Debug, Clone, Copy)]
pub(crate) struct History {
    /// Where the ref stands.
    pub(crate) tip: ObjectId,
    /// The commit with which the piece begins: the tip, or one behind it.
    pub(crate) start: ObjectId,
    /// How many generations `start` is behind the tip.
    pub(crate) behind: u32,
    /// How many generations are wanted.
    pub(crate) depth: u32,
    /// Whether the trees are wanted too.
    pub(crate) trees: bool,
}

/// Where the objects of a session are found. Cheap to clone, to be taken to a thread that may block.
#[derive(Debug, Clone)]
pub(crate) struct Reader(Place);

#[derive(Debug, Clone)]
enum Place {
    Local(PathBuf),
    Packs(Vec<Arc<Pack>>),
}

/// A [`Reader`] at work. Blocking.
pub(crate) struct Objects(Opened);

enum Opened {
    Local(Box<gix::Repository>),
    Packs { packs: Vec<(Arc<Pack>, MemoryCappedHashmap)>, inflate: Box<gix::zlib::Inflate> },
}

impl Reader {
    pub(crate) fn open(&self) -> Result<Objects> {
        Ok(Objects(match &self.0 {
            Place::Local(path) => {
                let mut repository = local::open(path)?;
                repository.object_cache_size(BASES);
                Opened::Local(Box::new(repository))
            }
            Place::Packs(packs) => Opened::Packs {
                packs: packs.iter().map(|pack| (Arc::clone(pack), MemoryCappedHashmap::new(BASES))).collect(),
                inflate: Box::default(),
            },
        }))
    }
}

impl Objects {
    /// An object, when it is here.
    pub(crate) fn find(&mut self, id: &gix::oid) -> Result<Option<(Kind, Vec<u8>)>> {
        match &mut self.0 {
            Opened::Local(repository) => {
                let object = repository.try_find_object(id).map_err(local::unreadable)?;
                Ok(object.map(|object| (object.kind, object.detach().data)))
            }
            Opened::Packs { packs, inflate } => {
                for (pack, bases) in packs.iter_mut().rev() {
                    if let Some(object) = pack.find_with(id, inflate, bases)? {
                        return Ok(Some(object));
                    }
                }
                Ok(None)
            }
        }
    }
}

impl Session {
    /// Whether reading costs requests.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Wire(_))
    }

    /// Where the objects are found that this session has now.
    pub(crate) fn reader(&self) -> Reader {
        Reader(match self {
            Self::Local(local) => Place::Local(local.path().to_owned()),
            Self::Wire(wire) => Place::Packs(wire.packs.clone()),
        })
    }

    /// Whether any object can be had by its id.
    pub(crate) async fn gives_by_id(&mut self) -> Result<bool> {
        match self {
            Self::Local(_) => Ok(true),
            Self::Wire(wire) => Ok(wire.advertisement().await?.gives_by_id()),
        }
    }

    /// Sees to it that a piece of history can be read, as far as the repository has it. What is reached from `haves`, with its trees,
    /// may be left out. One request.
    pub(crate) async fn fetch_history(&mut self, history: History, haves: &[ObjectId]) -> Result<()> {
        let Self::Wire(wire) = self else { return Ok(()) };
        let advertisement = wire.advertisement().await?;
        let (by_id, filters) = (advertisement.gives_by_id(), advertisement.filters());
        let part = if history.trees { Part::AllTrees } else { Part::Commits };
        // Without filters everything comes with each commit; what is left out then could not be had by itself later.
        let haves = if filters { haves } else { &[] };
        if by_id {
            wire.fetch(&[history.start], haves, part, history.depth).await
        } else {
            wire.fetch(&[history.tip], haves, part, history.depth.saturating_add(history.behind)).await
        }
    }

    /// Sees to it that these objects can be read, and of commits `depth` generations of history. A request for 10,000 objects.
    pub(crate) async fn fetch_objects(&mut self, ids: &[ObjectId], depth: u32) -> Result<()> {
        let Self::Wire(wire) = self else { return Ok(()) };
        for ids in ids.chunks(IDS) {
            wire.fetch(ids, &[], Part::Commits, depth).await?;
        }
        Ok(())
    }

    /// Sees to it that these trees and files can be read, without what is in the trees. A request for 10,000 of them.
    pub(crate) async fn fetch_trees(&mut self, ids: &[ObjectId]) -> Result<()> {
        let Self::Wire(wire) = self else { return Ok(()) };
        for ids in ids.chunks(IDS) {
            wire.fetch(ids, &[], Part::Object, 1).await?;
        }
        Ok(())
    }
}
