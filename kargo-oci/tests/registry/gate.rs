//! Signatures and attestations as what lets an image become freight.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kargo_core::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source};
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Clock, ErrorKind, Result, Subscription};
use kargo_oci::testing::{Fault, Registry};
use kargo_oci::{
    AttestationCheck, ImageSource, ImageSpec, ImageSubscription, Platforms, SelectionStrategy, Severity,
    SignatureCheck, TagOutcome, VulnerabilityRule,
};
use serde_json::json;

use crate::attestations::{BUNDLE, MANIFEST, VULNERABILITIES, envelope, put_bundle, put_referrer, scanned};
use crate::client;
use crate::discovery::{dated, found, subscription, tags};
use crate::signatures::{Signer, put_signatures, text_about};

struct World {
    registry: Registry,
    ours: Signer,
    source: ImageSource,
    clock: Arc<ManualClock>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at("2026-01-01T12:00:00Z"));
        let client = kargo_oci::Client::builder().tries(1).build().unwrap();
        Self { registry: Registry::start().await, ours: Signer::new(), source: ImageSource::new(client), clock }
    }

    fn put(&self, tag: &str) -> String {
        self.registry.put_image("app", tag, &ImageSpec::default().label("tag", tag))
    }

    fn put_signed(&self, tag: &str) -> String {
        let digest = self.put(tag);
        self.sign(&digest, &self.ours);
        digest
    }

    fn sign(&self, digest: &str, by: &Signer) {
        put_signatures(&self.registry, digest, &[by.sign(&self.registry, &text_about(digest))]);
    }

    fn signed(&self) -> ImageSubscription {
        subscription(&self.registry).signed(SignatureCheck::new(self.ours.public()))
    }

    fn cx(&self) -> Context {
        Context::new(Arc::clone(&self.clock) as Arc<dyn Clock>, Actor::engine(), "test")
    }

    async fn look(&self, subscription: &ImageSubscription, cursor: Option<&Cursor>) -> Result<Discovery> {
        let subscription = Subscription::from(subscription.clone());
        self.source.validate(&subscription.config)?;
        self.source.discover(&self.cx(), &DiscoverRequest::new(&subscription.config).with_cursor(cursor)).await
    }

    /// How many requests were for signatures.
    fn asked(&self) -> usize {
        let count =
            self.registry.count("", ".sig") + self.registry.count("", "/referrers/") + self.registry.count("", ".att");
        self.registry.clear_requests();
        count
    }
}

#[tokio::test]
async fn an_image_that_is_not_signed_never_becomes_freight_and_explain_says_why() {
    let world = World::new().await;
    world.put_signed("1.0.0");
    world.put("1.1.0");
    let strange = world.put("1.2.0");
    world.sign(&strange, &Signer::new());
    world.put_signed("1.3.0");
    let (images, _) = found(world.look(&world.signed(), None).await.unwrap());
    assert_eq!(tags(&images), ["1.3.0", "1.0.0"]);
    let explained = world.source.explain(&world.cx(), &world.signed()).await.unwrap();
    for (tag, needle) in [("1.1.0", "is not signed"), ("1.2.0", "is of no key that is trusted")] {
        let TagOutcome::Refused { reason } = &explained.tag(tag).unwrap().outcome else { panic!("{explained}") };
        assert!(reason.contains(needle), "{reason}");
    }
    assert!(explained.to_string().contains("1.1.0: is not signed"), "{explained}");
    assert!(explained.tag("1.0.0").unwrap().outcome.is_offered());
    // Those that are not signed take no place of the limit.
    let (images, _) = found(world.look(&world.signed().discovery_limit(2), None).await.unwrap());
    assert_eq!(tags(&images), ["1.3.0", "1.0.0"]);
}

