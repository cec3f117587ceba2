//! Promotion of freight through a DAG of stages: Kargo's job, as a library.
//!
//! A [`Warehouse`] watches places where new versions appear and bundles them into [`Freight`]. [`Stage`]s form a DAG, the
//! [`Pipeline`]. Freight is promoted from stage to stage: a promotion's steps write the change, deploy it, and its result
//! is verified; verified freight is available to the stages downstream. The [`Engine`] drives all this from a journal, so that
//! it can be killed at any instant and goes on where it was.
//!
//! This crate has no network. It reaches the world through plug-ins: see [`plugin`] for the traits, and the crates `kargo-git`,
//! `kargo-oci` and `kargo-argocd` for the usual ones.
//!
//! | to | see |
//! |---|---|
//! | describe a pipeline | [`Pipeline`], [`Stage`], [`Warehouse`] |
//! | run it | [`engine`], [`store`] |
//! | ask why freight is not further | [`Engine::why`], [`decide`] |
//! | read the audit trail | [`Engine::journal`], [`Engine::events`], [`state`] |
//! | run Kargo's own steps on files | [`steps`], [`edit`], [`workspace`] |
//! | read Kargo's YAML, and check it | [`manifest`] |
//! | evaluate Kargo's expressions | [`expr`] |
//! | show all this to people | [`view`] |
//! | write a plug-in | [`plugin`] |
//! | test one's own pipeline without a network or a sleep | `testing`, behind the feature of that name |
//!
//! ```
//! use kargo_core::{Pipeline, Stage, StepSpec, Subscription, Warehouse};
//! use serde_json::json;
//!
//! let ship = |stage: &str| StepSpec::new("ship", json!({ "to": stage }));
//! let pipeline = Pipeline::builder("shop")
//!     .warehouse(Warehouse::new("main").subscribe(Subscription::new("image", json!({"repoURL": "ghcr.io/acme/app"}))))
//!     .stage(Stage::new("dev").direct("main").auto_promote().step(ship("dev")))
//!     .stage(Stage::new("prod").after("main", ["dev"]).step(ship("prod")).verify("smoke", json!({})))
//!     .build()?;
//!
//! let mistake = Pipeline::builder("shop").stage(Stage::new("prod").after("main", ["dev"])).build().unwrap_err();
//! assert!(mistake.to_string().contains(r#"Stage "prod" takes freight from stage "dev", which does not exist."#));
//! # let _ = pipeline;
//! # Ok::<(), kargo_core::PipelineError>(())
//! ```
//!
//! How an engine is started and used is shown in [`engine`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod approval;
pub mod artifact;
pub mod decide;
pub mod edit;
pub mod engine;
pub mod expr;
pub mod freight;
pub mod manifest;
pub mod pipeline;
pub mod plugin;
pub mod state;
pub mod steps;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod version;
pub mod view;
pub mod workspace;

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
pub use engine::{AnswerStep, Engine, EngineBuilder, EngineOptions, Promote, PromoteError, Rollback};
pub use error::{Error, ErrorKind, Result, Retry};
pub use freight::{Choice, Freight, FreightCollection, Pick};
pub use name::{
    FreightId, PipelineName, PromotionId, Revision, StageName, VerificationId, WarehouseName, label_value, name_fault,
    near_match,
};
pub use pipeline::{Pipeline, PipelineBuilder, PipelineError, Problem, Retention};
pub use plugin::Plugins;
pub use promotion::{Phase, PromotionInfo};
pub use stage::{
    AutoRollback, Availability, Condition, FreightRequest, HealthWatch, LabelRequirement, PromotionPolicy, RetryPolicy,
    Selection, Stage, StagePattern, StageSelector, StepSpec, Variable, VerifierSpec,
};
pub use warehouse::{Discovered, FreightCreationPolicy, Subscription, Warehouse};
