//! Our client and Kargo's usual tools against one and the same real registry.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use kargo_core::plugin::{Context, DiscoverRequest, Discovery, Source};
use kargo_core::{Artifact, ErrorKind, Subscription};
use kargo_oci::testing::Registry;
use kargo_oci::{
    ChartSource, ChartSubscription, Client, CopyOptions, Credentials, DockerConfig, ImageSource, ImageSpec,
    ImageSubscription, ManifestContent, PublicKey, Repository, SelectionStrategy, Signed, StaticCredentials, Trust,
};
use kargo_tests::server;
use serde_json::Value;
use tokio::process::Command;

/// Without this skopeo may compress layers on the way, which makes another image of it.
const KEEP: &str = "--preserve-digests";

fn cx() -> Context {
    Context::system("test")
}

/// A repository that no other test and no earlier run uses.
fn fresh(host: &str, name: &str) -> Repository {
    let stamp = jiff::Timestamp::now().as_nanosecond();
    Repository::parse(&format!("{host}/kargo-tests/{name}-{stamp}")).unwrap()
}

async fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo").args(arguments).kill_on_drop(true).output().await.expect("skopeo is installed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "skopeo {arguments:?} failed: {out}{err}");
    out.into_owned()
}

async fn skopeo_json(arguments: &[&str]) -> Value {
    serde_json::from_str(&skopeo(arguments).await).unwrap()
}

fn dated(day: u8) -> ImageSpec {
    ImageSpec::default().created(format!("2026-01-{day:02}T00:00:00Z").parse().unwrap())
}

async fn look(client: &Client, subscription: ImageSubscription) -> Vec<(String, String)> {
    let subscription = Subscription::from(subscription);
    let source = ImageSource::new(client.clone());
    let Discovery::Found { candidates, cursor } =
        source.discover(&cx(), &DiscoverRequest::new(&subscription.config)).await.unwrap()
    else {
        panic!("a first look finds something or nothing, but not the same as before")
    };
    let again = DiscoverRequest::new(&subscription.config).with_cursor(cursor.as_ref());
    assert_eq!(source.discover(&cx(), &again).await.unwrap(), Discovery::Unchanged);
    let images = candidates.into_iter().map(|artifact| match artifact {
        Artifact::Image(image) => (image.tag, image.digest),
        other => panic!("{other}"),
    });
    images.collect()
}

