//! Pushing: blobs, manifests, small images, and a second tag for what is there.

use std::collections::BTreeMap;

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};
use serde_json::json;

use super::answer::found;
use super::auth::Purpose;
use super::exchange::{Leaving, Payload, Request, Response};
use super::link::within_origin;
use super::manifest::Manifest;
use super::{Call, Client};
use crate::repository::{Repository, checked_digest, checked_tag, digest_of, is_digest_of};
use crate::spec::{ArtifactSpec, Built, ImageSpec};

/// The most that the answer to a push may have, in bytes.
pub(super) const ANSWER: usize = 64 * 1024;

/// A verb phrase for errors.
const PUSH_BLOB: &str = "push a blob to";
/// How a manifest begins to say what it refers to.
const SUBJECT: &[u8] = b"\"subject\"";

/// What has become of a request to upload a blob.
#[derive(Debug)]
pub(super) enum Started {
    /// The registry has taken it over from another repository.
    Mounted,
    /// Its bytes go here.
    At(Url),
}

impl Client {
    /// Pushes a blob, unless it is there, and returns its digest.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] or [`ErrorKind::Unauthenticated`] when the credentials do not allow it.
    pub async fn push_blob(&self, cx: &Context, repository: &Repository, bytes: Vec<u8>) -> Result<String> {
        let digest = digest_of(&bytes);
        if self.has_blob(cx, repository, &digest).await? {
            return Ok(digest);
        }
        // Nothing is mounted that was not asked for.
        let Started::At(mut upload) = self.start_upload(cx, repository, None).await? else { return Ok(digest) };
        upload.query_pairs_mut().append_pair("digest", &digest);
        let mut request = Request::new(Method::PUT, upload, ANSWER);
        request.content_type = Some(HeaderValue::from_static("application/octet-stream"));
        request.body = Some(Payload::Whole(bytes));
        let call = Call::new(repository, Purpose::Write, PUSH_BLOB, request);
        let response = found(self.call(cx, &call).await?, &call, cx)?;
        if response.status == StatusCode::CREATED {
            Ok(digest)
        } else {
            Err(unexpected(&response, PUSH_BLOB, repository))
        }
    }

    /// Whether the repository has a blob.
    pub(super) async fn has_blob(&self, cx: &Context, repository: &Repository, digest: &str) -> Result<bool> {
        let mut head = Request::new(Method::HEAD, self.url(repository, &format!("blobs/{digest}"))?, ANSWER);
        head.leaving = Leaving::Always;
        let answer = self.call(cx, &Call::new(repository, Purpose::Write, PUSH_BLOB, head)).await?;
        Ok(answer.status == StatusCode::OK && !answer.is_page())
    }

    /// Begins the upload of a blob, unless the registry takes it over from the other repository that is named.
    pub(super) async fn start_upload(
        &self,
        cx: &Context,
        repository: &Repository,
        mount: Option<(&Repository, &str)>,
    ) -> Result<Started> {
        let mut url = self.url(repository, "blobs/uploads/")?;
        if let Some((from, digest)) = mount {
            url.query_pairs_mut().append_pair("mount", digest).append_pair("from", from.name());
        }
        let mut call = Call::new(repository, Purpose::Write, PUSH_BLOB, Request::new(Method::POST, url, ANSWER));
        call.also_reads = mount.map(|(from, _)| from);
        let started = found(self.call(cx, &call).await?, &call, cx)?;
        if mount.is_some() && started.status == StatusCode::CREATED {
            return Ok(Started::Mounted);
        }
        // An upload to another host would take the credentials there.
        let location = started.header(LOCATION).and_then(|location| within_origin(&started.url, location));
        location.map(Started::At).ok_or_else(|| unexpected(&started, PUSH_BLOB, repository))
    }

