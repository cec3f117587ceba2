use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kargo_core::ErrorKind;
use kargo_core::plugin::{Verdict, Verifier, VerifyRequest};
use kargo_core::{Actor, Result, VerificationId};
use kargo_oci::testing::Registry;
use kargo_oci::{
    AttestationCheck, AttestationVerifier, Client, ImageSource, ImageSpec, SignatureCheck, SignatureVerifier, Signed,
    Signer, SignerIdentity, Trust, TrustedRoot,
};
use serde_json::{Value, json};

use crate::attestations::{PROVENANCE, built_by, envelope, put_envelopes, put_referrer};
use crate::discovery::{found, look, subscription, tags};
use crate::signatures::{failure, put_signatures, signed_layer, text_about};
use crate::sigstore::{BUNDLE, GITHUB, Held, Leaf, SIGNED_AT, Sigstore, WORKFLOW, base64, pem};
use crate::{client, cx, freight, repository};

const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

fn release() -> SignerIdentity {
    SignerIdentity::matching(r"https://github\.com/acme/app/\.github/workflows/release\.yaml@refs/tags/.*", GITHUB)
}

fn root(sigstore: &Sigstore) -> TrustedRoot {
    TrustedRoot::from_json(&sigstore.trusted_root().to_string()).unwrap()
}

struct World {
    registry: Registry,
    digest: String,
    sigstore: Sigstore,
    holder: Held,
}

impl World {
    async fn new() -> Self {
        let registry = Registry::start().await;
        let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
        let sigstore = Sigstore::new();
        let holder = sigstore.certify(Leaf::default());
        Self { registry, digest, sigstore, holder }
    }

    /// A statement that the image is signed, by whoever holds the certificate.
    fn envelope(&self, holder: &Held) -> Value {
        envelope(&holder.key, &self.digest, SIGNATURE, &json!({}))
    }

    fn bundle(&self) -> Value {
        self.sigstore.bundle(&self.holder, &self.envelope(&self.holder))
    }

    /// What comes of a bundle under a trusted root.
    async fn judge(&self, bundle: &Value, root: &TrustedRoot, identity: &SignerIdentity) -> Signed {
        let registry = Registry::start().await;
        assert_eq!(registry.put_image("app", "1.0.0", &ImageSpec::default()), self.digest);
        put_referrer(&registry, &self.digest, BUNDLE, &bundle.to_string());
        let trust = Trust::nobody().identity(identity, root).unwrap();
        client().signed_by(&cx(), &repository(&registry, "app"), &self.digest, &trust).await.unwrap()
    }

    async fn why(&self, bundle: &Value) -> String {
        why(self.judge(bundle, &root(&self.sigstore), &release()).await)
    }
}

fn why(signed: Signed) -> String {
    match signed {
        Signed::Badly { signatures: 1, why } => why,
        other => panic!("{other:?}"),
    }
}

async fn verify(verifier: &impl Verifier, world: &World, config: Value) -> Result<Verdict> {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let freight = freight(&world.registry, &world.digest);
    let promotion = kargo_core::PromotionInfo::new("shop", "p1", "dev", freight, Actor::engine(), now);
    let verification = VerificationId::from("v1");
    verifier.validate(&config)?;
    verifier.verify(&cx(), &VerifyRequest::new(&verification, &promotion, &config, now)).await
}

#[tokio::test]
async fn a_signature_of_an_identity_counts_by_its_certificate_and_the_logs() {
    let world = World::new().await;
    let signed = world.judge(&world.bundle(), &root(&world.sigstore), &release()).await;
    let by = Signer::Identity { identity: WORKFLOW.into(), issuer: GITHUB.into() };
    assert_eq!(signed, Signed::By(by));
    let exactly = SignerIdentity::exactly(WORKFLOW, GITHUB);
    assert!(matches!(world.judge(&world.bundle(), &root(&world.sigstore), &exactly).await, Signed::By(_)));
}

