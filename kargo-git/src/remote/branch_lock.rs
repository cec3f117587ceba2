//! Changing refs of a local repository so that a killed process is in nobody's way.
//!
//! Git locks a ref by creating `<ref>.lock`, which a killed process leaves behind for ever. Ours therefore takes a lock of the
//! operating system first, which ends with its process, and notes in the locked file what it is about to do. Whoever gets that lock
//! and finds a note knows that its writer is dead, and may take away the ref lock that it left; one of another program it never does.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use gix::ObjectId;
use kargo_core::{Error, ErrorKind, Result};

/// The file that is locked, in the repository's directory.
const FILE: &str = "kargo-update";

/// How old a ref lock without content must be before it is taken for a dead process's. Programs that live fill theirs at once.
const YOUNG: Duration = Duration::from_secs(2);

/// The right to change refs, among all processes that use this crate.
#[derive(Debug)]
pub(super) struct BranchLock {
    file: File,
    ref_locks: Vec<PathBuf>,
    /// What dead processes had been about to write.
    left: Vec<Left>,
}

/// What a dead process had been about to write.
#[derive(Debug)]
struct Left {
    id: String,
    name: String,
    /// The ref's lock, which it may have left.
    path: PathBuf,
}

impl BranchLock {
    /// Waits for the lock until `give_up`, takes away what a dead process left, and notes what each of `refs` is to become; the null id
    /// stands for a ref that is to go. Blocking.
    pub(super) fn acquire(directory: &Path, refs: &[(&str, ObjectId)], give_up: Instant) -> Result<Self> {
        let path = directory.join(FILE);
        let fault = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorKind::PermissionDenied
                }
                std::io::ErrorKind::StorageFull => ErrorKind::Full,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, format!("The file {} cannot be used for locking.", path.display())).because(error)
        };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fault)?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("Another process has been changing the repository {} for long.", directory.display()),
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(fault(error)),
            }
        }
        let mut note = String::new();
        file.read_to_string(&mut note).map_err(fault)?;
        // A note without its line feed was never finished, so its writer had not begun.
        let lines = note.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.split_once(' '));
        let left = |(id, name): (&str, &str)| Left {
            id: id.to_owned(),
            name: name.to_owned(),
            path: lock_of(directory, name),
        };
        let left = lines.map(left).collect();
        let ref_locks = refs.iter().map(|(name, _)| lock_of(directory, name)).collect();
        let mut lock = Self { file, ref_locks, left };
        lock.remove_stale();
        // What is too young to be taken away must be known to those who come later.
        lock.left.retain(|left| left.path.exists());
        let ours = refs.iter().map(|(name, new)| format!("{new} {name}\n"));
        let theirs = lock.left.iter().map(|Left { id, name, .. }| format!("{id} {name}\n"));
        let note: String = ours.chain(theirs).collect();
        lock.note(&note).map_err(fault)?;
        Ok(lock)
    }

    /// Removes the ref locks that a dead process of this crate left.
    pub(super) fn remove_stale(&self) {
        self.left.iter().for_each(|left| remove_stale(&left.path, &left.id));
    }

    /// The file of a ref's own lock that somebody holds.
    pub(super) fn held(&self) -> Option<&Path> {
        self.ref_locks.iter().map(PathBuf::as_path).find(|path| path.exists())
    }

    /// The files of the refs' own locks.
    pub(super) fn ref_locks(&self) -> &[PathBuf] {
        &self.ref_locks
    }

    fn note(&mut self, text: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        // A ref lock that a power cut leaves is removed by what stands here.
        self.file.sync_data()
    }
}

fn remove_stale(path: &Path, wanted: &str) {
    let Ok(content) = std::fs::read_to_string(path) else { return };
    let age = || {
        let changed = std::fs::metadata(path).and_then(|data| data.modified()).ok()?;
        SystemTime::now().duration_since(changed).ok()
    };
    let content = content.trim_end();
    // Another program's lock holds another id.
    let dead = content == wanted || (wanted.starts_with(content) && age().is_some_and(|age| age >= YOUNG));
    if dead {
        tracing::warn!(path = %path.display(), "removing the lock of a ref that a killed process left");
        // Who cannot remove it meets it again when the ref is changed, and says so.
        let _ = std::fs::remove_file(path);
    }
}

