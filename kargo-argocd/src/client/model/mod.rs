//! The parts of an Application that a verdict needs.
//!
//! Reading is lenient on purpose: absent, null and unknown are all allowed, since releases differ and a field that is missing must
//! show as missing, never as a refusal to read the rest.

mod operation;
mod spec;
mod status;
mod words;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub use operation::{
    Info, Initiator, Operation, OperationState, ResourceResult, RetryStrategy, SyncOperation, SyncResult,
};
pub use spec::{Automated, HydrateTo, Source, SourceHydrator, Spec, SyncPolicy, SyncSource};
pub use status::{
    ComparedTo, Condition, HealthStatus, HistoryEntry, Hydration, HydratorStatus, Resource, Status, Summary, SyncStatus,
};
pub use words::{HealthCode, HydrationPhase, OperationPhase, SyncCode};

/// `null` as the default, like a missing field.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A time that cannot be read counts as absent, so that one odd stamp does not hide the whole application.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

/// An Argo CD Application, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Application {
    /// Name, namespace, uid.
    #[serde(deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// What is wanted.
    #[serde(deserialize_with = "or_default")]
    pub spec: Spec,
    /// The operation that was asked for or runs; gone once it has ended.
    pub operation: Option<Operation>,
    /// What is.
    #[serde(deserialize_with = "or_default")]
    pub status: Status,
}

/// Object metadata.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The application's name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Differs when it was deleted and made anew.
    pub uid: Option<String>,
    /// Counts up with every change.
    pub resource_version: Option<String>,
    /// Set while it is being deleted.
    #[serde(deserialize_with = "time")]
    pub deletion_timestamp: Option<Timestamp>,
    /// Annotations.
    #[serde(deserialize_with = "or_default")]
    pub annotations: Map<String, Value>,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: Map<String, Value>,
    /// Its owners, such as an ApplicationSet.
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<OwnerReference>,
}

/// An owner of an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    /// The owner's kind.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// The owner's name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
}

/// The revision of the source at `index`, from the two forms in which Argo CD writes revisions. `None` when it is absent, empty, or
/// the lists do not fit the sources.
pub(crate) fn revision_at<'a>(
    sources: usize,
    index: usize,
    single: Option<&'a str>,
    many: &'a [String],
) -> Option<&'a str> {
    let found = match (sources, many) {
        (0 | 1, []) => single,
        (0 | 1, [only]) => Some(only.as_str()),
        (_, many) if many.len() == sources => many.get(index).map(String::as_str),
        _ => None,
    };
    found.filter(|revision| !revision.is_empty())
}
