//! Applications by their labels.

use std::collections::BTreeMap;
use std::fmt;

use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Which applications, by their labels, in the form that Kubernetes and Kargo write it. All that stands here must hold.
///
/// ```
/// use kargo_argocd::Selector;
///
/// let selector: Selector = serde_json::from_value(serde_json::json!({
///     "matchLabels": {"team": "web"},
///     "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db", "cache"]}],
/// }))
/// .unwrap();
/// assert_eq!(selector.to_string(), "team=web,tier notin (db,cache)");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Selector {
    /// Labels with their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Demands on labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// A demand on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What is demanded.
    pub operator: Operator,
    /// The values that [`Operator::In`] and [`Operator::NotIn`] speak of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What can be demanded of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// It has one of the values.
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl Selector {
    /// The applications with this label.
    pub fn label(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::default().and_label(key, value)
    }

    /// Also this label.
    #[must_use]
    pub fn and_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.match_labels.insert(key.into(), value.into());
        self
    }

    /// Also this demand.
    #[must_use]
    pub fn and(mut self, key: impl Into<String>, operator: Operator, values: impl IntoIterator<Item = String>) -> Self {
        self.match_expressions.push(Requirement { key: key.into(), operator, values: values.into_iter().collect() });
        self
    }

    /// Checks that it selects something by something, and that it can be written down.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names what is wrong.
    pub fn check(&self) -> Result<()> {
        let fault = |text: String| Err(Error::new(ErrorKind::InvalidInput, text));
        if self.match_labels.is_empty() && self.match_expressions.is_empty() {
            return fault(
                "The selector is empty, which would be every application; give matchLabels or matchExpressions.".into(),
            );
        }
        let expressions = self.match_expressions.iter();
        let keys = self.match_labels.keys().chain(expressions.clone().map(|requirement| &requirement.key));
        let values = self.match_labels.values().chain(expressions.flat_map(|requirement| &requirement.values));
        for key in keys {
            if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
                return fault(format!("The selector's label {key:?} is no label's name."));
            }
        }
        for value in values {
            if !value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                return fault(format!("The selector's value {value:?} is no label's value."));
            }
        }
        for Requirement { key, operator, values } in &self.match_expressions {
            match operator {
                Operator::In | Operator::NotIn if values.is_empty() => {
                    return fault(format!("The selector's {operator:?} for the label {key:?} has no values."));
                }
                Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                    return fault(format!("The selector's {operator:?} for the label {key:?} takes no values."));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The text form, as Argo CD's API takes it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let demands = self.match_expressions.iter().map(|Requirement { key, operator, values }| match operator {
            Operator::In => format!("{key} in ({})", values.join(",")),
            Operator::NotIn => format!("{key} notin ({})", values.join(",")),
            Operator::Exists => key.clone(),
            Operator::DoesNotExist => format!("!{key}"),
        });
        f.write_str(&labels.chain(demands).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_that_cannot_be_meant_is_refused() {
        let message = |selector: Selector| selector.check().unwrap_err().message().to_owned();
        assert!(message(Selector::default()).contains("empty"));
        assert!(message(Selector::label("team", "web,tier=db")).contains("web,tier=db"));
        assert!(message(Selector::label("te am", "web")).contains("te am"));
        assert!(message(Selector::default().and("tier", Operator::In, [])).contains("no values"));
        assert!(
            message(Selector::default().and("tier", Operator::Exists, ["db".to_owned()])).contains("takes no values")
        );
        assert!(Selector::label("example.com/team", "web").and("tier", Operator::DoesNotExist, []).check().is_ok());
    }
}
