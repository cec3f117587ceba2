//! Promotions that people ask for, and ask to stop.

use jiff::Timestamp;

use super::{no_stage, undefined};
use crate::actor::Actor;
use crate::decide::{Refusal, admission, at_once, hold_change, holds, promotion_id, rollback_target, under_way};
use crate::engine::driver::Driver;
use crate::engine::report::shorten;
use crate::engine::requests::{self, Promote};
use crate::error::{Error, ErrorKind, Result};
use crate::freight::Freight;
use crate::name::{FreightId, PipelineName, PromotionId, StageName, WarehouseName};
use crate::pipeline::Pipeline;
use crate::stage::Stage;
use crate::state::{Draft, EventKind, HoldChange, Promotion, Rollback, StageState, State, Trigger};

/// Why a promotion was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromoteError {
    /// The freight may not enter the stage; the refusal says what is missing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The journal could not be written, or the engine has stopped.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl PromoteError {
    /// The error's kind: [`ErrorKind::Refused`], or what failed.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) => ErrorKind::Refused,
            Self::Failed(error) => error.kind(),
        }
    }
}

pub(in crate::engine) fn no_promotion(id: &PromotionId) -> Error {
    Error::new(ErrorKind::NotFound, format!("There is no promotion {id:?}; list the promotions to find its id."))
}

impl Driver {
    pub(super) async fn promote(&mut self, promote: Promote) -> Result<PromotionId, PromoteError> {
        let name = self.shared.name.clone();
        let Promote { stage, freight, actor, reason, supersede } = promote;
        self.request(|state, now| {
            let pipeline = state.pipeline().ok_or_else(|| undefined(&name))?;
            admission(pipeline, state, &stage, &freight, now).into_result()?;
            let (Some(definition), Some(known)) = (pipeline.stage(&stage), state.freight_by_id(&freight)) else {
                // An open admission has both.
                return Err(PromoteError::Failed(undefined(&name)));
            };
            let freight = known.freight();
            let mut drafts = Vec::new();
            if supersede {
                drafts = replaced(state, &stage, freight, &actor, &format!("freight {freight} takes its place"));
            }
            let hold = hold_change(pipeline, state, definition, freight, now);
            let (promotion, kind) = requested(&name, state, definition, freight, now, hold, None, &reason);
            drafts.extend(at_once_if_free(pipeline, state, &stage, Draft::request(actor.clone(), kind), now));
            Ok((drafts, promotion))
        })
        .await
    }

    pub(super) async fn rollback(&mut self, rollback: requests::Rollback) -> Result<PromotionId, PromoteError> {
        let name = self.shared.name.clone();
        let requests::Rollback { stage, origin, actor, reason } = rollback;
        self.request(|state, now| {
            let pipeline = state.pipeline().ok_or_else(|| undefined(&name))?;
            let definition = pipeline.stage(&stage).ok_or_else(|| no_stage(pipeline, &stage))?;
            let (from, target) = way_back(state, &stage, origin.as_ref())?;
            admission(pipeline, state, &stage, target.id(), now).into_result()?;
            let because = format!("the stage goes back to freight {target}");
            let mut drafts = replaced(state, &stage, target, &actor, &because);
            let hold = if definition.auto_promotes() { HoldChange::Hold } else { HoldChange::None };
            let back = Some(Rollback { from });
            let (promotion, kind) = requested(&name, state, definition, target, now, hold, back, &reason);
            drafts.extend(at_once_if_free(pipeline, state, &stage, Draft::request(actor.clone(), kind), now));
            Ok((drafts, promotion))
        })
        .await
    }

