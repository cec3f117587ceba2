//! From manifests to pipelines.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::manifest::ANALYSIS;
use crate::stage::{Availability, Condition};
use crate::{FreightCreationPolicy, Plugins};

#[test]
fn the_examples_become_pipelines() {
    let manifests = Manifests::from_texts(examples());
    let pipelines = manifests.pipelines().unwrap();
    let names: Vec<&str> = pipelines.iter().map(|one| one.pipeline.name().as_str()).collect();
    assert_eq!(names, ["billing", "catalog", "orders", "quickstart"]);

    let billing = &pipelines[0].pipeline;
    let config = billing.warehouse(&"config".into()).unwrap();
    assert_eq!(config.freight_creation_policy(), FreightCreationPolicy::Manual);
    // A source of the host's gets its own configuration, Kargo's get their fields.
    assert_eq!(config.subscriptions()[1].source, "database");
    assert_eq!(config.subscriptions()[1].config, json!({"dsn": "postgres://db.example/billing", "discoveryLimit": 5}));
    assert_eq!(config.subscriptions()[0].config["semverConstraint"], "1.x");

    let catalog = &pipelines[1].pipeline;
    let order: Vec<&str> = catalog.stages_in_order().map(|stage| stage.name().as_str()).collect();
    assert_eq!(order, ["canary", "prod-eu", "prod-us", "everywhere"]);
    let everywhere = catalog.stage(&"everywhere".into()).unwrap();
    assert!(everywhere.is_control_flow() && everywhere.requests()[0].availability == Availability::All);
    let canary = catalog.stage(&"canary".into()).unwrap();
    assert!(canary.auto_promotes() && canary.rolls_back().is_some());
    let aliases: Vec<Option<&str>> = canary.steps().iter().map(|step| step.alias.as_deref()).collect();
    assert_eq!(
        aliases,
        [
            Some("render::step-1"),
            Some("render::step-2"),
            Some("render::step-3"),
            Some("render::step-4"),
            Some("render::push"),
            Some("step-2"),
            Some("step-3")
        ]
    );
    assert_eq!(canary.steps()[6].retry.timeout, Some(Duration::from_secs(900)));

    let orders = &pipelines[2];
    let prod = orders.pipeline.stage(&"prod".into()).unwrap();
    assert_eq!(prod.requests()[0].required_soak, Some(Duration::from_secs(24 * 3600)));
    assert_eq!(prod.steps()[5].condition, Some(Condition::Expression("${{ status('open') == 'Succeeded' }}".into())));
    assert!(prod.steps()[7].continue_on_error);
    let test = orders.pipeline.stage(&"test".into()).unwrap();
    assert_eq!(test.verification()[0].verifier, ANALYSIS);
    assert_eq!(test.verification()[0].config["analysisTemplates"][0]["spec"]["metrics"][0]["name"], "healthy");
    let criterion = &orders.pipeline.warehouse(&"orders".into()).unwrap().criteria()[0];
    assert!(orders.register(Plugins::builder()).build().criterion(criterion).is_ok());

    let quickstart = &pipelines[3].pipeline;
    // As in Kargo, what `argocd-update` deploys counts as verified only while it is healthy.
    let watch = quickstart.stage(&"dev".into()).unwrap().health_watch().unwrap();
    assert!(watch.required && everywhere.health_watch().is_none());
    let promotes = |stage: &str| quickstart.stage(&stage.into()).unwrap().auto_promotes();
    assert_eq!(["dev", "staging", "prod"].map(promotes), [true, true, false]);
}

fn task(spec: &str) -> String {
    document("PromotionTask", "build", spec)
}

fn dev(documents: &[String]) -> crate::Stage {
    let mut all = vec![warehouse()];
    all.extend_from_slice(documents);
    let pipelines = Manifests::parse("x.yaml", all.join("---\n")).pipelines().unwrap();
    pipelines[0].pipeline.stage(&"dev".into()).unwrap().clone()
}

