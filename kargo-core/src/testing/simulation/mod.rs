//! A deterministic simulation: a pipeline's engines, plug-ins and store under every fault that can be thought of, from a seed.
//!
//! One run is one seed. On paused time, one or two engines drive the pipeline while plug-ins fail, hang, panic, answer late or
//! lose their answers, processes die between any two operations of the store, appends fail after they were kept, people
//! promote, approve and abort, and new versions appear. Then the weather turns fair, and everything has to come to its end. After the
//! run the whole journal is checked against the rules of the [`engine`](crate::engine): what [`Violation`] names.
//!
//! The same seed gives the same run, so a failure can be looked at again.
//!
//! ```
//! use kargo_core::testing::Simulation;
//! use kargo_core::{Pipeline, Stage, StepSpec, Subscription, Warehouse};
//! use serde_json::json;
//!
//! // A host's own pipeline: its plug-ins are played by the simulation.
//! let stage = |name| Stage::new(name).step(StepSpec::write("config", json!({}))).verify("smoke", json!({}));
//! let pipeline = Pipeline::builder("shop")
//!     .warehouse(Warehouse::new("main").subscribe(Subscription::new("image", json!({}))))
//!     .stage(stage("dev").direct("main").auto_promote())
//!     .stage(stage("prod").after("main", ["dev"]))
//!     .build()?;
//! let simulation = Simulation::new(pipeline);
//! for seed in 0..20 {
//!     simulation.run(seed)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod incremental;
mod people;
mod plugins;
mod random;
mod store;

use std::sync::Arc;
use std::time::Duration;

use crate::artifact::Artifact;
use crate::engine::EngineOptions;
use crate::pipeline::Pipeline;
use crate::plugin::{Judgement, Plugins, PluginsBuilder};
use crate::store::{MemoryStore, Store};

use people::Scene;
use plugins::World;

pub use check::{Report, Violation};
#[cfg(test)]
pub(crate) use random::Random;

/// Runs a pipeline under faults.
#[derive(Debug, Clone)]
pub struct Simulation {
    pipeline: Pipeline,
    redefined: Option<Pipeline>,
    acts: usize,
    trouble: u32,
}

impl Simulation {
    /// A simulation of `pipeline`. Its plug-ins are played: any name and any configuration will do.
    pub fn new(pipeline: Pipeline) -> Self {
        Self { pipeline, redefined: None, acts: 24, trouble: 100 }
    }

    /// Has processes start with this definition now and then, as when a host is deployed with a changed one, and changed back.
    ///
    /// # Panics
    /// When it is not of the same name.
    #[must_use]
    pub fn redefining(mut self, pipeline: Pipeline) -> Self {
        assert_eq!(pipeline.name(), self.pipeline.name(), "another definition of the same pipeline has the same name");
        self.redefined = Some(pipeline);
        self
    }

    /// Sets how many things people and processes do before the weather turns fair. Default: 24.
    #[must_use]
    pub fn acts(mut self, acts: usize) -> Self {
        self.acts = acts;
        self
    }

    /// Sets how much goes wrong, in percent of what does by default; 0 is a run without faults.
    #[must_use]
    pub fn trouble(mut self, percent: u32) -> Self {
        self.trouble = percent;
        self
    }

    /// Runs once from `seed`, and says what happened.
    ///
    /// # Errors
    /// The [`Violation`], when a rule was broken; it names the seed.
    ///
    /// # Panics
    /// When it is called from inside a runtime.
    pub fn run(&self, seed: u64) -> Result<Report, Violation> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without I/O can always be made");
        runtime.block_on(async {
            let store = Arc::new(MemoryStore::new());
            let world = World::new(seed, self.trouble, Arc::clone(&store) as Arc<dyn Store>);
            let plugins = world.plugins([&self.pipeline].into_iter().chain(&self.redefined));
            let pipelines = (self.pipeline.clone(), self.redefined.clone());
            let mut scene = Scene::new(pipelines, plugins, world.clone(), options());
            scene.play(self.acts).await;
            let end = scene.fair_weather().await;
            check::check(seed, self.pipeline.name(), &world, &*store, end).await
        })
    }
}

/// Short leases and snapshots, so that both matter in a short run.
fn options() -> EngineOptions {
    EngineOptions {
        snapshot_every: 20,
        lease: Duration::from_secs(60),
        shutdown_grace: Duration::from_secs(5),
        ..EngineOptions::default()
    }
}

impl World {
    fn plugins<'a>(&self, pipelines: impl Iterator<Item = &'a Pipeline>) -> Plugins {
        pipelines.fold(Plugins::builder(), |plugins, pipeline| self.register(pipeline, plugins)).build()
    }

    fn register(&self, pipeline: &Pipeline, mut plugins: PluginsBuilder) -> PluginsBuilder {
        for subscription in pipeline.warehouses().flat_map(|warehouse| warehouse.subscriptions()) {
            plugins = plugins.source(subscription.source.clone(), self.source());
        }
        for criterion in pipeline.warehouses().flat_map(|warehouse| warehouse.criteria()) {
            plugins = plugins.criterion(criterion.clone(), |_: &[Artifact]| Ok(Judgement::Satisfied));
        }
        // First, since a step that has a verifier's name is a step of its own here.
        for verifier in pipeline.stages().flat_map(|stage| stage.verification()) {
            plugins = plugins.verifier(&verifier.verifier, self.verifier());
        }
        for stage in pipeline.stages() {
            for step in stage.steps() {
                if let Some(name) = step.uses.strip_prefix("deploy:") {
                    plugins = plugins.deployer(name, self.deployer());
                }
                plugins = plugins.step(step.uses.clone(), self.step());
            }
        }
        plugins
    }
}

#[cfg(test)]
mod tests;
