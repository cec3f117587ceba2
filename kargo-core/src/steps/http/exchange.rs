//! One request and its answer: redirects by rules of our own, a body that cannot grow past its limit, errors as sentences.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Proxy, Response, Url, redirect};

use super::target::{fault, proxy_fault, resolver, shown};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::steps::config::NamedValue;

/// How often a redirect is followed.
const REDIRECTS: usize = 10;

/// How a request is made.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) insecure: bool,
    pub(super) proxy: Option<&'a str>,
    pub(super) timeout: Duration,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<bytes::Bytes>,
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

/// The URL that is asked, with the parameters behind it.
pub(super) fn url(text: &str, parameters: &[NamedValue]) -> Result<Url> {
    let mut url = Url::parse(text).map_err(|error| invalid("`url` is no URL.".to_owned()).because(error))?;
    if let Some(fault) = fault(&url) {
        return Err(invalid(format!("Nothing is sent to {}: {fault}.", shown(&url))));
    }
    if !parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(parameters.iter().map(|one| (&one.name, &one.value)));
    }
    Ok(url)
}

pub(super) fn headers(given: &[NamedValue]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for NamedValue { name, value } in given {
        let parsed = HeaderName::try_from(name.as_str());
        let key = parsed.map_err(|_| invalid(format!("{name:?} is no name of a header.")))?;
        // The value may be a secret.
        let value = HeaderValue::try_from(value.as_str()).map_err(|_| {
            invalid(format!("The value of the header {name} has a line break or another control character in it."))
        })?;
        headers.append(key, value);
    }
    Ok(headers)
}

/// Sends it, follows redirects of GET and HEAD, and gives the answer, whose body is still to be read.
///
/// What the step's headers hold is for the host that it names: another host that it redirects to gets none of them.
pub(super) async fn send(settings: &Settings<'_>, ask: &Ask) -> Result<Response> {
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .dns_resolver(resolver())
        .timeout(settings.timeout)
        .user_agent(concat!("kargo-rs/", env!("CARGO_PKG_VERSION")))
        .danger_accept_invalid_certs(settings.insecure);
    if let Some(proxy) = settings.proxy {
        if let Some(fault) = proxy_fault(proxy) {
            return Err(invalid(format!("`proxy` is none: {fault}.")));
        }
        let proxy =
            Proxy::all(proxy).map_err(|error| invalid("`proxy` is no URL of a proxy.".to_owned()).because(error))?;
        builder = builder.proxy(proxy);
    }
    let client =
        builder.build().map_err(|error| Error::new(ErrorKind::Other, "No HTTP client can be made.").because(error))?;
    let (mut url, mut headers) = (ask.url.clone(), ask.headers.clone());
    for _ in 0..=REDIRECTS {
        let mut request = client.request(ask.method.clone(), url.clone()).headers(headers.clone());
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        let response = request.send().await.map_err(|error| unreachable(&url, error))?;
        let follows = response.status().is_redirection() && matches!(ask.method, Method::GET | Method::HEAD);
        let Some(location) = response.headers().get(LOCATION).filter(|_| follows) else { return Ok(response) };
        let refused = |why: &str| {
            Error::new(ErrorKind::InvalidResponse, format!("{} redirects {why}.", shown(&url))).retry_as(Retry::Never)
        };
        let to = location.to_str().ok().and_then(|location| url.join(location).ok());
        let to = to.ok_or_else(|| refused("to what is no URL"))?;
        if let Some(fault) = fault(&to) {
            return Err(refused(&format!("to where nothing is sent: {fault}")));
        }
        if url.scheme() == "https" && to.scheme() != "https" {
            return Err(refused("away from https"));
        }
        if url.origin() != to.origin() {
            headers.clear();
        }
        url = to;
    }
    let message = format!("{} redirects more than {REDIRECTS} times.", shown(&ask.url));
    Err(Error::new(ErrorKind::InvalidResponse, message).retry_as(Retry::Never))
}

fn unreachable(url: &Url, error: reqwest::Error) -> Error {
    let (kind, what) = if error.is_timeout() {
        (ErrorKind::Timeout, "did not answer in time")
    } else if error.is_connect() {
        (ErrorKind::Unavailable, "cannot be reached")
    } else {
        (ErrorKind::Unavailable, "broke off")
    };
    // The query of the URL, which may hold a secret, is not part of the source.
    Error::new(kind, format!("{} {what}.", shown(url))).because(error.without_url()).retry_as(Retry::Backoff)
}

/// The pause that an answer asks for, in whole seconds.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The body, of at most `limit` bytes.
pub(super) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>> {
    let url = response.url().clone();
    let too_large = || {
        let message = format!("What {} answers has more than {limit} bytes.", shown(&url));
        Error::new(ErrorKind::InvalidResponse, message).retry_as(Retry::Never)
    };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&url, error))? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
