//! Git over ssh against a real sshd and Git's own server side.
#![allow(clippy::unwrap_used)]

mod access;
mod conversation;
mod reading;
mod server;
mod shared;
mod signing;
mod steps;
mod writing;
