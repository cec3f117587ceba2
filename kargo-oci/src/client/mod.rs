//! The client: the distribution API over HTTP.

mod answer;
mod auth;
mod challenge;
mod copy;
mod descriptor;
mod exchange;
mod file;
mod link;
mod manifest;
mod names;
mod pace;
mod pages;
mod read;
mod realm;
mod referrers;
mod tags;
mod token;
mod write;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result, Retry};
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use tokio::sync::Mutex;

use self::answer::{exposed, status_error};
use self::auth::{Auth, Purpose, Target};
use self::challenge::Challenge;
use self::exchange::{Http, Request, Response, exchange};
use self::names::Names;
use self::pace::{Pace, REQUESTS_PER_SECOND};
use self::pages::Pages;
use crate::credentials::{CredentialSource, StaticCredentials};
use crate::repository::{DOCKER_HUB, Repository};

pub use self::copy::{Copied, CopyOptions};
pub(crate) use self::descriptor::{Descriptor, Parts};
pub(crate) use self::file::Validators;
pub(crate) use self::manifest::ABOUT;
pub use self::manifest::{Manifest, ManifestContent, ManifestEntry, Platform};
pub(crate) use self::read::Fault;
pub use self::read::ManifestHead;
pub use self::referrers::Referrer;
pub(crate) use self::referrers::tag_beside;

/// A client for OCI registries, for any number of hosts. Cheap to clone; clones share connections and tokens.
///
/// It trusts nothing that it is told: bodies have limits, what is fetched by digest is hashed, passwords go only to the
/// registry or a token server that belongs to it, pages of a listing must come from the same host.
///
/// Every call takes a [`Context`]: it ends with the context's deadline or cancellation, and waits between tries on its
/// clock. Calls that fail for a passing reason (no connection, status 408, 429 or 5xx, an answer that breaks off) are
/// made again, a few times, with growing random pauses; a pause that the server names is kept. Dropping a call's future
/// is safe: reads have no effect, and writes are content-addressed or of one request.
///
/// Hosts of this machine (`localhost`, `127.0.0.0/8`, `::1`) are spoken to by http and without a proxy, all others by
/// https.
///
/// ```no_run
/// use kargo_core::plugin::Context;
/// use kargo_oci::{Client, Credentials, Repository, StaticCredentials};
///
/// # async fn example() -> kargo_core::Result<()> {
/// let client = Client::builder()
///     .credentials(StaticCredentials::new().with("ghcr.io", Credentials::basic("robot", "a token")))
///     .build()?;
/// let tags = client.list_tags(&Context::system("look"), &Repository::parse("ghcr.io/acme/app")?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: Http,
    /// For this machine, which no proxy has to be asked for.
    loopback: Http,
    auth: Auth,
    insecure: HashSet<String>,
    /// Hosts that count each GET of a manifest against a quota, and a HEAD not.
    counts_pulls: HashSet<String>,
    tries: u32,
    /// Hosts that do not accept the page size that is asked for first.
    refuses_page_size: Mutex<HashSet<String>>,
    /// Repositories whose registry does not know the referrers API, and until when that is believed.
    lacks_referrers: Mutex<HashMap<Repository, Timestamp>>,
    pace: Pace,
    /// Pages of listings that were the same the last time they were asked for.
    pages: Mutex<Pages>,
    requests_per_second: Option<u32>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("auth", &self.0.auth).field("tries", &self.0.tries).finish_non_exhaustive()
    }
}

/// Puts a [`Client`] together.
#[derive(Debug)]
#[must_use]
pub struct ClientBuilder {
    http: reqwest::ClientBuilder,
    credentials: Arc<dyn CredentialSource>,
    insecure: HashSet<String>,
    counts_pulls: HashSet<String>,
    trusted_realms: Vec<String>,
    tries: u32,
    requests_per_second: Option<u32>,
}

impl ClientBuilder {
    /// Sets where credentials come from. Without, every call is anonymous.
    pub fn credentials(mut self, source: impl CredentialSource) -> Self {
        self.credentials = Arc::new(source);
        self
    }

    /// Speaks http, not https, to `host` (with its port, when the repositories' URLs have one).
    pub fn insecure_http(mut self, host: impl Into<String>) -> Self {
        self.insecure.insert(host.into().to_ascii_lowercase());
        self
    }

    /// Lets registries name `host` as their token server, and so be sent passwords, although it is of another domain.
    pub fn trust_realm(mut self, host: impl Into<String>) -> Self {
        self.trusted_realms.push(host.into());
        self
    }

    /// Starts from `http`, in which a host sets its own certificates, proxy and user agent. The client still sets time
    /// limits, takes redirects and the lookup of names into its own hands and switches decompression off, because its safety rests on
    /// them.
    pub fn http(mut self, http: reqwest::ClientBuilder) -> Self {
        self.http = http;
        self
    }

    /// Says that `host` counts each GET of a manifest as a pull, which a quota limits, and a HEAD not, as Docker Hub does, where
    /// this is known. Whether a tag has moved is then asked by HEAD first.
    pub fn counts_pulls(mut self, host: impl Into<String>) -> Self {
        self.counts_pulls.insert(host.into().to_ascii_lowercase());
        self
    }

