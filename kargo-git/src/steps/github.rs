//! The step `github-push`: as `git-push`, with commits that GitHub makes, and so signs.

use async_trait::async_trait;
use gix::ObjectId;
use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest, read_config, read_template};
use kargo_core::{Error, ErrorKind, PromotionInfo, Result, Retry};
use serde::Deserialize;
use serde_json::Value;

use super::checkout::{Checkout, Known, New};
use super::push::{Config as PushConfig, Pusher, check, restore};
use super::{GitSteps, is_one_of};
use crate::forge::{Forges, GitHub, NewCommit, Person, Provider, RefMoved, RepositoryOptions};
use crate::remote::{Push, PushOutcome, RefUpdate, Session, parse_id};
use crate::writer::{refused, unsettled};

const USES: &str = "github-push";
/// No more commits are made again in one push.
const MAX_COMMITS: usize = 10;
/// How often a push to the ref of a promotion's own is tried whose answer was lost.
const STAGE_TRIES: u32 = 3;

/// Kargo's step `github-push`: pushes the commits of a checkout to a repository at GitHub, where they are made again by GitHub itself. A
/// branch that demands verified signatures takes them, without a key of the host's.
///
/// The configuration is that of `git-push` without `tag` and `provider`, and with `insecureSkipTLSVerify`; so are the outputs. The commits
/// are first pushed to `refs/kargo/staging/<promotion>`, then made again through GitHub's API on top of where the branch stands, at most
/// ten, and the branch is moved to the last of them as one change. The ref goes when that is done, and when the step fails; an aborted
/// promotion leaves it behind, and so does one that cannot remove it. GitHub's API forces a branch without a lease: somebody who moves it in
/// the instant between our look and our call is not seen.
///
/// Commits that the host [signs](GitSteps::sign) are made in the name of the GitHub App or user whose token it is, and are verified; who made
/// them stands in a trailer `Co-authored-by`. Those without a signature keep their author, and GitHub does not sign them, unless
/// [`GitHubPush::attribute_all`] asks for it.
///
/// ```
/// use kargo_core::Plugins;
/// use kargo_git::{CredentialRules, Credentials, Forges, GitHubPush, GitSource, GitSteps};
///
/// let token = || Credentials::basic("x-access-token", "the token");
/// let steps = GitSteps::new(GitSource::new().credentials("https://github.com/acme", token()));
/// let forges = Forges::new(CredentialRules::new().with("github.com/acme", token()))?;
/// let push = GitHubPush::new(steps.clone(), forges).attribute_all();
/// let plugins = steps.register(Plugins::builder()).step("github-push", push).build();
/// assert!(plugins.step("github-push").is_ok());
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GitHubPush {
    steps: GitSteps,
    forges: Forges,
    all: bool,
}

impl GitHubPush {
    /// The step, on checkouts of `steps`, with the API of `forges`.
    pub fn new(steps: GitSteps, forges: Forges) -> Self {
        Self { steps, forges, all: false }
    }

    /// Has GitHub make and sign also the commits that the host does not sign, in the name of the token's owner.
    #[must_use]
    pub fn attribute_all(mut self) -> Self {
        self.all = true;
        self
    }
}

/// `github-push`: sends the commits of a checkout to GitHub, which makes them again through its API and signs them.
///
/// At most 10 commits are sent at once. When others have pushed meanwhile, they are put on top of theirs, as `git-push` does.
///
/// # Outputs
///
/// - `commit`: the id of the commit that the branch has now.
/// - `branch`: the branch.
/// - `commitURL`: the commit's page.
///
/// # Errors
///
/// - There is no checkout at `path`, or it is not of a repository at GitHub.
/// - There is no token for GitHub: a key of ssh is not enough.
/// - There are more than 10 commits: the step fails.
/// - The same lines were changed here and by others: the step fails, and names the file.
/// - Others have pushed again in each of `maxAttempts` tries.
///
/// # Example
///
/// ```yaml
/// - uses: github-push
///   as: push
///   config:
///     path: ./env
///     targetBranch: main
/// ```
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    /// Where the checkout is.
    path: String,
    /// The branch. Default: the one that is checked out.
    #[serde(default)]
    target_branch: Option<String>,
    /// Whether it is a branch of the promotion's own, `kargo/promotion/<promotion>`. Default: no.
    #[serde(default)]
    generate_target_branch: bool,
    /// Whether the branch is put where the checkout stands, whatever is there; for branches of promotions. Default: no.
    #[serde(default)]
    force: bool,
    /// How often it is tried when others push at the same time. Default: 10.
    #[serde(default)]
    max_attempts: Option<u32>,
    /// Whether any certificate of the API's is accepted. Default: no.
    #[serde(default, rename = "insecureSkipTLSVerify")]
    skip_tls_verification: bool,
}

