//! Where what refers to an image is looked for, and what a registry's answer says of that.

use std::sync::Arc;
use std::time::Duration;

use kargo_core::plugin::Context;
use kargo_core::testing::ManualClock;
use kargo_core::{Actor, Clock, ErrorKind};
use kargo_oci::ImageSpec;
use kargo_oci::testing::{Fault, Registry};

use crate::attestations::{BUNDLE, put_referrer};
use crate::{client, cx, repository};

/// A registry with an image in `app` to which something refers.
async fn with_a_referrer() -> (Registry, String) {
    let registry = Registry::start().await;
    let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
    put_referrer(&registry, &digest, BUNDLE, "{}");
    (registry, digest)
}

#[tokio::test]
async fn one_repository_that_is_unknown_hides_nothing_of_the_others() {
    let (registry, digest) = with_a_referrer().await;
    let (client, app, other) = (client(), repository(&registry, "app"), repository(&registry, "other"));
    registry.put_image("other", "1.0.0", &ImageSpec::default());
    for fault in [
        Fault::status(404),
        Fault::status(405),
        Fault::body("application/json", r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#).with_status(404),
        Fault::body("text/plain", "404 page not found").with_status(404),
    ] {
        registry.inject(fault.on("/v2/other/referrers/").times(1));
        assert!(client.referrers(&cx(), &other, &digest).await.unwrap().is_empty());
        assert_eq!(client.referrers(&cx(), &app, &digest).await.unwrap().len(), 1);
        registry.clear_faults();
    }
}

#[tokio::test]
async fn an_image_that_is_not_there_says_nothing_of_the_registry() {
    let (registry, digest) = with_a_referrer().await;
    let (client, app) = (client(), repository(&registry, "app"));
    let gone = format!("sha256:{}", "7".repeat(64));
    for (asked, body) in [
        (&gone, "404 page not found"),
        (&digest, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        (&digest, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#),
    ] {
        registry.inject(Fault::body("text/plain", body).with_status(404).on("/referrers/").times(1));
        assert!(client.referrers(&cx(), &app, asked).await.unwrap().is_empty());
        assert_eq!(client.referrers(&cx(), &app, &digest).await.unwrap().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn a_registry_without_the_api_is_asked_again_after_ten_minutes() {
    let (registry, digest) = with_a_referrer().await;
    let (client, app) = (client(), repository(&registry, "app"));
    let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
    let cx = || Context::new(Arc::clone(&clock) as Arc<dyn Clock>, Actor::engine(), "test");
    registry.inject(Fault::body("text/plain", "404 page not found").with_status(404).on("/referrers/").times(1));
    for (pause, requests, found) in [(0, 3, 0), (599, 1, 0), (1, 1, 1)] {
        clock.advance(Duration::from_secs(pause));
        registry.clear_requests();
        assert_eq!(client.referrers(&cx(), &app, &digest).await.unwrap().len(), found, "after another {pause} s");
        assert_eq!(registry.requests().len(), requests, "after another {pause} s");
    }
}

#[tokio::test]
async fn a_list_that_runs_in_a_circle_or_has_too_much_is_an_error() {
    let registry = Registry::start().await;
    let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
    let (client, app) = (client(), repository(&registry, "app"));
    registry.inject(Fault::header("link", format!("</v2/app/referrers/{digest}>; rel=next")).on("/referrers/"));
    let error = client.referrers(&cx(), &app, &digest).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidResponse && error.message().contains("in a circle"), "{error}");

    // A thousand, and then one more, over several pages that are fine by themselves.
    let entry = |number: usize| serde_json::json!({"digest": format!("sha256:{number:064x}"), "size": 1});
    for last in [200, 201] {
        registry.clear_faults();
        for (page, count) in [400, 400, last].into_iter().enumerate() {
            let entries: Vec<_> = (0..count).map(|number| entry(page * 400 + number)).collect();
            let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
            let mut fault = Fault::body("application/vnd.oci.image.index.v1+json", index.to_string());
            if page < 2 {
                fault = fault.with_header("link", format!("</v2/app/referrers/{digest}?page={page}>; rel=next"));
            }
            registry.inject(fault.on("/referrers/").times(1));
        }
        let listed = client.referrers(&cx(), &app, &digest).await;
        match last {
            200 => assert_eq!(listed.unwrap().len(), 1_000),
            _ => {
                let error = listed.unwrap_err();
                assert!(error.message().contains("More than 1000 manifests"), "{error}");
            }
        }
    }
}
