//! `git-wait-for-pr`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kargo_core::Result;
use kargo_core::plugin::{Context, Step, StepDefaults, StepOutcome, StepRequest};
use serde_json::{Map, Value};

use super::config::{self, Wait, options};
use super::{missing, outputs, shown};
use crate::forge::{Forge, Forges, PullRequestState};
use crate::steps::is_one_of;

/// The name under which Kargo has it.
const STEP: &str = "git-wait-for-pr";

/// As in Kargo.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// People go on holiday.
const TIMEOUT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The step `git-wait-for-pr`: waits until somebody has merged a pull request.
///
/// The configuration has `repoURL` and `prNumber`, and may have `provider`, `pollInterval` (from 1 s to 1 h; default: 30 s) and
/// `insecureSkipTLSVerify`. The output, once it is merged, is `pr.id`, `pr.url`, `pr.open`, `pr.merged` and `commit`, by which it was merged. A pull request that is closed without being
/// merged fails the step. A `prNumber` of `null`, as after a `git-open-pr` that was skipped, skips it. It waits for 14 days unless its
/// entry says otherwise.
///
/// On abort the pull request is closed if this promotion opened it.
#[derive(Debug, Clone)]
pub struct WaitForPullRequest {
    forges: Forges,
}

impl WaitForPullRequest {
    /// The step, on these forges.
    pub fn new(forges: Forges) -> Self {
        Self { forges }
    }

    fn forge(&self, config: &Wait) -> Result<Arc<dyn Forge>> {
        self.forges.repository_with(&config.repository, options(config.provider, config.skip_tls_verification))
    }
}

#[async_trait]
impl Step for WaitForPullRequest {
    fn validate(&self, config: &Value) -> Result<()> {
        let (config, has_place): (Wait, bool) = config::read_early(STEP, config)?;
        if has_place { self.forge(&config).map(drop) } else { Ok(()) }
    }

    fn takes_text(&self, pointer: &str) -> bool {
        is_one_of(pointer, &["repoURL", "provider", "pollInterval"])
    }

    fn defaults(&self) -> StepDefaults {
        StepDefaults { timeout: TIMEOUT, ..StepDefaults::default() }
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config: Wait = config::read(STEP, request.config)?;
        let Some(number) = config.pr_number else {
            return Ok(StepOutcome::Skipped { outputs: Map::new(), reason: "no pull request was opened".to_owned() });
        };
        let forge = self.forge(&config)?;
        let pull = forge.pull_request(cx, number).await?;
        let shown = shown(forge.provider(), &pull);
        Ok(match pull.state {
            PullRequestState::Merged => {
                StepOutcome::Succeeded { outputs: outputs(&pull, true), message: format!("{shown} is merged") }
            }
            PullRequestState::Closed => {
                StepOutcome::Failed { reason: format!("{shown} was closed without being merged") }
            }
            PullRequestState::Open => StepOutcome::Running {
                reason: match missing(&pull) {
                    Some(missing) => format!("{shown} waits for {missing}"),
                    None => format!("{shown} waits for somebody to merge it"),
                },
                check_after: config.poll_interval.unwrap_or(POLL_INTERVAL),
                state: None,
            },
        })
    }

    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        let config: Wait = config::read(STEP, request.config)?;
        let Some(number) = config.pr_number else { return Ok(()) };
        super::close_ours(cx, &self.forge(&config)?, number, request.promotion).await
    }
}
