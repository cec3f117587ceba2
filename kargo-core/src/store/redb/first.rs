//! The first time: a store's file is there whole, or not at all.
//!
//! redb makes a file in several writes, and a power cut in between leaves one that it refuses ever after. So the file is made under
//! another name, which gets the store's name once all of it is on disk.

use std::ffi::OsString;
use std::fs::{File, hard_link, remove_file, rename};
use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};

use super::database::{prepare, storage_error};
use crate::error::Result;

/// What a file's name has behind it while it is being made.
const MAKING: &str = ".new";

/// Makes an empty store at `path`, unless something is there.
///
/// Whatever has the name with `.new` behind it was left by a process that ended while it did this, and is written over.
pub(super) fn make(path: &Path) -> Result<()> {
    if path.try_exists().unwrap_or(true) {
        return Ok(());
    }
    let making = making(path);
    let fault = |error: redb::Error| storage_error(path, "make", error);
    let database = match redb::Database::create(&making) {
        // Half made; nothing was promised about it.
        Err(error) if !matches!(error, redb::DatabaseError::DatabaseAlreadyOpen) && making.exists() => {
            remove_file(&making).map_err(|error| fault(error.into()))?;
            redb::Database::create(&making).map_err(|error| fault(error.into()))?
        }
        created => created.map_err(|error| fault(error.into()))?,
    };
    prepare(path, &database)?;
    // Closed before it has its name: the next to open it must not find it open.
    drop(database);
    name(&making, path).map_err(|error| fault(error.into()))
}

fn making(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(MAKING);
    name.into()
}

/// Gives the file its name, unless another process has put a store there meanwhile.
fn name(making: &Path, path: &Path) -> io::Result<()> {
    match hard_link(making, path) {
        Ok(()) => remove_file(making)?,
        Err(error) if error.kind() == Io::AlreadyExists => return remove_file(making),
        // Some file systems know no links. What is lost there is only the last look whether the name is free.
        Err(_) if !path.try_exists()? => rename(making, path)?,
        Err(error) => return Err(error),
    }
    // The name is on disk as well. Where folders cannot be opened, they are written in their own time.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).or(Ok(()))
}
