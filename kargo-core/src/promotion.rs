//! What a plug-in is told about the promotion it works for.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::freight::{Freight, FreightCollection};
use crate::name::{PipelineName, PromotionId, StageName};

/// How a promotion, or one step of it, stands. The words are Kargo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Waits in the stage's queue.
    Pending,
    /// Is under way.
    Running,
    /// Did all it should.
    Succeeded,
    /// Had nothing to do.
    Skipped,
    /// Was stopped on request.
    Aborted,
    /// A verifier could not say; a person has to look. Only verifications end so.
    Inconclusive,
    /// Ended by a verdict: a check said no.
    Failed,
    /// Ended by an error: something could not be done or found out.
    Errored,
}

impl Phase {
    /// Whether it has ended.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Whether it has ended well.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Skipped => "Skipped",
            Self::Aborted => "Aborted",
            Self::Inconclusive => "Inconclusive",
            Self::Failed => "Failed",
            Self::Errored => "Errored",
        })
    }
}

/// The promotion that a plug-in works for. All of it but the last field comes from the journal, so it is the same after a restart.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PromotionInfo {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The promotion's id; unique over all pipelines.
    pub id: PromotionId,
    /// The stage that is being promoted.
    pub stage: StageName,
    /// The freight that is being promoted.
    pub freight: Freight,
    /// That freight, and what the stage keeps of its other warehouses.
    pub collection: FreightCollection,
    /// Who asked for it.
    pub actor: Actor,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Where people look at pipelines, without a slash at the end: [`EngineBuilder::ui_base_url`](crate::EngineBuilder::ui_base_url).
    pub ui_base_url: Option<Arc<str>>,
}

impl PromotionInfo {
    /// A promotion for the tests of plug-ins; the engine makes its own.
    pub fn new(
        pipeline: impl Into<PipelineName>,
        id: impl Into<PromotionId>,
        stage: impl Into<StageName>,
        freight: Freight,
        actor: Actor,
        requested_at: Timestamp,
    ) -> Self {
        let collection = FreightCollection::new().with(freight.clone());
        Self {
            pipeline: pipeline.into(),
            id: id.into(),
            stage: stage.into(),
            freight,
            collection,
            actor,
            requested_at,
            ui_base_url: None,
        }
    }

    /// Says where people look at pipelines, for the tests of plug-ins.
    #[must_use]
    pub fn with_ui_base_url(mut self, url: &str) -> Self {
        self.ui_base_url = Some(url.trim_end_matches('/').into());
        self
    }

    /// The page of the stage there, as Kargo's user interface has it.
    pub fn ui_page(&self) -> Option<String> {
        let base = self.ui_base_url.as_deref()?;
        Some(format!("{base}/project/{}/stage/{}", self.pipeline, self.stage))
    }
}
