//! What can be wrong with a pipeline, each as a sentence with the way out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::name::{PipelineName, StageName, WarehouseName, name_fault, near_match};
use crate::promotion::Phase;
use crate::stage::{Availability, Condition, FreightRequest, Selection, Stage};
use crate::warehouse::Warehouse;

/// A pipeline that cannot be, with every reason.
#[derive(Debug, thiserror::Error)]
#[error("The pipeline {pipeline:?} is not valid: {}", sentences(.problems))]
pub struct PipelineError {
    pipeline: PipelineName,
    problems: Vec<Problem>,
}

impl PipelineError {
    pub(crate) fn new(pipeline: PipelineName, problems: Vec<Problem>) -> Self {
        Self { pipeline, problems }
    }

    /// Every problem found.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

fn sentences(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn hint(near: Option<&String>) -> String {
    near.map_or_else(String::new, |near| format!(" Did you mean {near:?}?"))
}

/// One thing that is wrong with a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Stages wait for each other in a ring.
    #[error("The stages {} wait for each other in a ring; take one of these references out.", ring(.members))]
    Cycle {
        /// The members, in the order of the ring.
        members: Vec<StageName>,
    },
    /// A stage names an upstream stage that is not there.
    #[error("Stage {stage:?} takes freight from stage {unknown:?}, which does not exist.{}", hint(.near.as_ref()))]
    UnknownStage {
        /// The stage that names it.
        stage: StageName,
        /// The name that is not there.
        unknown: StageName,
        /// A stage with almost that name.
        near: Option<String>,
    },
    /// A stage names a warehouse that is not there.
    #[error("Stage {stage:?} asks for freight of warehouse {unknown:?}, which does not exist.{}", hint(.near.as_ref()))]
    UnknownWarehouse {
        /// The stage that names it.
        stage: StageName,
        /// The name that is not there.
        unknown: WarehouseName,
        /// A warehouse with almost that name.
        near: Option<String>,
    },
    /// An upstream stage never gets this freight.
    #[error(
        "Stage {stage:?} takes freight of warehouse {origin:?} from stage {upstream:?}, which does not ask for it, so none can arrive; add the request there."
    )]
    NeverArrives {
        /// The stage that waits.
        stage: StageName,
        /// The freight's warehouse.
        origin: WarehouseName,
        /// The stage that never gets it.
        upstream: StageName,
    },
    /// Two things have one name.
    #[error("There are two {kind}s with the name {name:?}; rename one.")]
    Duplicate {
        /// `stage` or `warehouse`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A name that resources may not have.
    #[error("The {kind} name {name:?} cannot be used: {fault}.")]
    BadName {
        /// What is named.
        kind: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A pipeline without stages.
    #[error("It has no stages; add one.")]
    NoStages,
    /// A warehouse that watches nothing.
    #[error("Warehouse {warehouse:?} has no subscriptions, so it can make no freight; add one.")]
    NoSubscriptions {
        /// The warehouse.
        warehouse: WarehouseName,
    },
    /// A stage that asks for nothing.
    #[error("Stage {stage:?} asks for no freight; say where it takes it from, with direct() or after().")]
    NoRequests {
        /// The stage.
        stage: StageName,
    },
    /// A request without a source.
    #[error(
        "Stage {stage:?} asks for freight of warehouse {origin:?} but names no source; allow it directly or name upstream stages."
    )]
    NoSources {
        /// The stage.
        stage: StageName,
        /// The warehouse.
        origin: WarehouseName,
    },
    /// Two requests of one stage for one warehouse.
    #[error("Stage {stage:?} asks for freight of warehouse {origin:?} twice; merge the two requests.")]
    RepeatedRequest {
        /// The stage.
        stage: StageName,
        /// The warehouse.
        origin: WarehouseName,
    },
    /// Two steps of one stage with one alias.
    #[error("Stage {stage:?} has two steps named {alias:?}; rename one.")]
    RepeatedAlias {
        /// The stage.
        stage: StageName,
        /// The alias.
        alias: String,
    },
    /// An alias that Kargo keeps for unnamed steps.
    #[error("Stage {stage:?} names a step {alias:?}, a form that is kept for steps without a name; choose another.")]
    ReservedAlias {
        /// The stage.
        stage: StageName,
        /// The alias.
        alias: String,
    },
    /// Two subscriptions of one warehouse that cannot be told apart.
    #[error(
        "Subscriptions {first} and {second} of warehouse {warehouse:?} cannot be told apart; give each its own name, or remove one."
    )]
    RepeatedSubscription {
        /// The warehouse.
        warehouse: WarehouseName,
        /// The number of the first, from 1.
        first: usize,
        /// The number of the second, from 1.
        second: usize,
    },
    /// A password in a place that is written to journals and logs.
    #[error(
        "The configuration of {place} has a URL with a password in it; give the credentials to the plug-in instead, since configurations are journaled."
    )]
    SecretInConfig {
        /// Where.
        place: String,
    },
    /// A configuration that could be journaled, but not read back.
    #[error(
        "The configuration of {place} is nested {levels} levels deep, and the journal keeps at most {}; make it flatter, or write parts of it as text.",
        crate::store::MAX_LEVELS
    )]
    TooDeep {
        /// Where.
        place: String,
        /// How deep it is nested.
        levels: usize,
    },
    /// A request that names an upstream stage twice.
    #[error("Stage {stage:?} names the upstream stage {upstream:?} twice for warehouse {origin:?}; name it once.")]
    RepeatedUpstream {
        /// The stage.
        stage: StageName,
        /// The warehouse.
        origin: WarehouseName,
        /// The upstream stage.
        upstream: StageName,
    },
    /// A request that demands more upstream stages than it names, or none.
    #[error(
        "Stage {stage:?} demands {wanted} of its {named} upstream stages for warehouse {origin:?}; demand at least 1 and at most {named}."
    )]
    NotSoMany {
        /// The stage.
        stage: StageName,
        /// The warehouse.
        origin: WarehouseName,
        /// How many it demands.
        wanted: usize,
        /// How many it names.
        named: usize,
    },
    /// A request that follows an upstream stage, and has not exactly one that can be followed.
    #[error(
        "Stage {stage:?} is to match its upstream stage for warehouse {origin:?}, so it must name exactly one, with steps, and not take freight straight from the warehouse."
    )]
    NothingToMatch {
        /// The stage.
        stage: StageName,
        /// The warehouse.
        origin: WarehouseName,
    },
    /// A step's condition that asks for a step that does not come before it.
    #[error(
        "Step {step:?} of stage {stage:?} asks how step {unknown:?} ended, and no step of that name comes before it."
    )]
    UnknownStep {
        /// The stage.
        stage: StageName,
        /// The step with the condition.
        step: String,
        /// The step it asks for.
        unknown: String,
    },
    /// A step's condition that is nested too deep.
    #[error(
        "The condition of step {step:?} of stage {stage:?} is nested deeper than {}; split the step.",
        crate::stage::Condition::MAX_DEPTH
    )]
    DeepCondition {
        /// The stage.
        stage: StageName,
        /// The step.
        step: String,
    },
    /// A policy that names a stage that is not there.
    #[error("Promotion policy {policy} is for stage {unknown:?}, which does not exist.{}", hint(.near.as_ref()))]
    UnknownPolicyStage {
        /// The policy's number, from 1.
        policy: usize,
        /// The name that is not there.
        unknown: StageName,
        /// A stage with almost that name.
        near: Option<String>,
    },
    /// Two policies that name one stage.
    #[error("Two promotion policies are for stage {stage:?}; the second would never count, so remove one.")]
    RepeatedPolicy {
        /// The stage.
        stage: StageName,
    },
    /// A policy with a pattern that cannot be used.
    #[error("Promotion policy {policy} has the pattern {pattern:?}, which cannot be used: {fault}.")]
    BadPattern {
        /// The policy's number, from 1.
        policy: usize,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A rollback after an end that is none that one goes back from.
    #[error(
        "Stage {stage:?} is to go back after a {what} that {phase}; name only bad ends, such as Failed and Errored."
    )]
    NoBadEnd {
        /// The stage.
        stage: StageName,
        /// `promotion` or `verification`.
        what: &'static str,
        /// The end.
        phase: Phase,
    },
    /// A control-flow stage with verifiers.
    #[error(
        "Stage {stage:?} has verifiers but no steps: freight passes through it, so nothing would be verified; add a step, or move the verifiers."
    )]
    NothingToVerify {
        /// The stage.
        stage: StageName,
    },
}

