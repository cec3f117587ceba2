//! `git-open-pr`.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest};
use kargo_core::{Error, ErrorKind, PromotionInfo, Result};
use serde_json::{Map, Value, json};

use super::config::{self, Open, options};
use super::{MARK, is_ours, mark, outputs, shown};
use crate::forge::{Branch, Forge, Forges, NewPullRequest, Opened, PullRequest, PullRequestQuery, PullRequestState};
use crate::steps::{given, is_one_of};

/// The name under which Kargo has it.
const STEP: &str = "git-open-pr";

/// How far the forge's clock may be off.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// No provider takes a longer title, in characters.
const TITLE: usize = 250;

/// The step `git-open-pr`: opens a pull request from one branch to another, or takes the one that is there.
///
/// The configuration has `repoURL`, `sourceBranch` and `targetBranch`, and may have `title` (default: the first line of the head commit's
/// message), `description` (default: the rest of it), `labels`, `provider` and `insecureSkipTLSVerify`. The output is `pr.id` and `pr.url`.
///
/// There is one pull request for a promotion, whatever dies when: one that is open between the branches is taken, and so is one that was
/// merged at the same head or was opened for this promotion. Its description links to the stage's page when the host says where people
/// look at pipelines ([`EngineBuilder::ui_base_url`](kargo_core::EngineBuilder::ui_base_url)). When merging would change no file the step is skipped: `pr.id` and
/// `pr.url` are `null` then, which skips the steps that await or merge it, and `commit` is the one that the target branch has. One that was opened for this promotion and then closed by somebody fails it. On abort the one that it opened is closed.
///
/// ```
/// use kargo_core::plugin::Plugins;
/// use kargo_git::{CredentialRules, Forges, MergePullRequest, OpenPullRequest, WaitForPullRequest};
///
/// let forges = Forges::new(CredentialRules::new())?;
/// let plugins = Plugins::builder()
///     .step("git-open-pr", OpenPullRequest::new(forges.clone()))
///     .step("git-wait-for-pr", WaitForPullRequest::new(forges.clone()))
///     .step("git-merge-pr", MergePullRequest::new(forges))
///     .build();
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OpenPullRequest {
    forges: Forges,
}

impl OpenPullRequest {
    /// The step, on these forges.
    pub fn new(forges: Forges) -> Self {
        Self { forges }
    }

    fn read(&self, config: &Value) -> Result<(Open, Arc<dyn Forge>)> {
        let config: Open = config::read(STEP, config)?;
        config.check(STEP)?;
        let forge = self.forge(&config)?;
        Ok((config, forge))
    }

    fn forge(&self, config: &Open) -> Result<Arc<dyn Forge>> {
        self.forges.repository_with(&config.repository, options(config.provider, config.skip_tls_verification))
    }
}

fn query(config: &Open, started_at: Timestamp) -> PullRequestQuery {
    let since = started_at.checked_sub(SKEW).unwrap_or(started_at);
    PullRequestQuery::new(&config.source_branch, &config.target_branch, since)
}

/// Whether both name one commit; some forges tell only the first digits.
fn is_same(commit: &str, other: &str) -> bool {
    let (short, long) = if commit.len() < other.len() { (commit, other) } else { (other, commit) };
    short.len() >= 7 && long.starts_with(short)
}

/// `text` of at most `limit` characters.
fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// What to open: what the configuration says, and else the head commit's message.
fn proposal(config: &Open, source: &Branch, promotion: &PromotionInfo, limit: usize) -> NewPullRequest {
    let message = source.message.trim();
    let (first, rest) = message.split_once('\n').unwrap_or((message, ""));
    let (title, body) = match given(config.title.as_ref()) {
        Some(title) => (title.trim(), message),
        None => (first.trim(), rest.trim()),
    };
    let title = if title.is_empty() {
        format!("Merge {} into {}", source.name, config.target_branch)
    } else {
        title.to_owned()
    };
    let body = given(config.description.as_ref()).unwrap_or(body);
    // A merged pull request's description can become a commit's message, which must not speak for this one.
    let body: Vec<&str> = body.lines().filter(|line| !line.trim().starts_with(MARK)).collect();
    let link = promotion.ui_page().map(|page| format!("[View in Kargo UI]({page})\n\n")).unwrap_or_default();
    let mark = format!("{link}{}", mark(promotion));
    let body = cut(body.join("\n").trim(), limit.saturating_sub(mark.chars().count() + 2));
    let description = if body.is_empty() { mark } else { format!("{body}\n\n{mark}") };
    NewPullRequest::new(
        &config.source_branch,
        &config.target_branch,
        cut(&title.replace('\n', " "), TITLE),
        description,
    )
}

/// The open one among `found`, rather this promotion's.
fn open<'a>(found: &'a [PullRequest], promotion: &PromotionInfo) -> Option<&'a PullRequest> {
    found.iter().filter(|pull| pull.is_open()).min_by_key(|pull| !is_ours(pull, promotion))
}

/// The one among `found` that is over, and was for what `source` has: of this promotion, or why there cannot be one; or merged by others.
/// A promotion that has put more on its branch since has not had it merged yet.
fn over<'a>(found: &'a [PullRequest], promotion: &PromotionInfo, source: Option<&Branch>) -> Option<&'a PullRequest> {
    let rank = |pull: &&PullRequest| {
        let same = source.zip(pull.head.as_ref()).map(|(source, head)| is_same(head, &source.commit));
        match (pull.state, is_ours(pull, promotion), same) {
            (PullRequestState::Merged, true, None | Some(true)) => 0,
            (PullRequestState::Closed, true, None | Some(true)) => 1,
            (PullRequestState::Merged, false, Some(true)) => 2,
            _ => 3,
        }
    };
    found.iter().min_by_key(rank).filter(|pull| rank(pull) < 3)
}

