//! Answers registries' challenges, and remembers tokens for exactly what they were given for.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::challenge::Challenge;
use super::exchange::Http;
use super::realm;
use super::token::{Token, TokenRequest, fetch};
use crate::credentials::{CredentialSource, Credentials};
use crate::repository::{Repository, host_without_port, sha256_hex};

/// What a request does. Registries may ask for different scopes, so what they asked is remembered by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    List,
    Read,
    Write,
    /// Fetching a file of a server that is no registry.
    File,
}

/// How long credentials are used before their source is asked again.
const CREDENTIALS_LIFETIME: Duration = Duration::from_secs(300);

/// How many challenges, credentials and tokens are remembered, of each.
const REMEMBERED: usize = 10_000;

/// How many rounds it takes to make of credentials what may be written down: some milliseconds, once for each repository.
const ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).expect("more than none");

/// How many names of other credentials an error has at most.
const NEAR: usize = 5;

/// A hash of credentials: enough to see whether they are the same.
type Fingerprint = String;

#[derive(Clone)]
struct Known {
    credentials: Credentials,
    fingerprint: Fingerprint,
    until: Timestamp,
    /// See [`Auth::asker`].
    asker: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    realm: String,
    service: Option<String>,
    scope: String,
    credentials: Fingerprint,
}

/// The turn of a first request. When it ends, however that is, all others may ask.
pub(super) struct First(OwnedMutexGuard<bool>);

impl Drop for First {
    fn drop(&mut self) {
        *self.0 = true;
    }
}

/// Whether a first request has been answered, for one task to hold while it makes it.
type Turns = Mutex<HashMap<(Repository, Purpose), Arc<Mutex<bool>>>>;

/// A slot that one task fills while the others wait for it.
type Slots<K, V> = Mutex<HashMap<K, Arc<Mutex<Option<V>>>>>;

pub(super) struct Auth {
    source: Arc<dyn CredentialSource>,
    trusted_realms: Vec<String>,
    challenges: Mutex<HashMap<(Repository, Purpose), Challenge>>,
    /// Whether the registry has answered a first request yet.
    firsts: Turns,
    credentials: Slots<Repository, Known>,
    tokens: Slots<TokenKey, Token>,
}

// Tokens and hashes of passwords are nobody's business, so only what was configured is shown.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("source", &self.source)
            .field("trusted_realms", &self.trusted_realms)
            .finish_non_exhaustive()
    }
}

