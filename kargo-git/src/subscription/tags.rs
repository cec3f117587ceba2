//! Which tags count, and as which version.

use kargo_core::version::{Constraint, Version};
use kargo_core::{Error, ErrorKind, Result};
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::Look;
use regex_syntax::hir::literal::Extractor;

use super::GitSubscription;
use super::paths::MAX_PROGRAM;

/// The rule by which tags are chosen.
#[derive(Debug)]
pub(crate) struct TagRule {
    strict: bool,
    constraint: Option<Constraint>,
    allow: Vec<Regex>,
    ignore: Vec<Regex>,
    prefix: String,
}

impl TagRule {
    pub(super) fn new(subscription: &GitSubscription) -> Result<Self> {
        let regexes = |texts: &[String], field: &str| -> Result<Vec<Regex>> {
            let read = texts.iter().map(|text| {
                RegexBuilder::new(text).size_limit(MAX_PROGRAM).build().map_err(|error| {
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
            // Kargo's forms write an empty one for none.
            constraint: subscription
                .semver_constraint
                .as_deref()
                .filter(|constraint| !constraint.trim().is_empty())
                .map(Constraint::parse)
                .transpose()?,
            allow: regexes(&subscription.allow_tags_regexes, "allowTagsRegexes")?,
            ignore: regexes(&subscription.ignore_tags_regexes, "ignoreTagsRegexes")?,
            prefix: prefix(&subscription.allow_tags_regexes),
        })
    }

    /// Whether `tag` counts by its name. What is ignored does not, whatever allows it.
    pub(crate) fn allows(&self, tag: &str) -> bool {
        !self.ignore.iter().any(|regex| regex.is_match(tag))
            && (self.allow.is_empty() || self.allow.iter().any(|regex| regex.is_match(tag)))
    }

    /// With what every tag begins that counts; empty when nothing is known of that.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The version that `tag` is, when it is one that fits.
    pub(crate) fn version(&self, tag: &str) -> Option<Version> {
        let version = if self.strict { Version::parse_strict(tag) } else { Version::parse(tag) }.ok()?;
        self.constraint.as_ref().is_none_or(|constraint| constraint.matches(&version)).then_some(version)
    }
}

/// With what everything begins that one of these expressions matches.
fn prefix(expressions: &[String]) -> String {
    let mut prefixes = expressions.iter().map(|expression| prefix_of(expression).unwrap_or_default());
    let Some(first) = prefixes.next() else { return String::new() };
    let common = prefixes.fold(first, |mut common, other| {
        common.truncate(common.iter().zip(&other).take_while(|(one, two)| one == two).count());
        common
    });
    let text = String::from_utf8_lossy(&common);
    // It is sent to the server in a line of text. Names of refs have nothing of the kind in them.
    text.chars().take_while(|c| !c.is_control() && !matches!(*c, ' ' | char::REPLACEMENT_CHARACTER)).collect()
}

fn prefix_of(expression: &str) -> Option<Vec<u8>> {
    let parsed = regex_syntax::parse(expression).ok()?;
    if !parsed.properties().look_set_prefix().contains(Look::Start) {
        return None;
    }
    Extractor::new().extract(&parsed).longest_common_prefix().map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::prefix;
    use crate::GitSubscription;

    #[test]
    fn a_prefix_is_what_all_expressions_ask_for_at_the_beginning() {
        for (expressions, wanted) in [
            (&[][..], ""),
            (&[r"^v9\."], "v9."),
            (&[r"^v9\.[0-9]+$"], "v9."),
            (&[r"v9\."], ""),
            (&[r"^v9?\."], "v"),
            (&[r"^v9*"], "v"),
            (&[r"^v9+"], "v9"),
            (&[r"^v9\.|^v8\."], "v"),
            (&[r"^v9\.|v8\."], ""),
            (&[r"^(v9|v9\.1)$"], "v9"),
            (&[r"\Arelease/2026-"], "release/2026-"),
            (&[r"(?i)^v9"], ""),
            (&[r"(?m)^v9"], ""),
            (&[r"^$"], ""),
            (&[r"^[vV]9"], ""),
            (&[r"^v9\n"], "v9"),
            (&[r"^é[àá]"], "é"),
            (&[r"^v1\.2", r"^v1\.3"], "v1."),
            (&[r"^v1\.2", r"2$"], ""),
            (&["^("], ""),
        ] {
            let expressions: Vec<String> = expressions.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(prefix(&expressions), wanted, "{expressions:?}");
        }
    }

    #[test]
    fn tags_are_ignored_before_they_are_allowed() {
        let (_, rules) = GitSubscription::from_config(&json!({
            "repoURL": "x", "allowTagsRegexes": ["^v1"], "ignoreTagsRegexes": ["^v1\\.5"],
        }))
        .unwrap();
        let allowed = ["v1.0.0", "v1.5.0", "v2.0.0", "v1", "latest"].map(|tag| rules.tags.allows(tag));
        assert_eq!(allowed, [true, false, false, true, false]);
        let versions = ["v1.0.0", "v1"].map(|tag| rules.tags.version(tag).is_some());
        assert_eq!(versions, [true, false], "strict versions have three numbers");
    }

    #[test]
    fn an_empty_constraint_is_none() {
        for empty in ["", "  "] {
            let config = json!({"repoURL": "x", "commitSelectionStrategy": "SemVer", "semverConstraint": empty});
            let (_, rules) = GitSubscription::from_config(&config).unwrap();
            assert!(rules.tags.version("v3.0.0-rc.1").is_some(), "{empty:?}");
        }
    }
}
