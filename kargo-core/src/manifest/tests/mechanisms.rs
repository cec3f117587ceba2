//! `promotionMechanisms` in all their forms, as the steps that do the same.

use serde_json::{Value, json};

use super::*;
use crate::manifest::Resource;

/// What a stage with these mechanisms became, and what was found in it.
fn read(mechanisms: &str) -> (Vec<(String, Value)>, Vec<Finding>) {
    let mechanisms: String = mechanisms.lines().map(|line| format!("  {line}\n")).collect();
    let spec = format!(
        "requestedFreight: [{{origin: {{kind: Warehouse, name: main}}, sources: {{direct: true}}}}]\npromotionMechanisms:\n{mechanisms}"
    );
    let manifests = Manifests::parse("old.yaml", document("Stage", "dev", &spec));
    let Some(Resource::Stage(stage)) = manifests.iter().next().map(|manifest| &manifest.resource) else {
        panic!("a stage")
    };
    let steps = stage.steps.iter().map(|step| (step.uses.clone().unwrap_or_default(), step.config.clone())).collect();
    (steps, manifests.findings().to_vec())
}

/// The configurations of the steps of one kind.
fn configs(mechanisms: &str, uses: &str) -> Vec<Value> {
    let (steps, findings) = read(mechanisms);
    assert!(
        findings.iter().all(|finding| finding.rule == Rule::OldDialect && !finding.is_error()),
        "{}",
        told(&findings)
    );
    steps.into_iter().filter(|(of, _)| of == uses).map(|(_, config)| config).collect()
}

fn uses(mechanisms: &str) -> Vec<String> {
    read(mechanisms).0.into_iter().map(|(uses, _)| uses).collect()
}

#[test]
fn a_repository_is_read_changed_and_written() {
    let repository = |rest: &str| format!("gitRepoUpdates: [{{repoURL: 'https://x/y', {rest}}}]");
    // Nothing said: the branch that is there by itself is read and written.
    let (steps, _) = read(&repository(""));
    let wanted = [
        ("git-clone", json!({"repoURL": "https://x/y", "checkout": [{"path": "./read-1"}]})),
        ("git-commit", json!({"path": "./read-1", "message": "Promotion by Kargo"})),
        ("git-push", json!({"path": "./read-1"})),
    ];
    assert_eq!(steps, wanted.map(|(uses, config)| (uses.to_owned(), config)));
    // Only read is written too.
    assert_eq!(
        configs(&repository("readBranch: main"), "git-push"),
        [json!({"path": "./read-1", "targetBranch": "main"})]
    );
    // Another branch takes the tree of the first.
    let moved = repository("readBranch: main, writeBranch: env/dev, insecureSkipTLSVerify: true");
    assert_eq!(uses(&moved), ["git-clone", "git-clear", "copy", "git-commit", "git-push"]);
    assert_eq!(
        configs(&moved, "git-clone"),
        [json!({
            "repoURL": "https://x/y", "insecureSkipTLSVerify": true,
            "checkout": [{"path": "./read-1", "branch": "main"}, {"path": "./write-1", "branch": "env/dev", "create": true}],
        })]
    );
    assert_eq!(configs(&moved, "git-push"), [json!({"path": "./write-1", "targetBranch": "env/dev"})]);
    // Two repositories have paths and aliases of their own.
    let two = "gitRepoUpdates: [{repoURL: 'https://x/y'}, {repoURL: 'https://x/z', writeBranch: b}]";
    let paths: Vec<Value> = configs(two, "git-push").into_iter().map(|config| config["path"].clone()).collect();
    assert_eq!(paths, ["./read-1", "./write-2"]);
}

#[test]
fn a_pull_request_is_opened_and_waited_for_at_its_forge() {
    for (provider, known) in
        [("github", true), ("gitlab", true), ("gitea", true), ("azure", true), ("bitbucket", true), ("", false)]
    {
        let form = if known { format!("{{{provider}: {{}}}}") } else { "{}".to_owned() };
        let text = format!("gitRepoUpdates: [{{repoURL: 'https://x/y', writeBranch: main, pullRequest: {form}}}]");
        let open = &configs(&text, "git-open-pr")[0];
        assert_eq!(open["targetBranch"], "main");
        assert_eq!(open["provider"], if known { json!(provider) } else { Value::Null });
        assert_eq!(configs(&text, "git-wait-for-pr")[0]["provider"], open["provider"]);
        assert_eq!(configs(&text, "git-push")[0]["generateTargetBranch"], true);
    }
    let (_, findings) = read("gitRepoUpdates: [{repoURL: 'https://x/y', pullRequest: {github: {}}}]");
    assert!(
        told(&findings).contains("A pull request needs a branch to go to; write writeBranch."),
        "{}",
        told(&findings)
    );
}

