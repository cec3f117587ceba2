//! Putting a client together.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kargo_core::{Error, ErrorKind, Result};
use reqwest::{Certificate, Url, redirect};
use secrecy::SecretString;

use super::auth::{Credentials, Session};
use super::{Client, Inner};

/// Collects what a [`Client`] needs.
#[derive(Debug)]
pub struct ClientBuilder {
    url: String,
    credentials: Credentials,
    roots: Vec<Vec<u8>>,
    http: Option<reqwest::Client>,
    timeout: Duration,
    refresh_timeout: Duration,
}

impl ClientBuilder {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            credentials: Credentials::None,
            roots: Vec::new(),
            http: None,
            timeout: Duration::from_secs(30),
            refresh_timeout: Duration::from_secs(45),
        }
    }

    /// Uses a token of an account or of a project's role. Best for an engine: it does not expire in the middle of the night.
    #[must_use]
    pub fn token(self, token: impl Into<SecretString>) -> Self {
        self.credentials(Credentials::Token(token.into()))
    }

    /// Logs in with a name and a password when a token is needed, and again once when it has expired.
    #[must_use]
    pub fn login(self, username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        self.credentials(Credentials::Login { username: username.into(), password: password.into() })
    }

    /// Sets the credentials. Default: none.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Trusts one more certificate authority, in PEM form; several may stand in it.
    #[must_use]
    pub fn root_certificates_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// Uses the host's own HTTP client. Then its certificates count, not those given here.
    #[must_use]
    pub fn http_client(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// How long one request may take. Default: 30 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a request with a refresh may take. Default: 45 seconds. Argo CD answers it only after the comparison, and never when
    /// its controller is down.
    #[must_use]
    pub fn refresh_timeout(mut self, timeout: Duration) -> Self {
        self.refresh_timeout = timeout;
        self
    }

    /// The client.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the URL or a certificate cannot be used.
    pub fn build(self) -> Result<Client> {
        let fault = |text: String| Error::new(ErrorKind::InvalidInput, text).operation("set up the Argo CD client");
        let mut base = Url::parse(self.url.trim()).map_err(|error| {
            fault("The URL of the Argo CD server cannot be read; write it like https://argocd.example.".into())
                .because(error)
        })?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(fault(
                "The URL of the Argo CD server must begin with https:// or http:// and name a host.".into(),
            ));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(fault("The URL of the Argo CD server must not hold a name or password; give a token.".into()));
        }
        base.set_query(None);
        base.set_fragment(None);
        let http = match self.http {
            Some(http) => http,
            None => {
                // A redirect would turn a POST into a GET, or carry the token elsewhere: better to be told the right URL.
                let mut builder = reqwest::Client::builder()
                    .redirect(redirect::Policy::none())
                    .connect_timeout(Duration::from_secs(10))
                    .user_agent(concat!("kargo-argocd/", env!("CARGO_PKG_VERSION")));
                let mut roots = Vec::new();
                for pem in &self.roots {
                    let found = Certificate::from_pem_bundle(pem).map_err(|error| {
                        fault("A certificate authority given for Argo CD is not in PEM form.".into()).because(error)
                    })?;
                    if found.is_empty() {
                        return Err(fault("A certificate authority given for Argo CD holds no certificate.".into()));
                    }
                    roots.extend(found);
                }
                // The environment's proxy is for other machines; it could not reach this one.
                if is_loopback(&base) {
                    builder = builder.no_proxy();
                }
                if !roots.is_empty() {
                    builder = builder.tls_certs_merge(roots);
                }
                builder.build().map_err(|error| fault("The HTTP client cannot be set up.".into()).because(error))?
            }
        };
        Ok(Client(Arc::new(Inner {
            http,
            base,
            session: Session::new(self.credentials),
            timeout: self.timeout,
            refresh_timeout: self.refresh_timeout,
            watch: OnceLock::new(),
        })))
    }
}

fn is_loopback(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str) -> String {
        Client::builder(url).build().unwrap_err().report()
    }

    #[test]
    fn an_address_that_cannot_be_meant_is_refused_without_showing_what_is_secret() {
        assert!(fault("argocd.example").contains("https://"));
        assert!(fault("ftp://argocd.example").contains("https://"));
        let text = fault("https://kargo:hunter2@argocd.example");
        assert!(text.contains("give a token") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_certificate_authority_must_be_one() {
        for pem in ["", "not a certificate"] {
            let error = Client::builder("https://argocd.example").root_certificates_pem(pem).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn neither_a_builder_nor_a_client_shows_its_credentials() {
        let builder = Client::builder("https://argocd.example").login("kargo", "hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"));
        assert!(!format!("{:?}", builder.token("tok.en.1").build().unwrap()).contains("tok.en"));
    }
}
