//! What people answer to steps that wait for their approval.

use super::no_promotion;
use crate::engine::driver::Driver;
use crate::engine::report::shorten_to;
use crate::engine::requests::AnswerStep;
use crate::error::{Error, ErrorKind, Result};
use crate::promotion::Phase;
use crate::state::{Draft, EventKind, State, Task};

/// How many persons may answer one step.
const MAX_ANSWERS: usize = 1_000;
/// How much of what a person says to an answer, in bytes, is kept: answers can be changed as often as one likes.
const MESSAGE: usize = 500;

impl Driver {
    pub(super) async fn answer(&mut self, answer: AnswerStep) -> Result<()> {
        self.request(|state, _| Ok((answered(state, &answer)?.into_iter().collect(), ()))).await
    }
}

/// The event that an answer is. None when the same has been said already.
fn answered(state: &State, answer: &AnswerStep) -> Result<Option<Draft>> {
    let AnswerStep { promotion, step, actor, known, verdict, message } = answer;
    let refused = |message| Err(Error::new(ErrorKind::InvalidInput, message));
    let found = state.promotion(promotion).ok_or_else(|| no_promotion(promotion))?;
    if found.phase.is_terminal() {
        return refused(format!(
            "Promotion {promotion:?} has ended already, {}; it asks nobody any more.",
            found.phase
        ));
    }
    let turn = found.steps.iter().enumerate().find(|(_, step)| step.task.phase == Phase::Running);
    let asks = turn.and_then(|(index, at)| Some((index, at, at.task.demand()?)));
    let Some((index, at, demand)) = asks else {
        let what = turn.map_or_else(String::new, |(_, at)| format!("; step {:?} has its turn", at.alias));
        return refused(format!("No step of promotion {promotion:?} waits for approval{what}."));
    };
    if step.as_ref().is_some_and(|wanted| *wanted != at.alias) {
        let wanted = step.as_deref().unwrap_or_default();
        return refused(format!(
            "It is not step {wanted:?} of promotion {promotion:?} that waits for approval, but {:?}.",
            at.alias
        ));
    }
    let grounds = demand.grounds(known);
    if grounds.is_empty() {
        let asked: Vec<String> = demand.approvers.iter().map(|approver| approver.ground.to_string()).collect();
        let message = format!(
            "{actor} is none of those whom step {:?} of promotion {promotion:?} asks: {}.",
            at.alias,
            asked.join(", ")
        );
        return Err(Error::new(ErrorKind::PermissionDenied, message));
    }
    let message = shorten_to(MESSAGE, message.clone());
    let earlier = at.task.answers.iter().find(|known| known.actor == *actor);
    if earlier.is_some_and(|known| known.verdict == *verdict && known.grounds == grounds && known.message == message) {
        return Ok(None);
    }
    if earlier.is_none() && at.task.answers.len() >= MAX_ANSWERS {
        return refused(format!(
            "{MAX_ANSWERS} persons have answered step {:?} already, and no more are heard.",
            at.alias
        ));
    }
    let task = Task::Step { promotion: promotion.clone(), index };
    let kind = EventKind::StepAnswered { task, verdict: *verdict, grounds, message };
    Ok(Some(Draft::request(actor.clone(), kind)))
}
