//! The objects that belong to an application, and actions on them.

use kargo_core::Result;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::exchange::Ask;
use super::model::{HealthStatus, or_default};
use super::{AppRef, Client, api_error};

/// An object in the cluster that belongs to an application.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ResourceRef {
    /// Its API group; empty is the core group.
    pub group: String,
    /// Its API version.
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty is none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ResourceRef {
    fn query(&self, app: &AppRef) -> Vec<(&'static str, String)> {
        let mut query = app.query();
        query.extend([
            ("group", self.group.clone()),
            ("version", self.version.clone()),
            ("kind", self.kind.clone()),
            ("namespace", self.namespace.clone()),
            ("resourceName", self.name.clone()),
        ]);
        query
    }
}

impl std::fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// An object with its health, as the resource tree shows it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Node {
    /// The object.
    #[serde(flatten)]
    pub object: ResourceRef,
    /// How it is, where that can be said.
    pub health: Option<HealthStatus>,
    /// The objects that it belongs to.
    #[serde(deserialize_with = "or_default")]
    pub parent_refs: Vec<ResourceRef>,
}

/// Something that can be done with an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Action {
    /// Its name, such as `resume`.
    pub name: String,
    /// Whether it cannot be done now.
    pub disabled: bool,
}

#[derive(Deserialize)]
struct Tree {
    #[serde(default)]
    nodes: Option<Vec<Node>>,
}

#[derive(Deserialize)]
struct Manifest {
    manifest: String,
}

#[derive(Deserialize)]
struct Actions {
    #[serde(default)]
    actions: Option<Vec<Action>>,
}

impl Client {
    /// The objects that belong to an application, also those that Argo CD does not manage itself, such as pods.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn tree(&self, app: &AppRef) -> Result<Vec<Node>> {
        let (what, query) = (format!("show the resources of the application {app}"), app.query());
        let path = ["api", "v1", "applications", &app.name, "resource-tree"];
        Ok(self.call(&Ask::get(&path, &query, &what)).await?.decode::<Tree>()?.nodes.unwrap_or_default())
    }

    /// An object as the cluster holds it.
    ///
    /// # Errors
    /// As for [`Client::get`]; [`kargo_core::ErrorKind::InvalidInput`] when the application has no such object.
    pub async fn resource(&self, app: &AppRef, object: &ResourceRef) -> Result<Value> {
        let (what, query) = (format!("show {object} of the application {app}"), object.query(app));
        let path = ["api", "v1", "applications", &app.name, "resource"];
        let answer = self.call(&Ask::get(&path, &query, &what)).await?;
        let manifest: Manifest = answer.decode()?;
        serde_json::from_str(&manifest.manifest).map_err(|error| answer.of_another_shape().because(error))
    }

    /// What can be done with an object.
    ///
    /// # Errors
    /// As for [`Client::resource`].
    pub async fn actions(&self, app: &AppRef, object: &ResourceRef) -> Result<Vec<Action>> {
        let (what, query) = (format!("list the actions of {object} of the application {app}"), object.query(app));
        let path = ["api", "v1", "applications", &app.name, "resource", "actions"];
        Ok(self.call(&Ask::get(&path, &query, &what)).await?.decode::<Actions>()?.actions.unwrap_or_default())
    }

    /// Does something with an object. Needs the permission `action/<group>/<kind>/<action>`.
    ///
    /// # Errors
    /// As for [`Client::resource`]. After [`kargo_core::ErrorKind::Timeout`] it is not known whether it was done.
    pub async fn act(&self, app: &AppRef, object: &ResourceRef, action: &str) -> Result<()> {
        let what = format!("do {action:?} with {object} of the application {app}");
        let mut body = json!({
            "name": app.name, "namespace": object.namespace, "resourceName": object.name,
            "version": object.version, "group": object.group, "kind": object.kind, "action": action,
        });
        app.fill_body(&mut body);
        let path = ["api", "v1", "applications", &app.name, "resource", "actions", "v2"];
        match self.call(&Ask::post(&path, &body, &what)).await {
            // A path that is not known is answered by the server's gateway in plain text, which says no more than its status.
            Err(error) if api_error(&error).is_some_and(|api| matches!(api.status, 404 | 405 | 501)) => {}
            other => return other.map(drop),
        }
        // A server that does not know this form knows the older one, which takes the action alone as its body.
        let (query, body) = (object.query(app), Value::from(action));
        let ask = Ask { method: Method::POST, query: &query, body: Some(&body), ..Ask::get(&path[..6], &[], &what) };
        self.call(&ask).await.map(drop)
    }
}
