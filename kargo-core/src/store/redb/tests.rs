use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::InMemoryBackend;
use redb::{ReadableTable, StorageBackend};

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

/// Wherever a process or the power went while the file was first made.
#[tokio::test]
async fn a_file_that_was_half_made_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, making) = (folder.path().join("kargo.redb"), folder.path().join("kargo.redb.new"));
    drop(RedbStore::open(&path).expect("opens"));
    let whole = std::fs::read(&path).expect("reads");
    for length in [0, 1, 64, 320, 4_096, whole.len() / 2, whole.len() - 1, whole.len()] {
        for garbled in [false, true] {
            std::fs::remove_file(&path).expect("removes");
            let mut half = whole[..length].to_vec();
            if garbled {
                half.iter_mut().skip(64).for_each(|byte| *byte = 0xa5);
            }
            std::fs::write(&making, half).expect("writes");
            let store = RedbStore::open(&path).unwrap_or_else(|error| panic!("{length} bytes, {garbled}: {error}"));
            store.append(&"shop".into(), 0, vec![b"one".to_vec()], None).await.expect("appends");
            assert!(!making.exists());
        }
    }
}

/// Of several that start at the same time on a new folder one has the store, and none writes over it.
#[test]
fn of_those_who_make_a_store_at_once_one_has_it() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kargo.redb");
        let opened: Vec<Result<RedbStore>> = std::thread::scope(|scope| {
            let open = || scope.spawn(|| RedbStore::open(&path));
            let all: Vec<_> = (0..4).map(|_| open()).collect();
            all.into_iter().map(|one| one.join().expect("no panic")).collect()
        });
        let errors: Vec<_> = opened.iter().filter_map(|opened| opened.as_ref().err()).collect();
        assert!(
            errors.iter().all(|error| matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable)),
            "{errors:?}"
        );
        assert!(errors.len() >= 3, "more than one has the file");
        drop(opened);
        RedbStore::open(&path).expect("whole");
    }
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

async fn filled(store: &RedbStore, pipeline: &PipelineName, records: u64) -> Vec<Vec<u8>> {
    let all: Vec<Vec<u8>> = (0..records).map(|number| format!("{number:0>500}").into_bytes()).collect();
    store.append(pipeline, 0, all.clone(), None).await.expect("appends");
    store.save_snapshot(pipeline, records, b"snapshot".to_vec()).await.expect("saves");
    all
}

/// The packed blocks: the first and the last record's number of each, and its bytes.
fn blocks(store: &RedbStore) -> Vec<(u64, u64, Vec<u8>)> {
    let transaction = store.database.get().expect("open").begin_read().expect("begins");
    let table = transaction.open_table(blocks::BLOCKS).expect("a table");
    let rows = table.iter().expect("rows").map(|row| row.expect("a row"));
    rows.map(|(key, block)| (block.value().0, key.value().1, block.value().1.to_vec())).collect()
}

#[tokio::test]
async fn compacting_packs_what_the_snapshot_covers_and_keeps_the_newest_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = RedbStore::open(folder.path().join("kargo.redb")).expect("opens");
    let pipeline = "shop".into();
    let all = filled(&store, &pipeline, 2_000).await;
    let packed = store.compact(&pipeline, 1_500).await.expect("packs");
    assert!((1_001..=1_500).contains(&packed), "all that fill a block: {packed}");
    let found = blocks(&store);
    let ends: Vec<_> = found.iter().map(|(first, last, _)| (*first, *last)).collect();
    assert!(ends.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "each goes on where the one before ends: {ends:?}");
    assert_eq!((ends[0].0, ends[ends.len() - 1].1), (1, packed));
    let bytes: usize = found.iter().map(|(_, _, block)| block.len()).sum();
    assert!(bytes * 10 < packed as usize * 500, "it takes less room: {bytes}");
    assert!(store.read(&pipeline, 0, 9_999).await.expect("reads") == all);
    assert_eq!(store.compact(&pipeline, 1_500).await.expect("packs"), 0, "nothing is packed twice");

    let early = "early".into();
    store.append(&early, 0, all, None).await.expect("appends");
    assert_eq!(store.compact(&early, 2_000).await.expect("packs"), 0, "nothing is packed without a snapshot");
}

#[tokio::test]
async fn two_that_compact_at_once_pack_each_record_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = RedbStore::open(folder.path().join("kargo.redb")).expect("opens");
    let pipeline = "shop".into();
    let all = filled(&store, &pipeline, 4_000).await;
    let (one, other) = tokio::join!(store.compact(&pipeline, 4_000), store.compact(&pipeline, 4_000));
    let packed: u64 = blocks(&store).iter().map(|(first, last, _)| last - first + 1).sum();
    assert_eq!(one.expect("packs") + other.expect("packs"), packed);
    assert!(store.read(&pipeline, 0, 9_999).await.expect("reads") == all);
}