#[tokio::test]
async fn a_signature_as_cosign_2_keeps_it_counts_by_what_stands_beside_it() {
    let world = World::new().await;
    let text = text_about(&world.digest);
    let check = || Value::from(SignatureCheck::keyless(release()));
    let verifier = SignatureVerifier::new(client()).trusted_root(root(&world.sigstore));
    let good = world.sigstore.annotations(&world.holder, text.as_bytes());
    put_signatures(&world.registry, &world.digest, &[signed_layer(&world.registry, &text, good.clone())]);
    let verdict = verify(&verifier, &world, check()).await.unwrap();
    assert!(matches!(&verdict, Verdict::Pass { evidence } if evidence.contains(WORKFLOW)), "{verdict:?}");

    let with = |name: &str, value: &str| {
        let mut altered = good.clone();
        altered[name] = value.into();
        altered
    };
    let other = text_about(&format!("sha256:{}", "0".repeat(64)));
    let stolen = world.sigstore.annotations(&world.holder, other.as_bytes());
    let mut without = good.clone();
    without.as_object_mut().unwrap().remove("dev.sigstore.cosign/bundle");
    let signature = base64(world.sigstore.certify(Leaf::default()).key.sign_bytes(text.as_bytes()));
    for (text, annotations, needle) in [
        (&other, stolen.clone(), "is that of another image"),
        (
            &text,
            with("dev.sigstore.cosign/bundle", stolen["dev.sigstore.cosign/bundle"].as_str().unwrap()),
            "about another image",
        ),
        (&text, with("dev.cosignproject.cosign/signature", &signature), "is not that of its certificate"),
        (&text, with("dev.sigstore.cosign/bundle", "{}"), "promise of the log beside it that is not understood"),
        (&text, with("dev.sigstore.cosign/certificate", "none"), "has 0 certificates beside it"),
        (&text, without, "lacks a part that counts"),
    ] {
        put_signatures(&world.registry, &world.digest, &[signed_layer(&world.registry, text, annotations)]);
        let reason = failure(verify(&verifier, &world, check()).await.unwrap());
        assert!(reason.contains(needle), "{needle}: {reason}");
    }
}

#[tokio::test]
async fn an_attestation_of_an_identity_counts_in_a_bundle_and_beside_the_image() {
    let world = World::new().await;
    let check = Value::from(AttestationCheck::keyless(release()).provenance(Default::default()));
    let verifier = AttestationVerifier::new(client()).trusted_root(root(&world.sigstore));
    let predicate = built_by("https://ci.acme.example/7", "https://github.com/acme/app");
    let envelope = envelope(&world.holder.key, &world.digest, PROVENANCE, &predicate);
    let annotations = world.sigstore.annotations_of_envelope(&world.holder, &envelope);
    put_envelopes(&world.registry, &world.digest, &[(envelope.clone(), annotations)]);
    let verdict = verify(&verifier, &world, check.clone()).await.unwrap();
    assert!(matches!(&verdict, Verdict::Pass { evidence } if evidence.contains("ci.acme.example/7")), "{verdict:?}");

    let other = World::new().await;
    put_referrer(&other.registry, &other.digest, BUNDLE, &world.sigstore.bundle(&world.holder, &envelope).to_string());
    let verdict = verify(&verifier, &other, check.clone()).await.unwrap();
    assert!(matches!(verdict, Verdict::Pass { .. }), "{verdict:?}");
    // Under another root nothing of it counts, and with no root there is nothing to check by.
    let stranger = AttestationVerifier::new(client()).trusted_root(root(&Sigstore::new()));
    assert!(failure(verify(&stranger, &other, check.clone()).await.unwrap()).contains("promise of the log"));
    let error = verify(&AttestationVerifier::new(client()), &other, check).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("trusted_root"), "{error}");
}

/// A bundle in which one place has another value.
fn altered(bundle: &Value, place: &str, value: impl Into<Value>) -> Value {
    let mut bundle = bundle.clone();
    *bundle.pointer_mut(place).unwrap() = value.into();
    bundle
}

fn without(bundle: &Value, parent: &str, name: &str) -> Value {
    let mut bundle = bundle.clone();
    bundle.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    bundle
}

const ENTRY: &str = "/verificationMaterial/tlogEntries/0";

