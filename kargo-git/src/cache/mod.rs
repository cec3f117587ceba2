//! What is remembered of repositories between looks and promotions, in memory.
//!
//! Commits, tags, directories and files never change under their ids, so all of it may be forgotten at any time and fetched again. What
//! refs stand for does change: that is never remembered, only shared by those who ask at the same time.

mod commit;
mod fill;
mod listing;
mod objects;
mod store;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use gix::objs::Kind;
use kargo_core::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret as _, SecretString};

pub(crate) use commit::{CachedCommit, CachedTag};
pub(crate) use objects::Trees;
pub(crate) use store::Store;

/// How much memory, in bytes, is used by default.
const CAPACITY: usize = 256 << 20;

/// What a host remembers of repositories, for all its sources, steps, writers and remotes together: commits, tags, directories, and the
/// files that promotions have read or written, save for those of more than 1 MiB. So what a look or a promotion has fetched, the next
/// promotion does not fetch again. In memory, and bounded; the repositories that were not used for longest are forgotten first. Cheap to
/// clone.
///
/// Each repository is kept apart for each credential: what one was shown is never told to another. Credentials that a
/// [`CredentialSource`](crate::CredentialSource) renews are the same for as long as it gives them the same name. It is kept apart as well
/// for each set of certificates and host keys that is trusted. Who looks at the same time as others fetches together with them.
///
/// ```
/// use kargo_git::{GitCache, GitSource, Remote};
///
/// let cache = GitCache::with_capacity(64 << 20);
/// let source = GitSource::new().cache(cache.clone());
/// let remote = Remote::builder("https://git.example/acme/config.git").cache(cache).build()?;
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Clone)]
pub struct GitCache(Arc<Inner>);

struct Inner {
    capacity: usize,
    stores: Mutex<Stores>,
}

#[derive(Default)]
struct Stores {
    by_key: HashMap<Key, Entry>,
    /// Grows with each use.
    clock: u64,
}

struct Entry {
    store: Arc<Store>,
    used: u64,
}

/// A repository as one credential sees it, on the server that one kind of trust leads to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    place: String,
    seen_as: Option<ObjectId>,
    trust: ObjectId,
}

impl Key {
    /// For the repository at `place`, to the letter: servers may tell spellings apart. `trust` is all by which the server is known to be
    /// the right one: who trusts more may be talking to another, whose word does not count for the rest.
    pub(crate) fn new(place: &str, trust: &[u8]) -> Result<Self> {
        Ok(Self { place: place.to_owned(), seen_as: None, trust: digest(trust)? })
    }

    /// For the same repository as it is shown to the one who signs in as `who`.
    pub(crate) fn seen_as(&self, who: Option<&SecretString>) -> Result<Self> {
        let seen_as = who.map(|who| digest(who.expose_secret().as_bytes())).transpose()?;
        Ok(Self { seen_as, ..self.clone() })
    }
}

fn digest(bytes: &[u8]) -> Result<ObjectId> {
    gix::objs::compute_hash(gix::hash::Kind::Sha256, Kind::Blob, bytes).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, "The settings of the remote cannot be told from others.").because(error)
    })
}

impl Default for GitCache {
    fn default() -> Self {
        Self::new()
    }
}

impl GitCache {
    /// A cache of 256 MiB. Ten thousand commits with the paths that they change take some 4 MB.
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// A cache that keeps no more than about so many bytes between two looks or reads. What is forgotten is fetched again when it is needed.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Arc::new(Inner { capacity: bytes, stores: Mutex::default() }))
    }

    /// About how many bytes are in use.
    pub fn size(&self) -> usize {
        self.stores().by_key.values().map(|entry| entry.store.size()).sum()
    }

    pub(crate) fn store(&self, key: &Key) -> Arc<Store> {
        let mut stores = self.stores();
        stores.clock += 1;
        let used = stores.clock;
        let entry = stores.by_key.entry(key.clone()).or_insert_with(|| Entry { store: Arc::default(), used });
        entry.used = used;
        Arc::clone(&entry.store)
    }

    /// Remembers objects that were shown to the one of `key`, or that the repository has got from there.
    pub(crate) fn tell<'a>(&self, key: &Key, objects: impl IntoIterator<Item = (ObjectId, Kind, &'a [u8])>) {
        let store = self.store(key);
        objects.into_iter().for_each(|(id, kind, data)| store.keep(id, kind, data));
        // What somebody is at work with is not forgotten.
        drop(store);
        self.trim();
    }

    /// Forgets what was not used for longest until the rest fits. What somebody is at work with stays.
    pub(crate) fn trim(&self) {
        let mut stores = self.stores();
        let mut size: usize = stores.by_key.values().map(|entry| entry.store.size()).sum();
        if size <= self.0.capacity {
            return;
        }
        // Nobody gets at a store while the map is locked.
        let idle = stores.by_key.iter().filter(|(_, entry)| Arc::strong_count(&entry.store) == 1);
        let mut idle: Vec<(u64, Key)> = idle.map(|(key, entry)| (entry.used, key.clone())).collect();
        idle.sort_by_key(|(used, _)| *used);
        for (_, key) in idle {
            if size <= self.0.capacity {
                break;
            }
            if let Some(entry) = stores.by_key.remove(&key) {
                let freed = entry.store.size();
                tracing::debug!("A Git repository is forgotten to make room for others: {freed} bytes.");
                size = size.saturating_sub(freed);
            }
        }
    }

    fn stores(&self) -> std::sync::MutexGuard<'_, Stores> {
        self.0.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for GitCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitCache").field("capacity", &self.0.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_credential_has_a_store_of_its_own() {
        let cache = GitCache::new();
        let (alice, bob) = (SecretString::from("alice a"), SecretString::from("alice b"));
        let store = |place, who| cache.store(&Key::new(place, b"").unwrap().seen_as(who).unwrap());
        let mine = store("https://git.example/x", Some(&alice));
        assert!(Arc::ptr_eq(&mine, &store("https://git.example/x", Some(&alice))));
        for (place, who) in [
            ("https://git.example/x", Some(&bob)),
            ("https://git.example/x", None),
            ("https://git.example/X", Some(&alice)),
        ] {
            assert!(!Arc::ptr_eq(&mine, &store(place, who)), "{place}");
        }
    }

    #[test]
    fn what_was_not_used_for_longest_is_forgotten_first() {
        let cache = GitCache::with_capacity(2500);
        let keys = ["a", "b", "c"].map(|place| Key::new(place, b"").unwrap());
        let id = |n: u8| ObjectId::from_bytes_or_panic(&[n; 20]);
        for (n, key) in keys.iter().enumerate() {
            cache.store(key).keep(id(n as u8), Kind::Tree, &[0; 1000]);
        }
        cache.store(&keys[0]);
        cache.trim();
        let kept = keys.each_ref().map(|key| cache.store(key).size() > 0);
        assert_eq!(kept, [true, false, true]);
        assert!(cache.size() <= 2500, "{}", cache.size());
    }
}
