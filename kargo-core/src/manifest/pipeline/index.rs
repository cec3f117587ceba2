//! Manifests by kind, project and name.

use std::collections::BTreeMap;

use crate::manifest::kind::{ProjectConfig, Resource, Stage, Task, Warehouse};
use crate::manifest::{Manifest, Manifests};
use crate::name::near_match;

/// The manifests of a set, each found at once.
#[derive(Debug)]
pub(in crate::manifest) struct Index<'m> {
    /// By kind, project (empty for none) and name.
    all: BTreeMap<(&'static str, &'m str, &'m str), &'m Manifest>,
}

impl<'m> Index<'m> {
    pub(in crate::manifest) fn new(set: &'m Manifests) -> Self {
        let key = |manifest: &'m Manifest| {
            let project = match &manifest.resource {
                Resource::Project(_) => None,
                _ => manifest.project(),
            };
            (manifest.resource.kind(), project.unwrap_or_default(), manifest.metadata.name.as_str())
        };
        let named = set.iter().filter(|manifest| !manifest.metadata.name.is_empty());
        Self { all: named.map(|manifest| (key(manifest), manifest)).collect() }
    }

    /// The projects that have resources of this kind, in order.
    pub(in crate::manifest) fn projects(&self, kind: &'static str) -> Vec<&'m str> {
        let of_kind = self.all.range((kind, "", "")..).take_while(|((own, ..), _)| *own == kind);
        let mut projects: Vec<&str> = of_kind.map(|((_, project, _), _)| *project).collect();
        projects.dedup();
        projects.retain(|project| !project.is_empty());
        projects
    }

    fn of(&self, kind: &'static str, project: &'m str) -> impl Iterator<Item = &'m Manifest> {
        let range = self.all.range((kind, project, "")..);
        range.take_while(move |((k, p, _), _)| *k == kind && *p == project).map(|(_, manifest)| *manifest)
    }

    pub(in crate::manifest) fn stages(&self, project: &'m str) -> impl Iterator<Item = (&'m Manifest, &'m Stage)> {
        self.of("Stage", project).filter_map(|manifest| match &manifest.resource {
            Resource::Stage(stage) => Some((manifest, stage)),
            _ => None,
        })
    }

    pub(in crate::manifest) fn warehouses(
        &self,
        project: &'m str,
    ) -> impl Iterator<Item = (&'m Manifest, &'m Warehouse)> {
        self.of("Warehouse", project).filter_map(|manifest| match &manifest.resource {
            Resource::Warehouse(warehouse) => Some((manifest, warehouse)),
            _ => None,
        })
    }

    pub(in crate::manifest) fn configs(
        &self,
        project: &'m str,
    ) -> impl Iterator<Item = (&'m Manifest, &'m ProjectConfig)> {
        self.of("ProjectConfig", project).filter_map(|manifest| match &manifest.resource {
            Resource::ProjectConfig(config) => Some((manifest, config)),
            _ => None,
        })
    }

    pub(in crate::manifest) fn warehouse(&self, project: &str, name: &str) -> Option<&'m Warehouse> {
        match &self.find("Warehouse", Some(project), name)?.resource {
            Resource::Warehouse(warehouse) => Some(warehouse),
            _ => None,
        }
    }

    pub(in crate::manifest) fn task(
        &self,
        kind: &str,
        project: Option<&str>,
        name: &str,
    ) -> Option<(&'m Manifest, &'m Task)> {
        let manifest = self.find(kind, project, name)?;
        match &manifest.resource {
            Resource::PromotionTask(task) | Resource::ClusterPromotionTask(task) => Some((manifest, task)),
            _ => None,
        }
    }

    /// The manifest of this kind and name: of the project, or of none when its kind belongs to none.
    pub(in crate::manifest) fn find(&self, kind: &str, project: Option<&str>, name: &str) -> Option<&'m Manifest> {
        let project = if kind.starts_with("Cluster") { "" } else { project? };
        self.all.get(&(kind, project, name) as &(&str, &str, &str)).copied()
    }

    /// What to do about a name that is not there.
    pub(in crate::manifest) fn proposal(&self, kind: &str, project: Option<&str>, name: &str) -> String {
        let project = if kind.starts_with("Cluster") { "" } else { project.unwrap_or_default() };
        let known = self.all.keys().filter(|(k, p, _)| *k == kind && *p == project).map(|(.., name)| *name);
        match near_match(name, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "load the file that holds it too.".to_owned(),
        }
    }
}
