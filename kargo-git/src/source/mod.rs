//! The [`Source`] for Git.

mod branch;
mod candidate;
mod filter;
mod tags;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use gix::ObjectId;
use gix::objs::Kind;
use kargo_core::artifact::normalize_git_url;
use kargo_core::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source};
use kargo_core::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::cache::{GitCache, Store};
use crate::credentials::{CredentialSource, NamedCredentials};
use crate::remote::{Asked, Connections, Credentials, Limits, Remote, Session, Timeouts, compared};
use crate::subscription::{CommitSelectionStrategy, GitSubscription, Rules};
pub use filter::CommitDetails;
use filter::Filter;

/// How many commits are looked at, by default, for as many as a subscription wants.
const SEARCH_DEPTH: u32 = 20_000;

/// Finds commits: the newest of a branch, or those of tags.
///
/// A subscription's configuration is a [`GitSubscription`]. A look that finds nothing new costs one request, a listing of the refs in
/// question, for all subscriptions to a repository that look at the same time together; else the commits that count are fetched without
/// their files, and with filters by path the directories, once for all subscriptions: see [`GitCache`]. The commit of an annotated tag is
/// the one that it is a tag of. A tag of something else is no candidate.
///
/// Filters by path compare a commit with its first parent. When none of so many commits passes that no more are looked at, that is an error,
/// and not an empty result; see [`GitSource::search_depth`].
///
/// ```
/// use kargo_git::{Credentials, GitSource};
///
/// let source = GitSource::new().credentials("https://git.example/acme", Credentials::basic("kargo", "the token"));
/// ```
#[derive(Clone)]
pub struct GitSource {
    credentials: Vec<(String, Credentials)>,
    asked: Option<Asked>,
    known_hosts: Option<String>,
    connections: Option<Connections>,
    ca: Vec<Vec<u8>>,
    timeouts: Timeouts,
    limits: Limits,
    insecure: bool,
    search_depth: u32,
    filter: Option<Filter>,
    cache: GitCache,
    client: OnceLock<reqwest::Client>,
    /// By URL. Remotes remember what their server can do, so that a look with nothing new is one request.
    remotes: Arc<Mutex<HashMap<String, Remote>>>,
}

impl Default for GitSource {
    fn default() -> Self {
        Self {
            credentials: Vec::new(),
            asked: None,
            known_hosts: None,
            connections: Some(Connections::default()),
            ca: Vec::new(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            insecure: false,
            search_depth: SEARCH_DEPTH,
            filter: None,
            cache: GitCache::new(),
            client: OnceLock::new(),
            remotes: Arc::default(),
        }
    }
}

impl GitSource {
    /// A source without credentials.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses these for repositories whose URL begins with `url_prefix`, up to a `/` or its end. The longest prefix that fits wins.
    /// Spellings are compared as Kargo normalizes them.
    #[must_use]
    pub fn credentials(mut self, url_prefix: &str, credentials: Credentials) -> Self {
        let prefix = compared(url_prefix).unwrap_or_else(|_| normalize_git_url(url_prefix));
        self.credentials.push((prefix, credentials));
        self.forget()
    }

    /// Asks `source` for the credentials of repositories for which [`GitSource::credentials`] have none: before each look, and for
    /// [`GitSteps`](crate::GitSteps) in each step and each attempt to push, so that a token which lives for an hour is renewed in a
    /// promotion that takes longer. More at [`RemoteBuilder::credentials_from`](crate::RemoteBuilder::credentials_from).
    ///
    /// ```
    /// use kargo_git::{CredentialRules, Credentials, Forges, GitSource, GitSteps};
    ///
    /// // One set of rules for Git and for the APIs of forges.
    /// let rules = CredentialRules::new().with("git.example/acme", Credentials::basic("kargo", "the token"));
    /// let steps = GitSteps::new(GitSource::new().credentials_from(rules.clone()));
    /// let forges = Forges::new(rules)?;
    /// # Ok::<(), kargo_core::Error>(())
    /// ```
    #[must_use]
    pub fn credentials_from(mut self, source: impl CredentialSource) -> Self {
        self.asked = Some(Asked::new(source));
        self.forget()
    }

