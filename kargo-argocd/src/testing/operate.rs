//! The operation worker: it writes `operation` and `status.operationState`, and changes the cluster.

use std::time::Duration;

use jiff::Timestamp;

use super::app::{App, Entry, Fate, Live, Operation, OperationState, Step};
use super::rollout::Rollout;
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
                let mut operation = operation;
                operation.sources.clone_from(&app.spec.sources);
                app.operation = Some(operation.clone());
                let started_at = app.state.as_ref().map_or(at, |state| state.started_at);
                app.state = Some(OperationState {
                    operation,
                    phase: "Running",
                    message: message.into(),
                    started_at,
                    finished_at: None,
                    retries: 0,
                    hooks: Vec::new(),
                    applied: false,
                });
                app.step = Some(if held { (later(at, HELD), Step::Begin) } else { self.first_step(app, at) });
            }
            Step::Retry => {
                if let Some(state) = &mut app.state {
                    (state.finished_at, state.message) = (None, "waiting for completion of the apply".into());
                    (state.hooks, state.applied) = (Vec::new(), false);
                }
                app.step = Some(self.first_step(app, at));
            }
            Step::PreSync => {
                let refused = app.spec.pre_sync == Some(false);
                if let Some(state) = &mut app.state {
                    state.hooks = vec![("PreSync", if refused { "Failed" } else { "Succeeded" })];
                }
                app.step = Some(if refused { (at, Step::End) } else { (later(at, half), Step::Apply) });
            }
            Step::Apply => {
                let applies = self.failure(app).is_none();
                if applies {
                    self.apply(app, &operation, at);
                }
                // A wave after the first waits until what the first brought is well.
                let waits = applies && app.spec.waves && app.live.as_ref().is_some_and(|live| !live.complete);
                if let Some(state) = app.state.as_mut().filter(|_| waits) {
                    let kind = if app.spec.has_rollout() { "argoproj.io/Rollout" } else { "apps/Deployment" };
                    state.message = format!("waiting for healthy state of {kind}/{}", app.spec.name);
                }
                let halts = waits && self.halfway(app).is_some();
                app.step = Some(match &app.live {
                    Some(live) if halts => (live.settled_at.max(at), Step::End),
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
                // A hook after the sync begins once all is well, which a Rollout that has paused is not, and takes as long as that.
                let settled = app.live.as_ref().map_or(at, |live| live.settled_at).max(at);
                if app.live.as_ref().is_some_and(Live::is_paused) {
                    if let Some(state) = &mut app.state {
                        state.message = "waiting for healthy state of argoproj.io/Rollout".into();
                    }
                    app.step = Some((Timestamp::MAX, Step::Hook));
                    return;
                }
                if let Some(state) = &mut app.state {
                    state.hooks.push(("PostSync", "Running"));
                    state.message = "waiting for completion of hook".into();
                }
                app.step = Some((later(settled, self.timings.ready), Step::End));
            }
            Step::End => self.end(app, at),
        }
    }

    /// What comes first: the hook before the sync, if there is one.
    fn first_step(&self, app: &mut App, at: Timestamp) -> (Timestamp, Step) {
        if app.spec.pre_sync.is_none() || self.failure(app).is_some() {
            return (later(at, self.timings.operation / 2), Step::Apply);
        }
        if let Some(state) = &mut app.state {
            state.hooks = vec![("PreSync", "Running")];
            state.message = "waiting for completion of hook".into();
        }
        (later(at, self.timings.ready), Step::PreSync)
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

    /// Why the operation fails after its first wave, if it does.
    fn halfway(&self, app: &App) -> Option<String> {
        let is_halfway = app.live.as_ref().is_some_and(|live| !live.complete);
        let state = app.state.as_ref().filter(|state| is_halfway && state.applied)?;
        state.operation.revisions.iter().find_map(|revision| self.failing_halfway.get(revision)).cloned()
    }

    /// Why the operation has failed, if it has: also by a wave that did not get well, or by its hook.
    fn failure_at_end(&self, app: &App) -> Option<String> {
        let ran = |kind: &str| app.state.as_ref().is_some_and(|state| state.hooks.iter().any(|(of, _)| *of == kind));
        let hook = (app.spec.post_sync == Some(false) && ran("PostSync"))
            || (app.spec.pre_sync == Some(false) && ran("PreSync"));
        let wave = app.live.as_ref().is_some_and(|live| !live.complete && live.fate == Fate::Broken);
        let tasks = "one or more synchronization tasks completed unsuccessfully";
        // What failed a try may be over when the try ends.
        let applied = app.state.as_ref().is_some_and(|state| state.applied);
        self.failure(app).or_else(|| self.halfway(app)).or_else(|| (hook || wave || !applied).then(|| tasks.into()))
    }

    fn end(&mut self, app: &mut App, at: Timestamp) {
        let failure = self.failure_at_end(app);
        if let Some((tries, _)) = &mut self.failing_tries {
            *tries = tries.saturating_sub(1);
        }
        let limit = app.spec.retries;
        if let Some(state) = &mut app.state {
            state.finished_at = Some(at);
            if let Some((_, phase)) = state.hooks.last_mut() {
                *phase = if failure.is_some() { "Failed" } else { "Succeeded" };
            }
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
                let (revisions, sources) = (state.operation.revisions.clone(), state.operation.sources.clone());
                app.history.push(Entry { id, revisions, sources, started_at: state.started_at, deployed_at: at });
                let kept = app.spec.history_limit.unwrap_or(10);
                let gone = app.history.len().saturating_sub(kept);
                app.history.drain(..gone);
            }
        }
        app.operation = None;
        // The refresh worker hears of it a little later; until then its part of the status is old.
        app.compare_at = app.compare_at.min(later(at, self.timings.notice));
    }

    fn apply(&self, app: &mut App, operation: &Operation, at: Timestamp) {
        let revisions = operation.revisions.as_slice();
        let manifests = self.rendered(app, &operation.sources, revisions);
        if let Some(state) = &mut app.state {
            state.applied = true;
        }
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
                let rollout = app.spec.has_rollout().then(|| {
                    let mut rollout = Rollout::new(app.spec.pauses(), app.spec.blue_green);
                    rollout.step = if app.before.is_none() { rollout.steps.len() } else { 0 };
                    rollout
                });
                *live = Some(Live {
                    revisions: revisions.to_vec(),
                    manifests,
                    applied_at: at,
                    settled_at,
                    fate,
                    complete: !app.spec.waves,
                    rollout,
                });
                (app.health_at, app.touch_at) = (Some(settled_at), Some(later(at, self.timings.touch)));
            }
        }
        app.live_log.push((at, revisions.first().cloned().unwrap_or_default()));
    }
}
