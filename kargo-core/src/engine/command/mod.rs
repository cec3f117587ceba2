//! What hosts ask of an engine.

mod answer;
mod freight;
mod promotion;
mod verification;
mod warehouse;

use tokio::sync::oneshot;

use super::driver::Driver;
use crate::actor::Actor;
use crate::engine::requests::{AnswerStep, Promote, Rollback};
use crate::error::{Error, ErrorKind, Result};
use crate::freight::Choice;
use crate::name::{FreightId, PipelineName, PromotionId, StageName, WarehouseName, near_match};
use crate::pipeline::Pipeline;
use crate::promotion::Phase;
use crate::state::{Draft, State};
use crate::warehouse::Discovered;

pub(super) use freight::alias_set;
pub use promotion::PromoteError;
pub(super) use promotion::no_promotion;

#[derive(Debug)]
pub(super) enum Command {
    Promote {
        promote: Promote,
        reply: oneshot::Sender<Result<PromotionId, PromoteError>>,
    },
    Rollback {
        rollback: Rollback,
        reply: oneshot::Sender<Result<PromotionId, PromoteError>>,
    },
    /// Holds with a reason, releases without.
    Hold {
        stage: StageName,
        origin: WarehouseName,
        reason: Option<String>,
        actor: Actor,
        reply: oneshot::Sender<Result<()>>,
    },
    VerifyAgain {
        stage: StageName,
        actor: Actor,
        reply: oneshot::Sender<Result<PromotionId>>,
    },
    Judge {
        promotion: PromotionId,
        phase: Phase,
        reason: String,
        actor: Actor,
        reply: oneshot::Sender<Result<()>>,
    },
    Abort {
        promotion: PromotionId,
        actor: Actor,
        reply: oneshot::Sender<Result<()>>,
    },
    Answer {
        answer: AnswerStep,
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
            Self::Promote { reply, .. } | Self::Rollback { reply, .. } => reply.send(Err(error.into())).is_ok(),
            Self::VerifyAgain { reply, .. } => reply.send(Err(error)).is_ok(),
            Self::Abort { reply, .. }
            | Self::Answer { reply, .. }
            | Self::Approve { reply, .. }
            | Self::Hold { reply, .. }
            | Self::Judge { reply, .. }
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
            Command::Promote { promote, reply } => {
                let _ = reply.send(self.promote(promote).await);
            }
            Command::Rollback { rollback, reply } => {
                let _ = reply.send(self.rollback(rollback).await);
            }
            Command::Hold { stage, origin, reason, actor, reply } => {
                let _ = reply.send(self.hold(stage, origin, reason, actor).await);
            }
            Command::VerifyAgain { stage, actor, reply } => {
                let _ = reply.send(self.verify_again(stage, actor).await);
            }
            Command::Judge { promotion, phase, reason, actor, reply } => {
                let _ = reply.send(self.judge(promotion, phase, reason, actor).await);
            }
            Command::Abort { promotion, actor, reply } => {
                let _ = reply.send(self.abort(promotion, actor).await);
            }
            Command::Answer { answer, reply } => {
                let _ = reply.send(self.answer(answer).await);
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
        mut draft: impl FnMut(&State, jiff::Timestamp) -> Result<(Vec<Draft>, T), E>,
    ) -> Result<T, E> {
        let mut tries = 0;
        loop {
            tries += 1;
            let now = self.shared.clock.now();
            let (drafts, answer) = self.shared.read(|state| draft(state, now))?;
            if drafts.is_empty() && !self.behind {
                return Ok(answer);
            }
            match self.append(drafts).await {
                Ok(()) => return Ok(answer),
                // Has the lease looked at, too.
                Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES && self.lease.is_some() => {
                    self.note(Err(error)).await;
                }
                Err(error) => {
                    // Whoever asked has the error; others must not believe that all is well.
                    if self.unwritable {
                        self.trouble(Some(error.report()));
                    }
                    return Err(error.into());
                }
            }
        }
    }
}

pub(super) fn undefined(name: &PipelineName) -> Error {
    Error::new(ErrorKind::Other, format!("Pipeline {name:?} has no definition in its journal; start its engine again."))
}

/// The error of a request that names a stage which is not there.
fn no_stage(pipeline: &Pipeline, stage: &StageName) -> Error {
    let near = near_match(stage.as_str(), pipeline.stages().map(|stage| stage.name().as_str()));
    let hint = near.map_or_else(String::new, |near| format!(" Did you mean {near:?}?"));
    Error::new(ErrorKind::NotFound, format!("There is no stage {stage:?} in pipeline {:?}.{hint}", pipeline.name()))
}
