//! Expressions that stand without `${{ }}`, outside of steps' templates: of HTTP answers and files, of what was discovered, of links and
//! of webhooks.

use serde_json::Value;

use super::expressions::Check;
use super::references::{Freight, Names};
use crate::expr::Environment;
use crate::manifest::finding::below;
use crate::manifest::kind::{ProjectConfig, Warehouse};
use crate::manifest::pipeline::texts_in;
use crate::plugin::is_template;

/// What `expressionFilter` sees of a commit of a branch, and of a tag.
const OF_COMMITS: [&str; 5] = ["id", "commitDate", "author", "committer", "subject"];
const OF_TAGS: [&str; 8] = ["tag", "id", "creatorDate", "author", "committer", "subject", "tagger", "annotation"];
/// What `http` sees of an answer.
const OF_ANSWERS: &[(&str, &[&str])] = &[("response", &["status", "header", "headers", "body"])];
/// What a generic webhook sees.
const OF_WEBHOOKS: &[(&str, &[&str])] = &[("request", &["header", "headers", "body", "params"])];

/// What is done with the value of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is kept, whatever it is.
    Any,
    /// It must be true or false.
    Bool,
}

impl Check<'_> {
    pub(super) fn warehouse(&mut self, name: &str, warehouse: &Warehouse) {
        if let Some(expression) = &warehouse.freight_creation_criteria {
            let names = Names { freight: Some(Freight::Discovered { name, warehouse }), ..Names::default() };
            let pointer = "/spec/freightCreationCriteria/expression";
            self.bare(pointer, expression, &Environment::criteria(), Some(&names), Wanted::Bool);
        }
        for (at, subscription) in warehouse.subscriptions.iter().enumerate() {
            let text = |name: &str| subscription.config.get(name).and_then(Value::as_str);
            let Some(expression) = text("expressionFilter").filter(|_| subscription.source == "git") else {
                continue;
            };
            let of_branch = text("commitSelectionStrategy").is_none_or(|strategy| strategy == "NewestFromBranch");
            let variables: &'static [&'static str] = if of_branch { &OF_COMMITS } else { &OF_TAGS };
            let pointer = format!("/spec/subscriptions/{at}/git/expressionFilter");
            let names = Names { variables, ..Names::default() };
            self.bare(&pointer, expression, &Environment::bare(), Some(&names), Wanted::Bool);
        }
    }

    /// Those of a step's configuration, which see only what the step has read.
    pub(super) fn bare_fields(&mut self, uses: &str, config: &Value, pointer: &str) {
        let of_answer = Names { variables: &["response"], members: OF_ANSWERS, ..Names::default() };
        let is_http = uses == "http";
        // What a file has at its top is not known.
        let names = is_http.then_some(&of_answer);
        let mut bare = |value: Option<&Value>, at: String, wanted: Wanted| {
            if let Some(text) = value.and_then(Value::as_str).filter(|text| !is_template(text)) {
                self.bare(&format!("{pointer}/config{at}"), text, &Environment::bare(), names, wanted);
            }
        };
        if is_http {
            for name in ["successExpression", "failureExpression"] {
                bare(config.get(name), format!("/{name}"), Wanted::Bool);
            }
            bare(config.get("errorExpression"), "/errorExpression".to_owned(), Wanted::Any);
        }
        if is_http || matches!(uses, "json-parse" | "yaml-parse" | "toml-parse") {
            let outputs = config.get("outputs").and_then(Value::as_array);
            for (at, output) in outputs.into_iter().flatten().enumerate() {
                bare(output.get("fromExpression"), format!("/outputs/{at}/fromExpression"), Wanted::Any);
            }
        }
    }

    pub(super) fn project_config(&mut self, config: &ProjectConfig) {
        let links: [(_, _, &'static [&'static str]); 2] =
            [("freightLinks", &config.freight_links, &["freight"]), ("stageLinks", &config.stage_links, &["stage"])];
        for (name, links, variables) in links {
            for (at, link) in links.iter().enumerate() {
                if let Some(condition) = link.get("if").and_then(Value::as_str) {
                    let names = Names { variables, ..Names::default() };
                    let pointer = format!("/spec/{name}/{at}/if");
                    self.bare(&pointer, condition, &Environment::bare(), Some(&names), Wanted::Bool);
                }
            }
        }
        let names = Names { variables: &["request", "params"], members: OF_WEBHOOKS, ..Names::default() };
        for (at, receiver) in config.webhook_receivers.iter().enumerate() {
            let actions = receiver.pointer("/generic/actions").and_then(Value::as_array);
            for (number, action) in actions.into_iter().flatten().enumerate() {
                let pointer = format!("/spec/webhookReceivers/{at}/generic/actions/{number}");
                if let Some(when) = action.get("whenExpression").and_then(Value::as_str) {
                    let pointer = below(&pointer, "whenExpression");
                    self.bare(&pointer, when, &Environment::webhook(), Some(&names), Wanted::Bool);
                }
                let selectors = action.get("targetSelectionCriteria").unwrap_or(&Value::Null);
                texts_in(selectors, &mut below(&pointer, "targetSelectionCriteria"), &mut |text, pointer| {
                    self.template(pointer, text, &Environment::webhook(), &names, None);
                });
            }
        }
    }
}
