//! Git over HTTP against Git's own server side.
#![allow(clippy::unwrap_used)]

mod access;
mod dialects;
mod discovery;
mod reading;
mod refs;
mod server;
mod steps;
mod writing;
