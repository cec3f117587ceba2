//! Signatures without a key: a certificate of Fulcio that lives for some minutes says who has signed, and a log says when.
//!
//! No network is asked: all that is believed stands in the trusted root. What is checked of a signature, and refused with a
//! sentence of its own: the certificate's chain, validity and usage at the time that the log or a time stamp vouches for; that a
//! certificate log knows the certificate; the entry in the log of signatures, by its proof and checkpoint and by the log's promise;
//! that the entry is that of this signature; the signature; that it is about this image; and last the name in the certificate.

use std::sync::Arc;
use std::{fmt, str};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kargo_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_verify::types::{Artifact, ArtifactDigest, Bundle, DerCertificate, HashAlgorithm, SignatureContent};
use sigstore_verify::{
    CertificateError, Error as Fault, TimestampError, TransparencyLogError, VerificationPolicy, Verifier, trust_root,
};

use super::cosign::CERTIFICATE;
use super::trust::{Signer, Trust};
use crate::client::Descriptor;
use crate::repository::{checked_digest, sha256_hex};

/// The annotations beside an older signature and its certificate: what leads to the root, the log's promise, a time stamp.
const CHAIN: &str = "dev.sigstore.cosign/chain";
const PROMISE: &str = "dev.sigstore.cosign/bundle";
const TIME_STAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// The bundle in which an older signature is judged: it is the one that asks for a promise, and not for a proof.
const OLD_BUNDLE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.1";
/// How many certificates of a chain are looked at.
const CHAIN_LENGTH: usize = 10;
/// How much of a reason is shown.
const SHOWN: usize = 300;

/// What is believed of certificates and logs: the authorities, with the times in which they count, and the keys of the logs.
///
/// The operator supplies it, as the `trusted_root.json` of Sigstore's public instance or of one's own. Nothing is fetched, so it is
/// also the operator who replaces it when authorities or logs change. Cheap to clone.
#[derive(Clone)]
pub struct TrustedRoot(Arc<Prepared>);

struct Prepared {
    verifier: Verifier,
    fingerprint: String,
}

impl fmt::Debug for TrustedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedRoot({})", &self.0.fingerprint[..16])
    }
}

/// What cosign keeps of the log beside an older signature.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Promised {
    signed_entry_timestamp: String,
    payload: Entry,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryKind {
    kind: String,
    api_version: String,
}

#[derive(Deserialize)]
struct Stamped {
    #[serde(rename = "SignedRFC3161Timestamp")]
    stamp: String,
}

impl TrustedRoot {
    /// What a check with identities and no root lacks.
    pub(crate) const WANTED: &'static str =
        "names identities, and what certificates are judged by is missing; give its verifier and source a trusted_root";

    /// Reads a `trusted_root.json`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is not one, or holds a certificate or key that is none, or names no authority, no log of
    /// certificates or no log of signatures: then nothing could ever count.
    pub fn from_json(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::new(ErrorKind::InvalidInput, format!("The trusted root {why}."));
        let root = trust_root::TrustedRoot::from_json(text)
            .map_err(|error| invalid("is not a trusted_root.json of Sigstore").because(error))?;
        for (is_empty, what) in [
            (root.certificate_authorities.is_empty(), "certificateAuthorities"),
            (root.ctlogs.is_empty(), "ctlogs"),
            (root.tlogs.is_empty(), "tlogs"),
        ] {
            if is_empty {
                return Err(invalid(&format!("has nothing under {what}, so that no signature could count")));
            }
        }
        let verifier = Verifier::new(&root)
            .map_err(|error| invalid("holds a certificate, key or time that cannot be used").because(error))?;
        Ok(Self(Arc::new(Prepared { verifier, fingerprint: sha256_hex(text.as_bytes()) })))
    }

    /// The SHA-256 of the text that it was read from.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// Who has signed the statement in a bundle, which is about the image with `digest`, and the statement.
    ///
    /// # Errors
    /// A sentence's end: why it does not count.
    pub(crate) fn bundle(&self, bytes: &[u8], digest: &str, trust: &Trust) -> Result<(Signer, Vec<u8>), String> {
        let text = str::from_utf8(bytes).map_err(|_| "is no bundle, but bytes".to_owned())?;
        let bundle = Bundle::from_json(text).map_err(|error| not_understood(&error))?;
        self.statement(&bundle, digest, trust)
    }

