//! What expressions refer to: variables, outputs and statuses of steps, artifacts of warehouses.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::artifact::{normalize_chart_url, normalize_git_url, normalize_image_url};
use crate::expr::{Argument, Call, Program, Read};
use crate::manifest::fields::listed;
use crate::manifest::finding::{Rule, Severity};
use crate::manifest::kind::Stage;
use crate::manifest::pipeline::Index;
use crate::name::near_match;

/// What there is where an expression stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Names<'a> {
    /// The variables that expressions may read.
    pub(super) variables: &'static [&'static str],
    /// What `ctx` has.
    pub(super) context: &'static [&'static str],
    /// The members of `vars`; none when they are not all known.
    pub(super) vars: Option<Vec<&'a str>>,
    /// Every step of the list, in its order.
    pub(super) steps: &'a [Alias],
    /// How many of `steps` come before.
    pub(super) before: usize,
    /// Whether the list is a task's, which does not know the steps around it.
    pub(super) in_task: bool,
    /// What a step of a stage finds in freight.
    pub(super) freight: Option<Freight<'a>>,
}

/// A step by the names under which its outputs are found.
#[derive(Debug, Clone)]
pub(super) struct Alias {
    pub(super) name: String,
    /// Of a task: its steps, and whether one of them publishes outputs under the task's name.
    pub(super) task: Option<(Vec<String>, bool)>,
}

/// The warehouses whose freight a stage asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freight<'a> {
    pub(super) index: &'a Index<'a>,
    pub(super) project: &'a str,
    pub(super) stage: &'a Stage,
}

/// What is wrong with a reference.
pub(super) struct Wrong {
    pub(super) severity: Severity,
    pub(super) rule: Rule,
    pub(super) message: String,
    pub(super) place: Range<usize>,
}

impl Names<'_> {
    /// What is wrong with the references of an expression.
    pub(super) fn check(&self, program: &Program) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let guarded = program.source().contains("??") || program.source().contains("?.");
        for read in program.reads() {
            wrong.extend(self.read(&read, guarded).map(|(severity, rule, message)| Wrong {
                severity,
                rule,
                message,
                place: read.place.clone(),
            }));
        }
        for call in program.calls() {
            wrong.extend(self.call(&call, guarded).map(|(severity, rule, message)| Wrong {
                severity,
                rule,
                message,
                place: call.place.clone(),
            }));
        }
        wrong
    }

    fn read(&self, read: &Read<'_>, guarded: bool) -> Option<(Severity, Rule, String)> {
        let (variable, members) = read.path.split_first()?;
        if !self.variables.contains(variable) {
            let hint = match near_match(variable, self.variables.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None if self.variables.is_empty() => "there are no variables here.".to_owned(),
                None => format!("there are {}. A text needs quotes.", listed(self.variables)),
            };
            return Some((Severity::Error, Rule::Expression, format!("There is no variable {variable} here; {hint}")));
        }
        match (*variable, members) {
            ("ctx", [member, ..]) if !self.context.contains(member) => {
                let hint = near_match(member, self.context.iter().copied()).map_or_else(
                    || format!("it has {}.", listed(self.context)),
                    |near| format!("did you mean ctx.{near}?"),
                );
                Some((Severity::Error, Rule::Expression, format!("There is no ctx.{member} here; {hint}")))
            }
            ("vars", [name, ..]) => {
                let known = self.vars.as_ref().filter(|known| !known.contains(name) && !guarded)?;
                let hint = near_match(name, known.iter().copied())
                    .map_or_else(|| "define it under vars.".to_owned(), |near| format!("did you mean vars.{near}?"));
                let message = format!("There is no variable vars.{name} here, so that it is nothing; {hint}");
                Some((Severity::Warning, Rule::Reference, message))
            }
            ("outputs", [alias, ..]) if !self.in_task => self.outputs(alias),
            ("outputs", [alias, ..]) => self.own_outputs(alias),
            ("stepMetas", [alias, ..]) if !self.in_task => self.step(alias, "stepMetas"),
            ("task", ["outputs", alias, ..]) if self.in_task => self.step(alias, "task.outputs"),
            ("task", _) if !self.in_task => {
                let message = "task is there only within a task; write outputs.".to_owned();
                Some((Severity::Error, Rule::Alias, message))
            }
            _ => None,
        }
    }

    /// `outputs.alias` in a stage.
    fn outputs(&self, alias: &str) -> Option<(Severity, Rule, String)> {
        if let Some((task, own)) = alias.split_once("::") {
            let found = self.steps.iter().enumerate().find(|(_, step)| step.name == task && step.task.is_some());
            return match found {
                Some((at, Alias { task: Some((steps, _)), .. })) => {
                    if at >= self.before {
                        return Some(later(task));
                    }
                    (!steps.iter().any(|step| step == own)).then(|| {
                        let hint = near_match(own, steps.iter().map(String::as_str)).map_or_else(
                            || format!("it has {}.", listed(steps)),
                            |near| format!("did you mean {near:?}?"),
                        );
                        let message = format!("The task {task:?} has no step {own:?}; {hint}");
                        (Severity::Error, Rule::Alias, message)
                    })
                }
                _ => self.step(task, "outputs"),
            };
        }
        if let Some(wrong) = self.step(alias, "outputs") {
            return Some(wrong);
        }
        let step = self.steps.iter().find(|step| step.name == alias)?;
        match &step.task {
            Some((steps, false)) => {
                let example = steps.first().map_or("", String::as_str);
                let message = format!(
                    "The task {alias:?} publishes no outputs; write outputs['{alias}::{example}'], or add compose-output to the task."
                );
                Some((Severity::Error, Rule::Alias, message))
            }
            _ => None,
        }
    }

    /// `outputs.alias` within a task: one of its own steps is found elsewhere.
    fn own_outputs(&self, alias: &str) -> Option<(Severity, Rule, String)> {
        let own = self.steps.iter().any(|step| step.name == alias);
        own.then(|| {
            let message = format!(
                "Within a task, the outputs of its step {alias:?} are under task.outputs; outputs has the steps around the task."
            );
            (Severity::Warning, Rule::Alias, message)
        })
    }

    /// That a step of this name comes before.
    fn step(&self, alias: &str, what: &str) -> Option<(Severity, Rule, String)> {
        match self.steps.iter().position(|step| step.name == alias) {
            Some(at) if at < self.before => None,
            Some(_) => Some(later(alias)),
            None => {
                let known: Vec<&str> = self.steps.iter().take(self.before).map(|step| step.name.as_str()).collect();
                let hint = match near_match(alias, known.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None if known.is_empty() => "no step comes before this one.".to_owned(),
                    None => format!("before this one there are {}.", listed(&known)),
                };
                Some((Severity::Error, Rule::Alias, format!("There is no step {alias:?} for {what}; {hint}")))
            }
        }
    }

    fn call(&self, call: &Call<'_>, guarded: bool) -> Option<(Severity, Rule, String)> {
        let arguments = call.arguments.as_ref()?;
        match (call.function, arguments.as_slice()) {
            ("status", [Argument::Text(alias)]) => self.step(alias, "status()"),
            ("warehouse", [Argument::Text(name)]) => {
                let freight = self.freight?;
                let requests = &freight.stage.requested_freight;
                if requests.iter().any(|request| *request.origin.as_str() == **name) {
                    return None;
                }
                let hint = near_match(name, requests.iter().map(|request| request.origin.as_str()))
                    .map_or_else(|| "request it.".to_owned(), |near| format!("did you mean {near:?}?"));
                let message = format!("The stage asks for no freight of a warehouse {name:?}; {hint}");
                Some((Severity::Error, Rule::Reference, message))
            }
            (function @ ("imageFrom" | "commitFrom" | "chartFrom"), [Argument::Text(url), rest @ ..]) => {
                self.freight?.artifact(function, url, rest, guarded)
            }
            _ => None,
        }
    }
}

