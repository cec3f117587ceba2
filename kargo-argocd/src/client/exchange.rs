//! One request and its answer.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use kargo_core::{Error, ErrorKind, Result, Retry};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::auth::Credentials;
use super::fault::{api_error, clean, explain, is_json, not_json};
use super::{Client, Snapshot};

/// No application is this large; an endless answer is cut off here.
const MAX_BODY: usize = 64 << 20;

/// An answer with a good status and JSON in it.
pub(super) struct Answer {
    body: Vec<u8>,
    pub(super) server_time: Option<Timestamp>,
    what: String,
}

impl Answer {
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| self.of_another_shape().because(error))
    }

    pub(super) fn of_another_shape(&self) -> Error {
        Error::new(
            ErrorKind::InvalidResponse,
            format!("Asked to {}, Argo CD answered with JSON of another shape than this client knows.", self.what),
        )
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        let snapshot = Snapshot { app: self.decode()?, server_time: self.server_time };
        // All fields are optional, so that `{}` would decode, and look like an application that runs nothing.
        if snapshot.app.metadata.name.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                format!("Asked to {}, Argo CD answered with something that is not an application.", self.what),
            ));
        }
        Ok(snapshot)
    }
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

/// One request to make.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, String)],
    pub(super) body: Option<&'a Value>,
    /// Completes "refused to …".
    pub(super) what: &'a str,
    /// How long it may take in all. Default: as long as a request may take.
    pub(super) timeout: Option<Duration>,
}

impl<'a> Ask<'a> {
    pub(super) fn get(path: &'a [&'a str], query: &'a [(&'a str, String)], what: &'a str) -> Self {
        Self { method: Method::GET, path, query, body: None, what, timeout: None }
    }

    pub(super) fn post(path: &'a [&'a str], body: &'a Value, what: &'a str) -> Self {
        Self { method: Method::POST, body: Some(body), ..Self::get(path, &[], what) }
    }
}

impl Client {
    /// Sends a request and reads its answer, logging in once when that is needed.
    pub(super) async fn call(&self, ask: &Ask<'_>) -> Result<Answer> {
        let timeout = ask.timeout.unwrap_or(self.0.timeout);
        let (answer, secrets) = self.authenticated(ask, Some(timeout)).await?;
        self.answer(answer, &secrets, ask.what).await
    }

