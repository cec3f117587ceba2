//! The configuration of an image subscription, in Kargo's words.

use kargo_core::version::Constraint;
use kargo_core::{Error, ErrorKind, Result, Subscription};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::gate::Gate;
use super::selection::{Selection, SelectionStrategy, Strategy};
use crate::attestation::AttestationCheck;
use crate::client::Platform;
use crate::repository::{Repository, checked_tag};
use crate::signature::{SignatureCheck, TrustedRoot};

/// Watches the tags of one image repository. Field names and defaults are those of Kargo's `image` subscription.
///
/// ```
/// use kargo_core::Warehouse;
/// use kargo_oci::ImageSubscription;
///
/// let warehouse = Warehouse::new("main").subscribe(ImageSubscription::new("localhost:5000/app").constraint("^1"));
/// assert_eq!(warehouse.subscriptions()[0].source, "image");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSubscription {
    #[serde(rename = "repoURL")]
    repo_url: String,
    #[serde(default = "semver", skip_serializing_if = "is_semver")]
    image_selection_strategy: String,
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "semverConstraint")]
    constraint: Option<String>,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    strict_semvers: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow_tags_regexes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ignore_tags_regexes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(default = "twenty", skip_serializing_if = "is_twenty")]
    discovery_limit: usize,
    #[serde(default, skip_serializing_if = "is_false", alias = "cacheByTag")]
    immutable_tags: bool,
    // These two are not Kargo's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<SignatureCheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attestation: Option<AttestationCheck>,
    // Kargo's fields that are refused by name, with what to write instead.
    #[serde(default, skip_serializing)]
    allow_tags: Value,
    #[serde(default, skip_serializing)]
    ignore_tags: Value,
    #[serde(default, skip_serializing, rename = "insecureSkipTLSVerify")]
    insecure_skip_tls_verify: bool,
}

const DISCOVERY_LIMIT: usize = 20;

fn semver() -> String {
    SelectionStrategy::SemVer.as_str().to_owned()
}