#[test]
fn images_are_set_by_tag_or_digest_and_by_their_own_origin() {
    let text = "origin: {kind: Warehouse, name: all}
gitRepoUpdates:
- repoURL: https://x/y
  kustomize:
    images:
    - {image: a, path: env/dev}
    - {image: b, path: ./env/dev/, useDigest: true, origin: {kind: Warehouse, name: own}}
    - {image: c, path: .}
  helm:
    images:
    - {image: a, valuesFilePath: v.yaml, key: a, value: Tag}
    - {image: a, valuesFilePath: ./v.yaml, key: b, value: Digest}
    - {image: a, valuesFilePath: v.yaml, key: c, value: ImageAndDigest, origin: {kind: Warehouse, name: own}}
    - {image: a, valuesFilePath: w.yaml, key: d}
- repoURL: https://x/z
  origin: {kind: Warehouse, name: of-repo}
  kustomize: {images: [{image: d, path: .}]}";
    let all = "imageFrom(\"a\", warehouse(\"all\"))";
    assert_eq!(
        configs(text, "kustomize-set-image"),
        [
            json!({"path": "./read-1/env/dev", "images": [
                {"image": "a", "tag": format!("${{{{ quote({all}.Tag) }}}}")},
                {"image": "b", "digest": "${{ imageFrom(\"b\", warehouse(\"own\")).Digest }}"},
            ]}),
            json!({"path": "./read-1", "images": [{"image": "c", "tag": "${{ quote(imageFrom(\"c\", warehouse(\"all\")).Tag) }}"}]}),
            json!({"path": "./read-2", "images": [{"image": "d", "tag": "${{ quote(imageFrom(\"d\", warehouse(\"of-repo\")).Tag) }}"}]}),
        ]
    );
    assert_eq!(
        configs(text, "yaml-update"),
        [
            json!({"path": "./read-1/v.yaml", "updates": [
                {"key": "a", "value": format!("${{{{ quote({all}.Tag) }}}}")},
                {"key": "b", "value": format!("${{{{ {all}.Digest }}}}")},
                {"key": "c", "value": "a@${{ imageFrom(\"a\", warehouse(\"own\")).Digest }}"},
            ]}),
            json!({"path": "./read-1/w.yaml", "updates": [{"key": "d", "value": format!("a:${{{{ {all}.Tag }}}}")}]}),
        ]
    );
    // The message is put together of what was done.
    let message = configs(text, "git-commit")[0]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(message.matches("commitMessage").count(), 4, "{message}");
}

#[test]
fn dependencies_of_charts_are_set() {
    let text = "gitRepoUpdates:
- repoURL: https://x/y
  helm:
    charts:
    - {repository: 'https://charts.example', name: app, chartPath: charts/app}
    - {repository: 'oci://charts.example/app', name: app, chartPath: charts/other, origin: {kind: Warehouse, name: own}}";
    assert_eq!(
        configs(text, "helm-update-chart"),
        [
            json!({"path": "./read-1/charts/app", "charts": [{
                "repository": "https://charts.example", "name": "app",
                "version": "${{ quote(chartFrom(\"https://charts.example\", \"app\").Version) }}",
            }]}),
            // In a registry the name is a part of the place.
            json!({"path": "./read-1/charts/other", "charts": [{
                "repository": "oci://charts.example/app", "name": "app",
                "version": "${{ quote(chartFrom(\"oci://charts.example/app\", warehouse(\"own\")).Version) }}",
            }]}),
        ]
    );
}

