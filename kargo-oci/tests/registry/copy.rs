use kargo_core::{ErrorKind, Result};
use kargo_oci::testing::{BearerAuth, Fault, Registry};
use kargo_oci::{Client, Copied, CopyOptions, Credentials, ImageSpec, Repository, StaticCredentials};

use crate::{client, cx, repository};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn layered(text: &str) -> ImageSpec {
    ImageSpec::default().layer(text.repeat(100_000)).layer(format!("{text} again")).label("text", text)
}

fn put_index(registry: &Registry) -> String {
    let specs = [layered("one"), ImageSpec::new("linux", "arm64").layer("two")];
    registry.put_index("app", "1.0.0", &specs, &Default::default())
}

/// Stores a manifest that refers to `subject` and is of this kind.
fn put_referrer(registry: &Registry, subject: &str, kind: &str) -> String {
    let (config, layer) = (registry.put_blob("app", "{}"), registry.put_blob("app", kind));
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": kind, "digest": layer, "size": kind.len()}],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 7},
        "annotations": {"kind": kind},
    });
    registry.put_manifest("app", "referrer", MANIFEST, manifest.to_string())
}

async fn copy(from: &Repository, reference: &str, to: &Repository, options: &CopyOptions) -> Result<Copied> {
    client().copy(&cx(), from, reference, to, "prod", options).await
}

