//! Warehouses: what is watched, and how often.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::Artifact;
use crate::name::WarehouseName;

/// Watches one or more places for new artifacts and bundles the newest of each into freight.
///
/// ```
/// use kargo_core::{Subscription, Warehouse};
/// use serde_json::json;
///
/// let warehouse = Warehouse::new("main")
///     .subscribe(Subscription::new("image", json!({"repoURL": "ghcr.io/acme/app", "constraint": "^1"})));
/// assert_eq!(warehouse.name(), &"main");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warehouse {
    pub(crate) name: WarehouseName,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) interval: Duration,
    #[serde(default, skip_serializing_if = "FreightCreationPolicy::is_automatic")]
    pub(crate) freight_creation_policy: FreightCreationPolicy,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) criteria: Vec<String>,
}

/// Whether a warehouse makes freight by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FreightCreationPolicy {
    /// Whenever a look finds a newest set of artifacts that is not freight yet.
    #[default]
    Automatic,
    /// Never: it looks and remembers, and people choose, with [`crate::Engine::assemble`].
    Manual,
}

impl FreightCreationPolicy {
    fn is_automatic(&self) -> bool {
        *self == Self::Automatic
    }
}

impl Warehouse {
    /// The pause between two looks when none is set: 5 minutes, Kargo's default.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);

    /// A warehouse without subscriptions yet; [`crate::PipelineBuilder::build`] refuses it until it has one.
    pub fn new(name: impl Into<WarehouseName>) -> Self {
        Self {
            name: name.into(),
            subscriptions: Vec::new(),
            interval: Self::DEFAULT_INTERVAL,
            freight_creation_policy: FreightCreationPolicy::Automatic,
            criteria: Vec::new(),
        }
    }

    /// Adds a subscription. Adapters' typed configurations convert into one.
    #[must_use]
    pub fn subscribe(mut self, subscription: impl Into<Subscription>) -> Self {
        self.subscriptions.push(subscription.into());
        self
    }

    /// Sets the pause between two looks. At least 100 ms.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Has the warehouse look and remember, but make no freight by itself: people choose, with [`crate::Engine::assemble`].
    #[must_use]
    pub fn manual(mut self) -> Self {
        self.freight_creation_policy = FreightCreationPolicy::Manual;
        self
    }

    /// Makes freight by itself only of artifacts that the [`crate::plugin::Criterion`] registered as `criterion` is satisfied
    /// with. Several must all be.
    #[must_use]
    pub fn when(mut self, criterion: impl Into<String>) -> Self {
        self.criteria.push(criterion.into());
        self
    }

    /// The name.
    pub fn name(&self) -> &WarehouseName {
        &self.name
    }

    /// What it watches, in order.
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// The pause between two looks.
    pub fn interval(&self) -> Duration {
        self.interval.max(Duration::from_millis(100))
    }

    /// Whether it makes freight by itself.
    pub fn freight_creation_policy(&self) -> FreightCreationPolicy {
        self.freight_creation_policy
    }

    /// The registered names of the criteria for making freight by itself.
    pub fn criteria(&self) -> &[String] {
        &self.criteria
    }
}

/// What the last look at one subscription found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Discovered {
    /// The subscription.
    pub subscription: Subscription,
    /// The artifacts that fit, newest first.
    pub candidates: Vec<Artifact>,
}

/// One place that a warehouse watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The registered name of the [`crate::plugin::Source`] that looks there.
    pub source: String,
    /// A name, unique in the warehouse; it becomes part of the freight's identity, as in Kargo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The source's own configuration.
    pub config: Value,
}

impl Subscription {
    /// A subscription through the source registered as `source`.
    pub fn new(source: impl Into<String>, config: Value) -> Self {
        Self { source: source.into(), name: None, config }
    }

    /// Names the subscription.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}
