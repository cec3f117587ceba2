//! Bitbucket Cloud. REST API 2.0, <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/>.

use async_trait::async_trait;
use kargo_core::Result;
use kargo_core::plugin::Context;
use reqwest::header::LOCATION;
use serde::Deserialize;
use serde_json::json;

use super::client::{Api, Call, Listing, Reply};
use super::model::{
    Branch, MergeOutcome, MergeRequest, NewPullRequest, Opened, PullRequest, PullRequestQuery, PullRequestState,
    Readiness,
};
use super::{Forge, Provider};

#[derive(Debug)]
pub(super) struct BitbucketCloud {
    api: Api,
    workspace: String,
    name: String,
}

#[derive(Deserialize)]
struct Pull {
    id: u64,
    /// `OPEN`, `MERGED`, `DECLINED` or `SUPERSEDED`.
    state: String,
    #[serde(default)]
    draft: bool,
    description: Option<String>,
    source: End,
    destination: End,
    merge_commit: Option<Hash>,
    links: Links,
}

#[derive(Deserialize)]
struct End {
    branch: Named,
    /// None when the branch is gone.
    commit: Option<Hash>,
    /// None when a fork is gone.
    repository: Option<Full>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Hash {
    /// Often the first twelve digits only.
    hash: String,
}

#[derive(Deserialize)]
struct Full {
    full_name: String,
}

#[derive(Deserialize)]
struct Links {
    html: Link,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

#[derive(Deserialize)]
struct Page<T> {
    values: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct BranchAnswer {
    name: String,
    target: Target,
}

#[derive(Deserialize)]
struct Target {
    hash: String,
    message: String,
}

#[derive(Deserialize)]
struct Task {
    /// `PENDING` or `SUCCESS`; one that failed is answered with a status of its own.
    task_status: String,
    merge_result: Option<Pull>,
}

impl From<Pull> for PullRequest {
    fn from(pull: Pull) -> Self {
        let state = match pull.state.as_str() {
            "OPEN" => PullRequestState::Open,
            "MERGED" => PullRequestState::Merged,
            _ => PullRequestState::Closed,
        };
        Self {
            number: pull.id,
            url: pull.links.html.href,
            state,
            draft: pull.draft,
            source: pull.source.branch.name,
            target: pull.destination.branch.name,
            head: pull.source.commit.map(|commit| commit.hash),
            merge_commit: pull.merge_commit.map(|commit| commit.hash).filter(|_| state == PullRequestState::Merged),
            description: pull.description.unwrap_or_default(),
            labels: Vec::new(),
            readiness: match pull.draft {
                true => Readiness::Waiting("its author, who calls it a draft".into()),
                false => Readiness::Unknown,
            },
        }
    }
}

/// A name in Bitbucket's query language.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

impl BitbucketCloud {
    pub(super) fn new(api: Api, workspace: String, name: String) -> Self {
        Self { api, workspace, name }
    }

    /// A path under the repository's.
    fn at<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["repositories", &self.workspace, &self.name], rest].concat()
    }

    async fn has_diffs(&self, cx: &Context, source: &Branch, target: &Branch, topic: bool) -> Result<bool> {
        // The other way round than git diff has them.
        let spec = format!("{}..{}", source.commit, target.commit);
        let call = Call::get(&self.at(&["diffstat", &spec]), format!("compare {} with {}", source.name, target.name))
            .query("topic", topic)
            .query("pagelen", 1);
        let page: Page<serde::de::IgnoredAny> = self.api.expect(cx, call).await?.json()?;
        Ok(!page.values.is_empty())
    }

    /// The pull request in full: with the whole id of the commit by which it was merged.
    async fn settled(&self, cx: &Context, pull: Pull) -> Result<PullRequest> {
        let mut pull = PullRequest::from(pull);
        if let Some(short) = pull.merge_commit.as_mut().filter(|hash| hash.len() < 40) {
            let call = Call::get(&self.at(&["commit", short]), format!("read the commit {short}"));
            *short = self.api.expect(cx, call).await?.json::<Hash>()?.hash;
        }
        Ok(pull)
    }

    /// What the answer to a merge, or to the question how it is getting on, means.
    async fn merged(&self, cx: &Context, reply: Reply, token: Option<String>) -> Result<MergeOutcome> {
        match reply.status {
            200 if token.is_some() => {
                let task: Task = reply.json()?;
                match task.merge_result {
                    Some(pull) if task.task_status == "SUCCESS" => {
                        Ok(MergeOutcome::Merged { commit: self.settled(cx, pull).await?.merge_commit })
                    }
                    _ => Ok(MergeOutcome::Started { token }),
                }
            }
            200 => Ok(MergeOutcome::Merged { commit: self.settled(cx, reply.json()?).await?.merge_commit }),
            202 => Ok(MergeOutcome::Started { token: reply.header(LOCATION.as_str()).map(str::to_owned) }),
            409 => Ok(MergeOutcome::Refused { reason: reply.text() }),
            400 if reply.says("strategy") => Ok(MergeOutcome::Refused { reason: reply.text() }),
            // Merge checks: builds, approvals, tasks.
            400 => Ok(MergeOutcome::NotReady { reason: format!("its merge checks ({})", reply.text()) }),
            _ => Err(reply.refusal()),
        }
    }
}

#[async_trait]
impl Forge for BitbucketCloud {
    fn provider(&self) -> Provider {
        Provider::BitbucketCloud
    }

