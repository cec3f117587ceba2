//! What stages do without being asked: automatic promotion, and the passing of freight through control-flow stages.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::admission::{admits, available, opens_at};
use super::gate::{Gate, GateKind};
use super::{Action, at_once, promotion_id};
use crate::freight::Freight;
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::pipeline::Pipeline;
use crate::promotion::Phase;
use crate::stage::{Condition, FreightRequest, Selection, Stage};
use crate::state::{Draft, EventKind, Hold, HoldChange, Promotion, StageState, State, StepState, Trigger};

/// The freight of `origin` that `stage` would take by itself: the newest that may enter, or what its upstream stage runs.
pub fn candidate<'a>(
    pipeline: &Pipeline,
    state: &'a State,
    stage: &Stage,
    origin: &WarehouseName,
    now: Timestamp,
) -> Option<&'a Freight> {
    let admitted = |freight: &&Freight| admits(pipeline, state, stage.name(), freight.id(), now);
    if let Some(upstream) = followed(stage, origin) {
        let upstream = state.stage(upstream)?;
        if upstream.running.is_some() || upstream.verifying.is_some() {
            // Between two states there is nothing to match.
            return None;
        }
        return Some(state.freight_by_id(upstream.current.get(origin)?)?.freight()).filter(admitted);
    }
    state.newest_first(origin).map(|known| known.freight()).find(admitted)
}

/// The upstream stage that `stage` matches for freight of `origin`, if it does.
fn followed<'a>(stage: &'a Stage, origin: &WarehouseName) -> Option<&'a StageName> {
    let request = stage.request_for(origin)?;
    if request.selection == Selection::MatchUpstream { request.stages.first() } else { None }
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
        // A choice that waits and was taken back holds nothing.
        let taken_back = promotion.phase == Phase::Pending && promotion.abort.is_some();
        if promotion.hold == HoldChange::Hold
            && !taken_back
            && let Some(known) = state.freight_by_id(&promotion.freight)
        {
            let on_record = holds.entry(known.freight().origin().clone());
            on_record.or_insert_with(|| promotion.as_hold(promotion.requested_at));
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
    let held = holds.get(origin).cloned();
    let failed = last_failure(state, known, freight.id());
    let busy = busy(known);
    vec![
        Gate::required(GateKind::Automatic, stage.auto_promotes()),
        Gate::required(
            GateKind::Selected { selected: newest.clone(), upstream: followed(stage, origin).cloned() },
            newest.as_ref() == Some(freight.id()),
        ),
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
    if last.phase == Phase::Aborted && last.abort.as_ref().is_some_and(|abort| abort.actor.is_engine()) {
        // The rule's own abort made room for other freight; it is no verdict.
        return None;
    }
    if !last.phase.is_success() {
        return Some(last.phase.to_string());
    }
    let verification = last.verifications.last()?;
    (verification.phase == Phase::Failed).then(|| format!("{} and its verification {}", last.phase, verification.phase))
}

/// Whether what the stage would take of `origin` is worth a promotion: it is not there yet, has not failed, and is not older
/// than what is there.
fn is_wanted(state: &State, stage: &Stage, known: &StageState, chosen: &Freight) -> bool {
    let origin = chosen.origin();
    if known.current.get(origin) == Some(chosen.id()) || last_failure(state, known, chosen.id()).is_some() {
        return false;
    }
    // The newest that may enter can be older than what runs, when that has lost its qualification upstream. Going back
    // is a person's choice; a stage that matches another one follows that choice.
    let runs = known.current.get(origin).and_then(|id| state.freight_by_id(id));
    followed(stage, origin).is_some() || runs.is_none_or(|runs| age(runs.freight()) <= age(chosen))
}

/// The end of an automatic promotion under way, when the stage wants newer freight in its place at once.
pub(super) fn superseded(
    pipeline: &Pipeline,
    state: &State,
    running: &Promotion,
    now: Timestamp,
    actions: &mut Vec<Action>,
) -> Option<Draft> {
    let stage = pipeline.stage(&running.stage).filter(|stage| stage.supersedes() && stage.auto_promotes())?;
    // Where only cleaning up is left, the change has been made: its result is verified, and not thrown away.
    let cleans_up = |step: &StepState| step.spec.condition.as_ref().is_some_and(Condition::outlives_abort);
    let works = running.steps.iter().any(|step| !step.task.phase.is_terminal() && !cleans_up(step));
    if running.trigger != Trigger::Automatic || running.abort.is_some() || !works {
        return None;
    }
    let known = state.stage(stage.name())?;
    let origin = state.freight_by_id(&running.freight)?.freight().origin();
    if holds(state, known).contains_key(origin) {
        return None;
    }
    wake_for_soak(pipeline, state, stage, origin, now, actions);
    let newer = candidate(pipeline, state, stage, origin, now)?;
    let under_way = state.freight_by_id(&running.freight)?.freight();
    let older = followed(stage, origin).is_none() && age(newer) < age(under_way);
    if newer.id() == under_way.id() || older || !is_wanted(state, stage, known, newer) {
        return None;
    }
    let reason = format!("freight {newer} takes its place");
    Some(Draft::rule(EventKind::AbortRequested { promotion: running.id.clone(), reason }))
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
        if is_wanted(state, stage, known, newest) {
            chosen.push(newest);
        }
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
    let request = Draft::rule(EventKind::PromotionRequested {
        promotion: id,
        stage: stage.name().clone(),
        freight: next.id().clone(),
        trigger: Trigger::Automatic,
        steps: stage.steps().to_vec(),
        verification: stage.verification().to_vec(),
        hold: HoldChange::None,
        rollback: None,
        reason: String::new(),
    });
    actions.extend(at_once(pipeline, request, now).into_iter().map(Action::Record));
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
    let passes = |name: &StageName| pipeline.stage(name).is_some_and(Stage::is_control_flow);
    let may_open = |request: &FreightRequest| request.required_soak.is_some() || request.stages.iter().any(passes);
    if !stage.request_for(origin).is_some_and(may_open) {
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
