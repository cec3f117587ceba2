//! Whether an application lets a stage change it.
//!
//! The application's owner says so in an annotation. Argo CD's own permissions hold beside that; the annotation is there because one account
//! promotes for many stages.

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, PromotionInfo, Result};

use crate::client::Application;

/// The annotation: a list of `<project>:<stage>`, parted by commas. A pipeline is what Kargo calls a project.
pub(super) const AUTHORIZED: &str = "kargo.akuity.io/authorized-stage";

/// Whether the application lets the promotion's stage change it.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] when the annotation cannot be read: a pattern would let in more than its writer may have meant.
pub(super) fn is_authorized(app: &Application, promotion: &PromotionInfo) -> Result<bool> {
    let Some(list) = app.metadata.annotations.get(AUTHORIZED).and_then(|value| value.as_str()) else {
        return Ok(false);
    };
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let fault = |why: &str| {
            let text =
                format!("The annotation {AUTHORIZED} of application {} holds {entry:?}, {why}.", app.metadata.name);
            Error::new(ErrorKind::InvalidInput, text)
        };
        if entry.contains(['*', '?', '[', '{', '!']) {
            return Err(fault("which is a pattern; name each project and stage"));
        }
        let (project, stage) = entry.split_once(':').ok_or_else(|| fault("which is not <project>:<stage>"))?;
        if (project.trim(), stage.trim()) == (promotion.pipeline.as_str(), promotion.stage.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The refusal, with what to write.
pub(super) fn refusal(app: &Application, promotion: &PromotionInfo, cx: &Context) -> Error {
    cx.progress(format!("application {} does not let stage {} change it", app.metadata.name, promotion.stage));
    Error::new(
        ErrorKind::PermissionDenied,
        format!(
            "Application {} does not let stage {} of {} change it. Its owner can, with the annotation {AUTHORIZED}: \"{}:{}\".",
            app.metadata.name, promotion.stage, promotion.pipeline, promotion.pipeline, promotion.stage
        ),
    )
}
