//! One freight: where it is, where it was, and why it is not further.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::decide::{Gate, why};
use crate::name::{FreightId, StageName, WarehouseName};
use crate::state::{Approval, FreightState, State, Verified};

/// Freight in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FreightLine {
    /// Its id.
    pub id: FreightId,
    /// The name that people say, when it has one.
    pub alias: Option<String>,
    /// The versions it carries, for people.
    pub label: String,
    /// The warehouse that made it.
    pub warehouse: WarehouseName,
    /// When it was found.
    pub discovered_at: Timestamp,
}

impl FreightLine {
    pub(super) fn new(known: &FreightState) -> Self {
        let freight = known.freight();
        Self {
            id: freight.id().clone(),
            alias: known.alias().map(str::to_owned),
            label: freight.label(),
            warehouse: freight.origin().clone(),
            discovered_at: freight.discovered_at(),
        }
    }

    pub(super) fn find(state: &State, id: &FreightId) -> Option<Self> {
        state.freight_by_id(id).map(Self::new)
    }
}

/// One freight and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FreightView {
    /// The freight.
    pub freight: FreightLine,
    /// What it carries.
    pub artifacts: Vec<Artifact>,
    /// How it stands in each stage that asks for it, upstream before downstream; after them other stages that it was in.
    pub stages: Vec<FreightInStage>,
}

/// How freight stands in one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FreightInStage {
    /// The stage.
    pub stage: StageName,
    /// Since when it is there now.
    pub since: Option<Timestamp>,
    /// Whether it is or was ever there.
    pub been_there: bool,
    /// How long it has stayed there without a break, at best, as soaking counts it.
    pub stayed: Duration,
    /// That it was found good there.
    pub verified: Option<Verified>,
    /// That somebody approved it for the stage.
    pub approved: Option<Approval>,
    /// Why it is not there. None when it is, and in stages that do not ask for it.
    pub why_not: Option<WhyNot>,
}

/// Why freight is not in a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WhyNot {
    /// Whether it may enter, and only nobody has promoted it.
    pub may_enter: bool,
    /// What is missing, each as a sentence: to enter, or, when it may, for the stage to take it by itself.
    pub missing: Vec<String>,
    /// Every condition to enter.
    pub gates: Vec<GateLine>,
    /// Every condition for the stage to take it by itself.
    pub automatic: Vec<GateLine>,
}

/// A condition, and whether it is met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GateLine {
    /// The condition as it stands; when it is not met, with what would open it.
    pub text: String,
    /// Whether it is met.
    pub open: bool,
    /// Whether it must be met; the others are ways of which some suffice.
    pub required: bool,
}

impl GateLine {
    fn new(gate: &Gate) -> Self {
        Self { text: gate.to_string(), open: gate.open, required: gate.required }
    }
}

/// The freight `id` at `now`: where it is, was, is verified and approved, and why it is not where it is asked for. None when there is no
/// such freight. Costs a decision for each stage that asks for its warehouse's freight.
pub fn freight(state: &State, id: &FreightId, now: Timestamp) -> Option<FreightView> {
    let pipeline = state.pipeline()?;
    let known = state.freight_by_id(id)?;
    let origin = known.freight().origin();
    let asking = |name: &StageName| pipeline.stage(name).is_some_and(|stage| stage.request_for(origin).is_some());
    let in_order = pipeline.stages_in_order().map(|stage| stage.name());
    let asks: Vec<&StageName> = in_order.filter(|name| asking(name)).collect();
    let others = known.presence().keys().filter(|name| !asking(name));
    let stages = asks.iter().copied().chain(others).map(|stage| {
        let presence = known.presence().get(stage);
        let since = presence.and_then(|presence| presence.since);
        let why_not = (asking(stage) && since.is_none()).then(|| {
            let why = why(pipeline, state, stage, id, now);
            let may_enter = why.admission.is_open();
            let missing: Vec<String> = match may_enter {
                true => why.automatic.iter().filter(|gate| !gate.open).map(ToString::to_string).collect(),
                false => why.admission.missing().map(ToString::to_string).collect(),
            };
            WhyNot {
                may_enter,
                missing,
                gates: why.admission.gates.iter().map(GateLine::new).collect(),
                automatic: why.automatic.iter().map(GateLine::new).collect(),
            }
        });
        FreightInStage {
            stage: stage.clone(),
            since,
            been_there: presence.is_some(),
            stayed: known.soaked(stage, now),
            verified: known.verified().get(stage).cloned(),
            approved: known.approved().get(stage).cloned(),
            why_not,
        }
    });
    let stages = stages.collect();
    Some(FreightView { freight: FreightLine::new(known), artifacts: known.freight().artifacts().to_vec(), stages })
}
