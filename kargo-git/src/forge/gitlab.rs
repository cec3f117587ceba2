//! GitLab: gitlab.com, Dedicated and self-managed. REST API version 4, <https://docs.gitlab.com/api/merge_requests/>.

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

#[derive(Debug)]
pub(super) struct GitLab {
    api: Api,
    /// Groups and name, which serve as the project's id.
    project: String,
}

#[derive(Deserialize)]
struct Merge {
    iid: u64,
    web_url: String,
    /// `opened`, `closed`, `locked` or `merged`.
    state: String,
    #[serde(default)]
    draft: bool,
    source_branch: String,
    target_branch: String,
    #[serde(default)]
    source_project_id: Option<u64>,
    #[serde(default)]
    target_project_id: Option<u64>,
    sha: Option<String>,
    merge_commit_sha: Option<String>,
    squash_commit_sha: Option<String>,
    description: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    /// Since GitLab 15.6.
    detailed_merge_status: Option<String>,
}

#[derive(Deserialize)]
struct BranchAnswer {
    commit: Commit,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
    message: String,
}

#[derive(Deserialize)]
struct Comparison {
    #[serde(default)]
    diffs: Vec<serde::de::IgnoredAny>,
    /// Where there is too much to look at, nothing is shown.
    #[serde(default)]
    compare_timeout: bool,
}

/// What GitLab's `detailed_merge_status` means, by its documentation.
fn readiness(status: &str) -> Readiness {
    let waiting = |text: &str| Readiness::Waiting(text.to_owned());
    match status {
        "mergeable" => Readiness::Ready,
        "conflict" => Readiness::Conflict("its branches conflict".into()),
        "need_rebase" => Readiness::Conflict("its source branch must be rebased first".into()),
        "unchecked" | "checking" | "preparing" | "approvals_syncing" => Readiness::Checking,
        "ci_must_pass" | "ci_still_running" => waiting("its pipeline"),
        "status_checks_must_pass" | "external_status_checks" => waiting("external status checks"),
        "not_approved" => waiting("approvals"),
        "requested_changes" => waiting("the changes that a reviewer has requested"),
        "discussions_not_resolved" => waiting("discussions to be resolved"),
        "draft_status" => waiting("its author, who calls it a draft"),
        "merge_request_blocked" => waiting("the merge requests that block it"),
        "merge_time" => waiting("the time from which it may be merged"),
        "security_policy_violations" | "policies_denied" => waiting("security policies"),
        "jira_association_missing" => waiting("its title or description to name an issue of Jira"),
        "locked_paths" | "locked_lfs_files" => waiting("locked files"),
        "title_regex" | "title_not_matching" => waiting("a title of the form that the project wants"),
        _ => Readiness::Unknown,
    }
}

impl From<Merge> for PullRequest {
    fn from(merge: Merge) -> Self {
        let state = match merge.state.as_str() {
            "merged" => PullRequestState::Merged,
            "closed" => PullRequestState::Closed,
            // `locked` is one that is just being merged.
            _ => PullRequestState::Open,
        };
        let merged = state == PullRequestState::Merged;
        // Without a commit of its own it was merged by a fast-forward, to its head.
        let commit = merge.merge_commit_sha.or(merge.squash_commit_sha).or_else(|| merge.sha.clone());
        Self {
            number: merge.iid,
            url: merge.web_url,
            state,
            draft: merge.draft,
            source: merge.source_branch,
            target: merge.target_branch,
            head: merge.sha,
            merge_commit: commit.filter(|_| merged),
            description: merge.description.unwrap_or_default(),
            labels: merge.labels,
            readiness: match merge.state.as_str() {
                "locked" => Readiness::Checking,
                _ => merge.detailed_merge_status.as_deref().map_or(Readiness::Unknown, readiness),
            },
        }
    }
}

impl GitLab {
    pub(super) fn new(api: Api, project: String) -> Self {
        Self { api, project }
    }

    /// A path under the project's.
    fn at<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["projects", self.project.as_str()], rest].concat()
    }

    async fn has_diffs(&self, cx: &Context, source: &Branch, target: &Branch, straight: bool) -> Result<bool> {
        let call =
            Call::get(&self.at(&["repository", "compare"]), format!("compare {} with {}", source.name, target.name))
                .query("from", &target.commit)
                .query("to", &source.commit)
                .query("straight", straight);
        let comparison: Comparison = self.api.expect(cx, call).await?.json()?;
        Ok(comparison.compare_timeout || !comparison.diffs.is_empty())
    }
}

#[async_trait]
impl Forge for GitLab {
    fn provider(&self) -> Provider {
        Provider::GitLab
    }

