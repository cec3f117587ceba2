//! Packs that were received, and new objects that are to be sent.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::objs::Kind;
use kargo_core::{Error, ErrorKind, Result};

use super::{disk, weight};

/// The biggest object, in bytes, for which memory is given: a pack of few bytes can claim any size.
const MAX_OBJECT: usize = 512 << 20;

/// A received pack, in a temporary directory that goes with it.
pub(super) struct Pack {
    /// `None` when the server had nothing to send.
    bundle: Option<gix_pack::Bundle>,
    // Dropped after the bundle that is mapped from its files.
    _directory: tempfile::TempDir,
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pack({} objects)", self.bundle.as_ref().map_or(0, |bundle| bundle.index.num_objects()))
    }
}

impl Pack {
    /// Checks a pack and indexes it, unless `abandoned` becomes true before. Blocking.
    pub(super) fn receive(bytes: &[u8], hash: gix::hash::Kind, abandoned: &AtomicBool) -> Result<Self> {
        weight::check(bytes, hash)?;
        // By their names, those that a killed process leaves are known as ours.
        let directory = tempfile::Builder::new().prefix("kargo-git-").tempdir().map_err(no_room)?;
        let outcome = gix_pack::Bundle::write_to_directory(
            &mut std::io::Cursor::new(bytes),
            Some(directory.path()),
            &mut gix::progress::Discard,
            abandoned,
            None::<gix::objs::find::Never>,
            hash,
            gix_pack::bundle::write::Options {
                thread_limit: Some(1),
                alloc_limit_bytes: Some(MAX_OBJECT),
                ..Default::default()
            },
        )
        .map_err(unusable)?;
        let bundle = outcome.to_bundle().transpose().map_err(unusable)?;
        Ok(Self { bundle, _directory: directory })
    }

    /// The ids of all that is in it.
    #[cfg(test)]
    pub(super) fn ids(&self) -> Vec<ObjectId> {
        self.bundle.iter().flat_map(|bundle| bundle.index.iter().map(|entry| entry.oid)).collect()
    }

    pub(super) fn find(&self, id: &gix::oid) -> Result<Option<(Kind, Vec<u8>)>> {
        self.find_with(id, &mut gix::zlib::Inflate::default(), &mut gix_pack::cache::Never)
    }

    /// As [`Pack::find`], for who reads many: what each needs of others is remembered in `cache`.
    pub(super) fn find_with(
        &self,
        id: &gix::oid,
        inflate: &mut gix::zlib::Inflate,
        cache: &mut dyn gix_pack::cache::DecodeEntry,
    ) -> Result<Option<(Kind, Vec<u8>)>> {
        let Some(bundle) = &self.bundle else { return Ok(None) };
        let mut data = Vec::new();
        let found = bundle.find(id, &mut data, inflate, cache).map_err(unusable)?;
        let kind = found.map(|(object, _)| object.kind);
        Ok(kind.map(|kind| (kind, data)))
    }
}

fn no_room(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(
        ErrorKind::Full,
        "The directory for temporary files cannot hold the received objects; make room in it, and let this user write there.",
    )
    .because(error)
}

fn unusable(error: gix::error::Error) -> Error {
    // The server is not to blame for this machine's disk.
    match disk::fault(&error) {
        Some(_) => no_room(error),
        None => damaged(error),
    }
}

pub(super) fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidResponse, "The pack that the server sent is damaged.")
        .retry_as(kargo_core::Retry::Backoff)
        .because(error)
}

/// Objects that the remote does not have yet, by id.
#[derive(Debug, Default, Clone)]
pub(crate) struct NewObjects(HashMap<ObjectId, (Kind, Vec<u8>)>);

