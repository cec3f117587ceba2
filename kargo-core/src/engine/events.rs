//! The journal as a stream.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::Stream;

use super::Shared;
use crate::error::Result;
use crate::state::Event;
use crate::store::decode_event;

/// How many events are read ahead.
const PAGE: usize = 256;

/// Reads the store, so that a slow reader loses nothing; the head's number only says when to look.
pub(super) fn stream(shared: Arc<Shared>, after: u64) -> impl Stream<Item = Result<Event>> + Send {
    let head = shared.head.subscribe();
    futures::stream::try_unfold(
        (shared, head, after, VecDeque::new()),
        |(shared, mut head, mut last, mut page)| async move {
            loop {
                if let Some(event) = page.pop_front() {
                    return Ok(Some((event, (shared, head, last, page))));
                }
                let seen = *head.borrow_and_update();
                let more = seen > last;
                if more {
                    for record in shared.store.read(&shared.name, last, PAGE).await? {
                        last += 1;
                        page.push_back(decode_event(&shared.name, last, &record)?);
                    }
                    if !page.is_empty() {
                        continue;
                    }
                }
                tokio::select! {
                    _ = head.changed() => {}
                    () = shared.stopped.cancelled() => {
                        // Also when the store no longer has what it had: then there is nothing to wait for.
                        if more || *head.borrow() <= last {
                            return Ok(None);
                        }
                    }
                }
            }
        },
    )
}
