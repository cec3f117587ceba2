//! Reading the journal, and appending to it.

use std::sync::PoisonError;

use super::Shared;
use super::driver::{Driver, panicked};
use crate::error::{Error, ErrorKind, Result};
use crate::name::PipelineName;
use crate::state::{Affected, Draft, Event, EventKind, State};
use crate::store::{Store, decode_event, decode_snapshot, encode_event, encode_snapshot};

/// How many records are read at once.
const PAGE: usize = 1_000;
/// From how many promotions and pieces of freight on a state is kept less often than every so many events.
const HEAVY: u64 = 100;
/// How many events a start may have to read at most, because a heavy state was not kept.
const MOST_TO_READ: u64 = 100_000;
/// Below this number of promotions a state is bytes sooner than another thread takes it on.
const SMALL: usize = 100;
/// From this number of bytes on a snapshot takes its time to be read.
const LARGE: usize = 256 << 10;

/// The state at the journal's end, and how many events had to be read for it beside the snapshot.
pub(super) async fn recover(store: &dyn Store, pipeline: &PipelineName) -> Result<(State, u64)> {
    let mut state = match store.load_snapshot(pipeline).await? {
        Some((seq, bytes)) => match decoded(pipeline, bytes).await {
            Ok(state) if state.seq() == seq && seq <= store.head(pipeline).await? => state,
            Ok(_) => State::new(),
            Err(error) => {
                // A snapshot only saves time: the journal has it all.
                tracing::warn!("{}; reading the whole journal instead", error.report());
                State::new()
            }
        },
        None => State::new(),
    };
    let snapshot = state.seq();
    loop {
        let records = store.read(pipeline, state.seq(), PAGE).await?;
        if records.is_empty() {
            let read = state.seq() - snapshot;
            return Ok((state, read));
        }
        for record in records {
            let event = decode_event(pipeline, state.seq() + 1, &record)?;
            state.apply(&event).map_err(|error| misfit(pipeline, error))?;
        }
    }
}

/// The state of a snapshot; a large one is read off the asynchronous threads.
async fn decoded(pipeline: &PipelineName, bytes: Vec<u8>) -> Result<State> {
    if bytes.len() < LARGE {
        return decode_snapshot(pipeline, &bytes);
    }
    let name = pipeline.clone();
    let decoded = tokio::task::spawn_blocking(move || decode_snapshot(&name, &bytes)).await;
    decoded.unwrap_or_else(|error| Err(panicked("Reading a snapshot", error)))
}

/// The journal after event `after`, to its end.
pub(super) async fn read_all(store: &dyn Store, pipeline: &PipelineName, after: u64) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    let mut last = after;
    loop {
        let records = store.read(pipeline, last, PAGE).await?;
        if records.is_empty() {
            return Ok(events);
        }
        for record in records {
            last += 1;
            events.push(decode_event(pipeline, last, &record)?);
        }
    }
}

/// The whole journal.
#[cfg(feature = "testing")]
pub(crate) async fn read_journal(store: &dyn Store, pipeline: &PipelineName) -> Result<Vec<Event>> {
    read_all(store, pipeline, 0).await
}

fn misfit(pipeline: &PipelineName, error: crate::state::ApplyError) -> Error {
    let message =
        format!("The journal of pipeline {pipeline:?} does not fit together; restore the store from a backup.");
    Error::new(ErrorKind::Corrupt, message).because(error)
}

impl Shared {
    /// Applies events that are in the journal, and tells those who wait.
    fn apply(&self, events: &[Event]) -> Result<Vec<Affected>> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut affected = Vec::with_capacity(events.len());
        for event in events {
            affected.push(state.apply(event).map_err(|error| misfit(&self.name, error))?);
        }
        let seq = state.seq();
        drop(state);
        self.head.send_replace(seq);
        Ok(affected)
    }
}

