//! What hosts ask of an engine.

mod freight;
mod promotion;

use tokio::sync::oneshot;

use super::driver::Driver;
use crate::actor::Actor;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::state::{Draft, State};

pub use promotion::PromoteError;
pub(super) use promotion::no_promotion;

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
    pub(super) async fn request<T, E: From<Error>>(
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
}

pub(super) fn undefined(name: &crate::name::PipelineName) -> Error {
    Error::new(ErrorKind::Other, format!("Pipeline {name:?} has no definition in its journal; start its engine again."))
}
