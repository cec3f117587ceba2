//! What every store must do.

use std::sync::Arc;
use std::time::Duration;

use crate::error::ErrorKind;
use crate::name::PipelineName;
use crate::store::Store;

/// Runs the suite that every [`Store`] has to pass. Call it from a test, with a store that is empty.
///
/// # Panics
/// When the store does something else than the trait's documentation says; the message tells what.
pub async fn store_conformance(store: Arc<dyn Store>) {
    journals(&*store).await;
    concurrent_appends(&store).await;
    snapshots(&*store).await;
    compaction(&*store).await;
    leases(&*store).await;
    news(&store).await;
    side_table(&*store).await;
}

fn record(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

async fn journals(store: &dyn Store) {
    let (a, b) = (PipelineName::from("a"), PipelineName::from("a.b"));
    assert_eq!(store.head(&a).await.expect("head"), 0, "an unknown pipeline's journal is empty");
    assert!(store.read(&a, 0, 10).await.expect("read").is_empty());
    assert!(store.pipelines().await.expect("pipelines").is_empty());

    store.append(&a, 0, vec![record("1"), record("2")], None).await.expect("append to an empty journal");
    store.append(&b, 0, vec![record("other")], None).await.expect("append to another journal");
    store.append(&a, 2, vec![record("3")], None).await.expect("append at the end");
    assert_eq!(store.head(&a).await.expect("head"), 3);
    assert_eq!(store.read(&a, 0, 10).await.expect("read"), [record("1"), record("2"), record("3")]);
    assert_eq!(
        store.read(&a, 1, 1).await.expect("read"),
        [record("2")],
        "a read starts after a number and ends at its limit"
    );
    assert!(store.read(&a, 3, 10).await.expect("read").is_empty());
    assert!(store.read(&a, u64::MAX, 10).await.expect("read").is_empty());
    assert_eq!(store.read(&b, 0, 10).await.expect("read"), [record("other")], "journals are apart");
    assert_eq!(store.pipelines().await.expect("pipelines"), [a.clone(), b]);

    for expected in [0, 2, 4] {
        let error = store.append(&a, expected, vec![record("x"), record("y")], None).await.expect_err("not at the end");
        assert_eq!(error.kind(), ErrorKind::Conflict, "an append that is not at the end is a conflict: {error}");
    }
    assert_eq!(store.head(&a).await.expect("head"), 3, "a refused append changes nothing");
    store.append(&a, 3, Vec::new(), None).await.expect("nothing can be appended at the end");
    let large = vec![7_u8; 1 << 20];
    store.append(&a, 3, vec![large.clone()], None).await.expect("a record of 1 MiB");
    assert_eq!(store.read(&a, 3, 1).await.expect("read"), [large]);
}

async fn concurrent_appends(store: &Arc<dyn Store>) {
    let pipeline = PipelineName::from("race");
    let tries = (0..16).map(|number: u8| {
        let (store, pipeline) = (Arc::clone(store), pipeline.clone());
        tokio::spawn(async move { store.append(&pipeline, 0, vec![vec![number]], None).await.is_ok() })
    });
    let mut winners = 0;
    for task in tries.collect::<Vec<_>>() {
        winners += usize::from(task.await.expect("no panic"));
    }
    assert_eq!(winners, 1, "of appends at one place exactly one succeeds");
    assert_eq!(store.head(&pipeline).await.expect("head"), 1);
}

async fn snapshots(store: &dyn Store) {
    let pipeline = PipelineName::from("snapshots");
    assert_eq!(store.load_snapshot(&pipeline).await.expect("load"), None);
    store.save_snapshot(&pipeline, 5, record("five")).await.expect("save");
    store.save_snapshot(&pipeline, 3, record("three")).await.expect("an older snapshot is ignored");
    assert_eq!(store.load_snapshot(&pipeline).await.expect("load"), Some((5, record("five"))));
    store.save_snapshot(&pipeline, 9, record("nine")).await.expect("save");
    assert_eq!(store.load_snapshot(&pipeline).await.expect("load"), Some((9, record("nine"))));
}

/// Compacting changes nothing that can be read. A store that does nothing passes as well.
async fn compaction(store: &dyn Store) {
    let (pipeline, neighbour) = (PipelineName::from("compaction"), PipelineName::from("compaction.b"));
    store.compact(&pipeline, u64::MAX).await.expect("nothing to compact");
    let mut all: Vec<Vec<u8>> = (0..900_u32).map(|number| format!("{number:0>700}").into_bytes()).collect();
    all[300] = vec![7; 300 << 10];
    for (part, records) in all.chunks(100).enumerate() {
        store.append(&pipeline, part as u64 * 100, records.to_vec(), None).await.expect("append");
    }
    store.append(&neighbour, 0, vec![record("other")], None).await.expect("append");
    for (snapshot, up_to) in [(0, u64::MAX), (700, 250), (700, 700), (900, u64::MAX)] {
        if snapshot > 0 {
            store.save_snapshot(&pipeline, snapshot, record("snapshot")).await.expect("save");
        }
        store.compact(&pipeline, up_to).await.expect("compact");
        assert_eq!(store.head(&pipeline).await.expect("head"), 900, "compacting leaves the journal's end");
        for (after, limit) in
            [(0, 2_000), (0, 1), (1, 3), (150, 300), (299, 2), (300, 1), (301, 500), (699, 9), (898, 9)]
        {
            let expected: Vec<_> = all.iter().skip(after).take(limit).cloned().collect();
            let found = store.read(&pipeline, after as u64, limit).await.expect("read");
            assert!(
                found == expected,
                "up to {limit} records after {after} are the same after compacting up to {up_to}"
            );
        }
    }
    assert!(store.read(&pipeline, 900, 10).await.expect("read").is_empty());
    assert_eq!(store.read(&neighbour, 0, 10).await.expect("read"), [record("other")], "journals are apart");
    let error = store.append(&pipeline, 899, vec![record("x")], None).await.expect_err("not at the end");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    store.append(&pipeline, 900, vec![record("last")], None).await.expect("append at the end");
    assert_eq!(store.read(&pipeline, 899, 10).await.expect("read"), [all[899].clone(), record("last")]);
    let pipelines = store.pipelines().await.expect("pipelines");
    assert!(pipelines.contains(&pipeline) && pipelines.contains(&neighbour), "{pipelines:?}");
}

async fn leases(store: &dyn Store) {
    let pipeline = PipelineName::from("leases");
    let long = Duration::from_secs(60);
    let first = store.acquire_lease(&pipeline, "one", long).await.expect("a free lease");
    let error = store.acquire_lease(&pipeline, "two", long).await.expect_err("held");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("one"), "the refusal names the holder: {error}");
    store.renew_lease(&first, long).await.expect("renew");
    store.append(&pipeline, 0, vec![record("1")], Some(first.fence)).await.expect("append under the lease");

    let again = store.acquire_lease(&pipeline, "one", long).await.expect("the holder takes it again");
    assert!(again.fence > first.fence, "each taking has a higher fence");
    let error = store.append(&pipeline, 1, vec![record("2")], Some(first.fence)).await.expect_err("an old fence");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(store.renew_lease(&first, long).await.expect_err("an old lease").kind(), ErrorKind::Conflict);

    store.release_lease(&first).await.expect("releasing a lost lease does nothing");
    assert!(store.acquire_lease(&pipeline, "two", long).await.is_err(), "it is still held");
    store.release_lease(&again).await.expect("release");
    let second = store.acquire_lease(&pipeline, "two", Duration::from_millis(1)).await.expect("free again");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let third = store.acquire_lease(&pipeline, "three", long).await.expect("a lease runs out");
    assert!(third.fence > second.fence);
}

async fn news(store: &Arc<dyn Store>) {
    let pipeline = PipelineName::from("news");
    store.wait(&pipeline, 0, Duration::from_millis(1)).await.expect("a wait ends by itself");
    let waiter = tokio::spawn({
        let (store, pipeline) = (Arc::clone(store), pipeline.clone());
        async move { store.wait(&pipeline, 0, Duration::from_secs(60)).await }
    });
    store.append(&pipeline, 0, vec![record("1")], None).await.expect("append");
    waiter.await.expect("no panic").expect("a wait ends with news");
    store.wait(&pipeline, 0, Duration::from_secs(60)).await.expect("old news end a wait at once");
}

async fn side_table(store: &dyn Store) {
    assert_eq!(store.get_side("key").await.expect("get"), None);
    store.put_side("key", record("value")).await.expect("put");
    store.put_side("key", record("newer")).await.expect("put");
    // The side table may lose what it was given, but must not make it up.
    if let Some(value) = store.get_side("key").await.expect("get") {
        assert_eq!(value, record("newer"));
    }
}
