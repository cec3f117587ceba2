//! Reading manifests and blobs. Everything is hashed before it is believed.

use std::time::Duration;

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use oci_spec::image::Digest;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};

use super::answer::found;
use super::auth::Purpose;
use super::exchange::{Leaving, Request, Response, too_large};
use super::manifest::{ACCEPTED, Manifest, accepted};
use super::{Call, Client};
use crate::repository::{Repository, checked_digest, checked_tag, digest_of, is_digest_of};

/// The most that a manifest may have, in bytes: what the specification asks registries to accept.
const MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// The most that a configuration may have, in bytes.
const CONFIG_BYTES: usize = 8 * 1024 * 1024;

/// What a registry says of a manifest without sending it. A hint: only a fetched manifest's digest is certain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestHead {
    /// The digest, when the registry names a valid one.
    pub digest: Option<String>,
    /// The media type.
    pub media_type: Option<String>,
}

/// Why something could not be had, which decides what becomes of a look at many images.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The registry could not be asked, or its answer is none: nothing is known of any image.
    Look(Error),
    /// The registry stands by what it has, and no image can be made of that.
    Image {
        /// What is wrong with it.
        error: Error,
        /// The digest of what is wrong, when it will be wrong for ever.
        digest: Option<String>,
    },
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Look(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Look(error) | Fault::Image { error, .. } => error,
        }
    }
}

impl Client {
    /// The manifest or index that `reference`, a tag or a digest, names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::InvalidResponse`] when it is not one, when it is larger
    /// than 4 MiB, or when its bytes do not have the digest that was asked for.
    pub async fn manifest(&self, cx: &Context, repository: &Repository, reference: &str) -> Result<Manifest> {
        Ok(self.try_manifest(cx, repository, reference).await?)
    }

    /// As [`Client::manifest`], but tells what is wrong with an image from what is wrong with the registry.
    pub(crate) async fn try_manifest(
        &self,
        cx: &Context,
        repository: &Repository,
        reference: &str,
    ) -> Result<Manifest, Fault> {
        match self.fetch_manifest(cx, repository, reference, None).await? {
            Some(manifest) => Ok(manifest),
            None => Err(Fault::Look(Error::new(
                ErrorKind::InvalidResponse,
                format!(
                    "The registry says that {} has not changed, which was not the question.",
                    naming(repository, reference)
                ),
            ))),
        }
    }

    /// The manifest of a tag, or `None` when the registry says that it still has `digest`. One request either way; two for a tag
    /// that has moved where pulls are counted, see [`ClientBuilder::counts_pulls`](crate::ClientBuilder::counts_pulls).
    ///
    /// # Errors
    /// As for [`Client::manifest`].
    pub async fn manifest_unless(
        &self,
        cx: &Context,
        repository: &Repository,
        tag: &str,
        digest: &str,
    ) -> Result<Option<Manifest>> {
        Ok(self.try_manifest_unless(cx, repository, tag, digest).await?)
    }

    /// As [`Client::manifest_unless`], but tells what is wrong with an image from what is wrong with the registry.
    pub(crate) async fn try_manifest_unless(
        &self,
        cx: &Context,
        repository: &Repository,
        tag: &str,
        digest: &str,
    ) -> Result<Option<Manifest>, Fault> {
        let known = checked_digest(digest)?;
        if self.0.counts_pulls.contains(repository.host())
            && self.head_manifest(cx, repository, tag).await?.digest.as_deref() == Some(digest)
        {
            return Ok(None);
        }
        let fetched = self.fetch_manifest(cx, repository, tag, Some(&known)).await?;
        // Not every registry knows the condition.
        Ok(fetched.filter(|manifest| manifest.digest != digest))
    }

