//! What must hold of a run.

use std::collections::{BTreeMap, BTreeSet};

use super::incremental;
use super::people::End;
use super::plugins::World;
use crate::decide::{admits, candidate, holds};
use crate::engine::read_journal;
use crate::name::{FreightId, PipelineName, StageName};
use crate::pipeline::Pipeline;
use crate::promotion::Phase;
use crate::state::{Event, EventKind, State, StepState, Task, Trigger};
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
    pipeline: &PipelineName,
    world: &World,
    store: &dyn Store,
    end: End,
) -> Result<Report, Violation> {
    let broken = |rule: String| Violation { seed, rule };
    let events = read_journal(store, pipeline).await.map_err(|error| broken(error.report()))?;
    let state = replay(&events).map_err(broken)?;
    incremental::check(&events).map_err(broken)?;
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
    let open = state.promotions().filter(|promotion| state.is_open(promotion));
    open.map(|promotion| format!("{} is {}", promotion.id, promotion.phase)).collect::<Vec<_>>().join(", ")
}

/// Folds the journal, and looks at each event in the state that it met.
fn replay(events: &[Event]) -> Result<State, String> {
    let mut state = State::new();
    let mut tasks: BTreeMap<Task, bool> = BTreeMap::new();
    for event in events {
        let seq = event.seq;
        let defined = state.pipeline().cloned();
        let admits = |stage, freight| defined.as_ref().is_some_and(|p| admits(p, &state, stage, freight, event.at));
        match &event.kind {
            EventKind::FreightFound { freight, .. } if state.freight_by_id(freight.id()).is_some() => {
                return Err(format!("event {seq}: freight {} was found twice", freight.id()));
            }
            EventKind::PromotionRequested { promotion, stage, freight, trigger, .. } => {
                if state.promotion(promotion).is_some() {
                    return Err(format!("event {seq}: promotion {promotion} was requested twice"));
                }
                if !admits(stage, freight) {
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
                if *trigger == Trigger::Rollback && known.is_none_or(|known| !known.is_idle()) {
                    return Err(format!("event {seq}: {stage} went back by itself while it was busy"));
                }
                if *trigger == Trigger::Automatic
                    && defined.as_ref().is_some_and(|p| !selected(p, &state, stage, freight, event))
                {
                    return Err(format!("event {seq}: {freight} is not what {stage} would take by itself"));
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
                if !admits(&found.stage, &found.freight) {
                    return Err(format!("event {seq}: unqualified freight entered {} by {promotion}", found.stage));
                }
            }
            EventKind::HealthChanged { stage, promotion, .. } => {
                let known = state.stage(stage);
                let current = known.filter(|known| known.running.is_none()).and_then(|known| known.history.front());
                if current != Some(promotion) {
                    return Err(format!(
                        "event {seq}: health in {stage} by {promotion}, which does not run there undisturbed"
                    ));
                }
                if defined.as_ref().and_then(|p| p.stage(stage)).is_none_or(|stage| stage.health_watch().is_none()) {
                    return Err(format!("event {seq}: health in {stage}, which is not watched"));
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
                if let Some(why) = out_of_place(&state, task) {
                    return Err(format!("event {seq}: {task} started {why}"));
                }
            }
            EventKind::TaskFinished { task, phase, .. } => match tasks.insert(task.clone(), true) {
                Some(false) => {}
                // What is left out was never begun.
                None if *phase == Phase::Skipped => {}
                _ => return Err(format!("event {seq}: {task} ended twice, or without a start")),
            },
            EventKind::PromotionFinished { promotion, phase: Phase::Succeeded, .. } => {
                let steps = state.promotion(promotion).into_iter().flat_map(|found| &found.steps);
                if let Some(bad) =
                    steps.into_iter().find(|step| !step.task.phase.is_success() && !step.spec.continue_on_error)
                {
                    return Err(format!(
                        "event {seq}: {promotion} succeeded though {} is {}",
                        bad.alias, bad.task.phase
                    ));
                }
            }
            EventKind::VerificationFinished { promotion, phase: Phase::Succeeded, .. } => {
                let last = state.promotion(promotion).and_then(|found| found.verifications.last());
                let mut verifiers = last.into_iter().flat_map(|last| &last.verifiers);
                if let Some(bad) = verifiers.find(|verifier| !verifier.task.phase.is_success()) {
                    return Err(format!(
                        "event {seq}: {promotion} was verified though a verifier is {}",
                        bad.task.phase
                    ));
                }
            }
            _ => {}
        }
        state.apply(event).map_err(|error| error.to_string())?;
    }
    Ok(state)
}

/// Whether freight is what the stage would take by itself.
fn selected(pipeline: &Pipeline, state: &State, stage: &StageName, freight: &FreightId, event: &Event) -> bool {
    let origin = state.freight_by_id(freight).map(|known| known.freight().origin());
    let (Some(stage), Some(origin)) = (pipeline.stage(stage), origin) else { return false };
    candidate(pipeline, state, stage, origin, event.at).is_some_and(|candidate| candidate.id() == freight)
}

/// Why a task must not start now, if it must not.
fn out_of_place(state: &State, task: &Task) -> Option<&'static str> {
    let promotion = state.promotion(task.promotion())?;
    if state.task(task)?.aborted {
        return Some("after an abort");
    }
    let bad = |step: &StepState| !step.task.phase.is_success() && !step.spec.continue_on_error;
    match task {
        Task::Step { index, .. } => {
            let before = &promotion.steps[..*index];
            if before.iter().any(|step| !step.task.phase.is_terminal()) {
                return Some("before the step before it had ended");
            }
            let usual = promotion.steps[*index].spec.condition.is_none();
            (usual && before.iter().any(bad)).then_some("after a failure")
        }
        Task::Verifier { attempt, index, .. } => {
            let verifiers = &promotion.verifications.get(*attempt)?.verifiers;
            let group = (0..=*index).rev().find(|place| *place == 0 || !verifiers[*place].spec.with_previous)?;
            let passed = verifiers[..group].iter().all(|verifier| verifier.task.phase.is_success());
            (!passed).then_some("before those before it had passed")
        }
    }
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
