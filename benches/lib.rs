//! What to measure on: large pipelines with freight in them, the events of promotions, and a Git server.

mod git_server;
mod history;
mod process;
mod promise;
mod ssh_server;
mod stock_git;

pub use git_server::{Counted, GitServer};
pub use history::{History, Long, name, pipeline};
pub use process::{forget_most, processor_time, resident, resident_at_most};
pub use promise::promise;
pub use ssh_server::SshServer;
pub use stock_git::{Measured, commit, git, import, measure, measure_after, repack};
