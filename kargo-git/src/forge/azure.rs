//! Azure DevOps Services. REST API 7.1, <https://learn.microsoft.com/rest/api/azure/devops/git/pull-requests>.

use async_trait::async_trait;
use jiff::Timestamp;
use kargo_core::Result;
use kargo_core::plugin::Context;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use super::client::{Api, Call, Listing};
use super::model::{
    Branch, MergeOutcome, MergeRequest, NewPullRequest, Opened, PullRequest, PullRequestQuery, PullRequestState,
    Readiness,
};
use super::{Forge, Provider};

/// How many pull requests are listed at once.
const PAGE: usize = 100;

/// Listings cut descriptions off after so many characters.
const LISTED_DESCRIPTION: usize = 400;

#[derive(Debug)]
pub(super) struct Azure {
    api: Api,
    project: String,
    name: String,
    /// The repository's page.
    page: Url,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pull {
    pull_request_id: u64,
    /// `active`, `completed` or `abandoned`.
    status: String,
    #[serde(default)]
    is_draft: bool,
    description: Option<String>,
    source_ref_name: String,
    target_ref_name: String,
    /// `notSet`, `queued`, `conflicts`, `succeeded`, `rejectedByPolicy` or `failure`, of the trial merge.
    merge_status: Option<String>,
    merge_failure_message: Option<String>,
    last_merge_source_commit: Option<Commit>,
    #[serde(default)]
    reviewers: Vec<Reviewer>,
    last_merge_commit: Option<Commit>,
    closed_date: Option<Timestamp>,
    #[serde(default)]
    labels: Vec<Label>,
    /// There when it comes from a fork.
    fork_source: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Commit {
    commit_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reviewer {
    display_name: String,
    /// 10 and 5 approve, 0 is none, -5 waits for the author, -10 rejects.
    #[serde(default)]
    vote: i32,
    #[serde(default)]
    is_required: bool,
}

#[derive(Deserialize)]
struct Label {
    name: String,
    #[serde(default = "yes")]
    active: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct List<T> {
    value: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ref {
    name: String,
    object_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommitAnswer {
    comment: String,
    #[serde(default)]
    comment_truncated: bool,
    tree_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    #[serde(default)]
    ahead_count: u64,
    #[serde(default)]
    changes: Vec<serde::de::IgnoredAny>,
}

fn short(name: &str) -> String {
    name.strip_prefix("refs/heads/").unwrap_or(name).to_owned()
}

impl Azure {
    pub(super) fn new(api: Api, project: String, name: String, page: Url) -> Self {
        Self { api, project, name, page }
    }

    /// A call to what is under the repository's path.
    fn at<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&[self.project.as_str(), "_apis", "git", "repositories", &self.name], rest].concat()
    }

    async fn ask(&self, cx: &Context, call: Call) -> Result<super::client::Reply> {
        self.api.ask(cx, call.query("api-version", "7.1")).await
    }

    async fn expect(&self, cx: &Context, call: Call) -> Result<super::client::Reply> {
        self.ask(cx, call).await?.expect()
    }

    fn converted(&self, pull: Pull) -> PullRequest {
        let state = match pull.status.as_str() {
            "completed" => PullRequestState::Merged,
            "abandoned" => PullRequestState::Closed,
            _ => PullRequestState::Open,
        };
        let silent = pull.reviewers.iter().filter(|reviewer| reviewer.is_required && reviewer.vote < 5);
        let silent: Vec<&str> = silent.map(|reviewer| reviewer.display_name.as_str()).collect();
        let readiness = match pull.merge_status.as_deref() {
            _ if pull.is_draft => Readiness::Waiting("its author, who calls it a draft".into()),
            Some("conflicts") => Readiness::Conflict("its branches conflict".into()),
            Some("queued") => Readiness::Checking,
            Some("rejectedByPolicy") => Readiness::Waiting("the policies of its target branch".into()),
            Some("failure") => Readiness::Waiting(format!(
                "a trial merge that works ({})",
                pull.merge_failure_message.as_deref().unwrap_or("no reason was given")
            )),
            _ if !silent.is_empty() => Readiness::Blocked(format!("the approval of {}", silent.join(", "))),
            _ => Readiness::Unknown,
        };
        PullRequest {
            number: pull.pull_request_id,
            url: format!("{}/pullrequest/{}", self.page, pull.pull_request_id),
            state,
            draft: pull.is_draft,
            source: short(&pull.source_ref_name),
            target: short(&pull.target_ref_name),
            head: pull.last_merge_source_commit.map(|commit| commit.commit_id),
            merge_commit: pull
                .last_merge_commit
                .map(|commit| commit.commit_id)
                .filter(|_| state == PullRequestState::Merged),
            description: pull.description.unwrap_or_default(),
            labels: pull.labels.into_iter().filter(|label| label.active).map(|label| label.name).collect(),
            readiness,
        }
    }
}

#[async_trait]
impl Forge for Azure {
    fn provider(&self) -> Provider {
        Provider::Azure
    }

    async fn branch(&self, cx: &Context, name: &str) -> Result<Option<Branch>> {
        // The filter is a prefix.
        let call =
            Call::get(&self.at(&["refs"]), format!("read the branch {name}")).query("filter", format!("heads/{name}"));
        let refs: List<Ref> = self.expect(cx, call).await?.json()?;
        let full = format!("refs/heads/{name}");
        let Some(found) = refs.value.into_iter().find(|found| found.name == full) else { return Ok(None) };
        let commit = found.object_id;
        let call = Call::get(&self.at(&["commits", &commit]), format!("read the commit {commit}"));
        let CommitAnswer { mut comment, comment_truncated, tree_id } = self.expect(cx, call).await?.json()?;
        if comment_truncated {
            comment.push('…');
        }
        Ok(Some(Branch { name: name.to_owned(), commit, message: comment, tree: tree_id }))
    }

    async fn differs(&self, cx: &Context, source: &Branch, target: &Branch) -> Result<bool> {
        // From where they parted, as a merge sees it.
        let call = Call::get(&self.at(&["diffs", "commits"]), format!("compare {} with {}", source.name, target.name))
            .query("baseVersion", &target.commit)
            .query("baseVersionType", "commit")
            .query("targetVersion", &source.commit)
            .query("targetVersionType", "commit")
            .query("diffCommonCommit", true)
            .query("$top", 1);
        let difference: Difference = self.expect(cx, call).await?.json()?;
        Ok(difference.ahead_count > 0 && !difference.changes.is_empty())
    }

    async fn pull_requests(&self, cx: &Context, query: &PullRequestQuery) -> Result<Vec<PullRequest>> {
        let what = format!("list the pull requests from {} to {}", query.source, query.target);
        let (mut found, mut listing) = (Vec::new(), Listing::default());
        for page in 0.. {
            let call = Call::get(&self.at(&["pullrequests"]), &*what)
                .query("searchCriteria.status", "all")
                .query("searchCriteria.sourceRefName", format!("refs/heads/{}", query.source))
                .query("searchCriteria.targetRefName", format!("refs/heads/{}", query.target))
                .query("$top", PAGE)
                .query("$skip", page * PAGE);
            let reply = self.expect(cx, call).await?;
            listing.count(&reply)?;
            let pulls: List<Pull> = reply.json()?;
            let is_last = pulls.value.len() < PAGE;
            for pull in pulls.value.into_iter().filter(|pull| pull.fork_source.is_none()) {
                let is_cut = pull.description.as_ref().is_some_and(|text| text.chars().count() >= LISTED_DESCRIPTION);
                let is_old = pull.closed_date.is_some_and(|closed| closed < query.since);
                found.push(match is_cut && !is_old {
                    true => self.pull_request(cx, pull.pull_request_id).await?,
                    false => self.converted(pull),
                });
            }
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    async fn pull_request(&self, cx: &Context, number: u64) -> Result<PullRequest> {
        let call = Call::get(&self.at(&["pullrequests", &number.to_string()]), format!("read pull request {number}"));
        Ok(self.converted(self.expect(cx, call).await?.json()?))
    }

    async fn open(&self, cx: &Context, new: &NewPullRequest) -> Result<Opened> {
        let body = json!({
            "title": new.title,
            "description": new.description,
            "sourceRefName": format!("refs/heads/{}", new.source),
            "targetRefName": format!("refs/heads/{}", new.target),
        });
        let what = format!("open a pull request from {} to {}", new.source, new.target);
        let reply = self.ask(cx, Call::post(&self.at(&["pullrequests"]), body, what)).await?;
        match reply.status {
            409 if reply.says("TF401179") => Ok(Opened::Exists),
            _ => Ok(Opened::New(Box::new(self.converted(reply.expect()?.json()?)))),
        }
    }

    async fn add_labels(&self, cx: &Context, number: u64, labels: &[String]) -> Result<()> {
        let number = number.to_string();
        for label in labels {
            // One that is there already is no error.
            let path = ["pullRequests", &number, "labels"];
            let call = Call::post(&self.at(&path), json!({"name": label}), format!("label pull request {number}"));
            self.expect(cx, call).await?;
        }
        Ok(())
    }

    async fn merge(&self, cx: &Context, request: &MergeRequest<'_>) -> Result<MergeOutcome> {
        let pull = request.pull_request;
        let mut options = json!({"deleteSourceBranch": false});
        if let Some(method) = request.method {
            options["mergeStrategy"] = method.into();
        }
        let body = json!({
            "status": "completed",
            "lastMergeSourceCommit": {"commitId": pull.head},
            "completionOptions": options,
        });
        let number = pull.number.to_string();
        let call = Call::patch(&self.at(&["pullrequests", &number]), body, format!("complete pull request {number}"));
        let reply = self.ask(cx, call).await?;
        match reply.status {
            200 => {
                let pull = self.converted(reply.json()?);
                Ok(match pull.state {
                    PullRequestState::Merged => MergeOutcome::Merged { commit: pull.merge_commit },
                    // The merge itself is done behind the answer.
                    _ => MergeOutcome::Started { token: None },
                })
            }
            // Also a way to merge that the policy of the branch does not allow; its text says which.
            403 if reply.says("polic") => {
                Ok(MergeOutcome::NotReady { reason: format!("the policies of its target branch ({})", reply.text()) })
            }
            409 => Ok(MergeOutcome::Stale { reason: reply.text() }),
            _ => Err(reply.refusal()),
        }
    }

    async fn close(&self, cx: &Context, pull_request: &PullRequest) -> Result<()> {
        let number = pull_request.number.to_string();
        let body = json!({"status": "abandoned"});
        let call = Call::patch(&self.at(&["pullrequests", &number]), body, format!("abandon pull request {number}"));
        self.expect(cx, call).await.map(drop)
    }
}