#[tokio::test]
async fn what_our_client_pushes_skopeo_sees_in_the_same_way() {
    let host = server("KARGO_TEST_REGISTRY");
    let (client, app) = (Client::anonymous().unwrap(), fresh(&host, "ours"));
    let mut digests = BTreeMap::new();
    for (tag, day) in [("1.0.0", 1), ("1.1.0", 2), ("2.0.0-rc.1", 3)] {
        let spec = dated(day).label("team", "shop");
        digests.insert(tag, client.push_image(&cx(), &app, tag, &spec).await.unwrap());
    }
    assert_eq!(client.list_tags(&cx(), &app).await.unwrap(), ["1.0.0", "1.1.0", "2.0.0-rc.1"]);

    let listed = skopeo_json(&["list-tags", "--tls-verify=false", &format!("docker://{app}")]).await;
    let mut tags: Vec<&str> = listed["Tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    tags.sort_unstable();
    assert_eq!(tags, ["1.0.0", "1.1.0", "2.0.0-rc.1"]);
    let seen = skopeo_json(&["inspect", "--tls-verify=false", &format!("docker://{app}:1.1.0")]).await;
    assert_eq!(seen["Digest"], digests["1.1.0"].as_str());
    assert_eq!(seen["Labels"]["team"], "shop");
    assert_eq!(seen["Created"], "2026-01-02T00:00:00Z");

    let subscription = ImageSubscription::new(app.to_string()).constraint("^1");
    let expected = [("1.1.0", &digests["1.1.0"]), ("1.0.0", &digests["1.0.0"])];
    assert_eq!(look(&client, subscription).await, expected.map(|(tag, digest)| (tag.to_owned(), digest.clone())));
}

#[tokio::test]
async fn what_skopeo_copies_our_client_sees_with_the_same_digest() {
    let host = server("KARGO_TEST_REGISTRY");
    let client = Client::anonymous().unwrap();
    let (from, to) = (fresh(&host, "from"), fresh(&host, "to"));
    let specs = [ImageSpec::new("linux", "amd64"), ImageSpec::new("linux", "arm64").label("board", "pi")];
    let index = client.push_index(&cx(), &from, "1.0.0", &specs, &BTreeMap::new()).await.unwrap();
    let (source, target) = (format!("docker://{from}:1.0.0"), format!("docker://{to}:1.0.0"));
    skopeo(&["copy", "--all", KEEP, "--src-tls-verify=false", "--dest-tls-verify=false", &source, &target]).await;

    let copied = client.manifest(&cx(), &to, "1.0.0").await.unwrap();
    assert_eq!(copied.digest, index);
    let ManifestContent::Index { entries } = copied.content else { panic!("an index was copied") };
    assert_eq!(entries.len(), 2);
    for entry in entries {
        client.manifest(&cx(), &to, &entry.digest).await.unwrap();
    }
    let arm = ImageSubscription::new(to.to_string()).platform("linux/arm64");
    assert_eq!(look(&client, arm).await, [("1.0.0".to_owned(), index)]);
    assert!(look(&client, ImageSubscription::new(to.to_string()).platform("windows/amd64")).await.is_empty());
}

#[tokio::test]
async fn an_image_goes_through_a_layout_on_disk_and_comes_back_the_same() {
    let host = server("KARGO_TEST_REGISTRY");
    let client = Client::anonymous().unwrap();
    let (from, to) = (fresh(&host, "disk"), fresh(&host, "back"));
    let digest = client.push_image(&cx(), &from, "3.1.4", &dated(4)).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:3.1.4", Path::new(directory.path()).join("layout").display());
    skopeo(&["copy", KEEP, "--src-tls-verify=false", &format!("docker://{from}:3.1.4"), &layout]).await;
    skopeo(&["copy", KEEP, "--dest-tls-verify=false", &layout, &format!("docker://{to}:3.1.4")]).await;
    assert_eq!(client.manifest(&cx(), &to, "3.1.4").await.unwrap().digest, digest);
    assert_eq!(client.head_manifest(&cx(), &to, "3.1.4").await.unwrap().digest, Some(digest));
}

#[tokio::test]
async fn what_our_client_copies_skopeo_sees_with_the_same_digest() {
    let (open, closed) = (server("KARGO_TEST_REGISTRY"), server("KARGO_TEST_REGISTRY_AUTH"));
    let (user, password) = (server("KARGO_TEST_REGISTRY_USER"), server("KARGO_TEST_REGISTRY_PASSWORD"));
    let credentials =
        StaticCredentials::new().with(closed.as_str(), Credentials::basic(user.as_str(), password.as_str()));
    let client = Client::builder().credentials(credentials).build().unwrap();
    let from = fresh(&open, "original");
    let layer: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let specs = [ImageSpec::new("linux", "amd64").layer(layer), ImageSpec::new("linux", "arm64").label("board", "pi")];
    let index = client.push_index(&cx(), &from, "1.0.0", &specs, &BTreeMap::new()).await.unwrap();
    let sbom = push_sbom(&client, &from, &index).await;
    let (beside, beyond) = (fresh(&open, "beside"), fresh(&closed, "beyond"));
    for (to, through) in [(&beside, 0), (&beyond, 4)] {
        let options = CopyOptions::default().referrers();
        let copied = client.copy(&cx(), &from, &index, to, "prod", &options).await.unwrap();
        assert_eq!((copied.digest.as_str(), copied.referrers), (index.as_str(), 1));
        // Those of the SBOM, which are new to the registry, come to these.
        assert!(copied.streamed >= through && (copied.mounted > 0) == (through == 0), "{copied:?}");
        assert!(!client.copy(&cx(), &from, &index, to, "prod", &CopyOptions::default()).await.unwrap().changed);
        // All of it is there, by its digests: skopeo checks them as it takes it away.
        let directory = tempfile::tempdir().unwrap();
        let account = format!("{user}:{password}");
        for (reference, number) in [(":prod".to_owned(), 1), (format!("@{sbom}"), 2)] {
            let (source, target) =
                (format!("docker://{to}{reference}"), format!("dir:{}/{number}", directory.path().display()));
            skopeo(&["copy", "--all", KEEP, "--src-tls-verify=false", "--src-creds", &account, &source, &target]).await;
        }
        let raw = ["inspect", "--raw", "--tls-verify=false", "--creds", &account, &format!("docker://{to}:prod")];
        assert_eq!(skopeo(&raw).await.into_bytes(), client.manifest(&cx(), &from, &index).await.unwrap().bytes);
        let found = client.referrers(&cx(), to, &index).await.unwrap();
        assert_eq!(found.iter().map(|found| &found.digest).collect::<Vec<_>>(), [&sbom]);
    }
    let options = CopyOptions::default().annotation("org.example.stage", "prod");
    let copied = client.copy(&cx(), &from, "1.0.0", &beside, "annotated", &options).await.unwrap();
    let target = format!("docker://{beside}:annotated");
    let seen = skopeo_json(&["inspect", "--raw", "--tls-verify=false", &target]).await;
    let child = seen["manifests"][0]["digest"].as_str().unwrap();
    let child = skopeo_json(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{beside}@{child}")]).await;
    assert_eq!(child["annotations"]["org.example.stage"], "prod");
    assert_eq!(skopeo_json(&["inspect", "--tls-verify=false", &target]).await["Digest"], copied.digest.as_str());
}

/// Pushes an SBOM that refers to this image, and returns its digest.
async fn push_sbom(client: &Client, repository: &Repository, subject: &str) -> String {
    let (media_type, kind) = ("application/vnd.oci.image.manifest.v1+json", "application/spdx+json");
    let text = br#"{"spdxVersion":"SPDX-2.3"}"#.to_vec();
    let (size, layer) = (text.len(), client.push_blob(&cx(), repository, text).await.unwrap());
    let config = client.push_blob(&cx(), repository, b"{}".to_vec()).await.unwrap();
    let subject = client.manifest(&cx(), repository, subject).await.unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type, "artifactType": kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": kind, "digest": layer, "size": size}],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.bytes.len()},
    });
    client.push_manifest(&cx(), repository, "sbom", media_type, manifest.to_string().into_bytes()).await.unwrap()
}

