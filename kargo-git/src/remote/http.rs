//! The smart HTTP transport: requests, redirects, and what a status means.

use std::time::Duration;

use base64::Engine as _;
use kargo_core::{Error, ErrorKind, Result, Retry};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use secrecy::ExposeSecret as _;

use super::packet::readable;
use super::sign_in::SignIn;
use super::transport::{Call, Failure, Meter, Service};
use super::{Limits, Timeouts};
use crate::credentials::NamedCredentials;

/// How many redirects are followed when a repository is first asked.
const MAX_REDIRECTS: usize = 5;

/// A client; one for `this_machine` goes past the proxies that the environment names, which would see what stays here otherwise.
pub(super) fn client(timeouts: Timeouts, ca: &[Vec<u8>], this_machine: bool) -> Result<reqwest::Client> {
    let invalid = |what: &str| Error::new(ErrorKind::InvalidInput, format!("{what} could not be used for HTTPS."));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("git/kargo-", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.read)
        // Redirects are followed by hand, so that credentials go nowhere they were not meant for.
        .redirect(reqwest::redirect::Policy::none())
        // Limits count what comes in; another crate's choice of features must not turn decompression on.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate();
    if this_machine {
        builder = builder.no_proxy();
    }
    for pem in ca {
        let certificates = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|error| invalid("The CA certificate (PEM)").because(error))?;
        if certificates.is_empty() {
            return Err(invalid("The CA certificate (PEM), which holds none,"));
        }
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| invalid("The TLS settings").because(error))
}

/// A repository's HTTP side, for one piece of work. Counts what it costs.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    base: Url,
    redirected: bool,
    sign_in: SignIn,
    /// Whether a redirect led to another server, which does not get the credentials.
    signed_out: bool,
    authorization: Option<HeaderValue>,
    shown: String,
    pub(super) meter: Meter,
}

impl Http {
    pub(super) fn new(
        client: reqwest::Client,
        base: Url,
        sign_in: SignIn,
        shown: String,
        limits: Limits,
    ) -> Result<Self> {
        Ok(Self {
            client,
            base,
            redirected: false,
            authorization: authorization(&sign_in)?,
            sign_in,
            signed_out: false,
            meter: Meter::new(&shown, limits),
            shown,
        })
    }

    /// Who signs in from now on.
    pub(super) fn set_sign_in(&mut self, sign_in: SignIn) -> Result<()> {
        if !self.signed_out {
            self.authorization = authorization(&sign_in)?;
        }
        self.sign_in = sign_in;
        Ok(())
    }

    pub(super) fn sign_in(&self) -> &SignIn {
        &self.sign_in
    }

    /// Whether the same request is worth another try, with other credentials than those that were refused.
    async fn signs_in_anew(&mut self, response: &Response) -> Result<bool> {
        let refused = match response.status() {
            StatusCode::UNAUTHORIZED => true,
            StatusCode::FORBIDDEN => !response.headers().contains_key(RETRY_AFTER),
            _ => false,
        };
        if !refused || self.authorization.is_none() || !self.sign_in.renew().await? {
            return Ok(false);
        }
        self.authorization = authorization(&self.sign_in)?;
        Ok(true)
    }

    /// Whether the repository turned out to be at another address.
    pub(super) fn is_redirected(&self) -> bool {
        self.redirected
    }

    /// Asks what a service offers. Follows redirects, and stays where they led.
    pub(super) async fn advertisement(&mut self, service: Service, v2: bool) -> Result<Vec<u8>> {
        let mut url = under(&self.base, &format!("info/refs?service={}", service.name()));
        let mut redirects = 0;
        while redirects <= MAX_REDIRECTS {
            self.meter.request()?;
            let mut request = self.client.get(url.clone()).headers(self.headers(v2));
            request = request.header(ACCEPT, "*/*");
            let response = request.send().await.map_err(|error| self.unreachable(error).error)?;
            if response.status().is_redirection() {
                redirects += 1;
                url = self.redirection(&url, &response)?;
                self.redirected = true;
                self.base = base_of(&url).ok_or_else(|| {
                    self.odd(format!("redirects to {}, which is no Git repository's address", scrubbed(&url)))
                })?;
                continue;
            }
            if self.signs_in_anew(&response).await? {
                continue;
            }
            let expected = format!("application/x-{}-advertisement", service.name());
            return Ok(self.answer(response, &expected).await?);
        }
        Err(self.odd(format!("redirects more than {MAX_REDIRECTS} times")))
    }

