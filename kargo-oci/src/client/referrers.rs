//! What refers to an image: signatures, attestations, SBOMs. Registries that know the referrers API are asked by it; for others
//! the specification has an index under the tag `sha256-<hash>`, which whoever pushes a referrer keeps up to date.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::found;
use super::auth::Purpose;
use super::exchange::{Leaving, Request, too_large};
use super::link::next_page;
use super::manifest::{Manifest, ManifestContent, OCI_INDEX, accepted};
use super::read::Fault;
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

/// For how long a registry is taken for one that does not know the API, in seconds, and of how many repositories that is remembered. It may
/// have learned it since, and one wrong answer must not hide signatures for ever.
const LACKING: i64 = 600;
const REPOSITORIES: usize = 10_000;
/// What registries say of a path that they do understand.
const UNKNOWN: [&str; 2] = ["NAME_UNKNOWN", "MANIFEST_UNKNOWN"];

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
    /// What refers to the manifest with `digest`, of any kind. One request, or one at the fallback tag where the registry does not know the
    /// referrers API, which is found out once in ten minutes for each repository, by two more; more when there are many.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidResponse`] when the list is not understood or has more than 1,000 entries. That there is none is no error.
    pub async fn referrers(&self, cx: &Context, repository: &Repository, digest: &str) -> Result<Vec<Referrer>> {
        Ok(self.try_referrers(cx, repository, digest).await?)
    }

    /// As [`Client::referrers`], but tells what is wrong with the list of this one image from what is wrong with the registry.
    pub(crate) async fn try_referrers(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
    ) -> Result<Vec<Referrer>, Fault> {
        checked_digest(digest)?;
        let lacking_until = self.0.lacks_referrers.lock().await.get(repository).copied();
        if lacking_until.is_none_or(|until| until <= cx.now()) {
            match self.listed_referrers(cx, repository, digest).await? {
                Listed::All(referrers) => return Ok(referrers),
                Listed::NoSuchPath if self.is_there(cx, repository, digest).await? => {
                    let until = cx.now().checked_add(jiff::SignedDuration::from_secs(LACKING));
                    let mut lacking = self.0.lacks_referrers.lock().await;
                    if lacking.len() >= REPOSITORIES {
                        lacking.clear();
                    }
                    lacking.insert(repository.clone(), until.unwrap_or(Timestamp::MAX));
                }
                Listed::NoSuchPath | Listed::NoSuchThing => {}
            }
        }
        let index = match self.try_manifest(cx, repository, &fallback_tag(digest)).await {
            Ok(index) => index,
            Err(Fault::Look(error)) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(fault) => return Err(fault),
        };
        let mut referrers = Vec::new();
        add(&mut referrers, &index, repository, digest).map_err(of_image)?;
        Ok(referrers)
    }

    /// Whether the registry has the manifest.
    async fn is_there(&self, cx: &Context, repository: &Repository, digest: &str) -> Result<bool> {
        match self.head_manifest(cx, repository, digest).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What the referrers API says, when there is one.
    async fn listed_referrers(&self, cx: &Context, repository: &Repository, digest: &str) -> Result<Listed, Fault> {
        let doing = "list what refers to an image of";
        let mut url = self.url(repository, &format!("referrers/{digest}"))?;
        let mut referrers = Vec::new();
        let mut visited = HashSet::new();
        loop {
            let mut request = Request::new(Method::GET, url.clone(), BYTES);
            request.may_cut = true;
            request.leaving = Leaving::Unsigned;
            request.accept = Some(HeaderValue::from_static(OCI_INDEX));
            let call = Call::new(repository, Purpose::Read, doing, request);
            let is_first = visited.is_empty();
            let response = match self.call(cx, &call).await {
                // An image without referrers is an empty list, so this says that the path means nothing, or that there is no image.
                Ok(response) if response.status == StatusCode::NOT_FOUND && is_first => {
                    let says = String::from_utf8_lossy(&response.body);
                    let is_understood = UNKNOWN.iter().any(|code| says.contains(code));
                    return Ok(if is_understood { Listed::NoSuchThing } else { Listed::NoSuchPath });
                }
                Err(error) if is_first && is_refusal(&error) => return Ok(Listed::NoSuchPath),
                other => found(other?, &call, cx)?,
            };
            let next = next_page(&url, &response.headers)?;
            let name = format!("the referrers of {repository}@{digest}");
            // What comes as an index is the registry's word on this image; anything else may be a proxy's on everything.
            let is_index = accepted(response.header(CONTENT_TYPE)) == Some(OCI_INDEX);
            let blame = |error: Error| {
                let error = error.operation(doing);
                if is_index { of_image(error) } else { Fault::Look(error) }
            };
            if response.is_cut {
                return Err(blame(too_large(&url, BYTES)));
            }
            let index = Manifest::read(response.body.clone(), digest_of(&response.body), Some(OCI_INDEX), &name);
            add(&mut referrers, &index.map_err(blame)?, repository, digest).map_err(blame)?;
            visited.insert(url);
            match next {
                None => return Ok(Listed::All(referrers)),
                Some(next) if visited.contains(&next) || visited.len() >= PAGES => {
                    let text = format!("The list of {name} runs in a circle, or has more than {PAGES} pages.");
                    return Err(Error::new(ErrorKind::InvalidResponse, text).operation(doing).into());
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

/// What came of asking by the referrers API.
enum Listed {
    All(Vec<Referrer>),
    /// The registry does not know the API.
    NoSuchPath,
    /// The registry says that it does not have the image, or the repository.
    NoSuchThing,
}

/// What is wrong with what refers to one image is that image's fault, and may be put right.
fn of_image(error: Error) -> Fault {
    Fault::Image { error, digest: None }
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
