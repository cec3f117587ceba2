use std::collections::{BTreeMap, BTreeSet};

use kargo_core::plugin::{Cursor, DiscoverRequest, Discovery, Source};
use kargo_core::{Artifact, ErrorKind, Freight, Image, Result, Subscription};
use kargo_oci::testing::{Fault, Registry};
use kargo_oci::{ImageSource, ImageSpec, ImageSubscription, Misfit, Offer, TagOutcome};

use crate::{client, cx};

pub(crate) fn subscription(registry: &Registry) -> ImageSubscription {
    ImageSubscription::new(format!("{}/app", registry.host()))
}

pub(crate) fn source() -> ImageSource {
    ImageSource::new(client())
}

pub(crate) async fn look(
    source: &ImageSource,
    subscription: &ImageSubscription,
    cursor: Option<&Cursor>,
) -> Result<Discovery> {
    let subscription = Subscription::from(subscription.clone());
    source.validate(&subscription.config)?;
    source.discover(&cx(), &DiscoverRequest::new(&subscription.config).with_cursor(cursor)).await
}

pub(crate) fn found(discovery: Discovery) -> (Vec<Image>, Cursor) {
    let Discovery::Found { candidates, cursor } = discovery else { panic!("{discovery:?}") };
    let images = candidates.into_iter().map(|artifact| match artifact {
        Artifact::Image(image) => image,
        other => panic!("{other:?}"),
    });
    (images.collect(), cursor.unwrap())
}

pub(crate) fn tags(images: &[Image]) -> Vec<&str> {
    images.iter().map(|image| image.tag.as_str()).collect()
}

pub(crate) fn dated(day: u8) -> ImageSpec {
    ImageSpec::default().created_annotation(format!("2026-01-{day:02}T00:00:00Z").parse().unwrap())
}

#[tokio::test]
async fn the_newest_version_comes_first_with_its_digest_annotations_and_time() {
    let registry = Registry::start().await;
    for (tag, day) in [("1.9.0", 1), ("1.10.0", 2), ("v1.2.0", 3), ("2.0.0", 4), ("1.11.0-rc.1", 5), ("latest", 6)] {
        registry.put_image("app", tag, &dated(day));
    }
    let (images, _) = found(look(&source(), &subscription(&registry).constraint("^1"), None).await.unwrap());
    assert_eq!(tags(&images), ["1.10.0", "1.9.0", "v1.2.0"]);
    assert_eq!(images[0].repo_url, format!("{}/app", registry.host()));
    assert_eq!(Some(&images[0].digest), registry.digest("app", "1.10.0").as_ref());
    assert_eq!(images[0].created_at, Some("2026-01-02T00:00:00Z".parse().unwrap()));
    assert_eq!(images[0].annotations["org.opencontainers.image.created"], "2026-01-02T00:00:00Z");
}

