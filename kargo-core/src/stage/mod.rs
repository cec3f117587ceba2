//! Stages: where freight goes, from where it may come, and what a promotion does there.

mod condition;
mod health;
mod policy;
mod request;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::{StageName, WarehouseName};

pub(crate) use condition::Before;
pub use condition::Condition;
pub use health::HealthWatch;
pub use policy::{AutoRollback, LabelRequirement, PromotionPolicy, StagePattern, StageSelector};
pub use request::{Availability, FreightRequest, Selection};
pub use step::{RetryPolicy, StepSpec, Variable, VerifierSpec};

/// A stage of the pipeline.
///
/// A stage without steps is a control-flow stage: freight passes through it as soon as it is available.
///
/// ```
/// use kargo_core::{Stage, StepSpec};
/// use serde_json::json;
///
/// let staging = Stage::new("staging")
///     .after("main", ["dev"])
///     .auto_promote()
///     .step(StepSpec::write("config", json!({"path": "env/staging/values.yaml"})))
///     .step(StepSpec::deploy("argocd", json!({"app": "shop-staging"})))
///     .verify("smoke", json!({}));
/// assert!(staging.auto_promotes());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    pub(crate) name: StageName,
    pub(crate) requests: Vec<FreightRequest>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<Arc<StepSpec>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) verification: Vec<Arc<VerifierSpec>>,
    #[serde(default)]
    pub(crate) auto_promote: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) supersede: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // Boxed, since few stages have it.
    pub(crate) auto_rollback: Option<Box<AutoRollback>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<HealthWatch>,
}

impl Stage {
    /// A stage that asks for no freight yet and does nothing.
    pub fn new(name: impl Into<StageName>) -> Self {
        Self {
            name: name.into(),
            requests: Vec::new(),
            steps: Vec::new(),
            verification: Vec::new(),
            auto_promote: false,
            supersede: false,
            auto_rollback: None,
            labels: BTreeMap::new(),
            health: None,
        }
    }

    /// Takes freight of `warehouse` straight from it.
    #[must_use]
    pub fn direct(self, warehouse: impl Into<WarehouseName>) -> Self {
        self.request(FreightRequest::direct(warehouse))
    }

    /// Takes freight of `warehouse` once any one of `upstream` has verified it.
    #[must_use]
    pub fn after<S: Into<StageName>>(
        self,
        warehouse: impl Into<WarehouseName>,
        upstream: impl IntoIterator<Item = S>,
    ) -> Self {
        self.request(FreightRequest::after(warehouse, upstream))
    }

    /// Adds a request in full.
    #[must_use]
    pub fn request(mut self, request: FreightRequest) -> Self {
        self.requests.push(request);
        self
    }

    /// Promotes available freight without being asked: of each request the one that its [`Selection`] names. Off by default;
    /// a [`PromotionPolicy`] that matches the stage has the last word.
    #[must_use]
    pub fn auto_promote(mut self) -> Self {
        self.auto_promote = true;
        self
    }

    /// Stops an automatic promotion under way as soon as newer freight may take its place. Off by default: the newer freight
    /// waits until the stage is free. What verifies a result is never stopped, so that freight gets through however often
    /// there is newer.
    #[must_use]
    pub fn supersede(mut self) -> Self {
        self.supersede = true;
        self
    }

    /// Goes back by itself to the last freight that was verified here. Off by default; a [`PromotionPolicy`] that matches the
    /// stage has the last word.
    #[must_use]
    pub fn auto_rollback(mut self, when: AutoRollback) -> Self {
        self.auto_rollback = Some(Box::new(when));
        self
    }

    /// Adds a step to what a promotion does here.
    #[must_use]
    pub fn step(mut self, step: impl Into<StepSpec>) -> Self {
        self.steps.push(Arc::new(step.into()));
        self
    }

    /// Adds a verifier that must pass, after those already there, before freight counts as verified here.
    #[must_use]
    pub fn verify(self, verifier: impl Into<String>, config: Value) -> Self {
        self.verify_with(VerifierSpec::new(verifier, config))
    }

    /// Adds a verifier in full.
    #[must_use]
    pub fn verify_with(mut self, verifier: VerifierSpec) -> Self {
        self.verification.push(Arc::new(verifier));
        self
    }

    /// Has the deployers of this stage's promotions asked how their targets are, every `interval` (at least a second). Off by default.
    ///
    /// What they say is shown, and never keeps a promotion from starting here.
    #[must_use]
    pub fn watch_health(mut self, interval: Duration) -> Self {
        let required = self.health.is_some_and(|watch| watch.required);
        self.health = Some(HealthWatch { every: interval.max(Duration::from_secs(1)), required });
        self
    }

    /// Lets freight that runs here count as verified for the stages downstream only while the stage is healthy. Off by default. Implies
    /// [`Stage::watch_health`], every [`HealthWatch::DEFAULT_INTERVAL`] unless another interval is set.
    ///
    /// Until the first look after a promotion the stage does not count as healthy. One whose promotion deployed nothing that can be
    /// looked at does. Freight that the stage no longer runs keeps its verification.
    #[must_use]
    pub fn require_health(mut self) -> Self {
        let every = self.health.map_or(HealthWatch::DEFAULT_INTERVAL, |watch| watch.every);
        self.health = Some(HealthWatch { every, required: true });
        self
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The name.
    pub fn name(&self) -> &StageName {
        &self.name
    }

    /// The freight it asks for, one entry for each warehouse.
    pub fn requests(&self) -> &[FreightRequest] {
        &self.requests
    }

    /// The request for freight of `warehouse`.
    pub fn request_for(&self, warehouse: &WarehouseName) -> Option<&FreightRequest> {
        self.requests.iter().find(|request| request.origin == *warehouse)
    }

    /// What a promotion does here, in order. Shared with the promotions that were asked for.
    pub fn steps(&self) -> &[Arc<StepSpec>] {
        &self.steps
    }

    /// The verifiers, in the order in which they run. Shared with the promotions that were asked for.
    pub fn verification(&self) -> &[Arc<VerifierSpec>] {
        &self.verification
    }

    /// Whether it promotes by itself.
    pub fn auto_promotes(&self) -> bool {
        self.auto_promote
    }

    /// Whether newer freight takes the place of an automatic promotion under way.
    pub fn supersedes(&self) -> bool {
        self.supersede
    }

    /// When it goes back by itself.
    pub fn rolls_back(&self) -> Option<&AutoRollback> {
        self.auto_rollback.as_deref()
    }

    /// Whether and how its health is watched.
    pub fn health_watch(&self) -> Option<HealthWatch> {
        self.health.map(HealthWatch::within_reach)
    }

    /// The labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Whether freight merely passes through.
    pub fn is_control_flow(&self) -> bool {
        self.steps.is_empty()
    }
}