    async fn fetch_manifest(
        &self,
        cx: &Context,
        repository: &Repository,
        reference: &str,
        unless: Option<&Digest>,
    ) -> Result<Option<Manifest>, Fault> {
        let doing = "fetch a manifest of";
        let (call, expected) = self.manifest_call(Method::GET, repository, reference, unless, doing)?;
        let name = naming(repository, reference);
        let response = match &expected {
            Some(digest) => self.by_digest(cx, &call, digest, &name, is_manifest).await?,
            None => found(self.call(cx, &call).await?, &call, cx)?,
        };
        if response.status == StatusCode::NOT_MODIFIED && unless.is_some() {
            return Ok(None);
        }
        expect_ok(&response, repository, reference)?;
        let content_type = response.header(CONTENT_TYPE).map(str::to_owned);
        let is_manifest_type = is_manifest(&response);
        if response.is_cut {
            let error = too_large(&response.url, call.request.limit).operation(doing).with("manifest", name);
            // A page of a proxy may be long as well.
            return Err(if is_manifest_type { Fault::Image { error, digest: None } } else { error.into() });
        }
        let digest = match &expected {
            Some(_) => reference.to_owned(),
            None => digest_of(&response.body),
        };
        // Bytes that nobody vouches for may have been damaged on the way, and be whole the next time.
        let named = response.header("docker-content-digest").and_then(|named| checked_digest(named).ok());
        let is_vouched = expected.is_some() || named.is_some_and(|named| is_digest_of(&named, &response.body));
        match Manifest::read(response.body, digest.clone(), content_type.as_deref(), &name) {
            Ok(manifest) => match manifest.check_type(content_type.as_deref(), &name) {
                Ok(()) => Ok(Some(manifest)),
                // The response may have another type tomorrow.
                Err(error) => Err(Fault::Image { error: error.operation(doing), digest: None }),
            },
            // What comes without any sign of being a manifest says nothing of the image: it may be a proxy's answer.
            Err(error) if is_vouched || is_manifest_type || error.kind() == ErrorKind::Unsupported => {
                Err(Fault::Image { error: error.operation(doing), digest: is_vouched.then_some(digest) })
            }
            Err(error) => Err(error.operation(doing).into()),
        }
    }

    /// Fetches what has this digest. Other bytes are asked for once more, since a proxy may have damaged them on the way;
    /// the second time they are what the registry holds, when `is_meant` takes the answer for one about this object.
    async fn by_digest(
        &self,
        cx: &Context,
        call: &Call<'_>,
        digest: &Digest,
        name: &str,
        is_meant: fn(&Response) -> bool,
    ) -> Result<Response, Fault> {
        let mut is_image = false;
        for _ in 0..2 {
            let response = self.call(cx, call).await?;
            // A page that has the digest is what was pushed.
            if response.status == StatusCode::OK && is_digest_of(digest, &response.body) {
                return Ok(response);
            }
            let response = found(response, call, cx)?;
            if response.status != StatusCode::OK || response.is_cut {
                return Ok(response);
            }
            is_image = is_meant(&response);
        }
        let error = Error::new(
            ErrorKind::InvalidResponse,
            format!("The registry sent other bytes for {name}: they do not have the digest {digest}."),
        )
        .operation(call.doing);
        Err(if is_image { Fault::Image { error, digest: None } } else { Fault::Look(error) })
    }

