//! Walking history, of which only commits are fetched, in growing batches.

use std::collections::HashSet;

use async_trait::async_trait;
use gix::ObjectId;
use kargo_core::plugin::{Context, History, Relation};
use kargo_core::{ErrorKind, Result, Revision};

use crate::remote::{CommitInfo, Remote, Session, parse_id};

/// How many commits deep history is looked into, batch by batch.
const DEPTHS: [u32; 4] = [16, 128, 1024, 8192];

/// How far, in seconds, clocks of committers may be apart.
const SKEW: i64 = 6 * 3600;

/// Visits the commits reachable from `tips` that are not much older than `since`, newest generations first, until `visit` returns true.
/// What lies behind the commits in `known` is left out. A commit may be visited again when more is fetched. Returns whether all there
/// was had been visited (or the walk was stopped).
pub(crate) async fn walk(
    session: &mut Session,
    tips: &[ObjectId],
    since: i64,
    known: &HashSet<ObjectId>,
    mut visit: impl FnMut(ObjectId, &CommitInfo) -> bool + Send,
) -> Result<bool> {
    let oldest = since.saturating_sub(SKEW);
    for depth in DEPTHS {
        let commits = session.commits(tips, depth, false).await?;
        let mut seen = HashSet::new();
        let mut level = tips.to_vec();
        let mut complete = true;
        while !level.is_empty() {
            for id in std::mem::take(&mut level) {
                if known.contains(&id) || !seen.insert(id) {
                    continue;
                }
                match commits.get(&id) {
                    Some(info) => {
                        if visit(id, info) {
                            return Ok(true);
                        }
                        if info.time >= oldest {
                            level.extend(&info.parents);
                        }
                    }
                    None => complete = false,
                }
            }
        }
        if complete {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tells how two commits of the repository stand to each other. Only commits are fetched, some thousands at most; what lies deeper is
/// [`Relation::Unknown`], and so is a commit that the repository does not have.
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
            let mut session = self.session()?;
            let hash = session.hash().await?;
            if observed.kind() != hash || wanted.kind() != hash {
                return Ok(Relation::Unknown);
            }
            match relate(&mut session, observed, wanted).await {
                Err(error) if error.kind() == ErrorKind::NotFound && is_reachable(&mut session).await => {
                    Ok(Relation::Unknown)
                }
                relation => relation,
            }
        })
        .await
    }
}

/// Whether it was the commit that was not found, and not the repository.
async fn is_reachable(session: &mut Session) -> bool {
    session.refs(&["HEAD"]).await.is_ok()
}

async fn relate(session: &mut Session, observed: ObjectId, wanted: ObjectId) -> Result<Relation> {
    let both = session.commits(&[observed, wanted], 1, false).await?;
    let since = both.values().map(|info| info.time).min().unwrap_or(0);
    let nothing = HashSet::new();
    let mut found = false;
    let complete = walk(session, &[observed], since, &nothing, |id, _| {
        found = id == wanted;
        found
    })
    .await?;
    if found {
        return Ok(Relation::Later);
    }
    let complete = complete
        & walk(session, &[wanted], since, &nothing, |id, _| {
            found = id == observed;
            found
        })
        .await?;
    Ok(match (found, complete) {
        (true, _) => Relation::Earlier,
        (false, true) => Relation::Diverged,
        (false, false) => Relation::Unknown,
    })
}
