//! A store in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Lease, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::name::PipelineName;

/// Keeps everything in memory, until it is dropped. Clone an `Arc` of it to share it.
///
/// ```
/// use kargo_core::store::{MemoryStore, Store};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kargo_core::Result<()> {
/// let store = MemoryStore::new();
/// store.append(&"shop".into(), 0, vec![b"first".to_vec()], None).await?;
/// assert_eq!(store.head(&"shop".into()).await?, 1);
/// assert!(store.append(&"shop".into(), 0, vec![b"other".to_vec()], None).await.is_err());
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    journals: BTreeMap<PipelineName, Journal>,
    snapshots: BTreeMap<PipelineName, (u64, Vec<u8>)>,
    leases: BTreeMap<PipelineName, Held>,
    side: BTreeMap<String, Vec<u8>>,
}

/// Records one behind the other in blocks, so that each costs little more than its bytes, and none is moved when there are more.
#[derive(Debug, Default)]
struct Journal {
    blocks: Vec<Vec<u8>>,
    /// Where each record ends: its block, and the place in it.
    ends: Vec<(u32, u32)>,
    /// Bytes in all.
    size: usize,
}

impl Journal {
    fn head(&self) -> u64 {
        self.ends.len() as u64
    }

    fn push(&mut self, record: &[u8]) {
        if self.blocks.last().is_none_or(|block| block.capacity() - block.len() < record.len()) {
            // A quarter more at a time: a small journal takes little, and a large one has few blocks.
            let room = (self.size / 4).min(1 << 20).max(record.len());
            self.blocks.push(Vec::with_capacity(room));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.extend_from_slice(record);
            let end = block.len() as u32;
            self.ends.push((self.blocks.len() as u32 - 1, end));
        }
        self.size += record.len();
    }

    fn record(&self, index: usize) -> Vec<u8> {
        let (block, end) = self.ends[index];
        let before = index.checked_sub(1).map(|before| self.ends[before]);
        let start = before.filter(|before| before.0 == block).map_or(0, |before| before.1);
        self.blocks[block as usize][start as usize..end as usize].to_vec()
    }

    fn after(&self, after: u64) -> impl Iterator<Item = Vec<u8>> {
        let from = usize::try_from(after).unwrap_or(usize::MAX).min(self.ends.len());
        (from..self.ends.len()).map(|index| self.record(index))
    }
}

#[derive(Debug)]
struct Held {
    holder: Option<String>,
    fence: u64,
    until: Instant,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under the lock panics half way, so what a poisoned lock guards is whole.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The refusal of records that were made on an older state.
pub(super) fn stale(pipeline: &PipelineName, expected: u64, head: u64) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "The journal of pipeline {pipeline:?} ends at event {head}, not at {expected}: another engine appended to it."
        ),
    )
}

/// The refusal of records under a lease that is lost.
pub(super) fn fenced(pipeline: &PipelineName, fence: u64, newest: u64) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("The lease {fence} on pipeline {pipeline:?} is lost: lease {newest} was handed out since."),
    )
}

/// The refusal of a lease that another has.
pub(super) fn held(pipeline: &PipelineName, holder: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("Pipeline {pipeline:?} is driven by {holder:?}; stop that engine, or wait until its lease runs out."),
    )
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(
        &self,
        pipeline: &PipelineName,
        expected: u64,
        records: Vec<Vec<u8>>,
        fence: Option<u64>,
    ) -> Result<()> {
        let mut inner = self.lock();
        let newest = inner.leases.get(pipeline).map_or(0, |held| held.fence);
        if let Some(fence) = fence.filter(|fence| *fence != newest) {
            return Err(fenced(pipeline, fence, newest));
        }
        let journal = inner.journals.entry(pipeline.clone()).or_default();
        if journal.head() != expected {
            return Err(stale(pipeline, expected, journal.head()));
        }
        records.iter().for_each(|record| journal.push(record));
        drop(inner);
        self.news.send_modify(|news| *news += 1);
        Ok(())
    }

    async fn read(&self, pipeline: &PipelineName, after: u64, limit: usize) -> Result<Vec<Vec<u8>>> {
        let inner = self.lock();
        Ok(inner.journals.get(pipeline).into_iter().flat_map(|journal| journal.after(after)).take(limit).collect())
    }

    async fn head(&self, pipeline: &PipelineName) -> Result<u64> {
        Ok(self.lock().journals.get(pipeline).map_or(0, Journal::head))
    }

    async fn save_snapshot(&self, pipeline: &PipelineName, seq: u64, snapshot: Vec<u8>) -> Result<()> {
        let mut inner = self.lock();
        if inner.snapshots.get(pipeline).is_none_or(|(kept, _)| *kept <= seq) {
            inner.snapshots.insert(pipeline.clone(), (seq, snapshot));
        }
        Ok(())
    }

    async fn load_snapshot(&self, pipeline: &PipelineName) -> Result<Option<(u64, Vec<u8>)>> {
        Ok(self.lock().snapshots.get(pipeline).cloned())
    }

    async fn pipelines(&self) -> Result<Vec<PipelineName>> {
        let inner = self.lock();
        Ok(inner.journals.iter().filter(|(_, journal)| journal.head() > 0).map(|(name, _)| name.clone()).collect())
    }

    async fn acquire_lease(&self, pipeline: &PipelineName, holder: &str, ttl: Duration) -> Result<Lease> {
        let mut inner = self.lock();
        let now = Instant::now();
        let entry = inner.leases.entry(pipeline.clone());
        let lease = entry.or_insert_with(|| Held { holder: None, fence: 0, until: now });
        match &lease.holder {
            Some(other) if other != holder && lease.until > now => return Err(held(pipeline, other)),
            _ => {}
        }
        *lease = Held { holder: Some(holder.to_owned()), fence: lease.fence + 1, until: now + ttl };
        Ok(Lease { pipeline: pipeline.clone(), holder: holder.to_owned(), fence: lease.fence })
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        let mut inner = self.lock();
        match inner.leases.get_mut(&lease.pipeline) {
            Some(held) if held.fence == lease.fence && held.holder.is_some() => {
                held.until = Instant::now() + ttl;
                Ok(())
            }
            found => Err(fenced(&lease.pipeline, lease.fence, found.map_or(0, |held| held.fence))),
        }
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        if let Some(held) = self.lock().leases.get_mut(&lease.pipeline)
            && held.fence == lease.fence
        {
            held.holder = None;
        }
        Ok(())
    }

    async fn wait(&self, pipeline: &PipelineName, after: u64, timeout: Duration) -> Result<()> {
        super::wait_for_news(self, &self.news, pipeline, after, timeout).await
    }

    async fn put_side(&self, key: &str, value: Vec<u8>) -> Result<()> {
        self.lock().side.insert(key.to_owned(), value);
        Ok(())
    }

    async fn get_side(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.lock().side.get(key).cloned())
    }
}
