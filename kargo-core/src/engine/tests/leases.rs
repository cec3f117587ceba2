//! Two engines on one store, and stores that do not answer: one engine at a time has effects under way.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::*;
use crate::name::PipelineName;
use crate::plugin::{Context, Step, StepOutcome, StepRequest};
use crate::state::EventKind;
use crate::store::Lease;

/// One engine's way to a store, which the test can cut.
#[derive(Debug)]
struct Line {
    inner: Arc<MemoryStore>,
    cut: AtomicBool,
    /// Whether calls over a cut line hang, or fail at once.
    hangs: bool,
    /// Takes the lease away at the append that starts a task, as if another engine had been quicker by a hair.
    robbed: AtomicBool,
    /// Calls every append a conflict.
    refuses: AtomicBool,
    appends: AtomicUsize,
    lease: Mutex<Option<Lease>>,
}

impl Line {
    fn to(inner: &Arc<MemoryStore>, hangs: bool) -> Arc<Self> {
        let (cut, robbed, refuses) = Default::default();
        let (appends, lease) = Default::default();
        Arc::new(Self { inner: Arc::clone(inner), cut, hangs, robbed, refuses, appends, lease })
    }

    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    async fn pass(&self) -> Result<()> {
        match self.cut.load(Ordering::SeqCst) {
            false => Ok(()),
            true if self.hangs => pending().await,
            true => Err(Error::new(ErrorKind::Unavailable, "The line is cut.")),
        }
    }
}

#[async_trait]
impl Store for Line {
    async fn append(
        &self,
        name: &PipelineName,
        expected: u64,
        records: Vec<Vec<u8>>,
        fence: Option<u64>,
    ) -> Result<()> {
        self.pass().await?;
        self.appends.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Conflict, "Somebody else was quicker."));
        }
        let starts = records.iter().any(|record| String::from_utf8_lossy(record).contains("task-started"));
        if starts && self.robbed.swap(false, Ordering::SeqCst) {
            let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone().expect("taken");
            self.inner.release_lease(&lease).await?;
            let other = self.inner.acquire_lease(name, "other", Duration::from_secs(1 << 20)).await?;
            self.inner.append(name, expected, records.clone(), Some(other.fence)).await?;
        }
        self.inner.append(name, expected, records, fence).await
    }

    async fn read(&self, name: &PipelineName, after: u64, limit: usize) -> Result<Vec<Vec<u8>>> {
        self.pass().await?;
        self.inner.read(name, after, limit).await
    }

    async fn head(&self, name: &PipelineName) -> Result<u64> {
        self.pass().await?;
        self.inner.head(name).await
    }

    async fn save_snapshot(&self, name: &PipelineName, seq: u64, snapshot: Vec<u8>) -> Result<()> {
        self.pass().await?;
        self.inner.save_snapshot(name, seq, snapshot).await
    }

    async fn load_snapshot(&self, name: &PipelineName) -> Result<Option<(u64, Vec<u8>)>> {
        self.pass().await?;
        self.inner.load_snapshot(name).await
    }

    async fn pipelines(&self) -> Result<Vec<PipelineName>> {
        self.pass().await?;
        self.inner.pipelines().await
    }

    async fn acquire_lease(&self, name: &PipelineName, holder: &str, ttl: Duration) -> Result<Lease> {
        self.pass().await?;
        let lease = self.inner.acquire_lease(name, holder, ttl).await?;
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease.clone());
        Ok(lease)
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        self.pass().await?;
        self.inner.renew_lease(lease, ttl).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        self.pass().await?;
        self.inner.release_lease(lease).await
    }

    async fn wait(&self, name: &PipelineName, after: u64, timeout: Duration) -> Result<()> {
        self.pass().await?;
        self.inner.wait(name, after, timeout).await
    }

    async fn put_side(&self, key: &str, value: Vec<u8>) -> Result<()> {
        self.pass().await?;
        self.inner.put_side(key, value).await
    }

    async fn get_side(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.pass().await?;
        self.inner.get_side(key).await
    }
}