    /// Opens a stream of server-sent events, which has no end of its own.
    pub(super) async fn stream(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        what: &str,
    ) -> Result<reqwest::Response> {
        let (answer, secrets) = self.authenticated(&Ask::get(path, query, what), None).await?;
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/event-stream") || is_json(answer.headers()) {
            return Ok(answer);
        }
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = self.read(answer, what).await?;
        Err(not_json(status, &headers, &bytes, what, self.host(), &exposed(&secrets)))
    }

    /// Sends a request, logging in when that is needed, and again once when the session has expired. Streams have no timeout.
    async fn authenticated(
        &self,
        ask: &Ask<'_>,
        timeout: Option<Duration>,
    ) -> Result<(reqwest::Response, Vec<SecretString>)> {
        let logs_in = matches!(self.0.session.credentials, Credentials::Login { .. });
        let mut token = self.0.session.token().await;
        if token.is_none() && logs_in {
            token = Some(self.0.session.renew(None, self.log_in()).await?);
        }
        match self.exchange(ask, timeout, token.as_ref()).await {
            // Once, never in a loop: servers lock accounts out, and a herd of clients after an expiry hurts.
            Err(error) if error.kind() == ErrorKind::Unauthenticated && logs_in => {
                let renewed = self.0.session.renew(token.as_ref(), self.log_in()).await?;
                Ok((self.exchange(ask, timeout, Some(&renewed)).await?, self.secrets(Some(&renewed))))
            }
            other => Ok((other?, self.secrets(token.as_ref()))),
        }
    }

    /// What must not show in an error.
    fn secrets(&self, token: Option<&SecretString>) -> Vec<SecretString> {
        let mut secrets: Vec<SecretString> = token.into_iter().cloned().collect();
        if let Credentials::Login { password, .. } = &self.0.session.credentials {
            secrets.push(password.clone());
        }
        secrets
    }

    async fn log_in(&self) -> Result<SecretString> {
        let Credentials::Login { username, password } = &self.0.session.credentials else {
            return Err(Error::new(ErrorKind::Unauthenticated, "There is no name and password to log in with."));
        };
        let body = json!({ "username": username, "password": password.expose_secret() });
        let path = ["api", "v1", "session"];
        let what = format!("log {username} in");
        let answer = self.exchange(&Ask::post(&path, &body, &what), Some(self.0.timeout), None).await?;
        let answer = self.answer(answer, &self.secrets(None), &what).await?;
        // Without its source, whose text could show a part of the token.
        let token = serde_json::from_slice::<Token>(&answer.body).map_err(|_| answer.of_another_shape())?;
        Ok(token.token.into())
    }

    fn url(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.0.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The host with its port, when it has one: on one machine there may be several servers.
    fn host(&self) -> &str {
        self.0.base.authority()
    }

    /// Sends a request; an answer with a bad status is an error.
    async fn exchange(
        &self,
        ask: &Ask<'_>,
        timeout: Option<Duration>,
        token: Option<&SecretString>,
    ) -> Result<reqwest::Response> {
        let what = ask.what;
        let mut request = self.0.http.request(ask.method.clone(), self.url(ask.path, ask.query));
        request = match timeout {
            Some(timeout) => request.timeout(timeout),
            // In this form the server sends a comment now and then, by which silence is told from death.
            None => request.header(ACCEPT, "text/event-stream"),
        };
        if ask.method != Method::GET {
            // Argo CD compares the whole header with exactly this, also where there is no body.
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
                Error::new(
                    ErrorKind::Unauthenticated,
                    "The token for Argo CD holds characters that cannot be sent, such as a line break; trim it.",
                )
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(body) = ask.body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| self.unreachable(error, what))?;
        let status = answer.status();
        let headers = answer.headers().clone();
        if status.is_redirection() {
            return Err(self.redirected(status, &headers, what));
        }
        if !status.is_success() {
            // Where a stream is asked for, nothing else sets an end to reading.
            let limit = timeout.unwrap_or(self.0.timeout);
            let bytes =
                tokio::time::timeout(limit, self.read(answer, what)).await.unwrap_or_else(|_| Ok(Vec::new()))?;
            let secrets = self.secrets(token);
            let api = api_error(status.as_u16(), &headers, &bytes, &exposed(&secrets));
            return Err(explain(api, &headers, what, self.host()));
        }
        Ok(answer)
    }

    /// Reads an answer with a good status.
    async fn answer(&self, answer: reqwest::Response, secrets: &[SecretString], what: &str) -> Result<Answer> {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = self.read(answer, what).await?;
        if !is_json(&headers) {
            return Err(not_json(status, &headers, &bytes, what, self.host(), &exposed(secrets)));
        }
        Ok(Answer { body: bytes, server_time: server_time(&headers), what: what.to_owned() })
    }

    async fn read(&self, mut answer: reqwest::Response, what: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreachable(error, what))? {
            if bytes.len() + chunk.len() > MAX_BODY {
                return Err(Error::new(
                    ErrorKind::InvalidResponse,
                    format!("Asked to {what}, {} sent more than {} MiB.", self.host(), MAX_BODY >> 20),
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn unreachable(&self, error: reqwest::Error, what: &str) -> Error {
        let host = self.host();
        // The URL holds nothing secret, but the message names the host already.
        let error = error.without_url();
        if error.is_timeout() {
            let text =
                format!("Argo CD at {host}, asked to {what}, did not answer in time; whether it did is not known.");
            return Error::new(ErrorKind::Timeout, text).because(error);
        }
        if is_about_a_certificate(&error) {
            let text = format!(
                "Argo CD at {host}, asked to {what}, shows a certificate that is not trusted for this address. Give the authority that signed it \
                 with `root_certificates_pem`, or use the address that it is made out to."
            );
            // It will not be trusted the next time either.
            return Error::new(ErrorKind::Unavailable, text).retry_as(Retry::Never).because(error);
        }
        let text =
            format!("Argo CD at {host}, asked to {what}, cannot be reached. Is the address right, and the server up?");
        Error::new(ErrorKind::Unavailable, text).because(error)
    }

    fn redirected(&self, status: StatusCode, headers: &HeaderMap, what: &str) -> Error {
        let to = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("somewhere");
        Error::new(
            ErrorKind::InvalidResponse,
            format!(
                "Asked to {what}, {} sends elsewhere (HTTP {}, to {}). Use the address that the API itself has.",
                self.host(),
                status.as_u16(),
                clean(to, &[])
            ),
        )
    }
}

/// Whether a server was not reached because of its certificate. The library that checks it tells that in words alone.
fn is_about_a_certificate(error: &reqwest::Error) -> bool {
    let mut causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.any(|cause| cause.to_string().contains("invalid peer certificate"))
}

fn exposed(secrets: &[SecretString]) -> Vec<&str> {
    secrets.iter().map(ExposeSecret::expose_secret).collect()
}

fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_time_is_read_from_the_date() {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(server_time(&headers).map(|time| time.to_string()).as_deref(), Some("1994-11-06T08:49:37Z"));
    }

    #[test]
    fn the_root_path_stays_in_front_and_names_are_escaped() {
        let client = Client::builder("https://argocd.example/root/").build().unwrap();
        let url = client.url(&["api", "v1", "applications", "a/b"], &[("refresh", "normal".to_owned())]);
        assert_eq!(url.as_str(), "https://argocd.example/root/api/v1/applications/a%2Fb?refresh=normal");
    }
}
