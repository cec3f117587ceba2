//! Names, labels and annotations.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Fields, Notes, put_some, put_texts};
use crate::manifest::finding::Rule;

/// What every manifest says of its resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// The name, unique among those of its kind in its namespace. Of freight and promotions it may be empty.
    pub name: String,
    /// What a cluster makes a name of when there is none: of freight and promotions.
    pub generate_name: Option<String>,
    /// The namespace, which is the project that it belongs to. None for kinds that belong to none.
    pub namespace: Option<String>,
    /// Labels, by which others select it.
    pub labels: BTreeMap<String, String>,
    /// Notes.
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    pub(in crate::manifest) fn value(&self) -> Value {
        let mut object = Map::new();
        put_some(&mut object, "name", Some(self.name.as_str()).filter(|name| !name.is_empty()));
        put_some(&mut object, "generateName", self.generate_name.as_deref());
        put_some(&mut object, "namespace", self.namespace.as_deref());
        put_texts(&mut object, "labels", &self.labels);
        put_texts(&mut object, "annotations", &self.annotations);
        object.into()
    }
}

/// What a cluster writes into metadata; nothing that a manifest has to say.
const OF_CLUSTERS: [&str; 10] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
];

/// Reads `metadata`. Freight may leave its name out, since it follows from its content, and so may a promotion.
pub(in crate::manifest) fn decode_metadata(kind: &str, fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Metadata {
    let nameless = matches!(kind, "Freight" | "Promotion");
    let Some(at) = fields.take("metadata") else {
        fields.missing(notes, "metadata");
        return Metadata::default();
    };
    let Some(mut fields) = at.fields(notes) else { return Metadata::default() };
    let generate_name = fields.some_text(notes, "generateName");
    let is_named = fields.take("name").is_some();
    let name = match fields.take("generateName").filter(|_| !is_named && generate_name.is_some()) {
        _ if nameless => fields.text(notes, "name").unwrap_or_default(),
        Some(at) => {
            let message = format!(
                "generateName leaves the name to a cluster, and what refers to this {kind} needs it; write name."
            );
            at.error(notes, Rule::MissingField, message);
            String::new()
        }
        None => fields.resource_name(notes, "name").unwrap_or_default(),
    };
    let namespace = match fields.take("namespace") {
        Some(_) => fields.resource_name(notes, "namespace"),
        None => None,
    };
    let labels = fields.text_map(notes, "labels");
    let annotations = fields.text_map(notes, "annotations");
    for name in OF_CLUSTERS {
        fields.retired(name);
    }
    fields.finish(notes);
    Metadata { name, generate_name, namespace, labels, annotations }
}
