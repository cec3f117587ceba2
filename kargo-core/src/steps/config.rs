//! The configurations of the steps, with the fields and defaults that they have in Kargo.
//!
//! Paths are relative to the promotion's workspace, and none leads out of it: `..` beyond its root, a leading `/` and symbolic links are
//! taken as if the workspace were all there is.

mod archive;
mod helm;
mod http;
mod kustomize;
mod people;
mod record;
mod update;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::typed::{Config, is_template};

pub use archive::{Tar, Untar};
pub use helm::{ChartVersion, HelmTemplate, HelmUpdateChart, HelmValue, OutLayout};
pub use http::{Http, HttpDownload, MAX_TIMEOUT, NamedValue, POLL_INTERVAL, Span};
pub use kustomize::{KustomizeBuild, KustomizeHelm, KustomizeImage, KustomizePlugin, KustomizeSetImage, OutputFormat};
pub use people::{ApproverConfig, SendMessage, WaitForApproval};
pub use record::{MetadataKind, MetadataUpdate, SetFreightAlias, SetMetadata};
pub use update::{Scalar, SetValue, Update, UpdateOrCreate};

/// `copy`: copies a file or a directory. A directory that is at the target gets the files of the other, over its own where both have one.
///
/// Symbolic links stay what they are.
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - `inPath` is not there.
/// - `ignore` cannot be read.
///
/// # Example
///
/// ```yaml
/// - uses: copy
///   config:
///     inPath: ./source/app
///     outPath: ./env/app
///     ignore: |
///       *.md
///       !README.md
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Copy {
    /// The file or directory to be copied.
    pub in_path: String,
    /// Where to.
    pub out_path: String,
    /// What is left out: lines as in a `.gitignore`, relative to `inPath`. Default: nothing.
    #[serde(default)]
    pub ignore: String,
}

impl Config for Copy {
    const TEXTS: &'static [&'static str] = &["/inPath", "/outPath", "/ignore"];

    fn fault(&self) -> Option<String> {
        empty("inPath", &self.in_path).or_else(|| empty("outPath", &self.out_path))
    }
}

/// `delete`: takes files, directories and links away. A link itself goes, not what it points to.
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - A path leads out of the workspace; nothing is deleted then.
/// - A pattern is none.
/// - With `strict`, there is nothing at a path, or nothing matches a pattern.
///
/// # Example
///
/// ```yaml
/// - uses: delete
///   config:
///     paths:
///     - ./env/**/*.tmp
///     - ./env/old
///     pathsAreGlobs: true
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Delete {
    /// What goes. Either this or `paths` must be there.
    pub path: Option<String>,
    /// All that goes.
    pub paths: Option<Vec<String>>,
    /// Whether the paths are patterns, where `*` is any text without `/`, `**` any path, `?` one character, `[a-z]` one of some
    /// and `{a,b}` one or the other. Default: no.
    #[serde(default)]
    pub paths_are_globs: bool,
    /// Whether a path at which there is nothing, or a pattern that nothing matches, is an error. Default: no.
    #[serde(default)]
    pub strict: bool,
}

impl Config for Delete {
    const TEXTS: &'static [&'static str] = &["/path", "/paths/*"];

    fn fault(&self) -> Option<String> {
        match (&self.path, &self.paths) {
            (Some(path), None) => empty("path", path),
            (None, Some(paths)) if paths.is_empty() => Some("`paths` has no entry".to_owned()),
            (None, Some(paths)) => paths.iter().find_map(|path| empty("paths", path)),
            _ => Some("exactly one of `path` and `paths` must be there".to_owned()),
        }
    }
}

/// `file-write`: writes a file with given contents.
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - `path` begins with `/`, leads out of the workspace, has `.git` in it, or leads through a symbolic link: the step fails.
/// - The file is there, and `overwrite` is not set: the step fails.
///
/// # Example
///
/// ```yaml
/// - uses: file-write
///   config:
///     path: ./env/dev/image.txt
///     contents: ${{ imageFrom(vars.image).RepoURL }}
///     permissions: "0644"
///     overwrite: true
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct FileWrite {
    /// The file. Directories above it are made. No link may be on the way.
    pub path: String,
    /// What is in it.
    pub contents: String,
    /// The file's mode, in octal with a leading 0. It can neither be executable nor writable by everybody. Default: `0600`. Git keeps
    /// no more of it than that the file is not executable.
    pub permissions: Option<String>,
    /// Whether a file that is there may be replaced. Default: no.
    #[serde(default)]
    pub overwrite: bool,
}

impl Config for FileWrite {
    const TEXTS: &'static [&'static str] = &["/path", "/contents", "/permissions"];

    fn fault(&self) -> Option<String> {
        let mode = |text: &str| {
            let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3)?;
            u32::from_str_radix(digits, 8).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
        };
        let permissions = |text: &String| match mode(text) {
            _ if is_template(text) => None,
            None => Some(format!("`permissions` is {text:?}, and not an octal mode such as \"0644\"")),
            Some(mode) if mode & 0o111 != 0 => Some(format!("`permissions` {text:?} would make the file executable")),
            Some(mode) if mode & 0o002 != 0 => {
                Some(format!("`permissions` {text:?} would let everybody on the machine write to the file"))
            }
            Some(_) => None,
        };
        empty("path", &self.path).or_else(|| self.permissions.as_ref().and_then(permissions))
    }
}

