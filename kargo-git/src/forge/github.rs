//! GitHub: github.com, GitHub Enterprise Cloud with data residency, GitHub Enterprise Server. REST API version 2022-11-28,
//! <https://docs.github.com/rest/pulls/pulls>.

use async_trait::async_trait;
use kargo_core::Result;
use kargo_core::plugin::Context;
use serde::Deserialize;
use serde_json::json;

use super::client::{Api, Call, Listing};
use super::model::{
    Branch, MergeOutcome, MergeRequest, NewPullRequest, Opened, PullRequest, PullRequestQuery, PullRequestState,
    Readiness,
};
use super::{Forge, Provider};

/// One repository at GitHub.
#[derive(Debug)]
pub(crate) struct GitHub {
    pub(super) api: Api,
    owner: String,
    name: String,
}

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
}

#[derive(Deserialize)]
struct Label {
    name: String,
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
        let state = match (pull.state.as_str(), &pull.merged_at) {
            (_, Some(_)) => PullRequestState::Merged,
            ("open", None) => PullRequestState::Open,
            _ => PullRequestState::Closed,
        };
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
        Self { api, owner, name }
    }

    /// A path under the repository's.
    pub(super) fn at<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["repos", &self.owner, &self.name], rest].concat()
    }
}

#[async_trait]
impl Forge for GitHub {
    fn provider(&self) -> Provider {
        Provider::GitHub
    }

    async fn branch(&self, cx: &Context, name: &str) -> Result<Option<Branch>> {
        let call = Call::get(&self.at(&["branches", name]), format!("read the branch {name}"));
        let reply = self.api.ask(cx, call).await?;
        if reply.status == 404 && reply.says("branch not found") {
            return Ok(None);
        }
        let BranchAnswer { commit } = reply.expect()?.json()?;
        let CommitBody { message, tree } = commit.commit;
        Ok(Some(Branch { name: name.to_owned(), commit: commit.sha, message, tree: Some(tree.sha) }))
    }

    async fn differs(&self, cx: &Context, source: &Branch, target: &Branch) -> Result<bool> {
        // From where they parted, as a merge sees it.
        let ends = format!("{}...{}", target.commit, source.commit);
        let call = Call::get(&self.at(&["compare", &ends]), format!("compare {} with {}", source.name, target.name));
        let comparison: Comparison = self.api.expect(cx, call.query("per_page", 1)).await?.json()?;
        Ok(comparison.ahead_by > 0 && !comparison.files.is_empty())
    }

    async fn pull_requests(&self, cx: &Context, query: &PullRequestQuery) -> Result<Vec<PullRequest>> {
        let what = format!("list the pull requests from {} to {}", query.source, query.target);
        let (mut found, mut listing) = (Vec::new(), Listing::default());
        for page in 1.. {
            let call = Call::get(&self.at(&["pulls"]), &*what)
                .query("state", "all")
                .query("head", format!("{}:{}", self.owner, query.source))
                .query("base", &query.target)
                .query("sort", "created")
                .query("direction", "desc")
                .query("per_page", 100)
                .query("page", page);
            let reply = self.api.expect(cx, call).await?;
            listing.count(&reply)?;
            let pulls: Vec<Pull> = reply.json()?;
            // GitHub ignores a `head` that it does not understand, and then lists them all.
            let wanted =
                pulls.into_iter().filter(|pull| pull.head.name == query.source && pull.base.name == query.target);
            found.extend(wanted.map(PullRequest::from));
            if !reply.has_next() {
                break;
            }
        }
        Ok(found)
    }

    async fn pull_request(&self, cx: &Context, number: u64) -> Result<PullRequest> {
        let call = Call::get(&self.at(&["pulls", &number.to_string()]), format!("read pull request {number}"));
        Ok(self.api.expect(cx, call).await?.json::<Pull>()?.into())
    }

    async fn open(&self, cx: &Context, new: &NewPullRequest) -> Result<Opened> {
        let body = json!({"title": new.title, "body": new.description, "head": new.source, "base": new.target});
        let what = format!("open a pull request from {} to {}", new.source, new.target);
        let reply = self.api.ask(cx, Call::post(&self.at(&["pulls"]), body, what)).await?;
        match reply.status {
            422 if reply.says("already exists") => Ok(Opened::Exists),
            422 if reply.says("no commits between") => Ok(Opened::NothingToMerge),
            _ => Ok(Opened::New(Box::new(reply.expect()?.json::<Pull>()?.into()))),
        }
    }

    async fn add_labels(&self, cx: &Context, number: u64, labels: &[String]) -> Result<()> {
        let path = ["issues", &number.to_string(), "labels"].map(str::to_owned);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let call = Call::post(&self.at(&path), json!({"labels": labels}), format!("label pull request {number}"));
        self.api.expect(cx, call).await.map(drop)
    }

    async fn merge(&self, cx: &Context, request: &MergeRequest<'_>) -> Result<MergeOutcome> {
        let pull = request.pull_request;
        let mut body = json!({"sha": pull.head});
        if let Some(method) = request.method {
            body["merge_method"] = method.into();
        }
        let number = pull.number.to_string();
        let call = Call::put(&self.at(&["pulls", &number, "merge"]), body, format!("merge pull request {number}"));
        let reply = self.api.ask(cx, call).await?;
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
        let number = pull_request.number.to_string();
        let call = Call::patch(
            &self.at(&["pulls", &number]),
            json!({"state": "closed"}),
            format!("close pull request {number}"),
        );
        self.api.expect(cx, call).await.map(drop)
    }
}