#[tokio::test]
async fn a_judgement_is_remembered_by_the_digest_and_not_asked_for_in_each_poll() {
    let world = World::new().await;
    world.put_signed("1.0.0");
    let digest = world.put_signed("1.1.0");
    let (_, cursor) = found(world.look(&world.signed(), None).await.unwrap());
    assert_eq!(world.asked(), 2);
    assert_eq!(world.look(&world.signed(), Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(world.registry.requests().len(), 3, "the page, and whether each tag has moved");
    assert_eq!(world.asked(), 0);
    // Another tag of the same image, and a new image: only this is asked for.
    world.put("1.1.0");
    let copy = world.registry.put_image("app", "1.1.1", &ImageSpec::default().label("tag", "1.1.0"));
    assert_eq!(copy, digest);
    world.put_signed("1.2.0");
    let (images, _) = found(world.look(&world.signed(), Some(&cursor)).await.unwrap());
    assert_eq!(tags(&images), ["1.2.0", "1.1.1", "1.1.0", "1.0.0"]);
    assert_eq!(world.asked(), 1);
    // Under other keys nothing of it holds.
    let others = subscription(&world.registry).signed(SignatureCheck::new(Signer::new().public()));
    assert!(found(world.look(&others, None).await.unwrap()).0.is_empty());
}

#[tokio::test]
async fn an_image_that_is_signed_after_it_was_pushed_is_taken_then() {
    let world = World::new().await;
    let digest = world.put("1.0.0");
    let (images, cursor) = found(world.look(&world.signed(), None).await.unwrap());
    assert!(images.is_empty() && world.asked() > 0);
    world.sign(&digest, &world.ours);
    world.clock.advance(Duration::from_secs(59));
    assert_eq!(world.look(&world.signed(), Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(world.asked(), 0);
    world.clock.advance(Duration::from_secs(1));
    let (images, cursor) = found(world.look(&world.signed(), Some(&cursor)).await.unwrap());
    assert_eq!(tags(&images), ["1.0.0"]);
    world.clock.advance(Duration::from_secs(100_000));
    assert_eq!(world.look(&world.signed(), Some(&cursor)).await.unwrap(), Discovery::Unchanged, "for good");
}

#[tokio::test]
async fn an_image_that_stays_unsigned_is_asked_for_ever_less() {
    let world = World::new().await;
    world.put("1.0.0");
    let mut cursor = None;
    let mut times = 0;
    for _ in 0..24 * 60 {
        if let Discovery::Found { cursor: next, .. } = world.look(&world.signed(), cursor.as_ref()).await.unwrap() {
            cursor = next;
            times += usize::from(world.asked() > 0);
        }
        world.registry.clear_requests();
        world.clock.advance(Duration::from_secs(60));
    }
    assert!((24..=32).contains(&times), "in a day of polls, each minute: {times}");
}

#[tokio::test]
async fn a_registry_that_fails_is_an_error_and_makes_no_image_unsigned() {
    let world = World::new().await;
    world.put_signed("1.0.0");
    world.put_signed("1.1.0");
    for place in [".sig", "/blobs/"] {
        world.registry.inject(Fault::status(503).on(place).times(1));
        let error = world.look(&world.signed(), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        world.registry.clear_faults();
    }
    assert_eq!(tags(&found(world.look(&world.signed(), None).await.unwrap()).0), ["1.1.0", "1.0.0"]);
}

#[tokio::test]
async fn what_is_broken_beside_one_image_does_not_keep_the_others_from_being_offered() {
    let mut world = World::new().await;
    world.put_signed("1.0.0");
    let spoiled = world.put("1.1.0");
    let put = |suffix: &str, manifest: &serde_json::Value| {
        let tag = format!("{}.{suffix}", spoiled.replace(':', "-"));
        world.registry.put_manifest("app", &tag, MANIFEST, manifest.to_string());
    };
    let bare = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": spoiled, "size": 2}});
    let with = |field: &str, value: serde_json::Value| {
        let mut manifest = bare.clone();
        manifest[field] = value;
        manifest
    };
    let annotated = with("annotations", json!({"note": "x".repeat(100_000)}));
    let sbom = AttestationCheck::new(world.ours.public()).sbom();
    for manifest in [annotated, with("layers", json!([{"digest": "md5:1", "size": 1}])), json!("none")] {
        put("sig", &manifest);
        put("att", &manifest);
        let (images, _) = found(world.look(&world.signed(), None).await.unwrap());
        assert_eq!(tags(&images), ["1.0.0"]);
        let explained = world.source.explain(&world.cx(), &world.signed()).await.unwrap();
        let TagOutcome::Refused { reason } = &explained.tag("1.1.0").unwrap().outcome else { panic!("{explained}") };
        assert!(reason.contains("the last one cannot be read"), "{reason}");
        let attested = subscription(&world.registry).attested(sbom.clone());
        assert!(found(world.look(&attested, None).await.unwrap()).0.is_empty());
        world.source = ImageSource::new(client());
    }
    // A bundle that is whole counts all the same, also beside one that is not.
    let kind = "https://sigstore.dev/cosign/sign/v1";
    put_referrer(&world.registry, &spoiled, BUNDLE, "no bundle");
    put_bundle(&world.registry, &spoiled, &envelope(&world.ours, &spoiled, kind, &json!({})));
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(tags(&found(world.look(&world.signed(), None).await.unwrap()).0), ["1.1.0", "1.0.0"]);
}

#[tokio::test]
async fn more_bundles_than_are_looked_at_make_one_image_bad_and_no_other() {
    let world = World::new().await;
    let (flooded, listed) = (world.put("1.1.0"), world.put("1.2.0"));
    let good = world.put("1.0.0");
    for digest in [&good, &flooded, &listed] {
        put_bundle(&world.registry, digest, &envelope(&world.ours, digest, "https://spdx.dev/Document", &json!({})));
    }
    for number in 0..200 {
        put_referrer(&world.registry, &flooded, BUNDLE, &number.to_string());
    }
    // The list itself is more than may be read.
    let config = world.registry.put_blob("app", "{}");
    let subject = json!({"mediaType": MANIFEST, "digest": listed, "size": 1});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": config, "size": 2}, "subject": subject,
        "annotations": {"note": "x".repeat(100_000)},
    });
    world.registry.put_manifest("app", "pushed", MANIFEST, manifest.to_string());
    let demanded = subscription(&world.registry).attested(AttestationCheck::new(world.ours.public()).sbom());
    assert_eq!(tags(&found(world.look(&demanded, None).await.unwrap()).0), ["1.0.0"]);
    let explained = world.source.explain(&world.cx(), &demanded).await.unwrap();
    for (tag, needle) in [("1.1.0", "more than 200 bundles"), ("1.2.0", "referrers that cannot be listed")] {
        let TagOutcome::Refused { reason } = &explained.tag(tag).unwrap().outcome else { panic!("{explained}") };
        assert!(reason.contains(needle), "{reason}");
    }
    // Without a signature that was seen, nothing is known of one either.
    let explained = world.source.explain(&world.cx(), &world.signed()).await.unwrap();
    let TagOutcome::Refused { reason } = &explained.tag("1.1.0").unwrap().outcome else { panic!("{explained}") };
    assert!(reason.contains("is not known") && reason.contains("200 bundles"), "{reason}");
}

#[tokio::test]
async fn the_newest_builds_are_judged_until_there_are_enough() {
    let world = World::new().await;
    for day in 1..=28 {
        let digest = world.registry.put_image("app", &format!("b{day}"), &dated(day));
        if day % 2 == 0 {
            world.sign(&digest, &world.ours);
        }
    }
    world.clock.advance(Duration::from_secs(30 * 24 * 3_600));
    let newest = world.signed().strategy(SelectionStrategy::NewestBuild).discovery_limit(3);
    let (images, _) = found(world.look(&newest, None).await.unwrap());
    assert_eq!(tags(&images), ["b28", "b26", "b24"]);
    let judged = world.registry.count("GET", ".sig");
    assert!(judged <= 6, "{judged} of 28 images were asked for");
}

#[tokio::test]
async fn a_search_for_a_signed_image_has_an_end_that_says_so() {
    let mut world = World::new().await;
    for number in 0..150 {
        world.put(&format!("1.0.{number}"));
    }
    for strategy in [SelectionStrategy::SemVer, SelectionStrategy::NewestBuild] {
        world.source = ImageSource::new(client());
        world.registry.clear_requests();
        let error = world.look(&world.signed().strategy(strategy), None).await.unwrap_err();
        for part in ["first 100 of the 150 tags", "is not signed", "was ended there"] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
        assert_eq!(world.registry.count("GET", ".sig"), 100);
    }
}

#[tokio::test]
async fn an_image_falls_out_when_its_report_of_vulnerabilities_is_too_old() {
    let world = World::new().await;
    let digest = world.put("1.0.0");
    let report = |at: &str, found: &[(&str, &str)]| {
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "dsseEnvelope": envelope(&world.ours, &digest, VULNERABILITIES, &scanned(at, found)),
        });
        put_referrer(&world.registry, &digest, "application/vnd.dev.sigstore.bundle.v0.3+json", &bundle.to_string());
    };
    report("2026-01-01T00:00:00Z", &[("CVE-1", "LOW")]);
    let rule = VulnerabilityRule::at_most(Severity::Medium).max_age_hours(24);
    let check = AttestationCheck::new(world.ours.public()).vulnerabilities(rule).platforms(Platforms::Any);
    let subscription = subscription(&world.registry).attested(check);
    let (images, cursor) = found(world.look(&subscription, None).await.unwrap());
    assert_eq!(tags(&images), ["1.0.0"]);
    world.clock.advance(Duration::from_secs(11 * 3_600));
    assert_eq!(world.look(&subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    world.clock.advance(Duration::from_secs(2 * 3_600));
    let (images, cursor) = found(world.look(&subscription, Some(&cursor)).await.unwrap());
    assert!(images.is_empty());
    let explained = world.source.explain(&world.cx(), &subscription).await.unwrap().to_string();
    assert!(explained.contains("more than 24 hours ago"), "{explained}");
    report("2026-01-02T01:00:00Z", &[("CVE-1", "LOW")]);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(tags(&found(world.look(&subscription, Some(&cursor)).await.unwrap()).0), ["1.0.0"]);
    assert!(world.clock.now() > "2026-01-02T01:00:00Z".parse::<Timestamp>().unwrap());
}

#[tokio::test]
async fn a_demand_that_cannot_be_met_is_refused_when_the_pipeline_is_put_together() {
    let source = ImageSource::new(client());
    let key = Signer::new().public();
    for (field, check, needle) in [
        ("signature", json!({"keys": []}), "trusts nobody"),
        ("signature", json!({"keys": ["hunter2"]}), "BEGIN PUBLIC KEY"),
        ("signature", json!({"keys": [key], "images": ["ghcr.io/acme/app"]}), "name none"),
        ("signature", json!({"key": key}), "key"),
        ("signature", json!({"identities": [{"issuer": "i", "identity": "a"}]}), "names identities"),
        ("attestation", json!({"keys": [key]}), "demands nothing"),
        ("attestation", json!({"keys": [key], "sbom": true, "platforms": "some"}), "some"),
    ] {
        let error = source.validate(&json!({"repoURL": "app", field: check})).unwrap_err();
        let report = error.report();
        assert!(error.kind() == ErrorKind::InvalidInput && report.contains(needle), "{needle}: {report}");
        assert!(!report.contains("hunter2"), "{report}");
    }
}
