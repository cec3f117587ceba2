//! Pipelines of any size, and journals as engines write them.

use std::sync::Arc;

use jiff::Timestamp;
use kargo_core::state::{Cause, Event, EventKind, HoldChange, State, Task, Trigger};
use kargo_core::{
    Actor, Artifact, Freight, FreightId, GenericArtifact, Phase, Pipeline, PipelineBuilder, PromotionId, Stage,
    StageName, StepSpec, Subscription, Warehouse,
};
use serde_json::json;

/// A pipeline with `stages` stages in chains of ten; the first of each chain takes freight straight from the warehouse.
pub fn pipeline(stages: usize) -> Pipeline {
    let warehouse = Warehouse::new("main").subscribe(Subscription::new("versions", json!({})));
    let stage = |number: usize| {
        let stage = Stage::new(name(number)).step(StepSpec::new("ship", json!({})));
        if number.is_multiple_of(10) {
            stage.direct("main")
        } else {
            stage.after("main", [name(number - 1)]).auto_promote()
        }
    };
    let builder = Pipeline::builder("bench").warehouse(warehouse);
    (0..stages).map(stage).fold(builder, PipelineBuilder::stage).build().expect("a valid pipeline")
}

/// The name of a stage by its number.
pub fn name(number: usize) -> StageName {
    StageName::from(format!("s{number:05}"))
}

fn freight(number: usize, now: Timestamp) -> Freight {
    let artifact = Artifact::Generic(GenericArtifact {
        artifact_type: "versions".into(),
        subscription_name: String::new(),
        version: format!("1.0.{number}"),
        metadata: serde_json::Value::Null,
    });
    Freight::new("main", vec![artifact], now)
}

/// A history that is written event by event.
#[derive(Debug)]
pub struct History {
    /// The state so far.
    pub state: State,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    now: Timestamp,
}

impl History {
    /// A pipeline of `stages` stages into which `freights` pieces of freight have come.
    pub fn new(stages: usize, freights: usize) -> Self {
        Self::of(Arc::new(pipeline(stages)), freights)
    }

    fn of(pipeline: Arc<Pipeline>, freights: usize) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut history = Self { state: State::new(), pipeline: Arc::clone(&pipeline), now };
        history.append(EventKind::PipelineDefined { pipeline });
        for number in 0..freights {
            let freight = freight(number, history.now);
            history.append(EventKind::FreightFound { freight, alias: None, against: None });
        }
        history
    }

    /// The id of the newest freight.
    pub fn newest(&self) -> FreightId {
        let newest = self.state.newest_first(&"main".into()).next();
        newest.expect("the history has freight").freight().id().clone()
    }

    /// Appends an event, a second after the one before, and returns the stages for which decisions may differ.
    pub fn append(&mut self, kind: EventKind) -> kargo_core::state::Affected {
        self.now += std::time::Duration::from_secs(1);
        let seq = self.state.seq() + 1;
        let event = Event { seq, at: self.now, actor: Actor::engine(), cause: Cause::Rule, kind };
        self.state.apply(&event).expect("the event follows")
    }

    fn append_event(&mut self, kind: EventKind) -> Event {
        self.now += std::time::Duration::from_secs(1);
        let event = Event { seq: self.state.seq() + 1, at: self.now, actor: Actor::engine(), cause: Cause::Rule, kind };
        self.state.apply(&event).expect("the event follows");
        event
    }

    /// The time of the last event.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The events of a promotion of `freight` to `stage` with all its steps and no verifier.
    fn whole_promotion(&self, stage: &StageName, freight: &FreightId) -> Vec<EventKind> {
        let [requested, started, .., finished, verifying, verified] = self.promotion(stage, freight);
        let EventKind::PromotionRequested { promotion, steps, .. } = &requested else { return Vec::new() };
        let steps = (0..steps.len()).flat_map(|index| {
            let task = || Task::Step { promotion: promotion.clone(), index };
            let outputs = json!({ "revision": "8f14e45fceea167a5a36dedd4bea2543e1b7c2f3" }).as_object().cloned();
            let (phase, message, outputs) = (Phase::Succeeded, String::new(), outputs.unwrap_or_default());
            [
                EventKind::TaskStarted { task: task() },
                EventKind::TaskFinished { task: task(), phase, message, outputs, config_digest: None },
            ]
        });
        let steps: Vec<EventKind> = steps.collect();
        [vec![requested, started], steps, vec![finished, verifying, verified]].concat()
    }

    /// The seven events of a promotion of `freight` to `stage` with one step and no verifier.
    pub fn promotion(&self, stage: &StageName, freight: &FreightId) -> [EventKind; 7] {
        let promotion = PromotionId::from(format!("{stage}.{:026}", self.state.seq()));
        let task = || Task::Step { promotion: promotion.clone(), index: 0 };
        let definition = self.pipeline.stage(stage).expect("the stage exists");
        let requested = EventKind::PromotionRequested {
            promotion: promotion.clone(),
            stage: stage.clone(),
            freight: freight.clone(),
            trigger: Trigger::Manual,
            steps: definition.steps().to_vec(),
            verification: Vec::new(),
            hold: HoldChange::None,
            rollback: None,
            reason: String::new(),
        };
        let (phase, message) = (Phase::Succeeded, String::new);
        [
            requested,
            EventKind::PromotionStarted { promotion: promotion.clone() },
            EventKind::TaskStarted { task: task() },
            EventKind::TaskFinished {
                task: task(),
                phase,
                message: message(),
                outputs: Default::default(),
                config_digest: None,
            },
            EventKind::PromotionFinished { promotion: promotion.clone(), phase, message: message() },
            EventKind::VerificationStarted { promotion: promotion.clone() },
            EventKind::VerificationFinished { promotion, phase, message: message() },
        ]
    }
}

