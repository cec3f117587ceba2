//! The step `git-tag`: makes an annotated tag of the commit on which a checkout stands.

use async_trait::async_trait;
use gix::objs::{Kind, WriteTo as _};
use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest, read_config, read_template};
use kargo_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::checkout::{Checkout, NewTag};
use super::{invalid, is_one_of};
use crate::update::branch_fault;

const USES: &str = "git-tag";

#[derive(Debug)]
pub(super) struct GitTag;

/// `git-tag`: makes an annotated tag of the commit on which a checkout stands. `git-push` sends it.
///
/// Fields that are not known are let pass, as in Kargo.
///
/// # Outputs
///
/// - `commit`: the id of the commit that is tagged.
///
/// # Errors
///
/// - There is no checkout at `path`.
/// - There is a tag of this name already, and `force` is not set: the step fails.
///
/// # Example
///
/// ```yaml
/// - uses: git-tag
///   config:
///     path: ./env
///     tag: ${{ ctx.stage }}-${{ imageFrom(vars.image).Tag }}
///     message: Runs in ${{ ctx.stage }}
/// - uses: git-push
///   config:
///     path: ./env
///     tag: ${{ ctx.stage }}-${{ imageFrom(vars.image).Tag }}
/// ```
#[derive(Debug, Deserialize)]
struct Config {
    /// Where the checkout is.
    path: String,
    /// The tag's name.
    tag: String,
    /// The tag's message.
    message: String,
    /// Whether a tag of this name that the checkout has is made anew. Default: no.
    #[serde(default)]
    force: bool,
}

fn check(config: &Config) -> Result<()> {
    match branch_fault(&config.tag) {
        Some(fault) => Err(invalid(format!("{:?} is no name of a tag: {fault}.", config.tag))),
        None => Ok(()),
    }
}

#[async_trait]
impl Step for GitTag {
    fn validate(&self, config: &Value) -> Result<()> {
        check(&read_config(USES, config)?)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        read_template::<Config>(USES, config).map(drop)
    }

    fn takes_text(&self, pointer: &str) -> bool {
        is_one_of(pointer, &["path", "tag", "message"])
    }

    fn restores(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config: Config = read_config(USES, request.config)?;
        check(&config)?;
        let (directory, mut checkout) = Checkout::at(cx, request.workspace(), &config.path).await?;
        let head = checkout.head()?;
        let message: String = config.message.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect();
        let tag = gix::objs::Tag {
            target: head.id,
            target_kind: Kind::Commit,
            name: config.tag.as_str().into(),
            // From the journal, so that a replay makes the same tag.
            tagger: Some(checkout.author.identity.at(request.started_at)),
            message: format!("{}\n", message.trim()).into(),
            signature: None,
        };
        let mut data = Vec::new();
        tag.write_to(&mut data)
            .map_err(|error| Error::new(ErrorKind::InvalidInput, "The tag cannot be written.").because(error))?;
        let mut objects = (*checkout.objects).clone();
        let id = objects.insert(checkout.origin.hash, Kind::Tag, data)?;
        if !config.force {
            let here = checkout.tags.iter().find(|tag| tag.name == config.tag).map(|tag| tag.id);
            let there = match request.restored {
                Some(_) => None,
                None => cx.guard("look for a tag", tag_on_server(cx, &checkout, &config.tag)).await?,
            };
            if let Some(other) = here.or(there).filter(|other| *other != id) {
                let url = checkout.origin.remote.url();
                let reason = format!(
                    "there is a tag {} in {url} already, {other}; choose another name, or leave the step out with an if",
                    config.tag
                );
                return Ok(StepOutcome::Failed { reason });
            }
        }
        checkout.tags.retain(|tag| tag.name != config.tag);
        let (name, target) = (config.tag.clone(), head.id);
        checkout.tags.push(NewTag { name, id, target, is_left_behind: false });
        checkout.keep(objects)?;
        checkout.mount(cx, request.workspace(), &config.path, directory).await?;
        let outputs = Map::from_iter([("commit".to_owned(), json!(head.id.to_string()))]);
        Ok(StepOutcome::Succeeded { outputs, message: format!("{} is tagged {}", head.id, config.tag) })
    }
}

/// What the tag points at in the repository, when there is one.
async fn tag_on_server(cx: &Context, checkout: &Checkout, tag: &str) -> Result<Option<gix::ObjectId>> {
    let name = format!("refs/tags/{tag}");
    let refs = checkout.origin.remote.session(cx).await?.refs(&[&name]).await?;
    Ok(refs.into_iter().find(|each| each.name == name).map(|each| each.id))
}
