//! Gitea and Forgejo. API version 1, <https://docs.gitea.com/api/>.

use async_trait::async_trait;
use jiff::Timestamp;
use kargo_core::Result;
use kargo_core::plugin::Context;
use serde::Deserialize;
use serde_json::json;

use super::client::{Api, Call, Listing};
use super::github_family::{Label, Repository, state};
use super::model::{
    Branch, MergeOutcome, MergeRequest, NewPullRequest, Opened, PullRequest, PullRequestQuery, PullRequestState,
    Readiness,
};
use super::{Forge, Provider};

/// Servers give no more at once unless they are set up to.
const PAGE: usize = 50;

#[derive(Debug)]
pub(super) struct Gitea(Repository);

#[derive(Deserialize)]
struct Pull {
    number: u64,
    html_url: String,
    /// `open` or `closed`.
    state: String,
    #[serde(default)]
    merged: bool,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    mergeable: Option<bool>,
    body: Option<String>,
    head: End,
    base: End,
    merge_commit_sha: Option<String>,
    updated_at: Option<Timestamp>,
    #[serde(default)]
    labels: Option<Vec<Label>>,
}

#[derive(Deserialize)]
struct End {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
    #[serde(default)]
    repo_id: i64,
}

#[derive(Deserialize)]
struct BranchAnswer {
    commit: TipCommit,
}

#[derive(Deserialize)]
struct TipCommit {
    id: String,
    message: String,
}

#[derive(Deserialize)]
struct CommitAnswer {
    commit: CommitBody,
}

#[derive(Deserialize)]
struct CommitBody {
    tree: Tree,
}

#[derive(Deserialize)]
struct Tree {
    sha: String,
}

#[derive(Deserialize)]
struct Comparison {
    total_commits: u64,
}

impl From<Pull> for PullRequest {
    fn from(pull: Pull) -> Self {
        let state = state(&pull.state, pull.merged);
        let readiness = match (pull.draft, pull.mergeable) {
            (true, _) => Readiness::Waiting("its author, who calls it a draft".into()),
            // False while it is looked at, and for ever when there is a conflict. True says nothing of what the branch requires.
            (false, Some(false)) => Readiness::Checking,
            _ => Readiness::Unknown,
        };
        Self {
            number: pull.number,
            url: pull.html_url,
            state,
            draft: pull.draft,
            source: pull.head.name,
            target: pull.base.name,
            head: Some(pull.head.sha),
            merge_commit: pull.merge_commit_sha.filter(|_| state == PullRequestState::Merged),
            description: pull.body.unwrap_or_default(),
            labels: pull.labels.unwrap_or_default().into_iter().map(|label| label.name).collect(),
            readiness,
        }
    }
}

impl Gitea {
    pub(super) fn new(api: Api, owner: String, name: String) -> Self {
        Self(Repository::new(api, owner, name))
    }

