//! `git-merge-pr`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kargo_core::plugin::{Context, Step, StepDefaults, StepOutcome, StepRequest};
use kargo_core::{Result, Retry};
use serde_json::{Map, Value, json};

use super::config::{self, Merge, options};
use super::{missing, shown};
use crate::forge::{Forge, Forges, MergeOutcome, MergeRequest, PullRequest, PullRequestState, Readiness};
use crate::steps::is_one_of;

/// The name under which Kargo has it.
const STEP: &str = "git-merge-pr";

/// As in Kargo.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Builds and reviews take their time, when the step is to wait for them.
const TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a forge may take to see whether a pull request can be merged before that counts as no.
const CHECKING: Duration = Duration::from_secs(2 * 60);

/// Under which the time is remembered from which that counts.
const SEEN: &str = "checkingSince";

/// The step `git-merge-pr`: merges a pull request.
///
/// The configuration has `repoURL` and `prNumber`, and may have `mergeMethod` (in the provider's words, see
/// [`crate::Provider::merge_methods`]; default: as the repository is set up), `wait`, `provider`, `pollInterval` (from 1 s to 1 h;
/// default: 10 s) and `insecureSkipTLSVerify`. The output is `commit`, by which it was merged.
///
/// One that is merged already is a success. One that is not ready (a draft, checks, reviews) fails the step, or is waited for with `wait`
/// for up to a day unless the entry says otherwise; so is a merge that the forge does behind its answer, in any case. Conflicts, a closed
/// pull request and a way to merge that is not allowed fail it. A forge that is still finding out whether it can be merged is given two
/// minutes for that, from when it was first seen at it, also without `wait`. Trouble on the way is an error that can be tried again: how the pull
/// request stands is read first each time.
///
/// A `prNumber` of `null`, as after a `git-open-pr` that was skipped, skips it. On abort the pull request is closed if this promotion
/// opened it.
#[derive(Debug, Clone)]
pub struct MergePullRequest {
    forges: Forges,
}

impl MergePullRequest {
    /// The step, on these forges.
    pub fn new(forges: Forges) -> Self {
        Self { forges }
    }

    fn forge(&self, config: &Merge) -> Result<Arc<dyn Forge>> {
        let options = options(config.provider, config.skip_tls_verification);
        let forge = self.forges.repository_with(&config.repository, options)?;
        if let Some(method) = &config.merge_method {
            forge.provider().check_merge_method(method)?;
        }
        Ok(forge)
    }
}

/// What a call works with.
struct Run<'a> {
    cx: &'a Context,
    config: Merge,
    forge: Arc<dyn Forge>,
    number: u64,
    request: &'a StepRequest<'a>,
}

