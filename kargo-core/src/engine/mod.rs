//! The engine: runs what is decided, and keeps the journal.
//!
//! One engine drives one pipeline. It appends every change to the store before it acts on it, so it can be
//! killed at any instant: the next one reads the journal and goes on. Any number of engines share a store and a process.
//!
//! ```
//! use std::sync::Arc;
//!
//! use kargo_core::store::MemoryStore;
//! use kargo_core::testing::{Scripted, ScriptedSource};
//! use kargo_core::{Actor, Engine, Pipeline, Plugins, Stage, StepSpec, Subscription, Warehouse};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = Pipeline::builder("shop")
//!     .warehouse(Warehouse::new("main").subscribe(Subscription::new("versions", json!({}))))
//!     .stage(Stage::new("dev").direct("main").auto_promote().step(StepSpec::new("ship", json!({}))))
//!     .stage(Stage::new("prod").after("main", ["dev"]).step(StepSpec::new("ship", json!({}))))
//!     .build()?;
//! let plugins = Plugins::builder()
//!     .source("versions", ScriptedSource::versions(["1.0.0"]))
//!     .step("ship", Scripted::succeeding())
//!     .build();
//! let engine = Engine::builder(pipeline, plugins).store(Arc::new(MemoryStore::new())).start().await?;
//!
//! // Freight is found, promoted to dev and verified there without a word.
//! let freight = engine.until(|state| {
//!     let known = state.freight().find(|known| known.verified().contains_key("dev"))?;
//!     Some(known.freight().id().clone())
//! }).await?;
//! // Production waits for a person.
//! let promotion = engine.promote("prod", &freight, Actor::user("alice")).await?;
//! engine.finished(&promotion).await?;
//! assert!(engine.read(|state| state.current(&"prod".into())).iter().any(|current| *current.id() == freight));
//! engine.shutdown().await?;
//! # Ok(()) }
//! ```

mod audit;
mod builder;
mod calls;
mod collect;
mod command;
mod deadline;
mod discover;
mod driver;
mod events;
mod expression;
mod files;
mod freight;
mod health;
mod journal;
mod lease;
mod notes;
mod records;
mod report;
mod requests;
mod settle;
mod step;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures::Stream;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::decide::{Why, why};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{FreightId, PipelineName, PromotionId, StageName};
use crate::pipeline::Pipeline;
use crate::state::{Event, Promotion, State};
use crate::store::Store;

pub use builder::{EngineBuilder, EngineOptions};
pub use command::PromoteError;
pub use requests::{AnswerStep, Promote, Rollback};

use command::Command;
pub(crate) use expression::{Texts, has_expression};
#[cfg(feature = "testing")]
pub(crate) use journal::read_journal;

/// A handle to a running engine. Cheap to clone; the engine stops when it is told to, or when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    // Boxed, so that the room for those that wait is small in each of many engines.
    commands: mpsc::Sender<Box<Command>>,
}

/// What the handles and the driver share.
#[derive(Debug)]
struct Shared {
    name: PipelineName,
    state: RwLock<State>,
    head: watch::Sender<u64>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ui_base_url: Option<Arc<str>>,
    stop: CancellationToken,
    stopped: CancellationToken,
    driver: Mutex<Option<JoinHandle<Result<()>>>>,
    trouble: Mutex<Option<String>>,
}

impl Shared {
    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        // The state is only ever changed by whole events, so what a poisoned lock guards is whole.
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// Begins an engine for `pipeline` with `plugins`.
    pub fn builder(pipeline: Pipeline, plugins: crate::Plugins) -> EngineBuilder {
        EngineBuilder::new(pipeline, plugins)
    }

    /// The pipeline's name.
    pub fn name(&self) -> &PipelineName {
        &self.shared.name
    }

