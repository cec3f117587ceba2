//! The strategies, what they cost, and what passes a tag over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kargo_core::plugin::{Context, DiscoverRequest, Discovery, Progress, Source};
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Clock, ErrorKind, Image, Subscription};
use kargo_oci::testing::{Fault, Registry};
use kargo_oci::{ImageSource, ImageSpec, ImageSubscription, Misfit, SelectionStrategy, TagOutcome};

use crate::discovery::{dated, found, look, source, subscription, tags};
use crate::{client, cx};

/// A registry of 2,000 tags, of which 1,400 are releases.
pub(crate) async fn two_thousand(page_size: usize) -> Registry {
    let registry = Registry::builder().page_size(page_size).start().await;
    for number in 0..2_000 {
        let tag = match number % 10 {
            0..7 => format!("1.{}.{}", number / 100, number % 100),
            7 => format!("1.{}.{}-rc.1", number / 100, number % 100),
            8 => format!("main-{number:07x}"),
            _ => format!("1.2-x{number}"),
        };
        registry.put_image("app", &tag, &ImageSpec::default().label("number", number.to_string()));
    }
    registry
}

#[tokio::test]
async fn semver_of_two_thousand_tags_asks_for_the_pages_and_twenty_images() {
    let registry = two_thousand(100).await;
    let (source, subscription) = (source(), subscription(&registry).constraint("^1"));
    let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!((images.len(), images[0].tag.as_str()), (20, "1.19.96"));
    assert_eq!(registry.count("GET", "tags/list"), 20);
    assert_eq!(registry.requests().len(), 20 + 20 + 20, "pages, manifests, and one configuration each for the time");

    registry.clear_requests();
    assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().iter().filter(|request| request.status == 304).count(), 20);
    assert_eq!(registry.requests().len(), 20 + 20);

    let immutable = subscription.immutable_tags(true);
    let (_, cursor) = found(look(&source, &immutable, None).await.unwrap());
    registry.clear_requests();
    assert_eq!(look(&source, &immutable, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().len(), 20);
}

#[tokio::test]
async fn where_pulls_are_counted_a_later_look_pulls_only_what_has_moved() {
    let registry = Registry::start().await;
    for number in 0..5 {
        registry.put_image("app", &format!("1.0.{number}"), &dated(1 + number));
    }
    let client = kargo_oci::Client::builder().counts_pulls(registry.host()).build().unwrap();
    let (source, subscription) = (ImageSource::new(client), subscription(&registry));
    let (_, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!((registry.count("GET", "/manifests/"), registry.count("HEAD", "/manifests/")), (5, 0));
    registry.clear_requests();
    assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!((registry.count("GET", "/manifests/"), registry.count("HEAD", "/manifests/")), (0, 5));
    registry.put_image("app", "1.0.4", &dated(9));
    registry.clear_requests();
    found(look(&source, &subscription, Some(&cursor)).await.unwrap());
    assert_eq!((registry.count("GET", "/manifests/"), registry.count("HEAD", "/manifests/")), (1, 5));
}

#[tokio::test]
async fn the_newest_build_costs_a_manifest_and_a_configuration_per_tag_once() {
    let registry = Registry::start().await;
    for number in 0..300 {
        let created = jiff::Timestamp::from_second(1_760_000_000 + (number * 7919) % 300).unwrap();
        registry.put_image("app", &format!("build-{number}"), &ImageSpec::default().created(created));
    }
    registry.put_image("app", "latest", &dated(1));
    let subscription =
        subscription(&registry).strategy(SelectionStrategy::NewestBuild).allow_tags_regex("^build-").discovery_limit(3);
    let source = source();
    let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert!(images.windows(2).all(|pair| pair[0].created_at > pair[1].created_at), "{:?}", tags(&images));
    assert_eq!(images[0].created_at, Some(jiff::Timestamp::from_second(1_760_000_299).unwrap()));
    assert_eq!((images.len(), registry.requests().len()), (3, 1 + 300 + 300));

    registry.clear_requests();
    assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().len(), 1 + 300);

    let immutable = subscription.immutable_tags(true);
    let (_, cursor) = found(look(&source, &immutable, None).await.unwrap());
    registry.clear_requests();
    assert_eq!(look(&source, &immutable, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().len(), 1);
    registry.put_image("app", "build-new", &dated(20));
    registry.clear_requests();
    let (images, _) = found(look(&source, &immutable, Some(&cursor)).await.unwrap());
    assert_eq!(images[0].tag, "build-new");
    assert_eq!(registry.requests().len(), 1 + 1, "only the new tag is asked for");
}

/// A look whose messages are heard.
async fn heard(source: &ImageSource, subscription: &ImageSubscription) -> (Vec<Image>, Vec<String>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let progress = Progress::to({
        let said = Arc::clone(&said);
        move |message| said.lock().unwrap().push(message.to_owned())
    });
    let config = Subscription::from(subscription.clone()).config;
    let discovery = source.discover(&cx().with_progress(progress), &DiscoverRequest::new(&config)).await.unwrap();
    let said = said.lock().unwrap().clone();
    (found(discovery).0, said)
}

#[tokio::test]
async fn oci_08_equal_times_of_builds_are_told_apart_by_the_tag_and_that_is_said() {
    let registry = Registry::start().await;
    let epoch = jiff::Timestamp::UNIX_EPOCH;
    for (tag, number) in [("b", "1"), ("c", "2"), ("a", "3")] {
        registry.put_image("app", tag, &ImageSpec::default().created(epoch).label("number", number));
    }
    let newest = subscription(&registry).strategy(SelectionStrategy::NewestBuild);
    // In whatever order the registry names them.
    for order in [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]] {
        let listing = serde_json::json!({"name": "app", "tags": order}).to_string();
        registry.inject(Fault::body("application/json", listing).on("tags/list").times(1));
        let (images, said) = heard(&source(), &newest).await;
        assert_eq!(tags(&images), ["c", "b", "a"]);
        assert!(
            said.iter().any(|message| message.contains("built at the same time") && message.contains("c is taken")),
            "{said:?}"
        );
    }
    let explanation = source().explain(&cx(), &newest).await.unwrap();
    assert!(
        explanation.notes[0].contains("1970-01-01") && explanation.to_string().contains("Note: c and b"),
        "{explanation}"
    );
}

