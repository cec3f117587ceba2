//! Signed statements: in-toto statements in DSSE envelopes, alone or in Sigstore's bundles.
//!
//! First comes whose signature it is, over exactly the bytes that were received, and only then what the bytes say.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::client::Descriptor;
use crate::signature::{CERTIFICATE, Signer, Trust, TrustedRoot};

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
    #[serde(default)]
    verification_material: Material,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Material {
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
}

/// A DSSE envelope.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
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
    /// Somebody who is trusted has signed it, and it is about this image.
    Signed { signer: Signer, predicate_type: String, statement: Vec<u8> },
    /// It does not count, and this is why. It says that its predicate is of this type.
    Claimed { predicate_type: String, why: String },
}

/// Judges the envelope of a bundle, when there is one, as a statement about the image with `digest`.
pub(super) fn of_bundle(bytes: &[u8], digest: &str, trust: &Trust) -> Option<Judged> {
    let bundle = serde_json::from_slice::<Bundle>(bytes).ok()?;
    let material = &bundle.verification_material;
    let has_certificate = material.certificate.is_some() || material.x509_certificate_chain.is_some();
    let by_certificate = |root: &TrustedRoot| root.bundle(bytes, digest, trust);
    Some(bundle.dsse_envelope?.judge(digest, trust, has_certificate.then_some(&by_certificate)))
}

/// The same for an envelope alone, which has its certificate beside it, if any.
pub(super) fn alone(bytes: &[u8], layer: &Descriptor, digest: &str, trust: &Trust) -> Option<Judged> {
    let envelope: Envelope = serde_json::from_slice(bytes).ok()?;
    let has_certificate = layer.annotation(CERTIFICATE).is_some();
    let by_certificate = |root: &TrustedRoot| root.envelope(bytes, digest, layer, trust);
    Some(envelope.judge(digest, trust, has_certificate.then_some(&by_certificate)))
}

/// Says who has signed what, by a certificate.
type ByCertificate<'a> = &'a dyn Fn(&TrustedRoot) -> Result<(Signer, Vec<u8>), String>;

/// The predicate of a statement.
pub(super) fn predicate<P: DeserializeOwned>(statement: &[u8]) -> serde_json::Result<Option<P>> {
    Ok(serde_json::from_slice::<Statement<P>>(statement)?.predicate)
}

impl Envelope {
    /// Whether one who is trusted has signed this, and it is a statement about the image with `digest`.
    fn judge(&self, digest: &str, trust: &Trust, by_certificate: Option<ByCertificate<'_>>) -> Judged {
        let claimed = |predicate_type: &str, why: &str| Judged::Claimed {
            predicate_type: predicate_type.to_owned(),
            why: why.to_owned(),
        };
        let decode = |text: &str| STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok();
        let Some(payload) = decode(&self.payload) else { return claimed("", "has no payload in base64") };
        let signed = authenticated(&self.payload_type, &payload);
        let signatures: Vec<_> =
            self.signatures.iter().take(SIGNATURES).filter_map(|signature| decode(&signature.sig)).collect();
        let found = match (trust.key_of(&signed, &signatures), by_certificate, trust.keyless()) {
            (Some(signer), _, _) => Ok((signer, payload)),
            (None, Some(by_certificate), Some(root)) => by_certificate(root).map_err(|why| (payload, why)),
            (None, Some(_), None) => {
                Err((payload, "is signed by a certificate, and no identity is trusted".to_owned()))
            }
            (None, None, _) => Err((payload, "is signed by no key that is trusted".to_owned())),
        };
        let (signer, payload) = match found {
            Ok(found) => found,
            Err((payload, why)) => {
                let says = serde_json::from_slice::<Statement<IgnoredAny>>(&payload).ok();
                return claimed(says.as_ref().map_or("", |statement| statement.predicate_type.as_str()), &why);
            }
        };
        let statement = serde_json::from_slice::<Statement<IgnoredAny>>(&payload).ok();
        let predicate_type = statement.as_ref().map_or("", |statement| statement.predicate_type.as_str());
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
        Judged::Signed { signer, predicate_type: statement.predicate_type, statement: payload }
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
