//! Credentials as Docker, Podman and Kubernetes keep them: a `config.json` with passwords, tokens and names of helpers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kargo_core::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::helper::{DEADLINE, Helper, TOKEN_USER};
use super::{CredentialSource, Credentials, longest, normalized};
use crate::flight::Flights;
use crate::repository::DOCKER_HUB;

/// The most that a configuration may have, in bytes.
const BYTES: u64 = 1024 * 1024;
/// How helpers and Docker's configuration call Docker Hub.
const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";

/// The credentials of a Docker configuration: `auths` with users, passwords, `identitytoken` and `registrytoken`, `credsStore`
/// and `credHelpers`.
///
/// A helper for the host comes first, then the store, then the entry of `auths` with the longest path that covers the
/// repository; keys may be hosts or repositories, with or without scheme, and Docker Hub may go by any of its names. A
/// helper is run as `docker-credential-NAME get`, may take 20 seconds, and is asked once for all that wait for one host. A
/// file is read anew each time that credentials are needed, so that a changed one needs no restart.
///
/// ```no_run
/// use kargo_oci::{Client, DockerConfig};
///
/// let client = Client::builder().credentials(DockerConfig::of_user()).build()?;
/// # let _ = client;
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[must_use]
pub struct DockerConfig {
    place: Place,
    helpers: Option<PathBuf>,
    deadline: Duration,
    asked: Flights<(Helper, String), Option<Credentials>>,
}

enum Place {
    File { path: PathBuf, may_be_missing: bool },
    Text(SecretString),
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig").field("place", &self.place.to_string()).finish_non_exhaustive()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "the Docker configuration {}", path.display()),
            Self::Text(_) => f.write_str("the Docker configuration that was given as text"),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: Option<BTreeMap<String, Entry>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl DockerConfig {
    /// The configuration in this file, which must be there.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::of(Place::File { path: path.into(), may_be_missing: false })
    }

    /// The configuration of the user that runs this process: `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`. When
    /// there is none, everything is anonymous.
    pub fn of_user() -> Self {
        let directory = std::env::var_os("DOCKER_CONFIG").filter(|directory| !directory.is_empty()).map(PathBuf::from);
        let home = || std::env::home_dir().unwrap_or_default().join(".docker");
        let path = directory.unwrap_or_else(home).join("config.json");
        Self::of(Place::File { path, may_be_missing: true })
    }

    /// The configuration in this text, such as the `.dockerconfigjson` of a Kubernetes secret.
    pub fn text(json: impl Into<SecretString>) -> Self {
        Self::of(Place::Text(json.into()))
    }

    fn of(place: Place) -> Self {
        Self { place, helpers: None, deadline: DEADLINE, asked: Flights::new() }
    }

    /// Looks for helpers in this directory, and not in those of `PATH`.
    pub fn helpers_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.helpers = Some(directory.into());
        self
    }

    /// How long a helper may take: 20 seconds by default. It is ended then, with all that it has started and that has not left its
    /// process group.
    pub fn helper_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    async fn read(&self) -> Result<Config> {
        let text = match &self.place {
            Place::Text(text) => return self.parse(text.expose_secret().as_bytes()),
            Place::File { path, may_be_missing } => {
                let file = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&file)).await;
                match read.map_err(std::io::Error::other).flatten() {
                    Err(error) if *may_be_missing && error.kind() == std::io::ErrorKind::NotFound => {
                        return Ok(Config::default());
                    }
                    other => other,
                }
            }
        };
        let text = text.map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("Credentials cannot be read from {}.", self.place))
                .because(error)
        })?;
        self.parse(text.expose_secret().as_bytes())
    }

    fn parse(&self, json: &[u8]) -> Result<Config> {
        serde_json::from_slice(json).map_err(|error| {
            // The error's text could show a part of a password.
            let (line, column) = (error.line(), error.column());
            Error::new(
                ErrorKind::InvalidInput,
                format!("There is a mistake in {}, at line {line}, column {column}.", self.place),
            )
        })
    }

    async fn ask(&self, helper: &str, host: &str) -> Result<Option<Credentials>> {
        let server = if host == DOCKER_HUB { DOCKER_HUB_SERVER } else { host };
        let key = (Helper::new(helper)?, server.to_owned());
        let asking = key.0.get(server, self.helpers.as_deref(), self.deadline);
        self.asked.join(&key, asking).await
    }

    fn entry(&self, key: &str, entry: &Entry) -> Result<Credentials> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&entry.registrytoken) {
            return Ok(Credentials::bearer(token));
        }
        if let Some(token) = given(&entry.identitytoken) {
            return Ok(Credentials::identity(token));
        }
        let (user, password) = match given(&entry.auth) {
            Some(auth) => {
                let bytes = STANDARD.decode(auth.trim()).ok();
                let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
                let pair = text.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
                let Some((user, password)) = pair else {
                    return Err(Error::new(
                        ErrorKind::InvalidInput,
                        format!("The entry {key:?} of {} has an auth that is not base64 of user:password.", self.place),
                    ));
                };
                (user.to_owned(), password.to_owned())
            }
            None => match (given(&entry.username), given(&entry.password)) {
                (Some(user), Some(password)) => (user, password),
                // An empty entry says that a store has the password.
                _ => return Ok(Credentials::Anonymous),
            },
        };
        Ok(if user == TOKEN_USER { Credentials::identity(password) } else { Credentials::basic(user, password) })
    }
}