#[tokio::test]
async fn a_look_costs_the_pages_and_one_request_per_offered_image() {
    let registry = Registry::builder().page_size(20).start().await;
    for index in 0..50 {
        registry.put_image("app", &format!("1.0.{index}"), &dated(1 + index % 28));
    }
    let (source, subscription) = (source(), subscription(&registry).discovery_limit(10));
    let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!(images.len(), 10);
    assert_eq!((registry.count("", "tags/list"), registry.requests().len()), (3, 3 + 10));

    // The same again: the pages, and one conditional request per image.
    for source in [&source, &self::source()] {
        registry.clear_requests();
        assert_eq!(look(source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
        assert_eq!(registry.requests().len(), 3 + 10);
        assert_eq!(registry.requests().iter().filter(|request| request.status == 304).count(), 10);
    }
}

#[tokio::test]
async fn tags_that_never_move_cost_the_pages_alone() {
    let registry = Registry::start().await;
    for index in 0..30 {
        registry.put_image("app", &format!("1.0.{index}"), &dated(1));
    }
    let (source, subscription) = (source(), subscription(&registry).immutable_tags(true));
    let (_, cursor) = found(look(&source, &subscription, None).await.unwrap());
    registry.clear_requests();
    assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().len(), 1);

    registry.put_image("app", "1.1.0", &dated(2));
    registry.clear_requests();
    let (images, _) = found(look(&source, &subscription, Some(&cursor)).await.unwrap());
    assert_eq!((images.len(), images[0].tag.as_str()), (20, "1.1.0"));
    assert_eq!(registry.requests().len(), 1 + 1, "only the new tag is asked for");
}

#[tokio::test]
async fn without_an_annotation_the_time_comes_from_the_configuration_once() {
    let registry = Registry::start().await;
    let created = "2026-02-03T04:05:06Z".parse().unwrap();
    let later = "2026-02-04T00:00:00Z";
    registry.put_image("app", "1.0.0", &ImageSpec::default().created(created));
    registry.put_image(
        "app",
        "1.1.0",
        &ImageSpec::default().created(created).label("org.label-schema.build-date", later),
    );
    let (source, subscription) = (source(), subscription(&registry));
    let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!(images[1].created_at, Some(created));
    assert_eq!(images[0].created_at, Some(later.parse().unwrap()));
    assert_eq!(registry.requests().len(), 1 + 2 + 2);
    // One tag moves: only what is new about it is asked for.
    registry.put_image("app", "1.1.0", &ImageSpec::default().created(created));
    registry.clear_requests();
    let (images, _) = found(look(&source, &subscription, Some(&cursor)).await.unwrap());
    assert_eq!(images[0].created_at, Some(created));
    assert_eq!(registry.requests().len(), 1 + 2, "the digest it has now was known from the other tag");
}

#[tokio::test]
async fn a_tag_that_moves_is_found_with_its_new_digest() {
    let registry = Registry::start().await;
    let before = registry.put_image("app", "1.0.0", &dated(1));
    let (source, subscription) = (source(), subscription(&registry));
    let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!(images[0].digest, before);
    let after = registry.put_image("app", "1.0.0", &dated(2));
    let (images, cursor) = found(look(&source, &subscription, Some(&cursor)).await.unwrap());
    assert_eq!(images[0].digest, after);
    assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
}

#[tokio::test]
async fn a_cursor_gives_the_same_result_as_none() {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &dated(1));
    let (with, without, subscription) = (source(), source(), subscription(&registry).discovery_limit(2));
    let (_, cursor) = found(look(&with, &subscription, None).await.unwrap());
    registry.put_image("app", "1.1.0", &dated(2));
    registry.put_image("app", "1.2.0", &dated(3));
    let (a, _) = found(look(&with, &subscription, Some(&cursor)).await.unwrap());
    let (b, _) = found(look(&without, &subscription, None).await.unwrap());
    assert_eq!(a, b);
    // A cursor of another configuration does not apply, and nonsense is no cursor.
    let (narrow, _) = found(look(&with, &subscription.clone().constraint("1.0.0"), Some(&cursor)).await.unwrap());
    assert_eq!(tags(&narrow), ["1.0.0"]);
    let nonsense = Cursor(serde_json::json!({"digests": 7}));
    assert_eq!(found(look(&with, &subscription, Some(&nonsense)).await.unwrap()).0, a);
}

#[tokio::test]
async fn oci_02_signatures_are_never_offered_and_do_not_hide_versions() {
    let registry = Registry::builder().page_size(100).start().await;
    for index in 0..60 {
        let digest = registry.put_image("app", &format!("1.0.{index}"), &dated(1));
        registry.put_image("app", &format!("{}.sig", digest.replace(':', "-")), &ImageSpec::default());
        registry.put_image("app", &format!("sha256-{index:064}.att"), &ImageSpec::default());
    }
    let subscription = subscription(&registry).strict_semvers(false).discovery_limit(100);
    let (images, _) = found(look(&source(), &subscription, None).await.unwrap());
    assert_eq!(images.len(), 60);
    assert!(images.iter().all(|image| !image.tag.contains("sha256")));
}

