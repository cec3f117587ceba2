//! `compose-output` and `fail`.

use async_trait::async_trait;

use super::config;
use super::typed::{Builtin, failed};
use crate::error::Result;
use crate::plugin::{Context, StepOutcome, StepRequest};

#[derive(Debug)]
pub(super) struct ComposeOutput;

#[async_trait]
impl Builtin for ComposeOutput {
    const USES: &'static str = "compose-output";
    const CHANGES_FILES: bool = false;
    type Config = config::ComposeOutput;

    async fn run(&self, _: &Context, config: config::ComposeOutput, _: &StepRequest<'_>) -> Result<StepOutcome> {
        Ok(StepOutcome::Succeeded { outputs: config.outputs, message: String::new() })
    }
}

#[derive(Debug)]
pub(super) struct Fail;

#[async_trait]
impl Builtin for Fail {
    const USES: &'static str = "fail";
    const CHANGES_FILES: bool = false;
    type Config = config::Fail;

    async fn run(&self, _: &Context, config: config::Fail, _: &StepRequest<'_>) -> Result<StepOutcome> {
        failed(match config.message.filter(|message| !message.is_empty()) {
            Some(message) => format!("failed: {message}"),
            None => "failed".to_owned(),
        })
    }
}
