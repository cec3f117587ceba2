//! What looks cost, in requests, where that is more than the plain cases.

use std::sync::Arc;
use std::time::Duration;

use kargo_core::plugin::{Context, DiscoverRequest, Discovery, Source};
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Clock, Subscription};
use kargo_oci::testing::{BearerAuth, Registry, RegistryBuilder};
use kargo_oci::{Client, Credentials, ImageSource, ImageSpec, SelectionStrategy, StaticCredentials};

use crate::cx;
use crate::discovery::{found, look, source, subscription, tags};

/// 2,000 tags in 20 pages, each an index of two platforms that does not say when it was built.
async fn indexes(registry: RegistryBuilder) -> Registry {
    let registry = registry.page_size(100).start().await;
    for number in 0..2_000 {
        let created = |hour: i64| {
            "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_hours(hour)
        };
        let spec = |architecture: &str, hour| {
            ImageSpec::new("linux", architecture).created(created(hour)).label("number", number.to_string())
        };
        let specs = [spec("amd64", number % 500), spec("arm64", number % 500 + 1)];
        registry.put_index("app", &format!("1.{}.{}", number / 100, number % 100), &specs, &Default::default());
    }
    registry
}

#[tokio::test]
async fn semver_of_indexes_that_do_not_say_when_they_were_built_looks_at_one_image_of_each() {
    let registry = indexes(Registry::builder()).await;
    for (platform, hour) in [(None, 0), (Some("linux/arm64"), 1)] {
        let source = source();
        let mut wanted = subscription(&registry).constraint("^1");
        if let Some(platform) = platform {
            wanted = wanted.platform(platform);
        }
        registry.clear_requests();
        let (images, cursor) = found(look(&source, &wanted, None).await.unwrap());
        assert_eq!((images.len(), images[0].tag.as_str()), (20, "1.19.99"));
        let expected = "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
        let expected = expected + jiff::SignedDuration::from_hours(1999 % 500 + hour);
        assert_eq!(images[0].created_at, Some(expected), "{platform:?}");
        assert_eq!(registry.requests().len(), 20 + 20 + 2 * 20, "{platform:?}");

        registry.clear_requests();
        assert_eq!(look(&source, &wanted, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
        assert_eq!(registry.requests().len(), 20 + 20, "{platform:?}");
    }
}

#[tokio::test]
async fn what_is_known_of_one_image_of_an_index_is_not_taken_for_the_newest_of_them() {
    let registry = Registry::start().await;
    let at = |day: u8| format!("2026-01-{day:02}T00:00:00Z").parse::<jiff::Timestamp>().unwrap();
    let index = |tag: &str, days: [u8; 2]| {
        let specs = [
            ImageSpec::new("linux", "amd64").created(at(days[0])).label("tag", tag),
            ImageSpec::new("linux", "arm64").created(at(days[1])).label("tag", tag),
        ];
        registry.put_index("app", tag, &specs, &Default::default());
    };
    index("1.0.0", [1, 9]);
    index("1.1.0", [2, 3]);
    let source = source();
    let (images, _) = found(look(&source, &subscription(&registry), None).await.unwrap());
    assert_eq!(images[1].created_at, Some(at(1)));
    // The same source, by time: now each image counts.
    let newest = subscription(&registry).strategy(SelectionStrategy::NewestBuild);
    let (images, _) = found(look(&source, &newest, None).await.unwrap());
    assert_eq!((tags(&images), images[0].created_at), (vec!["1.0.0", "1.1.0"], Some(at(9))));
}

#[tokio::test]
async fn a_registry_that_wants_tokens_refuses_two_requests_and_gives_two_tokens_at_most() {
    let registry = indexes(Registry::builder().auth(BearerAuth::new("robot", "right"))).await;
    let credentials = StaticCredentials::new().with(registry.host(), Credentials::basic("robot", "right"));
    let source = ImageSource::new(Client::builder().credentials(credentials).build().unwrap());
    let wanted = subscription(&registry).constraint("^1");
    let refused = || registry.requests().iter().filter(|request| request.status == 401).count();
    let (_, cursor) = found(look(&source, &wanted, None).await.unwrap());
    let tokens = registry.count("GET", "/token");
    assert!(refused() <= 2 && tokens <= 2, "{} refused, {tokens} tokens", refused());
    assert_eq!(registry.requests().len(), 20 + 20 + 2 * 20 + refused() + tokens);

    registry.clear_requests();
    assert_eq!(look(&source, &wanted, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!((registry.requests().len(), registry.count("", "/token")), (20 + 20, 0));
}

#[tokio::test]
async fn who_asks_first_does_not_hold_up_the_others_when_it_is_not_answered() {
    let registry = Registry::builder().auth(BearerAuth::new("robot", "right")).start().await;
    registry.put_image("app", "1.0.0", &ImageSpec::default());
    let credentials = StaticCredentials::new().with(registry.host(), Credentials::basic("robot", "right"));
    let client = Client::builder().credentials(credentials).tries(1).build().unwrap();
    let (cx, app) = (cx(), crate::repository(&registry, "app"));
    let mut first = Box::pin(client.list_tags(&cx, &app));
    assert!(futures::poll!(&mut first).is_pending());
    // Another one waits for its answer, and goes on without it once it has left.
    let mut second = Box::pin(client.list_tags(&cx, &app));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(second.await.unwrap(), ["1.0.0"]);
    assert_eq!(client.list_tags(&cx, &app).await.unwrap(), ["1.0.0"]);
}

#[tokio::test]
async fn the_newest_of_two_thousand_builds_costs_what_it_says_and_later_the_pages_alone() {
    let registry = crate::selection::two_thousand(100).await;
    let wanted = subscription(&registry).strategy(SelectionStrategy::NewestBuild).immutable_tags(true);
    let source = source();
    let (_, cursor) = found(look(&source, &wanted, None).await.unwrap());
    assert_eq!(registry.requests().len(), 20 + 2_000 + 2_000);
    registry.clear_requests();
    assert_eq!(look(&source, &wanted, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().len(), 20);
    let mutable = wanted.immutable_tags(false);
    let (_, cursor) = found(look(&source, &mutable, None).await.unwrap());
    registry.clear_requests();
    assert_eq!(look(&source, &mutable, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().len(), 20 + 2_000);
}

#[tokio::test]
async fn many_tags_of_one_image_cost_its_configuration_once() {
    let registry = Registry::start().await;
    for number in 0..100 {
        registry.put_image("app", &format!("1.0.{number}"), &ImageSpec::default());
    }
    let wanted = subscription(&registry).strategy(SelectionStrategy::NewestBuild);
    let (images, _) = found(look(&source(), &wanted, None).await.unwrap());
    assert_eq!(images.len(), 20);
    assert_eq!((registry.count("GET", "/manifests/"), registry.count("GET", "/blobs/")), (100, 1));
}

/// Credentials that are the robot's until they are the clerk's, who may list but not pull.
#[derive(Debug, Default)]
struct Changing(std::sync::atomic::AtomicBool);

#[async_trait::async_trait]
impl kargo_oci::CredentialSource for Changing {
    async fn get(&self, _host: &str, _repository: &str) -> kargo_core::Result<Credentials> {
        let is_clerk = self.0.load(std::sync::atomic::Ordering::Relaxed);
        Ok(Credentials::bearer(if is_clerk { "the clerk's" } else { "the robot's" }))
    }
}

#[derive(Debug)]
struct Shared(Arc<Changing>);

#[async_trait::async_trait]
impl kargo_oci::CredentialSource for Shared {
    async fn get(&self, host: &str, repository: &str) -> kargo_core::Result<Credentials> {
        self.0.get(host, repository).await
    }
}

#[tokio::test]
async fn credentials_that_may_not_pull_learn_nothing_from_those_that_may() {
    let registry = Registry::builder().auth(BearerAuth::new("nobody", "x").list_action("list")).start().await;
    registry.accept_token("the robot's", &["repository:app:pull,list"]);
    registry.accept_token("the clerk's", &["repository:app:list"]);
    registry.put_image("app", "1.0.0", &ImageSpec::default());
    let who = Arc::new(Changing::default());
    let client = Client::builder().credentials(Shared(Arc::clone(&who))).tries(1).build().unwrap();
    let (source, wanted) = (ImageSource::new(client), subscription(&registry).immutable_tags(true));
    let config = Subscription::from(wanted).config;
    let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
    let cx = || Context::new(Arc::clone(&clock) as Arc<dyn Clock>, Actor::engine(), "test");
    let request = DiscoverRequest::new(&config);
    let (_, cursor) = found(source.discover(&cx(), &request).await.unwrap());
    let with_cursor = request.clone().with_cursor(Some(&cursor));
    assert_eq!(source.discover(&cx(), &with_cursor).await.unwrap(), Discovery::Unchanged);

    // The credentials are read again after five minutes.
    who.0.store(true, std::sync::atomic::Ordering::Relaxed);
    clock.advance(Duration::from_secs(301));
    for request in [&request, &with_cursor] {
        registry.clear_requests();
        let error = source.discover(&cx(), request).await.unwrap_err();
        assert!(registry.count("GET", "/manifests/") > 0, "it was asked what these may see: {error}");
    }
    assert!(!cursor.0.to_string().contains("robot"), "{cursor:?}");

    // Those that may find it once more by asking, and then need not ask again.
    registry.accept_token("the clerk's", &["repository:app:pull,list"]);
    let (images, cursor) = found(source.discover(&cx(), &with_cursor).await.unwrap());
    assert_eq!(tags(&images), ["1.0.0"]);
    registry.clear_requests();
    let with_cursor = request.with_cursor(Some(&cursor));
    assert_eq!(source.discover(&cx(), &with_cursor).await.unwrap(), Discovery::Unchanged);
    assert_eq!(registry.requests().len(), 1, "the page alone");
}
