//! What copies of a state share.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Values that copies of a state share until one of them changes: a snapshot is written from a copy, and taking that must not
/// hold up the engine, however much there is. It also keeps the map's nodes small where there are few values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
#[serde(bound(deserialize = "K: Ord + Deserialize<'de>, V: Deserialize<'de>"))]
pub(super) struct SharedMap<K, V>(BTreeMap<K, Arc<V>>);

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V: Clone> SharedMap<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.0.insert(key, Arc::new(value));
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key).map(Arc::make_mut)
    }

    /// The value at `key`, which is put there when there is none.
    pub(super) fn or_default(&mut self, key: &K) -> &mut V
    where
        K: Clone,
        V: Default,
    {
        Arc::make_mut(self.0.entry(key.clone()).or_default())
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.0.retain(|key, _| keep(key));
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.values_mut().map(Arc::make_mut)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<Arc<V>> {
        self.0.remove(key)
    }
}

impl<K, V> Deref for SharedMap<K, V> {
    type Target = BTreeMap<K, Arc<V>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
