//! Warehouses' looks: when, how, and what becomes of what they find.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::calls::{Call, MAX_ASKED, Returned, SOON};
use super::driver::{Driver, panicked};
use super::report::{fits, shorten};
use crate::actor::Actor;
use crate::artifact::Artifact;
use crate::clock::{elapsed, later};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::freight::{Freight, generated_alias};
use crate::name::{FreightId, PipelineName, WarehouseName};
use crate::plugin::{Context, Cursor, DiscoverRequest, Discovery, Plugins};
use crate::state::{Draft, EventKind, State};
use crate::store::Store;
use crate::warehouse::{FreightCreationPolicy, Subscription, Warehouse};

/// The pause after a look that failed, doubled up to the warehouse's interval.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// How long another reason for failing looks waits for its place in the journal after the one before it.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// When a warehouse looks next.
#[derive(Debug)]
pub(super) struct Poll {
    next: Timestamp,
    looking: Option<CancellationToken>,
    again: bool,
    failures: u32,
    memory: Option<Vec<Remembered>>,
    /// When the journal last told why looks fail.
    told: Option<Timestamp>,
    /// When the journal last told why its artifacts make no freight.
    told_waiting: Option<Timestamp>,
    /// When the journal last told that other freight is newest again.
    told_offered: Option<Timestamp>,
}

impl Poll {
    pub(super) fn due(now: Timestamp) -> Self {
        Self {
            next: now,
            looking: None,
            again: false,
            failures: 0,
            memory: None,
            told: None,
            told_waiting: None,
            told_offered: None,
        }
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.looking.is_none().then_some(self.next)
    }

    pub(super) fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// Ends a look under way; it changes nothing elsewhere, so nobody has to wait for it.
    pub(super) fn cancel(&self) {
        self.looking.iter().for_each(CancellationToken::cancel);
    }

    pub(super) fn memory(&self) -> Option<&Vec<Remembered>> {
        self.memory.as_ref()
    }

    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        self.next = self.next.min(now);
        self.told = None;
        self.told_waiting = None;
        self.told_offered = None;
    }

    pub(super) fn dropped(&mut self, now: Timestamp) {
        self.looking = None;
        self.next = now;
    }
}

/// What one subscription's last look found. Kept in the side table, so that a restart does not look from scratch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) subscription: Subscription,
    cursor: Option<Cursor>,
    pub(super) candidates: Vec<Artifact>,
}

/// What a warehouse's look found, one entry a subscription.
#[derive(Debug)]
pub(super) struct Looked {
    memory: Vec<Remembered>,
    changed: bool,
}

impl Driver {
    /// Has `warehouse` look as soon as it can.
    pub(super) fn poll_now(&mut self, warehouse: &WarehouseName) {
        let now = self.shared.clock.now();
        if let Some(poll) = self.polls.get_mut(warehouse) {
            // What is under way may have begun before the news; look once more after it.
            poll.again = poll.looking.is_some();
            // Who asks wants to be told.
            (poll.told, poll.told_waiting) = (None, None);
            poll.next = now;
        }
    }

    /// Begins the looks whose time has come.
    pub(super) fn look_where_due(&mut self) {
        let now = self.shared.clock.now();
        let due: Vec<WarehouseName> = self
            .polls
            .iter()
            .filter(|(_, poll)| poll.next().is_some_and(|next| next <= now))
            .map(|(n, _)| n.clone())
            .collect();
        for name in due {
            let warehouse = self.shared.read(|state| state.pipeline()?.warehouse(&name).cloned());
            let (Some(warehouse), Some(poll)) = (warehouse, self.polls.get_mut(&name)) else { continue };
            let cancel = CancellationToken::new();
            poll.looking = Some(cancel.clone());
            poll.again = false;
            let memory = poll.memory.clone();
            let (plugins, store) = (self.plugins.clone(), Arc::clone(&self.shared.store));
            let pipeline = self.shared.name.clone();
            let context =
                Context::new(Arc::clone(&self.shared.clock), Actor::engine(), format!("look/{pipeline}/{name}"))
                    .with_deadline(later(now, self.options.discovery_deadline))
                    .with_cancellation(cancel);
            let spawned = self.calls.spawn(async move {
                let look = look(&context, &plugins, &*store, &pipeline, &warehouse, memory);
                Returned::Looked(context.guard("look for new artifacts", look).await)
            });
            self.call_of.insert(spawned.id(), Call::Look(name));
        }
    }