fn later(alias: &str) -> (Severity, Rule, String) {
    (
        Severity::Error,
        Rule::Alias,
        format!("The step {alias:?} comes later, so that there is nothing of it here yet; move it."),
    )
}

impl Freight<'_> {
    /// That exactly one warehouse can be meant.
    fn artifact(
        &self,
        function: &str,
        url: &str,
        rest: &[Argument<'_>],
        guarded: bool,
    ) -> Option<(Severity, Rule, String)> {
        let (kind, normal): (&str, fn(&str) -> String) = match function {
            "imageFrom" => ("image", normalize_image_url),
            "commitFrom" => ("git", normalize_git_url),
            _ => ("chart", normalize_chart_url),
        };
        let chart = rest.iter().find_map(|argument| match argument {
            Argument::Text(name) => Some(*name),
            Argument::Warehouse(_) => None,
        });
        let origin = rest.iter().find_map(|argument| match argument {
            Argument::Warehouse(name) => Some(*name),
            Argument::Text(_) => None,
        });
        if origin.is_some_and(|origin| self.stage.requested_freight.iter().all(|one| *one.origin.as_str() != *origin)) {
            // That is told of the warehouse itself.
            return None;
        }
        let mut found = Vec::new();
        let mut known: BTreeMap<String, &str> = BTreeMap::new();
        for request in &self.stage.requested_freight {
            let name = request.origin.as_str();
            if origin.is_some_and(|origin| origin != name) {
                continue;
            }
            // A warehouse that is not there is told elsewhere.
            let warehouse = self.index.warehouse(self.project, name)?;
            for subscription in warehouse.subscriptions.iter().filter(|one| one.source == kind) {
                let text =
                    |name: &str| subscription.config.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
                if normal(text("repoURL")) == normal(url) && chart.is_none_or(|chart| chart == text("name")) {
                    found.push(name);
                }
                known.insert(text("repoURL").to_owned(), name);
            }
        }
        found.dedup();
        match found.as_slice() {
            [_] => None,
            [] => {
                let hint = match near_match(url, known.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None if known.is_empty() => format!("it subscribes to no {kind}."),
                    None => format!("there are {}.", listed(&known.keys().collect::<Vec<_>>())),
                };
                let severity = if guarded { Severity::Warning } else { Severity::Error };
                let shown = crate::artifact::without_password(url);
                let message = format!("No warehouse that this stage takes freight of subscribes to {shown:?}; {hint}");
                Some((severity, Rule::Reference, message))
            }
            several => {
                let message = format!(
                    "{} subscribe to {url:?}; say which is meant, as in {function}({url:?}, warehouse({:?})).",
                    listed(several),
                    several[0]
                );
                Some((Severity::Error, Rule::Reference, message))
            }
        }
    }
}
