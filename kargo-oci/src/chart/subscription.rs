//! The configuration of a chart subscription, in Kargo's words.

use kargo_core::version::{Constraint, Version};
use kargo_core::{Error, ErrorKind, Result, Subscription};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::misfit::{Misfit, fitting_version, is_attachment};
use crate::repository::{Repository, scrub_user_info};

/// Watches the versions of one Helm chart. Field names and defaults are those of Kargo's `chart` subscription.
///
/// ```
/// use kargo_core::Warehouse;
/// use kargo_oci::ChartSubscription;
///
/// let warehouse = Warehouse::new("main")
///     .subscribe(ChartSubscription::oci("oci://ghcr.io/acme/charts/shop").constraint("^1"))
///     .subscribe(ChartSubscription::classic("https://charts.acme.example", "database"));
/// assert_eq!(warehouse.subscriptions()[0].source, "chart");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChartSubscription {
    #[serde(rename = "repoURL")]
    repo_url: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    semver_constraint: Option<String>,
    #[serde(default = "twenty", skip_serializing_if = "is_twenty")]
    discovery_limit: usize,
    // Kargo's, refused with what to do instead.
    #[serde(default, skip_serializing, rename = "insecureSkipTLSVerify")]
    insecure_skip_tls_verify: bool,
}

const DISCOVERY_LIMIT: usize = 20;

fn twenty() -> usize {
    DISCOVERY_LIMIT
}

fn is_twenty(limit: &usize) -> bool {
    *limit == DISCOVERY_LIMIT
}

impl ChartSubscription {
    /// The name under which [`crate::ChartSource`] is registered for these subscriptions.
    pub const SOURCE: &'static str = "chart";

    /// Watches a chart in a registry, by its whole path: `oci://ghcr.io/acme/charts/shop`.
    pub fn oci(repo_url: impl Into<String>) -> Self {
        Self::of(repo_url.into(), String::new())
    }

    /// Watches the chart `name` in a classic repository, such as `https://charts.acme.example`.
    pub fn classic(repo_url: impl Into<String>, name: impl Into<String>) -> Self {
        Self::of(repo_url.into(), name.into())
    }

    fn of(repo_url: String, name: String) -> Self {
        Self {
            repo_url,
            name,
            semver_constraint: None,
            discovery_limit: DISCOVERY_LIMIT,
            insecure_skip_tls_verify: false,
        }
    }

    /// Takes only versions that fit; see [`Constraint`] for what can be written.
    #[must_use]
    pub fn constraint(mut self, constraint: impl Into<String>) -> Self {
        self.semver_constraint = Some(constraint.into());
        self
    }

    /// How many versions are offered at most: 1 to 100, 20 by default.
    #[must_use]
    pub fn discovery_limit(mut self, limit: usize) -> Self {
        self.discovery_limit = limit;
        self
    }

    /// The subscription under a name, which becomes a part of the freight's identity.
    pub fn named(self, name: impl Into<String>) -> Subscription {
        Subscription::from(self).named(name)
    }

    /// Reads and checks a subscription's configuration.
    pub(super) fn read(config: &Value) -> Result<Selection> {
        let fields: Self = serde_json::from_value(config.clone()).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("The chart subscription cannot be read: {error}."))
        })?;
        fields.check()
    }

    pub(super) fn check(self) -> Result<Selection> {
        // What follows a question mark may be a secret.
        let shown = scrub_user_info(self.repo_url.split(['?', '#']).next().unwrap_or_default());
        let invalid =
            |why: &str| Error::new(ErrorKind::InvalidInput, format!("The subscription to the chart {shown:?} {why}."));
        let place = if self.repo_url.starts_with("oci://") {
            if !self.name.is_empty() {
                return Err(invalid(
                    "has a name, which charts in registries do not have; add it to repoURL after a slash",
                ));
            }
            Place::Registry(Repository::parse(&self.repo_url)?)
        } else if self.repo_url.starts_with("https://") || self.repo_url.starts_with("http://") {
            if self.name.is_empty() {
                return Err(invalid("has no name; say which of the repository's charts is meant"));
            }
            let url = Url::parse(&self.repo_url).map_err(|error| invalid("has no valid repoURL").because(error))?;
            if !url.username().is_empty() || url.password().is_some() {
                return Err(invalid("has a user in repoURL; give credentials to the client instead"));
            }
            if url.query().is_some() || url.fragment().is_some() {
                return Err(invalid("has a query or a fragment in repoURL, which a repository's URL cannot have"));
            }
            Place::Index(url)
        } else {
            return Err(invalid("must begin with oci://, for a registry, or https://, for a classic repository"));
        };
        if self.insecure_skip_tls_verify {
            return Err(invalid(
                "has insecureSkipTLSVerify; instead, add the server's certificate to the HTTP client, or name the host as \
                 insecure when the client is built",
            ));
        }
        if !(1..=100).contains(&self.discovery_limit) {
            return Err(invalid(&format!("has discoveryLimit {}; it is 1 to 100", self.discovery_limit)));
        }
        let constraint = self.semver_constraint.as_deref().filter(|text| !text.is_empty());
        let constraint = constraint.map(Constraint::parse).transpose().map_err(|error| {
            invalid(&format!("has a wrong semverConstraint. {}", error.message().trim_end_matches('.')))
        })?;
        Ok(Selection { repo_url: self.repo_url, place, name: self.name, constraint, limit: self.discovery_limit })
    }
}

