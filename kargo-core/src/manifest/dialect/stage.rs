//! Stages before Kargo 0.9: `subscriptions` and `promotionMechanisms`.

use super::mechanisms;
use crate::manifest::fields::{Fields, Notes};
use crate::manifest::finding::Rule;
use crate::manifest::kind::Stage;
use crate::name::WarehouseName;
use crate::stage::FreightRequest;

/// Reads what older files say of a stage.
pub(in crate::manifest) fn stage(stage: &mut Stage, fields: &mut Fields<'_>, notes: &mut Notes<'_>) {
    let instead = "write requestedFreight: an origin (the warehouse), and sources (direct, or stages).";
    if let Some(mut old) = fields.old(notes, "subscriptions", instead).and_then(|at| at.fields(notes)) {
        let warehouse: Option<WarehouseName> = old.some_text(notes, "warehouse").map(Into::into);
        for item in old.items(notes, "upstreamStages") {
            let Some(mut upstream) = item.fields(notes) else { continue };
            stage.upstream.extend(upstream.resource_name(notes, "name"));
            upstream.finish(notes);
        }
        if let Some(at) = old.retired("repos") {
            let message = "Stages no longer watch repositories by themselves; write a Warehouse with these subscriptions, and request its freight.";
            at.error(notes, Rule::OldDialect, message);
        }
        if let Some(warehouse) = warehouse {
            stage.requested_freight.push(FreightRequest::direct(warehouse));
        } else if stage.upstream.is_empty() && old.retired("repos").is_none() {
            old.missing(notes, "warehouse");
        }
        old.finish(notes);
    }
    let instead = "write promotionTemplate.spec.steps; the steps that stand for it are taken.";
    if let Some(at) = fields.old(notes, "promotionMechanisms", instead) {
        if stage.steps.is_empty() {
            stage.steps = mechanisms::steps(&at, notes);
        } else {
            let message = "Beside the steps of promotionTemplate, promotionMechanisms do nothing; take them out.";
            at.error(notes, Rule::OldDialect, message);
        }
    }
}
