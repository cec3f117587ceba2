//! Expressions in the configuration and the conditions of steps and verifiers, evaluated when these are called.

mod known;
mod mask;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Shared;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::expr::{Config, Environment, Map as Variables, RenderedConfig, Scope, Template, Value as Found, kargo};
use crate::plugin::{Context, ProjectData};
use crate::promotion::{Phase, PromotionInfo};
use crate::stage::{Condition, Variable, VerifierSpec};
use crate::state::{Promotion, State};

use known::{Answers, Known};
pub(super) use mask::Secrets;

/// What separates a task's alias from those of its steps, as Kargo writes them.
const TASK: &str = "::";

/// A step before the one at hand, as far as expressions see it.
#[derive(Debug, Clone)]
pub(super) struct StepBefore {
    pub(super) alias: String,
    pub(super) phase: Phase,
    /// Whether the promotion fails when it does.
    pub(super) counts: bool,
    /// Whether what it puts out is also put out by the task that it is part of.
    pub(super) composes: bool,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) errors: u32,
    pub(super) message: String,
}

impl StepBefore {
    fn record(&self) -> Found {
        let fields = kargo::StepFields {
            alias: &self.alias,
            started_at: self.started_at,
            finished_at: self.finished_at,
            error_count: self.errors,
            status: &self.phase.to_string(),
            message: &self.message,
            continue_on_error: !self.counts,
        };
        kargo::step(&fields).into()
    }
}

/// What expressions see of the promotion beside what plug-ins see.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    /// Where metadata is looked up.
    pub(super) shared: Arc<Shared>,
    pub(super) freight_alias: String,
    pub(super) rollback: bool,
    pub(super) aborted: bool,
    pub(super) before: Vec<StepBefore>,
}

impl Surroundings {
    /// What the step at `index` sees, or with `None` the verification of the whole.
    pub(super) fn of(shared: &Arc<Shared>, state: &State, promotion: &Promotion, index: Option<usize>) -> Self {
        let alias = state.freight_by_id(&promotion.freight).and_then(|known| known.alias());
        let steps = promotion.steps.iter().take(index.unwrap_or(promotion.steps.len()));
        Self {
            shared: Arc::clone(shared),
            freight_alias: alias.unwrap_or_default().to_owned(),
            rollback: promotion.rollback.is_some(),
            aborted: promotion.abort.is_some(),
            before: steps
                .map(|step| StepBefore {
                    alias: step.alias.clone(),
                    phase: step.task.phase,
                    counts: !step.spec.continue_on_error,
                    composes: step.spec.uses == "compose-output",
                    started_at: step.task.started_at,
                    finished_at: step.task.finished_at,
                    errors: step.task.errors,
                    message: step.task.message.clone(),
                })
                .collect(),
        }
    }
}

impl crate::stage::Before for Surroundings {
    fn failed(&self) -> bool {
        self.before
            .iter()
            .any(|step| step.counts && matches!(step.phase, Phase::Failed | Phase::Inconclusive | Phase::Errored))
    }

    fn aborted(&self) -> bool {
        self.aborted
    }

    fn phase_of(&self, step: &str) -> Option<Phase> {
        self.before.iter().find(|before| before.alias == step).map(|before| before.phase)
    }
}

/// What a step or a verifier is called with.
#[derive(Debug)]
pub(super) struct Evaluated {
    /// The configuration; none when the condition does not hold.
    pub(super) config: Option<Value>,
    pub(super) secrets: Secrets,
}

/// The value of a variable that comes from secrets, and what it was made of.
type SecretVariable = (Value, Vec<Arc<str>>);

/// What is to be evaluated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Texts<'a> {
    vars: &'a [Variable],
    condition: Option<&'a Condition>,
    config: &'a Value,
    /// Whether it is a verifier's, for which there are no steps.
    verifier: bool,
}

impl<'a> Texts<'a> {
    pub(crate) fn of_step(spec: &'a crate::stage::StepSpec) -> Self {
        Self { vars: &spec.vars, condition: spec.condition.as_ref(), config: &spec.config, verifier: false }
    }

    pub(crate) fn of_verifier(spec: &'a VerifierSpec) -> Self {
        Self { vars: &spec.vars, condition: None, config: &spec.config, verifier: true }
    }

