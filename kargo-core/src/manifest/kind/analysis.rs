//! Analysis templates: how something is measured. They are kept for the verifier that evaluates them.

use serde_json::Value;

use super::{Fields, Notes};

/// An `AnalysisTemplate` or a `ClusterAnalysisTemplate` of Argo Rollouts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AnalysisTemplate {
    /// The whole of `spec`: metrics, arguments and the rest.
    pub spec: Value,
}

impl AnalysisTemplate {
    pub(super) fn decode(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let spec = match fields.take("spec") {
            Some(at) => at.fields(notes).map(|_| at.node.json()),
            None => {
                fields.missing(notes, "spec");
                None
            }
        };
        Self { spec: spec.unwrap_or_else(|| Value::Object(Default::default())) }
    }
}
