//! What the end-to-end tests share: the servers of `tests/run.sh`, stock tools, a repository and a step for it, scenarios of pushing, and
//! the shop of the examples in places of its own.

pub mod pushing;
pub mod repository;
pub mod world;

use std::path::Path;
use std::process::Command;

/// The value of a variable that `tests/run.sh` sets.
///
/// # Panics
/// When it is not set: a test that needs a server must not pass without it.
pub fn server(variable: &str) -> String {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    value.unwrap_or_else(|| panic!("{variable} is not set; start tests/run.sh, which starts the servers and sets it"))
}

/// What stock git says of a repository.
///
/// # Panics
/// When git is not installed, or fails.
pub fn git(repository: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(repository).args(arguments).output().expect("git is installed");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("git prints text").trim_end().to_owned()
}