#[test]
fn applications_are_synced_to_what_was_written_or_to_a_chart() {
    let text = "gitRepoUpdates: [{repoURL: 'https://x/y', writeBranch: main}]
argoCDAppUpdates:
- appName: one
  origin: {kind: Warehouse, name: main}
  sourceUpdates:
  - {repoURL: 'https://x/y', updateTargetRevision: true}
  - {repoURL: 'https://charts.example', chart: app}
  - repoURL: https://x/other
    kustomize: {images: [{image: i}, {image: i, useDigest: true}]}
    helm: {images: [{image: i, key: k}, {image: i, key: l, value: Digest, origin: {kind: Warehouse, name: own}}]}
- {appName: two, appNamespace: argo}";
    let image = "imageFrom(\"i\", warehouse(\"main\"))";
    assert_eq!(
        configs(text, "argocd-update"),
        [json!({"apps": [
            {"name": "one", "sources": [
                {"repoURL": "https://x/y", "desiredRevision": "${{ outputs[\"push-1\"].commit }}", "updateTargetRevision": true},
                {"repoURL": "https://charts.example", "chart": "app",
                    "desiredRevision": "${{ quote(chartFrom(\"https://charts.example\", \"app\", warehouse(\"main\")).Version) }}"},
                {"repoURL": "https://x/other",
                    "kustomize": {"images": [
                        {"repoURL": "i", "tag": format!("${{{{ quote({image}.Tag) }}}}")},
                        {"repoURL": "i", "digest": format!("${{{{ {image}.Digest }}}}")},
                    ]},
                    "helm": {"images": [
                        {"key": "k", "value": format!("i:${{{{ {image}.Tag }}}}")},
                        {"key": "l", "value": "${{ imageFrom(\"i\", warehouse(\"own\")).Digest }}"},
                    ]}},
            ]},
            {"name": "two", "namespace": "argo"},
        ]})]
    );
    assert_eq!(uses("argoCDAppUpdates: [{appName: one}]"), ["argocd-update"]);
    assert_eq!(uses("{}"), [""; 0]);
}

#[test]
fn what_no_step_can_be_made_of_is_told_where_it_stands() {
    let mixed = "'a-${{ vars.x }}-b'";
    let git = |rest: String| format!("gitRepoUpdates: [{{repoURL: 'https://x/y', {rest}}}]");
    let app = |rest: String| {
        format!("argoCDAppUpdates: [{{appName: a, sourceUpdates: [{{repoURL: 'https://x/y', {rest}}}]}}]")
    };
    for (text, place) in [
        (git(format!("kustomize: {{images: [{{image: {mixed}, path: .}}]}}")), "gitRepoUpdates[0].kustomize.images[0]"),
        (
            git(format!("helm: {{images: [{{image: {mixed}, valuesFilePath: v, key: k}}]}}")),
            "gitRepoUpdates[0].helm.images[0]",
        ),
        (
            git(format!("helm: {{charts: [{{repository: {mixed}, name: app, chartPath: .}}]}}")),
            "gitRepoUpdates[0].helm.charts[0]",
        ),
        (app(format!("chart: {mixed}")), "argoCDAppUpdates[0].sourceUpdates[0]"),
        (
            app(format!("kustomize: {{images: [{{image: {mixed}}}]}}")),
            "argoCDAppUpdates[0].sourceUpdates[0].kustomize.images[0]",
        ),
        (
            app(format!("helm: {{images: [{{image: {mixed}, key: k}}]}}")),
            "argoCDAppUpdates[0].sourceUpdates[0].helm.images[0]",
        ),
    ] {
        let (_, findings) = read(&text);
        let place = format!("spec.promotionMechanisms.{place}");
        let here = findings.iter().find(|finding| path(finding) == place && finding.is_error());
        assert!(
            here.is_some_and(|finding| finding.message.contains("no single expression")),
            "{text}\n{}",
            told(&findings)
        );
    }
}

#[test]
fn beside_steps_they_do_nothing_and_that_is_an_error() {
    let both = stage("- uses: copy") + "  promotionMechanisms: {argoCDAppUpdates: [{appName: a}]}\n";
    let manifests = Manifests::parse("old.yaml", both);
    let error = manifests.findings().iter().find(|finding| finding.is_error()).expect("an error");
    assert!(path(error) == "spec.promotionMechanisms" && error.message.contains("take them out"), "{error}");
}
