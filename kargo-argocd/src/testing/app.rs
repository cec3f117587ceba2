//! One application: what it is, what its status says, and what is due.

use jiff::Timestamp;
use serde_json::Value;

use super::rollout::{FakePause, Rollout};
use super::settings::FakeApp;
use crate::client::{Info, Source, SourceHydrator};

/// What really runs.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// One for each source.
    pub(crate) revisions: Vec<String>,
    pub(crate) manifests: Option<String>,
    pub(crate) applied_at: Timestamp,
    /// When its workloads are as ready as they will get.
    pub(crate) settled_at: Timestamp,
    pub(crate) fate: Fate,
    /// Whether the waves after the first are applied as well.
    pub(crate) complete: bool,
    /// How far its Rollout is, when it has one.
    pub(crate) rollout: Option<Rollout>,
}

/// What becomes of workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Ready,
    Broken,
    Stalled,
}

impl Live {
    /// Whether its Rollout waits for somebody.
    pub(crate) fn is_paused(&self) -> bool {
        self.rollout.as_ref().is_some_and(Rollout::is_paused)
    }

    /// Whether an analysis of its Rollout was neither good nor bad.
    pub(crate) fn is_inconclusive(&self, now: Timestamp) -> bool {
        let rollout = self.rollout.as_ref().filter(|rollout| rollout.is_paused() && now >= self.settled_at);
        rollout.is_some_and(|rollout| matches!(rollout.steps.get(rollout.step), Some((_, FakePause::Inconclusive))))
    }

    /// When its Rollout goes on.
    fn goes_on_at(&self) -> Option<Timestamp> {
        self.rollout.as_ref()?.goes_on_at(self.settled_at)
    }

    pub(crate) fn is_ready(&self, now: Timestamp) -> bool {
        self.complete && self.health(now) == "Healthy"
    }

    pub(crate) fn health(&self, now: Timestamp) -> &'static str {
        let settled = now >= self.settled_at;
        match (&self.rollout, self.fate) {
            (Some(rollout), _) if rollout.aborted => "Degraded",
            (_, Fate::Broken) if settled => "Degraded",
            (Some(rollout), Fate::Ready) if settled && rollout.is_paused() => "Suspended",
            (_, Fate::Ready) if settled => "Healthy",
            _ => "Progressing",
        }
    }
}

/// An operation, as it was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// One for each source.
    pub(crate) revisions: Vec<String>,
    pub(crate) prune: bool,
    pub(crate) username: String,
    pub(crate) automated: bool,
    pub(crate) infos: Vec<Info>,
    /// The sources as they were when it began.
    pub(crate) sources: Vec<Source>,
}

/// What the hydrator wrote last, and what it does next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hydrator {
    pub(crate) looked_at: Option<String>,
    pub(crate) phase: Option<&'static str>,
    pub(crate) message: String,
    /// The revision that was rendered last, the commit that holds what came of it, and with which settings.
    pub(crate) last: Option<(String, String, SourceHydrator)>,
    /// When it goes on, and whether it has begun.
    pub(crate) due: Option<(Timestamp, bool)>,
    /// Whether it is asked to render in any case.
    pub(crate) hard: bool,
}

/// What the operation worker wrote last.
#[derive(Debug, Clone)]
pub(crate) struct OperationState {
    pub(crate) operation: Operation,
    pub(crate) phase: &'static str,
    pub(crate) message: String,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) retries: u32,
    /// How its hooks stand, each with its type, as far as it came.
    pub(crate) hooks: Vec<(&'static str, &'static str)>,
    /// Whether it has changed the cluster.
    pub(crate) applied: bool,
}

/// What the operation worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Begin,
    /// A later try: as a begin, but the operation keeps its start.
    Retry,
    /// The hook before the sync has ended.
    PreSync,
    Apply,
    /// Applies what the first wave did not.
    LastWave,
    /// Runs the hook after the sync.
    Hook,
    End,
}

/// What the refresh worker wrote last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    pub(crate) sync: &'static str,
    /// One for each source.
    pub(crate) revisions: Vec<String>,
    /// The sources that were compared.
    pub(crate) sources: Vec<Source>,
    pub(crate) health: &'static str,
    pub(crate) reconciled_at: Option<Timestamp>,
    pub(crate) error: Option<String>,
    pub(crate) resources: bool,
    pub(crate) images: Vec<String>,
}

