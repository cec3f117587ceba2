//! The [`Source`] for Git.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use gix::ObjectId;
use gix::objs::Kind;
use kargo_core::artifact::normalize_git_url;
use kargo_core::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source};
use kargo_core::{Artifact, Error, ErrorKind, GitCommit, Result};
use serde_json::Value;

use crate::remote::{CommitInfo, Credentials, Remote, RemoteRef, Session, Timeouts};
use crate::subscription::{CommitSelectionStrategy, GitSubscription, TagRule};

/// How many characters of a subject line are kept, as in Kargo.
const SUBJECT: usize = 80;

/// Finds commits: the newest of a branch, or those of tags that are versions.
///
/// A subscription's configuration is a [`GitSubscription`]. A look that finds nothing new costs one request, a listing of the refs in question;
/// else the commits that count are fetched without their files. The commit of an annotated tag is the one that it is a tag of.
///
/// ```
/// use kargo_git::{Credentials, GitSource};
///
/// let source = GitSource::new().credentials("https://git.example/acme", Credentials::basic("kargo", "the token"));
/// ```
#[derive(Clone, Default)]
pub struct GitSource {
    credentials: Vec<(String, Credentials)>,
    ca: Vec<Vec<u8>>,
    timeouts: Timeouts,
    insecure: bool,
    client: OnceLock<reqwest::Client>,
    /// By URL. Remotes remember what their server can do, so that a look with nothing new is one request.
    remotes: Arc<Mutex<HashMap<String, Remote>>>,
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
        self.credentials.push((normalize_git_url(url_prefix), credentials));
        self.forget()
    }

    /// Trusts the certificates in this PEM text besides the system's.
    #[must_use]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca.push(pem.into());
        self.forget()
    }

    /// Sets how long to wait for servers.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self.forget()
    }

    /// Sends credentials over `http://` to other machines too, for everybody on the way to read.
    #[must_use]
    pub fn allow_insecure_credentials(mut self) -> Self {
        self.insecure = true;
        self.forget()
    }

    /// Drops what was made with other settings, without touching what clones made with theirs.
    fn forget(mut self) -> Self {
        self.client = OnceLock::new();
        self.remotes = Arc::default();
        self
    }

    fn remote(&self, url: &str) -> Result<Remote> {
        if let Some(remote) = self.remotes.lock().unwrap_or_else(PoisonError::into_inner).get(url) {
            return Ok(remote.clone());
        }
        let remote = self.new_remote(url)?;
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), remote.clone());
        Ok(remote)
    }

    fn new_remote(&self, url: &str) -> Result<Remote> {
        let mut builder = Remote::builder(url).timeouts(self.timeouts);
        for pem in &self.ca {
            builder = builder.ca_certificates(pem.clone());
        }
        if self.insecure {
            builder = builder.allow_insecure_credentials();
        }
        let normal = normalize_git_url(url);
        let fitting = self.credentials.iter().filter(|(prefix, _)| {
            let rest = normal.strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
        });
        if let Some((_, credentials)) = fitting.max_by_key(|(prefix, _)| prefix.len()) {
            builder = builder.credentials(credentials.clone());
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
            .field("timeouts", &self.timeouts)
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
        let (subscription, rule) = GitSubscription::from_config(request.config)?;
        let mut session = self.remote(&subscription.repo_url)?.session()?;
        cx.guard("look for commits", async {
            match subscription.commit_selection_strategy {
                CommitSelectionStrategy::NewestFromBranch => {
                    newest_from_branch(&mut session, &subscription, request).await
                }
                CommitSelectionStrategy::SemVer => by_version(&mut session, &subscription, &rule, request).await,
            }
        })
        .await
    }
}

async fn newest_from_branch(
    session: &mut Session,
    subscription: &GitSubscription,
    request: &DiscoverRequest<'_>,
) -> Result<Discovery> {
    let tip = match &subscription.branch {
        Some(branch) => session.tip(branch).await?,
        None => {
            let refs = session.refs(&["HEAD"]).await?;
            let head = refs.into_iter().find(|each| each.name == "HEAD").ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    format!(
                        "The default branch of {} has no commit; make one, or name a branch in the subscription.",
                        session.shown()
                    ),
                )
            })?;
            head.id
        }
    };
    let cursor = cursor(request.config, [("", tip)]);
    if request.cursor == Some(&cursor) {
        return Ok(Discovery::Unchanged);
    }
    let commits = session.commits(&[tip], subscription.discovery_limit, false).await?;
    let mut candidates = Vec::new();
    let mut next = Some(tip);
    while let Some(id) = next
        && candidates.len() < subscription.discovery_limit as usize
    {
        // Past the end of a shallow repository.
        let Some(info) = commits.get(&id) else { break };
        next = info.parents.first().copied();
        candidates.push(candidate(subscription, id, info, subscription.branch.clone(), None));
    }
    Ok(Discovery::Found { candidates, cursor: Some(cursor) })
}

