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
/// How much longer the call may take than the request in it, so that the request's own bound is what ends it.
pub(super) const MARGIN: Duration = Duration::from_secs(60);
