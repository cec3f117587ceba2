//! The expressions of manifests: that they compile where they stand, and that what they refer to is there.

use std::collections::BTreeMap;

use super::bare::Wanted;
use super::constant;
use super::number::{Turning, turns};
use super::references::{Alias, Freight, Names};
use super::steps::{STEPS, steps_of};
use crate::expr::{Environment, Error, Program, Template};
use crate::manifest::Manifest;
use crate::manifest::finding::{Finding, MAX_FINDINGS, Rule, Severity};
use crate::manifest::kind::{Resource, Stage, Step};
use crate::manifest::pipeline::{Index, find, texts_in};
use crate::plugin::{Plugins, is_template};
use crate::stage::Variable;

const OF_PROMOTION: [&str; 2] = ["ctx", "vars"];
const OF_STEPS: [&str; 5] = ["ctx", "vars", "outputs", "task", "stepMetas"];
const CONTEXT: &[(&str, &[&str])] =
    &[("ctx", &["uiBaseUrl", "project", "promotion", "stage", "targetFreight", "meta"])];
const CONTEXT_OF_VERIFICATION: &[(&str, &[&str])] = &[("ctx", &["project", "stage"])];

/// Steps that keep a value as what it turned into, rather than take it as a text.
const KEEPS_KIND: [&str; 2] = ["compose-output", "set-metadata"];

/// Checks every expression of a manifest.
pub(super) fn check(index: &Index<'_>, manifest: &Manifest, plugins: Option<&Plugins>, findings: &mut Vec<Finding>) {
    let mut check = Check { manifest, plugins, findings };
    match &manifest.resource {
        Resource::Warehouse(warehouse) => check.warehouse(&manifest.metadata.name, warehouse),
        Resource::ProjectConfig(config) => check.project_config(config),
        Resource::Stage(stage) => {
            let project = manifest.project().unwrap_or_default();
            let freight = Some(Freight::Of { index, project, stage });
            check.vars("/spec/vars", &stage.vars, &[], freight);
            check.vars("/spec/promotionTemplate/spec/vars", &stage.template_vars, &stage.vars, freight);
            let vars: Vec<&Variable> = stage.vars.iter().chain(&stage.template_vars).collect();
            let steps = aliases(index, manifest, &stage.steps);
            check.steps(&stage.steps, &vars, true, &Names { steps: &steps, freight, ..Names::default() });
            check.verification(stage, freight);
        }
        Resource::PromotionTask(task) | Resource::ClusterPromotionTask(task) => {
            let steps = aliases(index, manifest, &task.steps);
            let vars: Vec<&Variable> = task.vars.iter().collect();
            check.vars("/spec/vars", &task.vars, &[], None);
            check.steps(&task.steps, &vars, false, &Names { steps: &steps, in_task: true, ..Names::default() });
        }
        _ => {}
    }
}

/// The names of steps, with what the tasks among them hold.
fn aliases(index: &Index<'_>, manifest: &Manifest, steps: &[Step]) -> Vec<Alias> {
    let alias = |(at, step): (usize, &Step)| {
        let task = step.task.as_ref().and_then(|reference| {
            let (_, task) = find(index, manifest, reference)?;
            let own: Vec<String> = task.steps.iter().enumerate().map(|(at, step)| step.alias_at(at)).collect();
            let publishes = task.steps.iter().any(|step| step.uses.as_deref() == Some("compose-output"));
            Some((own, publishes))
        });
        // Of a task that is not there, nothing can be said.
        let task = task.or_else(|| step.task.as_ref().map(|_| (Vec::new(), true)));
        Alias { name: step.alias_at(at), task }
    };
    steps.iter().enumerate().map(alias).collect()
}

pub(super) struct Check<'c> {
    manifest: &'c Manifest,
    plugins: Option<&'c Plugins>,
    findings: &'c mut Vec<Finding>,
}

