//! Files of plain HTTP servers: the index of a classic chart repository.

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED};
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::answer::found;
use super::auth::Purpose;
use super::exchange::{Leaving, Request, excerpt};
use super::{Call, Client};
use crate::repository::Repository;

/// By what a server knows whether a file has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Validators {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

/// A file's text.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) text: String,
    pub(crate) validators: Validators,
}

impl Client {
    /// The file at `url`, of at most `limit` bytes, or `None` when the server says that it is the one that `known` is about.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::InvalidResponse`] when it is larger, or no text.
    pub(crate) async fn file(
        &self,
        cx: &Context,
        url: &Url,
        limit: usize,
        known: Option<&Validators>,
    ) -> Result<Option<File>> {
        let place = Repository::of_url(url);
        let mut request = Request::new(Method::GET, url.clone(), limit);
        let header = |text: &Option<String>| text.as_ref().and_then(|text| HeaderValue::try_from(text).ok());
        request.leaving = Leaving::Always;
        request.if_none_match = known.and_then(|known| header(&known.etag));
        request.if_modified_since = known.and_then(|known| header(&known.last_modified));
        let is_conditional = request.if_none_match.is_some() || request.if_modified_since.is_some();
        let call = Call::new(&place, Purpose::File, "fetch", request);
        let response = found(self.call(cx, &call).await?, &call, cx)?;
        if response.status == StatusCode::NOT_MODIFIED && is_conditional {
            return Ok(None);
        }
        if response.status != StatusCode::OK {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                format!("The server answered with status {} where {place} was expected.", response.status.as_u16()),
            )
            .operation(call.doing));
        }
        let text = |name| response.header(name).map(str::to_owned);
        let validators = Validators { etag: text(ETAG), last_modified: text(LAST_MODIFIED) };
        let content_type = text(CONTENT_TYPE).unwrap_or_default();
        match String::from_utf8(response.body) {
            Ok(text) => Ok(Some(File { text, validators })),
            Err(error) => Err(Error::new(
                ErrorKind::InvalidResponse,
                format!(
                    "{place} is no text (content type {content_type:?}); it begins with {}.",
                    excerpt(error.as_bytes())
                ),
            )
            .operation(call.doing)),
        }
    }
}
