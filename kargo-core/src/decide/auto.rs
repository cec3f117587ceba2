//! What stages do without being asked: automatic promotion, and the passing of freight through control-flow stages.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::admission::{admits, available, opens_at};
use super::gate::{Gate, GateKind};
use super::{Action, promotion_id};
use crate::freight::Freight;
use crate::name::{FreightId, PromotionId, WarehouseName};
use crate::pipeline::Pipeline;
use crate::stage::Stage;
use crate::state::{Draft, EventKind, Hold, HoldChange, StageState, State, Trigger};

/// The freight of `origin` that `stage` would take by itself: the newest that may enter.
pub fn candidate<'a>(
    pipeline: &Pipeline,
    state: &'a State,
    stage: &Stage,
    origin: &WarehouseName,
    now: Timestamp,
) -> Option<&'a Freight> {
    let mut newest_first = state.newest_first(origin).map(|known| known.freight());
    newest_first.find(|freight| admits(pipeline, state, stage.name(), freight.id(), now))
}

/// What a person's promotion of `freight` to `stage` means for automatic promotions there: choosing what the rule would
/// choose lets them go on, choosing anything else holds them.
pub fn hold_change(pipeline: &Pipeline, state: &State, stage: &Stage, freight: &Freight, now: Timestamp) -> HoldChange {
    if !stage.auto_promotes() {
        return HoldChange::None;
    }
    match candidate(pipeline, state, stage, freight.origin(), now) {
        Some(candidate) if candidate.id() == freight.id() => HoldChange::Resume,
        _ => HoldChange::Hold,
    }
}

/// The holds that are in force in a stage: those on record, and those of promotions that have not ended yet.
pub fn holds(state: &State, stage: &StageState) -> BTreeMap<WarehouseName, Hold> {
    let mut holds = stage.holds.clone();
    for promotion in stage.running.iter().chain(&stage.queue).filter_map(|id| state.promotion(id)) {
        if promotion.hold == HoldChange::Hold
            && let Some(known) = state.freight_by_id(&promotion.freight)
        {
            let hold = Hold {
                freight: promotion.freight.clone(),
                promotion: promotion.id.clone(),
                actor: promotion.actor.clone(),
                at: promotion.requested_at,
            };
            holds.insert(known.freight().origin().clone(), hold);
        }
    }
    holds
}

/// Whether `stage` would take `freight` by itself, gate by gate. The same gates decide.
pub(super) fn gates(pipeline: &Pipeline, state: &State, stage: &Stage, freight: &Freight, now: Timestamp) -> Vec<Gate> {
    let empty = StageState::default();
    let known = state.stage(stage.name()).unwrap_or(&empty);
    let origin = freight.origin();
    let holds = holds(state, known);
    let newest = candidate(pipeline, state, stage, origin, now).map(|newest| newest.id().clone());
    let held = holds.get(origin).map(|hold| (hold.freight.clone(), hold.actor.clone()));
    let failed = last_failure(state, known, freight.id());
    let busy = busy(known);
    vec![
        Gate::required(GateKind::Automatic, stage.auto_promotes()),
        Gate::required(GateKind::Newest { newest: newest.clone() }, newest.as_ref() == Some(freight.id())),
        Gate::required(GateKind::NotCurrent, known.current.get(origin) != Some(freight.id())),
        Gate::required(GateKind::NotHeld { by: held.clone() }, held.is_none()),
        Gate::required(GateKind::NotFailed { last: failed.clone() }, failed.is_none()),
        Gate::required(GateKind::Free { busy: busy.map(|id| format!("promotion {id}")) }, busy.is_none()),
    ]
}

fn busy(stage: &StageState) -> Option<&PromotionId> {
    stage.running.as_ref().or(stage.verifying.as_ref()).or(stage.queue.front())
}

/// How the last promotion of `freight` ended, when it did not end well. CORE-11: it is not tried again by itself.
fn last_failure(state: &State, stage: &StageState, freight: &FreightId) -> Option<String> {
    let last = state.promotion(stage.attempts.get(freight)?)?;
    (!last.phase.is_success()).then(|| last.phase.to_string())
}

