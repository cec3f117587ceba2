use kargo_core::ErrorKind;
use kargo_oci::ImageSpec;
use kargo_oci::testing::{Fault, Registry, RegistryBuilder};

use crate::{client, cx, repository};

async fn with_tags(builder: RegistryBuilder, count: usize) -> Registry {
    let registry = builder.start().await;
    for index in 0..count {
        registry.put_image("o/r", &format!("1.0.{index}"), &ImageSpec::default());
    }
    registry
}

#[tokio::test]
async fn oci_01_all_pages_are_read_whichever_way_they_are_linked() {
    let paged = || Registry::builder().page_size(100);
    for builder in [paged(), paged().absolute_links(), paged().opaque_pages()] {
        let registry = with_tags(builder, 223).await;
        let tags = client().list_tags(&cx(), &repository(&registry, "o/r")).await.unwrap();
        assert_eq!(tags.len(), 223);
        assert_eq!(registry.requests().len(), 3);
    }
}

#[tokio::test]
async fn oci_05_the_thousand_and_first_tag_is_found() {
    let registry = with_tags(Registry::builder(), 1001).await;
    let tags = client().list_tags(&cx(), &repository(&registry, "o/r")).await.unwrap();
    assert!(tags.contains(&"1.0.1000".to_owned()) && tags.len() == 1001);
    assert_eq!(registry.requests().len(), 2);
}

#[tokio::test]
async fn oci_03_a_registry_that_refuses_the_page_size_is_asked_without_and_that_is_remembered() {
    let registry = with_tags(Registry::builder().refuse_page_sizes_above(100).page_size(50), 120).await;
    let client = client();
    for expected in [1 + 3, 3] {
        registry.clear_requests();
        assert_eq!(client.list_tags(&cx(), &repository(&registry, "o/r")).await.unwrap().len(), 120);
        assert_eq!(registry.requests().len(), expected);
    }
}

#[tokio::test]
async fn oci_06_a_listing_that_fails_on_a_later_page_fails_as_a_whole() {
    for (status, kind) in [(500, ErrorKind::Unavailable), (404, ErrorKind::NotFound), (400, ErrorKind::InvalidInput)] {
        let registry = with_tags(Registry::builder().page_size(100), 223).await;
        registry.inject(Fault::status(status).on("last="));
        let client = kargo_oci::Client::builder().tries(2).build().unwrap();
        let error = client.list_tags(&cx(), &repository(&registry, "o/r")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn pages_that_run_in_a_circle_are_an_error() {
    let registry = with_tags(Registry::builder().page_size(2), 6).await;
    registry.inject(Fault::header("link", "</v2/o/r/tags/list?n=1000>; rel=next"));
    let error = client().list_tags(&cx(), &repository(&registry, "o/r")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    assert!(error.message().contains("circle"), "{error}");
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn pages_that_repeat_the_same_tags_under_new_links_are_an_error() {
    let registry = with_tags(Registry::builder(), 3).await;
    registry.inject(Fault::header("link", "</v2/o/r/tags/list?next_page=a>; rel=next").times(1));
    registry.inject(Fault::header("link", "</v2/o/r/tags/list?next_page=b>; rel=next"));
    let error = client().list_tags(&cx(), &repository(&registry, "o/r")).await.unwrap_err();
    assert!(error.message().contains("repeats itself"), "{error}");
    assert_eq!(registry.requests().len(), 2);
}

#[tokio::test]
async fn an_empty_repository_and_a_missing_one_are_told_apart() {
    let registry = with_tags(Registry::builder(), 1).await;
    registry.remove_tag("o/r", "1.0.0");
    assert!(client().list_tags(&cx(), &repository(&registry, "o/r")).await.unwrap().is_empty());
    let error = client().list_tags(&cx(), &repository(&registry, "o/other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("o/other"), "{error}");
}

#[tokio::test]
async fn a_page_that_is_the_same_as_before_is_not_sent_again() {
    let registry = Registry::builder().page_size(2).list_etags().start().await;
    for tag in ["1.0.0", "1.1.0", "1.2.0"] {
        registry.put_image("app", tag, &ImageSpec::default());
    }
    let (client, app) = (client(), repository(&registry, "app"));
    let statuses = || registry.requests().iter().map(|request| request.status).collect::<Vec<_>>();
    for expected in [[200, 200], [304, 304]] {
        registry.clear_requests();
        assert_eq!(client.list_tags(&cx(), &app).await.unwrap(), ["1.0.0", "1.1.0", "1.2.0"]);
        assert_eq!(statuses(), expected);
    }
    registry.put_image("app", "1.3.0", &ImageSpec::default());
    registry.clear_requests();
    assert_eq!(client.list_tags(&cx(), &app).await.unwrap(), ["1.0.0", "1.1.0", "1.2.0", "1.3.0"]);
    assert_eq!(statuses(), [304, 200]);
    // What was not asked for is no answer.
    registry.inject(Fault::status(304).on("tags/list"));
    crate::client().list_tags(&cx(), &app).await.unwrap_err();
}