#[test]
fn tasks_are_written_out_with_their_variables() {
    let spec = "vars: [{name: a, value: task}, {name: b, value: task}, {name: c, value: task}, {name: d}]\nsteps:\n- uses: copy\n  vars: [{name: c, value: step}]\n- uses: delete\n  as: del";
    let text = "- uses: fail\n- task: {name: build}\n  vars: [{name: b, value: caller}, {name: d, value: caller}]\n- uses: copy";
    let with_vars = stage(text).replace(
        "  promotionTemplate:",
        "  vars: [{name: a, value: stage}, {name: z, value: ''}]\n  promotionTemplate:",
    );
    let stage = dev(&[with_vars, task(spec)]);
    let aliases: Vec<Option<&str>> = stage.steps().iter().map(|step| step.alias.as_deref()).collect();
    assert_eq!(aliases, [None, Some("task-2::step-1"), Some("task-2::del"), Some("step-3")]);
    let vars = |at: usize| -> Vec<(&str, &str)> {
        stage.steps()[at].vars.iter().map(|var| (var.name.as_str(), var.value.as_str())).collect()
    };
    // A default steps back behind what the stage says; what comes later counts.
    assert_eq!(
        vars(1),
        [("a", "stage"), ("z", ""), ("b", "task"), ("c", "task"), ("b", "caller"), ("d", "caller"), ("c", "step")]
    );
    assert_eq!(vars(3), [("a", "stage"), ("z", "")]);
}

#[test]
fn what_keeps_a_task_from_being_written_out_is_told() {
    let spec = "vars: [{name: repo}]\nsteps: [{uses: copy}]";
    let finding = one(found(&[stage("- task: {name: build}"), task(spec)]), "no value");
    assert!(finding.message.contains("wants the variable \"repo\""), "{finding}");
    let finding = one(found(&[stage("- task: {name: biuld}"), task("steps: [{uses: copy}]")]), "no task");
    assert_eq!((finding.rule, path(&finding)), (Rule::Reference, "spec.promotionTemplate.spec.steps[0].task.name"));
    assert!(finding.message.contains("did you mean \"build\"?"), "{finding}");
    let finding = one(
        found(&[stage("- task: {name: build, kind: ClusterPromotionTask}"), task("steps: [{uses: copy}]")]),
        "other kind",
    );
    assert!(finding.message.contains("There is no ClusterPromotionTask"), "{finding}");
}

#[test]
fn manifests_with_errors_are_no_pipelines_and_say_why() {
    let manifests = Manifests::parse("shop.yaml", [warehouse(), stage("- uses: copy\n  oops: 1")].join("---\n"));
    let error = manifests.pipelines().unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("shop.yaml:20:9") && error.to_string().contains("oops"), "{error}");
    let many: String = (0..100).map(|n| format!("  field{n}: 1\n")).collect();
    let error = Manifests::parse("x.yaml", document("Stage", "dev", &many)).pipelines().unwrap_err();
    assert!(error.to_string().contains("There are 82 more."), "{error}");
}

#[tokio::test]
async fn secrets_and_config_maps_answer_expressions() {
    use secrecy::ExposeSecret as _;

    use crate::plugin::{Context, ProjectData as _};

    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: chat, namespace: shop}\nstringData: {token: abc}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\ndata: {region: eu}\n";
    let manifests = Manifests::parse("x.yaml", text);
    let (cx, shop) =
        (Context::new(std::sync::Arc::new(crate::SystemClock), crate::Actor::engine(), "test"), "shop".into());
    let secret = manifests.secret(&cx, &shop, "chat", false).await.unwrap().unwrap();
    assert_eq!(secret["token"].expose_secret(), "abc");
    assert_eq!(manifests.config_map(&cx, &shop, "settings", false).await.unwrap().unwrap()["region"], "eu");
    assert!(manifests.secret(&cx, &"other".into(), "chat", false).await.unwrap().is_none());
    assert!(manifests.config_map(&cx, &shop, "settings", true).await.unwrap().is_none());
}