#[tokio::test]
async fn oci_08_what_is_said_of_a_build_counts_before_the_time_of_its_configuration() {
    let registry = Registry::start().await;
    let at = |day: u8| format!("2026-01-{day:02}T00:00:00Z").parse::<jiff::Timestamp>().unwrap();
    let built = |day: u8| ImageSpec::default().created(at(day));
    registry.put_image("app", "plain", &built(10));
    // Rebuilds from the cache keep an old time in the configuration; the annotation or the label has the real one.
    registry.put_image("app", "rebuilt", &built(2).created_annotation(at(20)));
    let epoch = ImageSpec::default().created(jiff::Timestamp::UNIX_EPOCH);
    registry.put_image("app", "reproducible", &epoch.label("org.opencontainers.image.created", at(15).to_string()));
    // An annotation counts also when it is the older one. A label does not, as in Kargo: images inherit those of their base.
    registry.put_image("app", "annotated", &built(25).created_annotation(at(5)));
    let inheriting = built(12).label("org.opencontainers.image.created", at(1).to_string());
    registry.put_image("app", "inheriting", &inheriting);
    let newest = subscription(&registry).strategy(SelectionStrategy::NewestBuild);
    let (images, said) = heard(&source(), &newest).await;
    let times: Vec<_> = images.iter().map(|image| (image.tag.as_str(), image.created_at.unwrap())).collect();
    let expected = [("rebuilt", 20), ("reproducible", 15), ("inheriting", 12), ("plain", 10), ("annotated", 5)];
    assert_eq!(times, expected.map(|(tag, day)| (tag, at(day))));
    assert!(said.is_empty(), "{said:?}");
    assert!(source().explain(&cx(), &newest).await.unwrap().notes.is_empty());
}

