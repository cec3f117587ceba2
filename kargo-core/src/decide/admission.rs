//! May this freight enter this stage, and if not, why? The one answer: for a person's promotion, the queue, automatic promotion,
//! listing and rollback.

use std::fmt;

use jiff::Timestamp;

use super::auto;
use super::gate::{Gate, GateKind, Standing, Why, mark};
use crate::clock::later;
use crate::freight::Freight;
use crate::name::{FreightId, StageName, near_match};
use crate::pipeline::Pipeline;
use crate::plugin::Health;
use crate::stage::{FreightRequest, Stage};
use crate::state::{FreightState, StageHealth, State};

/// Whether freight may enter a stage, gate by gate.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Admission {
    /// The stage.
    pub stage: StageName,
    /// The freight.
    pub freight: FreightId,
    /// The versions it carries, for people; empty when it does not exist.
    pub label: String,
    /// Every gate, in the order in which people ask.
    pub gates: Vec<Gate>,
}

impl Admission {
    /// Whether it may enter.
    pub fn is_open(&self) -> bool {
        self.gates.iter().filter(|gate| gate.required).all(|gate| gate.open)
    }

    /// What is missing: the closed gates of which one must open.
    pub fn missing(&self) -> impl Iterator<Item = &Gate> {
        let source_closed = self.gates.iter().any(|gate| matches!(gate.kind, GateKind::Source { .. }) && !gate.open);
        self.gates.iter().filter(move |gate| !gate.open && (gate.required || source_closed))
    }

    /// Nothing, or the refusal.
    ///
    /// # Errors
    /// The [`Refusal`], when it may not enter.
    pub fn into_result(self) -> Result<(), Refusal> {
        if self.is_open() { Ok(()) } else { Err(Refusal(Box::new(self))) }
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_open() { "may" } else { "may not" };
        write!(
            f,
            "Freight {}{} {verdict} enter stage {:?}:",
            self.freight.short(),
            in_brackets(&self.label),
            self.stage
        )?;
        for gate in &self.gates {
            write!(f, "\n  {} {gate}", mark(gate.open))?;
        }
        Ok(())
    }
}

fn in_brackets(label: &str) -> String {
    if label.is_empty() { String::new() } else { format!(" ({label})") }
}

/// That freight may not enter a stage now, with what is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal(Box<Admission>);

impl Refusal {
    /// The answer in full.
    pub fn admission(&self) -> &Admission {
        &self.0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Admission { stage, freight, label, .. } = &*self.0;
        let missing: Vec<String> = self.0.missing().map(ToString::to_string).collect();
        write!(
            f,
            "Freight {}{} may not enter stage {stage:?}: {}.",
            freight.short(),
            in_brackets(label),
            missing.join("; ")
        )
    }
}

impl std::error::Error for Refusal {}

/// May `freight` enter `stage`, and if not, why?
pub fn admission(
    pipeline: &Pipeline,
    state: &State,
    stage: &StageName,
    freight: &FreightId,
    now: Timestamp,
) -> Admission {
    let mut gates = Vec::new();
    examine(pipeline, state, stage, freight, now, &mut |gate| gates.push(gate));
    let label = state.freight_by_id(freight).map_or_else(String::new, |known| known.freight().label());
    Admission { stage: stage.clone(), freight: freight.clone(), label, gates }
}

/// May `freight` enter `stage`? As [`admission`], without the reasons.
pub fn admits(pipeline: &Pipeline, state: &State, stage: &StageName, freight: &FreightId, now: Timestamp) -> bool {
    examine(pipeline, state, stage, freight, now, &mut |_| {})
}

/// Why is `freight` in `stage`, or why not? The admission, and whether the stage would take it by itself.
pub fn why(pipeline: &Pipeline, state: &State, stage: &StageName, freight: &FreightId, now: Timestamp) -> Why {
    let automatic = match (pipeline.stage(stage), state.freight_by_id(freight)) {
        (Some(stage), Some(known)) => auto::gates(pipeline, state, stage, known.freight(), now),
        _ => Vec::new(),
    };
    Why { admission: admission(pipeline, state, stage, freight, now), automatic }
}

/// Shows every gate to `see` and says whether the freight may enter.
fn examine(
    pipeline: &Pipeline,
    state: &State,
    stage: &StageName,
    freight: &FreightId,
    now: Timestamp,
    see: &mut dyn FnMut(Gate),
) -> bool {
    let definition = pipeline.stage(stage);
    let known = state.freight_by_id(freight);
    let near = || near_match(stage.as_str(), pipeline.stages().map(|stage| stage.name().as_str())).map(StageName::from);
    let near = if definition.is_none() { near() } else { None };
    see(Gate::required(GateKind::StageExists { near }, definition.is_some()));
    see(Gate::required(GateKind::FreightExists, known.is_some()));
    let (Some(definition), Some(known)) = (definition, known) else { return false };

    let has_steps = !definition.is_control_flow();
    see(Gate::required(GateKind::HasSteps, has_steps));
    available(pipeline, state, definition, known, now, see) && has_steps
}

