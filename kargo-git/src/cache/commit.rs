//! Commits and tags, as little of them as looks need.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use gix::ObjectId;
use gix::bstr::ByteSlice as _;
use kargo_core::Result;

use crate::changes::ChangedPaths;
use crate::remote::{CommitInfo, person};

/// How many characters are kept of a text that anybody may have written.
const TEXT: usize = 1024;

/// A commit.
#[derive(Debug)]
pub(crate) struct CachedCommit {
    pub(crate) tree: ObjectId,
    /// The first parent.
    pub(crate) parent: Option<ObjectId>,
    /// The committer's time in seconds since 1970.
    pub(crate) time: i64,
    pub(crate) author: Box<str>,
    pub(crate) committer: Box<str>,
    pub(crate) subject: Box<str>,
    /// What it changes, once that was looked at.
    changed: RwLock<Option<Arc<ChangedPaths>>>,
    /// The newest look when the repository did not have the first parent; 0 when it has it, or nobody asked.
    cut_off: AtomicU64,
}

impl CachedCommit {
    pub(super) fn parse(data: &[u8], hash: gix::hash::Kind) -> Result<Self> {
        let info = CommitInfo::parse(data, hash)?;
        Ok(Self {
            tree: info.tree,
            parent: info.parents.first().copied(),
            time: info.time,
            subject: readable(&info.subject()),
            author: readable(&info.author),
            committer: readable(&info.committer),
            changed: RwLock::default(),
            cut_off: AtomicU64::new(0),
        })
    }

    /// What it changes beside its first parent, once the look number `look` or a later one knows.
    pub(crate) fn changed(&self, look: u64) -> Option<Arc<ChangedPaths>> {
        if self.is_in_doubt(look) {
            return None;
        }
        self.changed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers what it changes; false when that was known.
    pub(super) fn set_changed(&self, paths: ChangedPaths) -> bool {
        let mut changed = self.changed.write().unwrap_or_else(PoisonError::into_inner);
        let new = changed.is_none();
        changed.get_or_insert_with(|| Arc::new(paths));
        new
    }

    /// Whether the repository does not have the first parent: it is a shallow one.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::SeqCst) > 0
    }

    /// Whether the repository did not have the first parent before the look number `look`. It may have been given it since.
    pub(super) fn is_in_doubt(&self, look: u64) -> bool {
        (1..look).contains(&self.cut_off.load(Ordering::SeqCst))
    }

    /// Notes that the repository did not have the first parent in the look number `look`.
    pub(super) fn cut_off(&self, look: u64) {
        self.cut_off.fetch_max(look, Ordering::SeqCst);
    }

    /// Notes that the repository has the first parent, beside which it does not change what it seemed to.
    pub(super) fn continues(&self) {
        if self.cut_off.swap(0, Ordering::SeqCst) > 0 {
            *self.changed.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    pub(super) fn size(&self) -> usize {
        // With what the map and the pointers to it take.
        size_of::<Self>() + 96 + self.author.len() + self.committer.len() + self.subject.len()
    }
}

/// An annotated tag.
#[derive(Debug)]
pub(crate) struct CachedTag {
    pub(crate) tagger: Option<Box<str>>,
    /// The tagger's time in seconds since 1970; 0 for the tags of old that have none.
    pub(crate) time: i64,
    /// The message without what signs it.
    pub(crate) message: Box<str>,
    /// Whether it is the tag of a commit, or of a tag that may be.
    pub(super) may_be_commit: bool,
}

impl CachedTag {
    pub(super) fn parse(data: &[u8]) -> Self {
        let (head, message) = data.split_at(data.find("\n\n").unwrap_or(data.len()));
        let line = |key: &str| head.lines().find_map(|line| line.strip_prefix(key.as_bytes()));
        let (tagger, time) = line("tagger ").map(person).unzip();
        let message = message.to_str_lossy();
        let signature = ["-----BEGIN PGP", "-----BEGIN SSH"].iter().filter_map(|begin| message.find(begin)).min();
        Self {
            tagger: tagger.map(|tagger| readable(&tagger)),
            time: time.unwrap_or(0),
            message: readable(message[..signature.unwrap_or(message.len())].trim()),
            may_be_commit: matches!(line("type "), Some(b"commit" | b"tag")),
        }
    }

    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + 96 + self.message.len() + self.tagger.as_ref().map_or(0, |tagger| tagger.len())
    }
}

/// Anybody may write a commit, and what it says is shown in terminals and kept in stores.
fn readable(text: &str) -> Box<str> {
    text.chars().take(TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: gix::hash::Kind = gix::hash::Kind::Sha1;

    fn commit(message: &str) -> CachedCommit {
        let who = "A\x1b[31m L. <a@b> 5 +0000";
        let data = format!("tree {}\nauthor {who}\ncommitter C <c@d> 7 +0000\n\n{message}", "1".repeat(40));
        CachedCommit::parse(data.as_bytes(), HASH).unwrap()
    }

    #[test]
    fn texts_have_no_control_characters_and_an_end() {
        let read = commit("Add\0 \x1b[2Jx\n\nMore");
        assert_eq!((&*read.author, &*read.committer, read.time), ("A [31m L. <a@b>", "C <c@d>", 7));
        assert_eq!(&*read.subject, "Add   [2Jx");
        let huge = commit(&"x".repeat(20 << 20));
        assert_eq!(huge.subject.len(), TEXT);
        assert!(huge.size() < 2 * TEXT, "{}", huge.size());
    }

    #[test]
    fn a_tag_is_read_without_its_signature_and_with_or_without_a_tagger() {
        let head = |tagger: &str| format!("object {}\ntype commit\ntag v1\n{tagger}", "1".repeat(40));
        let signed = "\nRelease 1\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n";
        let tag = CachedTag::parse(format!("{}{signed}", head("tagger T <t@u> 9 +0200\n")).as_bytes());
        assert_eq!((tag.tagger.as_deref(), tag.time, &*tag.message), (Some("T <t@u>"), 9, "Release 1"));
        assert!(tag.may_be_commit);
        let old = CachedTag::parse(format!("{}\nOld\n", head("")).as_bytes());
        assert_eq!((old.tagger, old.time, &*old.message), (None, 0, "Old"));
    }
}
