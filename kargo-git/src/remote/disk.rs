//! Getting files onto the disk before anybody is told that they are there: a rename outlives the process that made it, but a power
//! cut only when what was renamed had been flushed before, and its directory after.

use std::io;
use std::path::Path;

/// Flushes a file or a directory. Does nothing where the system or the file system has no such thing.
pub(super) fn flush(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    tests::FLUSHED.with_borrow_mut(|flushed| flushed.push(path.to_owned()));
    if !cfg!(unix) {
        return Ok(());
    }
    match std::fs::File::open(path)?.sync_all() {
        // Some network file systems refuse it for directories.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        flushed => flushed,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;

    thread_local! {
        /// What this thread has flushed, in order.
        pub(in crate::remote) static FLUSHED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    }
}