    /// A look has ended.
    pub(super) async fn looked(&mut self, name: &WarehouseName, returned: Result<Returned, JoinError>) -> Result<()> {
        let result = match returned {
            Ok(Returned::Looked(result)) => result,
            Ok(_) => return Ok(()),
            Err(error) => Err(panicked("The source", error)),
        };
        let now = self.shared.clock.now();
        let warehouse = self.shared.read(|state| state.pipeline()?.warehouse(name).cloned());
        let (Some(warehouse), Some(poll)) = (warehouse, self.polls.get_mut(name)) else { return Ok(()) };
        poll.looking = None;
        let stopping = |error: &Error| error.kind() == ErrorKind::Cancelled && self.shared.stop.is_cancelled();
        if result.as_ref().is_err_and(stopping) {
            return Ok(());
        }
        let found = match result {
            Ok(looked) => {
                poll.failures = 0;
                poll.next = later(now, warehouse.interval());
                let changed = looked.changed || poll.memory.is_none();
                let memory = poll.memory.insert(looked.memory).clone();
                if changed {
                    self.remember(name, &memory).await;
                }
                newest(&memory)
            }
            Err(error) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << poll.failures.min(16)).min(warehouse.interval());
                poll.failures += 1;
                let asked = if let Retry::After(pause) = error.retry() { pause.min(MAX_ASKED) } else { Duration::ZERO };
                poll.next = later(now, pause.max(asked));
                Err(shorten(error.report()))
            }
        };
        if let Some(poll) = self.polls.get_mut(name)
            && poll.again
        {
            poll.next = now;
        }
        self.record_look(&warehouse, found, now).await
    }

    /// Appends what a look means: freight that is new, trouble that is new, or that trouble is over.
    async fn record_look(
        &mut self,
        warehouse: &Warehouse,
        found: Result<Vec<Artifact>, String>,
        now: Timestamp,
    ) -> Result<()> {
        let name = warehouse.name();
        let failing = self.shared.read(|state| state.warehouse(name).and_then(|known| known.failing.clone()));
        let mut drafts = Vec::new();
        let found = found.and_then(|artifacts| {
            fits("artifacts", &artifacts).map_err(|error| error.report())?;
            self.made_of(warehouse, artifacts, now).map_err(|error| shorten(error.report()))
        });
        match found {
            Err(reason) if failing.as_ref() != Some(&reason) => {
                if let Some(poll) = self.polls.get_mut(name) {
                    // A reason that is worded anew with each look, such as with a request's number, or trouble that comes and goes,
                    // must not flood the journal.
                    let told = poll.told.is_some_and(|told| elapsed(told, now) < TELL_AGAIN);
                    if told {
                        return Ok(());
                    }
                    poll.told = Some(now);
                }
                drafts.push(Draft::outcome(EventKind::DiscoveryFailed { warehouse: name.clone(), reason }));
            }
            Err(_) => {}
            Ok(made) => {
                if failing.is_some() {
                    drafts.push(Draft::outcome(EventKind::DiscoveryRecovered { warehouse: name.clone() }));
                }
                drafts.extend(made.into_iter().map(Draft::outcome));
            }
        }
        if drafts.is_empty() {
            return Ok(());
        }
        let appended = self.append(drafts).await;
        if appended.is_err() {
            // Look again soon, rather than lose what was found until the next interval.
            if let Some(poll) = self.polls.get_mut(name) {
                poll.next = poll.next.min(later(now, SOON));
            }
        }
        appended
    }

    /// What the newest artifacts mean for the journal: freight, or that they wait, or nothing new.
    ///
    /// # Errors
    /// When a criterion cannot tell.
    fn made_of(&mut self, warehouse: &Warehouse, artifacts: Vec<Artifact>, now: Timestamp) -> Result<Vec<EventKind>> {
        let name = warehouse.name();
        let versions = artifacts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let freight = Freight::new(name, artifacts, now);
        let manual = warehouse.freight_creation_policy() == FreightCreationPolicy::Manual;
        let (known, before) = self.shared.read(|state| {
            let before = state.warehouse(name).cloned().unwrap_or_default();
            (state.freight_by_id(freight.id()).is_some(), before)
        });
        // What is freight already has been judged, or somebody wanted it all the same.
        let judged = !known && !manual;
        let unmet = if judged { self.plugins.unmet(warehouse.criteria(), freight.artifacts())? } else { None };
        if judged && unmet.is_none() {
            let artifacts = freight.artifacts().to_vec();
            let (_, kind) = self.shared.read(|state| new_freight(state, name, artifacts, None, now));
            return Ok(kind.into_iter().collect());
        }
        let mut kinds = Vec::new();
        let mut poll = self.polls.get_mut(name);
        // As for failures: what changes with each look must not flood the journal.
        let mut tell = |told: fn(&mut Poll) -> &mut Option<Timestamp>, always: bool| {
            let Some(told) = poll.as_deref_mut().map(|poll| told(poll)) else { return true };
            let tell = always || told.is_none_or(|told| elapsed(told, now) >= TELL_AGAIN);
            if tell {
                *told = Some(now);
            }
            tell
        };
        let reason = unmet.map(|unmet| shorten(format!("{versions} ({unmet})")));
        if reason != before.waiting && tell(|poll| &mut poll.told_waiting, reason.is_none()) {
            kinds.push(EventKind::WarehouseWaiting { warehouse: name.clone(), reason });
        }
        if known
            && before.offered.or(before.latest).as_ref() != Some(freight.id())
            && tell(|poll| &mut poll.told_offered, false)
        {
            kinds.push(EventKind::FreightOffered { warehouse: name.clone(), freight: freight.id().clone() });
        }
        Ok(kinds)
    }

    /// Keeps what was found for the next start. It may be lost, so a failure is only a warning.
    async fn remember(&self, warehouse: &WarehouseName, memory: &[Remembered]) {
        let Ok(bytes) = serde_json::to_vec(memory) else { return };
        if let Err(error) = self.store.put_side(&side_key(&self.shared.name, warehouse), bytes).await {
            tracing::warn!("{}", error.report());
        }
    }
}

