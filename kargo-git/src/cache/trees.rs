//! The directories of the newest commits, with which the next ones are compared.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use gix::ObjectId;

/// How many bytes are kept of one repository.
const MAX: usize = 24 << 20;

/// Trees as they are stored, by id.
#[derive(Debug, Default)]
pub(crate) struct Trees(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_id: HashMap<ObjectId, Arc<[u8]>>,
    size: usize,
}

impl Trees {
    /// How many bytes one commit may take of what is kept.
    pub(crate) const SHARE: usize = MAX / 3;

    pub(crate) fn get(&self, id: &ObjectId) -> Option<Arc<[u8]>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    /// Keeps these. When that is too much, those from before go.
    pub(crate) fn keep(&self, trees: Vec<(ObjectId, Arc<[u8]>)>) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.size + trees.iter().map(|(_, tree)| cost(tree)).sum::<usize>() > MAX {
            *kept = Kept::default();
        }
        for (id, tree) in trees {
            let size = cost(&tree);
            if kept.by_id.insert(id, tree).is_none() {
                kept.size += size;
            }
        }
    }

    pub(super) fn size(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).size
    }
}

fn cost(tree: &[u8]) -> usize {
    tree.len() + 96
}
