//! Pushing commits to a branch, on top of what others have pushed meanwhile.

use std::collections::HashSet;

use gix::ObjectId;
use kargo_core::plugin::{Context, Relation, StepOutcome, StepRequest};
use kargo_core::workspace::Directory;
use kargo_core::{Error, ErrorKind, Result, Retry};

use super::{Config, again, pushed};
use crate::commit::{find_own, is_by};
use crate::history::relate;
use crate::remote::{OWN_BRANCHES, Push, PushOutcome, RefUpdate, Session};
use crate::steps::checkout::{Checkout, Known, New};
use crate::steps::github::AtGitHub;
use crate::steps::merge::{Conflicts, Merged, list, merge};
use crate::steps::record::record;
use crate::steps::{GitSteps, given, invalid};
use crate::turn::{pause, turn};
use crate::writer::{LATE, LOST, REFUSALS, refused, unsettled};

/// Where commits are pushed to.
#[derive(Debug)]
struct Target {
    branch: String,
    /// Whether the branch is put where the checkout stands, whatever is there.
    force: bool,
}

/// Pushes to branches: straight, or by way of GitHub's API.
#[derive(Debug)]
pub(in crate::steps) struct Pusher<'a> {
    pub(in crate::steps) steps: &'a GitSteps,
    pub(in crate::steps) at_github: Option<&'a AtGitHub>,
}

impl Pusher<'_> {
    pub(in crate::steps) async fn push(
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

/// What is to be done, now that the branch stands where it stands.
enum Plan {
    /// The branch has it all; the checkout is to stand on this commit.
    Stand(Known),
    /// The branch is to be moved to where this checkout stands.
    Move(Checkout),
    /// It cannot be.
    Fail(String),
}

/// What was not found although the server has just named it: it is another one behind the same name, which will have it in a moment.
fn behind(error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound { again(error) } else { error }
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
        // Where the branch stood when this promotion first saw it: that is the lease of a forced push. A call that may have had another one
        // before it has not seen that.
        let mut first_seen = None;
        let (mut refusals, mut refused_at, mut lost) = (0, None, 0);
        // Why the last attempt failed, unless the branch had moved.
        let mut last = None;
        for attempt in 0..self.config.attempts() {
            if attempt > 0 {
                cx.sleep(pause(attempt)).await?;
            }
            let mut session = remote.session(cx).await?;
            self.checkout.origin.sign_in_as(&session).await?;
            let tip = match self.at_github {
                Some(_) => session.refs(&[&name]).await?.into_iter().find(|each| each.name == name).map(|each| each.id),
                None => session.tip_to_push(&name).await?,
            };
            if refused_at != Some(tip) {
                refusals = 0;
            }
            // As in a writer: who comes late may have been overtaken by another process that took the promotion over.
            look |= cx.now().duration_since(self.request.started_at) > LATE;
            if attempt == 0 && !look {
                first_seen = tip;
            }
            // The commits of a forced push are the same in each call, unless GitHub makes them.
            let looks_back = look && (!self.target.force || self.at_github.is_some());
            if let (true, Some(tip), Some(last)) = (looks_back, tip, self.checkout.commits.last())
                && !without.contains(&tip)
            {
                let since = last.draft.at.as_second();
                let own = find_own(&mut session, tip, &last.key, since, &without).await.map_err(behind)?;
                // A branch that is forced is to stand there, and not further on.
                if let Some(own) = own.filter(|own| !self.target.force || *own == tip) {
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
            if let Some(tip) = tip.filter(|tip| self.target.force && Some(*tip) != first_seen) {
                self.check_lease(&mut session, tip, head).await.map_err(behind)?;
            }
            let checkout = match self.plan(&mut session, tip, head).await.map_err(behind)? {
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
                    let error = unsettled(error).with("branch", branch);
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

    /// Sees to it that a forced push puts aside only what this promotion may: where the commits stand already, what they have in their
    /// history, what it has made itself, and what promotions before it have.
    async fn check_lease(&self, session: &mut Session, tip: ObjectId, head: Known) -> Result<()> {
        let base = self.checkout.base.map(|base| base.id);
        if tip == head.id || base == Some(tip) {
            return Ok(());
        }
        let commits = session.commits(&[tip], 1, false).await?;
        if commits.get(&tip).is_some_and(|info| is_by(info, self.request.promotion, self.request.started_at)) {
            return Ok(());
        }
        if let Some(base) = base
            && relate(session, tip, base).await? == Relation::Earlier
        {
            return Ok(());
        }
        let message = format!(
            "{} of {} stands at {tip}, which this promotion has neither made nor seen there before, so the branch is not forced; see what \
             is there, and promote again to put it aside.",
            self.target.branch,
            session.shown()
        );
        Err(Error::new(ErrorKind::Conflict, message).retry_as(Retry::Never))
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
