//! What hosts ask of an engine. Each request returns once it is in the journal.

use tokio::sync::oneshot;

use super::command::{Command, PromoteError};
use super::{Engine, stopped};
use crate::actor::Actor;
use crate::approval::{Known, Verdict};
use crate::error::Result;
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::promotion::Phase;

/// A promotion to ask for.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is given to `Engine::promote_with`"]
pub struct Promote {
    pub(super) stage: StageName,
    pub(super) freight: FreightId,
    pub(super) actor: Actor,
    pub(super) reason: String,
    pub(super) supersede: bool,
}

impl Promote {
    /// Of `freight` to `stage`, asked for by `actor`.
    pub fn new(stage: impl Into<StageName>, freight: impl Into<FreightId>, actor: Actor) -> Self {
        let (stage, freight) = (stage.into(), freight.into());
        Self { stage, freight, actor, reason: String::new(), supersede: false }
    }

    /// Says why, for the audit trail.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Stops the promotions of the same warehouse's freight that are under way in the stage, are being verified, or wait
    /// there, and takes their place.
    pub fn superseding(mut self) -> Self {
        self.supersede = true;
        self
    }
}

/// A person's answer to a step that waits for approval.
///
/// The engine believes what the host says of the person: take claims and roles from their log-in, never from their request.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is given to `Engine::answer`"]
pub struct AnswerStep {
    pub(super) promotion: PromotionId,
    pub(super) step: Option<String>,
    pub(super) actor: Actor,
    pub(super) known: Known,
    pub(super) verdict: Verdict,
    pub(super) message: String,
}

impl AnswerStep {
    /// `actor` approves what the promotion's step asks that has its turn.
    pub fn approve(promotion: impl Into<PromotionId>, actor: Actor) -> Self {
        Self::new(promotion.into(), actor, Verdict::Approved)
    }

    /// `actor` rejects it: the step fails.
    pub fn reject(promotion: impl Into<PromotionId>, actor: Actor) -> Self {
        Self::new(promotion.into(), actor, Verdict::Rejected)
    }

    fn new(promotion: PromotionId, actor: Actor, verdict: Verdict) -> Self {
        Self { promotion, step: None, actor, known: Known::default(), verdict, message: String::new() }
    }

    /// Names the step by its alias: the answer is then for that one alone, and refused when another has its turn.
    pub fn step(mut self, alias: impl Into<String>) -> Self {
        self.step = Some(alias.into());
        self
    }

    /// Says what the person's log-in says of them, such as `email`. A claim with several values, such as `groups`, is given once for each.
    pub fn claim(mut self, claim: impl Into<String>, value: impl Into<String>) -> Self {
        self.known.claims.entry(claim.into()).or_default().insert(value.into());
        self
    }

    /// Says that the person has this role.
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.known.roles.insert(role.into());
        self
    }

    /// Says why, for the audit trail.
    pub fn because(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }
}

/// A rollback to ask for.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is given to `Engine::rollback_with`"]
pub struct Rollback {
    pub(super) stage: StageName,
    pub(super) origin: Option<WarehouseName>,
    pub(super) actor: Actor,
    pub(super) reason: String,
}

impl Rollback {
    /// Of `stage`, asked for by `actor`.
    pub fn new(stage: impl Into<StageName>, actor: Actor) -> Self {
        Self { stage: stage.into(), origin: None, actor, reason: String::new() }
    }

    /// The warehouse whose freight is to go back. Default: the one whose freight was promoted there last.
    pub fn of(mut self, warehouse: impl Into<WarehouseName>) -> Self {
        self.origin = Some(warehouse.into());
        self
    }

    /// Says why, for the audit trail.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }
}

impl Engine {
    /// Asks for a promotion of `freight` to `stage`. Returns once it is in the journal; it then waits for its turn.
    ///
    /// On a stage that promotes by itself, choosing other freight than it would take holds its automatic promotions, and choosing
    /// what it would take lets them go on.
    ///
    /// # Errors
    /// [`PromoteError::Refused`] with what is missing when the freight may not enter the stage;
    /// [`PromoteError::Failed`] when the journal could not be written.
    pub async fn promote(
        &self,
        stage: impl Into<StageName>,
        freight: impl Into<FreightId>,
        actor: Actor,
    ) -> Result<PromotionId, PromoteError> {
        self.promote_with(Promote::new(stage, freight, actor)).await
    }

    /// As [`Engine::promote`], in full.
    ///
    /// # Errors
    /// As for [`Engine::promote`].
    pub async fn promote_with(&self, promote: Promote) -> Result<PromotionId, PromoteError> {
        self.ask(|reply| Command::Promote { promote, reply }).await?
    }

    /// Takes `stage` back to the freight that it ran last, among what is verified there. A rollback is a promotion like any
    /// other: the freight must be allowed to enter, the same steps run, its result is verified, and it has its own record. It stops what
    /// is under way in the stage, or waits there, of that warehouse. On a stage that promotes by itself it holds automatic
    /// promotions until somebody moves on; stages that [match](crate::Selection::MatchUpstream) this one follow.
    ///
    /// # Errors
    /// [`PromoteError::Refused`] when that freight may not enter the stage any more; [`PromoteError::Failed`] with
    /// [`crate::ErrorKind::NotFound`] when there is no earlier freight that is verified there, or no such stage.
    pub async fn rollback(&self, stage: impl Into<StageName>, actor: Actor) -> Result<PromotionId, PromoteError> {
        self.rollback_with(Rollback::new(stage, actor)).await
    }