async fn by_version(
    session: &mut Session,
    subscription: &GitSubscription,
    rule: &TagRule,
    request: &DiscoverRequest<'_>,
) -> Result<Discovery> {
    let refs = session.refs(&["refs/tags/"]).await?;
    let mut tags: Vec<_> = refs
        .into_iter()
        .filter_map(|each| {
            let version = rule.version(each.name.strip_prefix("refs/tags/")?)?;
            Some((version, each))
        })
        .collect();
    tags.sort_by(|(a, _), (b, _)| b.cmp(a));
    let cursor = cursor(request.config, tags.iter().map(|(_, tag)| (tag.name.as_str(), tag.id)));
    if request.cursor == Some(&cursor) {
        return Ok(Discovery::Unchanged);
    }
    tags.truncate(subscription.discovery_limit as usize);
    if tags.is_empty() {
        return Ok(Discovery::Found { candidates: Vec::new(), cursor: Some(cursor) });
    }
    let ids: Vec<_> = tags.iter().map(|(_, tag)| commit_of(tag)).collect();
    let commits = session.commits(&ids, 1, false).await?;
    let candidates = tags.iter().filter_map(|(version, tag)| {
        // A tag of something that is no commit cannot be promoted.
        let id = commit_of(tag);
        Some(candidate(subscription, id, commits.get(&id)?, None, Some(version.as_str().to_owned())))
    });
    Ok(Discovery::Found { candidates: candidates.collect(), cursor: Some(cursor) })
}

/// The commit of a tag: for an annotated one not the tag itself.
fn commit_of(tag: &RemoteRef) -> ObjectId {
    tag.peeled.unwrap_or(tag.id)
}

fn candidate(
    subscription: &GitSubscription,
    id: ObjectId,
    info: &CommitInfo,
    branch: Option<String>,
    tag: Option<String>,
) -> Artifact {
    let subject = info.subject();
    let message = match subject.char_indices().nth(SUBJECT) {
        Some((end, _)) => format!("{}...", &subject[..end]),
        None => subject.to_owned(),
    };
    // Anybody may write a commit, and what it says is shown in terminals and kept in stores.
    let readable = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    Artifact::Commit(GitCommit {
        repo_url: without_user(&subscription.repo_url),
        id: id.to_string(),
        branch,
        tag,
        message: Some(readable(&message)),
        author: Some(readable(&info.author)),
        subscription_name: None,
    })
}

/// A URL as it was written, but without user and password: freight is seen by many, and kept for long.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_owned(),
    }
}

/// What was seen, in a form that changes when the refs or the subscription do.
fn cursor<'a>(config: &Value, refs: impl IntoIterator<Item = (&'a str, ObjectId)>) -> Cursor {
    let mut seen = format!("{config}\n");
    for (name, id) in refs {
        seen.push_str(&format!("{id} {name}\n"));
    }
    let digest = gix::objs::compute_hash(gix::hash::Kind::Sha256, Kind::Blob, seen.as_bytes());
    Cursor(Value::String(digest.map_or(seen, |digest| digest.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_is_found_does_not_carry_the_password_of_its_url() {
        let id = ObjectId::null(gix::hash::Kind::Sha1);
        let info = CommitInfo { tree: id, parents: vec![], time: 0, author: String::new(), message: String::new() };
        for (url, shown) in [
            ("https://kargo:s3cret@git.example/acme/app.git", "https://git.example/acme/app.git"),
            ("https://s3cret@git.example/acme/app.git", "https://git.example/acme/app.git"),
            ("https://GIT.example/acme/app", "https://GIT.example/acme/app"),
            ("/srv/git/app@home.git", "/srv/git/app@home.git"),
        ] {
            let found = candidate(&GitSubscription::new(url), id, &info, None, None);
            let Artifact::Commit(commit) = found else { panic!("{found} is no commit") };
            assert_eq!(commit.repo_url, shown);
        }
    }

    #[test]
    fn a_commit_that_is_found_has_no_control_characters_in_its_texts() {
        let id = ObjectId::null(gix::hash::Kind::Sha1);
        let (author, message) = ("A\x1b[31m <a@b>".to_owned(), "Add\0 \x1b[2Jx\n\nMore".to_owned());
        let info = CommitInfo { tree: id, parents: vec![], time: 0, author, message };
        let found = candidate(&GitSubscription::new("/srv/x.git"), id, &info, None, None);
        let Artifact::Commit(commit) = found else { panic!("{found} is no commit") };
        assert_eq!(commit.message.as_deref(), Some("Add   [2Jx"));
        assert_eq!(commit.author.as_deref(), Some("A [31m <a@b>"));
    }

    #[test]
    fn git_19_the_longest_prefix_gives_the_credentials_and_ends_at_a_slash() {
        let source = GitSource::new()
            .credentials("https://git.example", Credentials::basic("everywhere", "a"))
            .credentials("https://git.example/acme", Credentials::basic("acme", "b"));
        for (url, user) in [
            ("https://git.example/acme/app.git", Some("acme")),
            ("https://GIT.example/acme/app", Some("acme")),
            ("https://git.example/acmeville/app.git", Some("everywhere")),
            ("https://git.example.evil/acme/app.git", None),
            ("https://other.example/acme/app.git", None),
        ] {
            let shown = format!("{:?}", source.remote(url).unwrap());
            assert_eq!(user.is_some(), shown.contains("user:"), "{shown}");
            assert!(user.is_none_or(|user| shown.contains(&format!("{user:?}"))), "{shown}");
        }
    }
}
