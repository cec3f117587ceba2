//! Kargo's manifests: its YAML, read, checked, and made into pipelines.
//!
//! [`Manifests`] is a set of resources from files, folders, streams or texts. Reading never stops at the first fault: what is wrong is
//! collected as [`Finding`]s, each with its file, line, column, path and the way out. [`lint()`] adds what only shows in the whole set,
//! and [`Manifests::pipelines`] makes a [`Pipeline`](crate::Pipeline) of each project.
//!
//! ```
//! use kargo_core::manifest::{Manifests, STEPS, lint};
//!
//! let manifests = Manifests::parse("shop.yaml", r#"
//! apiVersion: kargo.akuity.io/v1alpha1
//! kind: Warehouse
//! metadata: {name: main, namespace: shop}
//! spec:
//!   subscriptions:
//!   - image: {repoURL: ghcr.io/acme/app, constraint: ^1}
//! ---
//! apiVersion: kargo.akuity.io/v1alpha1
//! kind: Stage
//! metadata: {name: dev, namespace: shop}
//! spec:
//!   requestedFreight:
//!   - origin: {kind: Warehouse, name: main}
//!     sources: {direct: true}
//!   promotionTemplate:
//!     spec:
//!       steps:
//!       - uses: git-clnoe
//! "#);
//! let findings = lint(&manifests, &STEPS);
//! assert_eq!(findings.len(), 1);
//! assert_eq!(findings[0].message, "There is no step \"git-clnoe\"; did you mean \"git-clone\"?");
//! let place = findings[0].place.as_ref().unwrap();
//! assert_eq!((place.line, place.path.as_str()), (19, "spec.promotionTemplate.spec.steps[0].uses"));
//! assert_eq!(manifests.pipelines()?[0].pipeline.name(), &"shop");
//! # Ok::<(), kargo_core::Error>(())
//! ```
//!
//! A host that hands over its plug-ins in the place of names has each configuration checked by the step that it is for, a step of its own
//! among them, and told where it stands:
//!
//! ```
//! # use async_trait::async_trait;
//! # use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest, read_config};
//! # #[derive(serde::Deserialize)] #[serde(deny_unknown_fields)] struct Config { channel: String }
//! # #[derive(Debug)] struct Announce;
//! # #[async_trait] impl Step for Announce {
//! #     fn validate(&self, config: &serde_json::Value) -> kargo_core::Result<()> { read_config::<Config>("announce", config).map(drop) }
//! #     async fn run(&self, _: &Context, _: &StepRequest<'_>) -> kargo_core::Result<StepOutcome> { Ok(StepOutcome::succeeded()) }
//! # }
//! use kargo_core::manifest::{Manifests, lint};
//! use kargo_core::steps;
//!
//! let task = "apiVersion: kargo.akuity.io/v1alpha1
//! kind: PromotionTask
//! metadata: {name: tell, namespace: shop}
//! spec:
//!   steps:
//!   - uses: announce
//!     config: {chanel: releases}
//! ";
//! let plugins = steps::builtin().step("announce", Announce).build();
//! let findings = lint(&Manifests::parse("task.yaml", task), &plugins);
//! assert!(findings[0].message.ends_with("did you mean \"channel\"?"), "{}", findings[0]);
//! assert_eq!(findings[0].place.as_ref().map(|place| (place.line, place.column)), Some((7, 14)));
//! ```
//!
//! # What is read
//!
//! Kargo's `Project`, `ProjectConfig`, `Warehouse`, `Stage`, `PromotionTask`, `ClusterPromotionTask`, `Freight` and `Promotion`; the
//! `AnalysisTemplate` and `ClusterAnalysisTemplate` of Argo Rollouts, which are kept for a verifier; `Secret` and `ConfigMap`, for the
//! functions `secret()` and `configMap()`. Other kinds are passed over. `status`, and what a cluster writes into `metadata`, is not read.
//! A resource without a namespace belongs to the only project of the set.
//!
//! What older Kargos wrote is read as what has taken its place, with a warning that says what to write.
//!
//! Templates around manifests are not evaluated: overlays of kustomize and templates of Helm are found and told, and their output is
//! what to load.

mod dialect;
pub(crate) mod duration;
mod fields;
mod finding;
mod hidden;
pub mod kind;
mod lint;
mod pipeline;
mod reader;
mod set;
mod source;
#[cfg(test)]
mod tests;
mod write;

pub use finding::{Finding, Place, Rule, Severity, Snippet};
pub use kind::{Metadata, Resource};
pub use lint::{KnownSteps, STEPS, lint};
pub use pipeline::{ANALYSIS, ProjectPipeline};
pub use set::{Manifest, Manifests};
