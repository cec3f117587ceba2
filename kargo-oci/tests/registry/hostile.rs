use kargo_core::ErrorKind;
use kargo_core::plugin::Discovery;
use kargo_oci::testing::{BearerAuth, Fault, Registry};
use kargo_oci::{Client, Credentials, ImageSource, ImageSpec, ManifestContent, Repository, StaticCredentials};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::discovery::{found, look, subscription};
use crate::{client, cx, repository};

async fn with_one_tag() -> (Registry, String) {
    let registry = Registry::start().await;
    let digest = registry.put_image("app", "1.0.0", &ImageSpec::default());
    (registry, digest)
}

#[tokio::test]
async fn html_with_status_200_is_called_by_its_name() {
    let (registry, digest) = with_one_tag().await;
    registry.inject(Fault::html());
    let app = repository(&registry, "app");
    let listing = client().list_tags(&cx(), &app).await.unwrap_err();
    let manifest = client().manifest(&cx(), &app, "1.0.0").await.unwrap_err();
    let by_digest = client().manifest(&cx(), &app, &digest).await.unwrap_err();
    for error in [listing, manifest, by_digest] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains("text/html") && error.message().contains("DOCTYPE"), "{error}");
    }
}

#[tokio::test]
async fn a_listing_of_another_shape_is_not_an_empty_one() {
    let (registry, _) = with_one_tag().await;
    let app = repository(&registry, "app");
    for body in
        [r#"{"errors":[{"code":"DENIED"}]}"#, r#"{"name":"app"}"#, r#"{"tags":["1.0.0""#, r#"{"tags":[1]}"#, "[]", ""]
    {
        registry.clear_faults();
        registry.inject(Fault::body("application/json", body));
        let error = client().list_tags(&cx(), &app).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{body:?}");
        assert!(error.message().contains("where a list of tags was expected"), "{error}");
    }
    registry.clear_faults();
    registry.inject(Fault::body("text/plain", r#"{"name":"app","tags":null}"#).times(1));
    registry.inject(Fault::body("text/plain", r#"{"name":"app","tags":["1.0.0","../x","a\nb","1.0.0"]}"#));
    assert!(client().list_tags(&cx(), &app).await.unwrap().is_empty());
    assert_eq!(client().list_tags(&cx(), &app).await.unwrap(), ["1.0.0"]);
}

#[tokio::test]
async fn a_body_without_an_end_is_cut_off() {
    let (registry, _) = with_one_tag().await;
    registry.inject(Fault::endless());
    let app = repository(&registry, "app");
    for error in
        [client().manifest(&cx(), &app, "1.0.0").await.unwrap_err(), client().list_tags(&cx(), &app).await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::InvalidResponse);
        assert!(error.message().contains("bytes that this answer may have"), "{error}");
    }
    assert_eq!(registry.requests().len(), 2, "asking again would not help");
}

#[tokio::test]
async fn bytes_that_do_not_have_their_digest_are_refused() {
    let (registry, digest) = with_one_tag().await;
    let app = repository(&registry, "app");
    let manifest = client().manifest(&cx(), &app, &digest).await.unwrap();
    let ManifestContent::Image { config, .. } = manifest.content else { panic!("an image was pushed") };
    registry.inject(Fault::altered());
    let error = client().manifest(&cx(), &app, &digest).await.unwrap_err();
    assert!(error.message().contains("other bytes") && error.kind() == ErrorKind::InvalidResponse, "{error}");
    let error = client().blob(&cx(), &app, &config).await.unwrap_err();
    assert!(error.message().contains("other bytes") && error.kind() == ErrorKind::InvalidResponse, "{error}");
}

#[tokio::test]
async fn the_digest_of_a_tag_is_that_of_the_bytes_whatever_the_registry_says() {
    let (registry, digest) = with_one_tag().await;
    let lie = format!("sha256:{}", "0".repeat(64));
    registry.inject(Fault::header("docker-content-digest", lie));
    let app = repository(&registry, "app");
    assert_eq!(client().manifest(&cx(), &app, "1.0.0").await.unwrap().digest, digest);
    registry.clear_faults();
    registry.inject(Fault::header("docker-content-digest", "../../etc/passwd"));
    assert_eq!(client().head_manifest(&cx(), &app, "1.0.0").await.unwrap().digest, None);
}

#[tokio::test]
async fn what_a_head_says_is_a_hint_and_freight_has_the_digest_of_the_bytes() {
    let (registry, digest) = with_one_tag().await;
    let client = Client::builder().counts_pulls(registry.host()).build().unwrap();
    let (source, wanted) = (ImageSource::new(client), subscription(&registry));
    let lie = format!("sha256:{}", "0".repeat(64));
    registry.inject(Fault::header("docker-content-digest", lie));
    let (images, cursor) = found(look(&source, &wanted, None).await.unwrap());
    assert_eq!(images[0].digest, digest);
    // A HEAD that names another digest only has the bytes be asked for, and these are the same.
    registry.clear_requests();
    assert_eq!(look(&source, &wanted, Some(&cursor)).await.unwrap(), Discovery::Unchanged);
    assert_eq!((registry.count("HEAD", "/manifests/1.0.0"), registry.count("GET", "/manifests/1.0.0")), (1, 1));
}

#[tokio::test]
async fn what_could_be_taken_for_an_image_and_for_an_index_is_neither() {
    let registry = Registry::start().await;
    let app = repository(&registry, "app");
    let (image, index) = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json");
    let entry = serde_json::json!({"mediaType": "x", "digest": format!("sha256:{}", "0".repeat(64)), "size": 1});
    let (of_image, of_index) = (("config", entry.clone()), ("manifests", serde_json::json!([entry])));
    for (says, sent_as, fields, needle) in [
        (None, image, vec![of_image.clone(), of_index.clone()], "an image and an index at once"),
        (
            Some(index),
            index,
            vec![of_index.clone(), ("layers", serde_json::json!([]))],
            "an image and an index at once",
        ),
        (Some(image), index, vec![of_image.clone()], "was sent as"),
        (None, index, vec![of_image.clone()], "has the fields of a single image"),
        (Some(index), "text/plain", vec![of_image], "has the fields of a single image"),
        (Some(image), image, vec![of_index], "has the fields of an index"),
    ] {
        let mut body = serde_json::json!({"schemaVersion": 2});
        for (field, value) in fields.into_iter().chain(says.map(|says| ("mediaType", says.into()))) {
            body[field] = value;
        }
        registry.put_manifest("app", "1.0.0", sent_as, body.to_string());
        let error = client().manifest(&cx(), &app, "1.0.0").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse);
        assert!(error.message().contains(needle) && error.message().contains("app:1.0.0"), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_next_page_on_another_host_is_not_asked_for() {
    let ((registry, _), (other, _)) = (with_one_tag().await, with_one_tag().await);
    registry.inject(Fault::header("link", format!("<http://{}/v2/app/tags/list>; rel=next", other.host())));
    let error = client().list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    assert!(error.message().contains("another host"), "{error}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_compressed_answer_is_refused() {
    let (registry, _) = with_one_tag().await;
    registry.inject(Fault::header("content-encoding", "gzip"));
    let error = client().list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    assert!(error.message().contains("compressed"), "{error}");

    // And none is asked for.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = Repository::parse(&format!("{}/app", listener.local_addr().unwrap())).unwrap();
    let asking = tokio::spawn(async move { Client::builder().tries(1).build().unwrap().list_tags(&cx(), &app).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(stream.read_u8().await.unwrap());
    }
    let asked = String::from_utf8(asked).unwrap().to_ascii_lowercase();
    let encodings: Vec<&str> = asked.lines().filter(|line| line.starts_with("accept-encoding:")).collect();
    assert_eq!(encodings, ["accept-encoding: identity"], "{asked}");
    asking.abort();
}

#[tokio::test]
async fn redirects_without_an_end_are_given_up() {
    let (registry, _) = with_one_tag().await;
    registry.inject(Fault::status(307).with_header("location", "/v2/app/tags/list"));
    let error = client().list_tags(&cx(), &repository(&registry, "app")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    assert!(error.message().contains("redirects without an end"), "{error}");
    assert_eq!(registry.requests().len(), 1 + 4, "four redirects are followed");
}

#[tokio::test]
async fn what_is_no_tag_never_becomes_a_path() {
    let (registry, _) = with_one_tag().await;
    let app = repository(&registry, "app");
    for reference in ["../../../token", "1.0.0?x=y", "", "sha256:../x", "md5:abcd", "-1"] {
        let error = client().manifest(&cx(), &app, reference).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{reference:?}");
    }
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn json_that_is_nested_without_end_is_refused() {
    let (registry, _) = with_one_tag().await;
    let deep = "[".repeat(200_000);
    registry.inject(Fault::body("application/json", format!(r#"{{"x":{deep}"#)).on("tags/list"));
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    registry.inject(Fault::body(media_type, format!(r#"{{"annotations":{deep}"#)).on("manifests"));
    let app = repository(&registry, "app");
    let listing = client().list_tags(&cx(), &app).await.unwrap_err();
    let manifest = client().manifest(&cx(), &app, "1.0.0").await.unwrap_err();
    for (error, needle) in [(listing, "where a list of tags was expected"), (manifest, "is not JSON of a manifest")] {
        assert_eq!(error.kind(), ErrorKind::InvalidResponse);
        assert!(error.message().contains(needle), "{error}");
    }
}

#[tokio::test]
async fn an_index_that_is_its_own_child_is_not_followed() {
    let registry = Registry::start().await;
    let media_type = "application/vnd.oci.image.index.v1+json";
    let platform = serde_json::json!({"os": "linux", "architecture": "amd64"});
    let mut inner = registry.put_image("app", "0.0.1", &ImageSpec::default());
    for _ in 0..10 {
        let entry = serde_json::json!({"mediaType": media_type, "digest": inner, "size": 1, "platform": platform});
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]});
        inner = registry.put_manifest("app", "1.0.0", media_type, index.to_string());
    }
    let (digest, metadata) =
        client().image_metadata(&cx(), &repository(&registry, "app"), "1.0.0", None).await.unwrap();
    assert_eq!((digest, metadata.created_at), (inner, None));
    assert_eq!(registry.requests().len(), 2);
}

#[tokio::test]
async fn an_index_of_too_many_entries_and_annotations_without_end_are_refused() {
    let registry = Registry::start().await;
    let media_type = "application/vnd.oci.image.index.v1+json";
    let entry = format!(r#"{{"digest":"sha256:{}"}}"#, "0".repeat(64));
    // What fits into the bytes that a manifest may have, and what does not.
    for (tag, entries) in [("1.0.0", 1_001), ("1.0.1", 40_000), ("1.0.2", 100_000)] {
        let index = format!(r#"{{"manifests":[{}]}}"#, vec![entry.as_str(); entries].join(","));
        registry.put_manifest("app", tag, media_type, index);
    }
    registry.put_image("app", "1.1.0", &ImageSpec::default().annotation("note", "x".repeat(100_000)));
    let app = repository(&registry, "app");
    for (tag, needle) in [
        ("1.0.0", "more than 1000 entries"),
        ("1.0.1", "more than 1000 entries"),
        ("1.0.2", "bytes that this answer may have"),
        ("1.1.0", "bytes of annotations"),
    ] {
        let error = client().manifest(&cx(), &app, tag).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidResponse && error.message().contains(needle), "{error}");
    }
}

#[tokio::test]
async fn what_a_registry_says_cannot_write_to_a_terminal() {
    let (registry, _) = with_one_tag().await;
    let body = "{\"errors\":[{\"code\":\"\u{1b}[31mDENIED\",\"message\":\"a\\u001b[2Jb\\nc\"}]}";
    registry.inject(Fault::body("application/json\u{7f}", body).on("manifests"));
    registry.inject(Fault::body("text/html", "\u{1b}]0;title\u{7}").on("tags/list"));
    let app = repository(&registry, "app");
    for error in
        [client().list_tags(&cx(), &app).await.unwrap_err(), client().manifest(&cx(), &app, "1.0.0").await.unwrap_err()]
    {
        assert!(!error.report().chars().any(char::is_control), "{:?}", error.report());
    }
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_is_waited_for_until_the_deadline_alone() {
    let (registry, _) = with_one_tag().await;
    registry.inject(Fault::dripping());
    let deadline = jiff::Timestamp::now() + std::time::Duration::from_millis(300);
    let cx = cx().with_deadline(deadline);
    let error = client().list_tags(&cx, &repository(&registry, "app")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.message().contains("before the call's deadline"), "{error}");
}

#[tokio::test]
async fn a_listing_has_a_thousand_pages_and_32_mib_at_most() {
    let registry = Registry::builder().page_size(1).start().await;
    for number in 0..1_001 {
        registry.put_manifest("app", &format!("1.0.{number}"), "text/plain", "the same");
    }
    let app = repository(&registry, "app");
    let error = client().list_tags(&cx(), &app).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidResponse && error.message().contains("more than 1000 pages"), "{error}");
    assert_eq!(registry.requests().len(), 1_000);
    registry.remove_tag("app", "1.0.0");
    assert_eq!(client().list_tags(&cx(), &app).await.unwrap().len(), 1_000);

    // Each page is small enough by itself.
    let padding = "x".repeat(5 * 1024 * 1024);
    for page in 0..8 {
        let body = format!(r#"{{"tags":["1.0.{page}"],"padding":"{padding}"}}"#);
        let link = format!("</v2/app/tags/list?page={}>; rel=next", page + 1);
        registry.inject(Fault::body("application/json", body).with_header("link", link).times(1));
    }
    registry.clear_requests();
    let error = client().list_tags(&cx(), &app).await.unwrap_err();
    assert!(error.message().contains("bytes that this answer may have"), "{error}");
    assert_eq!(registry.requests().len(), 7, "six pages of five MiB are taken, and the seventh is too much");
}

#[tokio::test]
async fn a_token_without_end_and_a_token_server_that_redirects_are_refused() {
    let thief = Registry::start().await;
    let registry = Registry::builder().auth(BearerAuth::new("robot", "right")).start().await;
    registry.put_image("app", "1.0.0", &ImageSpec::default());
    let credentials = StaticCredentials::new().with(registry.host(), Credentials::basic("robot", "right"));
    let client = Client::builder().credentials(credentials).tries(1).build().unwrap();
    let app = repository(&registry, "app");
    registry.inject(Fault::endless().on("/token").times(1));
    let error = client.list_tags(&cx(), &app).await.unwrap_err();
    assert!(error.message().contains("bytes that this answer may have"), "{error}");
    let location = format!("http://{}/token", thief.host());
    registry.inject(Fault::status(307).with_header("location", location).on("/token"));
    let error = client.list_tags(&cx(), &app).await.unwrap_err();
    assert!(error.message().contains("redirects to another server"), "{error}");
    assert!(thief.requests().is_empty());
}
