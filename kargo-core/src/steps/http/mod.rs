//! `http` and `http-download`, behind the feature `http`.

mod download;
mod exchange;
mod request;
mod response;
mod target;

#[cfg(test)]
mod tests;

pub(super) use download::Download;
pub(super) use request::Request;

use std::time::Duration;

/// How long a request may take that does not say.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
