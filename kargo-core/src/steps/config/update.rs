//! `yaml-update`, `json-update`, `toml-update` and `hcl-update`.

use serde::Deserialize;
use serde_json::Number;

use super::empty;
use crate::steps::typed::Config;

/// `yaml-update`, `toml-update`: sets single values of a file and changes no other byte.
///
/// # Outputs
///
/// - `commitMessage`: what was done, for a `git-commit` that follows. It is not there when nothing was to be done.
///
/// # Errors
///
/// - The file is not there, or is not what its name says; where is told with line and column.
/// - A key leads nowhere, and `create` is not set; or it does not hold a single value.
/// - An index is out of range.
///
/// # Example
///
/// ```yaml
/// - uses: yaml-update
///   as: update
///   config:
///     path: ./env/dev/values.yaml
///     updates:
///     - key: image.tag
///       value: ${{ imageFrom(vars.image).Tag }}
///     - key: replicas
///       value: 3
/// ```
///
/// ```yaml
/// - uses: toml-update
///   as: update
///   config:
///     path: ./env/dev/settings.toml
///     create: true
///     updates:
///     - key: image.tag
///       value: ${{ imageFrom(vars.image).Tag }}
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct UpdateOrCreate {
    /// The file.
    pub path: String,
    /// What is set.
    pub updates: Vec<SetValue>,
    /// Whether keys that are not there are made, with what is needed on the way; `-1` as an index then appends to a list. Default: no, a
    /// key that is not there is an error.
    #[serde(default)]
    pub create: bool,
}

/// `json-update`, `hcl-update`: sets single values of a file and changes no other byte.
///
/// # Outputs
///
/// - `commitMessage`: what was done, for a `git-commit` that follows. It is not there when nothing was to be done.
///
/// # Errors
///
/// - The file is not there, or is not what its name says; where is told with line and column.
/// - A key leads nowhere: in HCL it must be there and hold a single value. JSON gets keys that are missing.
/// - An index is out of range.
///
/// # Example
///
/// ```yaml
/// - uses: json-update
///   as: update
///   config:
///     path: ./env/dev/versions.json
///     updates:
///     - key: app
///       value: ${{ quote(imageFrom(vars.image).Tag) }}
/// ```
///
/// ```yaml
/// - uses: hcl-update
///   as: update
///   config:
///     path: ./infra/main.tf
///     updates:
///     - key: module.app.version
///       value: ${{ imageFrom(vars.image).Tag }}
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Update {
    /// The file.
    pub path: String,
    /// What is set.
    pub updates: Vec<SetValue>,
}

/// One value that is set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct SetValue {
    /// The key, its parts joined by dots, as in `image.tag` and `images.0.tag`; a dot within a part is `\.`. In HCL the
    /// labels of blocks are parts too, as in `module.app.version`.
    pub key: String,
    /// The value: a text, a number or a bool. A text, which is also what an expression gives, stays a text, quoted where it would be
    /// read as something else, unless a number or a bool stands there already and it can be one too.
    pub value: Scalar,
}

/// A single value.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "a text, a number or a bool")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Text(String),
    Number(Number),
    Bool(bool),
}

/// The fields of an update that take a text.
const UPDATE_TEXTS: &[&str] = &["/path", "/updates/*/key", "/updates/*/value"];

fn fault_of_update(path: &str, updates: &[SetValue]) -> Option<String> {
    empty("path", path).or_else(|| updates.iter().find_map(|update| empty("key", &update.key)))
}

impl Config for UpdateOrCreate {
    const TEXTS: &'static [&'static str] = UPDATE_TEXTS;

    fn fault(&self) -> Option<String> {
        fault_of_update(&self.path, &self.updates)
    }
}

impl Config for Update {
    const TEXTS: &'static [&'static str] = UPDATE_TEXTS;

    fn fault(&self) -> Option<String> {
        fault_of_update(&self.path, &self.updates)
    }
}
