//! Pushing a tag.

use kargo_core::plugin::{Context, StepOutcome};
use kargo_core::{Error, ErrorKind, Result, Retry};

use super::{Config, again, pushed};
use crate::remote::{Push, PushOutcome, RefUpdate};
use crate::steps::checkout::Checkout;
use crate::steps::invalid;
use crate::turn::pause;
use crate::writer::{LOST, REFUSALS, refused, unsettled};

pub(super) async fn push_tag(cx: &Context, config: &Config, name: &str, checkout: &Checkout) -> Result<StepOutcome> {
    let url = checkout.origin.remote.url();
    let Some(tag) = checkout.tags.iter().find(|tag| tag.name == name) else {
        return Err(invalid(format!("The checkout {:?} has no tag {name}; make it with git-tag first.", config.path)));
    };
    if tag.is_left_behind {
        let reason = format!(
            "the tag {name} is of a commit that is on no branch: it was made again on top of what others had pushed, or by the server; put \
             git-tag behind the push of its branch"
        );
        return Ok(StepOutcome::Failed { reason });
    }
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
                let error = unsettled(error).with("tag", name);
                if lost >= LOST || matches!(error.retry(), Retry::After(_)) {
                    return Err(error);
                }
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::new(ErrorKind::Conflict, format!("The tag {name} was not pushed to {url}."))))
}