    async fn branch(&self, cx: &Context, name: &str) -> Result<Option<Branch>> {
        // As a filter of the list: slashes of names in paths are not told from those of the path, escaped or not.
        let call = Call::get(&self.at(&["refs", "branches"]), format!("read the branch {name}"))
            .query("q", format!("name = {}", quoted(name)));
        let page: Page<BranchAnswer> = self.api.expect(cx, call).await?.json()?;
        let found = page.values.into_iter().find(|branch| branch.name == name);
        Ok(found.map(|BranchAnswer { target, .. }| Branch {
            name: name.to_owned(),
            commit: target.hash,
            message: target.message,
            tree: None,
        }))
    }

    async fn differs(&self, cx: &Context, source: &Branch, target: &Branch) -> Result<bool> {
        // From where they parted; and as they are, since both may have made the same change.
        Ok(self.has_diffs(cx, source, target, true).await? && self.has_diffs(cx, source, target, false).await?)
    }

    async fn pull_requests(&self, cx: &Context, query: &PullRequestQuery) -> Result<Vec<PullRequest>> {
        let what = format!("list the pull requests from {} to {}", query.source, query.target);
        let mut call = Call::get(&self.at(&["pullrequests"]), &*what);
        for state in ["OPEN", "MERGED", "DECLINED", "SUPERSEDED"] {
            call = call.query("state", state);
        }
        let filter = format!(
            "source.branch.name = {} AND destination.branch.name = {}",
            quoted(&query.source),
            quoted(&query.target)
        );
        let mut reply =
            self.api.expect(cx, call.query("q", filter).query("sort", "-created_on").query("pagelen", 50)).await?;
        let own = format!("{}/{}", self.workspace, self.name).to_lowercase();
        let (mut found, mut listing) = (Vec::new(), Listing::default());
        loop {
            listing.count(&reply)?;
            let page: Page<Pull> = reply.json()?;
            let wanted = page.values.into_iter().filter(|pull| {
                pull.source.repository.as_ref().is_some_and(|repository| repository.full_name.to_lowercase() == own)
            });
            found.extend(wanted.map(PullRequest::from));
            let Some(next) = page.next else { return Ok(found) };
            reply = self.api.follow(cx, &next, &*what).await?.expect()?;
        }
    }

    async fn pull_request(&self, cx: &Context, number: u64) -> Result<PullRequest> {
        let call = Call::get(&self.at(&["pullrequests", &number.to_string()]), format!("read pull request {number}"));
        let pull = self.api.expect(cx, call).await?.json()?;
        self.settled(cx, pull).await
    }

    async fn open(&self, cx: &Context, new: &NewPullRequest) -> Result<Opened> {
        let body = json!({
            "title": new.title,
            "description": new.description,
            "source": {"branch": {"name": new.source}},
            "destination": {"branch": {"name": new.target}},
            "close_source_branch": false,
        });
        let what = format!("open a pull request from {} to {}", new.source, new.target);
        let reply = self.api.ask(cx, Call::post(&self.at(&["pullrequests"]), body, what)).await?;
        match reply.status {
            400 | 409 if reply.says("already exists") => Ok(Opened::Exists),
            400 if reply.says("no changes to be pulled") => Ok(Opened::NothingToMerge),
            _ => Ok(Opened::New(Box::new(reply.expect()?.json::<Pull>()?.into()))),
        }
    }

    async fn add_labels(&self, _: &Context, _: u64, _: &[String]) -> Result<()> {
        Ok(())
    }

    async fn merge(&self, cx: &Context, request: &MergeRequest<'_>) -> Result<MergeOutcome> {
        if let Some(address) = request.started {
            let reply = self.api.follow(cx, address, "say how the merge is getting on").await?;
            // What has been done for a while is forgotten.
            if reply.status != 404 {
                return self.merged(cx, reply, Some(address.to_owned())).await;
            }
        }
        // There is no way to name the head that is meant.
        let mut body = json!({"close_source_branch": false});
        if let Some(method) = request.method {
            body["merge_strategy"] = method.into();
        }
        let number = request.pull_request.number.to_string();
        let call =
            Call::post(&self.at(&["pullrequests", &number, "merge"]), body, format!("merge pull request {number}"));
        let reply = self.api.ask(cx, call).await?;
        self.merged(cx, reply, None).await
    }

    async fn close(&self, cx: &Context, pull_request: &PullRequest) -> Result<()> {
        let number = pull_request.number.to_string();
        let path = ["pullrequests", &number, "decline"];
        let call = Call::post(&self.at(&path), json!({}), format!("decline pull request {number}"));
        self.api.expect(cx, call).await.map(drop)
    }
}
