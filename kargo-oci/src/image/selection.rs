//! Which tags fit by name, and in what order. Pure: no registry is asked here.

use std::fmt;

use jiff::Timestamp;
use kargo_core::version::{Constraint, Version};
use regex::Regex;

use super::gate::Gate;
use crate::client::Platform;
use crate::misfit::{Misfit, fitting_version, is_attachment};
use crate::repository::Repository;

/// By what an image is preferred to another one. The names are those of Kargo's `imageSelectionStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SelectionStrategy {
    /// By the semantic version in the tag, the highest first. The default.
    SemVer,
    /// By the tag's text, bytewise, the last first: for tags that begin with a date.
    Lexical,
    /// By when the image was built, the newest first. The registry is asked for every tag that fits by name.
    NewestBuild,
    /// One tag that moves; the image is whatever it names.
    Digest,
}

impl SelectionStrategy {
    const ALL: [Self; 4] = [Self::SemVer, Self::Lexical, Self::NewestBuild, Self::Digest];

    /// The name, as Kargo writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SemVer => "SemVer",
            Self::Lexical => "Lexical",
            Self::NewestBuild => "NewestBuild",
            Self::Digest => "Digest",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == text)
    }
}

impl fmt::Display for SelectionStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A strategy with what it needs.
#[derive(Debug)]
pub(super) enum Strategy {
    SemVer { constraint: Option<Constraint>, strict: bool },
    Lexical,
    NewestBuild,
    Digest { tag: String },
}

/// A subscription that has been checked.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) strategy: Strategy,
    pub(super) repo_url: String,
    pub(super) repository: Repository,
    pub(super) platform: Option<Platform>,
    pub(super) limit: usize,
    pub(super) immutable_tags: bool,
    pub(super) allow: Vec<Regex>,
    pub(super) ignore: Vec<Regex>,
    pub(super) gate: Option<Gate>,
}

impl Selection {
    /// The tags that fit by name, the preferred one first as far as names tell. The order of `tags` does not matter.
    pub(super) fn choose(&self, tags: &[String]) -> Vec<String> {
        let mut chosen: Vec<(Option<Version>, &String)> =
            tags.iter().filter_map(|tag| Some((self.judge(tag).ok()?, tag))).collect();
        chosen.sort_by(|a, b| b.cmp(a));
        chosen.into_iter().map(|(_, tag)| tag.clone()).collect()
    }