    async fn branch(&self, cx: &Context, name: &str) -> Result<Option<Branch>> {
        let call = Call::get(&self.at(&["repository", "branches", name]), format!("read the branch {name}"));
        let reply = self.api.ask(cx, call).await?;
        if reply.status == 404 && reply.says("branch not found") {
            return Ok(None);
        }
        let BranchAnswer { commit } = reply.expect()?.json()?;
        Ok(Some(Branch { name: name.to_owned(), commit: commit.id, message: commit.message, tree: None }))
    }

    async fn differs(&self, cx: &Context, source: &Branch, target: &Branch) -> Result<bool> {
        // From where they parted; and as they are, since both may have made the same change.
        Ok(self.has_diffs(cx, source, target, false).await? && self.has_diffs(cx, source, target, true).await?)
    }

    async fn pull_requests(&self, cx: &Context, query: &PullRequestQuery) -> Result<Vec<PullRequest>> {
        let what = format!("list the merge requests from {} to {}", query.source, query.target);
        let (mut found, mut listing) = (Vec::new(), Listing::default());
        for page in 1.. {
            let call = Call::get(&self.at(&["merge_requests"]), &*what)
                .query("state", "all")
                .query("source_branch", &query.source)
                .query("target_branch", &query.target)
                .query("order_by", "created_at")
                .query("sort", "desc")
                .query("per_page", 100)
                .query("page", page);
            let reply = self.api.expect(cx, call).await?;
            listing.count(&reply)?;
            let merges: Vec<Merge> = reply.json()?;
            // A fork may have a branch of the same name.
            let own = merges.into_iter().filter(|merge| merge.source_project_id == merge.target_project_id);
            found.extend(own.map(PullRequest::from));
            if !reply.has_next() {
                break;
            }
        }
        Ok(found)
    }

    async fn pull_request(&self, cx: &Context, number: u64) -> Result<PullRequest> {
        let call =
            Call::get(&self.at(&["merge_requests", &number.to_string()]), format!("read merge request {number}"));
        Ok(self.api.expect(cx, call).await?.json::<Merge>()?.into())
    }

    async fn open(&self, cx: &Context, new: &NewPullRequest) -> Result<Opened> {
        let body = json!({
            "title": new.title,
            "description": new.description,
            "source_branch": new.source,
            "target_branch": new.target,
        });
        let what = format!("open a merge request from {} to {}", new.source, new.target);
        let reply = self.api.ask(cx, Call::post(&self.at(&["merge_requests"]), body, what)).await?;
        match reply.status {
            409 if reply.says("already exists") => Ok(Opened::Exists),
            _ => Ok(Opened::New(Box::new(reply.expect()?.json::<Merge>()?.into()))),
        }
    }

    async fn add_labels(&self, cx: &Context, number: u64, labels: &[String]) -> Result<()> {
        let body = json!({"add_labels": labels.join(",")});
        let call = Call::put(
            &self.at(&["merge_requests", &number.to_string()]),
            body,
            format!("label merge request {number}"),
        );
        self.api.expect(cx, call).await.map(drop)
    }

    async fn merge(&self, cx: &Context, request: &MergeRequest<'_>) -> Result<MergeOutcome> {
        let pull = request.pull_request;
        let mut body = json!({"sha": pull.head});
        if let Some(method) = request.method {
            body["squash"] = (method == "squash").into();
        }
        let number = pull.number.to_string();
        let call =
            Call::put(&self.at(&["merge_requests", &number, "merge"]), body, format!("merge merge request {number}"));
        let reply = self.api.ask(cx, call).await?;
        match reply.status {
            200 => {
                let merged = PullRequest::from(reply.json::<Merge>()?);
                Ok(match merged.state {
                    PullRequestState::Merged => MergeOutcome::Merged { commit: merged.merge_commit },
                    _ => MergeOutcome::Started { token: None },
                })
            }
            // Drafts, pipelines and approvals; conflicts too, which the status tells apart before it comes to this.
            405 | 422 => Ok(MergeOutcome::NotReady { reason: format!("what the project requires ({})", reply.text()) }),
            406 => Ok(MergeOutcome::Refused { reason: reply.text() }),
            409 => Ok(MergeOutcome::Stale { reason: reply.text() }),
            _ => Err(reply.refusal()),
        }
    }

    async fn close(&self, cx: &Context, pull_request: &PullRequest) -> Result<()> {
        let number = pull_request.number.to_string();
        let body = json!({"state_event": "close"});
        let call = Call::put(&self.at(&["merge_requests", &number]), body, format!("close merge request {number}"));
        self.api.expect(cx, call).await.map(drop)
    }
}