/// What a call works with.
struct Run<'a> {
    cx: &'a Context,
    config: Open,
    forge: Arc<dyn Forge>,
    promotion: &'a PromotionInfo,
    query: PullRequestQuery,
}

impl Run<'_> {
    async fn run(&self) -> Result<StepOutcome> {
        let found = self.forge.pull_requests(self.cx, &self.query).await?;
        if let Some(pull) = open(&found, self.promotion) {
            return self.taken(pull, "there already is").await;
        }
        let source = self.forge.branch(self.cx, &self.config.source_branch).await?;
        if let Some(pull) = over(&found, self.promotion, source.as_ref()) {
            return self.taken(pull, "already merged is").await;
        }
        let source = source.ok_or_else(|| self.no_branch(&self.config.source_branch, "sourceBranch"))?;
        let target = self.forge.branch(self.cx, &self.config.target_branch).await?;
        let target = target.ok_or_else(|| self.no_branch(&self.config.target_branch, "targetBranch"))?;
        let is_equal = source.commit == target.commit || (source.tree.is_some() && source.tree == target.tree);
        if is_equal || !self.forge.differs(self.cx, &source, &target).await? {
            return Ok(self.nothing(&target));
        }
        let new = proposal(&self.config, &source, self.promotion, self.forge.provider().description_limit());
        match self.forge.open(self.cx, &new).await? {
            Opened::New(pull) => self.taken(&pull, "opened").await,
            Opened::NothingToMerge => Ok(self.nothing(&target)),
            Opened::Exists => {
                let found = self.forge.pull_requests(self.cx, &self.query).await?;
                match open(&found, self.promotion).or_else(|| over(&found, self.promotion, Some(&source))) {
                    Some(pull) => self.taken(pull, "there already is").await,
                    None => Err(Error::new(
                        ErrorKind::Conflict,
                        format!(
                            "{} says that there is a {} from {} to {}, and lists none; another try can help.",
                            self.forge.provider(),
                            self.forge.provider().noun(),
                            self.config.source_branch,
                            self.config.target_branch
                        ),
                    )),
                }
            }
        }
    }

    fn no_branch(&self, name: &str, field: &str) -> Error {
        let repository = crate::forge::shown(&self.config.repository);
        Error::new(
            ErrorKind::NotFound,
            format!(
                "The repository {repository} has no branch {name:?}, which {field} names. Make it first, from a commit that both branches \
                 have; one without such a commit cannot be merged."
            ),
        )
    }

    /// Ends without a pull request. Later steps may ask for its number all the same, and for what the target branch has.
    fn nothing(&self, target: &Branch) -> StepOutcome {
        let Open { source_branch, target_branch, .. } = &self.config;
        let reason = format!("merging {source_branch} into {target_branch} would change nothing");
        let pr = json!({"id": null, "url": null});
        let outputs = Map::from_iter([("pr".to_owned(), pr), ("commit".to_owned(), json!(target.commit))]);
        StepOutcome::Skipped { outputs, reason }
    }

    /// Ends with a pull request that is there.
    async fn taken(&self, pull: &PullRequest, how: &str) -> Result<StepOutcome> {
        let shown = shown(self.forge.provider(), pull);
        if pull.state == PullRequestState::Closed {
            let reason = format!("{shown}, which was opened for this promotion, was closed without being merged");
            return Ok(StepOutcome::Failed { reason });
        }
        let lacks = |label: &&String| !pull.labels.iter().any(|has| has.eq_ignore_ascii_case(label));
        let lacking: Vec<String> = self.config.labels.iter().filter(lacks).cloned().collect();
        // Those of other people's are theirs to choose.
        if !lacking.is_empty() && pull.is_open() && is_ours(pull, self.promotion) {
            self.forge.add_labels(self.cx, pull.number, &lacking).await?;
        }
        Ok(StepOutcome::Succeeded { outputs: outputs(pull, false), message: format!("{how} {shown}") })
    }
}

#[async_trait]
impl Step for OpenPullRequest {
    fn validate(&self, config: &Value) -> Result<()> {
        let (config, has_place): (Open, bool) = config::read_early(STEP, config)?;
        config.check(STEP)?;
        if has_place { self.forge(&config).map(drop) } else { Ok(()) }
    }

    fn takes_text(&self, pointer: &str) -> bool {
        let names = ["repoURL", "sourceBranch", "targetBranch", "title", "description", "provider"];
        pointer.starts_with("/labels/") || is_one_of(pointer, &names)
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let (config, forge) = self.read(request.config)?;
        let query = query(&config, request.started_at);
        Run { cx, config, forge, promotion: request.promotion, query }.run().await
    }

    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        let (config, forge) = self.read(request.config)?;
        let found = forge.pull_requests(cx, &query(&config, request.started_at)).await?;
        for pull in found.iter().filter(|pull| pull.is_open() && is_ours(pull, request.promotion)) {
            super::close_ours(cx, &forge, pull.number, request.promotion).await?;
        }
        Ok(())
    }
}
