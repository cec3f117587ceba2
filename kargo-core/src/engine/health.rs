//! Health after promotion: when a stage's deployers are asked how their targets are, and what becomes of their answers.
//!
//! What is said here never keeps a promotion from starting in that stage: the queue does not know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::calls::{Call, MAX_ASKED, Returned, SOON, info, step_call};
use super::driver::{Driver, panic_of, panicked};
use super::report::shorten;
use super::step::{StepCall, without_secrets};
use crate::actor::Actor;
use crate::clock::{elapsed, later};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::name::{PromotionId, Revision, StageName};
use crate::pipeline::Pipeline;
use crate::plugin::{Context, Deployer, Health, Observation, ObserveRequest};
use crate::promotion::{Phase, PromotionInfo};
use crate::state::{Draft, EventKind, StageHealth, StageState, State};

/// How long one deployer's answer may take: some let their target compare anew before they answer.
const DEADLINE: Duration = Duration::from_secs(90);
/// How many stages are looked at at once, so that a start with very many does not ask all targets in one instant.
const AT_ONCE: usize = 64;
/// How long another reason for the same health waits for its place in the journal after the one before it.
const TELL_AGAIN: Duration = Duration::from_secs(600);
/// How many looks in a row "on its way" or "not known" must last before the journal tells it: both come and go with every
/// restart of a pod and every lost answer.
const LASTING: u32 = 2;
/// The most looks in a row that are asked for of a stage that comes and goes all the time.
const MOST_LASTING: u32 = 16;
/// After how long without another answer than what the journal has a stage counts as calm again.
const CALM: Duration = Duration::from_secs(3600);

/// The stages that are watched, and when each is looked at next.
#[derive(Debug, Default)]
pub(super) struct Watches {
    stages: BTreeMap<StageName, Watch>,
    /// The looks to come, by time, so that the next one is found without going through all.
    due: BTreeSet<(Timestamp, StageName)>,
    looking: usize,
}

#[derive(Debug)]
struct Watch {
    every: Duration,
    next: Timestamp,
    looking: Option<CancellationToken>,
    /// How many looks have been made; jitter follows from it.
    looks: u64,
    /// How many looks in a row said what the journal tells only once it lasts, while it has something else.
    soft: u32,
    /// Whether it has been bad and well again since it was last calm: what comes and goes is not well before that lasts.
    recovered: bool,
    /// How many of them the journal waits for.
    lasting: u32,
    /// When a look last said something else than the journal.
    differed: Option<Timestamp>,
    /// When the journal last told something.
    told: Option<Timestamp>,
}

impl Watches {
    /// Watches what `pipeline` says, from now on; what it no longer watches is forgotten.
    pub(super) fn define(&mut self, pipeline: &Pipeline, now: Timestamp) {
        let watched = |name: &StageName| pipeline.stage(name).and_then(|stage| stage.health_watch());
        let gone: Vec<StageName> = self.stages.keys().filter(|name| watched(name).is_none()).cloned().collect();
        for name in gone {
            if let Some(watch) = self.stages.remove(&name) {
                if let Some(cancel) = watch.looking {
                    cancel.cancel();
                    self.looking -= 1;
                }
                self.due.remove(&(watch.next, name));
            }
        }
        for (name, asked) in pipeline.stages().filter_map(|stage| Some((stage.name(), stage.health_watch()?))) {
            match self.stages.get_mut(name) {
                Some(watch) if watch.every == asked.every => {}
                Some(watch) => {
                    watch.every = asked.every;
                    self.look_at(name, now);
                }
                None => {
                    let watch = Watch {
                        every: asked.every,
                        next: now,
                        looking: None,
                        looks: 0,
                        soft: 0,
                        lasting: LASTING,
                        recovered: false,
                        differed: None,
                        told: None,
                    };
                    self.stages.insert(name.clone(), watch);
                    self.due.insert((now, name.clone()));
                }
            }
        }
    }

    /// When to look next; never while as many looks as may are under way.
    pub(super) fn next(&self) -> Option<Timestamp> {
        (self.looking < AT_ONCE).then(|| self.due.first().map(|(at, _)| *at)).flatten()
    }