    /// How often a request is made before its failure is returned: 4 by default, at least 1.
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }

    /// How many requests a second each host is sent at most, where a second's worth may go out at once: 50 by default, and as
    /// many as can be to hosts of this machine. At least 1. It holds for all that share the client, and for each host by
    /// itself. Requests to token servers and those that follow a redirect, which mostly are to other hosts, are not counted.
    pub fn requests_per_second(mut self, requests: u32) -> Self {
        self.requests_per_second = Some(requests.max(1));
        self
    }

    /// The client.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when TLS cannot be set up.
    pub fn build(self) -> Result<Client> {
        let names = Names::of_system();
        let http = limited(self.http, &names)?;
        let loopback = limited(agent().no_proxy(), &names)?;
        Ok(Client(Arc::new(Inner {
            http,
            loopback,
            auth: Auth::new(self.credentials, self.trusted_realms),
            insecure: self.insecure,
            counts_pulls: self.counts_pulls,
            tries: self.tries,
            refuses_page_size: Mutex::default(),
            lacks_referrers: Mutex::default(),
            pace: Pace::default(),
            pages: Mutex::default(),
            requests_per_second: self.requests_per_second,
        })))
    }
}

fn agent() -> reqwest::ClientBuilder {
    reqwest::Client::builder().user_agent(concat!("kargo-oci/", env!("CARGO_PKG_VERSION")))
}

/// Sets what this client's safety rests on, whatever was set before.
fn limited(http: reqwest::ClientBuilder, names: &Names) -> Result<Http> {
    let client = http
        .dns_resolver(names.clone())
        .redirect(reqwest::redirect::Policy::none())
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .connect_timeout(Duration::from_secs(5))
        // Silence is bounded by the exchange, for which an upload is none.
        .read_timeout(Duration::from_secs(24 * 60 * 60))
        .timeout(Duration::from_secs(120))
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "The HTTP client cannot be set up; check its certificates and proxy.")
                .because(error)
        })?;
    Ok(Http { client, names: names.clone() })
}

/// One call: a request, and what must be known to authorise it and to speak about it.
struct Call<'a> {
    repository: &'a Repository,
    purpose: Purpose,
    /// A verb phrase for errors: "list the tags of".
    doing: &'static str,
    request: Request,
    /// Another repository of the registry that is read along.
    also_reads: Option<&'a Repository>,
}

impl<'a> Call<'a> {
    fn new(repository: &'a Repository, purpose: Purpose, doing: &'static str, request: Request) -> Self {
        Self { repository, purpose, doing, request, also_reads: None }
    }
}

