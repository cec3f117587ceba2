//! Each old way to say something: read as what has taken its place, with a warning that names it.

use serde_json::{Value, json};

use super::*;
use crate::manifest::Resource;
use crate::manifest::kind::{Stage, Step};

fn warnings(text: &str) -> (Manifests, Vec<Finding>) {
    let manifests = Manifests::parse("old.yaml", text);
    let findings = manifests.findings().to_vec();
    let errors: Vec<Finding> = findings.iter().filter(|finding| finding.is_error()).cloned().collect();
    assert_eq!(errors, [], "{text}");
    assert!(findings.iter().all(|finding| finding.rule == Rule::OldDialect), "{}", told(&findings));
    (manifests, findings)
}

/// The warning about `field`, and what the manifest became.
fn translated(text: &str, field: &str, instead: &str) -> Manifests {
    let (manifests, findings) = warnings(text);
    let about = findings
        .iter()
        .find(|finding| path(finding).ends_with(field))
        .unwrap_or_else(|| panic!("{field}: {}", told(&findings)));
    assert!(about.message.contains(instead) && about.place.as_ref().is_some_and(|place| place.line > 1), "{about}");
    // What was translated is written in today's words; what is only on its way out is written as it is.
    let again = Manifests::parse("new.yaml", manifests.to_yaml());
    let kept: Vec<&Finding> =
        again.findings().iter().filter(|finding| !path(finding).ends_with("config.author")).collect();
    assert!(kept.is_empty(), "{kept:?}\n{}", manifests.to_yaml());
    manifests
}

fn subscription(kind: &str, fields: &str, field: &str, instead: &str) -> Value {
    let text = document("Warehouse", "main", &format!("subscriptions:\n- {kind}: {{{fields}}}"));
    let manifests = translated(&text, field, instead);
    let Resource::Warehouse(warehouse) = &manifests.iter().next().unwrap().resource else { panic!("a warehouse") };
    warehouse.subscriptions[0].config.clone()
}

#[test]
fn old_subscriptions() {
    let config = subscription("image", "repoURL: x, semverConstraint: ^1", "semverConstraint", "write constraint");
    assert_eq!(config, json!({"repoURL": "x", "constraint": "^1"}));
    let config = subscription(
        "image",
        "repoURL: x, allowTags: '^v\\d', ignoreTags: [v1.0, latest]",
        "allowTags",
        "allowTagsRegexes",
    );
    assert_eq!(config["allowTagsRegexes"], json!(["^v\\d"]));
    assert_eq!(config["ignoreTagsRegexes"], json!(["^v1\\.0$", "^latest$"]));
    let config = subscription(
        "git",
        "repoURL: 'https://x/y', commitSelectionStrategy: SemVer, ignoreTags: [v1]",
        "ignoreTags",
        "ignoreTagsRegexes",
    );
    assert_eq!(config["ignoreTagsRegexes"], json!(["^v1$"]));
    let config = subscription("git", "repoURL: 'https://x/y', allowTags: ^v", "allowTags", "allowTagsRegexes");
    assert_eq!(config["allowTagsRegexes"], json!(["^v"]));
    for (old, new) in [("SemVer", "SemVer"), ("Latest", "NewestBuild"), ("Name", "Lexical"), ("Digest", "Digest")] {
        let fields = format!("repoURL: x, updateStrategy: {old}, constraint: '1'");
        let config = subscription("image", &fields, "updateStrategy", "imageSelectionStrategy");
        assert_eq!(config["imageSelectionStrategy"], new);
    }
    let config = subscription(
        "image",
        "repoURL: x, tagSelectionStrategy: Lexical",
        "tagSelectionStrategy",
        "imageSelectionStrategy",
    );
    assert_eq!(config["imageSelectionStrategy"], "Lexical");
    let config = subscription("image", "repoURL: x, gitRepoURL: 'https://x/y'", "gitRepoURL", "leave it out");
    assert_eq!(config, json!({"repoURL": "x"}));
    let config = subscription("chart", "registryURL: 'oci://x/y'", "registryURL", "write repoURL");
    assert_eq!(config, json!({"repoURL": "oci://x/y"}));
}

