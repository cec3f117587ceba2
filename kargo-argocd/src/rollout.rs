//! Argo Rollouts: what a canary or a blue-green deployment is doing, and how it is moved on.
//!
//! All goes through Argo CD's resource actions, so that its permissions and its audit trail hold. What a pause means for a deployment is
//! [`crate::Paused`].

use std::fmt;

use kargo_core::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::client::{AppRef, Client, ResourceRef, api_error};
use crate::scrub::without_userinfo;

/// A Rollout, as the cluster holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rollout {
    /// The object.
    pub object: ResourceRef,
    /// How it deploys.
    pub strategy: Strategy,
    /// How it stands.
    pub phase: RolloutPhase,
    /// Why, in the controller's words.
    pub message: String,
    /// The step that it is at, counted from 0, of how many. A canary without steps has none, and neither has a blue-green deployment.
    pub step: Option<(usize, usize)>,
    /// How much of the traffic the new version gets, in percent, where that can be told.
    pub weight: Option<u64>,
    /// The new version's pod template hash.
    pub hash: String,
    /// What it waits for, while it is paused. None also of one that was resumed and does not go on yet.
    pub pause: Option<Pause>,
    /// When that began, as the controller writes it.
    paused_at: String,
}

/// What a paused Rollout waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pause {
    /// Somebody who resumes it: it is at a step of its canary without an end, or has its preview ready.
    Open,
    /// The end of a time, after which it goes on by itself; as its specification writes it.
    Timed(String),
    /// A person's judgement: an analysis was neither good nor bad.
    Inconclusive,
    /// Whoever paused it by hand.
    ByHand,
    /// Something that this crate does not know, by the controller's word for it.
    Other(String),
}

/// How a Rollout deploys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// The new version gets more and more of the traffic.
    Canary,
    /// The new version gets all of the traffic at once, after a preview.
    BlueGreen,
}

/// How a Rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RolloutPhase {
    /// The new version has all of the traffic, and is well.
    Healthy,
    /// It is on its way to its next step.
    Progressing,
    /// It waits for a person, or for the end of a pause.
    Paused,
    /// It went back to the old version.
    Aborted,
    /// It is broken.
    Degraded,
}

