//! Clocks for tests: one that is turned by hand, and one that follows tokio's, which a test can pause.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::clock::{Clock, later};

/// A clock that stands still until it is turned. Sleepers wake when it reaches their time.
///
/// ```
/// use std::time::Duration;
///
/// use kargo_core::Clock;
/// use kargo_core::testing::ManualClock;
///
/// let clock = ManualClock::at("2026-01-01T00:00:00Z");
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now().to_string(), "2026-01-01T00:01:30Z");
/// ```
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(watch::Sender::new(now))
    }

    /// A clock that stands at a time in RFC 3339 form.
    ///
    /// # Panics
    /// When `time` is not such a time; tests write it themselves.
    pub fn at(time: &str) -> Self {
        Self::new(time.parse().expect("the test gives a time in RFC 3339 form"))
    }

    /// Turns the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = later(*now, by));
    }

    /// Sets the clock, also back.
    pub fn set(&self, now: Timestamp) {
        self.0.send_replace(now);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn sleep_until(&self, at: Timestamp) {
        // The sender lives as long as `self`, so this cannot fail; if it did, not waiting is right.
        let _ = self.0.subscribe().wait_for(|now| *now >= at).await;
    }
}

/// A clock that follows tokio's. In a test on a paused runtime (`start_paused = true`) time jumps to the next timer
/// whenever all is idle: hours pass in no time, in the same order every time.
///
/// ```
/// use std::time::Duration;
///
/// use kargo_core::Clock;
/// use kargo_core::testing::TokioClock;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let clock = TokioClock::starting_at("2026-01-01T00:00:00Z");
/// tokio::time::sleep(Duration::from_secs(3600)).await;
/// assert_eq!(clock.now().to_string(), "2026-01-01T01:00:00Z");
/// # }
/// ```
#[derive(Debug)]
pub struct TokioClock {
    base: Timestamp,
    start: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that stands at a time in RFC 3339 form now.
    ///
    /// # Panics
    /// When `time` is not such a time; tests write it themselves.
    pub fn starting_at(time: &str) -> Self {
        let base = time.parse().expect("the test gives a time in RFC 3339 form");
        Self { base, start: tokio::time::Instant::now() }
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        later(self.base, self.start.elapsed())
    }

    async fn sleep_until(&self, at: Timestamp) {
        while let left = crate::clock::elapsed(self.now(), at)
            && !left.is_zero()
        {
            // Tokio's timer counts in milliseconds: round up, so as not to wake just before.
            tokio::time::sleep(left + Duration::from_millis(1)).await;
        }
    }
}
