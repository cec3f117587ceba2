use kargo_core::plugin::{WriteRequest, Writer, Written};
use kargo_core::{Actor, ErrorKind, PromotionInfo, Result};
use kargo_oci::testing::{BearerAuth, Fault, Registry};
use kargo_oci::{Client, Credentials, ImageSpec, ImageTag, ImageTagWriter, StaticCredentials};

use crate::{cx, freight};

fn promotion(registry: &Registry, digest: &str) -> PromotionInfo {
    let now = jiff::Timestamp::UNIX_EPOCH;
    PromotionInfo::new("shop", "prod.1", "prod", freight(registry, digest), Actor::engine(), now)
}

async fn write(client: &Client, promotion: &PromotionInfo, tag: ImageTag, resumed: bool) -> Result<Written> {
    let (writer, config) = (ImageTagWriter::new(client.clone()), tag.into());
    writer.validate(&config)?;
    writer.write(&cx(), &WriteRequest::new(promotion, &config, promotion.requested_at).resumed(resumed)).await
}

#[tokio::test]
async fn the_image_of_the_freight_gets_the_tag_and_keeps_its_digest() {
    let registry = Registry::builder().auth(BearerAuth::new("robot", "right")).start().await;
    let credentials = StaticCredentials::new().with(registry.host(), Credentials::basic("robot", "right"));
    let client = Client::builder().credentials(credentials).build().unwrap();
    let first = registry.put_image("app", "1.0.0", &ImageSpec::default());
    let second = registry.put_index(
        "app",
        "2.0.0",
        &[ImageSpec::default(), ImageSpec::new("linux", "arm64")],
        &Default::default(),
    );
    let app = format!("{}/app", registry.host());
    for (digest, image) in [(&first, app.as_str()), (&second, "shop"), (&first, "shop")] {
        let written = write(&client, &promotion(&registry, digest), ImageTag::new(image, "prod"), false).await.unwrap();
        assert_eq!(registry.digest("app", "prod").as_ref(), Some(digest));
        assert!(written.changed && written.revision.as_str() == digest);
        assert_eq!(written.outputs["image"], format!("{app}:prod@{digest}"));
    }
}

#[tokio::test]
async fn a_repeated_call_writes_nothing_more_and_says_what_the_first_one_did() {
    let registry = Registry::start().await;
    let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
    let (client, promotion) = (crate::client(), promotion(&registry, &digest));
    let tag = || ImageTag::new("shop", "prod");
    assert!(write(&client, &promotion, tag(), false).await.unwrap().changed);
    registry.clear_requests();
    assert!(write(&client, &promotion, tag(), true).await.unwrap().changed);
    assert!(!write(&client, &promotion, tag(), false).await.unwrap().changed);
    assert_eq!(registry.requests().iter().map(|request| request.method.as_str()).collect::<Vec<_>>(), ["GET", "GET"]);

    // The push got through, and its answer was lost.
    let later = registry.put_image("app", "2.0.0", &ImageSpec::default().label("later", "yes"));
    let later = self::promotion(&registry, &later);
    registry.inject(Fault::truncated().method("PUT").times(1));
    let impatient = Client::builder().tries(1).build().unwrap();
    let _ = write(&impatient, &later, tag(), false).await;
    assert!(write(&client, &later, tag(), true).await.unwrap().changed);
    assert_eq!(registry.digest("app", "prod"), registry.digest("app", "2.0.0"));
}

#[tokio::test]
async fn what_the_tag_names_is_told_by_its_bytes_alone() {
    let registry = Registry::start().await;
    let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
    let other = registry.put_image("app", "prod", &ImageSpec::default().label("other", "yes"));
    let promotion = promotion(&registry, &digest);
    // The registry says that the tag has the freight's digest, and sends another image.
    registry.inject(Fault::header("docker-content-digest", digest.clone()).on("manifests/prod").method("GET"));
    registry.inject(Fault::header("docker-content-digest", digest.clone()).on("manifests/prod").method("HEAD"));
    let client = crate::client();
    let write = || write(&client, &promotion, ImageTag::new("shop", "prod"), false);
    assert!(write().await.unwrap().changed);
    assert!(registry.digest("app", "prod") == Some(digest.clone()) && digest != other);
    // What is broken there is replaced.
    registry.put_manifest("app", "prod", "application/vnd.oci.image.manifest.v1+json", "{}");
    assert!(write().await.unwrap().changed && registry.digest("app", "prod") == Some(digest));
}

#[tokio::test]
async fn what_cannot_be_tagged_is_refused_by_name() {
    let registry = Registry::start().await;
    let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
    let promotion = promotion(&registry, &digest);
    for (tag, needle) in
        [(ImageTag::new("shop", "a b"), "not a tag"), (ImageTag::new("ghcr.io/other", "prod"), "ghcr.io/other")]
    {
        let error = write(&crate::client(), &promotion, tag, false).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(needle), "{error}");
    }
    registry.remove_manifest("app", &digest);
    let error = write(&crate::client(), &promotion, ImageTag::new("shop", "prod"), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
