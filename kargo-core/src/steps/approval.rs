//! `wait-for-approval`.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::config::{self, POLL_INTERVAL};
use super::typed::Builtin;
use crate::approval::{Answer, Demand, Standing};
use crate::error::Result;
use crate::plugin::{Context, StepDefaults, StepOutcome, StepRequest};

/// How long people have, when the step's entry does not say: a week.
const TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug)]
pub(super) struct WaitForApproval;

#[async_trait]
impl Builtin for WaitForApproval {
    const USES: &'static str = "wait-for-approval";
    const CHANGES_FILES: bool = false;
    type Config = config::WaitForApproval;

    fn defaults(&self) -> StepDefaults {
        StepDefaults { timeout: TIMEOUT, ..StepDefaults::default() }
    }

    async fn run(
        &self,
        _: &Context,
        config: config::WaitForApproval,
        request: &StepRequest<'_>,
    ) -> Result<StepOutcome> {
        let check_after = config.poll_interval.map_or(POLL_INTERVAL, |span| span.0);
        let demand = Demand::from(config);
        Ok(match demand.standing(request.answers) {
            Standing::Granted => {
                let outputs = Map::from_iter([("responses".to_owned(), responses(request.answers))]);
                let persons: Vec<String> = request.answers.iter().map(|answer| answer.actor.to_string()).collect();
                StepOutcome::Succeeded { outputs, message: format!("approved by {}", persons.join(", ")) }
            }
            Standing::Rejected { actor, message } if message.is_empty() => {
                StepOutcome::Failed { reason: format!("{actor} has rejected it") }
            }
            Standing::Rejected { actor, message } => {
                StepOutcome::Failed { reason: format!("{actor} has rejected it: {message}") }
            }
            Standing::Open { waits_for } => {
                StepOutcome::Running { reason: waits_for, check_after, state: Some(demand.to_state()) }
            }
        })
    }
}

/// How many bytes of JSON the messages of all answers may take, so that many answers do not make more outputs than a step may have.
const MESSAGES: usize = 256 << 10;

/// The answers as an output. Messages are left out from the first that there is no room for.
fn responses(answers: &[Answer]) -> Value {
    let mut room = MESSAGES;
    let mut response = |answer: &Answer| {
        let message = Value::from(answer.message.as_str());
        let size = message.to_string().len();
        room = room.saturating_sub(size);
        json!({
            "user": answer.actor.as_str(),
            "action": answer.verdict.to_string(),
            "time": answer.at.to_string(),
            "message": if room > 0 { message } else { "".into() },
        })
    };
    answers.iter().map(&mut response).collect()
}
