//! Where journals live.
//!
//! A [`Store`] is small, so that any engine with compare-and-set can be one. It keeps, for each pipeline, a journal of records and
//! one snapshot; leases, so that one engine at a time drives a pipeline; and a side table for what may be lost.
//! Records are bytes to it: what they mean is the business of [`crate::state`].
//!
//! | store | for |
//! |---|---|
//! | [`MemoryStore`] | tests, and pipelines that need not survive |
//! | `RedbStore` (feature `redb`) | one process: a file, durable when [`Store::append`] returns |
//!
//! Another store shows that it is one with `kargo_core::testing::store_conformance`.

mod codec;
mod memory;
#[cfg(feature = "redb")]
mod redb;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::name::PipelineName;

#[cfg(feature = "redb")]
pub use self::redb::{RedbOptions, RedbStore};
pub(crate) use codec::{MAX_LEVELS, decode_event, decode_snapshot, encode_event, encode_snapshot, levels};
pub use memory::MemoryStore;

/// A journal store.
///
/// All methods may be called from any number of tasks at once, and are cancel-safe in this sense: a dropped
/// [`Store::append`] happens in full or not at all, perhaps only after it was dropped.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Appends `records` to the pipeline's journal, as numbers `expected + 1` and on. All or none; durable when it returns.
    ///
    /// `fence`, when given, must be the newest lease's: a store that hands out leases refuses an older one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when the journal does not end at `expected`, or the fence is old: nothing was appended.
    /// After any other error the records may or may not be there; read to find out.
    async fn append(
        &self,
        pipeline: &PipelineName,
        expected: u64,
        records: Vec<Vec<u8>>,
        fence: Option<u64>,
    ) -> Result<()>;

    /// Reads up to `limit` records after number `after`, in order, without gaps. Empty at the journal's end.
    async fn read(&self, pipeline: &PipelineName, after: u64, limit: usize) -> Result<Vec<Vec<u8>>>;

    /// The number of the journal's last record; 0 when it has none.
    async fn head(&self, pipeline: &PipelineName) -> Result<u64>;

    /// Keeps `snapshot` as the state after record `seq`, in place of an older one. An older one than is kept is ignored.
    async fn save_snapshot(&self, pipeline: &PipelineName, seq: u64, snapshot: Vec<u8>) -> Result<()>;

    /// The snapshot that is kept, with its record number.
    async fn load_snapshot(&self, pipeline: &PipelineName) -> Result<Option<(u64, Vec<u8>)>>;

    /// Packs records up to number `up_to` into less room, and returns how many were packed. What [`Store::read`] returns stays the
    /// same: the audit trail loses nothing. Never packed are records beyond the snapshot that is kept, nor the newest ones.
    ///
    /// The work is done in small parts, so that appends need not wait long. A dropped call stops between two of them, and what is
    /// done is done. By default nothing happens, which is right for a store that packs by itself or has room enough.
    async fn compact(&self, pipeline: &PipelineName, up_to: u64) -> Result<u64> {
        let _ = (pipeline, up_to);
        Ok(0)
    }

    /// The pipelines that have a journal, by name.
    async fn pipelines(&self) -> Result<Vec<PipelineName>>;

    /// Takes the pipeline's lease for `holder`, or takes it again. Time is the store's own clock.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] while another holds it, naming the holder.
    async fn acquire_lease(&self, pipeline: &PipelineName, holder: &str, ttl: Duration) -> Result<Lease>;

    /// Makes `lease` last for another `ttl` from now.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when it is lost: another holds it, or did since.
    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()>;

    /// Gives `lease` back. Nothing happens when it is lost already.
    async fn release_lease(&self, lease: &Lease) -> Result<()>;

    /// Returns when the journal may have got past `after`, or after `timeout`. A hint: read to know.
    async fn wait(&self, pipeline: &PipelineName, after: u64, timeout: Duration) -> Result<()>;

    /// Keeps `value` under `key` in the side table. What is there may be lost.
    async fn put_side(&self, key: &str, value: Vec<u8>) -> Result<()>;

    /// What the side table has under `key`.
    async fn get_side(&self, key: &str) -> Result<Option<Vec<u8>>>;
}

/// What [`Store::wait`] does in a store that counts its own appends in `news`.
async fn wait_for_news(
    store: &impl Store,
    news: &tokio::sync::watch::Sender<u64>,
    pipeline: &PipelineName,
    after: u64,
    timeout: Duration,
) -> Result<()> {
    // Subscribed before the first look, so that nothing that comes after it is missed.
    let mut news = news.subscribe();
    let wait = async {
        while store.head(pipeline).await? <= after {
            if news.changed().await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::time::timeout(timeout, wait).await.unwrap_or(Ok(()))
}

/// The right to drive a pipeline, for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Who has it.
    pub holder: String,
    /// Grows with every change of holder; a store refuses records under an older one.
    pub fence: u64,
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn append(
        &self,
        pipeline: &PipelineName,
        expected: u64,
        records: Vec<Vec<u8>>,
        fence: Option<u64>,
    ) -> Result<()> {
        (**self).append(pipeline, expected, records, fence).await
    }

    async fn read(&self, pipeline: &PipelineName, after: u64, limit: usize) -> Result<Vec<Vec<u8>>> {
        (**self).read(pipeline, after, limit).await
    }

    async fn head(&self, pipeline: &PipelineName) -> Result<u64> {
        (**self).head(pipeline).await
    }

    async fn save_snapshot(&self, pipeline: &PipelineName, seq: u64, snapshot: Vec<u8>) -> Result<()> {
        (**self).save_snapshot(pipeline, seq, snapshot).await
    }

    async fn load_snapshot(&self, pipeline: &PipelineName) -> Result<Option<(u64, Vec<u8>)>> {
        (**self).load_snapshot(pipeline).await
    }

    async fn compact(&self, pipeline: &PipelineName, up_to: u64) -> Result<u64> {
        (**self).compact(pipeline, up_to).await
    }

    async fn pipelines(&self) -> Result<Vec<PipelineName>> {
        (**self).pipelines().await
    }

    async fn acquire_lease(&self, pipeline: &PipelineName, holder: &str, ttl: Duration) -> Result<Lease> {
        (**self).acquire_lease(pipeline, holder, ttl).await
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        (**self).renew_lease(lease, ttl).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        (**self).release_lease(lease).await
    }

    async fn wait(&self, pipeline: &PipelineName, after: u64, timeout: Duration) -> Result<()> {
        (**self).wait(pipeline, after, timeout).await
    }

    async fn put_side(&self, key: &str, value: Vec<u8>) -> Result<()> {
        (**self).put_side(key, value).await
    }

    async fn get_side(&self, key: &str) -> Result<Option<Vec<u8>>> {
        (**self).get_side(key).await
    }
}
