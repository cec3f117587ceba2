//! Values taken from freight when a promotion runs.

use serde::{Deserialize, Serialize};

use super::{Freight, FreightCollection};
use crate::artifact::{Chart, Image, normalize_chart_url, normalize_git_url, normalize_image_url};
use crate::error::{Error, ErrorKind, Result};

/// A value for a configuration file: text, or a field of the freight that is being promoted.
///
/// Where two subscriptions watch one repository, the name of the subscription says which is meant.
///
/// It is part of the configuration of steps, so it serialises: as a string when it is text, else as
/// `{"imageTag": "ghcr.io/acme/app"}`.
///
/// ```
/// use kargo_core::{Artifact, Freight, FreightCollection, Image, Pick};
///
/// let image = Image {
///     repo_url: "ghcr.io/acme/app".into(),
///     tag: "1.2.3".into(),
///     digest: format!("sha256:{}", "0".repeat(64)),
///     annotations: Default::default(),
///     created_at: None,
///     subscription_name: None,
/// };
/// let freight = Freight::new("main", vec![Artifact::Image(image)], jiff::Timestamp::now());
/// let collection = FreightCollection::new().with(freight);
/// assert_eq!(Pick::ImageTag("ghcr.io/acme/app".into()).resolve(&collection)?, "1.2.3");
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Pick {
    /// The tag of the image of this repository, or of the subscription of this name.
    ImageTag(String),
    /// The digest of the image of this repository, or of the subscription of this name.
    ImageDigest(String),
    /// `repository:tag@digest` of the image of this repository, or of the subscription of this name.
    ImageReference(String),
    /// The id of the commit of this repository, or of the subscription of this name.
    CommitId(String),
    /// The version of the chart at this URL (for a classic repository: URL, `/`, name), or of the subscription of this name.
    ChartVersion(String),
    /// The id of the freight from this warehouse.
    FreightId(String),
    /// This text.
    #[serde(untagged)]
    Text(String),
}

impl Pick {
    /// The value for `freight`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the freight has no such artifact, naming those it has, or has several that differ.
    pub fn resolve(&self, freight: &FreightCollection) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::ImageTag(which) => self.image(freight, which, |image| image.tag.clone()),
            Self::ImageDigest(which) => self.image(freight, which, |image| image.digest.clone()),
            Self::ImageReference(which) => {
                self.image(freight, which, |image| format!("{}:{}@{}", image.repo_url, image.tag, image.digest))
            }
            Self::CommitId(which) => {
                let wanted = normalize_git_url(which);
                let commits = freight.iter().flat_map(Freight::commits).map(|commit| Candidate {
                    fits: normalize_git_url(&commit.repo_url) == wanted,
                    name: commit.subscription_name.as_deref(),
                    value: commit.id.clone(),
                });
                self.one(freight, which, commits.collect())
            }
            Self::ChartVersion(which) => {
                let wanted = normalize_chart_url(which);
                let url = |chart: &Chart| match chart.name.as_str() {
                    "" => chart.repo_url.clone(),
                    name => format!("{}/{name}", chart.repo_url.trim_end_matches('/')),
                };
                let charts = freight.iter().flat_map(Freight::charts).map(|chart| Candidate {
                    fits: normalize_chart_url(&url(chart)) == wanted,
                    name: chart.subscription_name.as_deref(),
                    value: chart.version.clone(),
                });
                self.one(freight, which, charts.collect())
            }
            Self::FreightId(origin) => {
                let all = freight.iter().map(|freight| Candidate {
                    fits: freight.origin() == origin.as_str(),
                    name: None,
                    value: freight.id().to_string(),
                });
                self.one(freight, origin, all.collect())
            }
        }
    }

    fn image(&self, freight: &FreightCollection, which: &str, field: impl Fn(&Image) -> String) -> Result<String> {
        let wanted = normalize_image_url(which);
        let images = freight.iter().flat_map(Freight::images).map(|image| Candidate {
            fits: normalize_image_url(&image.repo_url) == wanted,
            name: image.subscription_name.as_deref(),
            value: field(image),
        });
        self.one(freight, which, images.collect())
    }

    /// The one value of the repository `which`, or else of the subscription that is called so.
    fn one(&self, freight: &FreightCollection, which: &str, all: Vec<Candidate<'_>>) -> Result<String> {
        let of_repository: Vec<&Candidate<'_>> = all.iter().filter(|one| one.fits).collect();
        let of_subscription: Vec<&Candidate<'_>> = all.iter().filter(|one| one.name == Some(which)).collect();
        let same = |found: &[&Candidate<'_>]| {
            let first = found.first().map(|one| one.value.clone());
            first.filter(|first| found.iter().all(|one| one.value == *first))
        };
        if let Some(value) = same(&of_repository).or_else(|| same(&of_subscription)) {
            return Ok(value);
        }
        let several = if of_repository.is_empty() { of_subscription } else { of_repository };
        match several.is_empty() {
            false => {
                let names: Vec<String> = several.iter().filter_map(|one| Some(format!("{:?}", one.name?))).collect();
                let hint = match names.as_slice() {
                    [] => "name their subscriptions, and say which".to_owned(),
                    names => format!("say which by the name of its subscription ({})", names.join(", ")),
                };
                let message = format!("{self:?} fits more than one artifact of the freight; {hint}.");
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
            true => {
                let carried: Vec<String> =
                    freight.iter().flat_map(Freight::artifacts).map(ToString::to_string).collect();
                Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!(
                        "{self:?} fits no artifact of the freight, which carries {}; subscribe a warehouse of this stage to it, or correct the name.",
                        if carried.is_empty() { "nothing".to_owned() } else { carried.join(", ") }
                    ),
                ))
            }
        }
    }
}

/// An artifact of the right kind.
struct Candidate<'a> {
    /// Whether it is of the repository that the pick names.
    fits: bool,
    /// Its subscription's name.
    name: Option<&'a str>,
    value: String,
}

impl From<&str> for Pick {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_serialise_as_people_write_them() {
        let json =
            serde_json::to_string(&[Pick::Text("x".into()), Pick::ImageTag("r/app".into())]).expect("serialises");
        assert_eq!(json, r#"["x",{"imageTag":"r/app"}]"#);
        let back: Vec<Pick> = serde_json::from_str(&json).expect("parses");
        assert_eq!(back, [Pick::Text("x".into()), Pick::ImageTag("r/app".into())]);
    }

    #[test]
    fn a_pick_that_fits_nothing_names_what_there_is() {
        let error = Pick::ImageTag("r/app".into()).resolve(&FreightCollection::new()).expect_err("empty");
        assert!(error.to_string().contains("carries nothing"), "{error}");
    }
}
