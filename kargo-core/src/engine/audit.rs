//! The audit trail, read from the store.

use std::collections::VecDeque;

use futures::{Stream, StreamExt, TryStreamExt, pin_mut};

use super::Engine;
use crate::error::Result;
use crate::store::decode_event;
use crate::view::{AuditEntry, AuditFilter, AuditPage, AuditReader};

/// How many records are read at once.
const PAGE: usize = 500;

impl Engine {
    /// The entries of the audit trail that `filter` lets through, oldest first, to the journal's end as it is when that is reached. Also
    /// after [`Engine::shutdown`]. It ends at an error of the store.
    ///
    /// Reads the journal from its beginning, page by page: the time it takes grows with the journal, the memory only with the number of
    /// promotions and freight ever seen, by their ids.
    pub fn audit(&self, filter: AuditFilter) -> impl Stream<Item = Result<AuditEntry>> + Send + use<> {
        let start = (self.shared.clone(), AuditReader::new(filter), 0_u64);
        let pages = futures::stream::try_unfold(start, |(shared, mut reader, mut last)| async move {
            let records = shared.store.read(&shared.name, last, PAGE).await?;
            if records.is_empty() {
                return Ok(None);
            }
            let mut entries = Vec::new();
            for record in records {
                last += 1;
                entries.extend(reader.read(&decode_event(&shared.name, last, &record)?));
            }
            Ok::<_, crate::Error>(Some((entries, (shared, reader, last))))
        });
        pages.map_ok(|entries| futures::stream::iter(entries.into_iter().map(Ok))).try_flatten()
    }

    /// The newest `limit` entries that `filter` lets through, before event number `before` when it is given, newest first.
    ///
    /// It costs as much as [`Engine::audit`] up to `before`, whatever the limit: an entry is understood only by those before it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn audit_page(&self, filter: AuditFilter, before: Option<u64>, limit: usize) -> Result<AuditPage> {
        let before = before.unwrap_or(u64::MAX);
        let entries = self.audit(filter);
        let within = |entry: &Result<AuditEntry>| entry.as_ref().is_ok_and(|entry| entry.event.seq >= before);
        let entries = entries.take_while(move |entry| std::future::ready(!within(entry)));
        pin_mut!(entries);
        let (mut newest, mut older) = (VecDeque::new(), false);
        while let Some(entry) = entries.try_next().await? {
            newest.push_front(entry);
            if newest.len() > limit {
                newest.pop_back();
                older = true;
            }
        }
        let next = newest.back().filter(|_| older).map(|last: &AuditEntry| last.event.seq);
        Ok(AuditPage { entries: newest.into(), next })
    }
}
