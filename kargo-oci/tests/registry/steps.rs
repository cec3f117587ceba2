use kargo_core::plugin::{Step, StepOutcome, StepRequest};
use kargo_core::workspace::Workspace;
use kargo_core::{Actor, ErrorKind, PromotionInfo, Result};
use kargo_oci::testing::{Fault, Registry};
use kargo_oci::{ImageSpec, OciDownload, OciDownloadStep, OciPush, OciPushStep};
use serde_json::{Map, Value, json};

use crate::{client, cx, freight};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

async fn run(step: &dyn Step, config: impl Into<Value>, files: &Workspace) -> Result<Map<String, Value>> {
    run_again(step, config, files, None).await
}

async fn run_again(
    step: &dyn Step,
    config: impl Into<Value>,
    files: &Workspace,
    before: Option<&Map<String, Value>>,
) -> Result<Map<String, Value>> {
    let (config, now) = (config.into(), jiff::Timestamp::UNIX_EPOCH);
    let registry = Registry::start().await;
    let digest = format!("sha256:{}", "0".repeat(64));
    let promotion = PromotionInfo::new("shop", "p1", "prod", freight(&registry, &digest), Actor::engine(), now);
    step.validate(&config)?;
    let mut request = StepRequest::new(&promotion, "oci", &config, now).with_workspace(files);
    if let Some(before) = before {
        request = request.restoring(before);
    }
    match step.run(&cx(), &request).await? {
        StepOutcome::Succeeded { outputs, .. } => Ok(outputs),
        other => panic!("{other:?}"),
    }
}

/// Stores a chart, whose archive is this text, and a file with its signature.
fn put_chart(registry: &Registry, tag: &str, text: &str) -> String {
    let (config, archive) = (registry.put_blob("charts/shop", "{}"), registry.put_blob("charts/shop", text));
    let provenance = registry.put_blob("charts/shop", "signed");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config, "size": 2},
        "layers": [
            {"mediaType": "application/vnd.cncf.helm.chart.provenance.v1.prov", "digest": provenance, "size": 6},
            {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": archive, "size": text.len()},
        ],
    });
    registry.put_manifest("charts/shop", tag, MANIFEST, manifest.to_string())
}

#[tokio::test]
async fn a_push_copies_and_puts_out_image_digest_and_tag() {
    let (here, there) = (Registry::start().await, Registry::start().await);
    let digest = here.put_image("app", "1.0.0", &ImageSpec::default().layer("text"));
    let (step, files) = (OciPushStep::new(client()), Workspace::new());
    let source = format!("{}/app@{digest}", here.host());
    let destination = format!("{}/prod/app:1.0.0", there.host());
    for _ in 0..2 {
        let outputs = run(&step, OciPush::new(&source, &destination), &files).await.unwrap();
        assert_eq!(json!(outputs), json!({"image": destination, "digest": digest, "tag": "1.0.0"}));
        assert_eq!(there.digest("prod/app", "1.0.0").as_ref(), Some(&digest));
    }
    // In place, by the name that some versions have for the source, and as charts are written.
    let retag = json!({"imageRef": format!("oci://{}/app:1.0.0", here.host()), "destRef": format!("oci://{}/app:prod", here.host())});
    let outputs = run(&OciPushStep::new(client()).limit(0), retag, &files).await.unwrap();
    assert_eq!((outputs["digest"].as_str(), here.digest("app", "prod")), (Some(digest.as_str()), Some(digest.clone())));
}

#[tokio::test]
async fn a_push_adds_annotations_by_their_scope() {
    let registry = Registry::start().await;
    let specs = [ImageSpec::default(), ImageSpec::new("linux", "arm64")];
    let before = registry.put_index("app", "1.0.0", &specs, &Default::default());
    let host = registry.host();
    let push = OciPush::new(format!("{host}/app:1.0.0"), format!("{host}/app:prod"));
    let push = push.annotation("index:for", "all").annotation("manifest:one", "1").annotation("two", "2");
    let outputs = run(&OciPushStep::new(client()), push, &Workspace::new()).await.unwrap();
    let app = crate::repository(&registry, "app");
    let index = client().manifest(&cx(), &app, "prod").await.unwrap();
    assert!(index.digest != before && outputs["digest"] == index.digest.as_str());
    assert_eq!(json!(index.annotations), json!({"for": "all"}));
    let kargo_oci::ManifestContent::Index { entries } = &index.content else { panic!("it was an index") };
    for entry in entries {
        let child = client().manifest(&cx(), &app, &entry.digest).await.unwrap();
        assert_eq!(json!(child.annotations), json!({"one": "1", "two": "2"}));
    }
}

