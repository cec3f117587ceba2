//! Bitbucket Data Center and Server. REST API 1.0, <https://developer.atlassian.com/server/bitbucket/rest/>.

use async_trait::async_trait;
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

#[derive(Debug)]
pub(super) struct BitbucketDataCenter {
    api: Api,
    project: String,
    name: String,
    /// The repository's page.
    page: Url,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pull {
    id: u64,
    /// Grows with each change; whoever changes it names the one that was seen.
    version: u64,
    /// `OPEN`, `MERGED` or `DECLINED`.
    state: String,
    #[serde(default)]
    draft: bool,
    description: Option<String>,
    from_ref: End,
    to_ref: End,
    #[serde(default)]
    properties: Properties,
    #[serde(default)]
    links: Links,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct End {
    display_id: String,
    latest_commit: Option<String>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Repository {
    id: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    merge_commit: Option<Commit>,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
}

#[derive(Default, Deserialize)]
struct Links {
    #[serde(default, rename = "self")]
    own: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    values: Vec<T>,
    is_last_page: bool,
    next_page_start: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    display_id: String,
    latest_commit: String,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MergeTest {
    can_merge: bool,
    #[serde(default)]
    conflicted: bool,
    #[serde(default)]
    vetoes: Vec<Veto>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Veto {
    summary_message: String,
}

impl BitbucketDataCenter {
    pub(super) fn new(api: Api, project: String, name: String, page: Url) -> Self {
        Self { api, project, name, page }
    }

    /// A path under the repository's.
    fn at<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["projects", &self.project, "repos", &self.name], rest].concat()
    }

    fn converted(&self, pull: Pull) -> PullRequest {
        let state = match pull.state.as_str() {
            "OPEN" => PullRequestState::Open,
            "MERGED" => PullRequestState::Merged,
            _ => PullRequestState::Closed,
        };
        let own = pull.links.own.into_iter().next().map(|link| link.href);
        PullRequest {
            number: pull.id,
            url: own.unwrap_or_else(|| format!("{}/pull-requests/{}", self.page, pull.id)),
            state,
            draft: pull.draft,
            source: pull.from_ref.display_id,
            target: pull.to_ref.display_id,
            head: pull.from_ref.latest_commit,
            merge_commit: pull
                .properties
                .merge_commit
                .map(|commit| commit.id)
                .filter(|_| state == PullRequestState::Merged),
            description: pull.description.unwrap_or_default(),
            labels: Vec::new(),
            readiness: match pull.draft {
                true => Readiness::Waiting("its author, who calls it a draft".into()),
                false => Readiness::Unknown,
            },
        }
    }

    async fn read(&self, cx: &Context, number: u64) -> Result<Pull> {
        let call = Call::get(&self.at(&["pull-requests", &number.to_string()]), format!("read pull request {number}"));
        self.api.expect(cx, call).await?.json()
    }

    async fn is_any(&self, cx: &Context, call: Call) -> Result<bool> {
        let page: Page<serde::de::IgnoredAny> = self.api.expect(cx, call.query("limit", 1)).await?.json()?;
        Ok(!page.values.is_empty())
    }
}

#[async_trait]
impl Forge for BitbucketDataCenter {
    fn provider(&self) -> Provider {
        Provider::BitbucketDataCenter
    }

    async fn branch(&self, cx: &Context, name: &str) -> Result<Option<Branch>> {
        let what = format!("read the branch {name}");
        let (mut start, mut listing) = (0, Listing::default());
        loop {
            // The filter matches parts of names; the one that is it comes first, where the server knows how.
            let call = Call::get(&self.at(&["branches"]), &*what)
                .query("filterText", name)
                .query("boostMatches", true)
                .query("limit", 100)
                .query("start", start);
            let reply = self.api.expect(cx, call).await?;
            listing.count(&reply)?;
            let page: Page<Listed> = reply.json()?;
            if let Some(found) = page.values.into_iter().find(|branch| branch.display_id == name) {
                let commit = found.latest_commit;
                let call = Call::get(&self.at(&["commits", &commit]), format!("read the commit {commit}"));
                let message = self.api.expect(cx, call).await?.json::<Message>()?.message;
                return Ok(Some(Branch { name: name.to_owned(), commit, message, tree: None }));
            }
            match page.next_page_start {
                Some(next) if !page.is_last_page => start = next,
                _ => return Ok(None),
            }
        }
    }

    async fn differs(&self, cx: &Context, source: &Branch, target: &Branch) -> Result<bool> {
        let what = format!("compare {} with {}", source.name, target.name);
        // From where they parted; and as they are, since both may have made the same change.
        let parted = Call::get(&self.at(&["compare", "changes"]), &*what)
            .query("from", &source.commit)
            .query("to", &target.commit);
        let straight =
            Call::get(&self.at(&["changes"]), &*what).query("since", &target.commit).query("until", &source.commit);
        Ok(self.is_any(cx, parted).await? && self.is_any(cx, straight).await?)
    }

    async fn pull_requests(&self, cx: &Context, query: &PullRequestQuery) -> Result<Vec<PullRequest>> {
        let what = format!("list the pull requests from {} to {}", query.source, query.target);
        let (mut start, mut found, mut listing) = (0, Vec::new(), Listing::default());
        loop {
            let call = Call::get(&self.at(&["pull-requests"]), &*what)
                .query("state", "ALL")
                .query("direction", "OUTGOING")
                .query("at", format!("refs/heads/{}", query.source))
                .query("order", "NEWEST")
                .query("limit", 100)
                .query("start", start);
            let reply = self.api.expect(cx, call).await?;
            listing.count(&reply)?;
            let page: Page<Pull> = reply.json()?;
            let wanted = page.values.into_iter().filter(|pull| {
                let own = pull.from_ref.repository.id == pull.to_ref.repository.id;
                own && pull.from_ref.display_id == query.source && pull.to_ref.display_id == query.target
            });
            found.extend(wanted.map(|pull| self.converted(pull)));
            match page.next_page_start {
                Some(next) if !page.is_last_page => start = next,
                _ => return Ok(found),
            }
        }
    }

    async fn pull_request(&self, cx: &Context, number: u64) -> Result<PullRequest> {
        let mut pull = self.converted(self.read(cx, number).await?);
        if pull.is_open() && !pull.draft {
            let path = ["pull-requests", &number.to_string(), "merge"].map(str::to_owned);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let call = Call::get(&self.at(&path), format!("say whether pull request {number} can be merged"));
            let test: MergeTest = self.api.expect(cx, call).await?.json()?;
            let vetoes: Vec<String> = test.vetoes.into_iter().map(|veto| veto.summary_message).collect();
            pull.readiness = match (test.conflicted, vetoes.is_empty()) {
                (true, _) => Readiness::Conflict("its branches conflict".into()),
                (false, true) if test.can_merge => Readiness::Ready,
                (false, true) => Readiness::Unknown,
                (false, false) => Readiness::Waiting(format!("its merge checks ({})", vetoes.join("; "))),
            };
        }
        Ok(pull)
    }

    async fn open(&self, cx: &Context, new: &NewPullRequest) -> Result<Opened> {
        let end = |branch: &str| {
            json!({
                "id": format!("refs/heads/{branch}"),
                "repository": {"slug": self.name, "project": {"key": self.project}},
            })
        };
        let body = json!({
            "title": new.title,
            "description": new.description,
            "fromRef": end(&new.source),
            "toRef": end(&new.target),
        });
        let what = format!("open a pull request from {} to {}", new.source, new.target);
        let reply = self.api.ask(cx, Call::post(&self.at(&["pull-requests"]), body, what)).await?;
        match reply.status {
            409 if reply.says("one pull request may be open") => Ok(Opened::Exists),
            409 if reply.says("already up-to-date") => Ok(Opened::NothingToMerge),
            _ => Ok(Opened::New(Box::new(self.converted(reply.expect()?.json()?)))),
        }
    }

    async fn add_labels(&self, _: &Context, _: u64, _: &[String]) -> Result<()> {
        Ok(())
    }

    async fn merge(&self, cx: &Context, request: &MergeRequest<'_>) -> Result<MergeOutcome> {
        let number = request.pull_request.number;
        let seen = self.read(cx, number).await?;
        if seen.from_ref.latest_commit != request.pull_request.head {
            return Ok(MergeOutcome::Stale { reason: "its head has moved".into() });
        }
        let mut body = json!({});
        if let Some(method) = request.method {
            body["strategyId"] = method.into();
        }
        let number = number.to_string();
        let path = ["pull-requests", &number, "merge"];
        let call =
            Call::post(&self.at(&path), body, format!("merge pull request {number}")).query("version", seen.version);
        let reply = self.api.ask(cx, call).await?;
        match reply.status {
            200 => Ok(MergeOutcome::Merged { commit: self.converted(reply.json()?).merge_commit }),
            409 if reply.says("conflict") => Ok(MergeOutcome::Refused { reason: reply.text() }),
            409 if reply.says("out-of-date") => Ok(MergeOutcome::Stale { reason: reply.text() }),
            409 => Ok(MergeOutcome::NotReady { reason: format!("its merge checks ({})", reply.text()) }),
            400 if reply.says("strategy") => Ok(MergeOutcome::Refused { reason: reply.text() }),
            _ => Err(reply.refusal()),
        }
    }

    async fn close(&self, cx: &Context, pull_request: &PullRequest) -> Result<()> {
        let seen = self.read(cx, pull_request.number).await?;
        let number = pull_request.number.to_string();
        let path = ["pull-requests", &number, "decline"];
        let call = Call::post(&self.at(&path), json!({}), format!("decline pull request {number}"));
        self.api.expect(cx, call.query("version", seen.version)).await.map(drop)
    }
}
