//! Texts from disks and streams.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::manifest::reader;

/// How deep folders are looked through.
const MAX_FOLDERS: usize = 32;
/// How many files of a folder are read.
const MAX_FILES: usize = 20_000;

pub(super) fn cannot_read(name: &str, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::InvalidInput,
    };
    Error::new(kind, format!("The manifests in {name} cannot be read: {error}."))
        .operation("load manifests")
        .because(error)
}

pub(super) fn text_of(name: &str, stream: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    let limit = reader::MAX_BYTES as u64 + 1;
    stream.take(limit).read_to_end(&mut bytes).map_err(|error| cannot_read(name, error))?;
    if bytes.len() > reader::MAX_BYTES {
        let message = format!("{name} has more than {} bytes; split it.", reader::MAX_BYTES);
        return Err(Error::new(ErrorKind::InvalidInput, message).operation("load manifests"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let bytes = error.as_bytes();
        let at = error.utf8_error().valid_up_to();
        let message = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => format!("{name} is UTF-16; save it as UTF-8."),
            _ => {
                let before = &bytes[..at];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                let byte = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
                let value = bytes.get(at).copied().unwrap_or_default();
                format!("{name} is not UTF-8: byte {byte} of line {line} is 0x{value:02x}; save it as UTF-8.")
            }
        };
        Error::new(ErrorKind::InvalidInput, message).operation("load manifests").because(error)
    })
}

/// The files of a folder that may hold manifests.
pub(super) fn files_in(folder: &Path, depth: usize, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    let name = folder.display().to_string();
    let too_much = |what: &str| {
        Error::new(ErrorKind::InvalidInput, format!("The folder {name} has too many {what}; load parts of it."))
            .operation("load manifests")
    };
    if depth > MAX_FOLDERS {
        return Err(too_much("folders in folders"));
    }
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|error| cannot_read(&name, error))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(|error| cannot_read(&name, error))?;
        let file = entry.path();
        let is_manifest = file
            .extension()
            .and_then(|end| end.to_str())
            .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end.eq_ignore_ascii_case(known)));
        if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            files_in(&file, depth + 1, files)?;
        } else if kind.is_file() && is_manifest {
            if files.len() == MAX_FILES {
                return Err(too_much("files"));
            }
            files.push(file);
        }
    }
    Ok(())
}
