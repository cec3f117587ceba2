//! Setting up a [`Remote`].

use std::path::PathBuf;
use std::sync::Arc;

use kargo_core::Result;

use crate::cache::{GitCache, Key};
use crate::credentials::{CredentialKind, CredentialSource, NamedCredentials};

use super::address::{Address, is_loopback};
use super::sign_in::{Asked, Means};
use super::ssh::{Access, Connections, HostKeys};
use super::{Credentials, Inner, Limits, Place, Remote, Timeouts, http};

/// Sets up a [`Remote`]; see [`Remote::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct RemoteBuilder {
    url: Hidden,
    credentials: Option<NamedCredentials>,
    source: Option<Asked>,
    insecure: bool,
    ca: Vec<Vec<u8>>,
    timeouts: Timeouts,
    limits: Limits,
    client: Option<reqwest::Client>,
    host_keys: HostKeys,
    ssh_program: PathBuf,
    connections: Option<Connections>,
    cache: GitCache,
}

/// A URL that may have a password in it.
#[derive(Clone)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Address::parse(&self.0) {
            Ok(address) => write!(f, "{:?}", address.shown()),
            Err(_) => f.write_str("\"...\""),
        }
    }
}

impl RemoteBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: Hidden(url.to_owned()),
            credentials: None,
            source: None,
            insecure: false,
            ca: Vec::new(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            client: None,
            host_keys: HostKeys::default(),
            ssh_program: PathBuf::from("ssh"),
            connections: Some(Connections::default()),
            cache: GitCache::new(),
        }
    }

    /// Signs in with these. They take precedence over a password in the URL, and over [`RemoteBuilder::credentials_from`].
    pub fn credentials(self, credentials: Credentials) -> Self {
        self.named(NamedCredentials::new("of the remote", credentials))
    }

    /// Signs in with credentials that are called by a name in errors.
    pub(crate) fn named(mut self, credentials: NamedCredentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Signs in as `source` says, which is asked before each piece of work: a look, a step, an attempt to push. What it says then
    /// counts for all requests of that work. When the server does not accept it (401 or 403, or the key of ssh), the source is told and
    /// asked for another, once. What it has nothing for is reached with the password in the URL, if there is one.
    ///
    /// ```
    /// use kargo_git::{CredentialRules, Credentials, Remote};
    ///
    /// let rules = CredentialRules::new().with("git.example", Credentials::basic("kargo", "the token"));
    /// let remote = Remote::builder("https://git.example/acme/config.git").credentials_from(rules).build()?;
    /// # Ok::<(), kargo_core::Error>(())
    /// ```
    ///
    /// What the cache holds is kept apart by the name of the credentials ([`NamedCredentials::name`]), and stays when they are renewed.
    pub fn credentials_from(self, source: impl CredentialSource) -> Self {
        self.asking(Some(Asked::new(source)))
    }

    /// Asks a source that others may ask too.
    pub(crate) fn asking(mut self, source: Option<Asked>) -> Self {
        self.source = source;
        self
    }

    /// Sends credentials over `http://` to other machines too, for everybody on the way to read.
    pub fn allow_insecure_credentials(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Trusts the certificates in this PEM text besides the system's.
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca.push(pem.into());
        self
    }

    /// For ssh: knows hosts by the lines of this text, which is that of a `known_hosts` file, instead of by this user's and the system's
    /// file. `ssh-keyscan git.example` prints such lines; forges publish theirs. A host that is not among them is told nothing.
    pub fn known_hosts(mut self, text: impl Into<String>) -> Self {
        self.host_keys.known = Some(text.into());
        self
    }

    /// For ssh: believes the key of a host that is not known yet, and remembers it: in this user's file, or beside the text of
    /// [`RemoteBuilder::known_hosts`] as long as the remote lives. Who stands in between at the first time is not noticed. A known host
    /// with another key is refused all the same.
    pub fn accept_new_host_keys(mut self) -> Self {
        self.host_keys.accept_new = true;
        self
    }

    /// For ssh: the program to use, in place of the first `ssh` in the `PATH`. It must take OpenSSH's options.
    pub fn ssh_program(mut self, path: impl Into<PathBuf>) -> Self {
        self.ssh_program = path.into();
        self
    }

    /// For ssh: makes a connection for each conversation. Default: conversations share one where ssh can do that (not on Windows), so that
    /// only the first waits for it to be made. It is ssh's own multiplexing (`ControlMaster`), whatever the user's configuration says of
    /// it. A connection serves those alone who sign in with the same key and trust the same host keys. It is given up when nobody has
    /// used it for a minute, after ten minutes, and with the last remote or source that shares it.
    pub fn separate_ssh_connections(mut self) -> Self {
        self.connections = None;
        self
    }

    /// Sets how long to wait for the server.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets what one piece of work may cost.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Shares what is learned about the repository with all that have the same cache and credentials. Default: a cache of its own.
    pub fn cache(mut self, cache: GitCache) -> Self {
        self.cache = cache;
        self
    }

    /// Shares connections with other remotes of the same settings.
    pub(crate) fn client(mut self, client: reqwest::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Shares connections over ssh with other remotes.
    pub(crate) fn connections(mut self, connections: Option<Connections>) -> Self {
        self.connections = connections;
        self
    }

    /// The HTTP client that these settings make, for servers on other machines.
    pub(crate) fn make_client(&self) -> Result<reqwest::Client> {
        http::client(self.timeouts, &self.ca, false)
    }

    /// All that says which servers are believed to be the right ones, so that other settings give other bytes.
    fn trust(&self) -> Vec<u8> {
        format!("{:?}", (&self.host_keys, &self.ca)).into_bytes()
    }

    /// The remote. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`InvalidInput`](kargo_core::ErrorKind::InvalidInput) for a URL that cannot be one of a repository, certificates or known hosts that
    /// cannot be read, and credentials that would go over the network unencrypted or are not of the URL's kind. What a source of
    /// credentials says is checked when it is asked.
    pub fn build(self) -> Result<Remote> {
        let address = Address::parse(&self.url.0)?;
        let (shown, lock_key) = (address.shown(), address.lock_key());
        let cache_key = Key::new(&shown, &self.trust())?;
        let place = match &address {
            Address::Local(path) => Place::Local(path.clone()),
            Address::Http { base, .. } => {
                let client = match self.client.clone() {
                    _ if is_loopback(base) => http::client(self.timeouts, &self.ca, true)?,
                    Some(client) => client,
                    None => self.make_client()?,
                };
                Place::Http { base: base.clone(), client, introduction: Default::default() }
            }
            Address::Ssh(destination) => {
                self.host_keys.check()?;
                let (program, hosts) = (self.ssh_program, self.host_keys);
                Place::Ssh(Box::new(Access::new(destination.clone(), program, hosts, self.timeouts, self.connections)))
            }
        };
        let (kind, exposed, in_url) = match address {
            Address::Http { base, credentials } => {
                let in_url = credentials.map(|(user, password)| Credentials::basic(user, password));
                let exposed = base.scheme() == "http" && !is_loopback(&base) && !self.insecure;
                (CredentialKind::Password, exposed, in_url)
            }
            Address::Ssh(_) | Address::Local(_) => (CredentialKind::SshKey, false, None),
        };
        let in_url = in_url.map(|credentials| NamedCredentials::new("in its URL", credentials));
        let means = Means { url: shown.clone(), kind, exposed, given: self.credentials, source: self.source, in_url };
        if !matches!(place, Place::Local(_))
            && let Some(credentials) = means.given.as_ref().or(means.in_url.as_ref())
        {
            means.check(credentials)?;
        }
        let (means, limits, cache) = (Arc::new(means), self.limits, self.cache);
        Ok(Remote(Arc::new(Inner { place, means, shown, lock_key, limits, cache, cache_key })))
    }
}

#[cfg(test)]
mod tests {
    use kargo_core::ErrorKind;
    use kargo_core::plugin::Context;

    use super::*;

    #[test]
    fn a_password_is_not_sent_over_the_network_unencrypted_unless_it_was_allowed() {
        let with = |url: &str| Remote::builder(url).credentials(Credentials::basic("kargo", "s3cret"));
        let error = with("http://git.example/x.git").build().unwrap_err();
        assert!(error.message().contains("unencrypted") && !format!("{error:?}").contains("s3cret"), "{error}");
        assert!(Remote::new("http://kargo:s3cret@git.example/x.git").is_err());
        assert!(with("http://git.example/x.git").allow_insecure_credentials().build().is_ok());
        assert!(with("https://git.example/x.git").build().is_ok());
        for loopback in ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]/x"] {
            assert!(with(loopback).build().is_ok(), "{loopback}");
        }
        assert!(with("http://localhost.example/x").build().is_err());
    }

    #[tokio::test]
    async fn who_trusts_other_servers_shares_nothing_of_what_they_said() {
        let cache = GitCache::new();
        let store = async |change: fn(RemoteBuilder) -> RemoteBuilder| {
            let remote = change(Remote::builder("git@git.example:acme/x.git").cache(cache.clone())).build().unwrap();
            remote.look(&Context::system("look")).await.unwrap().1
        };
        let plain = store(|remote| remote).await;
        assert!(Arc::ptr_eq(&plain, &store(|remote| remote).await));
        let known = store(|remote| remote.known_hosts("git.example ssh-ed25519 AAAA")).await;
        for other in [
            store(|remote| remote.known_hosts("git.example ssh-ed25519 BBBB")).await,
            store(|remote| remote.known_hosts("git.example ssh-ed25519 AAAA").accept_new_host_keys()).await,
            store(|remote| remote.accept_new_host_keys()).await,
            store(|remote| remote.ca_certificates("-----BEGIN CERTIFICATE-----")).await,
        ] {
            assert!(!Arc::ptr_eq(&plain, &other) && !Arc::ptr_eq(&known, &other));
        }
        assert!(!Arc::ptr_eq(&plain, &known));
    }

    #[test]
    fn a_ca_certificate_must_be_one() {
        for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = Remote::builder("https://git.example/x.git").ca_certificates(pem).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{pem:?}");
        }
    }

    #[test]
    fn credentials_are_of_the_kind_that_the_url_takes() {
        let with = |url: &str, credentials: Credentials| Remote::builder(url).credentials(credentials).build();
        for url in ["ssh://git@git.example/x.git", "git@git.example:acme/x.git", "git.example:acme/x.git"] {
            assert_eq!(with(url, Credentials::ssh_key("s3cret")).unwrap().url(), url);
            let error = with(url, Credentials::basic("kargo", "s3cret")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.message().contains("Credentials::ssh_key"), "{error}");
        }
        let error = with("https://git.example/x.git", Credentials::ssh_key("s3cret")).unwrap_err();
        assert!(error.message().contains("Credentials::basic") && !format!("{error:?}").contains("s3cret"), "{error}");
    }

    #[tokio::test]
    async fn git_18_credentials_that_are_asked_for_are_of_the_kind_that_the_url_takes() {
        let cx = Context::system("read");
        let rules = crate::CredentialRules::new()
            .with("git.example/acme", Credentials::ssh_key("s3cret"))
            .with("git.example", Credentials::basic("kargo", "s3cret"));
        for (url, shown) in [
            ("git@git.example:acme/x.git", "SshKey"),
            ("https://git.example/acme/x.git", "Basic { user: \"kargo\""),
            ("https://other.example/acme/x.git", "current: None"),
        ] {
            let remote = Remote::builder(url).credentials_from(rules.clone()).build().unwrap();
            let printed = format!("{:?}", remote.session(&cx).await.unwrap());
            assert!(printed.contains(shown) && !printed.contains("s3cret"), "{url}: {printed}");
        }
        let local = Remote::builder("/srv/git.example/acme/x.git").credentials_from(rules.clone()).build().unwrap();
        assert!(!format!("{:?}", local.session(&cx).await.unwrap()).contains("SshKey"));
        // What would be refused when it was given is refused when it is said.
        let remote = Remote::builder("http://git.example/x.git").credentials_from(rules).build().unwrap();
        let error = remote.session(&cx).await.unwrap_err();
        assert!(error.message().contains("for git.example") && error.message().contains("unencrypted"), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }

    #[test]
    fn a_url_that_leads_nowhere_is_refused() {
        for url in ["ftp://git.example/x", "ssh://-oProxyCommand=x/y", ""] {
            assert_eq!(Remote::new(url).unwrap_err().kind(), ErrorKind::InvalidInput, "{url}");
        }
        assert!(Remote::new("HTTPS://git.example/x").is_ok(), "schemes have no case");
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_shown_with_its_password() {
        for url in
            ["kargo:s3cret@https://git.example/x", "file://kargo:s3cret@git.example/x", "https://kargo:s3cret@:1/x"]
        {
            let error = Remote::new(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(!format!("{error:?} {}", error.report()).contains("s3cret"), "{error:?}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_used_and_never_shown() {
        let builder = Remote::builder("https://kargo:pa%2055@git.example/x.git");
        assert!(!format!("{builder:?}").contains("55"));
        let remote = builder.build().unwrap();
        assert_eq!(remote.url(), "https://git.example/x.git");
        assert!(!format!("{remote:?}").contains("55"), "{remote:?}");
        assert!(format!("{remote:?}").contains("kargo"), "the user's name may be seen");
    }
}