    /// Calls a service.
    pub(super) async fn call(&mut self, call: Call) -> Result<Vec<u8>, Failure> {
        let Call { service, v2, body, .. } = call;
        let nothing_done = |error| Failure { error, may_have_taken_effect: false };
        let body = bytes::Bytes::from(body);
        loop {
            self.meter.request().map_err(nothing_done)?;
            let response = self
                .client
                .post(under(&self.base, service.name()))
                .headers(self.headers(v2))
                .header(CONTENT_TYPE, format!("application/x-{}-request", service.name()))
                .header(ACCEPT, format!("application/x-{}-result", service.name()))
                .body(body.clone())
                .send()
                .await
                .map_err(|error| self.unreachable(error))?;
            // Whoever is not let in has changed nothing.
            if !self.signs_in_anew(&response).await.map_err(nothing_done)? {
                return self.answer(response, &format!("application/x-{}-result", service.name())).await;
            }
        }
    }

    fn headers(&self, v2: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if v2 {
            headers.insert("git-protocol", HeaderValue::from_static("version=2"));
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers
    }

    fn redirection(&mut self, from: &Url, response: &Response) -> Result<Url> {
        let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let target = target.and_then(|target| from.join(target).ok());
        let target = target.ok_or_else(|| self.odd("redirects without saying where to".to_owned()))?;
        if !matches!(target.scheme(), "http" | "https") || (from.scheme() == "https" && target.scheme() != "https") {
            return Err(self.odd(format!("redirects to {}, which is not encrypted", scrubbed(&target))));
        }
        if target.origin() != from.origin() {
            // Also when nobody has signed in yet: whoever does so later means the first server.
            self.signed_out = true;
            self.authorization = None;
        }
        Ok(target)
    }

    async fn answer(&mut self, mut response: Response, expected: &str) -> Result<Vec<u8>, Failure> {
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.status(status, &response));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        if kind.split(';').next().map(str::trim) != Some(expected) {
            let error = self.odd(format!(
                "answered with {} where Git's {expected} was expected; is it the URL of a repository, and no sign-in page?",
                if kind.is_empty() { "content of no type".to_owned() } else { readable(kind.as_bytes()) }
            ));
            return Err(Failure { error, may_have_taken_effect: true });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            self.meter.receive(chunk.len()).map_err(|error| Failure { error, may_have_taken_effect: true })?;
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn status(&self, status: StatusCode, response: &Response) -> Failure {
        let shown = &self.shown;
        let credentials = self.sign_in.credentials().filter(|_| !self.signed_out).map(NamedCredentials::shown);
        let (kind, message) = match status {
            StatusCode::UNAUTHORIZED => (
                ErrorKind::Unauthenticated,
                match &credentials {
                    Some(credentials) => format!("{shown} did not accept {credentials}; correct them."),
                    None if self.signed_out => format!(
                        "{shown} redirects to {}, which asks for credentials; a redirect to another server takes none along, so give the remote that URL.",
                        scrubbed(&self.base)
                    ),
                    None if self.sign_in.has_source() => {
                        format!("{shown} asks for credentials, and none are set up for it; add some for its URL.")
                    }
                    None => format!("{shown} asks for credentials and none fit its URL; give the remote some."),
                },
            ),
            // How some forges say that too much was asked.
            StatusCode::FORBIDDEN if response.headers().contains_key(RETRY_AFTER) => {
                (ErrorKind::RateLimited, format!("{shown} asks to slow down."))
            }
            StatusCode::FORBIDDEN => (
                ErrorKind::PermissionDenied,
                match &credentials {
                    Some(credentials) => {
                        format!("{shown} does not let {credentials} do this; give them the permission, or use others.")
                    }
                    None => {
                        format!("{shown} does not let everybody do this, and no credentials fit its URL; add some.")
                    }
                },
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE => (
                ErrorKind::NotFound,
                match &credentials {
                    Some(credentials) => {
                        format!("There is no repository at {shown}, or it is hidden from {credentials}.")
                    }
                    None => format!("There is no repository at {shown}, or it is hidden: no credentials fit its URL."),
                },
            ),
            StatusCode::TOO_MANY_REQUESTS => (ErrorKind::RateLimited, format!("{shown} asks to slow down.")),
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                (ErrorKind::Unavailable, format!("{shown} cannot answer now: it says {status}."))
            }
            status => {
                (ErrorKind::InvalidResponse, format!("{shown} answered with the status {status}, which is no answer."))
            }
        };
        let mut error = self.sign_in.hopeful(Error::new(kind, message).with("status", status.as_u16()));
        let pause = response.headers().get(RETRY_AFTER).and_then(|value| pause(value.to_str().ok()?.trim()));
        if let (Some(pause), true) = (pause, error.retry() != Retry::Never) {
            error = error.retry_as(Retry::After(pause));
        }
        // A gateway that gave up may have a server behind it that did not.
        Failure { error, may_have_taken_effect: status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT }
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let may_have_taken_effect = !error.is_connect() && !error.is_builder();
        let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        let shown = &self.shown;
        let error = match certificate_fault(&error) {
            // It stays so until somebody does something.
            Some(fault) => Error::new(
                kind,
                format!(
                    "The certificate of {shown} is not trusted ({fault}); give its CA's with ca_certificates, or correct the server's."
                ),
            )
            .retry_as(Retry::Never),
            None if error.is_connect() => {
                Error::new(kind, format!("{shown} cannot be reached; is the server up, and the URL right?"))
            }
            None => Error::new(kind, format!("{shown} broke off before it had answered; is the server up?")),
        }
        .because(error.without_url());
        Failure { error, may_have_taken_effect }
    }

    fn odd(&self, what: String) -> Error {
        Error::new(ErrorKind::InvalidResponse, format!("{} {what}.", self.shown))
    }
}

/// The header that signs in.
fn authorization(sign_in: &SignIn) -> Result<Option<HeaderValue>> {
    let Some((user, password)) = sign_in.user_and_password() else { return Ok(None) };
    let token = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose_secret()));
    let mut value = HeaderValue::from_str(&format!("Basic {token}")).map_err(|_| {
        Error::new(ErrorKind::InvalidInput, "The user name or password cannot stand in an HTTP header.")
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// A pause in seconds, or until a date.
fn pause(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default())
}

/// What is wrong with the server's certificate, when that is why there is no connection.
fn certificate_fault(error: &reqwest::Error) -> Option<String> {
    // The TLS library's own type is not to be had through this many wrappers; its text is.
    let sources = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source());
    let text = sources.map(ToString::to_string).find(|text| text.starts_with("invalid peer certificate: "))?;
    Some(text.trim_start_matches("invalid peer certificate: ").to_owned())
}

/// The address of something under the repository's.
fn under(base: &Url, tail: &str) -> Url {
    let mut url = base.clone();
    let (path, query) = tail.split_once('?').map_or((tail, None), |(path, query)| (path, Some(query)));
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url.set_query(query);
    url
}

/// The repository's address, from the one that its advertisement has.
fn base_of(url: &Url) -> Option<Url> {
    let mut base = url.clone();
    base.set_path(url.path().strip_suffix("/info/refs")?);
    base.set_query(None);
    Some(base)
}

/// A URL without user, password and query, to be shown.
pub(super) fn scrubbed(url: &Url) -> String {
    let mut url = url.clone();
    // These fail only for URLs that cannot have a user, which then have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}
