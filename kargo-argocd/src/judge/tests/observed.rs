//! How an application is, outside any deployment.

use kargo_core::plugin::Health;
use serde_json::{Value, json};

use super::super::observe;
use super::{earlier, later, read, stamp};
use crate::client::Application;

fn health(read: &super::Read) -> Health {
    let app: Application = serde_json::from_value(read.app.clone()).unwrap();
    observe(&app, 0).health
}

#[test]
fn race_ao_report_07_argo_06_progressing_long_after_the_deployment_is_progressing() {
    assert_eq!(health(&read().set("status.health.status", "Progressing")), Health::Progressing);
    assert_eq!(health(&read().set("status.health.status", "Suspended")), Health::Progressing);
}

#[test]
fn argo_14_drift_is_not_a_matter_of_health() {
    let drifting = read().set("status.sync.status", "OutOfSync");
    assert_eq!(health(&drifting), Health::Healthy);
}

#[test]
fn argo_04_another_revision_is_reported_and_not_held_against_it() {
    let app: Application = serde_json::from_value(read().set("status.sync.revision", later()).app).unwrap();
    let observation = observe(&app, 0);
    assert_eq!(observation.health, Health::Healthy);
    assert_eq!(observation.revision.unwrap().as_str(), later());
}

#[test]
fn what_runs_is_the_newest_deployed_revision_when_the_followed_one_is_not_synced() {
    let behind = read().operation("Succeeded", &earlier()).set("status.sync.status", "OutOfSync");
    let app: Application = serde_json::from_value(behind.app).unwrap();
    assert_eq!(observe(&app, 0).revision.unwrap().as_str(), earlier());
}

#[test]
fn a_health_from_before_the_end_of_the_operation_is_unknown() {
    assert_eq!(health(&read().set("status.reconciledAt", stamp("10:00:05"))), Health::Unknown);
    assert_eq!(health(&read().set("status.reconciledAt", Value::Null)), Health::Unknown);
    assert_eq!(health(&read().requested("other")), Health::Progressing);
}

#[test]
fn errors_degraded_and_missing_are_unhealthy() {
    assert_eq!(health(&read().set("status.health.status", "Degraded")), Health::Unhealthy);
    assert_eq!(health(&read().set("status.health.status", "Missing")), Health::Unhealthy);
    assert_eq!(health(&read().set("status.health.status", "Unknown")), Health::Unknown);
    let conditions = json!([{"type": "ComparisonError", "message": "no such branch"}]);
    assert_eq!(health(&read().set("status.conditions", conditions)), Health::Unhealthy);
}
