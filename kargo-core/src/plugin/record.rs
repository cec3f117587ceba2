//! What a step has the journal keep, beside its outcome.

use serde_json::{Map, Value};

use crate::name::{FreightId, StageName};

/// Something that a step notes of the pipeline: see [`StepRequest::record`](super::StepRequest::record).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Record {
    /// Entries of a stage's metadata, which expressions read with `stageMetadata(name)`. They take the place of those of the same key.
    StageMetadata {
        /// The stage.
        stage: StageName,
        /// The entries.
        values: Map<String, Value>,
    },
    /// Entries of the metadata of freight, which expressions read with `freightMetadata(name)`.
    FreightMetadata {
        /// The freight.
        freight: FreightId,
        /// The entries.
        values: Map<String, Value>,
    },
    /// Another alias of freight.
    FreightAlias {
        /// The freight.
        freight: FreightId,
        /// The alias.
        alias: String,
    },
}
