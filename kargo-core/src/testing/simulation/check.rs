//! What must hold of a run.

use std::collections::{BTreeMap, BTreeSet};

use super::people::End;
use super::plugins::World;
use crate::decide::{admits, holds};
use crate::engine::read_journal;
use crate::pipeline::Pipeline;
use crate::promotion::Phase;
use crate::state::{Event, EventKind, State, Task, Trigger};
use crate::store::Store;

/// What happened in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many events the journal has.
    pub events: u64,
    /// How many promotions there were.
    pub promotions: usize,
    /// How many calls the plug-ins got.
    pub calls: usize,
    /// How often a process was killed, or died in an operation of the store.
    pub crashes: usize,
}

/// A rule that a run has broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {rule}. Run this seed again to see the same.")]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// The rule, and what broke it.
    pub rule: String,
}

pub(super) async fn check(
    seed: u64,
    pipeline: &Pipeline,
    world: &World,
    store: &dyn Store,
    end: End,
) -> Result<Report, Violation> {
    let broken = |rule: String| Violation { seed, rule };
    let events = read_journal(store, pipeline.name()).await.map_err(|error| broken(error.report()))?;
    let state = replay(pipeline, &events).map_err(broken)?;
    match &end.state {
        None => return Err(broken(format!("in fair weather everything ends, but not: {}", open(&state)))),
        Some(seen) if seen.seq() == state.seq() && *seen != state => {
            return Err(broken("the engine's state is not the fold of the journal".into()));
        }
        Some(_) => {}
    }
    let inner = world.lock();
    if let Some(wrong) = inner.wrongs.first() {
        return Err(broken(wrong.clone()));
    }
    calls(&events, &inner.calls.iter().map(|call| (call.key.as_str(), call.head)).collect::<Vec<_>>())
        .map_err(broken)?;
    for (task, finished) in finished(&events) {
        if let (Task::Step { .. }, Phase::Succeeded) = (&task, finished)
            && !inner.effects.contains_key(&task.key())
        {
            return Err(broken(format!("{task} is on record as succeeded, and its effect never happened")));
        }
    }
    Ok(Report {
        events: state.seq(),
        promotions: state.promotions().count(),
        calls: inner.calls.len(),
        crashes: end.crashes,
    })
}

fn open(state: &State) -> String {
    let open = state.promotions().filter(|promotion| {
        let verified = promotion.verifications.last().is_some_and(|last| last.phase.is_terminal());
        !promotion.phase.is_terminal() || (promotion.phase.is_success() && !verified)
    });
    open.map(|promotion| format!("{} is {}", promotion.id, promotion.phase)).collect::<Vec<_>>().join(", ")
}

/// Folds the journal, and looks at each event in the state that it met.
fn replay(pipeline: &Pipeline, events: &[Event]) -> Result<State, String> {
    let mut state = State::new();
    let mut tasks: BTreeMap<Task, bool> = BTreeMap::new();
    for event in events {
        let seq = event.seq;
        match &event.kind {
            EventKind::FreightFound { freight, .. } if state.freight_by_id(freight.id()).is_some() => {
                return Err(format!("event {seq}: freight {} was found twice", freight.id()));
            }
            EventKind::PromotionRequested { promotion, stage, freight, trigger, .. } => {
                if state.promotion(promotion).is_some() {
                    return Err(format!("event {seq}: promotion {promotion} was requested twice"));
                }
                if !admits(pipeline, &state, stage, freight, event.at) {
                    return Err(format!(
                        "event {seq}: freight {freight} was requested for {stage} and may not enter it"
                    ));
                }
                let known = state.stage(stage);
                if *trigger == Trigger::Automatic
                    && known.is_some_and(|known| {
                        !known.is_idle() || !holds(&state, known).is_empty() && held(&state, known, freight)
                    })
                {
                    return Err(format!("event {seq}: an automatic promotion to {stage} while it was busy or held"));
                }
            }
            EventKind::PromotionStarted { promotion } => {
                let found =
                    state.promotion(promotion).ok_or(format!("event {seq}: {promotion} was never requested"))?;
                let busy =
                    state.stage(&found.stage).is_some_and(|stage| stage.running.is_some() || stage.verifying.is_some());
                if busy {
                    return Err(format!("event {seq}: {promotion} started while another was under way"));
                }
                if !admits(pipeline, &state, &found.stage, &found.freight, event.at) {
                    return Err(format!("event {seq}: unqualified freight entered {} by {promotion}", found.stage));
                }
            }
            EventKind::TaskStarted { task } => {
                let running = state.promotion(task.promotion()).is_some_and(|found| match task {
                    Task::Step { .. } => found.phase == Phase::Running,
                    Task::Verifier { .. } => found.phase.is_success(),
                });
                if !running || tasks.insert(task.clone(), false).is_some() {
                    return Err(format!("event {seq}: {task} started twice, or out of turn"));
                }
            }
            EventKind::TaskFinished { task, .. } => match tasks.insert(task.clone(), true) {
                Some(false) => {}
                _ => return Err(format!("event {seq}: {task} ended twice, or without a start")),
            },
            _ => {}
        }
        state.apply(event).map_err(|error| error.to_string())?;
    }
    Ok(state)
}

fn held(state: &State, stage: &crate::state::StageState, freight: &crate::FreightId) -> bool {
    let origin = state.freight_by_id(freight).map(|known| known.freight().origin().clone());
    origin.is_some_and(|origin| holds(state, stage).contains_key(&origin))
}

fn finished(events: &[Event]) -> Vec<(Task, Phase)> {
    let finished = events.iter().filter_map(|event| match &event.kind {
        EventKind::TaskFinished { task, phase, .. } => Some((task.clone(), *phase)),
        _ => None,
    });
    finished.collect()
}

/// A call comes after its start is on record, and not after its end is.
fn calls(events: &[Event], calls: &[(&str, u64)]) -> Result<(), String> {
    let mut spans: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for event in events {
        match &event.kind {
            EventKind::TaskStarted { task } => {
                spans.insert(task.key(), (event.seq, u64::MAX));
            }
            EventKind::TaskFinished { task, .. } => {
                spans.entry(task.key()).and_modify(|span| span.1 = event.seq);
            }
            _ => {}
        }
    }
    let mut unknown = BTreeSet::new();
    for (key, head) in calls {
        match spans.get(*key) {
            Some((start, end)) if start <= head && head < end => {}
            Some(_) => return Err(format!("{key} was called before its start or after its end was on record")),
            None => {
                unknown.insert(*key);
            }
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(format!("called, and never started: {unknown:?}")) }
}
