//! Manifests and configurations that outlive the program, in a host's [`Store`].
//!
//! What is kept are the bytes, and what comes back is hashed: bytes that somebody else has put there are not taken for an image. A side
//! table has no list and no way to remove, so there is a fixed number of places, each with a bound. All of it may be lost.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use kargo_core::Result;
use kargo_core::plugin::Context;
use kargo_core::store::Store;
use tokio::sync::Mutex;

use crate::repository::{Repository, checked_digest, is_digest_of, sha256_hex};

/// Among how many places in the store all of it is divided, and how much one of them may have, in bytes: 32 MiB in all.
const PLACES: u8 = 128;
const PLACE_BYTES: usize = 256 * 1024;
/// The most that a manifest or configuration may have to be kept, in bytes. Few have more than a tenth of that.
const KEPT_BYTES: usize = 64 * 1024;
/// What a place begins with. Another version of this crate may write something else there.
const HEADER: &[u8] = b"kargo-oci shelf 1\n";

/// Where manifests and configurations are kept.
pub(super) struct Shelf {
    store: Arc<dyn Store>,
    /// Whose it is: what one set of credentials may see is not shown to another.
    name: String,
    places: Mutex<HashMap<u8, Place>>,
}

/// What stands in one place, the oldest first. There are few in each.
#[derive(Debug, Default)]
struct Place {
    kept: Vec<(String, Vec<u8>)>,
    is_changed: bool,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Shelf {
    pub(super) fn new(store: Arc<dyn Store>, name: impl Into<String>) -> Self {
        Self { store, name: name.into(), places: Mutex::default() }
    }

    /// The bytes with this digest, when they are kept and whole.
    pub(super) async fn get(&self, repository: &Repository, digest: &str) -> Option<Vec<u8>> {
        let expected = checked_digest(digest).ok()?;
        let (number, key) = address(repository, digest);
        let mut places = self.places.lock().await;
        let place = self.place(&mut places, number).await;
        let at = place.kept.iter().position(|(kept, _)| *kept == key)?;
        if is_digest_of(&expected, &place.kept[at].1) {
            return Some(place.kept[at].1.clone());
        }
        place.kept.remove(at);
        place.is_changed = true;
        None
    }

    /// Keeps bytes that were hashed.
    pub(super) async fn put(&self, repository: &Repository, digest: &str, bytes: &[u8]) {
        if bytes.len() > KEPT_BYTES {
            return;
        }
        let (number, key) = address(repository, digest);
        let mut places = self.places.lock().await;
        let place = self.place(&mut places, number).await;
        if place.kept.iter().any(|(kept, _)| *kept == key) {
            return;
        }
        place.kept.push((key, bytes.to_vec()));
        place.is_changed = true;
        let mut size = HEADER.len() + place.size();
        while size > PLACE_BYTES {
            let (key, bytes) = place.kept.remove(0);
            size -= entry_size(&key, &bytes);
        }
    }

    /// Writes what is new, and lets go of what was read, at the end of a look. A store that fails costs requests, and no more.
    pub(super) async fn write(&self, cx: &Context) {
        let places = std::mem::take(&mut *self.places.lock().await);
        for (number, place) in places.into_iter().filter(|(_, place)| place.is_changed) {
            if let Err(error) = self.write_place(number, &place).await {
                cx.progress(format_args!("What is known of images could not be kept: {}", error.message()));
                return;
            }
        }
    }

    async fn write_place(&self, number: u8, place: &Place) -> Result<()> {
        self.store.put_side(&self.side_key(number), place.written()).await
    }

    async fn place<'a>(&self, places: &'a mut HashMap<u8, Place>, number: u8) -> &'a mut Place {
        match places.entry(number) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(free) => {
                let written = self.store.get_side(&self.side_key(number)).await.ok().flatten();
                let kept = written.and_then(|written| read(&written)).unwrap_or_default();
                free.insert(Place { kept, is_changed: false })
            }
        }
    }

    fn side_key(&self, number: u8) -> String {
        format!("kargo-oci/images/{}/{number}", self.name)
    }
}

