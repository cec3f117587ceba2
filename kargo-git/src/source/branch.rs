//! The newest commits of a branch, along first parents.

use std::sync::Arc;

use gix::ObjectId;
use kargo_core::plugin::Discovery;
use kargo_core::{Error, ErrorKind, Result};

use super::Look;
use super::filter::CommitDetails;
use crate::cache::{CachedCommit, Store};
use crate::remote::History;

/// How many generations are fetched first when most commits may not count. Some megabytes, directories included, so that few ever have to
/// fetch more.
const FIRST: u32 = 4096;

/// How many times more than before are fetched each time that this was not enough.
const GROWTH: u32 = 8;

impl Look<'_> {
    pub(super) async fn newest_from_branch(&mut self) -> Result<Discovery> {
        let tip = self.tip().await?;
        let Some(cursor) = self.news([("", tip)]) else { return Ok(Discovery::Unchanged) };
        let since = self.subscription.since.map(jiff::Timestamp::as_second);
        let mut candidates = Vec::new();
        let mut next = Some(tip);
        let mut seen = 0;
        while let Some(id) = next
            && candidates.len() < self.limit()
        {
            if seen == self.search_depth {
                if candidates.is_empty() {
                    return Err(self.nothing_within("commits"));
                }
                self.cx.progress(format_args!(
                    "Of the newest {seen} commits of {} only {} fit; no more are looked at.",
                    self.session.shown(),
                    candidates.len()
                ));
                break;
            }
            let commit = self.commit(tip, id, seen, candidates.len()).await?;
            if since.is_some_and(|since| commit.time < since) {
                break;
            }
            seen += 1;
            if self.counts(id, &commit)? {
                let branch = self.subscription.branch.clone();
                candidates.push(super::candidate::commit(self.subscription, id, &commit, branch, None));
            }
            next = commit.parent;
            if seen % 512 == 0 {
                // Others on this thread are not made to wait for a long history.
                tokio::task::yield_now().await;
            }
            if let Some(parent) = next
                && candidates.len() < self.limit()
                && self.store.commit(&parent).is_none()
            {
                self.extend(tip, id, seen - 1, candidates.len()).await?;
                next = next.filter(|_| !commit.is_cut_off());
            }
        }
        Ok(Discovery::Found { candidates, cursor: Some(cursor) })
    }

    /// Where the branch stands.
    async fn tip(&mut self) -> Result<ObjectId> {
        let name = self.subscription.branch.as_ref().map_or("HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
        let refs = self.store.refs(&mut self.session, &[&name]).await?;
        match (refs.iter().find(|each| each.name == name), &self.subscription.branch) {
            (Some(found), _) => Ok(found.id),
            // Asked again, so that the error can name branches that there are.
            (None, Some(branch)) => self.session.tip(branch).await,
            (None, None) => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "The default branch of {} has no commit; make one, or name a branch in the subscription.",
                    self.session.shown()
                ),
            )),
        }
    }

    /// A commit with all that the rules look at.
    async fn commit(&mut self, tip: ObjectId, id: ObjectId, seen: u32, found: usize) -> Result<Arc<CachedCommit>> {
        let paths = !self.rules.paths.is_empty();
        let number = self.number;
        let known = |store: &Store| store.commit(&id).filter(|commit| !paths || commit.changed(number).is_some());
        if let Some(commit) = known(&self.store) {
            return Ok(commit);
        }
        self.extend(tip, id, seen, found).await?;
        known(&self.store).ok_or_else(|| {
            let shown = self.session.shown();
            Error::new(ErrorKind::InvalidResponse, format!("{shown} was asked for the commit {id} and sent less."))
        })
    }

    /// Gets to know the history from `start` on, `behind` generations behind the tip, where `found` commits have been found.
    async fn extend(&mut self, tip: ObjectId, start: ObjectId, behind: u32, found: usize) -> Result<()> {
        let trees = !self.rules.paths.is_empty();
        let selective = trees || self.filter.is_some();
        let depth = match (selective, behind) {
            // Its parent too, or it would not be known where the history ends.
            (false, _) => self.subscription.discovery_limit.saturating_sub(found as u32) + 1,
            (true, 0) => FIRST,
            (true, behind) => FIRST.max(behind.saturating_mul(GROWTH - 1)),
        };
        // Beyond the last one that counts, the one that it is compared with.
        let depth = depth.min(self.search_depth.saturating_sub(behind) + 1).max(2);
        self.store.clone().extend(&mut self.session, History { tip, start, behind, depth, trees }, self.number).await
    }

    /// Whether a commit of the branch is a candidate.
    fn counts(&self, id: ObjectId, commit: &CachedCommit) -> Result<bool> {
        if let Some(filter) = self.filter
            && !filter.keeps(self.subscription, &CommitDetails::new(id, commit, None))?
        {
            return Ok(false);
        }
        let changed = commit.changed(self.number);
        Ok(self.rules.paths.is_empty() || changed.is_some_and(|changed| self.rules.paths.admits(&changed)))
    }
}