/// A file of a version that did not know of blocks. What is packed then is not for that version to read.
#[tokio::test]
async fn a_store_of_an_older_version_opens_and_is_packed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kargo.redb");
    let pipeline = "shop".into();
    let store = RedbStore::open(&path).expect("opens");
    let all = filled(&store, &pipeline, 1_000).await;
    drop(store);
    let format = |wanted: u64| {
        let database = redb::Database::open(&path).expect("opens");
        let transaction = database.begin_write().expect("begins");
        if wanted == 1 {
            assert!(transaction.delete_table(blocks::BLOCKS).expect("deletes"), "as it was before there were blocks");
        }
        let found =
            transaction.open_table(database::META).expect("a table").get("format").expect("reads").map(|f| f.value());
        assert_eq!(found, Some(wanted));
        transaction.commit().expect("commits");
    };
    format(1);
    let store = RedbStore::open(&path).expect("opens");
    assert!(store.read(&pipeline, 0, 9_999).await.expect("reads") == all);
    assert!(store.compact(&pipeline, 1_000).await.expect("packs") > 500);
    assert!(store.read(&pipeline, 0, 9_999).await.expect("reads") == all);
    drop(store);
    format(2);
    let store = RedbStore::open(&path).expect("opens");
    assert!(store.read(&pipeline, 0, 9_999).await.expect("reads") == all);
}

#[tokio::test]
async fn a_block_that_is_damaged_or_claims_too_much_is_said_and_nothing_is_made_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = RedbStore::open(folder.path().join("kargo.redb")).expect("opens");
    let pipeline: PipelineName = "shop".into();
    filled(&store, &pipeline, 1_000).await;
    store.compact(&pipeline, 1_000).await.expect("packs");
    let (first, last, whole) = blocks(&store)[0].clone();
    let mut bomb = whole.clone();
    bomb[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let half = whole[..whole.len() / 2].to_vec();
    for (what, bytes) in
        [("too large", bomb), ("flipped", flipped), ("half", half), ("empty", Vec::new()), ("form", vec![9; 9])]
    {
        let name = pipeline.clone();
        let put = move |tables: &mut Tables<'_>| tables.put_block(&name, first, last, &bytes);
        store.writer.submit(put).await.expect("writes");
        let error = store.read(&pipeline, 0, 10).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
    }
}

/// Engines by the thousand renew all the time.
#[tokio::test]
async fn renewing_a_lease_touches_no_disk() {
    let disk = SmallDisk { bytes: Arc::new(InMemoryBackend::new()), limit: Arc::new(AtomicU64::new(u64::MAX)) };
    let backend = disk.clone();
    let open = move || redb::Database::builder().create_with_backend(backend.clone());
    let store = RedbStore::open_by("small.redb".into(), open).expect("opens");
    let pipeline = "shop".into();
    let ttl = Duration::from_secs(60);
    let lease = store.acquire_lease(&pipeline, "one", ttl).await.expect("free");
    disk.limit.store(0, Ordering::SeqCst);
    store.renew_lease(&lease, ttl).await.expect("a renewal needs no room");
    store.acquire_lease(&pipeline, "one", ttl).await.expect_err("the fence cannot be kept");
    // Whether the newer fence was kept is not known, so the older lease is no good from here on.
    assert_eq!(store.renew_lease(&lease, ttl).await.expect_err("in doubt").kind(), ErrorKind::Conflict);
    disk.limit.store(u64::MAX, Ordering::SeqCst);
    let next = store.acquire_lease(&pipeline, "one", ttl).await.expect("room again");
    assert!(next.fence > lease.fence + 1, "a fence that may have been kept is not handed out again");
    store.append(&pipeline, 0, vec![b"one".to_vec()], Some(next.fence)).await.expect("the newest fence");
}

/// An error closes the file, and until it is open again another process may have it: a lease from before is good afterwards only
/// if nobody took a newer one.
#[tokio::test]
async fn a_lease_is_looked_at_again_after_the_file_was_closed_by_an_error() {
    for taken in [false, true] {
        let disk = SmallDisk { bytes: Arc::new(InMemoryBackend::new()), limit: Arc::new(AtomicU64::new(u64::MAX)) };
        let open = || {
            let backend = disk.clone();
            let open = move || redb::Database::builder().create_with_backend(backend.clone());
            RedbStore::open_by("small.redb".into(), open).expect("opens")
        };
        let (store, pipeline, ttl) = (open(), "shop".into(), Duration::from_secs(60));
        let lease = store.acquire_lease(&pipeline, "one", ttl).await.expect("free");
        disk.limit.store(0, Ordering::SeqCst);
        store.append(&pipeline, 0, vec![b"one".to_vec()], Some(lease.fence)).await.expect_err("no room");
        store.renew_lease(&lease, ttl).await.expect_err("the file cannot be opened, so nobody knows whose it is");
        disk.limit.store(u64::MAX, Ordering::SeqCst);
        if taken {
            // As another process does while this one has it closed.
            open().acquire_lease(&pipeline, "two", ttl).await.expect("a process knows of no holder in another");
        }
        let renewed = store.renew_lease(&lease, ttl).await;
        assert_eq!(renewed.map_err(|error| error.kind()), if taken { Err(ErrorKind::Conflict) } else { Ok(()) });
        let appended = store.append(&pipeline, 0, vec![b"one".to_vec()], Some(lease.fence)).await;
        assert_eq!(appended.is_ok(), !taken);
    }
}
