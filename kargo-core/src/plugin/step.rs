//! One entry of a promotion's step list.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Context, Deployer, Record};
use crate::approval::Answer;
use crate::error::Result;
use crate::promotion::PromotionInfo;
use crate::workspace::Workspace;

/// One kind of entry of a promotion's step list. Writers, deployers and verifiers are steps through adapters; a host
/// registers more.
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
    /// Checks a configuration without expressions: when the pipeline is put together, or when its expressions have been evaluated.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] that names the field and what it should be.
    fn validate(&self, config: &Value) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// Checks a configuration in which expressions stand that are yet to be evaluated, when the pipeline is put together: what can be
    /// wrong with it whatever they give, such as a field that there is not. Default: nothing.
    ///
    /// # Errors
    /// As for [`Step::validate`].
    fn validate_template(&self, config: &Value) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// How long the step may take and how many errors it may have, when its entry does not say.
    fn defaults(&self) -> StepDefaults {
        StepDefaults::default()
    }

    /// Whether a field of the configuration takes a text, by its JSON pointer (`/updates/0/value`). There the text that an expression
    /// gives stays a text; elsewhere `1.10` becomes a number, as in Kargo. Default: no field does.
    fn takes_text(&self, pointer: &str) -> bool {
        let _ = pointer;
        false
    }

    /// Whether the step, having succeeded, must be run again to bring back what it did to the promotion's [`Workspace`] when that was lost,
    /// by a restart or because another host has taken over. It is then called with [`StepRequest::restored`], and what it returns is
    /// ignored unless it is an error. That it would be called with another configuration than before, since an expression has come to
    /// something else, the engine notices itself; the promotion then ends with an error. Default: no.
    fn restores(&self) -> bool {
        false
    }

    /// What a stage's [health watch](crate::HealthWatch) asks how the target is, after the step has succeeded there: with the step's
    /// configuration, and the output `revision`. Default: nothing.
    fn deployer(&self) -> Option<Arc<dyn Deployer>> {
        None
    }

    /// Does the work, or looks how it is getting on.
    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome>;

    /// Stops what [`Step::run`] set going, when the promotion is aborted while the step is unfinished.
    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        let _ = (cx, request);
        Ok(())
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

/// A step to run. Its `Debug` leaves out what may hold secrets.
#[derive(Clone)]
#[non_exhaustive]
pub struct StepRequest<'a> {
    /// The promotion it belongs to.
    pub promotion: &'a PromotionInfo,
    /// The step's name in it.
    pub alias: &'a str,
    /// Its configuration, with the values that its expressions gave. It may hold secrets.
    pub config: &'a Value,
    /// What earlier steps put out, by alias, in the order in which they ran.
    pub outputs: &'a [(String, Map<String, Value>)],
    /// When the step was started, from the journal.
    pub started_at: Timestamp,
    /// Whether an earlier call for this step may have got through: after a restart, an error or a deadline.
    pub resumed: bool,
    /// What the last call wanted to remember. `None` in the first call, and when the last call's answer was lost.
    pub state: Option<&'a Value>,
    /// What people answered so far whom the step asks for approval: see [`crate::approval`]. Of each person the last answer.
    pub answers: &'a [Answer],
    /// What the step put out when it succeeded, if this call is to bring back what it did to the workspace and nothing else: see
    /// [`Step::restores`]. It must then have no effect outside the workspace, and do there what it did before.
    pub restored: Option<&'a Map<String, Value>>,
    pub(crate) workspace: Workspace,
    pub(crate) records: Arc<Mutex<Vec<Record>>>,
    /// Masks what it puts out as the journal does.
    pub(crate) journaled: Option<Journaled<'a>>,
}

/// Outputs as they come to stand in the journal.
pub(crate) type Journaled<'a> = &'a (dyn Fn(Map<String, Value>) -> Map<String, Value> + Send + Sync);

impl Debug for StepRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepRequest")
            .field("promotion", &self.promotion.id)
            .field("alias", &self.alias)
            .field("started_at", &self.started_at)
            .field("resumed", &self.resumed)
            .finish_non_exhaustive()
    }
}

impl<'a> StepRequest<'a> {
    /// A first call, for the tests of plug-ins.
    pub fn new(promotion: &'a PromotionInfo, alias: &'a str, config: &'a Value, started_at: Timestamp) -> Self {
        Self {
            promotion,
            alias,
            config,
            outputs: &[],
            started_at,
            resumed: false,
            state: None,
            answers: &[],
            restored: None,
            workspace: Workspace::new(),
            records: Arc::default(),
            journaled: None,
        }
    }

    /// The files that the steps of the promotion work on, as those before this one have left them: also in a second call of this one,
    /// whatever the first did there. What it leaves counts when it succeeds. In [`Step::abort`] it is empty.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Has the journal keep `record`, in the same instant as the step's success; when the step does not succeed, it is forgotten. The step
    /// fails when it names what does not exist, an alias that is taken, or more than is kept.
    pub fn record(&self, record: Record) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    /// What was recorded, for the tests of steps.
    pub fn recorded(&self) -> Vec<Record> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands over the workspace.
    #[must_use]
    pub fn with_workspace(mut self, workspace: &Workspace) -> Self {
        self.workspace = workspace.clone();
        self
    }

    /// Makes it a call that brings back what the step did to the workspace.
    #[must_use]
    pub fn restoring(mut self, outputs: &'a Map<String, Value>) -> Self {
        self.restored = Some(outputs);
        self
    }

    /// Whether this call is to bring back what the step did, and has come to other outputs than then. The journal has no secrets, so they
    /// are compared without.
    pub(crate) fn deviates(&self, outputs: &Map<String, Value>) -> bool {
        self.restored.is_some_and(|before| match self.journaled {
            Some(journaled) => journaled(outputs.clone()) != *before,
            None => outputs != before,
        })
    }

    /// Hands over what people answered.
    #[must_use]
    pub fn with_answers(mut self, answers: &'a [Answer]) -> Self {
        self.answers = answers;
        self
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

    fn validate_template(&self, config: &Value) -> Result<()> {
        (**self).validate_template(config)
    }

    fn defaults(&self) -> StepDefaults {
        (**self).defaults()
    }

    fn takes_text(&self, pointer: &str) -> bool {
        (**self).takes_text(pointer)
    }

    fn restores(&self) -> bool {
        (**self).restores()
    }

    fn deployer(&self) -> Option<Arc<dyn Deployer>> {
        (**self).deployer()
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        (**self).run(cx, request).await
    }

    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        (**self).abort(cx, request).await
    }
}

#[async_trait]
impl<T: Step + ?Sized> Step for Box<T> {
    fn validate(&self, config: &Value) -> Result<()> {
        (**self).validate(config)
    }

    fn validate_template(&self, config: &Value) -> Result<()> {
        (**self).validate_template(config)
    }

    fn defaults(&self) -> StepDefaults {
        (**self).defaults()
    }

    fn takes_text(&self, pointer: &str) -> bool {
        (**self).takes_text(pointer)
    }

    fn restores(&self) -> bool {
        (**self).restores()
    }

    fn deployer(&self) -> Option<Arc<dyn Deployer>> {
        (**self).deployer()
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        (**self).run(cx, request).await
    }

    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        (**self).abort(cx, request).await
    }
}