#[tokio::test]
async fn whoever_alters_a_bundle_is_found_out_and_each_alteration_has_its_sentence() {
    let world = World::new().await;
    let good = world.bundle();
    let sigstore = &world.sigstore;
    let elsewhere = envelope(&world.holder.key, &format!("sha256:{}", "0".repeat(64)), SIGNATURE, &json!({}));
    let another = envelope(&world.holder.key, &world.digest, SIGNATURE, &json!({"another": "statement"}));
    let in_entry = |place: &str| format!("{ENTRY}{place}");
    let checkpoint = Sigstore::new().checkpoint(&[0; 32]);
    let proof = good.pointer(&in_entry("/inclusionProof/rootHash")).unwrap().as_str().unwrap();
    let forged = Sigstore::new().checkpoint(&STANDARD.decode(proof).unwrap());
    let mut swapped = good.clone();
    swapped["verificationMaterial"]["tlogEntries"] =
        sigstore.bundle(&world.holder, &another)["verificationMaterial"]["tlogEntries"].clone();
    let mut foreign = good.clone();
    foreign["verificationMaterial"]["tlogEntries"] = Sigstore::new()
        .bundle(&world.holder, &world.envelope(&world.holder))["verificationMaterial"]["tlogEntries"]
        .clone();
    let mut unlogged = good.clone();
    unlogged["verificationMaterial"]["tlogEntries"] = json!([]);
    for (bundle, needle) in [
        (
            altered(&good, "/dsseEnvelope/payload", another["payload"].clone()),
            "signature that is not that of its certificate",
        ),
        (
            altered(&good, "/dsseEnvelope/signatures/0/sig", another["signatures"][0]["sig"].clone()),
            "signature that is not that of its certificate",
        ),
        (sigstore.bundle(&world.holder, &elsewhere), "about another image"),
        (
            altered(&good, &in_entry("/integratedTime"), (SIGNED_AT + 1).to_string()),
            "promise of the log that is not that of",
        ),
        (altered(&good, &in_entry("/logIndex"), "2"), "promise of the log that is not that of"),
        (without(&good, ENTRY, "inclusionPromise"), "nothing that says when it was signed"),
        (without(&good, ENTRY, "inclusionProof"), "lacks a part that counts"),
        (
            altered(&good, &in_entry("/inclusionProof/hashes/0"), base64([7; 32])),
            "proof of its place in the log that does not hold",
        ),
        (
            altered(&good, &in_entry("/inclusionProof/logIndex"), "0"),
            "proof of its place in the log that does not hold",
        ),
        (
            altered(&good, &in_entry("/inclusionProof/checkpoint/envelope"), forged),
            "checkpoint that no log that is trusted has signed",
        ),
        (altered(&good, &in_entry("/inclusionProof/checkpoint/envelope"), checkpoint), "lacks a part that counts"),
        (swapped, "entry in the log that is that of something else"),
        (foreign, "promise of the log that is not that of"),
        (unlogged, "lacks a part that counts"),
        (
            sigstore.bundle_at(&world.holder, &world.envelope(&world.holder), SIGNED_AT + 3_600),
            "issued for signing at that time (certificate chain validation failed: CertExpired",
        ),
        (
            sigstore.bundle_at(&world.holder, &world.envelope(&world.holder), SIGNED_AT - 3_600),
            "issued for signing at that time (certificate chain validation failed: CertNotValidYet",
        ),
        (altered(&good, "/mediaType", "application/vnd.dev.sigstore.bundle.v9+json"), "form that is not understood"),
        (
            altered(&good, "/verificationMaterial/certificate/rawBytes", base64(b"no certificate")),
            "certificate that is not understood",
        ),
    ] {
        let why = world.why(&bundle).await;
        assert!(why.contains(needle), "{needle}: {why}");
    }
}