    /// The same when it is known already that the step runs: its condition counts only when it begins.
    pub(super) fn begun(self) -> Self {
        Self { condition: None, ..self }
    }

    /// Whether there is anything to evaluate. Variables alone are not: nobody could read them.
    pub(super) fn any(&self) -> bool {
        self.condition.is_some_and(Condition::has_expression) || has_expression(self.config)
    }

    fn environment(&self) -> Environment {
        if self.verifier { Environment::promotion() } else { Environment::step() }
    }

    /// Compiles all there is.
    ///
    /// # Errors
    /// The first text that is no template.
    pub(crate) fn check(&self) -> Result<()> {
        for variable in self.vars {
            Template::parse(&variable.value, &Environment::promotion())
                .map_err(|error| of_variable(variable, error))?;
        }
        for text in self.condition.into_iter().flat_map(Condition::expressions) {
            Template::parse(text, &Environment::step()).map_err(|error| of("if", error))?;
        }
        Config::parse(self.config, &self.environment())?;
        Ok(())
    }

    /// Evaluates all there is, as at the time at which the step was started. `takes_text` says which fields of the configuration take a
    /// text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], and no other try, when something cannot be evaluated; the error of the project's data when that
    /// cannot be had.
    pub(super) async fn evaluate(
        &self,
        cx: &Context,
        (info, alias, started_at): (&PromotionInfo, &str, Timestamp),
        surroundings: &Surroundings,
        outputs: &[(String, Map<String, Value>)],
        data: Option<&dyn ProjectData>,
        takes_text: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<Evaluated> {
        let mut answers = Answers::default();
        loop {
            let (evaluated, missing) = {
                let known = Known::new((info, alias), surroundings, &answers, data.is_some());
                let scope = scope((info, alias, started_at), surroundings, outputs, &known);
                let evaluated = scope.and_then(|scope| self.evaluate_with(scope, surroundings, takes_text));
                (evaluated, known.missing())
            };
            match evaluated {
                Ok(Some((rendered, variables))) => {
                    let secrets = Secrets::of(&rendered, &variables, answers.secrets());
                    return Ok(Evaluated { config: Some(rendered.value), secrets });
                }
                Ok(None) => return Ok(Evaluated { config: None, secrets: Secrets::default() }),
                Err(error) => {
                    if !answers.fetch(cx, info, data, missing).await? {
                        // What it would have been part of is not known.
                        return Err(Secrets::all(answers.secrets()).mask_error(error.retry_as(Retry::Never)));
                    }
                }
            }
        }
    }

    fn evaluate_with(
        &self,
        mut scope: Scope<'_>,
        surroundings: &Surroundings,
        takes_text: &dyn Fn(&str) -> bool,
    ) -> Result<Option<(RenderedConfig, Vec<SecretVariable>)>> {
        let (mut vars, mut from_secrets) = (Variables::empty(), Vec::new());
        scope = scope.variable("vars", Found::Map(vars.clone())).map_err(fault)?;
        for variable in self.vars {
            let template = Template::parse(&variable.value, &Environment::promotion());
            let rendered = template.and_then(|template| template.evaluate(&scope));
            let rendered = rendered.map_err(|error| of_variable(variable, error))?;
            let value = rendered.own_value().map_err(|error| of_variable(variable, error))?;
            vars.set(variable.name.as_str(), Found::from_json(&value).map_err(fault)?).map_err(fault)?;
            scope = scope.variable("vars", Found::Map(vars.clone())).map_err(fault)?;
            if rendered.sensitive() {
                scope = scope.sensitive(format!("vars.{}", variable.name));
                from_secrets.push((value, rendered.secrets().to_vec()));
            }
        }
        if let Some(condition) = self.condition.filter(|condition| condition.has_expression()) {
            let mut failed = None;
            let holds = condition.holds(surroundings, &mut |text| {
                let value = Template::parse(text, &Environment::step())
                    .and_then(|template| template.evaluate(&scope))
                    .and_then(|rendered| rendered.value())
                    .map_err(|error| of("if", error))
                    .and_then(|value| value.as_bool().ok_or_else(|| no_bool(text)));
                match value {
                    Ok(holds) => Some(holds),
                    Err(error) => {
                        failed.get_or_insert(error);
                        None
                    }
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
            if holds != Some(true) {
                return Ok(None);
            }
        }
        let rendered = Config::parse(self.config, &self.environment())?.render(&scope, takes_text)?;
        Ok(Some((rendered, from_secrets)))
    }
}

fn fault(fault: crate::expr::Fault) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("What expressions can read is not fit for them: {}", fault.message()))
}

fn of(what: &str, error: crate::expr::Error) -> Error {
    let error = Error::from(error);
    Error::new(error.kind(), format!("Its {what}: {}", error.report())).retry_as(error.retry())
}

fn of_variable(variable: &Variable, error: crate::expr::Error) -> Error {
    of(&format!("variable {:?}", variable.name), error)
}

fn no_bool(text: &str) -> Error {
    let message =
        format!("Its if is {text:?}, which gives neither true nor false; write a condition between ${{{{ and }}}}.");
    Error::new(ErrorKind::InvalidInput, message)
}

fn scope<'k>(
    (info, alias, started_at): (&PromotionInfo, &str, Timestamp),
    surroundings: &Surroundings,
    outputs: &[(String, Map<String, Value>)],
    known: &'k Known<'_>,
) -> Result<Scope<'k>> {
    let freight = &info.freight;
    let ctx = json!({
        "uiBaseUrl": info.ui_base_url.as_deref().unwrap_or_default(),
        "project": info.pipeline.as_str(),
        "promotion": info.id.as_str(),
        "stage": info.stage.as_str(),
        "targetFreight": {
            "name": freight.id().as_str(),
            "alias": surroundings.freight_alias,
            "origin": { "kind": "Warehouse", "name": freight.origin().as_str() },
        },
        "meta": {
            "promotion": { "actor": info.actor.as_str(), "rollback": surroundings.rollback },
            "step": { "alias": alias },
        },
    });
    let (of_all, of_task) = seen(alias, &surroundings.before, outputs);
    let value = |value: &Value| Found::from_json(value).map_err(fault);
    let scope = Scope::default().host(known).now(started_at);
    let scope = scope.variable("ctx", value(&ctx)?).map_err(fault)?;
    let scope = scope.variable("outputs", value(&Value::Object(of_all))?).map_err(fault)?;
    let metas = surroundings.before.iter().map(|step| (step.alias.as_str().into(), step.record()));
    let scope = scope.variable("stepMetas", Variables::new(metas.collect()).map_err(fault)?).map_err(fault)?;
    match of_task {
        Some(of_task) => scope.variable("task", value(&json!({ "outputs": of_task }))?).map_err(fault),
        None => Ok(scope),
    }
}

