//! Deciding until there is nothing more to decide.

use super::calls::Call;
use super::driver::Driver;
use crate::decide::{Action, decide_stage};
use crate::error::{ErrorKind, Result};
use crate::state::Draft;

impl Driver {
    /// Decides on every marked stage, appends what follows, and begins the calls that are due, until nothing is marked.
    pub(super) async fn settle(&mut self) -> Result<()> {
        if self.behind {
            self.catch_up().await?;
        }
        while !self.dirty.is_empty() {
            let stages = std::mem::take(&mut self.dirty);
            let now = self.shared.clock.now();
            let actions: Vec<Action> = self.shared.read(|state| {
                let pipeline = state.pipeline();
                let decided = pipeline
                    .into_iter()
                    .flat_map(|pipeline| stages.iter().flat_map(|stage| decide_stage(pipeline, state, stage, now)));
                decided.collect()
            });
            stages.iter().for_each(|stage| self.clear_timer(stage));
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
                if error.kind() != ErrorKind::Conflict || self.lease.is_none() {
                    return Err(error);
                }
                // Another engine appended: it is only right when that one has our lease's right, which the next renewal shows.
                self.check_lease().await?;
            }
        }
        self.look_where_due();
        Ok(())
    }

    /// After a conflict: whether the pipeline is still ours to drive.
    async fn check_lease(&mut self) -> Result<()> {
        let Some(lease) = &self.lease else { return Ok(()) };
        self.shared.store.renew_lease(lease, self.options.lease).await
    }

    pub(super) fn is_in_flight(&self, call: &Call) -> bool {
        match call {
            Call::Task(task) | Call::Stopping { task, .. } => self.in_flight.contains_key(task),
            Call::Look(warehouse) => self.polls.get(warehouse).is_some_and(|poll| poll.is_looking()),
        }
    }
}
