//! The configurations of `tar` and `untar`.

use serde::Deserialize;

use super::empty;
use crate::steps::typed::Config;

/// `tar`: packs a file or a directory into an archive, with its contents at the archive's root. At most 50 MiB a file, 100 MiB in all.
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - `inPath` is not there.
/// - A file has more than 50 MiB, or all have more than 100 MiB.
/// - `ignore` cannot be read.
///
/// # Example
///
/// ```yaml
/// - uses: tar
///   config:
///     inPath: ./env
///     outPath: ./env.tgz
///     gzip: true
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Tar {
    /// The file or directory to be packed.
    pub in_path: String,
    /// The archive.
    pub out_path: String,
    /// Whether the archive is compressed with gzip. Default: no.
    #[serde(default)]
    pub gzip: bool,
    /// What is left out: lines as in a `.gitignore`, relative to `inPath`. Default: nothing.
    #[serde(default)]
    pub ignore: String,
}

impl Config for Tar {
    const TEXTS: &'static [&'static str] = &["/inPath", "/outPath", "/ignore"];

    fn fault(&self) -> Option<String> {
        empty("inPath", &self.in_path).or_else(|| empty("outPath", &self.out_path))
    }
}

/// `untar`: unpacks an archive, which may be compressed with gzip, in place of what is at the target. At most 50 MiB a file, 100 MiB in
/// all. What is neither file, directory nor symbolic link is left out, and so is what would lead out of the target, a link by way of
/// another one too.
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - `inPath` is not there, or is no archive.
/// - A file has more than 50 MiB, or all have more than 100 MiB.
/// - `ignore` cannot be read.
///
/// # Example
///
/// ```yaml
/// - uses: untar
///   config:
///     inPath: ./env.tgz
///     outPath: ./env
///     stripComponents: 1
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Untar {
    /// The archive.
    pub in_path: String,
    /// The directory that gets what is in it.
    pub out_path: String,
    /// How many leading parts of each path are dropped; what has no more than that is left out. Default: 0.
    #[serde(default)]
    pub strip_components: usize,
    /// What is left out: lines as in a `.gitignore`, relative to `outPath`. Default: nothing.
    #[serde(default)]
    pub ignore: String,
}

impl Config for Untar {
    const TEXTS: &'static [&'static str] = &["/inPath", "/outPath", "/ignore"];

    fn fault(&self) -> Option<String> {
        empty("inPath", &self.in_path).or_else(|| empty("outPath", &self.out_path))
    }
}