    pub(super) fn is_looking(&self, stage: &StageName) -> bool {
        self.stages.get(stage).is_some_and(|watch| watch.looking.is_some())
    }

    /// Has `stage` looked at at `at`, unless it is being looked at.
    fn look_at(&mut self, stage: &StageName, at: Timestamp) {
        if let Some(watch) = self.stages.get_mut(stage).filter(|watch| watch.looking.is_none()) {
            self.due.remove(&(watch.next, stage.clone()));
            watch.next = at;
            self.due.insert((at, stage.clone()));
        }
    }

    /// A look came to nothing.
    pub(super) fn look_again(&mut self, stage: &StageName, at: Timestamp) {
        self.ended(stage);
        self.look_at(stage, at);
    }

    fn began(&mut self, stage: &StageName, cancel: CancellationToken) {
        if let Some(watch) = self.stages.get_mut(stage) {
            self.due.remove(&(watch.next, stage.clone()));
            watch.looks += 1;
            watch.looking = Some(cancel);
            self.looking += 1;
        }
    }

    fn ended(&mut self, stage: &StageName) {
        if self.stages.get_mut(stage).is_some_and(|watch| watch.looking.take().is_some()) {
            self.looking -= 1;
        }
    }

    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        self.stages.values_mut().for_each(|watch| (watch.told, watch.differed) = (None, None));
        let late: Vec<StageName> = self.due.iter().filter(|(at, _)| *at > now).map(|(_, name)| name.clone()).collect();
        late.iter().for_each(|name| self.look_at(name, now));
    }

    /// All calls are gone.
    pub(super) fn dropped(&mut self, now: Timestamp) {
        let names: Vec<StageName> = self.stages.keys().cloned().collect();
        names.iter().for_each(|name| self.look_again(name, now));
    }

    /// Ends the looks under way; they change nothing elsewhere, so nobody has to wait for them.
    pub(super) fn cancel(&self) {
        self.stages.values().filter_map(|watch| watch.looking.as_ref()).for_each(CancellationToken::cancel);
    }
}

impl Watch {
    /// Until the next look: the interval, give or take a tenth, which follows from the name and the number of the look.
    fn pause(&self, stage: &StageName) -> Duration {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (stage, self.looks).hash(&mut hasher);
        self.every.mul_f64(0.9 + (hasher.finish() % 1_000) as f64 / 5_000.0)
    }

    /// Whether the journal is to tell what a look found, where it has told `known`.
    fn tells(&mut self, known: Option<&StageHealth>, seen: &Seen, now: Timestamp) -> bool {
        let since_told = self.told.map(|told| elapsed(told, now));
        if self.differed.is_none_or(|differed| elapsed(differed, now) >= CALM) {
            (self.lasting, self.recovered) = (LASTING, false);
        }
        let Some(known) = known else {
            self.soft = 0;
            return true;
        };
        if known.health == seen.health {
            self.soft = 0;
            return known.reason != seen.reason && since_told.is_none_or(|since| since >= TELL_AGAIN);
        }
        self.differed = Some(now);
        let recovers = known.health == Health::Unhealthy;
        let at_once = match seen.health {
            Health::Unhealthy => true,
            Health::Progressing | Health::Unknown => false,
            Health::Healthy | Health::NotApplicable => !recovers || !self.recovered,
        };
        if at_once {
            self.recovered |= recovers;
            self.soft = 0;
            return true;
        }
        self.soft += 1;
        if self.soft < self.lasting {
            return false;
        }
        self.soft = 0;
        self.lasting = (self.lasting * 2).min(MOST_LASTING);
        true
    }
}

/// What a look is about: answers that come when this has changed say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    /// The promotion that the stage runs.
    current: PromotionId,
    /// The promotion that ended last: one that failed may have changed the target as well.
    last: Option<PromotionId>,
}

impl Subject {
    /// What there is to look at in a stage: nothing while a promotion runs, since that would be about something between two states.
    fn of(stage: &StageState) -> Option<Self> {
        let current = stage.history.front().filter(|_| stage.running.is_none())?;
        Some(Self { current: current.clone(), last: stage.last.clone() })
    }
}