#[tokio::test]
async fn a_certificate_counts_only_from_a_trusted_authority_for_signing_and_as_the_log_has_seen_it() {
    let world = World::new().await;
    let by = |holder: Held| world.sigstore.bundle(&holder, &world.envelope(&holder));
    let server = Leaf { usage: "1.3.6.1.5.5.7.3.1", ..Leaf::default() };
    let pretender = Leaf { identity: "https://github.com/evil/app", pretends: Some(WORKFLOW), ..Leaf::default() };
    let evil = Leaf { identity: "https://github.com/evil/app", ..Leaf::default() };
    let secret = Leaf { is_logged: false, ..Leaf::default() };
    for (holder, needle) in [
        (world.sigstore.certify(server), "no authority that is trusted has issued for signing"),
        (world.sigstore.certify(secret), "no certificate log that is trusted vouches for"),
        (world.sigstore.certify(pretender), "no certificate log that is trusted vouches for"),
        (world.sigstore.certify(evil), "\"https://github.com/evil/app\""),
    ] {
        let why = world.why(&by(holder)).await;
        assert!(why.contains(needle), "{needle}: {why}");
    }
    for identity in [
        SignerIdentity::exactly(WORKFLOW, "https://accounts.google.com"),
        SignerIdentity::exactly("alice@acme.example", GITHUB),
    ] {
        let why = why(world.judge(&world.bundle(), &root(&world.sigstore), &identity).await);
        assert!(why.contains("who is not trusted") && why.contains(WORKFLOW) && why.contains(GITHUB), "{why}");
    }
    let mut over = world.sigstore.trusted_root();
    over["certificateAuthorities"][0]["validFor"]["end"] = "2024-01-01T00:00:00Z".into();
    let over = TrustedRoot::from_json(&over.to_string()).unwrap();
    let refused = why(world.judge(&world.bundle(), &over, &release()).await);
    assert!(refused.contains("when no authority that is trusted issued certificates"), "{refused}");
    let (bundle, known) = (world.bundle(), world.sigstore.trusted_root());
    let mut strange = known.clone();
    strange["certificateAuthorities"] = Sigstore::new().trusted_root()["certificateAuthorities"].clone();
    let strange = TrustedRoot::from_json(&strange.to_string()).unwrap();
    let refused = why(world.judge(&bundle, &strange, &release()).await);
    assert!(refused.contains("no authority that is trusted has issued"), "{refused}");
    let mut strange = known;
    strange["ctlogs"] = Sigstore::new().trusted_root()["ctlogs"].clone();
    let strange = TrustedRoot::from_json(&strange.to_string()).unwrap();
    let refused = why(world.judge(&bundle, &strange, &release()).await);
    assert!(refused.contains("no certificate log that is trusted"), "{refused}");
}

#[tokio::test]
async fn a_trusted_root_by_which_nothing_could_count_is_refused() {
    let good = Sigstore::new().trusted_root();
    let empty = |name: &str| altered(&good, &format!("/{name}"), json!([]));
    for (text, needle) in [
        ("hunter2".to_owned(), "not a trusted_root.json"),
        (empty("tlogs").to_string(), "nothing under tlogs"),
        (empty("ctlogs").to_string(), "nothing under ctlogs"),
        (empty("certificateAuthorities").to_string(), "nothing under certificateAuthorities"),
        (altered(&good, "/tlogs/0/publicKey/rawBytes", base64(b"no key")).to_string(), "cannot be used"),
        (
            altered(&good, "/certificateAuthorities/0/certChain/certificates/0/rawBytes", base64(b"none")).to_string(),
            "cannot be used",
        ),
    ] {
        let error = TrustedRoot::from_json(&text).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(needle), "{needle}: {error}");
    }
}

#[tokio::test]
async fn an_image_that_a_stranger_has_signed_never_becomes_freight() {
    let world = World::new().await;
    put_referrer(&world.registry, &world.digest, BUNDLE, &world.bundle().to_string());
    let other = world.registry.put_image("app", "2.0.0", &ImageSpec::default().label("other", "yes"));
    let stranger = world.sigstore.certify(Leaf { identity: "https://github.com/evil/app", ..Leaf::default() });
    let envelope = envelope(&stranger.key, &other, SIGNATURE, &json!({}));
    put_referrer(&world.registry, &other, BUNDLE, &world.sigstore.bundle(&stranger, &envelope).to_string());
    let source = ImageSource::new(Client::anonymous().unwrap()).trusted_root(root(&world.sigstore));
    let subscription = subscription(&world.registry).signed(SignatureCheck::keyless(release()));
    let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!(tags(&images), ["1.0.0"]);
    // With another root, after the program was started again, what was found before holds no more.
    let other_root = ImageSource::new(Client::anonymous().unwrap()).trusted_root(root(&Sigstore::new()));
    assert!(found(look(&other_root, &subscription, Some(&cursor)).await.unwrap()).0.is_empty());
    let explained = source.explain(&cx(), &subscription).await.unwrap().to_string();
    assert!(explained.contains("2.0.0: has no signature that counts") && explained.contains("evil"), "{explained}");
}

