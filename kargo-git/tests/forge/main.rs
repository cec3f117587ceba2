//! Pull requests on fakes of all forges: each scenario runs on each of them.
#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod app;
mod bench;
mod contract;
mod engine;
mod merge;
mod open;
mod push;
mod restart;
mod wait;
