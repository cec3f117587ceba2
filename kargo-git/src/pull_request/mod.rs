//! The steps that make a change by a pull request: `git-open-pr`, `git-wait-for-pr` and `git-merge-pr`.
//!
//! Each looks at how things are before it does anything, so that it may be called again after an error or a restart at any point. A pull
//! request says in its description for which promotion it was opened: by that line it is found again, and by that line an aborted
//! promotion knows that it may close it.

mod config;
mod merge;
mod open;
mod wait;

use std::sync::Arc;

use kargo_core::plugin::Context;
use kargo_core::{ErrorKind, PromotionInfo, Result};
use serde_json::{Map, Value, json};

use crate::forge::{Forge, Provider, PullRequest, PullRequestState, Readiness};

pub use merge::MergePullRequest;
pub use open::OpenPullRequest;
pub use wait::WaitForPullRequest;

/// How the line begins by which a pull request is found again.
const MARK: &str = "Opened by Kargo for promotion ";

/// The line by which a pull request of this promotion is found again.
fn mark(promotion: &PromotionInfo) -> String {
    format!("{MARK}{}.", promotion.id)
}

/// Whether this promotion opened it.
fn is_ours(pull_request: &PullRequest, promotion: &PromotionInfo) -> bool {
    let mark = mark(promotion);
    pull_request.description.lines().any(|line| line.trim() == mark)
}

/// The pull request as people know it: "pull request 7 (https://…)".
fn shown(provider: Provider, pull_request: &PullRequest) -> String {
    format!("{} {} ({})", provider.noun(), pull_request.number, pull_request.url)
}

/// What later steps are told of it.
fn outputs(pull_request: &PullRequest, in_full: bool) -> Map<String, Value> {
    let mut pr = json!({"id": pull_request.number, "url": pull_request.url});
    if in_full {
        pr["open"] = pull_request.is_open().into();
        pr["merged"] = (pull_request.state == PullRequestState::Merged).into();
    }
    let mut outputs = Map::new();
    outputs.insert("pr".into(), pr);
    if let Some(commit) = pull_request.merge_commit.as_ref().filter(|_| in_full) {
        outputs.insert("commit".into(), commit.as_str().into());
    }
    outputs
}

/// For what an open pull request waits, in words; `None` when nothing is known to be missing.
fn missing(pull_request: &PullRequest) -> Option<String> {
    match &pull_request.readiness {
        _ if pull_request.draft => Some("its author, who calls it a draft".to_owned()),
        Readiness::Waiting(reason) | Readiness::Blocked(reason) => Some(reason.clone()),
        Readiness::Conflict(reason) => Some(format!("somebody to mend that {reason}")),
        Readiness::Checking => Some("the forge to see whether it can be merged".to_owned()),
        _ => None,
    }
}

/// Closes it when it is open and this promotion opened it.
async fn close_ours(cx: &Context, forge: &Arc<dyn Forge>, number: u64, promotion: &PromotionInfo) -> Result<()> {
    let pull_request = forge.pull_request(cx, number).await?;
    if !pull_request.is_open() || !is_ours(&pull_request, promotion) {
        return Ok(());
    }
    let shown = shown(forge.provider(), &pull_request);
    let Err(error) = forge.close(cx, &pull_request).await else {
        cx.progress(format!("closed {shown}"));
        return Ok(());
    };
    if error.kind() == ErrorKind::Cancelled {
        return Err(error);
    }
    // Somebody may have merged or closed it just now, which is no less an end.
    match forge.pull_request(cx, number).await? {
        now if now.is_open() => Err(error),
        now => {
            cx.progress(format!("{shown} is {} by somebody else", now.state));
            Ok(())
        }
    }
}