impl Client {
    /// Begins a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            http: agent(),
            credentials: Arc::new(StaticCredentials::new()),
            insecure: HashSet::new(),
            counts_pulls: HashSet::from([DOCKER_HUB.to_owned()]),
            trusted_realms: Vec::new(),
            tries: 4,
            requests_per_second: None,
        }
    }

    /// A client without credentials.
    ///
    /// # Errors
    /// As for [`ClientBuilder::build`].
    pub fn anonymous() -> Result<Self> {
        Self::builder().build()
    }

    /// The URL of `path` below a repository.
    fn url(&self, repository: &Repository, path: &str) -> Result<Url> {
        let is_http = repository.is_loopback() || self.0.insecure.contains(repository.host());
        let scheme = if is_http { "http" } else { "https" };
        let host = if repository.host() == DOCKER_HUB { "registry-1.docker.io" } else { repository.host() };
        Url::parse(&format!("{scheme}://{host}/v2/{}/{path}", repository.name())).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("The repository {repository} has no valid URL.")).because(error)
        })
    }

    /// Whose credentials the repository was asked with, as far as it wanted any: something to compare, which does not show them.
    pub(crate) async fn asker(&self, repository: &Repository) -> String {
        self.0.auth.asker(repository).await
    }

    /// Makes a call, again while that can help. Statuses below 400 are returned; all others are errors, but 404 only
    /// becomes one in [`found`], since it is an answer to some calls.
    async fn call(&self, cx: &Context, call: &Call<'_>) -> Result<Response> {
        let mut tried = 0;
        loop {
            self.wait_for_host(cx, call).await?;
            let result = cx.guard("talk to the registry", self.authorised(cx, call)).await;
            tried += 1;
            let error = match result {
                Ok(response) => return Ok(response),
                Err(error) => error.operation(call.doing).with("repository", call.repository),
            };
            let pause = match error.retry() {
                Retry::Never => return Err(error),
                Retry::After(pause) => {
                    if let Ok(until) = cx.now().checked_add(pause) {
                        self.0.pace.pause(call.repository.host(), until).await;
                    }
                    pause + jitter(Duration::from_millis(100))
                }
                Retry::Backoff => backoff(tried),
            };
            // A server that asks for a long pause is left alone until the caller's next round.
            if tried >= self.0.tries || pause > Self::LONGEST_PAUSE || pause >= cx.remaining() {
                return Err(error);
            }
            cx.progress(format_args!("{} (trying again in {pause:?})", error.message()));
            cx.sleep(pause).await?;
        }
    }

    /// Keeps the pause that a host has asked for, whichever call it was that it told so, and then waits for a turn.
    async fn wait_for_host(&self, cx: &Context, call: &Call<'_>) -> Result<()> {
        let host = call.repository.host();
        if let Some(pause) = self.0.pace.paused(host, cx.now()).await {
            if pause > Self::LONGEST_PAUSE || pause >= cx.remaining() {
                let message =
                    format!("The registry {host} has asked for a pause, of which {} s are left.", pause.as_secs());
                let error = Error::new(ErrorKind::RateLimited, message).retry_as(Retry::After(pause));
                return Err(error.operation(call.doing).with("repository", call.repository));
            }
            cx.sleep(pause + jitter(Duration::from_millis(100))).await?;
        }
        self.wait_for_turn(cx, call).await
    }

    async fn wait_for_turn(&self, cx: &Context, call: &Call<'_>) -> Result<()> {
        let host = call.repository.host();
        let usual = (!call.repository.is_loopback()).then_some(REQUESTS_PER_SECOND);
        let Some(per_second) = self.0.requests_per_second.or(usual) else { return Ok(()) };
        match self.0.pace.turn(host, per_second, cx.now()).await {
            Duration::ZERO => Ok(()),
            wait => cx.sleep(wait).await,
        }
    }

    /// The longest pause between two tries.
    const LONGEST_PAUSE: Duration = Duration::from_secs(60);

    /// Whether secrets may be sent along: by https, on this machine, or where the operator says so.
    fn is_confidential(&self, call: &Call<'_>) -> bool {
        let is_plain = call.request.url.scheme() != "https";
        !is_plain || call.repository.is_loopback() || self.0.insecure.contains(call.repository.host())
    }

    /// One try: sends what the registry wanted last time, and answers one challenge.
    async fn authorised(&self, cx: &Context, call: &Call<'_>) -> Result<Response> {
        let inner = &*self.0;
        let http = if call.repository.is_loopback() { &inner.loopback } else { &inner.http };
        let target = Target {
            repository: call.repository,
            url: &call.request.url,
            purpose: call.purpose,
            also_reads: call.also_reads,
        };
        let mut remembered = inner.auth.remembered(call.repository, call.purpose).await;
        // Held until the registry has said what it wants, and that is at hand.
        let mut first = None;
        if remembered.is_none() {
            first = inner.auth.first(call.repository, call.purpose).await;
            remembered = inner.auth.remembered(call.repository, call.purpose).await;
        }
        let mut challenge = remembered.filter(|_| self.is_confidential(call));
        if challenge.is_none() && call.purpose == Purpose::File && self.is_confidential(call) {
            // Servers of files often answer 404 to strangers, so Helm does not wait to be asked either.
            challenge = inner.auth.unasked(cx, call.repository).await?;
        }
        let mut proof: Option<HeaderValue> = None;
        if let Some(challenge) = &challenge {
            match inner.auth.answer(cx, http, &target, challenge, None).await {
                Ok(answer) => proof = Some(answer),
                Err(error) => {
                    // Perhaps the registry has another token server now: the next try asks it again.
                    inner.auth.forget(call.repository, call.purpose).await;
                    return Err(error);
                }
            }
        }
        let mut response = exchange(http, &call.request, proof.as_ref()).await?;
        // Some registries say 403 of a token whose time is over.
        let is_stale = response.status == StatusCode::FORBIDDEN && proof.is_some();
        if response.status == StatusCode::UNAUTHORIZED || is_stale {
            // What a redirect led to has no say in how the registry is asked.
            let is_own = response.url.origin() == call.request.url.origin();
            if let Some(new) = Challenge::from_headers(&response.headers).filter(|_| is_own) {
                challenge = Some(new);
            }
            if let Some(challenge) = &challenge {
                if !self.is_confidential(call) {
                    return Err(exposed(call));
                }
                let answer = inner.auth.answer(cx, http, &target, challenge, proof.as_ref()).await;
                drop(first.take());
                match answer {
                    Ok(proof) => {
                        self.wait_for_turn(cx, call).await?;
                        response = exchange(http, &call.request, Some(&proof)).await?;
                    }
                    // Nothing new to show: the 403 stands.
                    Err(error) if is_stale && error.kind() == ErrorKind::Unauthenticated => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let status = response.status;
        if status.as_u16() < 400 || status == StatusCode::NOT_FOUND {
            return Ok(response);
        }
        Err(status_error(&response, &format!("{} {}", call.doing, call.repository), cx.now()))
    }
}

/// The pause after so many tries.
fn backoff(tried: u32) -> Duration {
    jitter(Duration::from_millis(200 * (1 << tried.min(5))))
}

/// A random part of `most`, so that many clients do not come back at the same moment.
fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8);
    let span = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(random % span)
}
