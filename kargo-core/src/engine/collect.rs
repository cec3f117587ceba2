//! When the past is let go.

use std::time::Duration;

use jiff::Timestamp;

use super::driver::Driver;
use crate::clock::later;
use crate::decide::collect;
use crate::error::Result;
use crate::state::State;

/// The pause between two looks at what can go.
const INTERVAL: Duration = Duration::from_secs(3600);

/// When to look next, and what has been looked at.
#[derive(Debug)]
pub(super) struct Collection {
    next: Timestamp,
    /// The journal's end at the last look: while nothing comes after it, there is nothing to look for.
    seen: u64,
}

impl Collection {
    pub(super) fn due(now: Timestamp) -> Self {
        Self { next: now, seen: 0 }
    }

    /// When to look, if anything has come since the last look.
    pub(super) fn next(&self, head: u64) -> Option<Timestamp> {
        (head > self.seen).then_some(self.next)
    }

    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        self.next = self.next.min(later(now, INTERVAL));
    }
}

impl Driver {
    /// Lets go of what the pipeline's retention does not keep, when it is time to: an event of bounded size a call, so that the
    /// engine sees to its lease and to all else between two of them.
    pub(super) async fn collect_if_due(&mut self) -> Result<()> {
        let now = self.shared.clock.now();
        let (head, draft) = self.shared.read(|state| {
            let due = self.collection.next(state.seq()).is_some_and(|next| next <= now);
            let draft = state.pipeline().filter(|_| due).and_then(|pipeline| collect(pipeline, state, now));
            (due.then(|| state.seq()), draft)
        });
        match (head, draft) {
            (None, _) => Ok(()),
            (Some(_), Some(draft)) => self.append(vec![draft]).await,
            (Some(head), None) => {
                self.collection = Collection { next: later(now, INTERVAL), seen: head };
                Ok(())
            }
        }
    }

    /// When something can be let go, at the earliest.
    pub(super) fn next_collection(&self) -> Option<Timestamp> {
        self.collection.next(self.shared.read(State::seq))
    }
}
