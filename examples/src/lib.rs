//! What the example programs share: the pipeline of a small shop, and where it runs.

pub mod shop;

/// The code of the README, so that it compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