fn read_file(path: &Path) -> std::io::Result<SecretString> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES {
        return Err(std::io::Error::other(format!("it has more than {BYTES} bytes")));
    }
    Ok(text.into())
}

#[async_trait]
impl CredentialSource for DockerConfig {
    /// The helper's, and some time to read the file.
    fn deadline(&self) -> Duration {
        self.deadline.saturating_add(Duration::from_secs(10))
    }

    /// The keys of `auths` and `credHelpers`. What a store has is not known.
    fn names(&self) -> Vec<String> {
        // Only for an error, so a small file is read in place.
        let config = match &self.place {
            Place::Text(text) => self.parse(text.expose_secret().as_bytes()),
            Place::File { path, .. } => match read_file(path) {
                Ok(text) => self.parse(text.expose_secret().as_bytes()),
                Err(_) => Ok(Config::default()),
            },
        };
        let Config { auths, cred_helpers, .. } = config.unwrap_or_default();
        let (auths, helpers) = (auths.unwrap_or_default(), cred_helpers.unwrap_or_default());
        let names = auths.keys().chain(helpers.keys());
        names.map(|name| normalized(name)).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    async fn get(&self, host: &str, repository: &str) -> Result<Credentials> {
        let config = self.read().await?;
        let helpers = config.cred_helpers.unwrap_or_default();
        let helper = helpers.iter().find(|(key, _)| normalized(key) == host).map(|(_, helper)| helper.as_str());
        let store = config.creds_store.as_deref().filter(|store| !store.is_empty());
        if let Some(helper) = helper.or(store)
            && let Some(credentials) = self.ask(helper, host).await?
        {
            return Ok(credentials);
        }
        let auths = config.auths.unwrap_or_default();
        let keys: Vec<String> = auths.keys().map(|key| normalized(key)).collect();
        let entries = keys.iter().map(String::as_str).zip(&auths);
        match longest(entries, host, repository) {
            Some((key, entry)) => self.entry(key, entry),
            None => Ok(Credentials::Anonymous),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(json: &str, host: &str, repository: &str) -> Result<String> {
        Ok(match DockerConfig::text(json).get(host, repository).await? {
            Credentials::Anonymous => "anonymous".into(),
            Credentials::Basic { user, password } => format!("{user}:{}", password.expose_secret()),
            Credentials::Identity(token) => format!("identity {}", token.expose_secret()),
            Credentials::Bearer(token) => format!("bearer {}", token.expose_secret()),
        })
    }

    #[tokio::test]
    async fn oci_16_entries_are_found_by_all_the_names_that_people_write() {
        let json = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
            "https://ghcr.io/v2/": {"username": "gh", "password": "a:b"},
            "ghcr.io/acme": {"auth": "YWNtZTpwdw=="},
            "mine.azurecr.io": {"auth": "MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOg==", "identitytoken": "refresh"},
            "token.example": {"registrytoken": "as it is"},
            "old.example": {"auth": "PHRva2VuPjpyZWZyZXNo"},
            "store.example": {},
            "registry.example:5000": {"auth": "cG9ydDpwdw=="}
        }, "HttpHeaders": {"User-Agent": "x"}}"#;
        for (host, repository, expected) in [
            ("docker.io", "library/nginx", "hub:pw"),
            ("ghcr.io", "other/app", "gh:a:b"),
            ("ghcr.io", "acme/app", "acme:pw"),
            ("ghcr.io", "acme-labs/app", "gh:a:b"),
            ("mine.azurecr.io", "app", "identity refresh"),
            ("token.example", "app", "bearer as it is"),
            ("old.example", "app", "identity refresh"),
            ("store.example", "app", "anonymous"),
            ("registry.example:5000", "app", "port:pw"),
            ("registry.example", "app", "anonymous"),
            ("evil.example", "app", "anonymous"),
        ] {
            assert_eq!(get(json, host, repository).await.unwrap(), expected, "{host}/{repository}");
        }
        assert_eq!(get("{}", "ghcr.io", "app").await.unwrap(), "anonymous");
        assert_eq!(get(r#"{"auths": null}"#, "ghcr.io", "app").await.unwrap(), "anonymous");
    }

    #[tokio::test]
    async fn mistakes_are_named_and_secrets_are_not() {
        for (json, needle) in [
            (r#"{"auths": {"ghcr.io": {"auth": "hunter2"}}}"#, "ghcr.io"),
            (r#"{"auths": {"ghcr.io": {"auth": ["hunter2"]}}}"#, "line 1"),
            (r#"{"auths": {"ghcr.io": "hunter2"}}"#, "line 1"),
            (r#"{"credsStore": "../hunter2", "x": }"#, "mistake"),
            (r#"{"credHelpers": {"ghcr.io": "../sh"}}"#, "credential helper"),
        ] {
            let error = get(json, "ghcr.io", "app").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.message().contains(needle), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let shown = format!("{:?}", DockerConfig::text(r#"{"auths": {"a": {"password": "hunter2"}}}"#));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[tokio::test]
    async fn a_file_is_read_anew_and_only_the_users_own_may_be_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let config = DockerConfig::at(&path);
        let error = config.get("ghcr.io", "app").await.unwrap_err();
        assert!(error.message().contains("config.json"), "{error}");
        for password in ["b25lOng=", "dHdvOng="] {
            std::fs::write(&path, format!(r#"{{"auths": {{"ghcr.io": {{"auth": "{password}"}}}}}}"#)).unwrap();
            let Credentials::Basic { user, .. } = config.get("ghcr.io", "app").await.unwrap() else { panic!() };
            assert!(matches!((password, user.as_str()), ("b25lOng=", "one") | ("dHdvOng=", "two")));
        }
        let missing = DockerConfig::of(Place::File { path: directory.path().join("none"), may_be_missing: true });
        assert!(matches!(missing.get("ghcr.io", "app").await.unwrap(), Credentials::Anonymous));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn oci_21_a_helper_is_asked_once_for_all_that_wait_and_again_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("asked");
        let script = format!(r#"cat >> {0}; echo >> {0}; printf '{{"Username":"me","Secret":"x"}}'"#, log.display());
        super::super::helper::install(directory.path(), &script);
        let json = r#"{"credHelpers": {"docker.io": "test"}, "credsStore": "test", "auths": {"ghcr.io": {}}}"#;
        let config = DockerConfig::text(json).helpers_in(directory.path());
        let all = futures::future::try_join_all(["a", "b", "c"].map(|name| config.get("ghcr.io", name))).await.unwrap();
        assert!(all.iter().all(|credentials| matches!(credentials, Credentials::Basic { .. })));
        config.get("ghcr.io", "a").await.unwrap();
        config.get("docker.io", "a").await.unwrap();
        let asked = std::fs::read_to_string(&log).unwrap();
        assert_eq!(asked.lines().collect::<Vec<_>>(), ["ghcr.io", "ghcr.io", "https://index.docker.io/v1/"]);
    }
}
