//! Tags: those made last, those that are the highest versions, or those that come last in the order of their names.

use gix::ObjectId;
use kargo_core::plugin::Discovery;
use kargo_core::{Artifact, Result};

use super::Look;
use super::filter::CommitDetails;
use crate::remote::RemoteRef;
use crate::subscription::CommitSelectionStrategy;

/// How many times as many tags as are wanted are looked at together when filters may let few through.
const AHEAD: usize = 4;

/// A tag that counts by its name.
struct Tag<'a> {
    name: &'a str,
    found: &'a RemoteRef,
}

impl Tag<'_> {
    /// What it is a tag of in the end, which may be no commit.
    fn target(&self) -> ObjectId {
        self.found.peeled.unwrap_or(self.found.id)
    }
}

impl Look<'_> {
    pub(super) async fn tags(&mut self) -> Result<Discovery> {
        const TAGS: &str = "refs/tags/";
        // On this machine all are read as quickly as some.
        let prefix = if self.session.is_remote() { self.rules.tags.prefix() } else { "" };
        let refs = self.store.refs(&mut self.session, &[&format!("{TAGS}{prefix}")]).await?;
        let named = refs.iter().filter_map(|found| Some(Tag { name: found.name.strip_prefix(TAGS)?, found }));
        let mut tags: Vec<Tag<'_>> = named.filter(|tag| self.rules.tags.allows(tag.name)).collect();
        match self.subscription.commit_selection_strategy {
            CommitSelectionStrategy::SemVer => {
                let versions = tags.into_iter().filter_map(|tag| Some((self.rules.tags.version(tag.name)?, tag)));
                let mut versions: Vec<_> = versions.collect();
                versions.sort_by(|(a, _), (b, _)| b.cmp(a));
                tags = versions.into_iter().map(|(_, tag)| tag).collect();
            }
            _ => tags.sort_by(|a, b| b.name.cmp(a.name)),
        }
        let Some(cursor) = self.news(tags.iter().map(|tag| (tag.name, tag.found.id))) else {
            return Ok(Discovery::Unchanged);
        };
        let newest = self.subscription.commit_selection_strategy == CommitSelectionStrategy::NewestTag;
        if newest {
            self.identify(&tags).await?;
            // Of those made at the same time the first by name is first, as Git has it.
            tags.sort_by(|a, b| self.made(b).cmp(&self.made(a)).then_with(|| a.name.cmp(b.name)));
        }
        let candidates = self.choose(&tags).await?;
        Ok(Discovery::Found { candidates, cursor: Some(cursor) })
    }

    /// The first of `tags` that fit.
    async fn choose(&mut self, tags: &[Tag<'_>]) -> Result<Vec<Artifact>> {
        let depth = tags.len().min(self.search_depth as usize);
        let mut rest = &tags[..depth];
        let mut candidates = Vec::new();
        // By their names alone more are needed only when a tag turns out to be one of something that is no commit.
        let selective = !self.rules.paths.is_empty() || self.filter.is_some();
        let mut size = self.limit() * if selective { AHEAD } else { 1 };
        while !rest.is_empty() && candidates.len() < self.limit() {
            let chunk;
            (chunk, rest) = rest.split_at(size.min(rest.len()));
            self.identify(chunk).await?;
            if !self.rules.paths.is_empty() {
                let refs: Vec<&RemoteRef> = chunk.iter().map(|tag| tag.found).collect();
                self.store.clone().compare(&mut self.session, &refs, self.number).await?;
            }
            for tag in chunk {
                if candidates.len() < self.limit() {
                    candidates.extend(self.candidate(tag)?);
                }
            }
            size *= AHEAD;
        }
        if candidates.len() < self.limit() && depth < tags.len() {
            if candidates.is_empty() {
                return Err(self.nothing_within("tags"));
            }
            self.cx.progress(format_args!(
                "Of the first {depth} tags of {} only {} fit; no more are looked at.",
                self.session.shown(),
                candidates.len()
            ));
        }
        Ok(candidates)
    }

    async fn identify(&mut self, tags: &[Tag<'_>]) -> Result<()> {
        let refs: Vec<&RemoteRef> = tags.iter().map(|tag| tag.found).collect();
        self.store.clone().identify(&mut self.session, &refs).await
    }

    /// When a tag was made: its commit, when it is a plain ref.
    fn made(&self, tag: &Tag<'_>) -> i64 {
        match self.store.tag(&tag.found.id) {
            Some(annotated) => annotated.time,
            None => self.store.commit(&tag.target()).map_or(0, |commit| commit.time),
        }
    }

    /// What is made of a tag; nothing when it does not fit, or is the tag of something that is no commit.
    fn candidate(&self, tag: &Tag<'_>) -> Result<Option<Artifact>> {
        let id = tag.target();
        let Some(commit) = self.store.commit(&id) else { return Ok(None) };
        if let Some(filter) = self.filter {
            let annotated = self.store.tag(&tag.found.id);
            let details = CommitDetails::new(id, &commit, Some((tag.name, annotated.as_deref())));
            if !filter.keeps(self.subscription, &details)? {
                return Ok(None);
            }
        }
        let admits = self.rules.paths.is_empty()
            || commit.changed(self.number).is_some_and(|changed| self.rules.paths.admits(&changed));
        let made = || super::candidate::commit(self.subscription, id, &commit, None, Some(tag.name.to_owned()));
        Ok(admits.then(made))
    }
}
