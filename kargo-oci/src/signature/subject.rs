//! What checks of signatures and attestations have in common: which images of the freight they are about, and what comes of it.

use async_trait::async_trait;
use jiff::Timestamp;
use kargo_core::plugin::{Context, Verdict};
use kargo_core::{Artifact, Freight, Image, Result};

use crate::client::{Client, Platform};
use crate::repository::Repository;

/// What is demanded of an image, checked and ready to be asked for.
#[async_trait]
pub(crate) trait Rule: std::fmt::Debug + Send + Sync {
    /// The repositories whose images it is about; all when there is none.
    fn images(&self) -> &[Repository];

    /// Whether the image with `digest` is what is demanded. With a platform only that part of an index matters.
    ///
    /// # Errors
    /// When the registry cannot be asked: then it is neither.
    async fn judge(
        &self,
        cx: &Context,
        client: &Client,
        repository: &Repository,
        digest: &str,
        platform: Option<&Platform>,
    ) -> Result<Judgement>;
}

/// What speaks for an image, or a sentence's end that says what is wrong: "is not signed".
pub(crate) type Judgement = Result<Good, String>;

/// What speaks for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Good {
    /// A sentence's end: "is signed by …".
    pub(crate) evidence: String,
    /// Until when that holds; for ever without.
    pub(crate) until: Option<Timestamp>,
}

/// The repositories of a configuration.
pub(crate) fn repositories(urls: &[String]) -> Result<Vec<Repository>> {
    urls.iter().map(|url| Repository::parse(url)).collect()
}

/// Whether all images of the freight that `rule` is about are what it demands.
pub(crate) async fn verdict(cx: &Context, client: &Client, freight: &Freight, rule: &dyn Rule) -> Result<Verdict> {
    let images = match images(freight, rule.images())? {
        Ok(images) => images,
        Err(reason) => return Ok(Verdict::fail(reason)),
    };
    let mut evidence = Vec::new();
    for (repository, image) in images {
        let name = format!("{repository}:{}@{}", image.tag, image.digest);
        match rule.judge(cx, client, &repository, &image.digest, None).await? {
            Ok(good) => evidence.push(format!("{name} {}", good.evidence)),
            Err(why) => return Ok(Verdict::fail(format!("{name} {why}"))),
        }
    }
    Ok(Verdict::pass(evidence.join("; ")))
}

/// The freight's images of the repositories that are wanted, of all when none is; or why there is nothing to check.
fn images<'a>(freight: &'a Freight, wanted: &[Repository]) -> Result<Result<Vec<(Repository, &'a Image)>, String>> {
    let mut images = Vec::new();
    for artifact in freight.artifacts() {
        if let Artifact::Image(image) = artifact {
            images.push((Repository::parse(&image.repo_url)?, image));
        }
    }
    for repository in wanted {
        if !images.iter().any(|(found, _)| found == repository) {
            return Ok(Err(format!("the freight has no image of {repository}")));
        }
    }
    images.retain(|(repository, _)| wanted.is_empty() || wanted.contains(repository));
    Ok(if images.is_empty() { Err("the freight has no image that could be signed".into()) } else { Ok(images) })
}
