//! A Rollout, as far as deploying sees it: a canary of some weights that pauses after each.

use serde_json::{Value, json};

/// How far a Rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Canary {
    pub(crate) weights: Vec<u32>,
    /// The weight that it is at; all are passed when it equals their number.
    pub(crate) step: usize,
    pub(crate) aborted: bool,
}

impl Canary {
    pub(crate) fn new(weights: Vec<u32>) -> Self {
        Self { weights, step: 0, aborted: false }
    }

    pub(crate) fn is_paused(&self) -> bool {
        !self.aborted && self.step < self.weights.len()
    }

    /// Does what a person would at its buttons. `None` when there is no such button now.
    pub(crate) fn act(&mut self, action: &str) -> Option<()> {
        match action {
            "resume" if self.is_paused() => self.step += 1,
            "promote-full" if self.is_paused() => self.step = self.weights.len(),
            "abort" if self.is_paused() => self.aborted = true,
            "retry" if self.aborted => (self.aborted, self.step) = (false, 0),
            _ => return None,
        }
        Some(())
    }

    /// The Rollout object, as the cluster holds it. `settled` is whether the replicas of its weight are up.
    pub(crate) fn object(&self, name: &str, revision: &str, settled: bool) -> Value {
        let steps: Vec<Value> =
            self.weights.iter().flat_map(|weight| [json!({"setWeight": weight}), json!({"pause": {}})]).collect();
        let paused = settled && self.is_paused();
        let (phase, message) = match (self.aborted, settled, paused) {
            (true, ..) => ("Degraded", "RolloutAborted: Rollout aborted update"),
            (_, false, _) => ("Progressing", "more replicas need to be updated"),
            (_, _, true) => ("Paused", "CanaryPauseStep"),
            _ => ("Healthy", ""),
        };
        let weight = self.weights.get(self.step).copied().unwrap_or(100);
        let mut status = json!({
            "phase": phase, "message": message, "observedGeneration": "2", "abort": self.aborted,
            "currentPodHash": &revision[..revision.len().min(8)], "stableRS": if self.step < self.weights.len() { "before" } else { revision.get(..8).unwrap_or(revision) },
            "currentStepIndex": if self.aborted { 0 } else { (self.step * 2 + usize::from(paused)).min(steps.len()) },
            "canary": {"weights": {"canary": {"weight": if self.aborted { 0 } else { weight }}}},
        });
        if paused {
            status["pauseConditions"] = json!([{"reason": "CanaryPauseStep", "startTime": "2026-01-01T10:00:00Z"}]);
        }
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": name, "namespace": name, "generation": 2},
            "spec": {"strategy": {"canary": {"steps": steps}}},
            "status": status,
        })
    }

    /// The actions, with whether each can be done now.
    pub(crate) fn actions(&self) -> Value {
        let offer = |name: &str, can: bool| json!({"name": name, "disabled": !can});
        json!({"actions": [
            offer("abort", self.is_paused()),
            offer("promote-full", self.is_paused()),
            offer("restart", true),
            offer("resume", self.is_paused()),
            offer("retry", self.aborted),
        ]})
    }
}
