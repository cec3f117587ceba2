//! Crashes and lying stores: whatever dies, everything ends, and nothing happens twice.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;

use super::*;
use crate::name::PipelineName;
use crate::state::{EventKind, Task};
use crate::store::Lease;

/// A store that stops working after a number of appends, in one of two ways: the last one is lost, or it is kept and reported as lost.
#[derive(Debug)]
struct Dying {
    inner: Arc<MemoryStore>,
    left: AtomicI64,
    keeps: bool,
    /// Whether everything fails once it is dead, or only the one append.
    for_good: bool,
    /// Up to where it was asked to compact, which it cannot.
    compacted: Mutex<Vec<u64>>,
}

impl Dying {
    fn after(inner: &Arc<MemoryStore>, appends: i64, keeps: bool, for_good: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            left: AtomicI64::new(appends),
            keeps,
            for_good,
            compacted: Mutex::default(),
        })
    }

    fn alive(&self) -> Result<()> {
        if self.for_good && self.left.load(Ordering::SeqCst) < 0 {
            return Err(Error::new(ErrorKind::Unavailable, "The store is gone."));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Dying {
    async fn append(
        &self,
        name: &PipelineName,
        expected: u64,
        records: Vec<Vec<u8>>,
        fence: Option<u64>,
    ) -> Result<()> {
        self.alive()?;
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            if self.keeps {
                self.inner.append(name, expected, records, fence).await?;
            }
            return Err(Error::new(ErrorKind::Unavailable, "The connection broke."));
        }
        self.inner.append(name, expected, records, fence).await
    }

    async fn read(&self, name: &PipelineName, after: u64, limit: usize) -> Result<Vec<Vec<u8>>> {
        self.alive()?;
        self.inner.read(name, after, limit).await
    }

    async fn head(&self, name: &PipelineName) -> Result<u64> {
        self.inner.head(name).await
    }

    async fn save_snapshot(&self, name: &PipelineName, seq: u64, snapshot: Vec<u8>) -> Result<()> {
        self.alive()?;
        self.inner.save_snapshot(name, seq, snapshot).await
    }

    async fn load_snapshot(&self, name: &PipelineName) -> Result<Option<(u64, Vec<u8>)>> {
        self.inner.load_snapshot(name).await
    }

    async fn compact(&self, _: &PipelineName, up_to: u64) -> Result<u64> {
        self.compacted.lock().expect("no panic").push(up_to);
        Err(Error::new(ErrorKind::Full, "There is no room to compact."))
    }

    async fn pipelines(&self) -> Result<Vec<PipelineName>> {
        self.inner.pipelines().await
    }

    async fn acquire_lease(&self, name: &PipelineName, holder: &str, ttl: Duration) -> Result<Lease> {
        self.inner.acquire_lease(name, holder, ttl).await
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        self.inner.renew_lease(lease, ttl).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        self.inner.release_lease(lease).await
    }

    async fn wait(&self, name: &PipelineName, after: u64, timeout: Duration) -> Result<()> {
        self.inner.wait(name, after, timeout).await
    }

    async fn put_side(&self, key: &str, value: Vec<u8>) -> Result<()> {
        self.inner.put_side(key, value).await
    }

    async fn get_side(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.inner.get_side(key).await
    }
}

/// Checks what must hold of a journal however it came to be.
async fn whole(engine: &Engine) {
    let events = engine.journal().await.expect("reads");
    let mut requested = BTreeSet::new();
    let (mut started, mut finished) = (BTreeSet::new(), BTreeSet::new());
    for event in &events {
        match &event.kind {
            EventKind::PromotionRequested { promotion, .. } => {
                assert!(requested.insert(promotion.clone()), "requested twice")
            }
            EventKind::TaskStarted { task } => assert!(started.insert(task.clone()), "{task} started twice"),
            EventKind::TaskFinished { task, .. } => {
                assert!(started.contains(task), "{task} ended without a start");
                assert!(finished.insert(task.clone()), "{task} ended twice");
            }
            _ => {}
        }
    }
    assert_eq!(started, finished, "what was started has ended");
    assert!(finished.iter().any(|task| matches!(task, Task::Verifier { .. })));
}

/// The engine dies at each append in turn, with it or just after it, and another takes over.
#[tokio::test(start_paused = true)]
async fn an_engine_that_dies_at_any_append_is_taken_over_without_loss_or_repetition() {
    let mut died = 0;
    for keeps in [false, true] {
        for appends in 0..40 {
            let shop = Shop::new();
            let dying = Dying::after(&shop.store, appends, keeps, true);
            let first = shop.start_on(Shop::pipeline(), dying.clone()).await;
            if let Ok(first) = first {
                an_hour().await;
                if dying.left.load(Ordering::SeqCst) < 0 {
                    died += 1;
                    assert!(first.trouble().is_some_and(|trouble| trouble.contains("The store is gone")));
                }
                drop(first);
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            let second = shop.start(Shop::pipeline()).await;
            verified(&second, "staging", "1.0.0").await;
            an_hour().await;
            assert_eq!(second.read(|state| state.freight().count()), 1);
            assert_eq!((promotions(&second, "dev"), promotions(&second, "staging")), (1, 1), "at append {appends}");
            let keys: BTreeSet<String> = shop.ship.calls().into_iter().map(|call| call.key).collect();
            assert_eq!(keys.len(), 2, "every effect has one identity, at append {appends}");
            whole(&second).await;
        }
    }
    assert!(died > 10, "the story takes enough appends for this test to say something: {died}");
}

/// A store that reports a failure after it has kept the records, once, is believed by its journal, not by its report.
#[tokio::test(start_paused = true)]
async fn an_append_that_is_reported_lost_but_kept_is_found() {
    for keeps in [false, true] {
        for appends in 1..30 {
            let shop = Shop::new();
            let lying = Dying::after(&shop.store, appends, keeps, false);
            let engine = shop.start_on(Shop::pipeline(), lying).await.expect("starts");
            verified(&engine, "staging", "1.0.0").await;
            an_hour().await;
            assert_eq!((promotions(&engine, "dev"), promotions(&engine, "staging")), (1, 1), "at append {appends}");
            assert_eq!(engine.trouble(), None);
            whole(&engine).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_s_request_is_answered_by_what_the_journal_says() {
    let shop = Shop::new();
    let pipeline = || Shop::of([Shop::stage("dev").direct("main")]);
    let engine = shop.start(pipeline()).await;
    let id = freight(&engine, "1.0.0").await;
    engine.shutdown().await.expect("stops");
    for keeps in [false, true] {
        let lying = Dying::after(&shop.store, 0, keeps, false);
        let engine = shop.start_on(pipeline(), lying).await.expect("starts");
        let before = promotions(&engine, "dev");
        let answer = engine.promote("dev", &id, Actor::user("alice")).await;
        assert_eq!(answer.is_ok(), keeps, "{answer:?}");
        assert_eq!(promotions(&engine, "dev"), before + usize::from(keeps));
        engine.shutdown().await.expect("stops");
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_from_a_snapshot_equals_the_state_from_the_whole_journal() {
    let shop = Shop::new();
    let options = EngineOptions { snapshot_every: 7, ..EngineOptions::default() };
    let start = || {
        let builder = Engine::builder(Shop::pipeline(), shop.plugins()).clock(shop.clock.clone());
        builder.store(shop.store.clone()).options(options.clone()).start()
    };
    let engine = start().await.expect("starts");
    for version in ["1.1.0", "1.2.0"] {
        shop.source.publish(version);
        verified(&engine, "staging", version).await;
    }
    engine.shutdown().await.expect("stops");
    let (seq, _) = shop.store.load_snapshot(&"shop".into()).await.expect("loads").expect("there is one");
    assert_eq!(seq, shop.store.head(&"shop".into()).await.expect("head"));
    let from_snapshot = start().await.expect("starts");
    let mut replayed = State::new();
    for event in from_snapshot.journal().await.expect("reads") {
        replayed.apply(&event).expect("follows");
    }
    from_snapshot.read(|state| assert_eq!(*state, replayed));
    from_snapshot.shutdown().await.expect("stops");

    // A snapshot that cannot be read costs time, nothing else.
    shop.store.save_snapshot(&"shop".into(), u64::MAX, b"rubbish".to_vec()).await.expect("saves");
    let engine = start().await.expect("starts without it");
    engine.read(|state| assert_eq!(*state, replayed));
}

#[tokio::test(start_paused = true)]
async fn after_a_snapshot_old_events_are_compacted_and_it_does_not_matter_if_that_fails() {
    let shop = Shop::new();
    let store = Dying::after(&shop.store, i64::MAX, true, false);
    let options = EngineOptions { snapshot_every: 7, compact_after: 5, ..EngineOptions::default() };
    let builder = Engine::builder(Shop::pipeline(), shop.plugins()).clock(shop.clock.clone());
    let engine = builder.store(store.clone()).options(options).start().await.expect("starts");
    for version in ["1.1.0", "1.2.0"] {
        shop.source.publish(version);
        verified(&engine, "staging", version).await;
        assert_eq!(engine.trouble(), None);
    }
    let asked = store.compacted.lock().expect("no panic").clone();
    assert!(asked.len() > 1 && asked.is_sorted(), "{asked:?}");
    let (snapshot, _) = shop.store.load_snapshot(&"shop".into()).await.expect("loads").expect("there is one");
    assert_eq!(asked.last(), Some(&(snapshot - 5)), "the newest events before the snapshot stay as they are");
    engine.shutdown().await.expect("stops");
}

/// Processes that die young must not leave it to the next one to read ever more of the journal.
#[tokio::test(start_paused = true)]
async fn an_engine_that_had_to_read_a_long_journal_keeps_a_snapshot_at_once() {
    let shop = Shop::new();
    let start = |store: Arc<dyn Store>, snapshot_every| {
        let options = EngineOptions { snapshot_every, ..EngineOptions::default() };
        let builder = Engine::builder(Shop::pipeline(), shop.plugins()).clock(shop.clock.clone());
        builder.store(store).options(options).start()
    };
    let dying = Dying::after(&shop.store, i64::MAX, true, true);
    let young = start(dying.clone(), 1_000).await.expect("starts");
    verified(&young, "staging", "1.0.0").await;
    let head = shop.store.head(&"shop".into()).await.expect("head");
    assert_eq!(shop.store.load_snapshot(&"shop".into()).await.expect("loads"), None);

    dying.left.store(-1, Ordering::SeqCst);
    drop(young);
    let next = loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Ok(engine) = start(shop.store.clone(), head).await {
            break engine;
        }
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Before it stops, which keeps one as well.
    let (seq, _) = shop.store.load_snapshot(&"shop".into()).await.expect("loads").expect("there is one");
    assert!(seq >= head, "{seq} of {head}");
    next.shutdown().await.expect("stops");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_read_is_refused_by_its_place() {
    let shop = Shop::new();
    for (record, part) in [
        (b"\x01{}".to_vec(), "The stored event 1 of pipeline \"shop\" cannot be read"),
        (b"\x63{}".to_vec(), "is in form 99"),
        (Vec::new(), "is empty or damaged"),
    ] {
        let store = Arc::new(MemoryStore::new());
        store.append(&"shop".into(), 0, vec![record], None).await.expect("appends");
        let error = shop.start_on(Shop::pipeline(), store.clone()).await.expect_err("cannot be read");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(store.head(&"shop".into()).await.expect("head"), 1, "nothing was changed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_back_stops_nothing() {
    let shop = Shop::new();
    let clock = Arc::new(crate::testing::ManualClock::at(START));
    let engine = Engine::builder(Shop::pipeline(), shop.plugins()).clock(clock.clone()).start().await.expect("starts");
    verified(&engine, "staging", "1.0.0").await;
    clock.set("2020-01-01T00:00:00Z".parse().expect("a time"));
    shop.source.publish("1.1.0");
    engine.refresh("main").await.expect("is a warehouse");
    freight(&engine, "1.1.0").await;
    let id = freight(&engine, "1.0.0").await;
    let promotion = engine.promote("prod", &id, Actor::user("alice")).await.expect("allowed");
    assert!(engine.finished(&promotion).await.expect("ends").phase.is_success());
}
