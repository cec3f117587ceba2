//! What a stage asks for, and under which conditions it may enter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{StageName, WarehouseName};

/// What freight of one warehouse a stage asks for, and under which conditions it may enter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FreightRequest {
    /// The warehouse.
    pub origin: WarehouseName,
    /// Whether freight may come straight from the warehouse.
    #[serde(default)]
    pub direct: bool,
    /// The stages that must have verified it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageName>,
    /// How many of `stages` are needed.
    #[serde(default)]
    pub availability: Availability,
    /// How long it must have stayed in the upstream stage, counted from entering it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_soak: Option<Duration>,
    /// Which of the freight that may enter is promoted automatically.
    #[serde(default, skip_serializing_if = "Selection::is_newest")]
    pub selection: Selection,
}

impl FreightRequest {
    /// Straight from `warehouse`.
    pub fn direct(warehouse: impl Into<WarehouseName>) -> Self {
        Self {
            origin: warehouse.into(),
            direct: true,
            stages: Vec::new(),
            availability: Availability::OneOf,
            required_soak: None,
            selection: Selection::Newest,
        }
    }

    /// After any one of `stages`.
    pub fn after<S: Into<StageName>>(warehouse: impl Into<WarehouseName>, stages: impl IntoIterator<Item = S>) -> Self {
        Self { direct: false, stages: stages.into_iter().map(Into::into).collect(), ..Self::direct(warehouse) }
    }

    /// Demands all the stages, not any one of them.
    #[must_use]
    pub fn all(mut self) -> Self {
        self.availability = Availability::All;
        self
    }

    /// Demands `count` of the stages.
    #[must_use]
    pub fn at_least(mut self, count: usize) -> Self {
        self.availability = Availability::AtLeast(count);
        self
    }

    /// Follows the one upstream stage: what that runs is promoted automatically, also when it is older.
    #[must_use]
    pub fn match_upstream(mut self) -> Self {
        self.selection = Selection::MatchUpstream;
        self
    }

    /// Demands that freight stayed at least this long in the upstream stage.
    #[must_use]
    pub fn soak(mut self, time: Duration) -> Self {
        self.required_soak = Some(time);
        self
    }
}

/// How many of the upstream stages must have verified freight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Availability {
    /// Any one of them.
    #[default]
    OneOf,
    /// Every one of them.
    All,
    /// This many of them; Kargo has no such.
    AtLeast(usize),
}

impl Availability {
    /// How many of `stages` are needed; one at least.
    pub fn needed(self, stages: usize) -> usize {
        match self {
            Self::OneOf => 1,
            Self::All => stages.max(1),
            Self::AtLeast(count) => count.max(1),
        }
    }
}

/// Which of the freight that may enter a stage is promoted automatically. The words are Kargo's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// The newest. A stage never goes back to older freight by itself.
    #[default]
    #[serde(rename = "NewestFreight")]
    Newest,
    /// What the one upstream stage runs once nothing is under way there, also when that is older: a rollback there reaches
    /// this stage too.
    MatchUpstream,
}

impl Selection {
    fn is_newest(&self) -> bool {
        *self == Self::Newest
    }
}