    /// The pull requests in `state`, until they were last touched before `since`. Listings cannot be asked for branches, and the request
    /// for one pair of branches returns its oldest pull request whatever its state.
    async fn list(
        &self,
        cx: &Context,
        query: &PullRequestQuery,
        state: &str,
        since: Option<Timestamp>,
    ) -> Result<Vec<PullRequest>> {
        let what = format!("list the pull requests from {} to {}", query.source, query.target);
        let (mut found, mut listing) = (Vec::new(), Listing::default());
        for page in 1.. {
            let call = Call::get(&self.0.at(&["pulls"]), &*what)
                .query("state", state)
                .query("sort", "recentupdate")
                .query("limit", PAGE)
                .query("page", page);
            let reply = self.0.api.expect(cx, call).await?;
            listing.count(&reply)?;
            let pulls: Vec<Pull> = reply.json()?;
            let older = |pull: &Pull| since.zip(pull.updated_at).is_some_and(|(since, updated)| updated < since);
            let done = pulls.last().is_none_or(older) || !reply.has_next();
            let wanted = pulls.into_iter().filter(|pull| {
                let own = pull.head.repo_id == pull.base.repo_id;
                own && pull.head.name == query.source && pull.base.name == query.target
            });
            found.extend(wanted.map(PullRequest::from));
            if done {
                break;
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Forge for Gitea {
    fn provider(&self) -> Provider {
        Provider::Gitea
    }

    async fn branch(&self, cx: &Context, name: &str) -> Result<Option<Branch>> {
        let reply = self.0.branch(cx, name).await?;
        if reply.status == 404 {
            // The same words for a repository that is hidden, which must not look like a branch that is gone.
            let call = Call::get(&self.0.at(&[]), "read the repository");
            self.0.api.expect(cx, call).await?;
            return Ok(None);
        }
        let BranchAnswer { commit } = reply.expect()?.json()?;
        let call = Call::get(&self.0.at(&["git", "commits", &commit.id]), format!("read the commit {}", commit.id))
            .query("stat", false)
            .query("verification", false)
            .query("files", false);
        let tree = self.0.api.expect(cx, call).await?.json::<CommitAnswer>()?.commit.tree.sha;
        Ok(Some(Branch { name: name.to_owned(), commit: commit.id, message: commit.message, tree: Some(tree) }))
    }

    async fn differs(&self, cx: &Context, source: &Branch, target: &Branch) -> Result<bool> {
        let call = self.0.comparison(source, target);
        Ok(self.0.api.expect(cx, call).await?.json::<Comparison>()?.total_commits > 0)
    }

    async fn pull_requests(&self, cx: &Context, query: &PullRequestQuery) -> Result<Vec<PullRequest>> {
        let mut found = self.list(cx, query, "open", None).await?;
        found.extend(self.list(cx, query, "closed", Some(query.since)).await?);
        found.sort_by_key(|pull| std::cmp::Reverse(pull.number));
        // One that was closed between the two listings is in both.
        found.dedup_by_key(|pull| pull.number);
        Ok(found)
    }

    async fn pull_request(&self, cx: &Context, number: u64) -> Result<PullRequest> {
        Ok(self.0.pull::<Pull>(cx, number).await?.into())
    }

    async fn open(&self, cx: &Context, new: &NewPullRequest) -> Result<Opened> {
        let reply = self.0.open(cx, new).await?;
        match reply.status {
            409 if reply.says("already exists") => Ok(Opened::Exists),
            409 | 422 if reply.says("no changes between") => Ok(Opened::NothingToMerge),
            _ => Ok(Opened::New(Box::new(reply.expect()?.json::<Pull>()?.into()))),
        }
    }

    async fn add_labels(&self, cx: &Context, number: u64, labels: &[String]) -> Result<()> {
        self.0.add_labels(cx, number, labels).await
    }

    async fn merge(&self, cx: &Context, request: &MergeRequest<'_>) -> Result<MergeOutcome> {
        let pull = request.pull_request;
        let number = pull.number.to_string();
        let body = json!({"Do": request.method.unwrap_or("merge"), "head_commit_id": pull.head});
        let call = Call::post(&self.0.at(&["pulls", &number, "merge"]), body, format!("merge pull request {number}"));
        let reply = self.0.api.ask(cx, call).await?;
        match reply.status {
            // It says nothing about the commit.
            200 => Ok(MergeOutcome::Merged { commit: self.pull_request(cx, pull.number).await?.merge_commit }),
            // A style that the repository does not have, or a person that its target branch does not let merge.
            405 if reply.says("not allowed") => Ok(MergeOutcome::Refused { reason: reply.text() }),
            405 => Ok(MergeOutcome::NotReady { reason: format!("what its target branch requires ({})", reply.text()) }),
            409 if reply.says("out of date") => Ok(MergeOutcome::Stale { reason: reply.text() }),
            // Conflicts, which come as the output of Git, and hooks.
            409 => Ok(MergeOutcome::Refused { reason: reply.text() }),
            _ => Err(reply.refusal()),
        }
    }

    async fn close(&self, cx: &Context, pull_request: &PullRequest) -> Result<()> {
        self.0.close(cx, pull_request.number).await
    }
}