    /// As [`Engine::rollback`], in full.
    ///
    /// # Errors
    /// As for [`Engine::rollback`].
    pub async fn rollback_with(&self, rollback: Rollback) -> Result<PromotionId, PromoteError> {
        self.ask(|reply| Command::Rollback { rollback, reply }).await?
    }

    /// Asks to stop a promotion: one that waits never starts, one under way is stopped at its current step, and the verification of
    /// one that succeeded ends. What it has already changed elsewhere stays. Steps that run [always](crate::Condition::Always)
    /// still run, for cleaning up; asking once more stops those too.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such promotion, [`crate::ErrorKind::InvalidInput`] when it has ended.
    pub async fn abort(&self, promotion: &PromotionId, actor: Actor) -> Result<()> {
        let promotion = promotion.clone();
        self.ask(|reply| Command::Abort { promotion, actor, reply }).await?
    }

    /// Answers a step that waits for people's approval, such as `wait-for-approval`. The step looks at the answer at once. Until it has
    /// ended, a later answer of the same actor takes the place of the earlier one; the same answer again changes nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such promotion; [`crate::ErrorKind::InvalidInput`] when no step of it waits for
    /// approval; [`crate::ErrorKind::PermissionDenied`] when the actor is none of those who are asked.
    pub async fn answer(&self, answer: AnswerStep) -> Result<()> {
        self.ask(|reply| Command::Answer { answer, reply }).await?
    }

    /// Approves `freight` for `stage`, whatever else the stage demands of it. It must still ask for freight of that warehouse.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when one of the two does not exist.
    pub async fn approve(
        &self,
        freight: impl Into<FreightId>,
        stage: impl Into<StageName>,
        actor: Actor,
    ) -> Result<()> {
        let (stage, freight) = (stage.into(), freight.into());
        self.ask(|reply| Command::Approve { stage, freight, actor, reply }).await?
    }

    /// Holds the automatic promotions of `warehouse`'s freight to `stage` until they are released. What is under way goes on, and
    /// people may promote.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such stage, or it does not ask for that freight;
    /// [`crate::ErrorKind::InvalidInput`] when it does not promote by itself.
    pub async fn hold(
        &self,
        stage: impl Into<StageName>,
        warehouse: impl Into<WarehouseName>,
        actor: Actor,
        reason: impl Into<String>,
    ) -> Result<()> {
        let (stage, origin, reason) = (stage.into(), warehouse.into(), Some(reason.into()));
        self.ask(|reply| Command::Hold { stage, origin, reason, actor, reply }).await?
    }

    /// Lets the automatic promotions of `warehouse`'s freight to `stage` go on, whatever held them.
    ///
    /// # Errors
    /// As for [`Engine::hold`]; [`crate::ErrorKind::InvalidInput`] when nothing holds them.
    pub async fn release(
        &self,
        stage: impl Into<StageName>,
        warehouse: impl Into<WarehouseName>,
        actor: Actor,
    ) -> Result<()> {
        let (stage, origin) = (stage.into(), warehouse.into());
        self.ask(|reply| Command::Hold { stage, origin, reason: None, actor, reply }).await?
    }

    /// Has what `stage` runs verified once more, by the verifiers that it has now. Freight that fails is no longer verified
    /// there. Returns the promotion whose result is verified, which [`Engine::finished`] waits for.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when the stage does not exist or runs nothing; [`crate::ErrorKind::InvalidInput`] while it is
    /// being promoted or verified.
    pub async fn verify_again(&self, stage: impl Into<StageName>, actor: Actor) -> Result<PromotionId> {
        let stage = stage.into();
        self.ask(|reply| Command::VerifyAgain { stage, actor, reply }).await?
    }

    /// Decides what a verification could not find out, when it ended inconclusive, by an error, or was aborted: `phase` is
    /// [`Phase::Succeeded`] or [`Phase::Failed`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such promotion; [`crate::ErrorKind::InvalidInput`] when its verification has
    /// not ended so, for another phase, or when the stage has been promoted since.
    pub async fn judge(
        &self,
        promotion: &PromotionId,
        phase: Phase,
        actor: Actor,
        reason: impl Into<String>,
    ) -> Result<()> {
        let (promotion, reason) = (promotion.clone(), reason.into());
        self.ask(|reply| Command::Judge { promotion, phase, reason, actor, reply }).await?
    }

    /// Has `warehouse` look now, rather than when its interval is over. Returns at once.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when there is no such warehouse.
    pub async fn refresh(&self, warehouse: impl Into<WarehouseName>) -> Result<()> {
        let warehouse = warehouse.into();
        self.ask(|reply| Command::Refresh { warehouse, reply }).await?
    }

    pub(super) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let stopped = || stopped(&self.shared.name);
        self.commands.send(Box::new(command(reply))).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }
}
