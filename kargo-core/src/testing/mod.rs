//! For the tests of hosts and plug-ins: a clock that is turned by hand.

mod clock;

pub use clock::ManualClock;