    /// Trusts the certificates in this PEM text besides the system's.
    #[must_use]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca.push(pem.into());
        self.forget()
    }

    /// For ssh: knows hosts by the lines of this text, as [`RemoteBuilder::known_hosts`](crate::RemoteBuilder::known_hosts) does.
    #[must_use]
    pub fn known_hosts(mut self, text: impl Into<String>) -> Self {
        self.known_hosts = Some(text.into());
        self.forget()
    }

    /// For ssh: makes a connection for each conversation, as
    /// [`RemoteBuilder::separate_ssh_connections`](crate::RemoteBuilder::separate_ssh_connections) does. Default: all repositories on one
    /// server that take the same key share one.
    #[must_use]
    pub fn separate_ssh_connections(mut self) -> Self {
        self.connections = None;
        self.forget()
    }

    /// Sets how long to wait for servers.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self.forget()
    }

    /// Sets what one look at one subscription may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self.forget()
    }

    /// Sends credentials over `http://` to other machines too, for everybody on the way to read.
    #[must_use]
    pub fn allow_insecure_credentials(mut self) -> Self {
        self.insecure = true;
        self.forget()
    }

    /// Uses this cache, which other sources and remotes of the host may share. Default: one of its own.
    #[must_use]
    pub fn cache(mut self, cache: GitCache) -> Self {
        self.cache = cache;
        self.forget()
    }

    /// Sets how many commits of a branch, or how many tags, are looked at for as many as a subscription wants. Default: 20,000. What
    /// lies deeper is not found. Filters by path fetch the first 4,096 generations at once, with what was merged into them; a lower depth
    /// keeps that small where very much is merged.
    #[must_use]
    pub fn search_depth(mut self, commits: u32) -> Self {
        self.search_depth = commits.max(1);
        self
    }

    /// Lets a commit count only when `keep` says so, besides what its subscription says. `name` stands for what `keep` does: under
    /// another one, results of earlier looks do not count.
    ///
    /// ```
    /// use kargo_git::GitSource;
    ///
    /// let source = GitSource::new().filter("no-bots/1", |_, commit| Ok(!commit.author.contains("[bot]")));
    /// ```
    #[must_use]
    pub fn filter(
        mut self,
        name: impl Into<String>,
        keep: impl Fn(&GitSubscription, &CommitDetails<'_>) -> Result<bool> + Send + Sync + 'static,
    ) -> Self {
        self.filter = Some(Filter::new(name.into(), keep));
        self
    }

    /// The repository at `url` with this source's settings: for writers that share its credentials, its connections and its cache.
    ///
    /// # Errors
    /// As [`crate::RemoteBuilder::build`].
    pub fn remote(&self, url: &str) -> Result<Remote> {
        if let Some(remote) = self.remotes.lock().unwrap_or_else(PoisonError::into_inner).get(url) {
            return Ok(remote.clone());
        }
        let remote = self.new_remote(url)?;
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), remote.clone());
        Ok(remote)
    }

    /// Drops what was made with other settings, without touching what clones made with theirs.
    fn forget(mut self) -> Self {
        self.client = OnceLock::new();
        self.remotes = Arc::default();
        self
    }

    fn new_remote(&self, url: &str) -> Result<Remote> {
        let mut builder = Remote::builder(url).timeouts(self.timeouts).limits(self.limits).cache(self.cache.clone());
        for pem in &self.ca {
            builder = builder.ca_certificates(pem.clone());
        }
        if let Some(text) = &self.known_hosts {
            builder = builder.known_hosts(text.clone());
        }
        if self.insecure {
            builder = builder.allow_insecure_credentials();
        }
        let normal = compared(url)?;
        let fitting = self.credentials.iter().filter(|(prefix, _)| {
            let rest = normal.strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
        });
        builder = builder.asking(self.asked.clone()).connections(self.connections.clone());
        if let Some((prefix, credentials)) = fitting.max_by_key(|(prefix, _)| prefix.len()) {
            builder = builder.named(NamedCredentials::new(format!("for {prefix}"), credentials.clone()));
        }
        // Looks at many repositories share their connections.
        let client = match self.client.get() {
            Some(client) => client.clone(),
            None => {
                let client = builder.make_client()?;
                self.client.get_or_init(|| client).clone()
            }
        };
        builder.client(client).build()
    }
}