/// What this test's Sigstore makes is what openssl takes for certificates and signatures too.
#[tokio::test]
async fn openssl_agrees_with_the_certificates_and_the_signatures() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name).display().to_string();
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let [authority, root] = world.sigstore.chain().map(|certificate| pem(&certificate));
    let (authority, root) = (put("authority.pem", authority.as_bytes()), put("root.pem", root.as_bytes()));
    let leaf = put("leaf.pem", pem(&world.holder.certificate).as_bytes());
    let at = |seconds: i64| seconds.to_string();
    let verify = async |time: &str| {
        openssl(&["verify", "-attime", time, "-CAfile", &root, "-untrusted", &authority, &leaf]).await
    };
    assert!(verify(&at(SIGNED_AT)).await.0);
    let (is_good, said) = verify(&at(SIGNED_AT + 3_600)).await;
    assert!(!is_good && said.contains("expired"), "{said}");
    let (_, text) = openssl(&["x509", "-in", &leaf, "-noout", "-text"]).await;
    for part in ["Code Signing", "CT Precertificate SCTs", "Jan  1 00:04:00.000 2025", &format!("URI:{WORKFLOW}")] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_, key) = openssl(&["x509", "-in", &leaf, "-noout", "-pubkey"]).await;
    let key = put("key.pem", key.as_bytes());
    let envelope = world.envelope(&world.holder);
    let decoded = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
    let (payload, kind) = (decoded(&envelope["payload"]), "application/vnd.in-toto+json");
    let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    signed.extend(payload);
    let (signed, signature) = (put("signed", &signed), put("signature", &decoded(&envelope["signatures"][0]["sig"])));
    let (is_good, said) = openssl(&["dgst", "-sha256", "-verify", &key, "-signature", &signature, &signed]).await;
    assert!(is_good, "{said}");
}

async fn openssl(arguments: &[&str]) -> (bool, String) {
    let output = tokio::process::Command::new("openssl").args(arguments).kill_on_drop(true).output().await;
    let output = output.expect("openssl is installed");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Bundles of the world's own, with the trusted root that they belong to, from the directory that `KARGO_TEST_SIGSTORE` names. Of each
/// all must hold but who it is, since nobody is trusted here.
#[tokio::test]
#[ignore = "needs bundles that are not ours to hand on"]
async fn bundles_of_others_hold_in_all_but_the_name() {
    let folder = std::env::var("KARGO_TEST_SIGSTORE").expect("KARGO_TEST_SIGSTORE names a directory");
    let folder = std::path::Path::new(&folder);
    let root = TrustedRoot::from_json(&std::fs::read_to_string(folder.join("trusted_root.json")).unwrap()).unwrap();
    let trust = Trust::nobody().identity(&SignerIdentity::exactly("nobody", "nobody"), &root).unwrap();
    let mut checked = 0;
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if file.ends_with("trusted_root.json") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let bundle: Value = serde_json::from_str(&text).unwrap();
        let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        let registry = Registry::start().await;
        let digests = statement["subject"][0]["digest"].as_object().unwrap();
        let (algorithm, hash) = digests.iter().find(|(name, _)| name.starts_with("sha")).unwrap();
        let digest = format!("{algorithm}:{}", hash.as_str().unwrap());
        put_referrer(&registry, &digest, BUNDLE, &text);
        let found = client().attestations(&cx(), &repository(&registry, "app"), &digest, &trust).await.unwrap();
        assert!(found.signed.is_empty());
        let why = &found.claims[0].why;
        assert!(why.contains("who is not trusted") && why.contains("https://"), "{}: {why}", file.display());
        checked += 1;
    }
    assert!(checked > 0);
}
