//! Promotions, as wishes: what is in a manifest beside stage and freight, Kargo overwrites when it takes one.

use serde_json::{Map, Value};

use super::step::Step;
use super::{Fields, Notes, origin, origin_value, put, put_list, put_some, spec};
use crate::manifest::finding::{Rule, Severity};
use crate::stage::Variable;

/// The wish that freight go to a stage. Its steps are the stage's, whatever the manifest says.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Promotion {
    /// The stage.
    pub stage: String,
    /// The freight, by its id. One of this and `origin` is set.
    pub freight: Option<String>,
    /// The warehouse whose newest freight is meant.
    pub origin: Option<String>,
    /// Variables, which the stage's take the place of.
    pub vars: Vec<Variable>,
    /// Steps, which the stage's take the place of.
    pub steps: Vec<Step>,
}

impl Promotion {
    pub(super) fn decode(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let Some(mut fields) = spec(fields, notes) else { return Self::default() };
        let stage = fields.resource_name(notes, "stage").unwrap_or_default();
        let freight = fields.some_text(notes, "freight");
        let origin = fields.take("origin").and_then(|at| origin(&at, notes));
        if freight.is_some() == origin.is_some() {
            let message = "A promotion names either freight or an origin; write one of the two.";
            notes.error(Rule::BadValue, fields.span, &fields.pointer, message);
        }
        fields.commercial(notes, "target", Severity::Error, "write a stage for each target.");
        let vars = Variable::decode_all(&mut fields, notes);
        let items = fields.items(notes, "steps");
        for item in &items {
            if let Some(task) = item.node.get("task") {
                let message =
                    "The steps of a promotion are those of its stage, with the tasks written out; take task out.";
                notes.error(Rule::BadValue, task.at, &format!("{}/task", item.pointer), message);
            }
        }
        let steps = Step::decode_all(&items, notes);
        fields.finish(notes);
        Self { stage, freight, origin, vars, steps }
    }

    pub(super) fn spec(&self) -> Value {
        let mut object = Map::new();
        put(&mut object, "stage", self.stage.as_str());
        put_some(&mut object, "freight", self.freight.as_deref());
        put_some(&mut object, "origin", self.origin.as_deref().map(origin_value));
        put_list(&mut object, "vars", self.vars.iter().map(Variable::value_of));
        put_list(&mut object, "steps", Step::values(&self.steps));
        object.into()
    }
}
