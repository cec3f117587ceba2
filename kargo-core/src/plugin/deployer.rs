//! Make a target run a revision, and say when it does.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::Context;
use crate::error::Result;
use crate::name::Revision;
use crate::promotion::PromotionInfo;

/// Makes a target run a revision, and says what it runs and how healthy it is.
///
/// **Live means live.** [`Deployment::Live`] is returned only when the target runs the wanted revision and is healthy.
///
/// [`Deployer::deploy`] is called again and again until it ends: it starts the deployment when there is none
/// under [`Context::key`], and otherwise looks how it is getting on. It must not start it twice.
///
/// ```
/// use std::time::Duration;
///
/// use async_trait::async_trait;
/// use kargo_core::plugin::{Context, DeployRequest, Deployer, Deployment, Health, Observation, ObserveRequest};
/// use kargo_core::{Error, ErrorKind, Result};
///
/// /// A target that takes ten seconds for anything.
/// #[derive(Debug)]
/// struct Slow;
///
/// #[async_trait]
/// impl Deployer for Slow {
///     async fn deploy(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<Deployment> {
///         let revision = request.revision.clone().ok_or_else(|| {
///             Error::new(ErrorKind::InvalidInput, "There is no revision to deploy; put a writer before this step.")
///         })?;
///         let ready = request.started_at + Duration::from_secs(10);
///         if cx.now() < ready {
///             return Ok(Deployment::pending("warming up", Duration::from_secs(2)));
///         }
///         Ok(Deployment::Live { revision, evidence: "ten seconds are over".into() })
///     }
///
///     async fn observe(&self, _cx: &Context, _request: &ObserveRequest<'_>) -> Result<Observation> {
///         Ok(Observation::new(None, Health::Unknown, "this target does not say"))
///     }
/// }
/// ```
#[async_trait]
pub trait Deployer: Debug + Send + Sync + 'static {
    /// Checks a step's configuration when the pipeline is put together.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field and what it should be.
    fn validate(&self, config: &Value) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// Starts the deployment, or looks how it is getting on.
    async fn deploy(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<Deployment>;

    /// Says what the target runs, and how healthy it is. Changes nothing there. Besides by hosts it is asked where a stage
    /// [watches](crate::Stage::watch_health) its health; such a call has 90 seconds.
    async fn observe(&self, cx: &Context, request: &ObserveRequest<'_>) -> Result<Observation>;

    /// Stops the deployment under [`Context::key`], when it is still going on. Another's deployment is left alone.
    async fn abort(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<()> {
        let _ = (cx, request);
        Ok(())
    }
}

/// A deployment to make.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeployRequest<'a> {
    /// The promotion that makes it.
    pub promotion: &'a PromotionInfo,
    /// The step's configuration.
    pub config: &'a Value,
    /// The wanted revision: `revision` in the configuration, else what the nearest writer before this step made.
    pub revision: Option<Revision>,
    /// When the step was started, from the journal.
    pub started_at: Timestamp,
    /// What the last call wanted to remember. `None` in the first call, and when the last call's answer was lost.
    pub state: Option<&'a Value>,
}

impl<'a> DeployRequest<'a> {
    /// A deployment of `revision`.
    pub fn new(
        promotion: &'a PromotionInfo,
        config: &'a Value,
        revision: Option<Revision>,
        started_at: Timestamp,
    ) -> Self {
        Self { promotion, config, revision, started_at, state: None }
    }

    /// Hands over what the last call wanted to remember.
    #[must_use]
    pub fn with_state(mut self, state: Option<&'a Value>) -> Self {
        self.state = state;
        self
    }
}

/// How a deployment is getting on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Deployment {
    /// Not yet.
    Pending {
        /// Why, in words.
        reason: String,
        /// When to look again.
        check_after: Duration,
        /// What to hand to the next call. Journaled when it changes.
        state: Option<Value>,
    },
    /// The target runs the wanted revision and is healthy.
    Live {
        /// The revision it runs.
        revision: Revision,
        /// How that is known, in words.
        evidence: String,
    },
    /// It will not become live.
    Failed {
        /// Why, in words, with what to do.
        reason: String,
    },
}

impl Deployment {
    /// Not yet, without anything to remember.
    pub fn pending(reason: impl Into<String>, check_after: Duration) -> Self {
        Self::Pending { reason: reason.into(), check_after, state: None }
    }
}

/// A target to look at.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ObserveRequest<'a> {
    /// The configuration of the step that deploys there.
    pub config: &'a Value,
    /// The promotion whose result is looked at; none when a host asks of itself.
    pub promotion: Option<&'a PromotionInfo>,
    /// The revision that the deployment there ended with. A target that runs another one is not healthy, however well that does,
    /// unless the deployer knows that it holds this one.
    pub revision: Option<Revision>,
    /// The configurations of the later steps of that promotion which deployed through the same plug-in, in their order. Where one of them
    /// deployed to the same place, what it asked for there has taken the place of what this one did.
    pub later: Vec<&'a Value>,
}

impl<'a> ObserveRequest<'a> {
    /// Looks at the target that `config` names.
    pub fn new(config: &'a Value) -> Self {
        Self { config, promotion: None, revision: None, later: Vec::new() }
    }

    /// Says of which promotion the result is looked at, and which revision that made live.
    #[must_use]
    pub fn result_of(mut self, promotion: &'a PromotionInfo, revision: Option<Revision>) -> Self {
        self.promotion = Some(promotion);
        self.revision = revision;
        self
    }

    /// Says with which configurations later steps of the same promotion deployed.
    #[must_use]
    pub fn before(mut self, later: impl IntoIterator<Item = &'a Value>) -> Self {
        self.later = later.into_iter().collect();
        self
    }
}

/// What a target runs, and how healthy it is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Observation {
    /// The revision it runs, when it says.
    pub revision: Option<Revision>,
    /// How it is.
    pub health: Health,
    /// Why, in words.
    pub detail: String,
}

impl Observation {
    /// An observation.
    pub fn new(revision: Option<Revision>, health: Health, detail: impl Into<String>) -> Self {
        Self { revision, health, detail: detail.into() }
    }
}

/// How a target is. The words and their order, best first, are Kargo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Health {
    /// Well.
    Healthy,
    /// The question does not apply.
    NotApplicable,
    /// On its way.
    Progressing,
    /// Not known.
    Unknown,
    /// Not well.
    Unhealthy,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healthy => "Healthy",
            Self::NotApplicable => "NotApplicable",
            Self::Progressing => "Progressing",
            Self::Unknown => "Unknown",
            Self::Unhealthy => "Unhealthy",
        })
    }
}

#[async_trait]
impl<T: Deployer + ?Sized> Deployer for Arc<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    async fn deploy(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<Deployment> {
        (**self).deploy(cx, request).await
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest<'_>) -> Result<Observation> {
        (**self).observe(cx, request).await
    }

    async fn abort(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<()> {
        (**self).abort(cx, request).await
    }
}

#[async_trait]
impl<T: Deployer + ?Sized> Deployer for Box<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    async fn deploy(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<Deployment> {
        (**self).deploy(cx, request).await
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest<'_>) -> Result<Observation> {
        (**self).observe(cx, request).await
    }

    async fn abort(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<()> {
        (**self).abort(cx, request).await
    }
}