#[test]
fn policies_in_projects() {
    let text = "apiVersion: kargo.akuity.io/v1alpha1\nkind: Project\nmetadata: {name: shop}\nspec:\n  promotionPolicies:\n  - stage: dev\n    autoPromotionEnabled: true\n";
    let manifests = translated(text, "spec.promotionPolicies", "ProjectConfig");
    let titles: Vec<String> = manifests.iter().map(|manifest| manifest.title()).collect();
    assert_eq!(titles, ["Project shop", "ProjectConfig shop/shop"]);
    let config = document("ProjectConfig", "shop", "promotionPolicies:\n- stage: prod\n  autoPromotionEnabled: true");
    translated(&config, "promotionPolicies[0].stage", "stageSelector");
    // What a ProjectConfig says takes the place of the old policies.
    let both = Manifests::parse("x.yaml", format!("{text}---\n{config}"));
    let Some(Resource::ProjectConfig(kept)) =
        both.iter().map(|manifest| &manifest.resource).find(|one| one.kind() == "ProjectConfig")
    else {
        panic!("a configuration")
    };
    assert_eq!(kept.promotion_policies.len(), 1);
    assert_eq!(kept.promotion_policies[0].selector.name.as_ref().unwrap().to_string(), "prod");
    assert!(both.findings().iter().any(|finding| finding.rule == Rule::Duplicate && !finding.is_error()));
    assert_eq!(both.iter().filter(|manifest| manifest.resource.kind() == "ProjectConfig").count(), 1);
}

fn stage_of(manifests: &Manifests, name: &str) -> Stage {
    let found = manifests.iter().find(|manifest| manifest.metadata.name == name).unwrap();
    let Resource::Stage(stage) = &found.resource else { panic!("a stage") };
    stage.clone()
}

#[test]
fn stages_that_subscribe() {
    let text = [
        warehouse(),
        document("Stage", "prod", "subscriptions: {upstreamStages: [{name: test}]}"),
        document("Stage", "test", "subscriptions: {upstreamStages: [{name: dev}]}"),
        document("Stage", "dev", "subscriptions: {warehouse: main}"),
    ]
    .join("---\n");
    let manifests = translated(&text, "spec.subscriptions", "requestedFreight");
    let request = &stage_of(&manifests, "prod").requested_freight[0];
    assert_eq!((request.origin.as_str(), request.direct, request.stages[0].as_str()), ("main", false, "test"));
    assert!(stage_of(&manifests, "dev").requested_freight[0].direct);
    assert_eq!(manifests.pipelines().unwrap()[0].pipeline.stages().count(), 3);

    let lost =
        Manifests::parse("x.yaml", document("Stage", "prod", "subscriptions: {upstreamStages: [{name: nowhere}]}"));
    assert!(told(lost.findings()).contains("No warehouse can be found upstream"), "{}", told(lost.findings()));
    let ring = [
        document("Stage", "a", "subscriptions: {upstreamStages: [{name: b}]}"),
        document("Stage", "b", "subscriptions: {upstreamStages: [{name: a}]}"),
    ];
    assert!(Manifests::parse("x.yaml", ring.join("---\n")).findings().iter().any(Finding::is_error));
    let repos = Manifests::parse("x.yaml", document("Stage", "a", "subscriptions: {repos: {images: [{repoURL: x}]}}"));
    assert!(told(repos.findings()).contains("write a Warehouse"), "{}", told(repos.findings()));
}

/// The step that an old one became.
fn step(text: &str, field: &str, instead: &str) -> Step {
    let manifests = translated(&stage(text), field, instead);
    stage_of(&manifests, "dev").steps.last().unwrap().clone()
}

