//! The kinds of resources, as their manifests say them.
//!
//! Field names in Rust are those of the manifests. What a manifest leaves out has its default here; what a manifest of an older Kargo
//! says is what has taken its place. The nouns of this crate stand in for what says the same, such as [`crate::FreightRequest`].

mod analysis;
mod data;
mod freight;
mod metadata;
mod project;
mod promotion;
mod stage;
mod step;
mod subscription;
mod warehouse;
mod webhook;

use serde_json::{Map, Value};

pub use analysis::AnalysisTemplate;
pub use data::{ConfigMap, Secret};
pub use freight::{Commit, Freight};
pub use metadata::Metadata;
pub use project::{Project, ProjectConfig};
pub use promotion::Promotion;
pub use stage::{Stage, TemplateRef, Verification};
pub use step::{Step, Task, TaskRef};
pub use warehouse::Warehouse;
pub use webhook::webhook_path;

use super::fields::{At, Fields, Notes};

pub(super) use metadata::decode_metadata;
pub(super) use subscription::{check_regex, place, place_of};

/// What a manifest describes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Resource {
    /// A project: a namespace for the rest.
    Project(Project),
    /// The rules of a project.
    ProjectConfig(ProjectConfig),
    /// What is watched.
    Warehouse(Warehouse),
    /// Where freight goes.
    Stage(Stage),
    /// Steps under a name, for the stages of a project.
    PromotionTask(Task),
    /// Steps under a name, for the stages of all projects.
    ClusterPromotionTask(Task),
    /// Freight, by its content.
    Freight(Freight),
    /// A wish for a promotion.
    Promotion(Promotion),
    /// How something is measured, for the stages of a project.
    AnalysisTemplate(AnalysisTemplate),
    /// How something is measured, for the stages of all projects.
    ClusterAnalysisTemplate(AnalysisTemplate),
    /// Values that must not be seen.
    Secret(Secret),
    /// Values.
    ConfigMap(ConfigMap),
}

/// Kargo's own kinds that are read.
pub(super) const KINDS: [&str; 8] =
    ["Project", "ProjectConfig", "Warehouse", "Stage", "PromotionTask", "ClusterPromotionTask", "Freight", "Promotion"];

