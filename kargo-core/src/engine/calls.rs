//! Calls to plug-ins: begun, cancelled, stopped, and what comes back, as events.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Map;
use tokio::task::{AbortHandle, Id, JoinError};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::discover::Looked;
use super::driver::{Driver, panicked};
use super::expression::{Secrets, Surroundings, Texts};
use super::files::{Earlier, Files};
use super::health::Seen;
use super::report::{Report, bounded, shorten};
use super::step::{StepCall, without_secrets};
use crate::clock::later;
use crate::decide::{outcome_and_what_follows, stopped};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::name::{StageName, VerificationId, WarehouseName};
use crate::plugin::{Context, Plugins, ProjectData, Step, StepDefaults, Verdict, Verifier, VerifyRequest};
use crate::promotion::{Phase, PromotionInfo};
use crate::stage::VerifierSpec;
use crate::state::{Draft, EventKind, Promotion, State, Task, TaskState};

/// What a spawned call is.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Look(WarehouseName),
    Observe(StageName),
    Task(Task),
    Stopping { task: Task, phase: Phase, message: String },
}

/// What a spawned call returns.
#[derive(Debug)]
pub(super) enum Returned {
    Looked(Result<Looked>),
    Observed(Seen),
    Task(Result<Report>),
    Stopped(Result<()>),
}

/// A call under way.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) cancel: CancellationToken,
    id: Id,
    abort: AbortHandle,
    stopping: bool,
}

/// How long stopping what a step has set going may take.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// The shortest pause that a plug-in can ask for between two looks.
const MIN_CHECK: Duration = Duration::from_millis(10);
/// The pause before an effect is asked again whose outcome could not be kept, so that trouble with the store is not the plug-in's.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// How long a changed reason waits for its place in the journal after the one before it.
pub(super) const TELL_AGAIN: Duration = Duration::from_secs(5);
/// After how many errors in a row the journal tells that a task cannot look at what it waits for.
const MISSES_TO_TELL: u32 = 3;
/// The longest pause that another side can ask for, so that a wrong number does not stop a promotion for days.
pub(super) const MAX_ASKED: Duration = Duration::from_secs(3600);
/// All that a call needs, taken from the state.
struct Prepared {
    info: PromotionInfo,
    work: Work,
    task: TaskState,
}

enum Work {
    Step {
        call: StepCall,
        /// The steps before it that have to do with the workspace.
        earlier: Vec<Earlier>,
        /// The workspace, if it or one before it has to do with it.
        files: Option<Files>,
    },
    Verifier {
        verifier: Arc<dyn Verifier>,
        spec: Arc<VerifierSpec>,
        verification: VerificationId,
        surroundings: Option<Surroundings>,
        data: Option<Arc<dyn ProjectData>>,
    },
}

impl Driver {
    /// Calls `task` unless it is being called, or has said to wait until later.
    pub(super) fn run_task(&mut self, task: Task, not_before: Option<Timestamp>, now: Timestamp) {
        if self.is_in_flight(&Call::Task(task.clone())) {
            return;
        }
        let paced = self.notes.of(&task).and_then(|note| note.not_before);
        // No pause is longer than [`MAX_ASKED`]: one that is was set by a clock that has been set back since.
        let not_before = not_before.filter(|at| *at <= later(now, MAX_ASKED));
        if let Some(at) = not_before.into_iter().chain(paced).max().filter(|at| *at > now) {
            if let Some(stage) = self.shared.read(|state| Some(state.promotion(task.promotion())?.stage.clone())) {
                self.set_timer(stage, at);
            }
            return;
        }
        let note = self.notes.entry(&task);
        let resumed = !std::mem::take(&mut note.fresh);
        (note.not_before, note.called, note.answered) = (None, true, false);
        let cancel = CancellationToken::new();
        let prepared = self.prepare(&task);
        let context = self.context(&task, &cancel, prepared.as_ref().ok());
        let spawned = self.calls.spawn(async move {
            let Prepared { info, work, task } = match prepared {
                Ok(prepared) => prepared,
                Err(error) => return Returned::Task(Err(error)),
            };
            // Asked for here, since it is the plug-in's code: what it does wrong is its own failure.
            let context = match &work {
                // What steps before it did to the files may have to be done again, in the time that those take.
                Work::Step { call, earlier, .. } => {
                    let steps = earlier.iter().map(|one| &one.call).chain([call]);
                    let longest = steps.map(|call| call.step.defaults().call_deadline).max();
                    context.with_deadline(later(now, longest.unwrap_or(Context::DEFAULT_DEADLINE)))
                }
                Work::Verifier { .. } => context,
            };
            let call = call(&context, &info, &work, &task, resumed);
            Returned::Task(context.guard("call the plug-in", call).await)
        });
        self.register(Call::Task(task), cancel, spawned, false);
    }