impl Driver {
    /// Appends `drafts` on top of the state and applies them. All or none.
    ///
    /// When the store reports an error, the records may be there all the same, or another engine's: the journal is read to find out,
    /// before anything else is decided.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the state has changed since: decide again. Any other when the store cannot be used.
    pub(super) async fn append(&mut self, drafts: Vec<Draft>) -> Result<()> {
        if self.behind {
            self.catch_up().await?;
            return Err(Error::new(ErrorKind::Conflict, "The state has been read anew; decide again."));
        }
        let last = self.shared.read(State::seq);
        let now = self.shared.clock.now();
        let events: Vec<Event> = (last + 1..).zip(drafts).map(|(seq, draft)| draft.at(seq, now)).collect();
        let records = events.iter().map(encode_event).collect::<Result<Vec<_>>>()?;
        let Some(fence) = self.lease.as_ref().map(|lease| lease.fence) else { return Err(self.not_driving()) };
        let count = records.len();
        let appended = self.store.append(&self.shared.name, last, records, Some(fence)).await;
        let Err(error) = appended else {
            self.unwritable = false;
            self.applied(&events, true)?;
            return Ok(());
        };
        self.behind = true;
        // A conflict means that nothing was appended. What is found then is another engine's, also when it decided the same at
        // the same instant and so wrote the same bytes.
        if error.kind() != ErrorKind::Conflict {
            self.unwritable = true;
            let found = self.store.read(&self.shared.name, last, count).await?;
            // Made once more rather than kept: an append hardly ever fails.
            if found == events.iter().map(encode_event).collect::<Result<Vec<_>>>()? {
                (self.behind, self.unwritable) = (false, false);
                self.applied(&events, false)?;
                return Ok(());
            }
        }
        self.catch_up().await?;
        Err(error)
    }

    /// Reads and applies what is in the journal beyond the state.
    pub(super) async fn catch_up(&mut self) -> Result<()> {
        let last = self.shared.read(State::seq);
        let events = read_all(&*self.store, &self.shared.name, last).await?;
        self.behind = false;
        self.applied(&events, false)
    }

    /// Applies events that are in the journal; `ours` when it is certain that this engine appended them.
    fn applied(&mut self, events: &[Event], ours: bool) -> Result<()> {
        for affected in self.shared.apply(events)? {
            match affected {
                Affected::All => self.mark_all(),
                Affected::Stages(stages) => self.dirty.extend(stages),
            }
        }
        for event in events {
            tracing::debug!(pipeline = %self.shared.name, seq = event.seq, actor = %event.actor, "{}", event.kind);
            match &event.kind {
                EventKind::TaskStarted { task } if ours => {
                    self.notes.entry(task).fresh = true;
                }
                EventKind::StepAnswered { task, .. } => {
                    let note = self.notes.entry(task);
                    (note.answered, note.not_before) = (true, None);
                }
                EventKind::TaskFinished { task, .. } => self.notes.forget(task),
                EventKind::PromotionFinished { promotion, .. } => {
                    self.workspaces.forget(promotion);
                    self.observe_soon(promotion);
                }
                _ => {}
            }
        }
        self.since_snapshot += events.len() as u64;
        Ok(())
    }

    /// Keeps a snapshot when enough has happened since the last one. It only saves time, so a failure is no more than a warning.
    pub(super) fn snapshot_if_due(&mut self) {
        let keeping = self.snapshot.as_ref().is_some_and(|keeping| !keeping.is_finished());
        if self.since_snapshot < self.options.snapshot_every || keeping {
            return;
        }
        // A snapshot costs what the state weighs, so a large state is kept less often: the cost an event stays the same however
        // much there is, up to where reading the journal would take too long.
        let weight = self.shared.read(|state| state.weight());
        if weight >= HEAVY && self.since_snapshot < (64 * weight).min(MOST_TO_READ) {
            return;
        }
        self.since_snapshot = 0;
        let shared = std::sync::Arc::clone(&self.shared);
        let compact_after = self.options.compact_after;
        self.snapshot = Some(tokio::spawn(async move {
            let kept = match save_snapshot(&shared).await {
                // What is old is packed a part at a time; an engine that stops need not wait for all of it.
                Ok(seq) => tokio::select! {
                    biased;
                    () = shared.stop.cancelled() => Ok(0),
                    packed = shared.store.compact(&shared.name, seq.saturating_sub(compact_after)) => packed,
                },
                Err(error) => Err(error),
            };
            if let Err(error) = kept {
                tracing::warn!("{}", error.report());
            }
        }));
    }
}

/// Keeps a snapshot of the state, and returns its event's number.
pub(super) async fn save_snapshot(shared: &Shared) -> Result<u64> {
    // A copy is quick, since it shares the promotions. Writing it as bytes is not: that is done off the asynchronous threads, and
    // without the lock that the engine needs to go on.
    let state = shared.read(State::clone);
    let seq = state.seq();
    let snapshot = if state.promotions().take(SMALL).count() < SMALL {
        encode_snapshot(&state)?
    } else {
        let encoded = tokio::task::spawn_blocking(move || encode_snapshot(&state)).await;
        encoded.unwrap_or_else(|error| Err(panicked("Encoding a snapshot", error)))?
    };
    shared.store.save_snapshot(&shared.name, seq, snapshot).await?;
    Ok(seq)
}
