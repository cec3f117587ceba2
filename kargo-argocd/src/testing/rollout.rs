//! A Rollout, as far as deploying sees it: a canary of some weights that pauses after each, or a blue-green deployment with its preview.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::world::later;

/// For what a Rollout pauses after a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FakePause {
    /// Until somebody resumes it.
    Open,
    /// For a time.
    Timed(Duration),
    /// For a person to judge: its analysis is neither good nor bad.
    Inconclusive,
}

/// How far a Rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// The weights, each with its pause. A blue-green deployment has one, for its preview.
    pub(crate) steps: Vec<(u32, FakePause)>,
    pub(crate) blue_green: bool,
    /// The step that it is at; all are passed when it equals their number.
    pub(crate) step: usize,
    pub(crate) aborted: bool,
    /// When the controller goes on after somebody has told it to, and whether to the end.
    pub(crate) told: Option<(Timestamp, bool)>,
}

impl Rollout {
    pub(crate) fn new(steps: Vec<(u32, FakePause)>, blue_green: bool) -> Self {
        Self { steps, blue_green, step: 0, aborted: false, told: None }
    }

    /// Whether it stops, or is about to, before all of it is rolled out.
    pub(crate) fn is_paused(&self) -> bool {
        !self.aborted && self.step < self.steps.len()
    }

    /// When it goes on by itself; `settled_at` is when the replicas of its step are up.
    pub(crate) fn goes_on_at(&self, settled_at: Timestamp) -> Option<Timestamp> {
        let (_, pause) = self.steps.get(self.step).filter(|_| !self.aborted)?;
        let by_itself = match pause {
            FakePause::Timed(time) => Some(later(settled_at, *time)),
            _ => None,
        };
        self.told.map(|(at, _)| at).or(by_itself)
    }

    pub(crate) fn go_on(&mut self) {
        let full = self.told.take().is_some_and(|(_, full)| full);
        self.step = if full { self.steps.len() } else { self.step + 1 };
    }

    /// Whether there is such a button now. `settled` is whether the replicas of its step are up.
    fn offers(&self, action: &str, settled: bool) -> bool {
        match action {
            "resume" => self.is_paused() && settled && self.told.is_none(),
            "promote-full" => self.is_paused() && self.told.is_none(),
            "abort" => self.is_paused(),
            "retry" => self.aborted,
            "restart" => true,
            _ => false,
        }
    }

    /// Does what a person would at its buttons, of which the controller takes note at `at`. `None` when there is no such button now.
    pub(crate) fn act(&mut self, action: &str, settled: bool, at: Timestamp) -> Option<()> {
        if !self.offers(action, settled) {
            return None;
        }
        match action {
            "resume" => self.told = Some((at, false)),
            "promote-full" => self.told = Some((at, true)),
            "abort" => (self.aborted, self.told) = (true, None),
            "retry" => (self.aborted, self.step) = (false, 0),
            _ => {}
        }
        Some(())
    }

    /// The Rollout object, as the cluster holds it. `settled_at` is when the replicas of its step are up.
    pub(crate) fn object(&self, name: &str, revision: &str, settled_at: Timestamp, now: Timestamp) -> Value {
        let settled = now >= settled_at;
        let steps: Vec<Value> = self
            .steps
            .iter()
            .flat_map(|(weight, pause)| {
                let pause = match pause {
                    FakePause::Open => json!({"pause": {}}),
                    FakePause::Timed(time) => json!({"pause": {"duration": format!("{}s", time.as_secs())}}),
                    FakePause::Inconclusive => json!({"analysis": {"templates": [{"templateName": "smoke"}]}}),
                };
                [json!({"setWeight": weight}), pause]
            })
            .collect();
        let paused = settled && self.is_paused();
        let unsure = matches!(self.steps.get(self.step), Some((_, FakePause::Inconclusive)));
        let reason = match unsure {
            true => "InconclusiveAnalysisRun",
            false if self.blue_green => "BlueGreenPause",
            false => "CanaryPauseStep",
        };
        let (phase, message) = match (self.aborted, settled, paused) {
            (true, ..) => ("Degraded", "RolloutAborted: Rollout aborted update"),
            (_, false, _) => ("Progressing", "more replicas need to be updated"),
            (_, _, true) => ("Paused", reason),
            _ => ("Healthy", ""),
        };
        let hash = revision.get(..8).unwrap_or(revision);
        let mut status = json!({
            "phase": phase, "message": message, "observedGeneration": "2", "abort": self.aborted,
            "currentPodHash": hash, "stableRS": if self.aborted || self.is_paused() { "before" } else { hash },
        });
        if self.told.is_some_and(|(_, full)| full) {
            status["promoteFull"] = true.into();
        }
        // Who resumes takes the conditions away; that the phase says otherwise is the controller's to mend.
        if paused && self.told.is_none_or(|(_, full)| full) {
            status["pauseConditions"] = json!([{"reason": reason, "startTime": super::render::stamp(settled_at)}]);
        }
        let strategy = if self.blue_green {
            json!({"blueGreen": {"activeService": name, "previewService": format!("{name}-preview"), "autoPromotionEnabled": false}})
        } else {
            let weight = self.steps.get(self.step).map_or(100, |(weight, _)| *weight);
            status["currentStepIndex"] = match self.aborted {
                true => 0.into(),
                false => (self.step * 2 + usize::from(paused)).min(steps.len()).into(),
            };
            status["canary"] = json!({"weights": {"canary": {"weight": if self.aborted { 0 } else { weight }}}});
            json!({"canary": {"steps": steps}})
        };
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": name, "namespace": name, "generation": 2},
            "spec": {"strategy": strategy},
            "status": status,
        })
    }

    /// The actions, with whether each can be done now.
    pub(crate) fn actions(&self, settled: bool) -> Value {
        let offer = |name: &str| json!({"name": name, "disabled": !self.offers(name, settled)});
        let offers = ["abort", "promote-full", "restart", "resume", "retry"].map(offer);
        json!({ "actions": offers })
    }
}
