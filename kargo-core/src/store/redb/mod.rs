//! The embedded store: one file, one process.

mod blocks;
mod database;
mod first;
mod leases;
mod tables;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redb::ReadableDatabase;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Lease, Store};
use crate::error::Result;
use crate::name::PipelineName;

use database::{DatabaseSlot, storage_error};
use leases::Leases;
use tables::Tables;
use writer::Writer;

/// How a [`RedbStore`] is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedbOptions {
    /// Memory for pages that were read, in bytes. Default: 32 MiB.
    pub cache_size: usize,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_size: 32 << 20 }
    }
}

/// A store in one file, on [redb](https://docs.rs/redb).
///
/// What [`Store::append`] has returned for is on disk. Appends that come at the same time share one commit, so many
/// pipelines cost little more than one. One process at a time has the file open; leases of a process that died are
/// void as soon as the next one opens it.
///
/// When the disk is full, appends fail with [`crate::ErrorKind::Full`] and nothing that was stored is harmed; they succeed again once there is
/// room.
///
/// ```
/// use kargo_core::store::{RedbStore, Store};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let store = RedbStore::open(folder.path().join("kargo.redb"))?;
/// store.append(&"shop".into(), 0, vec![b"first".to_vec()], None).await?;
/// assert_eq!(store.read(&"shop".into(), 0, 10).await?, [b"first"]);
/// # Ok(()) }
/// ```
pub struct RedbStore {
    database: Arc<DatabaseSlot>,
    writer: Writer,
    leases: Arc<Leases>,
    /// How many bytes of records are packed into one block.
    block_size: usize,
    news: watch::Sender<u64>,
    path: PathBuf,
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RedbStore {
    /// Opens the file at `path`, and makes it when there is none; while it is being made, it has `.new` behind its name.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] when another process has it open; [`crate::ErrorKind::Corrupt`] when it is damaged, is no store, or was
    /// written by a newer version; [`crate::ErrorKind::Unavailable`] when it cannot be reached.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, RedbOptions::default())
    }

    /// As [`RedbStore::open`], with options.
    ///
    /// # Errors
    /// As for [`RedbStore::open`].
    pub fn open_with(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self> {
        let path = path.as_ref().to_owned();
        first::make(&path)?;
        let file = path.clone();
        Self::open_by(path, move || redb::Database::builder().set_cache_size(options.cache_size).create(&file))
    }

    /// Opens through a function, which is called again after an I/O error.
    pub(crate) fn open_by(
        path: PathBuf,
        open: impl Fn() -> Result<redb::Database, redb::DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self> {
        let database = Arc::new(DatabaseSlot::open(path.clone(), open)?);
        let writer = Writer::start(Arc::clone(&database))?;
        Ok(Self {
            database,
            writer,
            leases: Arc::default(),
            block_size: blocks::MOST,
            news: watch::Sender::new(0),
            path,
        })
    }

    /// Runs a read away from the asynchronous threads, since it may have to wait for the disk.
    async fn read_blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T> {
        let slot = Arc::clone(&self.database);
        let path = self.path.clone();
        let work = move || {
            let database = slot.get()?;
            let done = database.begin_read().map_err(redb::Error::from).and_then(|transaction| read(&transaction));
            done.map_err(|error| slot.failed(database, error))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            Err(storage_error(&path, "read from", std::io::Error::other(error.to_string()).into()))
        })
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn append(
        &self,
        pipeline: &PipelineName,
        expected: u64,
        records: Vec<Vec<u8>>,
        fence: Option<u64>,
    ) -> Result<()> {
        let pipeline = pipeline.clone();
        self.writer.submit(move |tables| tables.append(&pipeline, expected, &records, fence)).await?;
        self.news.send_modify(|news| *news += 1);
        Ok(())
    }

    async fn read(&self, pipeline: &PipelineName, after: u64, limit: usize) -> Result<Vec<Vec<u8>>> {
        let pipeline = pipeline.clone();
        self.read_blocking(move |transaction| tables::read(transaction, &pipeline, after, limit)).await
    }

    async fn head(&self, pipeline: &PipelineName) -> Result<u64> {
        let pipeline = pipeline.clone();
        self.read_blocking(move |transaction| tables::head_of(transaction, &pipeline)).await
    }

    async fn save_snapshot(&self, pipeline: &PipelineName, seq: u64, snapshot: Vec<u8>) -> Result<()> {
        let pipeline = pipeline.clone();
        self.writer.submit(move |tables| tables.save_snapshot(&pipeline, seq, &snapshot)).await
    }

    async fn load_snapshot(&self, pipeline: &PipelineName) -> Result<Option<(u64, Vec<u8>)>> {
        let pipeline = pipeline.clone();
        self.read_blocking(move |transaction| tables::load_snapshot(transaction, &pipeline)).await
    }

    async fn compact(&self, pipeline: &PipelineName, up_to: u64) -> Result<u64> {
        let mut packed = 0;
        loop {
            // Records never change, so they are read and compressed before the writer is asked: appends wait for little.
            let (name, size) = (pipeline.clone(), self.block_size);
            let next = self.read_blocking(move |transaction| blocks::next(transaction, &name, up_to, size)).await?;
            let Some(block) = next else { return Ok(packed) };
            let (name, count) = (pipeline.clone(), block.count());
            // Another call may have packed the same records.
            if !self.writer.submit(move |tables: &mut Tables<'_>| tables.pack(&name, &block)).await? {
                return Ok(packed);
            }
            packed += count;
        }
    }

    async fn pipelines(&self) -> Result<Vec<PipelineName>> {
        self.read_blocking(tables::pipelines).await
    }

    async fn acquire_lease(&self, pipeline: &PipelineName, holder: &str, ttl: Duration) -> Result<Lease> {
        let (pipeline, holder) = (pipeline.clone(), holder.to_owned());
        let (leases, now) = (Arc::clone(&self.leases), Instant::now());
        // From before the write: if the file is opened anew in between, the first renewal looks.
        let opening = self.database.opening().unwrap_or(0);
        self.writer.submit(move |tables| tables.acquire_lease(&leases, &pipeline, &holder, opening, (now, ttl))).await
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        let until = Instant::now() + ttl;
        self.leases.check(lease)?;
        loop {
            let opening = self.database.opening();
            if opening.is_some_and(|opening| self.leases.is_seen(lease, opening)) {
                return self.leases.renew(lease, until);
            }
            let name = lease.pipeline.clone();
            let kept = self.read_blocking(move |transaction| tables::fence_of(transaction, &name)).await?;
            // What was read counts for an opening that lasted from before the read to after it.
            if let Some(opening) = opening.filter(|before| self.database.opening() == Some(*before)) {
                self.leases.see(lease, kept, opening)?;
            }
        }
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        self.leases.release(lease);
        Ok(())
    }

    async fn wait(&self, pipeline: &PipelineName, after: u64, timeout: Duration) -> Result<()> {
        crate::store::wait_for_news(self, &self.news, pipeline, after, timeout).await
    }

    async fn put_side(&self, key: &str, value: Vec<u8>) -> Result<()> {
        let key = key.to_owned();
        self.writer.submit(move |tables: &mut Tables<'_>| tables.put_side(&key, &value)).await
    }

    async fn get_side(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let key = key.to_owned();
        self.read_blocking(move |transaction| tables::get_side(transaction, &key)).await
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn;
