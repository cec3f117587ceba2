//! What checks of signatures and attestations have in common: whose word counts, and of which images of the freight.

use kargo_core::{Artifact, Error, ErrorKind, Freight, Image, Result};

use super::key::PublicKey;
use crate::repository::Repository;

/// The keys of a configuration. `what` is checked by them, for errors.
pub(crate) fn trusted(keys: &[String], what: &str) -> Result<Vec<PublicKey>> {
    if keys.is_empty() {
        let text = format!("The check of {what} has no keys; give at least one.");
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    keys.iter().map(|key| PublicKey::from_pem(key)).collect()
}

/// The repositories of a configuration.
pub(crate) fn repositories(urls: &[String]) -> Result<Vec<Repository>> {
    urls.iter().map(|url| Repository::parse(url)).collect()
}

/// The freight's images of the repositories that are wanted, of all when none is; or why there is nothing to check.
pub(crate) fn images<'a>(
    freight: &'a Freight,
    wanted: &[Repository],
) -> Result<Result<Vec<(Repository, &'a Image)>, String>> {
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

/// An image as verdicts name it.
pub(crate) fn naming(repository: &Repository, image: &Image) -> String {
    format!("{repository}:{}@{}", image.tag, image.digest)
}