#[test]
fn steps_that_refer_to_others_and_to_freight_without_expressions() {
    let commit = step(
        "- uses: git-commit\n  config: {path: ., messageFromSteps: [set, upd-ate]}",
        "messageFromSteps",
        "write message",
    );
    assert_eq!(
        commit.config["message"],
        "${{ outputs[\"set\"].commitMessage }}\n\n${{ outputs[\"upd-ate\"].commitMessage }}"
    );
    assert!(commit.config.get("messageFromSteps").is_none());

    let author = "{path: ., message: m, author: {name: a, email: 'a@acme.example'}}";
    let commit =
        step(&format!("- uses: git-commit\n  config: {author}"), "config.author", "name the author in git-clone");
    assert_eq!(commit.config["author"]["name"], "a", "it is taken all the same");

    let update = step(
        "- uses: helm-update-image\n  as: update\n  config:\n    path: values.yaml\n    images:\n    - {image: ghcr.io/acme/app, key: image.tag, value: Tag}\n    - {image: ghcr.io/acme/app, key: image.ref, value: ImageAndDigest, fromOrigin: {kind: Warehouse, name: main}}",
        "steps[0].config",
        "yaml-update",
    );
    assert_eq!(update.uses.as_deref(), Some("yaml-update"));
    assert_eq!(
        update.config,
        json!({"path": "values.yaml", "updates": [
            {"key": "image.tag", "value": "${{ quote(imageFrom(\"ghcr.io/acme/app\").Tag) }}"},
            {"key": "image.ref", "value": "ghcr.io/acme/app@${{ imageFrom(\"ghcr.io/acme/app\", warehouse(\"main\")).Digest }}"},
        ]})
    );

    let clone = step(
        "- uses: git-clone\n  config: {repoURL: '${{ vars.repo }}', checkout: [{path: a, fromFreight: true}]}",
        "fromFreight",
        "commitFrom",
    );
    assert_eq!(clone.config["checkout"][0], json!({"path": "a", "commit": "${{ commitFrom(vars.repo).ID }}"}));

    let set = step(
        "- uses: kustomize-set-image\n  config: {path: ., images: [{image: x, useDigest: true}]}",
        "useDigest",
        "digest",
    );
    assert_eq!(set.config["images"][0], json!({"image": "x", "digest": "${{ imageFrom(\"x\").Digest }}"}));

    let open = step(
        "- uses: git-open-pr\n  config: {repoURL: x, sourceBranchFromStep: push, targetBranch: main, createTargetBranch: true}",
        "sourceBranchFromStep",
        "sourceBranch",
    );
    assert_eq!(
        open.config,
        json!({"repoURL": "x", "sourceBranch": "${{ outputs[\"push\"].branch }}", "targetBranch": "main"})
    );
    step(
        "- uses: git-open-pr\n  config: {repoURL: x, sourceBranch: b, targetBranch: main, createTargetBranch: true}",
        "createTargetBranch",
        "leave it out",
    );

    let wait =
        step("- uses: git-wait-for-pr\n  config: {repoURL: x, prNumberFromStep: open}", "prNumberFromStep", "prNumber");
    assert_eq!(wait.config["prNumber"], "${{ outputs[\"open\"].pr.id }}");

    let chart = step(
        "- uses: helm-update-chart\n  config: {path: ., charts: [{repository: 'https://c.example', name: a, fromOrigin: {kind: Warehouse, name: main}}]}",
        "fromOrigin",
        "chartFrom",
    );
    assert_eq!(
        chart.config["charts"][0]["version"],
        "${{ chartFrom(\"https://c.example\", \"a\", warehouse(\"main\")).Version }}"
    );

    let sync = step(
        "- uses: argocd-update\n  config: {apps: [{name: a, sources: [{repoURL: x, desiredCommitFromStep: push, kustomize: {images: [{repoURL: i, useDigest: true}]}, helm: {images: [{repoURL: i, key: k, value: ImageAndTag}]}}]}]}",
        "desiredCommitFromStep",
        "desiredRevision",
    );
    assert_eq!(
        sync.config["apps"][0]["sources"][0],
        json!({
            "repoURL": "x",
            "desiredRevision": "${{ outputs[\"push\"].commit }}",
            "kustomize": {"images": [{"repoURL": "i", "digest": "${{ imageFrom(\"i\").Digest }}"}]},
            "helm": {"images": [{"key": "k", "value": "i:${{ imageFrom(\"i\").Tag }}"}]},
        })
    );
}