fn ring(members: &[StageName]) -> String {
    let mut names: Vec<&str> = members.iter().map(StageName::as_str).collect();
    names.extend(names.first().copied());
    names.join(" -> ")
}

/// CORE-17: two subscriptions to one repository are told apart by their names only.
pub(super) fn check_subscriptions(warehouse: &Warehouse, problems: &mut Vec<Problem>) {
    let key = |index: usize| {
        let subscription = &warehouse.subscriptions[index];
        let text = |field: &str| subscription.config.get(field).and_then(serde_json::Value::as_str).unwrap_or("");
        // Git's form also unifies the others: lower case, no trailing slash. A place without a URL is its whole configuration.
        let place = match text("repoURL") {
            "" => subscription.config.to_string(),
            url => crate::artifact::normalize_image_url(&crate::artifact::normalize_git_url(url)),
        };
        (subscription.source.clone(), subscription.name.clone(), place, text("name").to_owned())
    };
    for second in 0..warehouse.subscriptions.len() {
        let name = warehouse.subscriptions[second].name.as_ref();
        let same_name = |first: usize| name.is_some() && warehouse.subscriptions[first].name.as_ref() == name;
        if let Some(first) = (0..second).find(|first| same_name(*first) || key(*first) == key(second)) {
            let (first, second) = (first + 1, second + 1);
            problems.push(Problem::RepeatedSubscription { warehouse: warehouse.name.clone(), first, second });
        }
        if let Some(fault) = name.and_then(|name| name_fault(name)) {
            let name = name.cloned().unwrap_or_default();
            problems.push(Problem::BadName { kind: "subscription", name, fault });
        }
        let place = || format!("subscription {} of warehouse {:?}", second + 1, warehouse.name);
        check_config(&warehouse.subscriptions[second].config, place, problems);
    }
}

