//! Fetching what is not known yet. One at a time: who waited finds what another one has fetched.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::Kind;
use kargo_core::{Error, ErrorKind, Result};

use super::commit::{CachedCommit, CachedTag};
use super::objects::Trees;
use super::store::Store;
use crate::changes::{Step, changed_paths, top_of};
use crate::remote::{History, RemoteRef, Session, blocking};

/// Commits along first parents, the newest first.
type Chain = Vec<(ObjectId, Arc<CachedCommit>)>;

impl Store {
    /// Gets to know the first parents of `wanted.start`, and with `wanted.trees` what they change, as deep as is wanted or the
    /// repository has them; less when it meets what is known. `look` is the number of the look that wants to know.
    pub(crate) async fn extend(self: &Arc<Self>, session: &mut Session, wanted: History, look: u64) -> Result<()> {
        let _fetching = self.fetching.lock().await;
        if !self.lacks(&wanted.start, wanted.trees, look) {
            return Ok(());
        }
        let haves = if wanted.trees && wanted.behind == 0 { self.heads() } else { Vec::new() };
        session.fetch_history(wanted, &haves).await?;
        let mut chain = self.chain(session, wanted, look).await?;
        if !haves.is_empty() && self.ends_early(&chain, wanted.depth) {
            // A ref that was set back: the server thought that all of it was here.
            session.fetch_history(wanted, &[]).await?;
            chain = self.chain(session, wanted, look).await?;
        }
        let Some((_, last)) = chain.last() else {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                format!("{} was asked for the commit {} and sent something else.", session.shown(), wanted.start),
            ));
        };
        if self.ends_early(&chain, wanted.depth) {
            last.cut_off(self.newest_look());
        }
        if wanted.trees {
            self.compare_all(session, &chain, look).await?;
            if wanted.behind == 0 && session.is_remote() {
                let (root, store, reader) = (chain[0].1.tree, Arc::clone(self), session.reader());
                let top = blocking(move |_| top_of(root, Trees::SHARE, &mut reader.open()?, store.trees())).await?;
                self.trees().keep(top);
                self.remember_head(wanted.start);
            }
        }
        Ok(())
    }

    /// Gets to know what these refs point at: commits, tags, and that it is neither.
    pub(crate) async fn identify(self: &Arc<Self>, session: &mut Session, refs: &[&RemoteRef]) -> Result<()> {
        let _fetching = self.fetching.lock().await;
        let unknown = |ids: Vec<ObjectId>| -> Vec<ObjectId> {
            let mut ids: Vec<ObjectId> = ids.into_iter().filter(|id| !self.knows(id)).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let wanted = unknown(refs.iter().map(|each| each.id).collect());
        if !wanted.is_empty() {
            session.fetch_objects(&wanted, 1).await?;
            self.read_objects(session, wanted.clone(), false).await?;
            // Git leaves a directory out that is also reached from a commit of the same request; alone it comes.
            let left_out = unknown(wanted);
            if !left_out.is_empty() {
                session.fetch_objects(&left_out, 1).await?;
                self.read_objects(session, left_out, true).await?;
            }
        }
        // With a tag comes what it is a tag of, unless that is no commit; such a thing may be of any size and is not asked for.
        let targets = unknown(refs.iter().filter_map(|each| each.peeled).collect());
        self.read_objects(session, targets.clone(), false).await?;
        let commits = refs.iter().filter(|each| self.tag(&each.id).is_none_or(|tag| tag.may_be_commit));
        let commits = unknown(commits.filter_map(|each| each.peeled).collect());
        if !commits.is_empty() {
            session.fetch_objects(&commits, 1).await?;
            self.read_objects(session, commits, true).await?;
        }
        unknown(targets).into_iter().for_each(|id| self.remember_other(id));
        Ok(())
    }

    /// Gets to know what the commits change that these refs lead to. Those that are not known are left out.
    pub(crate) async fn compare(self: &Arc<Self>, session: &mut Session, refs: &[&RemoteRef], look: u64) -> Result<()> {
        let _fetching = self.fetching.lock().await;
        let commits: BTreeMap<ObjectId, (ObjectId, Arc<CachedCommit>)> = refs
            .iter()
            .map(|each| (each.peeled.unwrap_or(each.id), each.id))
            .filter_map(|(target, id)| Some((target, (id, self.commit(&target)?))))
            .filter(|(_, (_, commit))| commit.changed(look).is_none())
            .collect();
        let parent = |commit: &CachedCommit| commit.parent.filter(|parent| !self.knows(parent));
        // Servers that give no object by its id give what their refs stand on. Generations count from the commit, tag or not.
        let by_id = session.gives_by_id().await?;
        let orphans = commits.iter().filter(|(_, (_, commit))| parent(commit).is_some());
        let mut orphans: Vec<ObjectId> = orphans.map(|(target, (id, _))| if by_id { *target } else { *id }).collect();
        orphans.sort_unstable();
        if !orphans.is_empty() {
            session.fetch_objects(&orphans, 2).await?;
            let parents = commits.values().filter_map(|(_, commit)| parent(commit)).collect();
            self.read_objects(session, parents, false).await?;
        }
        for (_, commit) in commits.values() {
            match parent(commit) {
                Some(_) => commit.cut_off(self.newest_look()),
                None => commit.continues(),
            }
        }
        self.compare_all(session, &commits.into_iter().map(|(id, (_, commit))| (id, commit)).collect(), look).await
    }

    /// Whether something of the commit is unknown that the look number `look` needs on its walk along first parents.
    fn lacks(&self, id: &ObjectId, changes: bool, look: u64) -> bool {
        match self.commit(id) {
            None => true,
            Some(commit) => {
                (changes && commit.changed(look).is_none())
                    || ((!commit.is_cut_off() || commit.is_in_doubt(look))
                        && commit.parent.is_some_and(|parent| self.commit(&parent).is_none()))
            }
        }
    }

    /// The first parents from `wanted.start` on that `session` has, up to one that lacks nothing.
    async fn chain(self: &Arc<Self>, session: &Session, wanted: History, look: u64) -> Result<Chain> {
        let (store, reader) = (Arc::clone(self), session.reader());
        blocking(move |_| {
            let mut objects = reader.open()?;
            let mut chain = Chain::new();
            let mut next = Some(wanted.start);
            while let Some(id) = next
                && chain.len() < wanted.depth as usize
                && store.lacks(&id, wanted.trees, look)
            {
                let commit = match store.commit(&id) {
                    Some(commit) => commit,
                    None => match objects.find(&id)? {
                        Some((Kind::Commit, data)) => store.remember(id, CachedCommit::parse(&data, id.kind())?),
                        _ => break,
                    },
                };
                next = commit.parent;
                if let Some((_, child)) = chain.last() {
                    child.continues();
                }
                chain.push((id, commit));
            }
            Ok(chain)
        })
        .await
    }

    /// Whether less than `depth` generations came, and what follows is not known either.
    fn ends_early(&self, chain: &Chain, depth: u32) -> bool {
        let Some((_, last)) = chain.last() else { return true };
        chain.len() < depth as usize && last.parent.is_some_and(|parent| self.commit(&parent).is_none())
    }

    /// Finds out what each commit changes whose first parent is known, or is not to be had.
    async fn compare_all(self: &Arc<Self>, session: &mut Session, commits: &Chain, look: u64) -> Result<()> {
        let mut steps = Vec::new();
        for (id, commit) in commits.iter().filter(|(_, commit)| commit.changed(look).is_none()) {
            let before = match commit.parent {
                None => None,
                // As Git does: where a shallow repository ends, everything is new.
                Some(_) if commit.is_cut_off() => None,
                Some(parent) => match self.commit(&parent) {
                    Some(parent) => Some(parent.tree),
                    None => continue,
                },
            };
            steps.push(Step { commit: *id, before, after: commit.tree });
        }
        if steps.is_empty() {
            return Ok(());
        }
        let by_id: HashMap<&ObjectId, &Arc<CachedCommit>> = commits.iter().map(|(id, commit)| (id, commit)).collect();
        for (id, changed) in changed_paths(session, self.trees(), steps).await? {
            if let Some(commit) = by_id.get(&id) {
                self.remember_changes(commit, changed);
            }
        }
        Ok(())
    }

    /// Remembers those of `ids` that `session` has; when `all` is set, one that it does not have is an error.
    async fn read_objects(self: &Arc<Self>, session: &Session, ids: Vec<ObjectId>, all: bool) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let (store, reader, shown) = (Arc::clone(self), session.reader(), session.shown().to_owned());
        blocking(move |_| {
            let mut objects = reader.open()?;
            for id in ids {
                match objects.find(&id)? {
                    Some((Kind::Commit, data)) => {
                        store.remember(id, CachedCommit::parse(&data, id.kind())?);
                    }
                    Some((Kind::Tag, data)) => store.remember_tag(id, CachedTag::parse(&data)),
                    Some(_) => store.remember_other(id),
                    None if all => {
                        return Err(Error::new(
                            ErrorKind::InvalidResponse,
                            format!("{shown} was asked for {id} and sent something else."),
                        ));
                    }
                    None => {}
                }
            }
            Ok(())
        })
        .await
    }
}
