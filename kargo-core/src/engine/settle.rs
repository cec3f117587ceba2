//! Deciding until there is nothing more to decide.

use super::calls::Call;
use super::driver::Driver;
use crate::decide::{Action, decide_stage};
use crate::error::Result;
use crate::state::{Draft, EventKind};

impl Driver {
    /// Decides on every marked stage, appends what follows, and begins the calls that are due, until nothing is marked.
    pub(super) async fn settle(&mut self) -> Result<()> {
        if self.behind {
            self.catch_up().await?;
        }
        while !self.dirty.is_empty() {
            let stages = std::mem::take(&mut self.dirty);
            let now = self.shared.clock.now();
            let (actions, decided) = self.shared.read(|state| {
                let mut actions: Vec<Action> = Vec::new();
                let mut decided = 0;
                for stage in &stages {
                    let Some(pipeline) = state.pipeline() else { break };
                    actions.extend(decide_stage(pipeline, state, stage, now));
                    decided += 1;
                    // What takes a qualification away must be applied before another stage lets that freight in.
                    if actions.iter().any(takes_away) {
                        break;
                    }
                }
                (actions, decided)
            });
            self.dirty.extend(stages.iter().skip(decided).cloned());
            stages.iter().take(decided).for_each(|stage| self.clear_timer(stage));
            let mut drafts: Vec<Draft> = Vec::new();
            for action in actions {
                match action {
                    Action::Record(draft) => drafts.push(draft),
                    Action::Run { task, not_before } => self.run_task(task, not_before, now),
                    Action::Stop { task, phase, message } => self.stop_task(task, phase, message),
                    Action::Wake { stage, at } => self.set_timer(stage, at),
                }
            }
            if drafts.is_empty() {
                continue;
            }
            if let Err(error) = self.append(drafts).await {
                self.dirty.extend(stages);
                return Err(error);
            }
        }
        self.collect_if_due().await?;
        self.look_where_due();
        Ok(())
    }

    pub(super) fn is_in_flight(&self, call: &Call) -> bool {
        match call {
            Call::Task(task) | Call::Stopping { task, .. } => self.in_flight.contains_key(task),
            Call::Look(warehouse) => self.polls.get(warehouse).is_some_and(|poll| poll.is_looking()),
        }
    }
}

fn takes_away(action: &Action) -> bool {
    matches!(action, Action::Record(Draft { kind: EventKind::VerificationFinished { phase, .. }, .. }) if !phase.is_success())
}
