use std::sync::Arc;
use std::time::Duration;

use kargo_core::plugin::Context;
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Clock};
use kargo_oci::testing::Registry;
use kargo_oci::{Client, ImageSpec};

use crate::repository;

#[tokio::test]
async fn a_host_is_asked_so_often_and_no_other_waits_for_it() {
    let (slow, quick) = (Registry::start().await, Registry::start().await);
    for registry in [&slow, &quick] {
        registry.put_image("app", "1.0.0", &ImageSpec::default());
    }
    let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
    let cx = Context::new(Arc::clone(&clock) as Arc<dyn Clock>, Actor::engine(), "test");
    let client = Client::builder().requests_per_second(2).build().unwrap();
    let app = repository(&slow, "app");
    for _ in 0..3 {
        client.list_tags(&cx, &app).await.unwrap();
    }
    // A second's worth is used up, and the clock stands.
    let waiting = tokio::spawn({
        let (client, cx) = (client.clone(), cx.clone());
        async move { client.list_tags(&cx, &app).await }
    });
    for _ in 0..3 {
        client.list_tags(&cx, &repository(&quick, "app")).await.unwrap();
    }
    assert!(!waiting.is_finished());
    assert_eq!(slow.requests().len(), 3);
    clock.advance(Duration::from_secs(1));
    waiting.await.unwrap().unwrap();
    assert_eq!(slow.requests().len(), 4);
}
