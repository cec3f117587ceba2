//! What every plug-in call is handed.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::actor::Actor;
use crate::clock::{Clock, SystemClock, elapsed};
use crate::error::{Error, ErrorKind, Result};

/// Deadline, cancellation, clock, actor, key and progress of one plug-in call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    deadline: Timestamp,
    actor: Actor,
    key: Arc<str>,
    progress: Progress,
    mask: Mask,
}

impl Context {
    /// The deadline of a call when the engine sets none: 5 minutes.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(300);

    /// A context on `clock` with the default deadline, for the engine, hosts' own calls and tests.
    pub fn new(clock: Arc<dyn Clock>, actor: Actor, key: impl Into<Arc<str>>) -> Self {
        let deadline = crate::clock::later(clock.now(), Self::DEFAULT_DEADLINE);
        Self {
            clock,
            cancel: CancellationToken::new(),
            deadline,
            actor,
            key: key.into(),
            progress: Progress::default(),
            mask: Mask::default(),
        }
    }

    /// A context on the machine's clock, acting as the engine under the key `key`.
    pub fn system(key: impl Into<Arc<str>>) -> Self {
        Self::new(Arc::new(SystemClock), Actor::engine(), key)
    }

    /// Sets the deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Timestamp) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the key of the effect.
    #[must_use]
    pub(crate) fn with_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets the token by which the call is cancelled.
    #[must_use]
    pub fn with_cancellation(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Sets where progress goes.
    #[must_use]
    pub fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Sets how secrets are masked.
    #[must_use]
    pub(crate) fn with_mask(mut self, mask: impl Fn(String) -> String + Send + Sync + 'static) -> Self {
        self.mask = Mask(Some(Arc::new(mask)));
        self
    }

    /// `text` as the journal may have it: the secrets in the call's configuration are masked. The engine does so with all that a plug-in
    /// returns; a plug-in that cuts a long text short does it before, since of a secret that is cut in two nobody knows the beginning.
    pub fn mask(&self, text: impl Into<String>) -> String {
        match &self.mask.0 {
            Some(mask) => mask(text.into()),
            None => text.into(),
        }
    }

    /// The clock. Plug-ins take the time from here, never from the system, so that tests can turn it.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// When this call must have returned.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// How long there is until the deadline; zero when it has passed.
    pub fn remaining(&self) -> Duration {
        elapsed(self.now(), self.deadline)
    }

    /// On whose behalf the call is made.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The effect's key: the same on every try, also after a restart; different for any two effects.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The cancellation token, to hand on to other work.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Whether the call has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Tells the host's log what is going on. Lossy, and never part of the journal.
    pub fn progress(&self, message: impl fmt::Display) {
        self.progress.report(message);
    }

    /// Waits for `duration`.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] at once when the call is cancelled, [`ErrorKind::Timeout`] when its deadline comes first.
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        let clock = Arc::clone(&self.clock);
        let until = crate::clock::later(clock.now(), duration);
        self.guard("wait", async move {
            clock.sleep_until(until).await;
            Ok(())
        })
        .await
    }

    /// Runs `work` until it is done, cancelled or out of time. `operation` is a verb phrase for the error.
    ///
    /// # Errors
    /// What `work` returns; [`ErrorKind::Cancelled`] or [`ErrorKind::Timeout`] when it was dropped.
    pub async fn guard<T>(&self, operation: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::new(
                ErrorKind::Cancelled,
                "The call was cancelled before it was done.",
            ).operation(operation)),
            result = work => result,
            () = self.clock.sleep_until(self.deadline) => Err(Error::new(
                ErrorKind::Timeout,
                // Without the time, so that the same trouble has the same words every time.
                "No answer came before the call's deadline; whether it took effect is not known.",
            ).operation(operation)),
        }
    }
}

/// Takes secrets out of a text, where there are any.
#[derive(Clone, Default)]
struct Mask(Option<Arc<dyn Fn(String) -> String + Send + Sync>>);

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Mask(secrets)" } else { "Mask(nothing)" })
    }
}

/// Where a plug-in's progress messages go: to `tracing`, or to a host's function.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Report>>);

type Report = dyn Fn(&str) + Send + Sync;

impl Progress {
    /// Messages go to `report`.
    pub fn to(report: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(report)))
    }

    fn report(&self, message: impl fmt::Display) {
        match &self.0 {
            Some(report) => report(&message.to_string()),
            None => tracing::debug!("{message}"),
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(host)" } else { "Progress(tracing)" })
    }
}
