//! A Sigstore of the tests' own: an authority that issues certificates, a log of certificates, a log of signatures, and signatures that
//! cosign could have made.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::signatures::Signer;

pub(crate) const GITHUB: &str = "https://token.actions.githubusercontent.com";
pub(crate) const WORKFLOW: &str = "https://github.com/acme/app/.github/workflows/release.yaml@refs/tags/v1";
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// When certificates begin and end to count, and when their holders sign.
const BEGIN: &str = "20250101000000Z";
const END: &str = "20250101001000Z";
pub(crate) const SIGNED_AT: i64 = 1_735_689_900;
const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";

pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// DER, as far as certificates take it.

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    der.extend_from_slice(content);
    der
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn oid(text: &str) -> Vec<u8> {
    let numbers: Vec<u64> = text.split('.').map(|number| number.parse().unwrap()).collect();
    let mut content = vec![(numbers[0] * 40 + numbers[1]) as u8];
    for number in &numbers[2..] {
        let groups = (1..10).find(|groups| number >> (7 * groups) == 0).unwrap();
        content.extend((0..groups).rev().map(|group| {
            let more = if group == 0 { 0 } else { 0x80 };
            (number >> (7 * group)) as u8 & 0x7f | more
        }));
    }
    tlv(0x06, &content)
}

fn extension(id: &str, is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { tlv(0x01, &[0xff]) } else { Vec::new() };
    sequence(&[oid(id), critical, tlv(0x04, value)])
}

fn name(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return sequence(&[]);
    }
    sequence(&[tlv(0x31, &sequence(&[oid("2.5.4.3"), tlv(0x0c, text.as_bytes())]))])
}

fn ecdsa_with_sha256() -> Vec<u8> {
    sequence(&[oid("1.2.840.10045.4.3.2")])
}

fn unsigned_certificate(
    issuer: &str,
    subject: &str,
    key: &Signer,
    (begin, end): (&str, &str),
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    sequence(&[
        tlv(0xa0, &tlv(0x02, &[2])),
        tlv(0x02, &[1]),
        ecdsa_with_sha256(),
        name(issuer),
        sequence(&[tlv(0x18, begin.as_bytes()), tlv(0x18, end.as_bytes())]),
        name(subject),
        key.spki(),
        tlv(0xa3, &sequence(extensions)),
    ])
}

fn signed_certificate(unsigned: Vec<u8>, by: &Signer) -> Vec<u8> {
    let mut bits = vec![0];
    bits.extend(by.sign_bytes(&unsigned));
    sequence(&[unsigned, ecdsa_with_sha256(), tlv(0x03, &bits)])
}

pub(crate) fn pem(der: &[u8]) -> String {
    let text = base64(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// An authority, its certificate, and the keys of the two logs.
pub(crate) struct Sigstore {
    root: Signer,
    authority: Signer,
    certificate_log: Signer,
    pub(crate) log: Signer,
}

/// What a certificate is to be, other than usual.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a> {
    pub(crate) identity: &'a str,
    /// What the certificate says when the log has seen `identity`.
    pub(crate) pretends: Option<&'a str>,
    pub(crate) usage: &'a str,
    /// Whether the certificate's log has seen it.
    pub(crate) is_logged: bool,
}

impl Default for Leaf<'_> {
    fn default() -> Self {
        Self { identity: WORKFLOW, pretends: None, usage: CODE_SIGNING, is_logged: true }
    }
}

/// A certificate for some minutes, with its key.
pub(crate) struct Held {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Signer,
}

impl Sigstore {
    pub(crate) fn new() -> Self {
        Self { root: Signer::new(), authority: Signer::new(), certificate_log: Signer::new(), log: Signer::new() }
    }

