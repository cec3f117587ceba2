//! What hosts ask of an engine.

mod freight;
mod promotion;
mod warehouse;

use tokio::sync::oneshot;

use super::driver::Driver;
use crate::actor::Actor;
use crate::error::{Error, ErrorKind, Result};
use crate::freight::Choice;
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::state::{Draft, State};
use crate::warehouse::Discovered;

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
    Discovered {
        warehouse: WarehouseName,
        reply: oneshot::Sender<Result<Vec<Discovered>>>,
    },
    Assemble {
        warehouse: WarehouseName,
        choices: Vec<Choice>,
        actor: Actor,
        reply: oneshot::Sender<Result<FreightId>>,
    },
    Call {
        freight: FreightId,
        alias: Option<String>,
        actor: Actor,
        reply: oneshot::Sender<Result<()>>,
    },
}

impl Command {
    fn refuse(self, error: Error) {
        // Whoever asked may have gone; then nobody needs the answer.
        let _ = match self {
            Self::Promote { reply, .. } => reply.send(Err(error.into())).is_ok(),
            Self::Abort { reply, .. }
            | Self::Approve { reply, .. }
            | Self::Refresh { reply, .. }
            | Self::Call { reply, .. } => reply.send(Err(error)).is_ok(),
            Self::Discovered { reply, .. } => reply.send(Err(error)).is_ok(),
            Self::Assemble { reply, .. } => reply.send(Err(error)).is_ok(),
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
                let known = self.warehouse(&warehouse).map(|_| ());
                if known.is_ok() {
                    self.poll_now(&warehouse);
                }
                let _ = reply.send(known);
            }
            Command::Discovered { warehouse, reply } => {
                let _ = reply.send(self.discovered(&warehouse).await);
            }
            Command::Assemble { warehouse, choices, actor, reply } => {
                let _ = reply.send(self.assemble(warehouse, choices, actor).await);
            }
            Command::Call { freight, alias, actor, reply } => {
                let _ = reply.send(self.call_freight(freight, alias, actor).await);
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
