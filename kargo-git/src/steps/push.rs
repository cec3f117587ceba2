//! The step `git-push`: sends the commits of a checkout to its repository.

use std::collections::HashSet;

use async_trait::async_trait;
use gix::ObjectId;
use kargo_core::plugin::{Context, Relation, Step, StepOutcome, StepRequest};
use kargo_core::workspace::Directory;
use kargo_core::{Error, ErrorKind, Result, Retry};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::checkout::{Checkout, Known, New};
use super::github::AtGitHub;
use super::merge::{Conflicts, Merged, list, merge};
use super::record::record;
use super::{GitSteps, check_fields, given, invalid, is_one_of, read};
use crate::commit::find_own;
use crate::forge::{Provider, commit_page};
use crate::history::relate;
use crate::remote::{OWN_BRANCHES, Push, PushOutcome, RefUpdate, Session, parse_id};
use crate::turn::{pause, turn};
use crate::update::branch_fault;
use crate::writer::{LATE, LOST, REFUSALS, refused};

const USES: &str = "git-push";

#[derive(Debug)]
pub(super) struct GitPush(pub(super) GitSteps);

/// `git-push`: sends the commits of a checkout, or a tag.
///
/// When others have pushed meanwhile, the commits are made again on top of theirs, line by line as git does it. Nothing of theirs is ever lost: only
/// branches of promotions (`kargo/promotion/…`, and those that the host allows) are forced, with a lease.
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
    #[serde(default, deserialize_with = "provider")]
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

/// A provider, of which Kargo's forms write an empty text for none.
fn provider<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Provider>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(named) => Provider::deserialize(named).map(Some).map_err(serde::de::Error::custom),
    }
}

#[async_trait]
impl Step for GitPush {
    fn validate(&self, config: &Value) -> Result<()> {
        check(&read(USES, config)?)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        check_fields(
            USES,
            config,
            &["path"],
            &["targetBranch", "generateTargetBranch", "tag", "force", "maxAttempts", "provider"],
        )
    }

    fn takes_text(&self, pointer: &str) -> bool {
        is_one_of(pointer, &["path", "targetBranch", "tag", "provider"])
    }

    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config: Config = read(USES, request.config)?;
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
            Some(tag) => cx.guard("push a tag", push_tag(cx, &config, tag, &checkout)).await,
            None => {
                let pusher = Pusher { steps: &self.0, at_github: None };
                cx.guard("push to a branch", pusher.push(cx, request, &config, directory, checkout)).await
            }
        }
    }
}

/// Where commits are pushed to.
#[derive(Debug)]
struct Target {
    branch: String,
    /// Whether the branch is put where the checkout stands, whatever is there.
    force: bool,
}

/// Pushes to branches: straight, or by way of GitHub's API.
#[derive(Debug)]
pub(super) struct Pusher<'a> {
    pub(super) steps: &'a GitSteps,
    pub(super) at_github: Option<&'a AtGitHub>,
}

impl Pusher<'_> {
    pub(super) async fn push(
        &self,
        cx: &Context,
        request: &StepRequest<'_>,
        config: &Config,
        directory: Directory,
        checkout: Checkout,
    ) -> Result<StepOutcome> {
        let target = self.target(request, config, &checkout)?;
        Work { cx, request, config, checkout, directory, target, at_github: self.at_github }.push().await
    }

    fn target(&self, request: &StepRequest<'_>, config: &Config, checkout: &Checkout) -> Result<Target> {
        if config.generate_target_branch {
            return Ok(Target { branch: format!("{OWN_BRANCHES}{}", request.promotion.id), force: true });
        }
        let branch = given(config.target_branch.as_ref()).or(checkout.branch.as_deref());
        let branch = branch.ok_or_else(|| {
            invalid(format!("{:?} has no branch checked out; say which one with targetBranch.", config.path))
        })?;
        if config.force && !self.steps.owns(branch) {
            return Err(invalid(format!(
                "{branch} is not a branch that promotions have for themselves, so it is not forced: commits of others would be lost. \
                 Use generateTargetBranch, or have the host allow it (GitSteps::own_branches)."
            )));
        }
        Ok(Target { branch: branch.to_owned(), force: config.force })
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
    let (commit, directory) = if recorded == head.id {
        (head, directory)
    } else {
        let commit = Known { id: recorded, tree: checkout.origin.commit(cx, recorded).await?.tree };
        (commit, checkout.directory(commit))
    };
    let branch = outputs.get("branch").and_then(Value::as_str).unwrap_or_default();
    checkout.standing_on(commit, branch).mount(cx, request.workspace(), &config.path, directory).await?;
    Ok(StepOutcome::succeeded())
}