fn is_semver(strategy: &String) -> bool {
    *strategy == semver()
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn twenty() -> usize {
    DISCOVERY_LIMIT
}

fn is_twenty(limit: &usize) -> bool {
    *limit == DISCOVERY_LIMIT
}

impl ImageSubscription {
    /// The name under which [`crate::ImageSource`] is registered for these subscriptions.
    pub const SOURCE: &'static str = "image";

    /// Watches `repo_url`, such as `ghcr.io/acme/app`, for semantic versions: the newest that there is, be it a release or not.
    pub fn new(repo_url: impl Into<String>) -> Self {
        Self {
            repo_url: repo_url.into(),
            image_selection_strategy: semver(),
            constraint: None,
            strict_semvers: true,
            allow_tags_regexes: Vec::new(),
            ignore_tags_regexes: Vec::new(),
            platform: None,
            discovery_limit: DISCOVERY_LIMIT,
            immutable_tags: false,
            signature: None,
            attestation: None,
            allow_tags: Value::Null,
            ignore_tags: Value::Null,
            insecure_skip_tls_verify: false,
        }
    }

    /// Takes only versions that fit; see [`Constraint`] for what can be written. For
    /// [`SelectionStrategy::Digest`] it is the tag to watch; the other strategies leave it alone, as Kargo does.
    #[must_use]
    pub fn constraint(mut self, constraint: impl Into<String>) -> Self {
        self.constraint = Some(constraint.into());
        self
    }

    /// Whether tags must have all three numbers. On by default; off, `1.24` and `v1` are versions too.
    #[must_use]
    pub fn strict_semvers(mut self, strict: bool) -> Self {
        self.strict_semvers = strict;
        self
    }

    /// Takes only tags in which this regular expression, or another one added so, is found anywhere.
    #[must_use]
    pub fn allow_tags_regex(mut self, regex: impl Into<String>) -> Self {
        self.allow_tags_regexes.push(regex.into());
        self
    }

    /// Leaves out tags in which this regular expression is found anywhere, whatever else allows them.
    #[must_use]
    pub fn ignore_tags_regex(mut self, regex: impl Into<String>) -> Self {
        self.ignore_tags_regexes.push(regex.into());
        self
    }

    /// Takes only images that run on this platform, such as `linux/arm64`.
    #[must_use]
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platform = Some(platform.into());
        self
    }

    /// How many images are offered at most: 1 to 100, 20 by default.
    #[must_use]
    pub fn discovery_limit(mut self, limit: usize) -> Self {
        self.discovery_limit = limit;
        self
    }

    /// Says that tags of this repository never move (Kargo: `cacheByTag`). Then a poll that sees the same tags asks
    /// nothing more.
    #[must_use]
    pub fn immutable_tags(mut self, immutable: bool) -> Self {
        self.immutable_tags = immutable;
        self
    }

    /// Takes only images that are signed so: others never become freight. [`ImageSource::explain`](crate::ImageSource::explain) says why
    /// not. An image that is not signed is asked for again, within a minute at first and an hour in the end, since most are signed
    /// moments after they were pushed. What is signed is not asked for again while the program runs.
    #[must_use]
    pub fn signed(mut self, check: SignatureCheck) -> Self {
        self.signature = Some(check);
        self
    }

    /// Takes only images of which this is said, in the same way.
    #[must_use]
    pub fn attested(mut self, check: AttestationCheck) -> Self {
        self.attestation = Some(check);
        self
    }

    /// The subscription under a name, which becomes a part of the freight's identity.
    pub fn named(self, name: impl Into<String>) -> Subscription {
        Subscription::from(self).named(name)
    }

    /// Chooses images by another rule than by semantic version; see [`SelectionStrategy`].
    #[must_use]
    pub fn strategy(mut self, strategy: SelectionStrategy) -> Self {
        self.image_selection_strategy = strategy.as_str().to_owned();
        self
    }

    /// Watches one tag that moves, such as `edge`: each new digest under it is a new image.
    #[must_use]
    pub fn moving_tag(self, tag: impl Into<String>) -> Self {
        self.strategy(SelectionStrategy::Digest).constraint(tag)
    }

    /// Reads and checks a subscription's configuration. Certificates are judged by `root`.
    pub(super) fn read(config: &Value, root: Option<&TrustedRoot>) -> Result<Selection> {
        let fields: Self = serde_json::from_value(config.clone()).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("The image subscription cannot be read: {error}."))
        })?;
        fields.check(root)
    }

    pub(super) fn check(self, root: Option<&TrustedRoot>) -> Result<Selection> {
        let repository = Repository::parse(&self.repo_url)?;
        let invalid = |why: String| {
            Error::new(ErrorKind::InvalidInput, format!("The subscription to the image {repository} {why}."))
        };
        for (field, value, instead) in [
            ("allowTags", &self.allow_tags, "allowTagsRegexes"),
            ("ignoreTags", &self.ignore_tags, "ignoreTagsRegexes"),
        ] {
            let is_empty = match value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                _ => false,
            };
            if !is_empty {
                return Err(invalid(format!(
                    "has {field}, which Kargo no longer has; write {instead}, a list, instead"
                )));
            }
        }
        if self.insecure_skip_tls_verify {
            return Err(invalid(
                "has insecureSkipTLSVerify; instead, add the registry's certificate to the HTTP client, or name the host as \
                 insecure when the client is built"
                    .into(),
            ));
        }
        if !(1..=100).contains(&self.discovery_limit) {
            return Err(invalid(format!("has discoveryLimit {}; it is 1 to 100", self.discovery_limit)));
        }
        let regexes = |field: &str, texts: &[String]| {
            let compile = |text: &String| {
                Regex::new(&without_quoting(text)).map_err(|error| {
                    invalid(format!("has {text:?} in {field}, which is not a regular expression")).because(error)
                })
            };
            texts.iter().map(compile).collect::<Result<Vec<_>>>()
        };
        let within = |error: Error| invalid(format!("has a wrong field. {}", error.message().trim_end_matches('.')));
        let constraint = self.constraint.as_deref().filter(|text| !text.is_empty());
        let platform = self.platform.as_deref().filter(|text| !text.is_empty());
        let strategy = match SelectionStrategy::parse(&self.image_selection_strategy) {
            Some(SelectionStrategy::SemVer) => Strategy::SemVer {
                constraint: constraint.map(Constraint::parse).transpose().map_err(within)?,
                strict: self.strict_semvers,
            },
            // As in Kargo, these two leave the constraint alone.
            Some(SelectionStrategy::Lexical) => Strategy::Lexical,
            Some(SelectionStrategy::NewestBuild) => Strategy::NewestBuild,
            Some(SelectionStrategy::Digest) => {
                let tag = constraint.ok_or_else(|| {
                    invalid("has imageSelectionStrategy \"Digest\" and no constraint; write there the tag to watch, such as latest".into())
                })?;
                Strategy::Digest { tag: checked_tag(tag).map_err(within)?.to_owned() }
            }
            None => {
                let strategy = &self.image_selection_strategy;
                return Err(invalid(format!(
                    "has imageSelectionStrategy {strategy:?}; there are SemVer, the default, Lexical, NewestBuild and Digest"
                )));
            }
        };
        Ok(Selection {
            strategy,
            platform: platform.map(Platform::parse).transpose().map_err(within)?,
            allow: regexes("allowTagsRegexes", &self.allow_tags_regexes)?,
            ignore: regexes("ignoreTagsRegexes", &self.ignore_tags_regexes)?,
            limit: self.discovery_limit,
            immutable_tags: self.immutable_tags,
            repo_url: self.repo_url.strip_prefix("oci://").unwrap_or(&self.repo_url).to_owned(),
            gate: Gate::read(self.signature.as_ref(), self.attestation.as_ref(), root).map_err(within)?,
            repository,
        })
    }
}

