//! How fast each host is asked. What one host wants never holds up another one.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

/// How many requests a second are made to one host when nothing else is set. Hosts of this machine are not held back then.
pub(super) const REQUESTS_PER_SECOND: u32 = 50;
/// How many hosts are remembered.
const HOSTS: usize = 10_000;

/// Until when hosts have to be left alone, and when their next request may go out.
#[derive(Debug, Default)]
pub(super) struct Pace {
    hosts: Mutex<HashMap<String, Host>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Host {
    /// Until when the host has asked to be left alone.
    paused: Option<Timestamp>,
    /// When the requests so far would be over if they went out evenly.
    even: Option<Timestamp>,
    /// When the last turn was taken.
    last: Option<Timestamp>,
}

impl Pace {
    /// Keeps a pause that a host has asked for. It does not cut a longer one.
    pub(super) async fn pause(&self, host: &str, until: Timestamp) {
        let mut hosts = self.hosts.lock().await;
        let host = entry(&mut hosts, host);
        host.paused = host.paused.max(Some(until));
    }

    /// How long the host wants to be left alone yet.
    pub(super) async fn paused(&self, host: &str, now: Timestamp) -> Option<Duration> {
        let until = self.hosts.lock().await.get(host)?.paused?;
        let pause = Duration::try_from(until.duration_since(now)).ok()?;
        (!pause.is_zero()).then_some(pause)
    }

    /// Takes a turn, and returns how long it has to be waited for. A second's worth of requests may go out at once.
    pub(super) async fn turn(&self, host: &str, per_second: u32, now: Timestamp) -> Duration {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let mut hosts = self.hosts.lock().await;
        let host = entry(&mut hosts, host);
        // A clock that was set back must not stop a host for as long. What is queued is forgotten then.
        let is_set_back = host.last.is_some_and(|last| now < last);
        let even = host.even.filter(|_| !is_set_back).map_or(now, |even| even.max(now));
        host.last = Some(now);
        host.even = Some(even.checked_add(interval).unwrap_or(Timestamp::MAX));
        let ahead = Duration::try_from(even.duration_since(now)).unwrap_or_default();
        ahead.saturating_sub(Duration::from_secs(1))
    }
}

fn entry<'a>(hosts: &'a mut HashMap<String, Host>, host: &str) -> &'a mut Host {
    if hosts.len() >= HOSTS && !hosts.contains_key(host) {
        hosts.clear();
    }
    hosts.entry(host.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_760_000_000_000 + millis).unwrap()
    }

    #[tokio::test]
    async fn a_second_goes_out_at_once_and_then_one_after_the_other() {
        let pace = Pace::default();
        let mut waits = Vec::new();
        for _ in 0..14 {
            waits.push(pace.turn("a", 10, at(0)).await.as_millis());
        }
        assert_eq!(waits[..11], [0; 11]);
        assert_eq!(waits[11..], [100, 200, 300]);
        assert_eq!(pace.turn("b", 10, at(0)).await, Duration::ZERO, "another host has its own pace");
        assert_eq!(pace.turn("a", 10, at(5_000)).await, Duration::ZERO);
        assert_eq!(pace.turn("a", 10, at(-1_000_000)).await, Duration::ZERO, "the clock was set back");
    }

    #[tokio::test]
    async fn a_long_queue_is_no_clock_that_was_set_back() {
        let pace = Pace::default();
        for _ in 0..400 {
            pace.turn("a", 2, at(0)).await;
        }
        assert_eq!(pace.turn("a", 2, at(0)).await, Duration::from_secs(199));
        assert_eq!(pace.turn("a", 2, at(1_000)).await, Duration::from_millis(198_500));
    }

    #[tokio::test]
    async fn the_longest_pause_counts() {
        let pace = Pace::default();
        pace.pause("a", at(5_000)).await;
        pace.pause("a", at(1_000)).await;
        assert_eq!(pace.paused("a", at(0)).await, Some(Duration::from_secs(5)));
        assert_eq!(pace.paused("a", at(5_000)).await, None);
        assert_eq!(pace.paused("b", at(0)).await, None);
    }

    #[tokio::test]
    async fn what_is_remembered_of_hosts_does_not_grow_without_end() {
        let pace = Pace::default();
        for number in 0..HOSTS + 5 {
            pace.turn(&number.to_string(), 10, at(0)).await;
        }
        assert_eq!(pace.hosts.lock().await.len(), 5);
    }
}
