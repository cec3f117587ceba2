//! Where manifests come from, and to which project they belong.

use super::*;
use crate::ErrorKind;

#[test]
fn files_folders_and_streams_make_one_set() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("b/stage.yml", &stage("- uses: copy"));
    write("a.yaml", &warehouse());
    write("values.yaml", "replicas: 2\n");
    write("broken.yaml", "a: [\n");
    write("chart/templates/x.yaml", "a: {{ .Values.b }}\n");
    write("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n");
    write(
        "freight.json",
        r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "shop"}, "data": {"a": "b"}}]}"#,
    );
    write(".git/x.yaml", "kind: nothing\n");
    write("README.md", "no manifest");
    let manifests = Manifests::load([folder.path()]).unwrap();
    let titles: Vec<String> = manifests.iter().map(|manifest| manifest.title()).collect();
    assert_eq!(titles, ["Warehouse shop/main", "Stage shop/dev", "ConfigMap shop/m"]);
    assert_eq!(manifests.passed_over(), 3);
    // What is broken and no manifest of Kargo's is told, and keeps nothing from being made.
    assert!(!manifests.findings().is_empty());
    assert!(
        manifests.findings().iter().all(|finding| finding.severity == Severity::Warning),
        "{}",
        told(manifests.findings())
    );
    assert_eq!(manifests.pipelines().unwrap().len(), 1);
    let same = Manifests::load([folder.path().join("a.yaml"), folder.path().join("b")]).unwrap();
    assert_eq!(same.iter().count(), 2);
    let stream = Manifests::from_reader("<stdin>", warehouse().as_bytes()).unwrap();
    assert_eq!(stream.iter().count(), 1);
    assert_eq!(Manifests::load([folder.path().join("nowhere")]).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(Manifests::from_reader("x", &b"\xff"[..]).unwrap_err().kind(), ErrorKind::InvalidInput);
    for (bytes, place) in [
        (&b"\xff"[..], "byte 1 of line 1 is 0xff"),
        (b"kind: Stage\nname: caf\xe9\n", "byte 10 of line 2 is 0xe9"),
        (b"a: \xc3\xa9\n\n\x80", "byte 1 of line 3 is 0x80"),
    ] {
        let error = Manifests::from_reader("x.yaml", bytes).unwrap_err();
        assert!(error.to_string().starts_with(&format!("x.yaml is not UTF-8: {place}; save it as UTF-8.")), "{error}");
    }
    let named = Manifests::load([folder.path().join("values.yaml")]).unwrap();
    assert!(named.findings()[0].message.contains("no manifest"), "{}", told(named.findings()));
}

#[test]
fn what_has_no_namespace_belongs_to_the_only_project() {
    let text = warehouse().replace(", namespace: shop", "");
    let project = "---\napiVersion: kargo.akuity.io/v1alpha1\nkind: Project\nmetadata: {name: shop}\n";
    let manifests = Manifests::parse("x.yaml", format!("{text}{project}"));
    assert_eq!(manifests.findings(), []);
    assert_eq!(manifests.iter().next().unwrap().project(), Some("shop"));
    let alone = one(Manifests::parse("x.yaml", text.clone()).findings().to_vec(), "no project");
    assert!(alone.message.contains("add metadata.namespace"), "{alone}");
    let other = project.replace("shop", "other");
    let two = one(Manifests::parse("x.yaml", format!("{text}{project}{other}")).findings().to_vec(), "two projects");
    assert!(two.message.contains("such as \"other\" and \"shop\""), "{two}");
}

#[test]
fn two_of_one_name_are_told_and_the_first_counts() {
    let manifests = Manifests::from_texts([("a.yaml".into(), warehouse()), ("b.yaml".into(), warehouse())]);
    let finding = one(manifests.findings().to_vec(), "twice");
    assert_eq!((finding.rule, finding.place.as_ref().unwrap().file.as_str()), (Rule::Duplicate, "b.yaml"));
    assert!(finding.message.contains("a.yaml:1"), "{finding}");
    assert_eq!(manifests.iter().count(), 1);
}

#[test]
fn what_a_cluster_adds_is_passed_over() {
    let text = "apiVersion: kargo.akuity.io/v1alpha1
kind: Stage
metadata:
  name: dev
  namespace: shop
  uid: 0d9e
  generation: 3
  creationTimestamp: 2026-01-01T00:00:00Z
  managedFields: [{manager: kubectl}]
spec:
  requestedFreight: [{origin: {kind: Warehouse, name: main}, sources: {direct: true}}]
status: {anything: [goes]}
";
    assert_eq!(Manifests::parse("x.yaml", text).findings(), []);
}

#[test]
fn freight_is_named_by_its_content_as_kargo_names_it() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (name, content) in [
        (
            "cee6696aee3fa87ccd2f6505e7c379c54164cf25",
            format!("origin: {{kind: Warehouse, name: main}}\ncommits: [{{repoURL: 'https://GitHub.com/Acme/App.git', tag: v1.2.3, id: '0123456789abcdef0123456789abcdef01234567'}}]\nimages: [{{repoURL: ghcr.io/acme/app, tag: 1.2.3, digest: '{digest}'}}]\n"),
        ),
        (
            "726527121cf0239cca4c18d0445ff06bc17e8761",
            format!("origin: {{kind: Warehouse, name: main}}\nimages: [{{repoURL: ghcr.io/acme/app, tag: 1.2.3, digest: '{digest}', subscriptionName: app-image}}]\n"),
        ),
        (
            "21d3fbc20ec407e35bad663f6323d1844e93bfd4",
            "origin: {kind: Warehouse, name: w}\ncharts: [{repoURL: 'oci://ghcr.io/acme/charts/app', version: 2.0.0}, {repoURL: 'https://charts.acme.io', name: app, version: 1.0.0}]\n".into(),
        ),
    ] {
        let freight = |name: &str| {
            format!("apiVersion: kargo.akuity.io/v1alpha1\nkind: Freight\nmetadata: {{name: '{name}', namespace: shop}}\nalias: fine-fox\n{content}")
        };
        assert_eq!(Manifests::parse("x.yaml", freight(name)).findings(), [], "{name}");
        let finding = one(Manifests::parse("x.yaml", freight("other")).findings().to_vec(), name);
        assert!(finding.message.contains(name) && finding.severity == Severity::Warning, "{finding}");
    }
}
