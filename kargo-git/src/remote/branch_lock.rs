//! Changing a ref of a local repository so that a killed process is in nobody's way.
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

/// The right to change one ref, among all processes that use this crate.
#[derive(Debug)]
pub(super) struct BranchLock {
    file: File,
    ref_lock: PathBuf,
    /// What a dead process had been about to write, in which ref lock.
    left: Option<(PathBuf, String)>,
}

impl BranchLock {
    /// Waits for the lock until `give_up`, takes away what a dead process left, and notes that `name` is to become `new`. Blocking.
    pub(super) fn acquire(directory: &Path, name: &str, new: ObjectId, give_up: Instant) -> Result<Self> {
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
        let left = note.strip_suffix('\n').and_then(|note| note.split_once(' '));
        let left = left.map(|(id, name)| (lock_of(directory, name), id.to_owned()));
        let mut lock = Self { file, ref_lock: lock_of(directory, name), left };
        lock.remove_stale();
        lock.note(&format!("{new} {name}\n")).map_err(fault)?;
        Ok(lock)
    }

    /// Removes a ref lock that a dead process of this crate left.
    pub(super) fn remove_stale(&self) {
        let Some((path, wanted)) = &self.left else { return };
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

    /// Whether somebody holds the ref's own lock.
    pub(super) fn is_ref_locked(&self) -> bool {
        self.ref_lock.exists()
    }

    /// The file of the ref's own lock.
    pub(super) fn ref_lock_path(&self) -> &Path {
        &self.ref_lock
    }

    fn note(&mut self, text: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        // A ref lock that a power cut leaves is removed by what stands here.
        self.file.sync_data()
    }
}

impl Drop for BranchLock {
    fn drop(&mut self) {
        // While a dead process's ref lock is still there, its note must stay for the next one. Otherwise a note that cannot be
        // taken away does no harm: it allows no more than removing a ref lock that holds its very id.
        let kept = self.left.take().filter(|(path, _)| path.exists());
        if kept.is_none() {
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
        let lock = BranchLock::acquire(directory.path(), MAIN, id("b"), soon()).unwrap();
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
            let lock = BranchLock::acquire(directory.path(), MAIN, id("b"), soon()).unwrap();
            assert!(foreign.exists() && lock.is_ref_locked(), "note {note:?}, content {content:?}");
        }
    }

    #[test]
    fn an_old_empty_lock_with_a_dead_process_note_is_taken_away() {
        let directory = directory();
        std::fs::write(directory.path().join(FILE), format!("{} {MAIN}\n", id("a"))).unwrap();
        let stale = directory.path().join("refs/heads/main.lock");
        let file = File::create(&stale).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        let lock = BranchLock::acquire(directory.path(), MAIN, id("b"), soon()).unwrap();
        assert!(!stale.exists());
        drop(lock);
    }

    #[test]
    fn only_one_holds_the_lock_at_a_time() {
        let directory = directory();
        let first = BranchLock::acquire(directory.path(), MAIN, id("a"), soon()).unwrap();
        let error = BranchLock::acquire(directory.path(), MAIN, id("b"), soon()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        drop(first);
        BranchLock::acquire(directory.path(), MAIN, id("b"), soon()).unwrap();
    }
}
