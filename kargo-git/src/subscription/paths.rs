//! Which commits count by the paths that they change: `includePaths` and `excludePaths`.

use gix::bstr::ByteSlice as _;
use globset::{GlobBuilder, GlobMatcher};
use kargo_core::{Error, ErrorKind, Result};
use regex::{Regex, RegexBuilder};

use crate::changes::ChangedPaths;

/// The biggest program, in bytes, that an expression of a subscription may become.
pub(super) const MAX_PROGRAM: usize = 1 << 20;

/// Paths that count, and paths that do not.
#[derive(Debug, Default)]
pub(crate) struct PathRule {
    include: Vec<Selector>,
    exclude: Vec<Selector>,
}

/// One entry of a list of paths.
#[derive(Debug)]
enum Selector {
    /// `glob:`; `*` stays within a directory, and `**` does not.
    Glob(GlobMatcher),
    /// `regex:` or `regexp:`; matches anywhere in the path unless it is anchored.
    Regex(Regex),
    /// A directory or a file: the path itself, and all that is below it. Without slashes at its ends.
    Below(String),
}

impl PathRule {
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        let read = |texts: &[String], field: &str| -> Result<Vec<Selector>> {
            texts.iter().map(|text| Selector::parse(text, field)).collect()
        };
        Ok(Self { include: read(include, "includePaths")?, exclude: read(exclude, "excludePaths")? })
    }

    /// Whether each commit counts, whatever it changes.
    pub(crate) fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a commit that changes these paths counts: at least one of them has to.
    pub(crate) fn admits(&self, changed: &ChangedPaths) -> bool {
        changed.iter().any(|path| self.counts(&path.to_str_lossy()))
    }

    fn counts(&self, path: &str) -> bool {
        let any = |selectors: &[Selector]| selectors.iter().any(|selector| selector.matches(path));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

impl Selector {
    fn parse(text: &str, field: &str) -> Result<Self> {
        let invalid = |what: String| {
            Error::new(ErrorKind::InvalidInput, format!("The entry {text:?} in {field} cannot be used: {what}."))
        };
        match text.split_once(':') {
            Some(("glob", pattern)) => {
                let mut glob = GlobBuilder::new(pattern);
                let glob = glob.literal_separator(true).backslash_escape(true).empty_alternates(true).build();
                glob.map(|glob| Self::Glob(glob.compile_matcher())).map_err(|error| invalid(error.kind().to_string()))
            }
            Some(("regex" | "regexp", pattern)) => {
                let regex = RegexBuilder::new(pattern).size_limit(MAX_PROGRAM).build();
                regex.map(Self::Regex).map_err(|error| invalid(error.to_string()))
            }
            _ => {
                if text.starts_with('/') {
                    return Err(invalid("paths are relative to the root of the repository".to_owned()));
                }
                let mut parts = Vec::new();
                for part in text.split('/') {
                    match part {
                        "" | "." => {}
                        ".." => {
                            parts.pop().ok_or_else(|| invalid("it leads out of the repository".to_owned()))?;
                        }
                        part => parts.push(part),
                    }
                }
                Ok(Self::Below(parts.join("/")))
            }
        }
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(path),
            Self::Regex(regex) => regex.is_match(path),
            Self::Below(directory) if directory.is_empty() => true,
            Self::Below(directory) => {
                path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(include: &[&str], exclude: &[&str]) -> Result<PathRule> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        PathRule::new(&owned(include), &owned(exclude))
    }

    #[test]
    fn git_11_each_kind_of_selector_matches_as_it_is_documented() {
        for (selector, matching, others) in [
            ("env", vec!["env", "env/a", "env/prod/a.yaml"], vec!["environment/x", "my/env", "env.yaml"]),
            ("./env/", vec!["env/a"], vec!["environment/x"]),
            ("env/prod/../dev", vec!["env/dev/a"], vec!["env/prod/a"]),
            (".", vec!["a", "env/prod/a.yaml"], vec![]),
            ("", vec!["a"], vec![]),
            ("env/a..b", vec!["env/a..b"], vec!["env/a"]),
            ("glob:env/*", vec!["env/a.yaml"], vec!["env/prod/a.yaml", "env"]),
            ("glob:env/**", vec!["env/a.yaml", "env/prod/a.yaml"], vec!["environment/x"]),
            ("glob:**/values.yaml", vec!["values.yaml", "env/prod/values.yaml"], vec!["env/values.yml"]),
            ("glob:env/*/{a,b}.yaml", vec!["env/dev/a.yaml", "env/prod/b.yaml"], vec!["env/a.yaml", "env/x/y/a.yaml"]),
            ("glob:env/[!p]*/x", vec!["env/dev/x"], vec!["env/prod/x"]),
            ("regex:^env/.*$", vec!["env/a", "env/prod/a.yaml"], vec!["my/env/a"]),
            ("regexp:env", vec!["env", "environment/x", "my/env/a"], vec!["en/v"]),
            ("a:b", vec!["a:b", "a:b/c"], vec!["b"]),
        ] {
            let rule = rule(&[selector], &[]).unwrap();
            for path in matching {
                assert!(rule.counts(path), "{selector} should match {path}");
            }
            for path in others {
                assert!(!rule.counts(path), "{selector} should not match {path}");
            }
        }
    }

    #[test]
    fn one_path_that_is_included_and_not_excluded_is_enough() {
        let rule = rule(&["env", "charts"], &["glob:**/*.md"]).unwrap();
        let admits = |paths: &[&str]| rule.admits(&paths.iter().map(|path| path.as_bytes()).collect());
        assert!(admits(&["env/README.md", "env/a.yaml"]));
        assert!(admits(&["README.md", "charts/a/Chart.yaml"]));
        assert!(!admits(&["env/README.md", "src/main.rs"]), "the one is excluded, the other not included");
        assert!(!admits(&[]), "a commit that changes nothing");
        let excluding = self::rule(&[], &["docs"]).unwrap();
        assert!(excluding.counts("src/main.rs") && !excluding.counts("docs/a"));
    }

    #[test]
    fn a_selector_that_could_never_match_is_refused_with_its_field() {
        for selector in ["glob:{a", "glob:[", "regex:(", "/env", "../env", "a/../../b"] {
            for (rule, field) in [(rule(&[selector], &[]), "includePaths"), (rule(&[], &[selector]), "excludePaths")] {
                let error = rule.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{selector}");
                assert!(error.message().contains(field) && error.message().contains(selector), "{error}");
            }
        }
    }
}
