//! The step `git-push`: sends the commits of a checkout to its repository.

mod branch;
mod tag;

use async_trait::async_trait;
use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest, read_config, read_template};
use kargo_core::workspace::Directory;
use kargo_core::{Error, ErrorKind, Result, Retry};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::checkout::{Checkout, Known};
use super::{GitSteps, given, invalid, is_one_of};
use crate::forge::{Provider, commit_page, named_or_none};
use crate::remote::parse_id;
use crate::update::branch_fault;

pub(super) use branch::Pusher;

const USES: &str = "git-push";

#[derive(Debug)]
pub(super) struct GitPush(pub(super) GitSteps);

/// `git-push`: sends the commits of a checkout, or a tag.
///
/// When others have pushed meanwhile, the commits are made again on top of theirs, line by line as git does it. Nothing of theirs is ever lost: only
/// branches of promotions (`kargo/promotion/…`, and those that the host allows) are forced, and those with a lease: what somebody else has
/// put there since the step began stays.
///
/// # Outputs
///
/// - `commit`: the id of the commit that the branch has now.
/// - `branch`: the branch.
/// - `commitURL`: the commit's page, when the provider is known.
///
/// # Errors
///
/// - There is no checkout at `path`, or it has no branch and none is named.
/// - The same lines of a file were changed here and by others: the step fails, and names file and lines.
/// - The server refuses the push, by a hook or a protected branch: the step fails with its words.
/// - Others have pushed again in each of `maxAttempts` tries.
/// - Somebody else has moved the branch that is to be forced: the step ends.
/// - The tag is of a commit that the push of its branch has made again.
///
/// # Example
///
/// ```yaml
/// - uses: git-push
///   as: push
///   config:
///     path: ./env
///     generateTargetBranch: true
/// ```
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Config {
    /// Where the checkout is.
    pub(super) path: String,
    /// The branch. Default: the one that is checked out.
    #[serde(default)]
    pub(super) target_branch: Option<String>,
    /// Whether it is a branch of the promotion's own, `kargo/promotion/<promotion>`. Default: no.
    #[serde(default)]
    pub(super) generate_target_branch: bool,
    /// The tag that is sent instead of a branch. Default: none.
    #[serde(default)]
    pub(super) tag: Option<String>,
    /// Whether the branch is put where the checkout stands, whatever is there; for branches of promotions. Default: no.
    #[serde(default)]
    pub(super) force: bool,
    /// How often it is tried when others push at the same time. Default: 10.
    #[serde(default)]
    pub(super) max_attempts: Option<u32>,
    /// Of which kind the server is, for `commitURL`. Default: as its name says.
    #[serde(default, deserialize_with = "named_or_none")]
    pub(super) provider: Option<Provider>,
}

impl Config {
    fn attempts(&self) -> u32 {
        self.max_attempts.unwrap_or(10)
    }
}

pub(super) fn check(config: &Config) -> Result<()> {
    let (branch, tag) = (given(config.target_branch.as_ref()), given(config.tag.as_ref()));
    let ways = [branch.is_some(), tag.is_some(), config.generate_target_branch];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return Err(invalid(format!("{USES} takes one of targetBranch, generateTargetBranch and tag.")));
    }
    if let Some(name) = branch.or(tag)
        && let Some(fault) = branch_fault(name)
    {
        return Err(invalid(format!("{name:?} is no name of a branch or tag: {fault}.")));
    }
    if config.force && tag.is_some() {
        return Err(invalid("A tag is not forced: whoever has fetched it keeps the old one.".to_owned()));
    }
    if config.attempts() == 0 {
        return Err(invalid("maxAttempts is at least 1.".to_owned()));
    }
    Ok(())
}

#[async_trait]
impl Step for GitPush {
    fn validate(&self, config: &Value) -> Result<()> {
        check(&read_config(USES, config)?)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        read_template::<Config>(USES, config).map(drop)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        is_one_of(pointer, &["path", "targetBranch", "tag", "provider"])
    }

    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config: Config = read_config(USES, request.config)?;
        check(&config)?;
        let (directory, checkout) = Checkout::at(cx, request.workspace(), &config.path).await?;
        let tag = given(config.tag.as_ref());
        if let Some(outputs) = request.restored {
            return match tag {
                Some(_) => Ok(StepOutcome::succeeded()),
                None => restore(cx, request, &config, directory, checkout, outputs).await,
            };
        }
        match tag {
            Some(tag) => cx.guard("push a tag", tag::push_tag(cx, &config, tag, &checkout)).await,
            None => {
                let pusher = Pusher { steps: &self.0, at_github: None };
                cx.guard("push to a branch", pusher.push(cx, request, &config, directory, checkout)).await
            }
        }
    }
}

/// Puts the commit in place that was pushed, without pushing.
pub(super) async fn restore(
    cx: &Context,
    request: &StepRequest<'_>,
    config: &Config,
    directory: Directory,
    checkout: Checkout,
    outputs: &Map<String, Value>,
) -> Result<StepOutcome> {
    let recorded = outputs.get("commit").and_then(|commit| parse_id(commit.as_str()?));
    let recorded = recorded
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("What {USES} put out has no commit; promote again.")))?;
    let head = checkout.head()?;
    let commit = match recorded == head.id {
        true => head,
        false => Known { id: recorded, tree: checkout.origin.commit(cx, recorded).await?.tree },
    };
    // As when it was pushed: what is not committed stays, unless other files came from the branch.
    let directory = if commit.tree == head.tree { directory } else { checkout.directory(commit) };
    let branch = outputs.get("branch").and_then(Value::as_str).unwrap_or_default();
    checkout.standing_on(commit, branch).mount(cx, request.workspace(), &config.path, directory).await?;
    Ok(StepOutcome::succeeded())
}

/// A refusal that came too seldom to be believed: a server also refuses while it moves the ref.
fn again(error: Error) -> Error {
    error.retry_as(Retry::Backoff)
}

fn pushed(config: &Config, checkout: &Checkout, commit: Known, branch: &str) -> StepOutcome {
    let (url, id) = (checkout.origin.remote.url(), commit.id.to_string());
    let mut outputs = Map::from_iter([("commit".to_owned(), json!(id)), ("branch".to_owned(), json!(branch))]);
    if let Some(page) = commit_page(url, config.provider, &id) {
        outputs.insert("commitURL".to_owned(), json!(page));
    }
    let what = given(config.tag.as_ref()).unwrap_or(branch);
    StepOutcome::Succeeded { outputs, message: format!("{what} of {url} has {id}") }
}
