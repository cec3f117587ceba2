//! What hosts ask of an engine.

use tokio::sync::oneshot;

use super::driver::Driver;
use crate::actor::Actor;
use crate::decide::{Refusal, admission, hold_change, promotion_id};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{FreightId, PromotionId, StageName, WarehouseName, near_match};
use crate::state::{Draft, EventKind, State, Trigger};

#[derive(Debug)]
pub(super) enum Command {
    Promote {
        stage: StageName,
        freight: FreightId,
        actor: Actor,
        reply: oneshot::Sender<Result<PromotionId, PromoteError>>,
    },
    Abort {
        promotion: PromotionId,
        actor: Actor,
        reply: oneshot::Sender<Result<()>>,
    },
    Approve {
        stage: StageName,
        freight: FreightId,
        actor: Actor,
        reply: oneshot::Sender<Result<()>>,
    },
    Refresh {
        warehouse: WarehouseName,
        reply: oneshot::Sender<Result<()>>,
    },
}

impl Command {
    fn refuse(self, error: Error) {
        // Whoever asked may have gone; then nobody needs the answer.
        let _ = match self {
            Self::Promote { reply, .. } => reply.send(Err(error.into())).is_ok(),
            Self::Abort { reply, .. } | Self::Approve { reply, .. } | Self::Refresh { reply, .. } => {
                reply.send(Err(error)).is_ok()
            }
        };
    }
}

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

pub(super) fn no_promotion(id: &PromotionId) -> Error {
    Error::new(ErrorKind::NotFound, format!("There is no promotion {id:?}; list the promotions to find its id."))
}

/// How often a request is decided again when another engine's events come in between.
const TRIES: usize = 5;

impl Driver {
    pub(super) async fn command(&mut self, command: Command) {
        if self.lease.is_none() {
            return command.refuse(self.not_driving());
        }
        // Whoever asked may have gone; then nobody needs the answer.
        match command {
            Command::Promote { stage, freight, actor, reply } => {
                let _ = reply.send(self.promote(stage, freight, actor).await);
            }
            Command::Abort { promotion, actor, reply } => {
                let _ = reply.send(self.abort(promotion, actor).await);
            }
            Command::Approve { stage, freight, actor, reply } => {
                let _ = reply.send(self.approve(stage, freight, actor).await);
            }
            Command::Refresh { warehouse, reply } => {
                let known = self.polls.contains_key(&warehouse);
                if known {
                    self.poll_now(&warehouse);
                }
                let _ = reply.send(if known {
                    Ok(())
                } else {
                    let message = format!("There is no warehouse {warehouse:?}.");
                    Err(Error::new(ErrorKind::NotFound, message))
                });
            }
        }
    }

    /// Appends what `draft` makes of the state, again when the state has changed in between.
    async fn request<T, E: From<Error>>(
        &mut self,
        mut draft: impl FnMut(&State, jiff::Timestamp) -> Result<(Draft, T), E>,
    ) -> Result<T, E> {
        let mut tries = 0;
        loop {
            tries += 1;
            let now = self.shared.clock.now();
            let (event, answer) = self.shared.read(|state| draft(state, now))?;
            match self.append(vec![event]).await {
                Ok(()) => return Ok(answer),
                // Has the lease looked at, too.
                Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES && self.lease.is_some() => {
                    self.note(Err(error)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn promote(
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

    async fn abort(&mut self, promotion: PromotionId, actor: Actor) -> Result<()> {
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

    async fn approve(&mut self, stage: StageName, freight: FreightId, actor: Actor) -> Result<()> {
        let name = self.shared.name.clone();
        self.request(|state, _| {
            let pipeline = state.pipeline().ok_or_else(|| undefined(&name))?;
            if pipeline.stage(&stage).is_none() {
                let near = near_match(stage.as_str(), pipeline.stages().map(|stage| stage.name().as_str()));
                let hint = near.map_or_else(String::new, |near| format!(" Did you mean {near:?}?"));
                let message = format!("Freight cannot be approved for stage {stage:?}, which does not exist.{hint}");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
            if state.freight_by_id(&freight).is_none() {
                let message = format!("Freight {freight:?} does not exist, so it cannot be approved.");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
            let kind = EventKind::FreightApproved { freight: freight.clone(), stage: stage.clone() };
            Ok((Draft::request(actor.clone(), kind), ()))
        })
        .await
    }
}

fn undefined(name: &crate::name::PipelineName) -> Error {
    Error::new(ErrorKind::Other, format!("Pipeline {name:?} has no definition in its journal; start its engine again."))
}