/// Configurations go into the journal, so a password in one would be there for good.
fn check_config(config: &Value, place: impl Fn() -> String, problems: &mut Vec<Problem>) {
    if holds_password(config) {
        problems.push(Problem::SecretInConfig { place: place() });
    }
    let levels = crate::store::levels(config.to_string().as_bytes());
    if levels > crate::store::MAX_LEVELS {
        problems.push(Problem::TooDeep { place: place(), levels });
    }
}

fn holds_password(value: &Value) -> bool {
    match value {
        Value::String(text) => crate::artifact::without_password(text) != *text,
        Value::Array(values) => values.iter().any(holds_password),
        Value::Object(fields) => fields.values().any(holds_password),
        _ => false,
    }
}

pub(super) fn check_stage(
    stage: &Stage,
    warehouses: &BTreeMap<WarehouseName, Warehouse>,
    stages: &BTreeMap<StageName, Stage>,
    problems: &mut Vec<Problem>,
) {
    let name = || stage.name.clone();
    if stage.requests.is_empty() {
        problems.push(Problem::NoRequests { stage: name() });
    }
    let mut origins = BTreeSet::new();
    for request in &stage.requests {
        let origin = || request.origin.clone();
        if !origins.insert(&request.origin) {
            problems.push(Problem::RepeatedRequest { stage: name(), origin: origin() });
        }
        if !warehouses.contains_key(&request.origin) {
            let near = near_match(request.origin.as_str(), warehouses.keys().map(WarehouseName::as_str));
            problems.push(Problem::UnknownWarehouse { stage: name(), unknown: origin(), near: near.map(Into::into) });
        }
        if !request.direct && request.stages.is_empty() {
            problems.push(Problem::NoSources { stage: name(), origin: origin() });
        }
        check_request(stage, request, stages, problems);
        for upstream in &request.stages {
            match stages.get(upstream) {
                None => {
                    let near = near_match(upstream.as_str(), stages.keys().map(StageName::as_str));
                    problems.push(Problem::UnknownStage {
                        stage: name(),
                        unknown: upstream.clone(),
                        near: near.map(Into::into),
                    });
                }
                Some(found) if found.request_for(&request.origin).is_none() => {
                    problems.push(Problem::NeverArrives {
                        stage: name(),
                        origin: origin(),
                        upstream: upstream.clone(),
                    });
                }
                Some(_) => {}
            }
        }
    }
    if stage.steps.is_empty() && !stage.verification.is_empty() {
        problems.push(Problem::NothingToVerify { stage: name() });
    }
    for (index, step) in stage.steps.iter().enumerate() {
        check_config(&step.config, || format!("step {} of stage {:?}", index + 1, stage.name), problems);
    }
    for verifier in &stage.verification {
        check_config(
            &verifier.config,
            || format!("verifier {:?} of stage {:?}", verifier.verifier, stage.name),
            problems,
        );
    }
    check_conditions(stage, problems);
    if let Some(when) = &stage.auto_rollback {
        for (what, ends) in [("promotion", &when.on_promotion), ("verification", &when.on_verification)] {
            let bad = |phase: &&Phase| matches!(phase, Phase::Failed | Phase::Errored | Phase::Inconclusive);
            for phase in ends.iter().filter(|phase| !bad(phase)) {
                problems.push(Problem::NoBadEnd { stage: name(), what, phase: *phase });
            }
        }
    }
    let mut aliases = BTreeSet::new();
    let (mut place, mut task) = (0, None);
    for (index, step) in stage.steps.iter().enumerate() {
        // The steps of a task (`task::step`) take one place together.
        let within = step.alias.as_deref().and_then(|alias| alias.split_once("::")).map(|(task, _)| task);
        place += usize::from(within.is_none() || within != task);
        task = within;
        let Some(alias) = &step.alias else { continue };
        let digits = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit());
        let reserved = ["step-", "task-"].iter().any(|prefix| alias.strip_prefix(prefix).is_some_and(digits));
        // Behind a task, a step without a name has to be told the one that its place gives it.
        let told = place != index + 1 && *alias == format!("step-{place}");
        if reserved && !told {
            problems.push(Problem::ReservedAlias { stage: name(), alias: alias.clone() });
        }
        if !aliases.insert(alias) {
            problems.push(Problem::RepeatedAlias { stage: name(), alias: alias.clone() });
        }
    }
}