impl Auth {
    pub(super) fn new(source: Arc<dyn CredentialSource>, trusted_realms: Vec<String>) -> Self {
        Self {
            source,
            trusted_realms,
            challenges: Mutex::default(),
            firsts: Mutex::default(),
            credentials: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    /// What the registry asked for the last time.
    pub(super) async fn remembered(&self, repository: &Repository, purpose: Purpose) -> Option<Challenge> {
        self.challenges.lock().await.get(&(repository.clone(), purpose)).cloned()
    }

    /// Forgets what the registry asked for.
    pub(super) async fn forget(&self, repository: &Repository, purpose: Purpose) {
        let key = (repository.clone(), purpose);
        self.challenges.lock().await.remove(&key);
        self.firsts.lock().await.remove(&key);
    }

    /// Lets one of those through that ask a repository for the first time, and has the others wait until it knows what the registry wants:
    /// otherwise each of them would be refused first. Nothing when that is known.
    pub(super) async fn first(&self, repository: &Repository, purpose: Purpose) -> Option<First> {
        let turn = {
            let mut firsts = self.firsts.lock().await;
            bound(&mut firsts);
            Arc::clone(firsts.entry((repository.clone(), purpose)).or_default())
        };
        let turn = turn.lock_owned().await;
        (!*turn).then_some(First(turn))
    }

    /// Whose credentials a repository was asked with the last time, when it has wanted any. It tells credentials apart and is slow to try
    /// out passwords with, since it is written down.
    pub(super) async fn asker(&self, repository: &Repository) -> String {
        let slot = self.credentials.lock().await.get(repository).map(Arc::clone);
        let Some(slot) = slot else { return String::new() };
        let mut slot = slot.lock().await;
        let Some(known) = slot.as_mut() else { return String::new() };
        let asker = || {
            let mut derived = [0; 16];
            let salt = format!("kargo-oci asker {repository}");
            let secret = known.fingerprint.as_bytes();
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt.as_bytes(), secret, &mut derived);
            derived.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        known.asker.get_or_insert_with(asker).clone()
    }

    /// The challenge that a server of files is answered before it has asked, when there are credentials for it.
    pub(super) async fn unasked(&self, cx: &Context, place: &Repository) -> Result<Option<Challenge>> {
        let known = self.known(cx, place, None).await?;
        Ok(matches!(known.credentials, Credentials::Basic { .. }).then_some(Challenge::Basic))
    }

    /// Answers `challenge`. `rejected` is what the registry did not accept just now: nothing equal to it is returned.
    pub(super) async fn answer(
        &self,
        cx: &Context,
        http: &Http,
        target: &Target<'_>,
        challenge: &Challenge,
        rejected: Option<&HeaderValue>,
    ) -> Result<HeaderValue> {
        let Target { repository, purpose, .. } = *target;
        {
            let mut challenges = self.challenges.lock().await;
            bound(&mut challenges);
            challenges.insert((repository.clone(), purpose), challenge.clone());
        }
        match challenge {
            Challenge::Basic => {
                let mut known = self.known(cx, repository, None).await?;
                let mut header = basic(&known.credentials).transpose()?;
                if header.is_some() && header.as_ref() == rejected {
                    // Perhaps the password has been changed since it was read.
                    let before = known.fingerprint.clone();
                    known = self.known(cx, repository, Some(&before)).await?;
                    header = basic(&known.credentials).transpose()?;
                }
                let header = header.filter(|header| Some(header) != rejected);
                header.ok_or_else(|| self.rejected(repository, &known.credentials))
            }
            Challenge::Bearer { realm, service, scope } => {
                if let Some(header) = self.fixed_token(cx, repository, rejected).await? {
                    return Ok(header);
                }
                let realm = realm::check(target.url, realm, &self.trusted_realms)?;
                let mut known = self.known(cx, repository, None).await?;
                let actions = if purpose == Purpose::Write { "pull,push" } else { "pull" };
                let mut scope = match scope {
                    Some(scope) if !scope.is_empty() => scope.clone(),
                    _ => format!("repository:{}:{actions}", repository.name()),
                };
                // Not every registry says that it wants this too.
                if let Some(other) = target.also_reads.map(|other| format!("repository:{}:", other.name()))
                    && !scope.contains(&other)
                {
                    scope.push_str(&format!(" {other}pull"));
                }
                let led_by = (!realm::is_trusted(&realm, &self.trusted_realms)).then_some(target.url);
                let ask =
                    TokenRequest { realm: &realm, service: service.as_deref(), scope: &scope, repository, led_by };
                match self.token(cx, http, &ask, &known, rejected).await {
                    // The token server says that the password is wrong; perhaps it has been changed since it was read.
                    Err(error) if error.kind() == ErrorKind::Unauthenticated => {
                        let before = known.fingerprint.clone();
                        known = self.known(cx, repository, Some(&before)).await?;
                        if known.fingerprint == before {
                            return Err(error);
                        }
                        self.token(cx, http, &ask, &known, rejected).await
                    }
                    other => other,
                }
            }
        }
    }

    /// The token that is shown as it is, when there is one.
    async fn fixed_token(
        &self,
        cx: &Context,
        repository: &Repository,
        rejected: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        let mut known = self.known(cx, repository, None).await?;
        for _ in 0..2 {
            let Credentials::Bearer(token) = &known.credentials else { return Ok(None) };
            let header = secret_header(format!("Bearer {}", token.expose_secret())).ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, format!("The token for {repository} cannot be sent."))
            })?;
            if Some(&header) != rejected {
                return Ok(Some(header));
            }
            // Perhaps the token has been renewed since it was read.
            let before = known.fingerprint.clone();
            known = self.known(cx, repository, Some(&before)).await?;
        }
        Err(self.rejected(repository, &known.credentials))
    }

    /// The error of credentials that were not accepted, or of there being none.
    fn rejected(&self, repository: &Repository, credentials: &Credentials) -> Error {
        let host = repository.host();
        let text = match credentials {
            Credentials::Anonymous => {
                let is_near = |name: &String| {
                    let other = name.split('/').next().unwrap_or(name);
                    host_without_port(other) == host_without_port(host)
                };
                let near: Vec<String> = self.source.names().into_iter().filter(is_near).take(NEAR).collect();
                let near = match near.as_slice() {
                    [] => String::new(),
                    near => format!(" There are some for {}, which do not cover it.", near.join(", ")),
                };
                format!(
                    "The registry {host} wants credentials for {repository}, and none are configured for this host or \
                     repository.{near}"
                )
            }
            Credentials::Basic { user, .. } => format!(
                "The registry {host} rejected user {user:?} for {repository}; is the password right and still valid?"
            ),
            Credentials::Identity(_) => format!(
                "The registry {host} rejected the identity token for {repository}; is it still valid, and does the registry take \
                 such tokens?"
            ),
            Credentials::Bearer(_) => {
                format!(
                    "The registry {host} rejected the token for {repository}; is it still valid, and for this repository?"
                )
            }
        };
        Error::new(ErrorKind::Unauthenticated, text)
    }

    async fn known(&self, cx: &Context, repository: &Repository, rejected: Option<&Fingerprint>) -> Result<Known> {
        let slot = {
            let mut credentials = self.credentials.lock().await;
            bound(&mut credentials);
            Arc::clone(credentials.entry(repository.clone()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(known) =
            slot.as_ref().filter(|known| cx.now() < known.until && Some(&known.fingerprint) != rejected)
        {
            return Ok(known.clone());
        }
        let deadline = self.source.deadline();
        let asked = tokio::time::timeout(deadline, self.source.get(repository.host(), repository.name()));
        let credentials = asked.await.map_err(|_| {
            Error::new(
                ErrorKind::Timeout,
                format!("The credentials for {repository} were not provided within {deadline:?}."),
            )
        })??;
        let fingerprint = match &credentials {
            Credentials::Anonymous => String::new(),
            Credentials::Basic { user, password } => {
                sha256_hex(format!("{user}\0{}", password.expose_secret()).as_bytes())
            }
            Credentials::Identity(token) => sha256_hex(format!("\0identity\0{}", token.expose_secret()).as_bytes()),
            Credentials::Bearer(token) => sha256_hex(format!("\0bearer\0{}", token.expose_secret()).as_bytes()),
        };
        let until = cx.now().checked_add(CREDENTIALS_LIFETIME).unwrap_or(Timestamp::MAX);
        let before = slot.take().filter(|before| before.fingerprint == fingerprint);
        let asker = before.and_then(|before| before.asker);
        Ok(slot.insert(Known { credentials, fingerprint, until, asker }).clone())
    }

    async fn token(
        &self,
        cx: &Context,
        http: &Http,
        ask: &TokenRequest<'_>,
        known: &Known,
        rejected: Option<&HeaderValue>,
    ) -> Result<HeaderValue> {
        let key = TokenKey {
            realm: ask.realm.to_string(),
            service: ask.service.map(str::to_owned),
            scope: ask.scope.to_owned(),
            credentials: known.fingerprint.clone(),
        };
        let slot = {
            let mut tokens = self.tokens.lock().await;
            // Tokens that are past their time would otherwise pile up in a process that runs for months.
            bound(&mut tokens);
            Arc::clone(tokens.entry(key).or_default())
        };
        let mut slot = slot.lock().await;
        let is_rejected = |token: &Token| rejected == Some(&token.header);
        if let Some(token) = slot.as_ref().filter(|token| cx.now() < token.until && !is_rejected(token)) {
            return Ok(token.header.clone());
        }
        *slot = None;
        let token = match fetch(cx, http, ask, &known.credentials).await? {
            Some(token) => token,
            None => return Err(self.rejected(ask.repository, &known.credentials)),
        };
        Ok(slot.insert(token).header.clone())
    }
}

/// Forgets all when there is too much of it; what is still needed is asked for again.
fn bound<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= REMEMBERED {
        map.clear();
    }
}

/// The request that is to be authorised.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) repository: &'a Repository,
    pub(super) url: &'a Url,
    pub(super) purpose: Purpose,
    /// Another repository of the registry that is read along.
    pub(super) also_reads: Option<&'a Repository>,
}