/// All bytes that a tag stands for are in the repository.
async fn assert_whole(registry: &Registry, name: &str, reference: &str) {
    let app = repository(registry, name);
    let manifest = client().manifest(&cx(), &app, reference).await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
    for child in json["manifests"].as_array().into_iter().flatten() {
        Box::pin(assert_whole(registry, name, child["digest"].as_str().unwrap())).await;
    }
    for blob in json["layers"].as_array().into_iter().flatten().chain(json.get("config")) {
        client().blob(&cx(), &app, blob["digest"].as_str().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn an_index_goes_to_another_registry_byte_for_byte_and_only_once() {
    let (here, there) = (Registry::start().await, Registry::start().await);
    let digest = put_index(&here);
    let (from, to) = (repository(&here, "app"), repository(&there, "mirror/app"));
    let copied = copy(&from, "1.0.0", &to, &CopyOptions::default()).await.unwrap();
    assert_eq!((copied.digest.as_str(), copied.changed, copied.mounted), (digest.as_str(), true, 0));
    assert_eq!((copied.streamed, there.digest("mirror/app", "prod")), (5, Some(digest.clone())));
    assert!(copied.bytes > 300_000);
    assert_whole(&there, "mirror/app", "prod").await;
    // The tag comes last, children before their index.
    let puts: Vec<_> = there.requests().into_iter().filter(|request| request.path.contains("/manifests/")).collect();
    let puts: Vec<_> =
        puts.iter().filter(|request| request.method == "PUT").map(|request| request.path.as_str()).collect();
    assert!(puts.len() == 3 && puts[2].ends_with("/prod") && puts[0].contains("sha256:"), "{puts:?}");

    there.clear_requests();
    let again = copy(&from, &digest, &to, &CopyOptions::default()).await.unwrap();
    assert_eq!((again.changed, again.streamed, again.digest), (false, 0, digest));
    assert_eq!(there.requests().len(), 1, "the tag is looked at");
}

#[tokio::test]
async fn within_a_registry_blobs_are_mounted_and_within_a_repository_there_is_nothing_to_move() {
    let registry = Registry::start().await;
    let digest = put_index(&registry);
    let (from, to) = (repository(&registry, "app"), repository(&registry, "prod/app"));
    let copied = copy(&from, &digest, &to, &CopyOptions::default()).await.unwrap();
    assert_eq!((copied.mounted, copied.streamed, copied.bytes), (5, 0, 0));
    assert_eq!(registry.count("GET", "/blobs/"), 0);
    assert_whole(&registry, "prod/app", "prod").await;

    registry.clear_requests();
    let copied = copy(&from, &digest, &from, &CopyOptions::default().limit(1)).await.unwrap();
    assert_eq!((copied.changed, registry.digest("app", "prod")), (true, Some(digest)));
    assert_eq!(registry.requests().len(), 3);
}

#[tokio::test]
async fn a_registry_that_does_not_mount_is_sent_the_bytes() {
    let registry = Registry::builder().without_mounts().start().await;
    let digest = put_index(&registry);
    let (from, to) = (repository(&registry, "app"), repository(&registry, "prod/app"));
    let copied = copy(&from, &digest, &to, &CopyOptions::default()).await.unwrap();
    assert_eq!((copied.mounted, copied.streamed), (0, 5));
    registry.inject(Fault::status(403).on("mount="));
    let copied = copy(&from, &digest, &repository(&registry, "other"), &CopyOptions::default()).await.unwrap();
    assert_eq!((copied.mounted, copied.streamed), (0, 5));
    assert_whole(&registry, "other", "prod").await;
}

#[tokio::test]
async fn a_mount_asks_for_a_token_that_may_read_the_other_repository() {
    let registry = Registry::builder().auth(BearerAuth::new("robot", "right")).start().await;
    let digest = put_index(&registry);
    let credentials = StaticCredentials::new().with(registry.host(), Credentials::basic("robot", "right"));
    let client = Client::builder().credentials(credentials).build().unwrap();
    let (from, to) = (repository(&registry, "app"), repository(&registry, "prod/app"));
    let copied = client.copy(&cx(), &from, &digest, &to, "prod", &CopyOptions::default()).await.unwrap();
    assert_eq!(copied.mounted, 5);
    let asked = registry.requests().into_iter().filter(|request| request.path == "/token");
    let both =
        |query: &str| query.contains("prod%2Fapp%3Apull%2Cpush") && query.contains("scope=repository%3Aapp%3Apull");
    assert!(asked.into_iter().any(|request| both(&request.query)));
}

#[tokio::test]
async fn a_copy_that_breaks_off_goes_on_where_it_was_and_the_tag_comes_last() {
    let (here, there) = (Registry::start().await, Registry::start().await);
    let digest = put_index(&here);
    let (from, to) = (repository(&here, "app"), repository(&there, "app"));
    // Within a call that is tried again, and beyond it.
    here.inject(Fault::truncated().on("/blobs/").times(2));
    there.inject(Fault::status(503).method("PUT").on("blobs/uploads").times(1));
    copy(&from, &digest, &repository(&there, "first"), &CopyOptions::default()).await.unwrap();
    assert_whole(&there, "first", "prod").await;

    there.inject(Fault::status(400).method("PUT").on("manifests/sha256").after(1));
    copy(&from, &digest, &to, &CopyOptions::default()).await.unwrap_err();
    assert_eq!(there.digest("app", "prod"), None);
    there.clear_faults();
    let copied = copy(&from, &digest, &to, &CopyOptions::default()).await.unwrap();
    assert!(copied.streamed < 5, "{copied:?}");
    assert_whole(&there, "app", "prod").await;
}

#[tokio::test]
async fn bytes_that_are_not_what_the_digest_says_are_never_handed_on() {
    let (here, there) = (Registry::start().await, Registry::start().await);
    let digest = here.put_image("app", "1.0.0", &layered("one"));
    let (from, to) = (repository(&here, "app"), repository(&there, "app"));
    let wrong = vec![b'x'; 300_000];
    for fault in [
        Fault::altered(),
        Fault::body("application/octet-stream", wrong),
        Fault::body("text/html", "<html>"),
        Fault::endless(),
    ] {
        here.clear_faults();
        here.inject(fault.method("GET").on("/blobs/"));
        there.clear_requests();
        let client = Client::builder().tries(1).build().unwrap();
        let error = client.copy(&cx(), &from, &digest, &to, "prod", &CopyOptions::default()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidResponse && error.message().contains("other bytes"), "{error}");
        let stored = there.requests().into_iter().filter(|request| request.method == "PUT" && request.status == 201);
        assert_eq!(stored.count(), 0);
    }
    assert_eq!(there.digest("app", "prod"), None);
}

#[tokio::test]
async fn a_registry_that_claims_to_have_the_copy_is_believed_by_its_bytes_alone() {
    let (here, there) = (Registry::start().await, Registry::start().await);
    let digest = put_index(&here);
    let (from, to) = (repository(&here, "app"), repository(&there, "app"));
    let children: Vec<String> = {
        let index = client().manifest(&cx(), &from, &digest).await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&index.bytes).unwrap();
        let entries = json["manifests"].as_array().unwrap().iter();
        entries.map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
    };
    // Under the tag there is another image, by the name of the one that is wanted; and children are said to be there that are not.
    let other = there.put_image("app", "prod", &layered("other"));
    there.inject(Fault::header("docker-content-digest", digest.clone()).on("manifests/prod").method("GET"));
    there.inject(Fault::header("docker-content-digest", digest.clone()).on("manifests/prod").method("HEAD"));
    for child in &children {
        let lie = Fault::body(MANIFEST, "{}").with_header("docker-content-digest", child.clone());
        for method in ["GET", "HEAD"] {
            there.inject(lie.clone().method(method).on(format!("manifests/{child}")).times(2));
        }
    }
    let copied = copy(&from, &digest, &to, &CopyOptions::default()).await.unwrap();
    assert!(copied.changed && copied.streamed == 5, "{copied:?}");
    let now = there.digest("app", "prod").unwrap();
    assert!(now == digest && now != other);
    there.clear_faults();
    assert_whole(&there, "app", "prod").await;

    // What has the bytes has them by whatever name the registry gives them, and something broken is replaced.
    there.inject(Fault::header("docker-content-digest", other).on("manifests/prod").method("GET"));
    assert!(!copy(&from, &digest, &to, &CopyOptions::default()).await.unwrap().changed);
    there.clear_faults();
    there.put_manifest("app", "prod", MANIFEST, "{}");
    assert!(copy(&from, &digest, &to, &CopyOptions::default()).await.unwrap().changed);
    assert_eq!(there.digest("app", "prod"), Some(digest));
}

#[tokio::test]
async fn what_is_too_large_or_missing_is_refused_before_the_tag_is_set() {
    let (here, there) = (Registry::start().await, Registry::start().await);
    let digest = put_index(&here);
    let (from, to) = (repository(&here, "app"), repository(&there, "app"));
    let error = copy(&from, &digest, &to, &CopyOptions::default().limit(1_000)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("1000"), "{error}");
    assert_eq!(there.count("POST", ""), 0);
    let error = copy(&from, "9.9.9", &to, &CopyOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    here.inject(Fault::status(404).method("GET").on("/blobs/"));
    let error = copy(&from, &digest, &to, &CopyOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), there.digest("app", "prod")), (ErrorKind::NotFound, None));
    for tag in ["", "a b", "../x"] {
        let error = client().copy(&cx(), &from, &digest, &to, tag, &CopyOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn annotations_go_to_each_image_and_its_index_names_the_new_digests() {
    let (here, there) = (Registry::start().await, Registry::start().await);
    let digest = put_index(&here);
    let (from, to) = (repository(&here, "app"), repository(&there, "app"));
    let options = CopyOptions::default().annotation("stage", "prod").index_annotation("scope", "all");
    let copied = copy(&from, &digest, &to, &options).await.unwrap();
    assert_ne!(copied.digest, digest);
    assert_eq!(there.digest("app", "prod").as_ref(), Some(&copied.digest));
    assert_whole(&there, "app", "prod").await;
    let index = client().manifest(&cx(), &to, "prod").await.unwrap();
    assert_eq!(index.annotations["scope"], "all");
    let json: serde_json::Value = serde_json::from_slice(&index.bytes).unwrap();
    for entry in json["manifests"].as_array().unwrap() {
        let child = client().manifest(&cx(), &to, entry["digest"].as_str().unwrap()).await.unwrap();
        assert_eq!(
            (child.annotations["stage"].as_str(), entry["size"].as_u64()),
            ("prod", Some(child.bytes.len() as u64))
        );
        assert!(entry["platform"].is_object());
    }
    assert_eq!(copy(&from, &digest, &to, &options).await.unwrap(), copied_nothing(&copied));

    // What BuildKit attaches to an image in the index goes on being about it.
    let about = |digest: &str| serde_json::json!({"vnd.docker.reference.digest": digest});
    let [image, attached] = ["image", "attached"].map(|text| here.put_image("app", text, &layered(text)));
    let entry = |digest: &str, annotations: serde_json::Value| serde_json::json!({"mediaType": MANIFEST, "digest": digest, "size": 7, "annotations": annotations});
    let entries = [entry(&image, serde_json::json!({})), entry(&attached, about(&image))];
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    let built = here.put_manifest("app", "built", media_type, index.to_string());
    copy(&from, &built, &to, &options).await.unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&client().manifest(&cx(), &to, "prod").await.unwrap().bytes).unwrap();
    let now = json["manifests"][0]["digest"].as_str().unwrap();
    assert!(now != image && json["manifests"][1]["annotations"] == about(now), "{json}");
    assert_whole(&there, "app", "prod").await;

    // Of a single image, only what is for images counts; within its repository it works as well.
    let single = here.put_image("app", "2.0.0", &layered("three"));
    let copied = copy(&from, &single, &from, &options).await.unwrap();
    let manifest = client().manifest(&cx(), &from, "prod").await.unwrap();
    assert_eq!(manifest.annotations.keys().collect::<Vec<_>>(), ["stage"]);
    assert_eq!((manifest.digest, copied.streamed), (copied.digest, 0));
    let options = CopyOptions::default().index_annotation("scope", "all");
    assert_eq!(copy(&from, &single, &from, &options).await.unwrap().digest, single);
}

/// What a copy says that found everything where it was wanted.
fn copied_nothing(copied: &Copied) -> Copied {
    let mut nothing = Copied::default();
    nothing.digest.clone_from(&copied.digest);
    nothing
}

#[tokio::test]
async fn what_refers_to_an_image_comes_along_when_it_is_asked_for() {
    for (here, there) in [
        (Registry::builder(), Registry::builder()),
        (Registry::builder().without_referrers(), Registry::builder().without_referrers()),
        (Registry::builder(), Registry::builder().without_referrers()),
    ] {
        let (here, there) = (here.start().await, there.start().await);
        let digest = put_index(&here);
        let client = client();
        let (from, to) = (repository(&here, "app"), repository(&there, "app"));
        let sbom = put_referrer(&here, &digest, "application/spdx+json");
        let signature = put_referrer(&here, &sbom, "application/vnd.example.signature");
        // As whoever pushed them did, where the registry does not list them itself.
        for pushed in [&sbom, &signature] {
            let manifest = client.manifest(&cx(), &from, pushed).await.unwrap();
            client.push_manifest(&cx(), &from, pushed, MANIFEST, manifest.bytes).await.unwrap();
        }
        let beside = format!("{}.sig", digest.replace(':', "-"));
        here.put_image("app", &beside, &ImageSpec::default().label("a", "signature"));

        let copied =
            client.copy(&cx(), &from, &digest, &to, "prod", &CopyOptions::default().referrers()).await.unwrap();
        assert_eq!(copied.referrers, 3);
        for (subject, expected) in [(&digest, &sbom), (&sbom, &signature)] {
            let found = client.referrers(&cx(), &to, subject).await.unwrap();
            assert_eq!(found.iter().map(|found| &found.digest).collect::<Vec<_>>(), [expected]);
            assert!(found[0].artifact_type.is_some() && found[0].annotations.contains_key("kind"));
        }
        assert_eq!(there.digest("app", &beside), here.digest("app", &beside));
        assert_whole(&there, "app", &sbom).await;

        let alone = repository(&there, "alone");
        client.copy(&cx(), &from, &digest, &alone, "prod", &CopyOptions::default()).await.unwrap();
        assert!(client.referrers(&cx(), &alone, &digest).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_thousand_manifests_that_refer_to_an_image_come_along_and_one_more_is_an_error() {
    let (here, there) = (Registry::start().await, Registry::start().await);
    let digest = here.put_image("app", "1.0.0", &layered("one"));
    let (from, to) = (repository(&here, "app"), repository(&there, "app"));
    let first = put_referrer(&here, &digest, "application/vnd.example.list");
    // No single list is too long: some refer to the image, the others to the first of these.
    for number in 1..999 {
        put_referrer(&here, if number < 500 { &digest } else { &first }, &format!("application/vnd.example.{number}"));
    }
    // Under a tag of its own, as cosign keeps it, one counts like all others.
    let beside = format!("{}.sig", digest.replace(':', "-"));
    here.put_image("app", &beside, &ImageSpec::default().label("a", "signature"));
    let options = CopyOptions::default().referrers();
    let copied = copy(&from, &digest, &to, &options).await.unwrap();
    assert_eq!(copied.referrers, 1_000);
    for (subject, expected) in [(&digest, 500), (&first, 499)] {
        assert_eq!(client().referrers(&cx(), &to, subject).await.unwrap().len(), expected);
    }
    assert!(there.digest("app", &beside).is_some());

    for too_many in ["as a referrer", "beside the image"] {
        match too_many {
            "as a referrer" => drop(put_referrer(&here, &first, "application/vnd.example.last")),
            _ => {
                here.remove_manifest("app", &here.digest("app", "referrer").unwrap());
                here.put_image("app", &beside.replace(".sig", ".sbom"), &ImageSpec::default().label("an", "SBOM"));
            }
        }
        let error = copy(&from, &digest, &to, &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{too_many}");
        for part in ["More than 1000 manifests refer to", &from.to_string(), "copy without referrers"] {
            assert!(error.message().contains(part), "{too_many}: {error}");
        }
    }
    // What it is about is there, and is copied alone by whoever asks for that.
    assert_eq!(there.digest("app", "prod"), Some(digest.clone()));
    assert_eq!(copy(&from, &digest, &to, &CopyOptions::default()).await.unwrap().referrers, 0);
}

#[tokio::test]
async fn what_is_too_much_to_copy_is_refused_before_it_moves() {
    let (here, there) = (Registry::start().await, Registry::start().await);
    let index = |entries: &[String]| {
        let entries: Vec<_> = entries.iter().map(|digest| serde_json::json!({"digest": digest, "size": 1})).collect();
        serde_json::json!({"schemaVersion": 2, "manifests": entries}).to_string()
    };
    let kind = "application/vnd.oci.image.index.v1+json";
    let children: Vec<String> = (0..1_000).map(|number| format!("sha256:{number:064x}")).collect();
    here.put_manifest("app", "wide", kind, index(&children));
    let mut inner = here.put_image("app", "image", &ImageSpec::default());
    for _ in 0..4 {
        inner = here.put_manifest("app", "three", kind, index(&[inner]));
    }
    here.put_manifest("app", "deep", kind, index(&[inner]));
    let (from, to) = (repository(&here, "app"), repository(&there, "app"));
    for (tag, needle, most) in [("wide", "more than 1000 manifests", 1), ("deep", "more than 3 deep", 4)] {
        here.clear_requests();
        let error = copy(&from, tag, &to, &CopyOptions::default()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidResponse && error.message().contains(needle), "{error}");
        assert_eq!(here.requests().len(), most, "{tag}");
    }
    assert!(there.requests().iter().all(|request| request.method == "GET" || request.method == "HEAD"));
}