#[tokio::test]
async fn an_attestation_that_openssl_has_signed_counts() {
    let host = server("KARGO_TEST_REGISTRY");
    let (client, app) = (Client::anonymous().unwrap(), fresh(&host, "attested"));
    let digest = client.push_image(&cx(), &app, "1.0.0", &dated(1)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (private, public, signed, signature) = (path("key"), path("key.pub"), path("signed"), path("signature"));
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &private]).await;
    openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]).await;
    let statement = serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://spdx.dev/Document", "predicate": {},
        "subject": [{"name": app.to_string(), "digest": {"sha256": digest.strip_prefix("sha256:")}}],
    })
    .to_string();
    let kind = "application/vnd.in-toto+json";
    std::fs::write(&signed, format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len())).unwrap();
    openssl(&["dgst", "-sha256", "-sign", &private, "-out", &signature, &signed]).await;
    let base64 = async |file: &str| openssl(&["base64", "-A", "-in", file]).await;
    let payload = path("payload");
    std::fs::write(&payload, &statement).unwrap();
    let envelope = serde_json::json!({
        "payload": base64(&payload).await, "payloadType": kind, "signatures": [{"sig": base64(&signature).await}],
    })
    .to_string();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let config = client.push_blob(&cx(), &app, b"{}".to_vec()).await.unwrap();
    let layer = client.push_blob(&cx(), &app, envelope.clone().into_bytes()).await.unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.dsse.envelope.v1+json", "digest": layer, "size": envelope.len()}],
    });
    let tag = format!("{}.att", digest.replace(':', "-"));
    client.push_manifest(&cx(), &app, &tag, media_type, manifest.to_string().into_bytes()).await.unwrap();
    let key: PublicKey = std::fs::read_to_string(&public).unwrap().parse().unwrap();
    let found = client.attestations(&cx(), &app, &digest, &Trust::from(key)).await.unwrap();
    assert_eq!((found.signed.len(), found.claims.len()), (1, 0));
    assert_eq!(found.signed[0].predicate_type, "https://spdx.dev/Document");
    let nobody = client.attestations(&cx(), &app, &digest, &Trust::nobody()).await.unwrap();
    assert_eq!((nobody.signed.len(), nobody.claims.len()), (0, 1));
}

