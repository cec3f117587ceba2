//! One manifest: what it says, and where it was read.

use std::sync::Arc;

use serde_json::Map;

use crate::manifest::finding::{Finding, MAX_MESSAGE, Place, Rule, Severity, path, shortened};
use crate::manifest::kind::{Metadata, Resource};
use crate::manifest::reader::{Node, Span};
use crate::manifest::source::Source;
use crate::manifest::write;

/// A resource.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its name, its project, its labels.
    pub metadata: Metadata,
    /// What it says.
    pub resource: Resource,
    pub(super) origin: Option<Origin>,
}

/// Where a manifest was read.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) source: Arc<Source>,
    pub(super) document: Arc<Node>,
    /// Whether it is what an older dialect says beside something else.
    pub(super) implied: bool,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("file", &self.source.name).finish_non_exhaustive()
    }
}

impl PartialEq for Manifest {
    /// Whether both say the same, wherever they were read.
    fn eq(&self, other: &Self) -> bool {
        self.metadata == other.metadata && self.resource == other.resource
    }
}

impl Manifest {
    /// The resource as people name it: `Stage shop/dev`.
    pub fn title(&self) -> String {
        title(self.resource.kind(), &self.metadata)
    }

    /// The project it belongs to; none for what belongs to all.
    pub fn project(&self) -> Option<&str> {
        match &self.resource {
            Resource::Project(_) => Some(&self.metadata.name),
            resource if resource.is_cluster_scoped() => None,
            _ => self.metadata.namespace.as_deref(),
        }
    }

    /// The manifest as a YAML document, ending in a line break; none for a [`Secret`](crate::manifest::kind::Secret), which is never written.
    /// It is in today's words, whatever dialect was read.
    pub fn to_yaml(&self) -> Option<String> {
        if matches!(self.resource, Resource::Secret(_)) {
            return None;
        }
        let mut object = Map::new();
        object.insert("apiVersion".into(), self.resource.api_version().into());
        object.insert("kind".into(), self.resource.kind().into());
        object.insert("metadata".into(), self.metadata.value());
        object.extend(self.resource.body());
        Some(write::document(&object))
    }

    /// A finding at a field.
    pub(in crate::manifest) fn finding(
        &self,
        severity: Severity,
        rule: Rule,
        pointer: &str,
        message: impl Into<String>,
    ) -> Finding {
        self.finding_in(severity, rule, pointer, None, message)
    }

    /// A finding at a part of the text of a field.
    pub(in crate::manifest) fn finding_in(
        &self,
        severity: Severity,
        rule: Rule,
        pointer: &str,
        part: Option<std::ops::Range<usize>>,
        message: impl Into<String>,
    ) -> Finding {
        self.finding_where(severity, rule, pointer, message, |origin, node| match (part, node.text()) {
            (Some(part), Some(text)) => origin.source.within(node.span, text, part),
            _ => node.span,
        })
    }

    /// A finding at the key of a field: it is its name that is wrong.
    pub(in crate::manifest) fn finding_at_key(
        &self,
        severity: Severity,
        rule: Rule,
        pointer: &str,
        message: impl Into<String>,
    ) -> Finding {
        let key = |origin: &Origin, node: &Node| origin.document.key(pointer).unwrap_or(node.span);
        self.finding_where(severity, rule, pointer, message, key)
    }

    fn finding_where(
        &self,
        severity: Severity,
        rule: Rule,
        pointer: &str,
        message: impl Into<String>,
        span: impl FnOnce(&Origin, &Node) -> Span,
    ) -> Finding {
        let place = self.origin.as_ref().map(|origin| {
            let span = span(origin, origin.document.at(pointer));
            let (line, column) = origin.source.position(span.start);
            let snippet = origin.source.snippet(span);
            let (file, resource) = (origin.source.name.clone(), self.title());
            Place { file, line, column, resource, path: path(pointer), snippet }
        });
        let mut message = shortened(message.into(), MAX_MESSAGE);
        if place.is_none() {
            message = format!("{}: {message}", self.title());
        }
        Finding { severity, rule, message, place }
    }
}

pub(super) fn title(kind: &str, metadata: &Metadata) -> String {
    let title = match &metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{}", metadata.name),
        None => format!("{kind} {}", metadata.name),
    };
    shortened(title, 600)
}
