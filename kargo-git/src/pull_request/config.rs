//! What the steps are told.

use std::time::Duration;

use jiff::SignedDuration;
use kargo_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::forge::{Provider, RepositoryOptions, named_or_none};
use crate::steps::given;
use crate::update::branch_fault;

/// `git-open-pr`: opens a pull request from one branch to another, or takes the one that is there.
///
/// There is one pull request for a promotion, whatever dies when. When merging would change no file, the step is skipped. On abort the
/// pull request that it opened is closed.
///
/// # Outputs
///
/// - `pr.id`: its number; `null` when the step was skipped, which then skips the steps that are given it.
/// - `pr.url`: its page; `null` when the step was skipped.
/// - `commit`: only when the step was skipped, the commit that the target branch has.
///
/// # Errors
///
/// - The server cannot be reached, or does not let the host in.
/// - A branch is not there.
/// - The pull request was opened for this promotion and then closed by somebody: the step fails.
///
/// # Example
///
/// ```yaml
/// - uses: git-open-pr
///   as: open
///   config:
///     repoURL: ${{ vars.repo }}
///     sourceBranch: promotion/${{ ctx.promotion }}
///     targetBranch: main
///     title: ${{ imageFrom(vars.image).Tag }} to ${{ ctx.stage }}
///     labels:
///     - release
/// ```
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Open {
    /// The repository.
    #[serde(rename = "repoURL")]
    pub(super) repository: String,
    /// The branch that has the commits.
    pub(super) source_branch: String,
    /// The branch that is to get them.
    pub(super) target_branch: String,
    /// Its title. Default: the first line of the head commit's message.
    #[serde(default)]
    pub(super) title: Option<String>,
    /// Its description. Default: the rest of the head commit's message.
    #[serde(default)]
    pub(super) description: Option<String>,
    /// Labels that it gets when the step opens it. Default: none.
    #[serde(default)]
    pub(super) labels: Vec<String>,
    /// Of which kind the server is. Default: as its name says.
    #[serde(default, deserialize_with = "named_or_none")]
    pub(super) provider: Option<Provider>,
    /// Whether any certificate is accepted. Default: no.
    #[serde(default, rename = "insecureSkipTLSVerify")]
    pub(super) skip_tls_verification: bool,
    /// Does nothing, as in Kargo, where it is on its way out. Default: no.
    #[serde(default, rename = "createTargetBranch")]
    _create_target_branch: bool,
}

/// `git-wait-for-pr`: waits until somebody has merged a pull request.
///
/// A look is one request. At Bitbucket Data Center it is two while the pull request is open, since what it waits for is a question of its own
/// there, and at Bitbucket Cloud the last one is, which asks for all digits of the commit. On abort the pull request is closed if this
/// promotion opened it.
///
/// # Outputs
///
/// - `pr.id`, `pr.url`: its number and page.
/// - `pr.open`, `pr.merged`: how it stands.
/// - `commit`: the commit by which it was merged.
///
/// # Errors
///
/// - The server cannot be reached, or does not let the host in.
/// - It was closed without being merged: the step fails.
///
/// # Example
///
/// ```yaml
/// - uses: git-open-pr
///   as: open
///   config:
///     repoURL: ${{ vars.repo }}
///     sourceBranch: promotion/${{ ctx.promotion }}
///     targetBranch: main
/// - uses: git-wait-for-pr
///   as: wait
///   config:
///     repoURL: ${{ vars.repo }}
///     prNumber: ${{ outputs.open.pr.id }}
/// ```
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wait {
    /// The repository.
    #[serde(rename = "repoURL")]
    pub(super) repository: String,
    /// The number, also as a text. `null`, as after a `git-open-pr` that was skipped, skips the step.
    #[serde(deserialize_with = "number")]
    pub(super) pr_number: Option<u64>,
    /// Of which kind the server is. Default: as its name says.
    #[serde(default, deserialize_with = "named_or_none")]
    pub(super) provider: Option<Provider>,
    /// Whether any certificate is accepted. Default: no.
    #[serde(default, rename = "insecureSkipTLSVerify")]
    pub(super) skip_tls_verification: bool,
    /// How often it looks, from `1s` to `1h`. Default: 30 seconds.
    #[serde(default, deserialize_with = "interval")]
    pub(super) poll_interval: Option<Duration>,
}

/// `git-merge-pr`: merges a pull request. One that is merged already is a success.
///
/// On abort the pull request is closed if this promotion opened it.
///
/// # Outputs
///
/// - `commit`: the commit by which it was merged.
///
/// # Errors
///
/// - The server cannot be reached, or does not let the host in.
/// - It is not ready (a draft, checks, reviews), and `wait` is not set: the step fails.
/// - It is closed, has conflicts, or may not be merged in this way: the step fails.
///
/// # Example
///
/// ```yaml
/// - uses: git-open-pr
///   as: open
///   config:
///     repoURL: ${{ vars.repo }}
///     sourceBranch: promotion/${{ ctx.promotion }}
///     targetBranch: main
/// - uses: git-merge-pr
///   config:
///     repoURL: ${{ vars.repo }}
///     prNumber: ${{ outputs.open.pr.id }}
///     mergeMethod: squash
///     provider: github
///     wait: true
/// ```
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Merge {
    /// The repository.
    #[serde(rename = "repoURL")]
    pub(super) repository: String,
    /// The number, also as a text. `null`, as after a `git-open-pr` that was skipped, skips the step.
    #[serde(deserialize_with = "number")]
    pub(super) pr_number: Option<u64>,
    /// Of which kind the server is. Default: as its name says.
    #[serde(default, deserialize_with = "named_or_none")]
    pub(super) provider: Option<Provider>,
    /// Whether any certificate is accepted. Default: no.
    #[serde(default, rename = "insecureSkipTLSVerify")]
    pub(super) skip_tls_verification: bool,
    /// Whether one that is not ready is waited for. Default: no.
    #[serde(default)]
    pub(super) wait: bool,
    /// How often it looks, from `1s` to `1h`. Default: 10 seconds.
    #[serde(default, deserialize_with = "interval")]
    pub(super) poll_interval: Option<Duration>,
    /// How it is merged, in the provider's words, such as `merge`, `squash` or `rebase`. Default: as the repository is set up.
    #[serde(default)]
    pub(super) merge_method: Option<String>,
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
    let text = Option::<String>::deserialize(deserializer)?;
    let Some(text) = given(text.as_ref()) else { return Ok(None) };
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
