//! Edits of configuration files that change the wanted bytes and no others.
//!
//! People read and review the files that a promotion changes. An edit here therefore never parses a file into
//! values and writes the values back: it finds the bytes of one value, replaces them, and leaves comments, order,
//! quoting, indentation, line endings and everything else as they were. Before an edit is returned it is read
//! again and compared with what was asked for; an edit that would say anything else is an error.
//!
//! | format | to set values | to read |
//! |---|---|---|
//! | YAML | [`yaml::update`], [`yaml::upsert`] | [`yaml::parse`] |
//! | JSON | [`json::update`] | [`json::parse`] |
//! | TOML | [`toml::update`], [`toml::upsert`] | [`toml::parse`] |
//! | HCL | [`hcl::update`] | |
//! | a kustomization's `images` | [`kustomize::set_images`] | |
//! | a Helm chart's `dependencies` | [`helm::set_dependencies`] | [`helm::dependencies`] |
//!
//! Nothing here opens a file: text comes in, text goes out. [`file()`] puts a function on texts to work on a file's bytes.
//!
//! ```
//! use kargo_core::edit::{self, Outcome};
//!
//! let tag = |text: &str| edit::yaml::update(text, &[("image.tag", "v1.5.0")]);
//! let outcome = edit::file("dev/values.yaml", b"image: {tag: v1.4.0}\n", tag)?;
//! assert_eq!(outcome, Outcome::Changed("image: {tag: v1.5.0}\n".into()));
//! assert_eq!(edit::file("dev/values.yaml", b"image: {tag: v1.5.0}\n", tag)?, Outcome::Unchanged);
//!
//! let error = edit::file("dev/values.yaml", b"image: {tog: v1.4.0}\n", tag).unwrap_err().to_string();
//! assert!(error.contains("did you mean \"tog\"?") && error.contains("file: dev/values.yaml"), "{error}");
//! # Ok::<(), kargo_core::Error>(())
//! ```

pub mod hcl;
pub mod helm;
pub mod json;
pub mod kustomize;
pub mod toml;
pub mod yaml;

mod assign;
mod path;
mod value;

use std::ops::Range;

pub use value::Value;

use crate::{Error, ErrorKind, Result};

/// The longest text that an edit takes, in bytes: 10 MiB.
pub const MAX_BYTES: usize = 10 * 1024 * 1024;

/// What an edit made of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The file already says what was asked for; not a byte changes.
    Unchanged,
    /// The file's new contents.
    Changed(String),
}

/// Runs `edit` on the contents of the file at `path`.
///
/// # Errors
/// Those of `edit`, and [`ErrorKind::InvalidInput`] when the contents are not UTF-8; each names the file.
pub fn file(path: &str, contents: &[u8], edit: impl FnOnce(&str) -> Result<String>) -> Result<Outcome> {
    let text = text(path, contents)?;
    let edited = edit(text).map_err(|error| error.with("file", path))?;
    Ok(if edited == text { Outcome::Unchanged } else { Outcome::Changed(edited) })
}

/// The contents of the file at `path` as text.
pub(crate) fn text<'a>(path: &str, contents: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(contents).map_err(|error| {
        Error::new(
            ErrorKind::InvalidInput,
            "The file is not UTF-8 text, so it cannot be read as YAML, JSON, TOML or HCL.",
        )
        .with("file", path)
        .because(error)
    })
}

fn invalid(operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message).operation(operation)
}

/// The edited text would not read back as what was asked for.
fn damaged(operation: &'static str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "The edited text would not read back as the original with only the wanted values changed, so nothing was \
         changed; write the values to be updated in a simpler form, such as on one line in quotes.",
    )
    .operation(operation)
}

/// The text with other ones in the place of some ranges of its bytes, which do not overlap.
fn spliced(text: &str, mut splices: Vec<(Range<usize>, String)>) -> String {
    splices.sort_by_key(|(range, _)| range.start);
    let mut edited = String::with_capacity(text.len().min(MAX_BYTES) + 64);
    let mut at = 0;
    for (range, new) in splices {
        edited.push_str(text.get(at..range.start).unwrap_or_default());
        edited.push_str(&new);
        at = range.end;
    }
    edited.push_str(text.get(at..).unwrap_or_default());
    edited
}

/// Refuses what is too long to be edited.
fn bounded(operation: &'static str, text: &str) -> Result<()> {
    if text.len() <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("The text has {} bytes; at most {MAX_BYTES} are edited. Split the file.", text.len());
    Err(invalid(operation, message))
}
