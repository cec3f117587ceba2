//! The parts of an Application that a verdict needs.
//!
//! Reading is lenient on purpose: absent, null and unknown are all allowed, since releases differ and a field that is missing must
//! show as missing, never as a refusal to read the rest.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// `null` as the default, like a missing field.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A time that cannot be read counts as absent, so that one odd stamp does not hide the whole application.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word that this crate does not know.
            Other(String),
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $(stringify!($variant) => Self::$variant,)*
                    _ => Self::Other(text),
                }
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$variant => stringify!($variant),)*
                    Self::Other(text) => text,
                })
            }
        }
    };
}

words! {
    /// Whether the cluster holds what the compared revision asks for.
    SyncCode {
        /// It does.
        Synced,
        /// It does not.
        OutOfSync,
        /// Argo CD could not compare.
        Unknown,
    }
}

words! {
    /// How well an application or a resource is, in Argo CD's words.
    HealthCode {
        /// All is well.
        Healthy,
        /// Paused, such as a Rollout that waits for a person.
        Suspended,
        /// On its way.
        Progressing,
        /// Not there.
        Missing,
        /// Broken.
        Degraded,
        /// Not known.
        Unknown,
    }
}

words! {
    /// How an operation stands.
    OperationPhase {
        /// Under way; with a `finishedAt`, it waits for its next try.
        Running,
        /// Being stopped.
        Terminating,
        /// Did all it should.
        Succeeded,
        /// Ended without success.
        Failed,
        /// Could not be carried out.
        Error,
    }
}

impl OperationPhase {
    /// Whether the operation has ended.
    pub fn is_completed(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Error)
    }
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
    /// Set while it is being deleted.
    #[serde(deserialize_with = "time")]
    pub deletion_timestamp: Option<Timestamp>,
    /// Annotations.
    #[serde(deserialize_with = "or_default")]
    pub annotations: Map<String, Value>,
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

/// An application's specification.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The project it belongs to.
    #[serde(deserialize_with = "or_default")]
    pub project: String,
    /// Where it is deployed.
    #[serde(deserialize_with = "or_default")]
    pub destination: Map<String, Value>,
    /// Its one source.
    pub source: Option<Source>,
    /// Its sources; when there are any, `source` does not count.
    #[serde(deserialize_with = "or_default")]
    pub sources: Vec<Source>,
    /// Set when its manifests are rendered ahead onto a branch.
    pub source_hydrator: Option<Value>,
    /// How it is synced.
    pub sync_policy: Option<SyncPolicy>,
    /// How many history entries are kept.
    pub revision_history_limit: Option<i64>,
}

impl Spec {
    /// The sources that count, in order.
    pub fn effective_sources(&self) -> &[Source] {
        if self.sources.is_empty() { self.source.as_slice() } else { &self.sources }
    }

    /// Whether Argo CD syncs by itself.
    pub fn auto_sync(&self) -> bool {
        self.automated().is_some_and(|automated| automated.enabled != Some(false))
    }

    /// Whether automatic syncs prune.
    pub fn auto_prune(&self) -> bool {
        self.automated().is_some_and(|automated| automated.prune == Some(true))
    }

    fn automated(&self) -> Option<&Automated> {
        self.sync_policy.as_ref()?.automated.as_ref()
    }
}

/// One source of an application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// The repository.
    #[serde(rename = "repoURL", deserialize_with = "or_default")]
    pub repo_url: String,
    /// The branch, tag, commit or chart version that is followed.
    pub target_revision: Option<String>,
    /// The path in the repository.
    pub path: Option<String>,
    /// The chart, when the repository holds charts.
    pub chart: Option<String>,
    /// The name under which other sources refer to this one's files.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The source's own name.
    pub name: Option<String>,
    /// All else, kept so that two sources compare as a whole.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Source {
    /// Whether it only lends its files to other sources and brings no manifests of its own.
    pub fn is_reference_only(&self) -> bool {
        self.reference.is_some() && self.path.is_none() && self.chart.is_none()
    }
}

/// How an application is synced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncPolicy {
    /// Present when Argo CD syncs by itself.
    pub automated: Option<Automated>,
}

/// How Argo CD syncs by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Automated {
    /// Delete what is no longer wanted.
    pub prune: Option<bool>,
    /// Sync again when the cluster drifts.
    pub self_heal: Option<bool>,
    /// `false` switches it off.
    pub enabled: Option<bool>,
}

/// A name and a value that travel with an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The value.
    #[serde(deserialize_with = "or_default")]
    pub value: String,
}

/// An operation, as asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// What is to be synced.
    pub sync: Option<SyncOperation>,
    /// Who asked.
    #[serde(deserialize_with = "or_default")]
    pub initiated_by: Initiator,
    /// What the asker attached.
    #[serde(deserialize_with = "or_default")]
    pub info: Vec<Info>,
    /// How often it is tried.
    pub retry: Option<RetryStrategy>,
}

