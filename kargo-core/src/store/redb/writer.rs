//! Group commit: one thread takes all writes that wait and commits them together.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::database::{DatabaseSlot, Failure, storage_error};
use super::tables::Tables;
use crate::error::{Error, ErrorKind, Result};

/// Tells the caller: nothing when the commit is on disk, else why not.
type Reply = Box<dyn FnOnce(Result<()>) + Send>;
type Job = Box<dyn FnOnce(Option<&mut Tables<'_>>) -> Done + Send>;

/// How far a write got before the commit.
enum Done {
    /// It is in the transaction.
    Written(Reply),
    /// It was refused, and the caller has been told.
    Refused,
    /// The transaction is in trouble.
    Failed(Reply, redb::Error),
    /// There was no transaction to write in.
    Skipped(Reply),
}

/// The most writes in one commit.
const BATCH: usize = 1024;

#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(database: Arc<DatabaseSlot>) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let path = database.path().to_owned();
        let thread = std::thread::Builder::new()
            .name("kargo-redb".into())
            .spawn(move || {
                while let Ok(first) = inbox.recv() {
                    let mut batch = vec![first];
                    batch.extend(inbox.try_iter().take(BATCH - 1));
                    commit(&database, batch);
                }
            })
            .map_err(|error| storage_error(&path, "start the writer of", error.into()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `write` in a transaction, and returns when that is on disk. A dropped call still happens in full.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Tables<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel::<Result<T>>();
        let job: Job = Box::new(move |tables| {
            // The caller may have gone; then nobody needs the answer.
            let failed = |answer: oneshot::Sender<Result<T>>| -> Reply {
                Box::new(move |result: Result<()>| {
                    if let Err(error) = result {
                        let _ = answer.send(Err(error));
                    }
                })
            };
            match tables.map(write) {
                None => Done::Skipped(failed(answer)),
                Some(Ok(value)) => Done::Written(Box::new(move |result| {
                    let _ = answer.send(result.map(|()| value));
                })),
                Some(Err(Failure::Refused(error))) => {
                    let _ = answer.send(Err(error));
                    Done::Refused
                }
                Some(Err(Failure::Storage(error))) => Done::Failed(failed(answer), error),
            }
        });
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        let closed = || Error::new(ErrorKind::Unavailable, "The store is closed; open it again.");
        if !sent {
            return Err(closed());
        }
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What was submitted is committed, and the file is closed, before the store is gone: the next open must find it free.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn commit(slot: &DatabaseSlot, batch: Vec<Job>) {
    let mut replies: Vec<Reply> = Vec::with_capacity(batch.len());
    let result = match slot.get() {
        Ok(database) => {
            let written = write(&database, batch, &mut replies);
            written.map_err(|error| slot.failed(database, error))
        }
        Err(error) => {
            skip(batch, &mut replies);
            Err(error)
        }
    };
    let failure = result.err();
    for reply in replies {
        reply(failure.as_ref().map_or(Ok(()), |error| Err(copy(error))));
    }
}

fn skip(batch: impl IntoIterator<Item = Job>, replies: &mut Vec<Reply>) {
    replies.extend(batch.into_iter().filter_map(|job| match job(None) {
        Done::Skipped(reply) => Some(reply),
        _ => None,
    }));
}

fn write(database: &redb::Database, batch: Vec<Job>, replies: &mut Vec<Reply>) -> Result<(), redb::Error> {
    let mut batch = batch.into_iter();
    let begun = database.begin_write();
    let transaction = match begun {
        Ok(transaction) => transaction,
        Err(error) => {
            skip(batch, replies);
            return Err(error.into());
        }
    };
    let mut trouble = None;
    match Tables::open(&transaction) {
        Err(error) => trouble = Some(error),
        Ok(mut tables) => {
            for job in batch.by_ref() {
                match job(Some(&mut tables)) {
                    Done::Written(reply) => replies.push(reply),
                    Done::Refused | Done::Skipped(_) => {}
                    Done::Failed(reply, error) => {
                        replies.push(reply);
                        trouble = Some(error);
                        break;
                    }
                }
            }
        }
    }
    if let Some(error) = trouble {
        skip(batch, replies);
        // An abort that fails leaves what a crash would; opening again repairs it.
        let _ = transaction.abort();
        return Err(error);
    }
    transaction.commit().map_err(Into::into)
}

/// One error for every caller of a batch.
fn copy(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message()).retry_as(error.retry());
    match std::error::Error::source(error) {
        Some(source) => copy.because(source.to_string()),
        None => copy,
    }
}
