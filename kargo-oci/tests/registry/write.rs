use std::collections::BTreeMap;

use kargo_core::ErrorKind;
use kargo_oci::testing::{BearerAuth, Fault, Registry};
use kargo_oci::{Client, Credentials, ImageSpec, ManifestContent, StaticCredentials};
use sha2::{Digest, Sha512};

use crate::{client, cx, repository};

#[tokio::test]
async fn what_is_pushed_can_be_fetched_by_tag_and_by_digest() {
    let registry = Registry::start().await;
    let app = repository(&registry, "shop/app");
    let spec = ImageSpec::default().label("team", "shop").annotation("org.example", "yes").layer(vec![0; 2048]);
    let digest = client().push_image(&cx(), &app, "1.0.0", &spec).await.unwrap();
    let by_tag = client().manifest(&cx(), &app, "1.0.0").await.unwrap();
    let by_digest = client().manifest(&cx(), &app, &digest).await.unwrap();
    assert_eq!((&by_tag.digest, &by_tag.bytes), (&digest, &by_digest.bytes));
    assert_eq!(by_tag.annotations["org.example"], "yes");
    let ManifestContent::Image { config, .. } = by_tag.content else { panic!("an image was pushed") };
    let config = client().blob(&cx(), &app, &config).await.unwrap();
    assert!(String::from_utf8(config).unwrap().contains("shop"));
    assert_eq!(client().head_manifest(&cx(), &app, "1.0.0").await.unwrap().digest, Some(digest.clone()));
    assert!(client().manifest_unless(&cx(), &app, "1.0.0", &digest).await.unwrap().is_none());
    assert_eq!(registry.requests().last().unwrap().status, 304);
}

#[tokio::test]
async fn an_index_names_its_platforms() {
    let registry = Registry::start().await;
    let app = repository(&registry, "app");
    let specs = [ImageSpec::new("linux", "amd64"), ImageSpec::new("linux", "arm64")];
    client().push_index(&cx(), &app, "1.0.0", &specs, &BTreeMap::new()).await.unwrap();
    let ManifestContent::Index { entries } = client().manifest(&cx(), &app, "1.0.0").await.unwrap().content else {
        panic!("an index was pushed")
    };
    let platforms: Vec<String> = entries.iter().map(|entry| entry.platform.as_ref().unwrap().to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
}

#[tokio::test]
async fn a_second_tag_names_the_same_bytes() {
    let registry = Registry::start().await;
    let app = repository(&registry, "app");
    let digest = client().push_image(&cx(), &app, "1.0.0", &ImageSpec::default()).await.unwrap();
    client().retag(&cx(), &app, &digest, "stable").await.unwrap();
    assert_eq!(registry.digest("app", "stable"), Some(digest));
}

#[tokio::test]
async fn pushing_asks_for_the_right_to_push() {
    let registry = Registry::builder().auth(BearerAuth::new("robot", "pw")).start().await;
    let credentials = StaticCredentials::new().with(registry.host(), Credentials::basic("robot", "pw"));
    let client = Client::builder().credentials(credentials).build().unwrap();
    let app = repository(&registry, "app");
    client.push_image(&cx(), &app, "1.0.0", &ImageSpec::default()).await.unwrap();
    assert_eq!(client.list_tags(&cx(), &app).await.unwrap(), ["1.0.0"]);
}

#[tokio::test]
async fn a_manifest_whose_parts_are_missing_is_not_accepted() {
    let registry = Registry::start().await;
    let digest = format!("sha256:{}", "0".repeat(64));
    let body = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{digest}"}},"layers":[]}}"#);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let app = repository(&registry, "app");
    let error = client().push_manifest(&cx(), &app, "1.0.0", media_type, body.into_bytes()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("MANIFEST_BLOB_UNKNOWN"), "{error}");
}

fn sha512_of(bytes: &[u8]) -> String {
    let hash: String = Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha512:{hash}")
}

#[tokio::test]
async fn a_registry_may_name_what_it_stored_by_sha512() {
    let registry = Registry::start().await;
    let app = repository(&registry, "app");
    let digest = client().push_image(&cx(), &app, "1.0.0", &ImageSpec::default()).await.unwrap();
    let bytes = client().manifest(&cx(), &app, &digest).await.unwrap().bytes;
    registry.inject(Fault::header("docker-content-digest", sha512_of(&bytes)).method("PUT").times(1));
    client().retag(&cx(), &app, &digest, "stable").await.unwrap();
    assert_eq!(registry.digest("app", "stable"), Some(digest.clone()));
    registry.inject(Fault::header("docker-content-digest", sha512_of(b"others")).method("PUT").times(1));
    let other = client().retag(&cx(), &app, &digest, "next").await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::InvalidResponse);
}

#[tokio::test]
async fn a_manifest_is_not_pushed_under_the_digest_of_another() {
    let registry = Registry::start().await;
    let app = repository(&registry, "app");
    let push = client().push_manifest(&cx(), &app, &sha512_of(b"others"), "application/json", b"{}".to_vec()).await;
    assert_eq!(push.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn an_artifact_is_pushed_with_its_type_and_found_by_what_it_is_about() {
    for registry in [Registry::builder(), Registry::builder().without_referrers()] {
        let registry = registry.start().await;
        let (client, app) = (client(), repository(&registry, "app"));
        let image = registry.put_image("app", "1.0.0", &ImageSpec::default());
        let kind = "application/vnd.acme.report.v1+json";
        let report = kargo_oci::ArtifactSpec::new(kind).layer(kind, "the report").annotation("note", "of today");
        let alone = client.push_artifact(&cx(), &app, Some("report"), report.clone()).await.unwrap();
        let digest = client.push_artifact(&cx(), &app, None, report.about(&image)).await.unwrap();
        assert_eq!(registry.digest("app", "report"), Some(alone));
        let found = client.referrers(&cx(), &app, &image).await.unwrap();
        assert_eq!((found.len(), &found[0].digest, found[0].artifact_type.as_deref()), (1, &digest, Some(kind)));
        let manifest = client.manifest(&cx(), &app, &digest).await.unwrap();
        assert_eq!(manifest.annotations["note"], "of today");
        let json: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
        assert_eq!((&json["artifactType"], &json["subject"]["digest"]), (&kind.into(), &image.clone().into()));
        assert_eq!(json["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
        let layer = json["layers"][0]["digest"].as_str().unwrap();
        assert_eq!(client.blob(&cx(), &app, layer).await.unwrap(), b"the report");
        // Without a file the layer says that there is none, and nothing is about what is not there.
        client.push_artifact(&cx(), &app, Some("empty"), kargo_oci::ArtifactSpec::new(kind)).await.unwrap();
        let gone = kargo_oci::ArtifactSpec::new(kind).about(format!("sha256:{}", "7".repeat(64)));
        let error = client.push_artifact(&cx(), &app, None, gone).await.unwrap_err();
        assert_eq!(error.kind(), kargo_core::ErrorKind::NotFound);
    }
}
