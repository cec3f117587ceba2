//! What expressions refer to: variables, outputs and statuses of steps, artifacts of warehouses.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::artifact::{normalize_chart_url, normalize_git_url, normalize_image_url};
use crate::expr::{Argument, Call, Program, Read};
use crate::manifest::fields::listed;
use crate::manifest::finding::{Rule, Severity};
use crate::manifest::kind::{Stage, Warehouse};
use crate::manifest::pipeline::Index;
use crate::name::near_match;

/// What there is where an expression stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Names<'a> {
    /// The variables that expressions may read.
    pub(super) variables: &'static [&'static str],
    /// What some of the variables have: all their members.
    pub(super) members: &'static [(&'static str, &'static [&'static str])],
    /// The members of `vars`; none when they are not all known.
    pub(super) vars: Option<Vec<&'a str>>,
    /// Every step of the list, in its order.
    pub(super) steps: &'a [Alias],
    /// How many of `steps` come before.
    pub(super) before: usize,
    /// Whether the list is a task's, which does not know the steps around it.
    pub(super) in_task: bool,
    /// Where artifacts are looked for.
    pub(super) freight: Option<Freight<'a>>,
}

/// A step by the names under which its outputs are found.
#[derive(Debug, Clone)]
pub(super) struct Alias {
    pub(super) name: String,
    /// Of a task: its steps, and whether one of them publishes outputs under the task's name.
    pub(super) task: Option<(Vec<String>, bool)>,
}

/// Where the artifacts are looked for that an expression names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Freight<'a> {
    /// In the freight of the warehouses that a stage asks for.
    Of { index: &'a Index<'a>, project: &'a str, stage: &'a Stage },
    /// Among what a warehouse has discovered.
    Discovered { name: &'a str, warehouse: &'a Warehouse },
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
        if *variable == "target" && self.variables.contains(&"ctx") {
            let message = "target is of Kargo's commercial edition, whose promotions to targets are refused here; write a stage for each target, with vars.";
            return Some((Severity::Error, Rule::Commercial, message.to_owned()));
        }
        if !self.variables.contains(variable) {
            let hint = match near_match(variable, self.variables.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None if self.variables.is_empty() => "there are no variables here.".to_owned(),
                None => format!("there are {}. A text needs quotes.", listed(self.variables)),
            };
            return Some((Severity::Error, Rule::Expression, format!("There is no variable {variable} here; {hint}")));
        }
        let all = self.members.iter().find(|(name, _)| name == variable).map(|(_, all)| *all);
        if let (Some(all), [member, ..]) = (all, members)
            && !all.contains(member)
        {
            let hint = near_match(member, all.iter().copied())
                .map_or_else(|| format!("it has {}.", listed(all)), |near| format!("did you mean {variable}.{near}?"));
            return Some((Severity::Error, Rule::Expression, format!("There is no {variable}.{member} here; {hint}")));
        }
        match (*variable, members) {
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
                let Freight::Of { stage, .. } = self.freight? else { return None };
                let requests = &stage.requested_freight;
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
            ("artifactFrom", [Argument::Text(name), rest @ ..]) => self.freight?.other(name, rest, guarded),
            _ => None,
        }
    }
}

/// The warehouse that arguments name.
fn origin_in<'a>(arguments: &[Argument<'a>]) -> Option<&'a str> {
    arguments.iter().find_map(|argument| match argument {
        Argument::Warehouse(name) => Some(*name),
        Argument::Text(_) => None,
    })
}

fn later(alias: &str) -> (Severity, Rule, String) {
    (
        Severity::Error,
        Rule::Alias,
        format!("The step {alias:?} comes later, so that there is nothing of it here yet; move it."),
    )
}

impl<'a> Freight<'a> {
    /// The warehouses that can be meant, by name: all, or the one that is named. None when one is not there, or is not asked for, which
    /// is told elsewhere.
    fn warehouses(&self, origin: Option<&str>) -> Option<Vec<(&'a str, &'a Warehouse)>> {
        match self {
            Self::Discovered { name, warehouse } => Some(vec![(*name, *warehouse)]),
            Self::Of { index, project, stage } => {
                let names = stage.requested_freight.iter().map(|request| request.origin.as_str());
                let meant: Vec<&str> = names.filter(|name| origin.is_none_or(|origin| origin == *name)).collect();
                let found = meant.iter().map(|name| Some((*name, index.warehouse(project, name)?)));
                found.collect::<Option<Vec<_>>>().filter(|found| !found.is_empty())
            }
        }
    }

    /// That one of the warehouses has a subscription of this name, of a kind of the host's.
    fn other(&self, name: &str, rest: &[Argument<'_>], guarded: bool) -> Option<(Severity, Rule, String)> {
        let subscriptions =
            self.warehouses(origin_in(rest))?.into_iter().flat_map(|(_, warehouse)| &warehouse.subscriptions);
        let of_host = subscriptions.filter(|one| !matches!(one.source.as_str(), "git" | "image" | "chart"));
        let known: Vec<&str> = of_host.filter_map(|one| one.name.as_deref()).collect();
        if known.contains(&name) {
            return None;
        }
        let hint = match near_match(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.is_empty() => "there is none of a kind of the host's.".to_owned(),
            None => format!("there are {}.", listed(&known)),
        };
        let severity = if guarded { Severity::Warning } else { Severity::Error };
        Some((severity, Rule::Reference, format!("There is no subscription {name:?} here; {hint}")))
    }

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
        let (mut found, mut charts) = (Vec::new(), BTreeSet::new());
        let mut known: BTreeMap<String, &str> = BTreeMap::new();
        for (name, warehouse) in self.warehouses(origin_in(rest))? {
            let mut count = 0;
            for subscription in warehouse.subscriptions.iter().filter(|one| one.source == kind) {
                let text =
                    |name: &str| subscription.config.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
                if normal(text("repoURL")) == normal(url) && chart.is_none_or(|chart| chart == text("name")) {
                    found.push(name);
                    count += 1;
                    charts.insert(text("name").to_owned());
                }
                known.insert(text("repoURL").to_owned(), name);
            }
            // Freight has one of each.
            if count > 1 {
                let way = match charts.first() {
                    Some(chart) if charts.len() > 1 => format!("name the chart, as in {function}({url:?}, {chart:?})"),
                    _ => "subscribe to each in a warehouse of its own".to_owned(),
                };
                let message = format!(
                    "The warehouse {name:?} subscribes to {:?} more than once, so that {function} cannot tell what is meant; {way}.",
                    crate::artifact::without_password(url)
                );
                return Some((Severity::Error, Rule::Reference, message));
            }
            charts.clear();
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
                let message = match self {
                    Self::Of { .. } => {
                        format!("No warehouse that this stage takes freight of subscribes to {shown:?}; {hint}")
                    }
                    Self::Discovered { .. } => format!("This warehouse does not subscribe to {shown:?}; {hint}"),
                };
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
