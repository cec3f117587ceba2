//! GitHub: github.com, GitHub Enterprise Cloud with data residency, GitHub Enterprise Server. REST API version 2022-11-28,
//! <https://docs.github.com/rest/pulls/pulls>.

use async_trait::async_trait;
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

/// One repository at GitHub.
#[derive(Debug)]
pub(crate) struct GitHub(pub(super) Repository);

#[derive(Deserialize)]
struct Pull {
    number: u64,
    html_url: String,
    /// `open` or `closed`.
    state: String,
    merged_at: Option<String>,
    #[serde(default)]
    draft: bool,
    body: Option<String>,
    head: End,
    base: End,
    /// Of an open one, that of a trial merge.
    merge_commit_sha: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    /// Not in listings.
    mergeable_state: Option<String>,
}

#[derive(Deserialize)]
struct End {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
    /// None of a fork that was removed since.
    repo: Option<Owned>,
}

/// A repository, told from all others.
#[derive(Deserialize, PartialEq, Eq)]
struct Owned {
    id: u64,
}

#[derive(Deserialize)]
struct BranchAnswer {
    commit: TipCommit,
}

#[derive(Deserialize)]
struct TipCommit {
    sha: String,
    commit: CommitBody,
}

#[derive(Deserialize)]
struct CommitBody {
    message: String,
    tree: Tree,
}

#[derive(Deserialize)]
struct Tree {
    sha: String,
}

#[derive(Deserialize)]
struct Comparison {
    ahead_by: u64,
    #[serde(default)]
    files: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Merged {
    sha: String,
}

impl From<Pull> for PullRequest {
    fn from(pull: Pull) -> Self {
        let state = state(&pull.state, pull.merged_at.is_some());
        let readiness = match pull.mergeable_state.as_deref() {
            // The last two: checks that nobody requires have failed, and hooks run before a push.
            Some("clean" | "unstable" | "has_hooks") => Readiness::Ready,
            Some("dirty") => Readiness::Conflict("its branches conflict".into()),
            Some("draft") => Readiness::Waiting("its author, who calls it a draft".into()),
            Some("blocked") => Readiness::Blocked("the checks and reviews that its target branch requires".into()),
            Some("behind") => Readiness::Blocked("its source branch to be brought up to date with its target".into()),
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
            labels: pull.labels.into_iter().map(|label| label.name).collect(),
            readiness,
        }
    }
}

impl GitHub {
    pub(super) fn new(api: Api, owner: String, name: String) -> Self {
        Self(Repository::new(api, owner, name))
    }
}

#[async_trait]
impl Forge for GitHub {
    fn provider(&self) -> Provider {
        Provider::GitHub
    }

    async fn branch(&self, cx: &Context, name: &str) -> Result<Option<Branch>> {
        let reply = self.0.branch(cx, name).await?;
        if reply.status == 404 && reply.says("branch not found") {
            return Ok(None);
        }
        let BranchAnswer { commit } = reply.expect()?.json()?;
        let CommitBody { message, tree } = commit.commit;
        Ok(Some(Branch { name: name.to_owned(), commit: commit.sha, message, tree: Some(tree.sha) }))
    }

    async fn differs(&self, cx: &Context, source: &Branch, target: &Branch) -> Result<bool> {
        let call = self.0.comparison(source, target).query("per_page", 1);
        let comparison: Comparison = self.0.api.expect(cx, call).await?.json()?;
        Ok(comparison.ahead_by > 0 && !comparison.files.is_empty())
    }

    async fn pull_requests(&self, cx: &Context, query: &PullRequestQuery) -> Result<Vec<PullRequest>> {
        let what = format!("list the pull requests from {} to {}", query.source, query.target);
        let (mut found, mut listing) = (Vec::new(), Listing::default());
        for page in 1.. {
            let call = Call::get(&self.0.at(&["pulls"]), &*what)
                .query("state", "all")
                .query("head", format!("{}:{}", self.0.owner, query.source))
                .query("base", &query.target)
                .query("sort", "created")
                .query("direction", "desc")
                .query("per_page", 100)
                .query("page", page);
            let reply = self.0.api.expect(cx, call).await?;
            listing.count(&reply)?;
            let pulls: Vec<Pull> = reply.json()?;
            // GitHub ignores a `head` that it does not understand, and then lists them all; and to it `head` names an owner, who may have
            // a fork of the repository beside it.
            let is_wanted = |pull: &Pull| {
                pull.head.name == query.source
                    && pull.base.name == query.target
                    && pull.head.repo.is_some()
                    && pull.head.repo == pull.base.repo
            };
            found.extend(pulls.into_iter().filter(is_wanted).map(PullRequest::from));
            if !reply.has_next() {
                break;
            }
        }
        Ok(found)
    }

    async fn pull_request(&self, cx: &Context, number: u64) -> Result<PullRequest> {
        Ok(self.0.pull::<Pull>(cx, number).await?.into())
    }

    async fn open(&self, cx: &Context, new: &NewPullRequest) -> Result<Opened> {
        let reply = self.0.open(cx, new).await?;
        match reply.status {
            422 if reply.says("already exists") => Ok(Opened::Exists),
            422 if reply.says("no commits between") => Ok(Opened::NothingToMerge),
            _ => Ok(Opened::New(Box::new(reply.expect()?.json::<Pull>()?.into()))),
        }
    }

    async fn add_labels(&self, cx: &Context, number: u64, labels: &[String]) -> Result<()> {
        self.0.add_labels(cx, number, labels).await
    }

    async fn merge(&self, cx: &Context, request: &MergeRequest<'_>) -> Result<MergeOutcome> {
        let pull = request.pull_request;
        let mut body = json!({"sha": pull.head});
        if let Some(method) = request.method {
            body["merge_method"] = method.into();
        }
        let number = pull.number.to_string();
        let call = Call::put(&self.0.at(&["pulls", &number, "merge"]), body, format!("merge pull request {number}"));
        let reply = self.0.api.ask(cx, call).await?;
        match reply.status {
            200 => Ok(MergeOutcome::Merged { commit: Some(reply.json::<Merged>()?.sha) }),
            // "Squash merges are not allowed on this repository."
            405 if reply.says("not allowed") => Ok(MergeOutcome::Refused { reason: reply.text() }),
            405 if reply.says("merge queue") => Ok(MergeOutcome::NotReady {
                reason: format!("the merge queue, to which somebody has to add it ({})", reply.text()),
            }),
            405 if reply.says("was modified") => Ok(MergeOutcome::Stale { reason: reply.text() }),
            // Drafts, checks and reviews.
            405 => Ok(MergeOutcome::NotReady { reason: format!("what its target branch requires ({})", reply.text()) }),
            409 => Ok(MergeOutcome::Stale { reason: reply.text() }),
            _ => Err(reply.refusal()),
        }
    }

    async fn close(&self, cx: &Context, pull_request: &PullRequest) -> Result<()> {
        self.0.close(cx, pull_request.number).await
    }
}
