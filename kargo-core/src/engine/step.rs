//! One call of a step: its texts evaluated, its files brought back, its answer without secrets.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::expression::{Secrets, Surroundings, Texts};
use super::files::{Earlier, Files};
use super::records::masked;
use super::report::Report;
use crate::approval::Demand;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::plugin::{Context, Progress, ProjectData, Step, StepOutcome, StepRequest};
use crate::promotion::{Phase, PromotionInfo};
use crate::stage::StepSpec;
use crate::state::TaskState;
use crate::workspace::Workspace;

/// A step with what its call needs of the state.
#[derive(Debug)]
pub(super) struct StepCall {
    pub(super) index: usize,
    pub(super) step: Arc<dyn Step>,
    pub(super) alias: String,
    pub(super) spec: Arc<StepSpec>,
    pub(super) outputs: Vec<(String, Map<String, Value>)>,
    pub(super) started_at: Timestamp,
    /// What expressions see, if there are any.
    pub(super) surroundings: Option<Surroundings>,
    pub(super) data: Option<Arc<dyn ProjectData>>,
}

impl StepCall {
    /// Runs the step, with `files` as its workspace if it or a step before it has one.
    pub(super) async fn run(
        &self,
        cx: &Context,
        info: &PromotionInfo,
        (resumed, task): (bool, &TaskState),
        files: Option<(&Files, &[Earlier])>,
    ) -> Result<Report> {
        // One that has said "not yet" has begun, whatever became of its condition since.
        let Some((config, secrets)) = self.evaluate(cx, info, !task.waiting).await? else {
            return Ok(Report::ended(Phase::Skipped, "its condition does not hold".to_owned()));
        };
        let (cx, state) = (without_secrets(cx, &secrets), task.state.as_ref());
        let config = &*config;
        // Without expressions it was checked when the pipeline was put together.
        if self.surroundings.is_some()
            && let Err(refused) = self.step.validate(config)
        {
            return Ok(Report::ended(Phase::Failed, secrets.mask(refused.report())));
        }
        let mut records = Vec::new();
        let mut call = async |workspace: Workspace| {
            let answers = task.answers.as_slice();
            let request = StepRequest { resumed, state, answers, workspace, ..self.request(info, config) };
            let outcome = self.step.run(&cx, &request).await;
            records = request.recorded();
            outcome
        };
        let outcome = match files {
            Some((files, earlier)) => {
                let keeps = |outcome: &StepOutcome| matches!(outcome, StepOutcome::Succeeded { .. });
                files.during((&cx, info, self.index), earlier, keeps, call).await
            }
            None => call(Workspace::new()).await,
        };
        let outcome = outcome.map_err(|error| secrets.mask_error(error.plugin(self.spec.uses.clone())))?;
        Ok(match outcome {
            StepOutcome::Succeeded { outputs, message } => {
                let (message, outputs) = (secrets.mask(message), secrets.mask_map(outputs));
                let records = records.into_iter().map(|record| masked(record, &secrets)).collect();
                // Without expressions it is the same whenever it is evaluated.
                let restores = self.surroundings.is_some() && self.step.restores();
                let config_digest = restores.then(|| digest(config, &secrets));
                Report::Finished { phase: Phase::Succeeded, message, outputs, records, config_digest }
            }
            StepOutcome::Skipped { outputs, reason } => {
                let (message, outputs) = (secrets.mask(reason), secrets.mask_map(outputs));
                Report::Finished { phase: Phase::Skipped, message, outputs, records: Vec::new(), config_digest: None }
            }
            StepOutcome::Failed { reason } => Report::ended(Phase::Failed, secrets.mask(reason)),
            StepOutcome::Running { reason, check_after, state } => {
                let asks = state.as_ref().is_some_and(|state| Demand::of_state(state).is_some());
                let masked = state.clone().map(|state| secrets.mask_value(state));
                if asks && masked != state {
                    let why = "whom it asks comes from a secret, and the journal, from which it is told who may answer, keeps no secrets; name \
                               the approvers in the configuration or in a config map.";
                    return Ok(Report::ended(Phase::Failed, why.to_owned()));
                }
                let state = masked;
                Report::Waiting { reason: secrets.mask(reason), check_after, state }
            }
        })
    }

    /// Has the step stop what it set going.
    pub(super) async fn abort(&self, cx: &Context, info: &PromotionInfo, state: Option<&Value>) -> Result<()> {
        let (config, secrets) = self.evaluate_begun(cx, info).await?;
        let request = StepRequest { resumed: true, state, ..self.request(info, &config) };
        self.step.abort(&without_secrets(cx, &secrets), &request).await.map_err(|error| secrets.mask_error(error))
    }