/// What the deployers of a stage said, taken together.
#[derive(Debug)]
pub(super) struct Seen {
    subject: Subject,
    health: Health,
    reason: String,
    /// The pause that a target asked for.
    asked: Duration,
}

/// The target of a step that deploys.
struct Target {
    alias: String,
    /// Who looks, and the step with its configuration.
    found: Result<(Arc<dyn Deployer>, StepCall)>,
    revision: Option<Revision>,
}

impl Driver {
    /// A promotion has ended: what its stage runs may be another thing, or in another state.
    pub(super) fn observe_soon(&mut self, promotion: &PromotionId) {
        if self.watches.stages.is_empty() {
            return;
        }
        let stage = self.shared.read(|state| Some(state.promotion(promotion)?.stage.clone()));
        let now = self.shared.clock.now();
        stage.into_iter().for_each(|stage| self.watches.look_at(&stage, now));
    }

    /// Begins the looks whose time has come.
    pub(super) fn observe_where_due(&mut self) {
        let now = self.shared.clock.now();
        while self.watches.next().is_some_and(|next| next <= now) {
            let Some((_, stage)) = self.watches.due.first().cloned() else { return };
            let prepared = self.shared.read(|state| self.targets(state, &stage));
            let Some((subject, info, targets)) = prepared else {
                // Nothing runs there yet, or a promotion is under way, whose end brings a look of its own.
                let pause = self.watches.stages.get(&stage).map_or(DEADLINE, |watch| watch.pause(&stage));
                self.watches.look_at(&stage, later(now, pause));
                continue;
            };
            let cancel = CancellationToken::new();
            let key = format!("health/{}/{stage}", self.shared.name);
            let context = Context::new(Arc::clone(&self.shared.clock), Actor::engine(), key)
                .with_deadline(later(now, DEADLINE))
                .with_cancellation(cancel.clone());
            let spawned =
                self.calls.spawn(async move { Returned::Observed(look(&context, subject, &info, &targets).await) });
            self.call_of.insert(spawned.id(), Call::Observe(stage.clone()));
            self.watches.began(&stage, cancel);
        }
    }

    /// What there is to look at in `stage`.
    fn targets(&self, state: &State, stage: &StageName) -> Option<(Subject, PromotionInfo, Vec<Target>)> {
        let subject = Subject::of(state.stage(stage)?)?;
        let promotion = state.promotion(&subject.current)?;
        let info = info(&self.shared.name, state, promotion)?;
        let deployed = promotion.steps.iter().enumerate().filter(|(_, step)| step.task.phase == Phase::Succeeded);
        let targets = deployed.filter_map(|(index, step)| {
            let found = match step_call((&self.shared, &self.plugins), state, promotion, index) {
                Ok(call) => Ok((call.step.deployer()?, call)),
                Err(missing) if step.spec.uses.starts_with("deploy:") => Err(missing),
                Err(_) => return None,
            };
            let revision = step.task.outputs.get("revision").and_then(Value::as_str).map(Revision::from);
            Some(Target { alias: step.alias.clone(), found, revision })
        });
        Some((subject, info, targets.collect()))
    }

    /// A look has ended.
    pub(super) async fn observed(&mut self, stage: &StageName, returned: Result<Returned, JoinError>) -> Result<()> {
        self.watches.ended(stage);
        if self.shared.stop.is_cancelled() {
            return Ok(());
        }
        let now = self.shared.clock.now();
        let known = self.shared.read(|state| {
            let known = state.stage(stage)?;
            Some((Subject::of(known), known.health.clone()))
        });
        let Some(watch) = self.watches.stages.get(stage) else { return Ok(()) };
        let pause = watch.pause(stage);
        self.watches.look_at(stage, later(now, pause));
        let seen = match returned {
            Ok(Returned::Observed(seen)) => seen,
            Ok(_) => return Ok(()),
            Err(error) => {
                // A deployer's panic is its answer; this is a defect of the look itself.
                tracing::warn!("{}", panicked("The look at a stage's health", error).report());
                return Ok(());
            }
        };
        let (subject, known) = known.unwrap_or_default();
        if subject.as_ref() != Some(&seen.subject) {
            // Something happened there in between. When that has ended, look at what is there now.
            if subject.is_some() {
                self.watches.look_at(stage, now);
            }
            return Ok(());
        }
        let Some(watch) = self.watches.stages.get_mut(stage) else { return Ok(()) };
        let tells = watch.tells(known.as_ref(), &seen, now);
        self.watches.look_at(stage, later(now, pause.max(seen.asked)));
        if !tells {
            return Ok(());
        }
        let appended = self
            .append(vec![Draft::outcome(EventKind::HealthChanged {
                stage: stage.clone(),
                promotion: seen.subject.current,
                health: seen.health,
                reason: seen.reason,
            })])
            .await;
        match &appended {
            Ok(()) => self.watches.stages.get_mut(stage).into_iter().for_each(|watch| watch.told = Some(now)),
            Err(_) => self.watches.look_at(stage, later(now, SOON)),
        }
        appended
    }
}

