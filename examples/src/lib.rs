//! Reference pipelines.
