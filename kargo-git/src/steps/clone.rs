//! The step `git-clone`: mounts commits of a repository in the workspace.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use gix::ObjectId;
use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest, read_config, read_template};
use kargo_core::workspace::{EntryKind, Node, Workspace};
use kargo_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::checkout::{Author, Checkout, Known, New};
use super::origin::GitOrigin;
use super::{AuthorConfig, GitSteps, SIGNATURE, given, invalid, is_one_of, signature};
use crate::commit::{self, Draft};
use crate::remote::{NewObjects, Remote, RemoteRef, Session, parse_id};
use crate::tree;
use crate::update::branch_fault;

const USES: &str = "git-clone";

#[derive(Debug)]
pub(super) struct GitClone(pub(super) GitSteps);

/// `git-clone`: puts commits of a repository into the workspace, each at a path of its own.
///
/// No file is fetched before a step looks at it. A branch that `create` makes exists from the first push on.
///
/// # Outputs
///
/// - `commits`: the id of each checkout's commit, by its `as`, or else its path.
/// - `branches`: in the same way, the name of the default branch, where none was asked for.
///
/// # Errors
///
/// - The repository cannot be reached, or does not let the host in.
/// - A branch, tag or commit is not there, and `create` is not set.
/// - There is something at a path already, or two checkouts overlap.
/// - The configuration names more than one of `branch`, `commit` and `tag`.
///
/// # Example
///
/// ```yaml
/// - uses: git-clone
///   as: clone
///   config:
///     repoURL: ${{ vars.repo }}
///     checkout:
///     - branch: main
///       path: ./source
///     - branch: stage/${{ ctx.stage }}
///       create: true
///       path: ./env
/// ```
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    /// The repository.
    #[serde(rename = "repoURL")]
    repo_url: String,
    /// What is checked out, and where. At least one.
    checkout: Vec<Wanted>,
    /// Who makes the commits of later steps, and signs them. Default: whom the host has named.
    #[serde(default)]
    author: Option<AuthorConfig>,
    /// Kargo's; refused when set, since the host's `GitSource` is given the certificates. Default: no.
    #[serde(default, rename = "insecureSkipTLSVerify")]
    insecure_skip_tls_verify: bool,
    /// Kargo's; refused when set. Default: no.
    #[serde(default)]
    recurse_submodules: bool,
    /// Without effect, since no file is fetched before a step reads it. Default: no.
    #[serde(default, rename = "blobless")]
    _blobless: bool,
}

/// One commit, and where it is put.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    /// Where in the workspace. Nothing may be there yet.
    path: String,
    /// The branch. Default: the repository's, when `commit` and `tag` are not there either.
    #[serde(default)]
    branch: Option<String>,
    /// The commit, by its full id. Default: none.
    #[serde(default)]
    commit: Option<String>,
    /// The tag. Default: none.
    #[serde(default)]
    tag: Option<String>,
    /// Whether a branch that is not there is made, without a file in it. Default: no, it is an error.
    #[serde(default)]
    create: bool,
    /// The name under which `commits` has it. Default: `path`.
    #[serde(default, rename = "as")]
    alias: Option<String>,
    /// The directories that `git-clear` empties; the rest of the branch stays. Default: all.
    #[serde(default)]
    sparse: Vec<String>,
}

