//! Getting files onto the disk before anybody is told that they are there: a rename outlives the process that made it, but a power
//! cut only when what was renamed had been flushed before, and its directory after.

use std::io;
use std::path::Path;

use kargo_core::ErrorKind;

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

/// What the disk has against it, when it was the disk that made `error`.
pub(super) fn fault(error: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .find_map(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(ErrorKind::PermissionDenied),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(ErrorKind::Full),
            _ => None,
        })
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_forbidden_one_and_from_other_errors() {
        for (kind, expected) in [
            (io::ErrorKind::StorageFull, Some(ErrorKind::Full)),
            (io::ErrorKind::ReadOnlyFilesystem, Some(ErrorKind::PermissionDenied)),
            (io::ErrorKind::UnexpectedEof, None),
        ] {
            use gix::error::ErrorExt as _;
            let error = io::Error::from(kind).and_raise(gix::error::message("Could not persist loose object"));
            assert_eq!(fault(&error), expected, "{kind}");
        }
    }

    thread_local! {
        /// What this thread has flushed, in order.
        pub(in crate::remote) static FLUSHED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    }
}
