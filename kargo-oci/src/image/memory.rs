//! What is remembered of images, by digest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::metadata::ImageMetadata;
use crate::client::Platform;
use crate::repository::Repository;

/// Of how many images the facts are kept in memory, and how many bytes their annotations may have in all: a registry may
/// send 128 KiB of them for each image.
const REMEMBERED: usize = 20_000;
const REMEMBERED_BYTES: usize = 32 * 1024 * 1024;

/// A repository, a digest and the platform that was asked for.
pub(super) type Key = (Repository, String, Option<Platform>);

/// What a digest stands for.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Image(Arc<ImageMetadata>),
    /// Nothing that an image can be made of, and why.
    Unusable(Arc<str>),
}

/// Facts by digest, the oldest forgotten first. Only what was hashed here comes in.
#[derive(Debug, Default)]
pub(super) struct Memory {
    facts: HashMap<Key, Known>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Memory {
    pub(super) fn get(&self, key: &Key) -> Option<Known> {
        self.facts.get(key).cloned()
    }

    pub(super) fn insert(&mut self, key: Key, facts: Known) {
        self.bytes += size(&facts);
        match self.facts.insert(key.clone(), facts) {
            Some(before) => self.bytes -= size(&before),
            None => self.order.push_back(key),
        }
        while self.order.len() > REMEMBERED || self.bytes > REMEMBERED_BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(facts) = self.facts.remove(&oldest) {
                self.bytes -= size(&facts);
            }
        }
    }
}

fn size(known: &Known) -> usize {
    match known {
        Known::Image(facts) => {
            let annotations: usize = facts.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
            annotations + facts.platforms.len() * size_of::<Platform>()
        }
        Known::Unusable(reason) => reason.len(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_memory_of_large_annotations_does_not_grow_without_end() {
        let repository = Repository::parse("r.example/app").unwrap();
        let mut memory = Memory::default();
        for number in 0..1_000 {
            let annotations = BTreeMap::from([("text".to_owned(), "x".repeat(64 * 1024))]);
            let facts = Arc::new(ImageMetadata { annotations, ..ImageMetadata::default() });
            // The same digest may come twice, when two looks ask at once.
            for _ in 0..2 {
                let key = (repository.clone(), format!("sha256:{number}"), None);
                memory.insert(key, Known::Image(Arc::clone(&facts)));
            }
        }
        let held: usize = memory.facts.values().map(size).sum();
        assert!(held <= REMEMBERED_BYTES && held == memory.bytes && memory.facts.len() == memory.order.len());
        assert!(memory.get(&(repository, "sha256:999".into(), None)).is_some());
    }
}
