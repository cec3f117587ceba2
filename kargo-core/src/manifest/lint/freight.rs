//! Freight that its warehouse could not have made, and aliases that several pieces have.

use std::collections::BTreeMap;

use crate::artifact::without_password;
use crate::manifest::finding::{Finding, Rule, Severity};
use crate::manifest::kind::{Freight, Resource, place, place_of};
use crate::manifest::pipeline::Index;
use crate::manifest::{Manifest, Manifests};

/// An artifact of freight, as subscriptions find it.
struct Found<'a> {
    source: &'static str,
    place: String,
    shown: String,
    subscription: Option<&'a str>,
    pointer: String,
}

pub(super) fn check(index: &Index<'_>, manifests: &Manifests, findings: &mut Vec<Finding>) {
    let mut aliases: BTreeMap<(Option<&str>, &str), &Manifest> = BTreeMap::new();
    for manifest in manifests {
        let Resource::Freight(freight) = &manifest.resource else { continue };
        if let Some(alias) = freight.alias.as_deref() {
            let first = *aliases.entry((manifest.project(), alias)).or_insert(manifest);
            if !std::ptr::eq(first, manifest) {
                let message = format!("{} has the alias {alias:?} already; choose another.", first.title());
                findings.push(manifest.finding(Severity::Error, Rule::Duplicate, "/alias", message));
            }
        }
        contents(index, manifest, freight, findings);
    }
}

/// Each subscription of the warehouse has its artifact, and there is no other. What a host has kinds for is not compared.
fn contents(index: &Index<'_>, manifest: &Manifest, freight: &Freight, findings: &mut Vec<Finding>) {
    let origin = freight.origin.as_str();
    let Some(warehouse) = index.warehouse(manifest.project().unwrap_or_default(), origin) else { return };
    let mut open: Vec<_> = warehouse.subscriptions.iter().filter_map(|one| Some((place(one)?, one))).collect();
    for found in found(freight) {
        let fits = |(at, one): &&(String, &crate::Subscription)| one.source == found.source && *at == found.place;
        let named = |(_, one): &&(String, &crate::Subscription)| {
            one.name.as_deref() == found.subscription || found.subscription.is_none()
        };
        if let Some(taken) = open.iter().position(|one| fits(&one) && named(&one)) {
            open.remove(taken);
            continue;
        }
        let (shown, other) = (&found.shown, open.iter().position(|one| fits(&one)));
        let message = match other.map(|other| open.remove(other).1.name.as_deref()) {
            Some(Some(name)) => format!(
                "The subscription of the warehouse {origin:?} to {shown:?} is named {name:?}; write that under subscriptionName."
            ),
            Some(None) => format!(
                "The subscription of the warehouse {origin:?} to {shown:?} has no name; take subscriptionName out."
            ),
            None => format!("The warehouse {origin:?} has no subscription to {shown:?} that is left; take it out."),
        };
        findings.push(manifest.finding(Severity::Error, Rule::Reference, &found.pointer, message));
    }
    for (_, one) in open {
        let url = one.config.get("repoURL").and_then(serde_json::Value::as_str).unwrap_or_default();
        let message = format!(
            "The freight carries nothing of the subscription of the warehouse {origin:?} to {:?}; add that.",
            without_password(url)
        );
        findings.push(manifest.finding(Severity::Error, Rule::MissingField, "/origin", message));
    }
}

fn found(freight: &Freight) -> Vec<Found<'_>> {
    let mut all = Vec::new();
    let mut add = |source, url: &str, name: &str, subscription, pointer| {
        let place = place_of(source, url, name).unwrap_or_default();
        let shown = without_password(url);
        all.push(Found { source, place, shown, subscription, pointer });
    };
    for (at, one) in freight.commits.iter().enumerate() {
        let commit = &one.commit;
        add("git", &commit.repo_url, "", commit.subscription_name.as_deref(), format!("/commits/{at}/repoURL"));
    }
    for (at, one) in freight.images.iter().enumerate() {
        add("image", &one.repo_url, "", one.subscription_name.as_deref(), format!("/images/{at}/repoURL"));
    }
    for (at, one) in freight.charts.iter().enumerate() {
        add("chart", &one.repo_url, &one.name, one.subscription_name.as_deref(), format!("/charts/{at}/repoURL"));
    }
    all
}
