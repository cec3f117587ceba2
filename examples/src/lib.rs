//! What the example programs share: the pipeline of a small shop, and where it runs.

pub mod shop;
