//! What a step leaves out: lines as in a `.gitignore`.

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::{Error, ErrorKind, Result};

/// Patterns of a `.gitignore`.
#[derive(Debug)]
pub(super) struct Ignore(Gitignore);

impl Ignore {
    /// Reads the lines; nothing when there is no pattern.
    pub(super) fn parse(lines: &str) -> Result<Option<Self>> {
        let invalid = |line: &str, error: ignore::Error| {
            Error::new(ErrorKind::InvalidInput, format!("The line {line:?} of `ignore` is no pattern of a .gitignore."))
                .because(error)
        };
        let mut builder = GitignoreBuilder::new("");
        for line in lines.lines() {
            builder.add_line(None, line).map_err(|error| invalid(line, error))?;
        }
        let patterns = builder.build().map_err(|error| invalid(lines, error))?;
        Ok(if patterns.is_empty() { None } else { Some(Self(patterns)) })
    }

    /// Whether `path` itself is left out. The directories above it are not looked at.
    pub(super) fn names(&self, path: &str, is_directory: bool) -> bool {
        self.0.matched(path, is_directory).is_ignore()
    }

    /// Whether `path` or a directory above it is left out.
    pub(super) fn covers(&self, path: &str, is_directory: bool) -> bool {
        self.0.matched_path_or_any_parents(path, is_directory).is_ignore()
    }
}
