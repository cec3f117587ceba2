//! The loop that drives a pipeline: decide, append, act, wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::builder::EngineOptions;
use super::calls::{Call, InFlight, Returned};
use super::collect::Collection;
use super::command::Command;
use super::deadline::{Deadline, LeaseEnd};
use super::discover::Poll;
use super::files::Workspaces;
use super::health::Watches;
use super::lease::span;
use super::notes::Notes;
use super::{Shared, journal};
use crate::clock::elapsed;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{StageName, WarehouseName};
use crate::plugin::Plugins;
use crate::state::Task;
use crate::store::{Lease, Store};

/// The pause before the store is tried again after an error, doubled up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// After how many conflicts in a row the engine decides again only after a pause.
const CONFLICTS: u32 = 10;
/// How long calls that are dropped may take to end: until their next await.
const DROP_GRACE: Duration = Duration::from_secs(5);
/// By how much the clock must have gone back to be noticed. Less than that only delays what was due.
const SET_BACK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    /// The store, on which no call outlasts the lease.
    pub(super) store: Arc<dyn Store>,
    pub(super) plugins: Plugins,
    pub(super) options: EngineOptions,
    /// The right to drive; none while another engine has it.
    pub(super) lease: Option<Lease>,
    /// When the lease is over by this engine's own reckoning, somewhat before the store's.
    pub(super) lease_end: Arc<LeaseEnd>,
    pub(super) holder: String,
    inbox: mpsc::Receiver<Box<Command>>,
    /// Whether the journal may hold more than the state.
    pub(super) behind: bool,
    /// Whether the last append failed for another reason than that others appended.
    pub(super) unwritable: bool,
    pub(super) since_snapshot: u64,
    /// The snapshot that is being kept.
    pub(super) snapshot: Option<JoinHandle<()>>,
    /// The stages to decide on.
    pub(super) dirty: BTreeSet<StageName>,
    /// When to decide on a stage again, without an event: one timer a stage, set anew with each decision.
    timers: BTreeSet<(Timestamp, StageName)>,
    timer_of: HashMap<StageName, Timestamp>,
    /// Calls under way.
    pub(super) calls: JoinSet<Returned>,
    pub(super) call_of: HashMap<Id, Call>,
    pub(super) in_flight: HashMap<Task, InFlight>,
    /// What is kept of tasks beside the state.
    pub(super) notes: Notes,
    /// The files of the promotions under way.
    pub(super) workspaces: Workspaces,
    // Boxed: most pipelines have one, and a map has room for eleven.
    pub(super) polls: BTreeMap<WarehouseName, Box<Poll>>,
    /// The stages whose health is watched.
    pub(super) watches: Watches,
    /// When the past is let go.
    pub(super) collection: Collection,
    /// Until when the store is left alone after an error, and the pause after the next one.
    blocked: Option<Instant>,
    pause: Duration,
    /// The time at the last look at the clock.
    clock_was: Timestamp,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: Arc<dyn Store>,
        plugins: Plugins,
        options: EngineOptions,
        (lease, taken): (Lease, Instant),
        inbox: mpsc::Receiver<Box<Command>>,
    ) -> Self {
        let lease_end = Arc::new(LeaseEnd::default());
        lease_end.set(Some(taken + span(options.lease)));
        let store = Deadline::within(store, options.store_deadline, Arc::clone(&lease_end));
        let clock_was = shared.clock.now();
        Self {
            shared,
            store: Arc::new(store),
            plugins,
            options,
            holder: lease.holder.clone(),
            lease: Some(lease),
            lease_end,
            inbox,
            behind: false,
            unwritable: false,
            since_snapshot: 0,
            snapshot: None,
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            timer_of: HashMap::new(),
            calls: JoinSet::new(),
            call_of: HashMap::new(),
            in_flight: HashMap::new(),
            notes: Notes::default(),
            workspaces: Workspaces::default(),
            polls: BTreeMap::new(),
            watches: Watches::default(),
            collection: Collection::due(clock_was),
            blocked: None,
            pause: MIN_PAUSE,
            clock_was,
        }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        self.mark_all();
        let mut conflicts = 0;
        let mut kept_house = false;
        // What is done in a round is boxed: a driver that waits, as most do most of the time, then takes a fraction of the room.
        // Timers outlive the rounds: most rounds leave them as they are, and setting one costs a lock that all engines share.
        let (stop, clock) = (self.shared.stop.clone(), Arc::clone(&self.shared.clock));
        let mut alarm: Option<(Timestamp, BoxFuture<'_, ()>)> = None;
        tokio::pin! {
            let told_to_stop = stop.cancelled();
            let renewal = sleep_until(Instant::now() + self.options.lease / 3);
            let lease_over = sleep_until(Instant::now());
        }
        loop {
            self.check_lease();
            self.check_clock();
            if self.blocked.is_none() && self.lease.is_some() {
                let settled = Box::pin(self.settle()).await;
                let again = settled.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict);
                self.note(settled).await;
                self.snapshot_if_due();
                conflicts = if again { conflicts + 1 } else { 0 };
                if again && conflicts < CONFLICTS && !self.shared.stop.is_cancelled() {
                    continue;
                }
                if again {
                    // A store that calls everything a conflict must not keep the engine from all else. Whatever it says of the
                    // lease, the right to append is not there.
                    self.lose_lease(
                        "The store refuses every append, though it says that the lease is good.".to_owned(),
                    );
                    self.blocked = Some(Instant::now() + MAX_PAUSE);
                }
            }
            if self.unwritable && self.blocked.is_none() {
                // A request could not be written. Whether the store works again is found out without waiting for the next.
                self.blocked = Some(Instant::now() + self.pause);
            }
            let driving = self.blocked.is_none() && self.lease.is_some();
            match (if driving { self.next_wake() } else { None }, &alarm) {
                // One that comes too early does no harm: there is nothing to do yet, and it is set anew.
                (Some(at), Some((set, _))) if *set <= at => {}
                (Some(at), _) => alarm = Some((at, clock.sleep_until(at))),
                (None, _) => alarm = None,
            }
            let blocked = self.blocked;
            let lease_end = self.lease_end.get();
            if let Some(end) = lease_end.filter(|end| *end != lease_over.deadline()) {
                lease_over.as_mut().reset(end);
            }
            if std::mem::take(&mut kept_house) && !stop.is_cancelled() && Box::pin(self.one_turn()).await {
                continue;
            }
            // In this order, so that the same inputs give the same run: what ended before what is asked, and the lease before
            // both, since all else depends on it.
            tokio::select! {
                biased;
                () = &mut told_to_stop => break,
                () = &mut renewal => {
                    kept_house = true;
                    Box::pin(self.renew()).await;
                    renewal.as_mut().reset(Instant::now() + self.options.lease / 3);
                    // So that a clock that was set forward is noticed.
                    alarm = None;
                }
                () = async { match blocked { Some(at) => sleep_until(at).await, None => pending().await } } => {
                    self.blocked = None;
                    kept_house = true;
                    let usable = Box::pin(self.try_store()).await;
                    self.note(usable).await;
                }
                Some(returned) = self.calls.join_next_with_id(), if !self.calls.is_empty() => {
                    Box::pin(self.joined(returned)).await;
                }
                command = self.inbox.recv() => match command {
                    Some(command) => Box::pin(self.command(*command)).await,
                    None => break,
                },
                () = async { match &mut alarm { Some((_, ring)) => ring.await, None => pending().await } } => {
                    alarm = None;
                    self.wake();
                }
                // Looked at before anything else, above.
                () = &mut lease_over, if lease_end.is_some() => {}
            }
        }
        Box::pin(self.stop()).await
    }

    /// One turn for what has ended, or is asked, if there is such. On a store that hangs, the lease and the look whether it works again
    /// take all the time there is, one after the other: nobody else would have a turn.
    async fn one_turn(&mut self) -> bool {
        if let Some(returned) = self.calls.try_join_next_with_id() {
            self.joined(returned).await;
        } else if let Ok(command) = self.inbox.try_recv() {
            self.command(*command).await;
        } else {
            return false;
        }
        true
    }

    /// A clock that was set back must not make what was due wait until that time comes round again.
    fn check_clock(&mut self) {
        let now = self.shared.clock.now();
        if elapsed(now, self.clock_was) >= SET_BACK {
            self.notes.clock_set_back();
            self.polls.values_mut().for_each(|poll| poll.clock_set_back(now));
            self.watches.clock_set_back(now);
            self.collection.clock_set_back(now);
            self.mark_all();
        }
        self.clock_was = now;
    }

    /// Marks every stage, and every warehouse, as to be looked at: after a start, or a new definition.
    pub(super) fn mark_all(&mut self) {
        let Some(pipeline) = self.shared.read(|state| state.pipeline().cloned()) else { return };
        self.dirty.extend(pipeline.stages().map(|stage| stage.name().clone()));
        // A stage that was taken out may still have a promotion under way.
        self.dirty.extend(self.shared.read(|state| state.stages().map(|(name, _)| name.clone()).collect::<Vec<_>>()));
        let now = self.shared.clock.now();
        self.polls.retain(|name, _| pipeline.warehouse(name).is_some());
        for warehouse in pipeline.warehouses() {
            self.polls.entry(warehouse.name().clone()).or_insert_with(|| Box::new(Poll::due(now)));
        }
        self.watches.define(&pipeline, now);
    }

    /// Looks whether the store works again: that it can be read does not mean that it can be written.
    async fn try_store(&mut self) -> Result<()> {
        if self.behind {
            self.catch_up().await?;
        }
        if self.unwritable {
            self.store.put_side(&format!("probe/{}", self.shared.name), Vec::new()).await?;
            self.unwritable = false;
        }
        Ok(())
    }

    /// Remembers whether the store works; after an error it is left alone for a while. After a conflict the lease is looked
    /// at: another engine that appends has taken it, or appends without any right, and is then outrun.
    pub(super) async fn note(&mut self, result: Result<()>) {
        let result = match result {
            Err(error) if error.kind() == ErrorKind::Conflict => match Box::pin(self.look_at_lease()).await {
                Some(renewed) => renewed,
                None => return,
            },
            result => result,
        };
        let trouble = match result {
            // An append that failed is not mended by what only reads.
            Ok(()) if self.unwritable => return,
            Ok(()) => {
                self.pause = MIN_PAUSE;
                if self.lease.is_none() {
                    // That the store works does not mean that this engine may drive.
                    return;
                }
                None
            }
            Err(error) => {
                tracing::warn!(pipeline = %self.shared.name, "{}", error.report());
                self.blocked = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(MAX_PAUSE);
                self.mark_all();
                Some(error.report())
            }
        };
        self.trouble(trouble);
    }

    /// Has the lease renewed, if there is one and it is not lost.
    async fn look_at_lease(&mut self) -> Option<Result<()>> {
        let lease = self.lease.clone()?;
        match self.extend(&lease).await {
            Err(lost) if lost.kind() == ErrorKind::Conflict => {
                self.lose_lease(lost.report());
                None
            }
            renewed => Some(renewed),
        }
    }

    pub(super) fn trouble(&self, trouble: Option<String>) {
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let stage = self.timers.first().map(|(at, _)| *at);
        let poll = self.polls.values().filter_map(|poll| poll.next()).min();
        stage.into_iter().chain(poll).chain(self.watches.next()).chain(self.next_collection()).min()
    }

    /// The clock has reached something: marks the stages whose time has come. Due looks are started by [`Driver::settle`].
    fn wake(&mut self) {
        let now = self.shared.clock.now();
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, stage)) = self.timers.pop_first() {
                self.timer_of.remove(&stage);
                self.dirty.insert(stage);
            }
        }
    }

    /// Has `stage` decided on again at `at`, unless that comes sooner anyway.
    pub(super) fn set_timer(&mut self, stage: StageName, at: Timestamp) {
        if self.timer_of.get(&stage).is_some_and(|set| *set <= at) {
            return;
        }
        self.clear_timer(&stage);
        self.timer_of.insert(stage.clone(), at);
        self.timers.insert((at, stage));
    }

    pub(super) fn clear_timer(&mut self, stage: &StageName) {
        if let Some((stage, at)) = self.timer_of.remove_entry(stage) {
            self.timers.remove(&(at, stage));
        }
    }

    async fn joined(&mut self, returned: Result<(Id, Returned), JoinError>) {
        let (id, returned) = match returned {
            Ok((id, returned)) => (id, Ok(returned)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(call) = self.call_of.remove(&id) else { return };
        if returned.as_ref().is_err_and(JoinError::is_cancelled) {
            // Nobody cancels a call that is on the list, but a runtime that goes away. That says nothing about the effect.
            return self.dropped(call).await;
        }
        let handled = match call {
            Call::Look(warehouse) => self.looked(&warehouse, returned).await,
            Call::Observe(stage) => self.observed(&stage, returned).await,
            Call::Task(task) => self.called(&task, id, returned).await,
            Call::Stopping { task, phase, message } => self.stopped_task(task, phase, message, returned).await,
        };
        self.note(handled).await;
    }

    async fn dropped(&mut self, call: Call) {
        match call {
            Call::Look(warehouse) => {
                let now = self.shared.clock.now();
                self.polls.get_mut(&warehouse).into_iter().for_each(|poll| poll.dropped(now));
            }
            Call::Observe(stage) => self.watches.look_again(&stage, self.shared.clock.now()),
            Call::Task(task) | Call::Stopping { task, .. } => {
                self.in_flight.remove(&task);
                self.mark(&task);
            }
        }
        // The runtime may want to drop this task as well.
        tokio::task::yield_now().await;
    }

    pub(super) fn drop_calls(&mut self) {
        for call in self.in_flight.values() {
            call.cancel.cancel();
        }
        self.calls.abort_all();
        self.call_of.clear();
        self.in_flight.clear();
        self.notes.dropped();
        self.workspaces.clear();
        for poll in self.polls.values_mut() {
            poll.dropped(self.shared.clock.now());
        }
        self.watches.dropped(self.shared.clock.now());
    }

    async fn stop(mut self) -> Result<()> {
        self.inbox.close();
        // Whoever still waits for an answer learns at once that there will be none.
        while self.inbox.try_recv().is_ok() {}
        self.watches.cancel();
        self.polls.values().for_each(|poll| poll.cancel());
        // Calls under way get their time; what they return is still recorded, and what does not return is called again later.
        let until = Instant::now() + self.options.shutdown_grace;
        let mut renewal = Instant::now();
        while !self.calls.is_empty() && self.lease.is_some() {
            let lease_end = self.lease_end.get().unwrap_or(until).min(until);
            tokio::select! {
                biased;
                Some(returned) = self.calls.join_next_with_id() => self.joined(returned).await,
                () = sleep_until(renewal) => {
                    self.renew().await;
                    renewal = Instant::now() + self.options.lease / 3;
                }
                () = sleep_until(lease_end) => {}
            }
            self.check_lease();
            if until <= Instant::now() {
                break;
            }
        }
        self.drop_calls();
        let ended = async { while self.calls.join_next().await.is_some() {} };
        let ended = timeout(DROP_GRACE, ended).await.is_ok();
        if let Some(snapshot) = self.snapshot.take() {
            // It holds the store, and whoever stops an engine may want to close that.
            let _ = snapshot.await;
        }
        let saved =
            if self.since_snapshot > 0 { journal::save_snapshot(&self.shared).await.map(|_| ()) } else { Ok(()) };
        // While a call goes on that cannot be dropped, nobody else may begin: the lease is left to run out.
        let released = if ended { self.give_back().await } else { Ok(()) };
        self.shared.stopped.cancel();
        saved.and(released)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Also when the loop ends by a panic: whoever waits must learn of it.
        self.shared.stopped.cancel();
    }
}

/// The error of a call whose task panicked, or was dropped by the runtime.
pub(super) fn panicked(what: &str, error: JoinError) -> Error {
    if error.is_panic() {
        return panic_of(what, error.into_panic());
    }
    Error::new(ErrorKind::Cancelled, format!("{what} was dropped before it returned."))
}

/// The error that a plug-in's panic is.
pub(super) fn panic_of(what: &str, payload: Box<dyn std::any::Any + Send>) -> Error {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    Error::new(
        ErrorKind::Panicked,
        format!("{what} panicked: {text}. This is a defect of the plug-in; report it to its author."),
    )
}
