//! Promotions that people ask for, and ask to stop.

use super::undefined;
use crate::actor::Actor;
use crate::decide::{Refusal, admission, hold_change, promotion_id};
use crate::engine::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{FreightId, PromotionId, StageName};
use crate::state::{Draft, EventKind, Trigger};

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
    pub(super) async fn promote(
        &mut self,
        stage: StageName,
        freight: FreightId,
        actor: Actor,
    ) -> Result<PromotionId, PromoteError> {
        let name = self.shared.name.clone();
        self.request(|state, now| {
            let pipeline = state.pipeline().ok_or_else(|| undefined(&name))?;
            admission(pipeline, state, &stage, &freight, now).into_result()?;
            let (Some(definition), Some(known)) = (pipeline.stage(&stage), state.freight_by_id(&freight)) else {
                // An open admission has both.
                return Err(PromoteError::Failed(undefined(&name)));
            };
            let promotion = promotion_id(&name, state.seq(), &stage, &freight, now);
            let kind = EventKind::PromotionRequested {
                promotion: promotion.clone(),
                stage: stage.clone(),
                freight: freight.clone(),
                trigger: Trigger::Manual,
                steps: definition.steps().to_vec(),
                verification: definition.verification().to_vec(),
                hold: hold_change(pipeline, state, definition, known.freight(), now),
            };
            Ok((Draft::request(actor.clone(), kind), promotion))
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
            let kind = EventKind::AbortRequested { promotion: promotion.clone() };
            Ok((Draft::request(actor.clone(), kind), ()))
        })
        .await
    }
}