/// A stage as Kargo 0.8 had it.
const MECHANISMS: &str = "requestedFreight: [{origin: {kind: Warehouse, name: main}, sources: {direct: true}}]
promotionMechanisms:
  gitRepoUpdates:
  - repoURL: https://git.example/acme/app.git
    readBranch: main
    writeBranch: stage/dev
    pullRequest: {github: {}}
    kustomize:
      images: [{image: ghcr.io/acme/app, path: stages/dev}]
    helm:
      images: [{image: ghcr.io/acme/app, valuesFilePath: ./values.yaml, key: image, value: ImageAndTag}]
  argoCDAppUpdates:
  - appName: app-dev
    appNamespace: argocd
    sourceUpdates: [{repoURL: 'https://git.example/acme/app.git', updateTargetRevision: true}]";

pub(super) fn mechanisms() -> String {
    [warehouse(), document("Stage", "dev", MECHANISMS)].join("---\n")
}

/// Every field of steps that only older files have, each in a step of its own: the step, where in it the field is, and what to write.
const OLD_FIELDS: [(&str, &str, &str); 18] = [
    (
        "- uses: git-clone\n  config: {repoURL: x, checkout: [{path: a, fromFreight: true}]}",
        "config.checkout[0].fromFreight",
        "write commit:",
    ),
    (
        "- uses: git-clone\n  config: {repoURL: x, checkout: [{path: b, fromOrigin: {kind: Warehouse, name: main}}]}",
        "config.checkout[0].fromOrigin",
        "write commit:",
    ),
    (
        "- uses: git-commit\n  config: {path: ., messageFromSteps: [step-1]}",
        "config.messageFromSteps",
        "write message:",
    ),
    (
        "- uses: git-open-pr\n  config: {repoURL: x, targetBranch: main, sourceBranchFromStep: step-1}",
        "config.sourceBranchFromStep",
        "write sourceBranch:",
    ),
    (
        "- uses: git-open-pr\n  config: {repoURL: x, sourceBranch: a, targetBranch: main, createTargetBranch: true}",
        "config.createTargetBranch",
        "leave it out",
    ),
    (
        "- uses: git-wait-for-pr\n  config: {repoURL: x, prNumberFromStep: step-1}",
        "config.prNumberFromStep",
        "write prNumber:",
    ),
    (
        "- uses: git-merge-pr\n  config: {repoURL: x, prNumberFromStep: step-1}",
        "config.prNumberFromStep",
        "write prNumber:",
    ),
    (
        "- uses: helm-update-image\n  config: {path: v.yaml, images: [{image: i, key: k, value: Digest}]}",
        "config",
        "write yaml-update",
    ),
    (
        "- uses: helm-update-chart\n  config: {path: ., charts: [{repository: 'oci://c/x', name: '', fromOrigin: {kind: Warehouse, name: main}}]}",
        "config.charts[0].fromOrigin",
        "write version:",
    ),
    (
        "- uses: kustomize-set-image\n  config: {path: ., images: [{image: i, useDigest: true}]}",
        "config.images[0].useDigest",
        "or digest",
    ),
    (
        "- uses: kustomize-set-image\n  config: {path: ., images: [{image: i, fromOrigin: {kind: Warehouse, name: main}}]}",
        "config.images[0].fromOrigin",
        "write tag:",
    ),
    (
        "- uses: argocd-update\n  config: {apps: [{name: a, sources: [{repoURL: x, desiredCommitFromStep: step-1}]}]}",
        "config.apps[0].sources[0].desiredCommitFromStep",
        "write desiredRevision:",
    ),
    (
        "- uses: argocd-update\n  config: {apps: [{name: a, sources: [{repoURL: x, desiredCommit: abc}]}]}",
        "config.apps[0].sources[0].desiredCommit",
        "write desiredRevision",
    ),
    (
        "- uses: argocd-update\n  config: {apps: [{name: a, sources: [{repoURL: x, fromOrigin: {kind: Warehouse, name: main}}]}]}",
        "config.apps[0].sources[0].fromOrigin",
        "name the origin in the expressions",
    ),
    (
        "- uses: argocd-update\n  config: {apps: [{name: a, sources: [{repoURL: x, kustomize: {images: [{repoURL: i, useDigest: true}]}}]}]}",
        "config.apps[0].sources[0].kustomize.images[0].useDigest",
        "or digest",
    ),
    (
        "- uses: argocd-update\n  config: {apps: [{name: a, sources: [{repoURL: x, kustomize: {images: [{repoURL: i, fromOrigin: {kind: Warehouse, name: main}}]}}]}]}",
        "config.apps[0].sources[0].kustomize.images[0].fromOrigin",
        "write tag:",
    ),
    (
        "- uses: argocd-update\n  config: {apps: [{name: a, sources: [{repoURL: x, helm: {images: [{repoURL: i, key: k, value: ImageAndTag}]}}]}]}",
        "config.apps[0].sources[0].helm.images[0].value",
        "write value:",
    ),
    (
        "- uses: argocd-update\n  config: {apps: [{name: a, sources: [{repoURL: x, helm: {images: [{image: i, key: k, value: Digest, fromOrigin: {kind: Warehouse, name: main}}]}}]}]}",
        "config.apps[0].sources[0].helm.images[0].value",
        "write value:",
    ),
];

