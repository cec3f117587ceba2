//! One entry of a promotion's step list.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Context, Observation, ObserveRequest};
use crate::error::Result;
use crate::promotion::PromotionInfo;

/// One kind of entry of a promotion's step list. Writers and deployers are steps through adapters; a host registers more.
///
/// ```
/// use async_trait::async_trait;
/// use kargo_core::plugin::{Context, Step, StepOutcome, StepRequest};
/// use kargo_core::Result;
///
/// /// Tells a chat room.
/// #[derive(Debug)]
/// struct Announce;
///
/// #[async_trait]
/// impl Step for Announce {
///     async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
///         cx.progress(format!("{} goes to {}", request.promotion.freight, request.promotion.stage));
///         Ok(StepOutcome::succeeded())
///     }
/// }
/// ```
#[async_trait]
pub trait Step: Debug + Send + Sync + 'static {
    /// Checks a configuration when the pipeline is put together.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field and what it should be.
    fn validate(&self, config: &Value) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// How long the step may take and how many errors it may have, when its entry does not say.
    fn defaults(&self) -> StepDefaults {
        StepDefaults::default()
    }

    /// Does the work, or looks how it is getting on.
    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome>;

    /// Stops what [`Step::run`] set going, when the promotion is aborted while the step is unfinished.
    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        let _ = (cx, request);
        Ok(())
    }

    /// Says how what the step did is doing, once it has succeeded; nothing when there is nothing to look at, as with most steps. Changes
    /// nothing there. It is asked where a stage [watches](crate::Stage::watch_health) its health; such a call has 90 seconds.
    async fn observe(&self, cx: &Context, request: &ObserveRequest<'_>) -> Result<Option<Observation>> {
        let _ = (cx, request);
        Ok(None)
    }
}

/// Bounds for a step whose entry sets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepDefaults {
    /// How long it may take in all, over all its tries. Never endless.
    pub timeout: Duration,
    /// How many errors in a row end it, when another try could help.
    pub error_threshold: u32,
    /// How long one call may take.
    pub call_deadline: Duration,
}

impl Default for StepDefaults {
    /// 30 minutes in all, 10 errors in a row (which take about four minutes), 5 minutes a call.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30 * 60), error_threshold: 10, call_deadline: Context::DEFAULT_DEADLINE }
    }
}

/// A step to run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StepRequest<'a> {
    /// The promotion it belongs to.
    pub promotion: &'a PromotionInfo,
    /// The step's name in it.
    pub alias: &'a str,
    /// Its configuration.
    pub config: &'a Value,
    /// What earlier steps put out, by alias, in the order in which they ran.
    pub outputs: &'a [(String, Map<String, Value>)],
    /// When the step was started, from the journal.
    pub started_at: Timestamp,
    /// Whether an earlier call for this step may have got through: after a restart, an error or a deadline.
    pub resumed: bool,
    /// What the last call wanted to remember. `None` in the first call, and when the last call's answer was lost.
    pub state: Option<&'a Value>,
}

impl<'a> StepRequest<'a> {
    /// A first call, for the tests of plug-ins.
    pub fn new(promotion: &'a PromotionInfo, alias: &'a str, config: &'a Value, started_at: Timestamp) -> Self {
        Self { promotion, alias, config, outputs: &[], started_at, resumed: false, state: None }
    }

    /// Hands over what earlier steps put out.
    #[must_use]
    pub fn with_outputs(mut self, outputs: &'a [(String, Map<String, Value>)]) -> Self {
        self.outputs = outputs;
        self
    }

    /// The outputs as one map, by alias.
    pub fn outputs_by_alias(&self) -> BTreeMap<&str, &Map<String, Value>> {
        self.outputs.iter().map(|(alias, outputs)| (alias.as_str(), outputs)).collect()
    }
}

/// How a call of a step ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StepOutcome {
    /// Done.
    Succeeded {
        /// For later steps.
        outputs: Map<String, Value>,
        /// For people.
        message: String,
    },
    /// There was nothing to do; counts as success.
    Skipped {
        /// For later steps.
        outputs: Map<String, Value>,
        /// Why.
        reason: String,
    },
    /// A verdict: this will not succeed.
    Failed {
        /// Why, in words, with what to do.
        reason: String,
    },
    /// Not yet.
    Running {
        /// What it waits for.
        reason: String,
        /// When to call again.
        check_after: Duration,
        /// What to hand to the next call. Journaled when it changes.
        state: Option<Value>,
    },
}

impl StepOutcome {
    /// Done, without outputs.
    pub fn succeeded() -> Self {
        Self::Succeeded { outputs: Map::new(), message: String::new() }
    }
}

#[async_trait]
impl<T: Step + ?Sized> Step for Arc<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    fn defaults(&self) -> StepDefaults {
        (**self).defaults()
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        (**self).run(cx, request).await
    }

    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        (**self).abort(cx, request).await
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest<'_>) -> Result<Option<Observation>> {
        (**self).observe(cx, request).await
    }
}

#[async_trait]
impl<T: Step + ?Sized> Step for Box<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    fn defaults(&self) -> StepDefaults {
        (**self).defaults()
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        (**self).run(cx, request).await
    }

    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        (**self).abort(cx, request).await
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest<'_>) -> Result<Option<Observation>> {
        (**self).observe(cx, request).await
    }
}