    /// Whether a tag fits by name, with its version where that is what counts.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) fn judge(&self, tag: &str) -> Result<Option<Version>, Misfit> {
        if let Strategy::Digest { tag: watched } = &self.strategy {
            return if tag == watched { Ok(None) } else { Err(Misfit::NotWatched) };
        }
        if is_attachment(tag) {
            return Err(Misfit::Attachment);
        }
        if let Some(regex) = self.ignore.iter().find(|regex| regex.is_match(tag)) {
            return Err(Misfit::Ignored(regex.as_str().to_owned()));
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|regex| regex.is_match(tag)) {
            return Err(Misfit::NotAllowed);
        }
        let Strategy::SemVer { constraint, strict } = &self.strategy else { return Ok(None) };
        fitting_version(tag, *strict, constraint.as_ref()).map(Some)
    }

    /// Sorts images that were all looked at by when they were built, for [`Strategy::NewestBuild`].
    pub(super) fn by_age(a: (Option<Timestamp>, &str), b: (Option<Timestamp>, &str)) -> std::cmp::Ordering {
        // Equal times, as of builders that set them to 1970, are told apart by the tag, the same in every look.
        b.cmp(&a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSubscription;

    fn choose(subscription: ImageSubscription, tags: &[&str]) -> Vec<String> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        subscription.check(None).unwrap().choose(&tags)
    }

    #[test]
    fn ignoring_comes_before_allowing_and_regexes_are_not_anchored() {
        let subscription =
            ImageSubscription::new("a").allow_tags_regex("^v1").allow_tags_regex("2").ignore_tags_regex("rc");
        assert_eq!(choose(subscription, &["v1.0.0", "1.0.0", "v1.2.0-rc1", "2.0.0"]), ["2.0.0", "v1.0.0"]);
    }

    #[test]
    fn oci_10_a_regex_of_tags_to_ignore_has_an_effect() {
        let subscription = ImageSubscription::new("a").ignore_tags_regex("^v.*-[0-9a-z]{7}$");
        assert_eq!(choose(subscription, &["v1.2.0-0a1b2c3", "v1.1.0-rc.1", "v1.0.0"]), ["v1.1.0-rc.1", "v1.0.0"]);
    }

    #[test]
    fn text_that_go_takes_literally_is_taken_literally() {
        let subscription = ImageSubscription::new("a").allow_tags_regex(r"^\Q1.0\E\.\d+$").ignore_tags_regex(r"\Q.5");
        assert_eq!(choose(subscription, &["1.0.7", "1.0.5", "1.010.7", "2.0.0"]), ["1.0.7"]);
    }

    #[test]
    fn oci_11_two_spellings_of_a_version_keep_their_order() {
        let loose = ImageSubscription::new("a").constraint("^1").strict_semvers(false);
        assert_eq!(choose(loose.clone(), &["1.24", "1.24.0"]), ["1.24.0", "1.24"]);
        assert_eq!(choose(loose, &["1.24.0", "1.24"]), ["1.24.0", "1.24"]);
        assert_eq!(choose(ImageSubscription::new("a").constraint("^1"), &["1.24", "1.24.0"]), ["1.24.0"]);
    }

    #[test]
    fn oci_26_27_28_constraints_and_order_are_those_of_kargo() {
        let choose_by =
            |constraint: &str, tags: &[&str]| choose(ImageSubscription::new("a").constraint(constraint), tags);
        assert_eq!(choose_by(">=2.0.300-0", &["2.0.330-63-gc1cfb6864", "latest"]), ["2.0.330-63-gc1cfb6864"]);
        assert_eq!(choose_by("^1.0.0-0", &["1.2.0-rc1", "2.0.0-rc1"]), ["1.2.0-rc1"]);
        assert_eq!(choose_by("1.2.3", &["1.9.0", "1.2.3"]), ["1.2.3"]);
        assert_eq!(choose_by("^1 || ^2", &["v1.2.3", "2.0.0", "3.0.0"]), ["2.0.0", "v1.2.3"]);
        let tags = ["0.9.0", "1.0.0", "v1.16.3", "1.17.0", "1.2.3", "2.0.0", "2.0.1", "1.24"];
        assert_eq!(choose_by("1.0.0 - 2.0.0", &tags), ["2.0.0", "1.17.0", "v1.16.3", "1.2.3", "1.0.0"]);
        assert_eq!(choose_by(">=1.0.0 <2.0.0", &tags), ["1.17.0", "v1.16.3", "1.2.3", "1.0.0"]);
        assert_eq!(choose_by("v1.16.x", &tags), ["v1.16.3"]);
        assert_eq!(choose_by("!=1.2.3", &tags), ["2.0.1", "2.0.0", "1.17.0", "v1.16.3", "1.0.0", "0.9.0"]);
        assert_eq!(
            choose_by("1.0.1-0", &["1.0.1-rc9"]),
            Vec::<String>::new(),
            "a bare pre-release means exactly that version"
        );
        assert_eq!(
            choose_by(">=1.0.1-0", &["1.0.1-rc9", "1.0.1-rc10", "1.0.1-rc.9", "1.0.1-rc.10"]),
            ["1.0.1-rc9", "1.0.1-rc10", "1.0.1-rc.10", "1.0.1-rc.9"]
        );
    }

    #[test]
    fn oci_02_attachments_are_never_chosen() {
        let hash = "9".repeat(64);
        let tags = [format!("sha256-{hash}.sig"), format!("sha256-{hash}"), "1.0.0".to_owned()];
        assert_eq!(ImageSubscription::new("a").strict_semvers(false).check(None).unwrap().choose(&tags), ["1.0.0"]);
        assert!(is_attachment(&tags[0]) && is_attachment(&tags[1]) && !is_attachment("sha256-notes"));
    }
}