#[tokio::test]
async fn oci_06_half_a_listing_is_an_error_and_not_an_older_version() {
    let registry = Registry::builder().page_size(2).start().await;
    for tag in ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "9.0.0"] {
        registry.put_image("app", tag, &dated(1));
    }
    registry.inject(Fault::status(500).on("last=1.1.0"));
    let client = kargo_oci::Client::builder().tries(2).build().unwrap();
    let source = ImageSource::new(client);
    let error = look(&source, &subscription(&registry), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    registry.clear_faults();
    assert_eq!(found(look(&source, &subscription(&registry), None).await.unwrap()).0[0].tag, "9.0.0");
}

#[tokio::test]
async fn oci_11_the_choice_between_two_spellings_is_the_same_in_every_look() {
    let registry = Registry::start().await;
    for (tag, day) in [("1.24", 1), ("1.24.0", 2)] {
        registry.put_image("app", tag, &dated(day));
    }
    let (source, loose) = (source(), subscription(&registry).constraint("^1").strict_semvers(false));
    let (mut ids, mut last) = (BTreeSet::new(), None);
    // In whatever order the registry names them, and with and without what was seen before.
    for (second, order) in [["1.24", "1.24.0"], ["1.24.0", "1.24"], ["1.24", "1.24.0"]].into_iter().enumerate() {
        let listing = serde_json::json!({"name": "app", "tags": order}).to_string();
        registry.inject(Fault::body("application/json", listing).on("tags/list").times(2));
        let (images, cursor) = found(look(&source, &loose, None).await.unwrap());
        assert_eq!(tags(&images), ["1.24.0", "1.24"]);
        let at = jiff::Timestamp::from_second(second.try_into().unwrap()).unwrap();
        ids.insert(Freight::new("main", vec![Artifact::Image(images[0].clone())], at).id().clone());
        let before = last.replace(cursor);
        assert_eq!(look(&source, &loose, before.as_ref().or(last.as_ref())).await.unwrap(), Discovery::Unchanged);
    }
    assert_eq!(ids.len(), 1, "the same freight each time");
    let strict = subscription(&registry).constraint("^1");
    assert_eq!(tags(&found(look(&source, &strict, None).await.unwrap()).0), ["1.24.0"]);
    let explained = source.explain(&cx(), &strict).await.unwrap();
    assert!(
        matches!(explained.tag("1.24").unwrap().outcome, TagOutcome::Misfit(Misfit::NotAVersion(_))),
        "{explained}"
    );
}

/// An index as builders write it, with attachments among its platforms.
fn put_messy_index(registry: &Registry, tag: &str, architectures: &[&str]) -> String {
    let mut entries = Vec::new();
    for architecture in architectures {
        let digest = registry.put_image("app", "parts", &ImageSpec::new("linux", architecture));
        entries.push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
            "platform": {"os": "linux", "architecture": architecture},
            "annotations": {"org.example.architecture": architecture},
        }));
    }
    let attachment = registry.put_image("app", "parts", &ImageSpec::default().label("kind", "sbom"));
    for platform in [
        serde_json::json!({"os": "linux", "architecture": ""}),
        serde_json::json!({"os": "unknown", "architecture": "unknown"}),
    ] {
        entries.push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": attachment, "size": 1, "platform": platform,
        }));
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    registry.put_manifest("app", tag, media_type, index.to_string())
}

#[tokio::test]
async fn oci_23_a_platform_is_found_among_attachments_and_its_absence_passes_a_tag_over() {
    let registry = Registry::start().await;
    let both = put_messy_index(&registry, "1.0.0", &["amd64", "arm64"]);
    put_messy_index(&registry, "1.1.0", &["amd64"]);
    registry.put_image("app", "1.2.0", &ImageSpec::new("linux", "amd64"));
    registry.put_image("app", "0.9.0", &ImageSpec::new("linux", "arm64"));
    registry.remove_tag("app", "parts");
    let (source, subscription) = (source(), subscription(&registry).platform("linux/arm64").discovery_limit(2));
    let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!(tags(&images), ["1.0.0", "0.9.0"]);
    assert_eq!(images[0].digest, both, "the digest is the index's, whatever platform was asked for");
    assert_eq!(images[0].annotations["org.example.architecture"], "arm64");
    assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);

    let (images, _) =
        found(look(&source, &subscription.platform("linux/amd64").discovery_limit(9), None).await.unwrap());
    assert_eq!(tags(&images), ["1.2.0", "1.1.0", "1.0.0"]);
}

