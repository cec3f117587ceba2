//! Applications whose manifests Argo CD renders ahead.
//!
//! A promotion writes a dry revision; Argo CD renders it, commits what came of it to a branch, and syncs that commit. The wanted dry revision
//! is live once the commit that holds what came of it, or a later one that holds that commit, is synced and healthy. This module says which
//! commit that is; all else is judged as for any application.

use kargo_core::Revision;
use kargo_core::plugin::Relation;

use super::revision::Standing;
use super::standing::{ask, astray, unhurried};
use super::{Case, LATER, Latches, Next, Relations, Verdict, Wanted, lasting, overtaken};
use crate::client::{Hydration as Rendering, HydrationPhase, SourceHydrator, SyncCode};

/// How many renderings are noted.
const NOTED: usize = 16;

/// What is known of the manifests that were rendered ahead.
#[derive(Debug)]
pub(super) struct Hydration<'a> {
    hydrator: &'a SourceHydrator,
    current: Option<&'a Rendering>,
    /// With which settings what counts was rendered, what it was, and the commit that holds what came of it.
    last: Option<(&'a Rendering, &'a str, &'a str)>,
    /// A later one that was rendered since then.
    later: Option<(&'a str, &'a str)>,
    /// The last revision that was looked at.
    looked_at: Option<&'a str>,
}

fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

impl<'a> Hydration<'a> {
    /// Nothing for an application whose manifests are not rendered ahead.
    pub(super) fn of(case: &Case<'a>, latches: &Latches, noted: &'a [(String, String)]) -> Option<Self> {
        let hydrator = case.app.spec.source_hydrator.as_ref()?;
        let status = &case.app.status.source_hydrator;
        let last = status.last_successful_operation.as_ref();
        let last = last.and_then(|last| Some((last, filled(&last.dry_sha)?, filled(&last.hydrated_sha)?)));
        // What our own sync has applied stays what counts: what is rendered next is not this deployment's business.
        let applied = case.state().filter(|_| case.owns_last_operation()).and_then(|state| state.sync_result.as_ref());
        let applied = applied.and_then(|result| filled(&result.revision));
        let rendered = |applied: Option<&str>| noted.iter().find(|(_, commit)| applied == Some(commit.as_str()));
        // So does what was applied before a sync of somebody else's failed, unless what is followed by now runs all the same.
        let is_synced = case.app.status.sync.status == Some(SyncCode::Synced);
        let outlived = || overtaken::outlived(case, latches).filter(|_| !is_synced)?.revision.as_deref();
        let holds = |dry: &str| match case.wanted.iter().next() {
            Some((_, wanted)) => matches!(case.relation(dry, wanted), Some(Relation::Same | Relation::Later)),
            None => true,
        };
        let own = rendered(applied).or_else(|| rendered(outlived()).filter(|(dry, _)| holds(dry)));
        let own = last.zip(own).filter(|((_, _, commit), (_, own))| commit != own);
        Some(Self {
            hydrator,
            current: status.current_operation.as_ref(),
            last: own.map(|((last, ..), (dry, commit))| (last, dry.as_str(), commit.as_str())).or(last),
            later: own.and(last).map(|(_, dry, commit)| (dry, commit)),
            looked_at: filled(&status.last_compared_dry_revision),
        })
    }

    /// The commit that should be synced. Nothing in particular where none was rendered yet; then [`Self::gate`] lets nothing pass.
    pub(super) fn rendered(&self) -> Wanted {
        self.last.map_or_else(Wanted::anything, |(_, _, commit)| Wanted::revision(commit))
    }

    /// Notes what was rendered last.
    pub(super) fn note(case: &Case<'_>, latches: &mut Latches) {
        let last = case.app.status.source_hydrator.last_successful_operation.as_ref();
        let seen =
            last.and_then(|last| Some((filled(&last.dry_sha)?.to_owned(), filled(&last.hydrated_sha)?.to_owned())));
        if let Some(seen) = seen.filter(|seen| !latches.rendered.contains(seen)) {
            if latches.rendered.len() >= NOTED {
                latches.rendered.remove(0);
            }
            latches.rendered.push(seen);
        }
    }

    /// What is known of how commits stand to each other: what was rendered later holds what was rendered before.
    pub(super) fn relations(&self, known: &Relations) -> Relations {
        let mut relations = known.clone();
        if let Some(((_, later), (_, _, commit))) = self.later.zip(self.last) {
            relations.learn(later, &commit.into(), Relation::Later);
        }
        relations
    }

    fn phase(&self) -> Option<&HydrationPhase> {
        self.current?.phase.as_ref()
    }

    /// How a dry revision stands to the wanted one.
    fn standing(&self, case: &Case<'_>, dry: Option<&str>) -> Standing {
        let (Some(dry), wanted) = (dry, case.wanted.iter().next()) else { return Standing::Absent };
        let Some((_, wanted)) = wanted else { return Standing::Same };
        match case.relation(dry, wanted) {
            Some(Relation::Same) => Standing::Same,
            Some(Relation::Later) => Standing::Later(dry.to_owned()),
            Some(Relation::Earlier) => Standing::Earlier(dry.to_owned()),
            Some(Relation::Diverged) => Standing::Diverged(dry.to_owned()),
            None => Standing::Ask(dry.to_owned(), wanted.clone()),
            Some(_) => Standing::Unknown(dry.to_owned()),
        }
    }