pub(super) fn secret_header(text: String) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

pub(super) fn basic(credentials: &Credentials) -> Option<Result<HeaderValue>> {
    let Credentials::Basic { user, password } = credentials else { return None };
    let text = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
    Some(secret_header(format!("Basic {text}")).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, format!("The credentials of user {user:?} cannot be sent."))
    }))
}

#[cfg(test)]
mod tests {
    use super::super::names::Names;
    use super::*;
    use crate::credentials::StaticCredentials;

    #[tokio::test]
    async fn what_is_remembered_of_repositories_does_not_grow_without_end() {
        let auth = Auth::new(Arc::new(StaticCredentials::new()), Vec::new());
        let http = Http { client: reqwest::Client::new(), names: Names::of_system() };
        let cx = Context::system("test");
        for number in 0..REMEMBERED + 5 {
            let repository = Repository::parse(&format!("r.example/preview/{number}")).unwrap();
            let url = Url::parse("https://r.example/v2/").unwrap();
            let target = Target { repository: &repository, url: &url, purpose: Purpose::Read, also_reads: None };
            auth.answer(&cx, &http, &target, &Challenge::Basic, None).await.unwrap_err();
        }
        assert_eq!(auth.challenges.lock().await.len(), 5);
        assert_eq!(auth.credentials.lock().await.len(), 5);
    }
}