/// `yaml-merge`: lays YAML files over each other. Maps are merged key by key, everything else is replaced, and `null` takes a key away.
///
/// # Outputs
///
/// - `commitMessage`: what was done, for a `git-commit` that follows. It is not there when nothing was to be done.
///
/// # Errors
///
/// - A file is not there, and `ignoreMissingFiles` is not set.
/// - A file is not YAML.
///
/// # Example
///
/// ```yaml
/// - uses: yaml-merge
///   config:
///     inFiles:
///     - ./config/values.yaml
///     - ./config/values-dev.yaml
///     outFile: ./env/values.yaml
///     ignoreMissingFiles: true
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct YamlMerge {
    /// The files, of which later ones go over earlier ones. Empty ones are passed over.
    pub in_files: Vec<String>,
    /// The file that gets the result. With nothing to merge it is empty.
    pub out_file: String,
    /// Whether files that are not there are passed over. Default: no, they are an error.
    #[serde(default)]
    pub ignore_missing_files: bool,
}

impl Config for YamlMerge {
    const TEXTS: &'static [&'static str] = &["/inFiles/*", "/outFile"];

    fn fault(&self) -> Option<String> {
        if self.in_files.is_empty() {
            return Some("`inFiles` has no entry".to_owned());
        }
        empty("outFile", &self.out_file).or_else(|| self.in_files.iter().find_map(|file| empty("inFiles", file)))
    }
}

/// `yaml-parse`, `json-parse`, `toml-parse`: reads values out of a file. A file that holds no map has what it holds in the variable
/// `root`.
///
/// # Outputs
///
/// One for each entry of `outputs`, by its `name`.
///
/// # Errors
///
/// - The file is not there, is empty, or is not what its name says.
/// - An expression cannot be evaluated, or gives what JSON has nothing like.
///
/// # Example
///
/// ```yaml
/// - uses: yaml-parse
///   as: read
///   config:
///     path: ./env/dev/values.yaml
///     outputs:
///     - name: replicas
///       fromExpression: spec.replicas
/// ```
///
/// ```yaml
/// - uses: json-parse
///   as: read
///   config:
///     path: ./env/dev/versions.json
///     outputs:
///     - name: app
///       fromExpression: app
/// ```
///
/// ```yaml
/// - uses: toml-parse
///   as: read
///   config:
///     path: ./env/dev/settings.toml
///     outputs:
///     - name: tag
///       fromExpression: image.tag
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Parse {
    /// The file.
    pub path: String,
    /// What is read.
    pub outputs: Vec<ParseOutput>,
}

/// One value that is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ParseOutput {
    /// The output's name.
    pub name: String,
    /// An expression without `${{ }}` around it, which sees what was read: of a file the keys at its top, of an answer `response`.
    pub from_expression: String,
}

impl Config for Parse {
    const TEXTS: &'static [&'static str] = &["/path", "/outputs/*/name", "/outputs/*/fromExpression"];

    fn fault(&self) -> Option<String> {
        if self.outputs.is_empty() {
            return Some("`outputs` has no entry".to_owned());
        }
        let texts = self.outputs.iter().flat_map(|one| [("name", &one.name), ("fromExpression", &one.from_expression)]);
        empty("path", &self.path).or_else(|| texts.into_iter().find_map(|(field, text)| empty(field, text)))
    }
}

/// `compose-output`: makes any map the step's outputs.
///
/// # Outputs
///
/// The configuration itself. Within a task they are those of the task too: `outputs.<name of the task>`.
///
/// # Errors
///
/// - There is no entry.
///
/// # Example
///
/// ```yaml
/// - uses: compose-output
///   as: release
///   config:
///     tag: ${{ quote(imageFrom(vars.image).Tag) }}
///     place: https://registry.example/${{ ctx.stage }}
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
#[non_exhaustive]
pub struct ComposeOutput {
    /// The outputs by name.
    pub outputs: Map<String, Value>,
}

impl Config for ComposeOutput {
    const TEXTS: &'static [&'static str] = &[];

    fn fault(&self) -> Option<String> {
        self.outputs.is_empty().then(|| "there is no output".to_owned())
    }
}

/// `fail`: ends the promotion as failed.
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - Always: that is what it is for.
///
/// # Example
///
/// ```yaml
/// - uses: fail
///   if: ${{ imageFrom(vars.image).Tag startsWith "0." }}
///   config:
///     message: This is no release yet.
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Fail {
    /// Why. Default: nothing is said.
    pub message: Option<String>,
}

impl Config for Fail {
    const TEXTS: &'static [&'static str] = &["/message"];
}

fn empty(field: &str, text: &str) -> Option<String> {
    text.is_empty().then(|| format!("`{field}` is empty"))
}