impl fmt::Debug for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitSource")
            .field("credentials", &self.credentials)
            .field("asked", &self.asked)
            .field("timeouts", &self.timeouts)
            .field("limits", &self.limits)
            .field("search_depth", &self.search_depth)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for GitSource {
    fn validate(&self, config: &Value) -> Result<()> {
        let (subscription, _) = GitSubscription::from_config(config)?;
        self.remote(&subscription.repo_url).map(drop)
    }

    async fn discover(&self, cx: &Context, request: &DiscoverRequest<'_>) -> Result<Discovery> {
        let (subscription, rules) = GitSubscription::from_config(request.config)?;
        let remote = self.remote(&subscription.repo_url)?;
        let (session, store) = remote.look(cx).await?;
        let mut look = Look {
            cx,
            session,
            number: store.begin_look(),
            store,
            subscription: &subscription,
            rules: &rules,
            filter: self.filter.as_ref(),
            search_depth: self.search_depth,
            request,
        };
        let found = cx.guard("look for commits", look.discover()).await;
        drop(look);
        remote.cache().trim();
        found
    }
}

/// One look at one subscription.
struct Look<'a> {
    cx: &'a Context,
    session: Session,
    store: Arc<Store>,
    /// Its number.
    number: u64,
    subscription: &'a GitSubscription,
    rules: &'a Rules,
    filter: Option<&'a Filter>,
    search_depth: u32,
    request: &'a DiscoverRequest<'a>,
}

impl Look<'_> {
    async fn discover(&mut self) -> Result<Discovery> {
        match self.subscription.commit_selection_strategy {
            CommitSelectionStrategy::NewestFromBranch => self.newest_from_branch().await,
            CommitSelectionStrategy::NewestTag | CommitSelectionStrategy::SemVer | CommitSelectionStrategy::Lexical => {
                self.tags().await
            }
        }
    }

    /// How many commits are wanted.
    fn limit(&self) -> usize {
        self.subscription.discovery_limit as usize
    }

    /// What was seen, in a form that changes when the refs, the subscription, the depth or the filter do; `None` when it is what the last look saw.
    fn news<'a>(&self, refs: impl IntoIterator<Item = (&'a str, ObjectId)>) -> Option<Cursor> {
        let cursor = cursor(self.request.config, self.search_depth, self.filter.map(Filter::name), refs);
        (self.request.cursor != Some(&cursor)).then_some(cursor)
    }

    /// That nothing was found, though not all was looked at.
    fn nothing_within(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::NotFound,
            format!(
                "None of the newest {} {what} of {} fits the subscription, and no more are looked at; correct its filters, or raise the source's search_depth.",
                self.search_depth,
                self.session.shown()
            ),
        )
    }
}

/// A digest, since ten thousand tags are too much to remember for each subscription.
fn cursor<'a>(
    config: &Value,
    search_depth: u32,
    filter: Option<&str>,
    refs: impl IntoIterator<Item = (&'a str, ObjectId)>,
) -> Cursor {
    let mut seen = format!("{config}\n{search_depth}\n");
    if let Some(filter) = filter {
        seen.push_str(&format!("filter {filter}\n"));
    }
    for (name, id) in refs {
        seen.push_str(&format!("{id} {name}\n"));
    }
    let digest = gix::objs::compute_hash(gix::hash::Kind::Sha256, Kind::Blob, seen.as_bytes());
    Cursor(Value::String(digest.map_or(seen, |digest| digest.to_string())))
}