    /// Cancels the call of `task`, if there is one, and lets its step stop what it has set going.
    pub(super) fn stop_task(&mut self, task: Task, phase: Phase, message: String) {
        if self.in_flight.get(&task).is_some_and(|call| call.stopping) {
            return;
        }
        // An answer that came in time counts, also when its step has had no turn since.
        let heard = self.notes.of(&task).is_some_and(|note| note.called && !note.answered);
        if phase == Phase::Errored && !heard && !self.in_flight.contains_key(&task) {
            return self.run_task(task, None, self.shared.clock.now());
        }
        let ended = self.in_flight.remove(&task).map(|call| {
            call.cancel.cancel();
            call.abort.abort();
            self.call_of.remove(&call.id);
            call.abort
        });
        let cancel = CancellationToken::new();
        let prepared = self.prepare(&task);
        let deadline = later(self.shared.clock.now(), STOP_DEADLINE);
        let context = self.context(&task, &cancel, prepared.as_ref().ok()).with_deadline(deadline);
        let spawned = self.calls.spawn(async move {
            let Ok(Prepared { info, work: Work::Step { call, .. }, task }) = prepared else {
                return Returned::Stopped(Ok(()));
            };
            let stop = async {
                // Two calls for one task must not be under way at once.
                while ended.as_ref().is_some_and(|ended| !ended.is_finished()) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                call.abort(&context, &info, task.state.as_ref()).await
            };
            Returned::Stopped(context.guard("stop the step", stop).await)
        });
        self.register(Call::Stopping { task, phase, message }, cancel, spawned, true);
    }

    fn register(&mut self, call: Call, cancel: CancellationToken, abort: AbortHandle, stopping: bool) {
        let id = abort.id();
        if let Call::Task(task) | Call::Stopping { task, .. } = &call {
            self.in_flight.insert(task.clone(), InFlight { cancel, id, abort, stopping });
        }
        self.call_of.insert(id, call);
    }

    fn context(&self, task: &Task, cancel: &CancellationToken, prepared: Option<&Prepared>) -> Context {
        let actor = prepared.map_or_else(crate::Actor::engine, |prepared| prepared.info.actor.clone());
        Context::new(Arc::clone(&self.shared.clock), actor, task.key()).with_cancellation(cancel.clone())
    }

    fn prepare(&mut self, task: &Task) -> Result<Prepared> {
        let lost = || Error::new(ErrorKind::Other, format!("The journal has no task {task}."));
        let (shared, plugins, workspaces) = (&self.shared, &self.plugins, &mut self.workspaces);
        self.shared.read(|state| {
            let promotion = state.promotion(task.promotion()).ok_or_else(lost)?;
            let info = info(shared, state, promotion).ok_or_else(lost)?;
            match task {
                Task::Step { index, .. } => {
                    let found = promotion.steps.get(*index).ok_or_else(lost)?;
                    let call = step_call((shared, plugins), state, promotion, *index)?;
                    let earlier = earlier((shared, plugins), state, promotion, *index)?;
                    let files = (!earlier.is_empty() || restores(&*call.step)).then(|| workspaces.of(&promotion.id));
                    Ok(Prepared { info, work: Work::Step { call, earlier, files }, task: found.task.clone() })
                }
                Task::Verifier { attempt, index, .. } => {
                    let verification = promotion.verifications.get(*attempt).ok_or_else(lost)?;
                    let found = verification.verifiers.get(*index).ok_or_else(lost)?;
                    let verifier = Arc::clone(plugins.verifier(&found.spec.verifier)?);
                    let verification = crate::state::verification_id(task.promotion(), *attempt);
                    let surroundings =
                        Texts::of_verifier(&found.spec).any().then(|| Surroundings::of(shared, state, promotion, None));
                    let (spec, data) = (found.spec.clone(), plugins.data().cloned());
                    let work = Work::Verifier { verifier, spec, verification, surroundings, data };
                    Ok(Prepared { info, work, task: found.task.clone() })
                }
            }
        })
    }

