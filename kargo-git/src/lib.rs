//! Git for `kargo-core`, native on gix: a [`GitWriter`] that changes one line of one file, [`GitSource`]s for branches and tags, and
//! the history of a repository.
//!
//! No `git` program is needed. Over `http://`, `https://` and ssh the crate speaks Git's own protocol: it asks for the refs that it
//! wants, fetches the directories on the way to one file instead of a repository, and sends the new objects alone, so a promotion
//! costs what it changes. For ssh it takes the system's program `ssh`. A repository on this machine, by path or `file://`, is read and
//! written directly. Commits can be signed, see [`Signer`].
//!
//! Where changes go by pull requests, [`Forges`] speak the APIs of GitHub, GitLab, Gitea and Forgejo, Bitbucket and Azure DevOps, and
//! [`OpenPullRequest`], [`WaitForPullRequest`] and [`MergePullRequest`] are the steps of a promotion for them.
//!
//! ```
//! use kargo_core::plugin::{Context, History, Relation, WriteRequest, Writer};
//! use kargo_core::{Actor, Freight};
//! use kargo_git::testing::BareRepository;
//! use kargo_git::{GitWriter, Remote, YamlUpdate};
//! use jiff::Timestamp;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kargo_core::Result<()> {
//! let repository = BareRepository::new();
//! let first = repository.commit("main", &[("env/dev/values.yaml", "image:\n  tag: v1 # ours\n")], "Start");
//!
//! let remote = Remote::new(repository.url())?;
//! let writer = GitWriter::new(remote.clone()).branch("main");
//!
//! // The engine makes these from its journal.
//! let freight = Freight::new("main", vec![], Timestamp::now());
//! let promotion = kargo_core::PromotionInfo::new("shop", "dev.1", "dev", freight, Actor::user("alice"), Timestamp::now());
//! let config = serde_json::to_value(YamlUpdate::new("env/dev/values.yaml").set("image.tag", "v2")).expect("is JSON");
//!
//! let cx = Context::system("dev.1/step-1");
//! let written = writer.write(&cx, &WriteRequest::new(&promotion, &config, Timestamp::now())).await?;
//! assert!(written.changed);
//! assert_eq!(repository.read("main", "env/dev/values.yaml"), "image:\n  tag: v2 # ours\n");
//! assert_eq!(remote.relate(&cx, &written.revision, &first.into()).await?, Relation::Later);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cache;
mod changes;
mod commit;
mod credentials;
mod forge;
mod history;
mod lines;
mod pull_request;
mod remote;
mod sign;
mod source;
mod steps;
#[cfg(test)]
mod stock;
mod subscription;
#[cfg(feature = "testing")]
pub mod testing;
mod tree;
mod turn;
mod update;
mod writer;

pub use cache::GitCache;
pub use credentials::{
    CredentialKind, CredentialRules, CredentialSource, GitHubApp, GitHubAppBuilder, NamedCredentials,
};
pub use forge::{
    Branch, Forge, Forges, ForgesBuilder, MergeOutcome, MergeRequest, NewPullRequest, Opened, Provider, PullRequest,
    PullRequestQuery, PullRequestState, Readiness, RepositoryOptions,
};
pub use pull_request::{MergePullRequest, OpenPullRequest, WaitForPullRequest};
pub use remote::{Credentials, Limits, PushOptions, RefChange, Remote, RemoteBuilder, Timeouts};
pub use sign::Signer;
pub use source::{CommitDetails, GitSource};
pub use steps::{GitHubPush, GitSteps};
pub use subscription::{CommitSelectionStrategy, GitSubscription};
pub use update::{KeyUpdate, YamlUpdate};
pub use writer::GitWriter;
