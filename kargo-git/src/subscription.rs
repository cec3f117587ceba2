//! What a warehouse watches in a repository.

use kargo_core::version::{Constraint, Version};
use kargo_core::{Error, ErrorKind, Result, Subscription};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::update::branch_fault;

/// Fields of Kargo's that are not known here, and what to write instead.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("blobless", "leave it out: nothing but what is needed is ever fetched"),
    ("includePaths", "filters by path are not supported yet"),
    ("excludePaths", "filters by path are not supported yet"),
    ("expressionFilter", "filters by expression are not supported yet"),
    ("since", "limit the number of commits with discoveryLimit"),
    ("allowTags", "write allowTagsRegexes, as Kargo 1.11 and later want it"),
    ("ignoreTags", "write ignoreTagsRegexes, as Kargo 1.11 and later want it"),
];

/// Commits of a branch, or tags: the configuration of a subscription through a [`crate::GitSource`]. Fields are Kargo's.
///
/// ```
/// use kargo_core::Warehouse;
/// use kargo_git::GitSubscription;
///
/// let warehouse = Warehouse::new("main")
///     .subscribe(GitSubscription::new("https://git.example/acme/app.git").branch("main"))
///     .subscribe(GitSubscription::new("https://git.example/acme/charts.git").semver("^1.2"));
/// assert_eq!(warehouse.subscriptions()[1].config["commitSelectionStrategy"], "SemVer");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[must_use]
pub struct GitSubscription {
    /// The repository's URL, or its path.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// How commits are chosen.
    #[serde(default)]
    pub commit_selection_strategy: CommitSelectionStrategy,
    /// The branch, for [`CommitSelectionStrategy::NewestFromBranch`]. Default: the repository's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Which versions fit, for [`CommitSelectionStrategy::SemVer`]. Default: all releases and pre-releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver_constraint: Option<String>,
    /// Whether a tag must have all three numbers to count as a version. Default: true.
    #[serde(default = "yes")]
    pub strict_semvers: bool,
    /// Only tags that match one of these count. Default: all do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_tags_regexes: Vec<String>,
    /// Tags that match one of these do not count, whatever else matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_tags_regexes: Vec<String>,
    /// How many commits are found at most, 1 to 100. Default: 20.
    #[serde(default = "twenty")]
    pub discovery_limit: u32,
}

/// How commits of a repository are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CommitSelectionStrategy {
    /// The newest commits of a branch, along first parents.
    #[default]
    NewestFromBranch,
    /// The tags that are versions, the highest first.
    SemVer,
}

fn yes() -> bool {
    true
}

fn twenty() -> u32 {
    20
}

impl GitSubscription {
    /// The newest commits of the default branch of the repository at `repo_url`.
    pub fn new(repo_url: impl Into<String>) -> Self {
        Self {
            repo_url: repo_url.into(),
            commit_selection_strategy: CommitSelectionStrategy::NewestFromBranch,
            branch: None,
            semver_constraint: None,
            strict_semvers: true,
            allow_tags_regexes: Vec::new(),
            ignore_tags_regexes: Vec::new(),
            discovery_limit: twenty(),
        }
    }

    /// Chooses the newest commits of `branch`.
    pub fn branch(mut self, branch: impl Into<String>) -> Self {
        self.commit_selection_strategy = CommitSelectionStrategy::NewestFromBranch;
        self.branch = Some(branch.into());
        self
    }

    /// Chooses the highest tags that fit `constraint`.
    pub fn semver(mut self, constraint: impl Into<String>) -> Self {
        self.commit_selection_strategy = CommitSelectionStrategy::SemVer;
        self.semver_constraint = Some(constraint.into());
        self
    }

    /// Takes tags with one or two numbers for versions too.
    pub fn lenient_semvers(mut self) -> Self {
        self.strict_semvers = false;
        self
    }

    /// Lets tags count that match `regex`, and those of other such calls.
    pub fn allow_tags(mut self, regex: impl Into<String>) -> Self {
        self.allow_tags_regexes.push(regex.into());
        self
    }

    /// Lets tags not count that match `regex`.
    pub fn ignore_tags(mut self, regex: impl Into<String>) -> Self {
        self.ignore_tags_regexes.push(regex.into());
        self
    }

    /// Sets how many commits are found at most, 1 to 100.
    pub fn discovery_limit(mut self, limit: u32) -> Self {
        self.discovery_limit = limit;
        self
    }

