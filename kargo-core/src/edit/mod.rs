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

/// How many bytes one edit may read again in all: 256 MiB. Each key that is not there yet takes reading the whole text once more, so that
/// thousands of them in a long text would keep a thread for hours.
const MAX_READ_AGAIN: u64 = 256 << 20;

/// How many bytes one edit may look through for its keys in all, when each takes a look at every entry: 4 GiB.
const MAX_LOOKED_THROUGH: u64 = 4 << 30;

/// Refuses to look for so many keys in a text, which takes a look at every entry for each.
fn can_look(operation: &'static str, keys: usize, text: &str) -> Result<()> {
    let work = (keys as u64).saturating_mul(text.len() as u64);
    if work <= MAX_LOOKED_THROUGH { Ok(()) } else { Err(too_much(operation, keys, text, MAX_LOOKED_THROUGH)) }
}

/// How much one edit has read again.
#[derive(Debug)]
struct Effort {
    operation: &'static str,
    keys: usize,
    read: u64,
}

impl Effort {
    /// For so many keys, of which each takes reading the text again.
    fn reading(operation: &'static str, keys: usize, text: &str) -> Result<Self> {
        if (keys as u64).saturating_mul(text.len() as u64) > MAX_READ_AGAIN {
            return Err(too_much(operation, keys, text, MAX_READ_AGAIN));
        }
        Ok(Self { operation, keys, read: 0 })
    }

    /// The text, which has grown since, is read once more.
    fn again(&mut self, text: &str) -> Result<()> {
        self.read = self.read.saturating_add(text.len() as u64);
        if self.read <= MAX_READ_AGAIN {
            Ok(())
        } else {
            Err(too_much(self.operation, self.keys, text, MAX_READ_AGAIN))
        }
    }
}

fn too_much(operation: &'static str, keys: usize, text: &str, most: u64) -> Error {
    let message = format!(
        "{keys} keys in a text of {} bytes are too much for one edit, which goes through the whole text for each, and through {most} bytes in \
         all; set fewer keys at once, or split the file.",
        text.len()
    );
    invalid(operation, message)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn updates(count: usize) -> Vec<(String, &'static str)> {
        (0..count).map(|n| (format!("k{n}"), "v")).collect()
    }

    #[test]
    fn many_keys_in_a_long_text_are_refused_before_anything_is_done() {
        let comment = "x".repeat(1 << 20);
        let (hash, json) = (format!("a: 1\n# {comment}\n"), format!("{{\"a\": \"{comment}\"}}"));
        let equals = hash.replace("a: 1", "a = 1");
        let images: Vec<kustomize::Image> = (0..300).map(|n| kustomize::Image::tag(format!("i{n}"), "v1")).collect();
        let there = vec![("a", "2"); 5_000];
        for (what, result) in [
            ("yaml, new", yaml::upsert(&hash, &updates(300))),
            ("toml, new", toml::upsert(&equals, &updates(300))),
            ("json", json::update(&json, &updates(300))),
            ("images", kustomize::set_images(&hash, &images)),
            ("yaml", yaml::update(&hash, &there)),
            ("toml", toml::update(&equals, &there)),
            ("hcl", hcl::update(&equals, &there)),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error}");
            assert!(error.message().contains("bytes are too much for one edit"), "{what}: {error}");
        }
        assert!(yaml::upsert(&hash, &updates(1)).is_ok() && json::update(&json, &updates(1)).is_ok());
    }

    #[test]
    fn a_text_that_grows_is_counted_as_it_is() {
        let mut effort = Effort::reading(OPERATION, 1_000, "").unwrap();
        let text = "x".repeat(1 << 20);
        assert!((0..256).all(|_| effort.again(&text).is_ok()));
        assert!(effort.again(&text).unwrap_err().message().contains("1000 keys"));
    }

    const OPERATION: &str = "test";

    #[test]
    fn thousands_of_keys_in_a_short_text_are_set() {
        let count = 3_000;
        let text: String = (0..count).map(|n| format!("k{n}: a\n")).collect();
        assert_eq!(yaml::update(&text, &updates(count)).unwrap(), text.replace(": a", ": v"));
        let text = text.replace(": a", " = \"a\"");
        assert_eq!(toml::update(&text, &updates(count)).unwrap(), text.replace("\"a\"", "\"v\""));
        assert_eq!(hcl::update(&text, &updates(count)).unwrap(), text.replace("\"a\"", "\"v\""));
        let twice: Vec<(String, &str)> = updates(count).into_iter().chain([("k7".to_owned(), "w")]).collect();
        for error in [
            toml::update(&text, &twice),
            hcl::update(&text, &twice),
            yaml::upsert("a: 1\n", &[("b", 1), ("b", 2)]),
            toml::upsert("a = 1\n", &[("b", 1), ("b", 2)]),
        ] {
            assert!(error.unwrap_err().message().contains("set the same value"));
        }
    }
}