    /// Pushes a manifest's bytes, as they are, under a tag or their own digest, and returns the digest: the one that was
    /// given, else sha256. One that refers to another manifest is listed among its referrers from then on, also where the registry does
    /// not see to that itself.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when `reference` is no tag and not the digest of `bytes`, or the registry does not accept the manifest, such as
    /// when a blob of it is missing; [`ErrorKind::InvalidResponse`] when the registry says that it stored something
    /// else.
    pub async fn push_manifest(
        &self,
        cx: &Context,
        repository: &Repository,
        reference: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<String> {
        let (digest, is_listed) = self.put_manifest(cx, repository, reference, media_type, bytes.clone()).await?;
        // Without the word, there is most likely no field that would need this.
        let may_refer = !is_listed && bytes.windows(SUBJECT.len()).any(|window| window == SUBJECT);
        if may_refer {
            let manifest = Manifest::read(bytes, digest.clone(), Some(media_type), &format!("{repository}@{digest}"))?;
            self.keep_referrer(cx, repository, &manifest).await?;
        }
        Ok(digest)
    }

    /// Pushes a manifest alone, and says whether the registry will list it among the referrers of its subject.
    pub(super) async fn put_manifest(
        &self,
        cx: &Context,
        repository: &Repository,
        reference: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<(String, bool)> {
        let digest = if reference.contains(':') {
            if !is_digest_of(&checked_digest(reference)?, &bytes) {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!(
                        "The manifest for {repository} does not have the digest {reference}, so it was not pushed."
                    ),
                ));
            }
            reference.to_owned()
        } else {
            checked_tag(reference)?;
            digest_of(&bytes)
        };
        let doing = "push a manifest to";
        let mut request = Request::new(Method::PUT, self.url(repository, &format!("manifests/{reference}"))?, ANSWER);
        request.content_type = Some(HeaderValue::try_from(media_type).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("{media_type:?} is not a media type.")).because(error)
        })?);
        request.body = Some(Payload::Whole(bytes.clone()));
        let call = Call::new(repository, Purpose::Write, doing, request);
        let response = found(self.call(cx, &call).await?, &call, cx)?;
        // A registry may name the same bytes by another algorithm.
        let is_ours = |stored: &str| checked_digest(stored).is_ok_and(|stored| is_digest_of(&stored, &bytes));
        if response.status != StatusCode::CREATED || !response.header("docker-content-digest").is_none_or(is_ours) {
            return Err(unexpected(&response, doing, repository));
        }
        Ok((digest, response.header("oci-subject").is_some()))
    }

    /// Pushes a small image under a tag and returns its digest.
    ///
    /// # Errors
    /// As for [`Client::push_blob`] and [`Client::push_manifest`].
    pub async fn push_image(
        &self,
        cx: &Context,
        repository: &Repository,
        tag: &str,
        spec: &ImageSpec,
    ) -> Result<String> {
        self.push_built(cx, repository, tag, Built::image(spec)).await
    }

    /// Pushes an index of small images, one per platform, under a tag and returns the index's digest.
    ///
    /// # Errors
    /// As for [`Client::push_image`].
    pub async fn push_index(
        &self,
        cx: &Context,
        repository: &Repository,
        tag: &str,
        specs: &[ImageSpec],
        annotations: &BTreeMap<String, String>,
    ) -> Result<String> {
        self.push_built(cx, repository, tag, Built::index(specs, annotations)).await
    }

    /// Pushes an artifact that is no image, under a tag or under none, and returns its digest. One that is about something is listed among
    /// its referrers from then on.
    ///
    /// # Errors
    /// As for [`Client::push_blob`] and [`Client::push_manifest`]; [`ErrorKind::NotFound`] when what it is about is not there.
    pub async fn push_artifact(
        &self,
        cx: &Context,
        repository: &Repository,
        tag: Option<&str>,
        spec: ArtifactSpec,
    ) -> Result<String> {
        let subject = match &spec.subject {
            Some(digest) => {
                checked_digest(digest)?;
                let about = self.manifest(cx, repository, digest).await?;
                Some(json!({"mediaType": about.media_type, "digest": about.digest, "size": about.bytes.len()}))
            }
            None => None,
        };
        let built = spec.build(subject);
        let digest = built.manifests.last().map(|(_, bytes)| digest_of(bytes)).unwrap_or_default();
        self.push_built(cx, repository, tag.unwrap_or(&digest), built).await
    }

    async fn push_built(&self, cx: &Context, repository: &Repository, name: &str, built: Built) -> Result<String> {
        for blob in built.blobs {
            self.push_blob(cx, repository, blob).await?;
        }
        let mut pushed = String::new();
        let last = built.manifests.len().saturating_sub(1);
        for (index, (media_type, bytes)) in built.manifests.into_iter().enumerate() {
            let reference = if index == last { name.to_owned() } else { digest_of(&bytes) };
            pushed = self.push_manifest(cx, repository, &reference, &media_type, bytes).await?;
        }
        Ok(pushed)
    }

    /// Gives what has `digest` the tag `tag`: the same bytes, so the same digest. Two requests.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such manifest in the repository.
    pub async fn retag(&self, cx: &Context, repository: &Repository, digest: &str, tag: &str) -> Result<()> {
        checked_digest(digest)?;
        let manifest = self.manifest(cx, repository, digest).await?;
        self.push_manifest(cx, repository, tag, &manifest.media_type, manifest.bytes).await?;
        Ok(())
    }
}

/// The error of an answer to a push that is none.
pub(super) fn unexpected(response: &Response, doing: &'static str, repository: &Repository) -> Error {
    Error::new(
        ErrorKind::InvalidResponse,
        format!(
            "Could not {doing} {repository}: the registry answered with status {}, content type {:?} and location {:?}.",
            response.status.as_u16(),
            response.header(CONTENT_TYPE).unwrap_or(""),
            response.header(LOCATION).map(crate::repository::scrub_user_info).unwrap_or_default(),
        ),
    )
    .operation(doing)
}
