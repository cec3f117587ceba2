//! Attestations: what somebody says of an image and has signed, such as how it was built or what is known to be wrong with it.

mod check;
mod envelope;
mod find;
mod provenance;
mod verifier;
mod vulnerabilities;

pub use check::{AttestationCheck, Platforms, ProvenanceRule, VulnerabilityRule};
pub use find::{Attestation, Attestations, Claim};
pub use verifier::AttestationVerifier;
pub use vulnerabilities::Severity;
