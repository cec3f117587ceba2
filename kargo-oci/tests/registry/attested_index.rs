//! Which entries of an index something has to be said of: all that a container runtime could run.

use kargo_core::ErrorKind;
use kargo_core::plugin::Discovery;
use kargo_oci::testing::Registry;
use kargo_oci::{AttestationCheck, ImageSpec, Platforms, ProvenanceRule};
use serde_json::{Value, json};

use crate::attestations::{MANIFEST, PROVENANCE, built_by, envelope, evidence, put_bundle, reason, verify};
use crate::discovery::{found, look, source, subscription, tags};
use crate::signatures::Signer;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct World {
    registry: Registry,
    ours: Signer,
    good: String,
    evil: String,
}

impl World {
    async fn new() -> Self {
        let (registry, ours) = (Registry::start().await, Signer::new());
        let good = registry.put_image("app", "good", &ImageSpec::new("linux", "s390x"));
        let evil = registry.put_image("app", "evil", &ImageSpec::default().label("evil", "yes"));
        let world = Self { registry, ours, good, evil };
        world.attest(&world.good);
        world
    }

    fn attest(&self, digest: &str) {
        let provenance = built_by("ci", "https://github.com/acme/app");
        put_bundle(&self.registry, digest, &envelope(&self.ours, digest, PROVENANCE, &provenance));
    }

    /// An index of the good image and of `digest`, of which the entry says `more`.
    fn index(&self, kind: &str, digest: &str, more: Value) -> String {
        let platform = json!({"os": "linux", "architecture": "s390x"});
        let mut entry = json!({"mediaType": kind, "digest": digest, "size": 1});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let good = json!({"mediaType": MANIFEST, "digest": self.good, "size": 1, "platform": platform});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [good, entry]});
        self.registry.put_manifest("app", "1.0.0", INDEX, index.to_string())
    }

    fn check(&self, which: Platforms) -> AttestationCheck {
        AttestationCheck::new(self.ours.public()).provenance(ProvenanceRule::default().builder("ci")).platforms(which)
    }
}

#[tokio::test]
async fn an_entry_that_names_no_platform_has_to_be_good_too() {
    let world = World::new().await;
    // Whatever else it says: runtimes take such an entry where no other fits.
    for more in [
        json!({}),
        json!({"platform": {}}),
        json!({"platform": {"os": "", "architecture": ""}}),
        json!({"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}),
    ] {
        let index = world.index(MANIFEST, &world.evil, more.clone());
        let why = reason(&world.registry, &index, world.check(Platforms::All)).await;
        assert!(why.contains(&world.evil) && why.contains("names no platform"), "{more}: {why}");
    }
    let nested = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"digest": world.evil, "size": 1}]});
    let nested = world.registry.put_manifest("app", "nested", INDEX, nested.to_string());
    let index = world.index(INDEX, &nested, json!({}));
    assert!(reason(&world.registry, &index, world.check(Platforms::All)).await.contains(&nested));

    // What is said to be of an unknown platform is never run.
    for more in [
        json!({"platform": {"os": "unknown", "architecture": "unknown"}}),
        json!({"platform": {"os": "linux", "architecture": ""}}),
    ] {
        let index = world.index(MANIFEST, &world.evil, more);
        evidence(verify(&world.registry, &index, world.check(Platforms::All)).await.unwrap());
    }
    world.attest(&world.evil);
    let index = world.index(MANIFEST, &world.evil, json!({}));
    evidence(verify(&world.registry, &index, world.check(Platforms::All)).await.unwrap());
}

#[tokio::test]
async fn of_one_platform_every_image_that_may_run_there_has_to_be_good() {
    let world = World::new().await;
    let offered = async |which| {
        let demanded = subscription(&world.registry).platform("linux/s390x").attested(world.check(which));
        tags(&found(look(&source(), &demanded, None).await.unwrap()).0).len()
    };
    for which in [Platforms::Any, Platforms::All] {
        world.index(MANIFEST, &world.evil, json!({"platform": {"os": "linux", "architecture": "amd64"}}));
        assert_eq!(offered(which).await, 1, "another platform does not matter");
        for more in [json!({}), json!({"platform": {"os": "linux", "architecture": "s390x"}})] {
            world.index(MANIFEST, &world.evil, more.clone());
            assert_eq!(offered(which).await, 0, "{more}");
        }
    }
}

#[tokio::test]
async fn an_index_that_cannot_be_judged_is_not_good_and_fails_no_look() {
    let world = World::new().await;
    let platform = |number: usize| json!({"os": "linux", "architecture": format!("a{number}")});
    let entries: Vec<Value> =
        (0..33).map(|number| json!({"digest": world.good, "size": 1, "platform": platform(number)})).collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let index = world.registry.put_manifest("app", "1.0.0", INDEX, index.to_string());
    assert!(reason(&world.registry, &index, world.check(Platforms::All)).await.contains("more than 32 images"));
    let all = subscription(&world.registry).attested(world.check(Platforms::All));
    let Discovery::Found { candidates, .. } = look(&source(), &all, None).await.unwrap() else { panic!() };
    assert!(candidates.is_empty());
    // One that is gone has no attestations, and it is the registry that says so.
    let gone = format!("sha256:{}", "7".repeat(64));
    let error = verify(&world.registry, &gone, world.check(Platforms::All)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