    /// Looks at the state. Keep `look` short: the engine waits for it. It must not call the engine, which may be waiting for it.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.shared.read(look)
    }

    /// The time by the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Why the engine cannot write to its store or may not drive the pipeline, while that is so. Work goes on by itself when it can again.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why is `freight` in `stage`, or why not: each gate with its verdict and what would open it.
    pub fn why(&self, stage: impl Into<StageName>, freight: impl Into<FreightId>) -> Why {
        let (stage, freight, now) = (stage.into(), freight.into(), self.now());
        self.read(|state| match state.pipeline() {
            Some(pipeline) => why(pipeline, state, &stage, &freight, now),
            // An engine has defined its pipeline before there is a handle to it.
            None => unreachable!("an engine without a pipeline has no handle"),
        })
    }

    /// The journal after event `after`, and then what is appended to it, until the engine stops. From 0 it is the whole
    /// audit trail. It ends at an error of the store; ask again after the last event that came.
    pub fn events(&self, after: u64) -> impl Stream<Item = Result<Event>> + Send + use<> {
        events::stream(Arc::clone(&self.shared), after)
    }

    /// The journal up to now, from the store: the audit trail.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn journal(&self) -> Result<Vec<Event>> {
        journal::read_all(&*self.shared.store, &self.shared.name, 0).await
    }

    /// Waits until `look` finds something in the state. As for [`Engine::read`], `look` must not call the engine. Cancel-safe.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] when the engine stops before.
    pub async fn until<T>(&self, mut look: impl FnMut(&State) -> Option<T>) -> Result<T> {
        let mut head = self.shared.head.subscribe();
        loop {
            head.borrow_and_update();
            if let Some(found) = self.read(&mut look) {
                return Ok(found);
            }
            tokio::select! {
                _ = head.changed() => {}
                () = self.shared.stopped.cancelled() => {
                    return self.read(&mut look).ok_or_else(|| stopped(&self.shared.name));
                }
            }
        }
    }

    /// Waits until a promotion has ended, and the verification of its result too.
    ///
    /// # Errors
    /// As for [`Engine::until`]; [`ErrorKind::NotFound`] when there is no such promotion.
    pub async fn finished(&self, id: &PromotionId) -> Result<Promotion> {
        let mut stage: Option<StageName> = None;
        let found = self.until(|state| {
            // Looked at after every event: where the stage says that it has not ended, it is not looked up.
            if stage.as_ref().and_then(|stage| state.stage(stage)).is_some_and(|stage| stage.has_open(id)) {
                return None;
            }
            match state.promotion(id) {
                None => Some(None),
                Some(promotion) if state.is_open(promotion) => {
                    stage = Some(promotion.stage.clone());
                    None
                }
                Some(promotion) => Some(Some(promotion.clone())),
            }
        });
        found.await?.ok_or_else(|| command::no_promotion(id))
    }

    /// Stops the engine: nothing new begins, calls under way get time to end, the state is kept as a snapshot and the lease
    /// is given back. What did not end goes on when an engine is started again.
    ///
    /// # Errors
    /// When the store could not be written at the end. The journal is whole all the same.
    pub async fn shutdown(&self) -> Result<()> {
        self.shared.stop.cancel();
        let driver = self.shared.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        match driver {
            Some(driver) => driver.await.unwrap_or_else(|error| {
                Err(Error::new(ErrorKind::Panicked, "The engine's driver ended by a panic.").because(error))
            }),
            None => {
                self.shared.stopped.cancelled().await;
                Ok(())
            }
        }
    }

    /// Ends the engine as a crash of its process would: at once, wherever it is.
    #[cfg(feature = "testing")]
    pub(crate) fn kill(&self) {
        if let Some(driver) = self.shared.driver.lock().unwrap_or_else(PoisonError::into_inner).take() {
            driver.abort();
        }
    }
}

fn stopped(pipeline: &PipelineName) -> Error {
    Error::new(ErrorKind::Cancelled, format!("The engine of pipeline {pipeline:?} has stopped; start it again."))
}

#[cfg(test)]
mod tests;
