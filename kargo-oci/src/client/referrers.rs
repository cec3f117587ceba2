//! What refers to an image: signatures, attestations, SBOMs. Registries that know the referrers API are asked by it; for others
//! the specification has an index under the tag `sha256-<hash>`, which whoever pushes a referrer keeps up to date.

use std::collections::{BTreeMap, HashSet};

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::found;
use super::auth::Purpose;
use super::exchange::Request;
use super::link::next_page;
use super::manifest::{Manifest, ManifestContent, OCI_INDEX};
use super::tags::is_refusal;
use super::{Call, Client};
use crate::repository::{Repository, checked_digest, digest_of};

/// How many referrers an image may have, in how many pages, of how many bytes each.
const REFERRERS: usize = 1_000;
const PAGES: usize = 100;
const BYTES: usize = 4 * 1024 * 1024;

/// A manifest that refers to another one, as the registry lists it. Only its digest is certain: what kind it is, and what its
/// annotations say, is known when it has been fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Referrer {
    /// The manifest's digest.
    pub digest: String,
    /// What kind of artifact it says it is.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// How many digits of a hash a tag has: more would be too long for one.
const TAGGED: usize = 64;

/// The tag under which registries without the referrers API keep the referrers of a digest.
fn fallback_tag(digest: &str) -> String {
    let (algorithm, hash) = digest.split_once(':').unwrap_or(("", digest));
    format!("{algorithm}-{}", &hash[..hash.len().min(TAGGED)])
}

/// The tag under which cosign 1 and 2 keep something beside an image; none for a hash that is too long for a tag.
pub(crate) fn tag_beside(digest: &str, suffix: &str) -> Option<String> {
    let (algorithm, hash) = digest.split_once(':')?;
    (hash.len() <= TAGGED).then(|| format!("{algorithm}-{hash}.{suffix}"))
}

impl Client {
    /// What refers to the manifest with `digest`, of any kind. One request, or two where the registry does not know the referrers API
    /// (later calls know that); more when there are many.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidResponse`] when the list is not understood or has more than 1,000 entries. That there is none is no error.
    pub async fn referrers(&self, cx: &Context, repository: &Repository, digest: &str) -> Result<Vec<Referrer>> {
        checked_digest(digest)?;
        if !self.0.lacks_referrers.lock().await.contains(repository.host()) {
            if let Some(listed) = self.listed_referrers(cx, repository, digest).await? {
                return Ok(listed);
            }
            self.0.lacks_referrers.lock().await.insert(repository.host().to_owned());
        }
        let index = self.fallback_index(cx, repository, digest).await?;
        let mut referrers = Vec::new();
        if let Some(index) = index {
            add(&mut referrers, &index, repository, digest)?;
        }
        Ok(referrers)
    }

    /// What the referrers API says, or `None` when there is none.
    async fn listed_referrers(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
    ) -> Result<Option<Vec<Referrer>>> {
        let doing = "list what refers to an image of";
        let mut url = self.url(repository, &format!("referrers/{digest}"))?;
        let mut referrers = Vec::new();
        let mut visited = HashSet::new();
        loop {
            let mut request = Request::new(Method::GET, url.clone(), BYTES);
            request.accept = Some(HeaderValue::from_static(OCI_INDEX));
            let call = Call::new(repository, Purpose::Read, doing, request);
            let is_first = visited.is_empty();
            let response = match self.call(cx, &call).await {
                // An image without referrers is an empty list, so this says that the path means nothing.
                Ok(response) if response.status == StatusCode::NOT_FOUND && is_first => return Ok(None),
                Err(error) if is_first && is_refusal(&error) => return Ok(None),
                other => found(other?, &call, cx)?,
            };
            let next = next_page(&url, &response.headers)?;
            let name = format!("the referrers of {repository}@{digest}");
            let index = Manifest::read(response.body.clone(), digest_of(&response.body), Some(OCI_INDEX), &name)
                .map_err(|error| error.operation(doing))?;
            add(&mut referrers, &index, repository, digest)?;
            visited.insert(url);
            match next {
                None => return Ok(Some(referrers)),
                Some(next) if visited.contains(&next) || visited.len() >= PAGES => {
                    let text = format!("The list of {name} runs in a circle, or has more than {PAGES} pages.");
                    return Err(Error::new(ErrorKind::InvalidResponse, text).operation(doing));
                }
                Some(next) => url = next,
            }
        }
    }

    async fn fallback_index(&self, cx: &Context, repository: &Repository, digest: &str) -> Result<Option<Manifest>> {
        match self.manifest(cx, repository, &fallback_tag(digest)).await {
            Ok(index) => Ok(Some(index)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a manifest that was pushed into the index under the fallback tag. Two that do so at the same time may lose one of the
    /// entries, as with all clients: a registry cannot be told to take the place of one index only.
    pub(super) async fn keep_referrer(&self, cx: &Context, repository: &Repository, manifest: &Manifest) -> Result<()> {
        let parts = manifest.parts(&format!("{repository}@{}", manifest.digest))?;
        let Some(subject) = &parts.subject else { return Ok(()) };
        let before = self.fallback_index(cx, repository, &subject.digest).await?;
        let mut index: Value = match &before {
            Some(before) => serde_json::from_slice(&before.bytes).unwrap_or_default(),
            None => json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
        };
        let Some(entries) = index.get_mut("manifests").and_then(Value::as_array_mut) else {
            let tag = fallback_tag(&subject.digest);
            let text = format!("The tag {tag} of {repository}, where referrers are to be kept, is no index.");
            return Err(Error::new(ErrorKind::InvalidResponse, text));
        };
        if entries.iter().any(|entry| entry["digest"] == manifest.digest.as_str()) {
            return Ok(());
        }
        let mut entry =
            json!({"mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len()});
        let config_type = || parts.config.as_ref().and_then(|config| config.media_type.clone());
        if let Some(artifact_type) = parts.artifact_type.clone().or_else(config_type) {
            entry["artifactType"] = artifact_type.into();
        }
        if !manifest.annotations.is_empty() {
            entry["annotations"] = json!(manifest.annotations);
        }
        entries.push(entry);
        let bytes = index.to_string().into_bytes();
        self.put_manifest(cx, repository, &fallback_tag(&subject.digest), OCI_INDEX, bytes).await.map(|_| ())
    }
}

/// Adds the entries of an index.
fn add(referrers: &mut Vec<Referrer>, index: &Manifest, repository: &Repository, digest: &str) -> Result<()> {
    let ManifestContent::Index { entries } = &index.content else {
        let text =
            format!("The registry has an image where the list of what refers to {repository}@{digest} should be.");
        return Err(Error::new(ErrorKind::InvalidResponse, text));
    };
    let parts = index.parts(&format!("the referrers of {repository}@{digest}"))?;
    for (entry, part) in entries.iter().zip(parts.manifests()) {
        referrers.push(Referrer {
            digest: entry.digest.clone(),
            artifact_type: part.artifact_type.clone(),
            annotations: entry.annotations.clone(),
        });
    }
    if referrers.len() > REFERRERS {
        let text = format!("More than {REFERRERS} manifests refer to {repository}@{digest}.");
        return Err(Error::new(ErrorKind::InvalidResponse, text));
    }
    Ok(())
}