    /// A call of `task` has returned.
    pub(super) async fn called(&mut self, task: &Task, id: Id, returned: Result<Returned, JoinError>) -> Result<()> {
        if self.in_flight.get(task).is_some_and(|call| call.id == id) {
            self.in_flight.remove(task);
        }
        let Some(state) = self.shared.read(|state| state.task(task).cloned()) else { return Ok(()) };
        if state.phase != Phase::Running {
            return Ok(());
        }
        let report = match returned {
            Ok(Returned::Task(report)) => report.and_then(bounded),
            Ok(_) => return Ok(()),
            Err(error) => Err(panicked("The plug-in", error)),
        };
        let now = self.shared.clock.now();
        // It has ended without having heard what somebody has answered since it was called: until it has ended, answers can be changed.
        if matches!(report, Ok(Report::Finished { .. })) && self.notes.of(task).is_some_and(|note| note.answered) {
            self.notes.entry(task).not_before = None;
            self.mark(task);
            return Ok(());
        }
        let mut recorded = Vec::new();
        let kind = match report {
            Ok(Report::Finished { mut phase, mut message, mut outputs, records, config_digest }) => {
                match self.shared.read(|state| super::records::drafts(state, records)) {
                    Ok(drafts) => recorded = drafts,
                    // As in Kargo: what it wanted cannot be, and another try would not change that.
                    Err(error) => (phase, message, outputs) = (Phase::Failed, error.report(), Map::new()),
                }
                EventKind::TaskFinished { task: task.clone(), phase, message: shorten(message), outputs, config_digest }
            }
            Ok(Report::Waiting { reason, check_after, state: remember }) => {
                let note = self.notes.entry(task);
                note.not_before = if note.answered { None } else { Some(later(now, check_after.max(MIN_CHECK))) };
                note.misses = 0;
                let reason = shorten(reason);
                // A reason that changes with every look, such as a percentage, must not flood the journal.
                let same_reason = state.message == reason || note.told_lately(now);
                // The first is always kept: from then on errors are waited out, also after a restart.
                if state.waiting && same_reason && state.state == remember && state.errors == 0 {
                    self.mark(task);
                    return Ok(());
                }
                note.told = Some(now);
                EventKind::TaskWaiting { task: task.clone(), reason, state: remember }
            }
            Err(error) if error.kind() == ErrorKind::Cancelled && self.shared.stop.is_cancelled() => return Ok(()),
            Err(error) if state.waiting && error.retry() != Retry::Never => {
                match self.missed(task, &state, &error, now) {
                    Some(kind) => kind,
                    None => return Ok(()),
                }
            }
            Err(error) => self.errored(task, &state, &error, now),
        };
        recorded.extend(self.shared.read(|state| outcome_and_what_follows(state, Draft::outcome(kind), now)));
        let appended = self.append(recorded).await;
        if appended.is_err() {
            // What the effect did is found by its key when it is called again.
            if self.shared.read(|state| state.task(task).is_some_and(|state| state.phase == Phase::Running)) {
                self.notes.entry(task).not_before = Some(later(now, SOON));
            }
            self.mark(task);
        }
        appended
    }

