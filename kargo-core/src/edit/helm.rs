//! A Helm chart's `dependencies`, in its `Chart.yaml`.
//!
//! ```
//! use kargo_core::edit::helm::{Dependency, set_dependencies};
//!
//! let before = "name: shop\ndependencies:\n- name: redis # cache\n  repository: https://charts.example\n  version: 1.2.3\n";
//! let after = set_dependencies(before, &[Dependency::new("https://charts.example", "redis", "1.3.0")])?;
//! assert_eq!(after, before.replace("1.2.3", "1.3.0"));
//! # Ok::<(), kargo_core::Error>(())
//! ```

use serde_json::Value as Json;

use super::yaml;
use crate::{Error, Result};

const OPERATION: &str = "set chart dependencies";

/// One entry of `dependencies`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dependency {
    /// The repository's URL, as it stands in the file; empty when there is none.
    pub repository: String,
    /// The chart's name.
    pub name: String,
    /// The version, or a constraint on it.
    pub version: String,
}

impl Dependency {
    /// `version` of the chart `name` in `repository`.
    pub fn new(repository: impl Into<String>, name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { repository: repository.into(), name: name.into(), version: version.into() }
    }

    fn is_of(&self, other: &Self) -> bool {
        self.name == other.name && self.repository == other.repository
    }
}

/// The dependencies in the text of a `Chart.yaml`, in their order.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the text is not one YAML map, or its `dependencies` not a list of
/// maps with names.
pub fn dependencies(text: &str) -> Result<Vec<Dependency>> {
    let mut documents = yaml::parse(text)?;
    let (Some(Json::Object(mut chart)), true) = (documents.pop(), documents.is_empty()) else {
        return Err(invalid("A Chart.yaml is one YAML map, and this text is none.".to_owned()));
    };
    let entries = match chart.remove("dependencies") {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Array(entries)) => entries,
        Some(_) => return Err(invalid("The chart's `dependencies` is not a list; correct the file first.".to_owned())),
    };
    let field = |entry: &Json, name: &str| match &entry[name] {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let read = |(index, entry): (usize, &Json)| match field(entry, "name") {
        name if name.is_empty() => {
            Err(invalid(format!("The chart's dependency {index}, counted from 0, has no name.")))
        }
        name => Ok(Dependency { repository: field(entry, "repository"), name, version: field(entry, "version") }),
    };
    entries.iter().enumerate().map(read).collect()
}

/// Sets the versions of dependencies in the text of a `Chart.yaml` and returns the new text. Each of `wanted` is found by its
/// repository and name, to the letter; when the chart depends on it several times, all are set.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), and nothing was changed, when the chart has no such dependency: the
/// error lists those that it has. Otherwise as for [`dependencies`] and [`yaml::upsert`].
pub fn set_dependencies(text: &str, wanted: &[Dependency]) -> Result<String> {
    let there = dependencies(text)?;
    let mut updates = Vec::new();
    for wanted in wanted {
        let before = updates.len();
        for (index, dependency) in there.iter().enumerate() {
            if dependency.is_of(wanted) {
                updates.push((format!("dependencies.{index}.version"), wanted.version.as_str()));
            }
        }
        if updates.len() == before {
            let known = there.iter().map(|known| format!("{:?} of {:?}", known.name, known.repository));
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(invalid(format!(
                "The chart does not depend on {:?} of the repository {:?}; {}.",
                wanted.name,
                wanted.repository,
                if known.is_empty() { "it has no dependencies".to_owned() } else { format!("it depends on {known}") }
            )));
        }
    }
    yaml::upsert(text, &updates)
}

fn invalid(message: String) -> Error {
    super::invalid(OPERATION, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART: &str = "apiVersion: v2\nname: shop\ndependencies:\n  - name: redis # cache\n    version: 1.10\n    repository: \
                         oci://charts.example/redis\n  - {name: pg, version: '2.x', repository: https://charts.example}\n  - name: local\n    \
                         repository: file://../local\n";

    #[test]
    fn versions_are_set_and_nothing_else_changes() {
        let redis = Dependency::new("oci://charts.example/redis", "redis", "1.20");
        let pg = Dependency::new("https://charts.example", "pg", "2.1.0");
        let wanted = CHART.replace("1.10", "\"1.20\"").replace("'2.x'", "'2.1.0'");
        assert_eq!(set_dependencies(CHART, &[pg, redis]).unwrap(), wanted);
        let local = Dependency::new("file://../local", "local", "0.1.0");
        let edited = set_dependencies(CHART, std::slice::from_ref(&local)).unwrap();
        assert_eq!(edited, format!("{CHART}    version: 0.1.0\n"));
        assert_eq!(set_dependencies(&edited, &[local]).unwrap(), edited);
    }

    #[test]
    fn a_dependency_that_is_used_twice_is_set_twice() {
        let chart = "dependencies:\n- {name: a, repository: r, version: 1.0.0, alias: x}\n- {name: a, repository: r, version: 1.0.0}\n";
        let edited = set_dependencies(chart, &[Dependency::new("r", "a", "2.0.0")]).unwrap();
        assert_eq!(edited, chart.replace("1.0.0", "2.0.0"));
    }

    #[test]
    fn an_unknown_dependency_is_refused_with_those_that_are_there() {
        let error = set_dependencies(CHART, &[Dependency::new("https://charts.example", "redis", "2")]).unwrap_err();
        assert!(error.message().contains("\"redis\" of \"oci://charts.example/redis\""), "{error}");
        let error = set_dependencies("name: x\n", &[Dependency::new("r", "a", "2")]).unwrap_err();
        assert!(error.message().contains("has no dependencies"), "{error}");
        for bad in ["- a\n", "dependencies: 1\n", "dependencies: [{version: 1}]\n", ""] {
            assert!(dependencies(bad).is_err(), "{bad:?}");
        }
    }
}
