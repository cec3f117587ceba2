//! The client and the source against a registry in this process.
#![allow(clippy::unwrap_used)]

mod attestations;
mod attested_index;
mod auth;
mod budgets;
mod charts;
mod copy;
mod discovery;
mod engine;
mod gate;
mod hostile;
mod kept;
#[cfg(feature = "keyless")]
mod keyless;
mod listing;
mod pace;
mod patience;
mod redirects;
mod referrers;
mod retry;
mod selection;
mod signatures;
#[cfg(feature = "keyless")]
mod sigstore;
mod steps;
mod tag_writer;
mod write;

use kargo_core::plugin::Context;
use kargo_core::{Artifact, Freight, Image};
use kargo_oci::testing::Registry;
use kargo_oci::{Client, Repository};

fn cx() -> Context {
    Context::system("test")
}

/// Freight of the image with this digest in the repository `app`, which the subscription `shop` has found.
fn freight(registry: &Registry, digest: &str) -> Freight {
    let image = Image {
        repo_url: format!("{}/app", registry.host()),
        tag: "1.0.0".into(),
        digest: digest.into(),
        annotations: Default::default(),
        created_at: None,
        subscription_name: Some("shop".into()),
    };
    Freight::new("main", vec![Artifact::Image(image)], jiff::Timestamp::UNIX_EPOCH)
}

fn client() -> Client {
    Client::anonymous().unwrap()
}

fn repository(registry: &Registry, name: &str) -> Repository {
    Repository::parse(&format!("{}/{name}", registry.host())).unwrap()
}
