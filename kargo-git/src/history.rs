//! Walking history, of which only commits are fetched, in growing batches.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use gix::ObjectId;
use kargo_core::plugin::{Context, History, Relation};
use kargo_core::{ErrorKind, Result, Revision};

use crate::remote::{CommitInfo, Remote, Session, parse_id};

/// How many commits deep history is looked into, batch by batch.
const DEPTHS: [u32; 4] = [16, 128, 1024, 8192];

/// How far, in seconds, clocks of committers may be apart.
const SKEW: i64 = 6 * 3600;

/// How many commits in a row must look older than they may be before what lies behind them is left out. One machine with a wrong clock
/// hides nothing; no more than this fits into the first batch.
const OLD: u32 = 12;

/// How much of a history was visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All that could count, or the walk was stopped.
    Whole,
    /// The repository is shallow and ends at a commit that is not older than was asked for.
    CutOff,
    /// There is more than is looked into.
    TooLong,
}

/// Visits the commits reachable from `tips` that are not much older than `since`, newest generations first, until `visit` returns true.
/// What lies behind the commits in `known` is left out. A commit may be visited again when more is fetched.
pub(crate) async fn walk(
    session: &mut Session,
    tips: &[ObjectId],
    since: i64,
    known: &HashSet<ObjectId>,
    mut visit: impl FnMut(ObjectId, &CommitInfo) -> bool + Send,
) -> Result<Extent> {
    let oldest = since.saturating_sub(SKEW);
    for depth in DEPTHS {
        let commits = session.commits(tips, depth, false).await?;
        // With how many commits that look old in a row above it, and the time of the one above.
        let mut seen: HashMap<ObjectId, u32> = HashMap::new();
        let mut level: Vec<(ObjectId, u32, i64)> = tips.iter().map(|tip| (*tip, 0, i64::MAX)).collect();
        let (mut cut_off, mut too_long) = (false, false);
        let mut generation = 0;
        while !level.is_empty() {
            for (id, old, above) in std::mem::take(&mut level) {
                if known.contains(&id) || seen.get(&id).is_some_and(|before| *before <= old) {
                    continue;
                }
                seen.insert(id, old);
                match commits.get(&id) {
                    Some(info) => {
                        if visit(id, info) {
                            return Ok(Extent::Whole);
                        }
                        let old = if info.time >= oldest { 0 } else { old + 1 };
                        if old < OLD {
                            level.extend(info.parents.iter().map(|parent| (*parent, old, info.time)));
                        }
                    }
                    // So many generations were fetched, as far as the repository has them.
                    None if generation < depth => cut_off |= above >= since,
                    None => too_long = true,
                }
            }
            generation += 1;
        }
        if cut_off || !too_long {
            return Ok(if cut_off { Extent::CutOff } else { Extent::Whole });
        }
    }
    Ok(Extent::TooLong)
}

/// Tells how two commits of the repository stand to each other. Only commits are fetched, some thousands at most; what lies deeper is
/// [`Relation::Unknown`], and so is a commit that the repository does not have. What was found out is remembered, since it never changes.
#[async_trait]
impl History for Remote {
    async fn relate(&self, cx: &Context, observed: &Revision, wanted: &Revision) -> Result<Relation> {
        if observed == wanted {
            return Ok(Relation::Same);
        }
        let (Some(observed), Some(wanted)) = (parse_id(observed.as_str()), parse_id(wanted.as_str())) else {
            return Ok(Relation::Unknown);
        };
        if observed == wanted {
            return Ok(Relation::Same);
        }
        cx.guard("relate two commits", async {
            let (mut session, store) = self.look(cx).await?;
            if let Some(relation) = store.relation(observed, wanted) {
                return Ok(relation);
            }
            let hash = session.hash().await?;
            if observed.kind() != hash || wanted.kind() != hash {
                return Ok(Relation::Unknown);
            }
            match relate(&mut session, observed, wanted).await {
                Err(error) if error.kind() == ErrorKind::NotFound && is_reachable(&mut session).await => {
                    Ok(Relation::Unknown)
                }
                Ok(relation) => {
                    store.remember_relation(observed, wanted, relation);
                    Ok(relation)
                }
                error => error,
            }
        })
        .await
    }
}

/// Whether it was the commit that was not found, and not the repository.
async fn is_reachable(session: &mut Session) -> bool {
    session.refs(&["HEAD"]).await.is_ok()
}

/// How `observed` stands to `wanted`.
pub(crate) async fn relate(session: &mut Session, observed: ObjectId, wanted: ObjectId) -> Result<Relation> {
    let both = session.commits(&[observed, wanted], 1, false).await?;
    let since = both.values().map(|info| info.time).min().unwrap_or(0);
    let nothing = HashSet::new();
    let mut found = false;
    let behind = walk(session, &[observed], since, &nothing, |id, _| {
        found = id == wanted;
        found
    })
    .await?;
    if found {
        return Ok(Relation::Later);
    }
    let ahead = walk(session, &[wanted], since, &nothing, |id, _| {
        found = id == observed;
        found
    })
    .await?;
    Ok(match (found, behind, ahead) {
        (true, ..) => Relation::Earlier,
        (false, Extent::Whole, Extent::Whole) => Relation::Diverged,
        (false, ..) => Relation::Unknown,
    })
}
