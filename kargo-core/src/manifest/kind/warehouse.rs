//! Warehouses: what is watched.

use std::time::Duration;

use serde_json::{Map, Value};

use super::subscription;
use super::{Fields, Notes, put, put_list, put_some, spec};
use crate::manifest::duration;
use crate::warehouse::{FreightCreationPolicy, Subscription};

/// A `Warehouse`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Warehouse {
    /// The shard whose controller looks after it. Of no effect here.
    pub shard: Option<String>,
    /// The pause between two looks. Default: 5 minutes.
    pub interval: Duration,
    /// Whether freight is made without being asked for. Default: it is.
    pub freight_creation_policy: FreightCreationPolicy,
    /// What it watches. The configuration is what stands under the kind's key.
    pub subscriptions: Vec<Subscription>,
    /// Which artifacts belong together, as a bare expression.
    pub freight_creation_criteria: Option<String>,
}

impl Warehouse {
    pub(super) fn decode(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let mut warehouse = Self {
            shard: None,
            interval: crate::Warehouse::DEFAULT_INTERVAL,
            freight_creation_policy: FreightCreationPolicy::Automatic,
            subscriptions: Vec::new(),
            freight_creation_criteria: None,
        };
        let Some(mut fields) = spec(fields, notes) else { return warehouse };
        warehouse.shard = fields.some_text(notes, "shard");
        warehouse.interval = fields.duration(notes, "interval").unwrap_or(warehouse.interval);
        if fields.word(notes, "freightCreationPolicy", &["Automatic", "Manual"]) == Some("Manual") {
            warehouse.freight_creation_policy = FreightCreationPolicy::Manual;
        }
        if let Some(mut fields) = fields.object(notes, "freightCreationCriteria") {
            warehouse.freight_creation_criteria = fields.some_text(notes, "expression");
            fields.finish(notes);
        }
        let items = fields.items(notes, "subscriptions");
        warehouse.subscriptions = subscription::decode_all(&items, notes);
        if items.is_empty() {
            fields.missing(notes, "subscriptions");
        }
        fields.finish(notes);
        warehouse
    }

    pub(super) fn spec(&self) -> Value {
        let mut object = Map::new();
        put_some(&mut object, "shard", self.shard.as_deref());
        put(&mut object, "interval", duration::write(self.interval));
        if self.freight_creation_policy == FreightCreationPolicy::Manual {
            put(&mut object, "freightCreationPolicy", "Manual");
        }
        if let Some(expression) = &self.freight_creation_criteria {
            put(&mut object, "freightCreationCriteria", serde_json::json!({"expression": expression}));
        }
        put_list(&mut object, "subscriptions", self.subscriptions.iter().map(subscription::value));
        object.into()
    }
}
