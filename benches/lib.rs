//! Histories to measure on: large pipelines with freight in them, and the events of promotions.

mod history;
mod process;

pub use history::{History, Long, name, pipeline};
pub use process::{processor_time, resident, resident_at_most};
