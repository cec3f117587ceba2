//! Gates: each condition that freight has to meet, with its verdict and what would open it.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Admission;
use crate::actor::Actor;
use crate::name::{FreightId, StageName, WarehouseName};
use crate::state::{Hold, StageHealth};

/// One condition, and whether it is met. Prints as a sentence; when closed, with what would open it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gate {
    /// The condition.
    pub kind: GateKind,
    /// Whether it is met.
    pub open: bool,
    /// Whether it must be met; the others are ways of which some suffice, as [`GateKind::Source`] says.
    pub required: bool,
}

impl Gate {
    pub(super) fn required(kind: GateKind, open: bool) -> Self {
        Self { kind, open, required: true }
    }

    pub(super) fn way(kind: GateKind, open: bool) -> Self {
        Self { kind, open, required: false }
    }
}

/// The conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GateKind {
    /// The stage exists.
    StageExists {
        /// A stage with almost that name.
        near: Option<StageName>,
    },
    /// The freight exists.
    FreightExists,
    /// The stage asks for freight of this warehouse.
    Requested {
        /// The warehouse.
        origin: WarehouseName,
    },
    /// The stage has steps, so that it can be promoted.
    HasSteps,
    /// One of the ways to enter is open: straight, by approval, or through upstream stages.
    Source {
        /// How many upstream stages are needed.
        needed: usize,
        /// How many there are.
        upstream: usize,
    },
    /// Freight may come straight from the warehouse.
    Direct {
        /// The warehouse.
        origin: WarehouseName,
    },
    /// Somebody approved the freight for the stage.
    Approved {
        /// Who.
        by: Option<Actor>,
    },
    /// The freight is verified in this upstream stage.
    Verified {
        /// The upstream stage.
        upstream: StageName,
        /// How the freight stands there.
        standing: Standing,
    },
    /// The freight has stayed long enough in this upstream stage.
    Soaked {
        /// The upstream stage.
        upstream: StageName,
        /// How long it must stay.
        required: Duration,
        /// How long it has.
        stayed: Duration,
        /// When that will be enough, if it stays.
        opens_at: Option<Timestamp>,
    },
    /// This upstream stage, which runs the freight and has to be healthy, is.
    Healthy {
        /// The upstream stage.
        upstream: StageName,
        /// How it was at the last look; none when it has not been looked at since its last promotion.
        health: Option<StageHealth>,
    },
    /// The stage promotes by itself.
    Automatic,
    /// Automatic promotions are not held.
    NotHeld {
        /// What holds them.
        by: Option<Hold>,
    },
    /// The freight is the one that the stage would take.
    Selected {
        /// The one that it would.
        selected: Option<FreightId>,
        /// The upstream stage that it matches; none when it takes the newest.
        upstream: Option<StageName>,
    },
    /// The stage does not run the freight yet.
    NotCurrent,
    /// The last promotion of the freight to the stage did not end badly.
    NotFailed {
        /// How it ended.
        last: Option<String>,
    },
    /// Nothing is under way in the stage.
    Free {
        /// What is.
        busy: Option<String>,
    },
}

