//! Reading manifests and blobs. Everything is hashed before it is believed.

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use oci_spec::image::Digest;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};

use super::auth::Purpose;
use super::exchange::{Request, Response};
use super::manifest::{ACCEPTED, Manifest};
use super::{Call, Client, found};
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

impl Client {
    /// The manifest or index that `reference`, a tag or a digest, names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::InvalidResponse`] when it is not one, when it is larger
    /// than 4 MiB, or when its bytes do not have the digest that was asked for.
    pub async fn manifest(&self, cx: &Context, repository: &Repository, reference: &str) -> Result<Manifest> {
        match self.fetch_manifest(cx, repository, reference, None).await? {
            Some(manifest) => Ok(manifest),
            None => Err(Error::new(
                ErrorKind::InvalidResponse,
                format!(
                    "The registry says that {} has not changed, which was not the question.",
                    naming(repository, reference)
                ),
            )),
        }
    }

    /// The manifest of a tag, or `None` when the registry says that it still has `digest`. One request either way.
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
        let known = checked_digest(digest)?;
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
    ) -> Result<Option<Manifest>> {
        let doing = "fetch a manifest of";
        let (call, expected) = self.manifest_call(Method::GET, repository, reference, unless, doing)?;
        let response = found(self.call(cx, &call).await?, &call, cx)?;
        if response.status == StatusCode::NOT_MODIFIED && unless.is_some() {
            return Ok(None);
        }
        expect_ok(&response, repository, reference)?;
        let name = naming(repository, reference);
        if let Some(expected) = expected.filter(|expected| !is_digest_of(expected, &response.body)) {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                format!("The registry sent other bytes for {name}: they do not have the digest {expected}."),
            )
            .operation(doing));
        }
        let content_type = response.header(CONTENT_TYPE).map(str::to_owned);
        let digest = match call_digest(reference) {
            Some(digest) => digest,
            None => digest_of(&response.body),
        };
        Manifest::read(response.body, digest, content_type.as_deref(), &name)
            .map(Some)
            .map_err(|error| error.operation(doing))
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
        request.accept = HeaderValue::try_from(ACCEPTED.join(", ")).ok();
        request.if_none_match = unless.and_then(|digest| HeaderValue::try_from(format!("\"{digest}\"")).ok());
        Ok((Call { repository, purpose: Purpose::Read, doing, request }, expected))
    }

    /// A small blob, such as an image's configuration, of at most 8 MiB.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::InvalidResponse`] when it is larger or does not have
    /// this digest.
    pub async fn blob(&self, cx: &Context, repository: &Repository, digest: &str) -> Result<Vec<u8>> {
        let expected = checked_digest(digest)?;
        let request = Request::new(Method::GET, self.url(repository, &format!("blobs/{digest}"))?, CONFIG_BYTES);
        let call = Call { repository, purpose: Purpose::Read, doing: "fetch a blob of", request };
        let response = found(self.call(cx, &call).await?, &call, cx)?;
        expect_ok(&response, repository, digest)?;
        if !is_digest_of(&expected, &response.body) {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                format!(
                    "The registry sent other bytes for the blob {digest} of {repository}: they do not have this digest."
                ),
            )
            .operation(call.doing));
        }
        Ok(response.body)
    }
}

fn call_digest(reference: &str) -> Option<String> {
    reference.contains(':').then(|| reference.to_owned())
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