#[tokio::test]
async fn by_time_the_time_of_an_index_is_that_of_its_newest_image() {
    let registry = Registry::start().await;
    let at = |text: &str| text.parse().unwrap();
    let specs = [
        ImageSpec::new("linux", "amd64").created(at("2026-01-05T00:00:00Z")),
        ImageSpec::new("linux", "arm64").created(at("2026-01-06T00:00:00Z")),
    ];
    registry.put_index("app", "1.0.0", &specs, &BTreeMap::new());
    let own = BTreeMap::from([("org.opencontainers.image.created".to_owned(), "2026-01-01T00:00:00Z".to_owned())]);
    registry.put_index("app", "1.1.0", &specs, &own);
    let newest = subscription(&registry).strategy(kargo_oci::SelectionStrategy::NewestBuild);
    let (images, _) = found(look(&source(), &newest, None).await.unwrap());
    assert_eq!(tags(&images), ["1.0.0", "1.1.0"]);
    assert_eq!(images[0].created_at, Some(at("2026-01-06T00:00:00Z")));
    assert_eq!(images[1].created_at, Some(at("2026-01-01T00:00:00Z")));
}

#[tokio::test]
async fn a_tag_that_vanishes_between_the_listing_and_the_fetch_is_passed_over() {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &dated(1));
    let gone = registry.put_image("app", "1.1.0", &dated(2));
    registry.remove_manifest("app", &gone);
    for immutable in [false, true] {
        let (source, subscription) = (source(), subscription(&registry).immutable_tags(immutable));
        let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
        assert_eq!(tags(&images), ["1.0.0"]);
        assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
        let back = registry.put_image("app", "1.1.0", &dated(2));
        assert_eq!(tags(&found(look(&source, &subscription, Some(&cursor)).await.unwrap()).0), ["1.1.0", "1.0.0"]);
        registry.remove_manifest("app", &back);
    }
}

