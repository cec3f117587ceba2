//! Signatures of images, by keys that the host trusts.

mod cosign;
mod key;
mod subject;
mod verifier;

pub use cosign::Signed;
pub use key::PublicKey;
pub use verifier::{SignatureCheck, SignatureVerifier};

pub(crate) use subject::{images, naming, repositories, trusted};
