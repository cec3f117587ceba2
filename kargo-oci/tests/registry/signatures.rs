use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kargo_core::plugin::{Verdict, Verifier, VerifyRequest};
use kargo_core::{Actor, ErrorKind, Result, VerificationId};
use kargo_oci::testing::{Fault, Registry};
use kargo_oci::{Client, ImageSpec, SignatureCheck, SignatureVerifier};

use crate::{cx, freight};

pub(crate) struct Signer(EcdsaKeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(crate) fn public(&self) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(self.spki()))
    }

    /// The public key in DER.
    pub(crate) fn spki(&self) -> Vec<u8> {
        let mut der =
            b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\0"
                .to_vec();
        der.extend_from_slice(self.0.public_key().as_ref());
        der
    }

    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec()
    }

    /// A signature of these bytes, in base64.
    pub(crate) fn signature(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.sign_bytes(bytes))
    }

    /// A layer of a signature of this text.
    pub(crate) fn sign(&self, registry: &Registry, text: &str) -> serde_json::Value {
        layer(registry, text, &self.signature(text.as_bytes()))
    }
}

fn layer(registry: &Registry, text: &str, signature: &str) -> serde_json::Value {
    signed_layer(registry, text, serde_json::json!({"dev.cosignproject.cosign/signature": signature}))
}

pub(crate) fn signed_layer(registry: &Registry, text: &str, annotations: serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        "digest": registry.put_blob("app", text),
        "size": text.len(),
        "annotations": annotations,
    })
}

pub(crate) fn text_about(digest: &str) -> String {
    let critical = serde_json::json!({
        "identity": {"docker-reference": "somewhere.example/else"},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    });
    serde_json::json!({"critical": critical, "optional": null}).to_string()
}

pub(crate) fn put_signatures(registry: &Registry, digest: &str, layers: &[serde_json::Value]) {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let config = registry.put_blob("app", "{}");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type, "config": {"digest": config, "size": 2}, "layers": layers,
    });
    registry.put_manifest("app", &format!("{}.sig", digest.replace(':', "-")), media_type, manifest.to_string());
}

async fn verify(registry: &Registry, digest: &str, check: SignatureCheck) -> Result<Verdict> {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let freight = freight(registry, digest);
    let promotion = kargo_core::PromotionInfo::new("shop", "p1", "dev", freight, Actor::engine(), now);
    let (verification, config) = (VerificationId::from("v1"), check.into());
    let verifier = SignatureVerifier::new(Client::builder().tries(1).build().unwrap());
    verifier.validate(&config)?;
    verifier.verify(&cx(), &VerifyRequest::new(&verification, &promotion, &config, now)).await
}

pub(crate) fn failure(verdict: Verdict) -> String {
    match verdict {
        Verdict::Fail { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_image_that_a_trusted_key_has_signed_passes_by_its_digest() {
    let registry = Registry::start().await;
    let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
    let (ours, old) = (Signer::new(), Signer::new());
    put_signatures(
        &registry,
        &digest,
        &[old.sign(&registry, &text_about(&digest)), ours.sign(&registry, &text_about(&digest))],
    );
    for check in [SignatureCheck::new(ours.public()), SignatureCheck::new(Signer::new().public()).or_key(old.public())]
    {
        let verdict = verify(&registry, &digest, check).await.unwrap();
        assert!(
            matches!(&verdict, Verdict::Pass { evidence } if evidence.contains(&digest) && evidence.contains("P-256")),
            "{verdict:?}"
        );
    }
}

#[tokio::test]
async fn everything_else_fails_and_says_why() {
    let registry = Registry::start().await;
    let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
    let other = registry.put_image("app", "2.0.0", &ImageSpec::default().label("other", "yes"));
    let (ours, theirs) = (Signer::new(), Signer::new());
    let check = || SignatureCheck::new(ours.public());
    assert!(failure(verify(&registry, &digest, check()).await.unwrap()).contains("is not signed"));

    let about_us = text_about(&digest);
    let mut huge = ours.sign(&registry, &about_us);
    huge["size"] = 1_000_000.into();
    let mut missing = ours.sign(&registry, &about_us);
    missing["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    for (layer, needle) in [
        (theirs.sign(&registry, &about_us), "no key that is trusted"),
        (ours.sign(&registry, &text_about(&other)), "another image"),
        (ours.sign(&registry, r#"{"hello":"world"}"#), "not about an image"),
        (ours.sign(&registry, &about_us.replace("cosign container image", "another")), "not about an image"),
        (layer(&registry, &about_us, "!"), "no signature in its annotation"),
        (layer(&registry, &about_us, ""), "no key that is trusted"),
        (huge, "no text that could be signed"),
        (missing, "missing"),
    ] {
        put_signatures(&registry, &digest, &[layer]);
        let reason = failure(verify(&registry, &digest, check()).await.unwrap());
        assert!(reason.contains(needle) && reason.contains(&digest), "{needle}: {reason}");
    }
    put_signatures(&registry, &digest, &[]);
    assert!(failure(verify(&registry, &digest, check()).await.unwrap()).contains("is not signed"));
    let elsewhere = check().image("ghcr.io/acme/other");
    assert!(failure(verify(&registry, &digest, elsewhere).await.unwrap()).contains("no image of ghcr.io/acme/other"));
}

#[tokio::test]
async fn a_registry_that_cannot_be_asked_is_an_error_and_no_verdict() {
    let registry = Registry::start().await;
    let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
    let ours = Signer::new();
    put_signatures(&registry, &digest, &[ours.sign(&registry, &text_about(&digest))]);
    for (fault, place) in [(503, "sha256-"), (503, "/blobs/"), (401, "/manifests/")] {
        registry.clear_faults();
        registry.inject(Fault::status(fault).on(place));
        verify(&registry, &digest, SignatureCheck::new(ours.public())).await.unwrap_err();
    }
    registry.clear_faults();
    registry.inject(Fault::altered().on("/blobs/"));
    let reason = failure(verify(&registry, &digest, SignatureCheck::new(ours.public())).await.unwrap());
    assert!(reason.contains("damaged"), "{reason}");
}

#[tokio::test]
async fn keys_are_checked_when_the_pipeline_is_put_together() {
    let verifier = SignatureVerifier::new(Client::anonymous().unwrap());
    for config in [
        serde_json::json!({}),
        serde_json::json!({"keys": []}),
        serde_json::json!({"keys": ["hunter2"]}),
        serde_json::json!({"keys": [Signer::new().public()], "images": ["UPPER/case"]}),
        serde_json::json!({"keys": [Signer::new().public()], "key": "x"}),
    ] {
        let error = verifier.validate(&config).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && !error.report().contains("hunter2"), "{error}");
    }
}
