//! A version with the text it was written as.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// A semantic version, read leniently, that remembers how it was written.
///
/// The order is total: by precedence, which ignores build metadata, and then by the text, so that of two tags with the
/// same version the choice is the same in every run. Sorted downwards, `1.0.0` comes before `1.0`.
///
/// ```
/// use kargo_core::version::Version;
///
/// let version = Version::parse("v1.24")?;
/// assert_eq!((version.major(), version.minor(), version.patch()), (1, 24, 0));
/// assert_eq!(version.to_string(), "v1.24");
/// assert!(Version::parse_strict("v1.24").is_err());
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Version {
    value: semver::Version,
    text: String,
}

impl Version {
    /// Reads a version leniently: a lower-case `v` may lead, the second and third number may be missing, numbers may
    /// have leading zeros. Pre-release and build metadata may follow.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is not a version.
    pub fn parse(text: &str) -> Result<Self> {
        match loose(text) {
            Ok(value) => Ok(Self { value, text: text.to_owned() }),
            Err(fault) => Err(not_a_version(text, fault)),
        }
    }

    /// Reads a version that has all three numbers, without leading zeros; a single lower-case `v` may still lead.
    /// This is what Kargo's `strictSemvers` asks for.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is not such a version.
    pub fn parse_strict(text: &str) -> Result<Self> {
        let version = Self::parse(text)?;
        match semver::Version::parse(text.strip_prefix('v').unwrap_or(text)) {
            Ok(_) => Ok(version),
            Err(_) => Err(not_a_version(text, "strict versions have three numbers without leading zeros, as in 1.2.3")),
        }
    }

    /// The first number.
    pub fn major(&self) -> u64 {
        self.value.major
    }

    /// The second number, 0 when it was not written.
    pub fn minor(&self) -> u64 {
        self.value.minor
    }

    /// The third number, 0 when it was not written.
    pub fn patch(&self) -> u64 {
        self.value.patch
    }

    /// The pre-release part without its hyphen; empty for a release.
    pub fn pre_release(&self) -> &str {
        self.value.pre.as_str()
    }

    /// The build metadata without its plus sign; empty when there is none. It never takes part in comparisons.
    pub fn build(&self) -> &str {
        self.value.build.as_str()
    }

    /// Whether this is a pre-release.
    pub fn is_pre_release(&self) -> bool {
        !self.value.pre.is_empty()
    }

    /// The order by precedence alone, which ignores build metadata and how the versions were written.
    pub fn precedence(&self, other: &Self) -> Ordering {
        self.value.cmp_precedence(&other.value)
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn value(&self) -> &semver::Version {
        &self.value
    }
}

fn not_a_version(text: &str, fault: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{text:?} is not a semantic version: {fault}."))
}

/// The lenient reading, without keeping the text.
pub(super) fn loose(text: &str) -> Result<semver::Version, &'static str> {
    let rest = text.strip_prefix('v').unwrap_or(text);
    let (rest, build) = match rest.split_once('+') {
        Some((rest, build)) => {
            let build = semver::BuildMetadata::new(build).ok().filter(|build| !build.is_empty());
            (rest, build.ok_or("the part after + may only have letters, digits, hyphens and dots")?)
        }
        None => (rest, semver::BuildMetadata::EMPTY),
    };
    let (numbers, pre) = match rest.split_once('-') {
        Some((numbers, pre)) => {
            let pre = semver::Prerelease::new(pre).ok().filter(|pre| !pre.is_empty());
            let pre = pre.ok_or(
                "the pre-release may only have letters, digits, hyphens and dots, and no number with leading zeros",
            )?;
            (numbers, pre)
        }
        None => (rest, semver::Prerelease::EMPTY),
    };
    let mut parts = [0_u64; 3];
    let mut written = numbers.split('.');
    for (index, part) in parts.iter_mut().enumerate() {
        match written.next() {
            Some(text) => *part = number(text)?,
            None if index == 0 => return Err("a version begins with a number"),
            None => break,
        }
    }
    if written.next().is_some() {
        return Err("a version has at most three numbers");
    }
    let [major, minor, patch] = parts;
    Ok(semver::Version { major, minor, patch, pre, build })
}

fn number(text: &str) -> Result<u64, &'static str> {
    // `parse` alone would also accept a sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a version is one to three numbers with dots between them, as in 1.2.3");
    }
    text.parse().map_err(|_| "one of its numbers is too large for 64 bits")
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.precedence(other).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// The text determines the value, so equality of the text is equality in the order above.
impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}
