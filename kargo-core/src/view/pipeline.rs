//! The whole pipeline at one glance.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FreightLine, PromotionLine};
use crate::actor::Actor;
use crate::approval::{Answer, Demand};
use crate::decide::holds;
use crate::name::{PipelineName, PromotionId, StageName, WarehouseName};
use crate::promotion::Phase;
use crate::stage::Stage;
use crate::state::{Abort, StageHealth, StageState, State, TaskState};

/// A pipeline, with what runs where and what is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PipelineView {
    /// The pipeline.
    pub name: PipelineName,
    /// When it was so.
    pub at: Timestamp,
    /// After which event of the journal.
    pub seq: u64,
    /// The warehouses, by name.
    pub warehouses: Vec<WarehouseView>,
    /// The stages, upstream before downstream; after them those that were taken out of the pipeline and are still busy.
    pub stages: Vec<StageView>,
}

/// A warehouse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WarehouseView {
    /// Its name.
    pub name: WarehouseName,
    /// The freight it made last.
    pub latest: Option<FreightLine>,
    /// Why its last look failed, if it did.
    pub failing: Option<String>,
    /// Why what it found last makes no freight, when a criterion is not satisfied.
    pub waiting: Option<String>,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StageView {
    /// Its name.
    pub name: StageName,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether the pipeline still has it.
    pub defined: bool,
    /// Whether freight merely passes through.
    pub control_flow: bool,
    /// Whether it promotes by itself.
    pub automatic: bool,
    /// What it runs, by warehouse.
    pub runs: Vec<Running>,
    /// The promotion that is under way, or whose result is being verified.
    pub under_way: Option<UnderWay>,
    /// The promotions that wait, next one first.
    pub queue: Vec<PromotionLine>,
    /// The promotion that ended last, well or not.
    pub last: Option<PromotionLine>,
    /// How what it runs is. None when it is not watched or has not been looked at yet.
    pub health: Option<StageHealth>,
    /// Why automatic promotions are held, by warehouse.
    pub holds: Vec<HoldLine>,
}

/// Freight that a stage runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Running {
    /// The freight.
    pub freight: FreightLine,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it was found good there; none when it has not been.
    pub verified_at: Option<Timestamp>,
}

/// What is under way in a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnderWay {
    /// The promotion.
    pub promotion: PromotionLine,
    /// Whether its steps are done, and its result is being verified.
    pub verifying: bool,
    /// Who asked to stop it.
    pub abort: Option<Abort>,
    /// The step or verifier that has its turn. None when there is none, or between the last one and the end.
    pub activity: Option<Activity>,
}

/// The step or verifier that has its turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Activity {
    /// Its place, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// The step's alias, or the verifier's name.
    pub name: String,
    /// How it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What it waits for, or what went wrong last; empty when it has not said.
    pub waits_for: String,
    /// When it is tried again after an error.
    pub retry_at: Option<Timestamp>,
    /// Whom it asks for approval, and what they answered.
    #[serde(default)]
    pub approval: Option<ApprovalView>,
}

/// An approval that a step waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ApprovalView {
    /// Who is asked, and how many have to approve.
    pub demand: Demand,
    /// What was answered so far, of each person the last, oldest first.
    pub answers: Vec<Answer>,
}

/// Why automatic promotions of a warehouse's freight are held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HoldLine {
    /// The warehouse.
    pub warehouse: WarehouseName,
    /// The freight that was chosen; none when the hold was asked for.
    pub freight: Option<FreightLine>,
    /// The promotion by which it was chosen.
    pub promotion: Option<PromotionId>,
    /// Why, in words; may be empty.
    pub reason: String,
    /// By whom.
    pub actor: Actor,
    /// Since when.
    pub at: Timestamp,
}

/// The pipeline as `state` has it, shown at `now`. None before its definition. The cost is linear in the number of stages and of the
/// promotions that wait.
pub fn pipeline(state: &State, now: Timestamp) -> Option<PipelineView> {
    let pipeline = state.pipeline()?;
    let warehouses = pipeline.warehouses().map(|warehouse| {
        let known = state.warehouse(warehouse.name());
        WarehouseView {
            name: warehouse.name().clone(),
            latest: known.and_then(|known| FreightLine::find(state, known.latest.as_ref()?)),
            failing: known.and_then(|known| known.failing.clone()),
            waiting: known.and_then(|known| known.waiting.clone()),
        }
    });
    let defined = pipeline.stages_in_order().map(|definition| {
        let known = state.stage(definition.name());
        stage(state, definition.name(), Some(definition), known)
    });
    let busy = state.stages().filter(|(name, known)| pipeline.stage(name).is_none() && !known.is_idle());
    Some(PipelineView {
        name: pipeline.name().clone(),
        at: now,
        seq: state.seq(),
        warehouses: warehouses.collect(),
        stages: defined.chain(busy.map(|(name, known)| stage(state, name, None, Some(known)))).collect(),
    })
}

fn stage(state: &State, name: &StageName, definition: Option<&Stage>, known: Option<&StageState>) -> StageView {
    let nothing = StageState::default();
    let known = known.unwrap_or(&nothing);
    let runs = known.current.values().filter_map(|id| {
        let found = state.freight_by_id(id)?;
        Some(Running {
            freight: FreightLine::new(found),
            since: found.presence().get(name).and_then(|presence| presence.since),
            verified_at: found.verified().get(name).map(|verified| verified.at),
        })
    });
    let line = |id| PromotionLine::find(state, id);
    let holds = holds(state, known).into_iter().map(|(warehouse, hold)| HoldLine {
        warehouse,
        freight: hold.choice.as_ref().and_then(|choice| FreightLine::find(state, &choice.freight)),
        promotion: hold.choice.map(|choice| choice.promotion),
        actor: hold.actor,
        reason: hold.reason,
        at: hold.at,
    });
    StageView {
        name: name.clone(),
        labels: definition.map(|stage| stage.labels().clone()).unwrap_or_default(),
        defined: definition.is_some(),
        control_flow: definition.is_some_and(Stage::is_control_flow),
        automatic: definition.is_some_and(Stage::auto_promotes),
        runs: runs.collect(),
        under_way: under_way(state, known),
        queue: known.queue.iter().filter_map(line).collect(),
        last: known.last.as_ref().and_then(line),
        health: known.health.clone(),
        holds: holds.collect(),
    }
}

fn under_way(state: &State, stage: &StageState) -> Option<UnderWay> {
    let id = stage.running.as_ref().or(stage.verifying.as_ref())?;
    let verifying = stage.running.is_none();
    let promotion = state.promotion(id)?;
    let tasks: Vec<(&str, &TaskState)> = if verifying {
        let verifiers = promotion.verifications.last().into_iter().flat_map(|last| &last.verifiers);
        verifiers.map(|verifier| (verifier.spec.verifier.as_str(), &verifier.task)).collect()
    } else {
        promotion.steps.iter().map(|step| (step.alias.as_str(), &step.task)).collect()
    };
    let turn = tasks.iter().position(|(_, task)| !task.phase.is_terminal());
    let activity = turn.map(|index| {
        let (name, task) = tasks[index];
        Activity {
            number: index + 1,
            of: tasks.len(),
            name: name.to_owned(),
            phase: task.phase,
            since: task.started_at,
            waits_for: task.message.clone(),
            retry_at: task.retry_at,
            approval: task.demand().map(|demand| ApprovalView { demand, answers: task.answers.clone() }),
        }
    });
    Some(UnderWay {
        promotion: PromotionLine::new(state, promotion),
        verifying,
        abort: promotion.abort.clone(),
        activity,
    })
}
