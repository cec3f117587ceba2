//! Kargo's steps for Git, on the lazy workspace of a promotion.
//!
//! `git-clone` mounts commits without fetching their files, `git-commit` makes commits in memory, and `git-push` sends what is new. What a
//! step remembers of a checkout is a [`Checkout`](checkout::Checkout), which never changes: a step that fails has done nothing.

mod checkout;
mod clear;
mod clone;
mod commit;
mod github;
mod merge;
mod names;
mod origin;
mod push;
mod record;
mod tag;

use std::fmt;
use std::sync::Arc;

use kargo_core::plugin::{PluginsBuilder, StepRequest};
use kargo_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::commit::Identity;
use crate::remote::OWN_BRANCHES;
use crate::sign::Signer;
use crate::source::GitSource;
use checkout::Author;

pub use github::GitHubPush;

/// Kargo's steps for Git: `git-clone`, `git-clear`, `git-commit`, `git-tag` and `git-push`, with what they have in common. Cheap to clone.
///
/// They work on the promotion's [`Workspace`](kargo_core::workspace::Workspace): of a repository only the directories and files are
/// fetched that steps look into, and only new objects are sent. Configurations and outputs are Kargo's, see
/// <https://docs.kargo.io/user-guide/reference-docs/promotion-steps/>; `docs/differences.md` says where the behaviour is another.
///
/// - Commits are made of the journal's facts and carry trailers (promotion, freight, stage, actor, key), so that a step that is run again
///   makes the same commit, or finds the one that it had made.
/// - A push never loses what others have pushed. When the branch has moved, the commits are made again on top of it, line by line as git
///   does it: lines that both have changed are a conflict, which ends the promotion and is named. Only branches of promotions (`kargo/promotion/...`, and
///   those of [`GitSteps::own_branches`]) are ever forced, and those with a lease: where the branch stood when the step began, or what a
///   promotion has made. A move by somebody else meanwhile ends the step with an error of the kind [`ErrorKind::Conflict`].
///
/// Credentials, certificates and limits are those of a [`GitSource`], by the URL of the repository. With
/// [`GitSource::credentials_from`] they are asked for in each step, and anew for each attempt to push, so that a promotion may last longer
/// than a token.
///
/// ```
/// use kargo_core::Plugins;
/// use kargo_git::{Credentials, GitSource, GitSteps};
///
/// let access = GitSource::new().credentials("https://git.example/acme", Credentials::basic("kargo", "the token"));
/// let steps = GitSteps::new(access.clone()).committer("Kargo", "kargo@acme.example");
/// let plugins = steps.register(Plugins::builder().source("git", access)).build();
/// assert!(plugins.step("git-push").is_ok());
/// ```
#[derive(Clone)]
pub struct GitSteps(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    access: GitSource,
    author: Author,
    own: Vec<String>,
}

impl GitSteps {
    /// Steps that reach repositories as `access` does, and commit as `Kargo <kargo@localhost>`.
    pub fn new(access: GitSource) -> Self {
        let author = Author { identity: Identity::default(), signer: None };
        Self(Arc::new(Settings { access, author, own: vec![OWN_BRANCHES.to_owned()] }))
    }

    /// Sets who makes the commits of steps that name no author. Characters that Git cannot keep in names are left out; of what is empty
    /// then, the default stays.
    #[must_use]
    pub fn committer(mut self, name: &str, email: &str) -> Self {
        let settings = Arc::make_mut(&mut self.0);
        settings.author.identity = settings.author.identity.or(name, email);
        self
    }

    /// Signs the commits of steps that name no author.
    #[must_use]
    pub fn sign(mut self, signer: Signer) -> Self {
        Arc::make_mut(&mut self.0).author.signer = Some(signer);
        self
    }

    /// Lets steps force branches whose names begin with `prefix` too, such as those that hold rendered manifests and nothing else. Nobody
    /// else should write to them. Default: only those that begin with `kargo/promotion/`.
    #[must_use]
    pub fn own_branches(mut self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        if !prefix.is_empty() {
            Arc::make_mut(&mut self.0).own.push(prefix);
        }
        self
    }

    /// Registers the steps under Kargo's names.
    pub fn register(&self, plugins: PluginsBuilder) -> PluginsBuilder {
        plugins
            .step("git-clone", clone::GitClone(self.clone()))
            .step("git-clear", clear::GitClear)
            .step("git-commit", commit::GitCommit)
            .step("git-tag", tag::GitTag)
            .step("git-push", push::GitPush(self.clone()))
    }

    /// Whether a branch may be forced.
    fn owns(&self, branch: &str) -> bool {
        self.0.own.iter().any(|prefix| branch.starts_with(prefix.as_str()))
    }
}

impl fmt::Debug for GitSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitSteps")
            .field("access", &self.0.access)
            .field("author", &self.0.author)
            .field("own", &self.0.own)
            .finish()
    }
}

/// The output with a commit's signature, when another one would be made of it the next time: with it the commit is made again after a
/// restart, byte by byte.
const SIGNATURE: &str = "signature";

/// The signature of the commit that is to be brought back.
fn signature<'a>(request: &StepRequest<'a>) -> Option<&'a str> {
    request.restored?.get(SIGNATURE)?.as_str()
}

/// Who makes commits, in a step's configuration.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuthorConfig {
    /// The name.
    name: String,
    /// The address.
    email: String,
    /// The private key of OpenSSH that signs the commits. Default: none; what `git-clone` makes is not signed then, and a `git-commit`
    /// signs as its checkout does.
    #[serde(default)]
    signing_key: Option<String>,
}

impl AuthorConfig {
    /// Who that is; `default` has what is not said.
    fn identity(&self, default: &Identity) -> Identity {
        default.or(&self.name, &self.email)
    }

    /// With what they sign.
    fn signer(&self) -> Result<Option<Signer>> {
        match given(self.signing_key.as_ref()) {
            Some(key) if key.contains("PGP PRIVATE KEY") => Err(Error::new(
                ErrorKind::Unsupported,
                "The signingKey of an author is a key of OpenSSH here; let the host sign with its OpenPGP key (GitSteps::sign).",
            )),
            Some(key) => Signer::ssh(key).map(Some),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for AuthorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorConfig").field("name", &self.name).field("email", &self.email).finish_non_exhaustive()
    }
}

/// Whether a field, by its JSON pointer, has one of these names.
pub(crate) fn is_one_of(pointer: &str, names: &[&str]) -> bool {
    pointer.rsplit('/').next().is_some_and(|name| names.contains(&name))
}

/// An optional text, of which Kargo's forms write an empty one for none.
pub(crate) fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidInput, what)
}
