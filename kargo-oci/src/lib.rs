//! OCI registries and Helm repositories for `kargo-core`: a client that trusts nothing, and a
//! [`Source`](kargo_core::plugin::Source) each for images and for charts.
//!
//! * [`Client`] lists tags, fetches manifests and blobs, and pushes. It answers registries' challenges, follows pages
//!   to their end, tries again when that can help, and checks every digest.
//! * [`ImageSource`] finds images by their tags, with few requests; [`ImageSubscription`] says which, in Kargo's words.
//! * [`ChartSource`] finds Helm charts, in registries and in classic repositories; [`ChartSubscription`] says which.
//! * [`ImageSource::explain`] and [`ChartSource::explain`] say why.
//! * [`ImageTagWriter`] gives the image of freight another tag, such as `prod`.
//! * [`Client::copy`] copies images between repositories and registries, with what refers to them; [`OciPushStep`] and
//!   [`OciDownloadStep`] are Kargo's steps for registries.
//! * [`SignatureVerifier`] verifies that images are signed by a key that is trusted, as cosign does it.
//! * [`AttestationVerifier`] verifies what a trusted key says of them: provenance, vulnerabilities, an SBOM.
//! * [`ImageSubscription::signed`] and [`ImageSubscription::attested`] demand the same before an image becomes freight.
//! * [`DockerConfig`] has the credentials that Docker, Podman and Kubernetes keep; [`CredentialSource`] is for everything else.
//! * Feature `keyless`: identities in the place of keys, by certificates and logs that a `TrustedRoot` vouches for.
//! * Feature `testing`: `testing::Registry`, a registry inside the test's own process, with faults on demand.
//!
//! ```
//! use kargo_core::{Plugins, Warehouse};
//! use kargo_oci::{Client, Credentials, ImageSource, ImageSubscription, StaticCredentials};
//!
//! let credentials = StaticCredentials::new().with("ghcr.io/acme", Credentials::basic("robot", "a token"));
//! let client = Client::builder().credentials(credentials).build()?;
//! let plugins = Plugins::builder().source(ImageSubscription::SOURCE, ImageSource::new(client)).build();
//! let warehouse = Warehouse::new("main").subscribe(ImageSubscription::new("ghcr.io/acme/app").constraint("^1.2"));
//! # let _ = (plugins, warehouse);
//! # Ok::<(), kargo_core::Error>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "testing")]
pub mod testing;

mod attestation;
mod chart;
mod client;
mod credentials;
mod explain;
mod flight;
mod image;
mod misfit;
mod reference;
mod repository;
mod signature;
mod spec;
mod step;
mod writer;

pub use attestation::{
    Attestation, AttestationCheck, AttestationVerifier, Attestations, Claim, Platforms, ProvenanceRule, Severity,
    VulnerabilityRule,
};
pub use chart::{ChartSource, ChartSubscription};
pub use client::{
    Client, ClientBuilder, Copied, CopyOptions, Manifest, ManifestContent, ManifestEntry, ManifestHead, Platform,
    Referrer,
};
pub use credentials::{CredentialSource, Credentials, DockerConfig, StaticCredentials};
pub use explain::{Explanation, Offer, TagOutcome, TagReport};
pub use image::{ImageMetadata, ImageSource, ImageSubscription, SelectionStrategy};
pub use misfit::Misfit;
pub use repository::Repository;
#[cfg(feature = "keyless")]
pub use signature::TrustedRoot;
pub use signature::{PublicKey, SignatureCheck, SignatureVerifier, Signed, Signer, SignerIdentity, Trust};
pub use spec::{ArtifactSpec, ImageSpec};
pub use step::{OciDownload, OciDownloadStep, OciPush, OciPushStep};
pub use writer::{ImageTag, ImageTagWriter};