#[tokio::test]
async fn an_image_from_the_future_does_not_stay_the_newest_for_ever() {
    let registry = Registry::start().await;
    registry.put_image("app", "now", &dated(1));
    let ahead = "2026-01-10T00:00:00Z".parse().unwrap();
    registry.put_image("app", "ahead", &ImageSpec::default().created(ahead));
    let clock = Arc::new(ManualClock::at("2026-01-02T00:00:00Z"));
    let cx = || Context::new(Arc::clone(&clock) as Arc<dyn Clock>, Actor::engine(), "test");
    let newest = subscription(&registry).strategy(SelectionStrategy::NewestBuild);
    let (source, config) = (source(), Subscription::from(newest.clone()).config);
    let (images, cursor) = found(source.discover(&cx(), &DiscoverRequest::new(&config)).await.unwrap());
    assert_eq!(tags(&images), ["now"]);
    let explanation = source.explain(&cx(), &newest).await.unwrap();
    assert!(
        matches!(explanation.tag("ahead").unwrap().outcome, TagOutcome::FromTheFuture { created_at } if created_at == ahead)
    );

    let again = DiscoverRequest::new(&config).with_cursor(Some(&cursor));
    assert_eq!(source.discover(&cx(), &again).await.unwrap(), Discovery::Unchanged);
    clock.advance(Duration::from_secs(7 * 24 * 3600));
    assert_eq!(tags(&found(source.discover(&cx(), &again).await.unwrap()).0), ["ahead", "now"]);
}

#[tokio::test]
async fn oci_12_a_tag_that_moves_is_watched_by_one_request() {
    let registry = Registry::start().await;
    let first = registry.put_image("app", "edge", &dated(1));
    let subscription = subscription(&registry).moving_tag("edge").immutable_tags(true);
    let source = source();
    let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!((tags(&images), &images[0].digest), (vec!["edge"], &first));
    assert_eq!(registry.requests().len(), 1);
    registry.clear_requests();
    assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().iter().map(|request| request.status).collect::<Vec<_>>(), [304]);

    let second = registry.put_image("app", "edge", &dated(2));
    let (images, _) = found(look(&source, &subscription, Some(&cursor)).await.unwrap());
    assert_eq!(images[0].digest, second);
    registry.remove_tag("app", "edge");
    assert!(found(look(&source, &subscription, None).await.unwrap()).0.is_empty());
}

#[tokio::test]
async fn lexical_takes_the_last_name_and_asks_for_few() {
    let registry = Registry::start().await;
    for day in 1..=28 {
        registry.put_image("app", &format!("202601{day:02}"), &dated(day));
    }
    registry.put_image("app", "latest", &dated(1));
    let lexical =
        subscription(&registry).strategy(SelectionStrategy::Lexical).ignore_tags_regex("^latest$").discovery_limit(2);
    let (images, _) = found(look(&source(), &lexical, None).await.unwrap());
    assert_eq!(tags(&images), ["20260128", "20260127"]);
    assert_eq!(registry.requests().len(), 1 + 2);
}

