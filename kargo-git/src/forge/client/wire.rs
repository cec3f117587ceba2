//! One exchange over HTTP: bounded in time and size, and nothing said to other hosts.

use std::time::Duration;

use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Certificate, Method, Response, StatusCode, Url};
use secrecy::SecretString;
use serde_json::Value;

use super::fault;
use super::reply::Reply;
use crate::remote::is_loopback;

/// No page of a list is this large; an endless answer is cut off here.
const MAX_BODY: usize = 16 << 20;

/// How many redirects are followed: a renamed repository has one.
const MAX_REDIRECTS: usize = 3;

/// The certificates in PEM texts.
pub(crate) fn certificates(pems: &[Vec<u8>]) -> Result<Vec<Certificate>> {
    let invalid = |text: &str| Error::new(ErrorKind::InvalidInput, text);
    let mut all = Vec::new();
    for pem in pems {
        let found = Certificate::from_pem_bundle(pem)
            .map_err(|error| invalid("A certificate authority given for forges is not in PEM form.").because(error))?;
        if found.is_empty() {
            return Err(invalid("A certificate authority given for forges holds no certificate."));
        }
        all.extend(found);
    }
    Ok(all)
}

/// An HTTP client that follows no redirect by itself. One for this machine goes past the proxies that the environment names.
pub(crate) fn client(roots: &[Certificate], this_machine: bool, trust_everybody: bool) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("kargo-git/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        // Limits count what comes in; another crate's choice of features must not turn decompression on.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate();
    if this_machine {
        builder = builder.no_proxy();
    }
    if trust_everybody {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if !roots.is_empty() {
        builder = builder.tls_certs_merge(roots.iter().cloned());
    }
    builder.build().map_err(|error| {
        Error::new(ErrorKind::InvalidInput, "The HTTP client for forges cannot be set up; are the certificates right?")
            .because(error)
    })
}

/// A server and how to speak to it.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub(crate) http: reqwest::Client,
    /// How long one request may take.
    pub(crate) timeout: Duration,
    /// For people: "GitHub at github.com".
    pub(crate) who: String,
}

/// One request, in full.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Value>,
    /// Completes "asked to …".
    pub(crate) what: String,
    /// What must not show when the server repeats it.
    pub(crate) secret: Option<SecretString>,
    /// Completes "the request was made …".
    pub(crate) signed_in: String,
}

impl Wire {
    /// Sends a request. What comes back is the API's own: an error page, a sign-in page, trouble and limits are errors.
    pub(crate) async fn send(&self, request: Request) -> Result<Reply> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut sent = self.http.request(request.method.clone(), url.clone()).headers(request.headers.clone());
            if let Some(body) = &request.body {
                sent = sent.header(CONTENT_TYPE, "application/json").body(body.to_string());
            }
            let answer =
                sent.timeout(self.timeout).send().await.map_err(|error| self.unreachable(error, &request.what))?;
            if answer.status().is_redirection() {
                url = self.redirection(&url, &answer, &request)?;
                continue;
            }
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let body = self.read(answer, &request.what).await?;
            let reply =
                Reply { status, headers, body, what: request.what, who: self.who.clone(), secret: request.secret };
            return match fault::of(&reply, &request.signed_in) {
                Some(error) => Err(error),
                None => Ok(reply),
            };
        }
        Err(self.odd(&request.what, &format!("redirects more than {MAX_REDIRECTS} times")))
    }

    /// Where a redirect leads: within the server only. A request that changes something goes on only when the server says that it
    /// stays what it is (307, 308).
    fn redirection(&self, from: &Url, answer: &Response, request: &Request) -> Result<Url> {
        let to = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let to = to.and_then(|to| from.join(to).ok());
        let to = to.ok_or_else(|| self.odd(&request.what, "redirects without saying where to"))?;
        let keeps = matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        let mut shown = to.clone();
        shown.set_query(None);
        // These fail only for URLs that cannot have a user, which then have none.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        if to.origin() != from.origin() {
            return Err(self.odd(
                &request.what,
                &format!("sends to another server, {shown}, which gets no credentials; is that a sign-in page, or the API's new address?"),
            ));
        }
        if !keeps && request.method != Method::GET {
            let fault = format!("redirects to {shown}; was the repository renamed? Use its new URL");
            return Err(self.odd(&request.what, &fault));
        }
        Ok(to)
    }

    async fn read(&self, mut answer: Response, what: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreachable(error, what))? {
            if bytes.len() + chunk.len() > MAX_BODY {
                return Err(self.odd(what, &format!("sends more than {} MiB", MAX_BODY >> 20)));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn unreachable(&self, error: reqwest::Error, what: &str) -> Error {
        let who = &self.who;
        let error = error.without_url();
        if error.is_timeout() {
            let text = format!("{who}, asked to {what}, did not answer in time; whether it did is not known.");
            return Error::new(ErrorKind::Timeout, text).because(error);
        }
        let text = if error.is_connect() {
            format!(
                "{who}, asked to {what}, cannot be reached; is the server up, the URL right and its certificate trusted?"
            )
        } else {
            format!("{who}, asked to {what}, broke off before it had answered; whether it did is not known.")
        };
        Error::new(ErrorKind::Unavailable, text).because(error)
    }

    /// An answer that is none.
    pub(crate) fn odd(&self, what: &str, fault: &str) -> Error {
        Error::new(ErrorKind::InvalidResponse, format!("{}, asked to {what}, {fault}.", self.who))
    }

    /// Whether `url` is on this machine, which proxies do not reach.
    pub(crate) fn is_here(url: &Url) -> bool {
        is_loopback(url)
    }
}