/// Whether `known` is available to `stage`, steps or not: what decides over control-flow stages too.
pub(super) fn available(
    pipeline: &Pipeline,
    state: &State,
    stage: &Stage,
    known: &FreightState,
    now: Timestamp,
    see: &mut dyn FnMut(Gate),
) -> bool {
    let origin = known.freight().origin();
    let request = stage.request_for(origin);
    // CORE-05: an approval does not replace the request.
    see(Gate::required(GateKind::Requested { origin: origin.clone() }, request.is_some()));
    let Some(request) = request else { return false };

    let mut ways: Vec<Gate> = Vec::new();
    if request.direct || request.stages.is_empty() {
        ways.push(Gate::way(GateKind::Direct { origin: origin.clone() }, request.direct));
    }
    let upstream_open = upstream(pipeline, state, request, known, now, &mut |gate| ways.push(gate));
    let approval = known.approved().get(stage.name());
    let approved = approval.is_some();
    ways.push(Gate::way(GateKind::Approved { by: approval.map(|approval| approval.actor.clone()) }, approved));

    let open = request.direct || approved || upstream_open;
    let (needed, upstream) = (request.availability.needed(request.stages.len()), request.stages.len());
    see(Gate::required(GateKind::Source { needed, upstream }, open));
    ways.into_iter().for_each(see);
    open
}

fn upstream(
    pipeline: &Pipeline,
    state: &State,
    request: &FreightRequest,
    known: &FreightState,
    now: Timestamp,
    see: &mut dyn FnMut(Gate),
) -> bool {
    let mut open = 0;
    for upstream in &request.stages {
        // Freight that passed through a control-flow stage stays verified there only as long as it could still pass.
        let passes = pipeline.stage(upstream).filter(|stage| stage.is_control_flow());
        let verified = known.verified().contains_key(upstream)
            && passes.is_none_or(|stage| available(pipeline, state, stage, known, now, &mut |_| {}));
        let standing = if verified { Standing::Verified } else { standing(state, upstream, known.freight()) };
        see(Gate::way(GateKind::Verified { upstream: upstream.clone(), standing }, verified));
        let mut soaked = true;
        if let Some(required) = request.required_soak.filter(|required| !required.is_zero()) {
            let stayed = known.soaked(upstream, now);
            soaked = stayed >= required;
            let since = known.presence().get(upstream).and_then(|presence| presence.since);
            see(Gate::way(
                GateKind::Soaked {
                    upstream: upstream.clone(),
                    required,
                    stayed,
                    opens_at: since.map(|since| later(since, required)),
                },
                soaked,
            ));
        }
        let healthy = is_healthy(pipeline, state, upstream, known.freight(), see);
        open += usize::from(verified && soaked && healthy);
    }
    open >= request.availability.needed(request.stages.len())
}

/// Whether `upstream` is as healthy as it has to be for the freight that it runs to count. What it no longer runs is not judged by it.
fn is_healthy(
    pipeline: &Pipeline,
    state: &State,
    upstream: &StageName,
    freight: &Freight,
    see: &mut dyn FnMut(Gate),
) -> bool {
    let required = pipeline.stage(upstream).and_then(Stage::health_watch).is_some_and(|watch| watch.required);
    let running = state.stage(upstream).filter(|known| known.current.get(freight.origin()) == Some(freight.id()));
    let Some(known) = running.filter(|_| required) else { return true };
    let fine = |known: &StageHealth| matches!(known.health, Health::Healthy | Health::NotApplicable);
    let healthy = known.health.as_ref().is_some_and(fine);
    see(Gate::way(GateKind::Healthy { upstream: upstream.clone(), health: known.health.clone() }, healthy));
    healthy
}

/// How freight that is not verified in `stage` stands there.
fn standing(state: &State, stage: &StageName, freight: &Freight) -> Standing {
    let Some(known) = state.stage(stage) else { return Standing::Absent };
    let ours = |id: &crate::name::PromotionId| state.promotion(id).filter(|found| found.freight == *freight.id());
    if known.running.as_ref().and_then(ours).is_some() {
        return Standing::Promoting;
    }
    if known.verifying.as_ref().and_then(ours).is_some() {
        return Standing::Verifying;
    }
    if known.queue.iter().any(|id| ours(id).is_some()) {
        return Standing::Waiting;
    }
    let Some(last) = known.attempts.get(freight.id()).and_then(|id| state.promotion(id)) else {
        return Standing::Absent;
    };
    let ended = |phase: crate::Phase, message: &str| match message {
        "" => phase.to_string(),
        message => format!("{phase} ({message})"),
    };
    match last.verifications.last() {
        Some(verification) if last.phase.is_success() => {
            Standing::NotVerified(ended(verification.phase, &verification.message))
        }
        _ => Standing::NotPromoted(ended(last.phase, &last.message)),
    }
}

/// The earliest time at which waiting alone makes `known` available to `stage`: when it has stayed long enough upstream.
pub(super) fn opens_at(
    pipeline: &Pipeline,
    state: &State,
    stage: &Stage,
    known: &FreightState,
    now: Timestamp,
) -> Option<Timestamp> {
    let mut times = Vec::new();
    available(pipeline, state, stage, known, now, &mut |gate| {
        if let GateKind::Soaked { opens_at: Some(at), .. } = gate.kind
            && !gate.open
        {
            times.push(at);
        }
    });
    // What has passed a control-flow stage counts there only while it could still pass, which may take time as well.
    let request = stage.request_for(known.freight().origin());
    let upstream = request.into_iter().flat_map(|request| &request.stages).filter_map(|name| pipeline.stage(name));
    let passed = upstream.filter(|stage| stage.is_control_flow() && known.verified().contains_key(stage.name()));
    times.extend(passed.filter_map(|stage| opens_at(pipeline, state, stage, known, now)));
    times.into_iter().filter(|at| *at > now).min()
}