/// A stage with all of them.
pub(super) fn old_steps() -> String {
    let steps: Vec<&str> = OLD_FIELDS.iter().map(|(step, ..)| *step).collect();
    [warehouse(), stage(&steps.join("\n"))].join("---\n")
}

#[test]
fn each_old_field_of_a_step_is_named_where_it_stands_with_what_to_write() {
    for (step, place, instead) in OLD_FIELDS {
        let (manifests, findings) = warnings(&stage(step));
        let place = format!("spec.promotionTemplate.spec.steps[0].{place}");
        let here: Vec<&Finding> = findings.iter().filter(|finding| path(finding) == place).collect();
        assert_eq!(here.len(), 1, "{place}: {}", told(&findings));
        let name = place.rsplit('.').next().unwrap_or_default();
        let named = here[0].message.contains(name) || here[0].message.contains("helm-update-image");
        assert!(named && here[0].message.contains(instead), "{}", here[0]);
        assert!(here[0].place.as_ref().is_some_and(|place| place.line == 12), "{}", here[0]);
        // It is gone from what is written.
        let written = manifests.to_yaml();
        let old = name.split('[').next().unwrap_or_default();
        assert!(matches!(old, "config" | "value") || !written.contains(&format!("{old}:")), "{written}");
    }
}

#[test]
fn old_fields_that_cannot_be_translated_say_so() {
    for (step, hint) in [
        ("- uses: git-commit\n  config: {path: ., messageFromSteps: nothing}", "a list of steps' names"),
        ("- uses: git-wait-for-pr\n  config: {repoURL: x, prNumberFromStep: 7}", "the name of a step"),
        (
            "- uses: git-clone\n  config: {repoURL: 'https://${{ vars.a }}/${{ vars.b }}', checkout: [{path: a, fromFreight: true}]}",
            "write commit: yourself",
        ),
        (
            "- uses: helm-update-image\n  config: {path: v.yaml, images: [{image: i, key: k, value: Newest}]}",
            "Tag, Digest, ImageAndTag or ImageAndDigest",
        ),
        (
            "- uses: kustomize-set-image\n  config: {path: ., images: [{image: 'a${{ vars.a }}b', useDigest: true}]}",
            "write tag: or digest: yourself",
        ),
        (
            "- uses: argocd-update\n  config: {apps: [{name: a, sources: [{repoURL: x, helm: {images: [{key: k, value: Tag}]}}]}]}",
            "write value: yourself",
        ),
    ] {
        let findings = Manifests::parse("x.yaml", stage(step)).findings().to_vec();
        let refused = findings.iter().find(|finding| finding.is_error());
        assert!(
            refused.is_some_and(|finding| finding.message.contains(hint) && finding.place.is_some()),
            "{step}: {}",
            told(&findings)
        );
    }
}