    /// What an error means for a task that was waiting: CORE-26, what it waits for goes on all the same, so another look is taken
    /// until the task's time is over, however many fail. The journal tells of it when several in a row have.
    fn missed(&mut self, task: &Task, state: &TaskState, error: &Error, now: Timestamp) -> Option<EventKind> {
        let note = self.notes.entry(task);
        note.misses += 1;
        let pause = match error.retry() {
            Retry::After(pause) => pause.min(MAX_ASKED).max(backoff(task, note.misses)),
            _ => backoff(task, note.misses),
        };
        let tell = note.misses >= MISSES_TO_TELL;
        let reason = shorten(error.report());
        let retry_at = later(now, pause);
        if !tell || state.message == reason || note.told_lately(now) {
            note.not_before = if note.answered { None } else { Some(retry_at) };
            self.mark(task);
            return None;
        }
        note.told = Some(now);
        Some(EventKind::TaskErrored { task: task.clone(), error: error.kind(), reason, retry_at })
    }

    /// What an error means for a task: another try after a pause, or the end.
    fn errored(&self, task: &Task, state: &TaskState, error: &Error, now: Timestamp) -> EventKind {
        let threshold = self.threshold(task);
        let reason = shorten(error.report());
        let pause = match error.retry() {
            Retry::Never => None,
            _ if state.errors + 1 >= threshold => None,
            Retry::Backoff => Some(backoff(task, state.errors)),
            Retry::After(pause) => Some(pause.min(MAX_ASKED).max(backoff(task, state.errors))),
        };
        match pause {
            Some(pause) => {
                EventKind::TaskErrored { task: task.clone(), error: error.kind(), reason, retry_at: later(now, pause) }
            }
            None => {
                let (task, outputs) = (task.clone(), Map::new());
                let message = match state.errors {
                    0 => reason,
                    errors => format!("{reason} (the last of {} errors in a row)", errors + 1),
                };
                EventKind::TaskFinished { task, phase: Phase::Errored, message, outputs, config_digest: None }
            }
        }
    }

    fn threshold(&self, task: &Task) -> u32 {
        let configured = self.shared.read(|state| match task {
            Task::Step { promotion, index } => {
                state.promotion(promotion)?.steps.get(*index)?.spec.retry.error_threshold
            }
            Task::Verifier { .. } => None,
        });
        configured.unwrap_or(StepDefaults::default().error_threshold).max(1)
    }

    /// What a step had set going is stopped, or could not be.
    pub(super) async fn stopped_task(
        &mut self,
        task: Task,
        phase: Phase,
        message: String,
        returned: Result<Returned, JoinError>,
    ) -> Result<()> {
        self.in_flight.remove(&task);
        if self.shared.read(|state| state.task(&task).is_none_or(|state| state.phase != Phase::Running)) {
            return Ok(());
        }
        let result = match returned {
            Ok(Returned::Stopped(result)) => result,
            Ok(_) => Ok(()),
            Err(error) => Err(panicked("The step's abort", error)),
        };
        let message = match result {
            Ok(()) => message,
            Err(error) => format!("{message}; stopping what it had set going failed: {}", error.report()),
        };
        self.mark(&task);
        let now = self.shared.clock.now();
        let ended = stopped(task, phase, shorten(message));
        let drafts = self.shared.read(|state| outcome_and_what_follows(state, ended, now));
        self.append(drafts).await
    }

    pub(super) fn mark(&mut self, task: &Task) {
        let stage = self.shared.read(|state| Some(state.promotion(task.promotion())?.stage.clone()));
        self.dirty.extend(stage);
    }
}

pub(super) fn info(shared: &Shared, state: &State, promotion: &Promotion) -> Option<PromotionInfo> {
    let freight = |id| state.freight_by_id(id).map(|known| known.freight().clone());
    Some(PromotionInfo {
        pipeline: shared.name.clone(),
        id: promotion.id.clone(),
        stage: promotion.stage.clone(),
        freight: freight(&promotion.freight)?,
        collection: promotion.collection.values().filter_map(freight).collect(),
        actor: promotion.actor.clone(),
        requested_at: promotion.requested_at,
        ui_base_url: shared.ui_base_url.clone(),
    })
}