#[tokio::test]
async fn what_cannot_be_pushed_is_refused_for_good() {
    let (here, there) = (Registry::start().await, Registry::start().await);
    let digest = here.put_image("app", "1.0.0", &ImageSpec::default().layer("x".repeat(5_000)));
    let (source, there) = (format!("{}/app:1.0.0", here.host()), there.host().to_owned());
    let small = OciPushStep::new(client()).limit(4_000);
    for (step, config, needle) in [
        (&small, OciPush::new(&source, format!("{there}/app:1")).into(), "4000"),
        (&small, OciPush::new(&source, format!("{there}/app@{digest}")).into(), "must have a tag"),
        (&small, OciPush::new(&source, format!("{there}/app")).into(), "neither tag nor digest"),
        (&small, OciPush::new(&source, format!("{there}/app:1")).annotation("index:", "x").into(), "has no name"),
        (&small, json!({"srcRef": source}), "destRef"),
        (
            &small,
            json!({"srcRef": source, "destRef": format!("{there}/app:1"), "insecureSkipTLSVerify": true}),
            "certificate",
        ),
        (&small, json!({"srcRef": source, "destRef": format!("{there}/app:1"), "force": true}), "force"),
    ] {
        let error = run(step, config, &Workspace::new()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(needle), "{needle}: {error}");
    }
    let open = OciPush::new("${{ vars.image }}", "${{ vars.target }}");
    small.validate(&open.into()).unwrap();
}

#[tokio::test]
async fn a_download_puts_the_layer_into_the_workspace() {
    let registry = Registry::start().await;
    put_chart(&registry, "1.0.0", "an archive");
    let (step, files) = (OciDownloadStep::new(client()), Workspace::new());
    let chart = format!("oci://{}/charts/shop:1.0.0", registry.host());
    let archive = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    run(&step, OciDownload::new(&chart, "charts/shop.tgz").media_type(archive), &files).await.unwrap();
    assert_eq!(files.read(&cx(), "charts/shop.tgz").await.unwrap().unwrap().as_ref(), b"an archive");
    // Without a media type it is the first layer; and nothing is overwritten unasked.
    let again = OciDownload::new(&chart, "charts/shop.tgz");
    let error = run(&step, again.clone(), &files).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("allowOverwrite"), "{error}");
    run(&step, again.overwrite(), &files).await.unwrap();
    assert_eq!(files.read(&cx(), "charts/shop.tgz").await.unwrap().unwrap().as_ref(), b"signed");
}

#[tokio::test]
async fn a_download_that_is_repeated_for_a_lost_workspace_brings_the_same_bytes() {
    let registry = Registry::start().await;
    put_chart(&registry, "1.0.0", "an archive");
    let step = OciDownloadStep::new(client());
    let download = OciDownload::new(format!("{}/charts/shop:1.0.0", registry.host()), "shop.tgz")
        .media_type("application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    let outputs = run(&step, download.clone(), &Workspace::new()).await.unwrap();
    put_chart(&registry, "1.0.0", "another one");
    let files = Workspace::new();
    assert!(step.restores());
    run_again(&step, download, &files, Some(&outputs)).await.unwrap();
    assert_eq!(files.read(&cx(), "shop.tgz").await.unwrap().unwrap().as_ref(), b"an archive");
}

#[tokio::test]
async fn what_cannot_be_downloaded_says_why_and_leaves_no_file() {
    let registry = Registry::start().await;
    put_chart(&registry, "1.0.0", "an archive");
    let specs = [ImageSpec::new("linux", "arm64"), ImageSpec::new("windows", "amd64")];
    registry.put_index("app", "1.0.0", &specs, &Default::default());
    let huge = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": registry.put_blob("app", "{}"), "size": 2},
        "layers": [{"digest": registry.put_blob("app", "x"), "size": 200_u64 << 20}],
    });
    registry.put_manifest("app", "huge", MANIFEST, huge.to_string());
    let (step, files, host) = (OciDownloadStep::new(client()), Workspace::new(), registry.host());
    let chart = format!("{host}/charts/shop:1.0.0");
    for (config, kind, needle) in [
        (OciDownload::new(&chart, "x").media_type("text/plain"), ErrorKind::InvalidInput, "provenance"),
        (OciDownload::new(format!("{host}/app:1.0.0"), "x"), ErrorKind::InvalidInput, "linux/amd64"),
        (OciDownload::new(format!("{host}/app:huge"), "x"), ErrorKind::InvalidInput, "104857600"),
        (OciDownload::new(format!("{host}/app:9"), "x"), ErrorKind::NotFound, "404"),
        (OciDownload::new(&chart, ""), ErrorKind::InvalidInput, "outPath"),
    ] {
        let error = run(&step, config, &files).await.unwrap_err();
        assert!(error.kind() == kind && error.message().contains(needle), "{needle}: {error}");
    }
    registry.inject(Fault::altered().on("/blobs/"));
    let error = run(&step, OciDownload::new(&chart, "x"), &files).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    assert!(files.read(&cx(), "x").await.unwrap().is_none());
}