    /// Has the step, which has succeeded with a configuration of that digest, do again what it did to the workspace.
    pub(super) async fn restore(
        &self,
        cx: &Context,
        info: &PromotionInfo,
        (outputs, config_digest): (&Map<String, Value>, Option<&str>),
        workspace: &Workspace,
    ) -> Result<()> {
        let (config, secrets) = self.evaluate_begun(cx, info).await?;
        let failed = |why: String, kind, retry| {
            let message = format!(
                "What step {} ({}) did to the workspace before this engine took over could not be done again: {why}",
                self.alias, self.spec.uses
            );
            Err(Error::new(kind, message).retry_as(retry))
        };
        if config_digest.is_some_and(|before| before != digest(&config, &secrets)) {
            let why = "its configuration comes to something else by now (metadata, an alias or a config map that it reads has changed since \
                       it ran); promote the freight once more.";
            return failed(why.to_owned(), ErrorKind::Conflict, Retry::Never);
        }
        let cx = without_secrets(cx, &secrets);
        let journaled = |outputs| secrets.mask_map(outputs);
        let request = StepRequest { resumed: true, journaled: Some(&journaled), ..self.request(info, &config) };
        let request = request.with_workspace(workspace).restoring(outputs);
        let outcome = self.step.run(&cx, &request).await.map_err(|error| secrets.mask_error(error));
        match outcome {
            Ok(StepOutcome::Succeeded { .. } | StepOutcome::Skipped { .. }) => Ok(()),
            Ok(StepOutcome::Failed { reason }) => failed(secrets.mask(reason), ErrorKind::Other, Retry::Never),
            Ok(StepOutcome::Running { .. }) => {
                failed("it wants to wait, where it should only restore.".to_owned(), ErrorKind::Other, Retry::Never)
            }
            Err(error) => failed(error.report(), error.kind(), error.retry()),
        }
    }

    /// The configuration of a step that has begun, and the secrets in it.
    pub(super) async fn evaluate_begun(&self, cx: &Context, info: &PromotionInfo) -> Result<(Cow<'_, Value>, Secrets)> {
        let lost = || Error::new(ErrorKind::Other, format!("Step {} has no configuration.", self.alias));
        self.evaluate(cx, info, false).await?.ok_or_else(lost)
    }

    /// The configuration, evaluated where there is something to evaluate, and the secrets in it. Nothing when `asks`, and the condition
    /// does not hold.
    async fn evaluate(
        &self,
        cx: &Context,
        info: &PromotionInfo,
        asks: bool,
    ) -> Result<Option<(Cow<'_, Value>, Secrets)>> {
        let Some(surroundings) = &self.surroundings else {
            return Ok(Some((Cow::Borrowed(&self.spec.config), Secrets::default())));
        };
        let takes_text = |pointer: &str| self.step.takes_text(pointer);
        let texts = Texts::of_step(&self.spec);
        let texts = if asks { texts } else { texts.begun() };
        let who = (info, self.alias.as_str(), self.started_at);
        let evaluated = texts.evaluate(cx, who, surroundings, &self.outputs, self.data.as_deref(), &takes_text).await?;
        Ok(evaluated.config.map(|config| (Cow::Owned(config), evaluated.secrets)))
    }

    fn request<'a>(&'a self, info: &'a PromotionInfo, config: &'a Value) -> StepRequest<'a> {
        StepRequest::new(info, &self.alias, config, self.started_at).with_outputs(&self.outputs)
    }
}

/// The digest of a configuration. Secrets count as masked: nothing about them can be guessed from it, and a token that was renewed since is
/// no change. The order of the keys is none either: it depends on how the host's binary was built.
fn digest(config: &Value, secrets: &Secrets) -> String {
    let masked = secrets.mask_places(config.clone());
    let mut text = String::new();
    canonical(&masked, &mut text);
    let digest = Sha256::digest(text);
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// JSON with sorted keys.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (key, value) in entries {
                canonical(&Value::from(key.as_str()), text);
                text.push(':');
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// The context of a call that knows secrets: what it tells the log holds none, and it can mask them itself.
pub(super) fn without_secrets(cx: &Context, secrets: &Secrets) -> Context {
    if secrets.is_empty() {
        return cx.clone();
    }
    let (below, secrets) = (cx.clone(), secrets.clone());
    let masks = secrets.clone();
    cx.clone()
        .with_progress(Progress::to(move |text| below.progress(secrets.mask(text.to_owned()))))
        .with_mask(move |text| masks.mask(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_configuration_does_not_depend_on_the_order_of_its_keys() {
        let one: Value = serde_json::from_str(r#"{"b": {"d": [1, "x"], "c": null}, "a": true}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"a": true, "b": {"c": null, "d": [1, "x"]}}"#).unwrap();
        let secrets = Secrets::default();
        assert_eq!(digest(&one, &secrets), digest(&other, &secrets));
        let changed: Value = serde_json::from_str(r#"{"a": true, "b": {"c": null, "d": ["x", 1]}}"#).unwrap();
        assert_ne!(digest(&one, &secrets), digest(&changed, &secrets));
    }
}
