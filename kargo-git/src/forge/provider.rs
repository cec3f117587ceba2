//! The providers, and what tells them apart before anything is asked.

use std::fmt;

use kargo_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A provider of forges. The names in configurations are Kargo's, and `bitbucket-data-center`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Provider {
    /// github.com, GitHub Enterprise Cloud and Server.
    #[serde(rename = "github")]
    GitHub,
    /// gitlab.com and GitLab's own servers.
    #[serde(rename = "gitlab")]
    GitLab,
    /// Gitea and Forgejo.
    Gitea,
    /// bitbucket.org.
    #[serde(rename = "bitbucket")]
    BitbucketCloud,
    /// Bitbucket Data Center and Server.
    BitbucketDataCenter,
    /// Azure DevOps Services.
    Azure,
}

/// A provider in a configuration, for which Kargo's forms write an empty text when there is none.
pub(crate) fn named_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Provider>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(named) => Provider::deserialize(named).map(Some).map_err(serde::de::Error::custom),
    }
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::GitHub, Self::GitLab, Self::Gitea, Self::BitbucketCloud, Self::BitbucketDataCenter, Self::Azure];

    /// The provider that a host's name gives away, by Kargo's rules, and by two more: a host with `bitbucket` in its name that is not
    /// bitbucket.org is a Data Center, and one with `forgejo` in it, or codeberg.org, speaks as Gitea does.
    ///
    /// ```
    /// use kargo_git::Provider;
    ///
    /// assert_eq!(Provider::of_host("github.corp.example"), Some(Provider::GitHub));
    /// assert_eq!(Provider::of_host("git.corp.example"), None);
    /// ```
    pub fn of_host(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        if host.contains("github") || host.ends_with(".ghe.com") {
            Some(Self::GitHub)
        } else if host.contains("gitlab") {
            Some(Self::GitLab)
        } else if host.contains("gitea") || host.contains("forgejo") || host == "codeberg.org" {
            Some(Self::Gitea)
        } else if matches!(host.as_str(), "dev.azure.com" | "ssh.dev.azure.com") || host.ends_with(".visualstudio.com")
        {
            Some(Self::Azure)
        } else if matches!(host.as_str(), "bitbucket.org" | "altssh.bitbucket.org") {
            Some(Self::BitbucketCloud)
        } else if host.contains("bitbucket") {
            Some(Self::BitbucketDataCenter)
        } else {
            None
        }
    }

    /// The ways to merge that it knows, in its own words.
    ///
    /// Kargo's `manually-merged` of Gitea is not among them: it only records that somebody else has merged, and needs a commit to name.
    pub fn merge_methods(self) -> &'static [&'static str] {
        match self {
            Self::GitHub => &["merge", "squash", "rebase"],
            Self::GitLab => &["merge", "squash"],
            Self::Gitea => &["merge", "rebase", "rebase-merge", "squash", "fast-forward-only"],
            Self::BitbucketCloud => &[
                "merge_commit",
                "squash",
                "fast_forward",
                "squash_fast_forward",
                "rebase_fast_forward",
                "rebase_merge",
            ],
            Self::BitbucketDataCenter => {
                &["no-ff", "ff", "ff-only", "rebase-no-ff", "rebase-ff-only", "squash", "squash-ff-only"]
            }
            Self::Azure => &["noFastForward", "squash", "rebase", "rebaseMerge"],
        }
    }

    /// Checks a way to merge.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names the ways there are.
    pub fn check_merge_method(self, method: &str) -> Result<()> {
        if self.merge_methods().contains(&method) {
            return Ok(());
        }
        let ways = self.merge_methods().join(", ");
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "{self} knows no mergeMethod {method:?}; it has {ways}. Without one it merges as the repository is set up."
            ),
        ))
    }

    /// How long a description may be, in characters.
    pub(crate) fn description_limit(self) -> usize {
        match self {
            Self::Azure => 4_000,
            _ => 30_000,
        }
    }

    /// What people there call a pull request.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::GitLab => "merge request",
            _ => "pull request",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GitHub => "GitHub",
            Self::GitLab => "GitLab",
            Self::Gitea => "Gitea",
            Self::BitbucketCloud => "Bitbucket Cloud",
            Self::BitbucketDataCenter => "Bitbucket Data Center",
            Self::Azure => "Azure DevOps",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_gives_its_provider_away_or_not() {
        for (host, provider) in [
            ("github.com", Some(Provider::GitHub)),
            ("acme.ghe.com", Some(Provider::GitHub)),
            ("ghe.com", None),
            ("GitLab.corp.example", Some(Provider::GitLab)),
            ("gitea.example", Some(Provider::Gitea)),
            ("codeberg.org", Some(Provider::Gitea)),
            ("dev.azure.com", Some(Provider::Azure)),
            ("acme.visualstudio.com", Some(Provider::Azure)),
            ("visualstudio.com.example", None),
            ("bitbucket.org", Some(Provider::BitbucketCloud)),
            ("bitbucket.corp.example", Some(Provider::BitbucketDataCenter)),
            ("git.example", None),
        ] {
            assert_eq!(Provider::of_host(host), provider, "{host}");
        }
    }

    #[test]
    fn a_merge_method_is_one_of_the_providers_own() {
        for provider in Provider::ALL {
            for method in provider.merge_methods() {
                provider.check_merge_method(method).unwrap();
            }
        }
        let error = Provider::GitLab.check_merge_method("rebase").unwrap_err();
        assert!(error.message().contains("merge, squash"), "{error}");
    }

    #[test]
    fn names_in_configurations_are_kargos() {
        let names = Provider::ALL.map(|provider| serde_json::to_value(provider).unwrap());
        assert_eq!(names, ["github", "gitlab", "gitea", "bitbucket", "bitbucket-data-center", "azure"]);
    }
}
