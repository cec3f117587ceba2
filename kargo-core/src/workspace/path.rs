//! Paths, none of which leads out of the workspace.

use crate::error::{Error, ErrorKind, Result};

/// How many symbolic links one path may lead through.
pub(super) const MAX_LINKS: usize = 40;
/// How long a path may be, in bytes, and how deep.
const MAX_LENGTH: usize = 4_096;
pub(super) const MAX_DEPTH: usize = 256;

/// Whether `name` can be the name of a file or a directory here. `.git` cannot: no step may plant hooks or configuration.
pub(super) fn is_name(name: &str) -> bool {
    !(name.is_empty()
        || matches!(name, "." | "..")
        || name.eq_ignore_ascii_case(".git")
        || name.contains('/')
        || name.contains(|c: char| c.is_control()))
}

/// The parts of `path` as they stand, `..` among them.
pub(super) fn parts(path: &str) -> Result<Vec<String>> {
    let refused = |why: &str| {
        Err(Error::new(ErrorKind::InvalidInput, format!("{:?} is no path in the workspace: {why}.", cut(path))))
    };
    if path.len() > MAX_LENGTH {
        return refused("it is longer than 4,096 bytes");
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => parts.push("..".to_owned()),
            name if is_name(name) => parts.push(name.to_owned()),
            name if name.eq_ignore_ascii_case(".git") => {
                return refused("'.git' is not part of what steps can see or change");
            }
            _ => return refused("it has a control character in it"),
        }
    }
    if parts.len() > MAX_DEPTH {
        return refused("it is more than 256 levels deep");
    }
    Ok(parts)
}

/// The beginning of a text that somebody else has written.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

/// What a list of paths may take in memory, as [`weight`] tells it: 256 MiB. Long paths are cheap to have, as a directory in a directory in
/// a directory, but not to name.
pub(super) const MAX_WEIGHT: usize = 256 << 20;

/// About how many bytes a path takes in memory.
pub(super) fn weight(path: &[String]) -> usize {
    path.iter().map(|part| part.len() + 48).sum()
}

/// Refuses what would lie deeper than anything may.
pub(super) fn not_too_deep(path: &[String], levels: usize) -> Result<()> {
    if path.len().saturating_add(levels) <= MAX_DEPTH {
        return Ok(());
    }
    let message = format!(
        "{:?} would lie more than {MAX_DEPTH} directories deep, or what is in it would, and no more are kept within each other; make it \
         flatter.",
        cut(&joined(path))
    );
    Err(Error::new(ErrorKind::InvalidInput, message))
}

/// The path that these parts are; `.` for the workspace itself.
pub(super) fn joined(parts: &[String]) -> String {
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}
