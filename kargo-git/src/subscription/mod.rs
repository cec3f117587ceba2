//! What a warehouse watches in a repository.

mod paths;
mod tags;

use jiff::Timestamp;
use kargo_core::{Error, ErrorKind, Result, Subscription};
pub(crate) use paths::PathRule;
use serde::{Deserialize, Serialize};
use serde_json::Value;
pub(crate) use tags::TagRule;

use crate::update::branch_fault;

/// Fields of Kargo's that are not known here, and what to write instead.
const UNSUPPORTED: [(&str, &str); 4] = [
    (
        "expressionFilter",
        "filters by expression are not supported yet; a host can set a filter of its own on the source",
    ),
    ("insecureSkipTLSVerify", "give the source the CA's certificate with ca_certificates"),
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
    /// Only commits since then count, by the committer's time, for [`CommitSelectionStrategy::NewestFromBranch`]. A history is not
    /// followed behind the first commit that is older. Default: all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Which versions fit, for [`CommitSelectionStrategy::SemVer`]. Default: all releases and pre-releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver_constraint: Option<String>,
    /// Whether a tag must have all three numbers to count as a version. Default: true.
    #[serde(default = "yes")]
    pub strict_semvers: bool,
    /// Only tags that match one of these count. When all of them are anchored and begin alike, as `^v9\.` does, only tags that begin so
    /// are asked for. Default: all do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_tags_regexes: Vec<String>,
    /// Tags that match one of these do not count, whatever else matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_tags_regexes: Vec<String>,
    /// Only commits count that change one of these paths, compared with their first parent. An entry is a directory or a file
    /// (`env/prod`: itself and all below it), a pattern (`glob:env/*/values.yaml`; `*` stays within a directory, `**` does not) or an
    /// expression (`regex:` or `regexp:`, matching anywhere in the path unless it is anchored). Default: all paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include_paths: Vec<String>,
    /// Paths that do not count though they are included, in the same forms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_paths: Vec<String>,
    /// As in Kargo's files; without effect, since files are never fetched to find commits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blobless: bool,
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
    /// The tags that were made last: by the tagger's time of an annotated tag, by the committer's for others.
    NewestTag,
    /// The tags that are versions, the highest first.
    SemVer,
    /// The tags in the reverse order of the bytes of their names.
    Lexical,
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
            since: None,
            semver_constraint: None,
            strict_semvers: true,
            allow_tags_regexes: Vec::new(),
            ignore_tags_regexes: Vec::new(),
            include_paths: Vec::new(),
            exclude_paths: Vec::new(),
            blobless: false,
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

    /// Chooses the tags that were made last.
    pub fn newest_tags(mut self) -> Self {
        self.commit_selection_strategy = CommitSelectionStrategy::NewestTag;
        self
    }

    /// Chooses the tags whose names come last in the order of their bytes.
    pub fn lexical_tags(mut self) -> Self {
        self.commit_selection_strategy = CommitSelectionStrategy::Lexical;
        self
    }

    /// Lets commits count that change a path that `selector` stands for, and those of other such calls; see
    /// [`GitSubscription::include_paths`].
    pub fn include_path(mut self, selector: impl Into<String>) -> Self {
        self.include_paths.push(selector.into());
        self
    }

    /// Lets paths not count that `selector` stands for.
    pub fn exclude_path(mut self, selector: impl Into<String>) -> Self {
        self.exclude_paths.push(selector.into());
        self
    }

    /// Lets commits not count that are older.
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
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
    pub(crate) fn from_config(config: &Value) -> Result<(Self, Rules)> {
        let says_nothing = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(entries) => entries.is_empty(),
            _ => false,
        };
        let is_set = |field: &str| config.get(field).is_some_and(|value| !says_nothing(value));
        if let Some((field, instead)) = UNSUPPORTED.iter().find(|(field, _)| is_set(field)) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("The Git subscription's field {field} is not supported; {instead}."),
            ));
        }
        let mut known = config.clone();
        if let Value::Object(fields) = &mut known {
            fields.retain(|name, _| UNSUPPORTED.iter().all(|(field, _)| field != name));
        }
        let subscription: Self = serde_json::from_value(known).map_err(|error| {
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
        let rules = Rules {
            tags: TagRule::new(&subscription)?,
            paths: PathRule::new(&subscription.include_paths, &subscription.exclude_paths)?,
        };
        Ok((subscription, rules))
    }
}

