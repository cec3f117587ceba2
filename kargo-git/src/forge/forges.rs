//! The forges that a host talks to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kargo_core::{Error, ErrorKind, Result};
use reqwest::{Certificate, Url};

use super::azure::Azure;
use super::bitbucket_cloud::BitbucketCloud;
use super::bitbucket_data_center::BitbucketDataCenter;
use super::client::{Api, Wire, certificates, client};
use super::gitea::Gitea;
use super::github::GitHub;
use super::gitlab::GitLab;
use super::place::{Location, Place};
use super::{Forge, Provider};
use crate::credentials::CredentialSource;

/// The forges that a host talks to, and who it is there. Cheap to clone.
///
/// Of credentials the password is the token. GitHub, GitLab and Gitea are shown it alone, whatever the user. Bitbucket is shown user and
/// password, or the token alone when the user is empty or `x-token-auth`, as tokens of a repository, project or workspace have it; API
/// tokens of people at bitbucket.org go with their mail address. Azure DevOps is shown it as a password, or as a bearer when it is a token
/// of Entra ID.
///
/// ```
/// use kargo_git::{CredentialRules, Credentials, Forges, Provider};
///
/// let credentials = CredentialRules::new().with("github.com/acme", Credentials::basic("kargo", "the token"));
/// let forges = Forges::builder(credentials)
///     // A server whose name does not give it away.
///     .host("git.corp.example", Provider::Gitea, None)?
///     .build()?;
/// let repository = forges.repository("git@git.corp.example:acme/config.git")?;
/// assert_eq!(repository.provider(), Provider::Gitea);
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Forges(Arc<Inner>);

struct Inner {
    credentials: Arc<dyn CredentialSource>,
    hosts: BTreeMap<String, (Provider, Option<Url>)>,
    roots: Vec<Certificate>,
    /// For other machines, and for this one; and both without looking at certificates. Made when they are needed.
    clients: [OnceLock<reqwest::Client>; 4],
    timeout: Duration,
    insecure: bool,
}

/// What a configuration says of a repository besides its URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepositoryOptions {
    /// Whose API its server speaks, whatever its name is.
    pub provider: Option<Provider>,
    /// Whether any certificate is believed.
    pub skip_tls_verification: bool,
}

impl RepositoryOptions {
    /// Nothing out of the ordinary.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whose API the server speaks, when anything is known.
    #[must_use]
    pub fn provider(mut self, provider: impl Into<Option<Provider>>) -> Self {
        self.provider = provider.into();
        self
    }

    /// Believes any certificate, or only good ones.
    #[must_use]
    pub fn skip_tls_verification(mut self, skip: bool) -> Self {
        self.skip_tls_verification = skip;
        self
    }
}

/// Collects what [`Forges`] need.
pub struct ForgesBuilder {
    credentials: Arc<dyn CredentialSource>,
    hosts: BTreeMap<String, (Provider, Option<Url>)>,
    roots: Vec<Vec<u8>>,
    timeout: Duration,
    insecure: bool,
}

impl Forges {
    /// The forges of the world, with `credentials` for them.
    ///
    /// # Errors
    /// As [`ForgesBuilder::build`].
    pub fn new(credentials: impl CredentialSource) -> Result<Self> {
        Self::builder(credentials).build()
    }

    /// Sets forges up in full.
    pub fn builder(credentials: impl CredentialSource) -> ForgesBuilder {
        ForgesBuilder {
            credentials: Arc::new(credentials),
            hosts: BTreeMap::new(),
            roots: Vec::new(),
            timeout: Duration::from_secs(30),
            insecure: false,
        }
    }

    /// The repository with the clone URL `url`. The provider is the one set up for the host, else the one that the host's name gives
    /// away. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a URL that is none of a repository there, and for a host that nothing is known of.
    pub fn repository(&self, url: &str) -> Result<Arc<dyn Forge>> {
        self.repository_with(url, RepositoryOptions::new())
    }

    /// As [`Forges::repository`], with `options`.
    ///
    /// # Errors
    /// As [`Forges::repository`].
    pub fn repository_with(&self, url: &str, options: RepositoryOptions) -> Result<Arc<dyn Forge>> {
        let (api, location) = self.locate(url, options)?;
        let page = location.page(api.provider);
        let Location { owner, name, .. } = location;
        Ok(match api.provider {
            Provider::GitHub => Arc::new(GitHub::new(api, owner.concat(), name)),
            Provider::GitLab => Arc::new(GitLab::new(api, format!("{}/{name}", owner.join("/")))),
            Provider::Gitea => Arc::new(Gitea::new(api, owner.concat(), name)),
            Provider::BitbucketCloud => Arc::new(BitbucketCloud::new(api, owner.concat(), name)),
            Provider::BitbucketDataCenter => Arc::new(BitbucketDataCenter::new(api, owner.concat(), name, page)),
            Provider::Azure => Arc::new(Azure::new(api, owner.concat(), name, page)),
        })
    }

