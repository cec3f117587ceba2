//! Secrets among manifests, whose values no finding shows.

use super::*;

#[test]
fn a_secret_shows_nowhere() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: chat, namespace: shop}\nstringData: {token: hunter2, other: 5}\ndata: {user: '!hunter2!', key: aHVudGVyMg==}\n---\nkind: Secret\nstringData: {token: hunter2\n";
    let manifests = Manifests::parse("x.yaml", text);
    let findings = lint(&manifests, &STEPS);
    assert!(findings.len() >= 3, "{}", told(&findings));
    for shown in [told(&findings), format!("{findings:?}"), format!("{manifests:?}"), manifests.to_yaml()] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let super::super::Resource::Secret(secret) = &manifests.iter().next().unwrap().resource else { panic!("a secret") };
    assert_eq!(
        (secret.reveal("key"), secret.reveal("token"), secret.reveal("user")),
        (Some("hunter2"), Some("hunter2"), None)
    );
}

#[test]
fn no_line_that_a_secret_stands_in_is_shown_whatever_the_finding_is_about() {
    let secret = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "chat", "namespace": "shop"}, "stringData": {"token": "hunter2"}}"#;
    let stage = r#"{"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Stage", "metadata": {"name": "dev", "namespace": "shop"}, "spec": {"requestedFright": []}}"#;
    let list = |items: &str| format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{items}]}}"#);
    for (what, text) in [
        ("a list in one line", list(&format!("{secret}, {stage}"))),
        ("the other way round", list(&format!("{stage}, {secret}"))),
        ("a list in a list", list(&format!("{stage}, {}", list(secret)))),
        ("deeper than lists are read", list(&format!("{stage}, {}", list(&list(&list(&list(&list(secret)))))))),
        ("a list of secrets", list(&format!(r#"{stage}, {{"apiVersion": "v1", "kind": "SecretList", "items": [{{"stringData": {{"token": "hunter2"}}}}]}}"#))),
        ("in something else", format!(r#"{{"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Stage", "metadata": {{"name": "dev"}}, "extra": {secret}}}"#)),
        ("behind an alias", format!("{{apiVersion: v1, kind: List, extra: &d {{token: hunter2}}, more: {stage}, items: [{stage}, {{apiVersion: v1, kind: Secret, metadata: {{name: x}}, stringData: *d}}]}}")),
        ("a document behind one that cannot be read", format!("{stage}\n---\na: [\n---\n{secret}")),
        ("in the line that cannot be read", format!("{secret}: x: y\n---\n{stage}")),
        ("a template in the line", list(&format!(r#"{secret}, {{"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Stage", "metadata": {{"name": "{{{{ .Values.name }}}}"}}}}"#))),
        ("a template of one", "apiVersion: v1\nkind: Secret\nstringData: {token: hunter2, user: '{{ .Values.user }}'} # kargo.akuity.io\n".to_owned()),
        ("a template that fills in the kind", "kind: {{ .Values.kind }}\ndata: {token: hunter2, user: {{ .Values.user }}} # kargo.akuity.io\n".to_owned()),
    ] {
        let manifests = Manifests::parse("x.yaml", text);
        let findings = lint(&manifests, &STEPS);
        assert!(!findings.is_empty(), "{what}");
        for shown in [told(&findings), format!("{findings:?}"), format!("{manifests:?}")] {
            assert!(!shown.contains("hunter2"), "{what}: {shown}");
        }
    }
    // The lines beside it stay to be seen.
    let text = format!(
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {{name: chat, namespace: shop}}\n  stringData:\n    token: |\n      hunter2\n      more\n- {stage}\n---\n{stage}\n"
    );
    let findings = Manifests::parse("x.yaml", text).findings().to_vec();
    let shown = findings.iter().filter_map(|finding| finding.place.as_ref()?.snippet.as_ref());
    assert!(shown.filter(|snippet| snippet.text.contains("requestedFright")).count() >= 2, "{}", told(&findings));
}
