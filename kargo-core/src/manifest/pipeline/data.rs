//! Secrets and config maps of a set, for expressions.

use std::collections::BTreeMap;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::error::Result;
use crate::manifest::Manifests;
use crate::manifest::kind::Resource;
use crate::name::PipelineName;
use crate::plugin::{Context, ProjectData};

/// A set answers from its own manifests, of each project those in its namespace. It has nothing shared.
#[async_trait]
impl ProjectData for Manifests {
    async fn secret(
        &self,
        _: &Context,
        project: &PipelineName,
        name: &str,
        shared: bool,
    ) -> Result<Option<BTreeMap<String, SecretString>>> {
        Ok(self.found(project, name, shared, |resource| match resource {
            Resource::Secret(secret) => Some(secret.values.clone()),
            _ => None,
        }))
    }

    async fn config_map(
        &self,
        _: &Context,
        project: &PipelineName,
        name: &str,
        shared: bool,
    ) -> Result<Option<BTreeMap<String, String>>> {
        Ok(self.found(project, name, shared, |resource| match resource {
            Resource::ConfigMap(map) => Some(map.data.clone()),
            _ => None,
        }))
    }
}

impl Manifests {
    fn found<T>(
        &self,
        project: &PipelineName,
        name: &str,
        shared: bool,
        answer: impl Fn(&Resource) -> Option<T>,
    ) -> Option<T> {
        let mine =
            |one: &&crate::manifest::Manifest| one.project() == Some(project.as_str()) && one.metadata.name == name;
        self.iter().filter(|_| !shared).filter(mine).find_map(|one| answer(&one.resource))
    }
}