    /// The same for an envelope that has its certificate beside it, as cosign 1 and 2 keep attestations.
    pub(crate) fn envelope(
        &self,
        bytes: &[u8],
        digest: &str,
        layer: &Descriptor,
        trust: &Trust,
    ) -> Result<(Signer, Vec<u8>), String> {
        let envelope: Value = serde_json::from_slice(bytes).map_err(|error| not_understood(&error))?;
        self.statement(&beside(layer, "dsseEnvelope", envelope)?, digest, trust)
    }

    /// Who has made a signature of `text` that has its certificate beside it, as cosign 1 and 2 keep signatures.
    pub(crate) fn text(
        &self,
        text: &[u8],
        signature: &[u8],
        layer: &Descriptor,
        trust: &Trust,
    ) -> Result<Signer, String> {
        let bundle = beside(layer, "messageSignature", json!({"signature": STANDARD.encode(signature)}))?;
        self.judge(Artifact::from_blob(text), &bundle, trust)
    }

    fn statement(&self, bundle: &Bundle, digest: &str, trust: &Trust) -> Result<(Signer, Vec<u8>), String> {
        let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
            return Err("is no signed statement".into());
        };
        let signer = self.judge(artifact(digest)?.into(), bundle, trust)?;
        Ok((signer, envelope.payload.as_bytes().to_vec()))
    }

    fn judge(&self, artifact: Artifact<'_>, bundle: &Bundle, trust: &Trust) -> Result<Signer, String> {
        // Who it is comes last: a name in a certificate that nobody vouches for is no name.
        let verified = self
            .0
            .verifier
            .verify(artifact, bundle, &VerificationPolicy::any_identity())
            .map_err(|fault| shortened(&why(&fault)))?;
        // What the policy asks for, once more: nothing that was left out counts.
        if !(verified.certificate_verified() && verified.sct_verified() && verified.tlog_verified()) {
            return Err("was not checked in all that counts".into());
        }
        trust.identity_of(verified.identity().map(|identity| identity.as_str()), verified.issuer())
    }
}

fn artifact(digest: &str) -> Result<ArtifactDigest, String> {
    let checked = checked_digest(digest).map_err(|error| error.message().to_owned())?;
    let algorithm = match checked.digest().len() {
        128 => HashAlgorithm::Sha2512,
        _ => HashAlgorithm::Sha2256,
    };
    let pairs = checked.digest().as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect();
    bytes
        .and_then(|bytes| ArtifactDigest::new(algorithm, bytes.as_slice()).ok())
        .ok_or_else(|| format!("is asked for of {digest:?}, which is no digest"))
}