/// The configuration as `git-push` knows it, and whether any certificate is believed.
fn configured(config: Config) -> Result<(PushConfig, bool)> {
    let push = PushConfig {
        path: config.path,
        target_branch: config.target_branch,
        generate_target_branch: config.generate_target_branch,
        tag: None,
        force: config.force,
        max_attempts: config.max_attempts,
        provider: Some(Provider::GitHub),
    };
    check(&push)?;
    Ok((push, config.skip_tls_verification))
}

#[async_trait]
impl Step for GitHubPush {
    fn validate(&self, config: &Value) -> Result<()> {
        configured(read_config(USES, config)?).map(drop)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        read_template::<Config>(USES, config).map(drop)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        is_one_of(pointer, &["path", "targetBranch"])
    }

    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let (config, skip_tls) = configured(read_config(USES, request.config)?)?;
        let (directory, checkout) = Checkout::at(cx, request.workspace(), &config.path).await?;
        if let Some(outputs) = request.restored {
            return restore(cx, request, &config, directory, checkout, outputs).await;
        }
        let failed = |reason| Ok(StepOutcome::Failed { reason });
        let url = checkout.origin.remote.url().to_owned();
        let options = RepositoryOptions::new().skip_tls_verification(skip_tls);
        let github = match self.forges.github(&url, options) {
            Ok(github) => github,
            Err(error) => return failed(error.message().to_owned()),
        };
        if !github.has_token(cx).await? {
            return failed(format!(
                "there is no token for the API of {url}, by which GitHub makes commits; give the host's Forges one, or use git-push"
            ));
        }
        let count = checkout.commits.len();
        if count > MAX_COMMITS {
            return failed(format!(
                "{:?} has {count} commits, and at most {MAX_COMMITS} are made again at GitHub; push more often, or use git-push",
                config.path
            ));
        }
        let staging = staging(request.promotion);
        let at_github = AtGitHub { github, staging, all: self.all };
        let pusher = Pusher { steps: &self.steps, at_github: Some(&at_github) };
        let outcome = cx.guard("push to GitHub", pusher.push(cx, request, &config, directory, checkout)).await;
        let has_ended = match &outcome {
            Ok(outcome) => matches!(outcome, StepOutcome::Succeeded { .. } | StepOutcome::Failed { .. }),
            Err(error) => error.retry() == Retry::Never,
        };
        // How the step has ended counts more than what it leaves behind.
        if has_ended && let Err(error) = at_github.clean_up(cx).await {
            cx.progress(format!("refs/{} is left behind ({error}); remove it", at_github.staging));
        }
        outcome
    }
}

/// The ref under which the commits of a promotion come to GitHub, without `refs/`.
fn staging(promotion: &PromotionInfo) -> String {
    format!("kargo/staging/{}", promotion.id)
}

/// A push by way of GitHub's API.
#[derive(Debug)]
pub(super) struct AtGitHub {
    github: GitHub,
    staging: String,
    all: bool,
}

impl AtGitHub {
    /// Makes the commits of `checkout` again and moves `branch`, which stands at `tip`, to the last of them. Gives that one back.
    pub(super) async fn push(
        &self,
        cx: &Context,
        session: &mut Session,
        checkout: &Checkout,
        (branch, tip, force): (&str, Option<ObjectId>, bool),
    ) -> Result<(PushOutcome, Known)> {
        let head = checkout.head()?;
        let conflict = |known| Ok((PushOutcome::Conflict { name: format!("refs/heads/{branch}"), tip }, known));
        self.stage(session, checkout, head.id).await?;
        let mut made: Vec<(ObjectId, Known)> = Vec::new();
        for (at, new) in checkout.commits.iter().enumerate() {
            let object = object(checkout, new)?;
            if at == 0
                && let Some(parent) = object.parents.first()
            {
                let parent = parent.to_string();
                let comparison = self.github.compare(cx, &parent, &head.id.to_string()).await?;
                let ours = checkout.commits.iter().map(|new| new.commit.id.to_string());
                if comparison.status != "ahead" || !ours.eq(comparison.commits.iter().cloned()) {
                    return Err(Error::new(
                        ErrorKind::InvalidResponse,
                        format!(
                            "GitHub says that {} is {} of {parent} by {} commits, where it was pushed as ahead by {}; look at refs/{}.",
                            head.id,
                            comparison.status,
                            comparison.commits.len(),
                            checkout.commits.len(),
                            self.staging
                        ),
                    )
                    .retry_as(Retry::Backoff));
                }
            }
            let known = self.make(cx, new, &object, &made).await?;
            made.push((new.commit.id, known));
        }
        // Without commits of its own, what is to be moved is another branch.
        let known = made.last().map_or(head, |(_, known)| *known);
        let id = known.id.to_string();
        // The API forces without a lease, so the tip is looked at as late as can be.
        if let (true, Some(_)) = (force, tip) {
            let name = format!("refs/heads/{branch}");
            let now = session.refs(&[&name]).await?.into_iter().find(|each| each.name == name).map(|each| each.id);
            if now != tip {
                return Ok((PushOutcome::Conflict { name, tip: now }, known));
            }
        }
        let moved = match tip {
            Some(_) => self.github.move_branch(cx, branch, &id, force).await,
            None => self.github.make_branch(cx, branch, &id).await,
        };
        match moved {
            Ok(RefMoved::Yes) => Ok((PushOutcome::Updated, known)),
            Ok(RefMoved::Overtaken) => conflict(known),
            Ok(RefMoved::Refused(text)) => {
                Ok((PushOutcome::Rejected { reason: "a rule of the repository".to_owned(), text }, known))
            }
            Err(error) if is_lost(&error) => Ok((PushOutcome::Unknown { error }, known)),
            Err(error) => Err(error),
        }
    }

