//! Versions and constraints as Masterminds/semver defines them, which is what Kargo's files are written for.
//!
//! The rules differ from those of Rust's `semver` crate in ways that matter: a bare `1.2.3` means exactly that version,
//! not `^1.2.3`; blanks and commas mean "and", `||` means "or"; a pre-release is admitted when its group of terms names
//! any pre-release at all. Only the value type and its precedence are taken from that crate.
//!
//! ```
//! use kargo_core::version::{Constraint, Version};
//!
//! let constraint: Constraint = ">=1.2 <2 || 3.x".parse()?;
//! let mut versions = ["1.3", "v1.20.1", "2.0.0", "3.1.4", "3.2.0-rc.1"].map(|tag| Version::parse(tag).unwrap());
//! versions.sort_by(|a, b| b.cmp(a));
//! let fitting: Vec<&str> = versions.iter().filter(|v| constraint.matches(v)).map(Version::as_str).collect();
//! assert_eq!(fitting, ["3.1.4", "v1.20.1", "1.3"]);
//! # Ok::<(), kargo_core::Error>(())
//! ```

mod constraint;
mod number;
mod term;
#[cfg(test)]
mod tests;

pub use constraint::Constraint;
pub use number::Version;
