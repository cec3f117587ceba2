//! Time, as a thing that is handed in.
//!
//! Decisions take `now` as an argument; only the engine and plug-ins hold a [`Clock`]. Tests hand in
//! `testing::ManualClock` and no test has to sleep.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// A source of time, and of waiting for it.
#[async_trait]
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns once `now()` is at or after `at`. Cancel-safe: dropping the future loses nothing.
    async fn sleep_until(&self, at: Timestamp);
}

#[async_trait]
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        (**self).sleep_until(at).await;
    }
}

/// The machine's clock, waiting on tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        // Looked at again at least once a minute, so that a clock that is set forward is noticed.
        const LOOK_AGAIN: Duration = Duration::from_secs(60);
        while let Ok(left) = Duration::try_from(at.duration_since(Timestamp::now())) {
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK_AGAIN)).await;
        }
    }
}

/// `at` plus `duration`, at the end of time when it would be past it.
pub(crate) fn later(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// How long from `earlier` to `later`; zero when the clock went back.
pub(crate) fn elapsed(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}
