//! Deciding until there is nothing more to decide.

use std::collections::BTreeSet;

use super::calls::Call;
use super::driver::Driver;
use crate::decide::{Action, decide_stage};
use crate::error::Result;
use crate::name::StageName;
use crate::state::{Draft, EventKind, State};

impl Driver {
    /// Decides on every marked stage, appends what follows, and begins the calls that are due, until nothing is marked.
    pub(super) async fn settle(&mut self) -> Result<()> {
        if self.behind {
            self.catch_up().await?;
        }
        while !self.dirty.is_empty() {
            let stages = std::mem::take(&mut self.dirty);
            let now = self.shared.clock.now();
            // What is decided together is appended together, so a stage must not be decided on a state that what comes before
            // it in the batch is about to change.
            let (actions, put_off) = self.shared.read(|state| {
                let mut actions: Vec<Action> = Vec::new();
                let mut put_off: BTreeSet<StageName> = BTreeSet::new();
                let mut reached: BTreeSet<StageName> = BTreeSet::new();
                let Some(pipeline) = state.pipeline() else { return (actions, put_off) };
                for stage in &downstream_first(state, &stages) {
                    if reached.contains(stage) {
                        put_off.insert(stage.clone());
                        continue;
                    }
                    let first = actions.len();
                    actions.extend(decide_stage(pipeline, state, stage, now));
                    if actions[first..].iter().any(reaches_others) {
                        reached.extend(state.reached_from(stage));
                    }
                }
                (actions, put_off)
            });
            stages.iter().filter(|stage| !put_off.contains(*stage)).for_each(|stage| self.clear_timer(stage));
            self.dirty.extend(put_off);
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
        self.observe_where_due();
        Ok(())
    }

    pub(super) fn is_in_flight(&self, call: &Call) -> bool {
        match call {
            Call::Task(task) | Call::Stopping { task, .. } => self.in_flight.contains_key(task),
            Call::Look(warehouse) => self.polls.get(warehouse).is_some_and(|poll| poll.is_looking()),
            Call::Observe(stage) => self.watches.is_looking(stage),
        }
    }
}

/// `stages` with those downstream first: what they decide changes nothing upstream, while an upstream stage that begins again at
/// once would leave those behind it nothing to match, every time.
fn downstream_first(state: &State, stages: &BTreeSet<StageName>) -> Vec<StageName> {
    let mut order = Vec::with_capacity(stages.len());
    let mut seen: BTreeSet<&StageName> = BTreeSet::new();
    for stage in stages {
        let mut open = vec![(stage, false)];
        while let Some((stage, after)) = open.pop() {
            if after {
                order.push(stage.clone());
            } else if seen.insert(stage) {
                open.push((stage, true));
                let reached = if stages.len() > 1 { state.reached_from(stage) } else { Vec::new() };
                open.extend(reached.iter().filter_map(|next| Some((stages.get(next)?, false))));
            }
        }
    }
    order
}

/// Whether what is recorded can change decisions on other stages than its own.
fn reaches_others(action: &Action) -> bool {
    matches!(
        action,
        Action::Record(Draft {
            kind: EventKind::PromotionStarted { .. }
                | EventKind::PromotionFinished { .. }
                | EventKind::VerificationFinished { .. }
                | EventKind::FreightPassed { .. },
            ..
        })
    )
}
