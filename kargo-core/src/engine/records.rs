//! What steps have the journal keep, as events.

use serde_json::{Map, Value};

use super::command::alias_set;
use super::expression::Secrets;
use super::report::fits;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Record;
use crate::state::{Draft, EventKind, MetadataOf, State};

/// How large, in bytes of JSON, the metadata of one stage or one piece of freight may be. Kargo's are bounded by the size of its objects.
const METADATA_LIMIT: usize = 256 << 10;

/// `record` without secrets.
pub(super) fn masked(record: Record, secrets: &Secrets) -> Record {
    match record {
        Record::StageMetadata { stage, values } => Record::StageMetadata { stage, values: secrets.mask_map(values) },
        Record::FreightMetadata { freight, values } => {
            Record::FreightMetadata { freight, values: secrets.mask_map(values) }
        }
        Record::FreightAlias { freight, alias } => Record::FreightAlias { freight, alias: secrets.mask(alias) },
    }
}

/// The events that `records` are.
///
/// # Errors
/// When one cannot be: there is no such stage or freight, the alias is taken, there would be too much.
pub(super) fn drafts(state: &State, records: Vec<Record>) -> Result<Vec<Draft>> {
    let mut drafts = Vec::new();
    // What earlier records of the same step make of the metadata, which counts for the limit.
    let mut made: Vec<(MetadataOf, Map<String, Value>)> = Vec::new();
    for record in records {
        let (of, known, values) = match record {
            Record::FreightAlias { freight, alias } => {
                drafts.extend(alias_set(state, &freight, Some(&alias))?.map(Draft::outcome));
                continue;
            }
            Record::StageMetadata { stage, values } => {
                let pipeline = state.pipeline();
                if pipeline.is_none_or(|pipeline| pipeline.stage(&stage).is_none()) {
                    let names =
                        pipeline.into_iter().flat_map(|pipeline| pipeline.stages().map(|stage| stage.name().as_str()));
                    let hint = crate::near_match(stage.as_str(), names).map(|near| format!(" Did you mean {near:?}?"));
                    let message =
                        format!("Stage {stage:?} does not exist, so it has no metadata.{}", hint.unwrap_or_default());
                    return Err(Error::new(ErrorKind::NotFound, message));
                }
                let known = state.stage(&stage).and_then(|stage| stage.metadata.as_deref());
                (MetadataOf::Stage(stage), known, values)
            }
            Record::FreightMetadata { freight, values } => {
                let Some(known) = state.freight_by_id(&freight) else {
                    let message =
                        format!("Freight {freight:?} does not exist, so it has no metadata; name it by its id.");
                    return Err(Error::new(ErrorKind::NotFound, message));
                };
                (MetadataOf::Freight(freight), known.metadata(), values)
            }
        };
        let earlier = made.iter().rposition(|(whose, _)| *whose == of);
        let mut all = earlier.map(|at| made.swap_remove(at).1).or_else(|| known.cloned()).unwrap_or_default();
        all.extend(values.clone());
        fits("metadata", &all)?;
        let size = serde_json::to_vec(&all).map_or(0, |json| json.len());
        if size > METADATA_LIMIT {
            let message = format!(
                "The metadata would have {size} bytes, and at most {METADATA_LIMIT} are kept; keep a reference instead."
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        made.push((of.clone(), all));
        drafts.push(Draft::outcome(EventKind::MetadataSet { of, values }));
    }
    Ok(drafts)
}
