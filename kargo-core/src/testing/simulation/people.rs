//! Who acts: processes that start and die, people who promote, approve and abort, and builds that publish.

use std::sync::Arc;
use std::time::Duration;

use super::plugins::World;
use super::store::FaultyStore;
use crate::actor::Actor;
use crate::engine::{Engine, EngineOptions, Promote};
use crate::pipeline::Pipeline;
use crate::plugin::Plugins;
use crate::promotion::Phase;
use crate::state::State;
use crate::testing::TokioClock;

/// A process: an engine, and the store as it sees it.
#[derive(Debug)]
struct Process {
    engine: Engine,
    store: Arc<FaultyStore>,
}

#[derive(Debug)]
pub(super) struct Scene {
    pipeline: Pipeline,
    /// Another definition with which processes start now and then.
    redefined: Option<Pipeline>,
    plugins: Plugins,
    world: World,
    options: EngineOptions,
    clock: Arc<TokioClock>,
    processes: [Option<Process>; 2],
    pub(super) crashes: usize,
}

/// How the run came to its end.
#[derive(Debug)]
pub(super) struct End {
    /// The state of the engine that was there at the end, if everything came to its end.
    pub(super) state: Option<State>,
    pub(super) crashes: usize,
}

/// How long, in simulated time, everything may take to come to its end in fair weather: the longest timeout of steps and verifiers
/// one after the other, for a queue of promotions, is well below this.
const PATIENCE: Duration = Duration::from_secs(48 * 3600);
/// How long a start may take before its process counts as hung.
const START: Duration = Duration::from_secs(120);

impl Scene {
    pub(super) fn new(
        (pipeline, redefined): (Pipeline, Option<Pipeline>),
        plugins: Plugins,
        world: World,
        options: EngineOptions,
    ) -> Self {
        let clock = Arc::new(TokioClock::starting_at("2026-01-01T00:00:00Z"));
        Self { pipeline, redefined, plugins, world, options, clock, processes: [None, None], crashes: 0 }
    }

    /// Does this many things, with pauses between them.
    pub(super) async fn play(&mut self, acts: usize) {
        for _ in 0..acts {
            let pause = match self.world.below(4) {
                0 => 0,
                1 => self.world.below(1_000),
                2 => self.world.below(20_000),
                _ => self.world.below(300_000),
            };
            tokio::time::sleep(Duration::from_millis(pause as u64)).await;
            self.bury_the_dead();
            self.act().await;
        }
    }

    async fn act(&mut self) {
        let slot = self.world.below(4) / 3;
        match self.world.below(12) {
            0 | 1 => self.world.lock().versions += 1,
            2 => self.kill(slot),
            3 => {
                if let Some(process) = self.processes[slot].take() {
                    // It may hang in a store that has died under it; then it is killed.
                    let stopped = tokio::time::timeout(START, process.engine.shutdown()).await;
                    if stopped.is_err() {
                        process.engine.kill();
                    }
                }
            }
            4 | 5 => self.start(slot).await,
            _ => {
                if self.processes[slot].is_none() {
                    return self.start(slot).await;
                }
                if let Some(engine) = self.processes[slot].as_ref().map(|process| process.engine.clone()) {
                    self.ask(&engine).await;
                }
            }
        }
    }