    /// The certificate by which the authority is known, and that of its root.
    pub(crate) fn chain(&self) -> [Vec<u8>; 2] {
        let decades = ("20200101000000Z", "20400101000000Z");
        let usages = [
            extension("2.5.29.19", true, &sequence(&[tlv(0x01, &[0xff])])),
            extension("2.5.29.15", true, &tlv(0x03, &[1, 0b0000_0110])),
        ];
        let root = unsigned_certificate("root.test", "root.test", &self.root, decades, &usages);
        let authority = unsigned_certificate("root.test", "authority.test", &self.authority, decades, &usages);
        [signed_certificate(authority, &self.root), signed_certificate(root, &self.root)]
    }

    pub(crate) fn trusted_root(&self) -> Value {
        let start = json!({"start": "2020-01-01T00:00:00Z"});
        let log = |url: &str, key: &Signer| {
            json!([{
                "baseUrl": url, "hashAlgorithm": "SHA2_256", "logId": {"keyId": base64(sha256(&key.spki()))},
                "publicKey": {"rawBytes": base64(key.spki()), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": start},
            }])
        };
        let chain = self.chain().map(|certificate| json!({"rawBytes": base64(certificate)}));
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": log("https://log.test", &self.log),
            "ctlogs": log("https://certificates.test", &self.certificate_log),
            "certificateAuthorities": [{
                "subject": {"organization": "test", "commonName": "authority.test"}, "uri": "https://authority.test",
                "certChain": {"certificates": chain}, "validFor": start,
            }],
        })
    }

    pub(crate) fn certify(&self, leaf: Leaf<'_>) -> Held {
        let key = Signer::new();
        let extensions = |identity: &str| {
            vec![
                extension("2.5.29.15", true, &tlv(0x03, &[7, 0b1000_0000])),
                extension("2.5.29.37", false, &sequence(&[oid(leaf.usage)])),
                extension("2.5.29.17", true, &sequence(&[tlv(0x86, identity.as_bytes())])),
                extension("1.3.6.1.4.1.57264.1.8", false, &tlv(0x0c, GITHUB.as_bytes())),
            ]
        };
        let unsigned =
            |extensions: &[Vec<u8>]| unsigned_certificate("authority.test", "", &key, (BEGIN, END), extensions);
        let seen = unsigned(&extensions(leaf.identity));
        let mut all = extensions(leaf.pretends.unwrap_or(leaf.identity));
        if leaf.is_logged {
            all.push(extension("1.3.6.1.4.1.11129.2.4.2", false, &tlv(0x04, &self.promise_for(&seen))));
        }
        Held { certificate: signed_certificate(unsigned(&all), &self.authority), key }
    }

    /// What the log of certificates promises for a certificate without its promise (RFC 6962).
    fn promise_for(&self, unsigned: &[u8]) -> Vec<u8> {
        let at = (SIGNED_AT as u64 * 1_000 - 60_000).to_be_bytes();
        let length = u32::try_from(unsigned.len()).unwrap().to_be_bytes();
        let issuer = sha256(&self.authority.spki());
        let signed = [&[0, 0], at.as_slice(), &[0, 1], &issuer, &length[1..], unsigned, &[0, 0]].concat();
        let signature = self.certificate_log.sign_bytes(&signed);
        let prefixed = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let log = sha256(&self.certificate_log.spki());
        let promise = [&[0], log.as_slice(), &at, &[0, 0, 4, 3], &prefixed(&signature)].concat();
        prefixed(&prefixed(&promise))
    }

    /// An entry of the log of signatures: the second of three, promised and proved.
    pub(crate) fn entry(&self, kind: &str, spec: &Value, at: i64) -> Value {
        let body = json!({"apiVersion": "0.0.1", "kind": kind, "spec": spec}).to_string();
        let leaf = |body: &[u8]| sha256(&[&[0], body].concat());
        let node = |left: &[u8], right: &[u8]| sha256(&[&[1], left, right].concat());
        let (before, after) = (leaf(b"before"), leaf(b"after"));
        let root = node(&node(&before, &leaf(body.as_bytes())), &after);
        json!({
            "logIndex": "1", "logId": {"keyId": base64(self.log_id())}, "kindVersion": {"kind": kind, "version": "0.0.1"},
            "integratedTime": at.to_string(), "canonicalizedBody": base64(&body),
            "inclusionPromise": {"signedEntryTimestamp": self.promise(&body, at)},
            "inclusionProof": {
                "logIndex": "1", "rootHash": base64(&root), "treeSize": "3", "hashes": [base64(before), base64(after)],
                "checkpoint": {"envelope": self.checkpoint(&root)},
            },
        })
    }

    fn log_id(&self) -> Vec<u8> {
        sha256(&self.log.spki())
    }

    fn promise(&self, body: &str, at: i64) -> String {
        let (body, log) = (base64(body), hex(&self.log_id()));
        let signed = format!(r#"{{"body":"{body}","integratedTime":{at},"logID":"{log}","logIndex":1}}"#);
        base64(self.log.sign_bytes(signed.as_bytes()))
    }

    pub(crate) fn checkpoint(&self, root: &[u8]) -> String {
        let text = format!("log.test - 1\n3\n{}\n", base64(root));
        let signature = [&self.log_id()[..4], &self.log.sign_bytes(text.as_bytes())].concat();
        format!("{text}\n\u{2014} log.test {}\n", base64(signature))
    }

    /// A bundle with a signed statement about the image, as cosign 3 writes it.
    pub(crate) fn bundle(&self, holder: &Held, envelope: &Value) -> Value {
        self.bundle_at(holder, envelope, SIGNED_AT)
    }

    pub(crate) fn bundle_at(&self, holder: &Held, envelope: &Value, at: i64) -> Value {
        json!({
            "mediaType": BUNDLE, "dsseEnvelope": envelope,
            "verificationMaterial": {
                "certificate": {"rawBytes": base64(&holder.certificate)}, "tlogEntries": [self.statement_entry(holder, envelope, at)],
            },
        })
    }

    fn statement_entry(&self, holder: &Held, envelope: &Value, at: i64) -> Value {
        let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        let spec = json!({
            "envelopeHash": {"algorithm": "sha256", "value": hex(&sha256(envelope.to_string().as_bytes()))},
            "payloadHash": {"algorithm": "sha256", "value": hex(&sha256(&payload))},
            "signatures": [{"signature": envelope["signatures"][0]["sig"], "verifier": base64(pem(&holder.certificate))}],
        });
        self.entry("dsse", &spec, at)
    }

    /// What cosign 2 keeps beside a signature of `text`: the signature, the certificate, its chain and the log's promise.
    pub(crate) fn annotations(&self, holder: &Held, text: &[u8]) -> Value {
        let signature = base64(holder.key.sign_bytes(text));
        let spec = json!({
            "data": {"hash": {"algorithm": "sha256", "value": hex(&sha256(text))}},
            "signature": {"content": signature, "publicKey": {"content": base64(pem(&holder.certificate))}},
        });
        let mut annotations = self.beside(holder, &self.entry("hashedrekord", &spec, SIGNED_AT));
        annotations["dev.cosignproject.cosign/signature"] = signature.into();
        annotations
    }

    /// The same for an envelope.
    pub(crate) fn annotations_of_envelope(&self, holder: &Held, envelope: &Value) -> Value {
        self.beside(holder, &self.statement_entry(holder, envelope, SIGNED_AT))
    }

    fn beside(&self, holder: &Held, entry: &Value) -> Value {
        let promise = json!({
            "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            "Payload": {"body": entry["canonicalizedBody"], "integratedTime": SIGNED_AT, "logIndex": 1, "logID": hex(&self.log_id())},
        });
        json!({
            "dev.sigstore.cosign/certificate": pem(&holder.certificate),
            "dev.sigstore.cosign/chain": self.chain().iter().map(|certificate| pem(certificate)).collect::<String>(),
            "dev.sigstore.cosign/bundle": promise.to_string(),
        })
    }
}
