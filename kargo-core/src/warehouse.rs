//! Warehouses: what is watched, and how often.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
}

impl Warehouse {
    /// The pause between two looks when none is set: 5 minutes, Kargo's default.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);

    /// A warehouse without subscriptions yet; [`crate::PipelineBuilder::build`] refuses it until it has one.
    pub fn new(name: impl Into<WarehouseName>) -> Self {
        Self { name: name.into(), subscriptions: Vec::new(), interval: Self::DEFAULT_INTERVAL }
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