impl From<GitSubscription> for Subscription {
    fn from(subscription: GitSubscription) -> Self {
        // A struct of strings, numbers and lists is always JSON.
        Self::new("git", serde_json::to_value(subscription).unwrap_or_default())
    }
}

/// A subscription's rules, read and compiled.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) tags: TagRule,
    pub(crate) paths: PathRule,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subscription_of_kargo_reads_with_its_defaults() {
        let (subscription, _) = GitSubscription::from_config(&json!({"repoURL": "https://git.example/x.git"})).unwrap();
        assert_eq!(subscription, GitSubscription::new("https://git.example/x.git"));
        assert_eq!((subscription.discovery_limit, subscription.strict_semvers), (20, true));
        let (subscription, _) = GitSubscription::from_config(&json!({
            "repoURL": "https://git.example/x.git",
            "commitSelectionStrategy": "SemVer",
            "semverConstraint": "^1.0.0",
            "strictSemvers": false,
            "allowTagsRegexes": ["^v"],
            "ignoreTagsRegexes": ["rc"],
            "includePaths": ["glob:env/**", "charts"],
            "excludePaths": ["regex:\\.md$"],
            "discoveryLimit": 5,
        }))
        .unwrap();
        let built = GitSubscription::new("https://git.example/x.git")
            .semver("^1.0.0")
            .lenient_semvers()
            .allow_tags("^v")
            .ignore_tags("rc")
            .include_path("glob:env/**")
            .include_path("charts")
            .exclude_path(r"regex:\.md$")
            .discovery_limit(5);
        assert_eq!(subscription, built);
        let (subscription, _) = GitSubscription::from_config(
            &json!({"repoURL": "x", "blobless": true, "expressionFilter": "", "since": "2026-01-02T03:04:05Z"}),
        )
        .unwrap();
        assert_eq!(subscription.since, Some("2026-01-02T03:04:05Z".parse().unwrap()));
        for (strategy, read) in
            [("NewestTag", CommitSelectionStrategy::NewestTag), ("Lexical", CommitSelectionStrategy::Lexical)]
        {
            let config = json!({"repoURL": "x", "commitSelectionStrategy": strategy});
            assert_eq!(GitSubscription::from_config(&config).unwrap().0.commit_selection_strategy, read);
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name_with_the_way_out() {
        let with = |field: &str, value: Value| {
            let mut config = json!({"repoURL": "https://git.example/x.git"});
            config[field] = value;
            GitSubscription::from_config(&config).unwrap_err()
        };
        for (field, value, hint) in [
            ("expressionFilter", json!("true"), "expression"),
            ("allowTags", json!("^v"), "allowTagsRegexes"),
            ("insecureSkipTLSVerify", json!(true), "ca_certificates"),
        ] {
            let error = with(field, value);
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{field}");
            assert!(error.message().contains(field) && error.message().contains(hint), "{error}");
        }
        for (field, value) in [
            ("commitSelectionStrategy", json!("Newest")),
            ("discoveryLimit", json!(0)),
            ("discoveryLimit", json!(101)),
            ("semverConstraint", json!("not a constraint")),
            ("allowTagsRegexes", json!(["("])),
            ("includePaths", json!(["glob:["])),
            ("since", json!("yesterday")),
            ("branch", json!("a..b")),
            ("brunch", json!("main")),
        ] {
            assert_eq!(with(field, value.clone()).kind(), ErrorKind::InvalidInput, "{field} {value}");
        }
    }
}
