//! The operation worker: it writes `operation` and `status.operationState`, and changes the cluster.

use std::time::Duration;

use jiff::Timestamp;

use super::app::{App, Entry, Fate, Live, OperationState, Step};
use super::rollout::Canary;
use super::world::{World, later};

/// The pause before the first retry; each further one is twice as long.
const BACKOFF: Duration = Duration::from_secs(5);
/// How often an operation that a sync window holds back is looked at.
const HELD: Duration = Duration::from_secs(10);

impl World {
    pub(super) fn operate(&mut self, app: &mut App, at: Timestamp) {
        let Some((_, step)) = app.step.take() else { return };
        let Some(operation) = app.operation.clone() else { return };
        let half = self.timings.operation / 2;
        match step {
            Step::Begin => {
                let held = app.spec.window_holds;
                let message = match held {
                    true => "Sync operation blocked by sync window",
                    false => "waiting for completion of the apply",
                };
                let started_at = app.state.as_ref().map_or(at, |state| state.started_at);
                app.state = Some(OperationState {
                    operation,
                    phase: "Running",
                    message: message.into(),
                    started_at,
                    finished_at: None,
                    retries: 0,
                    hook: None,
                });
                app.step = Some(if held { (later(at, HELD), Step::Begin) } else { (later(at, half), Step::Apply) });
            }
            Step::Retry => {
                if let Some(state) = &mut app.state {
                    (state.finished_at, state.message) = (None, "waiting for completion of the apply".into());
                }
                app.step = Some((later(at, half), Step::Apply));
            }
            Step::Apply => {
                let applies = self.failure(app).is_none();
                if applies {
                    self.apply(app, &operation.revisions, at);
                }
                // A wave after the first waits until what the first brought is well.
                let waits = applies && app.spec.waves && app.live.as_ref().is_some_and(|live| !live.complete);
                app.step = Some(match &app.live {
                    Some(live) if waits && live.fate == Fate::Ready => (live.settled_at.max(at), Step::LastWave),
                    Some(live) if waits && live.fate == Fate::Broken => (live.settled_at.max(at), Step::End),
                    Some(_) if waits => (Timestamp::MAX, Step::LastWave),
                    _ => (later(at, half), self.after_apply(app)),
                });
            }
            Step::LastWave => {
                if let Some(live) = &mut app.live {
                    live.complete = true;
                    live.settled_at = later(at, self.timings.ready);
                    (app.health_at, app.touch_at) = (Some(live.settled_at), Some(later(at, self.timings.touch)));
                }
                app.step = Some((later(at, half), self.after_apply(app)));
            }
            Step::Hook => {
                // A hook after the sync begins once all is well, and takes as long as that.
                let settled = app.live.as_ref().map_or(at, |live| live.settled_at).max(at);
                if let Some(state) = &mut app.state {
                    (state.hook, state.message) = (Some("Running"), "waiting for completion of hook".into());
                }
                app.step = Some((later(settled, self.timings.ready), Step::End));
            }
            Step::End => self.end(app, at),
        }
    }

    fn after_apply(&self, app: &App) -> Step {
        if app.spec.post_sync.is_some() && self.failure(app).is_none() { Step::Hook } else { Step::End }
    }

    /// Why the operation fails, if it does so before it changes anything.
    fn failure(&self, app: &App) -> Option<String> {
        let state = app.state.as_ref()?;
        if state.phase == "Terminating" {
            return Some("Operation terminated".into());
        }
        if let Some((_, message)) = self.failing_tries.as_ref().filter(|(tries, _)| *tries > 0) {
            return Some(message.clone());
        }
        state.operation.revisions.iter().find_map(|revision| self.failing.get(revision)).cloned()
    }

    /// Why the operation has failed, if it has: also by a wave that did not get well, or by its hook.
    fn failure_at_end(&self, app: &App) -> Option<String> {
        let hook = app.spec.post_sync == Some(false) && app.state.as_ref().is_some_and(|state| state.hook.is_some());
        let wave = app.live.as_ref().is_some_and(|live| !live.complete && live.fate == Fate::Broken);
        let tasks = "one or more synchronization tasks completed unsuccessfully";
        self.failure(app).or_else(|| (hook || wave).then(|| tasks.into()))
    }

    fn end(&mut self, app: &mut App, at: Timestamp) {
        let failure = self.failure_at_end(app);
        if let Some((tries, _)) = &mut self.failing_tries {
            *tries = tries.saturating_sub(1);
        }
        let limit = app.spec.retries;
        if let Some(state) = &mut app.state {
            state.finished_at = Some(at);
            state.hook = state.hook.map(|_| if failure.is_some() { "Failed" } else { "Succeeded" });
            if let Some(message) = failure.as_ref().filter(|_| state.phase == "Running" && state.retries < limit) {
                let pause = BACKOFF * 2_u32.saturating_pow(state.retries.min(5));
                state.retries += 1;
                // Its phase stays Running; only the end beside it tells that it waits.
                state.message = format!("{message}. Retrying attempt #{} at {}.", state.retries, later(at, pause));
                app.step = Some((later(at, pause), Step::Retry));
                return;
            }
            (state.phase, state.message) = match &failure {
                Some(message) => ("Failed", message.clone()),
                None => ("Succeeded", "successfully synced (all tasks run)".into()),
            };
            if failure.is_none() {
                let id = app.history.last().map_or(0, |entry| entry.id + 1);
                let (started_at, revisions) = (state.started_at, state.operation.revisions.clone());
                app.history.push(Entry { id, revisions, started_at, deployed_at: at });
            }
        }
        app.operation = None;
        // The refresh worker hears of it a little later; until then its part of the status is old.
        app.compare_at = app.compare_at.min(later(at, self.timings.notice));
    }

    fn apply(&self, app: &mut App, revisions: &[String], at: Timestamp) {
        let manifests = self.render(&app.spec.sources, revisions);
        let unchanged = app.live.as_ref().is_some_and(|live| live.complete && live.manifests == manifests);
        app.before = app.live.clone();
        match &mut app.live {
            // The same manifests again: nothing rolls out, and what was not ready does not become so.
            Some(live) if unchanged => live.revisions = revisions.to_vec(),
            live => {
                let any = |set: &std::collections::BTreeSet<String>| revisions.iter().any(|of| set.contains(of));
                let fate = match () {
                    () if any(&self.broken) => Fate::Broken,
                    () if any(&self.stalled) => Fate::Stalled,
                    () => Fate::Ready,
                };
                let settled_at = later(at, self.timings.ready);
                // The first version of a Rollout is rolled out at once.
                let canary = Some(&app.spec.canary).filter(|weights| !weights.is_empty());
                let canary = canary.map(|weights| Canary::new(weights.clone())).map(|mut canary| {
                    if app.before.is_none() {
                        canary.step = canary.weights.len();
                    }
                    canary
                });
                *live = Some(Live {
                    revisions: revisions.to_vec(),
                    manifests,
                    applied_at: at,
                    settled_at,
                    fate,
                    complete: !app.spec.waves,
                    canary,
                });
                (app.health_at, app.touch_at) = (Some(settled_at), Some(later(at, self.timings.touch)));
            }
        }
        app.live_log.push((at, revisions.first().cloned().unwrap_or_default()));
    }
}
