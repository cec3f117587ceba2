use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kargo_core::plugin::{Verdict, Verifier, VerifyRequest};
use kargo_core::{Actor, ErrorKind, Result, VerificationId};
use kargo_oci::testing::{Fault, Registry};
use kargo_oci::{
    AttestationCheck, AttestationVerifier, Client, ImageSpec, Platforms, ProvenanceRule, PublicKey, Severity, Signed,
    Signer as By, Trust, VulnerabilityRule,
};
use serde_json::{Value, json};

use crate::signatures::{Signer, failure};
use crate::{client, cx, freight, repository};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
pub(crate) const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
pub(crate) const VULNERABILITIES: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

/// An envelope of a statement of this type about the image.
pub(crate) fn envelope(signer: &Signer, digest: &str, predicate_type: &str, predicate: &Value) -> Value {
    let hash = digest.strip_prefix("sha256:").unwrap();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate_type, "predicate": predicate,
        "subject": [{"name": "somewhere.example/else", "digest": {"sha256": hash}}],
    });
    signed(signer, "application/vnd.in-toto+json", &statement.to_string())
}

fn signed(signer: &Signer, kind: &str, payload: &str) -> Value {
    let bytes = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = signer.signature(bytes.as_bytes());
    json!({"payload": STANDARD.encode(payload), "payloadType": kind, "signatures": [{"sig": signature, "keyid": ""}]})
}

/// Stores an envelope as cosign 3 does: in a bundle that refers to the image.
pub(crate) fn put_bundle(registry: &Registry, digest: &str, envelope: &Value) {
    let bundle = json!({
        "mediaType": BUNDLE, "dsseEnvelope": envelope,
        "verificationMaterial": {"publicKey": {"hint": "key"}, "tlogEntries": []},
    });
    put_referrer(registry, digest, BUNDLE, &bundle.to_string());
}

pub(crate) fn put_referrer(registry: &Registry, digest: &str, kind: &str, text: &str) {
    let (config, layer) = (registry.put_blob("app", "{}"), registry.put_blob("app", text));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": kind, "digest": layer, "size": text.len()}],
        "subject": {"mediaType": MANIFEST, "digest": digest, "size": 1},
    });
    registry.put_manifest("app", "pushed", MANIFEST, manifest.to_string());
    registry.remove_tag("app", "pushed");
}

/// Stores envelopes as cosign 1 and 2 do: under a tag beside the image.
fn put_beside(registry: &Registry, digest: &str, envelopes: &[Value]) {
    let envelopes: Vec<_> = envelopes.iter().map(|envelope| (envelope.clone(), json!({}))).collect();
    put_envelopes(registry, digest, &envelopes);
}

/// The same with the annotations that each of them has.
pub(crate) fn put_envelopes(registry: &Registry, digest: &str, envelopes: &[(Value, Value)]) {
    let layer = |(envelope, annotations): &(Value, Value)| {
        let text = envelope.to_string();
        json!({
            "mediaType": ENVELOPE, "digest": registry.put_blob("app", text.as_str()), "size": text.len(), "annotations": annotations,
        })
    };
    let layers: Vec<Value> = envelopes.iter().map(layer).collect();
    let config = registry.put_blob("app", "{}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": config, "size": 2}, "layers": layers,
    });
    registry.put_manifest("app", &format!("{}.att", digest.replace(':', "-")), MANIFEST, manifest.to_string());
}

pub(crate) fn built_by(builder: &str, source: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {"repository": source, "ref": "refs/heads/main", "path": "ci.yaml"}},
            "resolvedDependencies": [{"uri": "git+https://github.com/acme/app@refs/heads/main"}],
        },
        "runDetails": {"builder": {"id": builder}},
    })
}

/// A report of Trivy, as cosign attests it.
pub(crate) fn scanned(finished: &str, found: &[(&str, &str)]) -> Value {
    let found: Vec<Value> =
        found.iter().map(|(id, severity)| json!({"VulnerabilityID": id, "Severity": severity})).collect();
    json!({
        "scanner": {"uri": "trivy", "result": {"SchemaVersion": 2, "Results": [{"Target": "os", "Vulnerabilities": found}, {"Target": "app"}]}},
        "metadata": {"scanStartedOn": finished, "scanFinishedOn": finished},
    })
}