impl Resource {
    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Project(_) => "Project",
            Self::ProjectConfig(_) => "ProjectConfig",
            Self::Warehouse(_) => "Warehouse",
            Self::Stage(_) => "Stage",
            Self::PromotionTask(_) => "PromotionTask",
            Self::ClusterPromotionTask(_) => "ClusterPromotionTask",
            Self::Freight(_) => "Freight",
            Self::Promotion(_) => "Promotion",
            Self::AnalysisTemplate(_) => "AnalysisTemplate",
            Self::ClusterAnalysisTemplate(_) => "ClusterAnalysisTemplate",
            Self::Secret(_) => "Secret",
            Self::ConfigMap(_) => "ConfigMap",
        }
    }

    /// Its `apiVersion`.
    pub fn api_version(&self) -> &'static str {
        match self {
            Self::AnalysisTemplate(_) | Self::ClusterAnalysisTemplate(_) => "argoproj.io/v1alpha1",
            Self::Secret(_) | Self::ConfigMap(_) => "v1",
            _ => "kargo.akuity.io/v1alpha1",
        }
    }

    /// Whether it belongs to no project.
    pub fn is_cluster_scoped(&self) -> bool {
        matches!(self, Self::Project(_) | Self::ClusterPromotionTask(_) | Self::ClusterAnalysisTemplate(_))
    }

    /// What its manifest says beside `apiVersion`, `kind` and `metadata`. Nothing for a secret, which is never written.
    pub(super) fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        match self {
            Self::Project(_) | Self::Secret(_) => {}
            Self::ProjectConfig(config) => put(&mut body, "spec", config.spec()),
            Self::Warehouse(warehouse) => put(&mut body, "spec", warehouse.spec()),
            Self::Stage(stage) => put(&mut body, "spec", stage.spec()),
            Self::PromotionTask(task) | Self::ClusterPromotionTask(task) => put(&mut body, "spec", task.spec()),
            Self::Freight(freight) => body = freight.body(),
            Self::Promotion(promotion) => put(&mut body, "spec", promotion.spec()),
            Self::AnalysisTemplate(template) | Self::ClusterAnalysisTemplate(template) => {
                put(&mut body, "spec", template.spec.clone());
            }
            Self::ConfigMap(map) => body = map.body(),
        }
        body
    }

    /// Reads what a document of this kind says beside its metadata; `None` for a kind that is not known. Old dialects may say what
    /// is now two resources.
    pub(super) fn decode(
        kind: &str,
        metadata: &Metadata,
        fields: &mut Fields<'_>,
        notes: &mut Notes<'_>,
    ) -> Option<Vec<Self>> {
        Some(match kind {
            "Project" => project::decode_project(fields, notes),
            "ProjectConfig" => vec![Self::ProjectConfig(ProjectConfig::decode(fields, notes))],
            "Warehouse" => vec![Self::Warehouse(Warehouse::decode(fields, notes))],
            "Stage" => vec![Self::Stage(Stage::decode(fields, notes))],
            "PromotionTask" => vec![Self::PromotionTask(Task::decode(fields, notes))],
            "ClusterPromotionTask" => vec![Self::ClusterPromotionTask(Task::decode(fields, notes))],
            "Freight" => vec![Self::Freight(Freight::decode(metadata, fields, notes))],
            "Promotion" => vec![Self::Promotion(Promotion::decode(fields, notes))],
            "AnalysisTemplate" => vec![Self::AnalysisTemplate(AnalysisTemplate::decode(fields, notes))],
            "ClusterAnalysisTemplate" => vec![Self::ClusterAnalysisTemplate(AnalysisTemplate::decode(fields, notes))],
            "Secret" => vec![Self::Secret(Secret::decode(fields, notes))],
            "ConfigMap" => vec![Self::ConfigMap(ConfigMap::decode(fields, notes))],
            _ => return None,
        })
    }
}

/// The fields of `spec`, which must be there.
fn spec<'n>(fields: &mut Fields<'n>, notes: &mut Notes<'_>) -> Option<Fields<'n>> {
    match fields.take("spec") {
        Some(at) => at.fields(notes),
        None => {
            fields.missing(notes, "spec");
            None
        }
    }
}

/// Sets a field.
fn put(object: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    object.insert(name.to_owned(), value.into());
}

/// Sets a field that says something.
fn put_some<T: Into<Value>>(object: &mut Map<String, Value>, name: &str, value: Option<T>) {
    if let Some(value) = value {
        put(object, name, value);
    }
}

/// Sets a list that is not empty.
fn put_list<T: Into<Value>>(object: &mut Map<String, Value>, name: &str, items: impl IntoIterator<Item = T>) {
    let items: Vec<Value> = items.into_iter().map(Into::into).collect();
    if !items.is_empty() {
        put(object, name, items);
    }
}

/// Sets a flag that is set.
fn put_flag(object: &mut Map<String, Value>, name: &str, flag: bool) {
    if flag {
        put(object, name, true);
    }
}

/// Sets a map of texts that is not empty.
fn put_texts(object: &mut Map<String, Value>, name: &str, texts: &std::collections::BTreeMap<String, String>) {
    if !texts.is_empty() {
        let texts: Map<String, Value> = texts.iter().map(|(key, text)| (key.clone(), text.as_str().into())).collect();
        put(object, name, texts);
    }
}

/// The name of the warehouse in an `origin: {kind: Warehouse, name: main}`.
fn origin(at: &At<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let mut fields = at.fields(notes)?;
    fields.word(notes, "kind", &["Warehouse"]);
    let name = fields.resource_name(notes, "name");
    fields.finish(notes);
    name
}

fn origin_value(name: &str) -> Value {
    serde_json::json!({"kind": "Warehouse", "name": name})
}
