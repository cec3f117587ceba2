//! For the tests of hosts, plug-ins and stores: a clock that is turned by hand, plug-ins that play a script, and the
//! suite that every store has to pass.

mod clock;
mod conformance;
mod scripted;
mod source;

pub use clock::{ManualClock, TokioClock};
pub use conformance::store_conformance;
pub use scripted::{Play, Scripted, ScriptedCall};
pub use source::ScriptedSource;