    pub(super) async fn abort(&mut self, promotion: PromotionId, actor: Actor) -> Result<()> {
        self.request(|state, _| {
            let found = state.promotion(&promotion).ok_or_else(|| no_promotion(&promotion))?;
            let verifying = state.stage(&found.stage).is_some_and(|stage| stage.verifying.as_ref() == Some(&promotion));
            if found.phase.is_terminal() && !verifying {
                let message =
                    format!("Promotion {promotion:?} has ended already, {}; there is nothing to stop.", found.phase);
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            let kind = EventKind::AbortRequested { promotion: promotion.clone(), reason: String::new() };
            Ok((vec![Draft::request(actor.clone(), kind)], ()))
        })
        .await
    }

    pub(super) async fn hold(
        &mut self,
        stage: StageName,
        origin: WarehouseName,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<()> {
        let name = self.shared.name.clone();
        self.request(|state, _| {
            let pipeline = state.pipeline().ok_or_else(|| undefined(&name))?;
            let definition = pipeline.stage(&stage).ok_or_else(|| no_stage(pipeline, &stage))?;
            let refused = |kind, message| Err(Error::new(kind, message));
            if definition.request_for(&origin).is_none() {
                let message = format!("Stage {stage:?} does not ask for freight of warehouse {origin:?}.");
                return refused(ErrorKind::NotFound, message);
            }
            if !definition.auto_promotes() {
                let message = format!("Stage {stage:?} does not promote by itself, so there is nothing to hold.");
                return refused(ErrorKind::InvalidInput, message);
            }
            let (stage, origin) = (stage.clone(), origin.clone());
            let kind = match &reason {
                Some(reason) => EventKind::AutoPromotionHeld { stage, origin, reason: shorten(reason.clone()) },
                None if state.stage(&stage).is_none_or(|known| !holds(state, known).contains_key(&origin)) => {
                    let message = format!(
                        "Nothing holds the automatic promotions of {origin:?} to stage {stage:?}, so there is nothing to release."
                    );
                    return refused(ErrorKind::InvalidInput, message);
                }
                None => EventKind::AutoPromotionReleased { stage, origin },
            };
            Ok((vec![Draft::request(actor.clone(), kind)], ()))
        })
        .await
    }
}

/// The request for a promotion that somebody asked for, under a new id.
#[expect(clippy::too_many_arguments, reason = "they are the event's fields")]
fn requested(
    pipeline: &PipelineName,
    state: &State,
    stage: &Stage,
    freight: &Freight,
    now: Timestamp,
    hold: HoldChange,
    rollback: Option<Rollback>,
    reason: &str,
) -> (PromotionId, EventKind) {
    let promotion = promotion_id(pipeline, state.seq(), stage.name(), freight.id(), now);
    let kind = EventKind::PromotionRequested {
        promotion: promotion.clone(),
        stage: stage.name().clone(),
        freight: freight.id().clone(),
        trigger: Trigger::Manual,
        steps: stage.steps().to_vec(),
        verification: stage.verification().to_vec(),
        hold,
        rollback,
        reason: shorten(reason.to_owned()),
    };
    (promotion, kind)
}

/// A request, with what follows when nothing is under way in the stage or waits there.
fn at_once_if_free(
    pipeline: &Pipeline,
    state: &State,
    stage: &StageName,
    request: Draft,
    now: Timestamp,
) -> Vec<Draft> {
    if state.stage(stage).is_none_or(StageState::is_idle) { at_once(pipeline, request, now) } else { vec![request] }
}

/// The end of what is under way in a stage, or waits there, of the same warehouse as `freight`.
fn replaced(state: &State, stage: &StageName, freight: &Freight, actor: &Actor, reason: &str) -> Vec<Draft> {
    let Some(known) = state.stage(stage) else { return Vec::new() };
    let open = under_way(state, known, freight.origin()).filter(|promotion| promotion.abort.is_none());
    let abort = |promotion: &Promotion| {
        let (promotion, reason) = (promotion.id.clone(), reason.to_owned());
        Draft::request(actor.clone(), EventKind::AbortRequested { promotion, reason })
    };
    open.map(abort).collect()
}

/// From which freight a stage goes back, and to which: from what was tried there last, under way or ended, however it ended.
fn way_back<'a>(
    state: &'a State,
    stage: &StageName,
    origin: Option<&WarehouseName>,
) -> Result<(FreightId, &'a Freight)> {
    let nothing = |what: String| Error::new(ErrorKind::NotFound, format!("Stage {stage:?} cannot go back: {what}."));
    let known = state.stage(stage).ok_or_else(|| nothing("nothing was promoted to it yet".to_owned()))?;
    let origin_of = |id: &FreightId| state.freight_by_id(id).map(|known| known.freight().origin());
    let ids = known.running.iter().chain(known.attempts.values()).chain(&known.history);
    let tried = ids.filter_map(|id| state.promotion(id));
    let started = tried.filter(|promotion| promotion.started_at.is_some());
    let wanted = started.filter(|promotion| match (origin, origin_of(&promotion.freight)) {
        (Some(origin), found) => found == Some(origin),
        (None, found) => found.is_some(),
    });
    let last = wanted.max_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
    let found = last.and_then(|last| Some((last, origin_of(&last.freight)?)));
    let (last, origin) = found.ok_or_else(|| {
        let of = origin.map_or_else(String::new, |origin| format!(" of warehouse {origin:?}"));
        nothing(format!("no freight{of} was promoted to it yet"))
    })?;
    // While a rollback has not ended, whoever asks for one wants the same.
    let from = match &last.rollback {
        Some(back) if state.is_open(last) => &back.from,
        _ => &last.freight,
    };
    let target = rollback_target(state, stage, origin, from).ok_or_else(|| {
        let from = from.short();
        nothing(format!(
            "no freight of warehouse {origin:?} but {from} is verified there; promote the freight that it is to run"
        ))
    })?;
    Ok((from.clone(), target))
}
