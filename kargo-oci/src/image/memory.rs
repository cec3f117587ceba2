//! What is remembered of images, by digest.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;

use super::metadata::{Ages, ImageMetadata};
use crate::client::Platform;
use crate::repository::Repository;

/// Of how many images something is kept in memory, and how many bytes it may have in all: a registry may send 128 KiB of
/// annotations for each image.
const REMEMBERED: usize = 20_000;
const REMEMBERED_BYTES: usize = 32 * 1024 * 1024;

/// What something is known of.
///
/// It does not say with whose credentials that was found out: nothing is looked up here before the registry has given the same digest, or
/// the word that it has not changed, to the credentials of now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) repository: Repository,
    pub(super) digest: String,
    /// The platform that was asked for.
    pub(super) platform: Option<Platform>,
    /// How much was asked for.
    pub(super) ages: Ages,
}

/// What digests stand for. Only what was hashed here comes in.
pub(super) type Facts = Memory<Key, Known>;

/// What came of the demands on images, by the hash of these demands.
pub(super) type Judgements = Memory<(Key, Arc<str>), Judged>;

/// What a digest stands for.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Image(Arc<ImageMetadata>),
    /// Nothing that an image can be made of, and why.
    Unusable(Arc<str>),
}

/// What came of the demands on an image.
#[derive(Debug, Clone)]
pub(super) enum Judged {
    /// It is what is demanded, until then, or for ever.
    Good { until: Option<Timestamp> },
    /// It is not, as far as was known until then: it may have been signed since.
    Bad { why: Arc<str>, until: Timestamp, pause: std::time::Duration },
}

/// Something of which there may be more than memory should hold.
pub(super) trait Weighed {
    /// The bytes that it may have without a bound of its own.
    fn bytes(&self) -> usize;
}

impl Weighed for Known {
    fn bytes(&self) -> usize {
        match self {
            Self::Image(facts) => {
                let texts = facts.annotations.iter().chain(&facts.labels);
                let texts: usize = texts.map(|(key, value)| key.len() + value.len()).sum();
                texts + facts.platforms.len() * size_of::<Platform>()
            }
            Self::Unusable(reason) => reason.len(),
        }
    }
}

impl Weighed for Judged {
    fn bytes(&self) -> usize {
        match self {
            Self::Good { .. } => 0,
            Self::Bad { why, .. } => why.len(),
        }
    }
}

/// Values by key, the oldest forgotten first.
#[derive(Debug)]
pub(super) struct Memory<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
    bytes: usize,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }
}

impl<K: Eq + Hash + Clone, V: Weighed + Clone> Memory<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.values.get(key).cloned()
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.bytes += value.bytes();
        match self.values.insert(key.clone(), value) {
            Some(before) => self.bytes -= before.bytes(),
            None => self.order.push_back(key),
        }
        while self.order.len() > REMEMBERED || self.bytes > REMEMBERED_BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(value) = self.values.remove(&oldest) {
                self.bytes -= value.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_memory_of_large_annotations_does_not_grow_without_end() {
        let repository = Repository::parse("r.example/app").unwrap();
        let mut memory = Facts::default();
        let key = |number: usize| Key {
            repository: repository.clone(),
            digest: format!("sha256:{number}"),
            platform: None,
            ages: Ages::One,
        };
        for number in 0..1_000 {
            let annotations = BTreeMap::from([("text".to_owned(), "x".repeat(64 * 1024))]);
            let labels = annotations.clone();
            let facts = Arc::new(ImageMetadata { annotations, labels, ..ImageMetadata::default() });
            // The same digest may come twice, when two looks ask at once.
            for _ in 0..2 {
                memory.insert(key(number), Known::Image(Arc::clone(&facts)));
            }
        }
        let held: usize = memory.values.values().map(Weighed::bytes).sum();
        assert!(held <= REMEMBERED_BYTES && held == memory.bytes && memory.values.len() == memory.order.len());
        assert!(memory.get(&key(999)).is_some());
    }
}