impl From<ChartSubscription> for Subscription {
    fn from(subscription: ChartSubscription) -> Self {
        let config = serde_json::to_value(&subscription).expect("a struct of strings and numbers always becomes JSON");
        Self::new(ChartSubscription::SOURCE, config)
    }
}

/// Where a chart is.
#[derive(Debug)]
pub(super) enum Place {
    Registry(Repository),
    /// The URL of a classic repository, without its `index.yaml`.
    Index(Url),
}

/// A subscription that has been checked.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) repo_url: String,
    pub(super) place: Place,
    pub(super) name: String,
    constraint: Option<Constraint>,
    limit: usize,
}

impl Selection {
    /// The versions that fit, the highest first, as many as are to be offered. `listed` are the tags of a registry, or the versions of
    /// an index, in any order.
    pub(super) fn choose(&self, listed: &[String]) -> Vec<String> {
        let mut versions: Vec<Version> = listed.iter().filter_map(|listed| self.judge(listed).ok()).collect();
        versions.sort_by(|a, b| b.cmp(a));
        versions.dedup_by(|a, b| a.as_str() == b.as_str());
        versions.into_iter().take(self.limit).map(|version| version.as_str().to_owned()).collect()
    }

    /// The version that a tag, or an entry of an index, stands for, when it fits. It is read leniently in a classic repository and
    /// strictly in a registry, as Helm does.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) fn judge(&self, listed: &str) -> Result<Version, Misfit> {
        let constraint = self.constraint.as_ref();
        match self.place {
            Place::Registry(_) if is_attachment(listed) => Err(Misfit::Attachment),
            Place::Registry(_) => fitting_version(&version_of_tag(listed), true, constraint),
            Place::Index(_) => fitting_version(listed, false, constraint),
        }
    }
}

/// The version that a chart's tag in a registry stands for: tags cannot have `+`, so Helm writes `_`.
fn version_of_tag(tag: &str) -> String {
    tag.replace('_', "+")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn choose(subscription: ChartSubscription, tags: &[&str]) -> Vec<String> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        subscription.check().unwrap().choose(&tags)
    }

    #[test]
    fn kargo_fields_are_read_and_what_is_wrong_is_named() {
        for config in [
            json!({"repoURL": "oci://ghcr.io/acme/charts/shop", "semverConstraint": "^1", "discoveryLimit": 5}),
            json!({"repoURL": "https://charts.example/stable/", "name": "shop", "insecureSkipTLSVerify": false}),
        ] {
            ChartSubscription::read(&config).unwrap();
        }
        for (config, needle) in [
            (json!({"repoURL": "oci://ghcr.io/acme", "name": "shop"}), "after a slash"),
            (json!({"repoURL": "https://charts.example"}), "which of the repository's charts"),
            (json!({"repoURL": "ghcr.io/acme/shop"}), "oci://"),
            (json!({"repoURL": "https://me:hunter2@charts.example", "name": "shop"}), "credentials to the client"),
            (json!({"repoURL": "https://charts.example?token=hunter2", "name": "shop"}), "query"),
            (json!({"repoURL": "oci://ghcr.io/a", "semverConstraint": "latest"}), "semverConstraint"),
            (json!({"repoURL": "oci://ghcr.io/a", "discoveryLimit": 0}), "1 to 100"),
            (json!({"repoURL": "oci://ghcr.io/a", "insecureSkipTLSVerify": true}), "certificate"),
            (json!({"repoURL": "oci://ghcr.io/a", "constraint": "1"}), "constraint"),
            (json!({"repoURL": "https://", "name": "shop"}), "no valid repoURL"),
        ] {
            let error = ChartSubscription::read(&config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{config}");
            assert!(error.message().contains(needle), "{config}: {error}");
            assert!(!error.message().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn oci_14_charts_in_registries_may_have_versions_with_a_v_and_with_build_metadata() {
        let tags = ["v1.16.3", "v1.17.0", "1.18.0", "1.16.4_b.1", "1.16", "latest"];
        for constraint in ["v1.16.x", "1.16.x"] {
            let chosen = choose(ChartSubscription::oci("oci://r.example/a").constraint(constraint), &tags);
            assert_eq!(chosen, ["1.16.4+b.1", "v1.16.3"], "the text stays as it was published");
        }
    }

    #[test]
    fn classic_repositories_may_have_short_versions() {
        let classic =
            ChartSubscription::classic("https://charts.example", "shop").constraint(">=1.2").discovery_limit(2);
        assert_eq!(choose(classic, &["1.1", "1.2", "v1.10", "1.10", "1.3", "1.10"]), ["v1.10", "1.10"]);
    }
}
