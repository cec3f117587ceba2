use std::sync::Arc;
use std::time::Duration;

use kargo_core::plugin::Context;
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Clock, ErrorKind, Retry};
use kargo_oci::testing::{Fault, Registry};
use kargo_oci::{Client, ImageSpec, Repository};

use crate::{client, cx, repository};

async fn with_one_tag() -> Registry {
    let registry = Registry::start().await;
    registry.put_image("app", "1.0.0", &ImageSpec::default());
    registry
}

/// Runs `work` on a clock that is turned a second whenever nothing else happens for a moment.
async fn on_fast_clock<T>(work: impl AsyncFnOnce(Context) -> T) -> (T, Duration) {
    let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
    let start = clock.now();
    let turning = tokio::spawn({
        let clock = Arc::clone(&clock);
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                clock.advance(Duration::from_secs(1));
            }
        }
    });
    let cx = Context::new(Arc::clone(&clock) as Arc<dyn Clock>, Actor::engine(), "test");
    let result = work(cx).await;
    turning.abort();
    (result, Duration::try_from(clock.now().duration_since(start)).unwrap())
}

#[tokio::test]
async fn oci_07_a_registry_that_asks_for_a_pause_gets_it_and_then_answers_in_the_same_call() {
    let registry = with_one_tag().await;
    registry.inject(Fault::status(429).with_header("retry-after", "2").times(2));
    let (tags, took) =
        on_fast_clock(async |cx| client().list_tags(&cx, &repository(&registry, "app")).await.unwrap()).await;
    assert_eq!(tags, ["1.0.0"]);
    assert_eq!(registry.requests().iter().map(|request| request.status).collect::<Vec<_>>(), [429, 429, 200]);
    assert!(took >= Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn oci_07_short_outages_and_broken_answers_are_survived() {
    for fault in [Fault::status(503), Fault::status(500), Fault::truncated()] {
        let registry = with_one_tag().await;
        registry.inject(fault.clone().times(2));
        assert_eq!(client().list_tags(&cx(), &repository(&registry, "app")).await.unwrap(), ["1.0.0"], "{fault:?}");
        assert_eq!(registry.requests().len(), 3);
    }
}

#[tokio::test]
async fn the_number_of_tries_is_bounded_and_the_last_failure_is_returned() {
    let registry = with_one_tag().await;
    registry.inject(Fault::status(503));
    let client = Client::builder().tries(3).build().unwrap();
    let error = client.list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff));
    assert_eq!(registry.requests().len(), 3);
}

#[tokio::test]
async fn a_pause_that_is_longer_than_there_is_time_is_left_to_the_caller() {
    let registry = with_one_tag().await;
    registry.inject(Fault::status(429).with_header("retry-after", "3600"));
    let error = client().list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::RateLimited, Retry::After(Duration::from_secs(3600))));
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn a_pause_holds_for_every_call_to_the_host() {
    let registry = with_one_tag().await;
    registry.inject(Fault::status(429).with_header("retry-after", "90").times(1));
    let (client, app) = (client(), repository(&registry, "app"));
    client.list_tags(&cx(), &app).await.unwrap_err();
    let error = client.manifest(&cx(), &app, "1.0.0").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert!(matches!(error.retry(), Retry::After(pause) if pause > Duration::from_secs(80)), "{error:?}");
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn a_pause_without_reason_does_not_shut_a_registry_out_for_ever() {
    for forever in ["4000000000", "18446744073709551615", "Thu, 31 Dec 9998 23:59:59 GMT"] {
        let registry = with_one_tag().await;
        registry.inject(Fault::status(503).with_header("retry-after", forever).times(1));
        let (client, app) = (client(), repository(&registry, "app"));
        let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
        let cx = || Context::new(Arc::clone(&clock) as Arc<dyn Clock>, Actor::engine(), "test");
        let error = client.list_tags(&cx(), &app).await.unwrap_err();
        assert!(matches!(error.retry(), Retry::After(pause) if pause <= Duration::from_secs(3600)), "{error:?}");
        clock.advance(Duration::from_secs(3600));
        assert_eq!(client.list_tags(&cx(), &app).await.unwrap(), ["1.0.0"], "{forever}");
    }
}

#[tokio::test]
async fn a_short_pause_does_not_cut_a_longer_one_that_the_host_has_asked_for() {
    for (on_list, on_manifest) in [("1", "90"), ("90", "1")] {
        let registry = with_one_tag().await;
        registry.inject(Fault::status(429).with_header("retry-after", on_list).on("tags/list"));
        registry.inject(Fault::status(429).with_header("retry-after", on_manifest).on("manifests"));
        let (client, app) = (Client::builder().tries(1).build().unwrap(), repository(&registry, "app"));
        let both = cx();
        // Both are under way before the first of them is answered.
        let (list, manifest) = tokio::join!(client.list_tags(&both, &app), client.manifest(&both, &app, "1.0.0"));
        assert!(list.is_err() && manifest.is_err());
        let error = client.list_tags(&cx(), &app).await.unwrap_err();
        assert!(matches!(error.retry(), Retry::After(pause) if pause > Duration::from_secs(80)), "{error:?}");
    }
}

#[tokio::test]
async fn oci_07_one_registry_that_asks_for_a_pause_does_not_hold_up_another() {
    let (slow, quick) = (with_one_tag().await, with_one_tag().await);
    slow.inject(Fault::status(429).with_header("retry-after", "50"));
    let client = client();
    let waiting = tokio::spawn({
        let (client, app) = (client.clone(), repository(&slow, "app"));
        async move { client.list_tags(&cx(), &app).await }
    });
    while slow.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.list_tags(&cx(), &repository(&quick, "app")).await.unwrap(), ["1.0.0"]);
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn cancelling_ends_a_call_that_waits() {
    let registry = with_one_tag().await;
    registry.inject(Fault::status(429).with_header("retry-after", "50"));
    let cx = cx();
    let cancel = cx.cancellation().clone();
    let calling = tokio::spawn({
        let app = repository(&registry, "app");
        async move { client().list_tags(&cx, &app).await }
    });
    while registry.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    assert_eq!(calling.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_registry_that_never_answers_is_waited_for_until_the_deadline_alone() {
    let registry = with_one_tag().await;
    registry.inject(Fault::stalled());
    let (error, took) = on_fast_clock(async |cx| {
        let deadline = cx.now() + Duration::from_secs(20);
        let cx = cx.with_deadline(deadline);
        client().list_tags(&cx, &repository(&registry, "app")).await.unwrap_err()
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(took >= Duration::from_secs(20), "{took:?}");
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_named() {
    let registry = with_one_tag().await;
    let host = registry.host().to_owned();
    drop(registry);
    // A port that was free a moment ago; the listener is gone when a connection to it fails.
    while tokio::net::TcpStream::connect(&host).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let client = Client::builder().tries(2).build().unwrap();
    let app = Repository::parse(&format!("{host}/app")).unwrap();
    let error = client.list_tags(&cx(), &app).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff));
    assert!(error.message().contains(&host), "{error}");
}
