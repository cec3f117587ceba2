//! May these artifacts become freight by themselves?

use std::fmt;
use std::sync::Arc;

use crate::artifact::Artifact;
use crate::error::{Error, ErrorKind, Result};

/// Says whether the newest artifacts of a warehouse belong together, so that no freight is made of half a release.
///
/// A function of the artifacts is one. It is asked after each look that found a set which is not freight yet, on the engine's own
/// task: it must only compare what it is given, without I/O, and the same artifacts must get the same answer. A person who assembles
/// freight may go against it.
///
/// ```
/// use kargo_core::plugin::{Criterion, Judgement};
/// use kargo_core::{Artifact, Plugins, Subscription, Warehouse};
/// use serde_json::json;
///
/// let same_version = |artifacts: &[Artifact]| {
///     let alike = artifacts.windows(2).all(|pair| pair[0].version() == pair[1].version());
///     Ok(Judgement::of(alike, "front end and back end differ"))
/// };
/// let plugins = Plugins::builder().criterion("same-version", same_version).build();
/// let warehouse = Warehouse::new("main")
///     .subscribe(Subscription::new("image", json!({"repoURL": "ghcr.io/acme/frontend"})))
///     .subscribe(Subscription::new("image", json!({"repoURL": "ghcr.io/acme/backend"})))
///     .when("same-version");
/// # let _ = (plugins, warehouse);
/// ```
pub trait Criterion: Send + Sync + 'static {
    /// Judges the newest artifact of each subscription, in the order of the warehouse's subscriptions.
    ///
    /// # Errors
    /// When it cannot tell. No freight is made, and the warehouse counts as failing.
    fn judge(&self, artifacts: &[Artifact]) -> Result<Judgement>;
}

impl fmt::Debug for dyn Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Functions have nothing to show.
        f.write_str("Criterion")
    }
}

impl<F> Criterion for F
where
    F: Fn(&[Artifact]) -> Result<Judgement> + Send + Sync + 'static,
{
    fn judge(&self, artifacts: &[Artifact]) -> Result<Judgement> {
        self(artifacts)
    }
}

impl Criterion for Arc<dyn Criterion> {
    fn judge(&self, artifacts: &[Artifact]) -> Result<Judgement> {
        (**self).judge(artifacts)
    }
}

/// What a [`Criterion`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The artifacts may become freight.
    Satisfied,
    /// They may not, for this reason. That is no error: a later look may find what is missing.
    Unsatisfied(String),
}

impl Judgement {
    /// Satisfied when `satisfied`, else unsatisfied for `reason`.
    pub fn of(satisfied: bool, reason: impl Into<String>) -> Self {
        if satisfied { Self::Satisfied } else { Self::Unsatisfied(reason.into()) }
    }
}

/// Asks the criterion called `name`; a panic in it is an error of the plug-in, not of the engine.
pub(super) fn ask(name: &str, criterion: &dyn Criterion, artifacts: &[Artifact]) -> Result<Judgement> {
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| criterion.judge(artifacts)));
    judged.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        let message = format!(
            "The criterion {name:?} panicked: {text}. This is a defect of the criterion; report it to its author."
        );
        Err(Error::new(ErrorKind::Panicked, message))
    })
}
