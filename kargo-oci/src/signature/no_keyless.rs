//! In the place of `keyless` without the feature: there is no trusted root, so nothing is judged by one.

use super::trust::{Signer, Trust};
use crate::client::Descriptor;

/// There is none.
#[derive(Debug, Clone)]
pub(crate) enum TrustedRoot {}

impl TrustedRoot {
    /// What a check with identities and no root lacks.
    pub(crate) const WANTED: &'static str =
        "names identities, which takes the feature `keyless` of kargo-oci, and this program is built without it";

    pub(crate) fn fingerprint(&self) -> &str {
        match *self {}
    }

    pub(crate) fn bundle(&self, _: &[u8], _: &str, _: &Trust) -> Result<(Signer, Vec<u8>), String> {
        match *self {}
    }

    pub(crate) fn text(&self, _: &[u8], _: &[u8], _: &Descriptor, _: &Trust) -> Result<Signer, String> {
        match *self {}
    }

    pub(crate) fn envelope(&self, _: &[u8], _: &str, _: &Descriptor, _: &Trust) -> Result<(Signer, Vec<u8>), String> {
        match *self {}
    }
}
