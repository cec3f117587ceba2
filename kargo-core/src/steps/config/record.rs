//! The configurations of `set-metadata` and `set-freight-alias`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::empty;
use crate::steps::typed::Config;

/// `set-metadata`: notes something of stages and freight, for the expressions of later promotions: `stageMetadata(name)`,
/// `freightMetadata(name)`.
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - The stage or the freight is not there, or has more metadata then than is kept: the step fails.
///
/// # Example
///
/// ```yaml
/// - uses: set-metadata
///   config:
///     updates:
///     - kind: Stage
///       name: ${{ ctx.stage }}
///       values:
///         tag: ${{ quote(imageFrom(vars.image).Tag) }}
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct SetMetadata {
    /// What is noted.
    pub updates: Vec<MetadataUpdate>,
}

/// What is noted of one stage or one piece of freight.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct MetadataUpdate {
    /// Which of both it is.
    pub kind: MetadataKind,
    /// The name of the stage, or the freight's id.
    pub name: String,
    /// The entries. They take the place of those of the same key, whole; others stay.
    pub values: Map<String, Value>,
}

/// What has metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum MetadataKind {
    /// A stage.
    Stage,
    /// Freight.
    Freight,
}

impl Config for SetMetadata {
    const TEXTS: &'static [&'static str] = &["/updates/*/kind", "/updates/*/name"];

    fn fault(&self) -> Option<String> {
        if self.updates.is_empty() {
            return Some("`updates` has no entry".to_owned());
        }
        self.updates.iter().find_map(|one| {
            empty("name", &one.name).or_else(|| one.values.is_empty().then(|| "`values` has no entry".to_owned()))
        })
    }
}

/// `set-freight-alias`: calls freight something else.
///
/// # Outputs
///
/// None.
///
/// # Errors
///
/// - The freight is not there, or other freight has the alias: the step fails.
///
/// # Example
///
/// ```yaml
/// - uses: set-freight-alias
///   config:
///     name: ${{ ctx.targetFreight.name }}
///     alias: release-${{ imageFrom(vars.image).Tag }}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct SetFreightAlias {
    /// The freight's id.
    pub name: String,
    /// What it is called from then on.
    pub alias: String,
}

impl Config for SetFreightAlias {
    const TEXTS: &'static [&'static str] = &["/name", "/alias"];

    fn fault(&self) -> Option<String> {
        empty("name", &self.name).or_else(|| empty("alias", &self.alias))
    }
}
