//! Steps, their variables, and tasks: steps under a name.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{At, Fields, Notes, put, put_flag, put_list, put_some, spec};
use crate::manifest::dialect;
use crate::manifest::duration;
use crate::manifest::fields::named;
use crate::manifest::finding::Rule;
use crate::stage::{RetryPolicy, Variable};

/// One entry of a list of steps.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The step's kind, such as `git-clone`. Exactly one of this and `task` is set in what was read without an error.
    pub uses: Option<String>,
    /// The task whose steps stand here.
    pub task: Option<TaskRef>,
    /// The name under which others find it (`as`).
    pub alias: Option<String>,
    /// When it runs (`if`), a template.
    pub condition: Option<String>,
    /// Whether the promotion can succeed when the step does not.
    pub continue_on_error: bool,
    /// How errors are met, and how long it may take.
    pub retry: RetryPolicy,
    /// Its variables, after those of stage, template and task.
    pub vars: Vec<Variable>,
    /// Its configuration, whose texts are templates.
    pub config: Value,
}

/// The task that a step stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskRef {
    /// The name.
    pub name: String,
    /// Whether it is one for all projects.
    pub cluster: bool,
}

impl TaskRef {
    /// The kind of the task.
    pub fn kind(&self) -> &'static str {
        if self.cluster { "ClusterPromotionTask" } else { "PromotionTask" }
    }
}

/// Steps under a name: a `PromotionTask` or a `ClusterPromotionTask`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Task {
    /// What it wants to be told, with defaults. One whose value is empty must be given.
    pub vars: Vec<Variable>,
    /// What it does.
    pub steps: Vec<Step>,
}

impl Step {
    pub(super) fn decode(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Self> {
        let mut fields = at.fields(notes)?;
        let task = fields.take("task").and_then(|at| {
            let mut fields = at.fields(notes)?;
            let name = fields.resource_name(notes, "name");
            let kind = fields.word(notes, "kind", &["PromotionTask", "ClusterPromotionTask"]);
            fields.finish(notes);
            Some(TaskRef { name: name?, cluster: kind == Some("ClusterPromotionTask") })
        });
        let is_task = fields.take("task").is_some();
        let uses = match fields.take("uses") {
            Some(at) if is_task => {
                at.error(notes, Rule::BadValue, "A step has uses or task, not both; take one out.");
                None
            }
            Some(_) => fields.required_text(notes, "uses"),
            None if is_task => None,
            None => {
                fields.missing(notes, "uses");
                None
            }
        };
        let alias = fields.some_text(notes, "as");
        if let Some(alias) = &alias
            && reserved(alias)
            && let Some(at) = fields.take("as")
        {
            let message = format!(
                "A step cannot be named {alias:?}, a form that is kept for steps without a name; choose another name."
            );
            at.error(notes, Rule::BadValue, message);
        }
        if is_task {
            for name in ["if", "config", "continueOnError", "retry"] {
                if let Some(at) = fields.take(name) {
                    let message =
                        format!("A step with a task cannot have {name}; write it into the steps of the task.");
                    at.error(notes, Rule::BadValue, message);
                }
            }
        }
        let condition = fields.some_text(notes, "if");
        let continue_on_error = fields.flag(notes, "continueOnError").unwrap_or_default();
        let mut retry = RetryPolicy::default();
        if let Some(mut fields) = fields.object(notes, "retry") {
            retry.timeout = fields.duration(notes, "timeout");
            let threshold = fields.count(notes, "errorThreshold", 0..=u64::from(u32::MAX));
            retry.error_threshold = threshold.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
            fields.finish(notes);
        }
        let vars = Variable::decode_all(&mut fields, notes);
        let mut config = Value::Object(Map::new());
        let config_at = fields.take("config").filter(|at| at.fields(notes).is_some());
        if let Some(at) = &config_at {
            config = at.node.json();
        }
        fields.finish(notes);
        let mut step = Self { uses, task, alias, condition, continue_on_error, retry, vars, config };
        if let Some(at) = config_at {
            dialect::step(&mut step, &at, notes);
        }
        Some(step)
    }

    /// Reads a list of steps, in which each alias may stand once.
    pub(super) fn decode_all(items: &[At<'_>], notes: &mut Notes<'_>) -> Vec<Self> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut steps = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Some(step) = Self::decode(item, notes) else { continue };
            if let Some(alias) = &step.alias
                && let Some(first) = seen.insert(alias.clone(), index)
            {
                let at = item.node.get("as").map_or(item.span(), |entry| entry.node.span);
                let message = format!("Step {} is named {alias:?} already; rename one.", first + 1);
                notes.error(Rule::Duplicate, at, &format!("{}/as", item.pointer), message);
            }
            steps.push(step);
        }
        steps
    }

