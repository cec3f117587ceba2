//! Which tags and versions do not fit by their names, and why: for images and charts alike.

use std::fmt;

use kargo_core::version::{Constraint, Version};

/// Why a tag, or the version of a chart, does not fit by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misfit {
    /// It is where signatures, attestations or the like of another image are kept.
    Attachment,
    /// This regular expression of `ignoreTagsRegexes` is found in it.
    Ignored(String),
    /// None of `allowTagsRegexes` is found in it.
    NotAllowed,
    /// It is no semantic version, or not one of three numbers where that is asked for; with the reason.
    NotAVersion(String),
    /// Its version is outside of this constraint.
    OutsideConstraint(String),
    /// It is not the one tag that is watched.
    NotWatched,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attachment => f.write_str("holds a signature or another attachment of an image"),
            Self::Ignored(regex) => write!(f, "ignored, because {regex:?} of ignoreTagsRegexes is found in it"),
            Self::NotAllowed => f.write_str("none of allowTagsRegexes is found in it"),
            Self::NotAVersion(why) => f.write_str(why),
            Self::OutsideConstraint(constraint) => write!(f, "outside of the constraint {constraint:?}"),
            Self::NotWatched => f.write_str("not the tag that is watched"),
        }
    }
}

/// The version that `text` is, when it fits. `strict` asks for all three numbers.
///
/// # Errors
/// Why it does not.
pub(crate) fn fitting_version(text: &str, strict: bool, constraint: Option<&Constraint>) -> Result<Version, Misfit> {
    let version = if strict { Version::parse_strict(text) } else { Version::parse(text) };
    let version = version.map_err(|error| Misfit::NotAVersion(error.message().trim_end_matches('.').to_owned()))?;
    match constraint {
        Some(constraint) if !constraint.matches(&version) => Err(Misfit::OutsideConstraint(constraint.to_string())),
        _ => Ok(version),
    }
}

/// Whether a tag is where signatures and attestations of another image are kept: `sha256-<hash>`, with or without
/// ending.
pub(crate) fn is_attachment(tag: &str) -> bool {
    ["sha256-", "sha512-"].iter().any(|algorithm| {
        tag.strip_prefix(algorithm).is_some_and(|rest| {
            let hash = rest.split('.').next().unwrap_or(rest);
            hash.len() >= 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    })
}
