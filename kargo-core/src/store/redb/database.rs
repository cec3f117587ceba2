//! The open file, and opening it again: after an I/O error redb serves nothing more until then.

use std::fmt;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::DatabaseError::DatabaseAlreadyOpen;
use redb::{Database, DatabaseError, ReadableTable, StorageError, TableDefinition};

use crate::error::{Error, ErrorKind, Result};

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("kargo-meta");
/// The newest layout of tables that this version reads. A file is in the first until records of it are packed: a version that does not
/// know of blocks must not read what is left as a whole journal.
pub(super) const FORMAT: u64 = 2;
const FIRST_FORMAT: u64 = 1;

type Open = dyn Fn() -> Result<Database, DatabaseError> + Send + Sync;

pub(super) struct DatabaseSlot {
    path: PathBuf,
    open: Box<Open>,
    current: Mutex<Option<Arc<Database>>>,
    /// Whether it has been open before.
    opened: AtomicBool,
    /// Counts how often the file was opened.
    opening: AtomicU64,
}

impl fmt::Debug for DatabaseSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseSlot").field("path", &self.path).finish_non_exhaustive()
    }
}

impl DatabaseSlot {
    pub(super) fn open(
        path: PathBuf,
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self> {
        let slot = Self {
            path,
            open: Box::new(open),
            current: Mutex::new(None),
            opened: AtomicBool::new(false),
            opening: AtomicU64::new(0),
        };
        let database = slot.get()?;
        prepare(&slot.path, &database)?;
        slot.opened.store(true, Ordering::Relaxed);
        Ok(slot)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open database; opened again when an error closed it.
    pub(super) fn get(&self) -> Result<Arc<Database>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*current {
            return Ok(Arc::clone(database));
        }
        let database = Arc::new((self.open)().map_err(|error| match error {
            DatabaseAlreadyOpen if self.opened.load(Ordering::Relaxed) => {
                let path = self.path.display();
                let message = format!(
                    "The store {path} is opened again after an error, and a read from before has not ended yet, or another process has opened it meanwhile; try again, or stop that process."
                );
                Error::new(ErrorKind::Unavailable, message).because(error)
            }
            error => storage_error(&self.path, "open", error.into()),
        })?);
        *current = Some(Arc::clone(&database));
        self.opening.fetch_add(1, Ordering::Relaxed);
        Ok(database)
    }

    /// Which opening of the file this is; none while an error has it closed, when another process may have it.
    pub(super) fn opening(&self) -> Option<u64> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|_| self.opening.load(Ordering::Relaxed))
    }

    /// Explains an error of `database`; after an I/O error the next [`DatabaseSlot::get`] opens the file again.
    pub(super) fn failed(&self, database: Arc<Database>, error: redb::Error) -> Error {
        if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed) {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.as_ref().is_some_and(|open| Arc::ptr_eq(open, &database)) {
                *current = None;
            }
        }
        storage_error(&self.path, "use", error)
    }
}

/// Checks or sets the format, and makes the tables that an older version did not.
pub(super) fn prepare(path: &Path, database: &Database) -> Result<()> {
    let work = || -> Result<u64, redb::Error> {
        let transaction = database.begin_write()?;
        let found = {
            let mut meta = transaction.open_table(META)?;
            let found = meta.get("format")?.map(|format| format.value());
            if found.is_none() {
                meta.insert("format", FIRST_FORMAT)?;
            }
            found.unwrap_or(FIRST_FORMAT)
        };
        if found > FORMAT {
            transaction.abort()?;
            return Ok(found);
        }
        super::tables::create(&transaction)?;
        transaction.commit()?;
        Ok(found)
    };
    match work() {
        Ok(found) if found > FORMAT => Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "The store {} has format {found}, and this version of kargo-core reads up to format {FORMAT}; use the version that wrote it, or a later one. Nothing was changed.",
                path.display()
            ),
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(storage_error(path, "open", error)),
    }
}

/// A redb error as ours: what it means for the store at `path`, and the way out.
pub(super) fn storage_error(path: &Path, doing: &str, error: redb::Error) -> Error {
    let path = path.display();
    let (kind, message) = match &error {
        redb::Error::DatabaseAlreadyOpen => (
            ErrorKind::Conflict,
            format!(
                "The store {path} is open in another process; stop that process, or give this one a file of its own."
            ),
        ),
        redb::Error::Io(io)
            if matches!(io.kind(), Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge | Io::WriteZero) =>
        {
            (
                ErrorKind::Full,
                format!("The store {path} has no room left. What it holds is safe; free disk space, and work goes on."),
            )
        }
        redb::Error::Io(io) if io.kind() == Io::InvalidData => (
            ErrorKind::Corrupt,
            format!("The file {path} is not a store, or is damaged; restore it from a backup, or name another file."),
        ),
        redb::Error::Io(io) if io.kind() == Io::PermissionDenied || io.kind() == Io::ReadOnlyFilesystem => (
            ErrorKind::PermissionDenied,
            format!(
                "The store {path} may not be written by this process; correct the rights of the file and its folder."
            ),
        ),
        redb::Error::Io(io) if io.kind() == Io::NotFound => (
            ErrorKind::NotFound,
            format!("The store {path} cannot be made, since its folder does not exist; create the folder."),
        ),
        redb::Error::Corrupted(_) | redb::Error::RepairAborted => {
            (ErrorKind::Corrupt, format!("The store {path} is damaged; restore it from a backup."))
        }
        redb::Error::UpgradeRequired(_) | redb::Error::TableTypeMismatch { .. } => (
            ErrorKind::Corrupt,
            format!("The store {path} was written by another version of kargo-core; use that version to read it."),
        ),
        _ => (ErrorKind::Unavailable, format!("The store {path} could not be used; look at its disk.")),
    };
    Error::new(kind, message).with("store operation", doing).because(error)
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<redb::TableError> for Failure {
    fn from(error: redb::TableError) -> Self {
        Self::Storage(error.into())
    }
}

/// Why a write did not happen: the store is in trouble, or it said no.
#[derive(Debug)]
pub(super) enum Failure {
    /// The whole commit is in doubt.
    Storage(redb::Error),
    /// Only this write is refused; it has changed nothing.
    Refused(Error),
}