    /// The repository, when it is at GitHub, with what only GitHub can do.
    pub(crate) fn github(&self, url: &str, options: RepositoryOptions) -> Result<GitHub> {
        let (api, location) = self.locate(url, options)?;
        match api.provider {
            Provider::GitHub => Ok(GitHub::new(api, location.owner.concat(), location.name)),
            other => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{} is at {other}, and only GitHub makes commits in this way; use git-push.", shown(url)),
            )),
        }
    }

    fn locate(&self, url: &str, options: RepositoryOptions) -> Result<(Api, Location)> {
        let place = Place::parse(url)?;
        let known = super::host_and_path(url).and_then(|(host, _)| self.0.hosts.get(&host));
        let provider = match options
            .provider
            .or(known.map(|(provider, _)| *provider))
            .or(Provider::of_host(place.host()))
        {
            Some(provider) => provider,
            None => {
                let host = place.host();
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!(
                        "Which provider of forges {host} is cannot be told from its name; name it as provider: azure, bitbucket, \
                         bitbucket-data-center, gitea, github or gitlab."
                    ),
                ));
            }
        };
        let api = known.filter(|(of, _)| *of == provider).and_then(|(_, api)| api.as_ref());
        let location = place.locate(provider, api)?;
        let here = Wire::is_here(&location.api);
        let http = self.client(here, options.skip_tls_verification)?;
        let who = format!("{provider} at {}", location.api.authority());
        let api = Api {
            wire: Wire { http, timeout: self.0.timeout, who },
            root: location.api.clone(),
            provider,
            repository: place.api_url(&location).unwrap_or_else(|| shown(url)),
            credentials: Arc::clone(&self.0.credentials),
            insecure: self.0.insecure,
        };
        Ok((api, location))
    }

    fn client(&self, here: bool, trusting: bool) -> Result<reqwest::Client> {
        let slot = &self.0.clients[usize::from(here) + 2 * usize::from(trusting)];
        if let Some(made) = slot.get() {
            return Ok(made.clone());
        }
        let made = client(&self.0.roots, here, trusting)?;
        Ok(slot.get_or_init(|| made).clone())
    }
}

/// `url` without user and password, which credentials are looked up by and errors show.
pub(crate) fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if matches!(parsed.scheme(), "http" | "https") => {
            // These fail only for URLs without a host.
            let _ = parsed.set_username("");
            let _ = parsed.set_password(None);
            parsed.to_string()
        }
        _ => url.trim().to_owned(),
    }
}

impl ForgesBuilder {
    /// Says what the server at `host` (with its port, when that is not the scheme's) is, and where its API is when that is not where the
    /// provider's documentation puts it. For Azure DevOps the API's address ends in the organization.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an address that is none.
    pub fn host(mut self, host: impl AsRef<str>, provider: Provider, api: Option<&str>) -> Result<Self> {
        let api = api
            .map(|api| {
                let url = Url::parse(api).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
                url.filter(|url| url.username().is_empty() && url.password().is_none()).ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidInput,
                        format!(
                            "The address of the API of {} is none; write it as https://host/path, without a password.",
                            host.as_ref()
                        ),
                    )
                })
            })
            .transpose()?;
        self.hosts.insert(host.as_ref().to_ascii_lowercase(), (provider, api));
        Ok(self)
    }

    /// Trusts the certificates in this PEM text besides the system's.
    #[must_use]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// How long one request may take. Default: 30 seconds. The deadline of the call holds besides.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends credentials over `http://` to other machines too, for everybody on the way to read.
    #[must_use]
    pub fn allow_insecure_credentials(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// The forges.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for certificates that cannot be read.
    pub fn build(self) -> Result<Forges> {
        let Self { credentials, hosts, timeout, insecure, .. } = self;
        let (roots, clients) = (certificates(&self.roots)?, Default::default());
        Ok(Forges(Arc::new(Inner { credentials, hosts, roots, clients, timeout, insecure })))
    }
}

impl fmt::Debug for Forges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forges").field("hosts", &self.0.hosts).finish_non_exhaustive()
    }
}

impl fmt::Debug for ForgesBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForgesBuilder").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}