/// The step at `index` of `promotion`, to be called.
pub(super) fn step_call(
    (shared, plugins): (&Arc<Shared>, &Plugins),
    state: &State,
    promotion: &Promotion,
    index: usize,
) -> Result<StepCall> {
    let found = &promotion.steps[index];
    let surroundings =
        Texts::of_step(&found.spec).any().then(|| Surroundings::of(shared, state, promotion, Some(index)));
    Ok(StepCall {
        index,
        step: Arc::clone(plugins.step(&found.spec.uses)?),
        alias: found.alias.clone(),
        spec: found.spec.clone(),
        outputs: promotion.outputs_before(index),
        started_at: found.task.started_at.unwrap_or(promotion.requested_at),
        data: surroundings.as_ref().and_then(|_| plugins.data().cloned()),
        surroundings,
    })
}

/// The steps before the one at `index` that have done something to the workspace.
fn earlier(
    (shared, plugins): (&Arc<Shared>, &Plugins),
    state: &State,
    promotion: &Promotion,
    index: usize,
) -> Result<Vec<Earlier>> {
    let before = promotion.steps.iter().enumerate().take(index);
    let done = before.filter(|(_, step)| {
        step.task.phase == Phase::Succeeded && plugins.step(&step.spec.uses).is_ok_and(|step| restores(&**step))
    });
    done.map(|(index, step)| {
        let key = Task::Step { promotion: promotion.id.clone(), index }.key();
        Ok(Earlier {
            call: step_call((shared, plugins), state, promotion, index)?,
            key,
            outputs: step.task.outputs.clone(),
            config_digest: step.task.config_digest.clone(),
        })
    })
    .collect()
}

/// A panic here is one that the step's call shows again.
fn restores(step: &dyn Step) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step.restores())).unwrap_or(false)
}

async fn call(cx: &Context, info: &PromotionInfo, work: &Work, task: &TaskState, resumed: bool) -> Result<Report> {
    match work {
        Work::Step { call, earlier, files } => {
            let files = files.as_ref().map(|files| (files, earlier.as_slice()));
            call.run(cx, info, (resumed, task), files).await
        }
        Work::Verifier { verifier, spec, verification, surroundings, data } => {
            let started_at = task.started_at.unwrap_or(info.requested_at);
            let (mut config, mut secrets) = (None, Secrets::default());
            if let Some(surroundings) = surroundings {
                let who = (info, "", started_at);
                let texts = Texts::of_verifier(spec);
                let evaluated = texts.evaluate(cx, who, surroundings, &[], data.as_deref(), &|_| false).await?;
                (config, secrets) = (evaluated.config, evaluated.secrets);
                if let Some(config) = &config {
                    verifier.validate(config).map_err(|error| secrets.mask_error(error.retry_as(Retry::Never)))?;
                }
            }
            let config = config.as_ref().unwrap_or(&spec.config);
            let request =
                VerifyRequest { verification, promotion: info, config, started_at, state: task.state.as_ref() };
            let verdict = verifier.verify(&without_secrets(cx, &secrets), &request).await;
            let verdict = verdict.map_err(|error| secrets.mask_error(error.plugin(spec.verifier.clone())))?;
            let ended = |phase, message| Report::ended(phase, secrets.mask(message));

            Ok(match verdict {
                Verdict::Pass { evidence } => ended(Phase::Succeeded, evidence),
                Verdict::Fail { reason } => ended(Phase::Failed, reason),
                Verdict::Inconclusive { reason } => ended(Phase::Inconclusive, reason),
                Verdict::Pending { reason, check_after, state } => {
                    let state = state.map(|state| secrets.mask_value(state));
                    Report::Waiting { reason: secrets.mask(reason), check_after, state }
                }
            })
        }
    }
}

/// The pause after the error number `errors` (from 0): doubling from one second to one minute, and between half and all of
/// that, so that tasks which failed together do not come back together. It follows from its arguments, so a replay pauses alike.
fn backoff(task: &Task, errors: u32) -> Duration {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let full = Duration::from_secs(1_u64 << errors.min(6)).min(Duration::from_secs(60));
    let mut hasher = DefaultHasher::new();
    (task, errors).hash(&mut hasher);
    full.mul_f64(0.5 + (hasher.finish() % 1_000) as f64 / 2_000.0)
}
