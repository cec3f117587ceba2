//! Credentials by rules over URLs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use kargo_core::artifact::normalize_git_url;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use regex::Regex;

use super::{CredentialKind, CredentialSource, NamedCredentials};
use crate::forge::host_and_path;
use crate::remote::Credentials;

/// Credentials for repositories by host, by path and by regular expression.
///
/// Of those of the wanted kind, the longest host or path that fits is used, however the URL is written; if there is none, the first
/// regular expression that fits. A path ends at a slash: `github.com/acme` is not for `github.com/acme-labs/app`. A place can have both: a
/// key for Git over ssh, and a token for the API.
///
/// ```
/// use kargo_git::{CredentialRules, Credentials};
///
/// let rules = CredentialRules::new()
///     .with("github.com/acme", Credentials::basic("kargo", "a token"))
///     .with("github.com/acme/private", Credentials::basic("kargo", "another token"))
///     .matching(r"^https://git\.[a-z]+\.example/", Credentials::basic("kargo", "a third token"))?;
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CredentialRules {
    places: Vec<(String, Known)>,
    patterns: Vec<(Regex, Known)>,
}

/// What a rule leads to.
#[derive(Debug, Clone)]
enum Known {
    Fixed(NamedCredentials),
    /// A source, told from all others by its number.
    Asked(u64, Arc<dyn CredentialSource>),
}

/// A host, or a path on it, in the form in which they are compared: host in lower case, no scheme, user and `.git`.
fn normalized(place: &str) -> String {
    // `git.example:8443` looks like a path at a host, as ssh has it; behind a user it is one.
    let after = place.split_once(':').filter(|(host, _)| !host.contains('@'));
    let after = after.map(|(_, after)| after.split('/').next().unwrap_or_default());
    let has_port = after.is_some_and(|after| !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some((host, path)) = host_and_path(place).filter(|_| !has_port) {
        return if path.is_empty() { host } else { format!("{host}/{path}") };
    }
    let place = place.trim_end_matches('/');
    let place = place.strip_suffix(".git").unwrap_or(place);
    match place.split_once('/') {
        Some((host, path)) => format!("{}/{path}", host.to_ascii_lowercase()),
        None => place.to_ascii_lowercase(),
    }
}

impl Known {
    fn is(&self, kind: CredentialKind) -> bool {
        match self {
            Self::Fixed(credentials) => credentials.kind() == kind,
            Self::Asked(..) => true,
        }
    }

    fn replaces(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(new), Self::Fixed(old)) => new.kind() == old.kind(),
            (Self::Asked(..), Self::Asked(..)) => true,
            // What is asked may have none of the kind that is wanted.
            _ => false,
        }
    }
}

impl CredentialRules {
    /// No credentials yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds credentials for a host (`github.com`, `git.example:8443`), for what is under a path on it (`github.com/acme`), or for one
    /// repository by any of its URLs. In errors they are called by this place.
    #[must_use]
    pub fn with(self, place: impl Into<String>, credentials: Credentials) -> Self {
        let place = place.into();
        let place = normalized(&place);
        self.add(place.clone(), Known::Fixed(NamedCredentials::new(format!("for {place}"), credentials)))
    }

    /// Has another source asked for what is at or under a place, as in [`CredentialRules::with`].
    #[must_use]
    pub fn ask(self, place: impl AsRef<str>, source: impl CredentialSource) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.add(normalized(place.as_ref()), Known::Asked(number, Arc::new(source)))
    }

    /// Adds credentials for all URLs that `pattern` matches, as they are written or in Kargo's normal form.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the pattern is no regular expression.
    pub fn matching(mut self, pattern: &str, credentials: Credentials) -> Result<Self> {
        let regex = Regex::new(pattern).map_err(|error| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("The pattern {pattern:?} for credentials is no regular expression."),
            )
            .because(error)
        })?;
        let known = Known::Fixed(NamedCredentials::new(format!("for URLs that match {pattern}"), credentials));
        self.patterns.push((regex, known));
        Ok(self)
    }

    fn add(mut self, place: String, known: Known) -> Self {
        // A later one of its kind takes an earlier one's place.
        self.places.retain(|(other, old)| *other != place || !known.replaces(old));
        self.places.push((place, known));
        self
    }

    /// What fits, the best first.
    fn find(&self, url: &str, kind: CredentialKind) -> Vec<&Known> {
        let full = normalized(url);
        let covers =
            |place: &str| full.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // Of those for one place the one that was added last comes first.
        let fitting = self.places.iter().rev().filter(|(place, known)| covers(place) && known.is(kind));
        let mut places: Vec<&(String, Known)> = fitting.collect();
        places.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
        let normal = normalize_git_url(url);
        let fits = |regex: &Regex| regex.is_match(url) || regex.is_match(&normal);
        let patterns = self.patterns.iter().filter(|(regex, known)| fits(regex) && known.is(kind));
        places.into_iter().map(|(_, known)| known).chain(patterns.map(|(_, known)| known)).collect()
    }
}

