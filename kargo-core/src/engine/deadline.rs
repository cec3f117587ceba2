//! A store that always answers: what hangs ends at a deadline.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind, Result};
use crate::name::PipelineName;
use crate::store::{Lease, Store};

/// Passes calls on, each with a deadline.
#[derive(Debug)]
pub(super) struct Deadline {
    store: Arc<dyn Store>,
    limit: Duration,
    /// When the engine's lease is over by its own reckoning. No call goes on beyond that, so that the engine notices.
    lease: Option<Arc<LeaseEnd>>,
}

/// When the lease is over unless it is renewed; none while there is no lease.
#[derive(Debug, Default)]
pub(super) struct LeaseEnd(Mutex<Option<Instant>>);

impl LeaseEnd {
    pub(super) fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, end: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

impl Deadline {
    pub(super) fn new(store: Arc<dyn Store>, limit: Duration) -> Self {
        Self { store, limit, lease: None }
    }

    /// The same store, on which no call outlasts the lease.
    pub(super) fn within(store: Arc<dyn Store>, limit: Duration, lease: Arc<LeaseEnd>) -> Self {
        Self { store, limit, lease: Some(lease) }
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let limit = Instant::now() + self.limit;
        let until = self.lease.as_ref().and_then(|lease| lease.get()).map_or(limit, |end| end.min(limit));
        timeout_at(until, call).await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Timeout,
                "The store did not answer in time; whether it took effect is not known. Look whether the store can be reached.",
            ))
        })
    }
}

#[async_trait]
impl Store for Deadline {
    async fn append(
        &self,
        pipeline: &PipelineName,
        expected: u64,
        records: Vec<Vec<u8>>,
        fence: Option<u64>,
    ) -> Result<()> {
        self.bounded(self.store.append(pipeline, expected, records, fence)).await
    }

    async fn read(&self, pipeline: &PipelineName, after: u64, limit: usize) -> Result<Vec<Vec<u8>>> {
        self.bounded(self.store.read(pipeline, after, limit)).await
    }

    async fn head(&self, pipeline: &PipelineName) -> Result<u64> {
        self.bounded(self.store.head(pipeline)).await
    }

    async fn save_snapshot(&self, pipeline: &PipelineName, seq: u64, snapshot: Vec<u8>) -> Result<()> {
        self.bounded(self.store.save_snapshot(pipeline, seq, snapshot)).await
    }

    async fn load_snapshot(&self, pipeline: &PipelineName) -> Result<Option<(u64, Vec<u8>)>> {
        self.bounded(self.store.load_snapshot(pipeline)).await
    }

    async fn compact(&self, pipeline: &PipelineName, up_to: u64) -> Result<u64> {
        // Work for the background, of any length, and in parts.
        self.store.compact(pipeline, up_to).await
    }

    async fn pipelines(&self) -> Result<Vec<PipelineName>> {
        self.bounded(self.store.pipelines()).await
    }

    async fn acquire_lease(&self, pipeline: &PipelineName, holder: &str, ttl: Duration) -> Result<Lease> {
        self.bounded(self.store.acquire_lease(pipeline, holder, ttl)).await
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        self.bounded(self.store.renew_lease(lease, ttl)).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        self.bounded(self.store.release_lease(lease)).await
    }

    async fn wait(&self, pipeline: &PipelineName, after: u64, timeout: Duration) -> Result<()> {
        // It has an end of its own.
        self.store.wait(pipeline, after, timeout).await
    }

    async fn put_side(&self, key: &str, value: Vec<u8>) -> Result<()> {
        self.bounded(self.store.put_side(key, value)).await
    }

    async fn get_side(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.bounded(self.store.get_side(key)).await
    }
}
