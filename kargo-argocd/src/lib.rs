//! Argo CD
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod client;

pub use client::{AppRef, Client};
