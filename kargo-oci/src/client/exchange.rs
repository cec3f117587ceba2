//! One HTTP exchange: redirects by our own rules, a body that cannot grow past its limit, errors as sentences.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kargo_core::{Error, ErrorKind, Result, Retry};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeSeed;

use super::names::Names;

/// How often a redirect is followed.
const REDIRECTS: usize = 4;
/// The longest pause that a server is granted. One wrong header must not shut a registry out for years.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// How much of the body of a failure is read, in bytes.
const FAILURE_BODY: usize = 64 * 1024;

/// How long a server may be silent: before its answer, and within it.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// The media types of pages for people.
const PAGES: [&str; 2] = ["text/html", "application/xhtml+xml"];

/// What is sent. The body is at hand, so that it can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: Option<HeaderValue>,
    pub(super) if_none_match: Option<HeaderValue>,
    pub(super) if_modified_since: Option<HeaderValue>,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) body: Option<Payload>,
    /// How long the whole exchange may take, when that is not as long as any.
    pub(super) patience: Option<Duration>,
    /// The most that a body of success may have, in bytes.
    pub(super) limit: usize,
    /// Whether a larger body is left unread, see [`Response::is_cut`], instead of being an error.
    pub(super) may_cut: bool,
    /// Whether a body of success is left to be read by whoever asked, see [`Response::rest`].
    pub(super) streams: bool,
    pub(super) leaving: Leaving,
    /// Whose word led to the URL, when it was not the operator's: a public server may not name an internal address there.
    pub(super) led_by: Option<Url>,
}

/// Whether a redirect may lead away from the server that was asked. To another path of it, it always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It may not: nobody but this server has an answer.
    Never,
    /// Where no credentials are shown. Registries that everybody may read have their listings elsewhere, too; one that wants to know who
    /// asks answers itself.
    Unsigned,
    /// It may: what comes is told by its digest, or comes from a server of files.
    Always,
}

/// What requests are made with.
#[derive(Debug, Clone)]
pub(super) struct Http {
    pub(super) client: reqwest::Client,
    /// Those that the client connects by.
    pub(super) names: Names,
}

/// What is sent along.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// Bytes at hand, which can be sent again.
    Whole(Vec<u8>),
    /// So many bytes that pass by, once.
    Passing { length: u64, body: Arc<Mutex<Option<reqwest::Body>>> },
}

impl Payload {
    pub(super) fn passing(length: u64, body: reqwest::Body) -> Self {
        Self::Passing { length, body: Arc::new(Mutex::new(Some(body))) }
    }

    fn add_to(&self, sending: reqwest::RequestBuilder, url: &Url) -> Result<reqwest::RequestBuilder> {
        match self {
            Self::Whole(bytes) => Ok(sending.body(bytes.clone())),
            Self::Passing { length, body } => {
                let taken = body.lock().unwrap_or_else(PoisonError::into_inner).take();
                let body = taken.ok_or_else(|| {
                    let text = format!("{} wants to be sent again what has passed by already.", url.authority());
                    Error::new(ErrorKind::Unavailable, text).retry_as(Retry::Backoff)
                })?;
                Ok(sending.header(CONTENT_LENGTH, *length).body(body))
            }
        }
    }
}

impl Request {
    pub(super) fn new(method: Method, url: Url, limit: usize) -> Self {
        Self {
            method,
            url,
            accept: None,
            if_none_match: None,
            if_modified_since: None,
            content_type: None,
            body: None,
            patience: None,
            limit,
            may_cut: false,
            streams: false,
            leaving: Leaving::Never,
            led_by: None,
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The body is larger than it may be, and what is here of it is of no use. Only for requests that allow it.
    pub(super) is_cut: bool,
    /// The body that is yet to be read, of a success that was asked for so.
    pub(super) rest: Option<reqwest::Response>,
}

impl Response {
    pub(super) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The pause that the server asks for, as seconds or as a date, an hour at most.
    pub(super) fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let text = self.header(RETRY_AFTER)?.trim();
        let pause = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
                Duration::try_from(at.duration_since(now)).unwrap_or_default()
            }
        };
        Some(pause.min(LONGEST_ASKED))
    }

    /// Whether this is a page for people, by what it says it is or by how it begins. Proxies send them with any status.
    pub(super) fn is_page(&self) -> bool {
        let content_type = self.header(CONTENT_TYPE).and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        let mut body = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body).trim_ascii_start();
        // Pages of XHTML may begin with the declaration that XML has.
        if body.starts_with(b"<?xml") {
            let end = body.iter().position(|&byte| byte == b'>').map_or(body.len(), |end| end + 1);
            body = body[end..].trim_ascii_start();
        }
        let begins = |with: &[u8]| body.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
        PAGES.iter().any(|page| content_type.eq_ignore_ascii_case(page))
            || begins(b"<!doctype html")
            || begins(b"<html")
    }

    /// The body as JSON, whatever the content type says: registries are not careful with it. The seed takes in what it reads, and
    /// so can end the reading of what is too much.
    pub(super) fn json<'a, T: DeserializeSeed<'a>>(&'a self, seed: T, what: &str) -> Result<T::Value> {
        let mut reader = serde_json::Deserializer::from_slice(&self.body);
        let read = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
        read.map_err(|error| {
            Error::new(
                ErrorKind::InvalidResponse,
                format!(
                    "{} answered with status {} and content type {:?} where {what} was expected; the body begins with {}. \
                     Is this the address of a registry?",
                    self.url.authority(),
                    self.status.as_u16(),
                    self.header(CONTENT_TYPE).unwrap_or(""),
                    excerpt(&self.body),
                ),
            )
            .because(error)
        })
    }
}