/// The outputs by alias, and for a step of a task those of the task's steps by their own names in it.
fn seen(
    alias: &str,
    before: &[StepBefore],
    outputs: &[(String, Map<String, Value>)],
) -> (Map<String, Value>, Option<Map<String, Value>>) {
    let mut of_all = Map::new();
    let mut of_task = task_of(alias).map(|_| Map::new());
    for (name, put_out) in outputs {
        of_all.insert(name.clone(), Value::Object(put_out.clone()));
        if let (Some(task), true) = (task_of(name), before.iter().any(|step| step.composes && step.alias == *name)) {
            let of_the_task = of_all.entry(task).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entries) = of_the_task {
                entries.extend(put_out.clone());
            }
        }
        if let Some(of_task) = of_task.as_mut().filter(|_| task_of(name) == task_of(alias)) {
            of_task.insert(short_alias(name).to_owned(), Value::Object(put_out.clone()));
        }
    }
    (of_all, of_task)
}

/// The task that a step is part of, by its alias.
fn task_of(alias: &str) -> Option<&str> {
    alias.split_once(TASK).filter(|(_, rest)| !rest.contains(TASK)).map(|(task, _)| task)
}

/// The alias of a step in its task.
fn short_alias(alias: &str) -> &str {
    match task_of(alias) {
        Some(task) => &alias[task.len() + TASK.len()..],
        None => alias,
    }
}

/// Whether a text somewhere in a configuration holds an expression.
pub(crate) fn has_expression(config: &Value) -> bool {
    match config {
        Value::String(text) => text.contains("${{") || text.contains("${%"),
        Value::Array(items) => items.iter().any(has_expression),
        Value::Object(entries) => entries.values().any(has_expression),
        _ => false,
    }
}
