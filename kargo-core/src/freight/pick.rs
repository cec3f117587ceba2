//! Values taken from freight when a promotion runs.

use serde::{Deserialize, Serialize};

use super::{Freight, FreightCollection};
use crate::artifact::{normalize_chart_url, normalize_git_url, normalize_image_url};
use crate::error::{Error, ErrorKind, Result};

/// A value for a configuration file: text, or a field of the freight that is being promoted.
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
    /// The tag of the image of this repository.
    ImageTag(String),
    /// The digest of the image of this repository.
    ImageDigest(String),
    /// `repository:tag@digest` of the image of this repository.
    ImageReference(String),
    /// The id of the commit of this repository.
    CommitId(String),
    /// The version of the chart at this URL (for a classic repository: URL, `/`, name).
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
    /// [`ErrorKind::InvalidInput`] when the freight has no such artifact, naming those it has, or has more than one.
    pub fn resolve(&self, freight: &FreightCollection) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::ImageTag(repo) => self.one(freight, images(repo, |i| i.tag.clone())),
            Self::ImageDigest(repo) => self.one(freight, images(repo, |i| i.digest.clone())),
            Self::ImageReference(repo) => {
                self.one(freight, images(repo, |i| format!("{}:{}@{}", i.repo_url, i.tag, i.digest)))
            }
            Self::CommitId(repo) => {
                let wanted = normalize_git_url(repo);
                self.one(freight, move |freight| {
                    let matching = freight.commits().filter(|c| normalize_git_url(&c.repo_url) == wanted);
                    matching.map(|c| c.id.clone()).collect()
                })
            }
            Self::ChartVersion(repo) => {
                let wanted = normalize_chart_url(repo);
                self.one(freight, move |freight| {
                    let url = |c: &crate::artifact::Chart| match c.name.as_str() {
                        "" => c.repo_url.clone(),
                        name => format!("{}/{name}", c.repo_url.trim_end_matches('/')),
                    };
                    let matching = freight.charts().filter(|c| normalize_chart_url(&url(c)) == wanted);
                    matching.map(|c| c.version.clone()).collect()
                })
            }
            Self::FreightId(origin) => self.one(freight, |freight| {
                if freight.origin() == origin.as_str() { vec![freight.id().to_string()] } else { vec![] }
            }),
        }
    }

    fn one(&self, freight: &FreightCollection, find: impl Fn(&Freight) -> Vec<String>) -> Result<String> {
        let mut found: Vec<String> = freight.iter().flat_map(find).collect();
        found.dedup();
        match (found.pop(), found.is_empty()) {
            (Some(value), true) => Ok(value),
            (Some(_), false) => Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "{self:?} fits more than one artifact of the freight; name the subscription's repository in full."
                ),
            )),
            (None, _) => {
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

fn images(repo: &str, field: impl Fn(&crate::artifact::Image) -> String) -> impl Fn(&Freight) -> Vec<String> {
    let wanted = normalize_image_url(repo);
    move |freight| freight.images().filter(|i| normalize_image_url(&i.repo_url) == wanted).map(&field).collect()
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
