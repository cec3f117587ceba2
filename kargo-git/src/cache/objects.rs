//! Directories and files as the repository stores them, the most recently used ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use gix::objs::Kind;

/// How many bytes of directories are kept of one repository.
const MAX_TREES: usize = 24 << 20;

/// The same for files.
const MAX_FILES: usize = 8 << 20;

/// How large a file may be that is kept, in bytes. Configuration is smaller, and what is not is seldom read twice.
const MAX_FILE: usize = 1 << 20;

/// The directories of one repository, by id.
#[derive(Debug)]
pub(crate) struct Trees(Mutex<Recent>);

impl Default for Trees {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(MAX_TREES)))
    }
}

impl Trees {
    /// How many bytes one commit may take of what is kept.
    pub(crate) const SHARE: usize = MAX_TREES / 3;

    pub(crate) fn get(&self, id: &ObjectId) -> Option<Arc<[u8]>> {
        lock(&self.0).get(id)
    }

    /// Keeps these. When that is too much, those go that were not used for longest.
    pub(crate) fn keep(&self, trees: impl IntoIterator<Item = (ObjectId, Arc<[u8]>)>) {
        let mut kept = lock(&self.0);
        trees.into_iter().for_each(|(id, tree)| kept.insert(id, tree));
    }
}

/// The directories and files of one repository.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) trees: Arc<Trees>,
    files: Mutex<Recent>,
}

impl Default for Objects {
    fn default() -> Self {
        Self { trees: Arc::default(), files: Mutex::new(Recent::new(MAX_FILES)) }
    }
}

impl Objects {
    pub(super) fn get(&self, id: &ObjectId) -> Option<(Kind, Arc<[u8]>)> {
        if let Some(tree) = self.trees.get(id) {
            return Some((Kind::Tree, tree));
        }
        Some((Kind::Blob, lock(&self.files).get(id)?))
    }

    /// Keeps a directory or a file; of other objects nothing.
    pub(super) fn keep(&self, id: ObjectId, kind: Kind, data: &[u8]) {
        match kind {
            Kind::Tree => self.trees.keep([(id, data.into())]),
            Kind::Blob if data.len() <= MAX_FILE => lock(&self.files).insert(id, data.into()),
            _ => {}
        }
    }

    pub(super) fn size(&self) -> usize {
        lock(&self.trees.0).size() + lock(&self.files).size()
    }
}

fn lock(recent: &Mutex<Recent>) -> std::sync::MutexGuard<'_, Recent> {
    recent.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Objects by id in two halves: those that were used since the younger one was last full, and some of those before. Whatever is used
/// goes to the younger one, and when that is full the older one is dropped.
#[derive(Debug)]
struct Recent {
    /// How many bytes a half may have.
    half: usize,
    young: Half,
    old: Half,
}

#[derive(Debug, Default)]
struct Half {
    by_id: HashMap<ObjectId, Arc<[u8]>>,
    size: usize,
}

impl Recent {
    fn new(bytes: usize) -> Self {
        Self { half: bytes / 2, young: Half::default(), old: Half::default() }
    }

    fn get(&mut self, id: &ObjectId) -> Option<Arc<[u8]>> {
        if let Some(data) = self.young.by_id.get(id) {
            return Some(Arc::clone(data));
        }
        let data = self.old.by_id.remove(id)?;
        self.old.size -= cost(&data);
        self.insert(*id, Arc::clone(&data));
        Some(data)
    }

    fn insert(&mut self, id: ObjectId, data: Arc<[u8]>) {
        let size = cost(&data);
        if size > self.half || self.young.by_id.contains_key(&id) {
            return;
        }
        if let Some(data) = self.old.by_id.remove(&id) {
            self.old.size -= cost(&data);
        }
        if self.young.size + size > self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.size += size;
        self.young.by_id.insert(id, data);
    }

    fn size(&self) -> usize {
        self.young.size + self.old.size
    }
}

/// With what the maps and the pointers take.
fn cost(data: &[u8]) -> usize {
    data.len() + 96
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[n; 20])
    }

    #[test]
    fn what_is_used_stays_and_what_is_kept_has_a_bound() {
        let mut recent = Recent::new(10 * cost(&[0; 100]));
        for n in 0..100 {
            recent.insert(id(n), vec![n; 100].into());
            assert!(recent.size() <= 10 * cost(&[0; 100]));
            assert_eq!(recent.get(&id(0)).as_deref(), Some(&[0; 100][..]), "it is used all the time");
        }
        assert!(recent.get(&id(50)).is_none() && recent.get(&id(98)).is_some());
        recent.insert(id(200), vec![0; 1 << 20].into());
        assert!(recent.get(&id(200)).is_none(), "it would drive all others out");
    }

    #[test]
    fn directories_and_small_files_are_kept() {
        let objects = Objects::default();
        objects.keep(id(1), Kind::Tree, b"tree");
        objects.keep(id(2), Kind::Blob, b"file");
        objects.keep(id(3), Kind::Blob, &vec![0; MAX_FILE + 1]);
        objects.keep(id(4), Kind::Commit, b"commit");
        let kind = |n| objects.get(&id(n)).map(|(kind, _)| kind);
        assert_eq!([1, 2, 3, 4].map(kind), [Some(Kind::Tree), Some(Kind::Blob), None, None]);
    }
}