/// What is checked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What<'a> {
    Default,
    Branch(&'a str),
    Tag(&'a str),
    Commit(ObjectId),
}

impl Wanted {
    fn what(&self) -> Result<What<'_>> {
        let what = match (given(self.branch.as_ref()), given(self.commit.as_ref()), given(self.tag.as_ref())) {
            (None, None, None) => What::Default,
            (Some(branch), None, None) => What::Branch(branch),
            (None, None, Some(tag)) => What::Tag(tag),
            (None, Some(commit), None) => match parse_id(commit) {
                Some(id) => What::Commit(id),
                None => return Err(invalid(format!("{commit:?} is no id of a commit; write it in full."))),
            },
            _ => {
                return Err(invalid(format!(
                    "The checkout at {:?} names more than one of branch, commit and tag.",
                    self.path
                )));
            }
        };
        if let What::Branch(name) | What::Tag(name) = what
            && let Some(fault) = branch_fault(name)
        {
            return Err(invalid(format!("{name:?} is no name of a branch or tag: {fault}.")));
        }
        if self.create && !matches!(what, What::Branch(_)) {
            return Err(invalid(format!("The checkout at {:?} can only create a branch; name it.", self.path)));
        }
        Ok(what)
    }

    /// Under which name its commit is put out.
    fn alias(&self) -> &str {
        given(self.alias.as_ref()).unwrap_or(&self.path)
    }

    fn sparse(&self) -> Vec<String> {
        self.sparse.iter().map(|directory| normal(directory)).filter(|directory| !directory.is_empty()).collect()
    }
}

fn check(config: &Config) -> Result<()> {
    let unsupported = |what: &str| Err(Error::new(ErrorKind::Unsupported, format!("{USES} does not support {what}.")));
    if config.insecure_skip_tls_verify {
        return unsupported(
            "insecureSkipTLSVerify; give the host's GitSource the CA's certificate with ca_certificates",
        );
    }
    if config.recurse_submodules {
        return unsupported("recurseSubmodules; clone the other repository with a step of its own");
    }
    if config.checkout.is_empty() {
        return Err(invalid(format!("{USES} needs at least one checkout.")));
    }
    let (mut aliases, mut paths) = (BTreeSet::new(), Vec::<String>::new());
    for wanted in &config.checkout {
        wanted.what()?;
        if !aliases.insert(wanted.alias()) {
            return Err(invalid(format!(
                "Two checkouts of {USES} are called {:?}; give one another \"as\".",
                wanted.alias()
            )));
        }
        let path = normal(&wanted.path);
        if let Some(other) = paths.iter().find(|other| overlap(other, &path)) {
            return Err(overlapping(&path, other));
        }
        paths.push(path);
    }
    Ok(())
}

#[async_trait]
impl Step for GitClone {
    fn validate(&self, config: &Value) -> Result<()> {
        check(&read_config(USES, config)?)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        read_template::<Config>(USES, config).map(drop)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        pointer.contains("/sparse/")
            || is_one_of(pointer, &["repoURL", "path", "branch", "commit", "tag", "as", "name", "email", "signingKey"])
    }

    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config: Config = read_config(USES, request.config)?;
        check(&config)?;
        let author = match &config.author {
            Some(who) => Author { identity: who.identity(&self.0.0.author.identity), signer: who.signer()? },
            None => self.0.0.author.clone(),
        };
        for wanted in &config.checkout {
            is_free(cx, request.workspace(), &wanted.path).await?;
        }
        let remote = self.0.0.access.remote(&config.repo_url)?;
        let message = format!("{} is checked out", remote.url());
        let outputs = cx.guard("clone a repository", clone(cx, request, &config, &author, remote)).await?;
        Ok(StepOutcome::Succeeded { outputs, message })
    }
}