/// A signature with what stands beside it, put into the form of a bundle.
fn beside(layer: &Descriptor, content: &str, value: Value) -> Result<Bundle, String> {
    let annotation = |name| layer.annotation(name);
    let mut all = certificates(annotation(CERTIFICATE).unwrap_or_default())?;
    if all.len() != 1 {
        return Err(format!("has {} certificates beside it where one is meant", all.len()));
    }
    all.extend(certificates(annotation(CHAIN).unwrap_or_default())?);
    let certificates: Vec<Value> = all.into_iter().map(|raw| json!({"rawBytes": raw})).collect();
    let mut material = json!({"x509CertificateChain": {"certificates": certificates}});
    if let Some(promise) = annotation(PROMISE) {
        let unreadable = |_| "has a promise of the log beside it that is not understood".to_owned();
        let Promised { signed_entry_timestamp, payload } = serde_json::from_str(promise).map_err(unreadable)?;
        let body = STANDARD.decode(&payload.body).map_err(|_| "has an entry in the log that is not base64")?;
        let EntryKind { kind, api_version } = serde_json::from_slice(&body).map_err(unreadable)?;
        let log = (0..payload.log_id.len())
            .step_by(2)
            .map(|at| payload.log_id.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect::<Option<Vec<u8>>>()
            .ok_or("names its log by something that is not hexadecimal")?;
        material["tlogEntries"] = json!([{
            "logIndex": payload.log_index.to_string(), "logId": {"keyId": STANDARD.encode(log)},
            "kindVersion": {"kind": kind, "version": api_version},
            "integratedTime": payload.integrated_time.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": signed_entry_timestamp},
            "canonicalizedBody": payload.body,
        }]);
    }
    if let Some(stamp) = annotation(TIME_STAMP) {
        let unreadable = |_| "has a time stamp beside it that is not understood".to_owned();
        let Stamped { stamp } = serde_json::from_str(stamp).map_err(unreadable)?;
        material["timestampVerificationData"] = json!({"rfc3161Timestamps": [{"signedTimestamp": stamp}]});
    }
    let mut bundle = json!({"mediaType": OLD_BUNDLE, "verificationMaterial": material});
    bundle[content] = value;
    Bundle::from_json(&bundle.to_string()).map_err(|error| not_understood(&error))
}

/// The certificates of a text in PEM, in base64.
fn certificates(pem: &str) -> Result<Vec<String>, String> {
    const END: &str = "-----END CERTIFICATE-----";
    let all = pem.split_inclusive(END).filter(|text| text.contains(END)).take(CHAIN_LENGTH);
    let all = all.map(|text| {
        let certificate = DerCertificate::from_pem(text.trim()).map_err(|_| "has a certificate that is none")?;
        Ok(STANDARD.encode(certificate.as_bytes()))
    });
    all.collect()
}

fn not_understood(error: &dyn fmt::Display) -> String {
    shortened(&format!("has a form that is not understood ({error})"))
}

/// What others have written is shown with bounds, and without what a terminal would take for commands.
fn shortened(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Why a signature does not count, as a sentence's end.
fn why(fault: &Fault) -> String {
    match fault {
        Fault::SignatureInvalid(_) => "has a signature that is not that of its certificate".into(),
        Fault::ArtifactMismatch(_) => "is signed, but is about another image".into(),
        Fault::Certificate(certificate) => match certificate {
            CertificateError::NoValidAuthority { time } => {
                format!("was signed at {time}, when no authority that is trusted issued certificates")
            }
            CertificateError::NotYetValid { time, not_before } => {
                format!("was signed at {time}, before its certificate began to count at {not_before}")
            }
            CertificateError::Expired { time, not_after } => {
                format!("was signed at {time}, after its certificate had run out at {not_after}")
            }
            CertificateError::ChainInvalid(why) => {
                format!(
                    "has a certificate that no authority that is trusted has issued for signing at that time ({why})"
                )
            }
            CertificateError::Sct(why) => {
                format!("has a certificate that no certificate log that is trusted vouches for ({why})")
            }
            other => format!("has a certificate that is not understood ({other})"),
        },
        Fault::TransparencyLog(log) => match log {
            TransparencyLogError::UnknownLog { log_id } => format!("is in a log that is not trusted ({log_id})"),
            TransparencyLogError::InclusionProof(why) => {
                format!("has a proof of its place in the log that does not hold ({why})")
            }
            TransparencyLogError::Checkpoint(why) => {
                format!("has a checkpoint that no log that is trusted has signed ({why})")
            }
            TransparencyLogError::InclusionPromise(why) => {
                format!("has a promise of the log that is not that of a log that is trusted ({why})")
            }
            TransparencyLogError::EntryMismatch(why) => {
                format!("has an entry in the log that is that of something else ({why})")
            }
            TransparencyLogError::IntegratedTime(why) => {
                format!("is in the log at a time that cannot be ({why})")
            }
            other => format!("has an entry in the log that is not understood ({other})"),
        },
        Fault::Timestamp(stamp) => match stamp {
            TimestampError::NoVerifiedTimestamp(_) => {
                "has nothing that says when it was signed: no promise of a log, and no time stamp".into()
            }
            other => format!("has a time stamp that does not count ({other})"),
        },
        Fault::Bundle(why) => format!("lacks a part that counts ({why})"),
        other => format!("has a form that is not understood ({other})"),
    }
}
