//! A host's own say in which commits count.

use std::sync::Arc;

use jiff::Timestamp;
use kargo_core::Result;

use crate::cache::{CachedCommit, CachedTag};
use crate::subscription::GitSubscription;

/// What a filter may look at; see [`crate::GitSource::filter`]. Texts are as somebody wrote them, without control characters and cut to
/// 1,024 characters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommitDetails<'a> {
    /// The commit id in full.
    pub id: String,
    /// The tag by which it is found, for the strategies that choose tags.
    pub tag: Option<&'a str>,
    /// When the commit was committed, or the annotated tag made.
    pub time: Timestamp,
    /// The author, `Name <mail>`.
    pub author: &'a str,
    /// The committer, `Name <mail>`.
    pub committer: &'a str,
    /// The subject of the commit.
    pub subject: &'a str,
    /// Who made the annotated tag, `Name <mail>`.
    pub tagger: Option<&'a str>,
    /// The message of the annotated tag.
    pub annotation: Option<&'a str>,
}

impl<'a> CommitDetails<'a> {
    pub(super) fn new(
        id: gix::ObjectId,
        commit: &'a CachedCommit,
        tag: Option<(&'a str, Option<&'a CachedTag>)>,
    ) -> Self {
        let annotated = tag.and_then(|(_, tag)| tag);
        Self {
            id: id.to_string(),
            tag: tag.map(|(name, _)| name),
            // Times outside of all calendars are no reason to stop.
            time: Timestamp::from_second(annotated.map_or(commit.time, |tag| tag.time))
                .unwrap_or(Timestamp::UNIX_EPOCH),
            author: &commit.author,
            committer: &commit.committer,
            subject: &commit.subject,
            tagger: annotated.and_then(|tag| tag.tagger.as_deref()),
            annotation: annotated.map(|tag| &*tag.message),
        }
    }
}

type Keep = dyn Fn(&GitSubscription, &CommitDetails<'_>) -> Result<bool> + Send + Sync;

/// A filter under its name.
#[derive(Clone)]
pub(super) struct Filter {
    name: Arc<str>,
    keep: Arc<Keep>,
}

impl Filter {
    pub(super) fn new(
        name: String,
        keep: impl Fn(&GitSubscription, &CommitDetails<'_>) -> Result<bool> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), keep: Arc::new(keep) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn keeps(&self, subscription: &GitSubscription, details: &CommitDetails<'_>) -> Result<bool> {
        (self.keep)(subscription, details)
    }
}