async fn clone(
    cx: &Context,
    request: &StepRequest<'_>,
    config: &Config,
    author: &Author,
    remote: Remote,
) -> Result<Map<String, Value>> {
    let (mut session, key) = remote.open(cx, false).await?;
    let refs = refs(&mut session, config, request.restored).await?;
    let hash = session.hash().await?;
    // A checkout without a commit is a branch that is to be made.
    let mut found: Vec<(Option<String>, Option<ObjectId>)> = Vec::new();
    let draft = first_draft(cx, request, author);
    for wanted in &config.checkout {
        let there = find(&mut session, wanted, &refs, request.restored).await?;
        let recorded = match request.restored {
            Some(outputs) => Some(recorded(outputs, wanted.alias())?),
            None => None,
        };
        found.push(match recorded {
            Some(id) if wanted.create && First::new(&draft, hash, signature(request)).await?.commit.id == id => {
                (there.0, None)
            }
            Some(id) => (there.0, Some(id)),
            None => there,
        });
    }
    let ids: BTreeSet<ObjectId> = found.iter().filter_map(|(_, id)| *id).collect();
    let roots = match ids.is_empty() {
        true => Default::default(),
        false => session.roots(&ids.into_iter().collect::<Vec<_>>()).await?,
    };
    let origin = GitOrigin::new(remote, key, session).await?;
    let (mut outputs, mut branches) = (Map::new(), Map::new());
    // One for all branches that begin now, so that there is one signature too.
    let mut first: Option<First> = None;
    for (wanted, (branch, id)) in config.checkout.iter().zip(found) {
        let mut checkout = Checkout {
            origin: Arc::clone(&origin),
            branch,
            elsewhere: false,
            base: None,
            commits: Vec::new(),
            clean: Arc::default(),
            tags: Vec::new(),
            objects: Arc::default(),
            author: author.clone(),
            sparse: wanted.sparse(),
        };
        if let (What::Default, Some(branch)) = (wanted.what()?, &checkout.branch) {
            branches.insert(wanted.alias().to_owned(), json!(branch));
        }
        match id {
            Some(id) => {
                let tree = roots
                    .get(&id)
                    .copied()
                    .ok_or_else(|| invalid(format!("{id} of {} is no commit; name one.", origin.remote.url())))?;
                checkout.base = Some(Known { id, tree });
            }
            None => {
                let first = match &mut first {
                    Some(first) => first,
                    none => none.insert(First::new(&draft, hash, signature(request)).await?),
                };
                checkout.commits = vec![New { commit: first.commit, key: cx.key().to_owned(), draft: draft.clone() }];
                checkout.objects = Arc::clone(&first.objects);
            }
        }
        let head = checkout.head()?;
        let directory = checkout.directory(head);
        checkout.clean = Arc::new(directory.clone());
        outputs.insert(wanted.alias().to_owned(), json!(head.id.to_string()));
        checkout.mount(cx, request.workspace(), &wanted.path, directory).await?;
    }
    let mut outputs = Map::from_iter([("commits".to_owned(), Value::Object(outputs))]);
    if !branches.is_empty() {
        outputs.insert("branches".to_owned(), Value::Object(branches));
    }
    outputs.extend(first.and_then(|first| first.signature).map(|text| (SIGNATURE.to_owned(), json!(text))));
    Ok(outputs)
}

/// What the step put out when it succeeded, when it is run again after a restart.
type Restored<'a> = Option<&'a Map<String, Value>>;

/// The default branch, as the step put it out when it succeeded: it may be another by now.
fn recorded_branch(restored: Restored<'_>, alias: &str) -> Option<String> {
    Some(restored?.get("branches")?.get(alias)?.as_str()?.to_owned())
}

/// The refs that are asked for. One request for all.
async fn refs(session: &mut Session, config: &Config, restored: Restored<'_>) -> Result<Vec<RemoteRef>> {
    let mut names = BTreeSet::new();
    for wanted in &config.checkout {
        match wanted.what()? {
            What::Default if recorded_branch(restored, wanted.alias()).is_none() => names.insert("HEAD".to_owned()),
            What::Branch(branch) if restored.is_none() => names.insert(format!("refs/heads/{branch}")),
            What::Tag(tag) if restored.is_none() => names.insert(format!("refs/tags/{tag}")),
            _ => false,
        };
    }
    match names.is_empty() {
        true => Ok(Vec::new()),
        false => session.refs(&names.iter().map(String::as_str).collect::<Vec<_>>()).await,
    }
}

