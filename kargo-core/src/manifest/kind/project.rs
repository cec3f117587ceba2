//! Projects and their rules.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::webhook::check_receiver;
use super::{At, Fields, Notes, Resource, put, put_flag, put_list, put_some, put_texts, spec};
use crate::manifest::fields::{listed, named};
use crate::manifest::finding::{Rule, Severity};
use crate::promotion::Phase;
use crate::stage::{AutoRollback, LabelRequirement, PromotionPolicy, StagePattern, StageSelector};

/// A `Project`, which says nothing but its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Project {}

/// The rules of a project. It has the project's name.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ProjectConfig {
    /// Which stages promote, and go back, by themselves. The first that matches a stage counts.
    pub promotion_policies: Vec<PromotionPolicy>,
    /// Who may tell of news over HTTP. Kept as it is.
    pub webhook_receivers: Vec<Value>,
    /// Links beside freight. Kept as they are.
    pub freight_links: Vec<Value>,
    /// Links beside stages. Kept as they are.
    pub stage_links: Vec<Value>,
    /// When promotions may start. Kept as they are, and not enforced.
    pub promotion_windows: Vec<Value>,
}

/// Reads a project, and the policies that older files have in it as a configuration of their own.
pub(super) fn decode_project(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Vec<Resource> {
    let mut resources = vec![Resource::Project(Project {})];
    let Some(mut spec) = fields.take("spec").and_then(|at| at.fields(notes)) else { return resources };
    let instead = "write the policies into a ProjectConfig of the project's name.";
    let policies = spec.old(notes, "promotionPolicies", instead).map(|at| at.items(notes)).unwrap_or_default();
    spec.finish(notes);
    if !policies.is_empty() {
        let promotion_policies = decode_policies(&policies, notes);
        resources.push(Resource::ProjectConfig(ProjectConfig { promotion_policies, ..ProjectConfig::default() }));
    }
    resources
}

impl ProjectConfig {
    pub(super) fn decode(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let Some(mut fields) = spec(fields, notes) else { return Self::default() };
        let policies = fields.items(notes, "promotionPolicies");
        let promotion_policies = decode_policies(&policies, notes);
        let receivers = fields.items(notes, "webhookReceivers");
        let mut names = BTreeSet::new();
        receivers.iter().for_each(|at| check_receiver(at, &mut names, notes));
        let mut links = |name| -> Vec<Value> {
            let links = fields.items(notes, name);
            links.iter().for_each(|at| check_link(at, notes));
            links.iter().map(|at| at.node.json()).collect()
        };
        let (freight_links, stage_links) = (links("freightLinks"), links("stageLinks"));
        let instead = "windows are kept, and do not hold promotions back here; hold the stages, or promote by hand.";
        let windows = fields.commercial(notes, "promotionWindows", Severity::Warning, instead);
        let windows = windows.map(|at| at.items(notes)).unwrap_or_default();
        fields.finish(notes);
        let values = |items: Vec<At<'_>>| items.iter().map(|at| at.node.json()).collect();
        Self {
            promotion_policies,
            webhook_receivers: values(receivers),
            freight_links,
            stage_links,
            promotion_windows: values(windows),
        }
    }

    pub(super) fn spec(&self) -> Value {
        let mut object = Map::new();
        put_list(&mut object, "promotionPolicies", self.promotion_policies.iter().map(policy_value));
        let lists = [
            ("webhookReceivers", &self.webhook_receivers),
            ("freightLinks", &self.freight_links),
            ("stageLinks", &self.stage_links),
            ("promotionWindows", &self.promotion_windows),
        ];
        for (name, values) in lists {
            put_list(&mut object, name, values.iter().cloned());
        }
        object.into()
    }
}

fn decode_policies(items: &[At<'_>], notes: &mut Notes<'_>) -> Vec<PromotionPolicy> {
    let mut exact = BTreeSet::new();
    let mut policies = Vec::new();
    for item in items {
        let Some(policy) = decode_policy(item, notes) else { continue };
        if let Some(name) = policy.selector.name.as_ref().and_then(StagePattern::exact)
            && !exact.insert(name.to_owned())
        {
            let message = format!("Two policies are for the stage {name:?}; the second never counts, so remove one.");
            item.error(notes, Rule::Duplicate, message);
            continue;
        }
        policies.push(policy);
    }
    policies
}

fn decode_policy(at: &At<'_>, notes: &mut Notes<'_>) -> Option<PromotionPolicy> {
    let mut fields = at.fields(notes)?;
    let selected = fields.take("stageSelector");
    let instead = "write stageSelector: with the name.";
    let stage = fields.old(notes, "stage", instead).and_then(|at| at.text(notes)).filter(|stage| !stage.is_empty());
    let selector = match (selected, stage) {
        (Some(at), None) => decode_selector(&at, notes).unwrap_or_default(),
        (None, Some(stage)) => StageSelector::name(stage),
        (None, None) => {
            fields.missing(notes, "stageSelector");
            return None;
        }
        (Some(at), Some(_)) => {
            at.error(notes, Rule::BadValue, "A policy has stageSelector or stage, not both; take stage out.");
            return None;
        }
    };
    let auto_promote = fields.flag(notes, "autoPromotionEnabled").unwrap_or_default();
    let auto_rollback = fields.object(notes, "autoRollback").map(|mut fields| {
        let on_promotion =
            phases(&mut fields, notes, "onPromotion", &[("Failed", Phase::Failed), ("Errored", Phase::Errored)]);
        let on_verification =
            phases(&mut fields, notes, "onVerification", &[("Failed", Phase::Failed), ("Error", Phase::Errored)]);
        fields.finish(notes);
        AutoRollback {
            on_promotion: on_promotion.unwrap_or_default(),
            on_verification: on_verification.unwrap_or_else(|| BTreeSet::from([Phase::Failed])),
            ..AutoRollback::on_failed_verification()
        }
    });
    fields.finish(notes);
    Some(PromotionPolicy { selector, auto_promote, auto_rollback })
}

fn phases(
    fields: &mut Fields<'_>,
    notes: &mut Notes<'_>,
    name: &'static str,
    known: &[(&str, Phase)],
) -> Option<BTreeSet<Phase>> {
    let at = fields.take(name)?;
    let mut phases = BTreeSet::new();
    for item in at.items(notes) {
        let Some(text) = item.text(notes) else { continue };
        match known.iter().find(|(word, _)| *word == text) {
            Some((_, phase)) => drop(phases.insert(*phase)),
            None => {
                let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
                let message = format!("{} cannot be {text:?}; it can be {}.", named(&item.pointer), listed(&words));
                item.error(notes, Rule::BadValue, message);
            }
        }
    }
    Some(phases)
}

fn decode_selector(at: &At<'_>, notes: &mut Notes<'_>) -> Option<StageSelector> {
    let mut fields = at.fields(notes)?;
    let mut selector = StageSelector::all();
    if let Some(name) = fields.some_text(notes, "name") {
        selector.name = Some(name.into());
        // The pattern is tried, so that it is refused here rather than when the pipeline is made.
        if let (Err(fault), Some(at)) = (selector.matcher().map(|_| ()), fields.take("name")) {
            at.error(notes, Rule::BadValue, format!("{} cannot be used: {fault}.", named(&at.pointer)));
            selector.name = None;
        }
    }
    selector.match_labels = fields.text_map(notes, "matchLabels");
    for item in fields.items(notes, "matchExpressions") {
        let Some(mut fields) = item.fields(notes) else { continue };
        let key = fields.required_text(notes, "key");
        let operator = fields.word(notes, "operator", &["In", "NotIn", "Exists", "DoesNotExist"]);
        let values = fields.texts(notes, "values");
        if operator.is_none() && fields.take("operator").is_none() {
            fields.missing(notes, "operator");
        }
        let takes_values = matches!(operator, Some("In" | "NotIn"));
        if operator.is_some() && takes_values == values.is_empty() {
            let message = if takes_values {
                "In and NotIn need values; add some."
            } else {
                "Exists and DoesNotExist take no values; take them out."
            };
            item.error(notes, Rule::BadValue, message);
        }
        fields.finish(notes);
        let (Some(key), Some(operator)) = (key, operator) else { continue };
        selector.match_expressions.push(match operator {
            "In" => LabelRequirement::In { key, values },
            "NotIn" => LabelRequirement::NotIn { key, values },
            "Exists" => LabelRequirement::Exists { key },
            _ => LabelRequirement::DoesNotExist { key },
        });
    }
    fields.finish(notes);
    Some(selector)
}

fn policy_value(policy: &PromotionPolicy) -> Value {
    let mut object = Map::new();
    let mut selector = Map::new();
    put_some(&mut selector, "name", policy.selector.name.as_ref().map(ToString::to_string));
    put_texts(&mut selector, "matchLabels", &policy.selector.match_labels);
    put_list(
        &mut selector,
        "matchExpressions",
        policy.selector.match_expressions.iter().map(|one| match one {
            LabelRequirement::In { key, values } => json!({"key": key, "operator": "In", "values": values}),
            LabelRequirement::NotIn { key, values } => json!({"key": key, "operator": "NotIn", "values": values}),
            LabelRequirement::Exists { key } => json!({"key": key, "operator": "Exists"}),
            LabelRequirement::DoesNotExist { key } => json!({"key": key, "operator": "DoesNotExist"}),
        }),
    );
    put(&mut object, "stageSelector", selector);
    put_flag(&mut object, "autoPromotionEnabled", policy.auto_promote);
    if let Some(rollback) = &policy.auto_rollback {
        let words = |phases: &BTreeSet<Phase>, errored: &str| -> Vec<String> {
            phases
                .iter()
                .map(|phase| if *phase == Phase::Errored { errored.to_owned() } else { phase.to_string() })
                .collect()
        };
        let value = json!({
            "onPromotion": words(&rollback.on_promotion, "Errored"),
            "onVerification": words(&rollback.on_verification, "Error"),
        });
        put(&mut object, "autoRollback", value);
    }
    object.into()
}

fn check_link(at: &At<'_>, notes: &mut Notes<'_>) {
    let Some(mut fields) = at.fields(notes) else { return };
    fields.required_text(notes, "title");
    fields.required_text(notes, "url");
    fields.text(notes, "description");
    fields.text(notes, "if");
    fields.finish(notes);
}
