//! Forges: where repositories have pull requests.
//!
//! A [`Forge`] is one repository on one server, spoken to through the server's own REST API. What providers call differently (merge
//! requests, abandoning, declining) has one name here; what only one of them has stays in its file. Nothing here waits or tries again:
//! an answer is returned as it is, and an error says whether and when another try can help.

mod azure;
mod bitbucket_cloud;
mod bitbucket_data_center;
mod client;
mod forges;
mod gitea;
mod github;
mod github_database;
mod github_family;
mod gitlab;
mod model;
mod place;
mod provider;
mod web;

use std::fmt::Debug;

use async_trait::async_trait;
use kargo_core::Result;
use kargo_core::plugin::Context;

pub use forges::{Forges, ForgesBuilder, RepositoryOptions};
pub use model::{
    Branch, MergeOutcome, MergeRequest, NewPullRequest, Opened, PullRequest, PullRequestQuery, PullRequestState,
    Readiness,
};
pub use provider::Provider;
pub(crate) use provider::named_or_none;

pub(crate) use client::{Reply, Request, Wire, certificates, client};
pub(crate) use forges::shown;
pub(crate) use github::GitHub;
pub(crate) use github_database::{NewCommit, Person, RefMoved};
pub(crate) use place::host_and_path;
pub(crate) use web::commit_page;

/// The pull requests of one repository.
///
/// All methods may be called again after an error or a restart: reading changes nothing, and what changes something says so when it
/// is already done. A call that is dropped may have taken effect; look before doing it again.
///
/// # Errors
/// [`kargo_core::ErrorKind::Unavailable`], `Timeout` and `RateLimited` can be tried again, the last after the pause that the server asks for;
/// `Unauthenticated`, `PermissionDenied`, `NotFound` and `InvalidResponse` stay until somebody does something.
#[async_trait]
pub trait Forge: Debug + Send + Sync + 'static {
    /// Whose API it is.
    fn provider(&self) -> Provider;

    /// Where `name` stands, with the commit there; `None` when there is no such branch.
    async fn branch(&self, cx: &Context, name: &str) -> Result<Option<Branch>>;

    /// Whether merging `source` into `target` would change a file, as far as the server tells. Both come from [`Forge::branch`].
    async fn differs(&self, cx: &Context, source: &Branch, target: &Branch) -> Result<bool>;

    /// The pull requests from one branch of this repository to another: all that are open, and those that were closed or merged since
    /// [`PullRequestQuery::since`]. Older ones may be among them. Newest first.
    async fn pull_requests(&self, cx: &Context, query: &PullRequestQuery) -> Result<Vec<PullRequest>>;

    /// One pull request.
    async fn pull_request(&self, cx: &Context, number: u64) -> Result<PullRequest>;

    /// Opens a pull request.
    async fn open(&self, cx: &Context, new: &NewPullRequest) -> Result<Opened>;

    /// Adds labels to a pull request; those it has stay. Where there are none, as on Bitbucket, nothing happens.
    async fn add_labels(&self, cx: &Context, number: u64, labels: &[String]) -> Result<()>;

    /// Tries to merge, at the head that `request` was made for.
    async fn merge(&self, cx: &Context, request: &MergeRequest<'_>) -> Result<MergeOutcome>;

    /// Closes an open pull request without merging it.
    async fn close(&self, cx: &Context, pull_request: &PullRequest) -> Result<()>;
}