async fn push_tag(cx: &Context, config: &Config, name: &str, checkout: &Checkout) -> Result<StepOutcome> {
    let url = checkout.origin.remote.url();
    let Some(tag) = checkout.tags.iter().find(|tag| tag.name == name) else {
        return Err(invalid(format!("The checkout {:?} has no tag {name}; make it with git-tag first.", config.path)));
    };
    let update = [RefUpdate { name: format!("refs/tags/{name}"), old: None, new: Some(tag.id) }];
    let (mut refusals, mut lost, mut last) = (0, 0, None);
    for attempt in 0..config.attempts() {
        if attempt > 0 {
            cx.sleep(pause(attempt)).await?;
        }
        let push = Push { updates: &update, objects: &checkout.objects, options: &[] };
        match checkout.origin.remote.session(cx).await?.push(&push).await? {
            PushOutcome::Updated => {
                let branch = checkout.branch.clone().unwrap_or_default();
                return Ok(pushed(config, checkout, checkout.head()?, &branch));
            }
            PushOutcome::Conflict { tip, .. } => {
                let other = tip.map(|tip| format!(", {tip}")).unwrap_or_default();
                let reason = format!("there is a tag {name} in {url} already{other}; choose another name");
                return Ok(StepOutcome::Failed { reason });
            }
            PushOutcome::Rejected { reason, text } => {
                refusals += 1;
                let error = refused(url, name, &reason, &text);
                if refusals >= REFUSALS {
                    return Err(error);
                }
                last = Some(again(error));
            }
            PushOutcome::Unknown { error } => {
                lost += 1;
                let error = error.with("tag", name);
                if lost >= LOST || matches!(error.retry(), Retry::After(_)) {
                    return Err(error);
                }
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::new(ErrorKind::Conflict, format!("The tag {name} was not pushed to {url}."))))
}

/// A refusal that came too seldom to be believed: a server also refuses while it moves the ref.
fn again(error: Error) -> Error {
    error.retry_as(Retry::Backoff)
}

/// What is to be done, now that the branch stands where it stands.
enum Plan {
    /// The branch has it all; the checkout is to stand on this commit.
    Stand(Known),
    /// The branch is to be moved to where this checkout stands.
    Move(Checkout),
    /// It cannot be.
    Fail(String),
}

/// One push to a branch.
struct Work<'a> {
    cx: &'a Context,
    request: &'a StepRequest<'a>,
    config: &'a Config,
    checkout: Checkout,
    directory: Directory,
    target: Target,
    at_github: Option<&'a AtGitHub>,
}