/// How freight stands in a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It is verified there.
    Verified,
    /// It was never promoted there.
    Absent,
    /// A promotion waits there.
    Waiting,
    /// It is being promoted there.
    Promoting,
    /// Its last promotion there did not succeed.
    NotPromoted(String),
    /// It is being verified there.
    Verifying,
    /// Its last verification there did not pass.
    NotVerified(String),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified => f.write_str("it is verified there"),
            Self::Absent => f.write_str("it has not been promoted there"),
            Self::Waiting => f.write_str("its promotion waits in the queue there"),
            Self::Promoting => f.write_str("it is being promoted there now"),
            Self::NotPromoted(how) => write!(f, "its last promotion there ended {how}"),
            Self::Verifying => f.write_str("it is being verified there now"),
            Self::NotVerified(how) => write!(f, "its last verification there ended {how}"),
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, self.open) {
            (GateKind::StageExists { .. }, true) => f.write_str("the stage exists"),
            (GateKind::StageExists { near: Some(near) }, false) => {
                write!(f, "the stage does not exist; did you mean {near:?}?")
            }
            (GateKind::StageExists { near: None }, false) => f.write_str("the stage does not exist"),
            (GateKind::FreightExists, true) => f.write_str("the freight exists"),
            (GateKind::FreightExists, false) => {
                f.write_str("the freight does not exist; give the id of freight that a warehouse has made")
            }
            (GateKind::Requested { origin }, true) => write!(f, "the stage asks for freight of warehouse {origin}"),
            (GateKind::Requested { origin }, false) => {
                write!(f, "the stage does not ask for freight of warehouse {origin}; add a request to it")
            }
            (GateKind::HasSteps, true) => f.write_str("the stage has steps"),
            (GateKind::HasSteps, false) => {
                f.write_str("the stage has no steps: freight passes through it by itself, and is not promoted to it")
            }
            (GateKind::Source { .. }, true) => f.write_str("it has a way to enter"),
            (GateKind::Source { needed, upstream }, false) if *needed > 1 && needed == upstream => {
                f.write_str("it has no way to enter yet: every upstream stage must have verified it")
            }
            (GateKind::Source { needed, upstream }, false) if *needed > 1 => {
                write!(
                    f,
                    "it has no way to enter yet: {needed} of the {upstream} upstream stages must have verified it"
                )
            }
            (GateKind::Source { .. }, false) => f.write_str("it has no way to enter yet"),
            (GateKind::Direct { origin }, true) => write!(f, "it may come straight from warehouse {origin}"),
            (GateKind::Direct { origin }, false) => write!(f, "it may not come straight from warehouse {origin}"),
            (GateKind::Approved { by: Some(actor) }, _) => write!(f, "it was approved for the stage by {actor}"),
            (GateKind::Approved { by: None }, _) => f.write_str("nobody has approved it for the stage"),
            (GateKind::Verified { upstream, .. }, true) => write!(f, "it is verified in stage {upstream}"),
            (GateKind::Verified { upstream, standing }, false) => {
                write!(f, "it is not verified in stage {upstream}: {standing}")
            }
            (GateKind::Soaked { upstream, required, .. }, true) => {
                write!(f, "it has stayed {} in stage {upstream}", human(*required))
            }
            (GateKind::Soaked { upstream, required, stayed, opens_at }, false) => {
                let (stayed, required) = (human(*stayed), human(*required));
                write!(f, "it has stayed {stayed} of the required {required} in stage {upstream}")?;
                match opens_at {
                    Some(at) => write!(f, "; that is reached at {at}"),
                    None => f.write_str("; it is not there now"),
                }
            }
            (GateKind::Healthy { upstream, health: Some(known) }, open) => {
                let but = if open { "" } else { ", and what it runs counts as verified only while it is healthy" };
                let StageHealth { health, reason, since, .. } = known;
                write!(f, "stage {upstream} is {health} since {since}{but}")?;
                if open || reason.is_empty() { Ok(()) } else { write!(f, " ({reason})") }
            }
            (GateKind::Healthy { upstream, health: None }, _) => {
                write!(f, "stage {upstream} has to be healthy, and has not been looked at since its last promotion")
            }
            (GateKind::Automatic, true) => f.write_str("the stage promotes by itself"),
            (GateKind::Automatic, false) => f.write_str("the stage waits for a person to promote"),
            (GateKind::NotHeld { .. }, true) => f.write_str("automatic promotions are not held"),
            (GateKind::NotHeld { by: Some(hold) }, false) => write!(f, "{hold}"),
            (GateKind::NotHeld { by: None }, false) => f.write_str("automatic promotions are held"),
            (GateKind::Selected { upstream: None, .. }, true) => {
                f.write_str("it is the freight that the stage would take: the newest that may enter")
            }
            (GateKind::Selected { upstream: Some(upstream), .. }, true) => {
                write!(f, "it is the freight that the stage would take: what stage {upstream} runs")
            }
            (GateKind::Selected { selected: Some(selected), .. }, false) => {
                write!(f, "the freight that the stage would take is {}", selected.short())
            }
            (GateKind::Selected { selected: None, upstream: None }, false) => f.write_str("no freight may enter"),
            (GateKind::Selected { selected: None, upstream: Some(upstream) }, false) => {
                write!(f, "stage {upstream}, which the stage matches, is busy, or runs nothing that may enter")
            }
            (GateKind::NotCurrent, true) => f.write_str("the stage does not run it yet"),
            (GateKind::NotCurrent, false) => f.write_str("the stage runs it already"),
            (GateKind::NotFailed { .. }, true) => f.write_str("no promotion of it to the stage has ended badly"),
            (GateKind::NotFailed { last }, false) => write!(
                f,
                "its last promotion to the stage ended {}; promote it by hand to try again",
                last.as_deref().unwrap_or("badly")
            ),
            (GateKind::Free { .. }, true) => f.write_str("nothing is under way in the stage"),
            (GateKind::Free { busy }, false) => {
                write!(f, "the stage is busy with {}", busy.as_deref().unwrap_or("another promotion"))
            }
        }
    }
}

/// A duration as people write it.
fn human(duration: Duration) -> String {
    match SignedDuration::try_from(duration) {
        Ok(duration) => format!("{duration:#}"),
        Err(_) => "for ever".to_owned(),
    }
}

/// Why freight is, or is not, in a stage.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Why {
    /// Whether it may enter, gate by gate.
    pub admission: Admission,
    /// Whether it will be promoted without being asked: all of these must be open, besides the admission.
    pub automatic: Vec<Gate>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.admission)?;
        for gate in &self.automatic {
            write!(f, "\n  {} {gate}", mark(gate.open))?;
        }
        Ok(())
    }
}

pub(super) fn mark(open: bool) -> &'static str {
    if open { "[open]  " } else { "[closed]" }
}
