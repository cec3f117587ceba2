//! Names, labels and annotations.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Fields, Notes, put, put_some, put_texts};

/// What every manifest says of its resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// The name, unique among those of its kind in its namespace.
    pub name: String,
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
        put(&mut object, "name", self.name.as_str());
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
    let generated = fields.some_text(notes, "generateName");
    let name = if nameless || generated.is_some() {
        fields.text(notes, "name").unwrap_or_default()
    } else {
        fields.resource_name(notes, "name").unwrap_or_default()
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
    Metadata { name, namespace, labels, annotations }
}