impl Work<'_> {
    async fn push(self) -> Result<StepOutcome> {
        let (cx, branch) = (self.cx, self.target.branch.as_str());
        let head = self.checkout.head()?;
        let own = self.checkout.branch.as_deref() == Some(branch);
        if own && self.checkout.commits.is_empty() && !self.checkout.elsewhere {
            return Ok(pushed(self.config, &self.checkout, head, branch));
        }
        let remote = self.checkout.origin.remote.clone();
        let turn = turn(remote.lock_key(), branch);
        let _turn = turn.lock().await;
        let name = format!("refs/heads/{branch}");
        let mut look = self.request.resumed;
        // Tips under which there is no commit of this promotion's.
        let mut without = HashSet::new();
        let (mut refusals, mut refused_at, mut lost) = (0, None, 0);
        // Why the last attempt failed, unless the branch had moved.
        let mut last = None;
        for attempt in 0..self.config.attempts() {
            if attempt > 0 {
                cx.sleep(pause(attempt)).await?;
            }
            let mut session = remote.session(cx).await?;
            self.checkout.origin.sign_in_as(&session).await?;
            let tip = session.refs(&[&name]).await?.into_iter().find(|each| each.name == name).map(|each| each.id);
            if refused_at != Some(tip) {
                refusals = 0;
            }
            // As in a writer: who comes late may have been overtaken by another process that took the promotion over.
            look |= cx.now().duration_since(self.request.started_at) > LATE;
            if let (true, Some(tip), Some(last)) = (look && !self.target.force, tip, self.checkout.commits.last())
                && !without.contains(&tip)
            {
                let since = last.draft.at.as_second();
                if let Some(own) = find_own(&mut session, tip, &last.key, since, &without).await? {
                    cx.progress(format!("found the commit {own} of an earlier try"));
                    session.flush(branch).await?;
                    let own = self.known(own).await?;
                    if own.tree != head.tree && !self.is_clean().await? {
                        return Ok(StepOutcome::Failed { reason: self.not_clean() });
                    }
                    return self.stand(own).await;
                }
                without.insert(tip);
            }
            let checkout = match self.plan(&mut session, tip, head).await? {
                Plan::Stand(commit) => return self.stand(commit).await,
                Plan::Fail(reason) => return Ok(StepOutcome::Failed { reason }),
                Plan::Move(checkout) => checkout,
            };
            let mut new = checkout.head()?;
            let outcome = match self.at_github {
                None => {
                    let update = [RefUpdate { name: name.clone(), old: tip, new: Some(new.id) }];
                    session.push(&Push { updates: &update, objects: &checkout.objects, options: &[] }).await?
                }
                Some(github) => {
                    let place = (branch, tip, self.target.force);
                    let (outcome, made) = github.push(cx, &mut session, &checkout, place).await?;
                    new = made;
                    outcome
                }
            };
            match outcome {
                PushOutcome::Updated => {
                    checkout.origin.keep(&checkout.objects);
                    return self.stand(new).await;
                }
                PushOutcome::Conflict { tip, .. } => {
                    // What moved it may have been another process at work on the same step.
                    look = true;
                    let now = tip.map_or("gone".to_owned(), |tip| format!("at {tip}"));
                    cx.progress(format!("{branch} has moved and is {now}; trying again on top of it"));
                    last = None;
                }
                PushOutcome::Rejected { reason, text } => {
                    refused_at = Some(tip);
                    refusals += 1;
                    let error = refused(remote.url(), branch, &reason, &text);
                    if refusals >= REFUSALS {
                        return Err(error);
                    }
                    last = Some(again(error));
                }
                PushOutcome::Unknown { error } => {
                    look = true;
                    lost += 1;
                    // The pause that a server names is the engine's to keep; the next call looks what became of the push.
                    let error = error.with("branch", branch);
                    if lost >= LOST || matches!(error.retry(), Retry::After(_)) {
                        return Err(error);
                    }
                    cx.progress(format!("the answer to the push was lost ({error}); looking what became of it"));
                    last = Some(error);
                }
            }
        }
        let (url, attempts) = (remote.url(), self.config.attempts());
        Err(last.unwrap_or_else(|| {
            let message = format!("{branch} of {url} moved each time it was pushed to, in {attempts} attempts.");
            Error::new(ErrorKind::Conflict, message)
        }))
    }

    async fn plan(&self, session: &mut Session, tip: Option<ObjectId>, head: Known) -> Result<Plan> {
        let base = self.checkout.base;
        let Some(tip) = tip else { return Ok(Plan::Move(self.checkout.clone())) };
        if tip == head.id {
            return Ok(Plan::Stand(head));
        }
        if self.target.force || base.is_some_and(|base| base.id == tip) {
            return Ok(Plan::Move(self.checkout.clone()));
        }
        let (branch, url) = (&self.target.branch, session.shown().to_owned());
        match base {
            Some(base) => match relate(session, tip, base.id).await? {
                // What the branch has is part of what the commits stand on.
                Relation::Earlier | Relation::Same => Ok(Plan::Move(self.checkout.clone())),
                Relation::Later => self.integrate(tip).await,
                Relation::Diverged => Ok(Plan::Fail(format!(
                    "{branch} of {url} stands at {tip}, whose history does not have {}, on which {:?} stands; \
                     check {branch} out, or push to another branch",
                    base.id, self.config.path
                ))),
                _ => Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "How {tip}, at which {branch} of {url} stands, and {} go together cannot be found out: the history is too long or cut off.",
                        base.id
                    ),
                )),
            },
            None => self.integrate(tip).await,
        }
    }

    /// Makes the commits again on top of `tip`, as a rebase does.
    async fn integrate(&self, tip: ObjectId) -> Result<Plan> {
        let (cx, checkout) = (self.cx, &self.checkout);
        let origin = &checkout.origin;
        if !self.is_clean().await? {
            return Ok(Plan::Fail(self.not_clean()));
        }
        let mut objects = (*checkout.objects).clone();
        let mut onto = self.known(tip).await?;
        let mut before = checkout.base.map(|base| base.tree);
        let mut commits = Vec::new();
        for new in &checkout.commits {
            let tree = match merge(cx, origin, &mut objects, before, new.commit.tree, onto.tree).await? {
                Merged::Tree(tree) => tree,
                Merged::Conflict(conflicts) => return Ok(Plan::Fail(self.conflict(tip, &conflicts))),
            };
            before = Some(new.commit.tree);
            // Somebody else has made the same change.
            if tree == onto.tree {
                continue;
            }
            let commit = Known { id: new.draft.commit(tree, Some(onto.id), &mut objects).await?, tree };
            commits.push(New { commit, key: new.key.clone(), draft: new.draft.clone() });
            onto = commit;
        }
        if commits.is_empty() {
            return Ok(Plan::Stand(onto));
        }
        let mut rebased = checkout.clone();
        rebased.base = None;
        rebased.commits = commits;
        rebased.keep(objects)?;
        Ok(Plan::Move(rebased))
    }

    /// Whether all that is in the checkout is committed.
    async fn is_clean(&self) -> Result<bool> {
        let mut objects = Default::default();
        let (workspace, origin) = (self.request.workspace(), &self.checkout.origin);
        let now = record(self.cx, workspace, &self.directory, origin, &mut objects).await?;
        Ok(now == self.checkout.head()?.tree)
    }

    fn not_clean(&self) -> String {
        format!(
            "{} has moved, and {:?} has changes that are not committed; commit them with git-commit before git-push",
            self.target.branch, self.config.path
        )
    }

    fn conflict(&self, tip: ObjectId, conflicts: &Conflicts) -> String {
        format!(
            "{} has moved to {tip}, which changes the same as this promotion in another way: {}; promote again",
            self.target.branch,
            list(conflicts)
        )
    }

    async fn known(&self, id: ObjectId) -> Result<Known> {
        Ok(Known { id, tree: self.checkout.origin.commit(self.cx, id).await?.tree })
    }

    /// Puts the checkout onto a commit that the branch has.
    async fn stand(self, commit: Known) -> Result<StepOutcome> {
        let stood = self.checkout.head()?;
        // What is not committed stays, unless other files came from the branch.
        let directory = if commit.tree == stood.tree { self.directory } else { self.checkout.directory(commit) };
        let outcome = pushed(self.config, &self.checkout, commit, &self.target.branch);
        let checkout = self.checkout.standing_on(commit, &self.target.branch);
        checkout.mount(self.cx, self.request.workspace(), &self.config.path, directory).await?;
        Ok(outcome)
    }
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
