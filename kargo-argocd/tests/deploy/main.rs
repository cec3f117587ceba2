//! The deployer against the fake Argo CD, on a clock that is turned by hand.
#![allow(clippy::unwrap_used, missing_docs)]

mod abort;
mod access;
mod bad_input;
mod bench;
mod engine;
mod hydrated;
mod idle;
mod outcome;
mod overtaken;
mod pace;
mod restart;
mod revisions;
mod rollout;
mod several;
mod steps;
mod stream;
mod windows;
