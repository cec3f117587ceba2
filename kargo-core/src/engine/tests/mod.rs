//! Scenarios on a whole engine, with scripted plug-ins, on paused time.

mod approval;
mod artifacts;
mod automatic;
mod bad_input;
mod collect;
mod crash;
mod ends;
mod expressions;
mod faults;
mod files;
mod health;
mod leases;
mod message;
mod promotion;
mod queue;
mod records;
mod rollback;
mod rules;
mod secrets;
mod steps;
mod verification;
mod warehouse;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::plugin::PluginsBuilder;
use crate::testing::{Data, Scripted, ScriptedSource, TokioClock};
use crate::*;
use crate::{state::State, store::MemoryStore, store::Store};

pub(super) const START: &str = "2026-01-01T00:00:00Z";

/// A shop with dev (automatic), staging (automatic, after dev) and prod (by hand, after staging).
pub(super) struct Shop {
    pub(super) source: ScriptedSource,
    pub(super) ship: Scripted,
    pub(super) check: Scripted,
    pub(super) store: Arc<MemoryStore>,
    pub(super) clock: Arc<TokioClock>,
}

impl Shop {
    pub(super) fn new() -> Self {
        Self {
            source: ScriptedSource::versions(["1.0.0"]),
            ship: Scripted::succeeding(),
            check: Scripted::succeeding(),
            store: Arc::new(MemoryStore::new()),
            clock: Arc::new(TokioClock::starting_at(START)),
        }
    }

    pub(super) fn warehouse() -> Warehouse {
        Warehouse::new("main").subscribe(Subscription::new("versions", json!({}))).every(Duration::from_secs(60))
    }

    /// A stage with one step and one verifier.
    pub(super) fn stage(name: &str) -> Stage {
        Stage::new(name).step(StepSpec::new("ship", json!({}))).verify("check", json!({}))
    }

    pub(super) fn pipeline() -> Pipeline {
        Self::of([
            Self::stage("dev").direct("main").auto_promote(),
            Self::stage("staging").after("main", ["dev"]).auto_promote(),
            Self::stage("prod").after("main", ["staging"]),
        ])
    }

    pub(super) fn of(stages: impl IntoIterator<Item = Stage>) -> Pipeline {
        let builder = Pipeline::builder("shop").warehouse(Self::warehouse());
        stages.into_iter().fold(builder, PipelineBuilder::stage).build().expect("a valid pipeline")
    }

    pub(super) fn plugins(&self) -> Plugins {
        Plugins::builder()
            .source("versions", self.source.clone())
            .step("ship", self.ship.clone())
            .verifier("check", self.check.clone())
            .build()
    }

    /// An engine on plug-ins of the test's own, besides the shop's source.
    pub(super) async fn start_with(&self, pipeline: Pipeline, plugins: PluginsBuilder) -> Engine {
        let plugins = plugins.source("versions", self.source.clone()).build();
        let engine = Engine::builder(pipeline, plugins).store(Arc::clone(&self.store) as Arc<dyn Store>);
        engine.clock(Arc::clone(&self.clock) as _).start().await.expect("starts")
    }

    pub(super) async fn start(&self, pipeline: Pipeline) -> Engine {
        self.start_on(pipeline, Arc::clone(&self.store) as Arc<dyn Store>).await.expect("starts")
    }

    pub(super) async fn start_on(&self, pipeline: Pipeline, store: Arc<dyn Store>) -> Result<Engine> {
        Engine::builder(pipeline, self.plugins()).store(store).clock(Arc::clone(&self.clock) as _).start().await
    }
}

/// Lets an hour pass, in which everything that can happen by itself does.
pub(super) async fn an_hour() {
    tokio::time::sleep(Duration::from_secs(3600)).await;
}

/// The id of the freight that carries `version`, once there is such.
pub(super) async fn freight(engine: &Engine, version: &str) -> FreightId {
    let found = engine.until(|state| {
        let found = state.freight().find(|known| known.freight().label() == version)?;
        Some(found.freight().id().clone())
    });
    found.await.expect("found")
}

/// Waits until `stage` has verified the freight with `version`.
pub(super) async fn verified(engine: &Engine, stage: &str, version: &str) -> FreightId {
    let id = freight(engine, version).await;
    let found = engine.until(|state| state.freight_by_id(&id)?.verified().contains_key(stage).then_some(()));
    found.await.expect("verified");
    id
}

/// What `stage` runs, by version.
pub(super) fn current(engine: &Engine, stage: &str) -> Option<String> {
    engine.read(|state| state.current(&stage.into()).iter().map(Freight::label).next())
}

/// How often freight was asked to be promoted to `stage`.
pub(super) fn promotions(engine: &Engine, stage: &str) -> usize {
    engine.read(|state: &State| state.promotions().filter(|promotion| promotion.stage == *stage).count())
}