impl From<ImageSubscription> for Subscription {
    fn from(subscription: ImageSubscription) -> Self {
        let config =
            serde_json::to_value(&subscription).expect("a struct of strings, numbers and lists always becomes JSON");
        Self::new(ImageSubscription::SOURCE, config)
    }
}

/// Replaces `\Q...\E`, by which Go's regular expressions take text literally, with what means the same here.
fn without_quoting(regex: &str) -> String {
    let mut plain = String::with_capacity(regex.len());
    let mut rest = regex;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        if let Some(quoted) = escape.strip_prefix("\\Q") {
            let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            plain.push_str(&regex::escape(literal));
            rest = after;
        } else {
            let end = escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end);
            plain.push_str(&escape[..end]);
            rest = &escape[end..];
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kargo_fields_and_defaults_are_read() {
        let config = json!({
            "repoURL": "ghcr.io/acme/app", "imageSelectionStrategy": "SemVer", "constraint": "^1", "strictSemvers": false,
            "allowTagsRegexes": ["^v"], "ignoreTagsRegexes": ["x$"], "platform": "linux/arm64", "discoveryLimit": 5,
            "cacheByTag": true, "insecureSkipTLSVerify": false, "allowTags": "", "ignoreTags": [],
        });
        let selection = ImageSubscription::read(&config, None).unwrap();
        assert!(selection.immutable_tags && selection.limit == 5);
        assert!(matches!(selection.strategy, Strategy::SemVer { strict: false, constraint: Some(_) }));
        let plain = ImageSubscription::read(&json!({"repoURL": "app"}), None).unwrap();
        assert!(!plain.immutable_tags && plain.limit == 20 && plain.platform.is_none());
        assert!(matches!(plain.strategy, Strategy::SemVer { strict: true, constraint: None }));
        let subscription: Subscription = ImageSubscription::new("app").into();
        assert_eq!(subscription.config, json!({"repoURL": "app"}));
    }

    #[test]
    fn oci_10_what_is_not_supported_is_refused_by_name_with_the_way_out() {
        for (config, needles) in [
            (json!({"repoURL": "a", "imageSelectionStrategy": "Newest"}), ["\"Newest\"", "NewestBuild"]),
            (json!({"repoURL": "a", "imageSelectionStrategy": "Digest"}), ["constraint", "tag to watch"]),
            (json!({"repoURL": "a", "imageSelectionStrategy": "Digest", "constraint": "a b"}), ["a b", "not a tag"]),
            (json!({"repoURL": "a", "ignoreTags": ["^v.*-[0-9a-z]{7}$"]}), ["ignoreTags", "ignoreTagsRegexes"]),
            (json!({"repoURL": "a", "allowTags": "x"}), ["allowTags", "allowTagsRegexes"]),
            (json!({"repoURL": "a", "allowTagsRegexes": ["("]}), ["allowTagsRegexes", "regular expression"]),
            (json!({"repoURL": "a", "constraint": "latest"}), ["latest", "constraint"]),
            (json!({"repoURL": "a", "platform": "linux"}), ["linux", "linux/amd64"]),
            (json!({"repoURL": "a", "discoveryLimit": 0}), ["discoveryLimit", "1 to 100"]),
            (json!({"repoURL": "a", "discoveryLimit": 101}), ["discoveryLimit", "1 to 100"]),
            (json!({"repoURL": "a:1.0"}), ["a:1.0", "tag"]),
            (json!({"repoURL": "a", "insecureSkipTLSVerify": true}), ["insecureSkipTLSVerify", "certificate"]),
            (json!({"repoURL": "a", "constrain": "^1"}), ["constrain", "constraint"]),
            (json!({}), ["repoURL", "missing"]),
        ] {
            let error = ImageSubscription::read(&config, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            for needle in needles {
                assert!(error.report().contains(needle), "{config}: {error}");
            }
        }
    }

    #[test]
    fn only_quoting_is_replaced() {
        assert_eq!(without_quoting(r"a\\Qb\"), r"a\\Qb\");
    }

    #[test]
    fn oci_12_the_tag_to_watch_is_a_constraint_that_is_no_version() {
        let read = |config: Value| ImageSubscription::read(&config, None);
        for tag in ["edge", "latest", "1"] {
            let config = json!({"repoURL": "a", "imageSelectionStrategy": "Digest", "constraint": tag});
            let selection = read(config.clone()).unwrap();
            assert!(matches!(selection.strategy, Strategy::Digest { tag: watched } if watched == tag));
            assert_eq!(Subscription::from(ImageSubscription::new("a").moving_tag(tag)).config, config);
        }
        let unused = json!({"repoURL": "a", "imageSelectionStrategy": "NewestBuild", "constraint": "not a version"});
        assert!(matches!(read(unused).unwrap().strategy, Strategy::NewestBuild));
    }
}