impl Run<'_> {
    async fn run(&self) -> Result<StepOutcome> {
        let pull = self.forge.pull_request(self.cx, self.number).await?;
        if let Some(outcome) = self.ended(&pull) {
            return Ok(outcome);
        }
        // What the forge has begun, with its token if it gave one.
        let started = self.request.state.and_then(|state| state.get("merge"));
        let token = started.and_then(Value::as_str);
        match (&pull.readiness, missing(&pull)) {
            // With a token one can ask; how it looks meanwhile says nothing.
            _ if token.is_some() => {}
            (Readiness::Checking, _) if started.is_some() => return Ok(self.merging(&pull, token)),
            (Readiness::Conflict(reason), _) => return Ok(self.refused(&pull, reason)),
            (Readiness::Checking, Some(reason)) if !pull.draft => return Ok(self.checking(&pull, &reason)),
            // Who may go past what blocks others is told only by trying.
            (Readiness::Blocked(_), _) if !pull.draft => {}
            (_, Some(reason)) => return Ok(self.not_ready(&pull, &reason)),
            (_, None) => {}
        }
        let mut merge = MergeRequest::new(&pull);
        merge.method = self.config.merge_method.as_deref();
        merge.started = token;
        let outcome = match self.forge.merge(self.cx, &merge).await {
            Ok(MergeOutcome::Merged { commit: Some(commit) }) => return Ok(self.merged(&pull, Some(&commit))),
            Ok(MergeOutcome::Started { token }) => return Ok(self.merging(&pull, token.as_deref())),
            Err(error) if error.retry() != Retry::Never => return Err(error),
            outcome => outcome,
        };
        // An earlier call may have got through whose answer was lost, or somebody else was faster: then the answer is no, and it is merged.
        let pull = self.forge.pull_request(self.cx, self.number).await?;
        if let Some(ended) = self.ended(&pull) {
            return Ok(ended);
        }
        Ok(match outcome? {
            MergeOutcome::Refused { reason } => self.refused(&pull, &reason),
            MergeOutcome::NotReady { reason } => self.not_ready(&pull, &reason),
            MergeOutcome::Stale { reason } => self.checking(&pull, &format!("it to be looked at again ({reason})")),
            _ => self.checking(&pull, "the forge to show that it is merged"),
        })
    }

    fn shown(&self, pull: &PullRequest) -> String {
        shown(self.forge.provider(), pull)
    }

    fn interval(&self) -> Duration {
        self.config.poll_interval.unwrap_or(POLL_INTERVAL)
    }

    /// The end, when there is nothing left to do.
    fn ended(&self, pull: &PullRequest) -> Option<StepOutcome> {
        match pull.state {
            PullRequestState::Open => None,
            PullRequestState::Merged => Some(self.merged(pull, pull.merge_commit.as_deref())),
            PullRequestState::Closed => {
                Some(StepOutcome::Failed { reason: format!("{} was closed without being merged", self.shown(pull)) })
            }
        }
    }

    fn merged(&self, pull: &PullRequest, commit: Option<&str>) -> StepOutcome {
        let mut outputs = Map::new();
        if let Some(commit) = commit {
            outputs.insert("commit".into(), commit.into());
        }
        StepOutcome::Succeeded { outputs, message: format!("{} is merged", self.shown(pull)) }
    }

    fn merging(&self, pull: &PullRequest, token: Option<&str>) -> StepOutcome {
        let reason = format!("{} is merging {}", self.forge.provider(), self.shown(pull));
        StepOutcome::Running { reason, check_after: self.interval(), state: Some(json!({"merge": token})) }
    }

    fn refused(&self, pull: &PullRequest, reason: &str) -> StepOutcome {
        StepOutcome::Failed { reason: format!("{} cannot be merged: {reason}", self.shown(pull)) }
    }

    fn not_ready(&self, pull: &PullRequest, reason: &str) -> StepOutcome {
        let reason = format!("{} waits for {reason}", self.shown(pull));
        if self.config.wait {
            StepOutcome::Running { reason, check_after: self.interval(), state: None }
        } else {
            StepOutcome::Failed { reason: format!("{reason}, and the step is not set to wait") }
        }
    }

    /// The forge itself is not done. For a short time, from when that was first seen, it is no answer to the question whether it is ready.
    fn checking(&self, pull: &PullRequest, reason: &str) -> StepOutcome {
        let now = self.cx.now();
        let seen = self.request.state.and_then(|state| state.get(SEEN)?.as_str()?.parse::<Timestamp>().ok());
        let seen = seen.map_or(now, |seen| seen.min(now));
        if Duration::try_from(now.duration_since(seen)).is_ok_and(|since| since > CHECKING) {
            return self.not_ready(pull, reason);
        }
        let reason = format!("{} waits for {reason}", self.shown(pull));
        let state = Some(json!({SEEN: seen.to_string()}));
        StepOutcome::Running { reason, check_after: self.interval(), state }
    }
}

#[async_trait]
impl Step for MergePullRequest {
    fn validate(&self, config: &Value) -> Result<()> {
        let (config, has_place): (Merge, bool) = config::read_early(STEP, config)?;
        match (config.provider, &config.merge_method) {
            _ if has_place => self.forge(&config).map(drop),
            (Some(provider), Some(method)) => provider.check_merge_method(method),
            _ => Ok(()),
        }
    }

    fn takes_text(&self, pointer: &str) -> bool {
        is_one_of(pointer, &["repoURL", "provider", "pollInterval", "mergeMethod"])
    }

    fn defaults(&self) -> StepDefaults {
        StepDefaults { timeout: TIMEOUT, ..StepDefaults::default() }
    }

    async fn run(&self, cx: &Context, request: &StepRequest<'_>) -> Result<StepOutcome> {
        let config: Merge = config::read(STEP, request.config)?;
        let Some(number) = config.pr_number else {
            return Ok(StepOutcome::Skipped { outputs: Map::new(), reason: "no pull request was opened".to_owned() });
        };
        let forge = self.forge(&config)?;
        Run { cx, config, forge, number, request }.run().await
    }

    async fn abort(&self, cx: &Context, request: &StepRequest<'_>) -> Result<()> {
        let config: Merge = config::read(STEP, request.config)?;
        let Some(number) = config.pr_number else { return Ok(()) };
        super::close_ours(cx, &self.forge(&config)?, number, request.promotion).await
    }
}