/// The beginning of a body, safe to show.
pub(super) fn excerpt(body: &[u8]) -> String {
    let end = body.len().min(200);
    format!("{:?}", String::from_utf8_lossy(&body[..end]))
}

/// Sends `request` and reads the answer. `authorization` goes to the first host only.
pub(super) async fn exchange(http: &Http, request: &Request, authorization: Option<&HeaderValue>) -> Result<Response> {
    let mut url = request.url.clone();
    // Names stay guarded until the answer has come.
    let mut guarded = Vec::new();
    if let Some(led_by) = request.led_by.as_ref().filter(|led_by| led_by.host_str() != url.host_str()) {
        let admitted = http.names.admit(led_by, &url).await;
        guarded.push(admitted.ok_or_else(|| refused_redirect(led_by, "leads to an internal address"))?);
    }
    for _ in 0..=REDIRECTS {
        let mut sending = http.client.request(request.method.clone(), url.clone());
        // Not every server takes silence for that.
        sending = sending.header(ACCEPT_ENCODING, "identity");
        let headers = [
            (ACCEPT, &request.accept),
            (IF_NONE_MATCH, &request.if_none_match),
            (IF_MODIFIED_SINCE, &request.if_modified_since),
            (CONTENT_TYPE, &request.content_type),
        ];
        for (name, value) in headers {
            if let Some(value) = value {
                sending = sending.header(name, value);
            }
        }
        if let Some(authorization) = authorization.filter(|_| url.origin() == request.url.origin()) {
            sending = sending.header(AUTHORIZATION, authorization);
        }
        if let Some(body) = &request.body {
            sending = body.add_to(sending, &url)?;
        }
        if let Some(patience) = request.patience {
            sending = sending.timeout(patience);
        }
        let sent = sending.send();
        let response = match &request.body {
            // The answer comes when all has been sent, which takes as long as it takes.
            Some(Payload::Passing { .. }) => sent.await,
            _ => tokio::time::timeout(SILENCE, sent).await.map_err(|_| silent(&url))?,
        };
        let response = response.map_err(|error| transport(error, &url))?;
        let follows = matches!(request.method, Method::GET | Method::HEAD) && is_redirect(response.status());
        match response.headers().get(LOCATION).filter(|_| follows) {
            Some(location) => {
                let to = redirect(&url, location)?;
                let may_leave = match request.leaving {
                    Leaving::Never => false,
                    Leaving::Unsigned => authorization.is_none(),
                    Leaving::Always => true,
                };
                if !may_leave && !is_same_server(&request.url, &to) {
                    return Err(refused_redirect(&url, "redirects to another server"));
                }
                if to.host_str() != url.host_str() {
                    // Compared with where it began: the name of a stop in between could stand for another address by now.
                    let admitted = http.names.admit(&request.url, &to).await;
                    guarded.push(admitted.ok_or_else(|| refused_redirect(&url, "redirects to an internal address"))?);
                }
                url = to;
            }
            None => return read(response, request).await,
        }
    }
    Err(refused_redirect(&request.url, "redirects without an end"))
}