    /// Why the rendered commit is not, or not yet, what came of the wanted revision. Nothing when it is.
    pub(super) fn gate(&self, case: &Case<'_>, synced: &Case<'_>, latches: &mut Latches) -> Option<Verdict> {
        // Rendered with other settings, it is not what these would make of the same revision.
        let current = self.last.filter(|(last, ..)| {
            last.source_hydrator.as_ref().is_none_or(|then| then.dry_source.holds_the_same(&self.hydrator.dry_source))
        });
        let standing = self.standing(case, current.map(|(_, dry, _)| dry));
        let any_is_wanted = case.wanted.is_anything();
        match &standing {
            Standing::Ask(observed, wanted) => Some(ask(observed.clone(), wanted.clone())),
            Standing::Same | Standing::Later(_) if !any_is_wanted || !self.is_under_way() => {
                (latches.unrendered_since, latches.astray_since) = (None, None);
                self.brought_over(synced)
            }
            _ => self.unrendered(case, latches, current.is_some(), &standing),
        }
    }

    fn is_under_way(&self) -> bool {
        matches!(self.phase(), Some(HydrationPhase::Hydrating | HydrationPhase::Failed))
    }

    /// The wanted revision is not what was rendered last.
    fn unrendered(
        &self,
        case: &Case<'_>,
        latches: &mut Latches,
        has_rendered: bool,
        standing: &Standing,
    ) -> Option<Verdict> {
        let branch =
            &self.hydrator.hydrate_to.as_ref().map_or(&self.hydrator.sync_source.target_branch, |to| &to.target_branch);
        let failed = self.phase() == Some(&HydrationPhase::Failed);
        // A rendering that failed is tried again, and under way between two failures.
        if !self.is_under_way() {
            latches.unrendered_since = None;
        }
        if self.phase() == Some(&HydrationPhase::Hydrating) {
            return Some(Verdict::look(format!("Argo CD renders the manifests onto {branch}")));
        }
        if failed {
            let message = self.current.and_then(|current| filled(&current.message)).unwrap_or("it does not say why");
            let lasted = lasting(&mut latches.unrendered_since, case.now);
            let why = format!("Argo CD cannot render the manifests of {} onto {branch}: {message}", case.wanted_text());
            return Some(if lasted >= case.policy.error_grace {
                Verdict::failed(why)
            } else {
                Verdict::refresh(why, LATER)
            });
        }
        let looked_at = match self.standing(case, self.looked_at) {
            Standing::Ask(observed, wanted) => return Some(ask(observed, wanted)),
            Standing::Same | Standing::Later(_) => has_rendered && !case.wanted.is_anything(),
            _ => false,
        };
        if looked_at {
            // Newer servers note that they have looked before they begin to render, and may take their time. What a hard refresh renders,
            // also of a revision that brings nothing new, is what proves it.
            return Some(Verdict::Pending {
                why: format!(
                    "Argo CD has looked at {} and not rendered it; whether that brings anything new is not known until it has",
                    case.wanted_text()
                ),
                next: Next::RefreshHard,
                check_after: LATER,
            });
        }
        Some(match standing {
            Standing::Earlier(dry) => Verdict::refresh(
                format!(
                    "Argo CD has rendered {dry}, which is before the wanted {}; the repository may lag",
                    case.wanted_text()
                ),
                unhurried(case, latches),
            ),
            Standing::Diverged(_) | Standing::Unknown(_) => {
                astray(case, latches, Some(&self.hydrator.dry_source), standing)
            }
            _ => Verdict::refresh(
                format!("Argo CD has not rendered the manifests onto {branch} as they are asked for now"),
                unhurried(case, latches),
            ),
        })
    }

    /// Where manifests are rendered onto another branch than the synced one, somebody has to bring them over, however long that takes.
    fn brought_over(&self, synced: &Case<'_>) -> Option<Verdict> {
        let to = self.hydrator.hydrate_to.as_ref()?;
        let sync = &synced.app.status.sync;
        match synced.standing(sync.revision.as_deref(), &sync.revisions) {
            Standing::Same | Standing::Later(_) => None,
            Standing::Ask(observed, wanted) => Some(ask(observed, wanted)),
            _ => Some(Verdict::refresh(
                format!(
                    "{} is rendered onto {}; somebody has to bring it to {}",
                    synced.wanted_text(),
                    to.target_branch,
                    self.hydrator.sync_source.target_branch
                ),
                LATER,
            )),
        }
    }

    /// The verdict on the rendered commit as one on the dry revision.
    pub(super) fn told(&self, case: &Case<'_>, verdict: Verdict) -> Verdict {
        let Some((_, dry, commit)) = self.last else { return verdict };
        let (dry, commit, evidence) = match verdict {
            Verdict::Live { evidence, .. } => (dry, commit, evidence),
            Verdict::Later { observed, evidence } => {
                let later = self.later.filter(|(_, commit)| observed.as_str() == *commit);
                let (dry, commit) = later.unwrap_or((dry, commit));
                (dry, commit, evidence)
            }
            other => return other,
        };
        let revision: Revision = match case.wanted.iter().next() {
            None => dry.into(),
            Some((_, wanted)) => wanted.clone(),
        };
        let evidence = format!("{dry} is rendered as {commit}; {evidence}");
        match self.standing(case, Some(dry)) {
            Standing::Later(_) => Verdict::Later { observed: dry.into(), evidence },
            _ => Verdict::Live { revision, evidence },
        }
    }
}