    /// Reads and checks a subscription's configuration.
    pub(crate) fn from_config(config: &Value) -> Result<(Self, TagRule)> {
        if let Some((field, instead)) = UNSUPPORTED.iter().find(|(field, _)| config.get(field).is_some()) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("The Git subscription's field {field} is not supported; {instead}."),
            ));
        }
        if let Some(strategy @ ("NewestTag" | "Lexical")) =
            config.get("commitSelectionStrategy").and_then(Value::as_str)
        {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "The commitSelectionStrategy {strategy} is not supported yet; NewestFromBranch and SemVer are."
                ),
            ));
        }
        let subscription: Self = serde_json::from_value(config.clone()).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("The configuration is not a Git subscription: {error}."))
                .because(error)
        })?;
        if !(1..=100).contains(&subscription.discovery_limit) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("The discoveryLimit of a Git subscription is 1 to 100, not {}.", subscription.discovery_limit),
            ));
        }
        if let Some(branch) = &subscription.branch
            && let Some(fault) = branch_fault(branch)
        {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("The Git subscription's branch {branch:?} is no name of one: {fault}."),
            ));
        }
        let rule = TagRule::new(&subscription)?;
        Ok((subscription, rule))
    }
}

impl From<GitSubscription> for Subscription {
    fn from(subscription: GitSubscription) -> Self {
        // A struct of strings, numbers and lists is always JSON.
        Self::new("git", serde_json::to_value(subscription).unwrap_or_default())
    }
}

/// Which tags count, and as which version.
#[derive(Debug)]
pub(crate) struct TagRule {
    strict: bool,
    constraint: Option<Constraint>,
    allow: Vec<Regex>,
    ignore: Vec<Regex>,
}

impl TagRule {
    fn new(subscription: &GitSubscription) -> Result<Self> {
        let regexes = |texts: &[String], field: &str| -> Result<Vec<Regex>> {
            let read = texts.iter().map(|text| {
                Regex::new(text).map_err(|error| {
                    Error::new(
                        ErrorKind::InvalidInput,
                        format!("The expression {text:?} in {field} cannot be read: {error}."),
                    )
                })
            });
            read.collect()
        };
        Ok(Self {
            strict: subscription.strict_semvers,
            constraint: subscription.semver_constraint.as_deref().map(Constraint::parse).transpose()?,
            allow: regexes(&subscription.allow_tags_regexes, "allowTagsRegexes")?,
            ignore: regexes(&subscription.ignore_tags_regexes, "ignoreTagsRegexes")?,
        })
    }

    /// The version that `tag` is, when it counts.
    pub(crate) fn version(&self, tag: &str) -> Option<Version> {
        if self.ignore.iter().any(|regex| regex.is_match(tag)) {
            return None;
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|regex| regex.is_match(tag)) {
            return None;
        }
        let version = if self.strict { Version::parse_strict(tag) } else { Version::parse(tag) }.ok()?;
        self.constraint.as_ref().is_none_or(|constraint| constraint.matches(&version)).then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subscription_of_kargo_reads_with_its_defaults() {
        let (subscription, _) = GitSubscription::from_config(&json!({"repoURL": "https://git.example/x.git"})).unwrap();
        assert_eq!(subscription, GitSubscription::new("https://git.example/x.git"));
        let (subscription, _) = GitSubscription::from_config(&json!({
            "repoURL": "https://git.example/x.git",
            "commitSelectionStrategy": "SemVer",
            "semverConstraint": "^1.0.0",
            "strictSemvers": false,
            "allowTagsRegexes": ["^v"],
            "ignoreTagsRegexes": ["rc"],
            "discoveryLimit": 5,
        }))
        .unwrap();
        let built = GitSubscription::new("https://git.example/x.git")
            .semver("^1.0.0")
            .lenient_semvers()
            .allow_tags("^v")
            .ignore_tags("rc")
            .discovery_limit(5);
        assert_eq!(subscription, built);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name_with_what_is() {
        let with = |field: &str, value: Value| {
            let mut config = json!({"repoURL": "https://git.example/x.git"});
            config[field] = value;
            GitSubscription::from_config(&config).unwrap_err()
        };
        let error = with("commitSelectionStrategy", json!("NewestTag"));
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("NewestFromBranch and SemVer"), "{error}");
        assert_eq!(with("includePaths", json!(["env"])).kind(), ErrorKind::Unsupported);
        for (field, value) in [
            ("commitSelectionStrategy", json!("Newest")),
            ("discoveryLimit", json!(0)),
            ("discoveryLimit", json!(101)),
            ("semverConstraint", json!("not a constraint")),
            ("allowTagsRegexes", json!(["("])),
            ("branch", json!("a..b")),
            ("brunch", json!("main")),
        ] {
            assert_eq!(with(field, value.clone()).kind(), ErrorKind::InvalidInput, "{field} {value}");
        }
    }

    #[test]
    fn tags_are_ignored_before_they_are_allowed() {
        let (_, rule) = GitSubscription::from_config(&json!({
            "repoURL": "x", "allowTagsRegexes": ["^v1"], "ignoreTagsRegexes": ["^v1\\.5"],
        }))
        .unwrap();
        let counts = ["v1.0.0", "v1.5.0", "v2.0.0", "v1", "latest"].map(|tag| rule.version(tag).is_some());
        assert_eq!(counts, [true, false, false, false, false]);
    }
}