/// A step that takes its time, and counts how many calls of it are under way at once.
#[derive(Debug, Clone, Default)]
struct Slow {
    takes: Duration,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

impl Slow {
    fn taking(seconds: u64) -> Self {
        Self { takes: Duration::from_secs(seconds), ..Self::default() }
    }
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Step for Slow {
    async fn run(&self, cx: &Context, _: &StepRequest<'_>) -> Result<StepOutcome> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        let _under_way = UnderWay(Arc::clone(&self.now));
        self.most.fetch_max(now, Ordering::SeqCst);
        cx.sleep(self.takes).await?;
        Ok(StepOutcome::succeeded())
    }
}

fn pipeline() -> Pipeline {
    Shop::of([Stage::new("dev").direct("main").auto_promote().step(StepSpec::new("slow", json!({})))])
}

async fn start(shop: &Shop, slow: &Slow, store: Arc<dyn Store>) -> Result<Engine> {
    let plugins = Plugins::builder().source("versions", shop.source.clone()).step("slow", slow.clone()).build();
    Engine::builder(pipeline(), plugins).store(store).clock(Arc::clone(&shop.clock) as _).start().await
}

async fn until_called(slow: &Slow) {
    while slow.now.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn ends_of_tasks(engine: &Engine) -> usize {
    let events = engine.journal().await.expect("reads");
    events.into_iter().filter(|event| matches!(event.kind, EventKind::TaskFinished { .. })).count()
}

/// An engine that cannot reach the store does not know whether another has taken over. When its lease is over by its own
/// reckoning, it stops what it has under way.
#[tokio::test(start_paused = true)]
async fn an_engine_that_is_cut_off_stops_its_effects_before_another_begins_them() {
    for hangs in [false, true] {
        let shop = Shop::new();
        let slow = Slow::taking(100);
        let line = Line::to(&shop.store, hangs);
        let first = start(&shop, &slow, line.clone()).await.expect("starts");
        until_called(&slow).await;
        line.cut(true);
        // The store gives the lease away as soon as it is over, not before.
        let second = loop {
            match start(&shop, &slow, shop.store.clone()).await {
                Ok(second) => break second,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        verified(&second, "dev", "1.0.0").await;
        assert_eq!(slow.most.load(Ordering::SeqCst), 1, "hangs: {hangs}");
        assert!(first.trouble().is_some());

        line.cut(false);
        an_hour().await;
        assert_eq!(slow.calls.load(Ordering::SeqCst), 2, "the first has nothing left to do");
        assert_eq!((promotions(&second, "dev"), ends_of_tasks(&second).await), (1, 1));
        first.read(|theirs| second.read(|ours| assert_eq!(theirs, ours)));

        // What is asked of the engine that may not drive is refused, with who does.
        let id = freight(&first, "1.0.0").await;
        let error = first.promote("dev", &id, Actor::user("alice")).await.expect_err("another drives");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("is driven by"), "{error}");
        assert!(first.refresh("main").await.is_err());
        assert!(first.trouble().expect("it may not drive").contains("is driven by"));

        second.shutdown().await.expect("stops");
        an_hour().await;
        assert_eq!(first.trouble(), None, "it drives again");
        let promotion = first.promote("dev", &id, Actor::user("alice")).await.expect("allowed");
        assert!(first.finished(&promotion).await.expect("ends").phase.is_success());
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_told_to_stop_keeps_its_lease_while_calls_are_under_way() {
    let shop = Shop::new();
    let slow = Slow::taking(25);
    let first = start(&shop, &slow, shop.store.clone()).await.expect("starts");
    until_called(&slow).await;
    let stopping = tokio::spawn(async move { first.shutdown().await });
    tokio::time::sleep(Duration::from_secs(20)).await;
    let error = start(&shop, &slow, shop.store.clone()).await.expect_err("a call is under way there");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    stopping.await.expect("no panic").expect("stops");
    let second = start(&shop, &slow, shop.store.clone()).await.expect("starts at once");
    verified(&second, "dev", "1.0.0").await;
    assert_eq!(slow.calls.load(Ordering::SeqCst), 1, "what ended in time was recorded");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_hang_whoever_asks_the_engine() {
    let shop = Shop::new();
    let line = Line::to(&shop.store, true);
    let slow = Slow::taking(1);
    let engine = start(&shop, &slow, line.clone()).await.expect("starts");
    let id = verified(&engine, "dev", "1.0.0").await;
    line.cut(true);
    for _ in 0..3 {
        let minute = Duration::from_secs(60);
        let asked = tokio::time::timeout(minute, engine.promote("dev", &id, Actor::user("alice"))).await;
        asked.expect("an answer comes").expect_err("the store hangs");
        tokio::time::timeout(minute, engine.journal()).await.expect("an answer comes").expect_err("the store hangs");
    }
    assert!(engine.trouble().is_some());
    let before = engine.read(|state| state.seq());
    line.cut(false);
    let promotion = loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Ok(promotion) = engine.promote("dev", &id, Actor::user("alice")).await {
            break promotion;
        }
    };
    engine.finished(&promotion).await.expect("ends");
    assert_eq!(promotions(&engine, "dev"), 2, "after event {before} nothing but the last request was taken");

    line.cut(true);
    let stopped = tokio::time::timeout(Duration::from_secs(120), engine.shutdown()).await.expect("it stops");
    stopped.expect_err("the lease could not be given back");
    let start = start(&shop, &slow, line.clone());
    assert!(tokio::time::timeout(Duration::from_secs(120), start).await.expect("an answer comes").is_err());
}

/// Two engines that decide the same at the same instant write the same bytes. A refused append is never the engine's own.
#[tokio::test(start_paused = true)]
async fn another_engine_s_equal_record_is_not_taken_for_one_s_own() {
    let shop = Shop::new();
    let slow = Slow::taking(1);
    let line = Line::to(&shop.store, false);
    line.robbed.store(true, Ordering::SeqCst);
    let engine = start(&shop, &slow, line).await.expect("starts");
    engine.until(|state| state.promotions().next().map(|_| ())).await.expect("requested");
    an_hour().await;
    assert_eq!(slow.calls.load(Ordering::SeqCst), 0, "the other engine has started the task");
}

/// While an engine was away, another one has defined the pipeline anew. One that lacks the plug-ins for it must not drive it.
#[tokio::test(start_paused = true)]
async fn an_engine_that_lacks_the_plug_ins_for_a_newer_definition_does_not_drive_it() {
    let shop = Shop::new();
    let line = Line::to(&shop.store, false);
    let slow = Slow::taking(1);
    let first = start(&shop, &slow, line.clone()).await.expect("starts");
    verified(&first, "dev", "1.0.0").await;
    line.cut(true);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let newer = Shop::of([Shop::stage("dev").direct("main").auto_promote()]);
    let second = shop.start(newer.clone()).await;
    line.cut(false);
    second.shutdown().await.expect("stops");
    shop.source.publish("2.0.0");
    an_hour().await;
    assert!(first.trouble().expect("it may not drive").contains("cannot run with these plug-ins"));
    assert_eq!(first.read(|state| state.freight().count()), 1, "it does nothing");
    let third = shop.start(newer).await;
    verified(&third, "dev", "2.0.0").await;
}

/// A store that calls everything a conflict does not keep the engine from answering, nor from stopping.
#[tokio::test(start_paused = true)]
async fn a_store_that_always_sees_a_conflict_does_not_spin_the_engine() {
    let shop = Shop::new();
    let line = Line::to(&shop.store, false);
    let slow = Slow::taking(1);
    let engine = start(&shop, &slow, line.clone()).await.expect("starts");
    let id = verified(&engine, "dev", "1.0.0").await;
    line.refuses.store(true, Ordering::SeqCst);
    shop.source.publish("2.0.0");
    let appends = || line.appends.load(Ordering::SeqCst);
    let before = appends();
    an_hour().await;
    assert!(appends() - before < 3600 * 60, "{} appends in an hour", appends() - before);
    engine.promote("dev", &id, Actor::user("alice")).await.expect_err("a conflict");
    line.refuses.store(false, Ordering::SeqCst);
    verified(&engine, "dev", "2.0.0").await;
}
