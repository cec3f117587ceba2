//! The audit trail: the journal, read by who, what and where.

use std::collections::HashMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::name::{FreightId, PromotionId, StageName, WarehouseName};
use crate::state::{Cause, Event, EventKind, MetadataOf};

/// Which entries of the audit trail to show. All conditions that are set must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AuditFilter {
    /// Caused by this actor.
    pub actor: Option<Actor>,
    /// About this stage, or a promotion to it.
    pub stage: Option<StageName>,
    /// About this freight, or a promotion of it.
    pub freight: Option<FreightId>,
    /// About this promotion, its steps and its verification.
    pub promotion: Option<PromotionId>,
    /// About this warehouse, or freight of it.
    pub warehouse: Option<WarehouseName>,
    /// At or after this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// For this cause.
    pub cause: Option<Cause>,
}

impl AuditFilter {
    /// Caused by `actor`.
    #[must_use]
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// About `stage`, or a promotion to it.
    #[must_use]
    pub fn stage(mut self, stage: impl Into<StageName>) -> Self {
        self.stage = Some(stage.into());
        self
    }

    /// About `freight`, or a promotion of it.
    #[must_use]
    pub fn freight(mut self, freight: impl Into<FreightId>) -> Self {
        self.freight = Some(freight.into());
        self
    }

    /// About `promotion`, its steps and its verification.
    #[must_use]
    pub fn promotion(mut self, promotion: impl Into<PromotionId>) -> Self {
        self.promotion = Some(promotion.into());
        self
    }

    /// About `warehouse`, or freight of it.
    #[must_use]
    pub fn warehouse(mut self, warehouse: impl Into<WarehouseName>) -> Self {
        self.warehouse = Some(warehouse.into());
        self
    }

    /// At or after `from`.
    #[must_use]
    pub fn from(mut self, from: Timestamp) -> Self {
        self.from = Some(from);
        self
    }

    /// Before `until`.
    #[must_use]
    pub fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// For `cause`.
    #[must_use]
    pub fn cause(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    fn matches(&self, event: &Event, subject: &Subject) -> bool {
        fn same<T: PartialEq>(wanted: &Option<T>, found: &Option<T>) -> bool {
            wanted.is_none() || wanted == found
        }
        self.actor.as_ref().is_none_or(|actor| event.actor == *actor)
            && self.cause.is_none_or(|cause| event.cause == cause)
            && self.from.is_none_or(|from| event.at >= from)
            && self.until.is_none_or(|until| event.at < until)
            && same(&self.stage, &subject.stage)
            && (same(&self.freight, &subject.freight)
                || self.freight.as_ref().is_some_and(|id| took(event).0.contains(id)))
            && (same(&self.promotion, &subject.promotion)
                || self.promotion.as_ref().is_some_and(|id| took(event).1.contains(id)))
            && same(&self.warehouse, &subject.warehouse)
    }
}

/// The freight and the promotions that an event takes out of the state.
fn took(event: &Event) -> (&[FreightId], &[PromotionId]) {
    match &event.kind {
        EventKind::Collected { freight, promotions } => (freight, promotions),
        _ => (&[], &[]),
    }
}

/// One entry of the audit trail. Prints as a line: time, actor, text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// The event, as the journal has it: its number, time, actor and cause are there.
    pub event: Event,
    /// The stage it is about.
    pub stage: Option<StageName>,
    /// The freight it is about.
    pub freight: Option<FreightId>,
    /// The promotion it is about.
    pub promotion: Option<PromotionId>,
    /// The warehouse it is about, by itself or by its freight.
    pub warehouse: Option<WarehouseName>,
    /// What happened, for people.
    pub text: String,
}

impl fmt::Display for AuditEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { at, actor, .. } = &self.event;
        // To the second: an audit trail is read by people, and the event has the whole time.
        write!(f, "{} {actor}: {}", at.strftime("%Y-%m-%dT%H:%M:%SZ"), self.text)?;
        // Some events name only their promotion.
        match (&self.stage, &self.freight, &self.event.kind) {
            (Some(stage), Some(freight), kind) if names_only_its_promotion(kind) => {
                write!(f, " (freight {} to {stage})", freight.short())
            }
            _ => Ok(()),
        }
    }
}

/// A page of the audit trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// The event before which the next page begins; none when this was the last.
    pub next: Option<u64>,
}

/// What an event is about.
#[derive(Debug, Clone, Default)]
struct Subject {
    stage: Option<StageName>,
    freight: Option<FreightId>,
    promotion: Option<PromotionId>,
    warehouse: Option<WarehouseName>,
}