/// Asks every deployer, all at once. Each one's trouble is its own: it counts as not known, and the others' answers stay.
async fn look(cx: &Context, subject: Subject, info: &PromotionInfo, targets: &[Target]) -> Seen {
    // The configurations come first, since each deployer is told what later steps asked for.
    let configured = join_all(targets.iter().map(|target| async move {
        let (_, call) =
            target.found.as_ref().map_err(|missing| Error::new(ErrorKind::InvalidInput, missing.report()))?;
        caught(cx, async { call.evaluate_begun(cx, info).await }).await
    }));
    let configured = configured.await;
    let uses = |at: usize| targets[at].found.as_ref().ok().map(|(_, call)| call.spec.uses.as_str());
    let answers = join_all(targets.iter().enumerate().map(|(at, target)| {
        let later = (at + 1..targets.len()).filter(|later| uses(*later) == uses(at));
        let later: Vec<&Value> = later.filter_map(|later| Some(configured[later].as_ref().ok()?.0.as_ref())).collect();
        let configured = &configured[at];
        async move {
            let answer = match (&target.found, configured) {
                (Ok((deployer, _)), Ok((config, secrets))) => {
                    // The plug-in's code runs also when the future is made.
                    caught(cx, async {
                        let request =
                            ObserveRequest::new(config).result_of(info, target.revision.clone()).before(later);
                        let answer = deployer.observe(&without_secrets(cx, secrets), &request).await;
                        let answer = answer.map_err(|error| secrets.mask_error(error))?;
                        Ok(Observation { detail: secrets.mask(answer.detail), ..answer })
                    })
                    .await
                }
                (Err(missing), _) => Err(Error::new(ErrorKind::InvalidInput, missing.report())),
                (_, Err(error)) => Err(Error::new(error.kind(), error.report()).retry_as(error.retry())),
            };
            (target.alias.as_str(), answer)
        }
    }));
    merge(subject, answers.await)
}

/// A part of a look, within its deadline. A panic is its answer.
async fn caught<T>(cx: &Context, part: impl Future<Output = Result<T>>) -> Result<T> {
    let part = AssertUnwindSafe(cx.guard("look at the health", part)).catch_unwind().await;
    part.unwrap_or_else(|payload| Err(panic_of("The deployer", payload)))
}

/// The worst answer, and every answer's reason in the order of the steps.
fn merge(subject: Subject, answers: Vec<(&str, Result<Observation>)>) -> Seen {
    if answers.is_empty() {
        let reason = "no step of the promotion deploys something that can be looked at".to_owned();
        return Seen { subject, health: Health::NotApplicable, reason, asked: Duration::ZERO };
    }
    let (mut health, mut asked, mut reasons) = (Health::Healthy, Duration::ZERO, Vec::new());
    for (alias, answer) in answers {
        let (of, why) = match answer {
            Ok(observation) => (observation.health, observation.detail),
            Err(error) => {
                if let Retry::After(pause) = error.retry() {
                    asked = asked.max(pause.min(MAX_ASKED));
                }
                (Health::Unknown, error.report())
            }
        };
        health = health.max(of);
        reasons.push(if why.is_empty() { format!("{alias}: {of}") } else { format!("{alias}: {why}") });
    }
    Seen { subject, health, reason: shorten(reasons.join("; ")), asked }
}