    /// Its alias among others: its own, or the one that its place gives it. `index` counts from 0.
    pub fn alias_at(&self, index: usize) -> String {
        match (&self.alias, &self.task) {
            (Some(alias), _) => alias.clone(),
            (None, Some(_)) => format!("task-{}", index + 1),
            (None, None) => format!("step-{}", index + 1),
        }
    }

    fn value(&self) -> Value {
        let mut object = Map::new();
        put_some(&mut object, "uses", self.uses.as_deref());
        if let Some(task) = &self.task {
            let mut reference = json!({"name": task.name});
            if task.cluster {
                reference["kind"] = task.kind().into();
            }
            put(&mut object, "task", reference);
        }
        put_some(&mut object, "as", self.alias.as_deref());
        put_some(&mut object, "if", self.condition.as_deref());
        put_flag(&mut object, "continueOnError", self.continue_on_error);
        let mut retry = Map::new();
        put_some(&mut retry, "timeout", self.retry.timeout.map(duration::write));
        put_some(&mut retry, "errorThreshold", self.retry.error_threshold);
        if !retry.is_empty() {
            put(&mut object, "retry", retry);
        }
        put_list(&mut object, "vars", self.vars.iter().map(Variable::value_of));
        if self.config.as_object().is_none_or(|config| !config.is_empty()) {
            put(&mut object, "config", self.config.clone());
        }
        object.into()
    }

    pub(super) fn values(steps: &[Self]) -> impl Iterator<Item = Value> {
        steps.iter().map(Self::value)
    }
}

/// Aliases that steps without a name have.
fn reserved(alias: &str) -> bool {
    let digits = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    ["step-", "task-"].iter().any(|prefix| alias.strip_prefix(prefix).is_some_and(digits))
}

impl Variable {
    pub(in crate::manifest) fn value_of(&self) -> Value {
        let mut object = Map::new();
        put(&mut object, "name", self.name.as_str());
        if !self.value.is_empty() {
            put(&mut object, "value", self.value.as_str());
        }
        object.into()
    }

    /// Reads the `vars` of whatever `fields` are.
    pub(super) fn decode_all(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Vec<Self> {
        let items = fields.items(notes, "vars");
        items.iter().filter_map(|item| Self::decode(item, notes)).collect()
    }

    pub(super) fn decode(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Self> {
        let mut fields = at.fields(notes)?;
        let name = fields.required_text(notes, "name");
        if let Some(name) = &name
            && let Some(at) = fields.take("name")
        {
            let first = |c: char| c.is_ascii_alphabetic() || c == '_';
            if !name.starts_with(first) || !name.chars().all(|c| first(c) || c.is_ascii_digit()) {
                let message = format!(
                    "{} cannot be {name:?}: letters, digits and _ may stand in it, and it does not begin with a digit.",
                    named(&at.pointer)
                );
                at.error(notes, Rule::BadValue, message);
            }
        }
        let value = fields.text(notes, "value").unwrap_or_default();
        fields.finish(notes);
        Some(Self { name: name?, value })
    }
}

impl Task {
    pub(super) fn decode(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let Some(mut fields) = spec(fields, notes) else { return Self { vars: Vec::new(), steps: Vec::new() } };
        let vars = Variable::decode_all(&mut fields, notes);
        let items = fields.items(notes, "steps");
        for item in &items {
            if let Some(task) = item.node.get("task") {
                let message = "A task cannot use another task; write its steps out.";
                notes.error(Rule::BadValue, task.at, &format!("{}/task", item.pointer), message);
            }
        }
        let steps = Step::decode_all(&items, notes);
        if items.is_empty() {
            fields.missing(notes, "steps");
        }
        fields.finish(notes);
        Self { vars, steps }
    }

    pub(super) fn spec(&self) -> Value {
        let mut object = Map::new();
        put_list(&mut object, "vars", self.vars.iter().map(Variable::value_of));
        put_list(&mut object, "steps", Step::values(&self.steps));
        object.into()
    }
}
