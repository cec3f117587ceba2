//! Steps and verifiers.

use jiff::Timestamp;

use crate::approval::Answer;
use crate::name::StageName;
use crate::promotion::Phase;
use crate::state::State;
use crate::state::event::{EventKind, Task};
use crate::state::promotion::TaskState;

impl State {
    pub(super) fn task_mut(&mut self, task: &Task) -> Option<(StageName, &mut TaskState)> {
        let promotion = self.promotions.get_mut(task.promotion())?;
        let stage = promotion.stage.clone();
        let state = promotion.task_mut(task)?;
        Some((stage, state))
    }
}

impl TaskState {
    /// Takes an answer in place of the same person's last.
    pub(super) fn answer(&mut self, answer: Answer) {
        // What it could not look at last says nothing of what there is to see now.
        self.retry_at = None;
        self.answers.retain(|known| known.actor != answer.actor);
        self.answers.push(answer);
    }

    /// What an event of the task changes.
    pub(super) fn change(&mut self, event: &EventKind, at: Timestamp) {
        match event {
            EventKind::TaskStarted { .. } => {
                self.started_at = Some(at);
                self.phase = Phase::Running;
            }
            EventKind::TaskWaiting { reason, state, .. } => {
                self.message.clone_from(reason);
                self.state.clone_from(state);
                self.waiting = true;
                // Errors count in a row: an answer ends the row.
                self.errors = 0;
                self.retry_at = None;
            }
            EventKind::TaskErrored { reason, retry_at, .. } => {
                self.errors += 1;
                self.message.clone_from(reason);
                self.retry_at = Some(*retry_at);
            }
            EventKind::TaskFinished { phase, message, outputs, config_digest, .. } => {
                self.finished_at = Some(at);
                self.phase = *phase;
                self.message.clone_from(message);
                self.outputs.clone_from(outputs);
                self.config_digest.clone_from(config_digest);
                self.retry_at = None;
            }
            _ => {}
        }
    }
}