#[async_trait]
impl CredentialSource for CredentialRules {
    async fn get(&self, cx: &Context, url: &str, kind: CredentialKind) -> Result<Option<NamedCredentials>> {
        for known in self.find(url, kind) {
            match known {
                Known::Fixed(credentials) => return Ok(Some(credentials.clone())),
                Known::Asked(number, source) => {
                    if let Some(mut credentials) = source.get(cx, url, kind).await? {
                        credentials.given_by.insert(0, *number);
                        return Ok(Some(credentials));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn refused(&self, cx: &Context, url: &str, refused: &NamedCredentials) {
        // One source's secret is nothing for another's ears.
        let Some((giver, inner)) = refused.given_by.split_first() else { return };
        for known in self.find(url, refused.kind()) {
            if let Known::Asked(number, source) = known
                && number == giver
            {
                let given_by = inner.to_vec();
                source.refused(cx, url, &NamedCredentials { given_by, ..refused.clone() }).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(rules: &CredentialRules, url: &str) -> Option<String> {
        match rules.find(url, CredentialKind::Password).first()? {
            Known::Fixed(found) => Some(found.name.clone()),
            Known::Asked(..) => None,
        }
    }

    /// A source that has passwords and no keys, as a GitHub App.
    #[derive(Debug)]
    struct Passwords;

    #[async_trait]
    impl CredentialSource for Passwords {
        async fn get(&self, _: &Context, _: &str, kind: CredentialKind) -> Result<Option<NamedCredentials>> {
            let token = || NamedCredentials::new("the app", Credentials::basic("x", "token"));
            Ok((kind == CredentialKind::Password).then(token))
        }
    }

    #[tokio::test]
    async fn a_source_that_has_none_of_the_kind_leaves_it_to_the_next() {
        let cx = Context::system("key");
        for place in ["github.com/acme", "github.com"] {
            let rules =
                CredentialRules::new().with(place, Credentials::ssh_key("key")).ask("github.com/acme", Passwords);
            let get = async |kind| {
                let found = rules.get(&cx, "git@github.com:acme/shop.git", kind).await.unwrap();
                found.map(|found| found.name.clone())
            };
            assert_eq!(get(CredentialKind::SshKey).await, Some(format!("for {place}")));
            assert_eq!(get(CredentialKind::Password).await.as_deref(), Some("the app"));
        }
    }

    /// Gives one password, and keeps what it is told of.
    #[derive(Debug)]
    struct Vault(&'static str, std::sync::Mutex<Vec<String>>);

    #[async_trait]
    impl CredentialSource for Vault {
        async fn get(&self, _: &Context, url: &str, _: CredentialKind) -> Result<Option<NamedCredentials>> {
            let has = url.contains(self.0);
            Ok(has.then(|| NamedCredentials::new(self.0, Credentials::basic("kargo", self.0))))
        }

        async fn refused(&self, _: &Context, _: &str, refused: &NamedCredentials) {
            self.1.lock().unwrap().extend(refused.secret().map(str::to_owned));
        }
    }

    #[tokio::test]
    async fn git_19_only_the_source_that_gave_what_was_refused_is_told_of_it() {
        let vault = |name| Arc::new(Vault(name, std::sync::Mutex::default()));
        let (shop, acme, host) = (vault("shop"), vault("acme"), vault("github"));
        let inner =
            CredentialRules::new().ask("github.com/acme", Arc::clone(&acme)).ask("github.com", Arc::clone(&host));
        let rules = CredentialRules::new()
            .ask("github.com/acme/shop", Arc::clone(&shop))
            .ask("github.com", inner)
            .with("github.com/fixed", Credentials::basic("kargo", "fixed"));
        let cx = Context::system("key");
        for (url, told) in [
            ("https://github.com/acme/shop", "shop"),
            ("https://github.com/acme/other", "acme"),
            ("https://github.com/other/x", "github"),
            ("https://github.com/fixed/x", ""),
        ] {
            let given = rules.get(&cx, url, CredentialKind::Password).await.unwrap().unwrap();
            rules.refused(&cx, url, &given).await;
            let heard = [&shop, &acme, &host].map(|vault| std::mem::take(&mut *vault.1.lock().unwrap()));
            assert_eq!(heard.concat(), told.split(' ').filter(|told| !told.is_empty()).collect::<Vec<_>>(), "{url}");
        }
    }

    #[test]
    fn git_19_behind_a_user_a_number_is_a_path_and_no_port() {
        let rules = CredentialRules::new().with("git.example", Credentials::basic("host", "x"));
        assert_eq!(name(&rules, "git@git.example:2024/shop.git").as_deref(), Some("for git.example"));
        assert_eq!(name(&rules, "git@git.example:7999/acme/shop").as_deref(), Some("for git.example"));
        assert_eq!(name(&rules, "git.example:2024/shop.git"), None, "that may be a port");
    }

    #[test]
    fn git_19_the_nearest_place_beats_any_pattern_and_says_its_name() {
        let rules = CredentialRules::new()
            .matching("acme", Credentials::basic("pattern", "x"))
            .unwrap()
            .matching(".*", Credentials::basic("all", "x"))
            .unwrap()
            .with("GitHub.com", Credentials::basic("host", "x"))
            .with("https://github.com/acme/private.git", Credentials::basic("one", "x"));
        for url in [
            "https://me@github.com/acme/private",
            "git@github.com:acme/private.git",
            "ssh://git@github.com:22/acme/private/",
        ] {
            assert_eq!(name(&rules, url).as_deref(), Some("for github.com/acme/private"), "{url}");
        }
        assert_eq!(name(&rules, "https://github.com/acme/private-too").as_deref(), Some("for github.com"));
        assert_eq!(name(&rules, "https://git.example/acme/x").as_deref(), Some("for URLs that match acme"));
        assert_eq!(name(&rules, "https://git.example/other").as_deref(), Some("for URLs that match .*"));
        assert_eq!(name(&CredentialRules::new(), "https://git.example/other"), None);
        let port = CredentialRules::new().with("Git.example:8443", Credentials::basic("port", "x"));
        assert_eq!(name(&port, "https://git.example:8443/a/b").as_deref(), Some("for git.example:8443"));
        assert_eq!(name(&port, "https://git.example/a/b"), None);
        assert_eq!(name(&rules, "https://github.com.evil.example/x").as_deref(), Some("for URLs that match .*"));
    }

    #[test]
    fn a_place_can_have_a_key_for_git_and_a_token_for_the_api() {
        let rules = CredentialRules::new()
            .with("github.com/acme", Credentials::ssh_key("key"))
            .with("github.com", Credentials::basic("kargo", "old"))
            .with("github.com", Credentials::basic("kargo", "new"));
        let find = |kind| match rules.find("git@github.com:acme/shop.git", kind) {
            found if matches!(found.first(), Some(Known::Fixed(_))) => match found[0] {
                Known::Fixed(found) => (found.name.clone(), found.secret().map(str::to_owned)),
                Known::Asked(..) => unreachable!("it is one that is fixed"),
            },
            other => panic!("{other:?}"),
        };
        assert_eq!(find(CredentialKind::SshKey), ("for github.com/acme".to_owned(), None));
        assert_eq!(find(CredentialKind::Password), ("for github.com".to_owned(), Some("new".to_owned())));
    }

    #[test]
    fn secrets_never_print_and_patterns_are_checked() {
        let rules = CredentialRules::new().with("git.example", Credentials::basic("me", "hunter2"));
        let shown = format!("{rules:?}");
        assert!(shown.contains("me") && !shown.contains("hunter2"), "{shown}");
        let error = rules.matching("(", Credentials::basic("me", "hunter2")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
