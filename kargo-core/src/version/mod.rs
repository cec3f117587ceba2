//! Versions and constraints as Masterminds/semver defines them, which is what Kargo's files are written for.
