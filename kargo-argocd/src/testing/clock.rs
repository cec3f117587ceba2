//! A clock on which time passes faster.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use kargo_core::Clock;

/// A clock that begins now and runs some times as fast as the machine's.
#[derive(Debug, Clone, Copy)]
pub struct FastClock {
    began: Timestamp,
    real: Instant,
    speed: u32,
}

impl FastClock {
    /// A clock on which `speed` seconds pass in each real one. Zero counts as one.
    pub fn new(speed: u32) -> Self {
        Self { began: Timestamp::now(), real: Instant::now(), speed: speed.max(1) }
    }
}

#[async_trait]
impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        self.began.checked_add(self.real.elapsed().saturating_mul(self.speed)).unwrap_or(Timestamp::MAX)
    }

    async fn sleep_until(&self, at: Timestamp) {
        while let Ok(left) = Duration::try_from(at.duration_since(self.now())) {
            if left.is_zero() {
                return;
            }
            // At least a millisecond, which is what tokio's timer can do, so that this does not spin.
            tokio::time::sleep((left / self.speed).clamp(Duration::from_millis(1), Duration::from_secs(60))).await;
        }
    }
}
