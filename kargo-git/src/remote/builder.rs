//! Setting up a [`Remote`].

use std::path::PathBuf;
use std::sync::Arc;

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};

use crate::cache::{GitCache, Key};
use crate::credentials::{CredentialKind, CredentialSource, NamedCredentials};

use super::address::{Address, is_loopback};
use super::credentials::Way;
use super::ssh::{Access, HostKeys};
use super::{Credentials, Inner, Limits, Place, Remote, Timeouts, http};

/// Sets up a [`Remote`]; see [`Remote::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct RemoteBuilder {
    url: Hidden,
    credentials: Option<Credentials>,
    insecure: bool,
    ca: Vec<Vec<u8>>,
    timeouts: Timeouts,
    limits: Limits,
    client: Option<reqwest::Client>,
    host_keys: HostKeys,
    ssh_program: PathBuf,
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
            insecure: false,
            ca: Vec::new(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            client: None,
            host_keys: HostKeys::default(),
            ssh_program: PathBuf::from("ssh"),
            cache: GitCache::new(),
        }
    }

    /// Signs in with these. They take precedence over a password in the URL.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Signs in as `source` says at this moment, when it says anything. Called before each piece of work, on a clone of the builder, it
    /// keeps up with credentials that are renewed:
    ///
    /// ```
    /// # use kargo_core::plugin::Context;
    /// use kargo_git::{CredentialRules, Credentials, Remote};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kargo_core::Result<()> {
    /// # let cx = Context::system("read");
    /// let rules = CredentialRules::new().with("git.example", Credentials::basic("kargo", "the token"));
    /// let builder = Remote::builder("https://git.example/acme/config.git");
    /// let remote = builder.clone().credentials_from(&cx, &rules).await?.build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What the cache holds is kept apart for each credential, and is fetched again when they are renewed.
    ///
    /// # Errors
    /// What the source returns, and [`ErrorKind::InvalidInput`] for a URL that cannot be one of a repository.
    pub async fn credentials_from(self, cx: &Context, source: &dyn CredentialSource) -> Result<Self> {
        let address = Address::parse(&self.url.0)?;
        let kind = match &address {
            Address::Http { .. } => CredentialKind::Password,
            Address::Ssh(_) => CredentialKind::SshKey,
            Address::Local(_) => return Ok(self),
        };
        let found = source.get(cx, &address.shown(), kind).await?;
        let Some(NamedCredentials { credentials, .. }) = found else { return Ok(self) };
        Ok(self.credentials(credentials))
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
    /// [`ErrorKind::InvalidInput`] for a URL that cannot be one of a repository, certificates or known hosts that cannot be read, and
    /// credentials that would go over the network unencrypted or are not of the URL's kind.
    pub fn build(self) -> Result<Remote> {
        let address = Address::parse(&self.url.0)?;
        let (shown, lock_key) = (address.shown(), address.lock_key());
        let from_url = match &address {
            Address::Http { credentials: Some((user, password)), .. } => {
                Some(Credentials::basic(user.clone(), password.clone()))
            }
            _ => None,
        };
        let cache_key = Key::new(&shown, self.credentials.as_ref().or(from_url.as_ref()), &self.trust())?;
        let place = match address {
            Address::Local(path) => Place::Local(path),
            Address::Http { ref base, credentials: ref from_url } => {
                let credentials = match self.credentials.as_ref().map(|credentials| &credentials.0) {
                    Some(Way::Basic { user, password }) => Some((user.clone(), password.clone())),
                    Some(Way::SshKey(_)) => {
                        return Err(other_kind(&shown, "HTTP takes no ssh key: give a token with Credentials::basic"));
                    }
                    None => from_url.clone(),
                };
                if credentials.is_some() && base.scheme() == "http" && !is_loopback(base) && !self.insecure {
                    return Err(Error::new(
                        ErrorKind::InvalidInput,
                        format!(
                            "The credentials for {shown} would go over the network unencrypted; use https, or allow_insecure_credentials."
                        ),
                    ));
                }
                let client = match self.client.clone() {
                    _ if is_loopback(base) => http::client(self.timeouts, &self.ca, true)?,
                    Some(client) => client,
                    None => self.make_client()?,
                };
                Place::Http { base: base.clone(), client, credentials, introduction: Default::default() }
            }
            Address::Ssh(destination) => {
                let key = match self.credentials.map(|credentials| credentials.0) {
                    Some(Way::SshKey(key)) => Some(key),
                    Some(Way::Basic { .. }) => {
                        return Err(other_kind(&shown, "ssh takes no password: give a key with Credentials::ssh_key"));
                    }
                    None => None,
                };
                self.host_keys.check()?;
                Place::Ssh(Arc::new(Access::new(destination, self.ssh_program, key, self.host_keys, self.timeouts)))
            }
        };
        Ok(Remote(Arc::new(Inner { place, shown, lock_key, limits: self.limits, cache: self.cache, cache_key })))
    }
}

fn other_kind(shown: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("The credentials do not fit {shown}; {why}, or use the other kind of URL."),
    )
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn who_trusts_other_servers_shares_nothing_of_what_they_said() {
        let cache = GitCache::new();
        let store = |change: fn(RemoteBuilder) -> RemoteBuilder| {
            change(Remote::builder("git@git.example:acme/x.git").cache(cache.clone())).build().unwrap().store().0
        };
        let plain = store(|remote| remote);
        assert!(Arc::ptr_eq(&plain, &store(|remote| remote)));
        let known = store(|remote| remote.known_hosts("git.example ssh-ed25519 AAAA"));
        for other in [
            store(|remote| remote.known_hosts("git.example ssh-ed25519 BBBB")),
            store(|remote| remote.known_hosts("git.example ssh-ed25519 AAAA").accept_new_host_keys()),
            store(|remote| remote.accept_new_host_keys()),
            store(|remote| remote.ca_certificates("-----BEGIN CERTIFICATE-----")),
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
            ("https://other.example/acme/x.git", "credentials: None"),
            ("/srv/git.example/acme/x.git", "credentials: None"),
        ] {
            let builder = Remote::builder(url).credentials_from(&cx, &rules).await.unwrap();
            let printed = format!("{builder:?}");
            assert!(printed.contains(shown) && !printed.contains("s3cret"), "{url}: {printed}");
            builder.build().unwrap();
        }
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