impl NewObjects {
    pub(crate) fn insert(&mut self, hash: gix::hash::Kind, kind: Kind, data: Vec<u8>) -> Result<ObjectId> {
        let id = gix::objs::compute_hash(hash, kind, &data).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "The object looks like an attack on its hash and is not written.")
                .because(error)
        })?;
        self.0.insert(id, (kind, data));
        Ok(id)
    }

    pub(crate) fn get(&self, id: &gix::oid) -> Option<&(Kind, Vec<u8>)> {
        self.0.get(id)
    }

    /// Takes in all of `others`.
    pub(crate) fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().map(|(id, object)| (*id, object.clone())));
    }

    /// Keeps what is reached from `tips`: several edits leave trees of the states between them behind.
    pub(crate) fn keep_reached(
        &mut self,
        tips: impl IntoIterator<Item = ObjectId>,
        hash: gix::hash::Kind,
    ) -> Result<()> {
        let mut reached = std::collections::HashSet::new();
        let mut open: Vec<ObjectId> = tips.into_iter().collect();
        while let Some(id) = open.pop() {
            let Some((kind, data)) = self.0.get(&id) else { continue };
            if !reached.insert(id) {
                continue;
            }
            match kind {
                Kind::Tree => open.extend(crate::tree::parse(data, hash)?.into_iter().map(|entry| entry.oid)),
                Kind::Commit => {
                    let info = super::CommitInfo::parse(data, hash)?;
                    open.push(info.tree);
                    open.extend(info.parents);
                }
                Kind::Tag => {
                    let target = data.strip_prefix(b"object ").and_then(|rest| rest.get(..hash.len_in_hex()));
                    open.extend(target.and_then(|hex| ObjectId::from_hex(hex).ok()));
                }
                Kind::Blob => {}
            }
        }
        self.0.retain(|id, _| reached.contains(id));
        Ok(())
    }

    /// All but the commits other than `tip`: whether a repository has those is not certain when it has that one.
    pub(crate) fn with_tip(&self, tip: ObjectId) -> impl Iterator<Item = (ObjectId, Kind, &[u8])> {
        let objects = self.0.iter().map(|(id, (kind, data))| (*id, *kind, data.as_slice()));
        objects.filter(move |(id, kind, _)| *kind != Kind::Commit || *id == tip)
    }

    /// In an order in which each object comes after those it refers to, so that whoever dies in the middle leaves none with a hole.
    pub(crate) fn bottom_up(&self) -> Vec<(ObjectId, Kind, &[u8])> {
        let mut objects: Vec<_> = self.0.iter().map(|(id, (kind, data))| (*id, *kind, data.as_slice())).collect();
        // Trees are not sorted among each other: a reader sees none of them before the ref moves.
        objects.sort_by_key(|(id, kind, _)| {
            let rank = match kind {
                Kind::Blob => 0,
                Kind::Tree => 1,
                Kind::Commit => 2,
                Kind::Tag => 3,
            };
            (rank, *id)
        });
        objects
    }

    /// The pack that holds them all.
    pub(super) fn pack(&self, hash: gix::hash::Kind) -> Result<Vec<u8>> {
        use gix_pack::data::output::{Count, Entry, bytes::FromEntriesIter};
        let fault = |error: gix::error::Error| {
            Error::new(ErrorKind::Other, "The new objects could not be packed.").because(error)
        };
        let objects = self.bottom_up();
        let count = u32::try_from(objects.len())
            .map_err(|_| Error::new(ErrorKind::InvalidInput, "The change has too many objects for one pack."))?;
        let entries = objects.iter().rev().map(|(id, kind, data)| {
            let object = gix::objs::Data { kind: *kind, data, object_hash: hash };
            Entry::from_data(&Count::from_data(*id, None), &object, gix::zlib::Compression::DEFAULT)
                .map(|entry| vec![entry])
        });
        let mut bytes = Vec::new();
        for written in FromEntriesIter::new(entries, &mut bytes, count, gix_pack::data::Version::V2, hash) {
            written.map_err(fault)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static WANTED: AtomicBool = AtomicBool::new(false);

    #[test]
    fn a_pack_that_claims_more_than_it_holds_gets_no_memory() {
        let hash = gix::hash::Kind::Sha1;
        for count in [1_u32 << 20, 1 << 24, u32::MAX] {
            let mut pack = b"PACK\0\0\0\x02".to_vec();
            pack.extend_from_slice(&count.to_be_bytes());
            // A blob that says it is an exabyte, and is nothing.
            pack.extend_from_slice(&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);
            pack.extend_from_slice(&[0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]);
            pack.extend_from_slice(&[0; 20]);
            let error = Pack::receive(&pack, hash, &WANTED).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{count}");
        }
    }

    #[test]
    fn a_pack_that_nobody_waits_for_is_not_unpacked() {
        let hash = gix::hash::Kind::Sha1;
        let mut new = NewObjects::default();
        for n in 0..100_u32 {
            new.insert(hash, Kind::Blob, n.to_be_bytes().to_vec()).unwrap();
        }
        assert!(Pack::receive(&new.pack(hash).unwrap(), hash, &AtomicBool::new(true)).is_err());
    }

    #[test]
    fn what_is_packed_is_found_again() {
        let hash = gix::hash::Kind::Sha1;
        let mut new = NewObjects::default();
        let id = new.insert(hash, Kind::Blob, b"image: v1\n".to_vec()).unwrap();
        let pack = Pack::receive(&new.pack(hash).unwrap(), hash, &WANTED).unwrap();
        assert_eq!(pack.find(&id).unwrap(), Some((Kind::Blob, b"image: v1\n".to_vec())));
        assert_eq!(pack.find(&gix::ObjectId::null(hash)).unwrap(), None);
    }

    #[test]
    fn a_damaged_pack_is_an_error_and_no_panic() {
        let hash = gix::hash::Kind::Sha1;
        let mut new = NewObjects::default();
        new.insert(hash, Kind::Blob, b"image: v1\n".to_vec()).unwrap();
        let good = new.pack(hash).unwrap();
        for cut in [0, 1, 12, good.len() - 1] {
            assert_eq!(
                Pack::receive(&good[..cut], hash, &WANTED).unwrap_err().kind(),
                ErrorKind::InvalidResponse,
                "{cut}"
            );
        }
    }
}