async fn openssl(arguments: &[&str]) -> String {
    let output =
        Command::new("openssl").args(arguments).kill_on_drop(true).output().await.expect("openssl is installed");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_tag_that_moves_is_told_from_one_that_stays() {
    let host = server("KARGO_TEST_REGISTRY");
    let (client, app) = (Client::anonymous().unwrap(), fresh(&host, "moving"));
    let first = client.push_image(&cx(), &app, "1.0.0", &dated(1)).await.unwrap();
    assert!(client.manifest_unless(&cx(), &app, "1.0.0", &first).await.unwrap().is_none());
    let second = client.push_image(&cx(), &app, "1.0.0", &dated(2)).await.unwrap();
    let moved = client.manifest_unless(&cx(), &app, "1.0.0", &first).await.unwrap().unwrap();
    assert_eq!(moved.digest, second);
    client.retag(&cx(), &app, &first, "rollback").await.unwrap();
    let seen = skopeo_json(&["inspect", "--tls-verify=false", &format!("docker://{app}:rollback")]).await;
    assert_eq!(seen["Digest"], first.as_str());
}

#[tokio::test]
async fn the_strategies_choose_as_they_say() {
    let host = server("KARGO_TEST_REGISTRY");
    let (client, app) = (Client::anonymous().unwrap(), fresh(&host, "strategies"));
    let mut digests = BTreeMap::new();
    for (tag, day) in [("2026-01-03", 3), ("2026-01-01", 1), ("edge", 9), ("1.0.0", 5)] {
        digests.insert(tag, client.push_image(&cx(), &app, tag, &dated(day)).await.unwrap());
    }
    let subscription = ImageSubscription::new(app.to_string());
    let tags = |images: Vec<(String, String)>| images.into_iter().map(|(tag, _)| tag).collect::<Vec<_>>();
    let newest = subscription.clone().strategy(SelectionStrategy::NewestBuild).ignore_tags_regex("^edge$");
    assert_eq!(tags(look(&client, newest).await), ["1.0.0", "2026-01-03", "2026-01-01"]);
    let lexical = subscription.clone().strategy(SelectionStrategy::Lexical).allow_tags_regex(r"^\d{4}-");
    assert_eq!(tags(look(&client, lexical).await), ["2026-01-03", "2026-01-01"]);
    let edge = look(&client, subscription.clone().moving_tag("edge")).await;
    assert_eq!(edge, [("edge".to_owned(), digests["edge"].clone())]);
    let explanation = ImageSource::new(client).explain(&cx(), &subscription).await.unwrap();
    assert!(explanation.tag("1.0.0").unwrap().outcome.is_offered() && explanation.tags.len() == 4, "{explanation}");
}

#[tokio::test]
async fn a_chart_is_found_by_its_versions() {
    let host = server("KARGO_TEST_REGISTRY");
    let (client, chart) = (Client::anonymous().unwrap(), fresh(&host, "chart"));
    for tag in ["1.0.0", "1.1.0_build.7", "v1.2.0", "2.0.0", "latest"] {
        client.push_image(&cx(), &chart, tag, &dated(1)).await.unwrap();
    }
    let config = Subscription::from(ChartSubscription::oci(format!("oci://{chart}")).constraint("^1")).config;
    let source = ChartSource::new(client);
    let Discovery::Found { candidates, .. } = source.discover(&cx(), &DiscoverRequest::new(&config)).await.unwrap()
    else {
        panic!("a first look finds something or nothing, but not the same as before")
    };
    assert_eq!(candidates.iter().map(Artifact::version).collect::<Vec<_>>(), ["v1.2.0", "1.1.0+build.7", "1.0.0"]);
}

#[tokio::test]
async fn an_image_that_nobody_has_signed_is_not_signed() {
    let host = server("KARGO_TEST_REGISTRY");
    let (client, app) = (Client::anonymous().unwrap(), fresh(&host, "unsigned"));
    let digest = client.push_image(&cx(), &app, "1.0.0", &dated(1)).await.unwrap();
    assert_eq!(client.signed_by(&cx(), &app, &digest, &Trust::nobody()).await.unwrap(), Signed::No);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let host = server("KARGO_TEST_REGISTRY");
    let (client, app) = (Client::anonymous().unwrap(), fresh(&host, "missing"));
    assert_eq!(client.list_tags(&cx(), &app).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.manifest(&cx(), &app, "1.0.0").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_registry_for_tests_serves_skopeo_as_well() {
    server("KARGO_TEST_REGISTRY");
    let registry = Registry::builder().page_size(1).start().await;
    let specs = [ImageSpec::new("linux", "amd64"), ImageSpec::new("linux", "arm64")];
    let index = registry.put_index("from", "1.0.0", &specs, &BTreeMap::new());
    registry.put_image("from", "1.1.0", &dated(1));
    let (from, to) = (format!("docker://{}/from", registry.host()), format!("docker://{}/a/b/to", registry.host()));
    let listed = skopeo_json(&["list-tags", "--tls-verify=false", &from]).await;
    assert_eq!(listed["Tags"], serde_json::json!(["1.0.0", "1.1.0"]));
    let (source, target) = (format!("{from}:1.0.0"), format!("{to}:2.0.0"));
    skopeo(&["copy", "--all", KEEP, "--src-tls-verify=false", "--dest-tls-verify=false", &source, &target]).await;
    assert_eq!(registry.digest("a/b/to", "2.0.0"), Some(index));
    let seen = skopeo_json(&["inspect", "--tls-verify=false", &format!("{from}:1.1.0")]).await;
    assert_eq!(Some(seen["Digest"].as_str().unwrap().to_owned()), registry.digest("from", "1.1.0"));
}

#[tokio::test]
async fn a_registry_with_passwords_lets_in_the_right_one_alone() {
    let host = server("KARGO_TEST_REGISTRY_AUTH");
    let user = server("KARGO_TEST_REGISTRY_USER");
    let password = server("KARGO_TEST_REGISTRY_PASSWORD");
    let client_with = |password: &str| {
        let credentials = StaticCredentials::new().with(host.as_str(), Credentials::basic(user.as_str(), password));
        Client::builder().credentials(credentials).build().unwrap()
    };
    let app = fresh(&host, "private");
    let digest = client_with(&password).push_image(&cx(), &app, "1.0.0", &dated(1)).await.unwrap();
    let account = format!("{user}:{password}");
    let target = format!("docker://{app}:1.0.0");
    let seen = skopeo_json(&["inspect", "--tls-verify=false", "--creds", &account, &target]).await;
    assert_eq!(seen["Digest"], digest.as_str());
    let again = format!("docker://{app}:1.1.0");
    skopeo(&[
        "copy",
        KEEP,
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--src-creds",
        &account,
        "--dest-creds",
        &account,
        &target,
        &again,
    ])
    .await;
    let images = look(&client_with(&password), ImageSubscription::new(app.to_string())).await;
    assert_eq!(images, [("1.1.0".to_owned(), digest.clone()), ("1.0.0".to_owned(), digest)]);

    // The password as skopeo and Docker keep it.
    let login = tempfile::tempdir().unwrap();
    let config = login.path().join("config.json");
    skopeo(&[
        "login",
        "--tls-verify=false",
        "--authfile",
        &config.display().to_string(),
        "-u",
        &user,
        "-p",
        &password,
        &host,
    ])
    .await;
    let kept = Client::builder().credentials(DockerConfig::at(config)).build().unwrap();
    assert_eq!(kept.list_tags(&cx(), &app).await.unwrap(), ["1.0.0", "1.1.0"]);

    for client in [client_with("not the password"), Client::anonymous().unwrap()] {
        let error = client.list_tags(&cx(), &app).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(!format!("{} {error:?}", error.report()).contains("not the password"));
    }
}
