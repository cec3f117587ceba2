//! The store as one process sees it: it fails, lies, and is where the process dies.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::plugins::World;
use crate::error::{Error, ErrorKind, Result};
use crate::name::PipelineName;
use crate::store::{Lease, Store};

#[derive(Debug)]
pub(super) struct FaultyStore {
    world: World,
    inner: Arc<dyn Store>,
    /// Set when the process is to die; from then on nothing returns.
    dead: AtomicBool,
    /// Until when the process is cut off from the store: long enough, at times, for another to take its lease.
    cut_off_until: Mutex<Instant>,
}

impl FaultyStore {
    pub(super) fn new(world: World) -> Arc<Self> {
        let inner = Arc::clone(&world.lock().store);
        Arc::new(Self { world, inner, dead: AtomicBool::new(false), cut_off_until: Mutex::new(Instant::now()) })
    }

    /// Whether the process has died in an operation.
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// What goes wrong before an operation reaches the store.
    async fn before(&self) -> Result<()> {
        if self.is_dead() {
            pending::<()>().await;
        }
        if self.world.goes_wrong(8) {
            self.dead.store(true, Ordering::SeqCst);
            pending::<()>().await;
        }
        if self.world.goes_wrong(4) {
            let cut_off = Duration::from_secs(self.world.below(300) as u64);
            *self.cut_off_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + cut_off;
        }
        let cut_off_until = *self.cut_off_until.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::time::sleep_until(cut_off_until).await;
        if self.world.goes_wrong(20) {
            return Err(gone());
        }
        if self.world.goes_wrong(20) {
            tokio::time::sleep(Duration::from_millis(self.world.below(2_000) as u64)).await;
        }
        Ok(())
    }

    /// What goes wrong after an operation has reached it.
    async fn after(&self) -> Result<()> {
        if self.world.goes_wrong(8) {
            self.dead.store(true, Ordering::SeqCst);
            pending::<()>().await;
        }
        if self.world.goes_wrong(20) { Err(gone()) } else { Ok(()) }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "The connection to the store broke.")
}

#[async_trait]
impl Store for FaultyStore {
    async fn append(
        &self,
        name: &PipelineName,
        expected: u64,
        records: Vec<Vec<u8>>,
        fence: Option<u64>,
    ) -> Result<()> {
        self.before().await?;
        self.inner.append(name, expected, records, fence).await?;
        self.after().await
    }

    async fn read(&self, name: &PipelineName, after: u64, limit: usize) -> Result<Vec<Vec<u8>>> {
        self.before().await?;
        self.inner.read(name, after, limit).await
    }

    async fn head(&self, name: &PipelineName) -> Result<u64> {
        self.before().await?;
        self.inner.head(name).await
    }

    async fn save_snapshot(&self, name: &PipelineName, seq: u64, snapshot: Vec<u8>) -> Result<()> {
        self.before().await?;
        self.inner.save_snapshot(name, seq, snapshot).await?;
        self.after().await
    }

    async fn load_snapshot(&self, name: &PipelineName) -> Result<Option<(u64, Vec<u8>)>> {
        self.before().await?;
        self.inner.load_snapshot(name).await
    }

    async fn compact(&self, name: &PipelineName, up_to: u64) -> Result<u64> {
        self.before().await?;
        self.inner.compact(name, up_to).await
    }

    async fn pipelines(&self) -> Result<Vec<PipelineName>> {
        self.inner.pipelines().await
    }

    async fn acquire_lease(&self, name: &PipelineName, holder: &str, ttl: Duration) -> Result<Lease> {
        self.before().await?;
        let lease = self.inner.acquire_lease(name, holder, ttl).await?;
        self.after().await?;
        Ok(lease)
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        self.before().await?;
        self.inner.renew_lease(lease, ttl).await?;
        self.after().await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        self.before().await?;
        self.inner.release_lease(lease).await
    }

    async fn wait(&self, name: &PipelineName, after: u64, timeout: Duration) -> Result<()> {
        self.inner.wait(name, after, timeout).await
    }

    async fn put_side(&self, key: &str, value: Vec<u8>) -> Result<()> {
        self.before().await?;
        self.inner.put_side(key, value).await
    }

    async fn get_side(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.before().await?;
        // The side table may lose what it was given.
        if self.world.goes_wrong(100) { Ok(None) } else { self.inner.get_side(key).await }
    }
}
