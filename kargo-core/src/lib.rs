//! Promotion of freight through a DAG of stages.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod artifact;
pub mod decide;
pub mod edit;
pub mod engine;
pub mod freight;
pub mod pipeline;
pub mod plugin;
pub mod state;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod version;

mod actor;
mod clock;
mod error;
mod name;
mod promotion;
mod stage;
mod warehouse;

pub use actor::Actor;
pub use artifact::{Artifact, Chart, GenericArtifact, GitCommit, Image};
pub use clock::{Clock, SystemClock};
pub use engine::{Engine, EngineBuilder, EngineOptions, PromoteError};
pub use error::{Error, ErrorKind, Result, Retry};
pub use freight::{Freight, FreightCollection, Pick};
pub use name::{
    FreightId, PipelineName, PromotionId, Revision, StageName, VerificationId, WarehouseName, name_fault, near_match,
};
pub use pipeline::{Pipeline, PipelineBuilder, PipelineError, Problem};
pub use plugin::Plugins;
pub use promotion::{Phase, PromotionInfo};
pub use stage::{Availability, FreightRequest, RetryPolicy, Stage, StepSpec, VerifierSpec};
pub use warehouse::{Subscription, Warehouse};