/// Where bytes stand, and under what: those of one repository are not answered to whoever asks for them in another.
fn address(repository: &Repository, digest: &str) -> (u8, String) {
    let key = format!("{repository}@{digest}");
    let hash = sha256_hex(key.as_bytes());
    (u8::from_str_radix(&hash[..2], 16).unwrap_or_default() % PLACES, key)
}

fn entry_size(key: &str, bytes: &[u8]) -> usize {
    8 + key.len() + bytes.len()
}

impl Place {
    fn size(&self) -> usize {
        self.kept.iter().map(|(key, bytes)| entry_size(key, bytes)).sum()
    }

    fn written(&self) -> Vec<u8> {
        let mut written = Vec::with_capacity(HEADER.len() + self.size());
        written.extend_from_slice(HEADER);
        for (key, bytes) in &self.kept {
            for part in [key.as_bytes(), bytes.as_slice()] {
                let length = u32::try_from(part.len()).expect("keys and what is kept are short");
                written.extend_from_slice(&length.to_le_bytes());
                written.extend_from_slice(part);
            }
        }
        written
    }
}

/// Reads a place; nothing when it is not one in full.
fn read(written: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut rest = written.strip_prefix(HEADER).filter(|_| written.len() <= PLACE_BYTES)?;
    let mut part = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (part, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        rest = after;
        Some(part.to_vec())
    };
    let mut kept = Vec::new();
    while let Some(key) = part() {
        kept.push((String::from_utf8(key).ok()?, part()?));
    }
    rest.is_empty().then_some(kept)
}

#[cfg(test)]
mod tests {
    use kargo_core::store::MemoryStore;

    use super::*;
    use crate::repository::digest_of;

    fn app() -> Repository {
        Repository::parse("r.example/app").unwrap()
    }

    #[tokio::test]
    async fn what_is_kept_survives_and_stays_within_its_bounds() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let cx = Context::system("test");
        let bodies: Vec<Vec<u8>> = (0..2_000_u32).map(|number| number.to_le_bytes().repeat(8 * 1024)).collect();
        let shelf = Shelf::new(Arc::clone(&store), "us");
        for chunk in bodies.chunks(100) {
            for body in chunk {
                shelf.put(&app(), &digest_of(body), body).await;
            }
            shelf.write(&cx).await;
        }
        shelf.put(&app(), &digest_of(&[0; KEPT_BYTES + 1]), &[0; KEPT_BYTES + 1]).await;
        shelf.write(&cx).await;
        let mut all = 0;
        for number in 0..PLACES {
            let size =
                store.get_side(&format!("kargo-oci/images/us/{number}")).await.unwrap().map_or(0, |place| place.len());
            assert!(size <= PLACE_BYTES);
            all += size;
        }
        assert!(all <= 32 * 1024 * 1024 && all > 16 * 1024 * 1024, "{all}");

        let again = Shelf::new(store, "us");
        let last = bodies.last().unwrap();
        assert_eq!(again.get(&app(), &digest_of(last)).await.as_ref(), Some(last));
        assert!(again.get(&app(), &digest_of(&bodies[0])).await.is_none(), "the oldest are forgotten");
        let elsewhere = Repository::parse("r.example/secret").unwrap();
        assert!(again.get(&elsewhere, &digest_of(last)).await.is_none());
    }

    #[tokio::test]
    async fn bytes_that_do_not_have_their_digest_are_not_taken_from_the_store() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let cx = Context::system("test");
        let digest = digest_of(b"right");
        let (number, key) = address(&app(), &digest);
        let side = format!("kargo-oci/images/us/{number}");
        let wrong = Place { kept: vec![(key, b"wrong".to_vec())], is_changed: true }.written();
        for poison in [wrong.clone(), wrong[..wrong.len() - 1].to_vec(), b"another version".to_vec(), Vec::new()] {
            store.put_side(&side, poison).await.unwrap();
            let shelf = Shelf::new(Arc::clone(&store), "us");
            assert!(shelf.get(&app(), &digest).await.is_none());
            shelf.put(&app(), &digest, b"right").await;
            shelf.write(&cx).await;
            assert_eq!(shelf.get(&app(), &digest).await.as_deref(), Some(b"right".as_slice()));
        }
    }
}
