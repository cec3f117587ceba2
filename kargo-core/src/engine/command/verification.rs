//! What people ask of the verification of a promotion's result.

use super::{no_promotion, no_stage, undefined};
use crate::actor::Actor;
use crate::engine::driver::Driver;
use crate::engine::report::shorten;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{PromotionId, StageName};
use crate::promotion::Phase;
use crate::state::{Draft, EventKind};

impl Driver {
    pub(super) async fn verify_again(&mut self, stage: StageName, actor: Actor) -> Result<PromotionId> {
        let name = self.shared.name.clone();
        self.request(|state, _| {
            let pipeline = state.pipeline().ok_or_else(|| undefined(&name))?;
            let definition = pipeline.stage(&stage).ok_or_else(|| no_stage(pipeline, &stage))?;
            let current = state.stage(&stage).and_then(|known| Some((known, known.history.front()?)));
            let Some((known, promotion)) = current else {
                let message = format!("Stage {stage:?} runs nothing yet, so there is nothing to verify.");
                return Err(Error::new(ErrorKind::NotFound, message));
            };
            if let Some(busy) = known.running.as_ref().or(known.verifying.as_ref()) {
                let message =
                    format!("Stage {stage:?} is busy with promotion {busy}; verify again when that has ended.");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            let verification = definition.verification().to_vec();
            let kind = EventKind::VerificationRequested { promotion: promotion.clone(), verification };
            Ok((vec![Draft::request(actor.clone(), kind)], promotion.clone()))
        })
        .await
    }

    pub(super) async fn judge(
        &mut self,
        promotion: PromotionId,
        phase: Phase,
        reason: String,
        actor: Actor,
    ) -> Result<()> {
        self.request(|state, _| {
            let refused = |message| Err(Error::new(ErrorKind::InvalidInput, message));
            if !matches!(phase, Phase::Succeeded | Phase::Failed) {
                return refused(format!("A verification is judged Succeeded or Failed, not {phase}."));
            }
            let found = state.promotion(&promotion).ok_or_else(|| no_promotion(&promotion))?;
            let Some(last) = found.verifications.last().filter(|last| last.phase.is_terminal()) else {
                return refused(format!(
                    "No verification of promotion {promotion:?} has ended yet, so there is none to judge."
                ));
            };
            if !matches!(last.phase, Phase::Inconclusive | Phase::Errored | Phase::Aborted) {
                return refused(format!(
                    "The verification of promotion {promotion:?} ended {}, which says it all; verify again to have another look.",
                    last.phase
                ));
            }
            let current = state.stage(&found.stage).filter(|known| known.verifying.is_none());
            if current.and_then(|known| known.history.front()) != Some(&promotion) {
                return refused(format!(
                    "Stage {:?} has moved on since promotion {promotion:?}, so its verification cannot be judged any more.",
                    found.stage
                ));
            }
            let reason = shorten(reason.clone());
            let kind = EventKind::VerificationJudged { promotion: promotion.clone(), phase, reason };
            Ok((vec![Draft::request(actor.clone(), kind)], ()))
        })
        .await
    }
}