fn check_request(
    stage: &Stage,
    request: &FreightRequest,
    stages: &BTreeMap<StageName, Stage>,
    problems: &mut Vec<Problem>,
) {
    let (name, origin) = (stage.name.clone(), request.origin.clone());
    let named = request.stages.len();
    for (index, upstream) in request.stages.iter().enumerate() {
        if request.stages[..index].contains(upstream) {
            let (stage, origin, upstream) = (name.clone(), origin.clone(), upstream.clone());
            problems.push(Problem::RepeatedUpstream { stage, origin, upstream });
        }
    }
    if let Availability::AtLeast(wanted) = request.availability
        && !(1..=named).contains(&wanted)
    {
        problems.push(Problem::NotSoMany { stage: name.clone(), origin: origin.clone(), wanted, named });
    }
    if request.selection == Selection::MatchUpstream {
        // A control-flow stage runs nothing, so there is nothing to match.
        let followed =
            request.stages.iter().filter(|upstream| stages.get(*upstream).is_none_or(|s| !s.is_control_flow()));
        if request.direct || named != 1 || followed.count() != 1 {
            problems.push(Problem::NothingToMatch { stage: name, origin });
        }
    }
}

fn check_conditions(stage: &Stage, problems: &mut Vec<Problem>) {
    let alias = |index: usize| match &stage.steps[index].alias {
        Some(alias) => alias.clone(),
        None => format!("step-{}", index + 1),
    };
    for (index, step) in stage.steps.iter().enumerate() {
        let Some(condition) = &step.condition else { continue };
        if condition.depth() > Condition::MAX_DEPTH {
            problems.push(Problem::DeepCondition { stage: stage.name.clone(), step: alias(index) });
            continue;
        }
        for unknown in condition.steps() {
            if !(0..index).any(|before| alias(before) == unknown) {
                let (stage, step, unknown) = (stage.name.clone(), alias(index), unknown.to_owned());
                problems.push(Problem::UnknownStep { stage, step, unknown });
            }
        }
    }
}