/// A manifest that the registry stands by and that is none.
fn put_broken(registry: &Registry, tag: &str) -> String {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("app", tag, media_type, format!(r#"{{"schemaVersion":2,"broken":"{tag}"}}"#))
}

#[tokio::test]
async fn one_broken_image_is_passed_over_and_the_others_count() {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &dated(1));
    put_broken(&registry, "1.1.0");
    let blob = registry.put_blob("app", r#"{"created":7}"#);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "config": {"digest": blob}});
    registry.put_manifest("app", "1.2.0", media_type, manifest.to_string());
    registry.put_manifest("app", "1.3.0", media_type, format!("{{{}}}", " ".repeat(5 * 1024 * 1024)));
    registry.put_manifest(
        "app",
        "1.4.0",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        r#"{"schemaVersion":1}"#,
    );
    for immutable in [false, true] {
        let (source, subscription) = (source(), subscription(&registry).immutable_tags(immutable));
        let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
        assert_eq!(tags(&images), ["1.0.0"]);
        assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
        let explanation = source.explain(&cx(), &subscription).await.unwrap();
        for (tag, word) in [
            ("1.1.0", "neither an image nor an index"),
            ("1.2.0", "configuration"),
            ("1.3.0", "bytes"),
            ("1.4.0", "first manifest format"),
        ] {
            let outcome = &explanation.tag(tag).unwrap().outcome;
            assert!(matches!(outcome, TagOutcome::Unusable { reason } if reason.contains(word)), "{tag}: {outcome}");
        }
        assert!(explanation.tag("1.0.0").unwrap().outcome.is_offered());
    }
    // What was pushed again in order counts again.
    let (source, subscription) = (source(), subscription(&registry));
    let (_, cursor) = found(look(&source, &subscription, None).await.unwrap());
    registry.put_image("app", "1.4.0", &dated(4));
    assert_eq!(tags(&found(look(&source, &subscription, Some(&cursor)).await.unwrap()).0), ["1.4.0", "1.0.0"]);
}

#[tokio::test]
async fn an_image_whose_parts_are_missing_is_asked_for_again_until_it_is_whole() {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &dated(1));
    let spec = ImageSpec::default().created("2026-01-02T00:00:00Z".parse().unwrap());
    registry.put_image("app", "1.1.0", &spec);
    registry.inject(Fault::status(404).on("/blobs/").times(2));
    let (source, subscription) = (source(), subscription(&registry).immutable_tags(true));
    let (images, cursor) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!(tags(&images), ["1.0.0"]);
    let (images, cursor) = found(look(&source, &subscription, Some(&cursor)).await.unwrap());
    assert_eq!(tags(&images), ["1.0.0"]);
    let (images, cursor) = found(look(&source, &subscription, Some(&cursor)).await.unwrap());
    assert_eq!(tags(&images), ["1.1.0", "1.0.0"]);
    assert_eq!(look(&source, &subscription, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
}

#[tokio::test]
async fn damaged_bytes_are_asked_for_once_more_before_the_image_is_given_up() {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &dated(1));
    registry.put_image("app", "1.1.0", &ImageSpec::default().created("2026-01-02T00:00:00Z".parse().unwrap()));
    registry.inject(Fault::altered().on("/blobs/").times(1));
    assert_eq!(tags(&found(look(&source(), &subscription(&registry), None).await.unwrap()).0), ["1.1.0", "1.0.0"]);
    registry.inject(Fault::altered().on("/blobs/"));
    assert_eq!(tags(&found(look(&source(), &subscription(&registry), None).await.unwrap()).0), ["1.0.0"]);
}

#[tokio::test]
async fn oci_06_a_registry_that_fails_on_one_image_fails_the_look() {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &dated(1));
    registry.put_image("app", "1.1.0", &ImageSpec::default());
    let client = kargo_oci::Client::builder().tries(1).build().unwrap();
    for (fault, is_endless) in [
        (Fault::status(500), false),
        (Fault::truncated(), false),
        (Fault::html(), false),
        (Fault::status(403), false),
        (Fault::endless().with_header("content-type", "application/octet-stream"), true),
    ] {
        for place in ["manifests/1.1.0", "/blobs/"] {
            registry.clear_faults();
            registry.inject(fault.clone().on(place));
            let result = look(&ImageSource::new(client.clone()), &subscription(&registry), None).await;
            match result {
                // A blob is named by its digest, and so known to be another one; a manifest under a tag may be anything.
                Ok(discovery) if place == "/blobs/" && is_endless => assert_eq!(tags(&found(discovery).0), ["1.0.0"]),
                Ok(discovery) => panic!("{fault:?} on {place}: {discovery:?}"),
                Err(error) => assert!(error.report().contains("1.1.0"), "{}", error.report()),
            }
        }
    }
}

#[tokio::test]
async fn nothing_but_broken_images_is_an_error_that_says_so() {
    let registry = Registry::start().await;
    put_broken(&registry, "1.0.0");
    put_broken(&registry, "1.1.0");
    let error = look(&source(), &subscription(&registry), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    assert!(error.message().contains("2 tags") && error.message().contains("1.1.0"), "{error}");
}

#[tokio::test]
async fn a_platform_that_no_image_has_ends_the_search_after_a_hundred_tags() {
    let registry = two_thousand(1_000).await;
    let (source, subscription) = (source(), subscription(&registry).constraint("^1").platform("linux/s390x"));
    let error = look(&source, &subscription, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for part in ["first 100 of the 1400", "linux/s390x", "constraint"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!(registry.count("GET", "/manifests/"), 100);
    registry.clear_requests();
    look(&source, &subscription, None).await.unwrap_err();
    assert_eq!(registry.count("GET", "/blobs/"), 0, "what a digest stands for is known");

    // One that is old but within reach is found, and the list is whole as far as it goes.
    registry.put_image("app", "1.19.90", &ImageSpec::new("linux", "s390x"));
    let (images, _) = found(look(&source, &subscription, None).await.unwrap());
    assert_eq!(tags(&images), ["1.19.90"]);
}

#[tokio::test]
async fn every_tag_has_its_reason() {
    let registry = Registry::start().await;
    for (tag, day) in
        [("1.0.0", 1), ("1.1.0", 2), ("1.2.0", 3), ("2.0.0", 4), ("1.3.0-rc9", 5), ("latest", 6), ("1.4", 7)]
    {
        registry.put_image("app", tag, &dated(day));
    }
    registry.put_image("app", "1.5.0", &ImageSpec::new("windows", "amd64"));
    registry.put_image("app", "1.6.0-debug", &dated(8));
    let gone = registry.put_image("app", "1.7.0", &dated(9));
    registry.remove_manifest("app", &gone);
    let signature = format!("sha256-{}.sig", "0".repeat(64));
    registry.put_image("app", &signature, &dated(1));
    let subscription = subscription(&registry)
        .constraint(">=1.0.0-0 <2")
        .ignore_tags_regex("debug$")
        .platform("linux/amd64")
        .discovery_limit(3);
    let explanation = source().explain(&cx(), &subscription).await.unwrap();
    let outcome = |tag: &str| &explanation.tag(tag).unwrap().outcome;
    assert!(matches!(outcome("1.3.0-rc9"), TagOutcome::Offered { rank: 1, .. }));
    assert!(matches!(outcome("1.2.0"), TagOutcome::Offered { rank: 2, .. }));
    assert!(matches!(outcome("1.1.0"), TagOutcome::Offered { rank: 3, .. }));
    assert!(matches!(outcome("1.0.0"), TagOutcome::BeyondLimit));
    assert!(matches!(outcome("1.7.0"), TagOutcome::Vanished));
    assert!(matches!(outcome("1.5.0"), TagOutcome::OtherPlatform { platforms } if platforms[0].os() == "windows"));
    assert!(matches!(outcome("2.0.0"), TagOutcome::Misfit(Misfit::OutsideConstraint(_))));
    assert!(matches!(outcome("latest"), TagOutcome::Misfit(Misfit::NotAVersion(_))));
    assert!(matches!(outcome("1.4"), TagOutcome::Misfit(Misfit::NotAVersion(why)) if why.contains("three numbers")));
    assert!(matches!(outcome("1.6.0-debug"), TagOutcome::Misfit(Misfit::Ignored(regex)) if regex == "debug$"));
    assert!(matches!(outcome(&signature), TagOutcome::Misfit(Misfit::Attachment)));
    assert_eq!(explanation.tags.len(), 11);
    let text = explanation.to_string();
    assert!(text.lines().nth(1).unwrap().contains("1.3.0-rc9: offered, number 1, sha256:"), "{text}");
    // OCI-28: the order is the specification's, and surprises.
    assert!(text.contains("Note: In 1.3.0-rc9 a number") && text.contains("rc10 comes before"), "{text}");
}

#[tokio::test]
async fn ten_warehouses_on_one_repository_list_it_once() {
    let registry = two_thousand(100).await;
    let source = source();
    let subscriptions: Vec<_> =
        (0..10).map(|number| subscription(&registry).constraint(format!("^1.{number}")).discovery_limit(1)).collect();
    let looks = subscriptions.iter().map(|subscription| look(&source, subscription, None));
    let all = futures::future::try_join_all(looks).await.unwrap();
    assert_eq!(all.len(), 10);
    assert_eq!(registry.count("GET", "tags/list"), 20, "as many requests as there are pages");
}

#[tokio::test]
async fn everything_that_is_known_of_an_image_can_be_asked_for() {
    let registry = Registry::start().await;
    let specs = [
        ImageSpec::new("linux", "amd64")
            .label("team", "shop")
            .created_annotation("2026-01-05T00:00:00Z".parse().unwrap()),
        ImageSpec::new("linux", "arm64").label("team", "pi").annotation("board", "pi"),
    ];
    let digest = registry.put_index("app", "1.0.0", &specs, &Default::default());
    let (app, arm) = (crate::repository(&registry, "app"), kargo_oci::Platform::parse("linux/arm64").unwrap());
    let (found, metadata) = client().image_metadata(&cx(), &app, "1.0.0", Some(&arm)).await.unwrap();
    assert_eq!(found, digest);
    assert_eq!((metadata.labels["team"].as_str(), metadata.annotations["board"].as_str()), ("pi", "pi"));
    assert_eq!(metadata.platforms.len(), 2);
    registry.put_image("app", "1.1.0", &specs[0]);
    let (_, metadata) = client().image_metadata(&cx(), &app, "1.1.0", None).await.unwrap();
    assert_eq!(metadata.labels["team"], "shop");
    assert_eq!(metadata.created_at, Some("2026-01-05T00:00:00Z".parse().unwrap()));
}
