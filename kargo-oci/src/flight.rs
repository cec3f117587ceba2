//! Work that many want at once is done once.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kargo_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::Mutex;

/// Results by key, shared by those who ask for them at the same time.
pub(crate) struct Flights<K, V> {
    slots: Mutex<HashMap<K, Arc<Slot<V>>>>,
}

struct Slot<V> {
    /// How many have landed.
    landed: AtomicU64,
    last: Mutex<Option<Landed<V>>>,
}

struct Landed<V> {
    number: u64,
    result: Result<V, Failure>,
}

/// An error, as far as it can be told twice.
struct Failure {
    kind: ErrorKind,
    retry: Retry,
    text: String,
}

impl<K, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Flights<K, V> {
    pub(crate) fn new() -> Self {
        Self { slots: Mutex::new(HashMap::new()) }
    }

    /// What `work` returns, or what the same work of somebody else does that is under way already. When that one is dropped,
    /// cancelled or out of time, `work` is done after all.
    pub(crate) async fn join(&self, key: &K, work: impl Future<Output = Result<V>>) -> Result<V> {
        let slot = {
            let mut slots = self.slots.lock().await;
            // Whoever works or waits holds on to the slot; nobody else needs it.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
            Arc::clone(slots.entry(key.clone()).or_insert_with(|| Arc::new(Slot::new())))
        };
        let before = slot.landed.load(Ordering::Acquire);
        let mut last = slot.last.lock().await;
        if let Some(landed) = last.as_ref().filter(|landed| landed.number > before) {
            match &landed.result {
                Ok(value) => return Ok(value.clone()),
                Err(failure) if failure.concerns_all() => return Err(failure.error()),
                Err(_) => {}
            }
        }
        // What is dropped from here on leaves nothing that looks like a result.
        *last = None;
        let result = work.await;
        let number = slot.landed.fetch_add(1, Ordering::AcqRel) + 1;
        let shared = result.as_ref().map(V::clone).map_err(Failure::of);
        *last = Some(Landed { number, result: shared });
        result
    }
}

impl<V> Slot<V> {
    fn new() -> Self {
        Self { landed: AtomicU64::new(0), last: Mutex::new(None) }
    }
}

impl Failure {
    fn of(error: &Error) -> Self {
        Self { kind: error.kind(), retry: error.retry(), text: error.report() }
    }

    /// Whether the failure is not only that of one caller's time.
    fn concerns_all(&self) -> bool {
        !matches!(self.kind, ErrorKind::Cancelled | ErrorKind::Timeout)
    }

    fn error(&self) -> Error {
        Error::new(self.kind, self.text.clone()).retry_as(self.retry)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    async fn counted(count: &AtomicUsize, result: Result<u32>) -> Result<u32> {
        count.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        result
    }

    #[tokio::test]
    async fn what_is_under_way_is_shared_and_what_is_over_is_not() {
        let (flights, count) = (Flights::new(), AtomicUsize::new(0));
        for round in 1..=2 {
            let all = (0..10).map(|_| flights.join(&"key", counted(&count, Ok(7))));
            assert_eq!(futures::future::try_join_all(all).await.unwrap(), [7; 10]);
            assert_eq!(count.load(Ordering::Relaxed), round);
        }
        flights.join(&"other", counted(&count, Ok(8))).await.unwrap();
        assert_eq!((count.load(Ordering::Relaxed), flights.slots.lock().await.len()), (3, 1));
    }

    #[tokio::test]
    async fn a_failure_is_shared_unless_it_is_one_callers_own() {
        for (kind, expected) in [(ErrorKind::Unavailable, 1), (ErrorKind::Timeout, 3)] {
            let (flights, count) = (Flights::new(), AtomicUsize::new(0));
            let all = (0..3).map(|_| flights.join(&"key", counted(&count, Err(Error::new(kind, "It failed.")))));
            for result in futures::future::join_all(all).await {
                assert_eq!(result.unwrap_err().kind(), kind);
            }
            assert_eq!(count.load(Ordering::Relaxed), expected, "{kind}");
        }
    }

    #[tokio::test]
    async fn who_leaves_does_not_take_the_others_along() {
        let (flights, count) = (Flights::new(), AtomicUsize::new(0));
        let first = flights.join(&"key", std::future::pending());
        let second = flights.join(&"key", counted(&count, Ok(7)));
        let mut first = Box::pin(first);
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(second);
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await.unwrap(), 7);
    }
}
