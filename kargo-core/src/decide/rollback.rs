//! Going back: to which freight, and when without being asked.

use jiff::Timestamp;

use super::{admits, promotion_id};
use crate::clock::elapsed;
use crate::freight::Freight;
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::pipeline::Pipeline;
use crate::stage::{AutoRollback, Stage};
use crate::state::{Draft, EventKind, HoldChange, Promotion, Rollback, StageState, State, Trigger};

/// The freight of `origin` to which `stage` goes back from `from`: what it ran last, among what is verified there now.
pub fn rollback_target<'a>(
    state: &'a State,
    stage: &StageName,
    origin: &WarehouseName,
    from: &FreightId,
) -> Option<&'a Freight> {
    let history = state.stage(stage)?.history.iter().filter_map(|id| state.promotion(id));
    // The history is short, and one warehouse's freight may fill it; the state may keep more.
    let before = state.promotions().rev().filter(|before| before.stage == *stage && before.phase.is_success());
    let ran = history.chain(before).filter_map(|promotion| promotion.collection.get(origin));
    let mut earlier = ran.filter(|id| *id != from).filter_map(|id| state.freight_by_id(id));
    earlier.find(|known| known.verified().contains_key(stage)).map(|known| known.freight())
}

/// The promotions of freight of `origin` that are under way in the stage, are being verified, or wait: what going back there
/// has to stop.
pub fn under_way<'a>(
    state: &'a State,
    stage: &'a StageState,
    origin: &'a WarehouseName,
) -> impl Iterator<Item = &'a Promotion> {
    let ids = stage.running.iter().chain(&stage.verifying).chain(&stage.queue);
    ids.filter_map(|id| state.promotion(id)).filter(move |promotion| {
        state.freight_by_id(&promotion.freight).is_some_and(|known| known.freight().origin() == origin)
    })
}

/// The rollback that `stage` makes by itself, now that nothing is under way there.
pub(super) fn decide_rollback(pipeline: &Pipeline, state: &State, stage: &Stage, now: Timestamp) -> Option<Draft> {
    let when = stage.rolls_back()?;
    let known = state.stage(stage.name())?;
    let (bad, reason) = bad_end(state, known, when, now)?;
    let origin = state.freight_by_id(&bad.freight)?.freight().origin();
    let target = rollback_target(state, stage.name(), origin, &bad.freight)?;
    if !admits(pipeline, state, stage.name(), target.id(), now) {
        return None;
    }
    Some(Draft::rule(EventKind::PromotionRequested {
        promotion: promotion_id(pipeline.name(), state.seq(), stage.name(), target.id(), now),
        stage: stage.name().clone(),
        freight: target.id().clone(),
        trigger: Trigger::Rollback,
        steps: stage.steps().to_vec(),
        verification: stage.verification().to_vec(),
        // A stage that went back stays there until a person moves on.
        hold: if stage.auto_promotes() { HoldChange::Hold } else { HoldChange::None },
        rollback: Some(Rollback { from: bad.freight.clone() }),
        reason,
    }))
}

/// The promotion whose bad end asks for a rollback, and that end in words.
fn bad_end<'a>(
    state: &'a State,
    stage: &StageState,
    when: &AutoRollback,
    now: Timestamp,
) -> Option<(&'a Promotion, String)> {
    let found = |id: Option<&PromotionId>| id.and_then(|id| state.promotion(id));
    let last = found(stage.last.as_ref())?;
    // Never after a rollback: what that could not mend is a person's to mend.
    let recent = |promotion: &Promotion, end: Option<Timestamp>| {
        promotion.rollback.is_none() && end.is_some_and(|end| elapsed(end, now) <= when.within)
    };
    if when.on_promotion.contains(&last.phase) && recent(last, last.finished_at) {
        return Some((last, format!("promotion {} {}", last.id, last.phase)));
    }
    let current = found(stage.history.front())?;
    let verification = current.verifications.last()?;
    // Something was promoted since: somebody, or a rule, has reacted already.
    let after = |end| last.requested_at >= end;
    let reacted = last.id != current.id && (last.rollback.is_some() || verification.finished_at.is_some_and(after));
    let bad = when.on_verification.contains(&verification.phase) && recent(current, verification.finished_at);
    (bad && !reacted).then(|| (current, format!("verification of promotion {} {}", current.id, verification.phase)))
}