#[tokio::test]
async fn a_page_instead_of_an_image_fails_the_look() {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &dated(1));
    // Its time is in the configuration.
    registry.put_image("app", "1.1.0", &ImageSpec::default().created("2026-01-02T00:00:00Z".parse().unwrap()));
    let page = "<html><title>Log in</title></html>";
    let with_type = |fault: Fault, content_type: &str| fault.with_header("content-type", content_type);
    for (place, fault) in [
        ("manifests/1.1.0", Fault::html()),
        ("manifests/1.1.0", Fault::body("Text/HTML; charset=utf-8", "")),
        ("manifests/1.1.0", with_type(Fault::status(404), "text/html")),
        ("manifests/1.1.0", with_type(Fault::status(404), "application/XHTML+xml")),
        ("manifests/1.1.0", Fault::body("text/plain", format!("\n {page}"))),
        ("manifests/1.1.0", Fault::body("application/vnd.oci.image.manifest.v1+json", page)),
        ("manifests/1.1.0", Fault::body("", format!("<?xml version=\"1.0\"?>\n<!doctype HTML>{page}"))),
        ("blobs/", Fault::html()),
        ("blobs/", with_type(Fault::status(404), "text/html")),
    ] {
        registry.clear_faults();
        registry.inject(fault.on(place));
        let error = look(&source(), &subscription(&registry), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{place}: {error}");
        assert!(error.report().contains("page for people") && error.report().contains("1.1.0"), "{error:?}");
    }
    // What is neither a page nor a manifest, and has no sign of being meant, is no image's fault either.
    registry.clear_faults();
    registry.inject(Fault::body("application/json", r#"{"message": "log in"}"#).on("manifests/1.1.0"));
    assert_eq!(look(&source(), &subscription(&registry), None).await.unwrap_err().kind(), ErrorKind::InvalidResponse);
}

#[tokio::test]
async fn one_damaged_answer_does_not_hide_a_tag_that_never_moves() {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &dated(1));
    registry.put_image("app", "1.1.0", &dated(2));
    let (source, subscription) = (source(), subscription(&registry).immutable_tags(true));
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    registry.inject(Fault::body(media_type, r#"{"schemaVersion": 2, "con"#).on("manifests/1.1.0").times(1));
    let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!(tags(&images), ["1.0.0"]);
    let (images, cursor) = found(look(&source, &subscription, Some(&cursor)).await.unwrap());
    assert_eq!(tags(&images), ["1.1.0", "1.0.0"]);
    registry.clear_requests();
    assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().len(), 1);

    // What the registry itself vouches for is broken for good, and costs nothing more.
    registry.put_manifest("app", "1.2.0", media_type, "{}");
    let (images, cursor) = found(look(&source, &subscription, Some(&cursor)).await.unwrap());
    assert_eq!(tags(&images), ["1.1.0", "1.0.0"]);
    registry.clear_requests();
    assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn nothing_that_fits_is_no_error_and_a_missing_repository_is_one() {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &dated(1));
    let (images, _) = found(look(&source(), &subscription(&registry).constraint("^7"), None).await.unwrap());
    assert!(images.is_empty());
    let missing = ImageSubscription::new(format!("{}/missing", registry.host()));
    assert_eq!(look(&source(), &missing, None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_artifact_whose_configuration_is_not_an_images_is_still_found() {
    let registry = Registry::start().await;
    let config = registry.put_blob("app", "{}");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let body = serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "config": {"digest": config}});
    registry.put_manifest("app", "1.0.0", media_type, body.to_string());
    let (images, _) = found(look(&source(), &subscription(&registry), None).await.unwrap());
    assert_eq!((tags(&images), images[0].created_at), (vec!["1.0.0"], None));
}

#[tokio::test]
async fn who_waits_for_anothers_listing_waits_no_longer_than_its_own_deadline() {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &dated(1));
    registry.inject(Fault::stalled().on("tags/list"));
    let (source, config) = (source(), kargo_core::Subscription::from(subscription(&registry)).config);
    let request = DiscoverRequest::new(&config);
    let (patient, hasty) = (cx(), cx());
    let hasty = hasty.clone().with_deadline(hasty.now() + std::time::Duration::from_millis(50));
    // The first one lists, and never comes to an end.
    let mut lists = source.discover(&patient, &request);
    assert!(futures::poll!(&mut lists).is_pending());
    let error = source.discover(&hasty, &request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn any_artifact_is_found_and_a_configuration_of_another_kind_is_not_fetched() {
    let registry = Registry::start().await;
    let config = registry.put_blob("app", r#"{"name":"shop","created":7,"config":"none"}"#);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    for (tag, kind) in [
        ("1.0.0", "application/vnd.cncf.helm.config.v1+json"),
        ("1.1.0", "application/vnd.oci.empty.v1+json"),
        ("1.2.0", "application/vnd.wasm.config.v0+json"),
    ] {
        let body = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type, "artifactType": "application/vnd.example", "layers": [],
            "config": {"digest": config, "mediaType": kind},
        });
        registry.put_manifest("app", tag, media_type, body.to_string());
    }
    let (images, _) = found(look(&source(), &subscription(&registry), None).await.unwrap());
    assert_eq!(tags(&images), ["1.2.0", "1.1.0", "1.0.0"]);
    assert_eq!(registry.count("", "/blobs/"), 0);
    // Such an artifact runs nowhere in particular.
    let on_linux = subscription(&registry).platform("linux/amd64");
    assert!(found(look(&source(), &on_linux, None).await.unwrap()).0.is_empty());
}

#[tokio::test]
async fn the_source_and_the_revision_are_read_from_labels_where_the_configuration_is_read() {
    let registry = Registry::start().await;
    let labelled = |architecture: &str| {
        ImageSpec::new("linux", architecture)
            .label("org.opencontainers.image.source", "https://github.com/acme/app")
            .label("org.opencontainers.image.revision", format!("c0ffee-{architecture}"))
            .label("org.opencontainers.image.documentation", "x".repeat(2_000))
            .label("maintainer", "somebody")
    };
    registry.put_image("app", "1.0.0", &labelled("amd64").annotation("org.opencontainers.image.revision", "annotated"));
    registry.put_index("app", "1.1.0", &[labelled("amd64"), labelled("arm64")], &BTreeMap::new());
    registry.put_image("app", "1.2.0", &labelled("amd64"));
    registry.put_image("app", "1.3.0", &labelled("amd64").created_annotation("2026-01-01T00:00:00Z".parse().unwrap()));
    let plain = subscription(&registry);
    for (wanted, of_index) in [(plain.clone(), "c0ffee-amd64"), (plain.platform("linux/arm64"), "c0ffee-arm64")] {
        let (images, _) = found(look(&source(), &wanted, None).await.unwrap());
        let expected = [("1.0.0", "annotated"), ("1.1.0", of_index), ("1.2.0", "c0ffee-amd64")];
        for (tag, revision) in expected {
            let Some(image) = images.iter().find(|image| image.tag == tag) else { continue };
            assert_eq!(image.annotations["org.opencontainers.image.source"], "https://github.com/acme/app", "{tag}");
            assert_eq!(image.annotations["org.opencontainers.image.revision"], revision, "{tag}");
            assert!(!image.annotations.contains_key("maintainer"), "only names that OCI has");
            assert!(
                !image.annotations.contains_key("org.opencontainers.image.documentation"),
                "too long for a journal"
            );
        }
        assert!(images.iter().any(|image| image.tag == "1.1.0"));
        let explained = source().explain(&cx(), &wanted).await.unwrap();
        let TagOutcome::Offered { offer: Offer::Image { metadata, .. }, .. } = &explained.tag("1.1.0").unwrap().outcome
        else {
            panic!("{explained}")
        };
        assert_eq!(metadata.labels["maintainer"], "somebody");
    }
    // Nothing is asked for labels alone.
    let (images, _) = found(look(&source(), &subscription(&registry), None).await.unwrap());
    assert_eq!(images[0].tag, "1.3.0");
    assert!(!images[0].annotations.contains_key("org.opencontainers.image.source"));
}

#[tokio::test]
async fn variants_of_a_platform_are_told_apart_and_their_spellings_are_not() {
    let registry = Registry::start().await;
    let platform = |architecture: &str, variant: &str| serde_json::json!({"os": "linux", "architecture": architecture, "variant": variant});
    let image = registry.put_image("app", "part", &dated(1));
    let kind = "application/vnd.oci.image.index.v1+json";
    for (tag, platforms) in [
        ("1.0.0", [platform("arm", "v6"), platform("arm64", "v8")]),
        ("1.1.0", [platform("arm", "v7"), platform("amd64", "v3")]),
    ] {
        let entries: Vec<_> = platforms
            .into_iter()
            .map(|platform| serde_json::json!({"digest": image, "size": 1, "platform": platform}))
            .collect();
        registry.put_manifest("app", tag, kind, serde_json::json!({"manifests": entries}).to_string());
    }
    // Of a single image, its configuration says it.
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let config = registry.put_blob("app", r#"{"os": "linux", "architecture": "arm", "variant": "v7"}"#);
    let manifest = serde_json::json!({"schemaVersion": 2, "config": {"digest": config, "size": 1}});
    registry.put_manifest("app", "1.2.0", media_type, manifest.to_string());
    for (wanted, expected) in [
        ("linux/arm64", vec!["1.0.0"]),
        ("linux/arm64/v8", vec!["1.0.0"]),
        ("linux/arm", vec!["1.2.0", "1.1.0"]),
        ("linux/arm/v7", vec!["1.2.0", "1.1.0"]),
        ("linux/arm/v6", vec!["1.0.0"]),
        ("linux/arm/v5", vec![]),
        ("linux/amd64", vec![]),
        ("linux/amd64/v3", vec!["1.1.0"]),
    ] {
        let (images, _) = found(look(&source(), &subscription(&registry).platform(wanted), None).await.unwrap());
        assert_eq!(tags(&images), expected, "{wanted}");
    }
}