    /// A person asks something of an engine. The answer may be anything, but must come.
    async fn ask(&self, engine: &Engine) {
        let stages: Vec<_> = self.pipeline.stages().map(|stage| stage.name().clone()).collect();
        let stage = stages[self.world.below(stages.len())].clone();
        let freights: Vec<_> = engine.read(|state| state.freight().map(|known| known.freight().id().clone()).collect());
        let promotions: Vec<_> = engine.read(|state| state.promotions().map(|found| found.id.clone()).collect());
        let actor = Actor::user(["alice", "bob"][self.world.below(2)]);
        let request = async {
            match self.world.below(11) {
                0..=2 if !freights.is_empty() => {
                    let freight = freights[self.world.below(freights.len())].clone();
                    let promote = Promote::new(stage, freight, actor);
                    let promote = if self.world.below(4) == 0 { promote.superseding() } else { promote };
                    let _ = engine.promote_with(promote).await;
                }
                5 => {
                    let _ = engine.rollback(stage, actor).await;
                }
                6 => {
                    let _ = engine.verify_again(stage, actor).await;
                }
                7 if !promotions.is_empty() => {
                    let verdict = [Phase::Succeeded, Phase::Failed][self.world.below(2)];
                    let promotion = &promotions[self.world.below(promotions.len())];
                    let _ = engine.judge(promotion, verdict, actor, "looked at it").await;
                }
                8 | 9 => {
                    let warehouses: Vec<_> = self.pipeline.warehouses().collect();
                    let warehouse = warehouses[self.world.below(warehouses.len())].name();
                    if self.world.below(2) == 0 {
                        let _ = engine.hold(stage, warehouse, actor, "a freeze").await;
                    } else {
                        let _ = engine.release(stage, warehouse, actor).await;
                    }
                }
                3 if !freights.is_empty() => {
                    let freight = freights[self.world.below(freights.len())].clone();
                    let _ = engine.approve(freight, stage, actor).await;
                }
                4 if !promotions.is_empty() => {
                    let _ = engine.abort(&promotions[self.world.below(promotions.len())], actor).await;
                }
                _ => {
                    let warehouses: Vec<_> = self.pipeline.warehouses().collect();
                    let _ = engine.refresh(warehouses[self.world.below(warehouses.len())].name()).await;
                }
            }
        };
        // A process that has died answers nobody.
        let _ = tokio::time::timeout(START, request).await;
    }

    async fn start(&mut self, slot: usize) {
        if self.processes[slot].is_some() {
            return;
        }
        let store = FaultyStore::new(self.world.clone());
        let other = self.redefined.as_ref().filter(|_| self.world.below(3) == 0);
        let pipeline = other.unwrap_or(&self.pipeline).clone();
        let engine = Engine::builder(pipeline, self.plugins.clone())
            .store(Arc::clone(&store) as _)
            .clock(Arc::clone(&self.clock) as _)
            .options(self.options.clone())
            .start();
        if let Ok(Ok(engine)) = tokio::time::timeout(START, engine).await {
            self.processes[slot] = Some(Process { engine, store });
        }
    }

    fn kill(&mut self, slot: usize) {
        if let Some(process) = self.processes[slot].take() {
            process.engine.kill();
            self.crashes += 1;
        }
    }

    fn bury_the_dead(&mut self) {
        for slot in 0..self.processes.len() {
            if self.processes[slot].as_ref().is_some_and(|process| process.store.is_dead()) {
                self.kill(slot);
            }
        }
    }

    /// Nothing goes wrong any more: waits until everything that was begun has ended.
    pub(super) async fn fair_weather(&mut self) -> End {
        self.world.lock().trouble = 0;
        self.bury_the_dead();
        while self.processes.iter().all(Option::is_none) {
            self.start(0).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let mut state = None;
        for process in self.processes.iter().flatten() {
            let quiet = tokio::time::timeout(PATIENCE, process.engine.until(|state| quiet(&self.pipeline, state)));
            state = quiet.await.ok().and_then(Result::ok);
        }
        for process in self.processes.iter().flatten() {
            let _ = tokio::time::timeout(START, process.engine.shutdown()).await;
        }
        End { state, crashes: self.crashes }
    }
}

/// The state, once nothing is under way and the newest freight has been found.
fn quiet(pipeline: &Pipeline, state: &State) -> Option<State> {
    let idle = state.stages().all(|(_, stage)| stage.is_idle());
    let found = pipeline.warehouses().all(|warehouse| state.newest_first(warehouse.name()).next().is_some());
    (idle && found).then(|| state.clone())
}
