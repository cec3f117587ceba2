//! Promotions, newest first.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FreightLine;
use crate::actor::Actor;
use crate::name::{FreightId, PromotionId, StageName};
use crate::promotion::Phase;
use crate::state::{Promotion, State, Trigger};

/// A promotion in one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PromotionLine {
    /// Its id.
    pub id: PromotionId,
    /// The stage.
    pub stage: StageName,
    /// The id of its freight.
    pub freight_id: FreightId,
    /// Its freight; none when that is no longer kept.
    pub freight: Option<FreightLine>,
    /// Who asked for it.
    pub actor: Actor,
    /// What made it.
    pub trigger: Trigger,
    /// How it stands.
    pub phase: Phase,
    /// Why it ended so.
    pub message: String,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The revision that its writer made.
    pub revision: Option<String>,
    /// How the verification of its result stands.
    pub verification: Option<Phase>,
    /// Why that ended so.
    pub verification_message: String,
}

impl PromotionLine {
    pub(super) fn new(state: &State, promotion: &Promotion) -> Self {
        let verification = promotion.verifications.last();
        Self {
            id: promotion.id.clone(),
            stage: promotion.stage.clone(),
            freight_id: promotion.freight.clone(),
            freight: FreightLine::find(state, &promotion.freight),
            actor: promotion.actor.clone(),
            trigger: promotion.trigger,
            phase: promotion.phase,
            message: promotion.message.clone(),
            requested_at: promotion.requested_at,
            started_at: promotion.started_at,
            finished_at: promotion.finished_at,
            revision: promotion.revision().map(str::to_owned),
            verification: verification.map(|verification| verification.phase),
            verification_message: verification.map(|last| last.message.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn find(state: &State, id: &PromotionId) -> Option<Self> {
        state.promotion(id).map(|promotion| Self::new(state, promotion))
    }
}

/// Which promotions to show. All conditions that are set must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PromotionFilter {
    /// To this stage.
    pub stage: Option<StageName>,
    /// Of this freight.
    pub freight: Option<FreightId>,
    /// Asked for by this actor.
    pub actor: Option<Actor>,
    /// That stand so.
    pub phase: Option<Phase>,
    /// Asked for at or after this time.
    pub from: Option<Timestamp>,
    /// Asked for before this time.
    pub until: Option<Timestamp>,
    /// At most so many. Default: 50.
    pub limit: usize,
    /// Those after the end of an earlier page.
    pub after: Option<PromotionCursor>,
}

/// Where a page ended. It stays good when the promotion is no longer kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PromotionCursor {
    /// When the last promotion of the page was asked for.
    pub requested_at: Timestamp,
    /// Its id.
    pub id: PromotionId,
}

impl Default for PromotionFilter {
    fn default() -> Self {
        Self { stage: None, freight: None, actor: None, phase: None, from: None, until: None, limit: 50, after: None }
    }
}

impl PromotionFilter {
    /// To `stage`.
    #[must_use]
    pub fn stage(mut self, stage: impl Into<StageName>) -> Self {
        self.stage = Some(stage.into());
        self
    }

    /// Of `freight`.
    #[must_use]
    pub fn freight(mut self, freight: impl Into<FreightId>) -> Self {
        self.freight = Some(freight.into());
        self
    }

    /// Asked for by `actor`.
    #[must_use]
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// That stand as `phase` says.
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phase = Some(phase);
        self
    }

    /// Asked for at or after `from`.
    #[must_use]
    pub fn from(mut self, from: Timestamp) -> Self {
        self.from = Some(from);
        self
    }

    /// Asked for before `until`.
    #[must_use]
    pub fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// At most `limit`.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// What follows the page that ended at `cursor`.
    #[must_use]
    pub fn after(mut self, cursor: PromotionCursor) -> Self {
        self.after = Some(cursor);
        self
    }

    fn matches(&self, promotion: &Promotion) -> bool {
        let at = promotion.requested_at;
        self.stage.as_ref().is_none_or(|stage| promotion.stage == *stage)
            && self.freight.as_ref().is_none_or(|freight| promotion.freight == *freight)
            && self.actor.as_ref().is_none_or(|actor| promotion.actor == *actor)
            && self.phase.is_none_or(|phase| promotion.phase == phase)
            && self.from.is_none_or(|from| at >= from)
            && self.until.is_none_or(|until| at < until)
            && self.after.as_ref().is_none_or(|after| (at, &promotion.id) < (after.requested_at, &after.id))
    }
}

/// One page of promotions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PromotionPage {
    /// The promotions, newest first by when they were asked for.
    pub promotions: Vec<PromotionLine>,
    /// Where to go on; none at the end.
    pub next: Option<PromotionCursor>,
}

/// The promotions that `filter` lets through, of those that the state keeps. Goes through all of them.
pub fn promotions(state: &State, filter: &PromotionFilter) -> PromotionPage {
    let mut found: Vec<&Promotion> = state.promotions().filter(|promotion| filter.matches(promotion)).collect();
    found.sort_unstable_by(|a, b| (b.requested_at, &b.id).cmp(&(a.requested_at, &a.id)));
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let last = found.last().filter(|_| more);
    PromotionPage {
        next: last.map(|last| PromotionCursor { requested_at: last.requested_at, id: last.id.clone() }),
        promotions: found.into_iter().map(|promotion| PromotionLine::new(state, promotion)).collect(),
    }
}