/// A comparison that has begun, and what it will write.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    pub(crate) began: Timestamp,
    pub(crate) due: Timestamp,
    pub(crate) result: Shown,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) revisions: Vec<String>,
    pub(crate) sources: Vec<Source>,
    pub(crate) started_at: Timestamp,
    pub(crate) deployed_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) spec: FakeApp,
    pub(crate) uid: String,
    pub(crate) version: u64,
    pub(crate) operation: Option<Operation>,
    pub(crate) state: Option<OperationState>,
    pub(crate) step: Option<(Timestamp, Step)>,
    pub(crate) live: Option<Live>,
    /// What ran before that, which comparisons still see for a moment.
    pub(crate) before: Option<Live>,
    pub(crate) live_log: Vec<(Timestamp, String)>,
    pub(crate) shown: Shown,
    pub(crate) comparison: Option<Comparison>,
    /// When the next comparison begins.
    pub(crate) compare_at: Timestamp,
    /// When the last comparison that was written began, exactly.
    pub(crate) compared: Option<Timestamp>,
    /// When the workloads' health changes next.
    pub(crate) health_at: Option<Timestamp>,
    /// When a change of a managed object is noticed: sync and health are written anew, at the revisions of the last full comparison and
    /// without its time.
    pub(crate) touch_at: Option<Timestamp>,
    pub(crate) history: Vec<Entry>,
    pub(crate) hydrator: Hydrator,
    /// What a cache of manifests holds for any revision.
    pub(crate) rendered: Option<String>,
    /// The sources as the ApplicationSet makes them, and when it does so next.
    pub(crate) generated: (Vec<Source>, Option<SourceHydrator>),
    pub(crate) regenerate_at: Option<Timestamp>,
    /// The revisions that automatic sync has tried already.
    pub(crate) attempted: Option<Vec<String>>,
    /// An older rendering that the server still answers with, and how often.
    pub(crate) cached: Option<(Value, u32)>,
}

/// What can be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Operation,
    Hydrate,
    Rollout,
    Regenerate,
    Health,
    Touch,
    CompareEnd,
    CompareBegin,
}

impl App {
    pub(crate) fn new(spec: FakeApp, uid: String, version: u64, now: Timestamp) -> Self {
        Self {
            generated: (spec.sources.clone(), spec.hydrator.clone()),
            regenerate_at: None,
            spec,
            uid,
            version,
            operation: None,
            state: None,
            step: None,
            live: None,
            before: None,
            live_log: Vec::new(),
            shown: Shown::default(),
            comparison: None,
            compare_at: now,
            compared: None,
            health_at: None,
            touch_at: None,
            history: Vec::new(),
            hydrator: Hydrator::default(),
            rendered: None,
            attempted: None,
            cached: None,
        }
    }

    /// The ApplicationSet makes the sources what it says.
    pub(crate) fn regenerate(&mut self) {
        let Some(at) = self.regenerate_at.take() else { return };
        (self.spec.sources, self.spec.hydrator) = self.generated.clone();
        // An edit makes the controller compare at once.
        self.compare_at = self.compare_at.min(at);
    }

    /// What is due next, and when.
    pub(crate) fn next(&self) -> (Timestamp, Event) {
        let compare = match &self.comparison {
            Some(comparison) => (comparison.due, Event::CompareEnd),
            None => (self.compare_at, Event::CompareBegin),
        };
        let operation = self.step.map(|(at, _)| (at, Event::Operation));
        let health = self.health_at.map(|at| (at, Event::Health));
        let touch = self.touch_at.map(|at| (at, Event::Touch));
        let hydrate = self.hydrator.due.map(|(at, _)| (at, Event::Hydrate));
        let rollout = self.live.as_ref().and_then(Live::goes_on_at).map(|at| (at, Event::Rollout));
        let regenerate = self.regenerate_at.map(|at| (at, Event::Regenerate));
        [operation, hydrate, rollout, regenerate, health, touch].into_iter().flatten().fold(compare, std::cmp::min)
    }
}