/// At most one automatic promotion for each warehouse, and only while nothing else is under way: what is newest is decided
/// when the stage is free, so that a backlog never builds up.
pub(super) fn decide_automatic(
    pipeline: &Pipeline,
    state: &State,
    stage: &Stage,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    if !stage.auto_promotes() {
        return;
    }
    let empty = StageState::default();
    let known = state.stage(stage.name()).unwrap_or(&empty);
    let holds = holds(state, known);
    let mut chosen: Vec<&Freight> = Vec::new();
    for request in stage.requests() {
        let origin = &request.origin;
        if holds.contains_key(origin) {
            continue;
        }
        wake_for_soak(pipeline, state, stage, origin, now, actions);
        let Some(newest) = candidate(pipeline, state, stage, origin, now) else { continue };
        if known.current.get(origin) == Some(newest.id()) || last_failure(state, known, newest.id()).is_some() {
            continue;
        }
        // The newest that may enter can be older than what runs, when that has lost its qualification upstream. Going back
        // is a person's choice.
        let runs = known.current.get(origin).and_then(|id| state.freight_by_id(id));
        if runs.is_some_and(|runs| age(runs.freight()) > age(newest)) {
            continue;
        }
        chosen.push(newest);
    }
    // The warehouse that has waited longest for its turn is next: one that has something new whenever the stage is free must
    // not keep the others out.
    let next = match chosen.as_slice() {
        [] => return,
        [only] => *only,
        several => {
            let turns = last_turns(state, known);
            let Some(next) = several.iter().min_by_key(|freight| turns.get(freight.origin())) else { return };
            *next
        }
    };
    let id = promotion_id(pipeline.name(), state.seq(), stage.name(), next.id(), now);
    actions.push(Action::Record(Draft::rule(EventKind::PromotionRequested {
        promotion: id,
        stage: stage.name().clone(),
        freight: next.id().clone(),
        trigger: Trigger::Automatic,
        steps: stage.steps().to_vec(),
        verification: stage.verification().to_vec(),
        hold: HoldChange::None,
    })));
}

/// When a promotion of each warehouse's freight to the stage ended last, however it ended.
fn last_turns<'a>(state: &'a State, stage: &StageState) -> BTreeMap<&'a WarehouseName, Option<Timestamp>> {
    let mut turns = BTreeMap::new();
    for promotion in stage.attempts.values().filter_map(|id| state.promotion(id)) {
        if let Some(known) = state.freight_by_id(&promotion.freight) {
            let turn = turns.entry(known.freight().origin()).or_insert(promotion.finished_at);
            *turn = promotion.finished_at.max(*turn);
        }
    }
    turns
}

fn age(freight: &Freight) -> (Timestamp, &FreightId) {
    (freight.discovered_at(), freight.id())
}

/// Soaking ends without an event, so it needs a timer.
fn wake_for_soak(
    pipeline: &Pipeline,
    state: &State,
    stage: &Stage,
    origin: &WarehouseName,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    if stage.request_for(origin).is_none_or(|request| request.required_soak.is_none()) {
        return;
    }
    if let Some(at) = state.newest_first(origin).filter_map(|known| opens_at(pipeline, state, stage, known, now)).min()
    {
        actions.push(Action::Wake { stage: stage.name().clone(), at });
    }
}

/// CORE-14: freight passes through a stage without steps as soon as it is available to it.
pub(super) fn decide_control_flow(
    pipeline: &Pipeline,
    state: &State,
    stage: &Stage,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    for request in stage.requests() {
        wake_for_soak(pipeline, state, stage, &request.origin, now, actions);
        for known in state.newest_first(&request.origin) {
            if !known.verified().contains_key(stage.name())
                && available(pipeline, state, stage, known, now, &mut |_| {})
            {
                let (freight, stage) = (known.freight().id().clone(), stage.name().clone());
                actions.push(Action::Record(Draft::rule(EventKind::FreightPassed { freight, stage })));
            }
        }
    }
}