impl Check<'_> {
    fn is_full(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    fn note(
        &mut self,
        severity: Severity,
        rule: Rule,
        pointer: &str,
        part: Option<std::ops::Range<usize>>,
        message: String,
    ) {
        if self.is_full() {
            return;
        }
        self.findings.push(self.manifest.finding_in(severity, rule, pointer, part, message));
    }

    fn fault(&mut self, pointer: &str, error: &Error) {
        self.note(Severity::Error, Rule::Expression, pointer, Some(error.place()), error.message().to_owned());
    }

    /// Variables, each of which sees those before it.
    fn vars<'a>(&mut self, pointer: &str, vars: &'a [Variable], before: &'a [Variable], freight: Option<Freight<'a>>) {
        for (at, var) in vars.iter().enumerate() {
            let known = before.iter().chain(&vars[..at]).map(|var| var.name.as_str()).collect();
            let in_task = freight.is_none();
            let names = Names {
                variables: if in_task { &OF_STEPS } else { &OF_PROMOTION },
                members: CONTEXT,
                vars: (!in_task).then_some(known),
                in_task,
                freight,
                ..Names::default()
            };
            let turning = Turning { vars: plain(before.iter().chain(&vars[..at])), lossy: false };
            let pointer = format!("{pointer}/{at}/value");
            self.template(&pointer, &var.value, &Environment::promotion(), &names, Some(&turning));
        }
    }

    fn steps(&mut self, steps: &[Step], vars: &[&Variable], closed: bool, names: &Names<'_>) {
        let Some((_, list)) = steps_of(self.manifest) else { return };
        for (at, step) in steps.iter().enumerate() {
            let pointer = format!("{list}/{at}");
            let of_step = |own: usize| Names {
                variables: &OF_STEPS,
                members: CONTEXT,
                vars: closed
                    .then(|| vars.iter().copied().chain(&step.vars[..own]).map(|var| var.name.as_str()).collect()),
                before: at,
                ..names.clone()
            };
            for (own, var) in step.vars.iter().enumerate() {
                let pointer = format!("{pointer}/vars/{own}/value");
                self.template(&pointer, &var.value, &Environment::promotion(), &of_step(own), None);
            }
            let names = of_step(step.vars.len());
            let environment = Environment::step();
            if let Some(condition) = &step.condition {
                self.condition(&format!("{pointer}/if"), condition, &names);
            }
            let uses = step.uses.as_deref().unwrap_or_default();
            // A step of the host's says of each field whether it keeps texts; Kargo's do it everywhere but in these.
            let of_host = self.plugins.filter(|_| !STEPS.contains(&uses)).and_then(|plugins| plugins.step(uses).ok());
            let keeps_kind = KEEPS_KIND.contains(&uses) || of_host.is_some();
            let vars = keeps_kind.then(|| plain(vars.iter().copied().chain(&step.vars)));
            let turning = vars.map(|vars| Turning { vars, lossy: of_host.is_some() });
            let config = format!("{pointer}/config");
            texts_in(&step.config, &mut config.clone(), &mut |text, pointer| {
                let is_text = of_host.is_some_and(|step| step.takes_text(&pointer[config.len()..]));
                self.template(pointer, text, &environment, &names, turning.as_ref().filter(|_| !is_text));
            });
            self.bare_fields(uses, &step.config, &pointer);
        }
    }

    fn condition(&mut self, pointer: &str, condition: &str, names: &Names<'_>) {
        if !is_template(condition) {
            let message = format!("The condition is a text, not an expression; write ${{{{ {} }}}}.", condition.trim());
            self.note(Severity::Error, Rule::Expression, pointer, None, message);
            return;
        }
        self.template(pointer, condition, &Environment::step(), names, None);
        if let Some(message) = constant::no_condition(condition) {
            self.note(Severity::Error, Rule::Expression, pointer, None, message);
        }
    }

    fn verification(&mut self, stage: &Stage, freight: Option<Freight<'_>>) {
        let Some(verification) = &stage.verification else { return };
        for (at, argument) in verification.args.iter().enumerate() {
            let names = Names {
                variables: &OF_PROMOTION,
                members: CONTEXT_OF_VERIFICATION,
                vars: Some(stage.vars.iter().map(|var| var.name.as_str()).collect()),
                freight,
                ..Names::default()
            };
            let pointer = format!("/spec/verification/args/{at}/value");
            let turning = Turning { vars: plain(stage.vars.iter()), lossy: false };
            self.template(&pointer, &argument.value, &Environment::promotion(), &names, Some(&turning));
        }
    }

    /// A text with expressions; `turning` is given where a value keeps what it turned into.
    pub(super) fn template(
        &mut self,
        pointer: &str,
        text: &str,
        environment: &Environment,
        names: &Names<'_>,
        turning: Option<&Turning<'_>>,
    ) {
        if !is_template(text) || self.is_full() {
            return;
        }
        let template = match Template::parse(text, environment) {
            Ok(template) => template,
            Err(error) => return self.fault(pointer, &error),
        };
        for program in template.programs() {
            self.references(pointer, program, names);
        }
        if let Some(error) = constant::fault_of(&template) {
            self.fault(pointer, &error);
        } else if let Some(message) = turning.and_then(|turning| turns(text, &template, turning)) {
            self.note(Severity::Warning, Rule::Number, pointer, None, message);
        }
    }

    /// An expression without `${{ }}`; `names` is given where all that it may read is known.
    pub(super) fn bare(
        &mut self,
        pointer: &str,
        text: &str,
        environment: &Environment,
        names: Option<&Names<'_>>,
        wanted: Wanted,
    ) {
        let program = match Program::compile(text, environment) {
            Ok(program) => program,
            Err(error) => return self.fault(pointer, &error),
        };
        if let Some(names) = names {
            self.references(pointer, &program, names);
        }
        if let Some(Err(error)) = program.constant() {
            self.fault(pointer, &error);
        } else if wanted == Wanted::Bool
            && let Some(message) = constant::no_bool(&program)
        {
            self.note(Severity::Error, Rule::Expression, pointer, None, message);
        }
    }

    fn references(&mut self, pointer: &str, program: &Program, names: &Names<'_>) {
        for wrong in names.check(program) {
            self.note(wrong.severity, wrong.rule, pointer, Some(wrong.place), wrong.message);
        }
    }
}

/// The variables whose values have no expressions.
fn plain<'a>(vars: impl Iterator<Item = &'a Variable>) -> BTreeMap<&'a str, &'a str> {
    let mut plain = BTreeMap::new();
    for var in vars {
        if is_template(&var.value) {
            plain.remove(var.name.as_str());
        } else {
            plain.insert(var.name.as_str(), var.value.as_str());
        }
    }
    plain
}