pub(crate) async fn with_an_image() -> (Registry, String, Signer) {
    let registry = Registry::start().await;
    let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
    (registry, digest, Signer::new())
}

pub(crate) async fn verify(registry: &Registry, digest: &str, check: AttestationCheck) -> Result<Verdict> {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let promotion =
        kargo_core::PromotionInfo::new("shop", "p1", "dev", freight(registry, digest), Actor::engine(), now);
    let (verification, config) = (VerificationId::from("v1"), check.into());
    let verifier = AttestationVerifier::new(Client::builder().tries(1).build().unwrap());
    verifier.validate(&config)?;
    verifier.verify(&cx(), &VerifyRequest::new(&verification, &promotion, &config, now)).await
}

pub(crate) async fn reason(registry: &Registry, digest: &str, check: AttestationCheck) -> String {
    failure(verify(registry, digest, check).await.unwrap())
}

pub(crate) fn evidence(verdict: Verdict) -> String {
    match verdict {
        Verdict::Pass { evidence } => evidence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_trusted_key_says_counts_wherever_it_is_kept() {
    for beside in [false, true] {
        let (registry, digest, ours) = with_an_image().await;
        let envelopes = [
            envelope(&ours, &digest, PROVENANCE, &built_by("https://ci.acme.example/7", "https://github.com/acme/app")),
            envelope(&ours, &digest, VULNERABILITIES, &scanned("2026-01-01T00:00:00Z", &[("CVE-1", "MEDIUM")])),
            envelope(&ours, &digest, "https://spdx.dev/Document/v2.3", &json!({"spdxVersion": "SPDX-2.3"})),
            envelope(&ours, &digest, "https://acme.example/tested", &json!({})),
        ];
        if beside {
            put_beside(&registry, &digest, &envelopes);
        } else {
            envelopes.iter().for_each(|envelope| put_bundle(&registry, &digest, envelope));
        }
        let provenance =
            ProvenanceRule::default().builder("https://ci.acme.example/*").source("https://github.com/Acme/app.git");
        let check = AttestationCheck::new(Signer::new().public())
            .or_key(ours.public())
            .provenance(provenance)
            .vulnerabilities(VulnerabilityRule::at_most(Severity::Medium))
            .sbom()
            .predicate("https://acme.example/tested");
        let evidence = evidence(verify(&registry, &digest, check).await.unwrap());
        for part in ["ci.acme.example/7", "worse than medium", "has an SBOM", "acme.example/tested", digest.as_str()] {
            assert!(evidence.contains(part), "{part}: {evidence}");
        }
    }
}

#[tokio::test]
async fn what_does_not_count_is_a_claim_that_says_why() {
    let (registry, digest, ours) = with_an_image().await;
    let other = registry.put_image("app", "2.0.0", &ImageSpec::default().label("other", "yes"));
    let check = || AttestationCheck::new(ours.public()).sbom();
    assert!(reason(&registry, &digest, check()).await.contains("has no SBOM that counts"));
    put_referrer(&registry, &digest, "application/spdx+json", r#"{"spdxVersion":"SPDX-2.3"}"#);
    let unsigned = reason(&registry, &digest, check()).await;
    assert!(unsigned.contains("application/spdx+json") && unsigned.contains("is not signed"), "{unsigned}");

    let sbom = "https://cyclonedx.org/bom";
    let mut altered = envelope(&ours, &digest, sbom, &json!({"components": []}));
    altered["payload"] = envelope(&Signer::new(), &digest, sbom, &json!({"components": ["x"]}))["payload"].clone();
    let mut another_type = envelope(&ours, &digest, sbom, &json!({}));
    another_type["payloadType"] = "text/plain".into();
    for (envelope, needle) in [
        (envelope(&Signer::new(), &digest, sbom, &json!({})), "no key that is trusted"),
        (altered, "no key that is trusted"),
        (another_type, "no key that is trusted"),
        (envelope(&ours, &other, sbom, &json!({})), "about another image"),
        (signed(&ours, "text/plain", "hello"), "another type"),
        (signed(&ours, "application/vnd.in-toto+json", "{}"), "no in-toto statement"),
        (json!({"payload": "!", "payloadType": "x", "signatures": []}), "no payload"),
        (json!("nonsense"), "form of a signed statement"),
    ] {
        let registry = Registry::start().await;
        assert_eq!(registry.put_image("app", "1.0.0", &ImageSpec::default()), digest);
        put_bundle(&registry, &digest, &envelope);
        let reason = reason(&registry, &digest, check()).await;
        assert!(reason.contains(needle), "{needle}: {reason}");
        put_beside(&registry, &digest, &[envelope]);
        let trust = Trust::from(PublicKey::from_pem(&ours.public()).unwrap());
        let found = client().attestations(&cx(), &repository(&registry, "app"), &digest, &trust).await.unwrap();
        assert_eq!((found.signed.len(), found.claims.len()), (0, 2));
    }
}

#[tokio::test]
async fn provenance_of_another_builder_or_source_fails() {
    let (registry, digest, ours) = with_an_image().await;
    let rule =
        || ProvenanceRule::default().builder("https://ci.acme.example/main").source("https://github.com/acme/app");
    let check = || AttestationCheck::new(ours.public()).provenance(rule());
    for (predicate, needle) in [
        (
            built_by("https://ci.acme.example/main2", "https://github.com/acme/app"),
            "builder \"https://ci.acme.example/main2\"",
        ),
        (
            built_by("https://ci.acme.example/main", "https://github.com/evil/app"),
            "source \"https://github.com/evil/app\"",
        ),
        (json!({"runDetails": {"builder": {"id": "https://ci.acme.example/main"}}}), "does not say from which source"),
        (json!({}), "builder \"\""),
        (json!("text"), "form of one"),
    ] {
        put_beside(&registry, &digest, &[envelope(&ours, &digest, PROVENANCE, &predicate)]);
        let reason = reason(&registry, &digest, check()).await;
        assert!(reason.contains(needle), "{needle}: {reason}");
    }
    // The older form says the same in other words; and of two, a good one is enough.
    let old = json!({
        "builder": {"id": "https://ci.acme.example/main"}, "buildType": "x",
        "invocation": {"configSource": {"uri": "git+https://github.com/acme/app@refs/tags/v1", "entryPoint": "ci.yaml"}},
    });
    let bad = envelope(&ours, &digest, PROVENANCE, &json!({}));
    put_beside(&registry, &digest, &[bad, envelope(&ours, &digest, "https://slsa.dev/provenance/v0.2", &old)]);
    evidence(verify(&registry, &digest, check()).await.unwrap());
}

#[tokio::test]
async fn vulnerabilities_are_judged_by_the_newest_report() {
    let (registry, digest, ours) = with_an_image().await;
    let check = |rule: VulnerabilityRule| AttestationCheck::new(ours.public()).vulnerabilities(rule);
    let medium = || VulnerabilityRule::at_most(Severity::Medium);
    let report = |predicate: &Value| envelope(&ours, &digest, VULNERABILITIES, predicate);
    let old = scanned("2026-01-01T00:00:00Z", &[("CVE-1", "LOW")]);
    let new = scanned(
        "2026-01-02T00:00:00Z",
        &[("CVE-1", "LOW"), ("CVE-2", "HIGH"), ("CVE-3", "CRITICAL"), ("CVE-4", "UNKNOWN")],
    );
    put_beside(&registry, &digest, &[report(&new), report(&old)]);
    let why = reason(&registry, &digest, check(medium())).await;
    assert!(why.contains("CVE-2 (high), CVE-3 (critical)") && !why.contains("CVE-4"), "{why}");
    evidence(verify(&registry, &digest, check(medium().ignore("CVE-2").ignore("CVE-3"))).await.unwrap());
    evidence(verify(&registry, &digest, check(VulnerabilityRule::at_most(Severity::Critical))).await.unwrap());
    let why = reason(&registry, &digest, check(VulnerabilityRule::at_most(Severity::Critical).max_age_hours(24))).await;
    assert!(why.contains("2026-01-02") && why.contains("24 hours"), "{why}");

    // Nor does one that claims to be of a time that has yet to come, and it does not stay young for ever.
    let ahead = scanned("2999-01-01T00:00:00Z", &[]);
    put_beside(&registry, &digest, &[report(&new), report(&ahead)]);
    assert!(reason(&registry, &digest, check(medium())).await.contains("CVE-2"));
    put_beside(&registry, &digest, &[report(&ahead)]);
    let why = reason(&registry, &digest, check(medium().max_age_hours(24))).await;
    assert!(why.contains("a time that has yet to come"), "{why}");

    // An old clean report beside one that does not say when it was made does not hide what that one found.
    let mut undated = new.clone();
    undated["metadata"] = json!({});
    put_beside(&registry, &digest, &[report(&undated), report(&old)]);
    assert!(reason(&registry, &digest, check(medium())).await.contains("CVE-2"));
}

#[tokio::test]
async fn reports_are_read_in_the_forms_of_several_scanners_and_no_other() {
    let (registry, digest, ours) = with_an_image().await;
    let check = || AttestationCheck::new(ours.public()).vulnerabilities(VulnerabilityRule::at_most(Severity::Medium));
    let result = |result: Value| json!({"scanner": {"result": result}});
    let in_toto = "https://in-toto.io/attestation/vulns/v0.2";
    let scored = |score: Value| json!([{"id": "CVE-9", "severity": [{"method": "cvss_v3", "score": score}]}]);
    let mut cases = vec![
        (
            VULNERABILITIES,
            result(json!({"matches": [{"vulnerability": {"id": "CVE-9", "severity": "Critical"}}]})),
            "CVE-9 (critical)",
        ),
        (VULNERABILITIES, result(json!({"matches": [{"vulnerability": {"id": "CVE-9", "severity": "Medium"}}]})), ""),
        (VULNERABILITIES, result(json!({"SchemaVersion": 2, "ArtifactName": "app", "Results": null})), ""),
        (VULNERABILITIES, result(json!({"SchemaVersion": 2, "ArtifactName": "app"})), ""),
        (
            VULNERABILITIES,
            result(json!({"SchemaVersion": 2, "ArtifactName": "app", "Results": [{"Vulnerabilities": 7}]})),
            "form of one",
        ),
        (VULNERABILITIES, result(json!({"hello": "world"})), "form of one"),
        (
            VULNERABILITIES,
            result(json!({"matches": [{"vulnerability": {"id": "CVE-9", "severity": "Awful"}}]})),
            "which is none",
        ),
        (in_toto, result(json!([])), ""),
        (in_toto, result(json!([{"id": "CVE-9"}])), ""),
    ];
    for (score, needle) in [
        (json!("9.8"), "CVE-9 (critical)"),
        (json!(7), "CVE-9 (high)"),
        (json!(4.0), ""),
        (json!("NaN"), "which is none"),
    ] {
        cases.push((in_toto, result(scored(score)), needle));
    }
    for (kind, predicate, needle) in cases {
        put_beside(&registry, &digest, &[envelope(&ours, &digest, kind, &predicate)]);
        match verify(&registry, &digest, check()).await.unwrap() {
            Verdict::Pass { .. } => assert_eq!(needle, "", "{predicate}"),
            Verdict::Fail { reason } => assert!(!needle.is_empty() && reason.contains(needle), "{needle}: {reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_signature_in_a_bundle_is_one() {
    let (registry, digest, ours) = with_an_image().await;
    let key = PublicKey::from_pem(&ours.public()).unwrap();
    let (app, trust) = (repository(&registry, "app"), Trust::from(key.clone()));
    let signed_by = async || client().signed_by(&cx(), &app, &digest, &trust).await.unwrap();
    // Other statements of the key are no signature of the image.
    put_bundle(&registry, &digest, &envelope(&ours, &digest, "https://spdx.dev/Document", &json!({})));
    assert_eq!(signed_by().await, Signed::No);
    let kind = "https://sigstore.dev/cosign/sign/v1";
    put_bundle(&registry, &digest, &envelope(&Signer::new(), &digest, kind, &json!({})));
    assert!(
        matches!(signed_by().await, Signed::Badly { signatures: 1, why } if why.contains("no key that is trusted"))
    );
    put_bundle(&registry, &digest, &envelope(&ours, &digest, kind, &json!({})));
    assert_eq!(signed_by().await, Signed::By(By::Key(key)));
}

#[tokio::test]
async fn a_registry_that_cannot_be_asked_for_attestations_is_no_verdict() {
    let (registry, digest, ours) = with_an_image().await;
    let check = || AttestationCheck::new(ours.public()).sbom();
    put_bundle(&registry, &digest, &envelope(&ours, &digest, "https://spdx.dev/Document", &json!({})));
    for place in ["/referrers/", "/manifests/", "/blobs/", ".att"] {
        registry.clear_faults();
        registry.inject(Fault::status(503).on(place));
        assert_eq!(verify(&registry, &digest, check()).await.unwrap_err().kind(), ErrorKind::Unavailable, "{place}");
        registry.clear_faults();
        registry.inject(Fault::html().on(place));
        assert_eq!(verify(&registry, &digest, check()).await.unwrap_err().kind(), ErrorKind::Unavailable, "{place}");
    }
    registry.clear_faults();
    registry.inject(Fault::altered().on("/blobs/"));
    assert!(reason(&registry, &digest, check()).await.contains("is damaged"));
    registry.clear_faults();
    evidence(verify(&registry, &digest, check()).await.unwrap());
}

#[tokio::test]
async fn a_check_that_demands_nothing_or_is_misspelt_is_refused_when_the_pipeline_is_put_together() {
    let verifier = AttestationVerifier::new(client());
    let key = Signer::new().public();
    for (config, needle) in [
        (json!({"keys": [key]}), "demands nothing"),
        (json!({"keys": [], "sbom": true}), "trusts nobody"),
        (json!({"keys": [key], "sboms": true}), "sboms"),
        (json!({"keys": [key], "vulnerabilities": {"maxSeverity": "awful"}}), "awful"),
        (json!({"keys": [key], "vulnerabilities": {}}), "maxSeverity"),
        (json!({"keys": [key], "sbom": true, "images": ["UPPER/case"]}), "UPPER"),
    ] {
        let error = verifier.validate(&config).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(needle), "{needle}: {error}");
    }
}

/// An index of two platforms, with what BuildKit keeps of each in it; returns its digest and those of the images.
fn put_index(registry: &Registry, kept: impl Fn(&str) -> (String, String)) -> (String, [String; 2]) {
    let index_type = "application/vnd.oci.image.index.v1+json";
    let mut entries = Vec::new();
    let images = ["amd64", "arm64"].map(|architecture| {
        let image = registry.put_image("app", architecture, &ImageSpec::new("linux", architecture));
        let platform = json!({"os": "linux", "architecture": architecture});
        entries.push(json!({"mediaType": MANIFEST, "digest": image, "size": 1, "platform": platform}));
        let (kind, text) = kept(&image);
        let (config, layer) = (registry.put_blob("app", "{}"), registry.put_blob("app", text.as_str()));
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": config, "size": 2},
            "layers": [{
                "mediaType": kind, "digest": layer, "size": text.len(), "annotations": {"in-toto.io/predicate-type": PROVENANCE},
            }],
        });
        let attestation = registry.put_manifest("app", "attestation", MANIFEST, manifest.to_string());
        entries.push(json!({
            "mediaType": MANIFEST, "digest": attestation, "size": 1, "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image},
        }));
        image
    });
    registry.remove_tag("app", "attestation");
    let index = json!({"schemaVersion": 2, "mediaType": index_type, "manifests": entries});
    (registry.put_manifest("app", "1.0.0", index_type, index.to_string()), images)
}

#[tokio::test]
async fn what_is_said_of_the_images_of_an_index_counts_by_policy() {
    let (registry, ours) = (Registry::start().await, Signer::new());
    let bare = |_: &str| ("application/vnd.in-toto+json".to_owned(), "{}".to_owned());
    let (index, [amd64, arm64]) = put_index(&registry, bare);
    let check = || AttestationCheck::new(ours.public()).provenance(ProvenanceRule::default().builder("ci"));
    let (any, all) = (|| check().platforms(Platforms::Any), || check().platforms(Platforms::All));
    let say = |of: &str, builder: &str| {
        put_bundle(&registry, of, &envelope(&ours, of, PROVENANCE, &built_by(builder, "https://github.com/acme/app")));
    };
    // BuildKit's own is a claim.
    let why = reason(&registry, &index, any()).await;
    assert!(
        why.contains("of linux/amd64") && why.contains("not signed by itself") && why.contains(PROVENANCE),
        "{why}"
    );
    assert!(!reason(&registry, &index, check()).await.contains("by itself"));

    say(&arm64, "ci");
    let why = reason(&registry, &index, all()).await;
    assert!(why.contains("of linux/amd64") && !why.contains("arm64"), "{why}");
    let good = evidence(verify(&registry, &index, any()).await.unwrap());
    assert!(good.contains("linux/arm64") && !good.contains("amd64"), "{good}");
    assert!(reason(&registry, &index, check()).await.contains("no provenance"), "what is not asked for does not count");
    // Of another image of the index it says nothing.
    put_bundle(&registry, &amd64, &envelope(&ours, &arm64, PROVENANCE, &built_by("ci", "https://github.com/acme/app")));
    assert!(reason(&registry, &index, all()).await.contains("about another image"));
    say(&amd64, "another");
    assert!(reason(&registry, &index, all()).await.contains("builder \"another\""));
    say(&amd64, "ci");
    let good = evidence(verify(&registry, &index, all()).await.unwrap());
    assert!(good.contains("linux/amd64") && good.contains("linux/arm64"), "{good}");
    // Of the image alone, which is no index, the policy makes nothing else.
    evidence(verify(&registry, &amd64, all()).await.unwrap());
    assert!(
        reason(&registry, &registry.put_image("app", "2", &ImageSpec::new("linux", "s390x")), all())
            .await
            .contains("no provenance")
    );
}

#[tokio::test]
async fn what_is_said_of_an_index_holds_for_its_images_and_what_is_missing_may_be_said_of_them() {
    let (registry, ours) = (Registry::start().await, Signer::new());
    let signed_within = |image: &str| {
        let provenance = envelope(&ours, image, PROVENANCE, &built_by("ci", "https://github.com/acme/app"));
        (ENVELOPE.to_owned(), provenance.to_string())
    };
    let (index, _) = put_index(&registry, signed_within);
    let check = || {
        let rule = ProvenanceRule::default().builder("ci");
        AttestationCheck::new(ours.public()).provenance(rule).sbom().platforms(Platforms::All)
    };
    assert!(reason(&registry, &index, check()).await.contains("of linux/amd64, it has no SBOM"));
    put_bundle(&registry, &index, &envelope(&ours, &index, "https://spdx.dev/Document", &json!({})));
    let good = evidence(verify(&registry, &index, check()).await.unwrap());
    assert!(good.contains("has an SBOM (linux/arm64)"), "{good}");
    let config = serde_json::to_value(check()).unwrap();
    assert_eq!(config["platforms"], "all");
}

#[tokio::test]
async fn a_bundle_that_refers_to_what_buildkit_keeps_counts_for_the_image() {
    let (registry, ours) = (Registry::start().await, Signer::new());
    let bare = |_: &str| ("application/vnd.in-toto+json".to_owned(), "{}".to_owned());
    let (index, images) = put_index(&registry, bare);
    let manifest = client().manifest(&cx(), &repository(&registry, "app"), &index).await.unwrap();
    let kargo_oci::ManifestContent::Index { entries } = manifest.content else { panic!("an index was put") };
    for image in &images {
        let kept = entries.iter().find(|entry| entry.annotations.values().any(|value| value == image)).unwrap();
        put_bundle(
            &registry,
            &kept.digest,
            &envelope(&ours, image, PROVENANCE, &built_by("ci", "https://github.com/acme/app")),
        );
    }
    let check = AttestationCheck::new(ours.public()).provenance(ProvenanceRule::default()).platforms(Platforms::All);
    evidence(verify(&registry, &index, check).await.unwrap());
}

#[tokio::test]
async fn an_image_that_is_named_by_sha512_is_asked_for_by_what_refers_to_it() {
    let ours = Signer::new();
    let digest = format!("sha512:{}", "5".repeat(128));
    let (app, trust) = ("app", Trust::from(PublicKey::from_pem(&ours.public()).unwrap()));
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {},
        "subject": [{"digest": {"sha512": "5".repeat(128)}}],
    });
    let registry = Registry::start().await;
    put_bundle(&registry, &digest, &signed(&ours, "application/vnd.in-toto+json", &statement.to_string()));
    let signed_by = client().signed_by(&cx(), &repository(&registry, app), &digest, &trust).await.unwrap();
    assert!(matches!(signed_by, Signed::By(By::Key(_))), "{signed_by:?}");
    // Without the referrers API the hash is cut to what a tag may have.
    let old = Registry::builder().without_referrers().start().await;
    old.put_image(app, "1.0.0", &ImageSpec::default());
    assert_eq!(client().signed_by(&cx(), &repository(&old, app), &digest, &trust).await.unwrap(), Signed::No);
    assert_eq!(old.count("GET", &format!("/manifests/sha512-{}", "5".repeat(64))), 1);
}
