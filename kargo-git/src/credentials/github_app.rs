//! A GitHub App as a source of credentials: tokens of its installations, for one repository each.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::jwt::Key;
use super::{CredentialKind, CredentialSource, NamedCredentials};
use crate::forge::{Reply, Request, Wire, certificates, client, host_and_path};
use crate::remote::Credentials;

/// How long before its end a token is renewed: longer than a call may take.
const MARGIN: Duration = Duration::from_secs(10 * 60);

/// A GitHub App: signs a token of its own with its private key, and exchanges it for one that opens a single repository for an hour.
///
/// Tokens are kept, renewed ten minutes before their end, and fetched once for all who ask at the same time. Git takes them as the
/// password of the user `x-access-token`. Each opens no other repository than the one that was asked about.
///
/// ```no_run
/// use kargo_git::{CredentialRules, Forges, GitHubApp, GitSource, GitSteps};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = GitHubApp::builder("Iv23liAbCdEf", std::fs::read_to_string("app.pem")?).build()?;
/// let rules = CredentialRules::new().ask("github.com/acme", app);
/// let steps = GitSteps::new(GitSource::new().credentials_from(rules.clone()));
/// let forges = Forges::new(rules)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct GitHubApp(Arc<Inner>);

struct Inner {
    id: String,
    key: Key,
    installation: Option<u64>,
    host: String,
    api: Url,
    http: reqwest::Client,
    timeout: Duration,
    /// By owner and name. Each has a lock of its own, held while a token is fetched.
    tokens: Mutex<HashMap<String, Arc<Mutex<Option<Token>>>>>,
}

struct Token {
    text: SecretString,
    expires_at: Timestamp,
}

/// Collects what a [`GitHubApp`] needs.
pub struct GitHubAppBuilder {
    id: String,
    key: SecretString,
    installation: Option<u64>,
    host: String,
    api: Option<String>,
    roots: Vec<Vec<u8>>,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

#[derive(Deserialize)]
struct Issued {
    token: String,
    expires_at: Timestamp,
}

impl GitHubApp {
    /// The App with this client id or App id, and its private key as the text of the `.pem` file.
    pub fn builder(id: impl Into<String>, private_key: impl Into<SecretString>) -> GitHubAppBuilder {
        GitHubAppBuilder {
            id: id.into(),
            key: private_key.into(),
            installation: None,
            host: "github.com".to_owned(),
            api: None,
            roots: Vec::new(),
            timeout: Duration::from_secs(30),
        }
    }

    /// Asks the API in the App's own name.
    async fn ask(&self, cx: &Context, path: &[&str], body: Option<Value>, what: String) -> Result<Reply> {
        let jwt = self.0.key.token(&self.0.id, cx.now())?;
        let mut url = self.0.api.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", jwt.expose_secret())).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "The id of the GitHub App cannot stand in a token.").because(error)
        })?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let who = format!("GitHub at {}", self.0.api.authority());
        let signed_in = format!("with the private key of the GitHub App {}", self.0.id);
        let wire = Wire { http: self.0.http.clone(), timeout: self.0.timeout, who };
        cx.guard(
            "ask for a token of the GitHub App",
            wire.send(Request { method, url, headers, body, what, secret: Some(jwt), signed_in }),
        )
        .await
    }

    async fn issue(&self, cx: &Context, owner: &str, name: &str) -> Result<Token> {
        let installation = match self.0.installation {
            Some(id) => id,
            None => {
                let what = format!("find the installation of the GitHub App {} for {owner}/{name}", self.0.id);
                let reply = self.ask(cx, &["repos", owner, name, "installation"], None, what).await?;
                if reply.status == 404 {
                    return Err(Error::new(
                        ErrorKind::PermissionDenied,
                        format!("The GitHub App {} is not installed for {owner}/{name}; install it there.", self.0.id),
                    ));
                }
                reply.expect()?.json::<Installation>()?.id
            }
        };
        let what = format!("make a token of the GitHub App {} for {owner}/{name}", self.0.id);
        let installation = installation.to_string();
        let path = ["app", "installations", &installation, "access_tokens"];
        let reply = self.ask(cx, &path, Some(json!({"repositories": [name]})), what).await?;
        let Issued { token, expires_at } = reply.expect()?.json()?;
        Ok(Token { text: token.into(), expires_at })
    }

    /// Owner and name of a repository on the App's own server. Others are shown nothing, for what the App signs would open it to them.
    fn owner_and_name(&self, url: &str) -> Option<(String, String)> {
        let (_, path) = host_and_path(url).filter(|(host, _)| *host == self.0.host)?;
        let (owner, name) = path.split_once('/').filter(|(_, name)| !name.is_empty() && !name.contains('/'))?;
        Some((owner.to_owned(), name.to_owned()))
    }

    async fn slot(&self, owner: &str, name: &str) -> Arc<Mutex<Option<Token>>> {
        let mut tokens = self.0.tokens.lock().await;
        Arc::clone(tokens.entry(format!("{owner}/{name}").to_lowercase()).or_default())
    }
}

