//! The client and the source against a registry in this process.
#![allow(clippy::unwrap_used)]

mod auth;
mod charts;
mod discovery;
mod hostile;
mod listing;
mod pace;
mod retry;
mod selection;
mod signatures;
mod tag_writer;
mod write;

use kargo_core::plugin::Context;
use kargo_oci::testing::Registry;
use kargo_oci::{Client, Repository};

fn cx() -> Context {
    Context::system("test")
}

fn client() -> Client {
    Client::anonymous().unwrap()
}

fn repository(registry: &Registry, name: &str) -> Repository {
    Repository::parse(&format!("{}/{name}", registry.host())).unwrap()
}
