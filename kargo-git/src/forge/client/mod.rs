//! Requests to a forge's API in the name of whoever has credentials for the repository.

mod fault;
mod reply;
mod wire;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::Provider;
use crate::credentials::{CredentialKind, CredentialSource, NamedCredentials};

pub(crate) use reply::Reply;
pub(crate) use wire::{Request, Wire, certificates, client};

/// No list has more pages, of up to a hundred entries each.
const MAX_PAGES: usize = 100;

/// No list is longer, in bytes; its entries come with their descriptions.
const MAX_LISTED: usize = 64 << 20;

/// What a list has cost so far. A server whose list has no end is asked for no more of it.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pages: usize,
    bytes: usize,
}

impl Listing {
    pub(super) fn count(&mut self, page: &Reply) -> Result<()> {
        self.pages += 1;
        self.bytes += page.body.len();
        if self.pages <= MAX_PAGES && self.bytes <= MAX_LISTED {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidResponse,
            format!(
                "{}, asked to {}, has no end to its list, or one of more than {MAX_PAGES} pages.",
                page.who, page.what
            ),
        ))
    }
}

/// The API for one repository.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) wire: Wire,
    pub(super) root: Url,
    pub(super) provider: Provider,
    /// The clone URL, without a password, by which credentials are looked up.
    pub(super) repository: String,
    pub(super) credentials: Arc<dyn CredentialSource>,
    /// Whether credentials may go over the network unencrypted.
    pub(super) insecure: bool,
}

/// A request to make. `what` completes "asked to …".
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    what: String,
}

impl Call {
    fn new(method: Method, path: &[&str], what: impl Into<String>) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        Self { method, path, query: Vec::new(), body: None, what: what.into() }
    }

    pub(super) fn get(path: &[&str], what: impl Into<String>) -> Self {
        Self::new(Method::GET, path, what)
    }

    pub(super) fn post(path: &[&str], body: Value, what: impl Into<String>) -> Self {
        Self::new(Method::POST, path, what).body(body)
    }

    pub(super) fn put(path: &[&str], body: Value, what: impl Into<String>) -> Self {
        Self::new(Method::PUT, path, what).body(body)
    }

    pub(super) fn patch(path: &[&str], body: Value, what: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path, what).body(body)
    }

    pub(super) fn delete(path: &[&str], what: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, what)
    }

    fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn query(mut self, key: &'static str, value: impl ToString) -> Self {
        self.query.push((key, value.to_string()));
        self
    }
}

impl Api {
    /// Whether there are credentials for the repository.
    pub(super) async fn has_token(&self, cx: &Context) -> Result<bool> {
        let found = self.credentials.get(cx, &self.repository, CredentialKind::Password).await?;
        Ok(found.is_some_and(|found| found.credentials.user_and_password().is_some()))
    }

    /// Makes a request; an answer that says no is an error.
    pub(super) async fn expect(&self, cx: &Context, call: Call) -> Result<Reply> {
        self.ask(cx, call).await?.expect()
    }

    /// Makes a request. An answer may say no, in words of the API itself; that nobody could have meant is an error.
    pub(super) async fn ask(&self, cx: &Context, call: Call) -> Result<Reply> {
        let url = self.url(&call);
        self.ask_at(cx, call, url).await
    }

    /// As [`Api::ask`], at an address that an answer named. It must be on the API's own server.
    pub(super) async fn follow(&self, cx: &Context, address: &str, what: impl Into<String>) -> Result<Reply> {
        let call = Call::get(&[], what);
        let url = Url::parse(address).ok().filter(|url| url.origin() == self.root.origin()).ok_or_else(|| {
            self.wire.odd(&call.what, "names an address for the rest of its answer that is not on the same server")
        })?;
        self.ask_at(cx, call, url).await
    }

