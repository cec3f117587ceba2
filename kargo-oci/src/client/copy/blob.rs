//! Moves one blob: mounted by the registry itself, or piece by piece through this process.

use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, Stream};
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result, Retry};
use oci_spec::image::Digest;
use reqwest::header::HeaderValue;
use reqwest::{Body, Method, StatusCode, Url};

use super::Route;
use crate::client::answer::found;
use crate::client::auth::Purpose;
use crate::client::descriptor::Descriptor;
use crate::client::exchange::{Leaving, Payload, Request, SILENCE, transport};
use crate::client::write::{ANSWER, Started, unexpected};
use crate::client::{Call, backoff};
use crate::repository::{Hasher, checked_digest};

/// How a blob came to be where it was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// It was there.
    Present,
    /// The registry took it over from the other repository.
    Mounted,
    /// Its bytes went through this process.
    Streamed,
}

impl Route<'_> {
    /// Has the blob be where it is wanted.
    pub(super) async fn blob(self, cx: &Context, blob: &Descriptor) -> Result<Moved> {
        let Self { client, from, to } = self;
        let digest = checked_digest(&blob.digest)?;
        let mut upload = None;
        if from.host() == to.host() {
            match client.start_upload(cx, to, Some((from, &blob.digest))).await {
                Ok(Started::Mounted) => return Ok(Moved::Mounted),
                Ok(Started::At(url)) => upload = Some(url),
                // A registry need not know how to mount, nor let these credentials do it.
                Err(error) if is_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        } else if client.has_blob(cx, to, &blob.digest).await? {
            return Ok(Moved::Present);
        }
        let mut tried = 0;
        loop {
            let Err(error) = self.stream(cx, blob, &digest, upload.take()).await else { return Ok(Moved::Streamed) };
            tried += 1;
            let pause = match error.retry() {
                Retry::Never => return Err(error),
                Retry::After(pause) => pause,
                Retry::Backoff => backoff(tried),
            };
            if tried >= client.0.tries || pause >= cx.remaining() {
                return Err(error);
            }
            cx.progress(format_args!("{} (trying again in {pause:?})", error.message()));
            cx.sleep(pause).await?;
        }
    }

    /// Has the blob's bytes pass from one registry to the other. They are hashed on the way, and the last of them are held back until
    /// it is certain that they are the right ones.
    async fn stream(self, cx: &Context, blob: &Descriptor, digest: &Digest, upload: Option<Url>) -> Result<()> {
        let Self { client, from, to } = self;
        let mut request = Request::new(Method::GET, client.url(from, &format!("blobs/{digest}"))?, ANSWER);
        request.streams = true;
        request.leaving = Leaving::Always;
        request.patience = Some(cx.remaining());
        let call = Call::new(from, Purpose::Read, "fetch a blob of", request);
        let response = client.call(cx, &call).await?;
        // What this is, its digest tells; a page for people may be what was pushed.
        let source = match response.rest {
            Some(rest) if response.status == StatusCode::OK => rest,
            _ => {
                found(response, &call, cx)?;
                let text = format!("The registry did not send the blob {digest} of {from}, and did not say why.");
                return Err(Error::new(ErrorKind::InvalidResponse, text).operation(call.doing));
            }
        };
        let mut upload = match upload {
            Some(upload) => upload,
            None => match client.start_upload(cx, to, None).await? {
                Started::At(upload) => upload,
                Started::Mounted => return Ok(()),
            },
        };
        upload.query_pairs_mut().append_pair("digest", &blob.digest);
        let trouble = Arc::default();
        let name = format!("the blob {digest} of {from}");
        let body = Body::wrap_stream(passing(source, name, digest.clone(), blob.size, Arc::clone(&trouble)));
        let mut request = Request::new(Method::PUT, upload, ANSWER);
        request.content_type = Some(HeaderValue::from_static("application/octet-stream"));
        request.patience = Some(cx.remaining());
        request.body = Some(Payload::passing(blob.size, body));
        let doing = "push a blob to";
        let call = Call::new(to, Purpose::Write, doing, request);
        client.wait_for_host(cx, &call).await?;
        let put = cx.guard("talk to the registry", client.authorised(cx, &call)).await;
        // Why the bytes ended early is known better where they come from.
        if let Some(error) = trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let put = put.map_err(|error| error.operation(doing).with("repository", to))?;
        let response = found(put, &call, cx)?;
        if response.status == StatusCode::CREATED { Ok(()) } else { Err(unexpected(&response, doing, to)) }
    }
}

/// Whether the registry did not like the request itself, or who made it.
fn is_refusal(error: &Error) -> bool {
    use ErrorKind::{InvalidInput, NotFound, PermissionDenied, Unauthenticated, Unsupported};
    matches!(error.kind(), InvalidInput | NotFound | PermissionDenied | Unauthenticated | Unsupported)
}

/// What is wrong with bytes that pass by, for whoever waits at the other end.
type Trouble = Arc<Mutex<Option<Error>>>;

struct Passing {
    source: reqwest::Response,
    name: String,
    digest: Digest,
    hasher: Option<Hasher>,
    left: u64,
    trouble: Trouble,
}

/// The body of `source`, as long as it is what `digest` names and `size` says.
fn passing(
    source: reqwest::Response,
    name: String,
    digest: Digest,
    size: u64,
    trouble: Trouble,
) -> impl Stream<Item = std::io::Result<bytes::Bytes>> {
    let hasher = Some(Hasher::for_digest(&digest));
    let state = Passing { source, name, digest, hasher, left: size, trouble };
    stream::try_unfold(state, |mut state| async move {
        match state.next().await {
            Ok(Some(chunk)) => Ok(Some((chunk, state))),
            Ok(None) => Ok(None),
            Err(error) => {
                let text = error.message().to_owned();
                *state.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(std::io::Error::other(text))
            }
        }
    })
}

impl Passing {
    async fn next(&mut self) -> Result<Option<bytes::Bytes>> {
        let Self { name, .. } = self;
        let url = self.source.url().clone();
        let chunk = match tokio::time::timeout(SILENCE, self.source.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| transport(error, &url))?,
            Err(_) => {
                let text = format!("Nothing more came of {name} for {SILENCE:?}.");
                return Err(Error::new(ErrorKind::Timeout, text).retry_as(Retry::Backoff));
            }
        };
        let other = |why: &str| {
            Error::new(ErrorKind::InvalidResponse, format!("The registry sent other bytes for {name}: {why}."))
                .operation("fetch a blob of")
        };
        if let Some(chunk) = &chunk {
            let length = chunk.len() as u64;
            self.left = self.left.checked_sub(length).ok_or_else(|| other("there are more than its manifest says"))?;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(chunk);
            }
        } else if self.left > 0 {
            return Err(other(&format!("{} fewer than its manifest says", self.left)).retry_as(Retry::Backoff));
        }
        // Once, before the last bytes go on.
        if self.left == 0
            && let Some(hasher) = self.hasher.take()
            && !hasher.is(&self.digest)
        {
            return Err(other("they do not have its digest"));
        }
        Ok(chunk)
    }
}