/// Freight of `artifacts`, by its id; with the event that adds it, unless it is there.
pub(super) fn new_freight(
    state: &State,
    warehouse: &WarehouseName,
    artifacts: Vec<Artifact>,
    against: Option<String>,
    now: Timestamp,
) -> (FreightId, Option<EventKind>) {
    // What is found later is newer, also when the clock was set back in between.
    let after = |last: Timestamp| later(last, Duration::from_nanos(1));
    let newest = state.newest_first(warehouse).next();
    let found_at = newest.map_or(now, |newest| now.max(after(newest.freight().discovered_at())));
    let freight = Freight::new(warehouse, artifacts, found_at);
    let id = freight.id().clone();
    if state.freight_by_id(&id).is_some() {
        return (id, None);
    }
    let alias = Some(generated_alias(&id, |alias| state.alias_holder(alias).is_some()));
    (id, Some(EventKind::FreightFound { freight, alias, against }))
}

/// What the last look before the engine started found, as far as it is still known.
pub(super) async fn recall(
    store: &dyn Store,
    pipeline: &PipelineName,
    warehouse: &WarehouseName,
) -> Result<Vec<Remembered>> {
    let kept = store.get_side(&side_key(pipeline, warehouse)).await?;
    // What an earlier version kept in another form is as good as lost.
    Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

fn side_key(pipeline: &PipelineName, warehouse: &WarehouseName) -> String {
    format!("look/{pipeline}/{warehouse}")
}

/// Asks every subscription's source, all at once. One that fails makes the whole look fail: freight is never made of half a look.
async fn look(
    cx: &Context,
    plugins: &Plugins,
    store: &dyn Store,
    pipeline: &PipelineName,
    warehouse: &Warehouse,
    memory: Option<Vec<Remembered>>,
) -> Result<Looked> {
    let memory = match memory {
        Some(memory) => memory,
        None => recall(store, pipeline, warehouse.name()).await.unwrap_or_else(|error| {
            // It may be lost; looking from scratch finds the same.
            tracing::warn!("{}", error.report());
            Vec::new()
        }),
    };
    let memory = &memory;
    let looks = warehouse.subscriptions().iter().map(|subscription| async move {
        let last = memory.iter().find(|last| last.subscription == *subscription);
        let named = |error: Error| error.plugin(subscription.source.clone());
        let source = plugins.source(&subscription.source)?;
        let cursor = last.and_then(|last| last.cursor.as_ref());
        let request = DiscoverRequest::new(&subscription.config).with_cursor(cursor);
        match (source.discover(cx, &request).await.map_err(named)?, last) {
            (Discovery::Unchanged, Some(last)) if cursor.is_some() => Ok((last.clone(), false)),
            (Discovery::Unchanged, _) => {
                let message = "The source says that nothing has changed, though it was not told since when; this is a defect of the plug-in.";
                Err(named(Error::new(ErrorKind::InvalidResponse, message)))
            }
            (Discovery::Found { mut candidates, cursor }, _) => {
                if let Some(name) = &subscription.name {
                    candidates.iter_mut().for_each(|candidate| candidate.set_subscription_name(name));
                }
                Ok((Remembered { subscription: subscription.clone(), cursor, candidates }, true))
            }
        }
    });
    let found = futures::future::try_join_all(looks).await?;
    let changed = found.iter().any(|(_, changed)| *changed);
    Ok(Looked { memory: found.into_iter().map(|(remembered, _)| remembered).collect(), changed })
}

/// The newest artifact of each subscription, in order, or why there is no freight in it.
fn newest(memory: &[Remembered]) -> Result<Vec<Artifact>, String> {
    let newest = memory.iter().enumerate().map(|(index, remembered)| {
        remembered.candidates.first().cloned().ok_or_else(|| {
            let Subscription { source, config, .. } = &remembered.subscription;
            let number = index + 1;
            shorten(format!(
                "Subscription {number} ({source}) found nothing that fits {config}; no freight is made until it does."
            ))
        })
    });
    newest.collect()
}