/// Whether `to` is where `from` is, or the same by https.
fn is_same_server(from: &Url, to: &Url) -> bool {
    let is_upgrade = from.scheme() == "http" && to.scheme() == "https" && from.host_str() == to.host_str();
    from.origin() == to.origin() || is_upgrade
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirect(from: &Url, location: &HeaderValue) -> Result<Url> {
    let to = location.to_str().ok().and_then(|location| from.join(location).ok());
    let Some(to) = to else { return Err(refused_redirect(from, "redirects to something that is not a URL")) };
    if to.scheme() != "https" && !(to.scheme() == "http" && from.scheme() == "http") {
        return Err(refused_redirect(from, "redirects away from https"));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(refused_redirect(from, "redirects to a URL with a user in it"));
    }
    Ok(to)
}

fn refused_redirect(from: &Url, why: &str) -> Error {
    Error::new(ErrorKind::InvalidResponse, format!("{} {why}; this is not followed.", from.authority()))
}

async fn read(mut response: reqwest::Response, request: &Request) -> Result<Response> {
    let limit = request.limit;
    let (url, status, headers) = (response.url().clone(), response.status(), response.headers().clone());
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Error::new(
            ErrorKind::InvalidResponse,
            format!("{} sends a compressed answer although none was asked for.", url.authority()),
        ));
    }
    let success = status.is_success();
    if success && request.streams {
        return Ok(Response { url, status, headers, body: Vec::new(), is_cut: false, rest: Some(response) });
    }
    let mut is_cut = success && response.content_length().is_some_and(|length| length > limit as u64);
    let mut body = Vec::new();
    while !is_cut {
        let chunk = tokio::time::timeout(SILENCE, response.chunk()).await;
        match chunk.map_err(|_| silent(&url))? {
            Ok(Some(chunk)) if success && body.len() + chunk.len() > limit => is_cut = true,
            Ok(Some(chunk)) => {
                body.extend_from_slice(&chunk);
                if !success && body.len() > FAILURE_BODY {
                    body.truncate(FAILURE_BODY);
                    break;
                }
            }
            Ok(None) => break,
            // Of a failure the status is enough.
            Err(_) if !success => break,
            Err(error) => return Err(transport(error, &url)),
        }
    }
    if is_cut && !request.may_cut {
        return Err(too_large(&url, limit));
    }
    Ok(Response { url, status, headers, body, is_cut, rest: None })
}

/// The error of a body that is larger than it may be.
pub(super) fn too_large(url: &Url, limit: usize) -> Error {
    Error::new(
        ErrorKind::InvalidResponse,
        format!(
            "{} sends more than the {limit} bytes that this answer may have; the rest was not read.",
            url.authority()
        ),
    )
}

fn silent(url: &Url) -> Error {
    Error::new(ErrorKind::Timeout, format!("{} did not answer in time.", host_of(url))).retry_as(Retry::Backoff)
}

/// The host and port, without a user.
fn host_of(url: &Url) -> &str {
    let host = url.authority();
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

/// The error of a connection that failed.
pub(super) fn transport(error: reqwest::Error, url: &Url) -> Error {
    let host = host_of(url);
    // The URL may hold what must not be shown.
    let error = error.without_url();
    let (kind, message) = if error.is_timeout() {
        (ErrorKind::Timeout, format!("{host} did not answer in time."))
    } else if error.is_connect() {
        (
            ErrorKind::Unavailable,
            format!("{host} cannot be reached. Is the address right, the server up and its certificate trusted?"),
        )
    } else if error.is_body() || error.is_decode() {
        (ErrorKind::InvalidResponse, format!("The answer of {host} broke off before its end."))
    } else if error.is_builder() {
        return Error::new(ErrorKind::InvalidInput, format!("No request can be made to {host}.")).because(error);
    } else {
        (ErrorKind::Unavailable, format!("The connection to {host} failed."))
    };
    Error::new(kind, message).retry_as(Retry::Backoff).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_that_weaken_are_refused() {
        let from = Url::parse("https://registry.example/v2/").unwrap();
        for to in ["http://registry.example/x", "https://me:pw@cdn.example/", "ftp://cdn.example/"] {
            assert!(redirect(&from, &HeaderValue::from_static(to)).is_err(), "{to}");
        }
        assert_eq!(
            redirect(&from, &HeaderValue::from_static("https://cdn.example/b")).unwrap().as_str(),
            "https://cdn.example/b"
        );
    }

    #[test]
    fn the_wanted_pause_is_read_as_seconds_and_as_a_date() {
        let response = |text: &'static str| Response {
            url: Url::parse("https://r/").unwrap(),
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]),
            body: Vec::new(),
            is_cut: false,
            rest: None,
        };
        let now = "2015-10-21T07:27:30Z".parse().unwrap();
        assert_eq!(response("7").retry_after(now), Some(Duration::from_secs(7)));
        assert_eq!(response("Wed, 21 Oct 2015 07:28:00 GMT").retry_after(now), Some(Duration::from_secs(30)));
        assert_eq!(response("Wed, 21 Oct 2015 07:20:00 GMT").retry_after(now), Some(Duration::ZERO));
        assert_eq!(response("soon").retry_after(now), None);
    }
}
