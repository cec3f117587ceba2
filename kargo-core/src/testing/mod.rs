//! For the tests of hosts, plug-ins and stores: clocks that a test turns or pauses, plug-ins that play a script, the suite that
//! every store has to pass, and a [`Simulation`] that runs a whole pipeline under faults.

mod clock;
mod conformance;
#[cfg(test)]
mod data;
mod outbox;
mod scripted;
mod simulation;
mod source;

pub use clock::{ManualClock, TokioClock};
pub use conformance::store_conformance;
#[cfg(test)]
pub(crate) use data::Data;
pub use outbox::{Outbox, OutboxMessage};
pub use scripted::{Play, Scripted, ScriptedCall};
#[cfg(test)]
pub(crate) use simulation::Random;
pub use simulation::{Report, Simulation, Violation};
pub use source::ScriptedSource;
