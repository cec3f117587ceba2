//! What the steps are told.

use std::time::Duration;

use jiff::SignedDuration;
use kargo_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::forge::{Provider, RepositoryOptions};
use crate::update::branch_fault;

/// Of `git-open-pr`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Open {
    #[serde(rename = "repoURL")]
    pub(super) repository: String,
    pub(super) source_branch: String,
    pub(super) target_branch: String,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) labels: Vec<String>,
    #[serde(default)]
    pub(super) provider: Option<Provider>,
    #[serde(default, rename = "insecureSkipTLSVerify")]
    pub(super) skip_tls_verification: bool,
    /// Does nothing, as in Kargo, where it is on its way out.
    #[serde(default, rename = "createTargetBranch")]
    _create_target_branch: bool,
}

/// The fields of a step that is about a pull request that there is, and its own. (Flattened fields would let pass what is unknown.)
macro_rules! about_a_pull_request {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(super) struct $name {
            #[serde(rename = "repoURL")]
            pub(super) repository: String,
            #[serde(deserialize_with = "number")]
            pub(super) pr_number: Option<u64>,
            #[serde(default)]
            pub(super) provider: Option<Provider>,
            #[serde(default, rename = "insecureSkipTLSVerify")]
            pub(super) skip_tls_verification: bool,
            #[serde(default, deserialize_with = "interval")]
            pub(super) poll_interval: Option<Duration>,
            $($(#[$attribute])* pub(super) $field: $type,)*
        }
    };
}

about_a_pull_request! {
    /// Of `git-wait-for-pr`.
    Wait {}
}

about_a_pull_request! {
    /// Of `git-merge-pr`.
    Merge {
        #[serde(default)]
        wait: bool,
        #[serde(default)]
        merge_method: Option<String>,
    }
}

/// A number, also as text, since expressions inside of texts make texts; `null` when no pull request was opened.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = match &value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match number {
        Some(number) if number > 0 => Ok(Some(number)),
        _ => Err(serde::de::Error::custom(format!("prNumber is {value}, which is the number of no pull request"))),
    }
}

/// A duration as Go writes it, between a second and an hour.
fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let parsed = text.parse::<SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    match parsed {
        Some(interval) if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval) => {
            Ok(Some(interval))
        }
        _ => Err(serde::de::Error::custom(format!(
            "pollInterval is {text:?}; write a duration between 1s and 1h, such as 30s"
        ))),
    }
}

/// What is said of the repository besides its URL.
pub(super) fn options(provider: Option<Provider>, skip_tls_verification: bool) -> RepositoryOptions {
    RepositoryOptions::new().provider(provider).skip_tls_verification(skip_tls_verification)
}

fn invalid(step: &str, fault: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("The configuration of {step} cannot be used: {fault}."))
}

/// Reads a step's configuration with its expressions evaluated.
pub(super) fn read<T: DeserializeOwned>(step: &str, config: &Value) -> Result<T> {
    serde_json::from_value(config.clone()).map_err(|error| invalid(step, error))
}

/// Fields that may be left out.
const OPTIONAL: [&str; 8] =
    ["title", "description", "labels", "provider", "insecureSkipTLSVerify", "wait", "pollInterval", "mergeMethod"];

/// Reads what is known of a step's configuration before its expressions are evaluated, and says whether that is enough to know the
/// repository's forge.
pub(super) fn read_early<T: DeserializeOwned>(step: &str, config: &Value) -> Result<(T, bool)> {
    let mut known = config.clone();
    let is_open = |value: &Value| value.to_string().contains("${{");
    let mut has_place = true;
    if let Value::Object(fields) = &mut known {
        has_place = !["repoURL", "provider"].iter().any(|key| fields.get(*key).is_some_and(is_open));
        fields.retain(|key, value| !(is_open(value) && OPTIONAL.contains(&key.as_str())));
        if let Some(number) = fields.get_mut("prNumber").filter(|number| is_open(number)) {
            *number = 1.into();
        }
    }
    Ok((read(step, &known)?, has_place))
}

impl Open {
    /// Checks what can be checked without asking anybody.
    pub(super) fn check(&self, step: &str) -> Result<()> {
        for (field, branch) in [("sourceBranch", &self.source_branch), ("targetBranch", &self.target_branch)] {
            if let Some(fault) = branch_fault(branch).filter(|_| !branch.contains("${{")) {
                return Err(invalid(step, format!("{field} {branch:?} is no name of a branch: {fault}")));
            }
        }
        if self.source_branch == self.target_branch {
            return Err(invalid(step, format!("sourceBranch and targetBranch are both {:?}", self.source_branch)));
        }
        if let Some(label) = self.labels.iter().find(|label| label.trim().is_empty() || label.contains(',')) {
            return Err(invalid(step, format!("{label:?} is no name of a label; it is empty, or has a comma in it")));
        }
        Ok(())
    }
}
