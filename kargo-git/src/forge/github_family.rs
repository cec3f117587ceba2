//! What GitHub's API and Gitea's have in common, which was made after it.

use kargo_core::Result;
use kargo_core::plugin::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::client::{Api, Call, Reply};
use super::model::{NewPullRequest, PullRequestState};

/// A repository by its owner and its name.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) api: Api,
    pub(super) owner: String,
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
}

/// The state in the words of the API, `open` or `closed`, and whether it says that it is merged.
pub(super) fn state(word: &str, is_merged: bool) -> PullRequestState {
    match word {
        _ if is_merged => PullRequestState::Merged,
        "open" => PullRequestState::Open,
        _ => PullRequestState::Closed,
    }
}

impl Repository {
    pub(super) fn new(api: Api, owner: String, name: String) -> Self {
        Self { api, owner, name }
    }

    /// A path under the repository's.
    pub(super) fn at<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["repos", &self.owner, &self.name], rest].concat()
    }

    /// Asks for a branch; what the answer means is each one's own.
    pub(super) async fn branch(&self, cx: &Context, name: &str) -> Result<Reply> {
        self.api.ask(cx, Call::get(&self.at(&["branches", name]), format!("read the branch {name}"))).await
    }

    /// Compares two commits, from where they parted, as a merge sees them.
    pub(super) fn comparison(&self, source: &super::Branch, target: &super::Branch) -> Call {
        let ends = format!("{}...{}", target.commit, source.commit);
        Call::get(&self.at(&["compare", &ends]), format!("compare {} with {}", source.name, target.name))
    }

    pub(super) async fn pull<T: DeserializeOwned>(&self, cx: &Context, number: u64) -> Result<T> {
        let call = Call::get(&self.at(&["pulls", &number.to_string()]), format!("read pull request {number}"));
        self.api.expect(cx, call).await?.json()
    }

    /// Asks for a pull request to be opened; what the answer means is each one's own.
    pub(super) async fn open(&self, cx: &Context, new: &NewPullRequest) -> Result<Reply> {
        let body = json!({"title": new.title, "body": new.description, "head": new.source, "base": new.target});
        let what = format!("open a pull request from {} to {}", new.source, new.target);
        self.api.ask(cx, Call::post(&self.at(&["pulls"]), body, what)).await
    }

    pub(super) async fn add_labels(&self, cx: &Context, number: u64, labels: &[String]) -> Result<()> {
        let (path, what) = (number.to_string(), format!("label pull request {number}"));
        let call = Call::post(&self.at(&["issues", &path, "labels"]), json!({"labels": labels}), what);
        self.api.expect(cx, call).await.map(drop)
    }

    pub(super) async fn close(&self, cx: &Context, number: u64) -> Result<()> {
        let (path, what) = (number.to_string(), format!("close pull request {number}"));
        let call = Call::patch(&self.at(&["pulls", &path]), json!({"state": "closed"}), what);
        self.api.expect(cx, call).await.map(drop)
    }
}