/// Reads a journal from its beginning and picks what a filter lets through.
///
/// Most events name only their promotion. The reader remembers stage and freight of each promotion, and the warehouse of each freight, as it
/// comes by them, so it also knows those that the state no longer keeps. That is all that it keeps.
#[derive(Debug, Clone, Default)]
pub struct AuditReader {
    filter: AuditFilter,
    promotions: HashMap<PromotionId, (StageName, FreightId)>,
    freight: HashMap<FreightId, WarehouseName>,
}

impl AuditReader {
    /// A reader before the first event.
    pub fn new(filter: AuditFilter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Takes the next event. Every event from the first on must be handed in, or those that name only their promotion are not
    /// recognised.
    pub fn read(&mut self, event: &Event) -> Option<AuditEntry> {
        match &event.kind {
            EventKind::PromotionRequested { promotion, stage, freight, .. } => {
                self.promotions.insert(promotion.clone(), (stage.clone(), freight.clone()));
            }
            EventKind::FreightFound { freight, .. } => {
                self.freight.insert(freight.id().clone(), freight.origin().clone());
            }
            _ => {}
        }
        let subject = self.subject(&event.kind);
        if !self.filter.matches(event, &subject) {
            return None;
        }
        let Subject { stage, freight, promotion, warehouse } = subject;
        let text = event.kind.to_string();
        Some(AuditEntry { event: event.clone(), stage, freight, promotion, warehouse, text })
    }

    fn subject(&self, kind: &EventKind) -> Subject {
        let mut subject = Subject::default();
        // Without a wildcard, so that a new kind of event cannot be forgotten here.
        match kind {
            EventKind::PipelineDefined { .. } => {}
            EventKind::FreightFound { freight, .. } => subject.freight = Some(freight.id().clone()),
            EventKind::Collected { .. } => {}
            EventKind::FreightOffered { freight, .. } | EventKind::AliasSet { freight, .. } => {
                subject.freight = Some(freight.clone())
            }
            EventKind::MetadataSet { of: MetadataOf::Stage(stage), .. } => subject.stage = Some(stage.clone()),
            EventKind::MetadataSet { of: MetadataOf::Freight(freight), .. } => subject.freight = Some(freight.clone()),
            EventKind::WarehouseWaiting { warehouse, .. }
            | EventKind::DiscoveryFailed { warehouse, .. }
            | EventKind::DiscoveryRecovered { warehouse } => {
                subject.warehouse = Some(warehouse.clone());
            }
            EventKind::FreightApproved { freight, stage } | EventKind::FreightPassed { freight, stage } => {
                subject.stage = Some(stage.clone());
                subject.freight = Some(freight.clone());
            }
            EventKind::AutoPromotionHeld { stage, origin, .. } | EventKind::AutoPromotionReleased { stage, origin } => {
                subject.stage = Some(stage.clone());
                subject.warehouse = Some(origin.clone());
            }
            EventKind::PromotionRequested { promotion, .. }
            | EventKind::PromotionStarted { promotion }
            | EventKind::AbortRequested { promotion, .. }
            | EventKind::VerificationRequested { promotion, .. }
            | EventKind::VerificationJudged { promotion, .. }
            | EventKind::PromotionFinished { promotion, .. }
            | EventKind::VerificationStarted { promotion }
            | EventKind::VerificationFinished { promotion, .. }
            | EventKind::HealthChanged { promotion, .. } => subject.promotion = Some(promotion.clone()),
            EventKind::TaskStarted { task }
            | EventKind::TaskWaiting { task, .. }
            | EventKind::TaskErrored { task, .. }
            | EventKind::StepAnswered { task, .. }
            | EventKind::TaskFinished { task, .. } => subject.promotion = Some(task.promotion().clone()),
        }
        if let Some((stage, freight)) = subject.promotion.as_ref().and_then(|id| self.promotions.get(id)) {
            subject.stage = Some(stage.clone());
            subject.freight = Some(freight.clone());
        }
        if let Some(warehouse) = subject.freight.as_ref().and_then(|id| self.freight.get(id)) {
            subject.warehouse = Some(warehouse.clone());
        }
        subject
    }
}

/// Whether its text names neither stage nor freight.
fn names_only_its_promotion(kind: &EventKind) -> bool {
    !matches!(
        kind,
        EventKind::FreightFound { .. }
            | EventKind::FreightApproved { .. }
            | EventKind::FreightPassed { .. }
            | EventKind::PromotionRequested { .. }
            | EventKind::HealthChanged { .. }
            | EventKind::AutoPromotionHeld { .. }
            | EventKind::AutoPromotionReleased { .. }
    )
}
