//! Histories to measure on: large pipelines with freight in them, and the events of promotions.

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
        let pipeline = Arc::new(pipeline(stages));
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut history = Self { state: State::new(), pipeline: Arc::clone(&pipeline), now };
        history.append(EventKind::PipelineDefined { pipeline });
        for number in 0..freights {
            let artifact = Artifact::Generic(GenericArtifact {
                artifact_type: "versions".into(),
                subscription_name: String::new(),
                version: format!("1.0.{number}"),
                metadata: serde_json::Value::Null,
            });
            let freight = Freight::new("main", vec![artifact], history.now);
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

    /// The time of the last event.
    pub fn now(&self) -> Timestamp {
        self.now
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
        };
        let (phase, message) = (Phase::Succeeded, String::new);
        [
            requested,
            EventKind::PromotionStarted { promotion: promotion.clone() },
            EventKind::TaskStarted { task: task() },
            EventKind::TaskFinished { task: task(), phase, message: message(), outputs: Default::default() },
            EventKind::PromotionFinished { promotion: promotion.clone(), phase, message: message() },
            EventKind::VerificationStarted { promotion: promotion.clone() },
            EventKind::VerificationFinished { promotion, phase, message: message() },
        ]
    }
}