#[async_trait]
impl CredentialSource for GitHubApp {
    async fn get(&self, cx: &Context, url: &str, kind: CredentialKind) -> Result<Option<NamedCredentials>> {
        let place = self.owner_and_name(url).filter(|_| kind == CredentialKind::Password);
        let Some((owner, name)) = place else { return Ok(None) };
        let slot = self.slot(&owner, &name).await;
        // Whoever comes while a token is fetched waits for that one.
        let mut held = cx.guard("wait for a token of the GitHub App", async { Ok(slot.lock().await) }).await?;
        let good = |token: &Token| {
            Duration::try_from(token.expires_at.duration_since(cx.now())).is_ok_and(|left| left > MARGIN)
        };
        if !held.as_ref().is_some_and(good) {
            *held = Some(self.issue(cx, &owner, &name).await?);
        }
        Ok(held.as_ref().map(|token| {
            let credentials = Credentials::basic("x-access-token", token.text.clone());
            NamedCredentials::new(format!("of the GitHub App {}", self.0.id), credentials)
        }))
    }

    async fn refused(&self, _: &Context, url: &str, refused: &NamedCredentials) {
        let Some((owner, name)) = self.owner_and_name(url) else { return };
        let slot = self.slot(&owner, &name).await;
        let mut held = slot.lock().await;
        // Somebody else may have had it renewed already.
        if held.as_ref().is_some_and(|token| Some(token.text.expose_secret()) == refused.secret()) {
            *held = None;
        }
    }
}

impl GitHubAppBuilder {
    /// Uses this installation. Default: the one that is found for each repository, at the cost of one more request.
    #[must_use]
    pub fn installation(mut self, id: u64) -> Self {
        self.installation = Some(id);
        self
    }

    /// The server on which the App lives, with its port when that is not the scheme's. Default: `github.com`. Repositories on other
    /// servers get no credentials.
    #[must_use]
    pub fn host(mut self, host: impl AsRef<str>) -> Self {
        self.host = host.as_ref().to_ascii_lowercase();
        self
    }

    /// Where the API is. Default: `https://api.github.com` for github.com, `https://api.<host>` under ghe.com, else
    /// `https://<host>/api/v3`. Unencrypted only on this machine.
    #[must_use]
    pub fn api(mut self, address: impl Into<String>) -> Self {
        self.api = Some(address.into());
        self
    }

    /// Trusts the certificates in this PEM text besides the system's.
    #[must_use]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// How long one request may take. Default: 30 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The App. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a key, an address or certificates that cannot be read.
    pub fn build(self) -> Result<GitHubApp> {
        let address = self.api.unwrap_or_else(|| match self.host.as_str() {
            "github.com" => "https://api.github.com/".to_owned(),
            host if host.ends_with(".ghe.com") => format!("https://api.{host}/"),
            host => format!("https://{host}/api/v3/"),
        });
        let api = Url::parse(&address)
            .ok()
            .filter(|url| url.scheme() == "https" || (url.scheme() == "http" && Wire::is_here(url)));
        let api = api.filter(|url| url.username().is_empty() && url.password().is_none()).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "The address of GitHub's API is none; write it as https://host/path, without a password.",
            )
        })?;
        let http = client(&certificates(&self.roots)?, Wire::is_here(&api), false)?;
        Ok(GitHubApp(Arc::new(Inner {
            id: self.id,
            key: Key::parse(&self.key)?,
            installation: self.installation,
            host: self.host,
            api,
            http,
            timeout: self.timeout,
            tokens: Mutex::default(),
        })))
    }
}

impl fmt::Debug for GitHubApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHubApp").field("id", &self.0.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for GitHubAppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHubAppBuilder").field("id", &self.id).finish_non_exhaustive()
    }
}
