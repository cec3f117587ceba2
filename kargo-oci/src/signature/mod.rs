//! Signatures of images, by keys and identities that the host trusts.

mod check;
mod cosign;
mod identity;
mod key;
#[cfg(feature = "keyless")]
mod keyless;
#[cfg(not(feature = "keyless"))]
#[path = "no_keyless.rs"]
mod keyless;
mod signers;
mod subject;
mod trust;
mod verifier;

pub use check::SignatureCheck;
pub use cosign::Signed;
pub use identity::SignerIdentity;
pub use key::PublicKey;
#[cfg(feature = "keyless")]
pub use keyless::TrustedRoot;
pub use trust::{Signer, Trust};
pub use verifier::SignatureVerifier;

pub(crate) use cosign::CERTIFICATE;
#[cfg(not(feature = "keyless"))]
pub(crate) use keyless::TrustedRoot;
pub(crate) use signers::signers;
pub(crate) use subject::{Good, Judgement, Rule, repositories, verdict};
