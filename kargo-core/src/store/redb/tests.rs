use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::*;
use crate::error::ErrorKind;
use crate::testing::store_conformance;

#[tokio::test]
async fn redb_is_a_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = RedbStore::open(folder.path().join("kargo.redb")).expect("opens");
    store_conformance(Arc::new(store)).await;
}

#[tokio::test]
async fn memory_is_a_store() {
    store_conformance(Arc::new(crate::store::MemoryStore::new())).await;
}

#[tokio::test]
async fn what_was_appended_is_there_after_opening_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kargo.redb");
    let pipeline = "shop".into();
    let store = RedbStore::open(&path).expect("opens");
    store.append(&pipeline, 0, vec![b"one".to_vec()], None).await.expect("appends");
    let lease = store.acquire_lease(&pipeline, "dead", Duration::from_secs(3600)).await.expect("a lease");
    drop(store);
    let store = RedbStore::open(&path).expect("opens again");
    assert_eq!(store.read(&pipeline, 0, 9).await.expect("reads"), [b"one"]);
    let next = store.acquire_lease(&pipeline, "alive", Duration::from_secs(1)).await;
    assert!(next.expect("a dead process's lease is void").fence > lease.fence);
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kargo.redb");
    let _store = RedbStore::open(&path).expect("opens");
    let error = RedbStore::open(&path).expect_err("open already");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("open in another process"), "{error}");
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kargo.redb");
    std::fs::write(&path, "not a store, but somebody's notes\n".repeat(500)).expect("writes");
    let before = std::fs::read(&path).expect("reads");
    let error = RedbStore::open(&path).expect_err("no store");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains("is not a store, or is damaged"), "{error}");
    assert_eq!(std::fs::read(&path).expect("reads"), before);
}

#[test]
fn a_damaged_store_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kargo.redb");
    drop(RedbStore::open(&path).expect("opens"));
    let mut bytes = std::fs::read(&path).expect("reads");
    // Everything behind the header's first page.
    bytes.iter_mut().skip(64).for_each(|byte| *byte = 0xa5);
    std::fs::write(&path, bytes).expect("writes");
    let error = RedbStore::open(&path).expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kargo.redb");
    drop(RedbStore::open(&path).expect("opens"));
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("kargo-meta");
    let database = redb::Database::open(&path).expect("opens");
    let transaction = database.begin_write().expect("begins");
    transaction.open_table(meta).expect("table").insert("format", 99).expect("inserts");
    transaction.commit().expect("commits");
    drop(database);
    let error = RedbStore::open(&path).expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("format 99"), "{error}");
}

#[test]
fn a_folder_that_does_not_exist_is_named() {
    let error = RedbStore::open("/nowhere/kargo.redb").expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("/nowhere/kargo.redb"), "{error}");
}

/// A disk of a size that the test sets. Bytes survive closing, as on a real one.
#[derive(Debug, Clone)]
struct SmallDisk {
    bytes: Arc<InMemoryBackend>,
    limit: Arc<AtomicU64>,
}

impl SmallDisk {
    fn full(&self) -> bool {
        self.limit.load(Ordering::SeqCst) == 0
    }

    fn no_room() -> std::io::Error {
        std::io::Error::from(std::io::ErrorKind::StorageFull)
    }
}

impl StorageBackend for SmallDisk {
    fn len(&self) -> std::io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        if self.full() { Err(Self::no_room()) } else { self.bytes.set_len(len) }
    }

    fn sync_data(&self) -> std::io::Result<()> {
        if self.full() { Err(Self::no_room()) } else { self.bytes.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        if self.full() { Err(Self::no_room()) } else { self.bytes.write(offset, data) }
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_lost() {
    let disk = SmallDisk { bytes: Arc::new(InMemoryBackend::new()), limit: Arc::new(AtomicU64::new(u64::MAX)) };
    let backend = disk.clone();
    let open = move || redb::Database::builder().create_with_backend(backend.clone());
    let store = RedbStore::open_by("small.redb".into(), open).expect("opens");
    let pipeline = "shop".into();
    store.append(&pipeline, 0, vec![b"one".to_vec()], None).await.expect("there is room");

    disk.limit.store(0, Ordering::SeqCst);
    let error = store.append(&pipeline, 1, vec![b"two".to_vec()], None).await.expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    assert!(error.to_string().contains("has no room left"), "{error}");
    let again = store.append(&pipeline, 1, vec![b"two".to_vec()], None).await.expect_err("still no room");
    assert!(matches!(again.kind(), ErrorKind::Full | ErrorKind::Conflict), "{again:?}");

    disk.limit.store(u64::MAX, Ordering::SeqCst);
    let head = store.head(&pipeline).await.expect("reads again");
    store.append(&pipeline, head, vec![b"three".to_vec()], None).await.expect("room again");
    let records = store.read(&pipeline, 0, 9).await.expect("reads");
    assert_eq!(records.first().map(Vec::as_slice), Some(&b"one"[..]), "what was acknowledged is there");
    assert_eq!(records.last().map(Vec::as_slice), Some(&b"three"[..]));
}

/// A read that is still under way holds the old file while the store is opened anew. That is no other process.
#[tokio::test]
async fn a_file_that_is_still_held_while_it_is_opened_again_is_no_conflict() {
    let disk = SmallDisk { bytes: Arc::new(InMemoryBackend::new()), limit: Arc::new(AtomicU64::new(u64::MAX)) };
    let backend = disk.clone();
    let held = Arc::new(AtomicU64::new(0));
    let holding = Arc::clone(&held);
    let open = move || match holding.load(Ordering::SeqCst) {
        0 => redb::Database::builder().create_with_backend(backend.clone()),
        _ => Err(redb::DatabaseError::DatabaseAlreadyOpen),
    };
    let store = RedbStore::open_by("small.redb".into(), open).expect("opens");
    let pipeline = "shop".into();
    disk.limit.store(0, Ordering::SeqCst);
    held.store(1, Ordering::SeqCst);
    store.append(&pipeline, 0, vec![b"one".to_vec()], None).await.expect_err("no room");
    let error = store.append(&pipeline, 0, vec![b"one".to_vec()], None).await.expect_err("held");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    disk.limit.store(u64::MAX, Ordering::SeqCst);
    held.store(0, Ordering::SeqCst);
    let head = store.head(&pipeline).await.expect("reads again");
    store.append(&pipeline, head, vec![b"two".to_vec()], None).await.expect("room again");
}