#[test]
fn fields_of_controllers_and_of_artifacts_are_named_too() {
    let cluster = "apiVersion: kargo.akuity.io/v1alpha1\nkind: ClusterConfig\nmetadata: {name: cluster}\n";
    let finding = one(Manifests::parse("x.yaml", cluster).findings().to_vec(), cluster);
    assert!(!finding.is_error() && finding.message.contains("set up the host"), "{finding}");
    let freight = "apiVersion: kargo.akuity.io/v1alpha1\nkind: Freight\nmetadata: {namespace: shop, name: ''}\norigin: {kind: Warehouse, name: main}\nimages: [{repoURL: x, tag: '1', digest: 'sha256:0', gitRepoURL: 'https://x/y'}]\n";
    let (_, findings) = warnings(freight);
    assert!(one(findings, freight).message.contains("leave it out"));
}

#[test]
fn promotion_mechanisms_become_the_steps_that_do_the_same() {
    let spec = MECHANISMS;
    let text = [warehouse(), document("Stage", "dev", spec)].join("---\n");
    let manifests = translated(&text, "spec.promotionMechanisms", "promotionTemplate");
    let steps = stage_of(&manifests, "dev").steps;
    let uses: Vec<&str> = steps.iter().filter_map(|step| step.uses.as_deref()).collect();
    assert_eq!(
        uses,
        [
            "git-clone",
            "git-clear",
            "copy",
            "kustomize-set-image",
            "yaml-update",
            "git-commit",
            "git-push",
            "git-open-pr",
            "git-wait-for-pr",
            "argocd-update"
        ]
    );
    assert_eq!(steps[3].config["path"], "./write-1/stages/dev");
    // Also when there was no difference, and so no pull request.
    assert_eq!(
        steps[9].config["apps"][0]["sources"][0]["desiredRevision"],
        "${{ outputs[\"wait-for-pr-1\"].commit ?? outputs[\"open-pr-1\"].commit }}"
    );
    // The steps hold up under today's rules.
    let findings: Vec<Finding> =
        lint(&manifests, &STEPS).into_iter().filter(|finding| finding.rule != Rule::OldDialect).collect();
    assert_eq!(findings, [], "{}", told(&findings));
    // With a branch that is only read and written, nothing is copied.
    let plain = spec.replace("    writeBranch: stage/dev\n    pullRequest: {github: {}}\n", "");
    let manifests = translated(&document("Stage", "dev", &plain), "spec.promotionMechanisms", "promotionTemplate");
    assert_eq!(stage_of(&manifests, "dev").steps.len(), 6);
    let render = "requestedFreight: [{origin: {kind: Warehouse, name: main}, sources: {direct: true}}]\npromotionMechanisms: {gitRepoUpdates: [{repoURL: 'https://x/y', render: {}}]}";
    let refused = Manifests::parse("x.yaml", document("Stage", "dev", render));
    assert!(told(refused.findings()).contains("kustomize-build or helm-template"), "{}", told(refused.findings()));
}