/// The branch and the commit that are wanted; no commit for a branch that is to be made.
async fn find(
    session: &mut Session,
    wanted: &Wanted,
    refs: &[RemoteRef],
    restored: Restored<'_>,
) -> Result<(Option<String>, Option<ObjectId>)> {
    let named = |name: &str| refs.iter().find(|each| each.name == name);
    Ok(match wanted.what()? {
        What::Default => {
            if let Some(branch) = recorded_branch(restored, wanted.alias()) {
                return Ok((Some(branch), None));
            }
            let head = named("HEAD");
            let branch = head.and_then(|head| head.target.as_deref()?.strip_prefix("refs/heads/"));
            match head {
                Some(head) => (branch.map(str::to_owned), Some(head.id)),
                None => {
                    let shown = session.shown();
                    let message = format!(
                        "The default branch of {shown} has no commit; name a branch, with create if it is new."
                    );
                    return Err(Error::new(ErrorKind::NotFound, message));
                }
            }
        }
        What::Branch(branch) => {
            let id = match named(&format!("refs/heads/{branch}")) {
                Some(found) => Some(found.id),
                None if wanted.create || restored.is_some() => None,
                // Asked again, so that the error can name branches that there are.
                None => Some(session.tip(branch).await?),
            };
            (Some(branch.to_owned()), id)
        }
        What::Tag(tag) => match named(&format!("refs/tags/{tag}")) {
            Some(found) => (None, Some(found.peeled.unwrap_or(found.id))),
            None if restored.is_some() => (None, None),
            None => {
                let message = format!("The repository {} has no tag {tag}.", session.shown());
                return Err(Error::new(ErrorKind::NotFound, message));
            }
        },
        What::Commit(id) => (None, Some(id)),
    })
}

/// The commit that the step put out when it succeeded.
fn recorded(outputs: &Map<String, Value>, alias: &str) -> Result<ObjectId> {
    let id = outputs.get("commits").and_then(|commits| commits.get(alias)?.as_str()).and_then(parse_id);
    id.ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, format!("What {USES} put out has no commit for {alias:?}; promote again."))
    })
}

fn first_draft(cx: &Context, request: &StepRequest<'_>, author: &Author) -> Draft {
    Draft {
        identity: author.identity.clone(),
        signer: author.signer.clone(),
        message: commit::message(request.promotion, cx.key(), Some("Initial commit")),
        at: request.started_at,
    }
}

/// The commit with which new branches begin, without files and without history.
struct First {
    commit: Known,
    objects: Arc<NewObjects>,
    signature: Option<String>,
}

impl First {
    async fn new(draft: &Draft, hash: gix::hash::Kind, signature: Option<&str>) -> Result<Self> {
        let mut objects = NewObjects::default();
        let tree = tree::store(Vec::new(), hash, &mut objects)?;
        let made = draft.make(tree, None, signature, &mut objects).await?;
        Ok(Self { commit: Known { id: made.id, tree }, objects: Arc::new(objects), signature: made.signature })
    }
}

/// Sees to it that a checkout at `path` hides nothing, and no other one.
async fn is_free(cx: &Context, workspace: &Workspace, path: &str) -> Result<()> {
    let at = normal(path);
    if let Some(other) = workspace.mounts().await.iter().find(|mount| overlap(&normal(mount), &at)) {
        return Err(overlapping(&at, other));
    }
    let taken = match workspace.node(cx, path).await? {
        None => false,
        Some(Node::Directory(_)) => workspace.list(cx, path).await?.is_some_and(|entries| !entries.is_empty()),
        Some(node) => node.kind() != EntryKind::Directory,
    };
    if taken {
        return Err(invalid(format!(
            "There is something at {path:?} already; check out to another path, or delete it first."
        )));
    }
    Ok(())
}

/// A path without what does not count in it; empty for the workspace itself.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn overlap(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        outer.is_empty() || inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
    };
    within(one, other) || within(other, one)
}

fn overlapping(path: &str, other: &str) -> Error {
    invalid(format!(
        "The checkouts at {path:?} and {other:?} are in each other's way; give each a directory of its own."
    ))
}
