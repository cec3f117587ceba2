//! One application: what it is, what its status says, and what is due.

use jiff::Timestamp;

use super::settings::FakeApp;
use crate::client::Info;

/// What really runs.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) revision: String,
    pub(super) manifests: Option<String>,
    /// When its workloads are as ready as they will get.
    pub(super) settled_at: Timestamp,
    pub(super) fate: Fate,
}

/// What becomes of workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Ready,
    Broken,
    Stalled,
}

impl Live {
    pub(super) fn is_ready(&self, now: Timestamp) -> bool {
        self.fate == Fate::Ready && now >= self.settled_at
    }

    pub(super) fn health(&self, now: Timestamp) -> &'static str {
        match self.fate {
            Fate::Ready if now >= self.settled_at => "Healthy",
            Fate::Broken if now >= self.settled_at => "Degraded",
            _ => "Progressing",
        }
    }
}

/// An operation, as it was accepted.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) revision: String,
    pub(super) prune: bool,
    pub(super) username: String,
    pub(super) automated: bool,
    pub(super) infos: Vec<Info>,
}

/// What the operation worker wrote last.
#[derive(Debug, Clone)]
pub(super) struct OperationState {
    pub(super) operation: Operation,
    pub(super) phase: &'static str,
    pub(super) message: String,
    pub(super) started_at: Timestamp,
    pub(super) finished_at: Option<Timestamp>,
}

/// What the operation worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begin,
    Apply,
    End,
}

/// What the refresh worker wrote last.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    pub(super) sync: &'static str,
    pub(super) revision: String,
    pub(super) target: String,
    pub(super) health: &'static str,
    pub(super) reconciled_at: Option<Timestamp>,
    pub(super) error: Option<String>,
    pub(super) resources: bool,
}

/// A comparison that has begun, and what it will write.
#[derive(Debug, Clone)]
pub(super) struct Comparison {
    pub(super) began: Timestamp,
    pub(super) due: Timestamp,
    pub(super) result: Shown,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) revision: String,
    pub(super) started_at: Timestamp,
    pub(super) deployed_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) spec: FakeApp,
    pub(super) uid: String,
    pub(super) version: u64,
    pub(super) operation: Option<Operation>,
    pub(super) state: Option<OperationState>,
    pub(super) step: Option<(Timestamp, Step)>,
    pub(super) live: Option<Live>,
    pub(super) live_log: Vec<(Timestamp, String)>,
    pub(super) shown: Shown,
    pub(super) comparison: Option<Comparison>,
    /// When the next comparison begins.
    pub(super) compare_at: Timestamp,
    /// When the last comparison that was written began, exactly.
    pub(super) compared: Option<Timestamp>,
    /// When the workloads' health changes next.
    pub(super) health_at: Option<Timestamp>,
    pub(super) history: Vec<Entry>,
    /// The revision that automatic sync has tried already.
    pub(super) attempted: Option<String>,
}

/// What can be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Operation,
    Health,
    CompareEnd,
    CompareBegin,
}

impl App {
    pub(super) fn new(spec: FakeApp, uid: String, now: Timestamp) -> Self {
        Self {
            spec,
            uid,
            version: 1,
            operation: None,
            state: None,
            step: None,
            live: None,
            live_log: Vec::new(),
            shown: Shown::default(),
            comparison: None,
            compare_at: now,
            compared: None,
            health_at: None,
            history: Vec::new(),
            attempted: None,
        }
    }

    /// What is due next, and when.
    pub(super) fn next(&self) -> (Timestamp, Event) {
        let compare = match &self.comparison {
            Some(comparison) => (comparison.due, Event::CompareEnd),
            None => (self.compare_at, Event::CompareBegin),
        };
        let operation = self.step.map(|(at, _)| (at, Event::Operation));
        let health = self.health_at.map(|at| (at, Event::Health));
        [operation, health].into_iter().flatten().fold(compare, std::cmp::min)
    }
}