impl Drop for BranchLock {
    fn drop(&mut self) {
        // While a dead process's ref lock is still there, its note must stay for the next one. Otherwise a note that cannot be
        // taken away does no harm: it allows no more than removing a ref lock that holds its very id.
        if !self.left.iter().any(|left| left.path.exists()) {
            let _ = self.file.set_len(0);
        }
    }
}

fn lock_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "refs/heads/main";

    fn id(digit: &str) -> ObjectId {
        ObjectId::from_hex(digit.repeat(40).as_bytes()).unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("refs/heads")).unwrap();
        directory
    }

    #[test]
    fn the_ref_lock_of_a_killed_process_of_ours_is_taken_away() {
        let directory = directory();
        std::fs::write(directory.path().join(FILE), format!("{} {MAIN}\n", id("a"))).unwrap();
        let stale = directory.path().join("refs/heads/main.lock");
        std::fs::write(&stale, format!("{}\n", id("a"))).unwrap();
        let lock = BranchLock::acquire(directory.path(), &[(MAIN, id("b"))], soon()).unwrap();
        assert!(!stale.exists());
        drop(lock);
        assert_eq!(std::fs::read_to_string(directory.path().join(FILE)).unwrap(), "", "no note is left");
    }

    #[test]
    fn the_lock_of_another_program_is_never_taken_away() {
        for (note, content) in [("", "".to_owned()), ("note", id("c").to_string()), ("note", String::new())] {
            let directory = directory();
            if note == "note" {
                std::fs::write(directory.path().join(FILE), format!("{} {MAIN}\n", id("a"))).unwrap();
            }
            let foreign = directory.path().join("refs/heads/main.lock");
            std::fs::write(&foreign, &content).unwrap();
            let lock = BranchLock::acquire(directory.path(), &[(MAIN, id("b"))], soon()).unwrap();
            assert!(foreign.exists() && lock.held().is_some(), "note {note:?}, content {content:?}");
        }
    }

    #[test]
    fn an_old_empty_lock_with_a_dead_process_note_is_taken_away() {
        let directory = directory();
        std::fs::write(directory.path().join(FILE), format!("{} {MAIN}\n", id("a"))).unwrap();
        let stale = directory.path().join("refs/heads/main.lock");
        let file = File::create(&stale).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        let lock = BranchLock::acquire(directory.path(), &[(MAIN, id("b"))], soon()).unwrap();
        assert!(!stale.exists());
        drop(lock);
    }

    #[test]
    fn what_a_dead_process_noted_outlives_changes_of_other_refs() {
        let directory = directory();
        std::fs::write(directory.path().join(FILE), format!("{} {MAIN}\n", id("a"))).unwrap();
        let stale = directory.path().join("refs/heads/main.lock");
        // So young that its process may live.
        let file = File::create(&stale).unwrap();
        for other in ["b", "c"] {
            let lock = BranchLock::acquire(directory.path(), &[("refs/heads/other", id(other))], soon()).unwrap();
            assert!(stale.exists() && lock.held().is_none());
        }
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        let lock = BranchLock::acquire(directory.path(), &[(MAIN, id("d"))], soon()).unwrap();
        assert!(!stale.exists());
        drop(lock);
        assert_eq!(std::fs::read_to_string(directory.path().join(FILE)).unwrap(), "", "no note is left");
    }

    #[test]
    fn all_ref_locks_of_a_killed_process_are_taken_away() {
        let directory = directory();
        let locks =
            ["refs/heads/main", "refs/heads/other", "refs/heads/gone"].map(|name| lock_of(directory.path(), name));
        let note = format!("{} {MAIN}\n{} refs/heads/other\n{} refs/hea", id("a"), id("b"), id("c"));
        std::fs::write(directory.path().join(FILE), note).unwrap();
        for (lock, id) in locks.iter().zip([id("a"), id("b"), id("c")]) {
            std::fs::write(lock, format!("{id}\n")).unwrap();
        }
        let held = BranchLock::acquire(directory.path(), &[(MAIN, id("d"))], soon()).unwrap();
        assert_eq!(locks.map(|lock| lock.exists()), [false, false, true], "the last line was never finished");
        assert_eq!(held.held(), None);
    }

    #[test]
    fn only_one_holds_the_lock_at_a_time() {
        let directory = directory();
        let first = BranchLock::acquire(directory.path(), &[(MAIN, id("a"))], soon()).unwrap();
        let error = BranchLock::acquire(directory.path(), &[(MAIN, id("b"))], soon()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        drop(first);
        BranchLock::acquire(directory.path(), &[(MAIN, id("b"))], soon()).unwrap();
    }
}
