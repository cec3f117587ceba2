//! What single reads prove, and what they do not.

mod applied;
mod hydrated;
#[cfg(feature = "testing")]
mod interleavings;
mod observed;
mod overtaken;
mod races;
mod reports;

use jiff::Timestamp;
use kargo_core::plugin::Relation;
use serde_json::{Value, json};

use super::{Case, Judgement, Latches, Next, Policy, Relations, Verdict, Wanted, judge};
use crate::client::Application;

pub(super) const TAG: &str = "p1";

/// Four revisions: the wanted one, one before it, one after it, and one beside it.
pub(super) fn wanted() -> String {
    "b".repeat(40)
}
pub(super) fn earlier() -> String {
    "a".repeat(40)
}
pub(super) fn later() -> String {
    "c".repeat(40)
}
pub(super) fn beside() -> String {
    "d".repeat(40)
}

pub(super) fn at(time: &str) -> Timestamp {
    format!("2026-01-01T{time}Z").parse().unwrap()
}

pub(super) fn stamp(time: &str) -> Value {
    format!("2026-01-01T{time}Z").into()
}

/// A read of an application that follows `main`, and all that a verdict on it takes.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) app: Value,
    pub(super) wanted: Wanted,
    pub(super) latches: Latches,
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
    pub(super) related: bool,
    /// Of which pairs it is known that nothing is.
    pub(super) unknown: Vec<(kargo_core::Revision, kargo_core::Revision)>,
}

/// The operation ended at 10:00:05, the comparison that counts began at 10:00:07, and it is 10:00:08: live, until a test changes something.
pub(super) fn read() -> Read {
    let source = json!({"repoURL": "https://git.example/config", "targetRevision": "main", "path": "dev"});
    Read {
        app: json!({
            "metadata": {"name": "shop", "uid": "1"},
            "spec": {"project": "web", "source": source},
            "status": {
                "sync": {"status": "Synced", "revision": wanted(), "comparedTo": {"source": source}},
                "health": {"status": "Healthy"},
                "reconciledAt": stamp("10:00:07"),
                "resources": [{"kind": "Deployment", "name": "shop", "status": "Synced", "health": {"status": "Healthy"}}],
            },
        })
        .with_operation("Succeeded", &wanted()),
        wanted: Wanted::revision(wanted()),
        latches: Latches { since: Some(at("10:00:00")), uid: Some("1".into()), ..Latches::default() },
        policy: Policy::default(),
        now: at("10:00:08"),
        related: true,
        unknown: Vec::new(),
    }
}

pub(super) trait Shape {
    fn with_operation(self, phase: &str, revision: &str) -> Value;
}

impl Shape for Value {
    /// Our operation ended at 10:00:05 with `phase` at `revision`.
    fn with_operation(mut self, phase: &str, revision: &str) -> Value {
        self["status"]["operationState"] = json!({
            "operation": {"sync": {"revision": revision}, "info": [{"name": crate::TAG, "value": TAG}]},
            "phase": phase,
            "syncResult": {"revision": revision},
            "startedAt": stamp("10:00:02"),
            "finishedAt": stamp("10:00:05"),
        });
        self["status"]["history"] = json!([{"id": 1, "revision": revision, "deployStartedAt": stamp("10:00:02")}]);
        self
    }
}

impl Read {
    /// Sets a field by its path, such as `status.health.status`; `null` takes it away.
    pub(super) fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let pointer = format!("/{}", path.replace('.', "/"));
        if let Some(place) = self.app.pointer_mut(&pointer) {
            *place = value.into();
            return self;
        }
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        self.app.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"))[field] = value.into();
        self
    }

    pub(super) fn now(mut self, time: &str) -> Self {
        self.now = at(time);
        self
    }

    pub(super) fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    pub(super) fn latches(mut self, change: impl FnOnce(&mut Latches)) -> Self {
        change(&mut self.latches);
        self
    }

    /// As [`Shape::with_operation`].
    pub(super) fn operation(mut self, phase: &str, revision: &str) -> Self {
        self.app = self.app.with_operation(phase, revision);
        self
    }

    /// The last operation is somebody else's.
    pub(super) fn of_another(self) -> Self {
        self.set("status.operationState.operation.info", Value::Null)
    }

    /// An operation is asked for.
    pub(super) fn requested(self, tag: &str) -> Self {
        self.set(
            "operation",
            json!({"sync": {}, "initiatedBy": {"username": "bob"}, "info": [{"name": crate::TAG, "value": tag}]}),
        )
    }

    pub(super) fn judgement(&self) -> Judgement {
        let app: Application = serde_json::from_value(self.app.clone()).unwrap();
        let mut relations = Relations::default();
        for (index, wanted_here) in self.wanted.iter() {
            let _ = index;
            if self.related {
                relations.learn(earlier(), wanted_here, Relation::Earlier);
                relations.learn(later(), wanted_here, Relation::Later);
                relations.learn(beside(), wanted_here, Relation::Diverged);
            }
        }
        for (observed, wanted) in &self.unknown {
            relations.learn(observed.as_str(), wanted, Relation::Unknown);
        }
        judge(&Case {
            app: &app,
            wanted: &self.wanted,
            tag: TAG,
            latches: &self.latches,
            policy: &self.policy,
            relations: &relations,
            now: self.now,
        })
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.judgement().verdict
    }

    #[track_caller]
    pub(super) fn is_live(&self) -> String {
        match self.verdict() {
            Verdict::Live { evidence, .. } => evidence,
            other => panic!("not live: {other:?}"),
        }
    }

    /// Pending, with this as what would help; returns why.
    #[track_caller]
    pub(super) fn is_pending(&self, wanted: &Next) -> String {
        match self.verdict() {
            Verdict::Pending { why, next, .. } if next == *wanted => why,
            other => panic!("not pending with {wanted:?}: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn is_failed(&self) -> String {
        match self.verdict() {
            Verdict::Failed { why } => why,
            other => panic!("not failed: {other:?}"),
        }
    }

    /// Judges again `seconds` later, with the latches of now.
    pub(super) fn again_after(mut self, seconds: i64) -> Self {
        self.latches = self.judgement().latches;
        self.now += jiff::SignedDuration::from_secs(seconds);
        self
    }
}

#[test]
fn the_read_that_the_tests_change_is_live() {
    let evidence = read().is_live();
    assert!(evidence.contains("10:00:07") && evidence.contains("10:00:05"), "{evidence}");
}