    async fn ask_at(&self, cx: &Context, call: Call, url: Url) -> Result<Reply> {
        cx.guard("ask the forge", async {
            let found = self.credentials.get(cx, &self.repository, CredentialKind::Password).await?;
            let first = self.send(&call, url.clone(), found.as_ref()).await;
            let refused = first.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unauthenticated);
            let Some(old) = found.as_ref().filter(|_| refused) else { return first };
            // A token may have been revoked before its time. Once, never in a loop: servers lock accounts out.
            self.credentials.refused(cx, &self.repository, old).await;
            let again = self.credentials.get(cx, &self.repository, CredentialKind::Password).await?;
            match &again {
                Some(new) if old.secret() != new.secret() => self.send(&call, url, again.as_ref()).await,
                _ => first,
            }
        })
        .await
    }

    async fn send(&self, call: &Call, url: Url, found: Option<&NamedCredentials>) -> Result<Reply> {
        let mut headers = HeaderMap::new();
        let mut secret = None;
        if let Some((user, password)) = found.and_then(|found| found.credentials.user_and_password()) {
            if url.scheme() == "http" && !crate::remote::is_loopback(&url) && !self.insecure {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!(
                        "The credentials for {} would go over the network unencrypted; use https, or allow_insecure_credentials.",
                        self.repository
                    ),
                ));
            }
            headers.insert(AUTHORIZATION, authorization(self.provider, user, password)?);
            secret = Some(password);
        }
        headers.insert(ACCEPT, HeaderValue::from_static(accept(self.provider)));
        if self.provider == Provider::GitHub {
            headers.insert(HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28"));
        }
        if self.provider == Provider::BitbucketDataCenter {
            // Without it the server takes a request with a body for one that a page has forged.
            headers.insert(HeaderName::from_static("x-atlassian-token"), HeaderValue::from_static("no-check"));
        }
        let signed_in = match found {
            Some(found) => format!("with the credentials {}", found.name),
            None => format!("without credentials, since none are set up for {}", self.repository),
        };
        let request = Request {
            method: call.method.clone(),
            url,
            headers,
            body: call.body.clone(),
            what: call.what.clone(),
            secret: secret.cloned(),
            signed_in,
        };
        self.wire.send(request).await
    }

    fn url(&self, call: &Call) -> Url {
        let mut url = self.root.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        url
    }
}

fn accept(provider: Provider) -> &'static str {
    match provider {
        Provider::GitHub => "application/vnd.github+json",
        _ => "application/json",
    }
}

/// How each provider wants to be told a token.
fn authorization(provider: Provider, user: &str, password: &SecretString) -> Result<HeaderValue> {
    let token = password.expose_secret();
    let bearer = || format!("Bearer {token}");
    let basic = |user: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{token}")));
    let text = match provider {
        Provider::GitHub | Provider::GitLab => bearer(),
        Provider::Gitea => format!("token {token}"),
        // Tokens of a repository, project or workspace have this user for Git, and are no password for the API.
        Provider::BitbucketCloud | Provider::BitbucketDataCenter if user.is_empty() || user == "x-token-auth" => {
            bearer()
        }
        Provider::BitbucketCloud | Provider::BitbucketDataCenter => basic(user),
        // Tokens of Entra ID are JSON Web Tokens; personal ones are passwords of anybody.
        Provider::Azure if token.starts_with("eyJ") => bearer(),
        Provider::Azure => basic(""),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        Error::new(
            ErrorKind::Unauthenticated,
            "The user name or token cannot stand in an HTTP header; is there a line break in it? Trim it.",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_is_told_a_token_in_its_own_way() {
        let header = |provider, user: &str, token: &str| {
            let value = authorization(provider, user, &token.into()).unwrap();
            assert!(value.is_sensitive());
            value.to_str().unwrap().to_owned()
        };
        assert_eq!(header(Provider::GitHub, "x-access-token", "t"), "Bearer t");
        assert_eq!(header(Provider::GitLab, "oauth2", "t"), "Bearer t");
        assert_eq!(header(Provider::Gitea, "kargo", "t"), "token t");
        assert_eq!(header(Provider::BitbucketCloud, "x-token-auth", "t"), "Bearer t");
        assert_eq!(header(Provider::BitbucketCloud, "me@example.org", "t"), "Basic bWVAZXhhbXBsZS5vcmc6dA==");
        assert_eq!(header(Provider::BitbucketDataCenter, "", "t"), "Bearer t");
        assert_eq!(header(Provider::Azure, "kargo", "t"), "Basic OnQ=");
        assert_eq!(header(Provider::Azure, "kargo", "eyJ0"), "Bearer eyJ0");
        let error = authorization(Provider::GitHub, "x", &"to\nken".into()).unwrap_err();
        assert!(error.message().contains("line break") && !error.report().contains("ken\""), "{error}");
    }
}
