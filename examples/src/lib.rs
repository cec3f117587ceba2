//! What the example programs share: the pipeline of a small shop, where it runs, and every step of these crates.

pub mod shop;
pub mod steps;

/// The code of the README, so that it compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
