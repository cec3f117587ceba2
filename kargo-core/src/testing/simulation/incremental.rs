//! Deciding on what an event affects, and on nothing else, must come to the same as deciding on everything.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::decide::{Action, decide_stage};
use crate::name::{PromotionId, StageName};
use crate::state::{Affected, Draft, Event, EventKind, State};

/// Goes through the journal as the engine does, deciding only on stages that an event affects or whose time has come, and says
/// where that differs from deciding on every stage after every event.
pub(super) fn check(events: &[Event]) -> Result<(), String> {
    let mut state = State::new();
    let mut kept: BTreeMap<StageName, Vec<Action>> = BTreeMap::new();
    for event in events {
        let affected = state.apply(event).map_err(|error| error.to_string())?;
        let Some(pipeline) = state.pipeline() else { continue };
        let all = || -> BTreeSet<StageName> {
            let defined = pipeline.stages().map(|stage| stage.name().clone());
            defined.chain(state.stages().map(|(name, _)| name.clone())).collect()
        };
        let mut due: BTreeSet<StageName> = match affected {
            Affected::All => {
                kept.clear();
                all()
            }
            Affected::Stages(stages) => stages.into_iter().collect(),
        };
        due.extend(kept.iter().filter(|(_, actions)| woken(actions, event.at)).map(|(stage, _)| stage.clone()));
        for stage in due {
            kept.insert(stage.clone(), decide(&state, &stage, event.at));
        }
        for stage in all() {
            let fresh = decide(&state, &stage, event.at);
            let kept = kept.get(&stage).map_or(&[][..], Vec::as_slice);
            if *kept != *fresh {
                return Err(format!(
                    "event {} ({}): deciding on {stage} anew gives {fresh:?}, and what was decided before is {kept:?}",
                    event.seq, event.kind
                ));
            }
        }
    }
    Ok(())
}

fn woken(actions: &[Action], now: Timestamp) -> bool {
    actions.iter().any(|action| matches!(action, Action::Wake { at, .. } if *at <= now))
}

/// What is to be done in `stage`, without ids: those follow from the time and the event's number.
fn decide(state: &State, stage: &StageName, now: Timestamp) -> Vec<Action> {
    let Some(pipeline) = state.pipeline() else { return Vec::new() };
    let mut actions = decide_stage(pipeline, state, stage, now);
    let requested =
        |action: &Action| matches!(action, Action::Record(Draft { kind: EventKind::PromotionRequested { .. }, .. }));
    if let Some(request) = actions.iter().position(requested) {
        // What follows from a request has its id all over it.
        actions.truncate(request + 1);
    }
    for action in &mut actions {
        match action {
            Action::Record(Draft { kind: EventKind::PromotionRequested { promotion, .. }, .. }) => {
                *promotion = PromotionId::from("");
            }
            // What a refusal says of other stages is for people, and may be of a moment before.
            Action::Record(Draft { kind: EventKind::PromotionFinished { message, .. }, .. }) => message.clear(),
            _ => {}
        }
    }
    actions
}