    /// Whether `reference` names what has this digest. Its bytes are hashed, since without them a registry may say anything.
    pub(crate) async fn names(
        &self,
        cx: &Context,
        repository: &Repository,
        reference: &str,
        digest: &str,
    ) -> Result<bool> {
        use ErrorKind::{InvalidResponse, NotFound, Unsupported};
        match self.manifest(cx, repository, reference).await {
            Ok(manifest) => Ok(is_digest_of(&checked_digest(digest)?, &manifest.bytes)),
            // What is broken there, or of a format of long ago, is not it.
            Err(error) if matches!(error.kind(), NotFound | InvalidResponse | Unsupported) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What the registry says of a manifest, in one request without a body.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn head_manifest(&self, cx: &Context, repository: &Repository, reference: &str) -> Result<ManifestHead> {
        let (call, _) = self.manifest_call(Method::HEAD, repository, reference, None, "look at a manifest of")?;
        let response = found(self.call(cx, &call).await?, &call, cx)?;
        let digest = response.header("docker-content-digest").filter(|digest| checked_digest(digest).is_ok());
        Ok(ManifestHead {
            digest: digest.map(str::to_owned),
            media_type: response.header(CONTENT_TYPE).map(str::to_owned),
        })
    }

    fn manifest_call<'a>(
        &self,
        method: Method,
        repository: &'a Repository,
        reference: &str,
        unless: Option<&Digest>,
        doing: &'static str,
    ) -> Result<(Call<'a>, Option<Digest>)> {
        let expected = if reference.contains(':') { Some(checked_digest(reference)?) } else { None };
        if expected.is_none() {
            checked_tag(reference)?;
        }
        let url = self.url(repository, &format!("manifests/{reference}"))?;
        let mut request = Request::new(method, url, MANIFEST_BYTES);
        request.may_cut = true;
        request.leaving = Leaving::Always;
        request.accept = HeaderValue::try_from(ACCEPTED.join(", ")).ok();
        request.if_none_match = unless.and_then(|digest| HeaderValue::try_from(format!("\"{digest}\"")).ok());
        Ok((Call::new(repository, Purpose::Read, doing, request), expected))
    }

    /// A small blob, such as an image's configuration, of at most 8 MiB.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::InvalidResponse`] when it is larger or does not have
    /// this digest.
    pub async fn blob(&self, cx: &Context, repository: &Repository, digest: &str) -> Result<Vec<u8>> {
        Ok(self.try_blob(cx, repository, digest).await?)
    }

    /// As [`Client::blob`], but tells what is wrong with an image from what is wrong with the registry.
    pub(crate) async fn try_blob(&self, cx: &Context, repository: &Repository, digest: &str) -> Result<Vec<u8>, Fault> {
        self.fetch_blob(cx, repository, digest, CONFIG_BYTES, None).await
    }

    /// A blob that has so many bytes, all of which are in memory then.
    ///
    /// # Errors
    /// As for [`Client::blob`].
    pub(crate) async fn blob_of_size(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
        size: u64,
    ) -> Result<Vec<u8>> {
        Ok(self.try_blob_of_size(cx, repository, digest, size).await?)
    }

    /// As [`Client::blob_of_size`], but tells what is wrong with the blob from what is wrong with the registry.
    pub(crate) async fn try_blob_of_size(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
        size: u64,
    ) -> Result<Vec<u8>, Fault> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // As long as the call has: the bytes may be many, and silence is no answer here either.
        self.fetch_blob(cx, repository, digest, size, Some(cx.remaining())).await
    }

    async fn fetch_blob(
        &self,
        cx: &Context,
        repository: &Repository,
        digest: &str,
        limit: usize,
        patience: Option<Duration>,
    ) -> Result<Vec<u8>, Fault> {
        let expected = checked_digest(digest)?;
        let mut request = Request::new(Method::GET, self.url(repository, &format!("blobs/{digest}"))?, limit);
        request.may_cut = true;
        request.leaving = Leaving::Always;
        request.patience = patience;
        let call = Call::new(repository, Purpose::Read, "fetch a blob of", request);
        let response = self.by_digest(cx, &call, &expected, &naming(repository, digest), |_| true).await?;
        expect_ok(&response, repository, digest)?;
        if response.is_cut {
            let error = too_large(&response.url, limit).operation(call.doing).with("blob", digest);
            return Err(Fault::Image { error, digest: None });
        }
        Ok(response.body)
    }
}

/// Whether an answer says that it is a manifest.
fn is_manifest(response: &Response) -> bool {
    accepted(response.header(CONTENT_TYPE)).is_some()
}

fn naming(repository: &Repository, reference: &str) -> String {
    let separator = if reference.contains(':') { '@' } else { ':' };
    format!("{repository}{separator}{reference}")
}

fn expect_ok(response: &Response, repository: &Repository, reference: &str) -> Result<()> {
    if response.status == StatusCode::OK {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidResponse,
        format!(
            "The registry answered with status {} where {} was expected.",
            response.status.as_u16(),
            naming(repository, reference)
        ),
    ))
}
