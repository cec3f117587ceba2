//! Kargo's steps for Git, one after the other on one workspace, in repositories on this machine.
#![allow(missing_docs, clippy::unwrap_used)]

mod checkout;
mod configuration;
mod promotion;
mod push;
mod restart;
#[cfg(unix)]
mod signing;
