//! Turns of those in this process who write to one branch, and the pauses of those who race with other processes.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

type Turns = HashMap<(String, String), Weak<tokio::sync::Mutex<()>>>;

/// The lock for writers of this process to one branch: they wait in turn rather than race each other to the server.
pub(crate) fn turn(repository: &str, branch: &str) -> Arc<tokio::sync::Mutex<()>> {
    static TURNS: LazyLock<Mutex<Turns>> = LazyLock::new(Mutex::default);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    let key = (repository.to_owned(), branch.to_owned());
    if let Some(turn) = turns.get(&key).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Arc::default();
    turns.insert(key, Arc::downgrade(&turn));
    turn
}

/// Full jitter: anything up to a bound that doubles to 5 seconds.
pub(crate) fn pause(attempt: u32) -> Duration {
    let bound = Duration::from_millis(50).saturating_mul(1 << attempt.min(7)).min(Duration::from_secs(5));
    // The seed of a hash is as random as a pause needs.
    let random = RandomState::new().hash_one(attempt);
    bound.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_below_a_bound_that_doubles_and_are_spread_over_all_of_it() {
        for (attempt, bound) in [(1, 100), (2, 200), (5, 1600), (6, 3200), (7, 5000), (8, 5000), (u32::MAX, 5000)] {
            let bound = Duration::from_millis(bound);
            let pauses: Vec<Duration> = (0..400).map(|_| pause(attempt)).collect();
            assert!(pauses.iter().all(|pause| *pause < bound), "{attempt}: {:?}", pauses.iter().max());
            // Each tenth of it gets its share; that one stays empty happens once in 10^17 runs.
            let tenths: std::collections::BTreeSet<u32> =
                pauses.iter().map(|pause| (pause.as_secs_f64() / bound.as_secs_f64() * 10.0) as u32).collect();
            assert_eq!(tenths.len(), 10, "{attempt}: {tenths:?}");
        }
    }
}
