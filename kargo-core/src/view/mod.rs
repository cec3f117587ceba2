//! What hosts show: the pipeline, freight, promotions and the audit trail, as plain data.
//!
//! Pure functions of the state and the time. They decide nothing; why freight is not further is asked of
//! [`decide`](crate::decide), and only in [`freight`].
//!
//! ```
//! use kargo_core::testing::{Scripted, ScriptedSource};
//! use kargo_core::view::{self, AuditFilter, PromotionFilter};
//! use kargo_core::{Actor, Engine, Pipeline, Plugins, Stage, StepSpec, Subscription, Warehouse};
//! use futures::TryStreamExt;
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = Pipeline::builder("shop")
//!     .warehouse(Warehouse::new("main").subscribe(Subscription::new("versions", json!({}))))
//!     .stage(Stage::new("dev").direct("main").step(StepSpec::new("ship", json!({}))))
//!     .stage(Stage::new("prod").after("main", ["dev"]).step(StepSpec::new("ship", json!({}))))
//!     .build()?;
//! let plugins = Plugins::builder()
//!     .source("versions", ScriptedSource::versions(["1.0.0"]))
//!     .step("ship", Scripted::succeeding())
//!     .build();
//! let engine = Engine::builder(pipeline, plugins).start().await?;
//! let freight = engine.until(|state| Some(state.freight().next()?.freight().id().clone())).await?;
//! let promotion = engine.promote("dev", &freight, Actor::user("alice")).await?;
//! engine.finished(&promotion).await?;
//!
//! let now = engine.now();
//! let shop = engine.read(|state| view::pipeline(state, now)).ok_or("an engine has a pipeline")?;
//! assert_eq!(shop.stages[0].runs[0].freight.label, "1.0.0");
//! println!("{}", serde_json::to_string_pretty(&shop)?);
//!
//! let one = engine.read(|state| view::freight(state, &freight, now)).ok_or("it exists")?;
//! assert!(one.stages[1].why_not.as_ref().is_some_and(|why| why.may_enter), "prod waits for a person");
//!
//! let by_alice = PromotionFilter::default().actor(Actor::user("alice"));
//! assert_eq!(engine.read(|state| view::promotions(state, &by_alice)).promotions.len(), 1);
//!
//! // Who did what in dev? The trail is read from the store: it has all that ever happened.
//! let trail: Vec<_> = engine.audit(AuditFilter::default().stage("dev")).try_collect().await?;
//! for entry in &trail {
//!     println!("{entry}"); // 2026-01-01T00:00:00Z user:alice: promotion … of freight … to dev requested
//! }
//! # assert!(trail.len() > 3);
//! # engine.shutdown().await?;
//! # Ok(()) }
//! ```

mod audit;
mod freight;
mod pipeline;
mod promotion;

#[cfg(test)]
mod tests;

pub use audit::{AuditEntry, AuditFilter, AuditPage, AuditReader};
pub use freight::{FreightInStage, FreightLine, FreightView, GateLine, WhyNot, freight};
pub use pipeline::{
    Activity, ApprovalView, HoldLine, PipelineView, Running, StageView, UnderWay, WarehouseView, pipeline,
};
pub use promotion::{PromotionCursor, PromotionFilter, PromotionLine, PromotionPage, promotions};
