//! The change that a step asks for.

use kargo_core::{Error, ErrorKind, Pick, Result, edit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tree::path_fault;

/// Sets scalar values of one YAML file: the configuration of a step that writes through a [`crate::GitWriter`].
///
/// Only the bytes of the values change; comments, quotes of other values and layout stay.
///
/// ```
/// use kargo_core::{Pick, StepSpec};
/// use kargo_git::YamlUpdate;
///
/// let step = StepSpec::write(
///     "config",
///     YamlUpdate::new("env/dev/values.yaml").set("image.tag", Pick::ImageTag("ghcr.io/acme/app".into())),
/// );
/// assert_eq!(step.uses, "write:config");
/// assert_eq!(step.config["updates"][0]["key"], "image.tag");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[must_use]
pub struct YamlUpdate {
    /// The file, relative to the root of the repository, with `/` between its parts.
    pub path: String,
    /// The values to set, in order.
    pub updates: Vec<KeyUpdate>,
    /// Whether keys that are not there are made, with what is needed on the way. Default: no, such a key is an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
    /// The branch, when it is not the writer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit's message, in front of the trailers. Default: a line that names freight and stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One value to set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyUpdate {
    /// The key, with dots between its parts. It must be there already, unless [`YamlUpdate::create`] is set.
    pub key: String,
    /// The value: text, or a field of the freight.
    pub value: Pick,
}

impl YamlUpdate {
    /// A change of the file at `path` that sets nothing yet.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), updates: Vec::new(), create: false, branch: None, message: None }
    }

    /// Sets the value at `key`.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Pick>) -> Self {
        self.updates.push(KeyUpdate { key: key.into(), value: value.into() });
        self
    }

    /// Makes keys that are not there, as [`yaml::upsert`](kargo_core::edit::yaml::upsert) does. The file must be there.
    pub fn create(mut self) -> Self {
        self.create = true;
        self
    }

    /// The text with the values set.
    pub(crate) fn edit(&self, text: &str, values: &[(String, String)]) -> Result<String> {
        if self.create { edit::yaml::upsert(text, values) } else { edit::yaml::update(text, values) }
    }

    /// Writes to `branch` instead of the writer's.
    pub fn branch(mut self, branch: impl Into<String>) -> Self {
        self.branch = Some(branch.into());
        self
    }

    /// Says `message` in the commit, in front of the trailers.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Reads and checks a step's configuration.
    pub(crate) fn from_config(config: &Value) -> Result<Self> {
        let update: Self = serde_json::from_value(config.clone()).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("The step's configuration is not a YAML update: {error}."))
                .because(error)
        })?;
        let fault = if let Some(fault) = path_fault(&update.path) {
            Some(format!("the path {:?} is none of a file: {fault}", update.path))
        } else if update.updates.is_empty() {
            Some("there is nothing to set; give at least one entry in updates".to_owned())
        } else if update.updates.iter().any(|each| each.key.is_empty()) {
            Some("a key in updates is empty".to_owned())
        } else {
            update
                .branch
                .as_deref()
                .and_then(|branch| Some(format!("the branch {branch:?} is no name of one: {}", branch_fault(branch)?)))
        };
        match fault {
            Some(fault) => {
                Err(Error::new(ErrorKind::InvalidInput, format!("The YAML update cannot be made: {fault}.")))
            }
            None => Ok(update),
        }
    }
}

/// Says what is wrong with `name` as the name of a branch.
pub(crate) fn branch_fault(name: &str) -> Option<String> {
    if name.starts_with("refs/") {
        return Some("leave refs/heads/ out".to_owned());
    }
    let full = format!("refs/heads/{name}");
    gix::refs::FullName::try_from(full.as_str()).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_reads_as_people_write_it() {
        let update = YamlUpdate::from_config(&json!({
            "path": "env/dev/values.yaml",
            "updates": [{"key": "image.tag", "value": {"imageTag": "ghcr.io/acme/app"}}, {"key": "by", "value": "kargo"}],
        }))
        .unwrap();
        let built = YamlUpdate::new("env/dev/values.yaml")
            .set("image.tag", Pick::ImageTag("ghcr.io/acme/app".into()))
            .set("by", "kargo");
        assert_eq!(update, built);
        let create = json!({"path": "a", "updates": [{"key": "a", "value": "b"}], "create": true});
        let built = YamlUpdate::new("a").set("a", "b").create();
        assert_eq!((YamlUpdate::from_config(&create).unwrap(), serde_json::to_value(&built).unwrap()), (built, create));
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused_with_its_fault() {
        let set = json!([{"key": "a", "value": "b"}]);
        for (config, fault) in [
            (json!({"path": "../x.yaml", "updates": set}), "'..'"),
            (json!({"path": "/x.yaml", "updates": set}), "relative"),
            (json!({"path": "a/.GIT/config", "updates": set}), "'.git'"),
            (json!({"path": "a//b", "updates": set}), "empty part"),
            (json!({"path": "", "updates": set}), "empty"),
            (json!({"path": "x.yaml", "updates": []}), "nothing to set"),
            (json!({"path": "x.yaml", "updates": set, "brunch": "main"}), "brunch"),
            (json!({"path": "x.yaml", "updates": set, "branch": "a..b"}), "a..b"),
            (json!({"path": "x.yaml", "updates": [{"key": "", "value": "b"}]}), "key"),
            (json!("x.yaml"), "not a YAML update"),
        ] {
            let error = YamlUpdate::from_config(&config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(fault), "{config}: {error}");
        }
    }
}
