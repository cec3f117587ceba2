//! Signed statements: in-toto statements in DSSE envelopes, alone or in Sigstore's bundles.
//!
//! First comes whose signature it is, over exactly the bytes that were received, and only then what the bytes say.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::signature::PublicKey;

/// The type of what is signed, as the envelope has it.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The types of statements, of which the older one is still written a lot.
const STATEMENTS: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
/// How many signatures of one envelope are looked at.
const SIGNATURES: usize = 20;

/// A bundle, as far as a given key needs it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Option<Envelope>,
}

/// A DSSE envelope.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    payload: String,
    payload_type: String,
    #[serde(default)]
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement<P> {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(default)]
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Option<P>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

/// What was found out about an envelope.
pub(super) enum Judged {
    /// A key that is trusted has signed it, and it is about this image.
    Signed { key: PublicKey, predicate_type: String, statement: Vec<u8> },
    /// It does not count, and this is why. It says that its predicate is of this type.
    Claimed { predicate_type: String, why: &'static str },
}

/// Reads the envelope of a bundle.
pub(super) fn of_bundle(bytes: &[u8]) -> Option<Envelope> {
    serde_json::from_slice::<Bundle>(bytes).ok()?.dsse_envelope
}

/// Reads an envelope alone.
pub(super) fn alone(bytes: &[u8]) -> Option<Envelope> {
    serde_json::from_slice(bytes).ok()
}

/// The predicate of a statement.
pub(super) fn predicate<P: DeserializeOwned>(statement: &[u8]) -> serde_json::Result<Option<P>> {
    Ok(serde_json::from_slice::<Statement<P>>(statement)?.predicate)
}

impl Envelope {
    /// Whether one of `keys` has signed this, and it is a statement about the image with `digest`.
    pub(super) fn judge(&self, digest: &str, keys: &[PublicKey]) -> Judged {
        let claimed = |predicate_type: &str, why| Judged::Claimed { predicate_type: predicate_type.to_owned(), why };
        let decode = |text: &str| STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok();
        let Some(payload) = decode(&self.payload) else { return claimed("", "has no payload in base64") };
        let statement = serde_json::from_slice::<Statement<IgnoredAny>>(&payload).ok();
        let predicate_type = statement.as_ref().map_or("", |statement| statement.predicate_type.as_str());
        let signed = authenticated(&self.payload_type, &payload);
        let signatures = self.signatures.iter().take(SIGNATURES).filter_map(|signature| decode(&signature.sig));
        let key = signatures
            .into_iter()
            .find_map(|signature| keys.iter().find(|key| key.verifies(&signed, &signature)).cloned());
        let Some(key) = key else { return claimed(predicate_type, "is signed by no key that is trusted") };
        if self.payload_type != IN_TOTO {
            return claimed(predicate_type, "is signed, but is of another type than in-toto statements");
        }
        let Some(statement) = statement.filter(|statement| STATEMENTS.contains(&statement.kind.as_str())) else {
            return claimed("", "is signed, but is no in-toto statement");
        };
        let is_about = |subject: &Subject| {
            digest
                .split_once(':')
                .is_some_and(|(algorithm, hash)| subject.digest.get(algorithm).is_some_and(|is| is == hash))
        };
        if !statement.subject.iter().any(is_about) {
            return claimed(&statement.predicate_type, "is signed, but is about another image");
        }
        Judged::Signed { key, predicate_type: statement.predicate_type, statement: payload }
    }
}

/// The bytes that are signed: DSSE's pre-authentication encoding, which keeps the type and the payload apart by their lengths.
fn authenticated(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_encoded_as_the_specification_shows() {
        // The example of the protocol's own document.
        let encoded = authenticated("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
