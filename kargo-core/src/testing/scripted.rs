//! A plug-in of any kind that plays a script.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::name::{FreightId, PromotionId, StageName};
use crate::plugin::{
    Context, DeployRequest, Deployer, Deployment, Health, Observation, ObserveRequest, Step, StepOutcome, StepRequest,
    Verdict, Verifier, VerifyRequest, WriteRequest, Writer, Written,
};
use crate::promotion::PromotionInfo;

/// How a scripted plug-in answers one call.
#[derive(Debug, Clone)]
pub enum Play {
    /// All is well.
    Succeed,
    /// There is nothing to do. Verifiers pass.
    Skip,
    /// A verdict: no.
    Fail(String),
    /// Cannot be said. Only verifiers say so; others fail.
    Inconclusive(String),
    /// Not yet; look again after so long.
    Wait(Duration),
    /// An error of this kind.
    Error(ErrorKind, String),
    /// Panics.
    Panic,
    /// Never returns.
    Hang,
    /// Succeeds with this output, named `value`.
    Output(Value),
}

/// One call that a scripted plug-in got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptedCall {
    /// The context's key.
    pub key: String,
    /// The promotion.
    pub promotion: PromotionId,
    /// The stage.
    pub stage: StageName,
    /// The freight.
    pub freight: FreightId,
    /// Whether an earlier call may have got through; `false` for plug-ins that are not told.
    pub resumed: bool,
}

/// A step, writer, deployer and verifier in one, which answers by a script: first what was queued, then always its standing
/// answer. Clones share script and calls.
///
/// ```
/// use kargo_core::testing::{Play, Scripted};
///
/// let flaky = Scripted::succeeding().then(Play::Error(kargo_core::ErrorKind::Unavailable, "The target is away.".into()));
/// assert!(flaky.calls().is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct Scripted(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    standing: Play,
    queued: VecDeque<Play>,
    calls: Vec<ScriptedCall>,
    aborts: Vec<String>,
}

impl Scripted {
    /// Answers everything with `standing`.
    pub fn always(standing: Play) -> Self {
        let (queued, calls, aborts) = (VecDeque::new(), Vec::new(), Vec::new());
        Self(Arc::new(Mutex::new(Inner { standing, queued, calls, aborts })))
    }

    /// Succeeds always.
    pub fn succeeding() -> Self {
        Self::always(Play::Succeed)
    }

    /// Queues an answer.
    #[must_use]
    pub fn then(self, play: Play) -> Self {
        self.lock().queued.push_back(play);
        self
    }

    /// Changes the standing answer.
    pub fn set(&self, standing: Play) {
        self.lock().standing = standing;
    }

    /// The calls so far, oldest first.
    pub fn calls(&self) -> Vec<ScriptedCall> {
        self.lock().calls.clone()
    }

    /// The keys of the calls to stop something, oldest first.
    pub fn aborts(&self) -> Vec<String> {
        self.lock().aborts.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays the next answer; those that are errors are played out here.
    async fn play(&self, cx: &Context, promotion: &PromotionInfo, resumed: bool) -> Result<Play> {
        let play = {
            let mut inner = self.lock();
            inner.calls.push(ScriptedCall {
                key: cx.key().to_owned(),
                promotion: promotion.id.clone(),
                stage: promotion.stage.clone(),
                freight: promotion.freight.id().clone(),
                resumed,
            });
            inner.queued.pop_front().unwrap_or_else(|| inner.standing.clone())
        };
        match play {
            Play::Error(kind, message) => Err(Error::new(kind, message)),
            // Without the process's hook, so that tests of panics are not noisy.
            Play::Panic => std::panic::resume_unwind(Box::new("the script says so")),
            Play::Hang => pending().await,
            play => Ok(play),
        }
    }
}

#[async_trait]
impl Step for Scripted {
    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        Ok(match self.play(cx, request.promotion, request.resumed).await? {
            Play::Skip => StepOutcome::Skipped { outputs: Map::new(), reason: "the script says so".into() },
            Play::Fail(reason) | Play::Inconclusive(reason) => StepOutcome::Failed { reason },
            Play::Wait(check_after) => {
                StepOutcome::Running { reason: "the script says so".into(), check_after, state: None }
            }
            Play::Output(value) => StepOutcome::Succeeded {
                outputs: Map::from_iter([("value".to_owned(), value)]),
                message: String::new(),
            },
            _ => StepOutcome::succeeded(),
        })
    }

    async fn abort(&self, cx: &Context, _request: &StepRequest<'_>) -> Result<()> {
        self.lock().aborts.push(cx.key().to_owned());
        Ok(())
    }
}

#[async_trait]
impl Writer for Scripted {
    async fn write(&self, cx: &Context, request: &WriteRequest<'_>) -> Result<Written> {
        let revision = format!("revision-of-{}", request.promotion.freight.id().short());
        Ok(match self.play(cx, request.promotion, request.resumed).await? {
            Play::Skip => Written::new(revision, false),
            Play::Fail(reason) | Play::Inconclusive(reason) => {
                return Err(Error::new(ErrorKind::InvalidInput, reason));
            }
            Play::Output(value) => Written::new(revision, true).output("value", value),
            _ => Written::new(revision, true),
        })
    }
}

#[async_trait]
impl Deployer for Scripted {
    async fn deploy(&self, cx: &Context, request: &DeployRequest<'_>) -> Result<Deployment> {
        let revision = request.revision.clone().unwrap_or_else(|| "none".into());
        Ok(match self.play(cx, request.promotion, false).await? {
            Play::Fail(reason) | Play::Inconclusive(reason) => Deployment::Failed { reason },
            Play::Wait(check_after) => Deployment::pending("the script says so", check_after),
            _ => Deployment::Live { revision, evidence: "the script says so".into() },
        })
    }

    async fn observe(&self, _cx: &Context, _request: &ObserveRequest<'_>) -> Result<Observation> {
        Ok(Observation::new(None, Health::Healthy, "the script says so"))
    }

    async fn abort(&self, cx: &Context, _request: &DeployRequest<'_>) -> Result<()> {
        self.lock().aborts.push(cx.key().to_owned());
        Ok(())
    }
}

#[async_trait]
impl Verifier for Scripted {
    async fn verify(&self, cx: &Context, request: &VerifyRequest<'_>) -> Result<Verdict> {
        Ok(match self.play(cx, request.promotion, false).await? {
            Play::Fail(reason) => Verdict::fail(reason),
            Play::Inconclusive(reason) => Verdict::inconclusive(reason),
            Play::Wait(check_after) => Verdict::pending("the script says so", check_after),
            _ => Verdict::pass("the script says so"),
        })
    }
}