    /// Removes the ref under which the commits came.
    pub(super) async fn clean_up(&self, cx: &Context) -> Result<()> {
        self.github.remove_ref(cx, &self.staging).await
    }

    /// Sends the commits to a ref of the promotion's own, so that GitHub has what is in them.
    async fn stage(&self, session: &mut Session, checkout: &Checkout, head: ObjectId) -> Result<()> {
        let name = format!("refs/{}", self.staging);
        let mut lost = None;
        for _ in 0..STAGE_TRIES {
            let there = session.refs(&[&name]).await?.into_iter().find(|each| each.name == name).map(|each| each.id);
            if there == Some(head) {
                return Ok(());
            }
            let update = [RefUpdate { name: name.clone(), old: there, new: Some(head) }];
            match session.push(&Push { updates: &update, objects: &checkout.objects, options: &[] }).await? {
                PushOutcome::Updated => return Ok(()),
                PushOutcome::Rejected { reason, text } => {
                    return Err(refused(checkout.origin.remote.url(), &name, &reason, &text));
                }
                // Nobody but this promotion writes there: it was this call's predecessor.
                PushOutcome::Conflict { .. } => {}
                PushOutcome::Unknown { error } => lost = Some(error),
            }
        }
        Err(lost.map(unsettled).unwrap_or_else(|| {
            Error::new(ErrorKind::Conflict, format!("{name} moves while it is pushed to; is the promotion run twice?"))
        }))
    }

    async fn make(
        &self,
        cx: &Context,
        new: &New,
        object: &gix::objs::Commit,
        made: &[(ObjectId, Known)],
    ) -> Result<Known> {
        let parent =
            |id: &ObjectId| made.iter().find(|(old, _)| old == id).map_or(*id, |(_, known)| known.id).to_string();
        let parents: Vec<String> = object.parents.iter().map(parent).collect();
        let tree = new.commit.tree.to_string();
        let mut message = object.message.to_string();
        let attributed = self.all || new.draft.signer.is_some();
        if attributed {
            // Stands with the other trailers, in the message's last paragraph.
            message =
                format!("{}\nCo-authored-by: {} <{}>\n", message.trim_end(), object.author.name, object.author.email);
        }
        let people = if attributed { None } else { Some((person(&object.author)?, person(&object.committer)?)) };
        let commit = NewCommit { message: &message, tree: &tree, parents: &parents, people };
        let made = self.github.make_commit(cx, &commit).await?;
        let id = parse_id(&made.sha).filter(|_| made.tree.sha == tree).ok_or_else(|| {
            let message =
                format!("GitHub made the commit {:?} of the tree {:?}, asked for {tree}.", made.sha, made.tree.sha);
            Error::new(ErrorKind::InvalidResponse, message)
        })?;
        if attributed && !made.is_verified() {
            cx.progress(format!("GitHub does not call its commit {id} verified; is the token a GitHub App's?"));
        }
        Ok(Known { id, tree: new.commit.tree })
    }
}

/// Whether something may have been done all the same.
fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::InvalidResponse)
}

fn object(checkout: &Checkout, new: &New) -> Result<gix::objs::Commit> {
    let lost = || Error::new(ErrorKind::Corrupt, format!("The checkout has lost its commit {}.", new.commit.id));
    let (_, data) = checkout.objects.get(&new.commit.id).ok_or_else(lost)?;
    let parsed = gix::objs::CommitRef::from_bytes(data, checkout.origin.hash).map_err(|error| lost().because(error))?;
    parsed.into_owned().map_err(|error| lost().because(error))
}

fn person(who: &gix::actor::Signature) -> Result<Person> {
    let date = jiff::Timestamp::from_second(who.time.seconds)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, "A commit is of no time that there is.").because(error))?;
    Ok(Person { name: who.name.to_string(), email: who.email.to_string(), date: date.to_string() })
}
