//! What the project promises of its speed.

use std::time::{Duration, Instant};

/// Makes sure that `work` takes no longer than `limit`, in the median of so many runs.
///
/// `cargo test --benches` only wants to see it run, unoptimised, and measures nothing.
///
/// # Panics
/// When it takes longer.
pub fn promise(what: &str, limit: Duration, runs: usize, mut work: impl FnMut()) {
    if std::env::args().any(|arg| arg == "--test") {
        return work();
    }
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    let median = times[runs / 2];
    assert!(median <= limit, "{what} takes {median:?}, and {limit:?} are promised");
}