/// A long journal of promotions of three steps, one stage after the other, as the engine writes it.
#[derive(Debug)]
pub struct Long {
    history: History,
    promotions: usize,
    freight: FreightId,
    records: Vec<Vec<u8>>,
}

impl Long {
    /// The beginning of it: a pipeline of `stages` stages of three steps, and freight.
    pub fn new(stages: usize) -> Self {
        let warehouse = Warehouse::new("main").subscribe(Subscription::new("versions", json!({})));
        let ship = |number: usize| {
            StepSpec::new("ship", json!({ "repoURL": "https://example.com/shop.git", "path": format!("env/{number}") }))
        };
        let stage = |number| (0..3).fold(Stage::new(name(number)).direct("main"), |stage, step| stage.step(ship(step)));
        let builder = Pipeline::builder("bench").warehouse(warehouse);
        let pipeline = (0..stages).map(stage).fold(builder, PipelineBuilder::stage).build().expect("a valid pipeline");
        let mut history = History::of(Arc::new(pipeline), 0);
        let defined = EventKind::PipelineDefined { pipeline: Arc::clone(&history.pipeline) };
        history.state = State::new();
        let mut records = vec![encoded(&history.append_event(defined))];
        let found = EventKind::FreightFound { freight: freight(0, history.now), alias: None, against: None };
        records.push(encoded(&history.append_event(found)));
        let freight = history.newest();
        Self { history, promotions: 0, freight, records }
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.history.pipeline
    }

    /// The state after all that was written.
    pub fn state(&self) -> &State {
        &self.history.state
    }

    /// The next records, `size` of them or a few more.
    pub fn page(&mut self, size: usize) -> Vec<Vec<u8>> {
        let mut page = std::mem::take(&mut self.records);
        while page.len() < size {
            let stages = self.history.pipeline.stages().count();
            let stage = name(self.promotions % stages);
            self.promotions += 1;
            for kind in self.history.whole_promotion(&stage, &self.freight) {
                page.push(encoded(&self.history.append_event(kind)));
            }
        }
        page
    }
}

/// An event as a store keeps it: the form, then JSON.
fn encoded(event: &Event) -> Vec<u8> {
    let mut bytes = vec![1];
    serde_json::to_writer(&mut bytes, event).expect("encodes");
    bytes
}
