//! A verifier of one's own, and what happens when it says no.
//!
//! `cargo run --release --example custom_verifier`
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kargo_core::plugin::{Context, Verdict, Verifier, VerifyRequest};
use kargo_core::testing::{Scripted, ScriptedSource};
use kargo_core::{Engine, Error, ErrorKind, Pipeline, Plugins, Result, Stage, StepSpec, Subscription, Warehouse};
use serde_json::{Value, json};

/// Watches the error rate of what was promoted, and passes when it has stayed under a limit for a while.
#[derive(Debug)]
struct ErrorRate {
    /// Where the rate comes from: a metrics server, in a real host.
    metrics: Arc<Metrics>,
}

#[async_trait]
impl Verifier for ErrorRate {
    /// Called when the engine starts, so that a mistake in the pipeline is found before anything is promoted.
    fn validate(&self, config: &Value) -> Result<()> {
        match config["limit"].as_f64() {
            Some(limit) if (0.0..=1.0).contains(&limit) => Ok(()),
            _ => Err(Error::new(ErrorKind::InvalidInput, "The field \"limit\" must be a share between 0 and 1.")),
        }
    }

    /// Called until it gives a verdict, also after a restart: what it needs to know, it takes from the request.
    async fn verify(&self, cx: &Context, request: &VerifyRequest<'_>) -> Result<Verdict> {
        let limit = request.config["limit"].as_f64().unwrap_or_default();
        let rate = self.metrics.error_rate(request.promotion.stage.as_str(), &request.promotion.freight.label());
        if rate > limit {
            return Ok(Verdict::fail(format!(
                "{:.1} % of requests fail, and at most {:.1} % may",
                rate * 100.0,
                limit * 100.0
            )));
        }
        let watched = cx.now().duration_since(request.started_at);
        if watched.as_millis() < 300 {
            return Ok(Verdict::pending("still watching the error rate", Duration::from_millis(100)));
        }
        Ok(Verdict::pass(format!("{:.1} % of requests fail", rate * 100.0)))
    }
}

/// Stands for a metrics server: version 1.1.0 has a defect that shows in staging only.
#[derive(Debug)]
struct Metrics;

impl Metrics {
    fn error_rate(&self, stage: &str, version: &str) -> f64 {
        if (stage, version) == ("staging", "1.1.0") { 0.073 } else { 0.002 }
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let stage = |name: &str| {
        Stage::new(name)
            .step(StepSpec::new("ship", json!({})))
            .verify("error-rate", json!({"limit": 0.01}))
            .auto_promote()
    };
    let pipeline = Pipeline::builder("shop")
        .warehouse(Warehouse::new("main").subscribe(Subscription::new("versions", json!({}))))
        .stage(stage("dev").direct("main"))
        .stage(stage("staging").after("main", ["dev"]))
        .stage(stage("prod").after("main", ["staging"]))
        .build()?;
    let versions = ScriptedSource::versions(["1.0.0"]);
    let plugins = Plugins::builder()
        .source("versions", versions.clone())
        .step("ship", Scripted::succeeding())
        .verifier("error-rate", ErrorRate { metrics: Arc::new(Metrics) })
        .build();
    let engine = Engine::builder(pipeline, plugins).start().await?;

    let verified = |stage: &'static str, version: &'static str| {
        engine.until(move |state| {
            let known = state.freight().find(|known| known.freight().label() == version)?;
            known.verified().contains_key(stage).then(|| known.freight().id().clone())
        })
    };
    verified("prod", "1.0.0").await?;
    println!("1.0.0 passed in dev, staging and prod.\n");

    versions.publish("1.1.0");
    engine.refresh("main").await?;
    let bad = verified("dev", "1.1.0").await?;
    let stopped = engine
        .until(|state| {
            let promotion = state.promotions().find(|p| p.stage == "staging" && p.freight == bad)?;
            let verification = promotion.verifications.last()?;
            verification.phase.is_terminal().then(|| verification.clone())
        })
        .await?;
    println!("1.1.0 passed in dev. In staging its verification ended {}: {}.\n", stopped.phase, stopped.message);
    let why = engine.why("prod", &bad);
    assert!(!why.admission.is_open(), "what was not verified in staging may not enter production");
    println!("{why}");
    engine.shutdown().await?;
    Ok(())
}
