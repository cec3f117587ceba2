//! The step `git-commit`: makes a commit of what is in a checkout.

use std::sync::Arc;

use async_trait::async_trait;
use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest, read_config, read_template};
use kargo_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::checkout::{Author, Checkout, Known, New};
use super::record::record;
use super::{AuthorConfig, SIGNATURE, is_one_of, signature};
use crate::commit::{self, Draft};
use crate::remote::parse_id;

const USES: &str = "git-commit";

#[derive(Debug)]
pub(super) struct GitCommit;

/// `git-commit`: makes a commit of what is in a checkout.
///
/// It carries promotion, freight, stage, actor and key in trailers, and the step's start as its time, so that a repeated call makes the
/// same commit. When nothing has changed, the step is skipped.
///
/// # Outputs
///
/// - `commit`: the id of the commit, or of the one that the checkout has when nothing has changed.
///
/// # Errors
///
/// - There is no checkout at `path`.
/// - After a restart it is another commit.
///
/// # Example
///
/// ```yaml
/// - uses: git-commit
///   as: commit
///   config:
///     path: ./env
///     message: Run ${{ imageFrom(vars.image).Tag }} in ${{ ctx.stage }}
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where the checkout is.
    path: String,
    /// The message.
    message: String,
    /// Who makes the commit. Default: whom `git-clone` or the host has named.
    #[serde(default)]
    author: Option<AuthorConfig>,
}

#[async_trait]
impl Step for GitCommit {
    fn validate(&self, config: &Value) -> Result<()> {
        read_config::<Config>(USES, config).map(drop)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        read_template::<Config>(USES, config).map(drop)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        is_one_of(pointer, &["path", "message", "name", "email", "signingKey"])
    }

    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config: Config = read_config(USES, request.config)?;
        let (directory, mut checkout) = Checkout::at(cx, request.workspace(), &config.path).await?;
        let head = checkout.head()?;
        let mut objects = (*checkout.objects).clone();
        let tree = record(cx, request.workspace(), &directory, &checkout.origin, &mut objects).await?;
        let outputs = |commit: Known| Map::from_iter([("commit".to_owned(), json!(commit.id.to_string()))]);
        if tree == head.tree {
            check_restored(request, head)?;
            let reason = format!("nothing in {} differs from its commit {}", config.path, head.id);
            return Ok(StepOutcome::Skipped { outputs: outputs(head), reason });
        }
        let mut author = checkout.author.clone();
        if let Some(who) = &config.author {
            author = Author { identity: who.identity(&author.identity), signer: who.signer()?.or(author.signer) };
        }
        let draft = Draft {
            identity: author.identity,
            signer: author.signer,
            message: commit::message(request.promotion, cx.key(), Some(&config.message)),
            at: request.started_at,
        };
        let made = draft.make(tree, Some(head.id), signature(request), &mut objects).await?;
        let commit = Known { id: made.id, tree };
        check_restored(request, commit)?;
        checkout.commits.push(New { commit, key: cx.key().to_owned(), draft });
        checkout.clean = Arc::new(directory.clone());
        checkout.keep(objects)?;
        checkout.mount(cx, request.workspace(), &config.path, directory).await?;
        let mut outputs = outputs(commit);
        outputs.extend(made.signature.map(|signature| (SIGNATURE.to_owned(), json!(signature))));
        Ok(StepOutcome::Succeeded { outputs, message: format!("made the commit {}", commit.id) })
    }
}

/// Sees to it that a restored checkout has the commit that it had: later steps have put its id into files and pull requests.
fn check_restored(request: &StepRequest<'_>, commit: Known) -> Result<()> {
    let recorded = request.restored.and_then(|outputs| outputs.get("commit")?.as_str());
    match recorded {
        Some(recorded) if parse_id(recorded) != Some(commit.id) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("After the restart the commit is {} and no longer {recorded}; promote again.", commit.id),
        )),
        _ => Ok(()),
    }
}
