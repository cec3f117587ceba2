//! Writers, deployers and verifiers as steps.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{
    Context, DeployRequest, Deployer, Deployment, Step, StepOutcome, StepRequest, Verdict, Verifier, VerifyRequest,
    WriteRequest, Writer,
};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Revision, VerificationId};

/// The output under which a writer's revision reaches the deployer after it.
const REVISION: &str = "revision";

#[derive(Debug)]
pub(super) struct WriteStep<W>(pub(super) W);

#[async_trait]
impl<W: Writer> Step for WriteStep<W> {
    fn validate(&self, config: &Value) -> Result<()> {
        self.0.validate(config)
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let write = WriteRequest {
            promotion: request.promotion,
            config: request.config,
            started_at: request.started_at,
            resumed: request.resumed,
        };
        let written = self.0.write(cx, &write).await?;
        let mut outputs = written.outputs;
        outputs.insert(REVISION.into(), written.revision.as_str().into());
        outputs.insert("changed".into(), written.changed.into());
        Ok(if written.changed {
            StepOutcome::Succeeded { outputs, message: format!("wrote revision {}", written.revision) }
        } else {
            StepOutcome::Skipped {
                outputs,
                reason: format!("all is already as wanted at revision {}", written.revision),
            }
        })
    }
}

#[derive(Debug)]
pub(super) struct DeployStep(pub(super) Arc<dyn Deployer>);

impl DeployStep {
    fn request<'a>(request: &StepRequest<'a>) -> Result<DeployRequest<'a>> {
        let configured = match request.config.get(REVISION) {
            None | Some(Value::Null) => None,
            Some(Value::String(revision)) => Some(revision.as_str()),
            Some(other) => {
                let message = format!("The revision to deploy is {other}, which is no text; put it in quotes.");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
        };
        let written = || request.outputs.iter().rev().find_map(|(_, outputs)| outputs.get(REVISION)?.as_str());
        Ok(DeployRequest {
            promotion: request.promotion,
            config: request.config,
            revision: configured.or_else(written).map(Revision::from),
            started_at: request.started_at,
            state: request.state,
        })
    }
}

#[async_trait]
impl Step for DeployStep {
    fn validate(&self, config: &Value) -> Result<()> {
        self.0.validate(config)
    }

    fn deployer(&self) -> Option<Arc<dyn Deployer>> {
        Some(Arc::clone(&self.0))
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        Ok(match self.0.deploy(cx, &Self::request(request)?).await? {
            Deployment::Pending { reason, check_after, state } => StepOutcome::Running { reason, check_after, state },
            Deployment::Live { revision, evidence } => {
                let mut outputs = Map::new();
                outputs.insert(REVISION.into(), revision.as_str().into());
                StepOutcome::Succeeded { outputs, message: format!("live at {revision}: {evidence}") }
            }
            Deployment::Failed { reason } => StepOutcome::Failed { reason },
        })
    }

    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        self.0.abort(cx, &Self::request(request)?).await
    }
}

/// A verifier that is asked before what comes after it: a gate. What is not good ends the promotion there.
#[derive(Debug)]
pub(super) struct VerifyStep(pub(super) Arc<dyn Verifier>);

#[async_trait]
impl Step for VerifyStep {
    fn validate(&self, config: &Value) -> Result<()> {
        self.0.validate(config)
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        // One of its own, the same in each call, and never that of the stage's verification, which is `<promotion>.v<n>`.
        let id = VerificationId::from(format!("{}.step.{}", request.promotion.id, request.alias));
        let question = VerifyRequest::new(&id, request.promotion, request.config, request.started_at);
        Ok(match self.0.verify(cx, &question.with_state(request.state)).await? {
            Verdict::Pass { evidence } => {
                let outputs = Map::from_iter([("evidence".to_owned(), evidence.as_str().into())]);
                StepOutcome::Succeeded { outputs, message: evidence }
            }
            Verdict::Fail { reason } => StepOutcome::Failed { reason },
            // Nobody can be asked in the middle of a promotion, and what is not known to be good does not pass.
            Verdict::Inconclusive { reason } => {
                StepOutcome::Failed { reason: format!("it cannot be said whether this is good: {reason}") }
            }
            Verdict::Pending { reason, check_after, state } => StepOutcome::Running { reason, check_after, state },
        })
    }
}