impl Pause {
    /// What the object says of its pause, and when that began. `step` is the one that its canary is at.
    fn read(spec: &Value, status: &Value, step: Option<&Value>) -> (Option<Self>, String) {
        let conditions = status["pauseConditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let find = |reason: &str| conditions.iter().find(|condition| condition["reason"] == reason);
        // A number counts seconds.
        let timed = |time: &Value| match time {
            Value::String(text) => Some(Self::Timed(text.clone())),
            Value::Number(seconds) => Some(Self::Timed(format!("{seconds}s"))),
            _ => None,
        };
        // What is for a person to judge comes first, whatever else holds it up.
        let (pause, condition) = if status["promoteFull"] == true {
            (None, None)
        } else if let Some(found) = find("InconclusiveAnalysisRun") {
            (Some(Self::Inconclusive), Some(found))
        } else if spec["paused"] == true {
            (Some(Self::ByHand), None)
        } else if let Some(found) = find("CanaryPauseStep") {
            let time = step.and_then(|step| timed(&step["pause"]["duration"]));
            (Some(time.unwrap_or(Self::Open)), Some(found))
        } else if let Some(found) = find("BlueGreenPause") {
            let time = &spec["strategy"]["blueGreen"]["autoPromotionSeconds"];
            (Some(timed(time).filter(|_| *time != 0).unwrap_or(Self::Open)), Some(found))
        } else {
            let first = conditions.first();
            let word = first.map(|first| first["reason"].as_str().unwrap_or_default().to_owned());
            (word.map(Self::Other), first)
        };
        let since = condition.and_then(|condition| condition["startTime"].as_str()).unwrap_or_default();
        (pause, since.to_owned())
    }
}

impl Rollout {
    /// Reads the object. The controller's `status.phase` counts, unless it speaks of an older generation.
    fn read(object: ResourceRef, manifest: &Value) -> Self {
        let (spec, status) = (&manifest["spec"], &manifest["status"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let strategy = if spec["strategy"]["blueGreen"].is_object() { Strategy::BlueGreen } else { Strategy::Canary };
        let steps = spec["strategy"]["canary"]["steps"].as_array();
        let at = status["currentStepIndex"].as_u64().and_then(|at| usize::try_from(at).ok());
        let observed = match &status["observedGeneration"] {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        let current = observed.is_none() || observed == manifest["metadata"]["generation"].as_u64();
        let phase = match status["phase"].as_str() {
            _ if !current => RolloutPhase::Progressing,
            _ if status["abort"] == true => RolloutPhase::Aborted,
            Some("Healthy") => RolloutPhase::Healthy,
            Some("Paused") => RolloutPhase::Paused,
            Some("Degraded") => RolloutPhase::Degraded,
            // Old controllers have no phase.
            None if spec["paused"] == true
                || status["pauseConditions"].as_array().is_some_and(|all| !all.is_empty()) =>
            {
                RolloutPhase::Paused
            }
            None if status["stableRS"].is_string() && status["stableRS"] == status["currentPodHash"] => {
                RolloutPhase::Healthy
            }
            _ => RolloutPhase::Progressing,
        };
        let told = status["canary"]["weights"]["canary"]["weight"].as_u64();
        // Without a traffic router the controller does not say; then it is what the last step before this one set.
        let set = || {
            let passed = steps?.iter().take(at? + 1);
            passed.filter_map(|step| step["setWeight"].as_u64()).next_back()
        };
        let weight = match (strategy, phase) {
            (Strategy::BlueGreen, _) => None,
            (_, RolloutPhase::Healthy) => Some(100),
            (_, RolloutPhase::Aborted) => Some(0),
            _ => told.or_else(set),
        };
        let (pause, paused_at) = match phase {
            RolloutPhase::Paused => Pause::read(spec, status, steps.zip(at).and_then(|(steps, at)| steps.get(at))),
            _ => (None, String::new()),
        };
        Self {
            object,
            strategy,
            phase,
            pause,
            paused_at,
            message: without_userinfo(&text(&status["message"])),
            step: at.zip(steps.map(Vec::len)).filter(|(_, of)| *of > 0),
            weight,
            hash: text(&status["currentPodHash"]),
        }
    }

    /// What tells one pause from another: acting twice on the same one would be a mistake.
    pub(crate) fn place(&self) -> String {
        let step = self.step.map(|(at, _)| at.to_string()).unwrap_or_default();
        let namespace = &self.object.namespace;
        format!("{namespace} {}@{}#{step} {}", self.object, self.hash, self.paused_at)
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.phase, &self.pause) {
            (RolloutPhase::Healthy, _) => "is done",
            (RolloutPhase::Progressing, _) => "goes on",
            (RolloutPhase::Paused, Some(Pause::Inconclusive)) => "is paused by an inconclusive analysis",
            (RolloutPhase::Paused, Some(Pause::ByHand)) => "was paused by hand",
            (RolloutPhase::Paused, _) if self.strategy == Strategy::BlueGreen => "waits with its preview",
            (RolloutPhase::Paused, _) => "is paused",
            (RolloutPhase::Aborted, _) => "was aborted and went back to the old version",
            (RolloutPhase::Degraded, _) => "is degraded",
        };
        write!(f, "{} {what}", self.object)?;
        if let Some(Pause::Timed(time)) = &self.pause {
            write!(f, " for {time}")?;
        }
        if let Some((at, of)) = self.step.filter(|(at, of)| at < of) {
            write!(f, " at step {} of {of}", at + 1)?;
        }
        if let Some(weight) = self.weight.filter(|_| self.phase != RolloutPhase::Healthy) {
            write!(f, " with {weight} % of the traffic")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, " ({})", self.message) }
    }
}

impl Client {
    /// The Rollouts of an application, in the order of their names.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn rollouts(&self, app: &AppRef) -> Result<Vec<Rollout>> {
        let nodes = self.tree(app).await?.into_iter().map(|node| node.object);
        let mut objects: Vec<ResourceRef> =
            nodes.filter(|object| object.group == "argoproj.io" && object.kind == "Rollout").collect();
        objects.sort();
        objects.dedup();
        let mut found = Vec::new();
        for object in objects {
            match self.resource(app, &object).await {
                Ok(manifest) => found.push(Rollout::read(object, &manifest)),
                // It was there a moment ago.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Ends a Rollout's pause, so that it goes on to its next step; a blue-green deployment switches over. Returns whether that could be
    /// done: what is not paused cannot be resumed.
    ///
    /// # Errors
    /// As for [`Client::act`].
    pub async fn resume(&self, app: &AppRef, rollout: &Rollout) -> Result<bool> {
        self.act_if_offered(app, rollout, "resume").await
    }

    /// Skips all further steps of a Rollout. Returns whether that could be done.
    ///
    /// # Errors
    /// As for [`Client::act`].
    pub async fn promote_full(&self, app: &AppRef, rollout: &Rollout) -> Result<bool> {
        self.act_if_offered(app, rollout, "promote-full").await
    }

    /// Lets a Rollout go back to the old version. Returns whether that could be done.
    ///
    /// # Errors
    /// As for [`Client::act`].
    pub async fn abort(&self, app: &AppRef, rollout: &Rollout) -> Result<bool> {
        self.act_if_offered(app, rollout, "abort").await
    }

    async fn act_if_offered(&self, app: &AppRef, rollout: &Rollout, action: &str) -> Result<bool> {
        // Asked for each time: what was paused a moment ago may have been moved on by somebody else.
        let offered = match self.actions(app, &rollout.object).await {
            Ok(offered) => offered,
            // It was there a moment ago.
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        if !offered.iter().any(|offer| offer.name == action && !offer.disabled) {
            return Ok(false);
        }
        self.act(app, &rollout.object, action).await?;
        Ok(true)
    }
}

/// Whether an error says that an object is no longer there.
fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
        || api_error(error).is_some_and(|api| api.status == 400 && api.message.contains("not found as part of"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn canary(status: Value) -> Rollout {
        let object = ResourceRef { kind: "Rollout".into(), name: "shop".into(), ..ResourceRef::default() };
        let steps = json!([{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "1m"}}]);
        let spec = json!({"strategy": {"canary": {"steps": steps}}});
        Rollout::read(object, &json!({"metadata": {"generation": 3}, "spec": spec, "status": status}))
    }

    #[test]
    fn a_paused_canary_says_its_step_and_weight() {
        let paused = canary(json!({"phase": "Paused", "message": "CanaryPauseStep", "currentStepIndex": 1}));
        assert_eq!((paused.phase, paused.step, paused.weight), (RolloutPhase::Paused, Some((1, 4)), Some(10)));
        assert_eq!(
            paused.to_string(),
            "Rollout/shop is paused at step 2 of 4 with 10 % of the traffic (CanaryPauseStep)"
        );
    }

    #[test]
    fn the_routers_weight_counts_more_than_the_steps() {
        let status =
            json!({"phase": "Progressing", "currentStepIndex": 2, "canary": {"weights": {"canary": {"weight": 33}}}});
        assert_eq!(canary(status).weight, Some(33));
    }

    #[test]
    fn a_status_of_an_older_generation_is_not_believed() {
        let stale = canary(json!({"phase": "Healthy", "observedGeneration": "2"}));
        assert_eq!(stale.phase, RolloutPhase::Progressing);
        assert_eq!(canary(json!({"phase": "Healthy", "observedGeneration": "3"})).phase, RolloutPhase::Healthy);
    }

    #[test]
    fn an_aborted_one_has_no_traffic_whatever_its_phase() {
        let aborted = canary(json!({"phase": "Degraded", "abort": true, "currentStepIndex": 0}));
        assert_eq!((aborted.phase, aborted.weight), (RolloutPhase::Aborted, Some(0)));
    }

    #[test]
    fn an_old_controllers_pause_is_read_from_its_conditions() {
        let conditions = json!([{"reason": "CanaryPauseStep"}]);
        assert_eq!(canary(json!({"pauseConditions": conditions})).phase, RolloutPhase::Paused);
        assert_eq!(canary(json!({"stableRS": "a", "currentPodHash": "a"})).phase, RolloutPhase::Healthy);
        assert_eq!(canary(json!({"stableRS": "a", "currentPodHash": "b"})).phase, RolloutPhase::Progressing);
    }

    #[test]
    fn pauses_are_told_apart() {
        let paused = |at: usize, reason: &str| {
            let conditions = json!([{"reason": reason, "startTime": "2026-01-01T10:00:00Z"}]);
            canary(json!({"phase": "Paused", "currentStepIndex": at, "pauseConditions": conditions}))
        };
        assert_eq!(paused(1, "CanaryPauseStep").pause, Some(Pause::Open));
        let timed = paused(3, "CanaryPauseStep");
        assert_eq!(timed.pause, Some(Pause::Timed("1m".into())));
        assert!(timed.to_string().contains("is paused for 1m at step 4 of 4"), "{timed}");
        let unsure = paused(1, "InconclusiveAnalysisRun");
        assert_eq!(unsure.pause, Some(Pause::Inconclusive));
        assert!(unsure.to_string().contains("inconclusive analysis"), "{unsure}");
        assert_eq!(paused(1, "SomethingNew").pause, Some(Pause::Other("SomethingNew".into())));
        // Resumed, and the controller has not yet gone on.
        assert_eq!(canary(json!({"phase": "Paused", "currentStepIndex": 1})).pause, None);
        let blue_green = |settings: Value| {
            let spec = json!({"paused": settings["byHand"], "strategy": {"blueGreen": settings}});
            let status = json!({"phase": "Paused", "pauseConditions": [{"reason": "BlueGreenPause"}]});
            Rollout::read(ResourceRef::default(), &json!({"spec": spec, "status": status})).pause
        };
        assert_eq!(blue_green(json!({"autoPromotionEnabled": false})), Some(Pause::Open));
        assert_eq!(blue_green(json!({"autoPromotionSeconds": 30})), Some(Pause::Timed("30s".into())));
        assert_eq!(blue_green(json!({"byHand": true})), Some(Pause::ByHand));
    }

    #[test]
    fn a_second_pause_at_the_same_step_is_another_one() {
        let paused = |since: &str| {
            let conditions = json!([{"reason": "CanaryPauseStep", "startTime": since}]);
            canary(json!({"phase": "Paused", "currentStepIndex": 1, "pauseConditions": conditions})).place()
        };
        assert_ne!(paused("2026-01-01T10:00:00Z"), paused("2026-01-01T11:00:00Z"));
    }

    #[test]
    fn a_blue_green_deployment_has_a_preview_and_no_weight() {
        let manifest =
            json!({"spec": {"strategy": {"blueGreen": {"activeService": "a"}}}, "status": {"phase": "Paused"}});
        let rollout = Rollout::read(ResourceRef::default(), &manifest);
        assert_eq!((rollout.strategy, rollout.weight, rollout.step), (Strategy::BlueGreen, None, None));
        assert!(rollout.to_string().contains("preview"));
    }
}