/// How often an operation is tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryStrategy {
    /// The number of tries; below zero there is no limit.
    pub limit: Option<i64>,
}

/// Who asked for an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Initiator {
    /// The user's name.
    pub username: Option<String>,
    /// Whether Argo CD asked by itself.
    pub automated: Option<bool>,
}

impl fmt::Display for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.username, self.automated) {
            (_, Some(true)) => f.write_str("automatic sync"),
            (Some(name), _) if !name.is_empty() => write!(f, "the user {name}"),
            _ => f.write_str("somebody else"),
        }
    }
}

/// What a sync is to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncOperation {
    /// The revision of a single source.
    pub revision: Option<String>,
    /// The revisions of several sources, in their order.
    #[serde(deserialize_with = "or_default")]
    pub revisions: Vec<String>,
    /// Whether nothing is to be changed.
    pub dry_run: Option<bool>,
    /// Whether what is no longer wanted is deleted.
    pub prune: Option<bool>,
    /// Only these resources are synced, when there are any.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<Value>,
}

/// What is, written by two workers of Argo CD: `operation_state` by one, all else by the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The last comparison.
    #[serde(deserialize_with = "or_default")]
    pub sync: SyncStatus,
    /// The health.
    #[serde(deserialize_with = "or_default")]
    pub health: HealthStatus,
    /// The last operation, running or ended.
    pub operation_state: Option<OperationState>,
    /// Successful full syncs, oldest first.
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<HistoryEntry>,
    /// Errors and warnings.
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
    /// When the last full comparison **began**, in whole seconds.
    #[serde(deserialize_with = "time")]
    pub reconciled_at: Option<Timestamp>,
    /// The managed resources.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<Resource>,
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStatus {
    /// Whether the cluster holds what the revision asks for.
    pub status: Option<SyncCode>,
    /// To what the followed revision resolved, for a single source.
    pub revision: Option<String>,
    /// The same for several sources.
    #[serde(deserialize_with = "or_default")]
    pub revisions: Vec<String>,
    /// What was compared.
    #[serde(deserialize_with = "or_default")]
    pub compared_to: ComparedTo,
}

/// What a comparison went by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ComparedTo {
    /// The one source.
    pub source: Option<Source>,
    /// The sources.
    #[serde(deserialize_with = "or_default")]
    pub sources: Vec<Source>,
    /// The destination.
    #[serde(deserialize_with = "or_default")]
    pub destination: Map<String, Value>,
}

/// A health, with its reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthStatus {
    /// How well it is.
    pub status: Option<HealthCode>,
    /// Why.
    pub message: Option<String>,
}

/// The last operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationState {
    /// The operation as it was asked for.
    #[serde(deserialize_with = "or_default")]
    pub operation: Operation,
    /// How it stands.
    pub phase: Option<OperationPhase>,
    /// What Argo CD says about it.
    pub message: Option<String>,
    /// What it did.
    pub sync_result: Option<SyncResult>,
    /// When it began, in whole seconds.
    #[serde(deserialize_with = "time")]
    pub started_at: Option<Timestamp>,
    /// When it, or its last try, ended, in whole seconds.
    #[serde(deserialize_with = "time")]
    pub finished_at: Option<Timestamp>,
    /// How many tries there were after the first.
    pub retry_count: Option<i64>,
}

/// What a sync did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncResult {
    /// The revision that was synced, for a single source.
    pub revision: Option<String>,
    /// The same for several sources.
    #[serde(deserialize_with = "or_default")]
    pub revisions: Vec<String>,
    /// What was done to each resource.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<ResourceResult>,
}

/// What a sync did to one resource or hook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceResult {
    /// The kind.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// The name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// `Synced`, `SyncFailed`, `Pruned` or `PruneSkipped`.
    pub status: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// How a hook stands.
    pub hook_phase: Option<OperationPhase>,
}

/// A successful full sync.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HistoryEntry {
    /// Counts up.
    pub id: Option<i64>,
    /// The revision, for a single source.
    pub revision: Option<String>,
    /// The same for several sources.
    #[serde(deserialize_with = "or_default")]
    pub revisions: Vec<String>,
    /// When its operation began.
    #[serde(deserialize_with = "time")]
    pub deploy_started_at: Option<Timestamp>,
    /// When its operation ended.
    #[serde(deserialize_with = "time")]
    pub deployed_at: Option<Timestamp>,
}

/// An error or a warning about an application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Such as `ComparisonError`.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// The text.
    #[serde(deserialize_with = "or_default")]
    pub message: String,
}

/// A managed resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// The kind.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// The name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Whether it is as wanted.
    pub status: Option<SyncCode>,
    /// How well it is.
    pub health: Option<HealthStatus>,
    /// Whether it is no longer wanted, but still there.
    pub requires_pruning: Option<bool>,
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
