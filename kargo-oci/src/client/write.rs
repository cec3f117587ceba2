//! Pushing: blobs, manifests, small images, and a second tag for what is there.

use std::collections::BTreeMap;

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};

use super::auth::Purpose;
use super::exchange::{Request, Response};
use super::link::within_origin;
use super::{Call, Client, found};
use crate::repository::{Repository, checked_digest, checked_tag, digest_of, is_digest_of};
use crate::spec::{Built, ImageSpec};

/// The most that the answer to a push may have, in bytes.
const ANSWER: usize = 64 * 1024;

impl Client {
    /// Pushes a blob, unless it is there, and returns its digest.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] or [`ErrorKind::Unauthenticated`] when the credentials do not allow it.
    pub async fn push_blob(&self, cx: &Context, repository: &Repository, bytes: Vec<u8>) -> Result<String> {
        let digest = digest_of(&bytes);
        let doing = "push a blob to";
        let head = Request::new(Method::HEAD, self.url(repository, &format!("blobs/{digest}"))?, ANSWER);
        let call = Call { repository, purpose: Purpose::Write, doing, request: head };
        let answer = self.call(cx, &call).await?;
        if answer.status == StatusCode::OK && !answer.is_page() {
            return Ok(digest);
        }
        let start = Request::new(Method::POST, self.url(repository, "blobs/uploads/")?, ANSWER);
        let call = Call { repository, purpose: Purpose::Write, doing, request: start };
        let started = found(self.call(cx, &call).await?, &call, cx)?;
        // An upload to another host would take the credentials there.
        let location = started.header(LOCATION).and_then(|location| within_origin(&started.url, location));
        let Some(mut upload) = location else {
            return Err(unexpected(&started, doing, repository));
        };
        upload.query_pairs_mut().append_pair("digest", &digest);
        let mut request = Request::new(Method::PUT, upload, ANSWER);
        request.content_type = Some(HeaderValue::from_static("application/octet-stream"));
        request.body = Some(bytes);
        let call = Call { repository, purpose: Purpose::Write, doing, request };
        let response = found(self.call(cx, &call).await?, &call, cx)?;
        if response.status == StatusCode::CREATED { Ok(digest) } else { Err(unexpected(&response, doing, repository)) }
    }

    /// Pushes a manifest's bytes, as they are, under a tag or their own digest, and returns the digest: the one that was
    /// given, else sha256.
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
        request.body = Some(bytes);
        let call = Call { repository, purpose: Purpose::Write, doing, request };
        let response = found(self.call(cx, &call).await?, &call, cx)?;
        // A registry may name the same bytes by another algorithm.
        let bytes = call.request.body.as_deref().unwrap_or_default();
        let is_ours = |stored: &str| checked_digest(stored).is_ok_and(|stored| is_digest_of(&stored, bytes));
        if response.status != StatusCode::CREATED || !response.header("docker-content-digest").is_none_or(is_ours) {
            return Err(unexpected(&response, doing, repository));
        }
        Ok(digest)
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

    async fn push_built(&self, cx: &Context, repository: &Repository, tag: &str, built: Built) -> Result<String> {
        for blob in built.blobs {
            self.push_blob(cx, repository, blob).await?;
        }
        let mut pushed = String::new();
        let last = built.manifests.len().saturating_sub(1);
        for (index, (media_type, bytes)) in built.manifests.into_iter().enumerate() {
            let reference = if index == last { tag.to_owned() } else { digest_of(&bytes) };
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

fn unexpected(response: &Response, doing: &'static str, repository: &Repository) -> Error {
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
