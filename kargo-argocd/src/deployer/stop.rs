//! Stopping one's own syncs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result, Retry};

use super::find::missing_app;
use super::memory::AppMemory;
use super::{AT_ONCE, ArgoCd};
use crate::client::{AppRef, Application, Operation, OperationPhase, Refresh, Search, Snapshot, is_missing};

/// How often, a second apart, an abort asks for the end of an operation that Argo CD has not yet begun, or looks for one that it has
/// accepted and does not show yet.
const ABORT_TRIES: u32 = 10;
/// How often, a second apart, an abort asks which applications there are.
const SEARCH_TRIES: u32 = 3;

/// Which of one's own syncs are to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those that change nothing at the moment: they wait to be begun, for a window, or for their next try.
    Waiting,
}

/// Syncs that were asked for and not answered, also those whose call was dropped meanwhile: they may come to be accepted yet. By the
/// deployment's key and the application.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unanswered(Arc<Mutex<BTreeSet<(String, String)>>>);

impl Unanswered {
    fn all(&self) -> MutexGuard<'_, BTreeSet<(String, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn asked(&self, key: &str, app: &AppRef) {
        self.all().insert((key.to_owned(), app.to_string()));
    }

    pub(super) fn answered(&self, key: &str, app: &AppRef) {
        self.all().remove(&(key.to_owned(), app.to_string()));
    }

    fn holds(&self, key: &str, app: &AppRef) -> bool {
        self.all().contains(&(key.to_owned(), app.to_string()))
    }

    /// The deployment is over.
    pub(crate) fn forget(&self, key: &str) {
        self.all().retain(|(of, _)| of != key);
    }
}

impl ArgoCd {
    /// Stops the syncs of these applications under this key, and no others. One that cannot be stopped is no reason to leave the others
    /// running.
    pub(crate) async fn stop_all(&self, cx: &Context, apps: Vec<(AppRef, AppMemory)>, which: Which) -> Result<()> {
        let stops = apps.iter().map(|(app, memory)| self.stop(cx, app, memory, which));
        let stops: Vec<_> = stops.collect();
        let ended: Vec<Result<()>> = stream::iter(stops).buffered(AT_ONCE).collect().await;
        ended.into_iter().collect()
    }

    /// Lists applications for an abort, which is not asked for a second time.
    pub(crate) async fn search_to_stop(&self, cx: &Context, search: &Search) -> Result<Vec<Snapshot>> {
        let mut attempt = 1;
        loop {
            match cx.guard("list the applications", self.client.list(search)).await {
                Err(error) if attempt < SEARCH_TRIES && error.retry() != Retry::Never => {
                    attempt += 1;
                    cx.sleep(Duration::from_secs(1)).await?;
                }
                other => return other,
            }
        }
    }

    async fn stop(&self, cx: &Context, app: &AppRef, memory: &AppMemory, which: Which) -> Result<()> {
        let mut attempt = 1;
        loop {
            let is_last = attempt == ABORT_TRIES;
            match self.try_to_stop(cx, app, memory, which).await {
                Ok(Stop::Done) => return Ok(()),
                Ok(Stop::Unseen) if is_last => return Ok(()),
                Ok(Stop::Waiting) if is_last => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!(
                            "The sync of application {app} cannot be stopped: Argo CD keeps it waiting and calls it not in progress."
                        ),
                    )
                    .operation("stop the sync"));
                }
                // An abort is not asked for a second time, and a sync that goes on would be watched by nobody.
                Err(error) if is_last || error.retry() == Retry::Never => return Err(error),
                _ => {}
            }
            attempt += 1;
            cx.sleep(Duration::from_secs(1)).await?;
        }
    }

    /// Tries once to stop the sync under this key.
    async fn try_to_stop(&self, cx: &Context, app: &AppRef, memory: &AppMemory, which: Which) -> Result<Stop> {
        // Read in any case: what is to be stopped may have begun just now.
        let snapshot = match cx.guard("read the application", self.client.get(app, Refresh::No)).await {
            Ok(snapshot) => snapshot,
            // What is gone runs nothing. What may only not be seen might: that is for a person to look at.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Stop::Done),
            Err(error) if is_missing(&error) => return Err(missing_app(app, error)),
            Err(error) => return Err(error),
        };
        if !runs_under(&snapshot.app, cx.key()) {
            let now = snapshot.server_time.unwrap_or_else(|| cx.now());
            let is_unseen = memory.latches.is_unseen(&snapshot.app, cx.key(), now);
            let is_unseen = is_unseen || self.unanswered.holds(cx.key(), app);
            return Ok(if is_unseen { Stop::Unseen } else { Stop::Done });
        }
        if which == Which::Waiting && !is_waiting(&snapshot.app) {
            return Ok(Stop::Done);
        }
        // "None is in progress" is also said of one that waits to be begun; left alone, it would fire later, unattended.
        let is_stopped = cx.guard("stop the sync", self.client.terminate(app)).await?;
        self.touched(app);
        Ok(if is_stopped { Stop::Done } else { Stop::Waiting })
    }
}

/// What came of one try to stop a sync.
enum Stop {
    /// Nothing of ours runs, or soon does no longer.
    Done,
    /// It is accepted and does not show yet.
    Unseen,
    /// It is accepted and not begun, and cannot be stopped before.
    Waiting,
}

fn runs_under(app: &Application, key: &str) -> bool {
    let tagged = |operation: &Operation| operation.info.iter().any(|info| info.name == crate::TAG && info.value == key);
    app.operation.as_ref().is_some_and(tagged)
}

/// Whether the operation that is asked for changes nothing at the moment.
fn is_waiting(app: &Application) -> bool {
    let Some(state) = &app.status.operation_state else { return true };
    let begun = !state.phase.as_ref().is_some_and(OperationPhase::is_completed);
    !begun || state.finished_at.is_some() || crate::judge::is_held_back(state)
}
