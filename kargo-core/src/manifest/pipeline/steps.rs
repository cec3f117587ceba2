//! A stage's steps with its tasks written out, as Kargo does it when it takes a promotion.

use serde_json::Value;

use super::Index;
use crate::manifest::Manifest;
use crate::manifest::finding::{Finding, Rule, Severity};
use crate::manifest::kind::{Stage, Step, Task, TaskRef};
use crate::stage::{Condition, StepSpec, Variable};

/// Where the steps of a stage stand in its manifest.
pub(in crate::manifest) const OF_STAGES: &str = "/spec/promotionTemplate/spec/steps";
/// Where the steps of a task stand.
pub(in crate::manifest) const OF_TASKS: &str = "/spec/steps";

/// A step as it runs: with its alias among all, and with every variable that it sees.
#[derive(Debug, Clone)]
pub(in crate::manifest) struct Inflated<'m> {
    /// `alias`, or `task::alias` of a step of a task.
    pub(in crate::manifest) alias: String,
    pub(in crate::manifest) step: &'m Step,
    /// The variables of stage, template, task, caller and step, of which the last of a name counts.
    pub(in crate::manifest) vars: Vec<&'m Variable>,
}

impl Inflated<'_> {
    /// It as the `index`th of a pipeline's steps.
    pub(super) fn to_spec(&self, index: usize) -> StepSpec {
        let mut spec = StepSpec::new(self.step.uses.clone().unwrap_or_default(), self.step.config.clone());
        // The name that the place gives is not said, unless tasks before it have moved it.
        spec.alias = Some(self.alias.clone()).filter(|alias| *alias != format!("step-{}", index + 1));
        spec.retry = self.step.retry;
        spec.condition = self.step.condition.clone().map(Condition::Expression);
        spec.vars = self.vars.iter().map(|var| (*var).clone()).collect();
        spec.continue_on_error = self.step.continue_on_error;
        spec
    }
}

/// The steps of a stage, and what keeps tasks from being written out. `room` is how many steps and variables there may still be.
pub(in crate::manifest) fn inflate<'m>(
    index: &Index<'m>,
    manifest: &'m Manifest,
    stage: &'m Stage,
    room: &mut usize,
) -> (Vec<Inflated<'m>>, Vec<Finding>) {
    let (mut steps, mut findings) = (Vec::new(), Vec::new());
    let promotion: Vec<&Variable> = stage.vars.iter().chain(&stage.template_vars).collect();
    for (at, step) in stage.steps.iter().enumerate() {
        let alias = step.alias_at(at);
        let task = step.task.as_ref().and_then(|reference| find(index, manifest, reference).map(|(_, task)| task));
        let seen = 1 + promotion.len() + step.vars.len();
        let takes = task
            .map_or(seen, |task| task.steps.iter().map(|own| seen + task.vars.len() + own.vars.len()).sum::<usize>());
        let Some(left) = room.checked_sub(takes) else {
            let message =
                "With its tasks written out, the project has more than a million steps and variables of steps.";
            findings.push(manifest.finding(Severity::Error, Rule::Pipeline, &format!("{OF_STAGES}/{at}"), message));
            break;
        };
        *room = left;
        let Some(reference) = &step.task else {
            let vars = promotion.iter().copied().chain(&step.vars).collect();
            steps.push(Inflated { alias, step, vars });
            continue;
        };
        let Some(task) = task else {
            let kind = reference.kind();
            let pointer = format!("{OF_STAGES}/{at}/task/name");
            let hint = index.proposal(kind, manifest.project(), &reference.name);
            let message = format!("There is no {kind} {:?} here; {hint}", reference.name);
            findings.push(manifest.finding(Severity::Error, Rule::Reference, &pointer, message));
            continue;
        };
        let given = |name: &str| {
            step.vars.iter().chain(promotion.iter().copied()).any(|var| var.name == name && !var.value.is_empty())
        };
        for missing in task.vars.iter().filter(|var| var.value.is_empty() && !given(&var.name)) {
            let message = format!(
                "The task {:?} wants the variable {:?}, which has no default; set it under vars of this step.",
                reference.name, missing.name
            );
            findings.push(manifest.finding(Severity::Error, Rule::MissingField, &format!("{OF_STAGES}/{at}"), message));
        }
        steps.extend(written_out(&alias, &promotion, step, task));
    }
    (steps, findings)
}

/// The task that a step stands for.
pub(in crate::manifest) fn find<'m>(
    index: &Index<'m>,
    manifest: &Manifest,
    reference: &TaskRef,
) -> Option<(&'m Manifest, &'m Task)> {
    index.task(reference.kind(), manifest.project(), &reference.name)
}

/// The steps of a task where `caller` stands.
fn written_out<'m>(alias: &str, promotion: &[&'m Variable], caller: &'m Step, task: &'m Task) -> Vec<Inflated<'m>> {
    // A default steps back behind what the promotion says, and before what the caller says.
    let said = |name: &str| promotion.iter().any(|var| var.name == name && !var.value.is_empty());
    let defaults: Vec<&Variable> = task.vars.iter().filter(|var| !var.value.is_empty() && !said(&var.name)).collect();
    let inflated = task.steps.iter().enumerate().map(|(at, step)| {
        let vars = promotion.iter().chain(&defaults).copied().chain(&caller.vars).chain(&step.vars).collect();
        Inflated { alias: format!("{alias}::{}", step.alias_at(at)), step, vars }
    });
    inflated.collect()
}

/// Calls `visit` with every text in a configuration and its pointer.
pub(in crate::manifest) fn texts_in(value: &Value, pointer: &mut String, visit: &mut impl FnMut(&str, &str)) {
    let below = |segment: &str, value: &Value, pointer: &mut String, visit: &mut _| {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        texts_in(value, pointer, visit);
        pointer.truncate(length);
    };
    match value {
        Value::String(text) => visit(text, pointer),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                below(&index.to_string(), item, pointer, visit);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                below(key, item, pointer, visit);
            }
        }
        _ => {}
    }
}
