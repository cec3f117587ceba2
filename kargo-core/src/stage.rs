//! Stages: where freight goes, from where it may come, and what a promotion does there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::{StageName, WarehouseName};

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
    pub(crate) steps: Vec<StepSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) verification: Vec<VerifierSpec>,
    #[serde(default)]
    pub(crate) auto_promote: bool,
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

    /// Promotes the newest available freight without being asked. Off by default.
    #[must_use]
    pub fn auto_promote(mut self) -> Self {
        self.auto_promote = true;
        self
    }

    /// Adds a step to what a promotion does here.
    #[must_use]
    pub fn step(mut self, step: impl Into<StepSpec>) -> Self {
        self.steps.push(step.into());
        self
    }

    /// Adds a verifier that must pass, after those already there, before freight counts as verified here.
    #[must_use]
    pub fn verify(mut self, verifier: impl Into<String>, config: Value) -> Self {
        self.verification.push(VerifierSpec { verifier: verifier.into(), config, timeout: None });
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

    /// What a promotion does here, in order.
    pub fn steps(&self) -> &[StepSpec] {
        &self.steps
    }

    /// The verifiers, in the order in which they run.
    pub fn verification(&self) -> &[VerifierSpec] {
        &self.verification
    }

    /// Whether it promotes by itself.
    pub fn auto_promotes(&self) -> bool {
        self.auto_promote
    }

    /// Whether and how its health is watched.
    pub fn health_watch(&self) -> Option<HealthWatch> {
        self.health
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

/// How the health of what a stage runs is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HealthWatch {
    /// How long after one look the next one follows, give or take a tenth.
    pub every: Duration,
    /// Whether freight that runs here counts as verified only while the stage is healthy.
    #[serde(default)]
    pub required: bool,
}

impl HealthWatch {
    /// The interval when none is set: a minute.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
}

/// What freight of one warehouse a stage asks for, and under which conditions it may enter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FreightRequest {
    /// The warehouse.
    pub origin: WarehouseName,
    /// Whether freight may come straight from the warehouse.
    #[serde(default)]
    pub direct: bool,
    /// The stages that must have verified it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageName>,
    /// Whether one of `stages` is enough, or all are needed.
    #[serde(default)]
    pub availability: Availability,
    /// How long it must have stayed in the upstream stage, counted from entering it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_soak: Option<Duration>,
}

impl FreightRequest {
    /// Straight from `warehouse`.
    pub fn direct(warehouse: impl Into<WarehouseName>) -> Self {
        Self {
            origin: warehouse.into(),
            direct: true,
            stages: Vec::new(),
            availability: Availability::OneOf,
            required_soak: None,
        }
    }

    /// After any one of `stages`.
    pub fn after<S: Into<StageName>>(warehouse: impl Into<WarehouseName>, stages: impl IntoIterator<Item = S>) -> Self {
        Self { direct: false, stages: stages.into_iter().map(Into::into).collect(), ..Self::direct(warehouse) }
    }

    /// Demands all the stages, not any one of them.
    #[must_use]
    pub fn all(mut self) -> Self {
        self.availability = Availability::All;
        self
    }

    /// Demands that freight stayed at least this long in the upstream stage.
    #[must_use]
    pub fn soak(mut self, time: Duration) -> Self {
        self.required_soak = Some(time);
        self
    }
}

/// How many of the upstream stages must have verified freight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Availability {
    /// Any one of them.
    #[default]
    OneOf,
    /// Every one of them.
    All,
}

/// One entry of a promotion's step list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepSpec {
    /// The registered name of the step: `write:<writer>`, `deploy:<deployer>`, or a step's own.
    pub uses: String,
    /// The name under which later steps find its outputs. Default: `step-<n>`, counted from 1.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The step's own configuration.
    #[serde(default)]
    pub config: Value,
    /// How errors are met, and how long the step may take in all.
    #[serde(default, skip_serializing_if = "RetryPolicy::is_default")]
    pub retry: RetryPolicy,
}

impl StepSpec {
    /// An entry for the step registered as `uses`.
    pub fn new(uses: impl Into<String>, config: Value) -> Self {
        Self { uses: uses.into(), alias: None, config, retry: RetryPolicy::default() }
    }

    /// Lets the writer registered as `writer` make a change.
    pub fn write(writer: &str, config: impl Serialize) -> Self {
        Self::new(format!("write:{writer}"), to_config(config))
    }

    /// Lets the deployer registered as `deployer` make a target run the revision that the writer before it made.
    pub fn deploy(deployer: &str, config: impl Serialize) -> Self {
        Self::new(format!("deploy:{deployer}"), to_config(config))
    }

    /// Names the entry.
    #[must_use]
    pub fn named(mut self, alias: impl Into<String>) -> Self {
        self.alias = Some(alias.into());
        self
    }

    /// How long the step may take in all, over all its tries.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.retry.timeout = Some(timeout);
        self
    }

    /// How many errors in a row end the step. Errors that say that no other try can help end it at once.
    #[must_use]
    pub fn error_threshold(mut self, errors: u32) -> Self {
        self.retry.error_threshold = Some(errors);
        self
    }
}

/// A configuration struct as JSON. What cannot be JSON (a map with keys that are no strings) becomes a text that no plug-in
/// accepts, so that it is refused when the pipeline is checked rather than lost.
fn to_config(config: impl Serialize) -> Value {
    serde_json::to_value(config).unwrap_or_else(|error| Value::String(format!("not a configuration: {error}")))
}

/// How a step's errors are met, and how long it may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// How long the step may take in all. Default: the step's own, which is never endless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How many errors in a row end the step. Default: the step's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_threshold: Option<u32>,
}

impl RetryPolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One verifier of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifierSpec {
    /// The registered name of the [`crate::plugin::Verifier`].
    pub verifier: String,
    /// The verifier's own configuration.
    #[serde(default)]
    pub config: Value,
    /// How long it may take in all. Default: 30 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}
