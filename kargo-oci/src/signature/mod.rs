//! Signatures of images, by keys that the host trusts.

mod cosign;
mod key;
mod verifier;

pub use cosign::Signed;
pub use key::PublicKey;
pub use verifier::{SignatureCheck, SignatureVerifier};
