//! Manifests that are wrong: each fault with its place and the way out, all in one pass.

use super::*;

fn in_document(kind: &str, spec: &str) -> Finding {
    let findings = Manifests::parse("x.yaml", document(kind, "dev", spec)).findings().to_vec();
    one(findings, spec)
}

#[test]
fn unknown_fields_are_found_where_they_stand_with_a_proposal() {
    for (kind, spec, key, place, hint) in [
        (
            "Warehouse",
            "subscriptions: [{image: {repoUrl: x, repoURL: x}}]",
            "repoUrl",
            "spec.subscriptions[0].image.repoUrl",
            "did you mean \"repoURL\"?",
        ),
        (
            "Warehouse",
            "intervall: 5m\nsubscriptions: [{image: {repoURL: x}}]",
            "intervall",
            "spec.intervall",
            "did you mean \"interval\"?",
        ),
        (
            "Warehouse",
            "subscriptions: [{git: {repoURL: 'https://x/y', allowTagRegexes: [a]}}]",
            "allowTagRegexes",
            "spec.subscriptions[0].git.allowTagRegexes",
            "allowTagsRegexes",
        ),
        (
            "Stage",
            "requestedFreight: [{origin: {kind: Warehouse, name: a}, sources: {direct: true, soak: 5m}}]",
            "soak",
            "spec.requestedFreight[0].sources.soak",
            "it has \"autoPromotionOptions\"",
        ),
        (
            "Stage",
            "requestedFreight: [{origin: {kind: Warehouse, name: a}, sources: {direct: true}}]\npromotionTemplates: {}",
            "promotionTemplates",
            "spec.promotionTemplates",
            "did you mean \"promotionTemplate\"?",
        ),
        (
            "PromotionTask",
            "steps: [{uses: copy, confg: {}}]",
            "confg",
            "spec.steps[0].confg",
            "did you mean \"config\"?",
        ),
        (
            "PromotionTask",
            "steps: [{uses: copy, retry: {timout: 5m}}]",
            "timout",
            "spec.steps[0].retry.timout",
            "did you mean \"timeout\"?",
        ),
        (
            "ProjectConfig",
            "promotionPolicies: [{stageSelector: {nam: x}}]",
            "nam",
            "spec.promotionPolicies[0].stageSelector.nam",
            "did you mean \"name\"?",
        ),
        ("Promotion", "stage: dev\nfreight: abc\nstep: []", "step", "spec.step", "did you mean \"steps\"?"),
    ] {
        let text = document(kind, if kind == "ProjectConfig" { "shop" } else { "dev" }, spec);
        let finding = one(Manifests::parse("x.yaml", text).findings().to_vec(), spec);
        assert_eq!((finding.rule, finding.severity), (Rule::UnknownField, Severity::Error), "{finding}");
        assert_eq!((marked(&finding).as_str(), path(&finding)), (key, place), "{finding}");
        assert!(finding.message.contains(hint), "{finding}");
    }
}

#[test]
fn values_that_fields_do_not_take_say_what_they_take() {
    let request = "requestedFreight: [{origin: {kind: Warehouse, name: a}, sources: {direct: true}}]\n";
    for (kind, spec, place, hint) in [
        ("Stage", format!("{request}vars: [{{name: x, value: 1.10}}]"), "spec.vars[0].value", "takes a text, and this is a number. Put quotes"),
        ("Stage", format!("{request}vars: [{{name: 'a-b', value: x}}]"), "spec.vars[0].name", "letters, digits and _"),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: [{{uses: copy, continueOnError: 'true'}}]}}}}"), "spec.promotionTemplate.spec.steps[0].continueOnError", "Take the quotes off"),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: [{{uses: copy, as: step-3}}]}}}}"), "spec.promotionTemplate.spec.steps[0].as", "kept for steps without a name"),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: [{{uses: copy, as: a}}, {{uses: copy, as: a}}]}}}}"), "spec.promotionTemplate.spec.steps[1].as", "rename one"),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: [{{task: {{name: t}}, if: x}}]}}}}"), "spec.promotionTemplate.spec.steps[0].if", "A step with a task cannot have if"),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: [{{as: x}}]}}}}"), "spec.promotionTemplate.spec.steps[0]", "uses is missing"),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: {{uses: copy}}}}}}"), "spec.promotionTemplate.spec.steps", "takes a list, and this is a map"),
        ("Stage", "requestedFreight: [{origin: {kind: Warehouse, name: a}, sources: {}}]".into(), "spec.requestedFreight[0].sources", "names no source"),
        ("Stage", "requestedFreight: [{origin: {kind: Warehous, name: a}, sources: {direct: true}}]".into(), "spec.requestedFreight[0].origin.kind", "did you mean \"Warehouse\"?"),
        ("Stage", "requestedFreight: [{origin: {name: a}, sources: {stages: [b], requiredSoakTime: 1d}}]".into(), "spec.requestedFreight[0].sources.requiredSoakTime", "write it as 30s"),
        ("Stage", "requestedFreight: [{origin: {name: a}, sources: {stages: [b, b]}}]".into(), "spec.requestedFreight[0].sources.stages[1]", "named twice"),
        ("Stage", "requestedFreight: [{origin: {name: a}, sources: {stages: [b], availabilityStrategy: Some}}]".into(), "spec.requestedFreight[0].sources.availabilityStrategy", "\"All\" and \"OneOf\""),
        ("Stage", "requestedFreight: [{origin: {name: a}, sources: {direct: true, autoPromotionOptions: {selectionPolicy: MatchUpstream}}}]".into(), "spec.requestedFreight[0].sources.autoPromotionOptions", "exactly one"),
        ("Stage", format!("requestedFreight:\n{}", "- {origin: {name: a}, sources: {direct: true}}\n".repeat(2)), "spec.requestedFreight[1]", "merge the two"),
        ("Stage", "vars: []".into(), "spec", "spec.requestedFreight is missing"),
        ("Warehouse", "subscriptions: []".into(), "spec", "spec.subscriptions is missing"),
        ("Warehouse", "subscriptions: [{image: {}}]".into(), "spec.subscriptions[0].image", "repoURL is missing"),
        ("Warehouse", "subscriptions: [{image: {repoURL: 'ghcr.io/x:1'}}]".into(), "spec.subscriptions[0].image.repoURL", "tag or digest does not belong"),
        ("Warehouse", "subscriptions: [{image: {repoURL: 'https://ghcr.io/x'}}]".into(), "spec.subscriptions[0].image.repoURL", "no scheme"),
        ("Warehouse", "subscriptions: [{image: {repoURL: x, constraint: 'a b c'}}]".into(), "spec.subscriptions[0].image.constraint", "cannot be used"),
        ("Warehouse", "subscriptions: [{image: {repoURL: x, imageSelectionStrategy: Digest}}]".into(), "spec.subscriptions[0].image", "constraint must name the tag"),
        ("Warehouse", "subscriptions: [{image: {repoURL: x, platform: linux}}]".into(), "spec.subscriptions[0].image.platform", "linux/arm64"),
        ("Warehouse", "subscriptions: [{image: {repoURL: x, discoveryLimit: 101}}]".into(), "spec.subscriptions[0].image.discoveryLimit", "from 1 to 100, not 101"),
        ("Warehouse", "subscriptions: [{image: {repoURL: x, discoveryLimit: '5'}}]".into(), "spec.subscriptions[0].image.discoveryLimit", "Take the quotes off"),
        ("Warehouse", "subscriptions: [{image: {repoURL: x, allowTagsRegexes: ['(']}}]".into(), "spec.subscriptions[0].image.allowTagsRegexes[0]", "no regular expression"),
        ("Warehouse", "subscriptions: [{git: {repoURL: 'ftp://x'}}]".into(), "spec.subscriptions[0].git.repoURL", "https:// or ssh://"),
        ("Warehouse", "subscriptions: [{git: {repoURL: 'https://x/y', since: yesterday}}]".into(), "spec.subscriptions[0].git.since", "no time"),
        ("Warehouse", "subscriptions: [{git: {repoURL: 'https://x/y', includePaths: ['glob:[']}}]".into(), "spec.subscriptions[0].git.includePaths[0]", "cannot be"),
        ("Warehouse", "subscriptions: [{chart: {repoURL: 'https://x/y'}}]".into(), "spec.subscriptions[0].chart", "name is missing"),
        ("Warehouse", "subscriptions: [{chart: {repoURL: 'oci://x/y', name: z}}]".into(), "spec.subscriptions[0].chart.name", "take name out"),
        ("Warehouse", "subscriptions: [{git: {repoURL: 'https://x/y'}, image: {repoURL: x}}]".into(), "spec.subscriptions[0]", "of one kind"),
        ("Warehouse", "subscriptions: [{name: x}]".into(), "spec.subscriptions[0]", "of which kind it is"),
        ("Warehouse", "subscriptions: [{model: {config: {}}}]".into(), "spec.subscriptions[0]", "needs a name"),
        ("Warehouse", "subscriptions: [{image: {repoURL: nginx}}, {image: {repoURL: docker.io/library/nginx}}]".into(), "spec.subscriptions[1]", "the same repository"),
        ("Warehouse", "interval: 5 minutes\nsubscriptions: [{image: {repoURL: x}}]".into(), "spec.interval", "30s, 5m or 1h30m"),
        ("Warehouse", "freightCreationPolicy: automatic\nsubscriptions: [{image: {repoURL: x}}]".into(), "spec.freightCreationPolicy", "did you mean \"Automatic\"?"),
        ("PromotionTask", "vars: []".into(), "spec", "spec.steps is missing"),
        ("PromotionTask", "steps: [{uses: copy, task: {name: other}}]".into(), "spec.steps[0].uses", "not both"),
        ("Promotion", "stage: dev".into(), "spec", "either freight or an origin"),
        ("Promotion", "stage: dev\nfreight: a\norigin: {name: main}".into(), "spec", "either freight or an origin"),
        ("Promotion", "stage: dev\nfreight: a\nsteps: [{task: {name: t}}]".into(), "spec.steps[0].task", "with the tasks written out; take task out"),
        ("PromotionTask", "steps: [{task: {name: other}}]".into(), "spec.steps[0].task", "cannot use another task"),
        ("ClusterPromotionTask", "steps: [{task: {name: other, kind: ClusterPromotionTask}}]".into(), "spec.steps[0].task", "cannot use another task"),
        ("PromotionTask", "vars: [{value: x}]\nsteps: [{uses: copy}]".into(), "spec.vars[0]", "name is missing"),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: [{{task: {{name: t}}, config: {{a: b}}}}]}}}}"), "spec.promotionTemplate.spec.steps[0].config", "A step with a task cannot have config"),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: [{{task: {{name: t}}, retry: {{timeout: 5m}}}}]}}}}"), "spec.promotionTemplate.spec.steps[0].retry", "A step with a task cannot have retry"),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: [{{task: {{name: t}}, continueOnError: true}}]}}}}"), "spec.promotionTemplate.spec.steps[0].continueOnError", "A step with a task cannot have continueOnError"),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: [{{task: {{name: t, kind: Task}}}}]}}}}"), "spec.promotionTemplate.spec.steps[0].task.kind", "\"PromotionTask\" and \"ClusterPromotionTask\""),
        ("Stage", format!("{request}promotionTemplate: {{spec: {{steps: [{{uses: copy, retry: {{errorThreshold: -1}}}}]}}}}"), "spec.promotionTemplate.spec.steps[0].retry.errorThreshold", "a whole number from 0, not -1"),
        ("Stage", format!("{request}verification: {{analysisTemplates: [{{kind: AnalysisTemplate}}]}}"), "spec.verification.analysisTemplates[0]", "name is missing"),
        ("Stage", format!("{request}verification: {{args: [{{value: x}}]}}"), "spec.verification.args[0]", "name is missing"),
        ("Warehouse", "subscriptions: [{git: {repoURL: 'https://x/y', branch: 'a b'}}]".into(), "spec.subscriptions[0].git.branch", "only letters, digits"),
        ("Warehouse", "subscriptions: [{git: {repoURL: 'https://x/y', branch: -main}}]".into(), "spec.subscriptions[0].git.branch", "it begins with a letter or digit"),
        ("Warehouse", "subscriptions: [{git: {repoURL: 'https://x/y', branch: main.}}]".into(), "spec.subscriptions[0].git.branch", "ends with one"),
        ("Warehouse", format!("subscriptions: [{{git: {{repoURL: 'https://x/y', branch: {}}}}}]", "a".repeat(256)), "spec.subscriptions[0].git.branch", "more than 255 characters"),
        ("Warehouse", "subscriptions: [{image: {repoURL: ghcr.io/acme//app}}]".into(), "spec.subscriptions[0].image.repoURL", "this is no image"),
        ("Warehouse", "subscriptions: [{image: {repoURL: 'ghcr.io:port/app'}}]".into(), "spec.subscriptions[0].image.repoURL", "this is no image"),
        ("Warehouse", "subscriptions: [{image: {repoURL: ghcr.io/-acme}}]".into(), "spec.subscriptions[0].image.repoURL", "this is no image"),
        ("Warehouse", "subscriptions: [{name: a.b, image: {repoURL: x}}]".into(), "spec.subscriptions[0].name", "there may be no dot in it"),
        ("Warehouse", "subscriptions: [{name: a, image: {repoURL: x}}, {name: a, image: {repoURL: y}}]".into(), "spec.subscriptions[1]", "have the name \"a\""),
    ] {
        let findings = Manifests::parse("x.yaml", document(kind, "dev", &spec)).findings().to_vec();
        assert!(findings.iter().any(|finding| path(finding) == place && finding.message.contains(hint)), "{spec}: {place}\n{}", told(&findings));
    }
}

#[test]
fn the_rules_of_a_project_say_what_they_take() {
    let policy = |policy: &str| format!("promotionPolicies: [{{{policy}}}]");
    let hook = |hook: &str| format!("webhookReceivers: [{{{hook}}}]");
    let action = |action: &str| {
        format!("webhookReceivers: [{{name: h, generic: {{secretRef: {{name: s}}, actions: [{{{action}}}]}}}}]")
    };
    let criteria = |one: &str| action(&format!("action: Refresh, targetSelectionCriteria: [{{{one}}}]"));
    let actions = "spec.webhookReceivers[0].generic.actions[0]";
    for (spec, place, hint) in [
        (policy("autoPromotionEnabled: true"), "spec.promotionPolicies[0]", "stageSelector is missing"),
        (policy("stage: dev, stageSelector: {name: dev}"), "spec.promotionPolicies[0].stageSelector", "not both"),
        (policy("stageSelector: dev"), "spec.promotionPolicies[0].stageSelector", "takes a map"),
        (policy("stageSelector: {name: 'glob:['}"), "spec.promotionPolicies[0].stageSelector.name", "cannot be used"),
        (policy("stageSelector: {name: 'regex:('}"), "spec.promotionPolicies[0].stageSelector.name", "cannot be used"),
        (policy("stageSelector: {name: 'like:dev'}"), "spec.promotionPolicies[0].stageSelector.name", "cannot be used"),
        (
            policy("stageSelector: {matchLabels: {tier: 1}}"),
            "spec.promotionPolicies[0].stageSelector.matchLabels.tier",
            "Put quotes around it",
        ),
        (
            policy("stageSelector: {matchExpressions: [{key: a, operator: Is}]}"),
            "spec.promotionPolicies[0].stageSelector.matchExpressions[0].operator",
            "it can be \"In\", \"NotIn\"",
        ),
        (
            policy("stageSelector: {matchExpressions: [{key: a}]}"),
            "spec.promotionPolicies[0].stageSelector.matchExpressions[0]",
            "operator is missing",
        ),
        (
            policy("stageSelector: {matchExpressions: [{operator: Exists}]}"),
            "spec.promotionPolicies[0].stageSelector.matchExpressions[0]",
            "key is missing",
        ),
        (
            policy("stageSelector: {matchExpressions: [{key: a, operator: In}]}"),
            "spec.promotionPolicies[0].stageSelector.matchExpressions[0]",
            "need values",
        ),
        (
            policy("stageSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}"),
            "spec.promotionPolicies[0].stageSelector.matchExpressions[0]",
            "take no values",
        ),
        (
            policy("stageSelector: {}, autoPromotionEnabled: 'true'"),
            "spec.promotionPolicies[0].autoPromotionEnabled",
            "Take the quotes off",
        ),
        (
            policy("stageSelector: {}, autoRollback: {onPromotion: [Error]}"),
            "spec.promotionPolicies[0].autoRollback.onPromotion[0]",
            "\"Failed\" and \"Errored\"",
        ),
        (
            policy("stageSelector: {}, autoRollback: {onVerification: [Errored]}"),
            "spec.promotionPolicies[0].autoRollback.onVerification[0]",
            "\"Failed\" and \"Error\"",
        ),
        (policy("stageSelector: {}, autoRollback: true"), "spec.promotionPolicies[0].autoRollback", "takes a map"),
        (
            "promotionPolicies: [{stageSelector: {name: a}}, {stageSelector: {name: a}}]".into(),
            "spec.promotionPolicies[1]",
            "the second never counts",
        ),
        (hook("github: {secretRef: {name: s}}"), "spec.webhookReceivers[0]", "name is missing"),
        (hook("name: h"), "spec.webhookReceivers[0]", "of which kind it is"),
        (
            hook("name: h, github: {secretRef: {name: s}}, quay: {secretRef: {name: s}}"),
            "spec.webhookReceivers[0]",
            "of which kind it is",
        ),
        (hook("name: h, githbu: {}"), "spec.webhookReceivers[0].githbu", "did you mean \"github\"?"),
        (hook("name: h, github: {}"), "spec.webhookReceivers[0].github", "secretRef is missing"),
        (
            hook("name: h, github: {secretRef: {nam: s}}"),
            "spec.webhookReceivers[0].github.secretRef.nam",
            "did you mean \"name\"?",
        ),
        (
            "webhookReceivers: [{name: h, quay: {secretRef: {name: s}}}, {name: h, quay: {secretRef: {name: t}}}]"
                .into(),
            "spec.webhookReceivers[1]",
            "have the name \"h\"",
        ),
        (
            action("action: Refres, targetSelectionCriteria: [{kind: Warehouse, name: a}]"),
            "spec.webhookReceivers[0].generic.actions[0].action",
            "did you mean \"Refresh\"?",
        ),
        (action("action: Refresh"), actions, "targetSelectionCriteria is missing"),
        (
            criteria("kind: Stage, name: a"),
            "spec.webhookReceivers[0].generic.actions[0].targetSelectionCriteria[0].kind",
            "it can be \"Warehouse\"",
        ),
        (
            criteria("kind: Warehouse"),
            "spec.webhookReceivers[0].generic.actions[0].targetSelectionCriteria[0]",
            "which warehouses are meant",
        ),
        (
            criteria("kind: Warehouse, indexSelector: {matchIndices: [{key: url, operator: Equals, value: x}]}"),
            "spec.webhookReceivers[0].generic.actions[0].targetSelectionCriteria[0].indexSelector.matchIndices[0].key",
            "\"subscribedURLs\" and \"receiverPaths\"",
        ),
        ("freightLinks: [{url: 'https://x'}]".into(), "spec.freightLinks[0]", "title is missing"),
        ("stageLinks: [{title: x}]".into(), "spec.stageLinks[0]", "url is missing"),
        ("stageLinks: [{title: x, url: 'https://x', if: true}]".into(), "spec.stageLinks[0].if", "takes a text"),
        ("promotionWindows: {}".into(), "spec.promotionWindows", "takes a list"),
    ] {
        let findings = Manifests::parse("x.yaml", document("ProjectConfig", "shop", &spec)).findings().to_vec();
        let here = findings.iter().find(|finding| path(finding) == place && finding.message.contains(hint));
        assert!(here.is_some_and(Finding::is_error), "{spec}: {place}\n{}", told(&findings));
    }
    let other = Manifests::parse("x.yaml", document("ProjectConfig", "other", "promotionPolicies: []"));
    assert!(one(other.findings().to_vec(), "name").message.contains("rename it \"shop\""));
}

#[test]
fn what_is_not_said_has_its_default() {
    use super::super::Resource;
    use crate::stage::{Availability, RetryPolicy, Selection};
    use crate::{FreightCreationPolicy, Phase};

    let texts = [
        document(
            "Warehouse",
            "main",
            "subscriptions:\n- image: {repoURL: x}\n- git: {repoURL: 'https://x/y'}\n- chart: {repoURL: 'oci://x/z'}",
        ),
        document(
            "Stage",
            "dev",
            "requestedFreight: [{origin: {name: main}, sources: {stages: [test]}}]\npromotionTemplate: {spec: {steps: [{uses: copy}, {task: {name: t}}]}}\nverification: {analysisTemplates: [{name: a}]}",
        ),
        document("ProjectConfig", "shop", "promotionPolicies: [{stageSelector: {}, autoRollback: {}}]"),
    ];
    let manifests = Manifests::parse("x.yaml", texts.join("---\n"));
    assert_eq!(manifests.findings(), []);
    let resources: Vec<&Resource> = manifests.iter().map(|manifest| &manifest.resource).collect();
    let [Resource::Warehouse(warehouse), Resource::Stage(stage), Resource::ProjectConfig(config)] = resources[..]
    else {
        panic!("{resources:?}")
    };
    assert_eq!(
        (warehouse.interval.as_secs(), &warehouse.shard, &warehouse.freight_creation_criteria),
        (300, &None, &None)
    );
    assert_eq!(warehouse.freight_creation_policy, FreightCreationPolicy::Automatic);
    // What a subscription leaves out is for its source, whose defaults are Kargo's too.
    for (subscription, url) in warehouse.subscriptions.iter().zip(["x", "https://x/y", "oci://x/z"]) {
        assert_eq!((&subscription.name, &subscription.config), (&None, &serde_json::json!({"repoURL": url})));
    }
    let request = &stage.requested_freight[0];
    assert_eq!((request.direct, request.required_soak), (false, None));
    assert_eq!((request.availability, request.selection), (Availability::OneOf, Selection::Newest));
    assert_eq!((stage.steps[0].continue_on_error, stage.steps[0].retry), (false, RetryPolicy::default()));
    assert_eq!((stage.steps[0].config.to_string().as_str(), stage.steps[0].alias_at(0).as_str()), ("{}", "step-1"));
    assert_eq!(
        stage.steps[1].task.as_ref().map(|task| (task.kind(), stage.steps[1].alias_at(1))),
        Some(("PromotionTask", "task-2".to_owned()))
    );
    assert!(!stage.verification.as_ref().unwrap().analysis_templates[0].cluster);
    let policy = &config.promotion_policies[0];
    let rollback = policy.auto_rollback.as_ref().unwrap();
    assert!(!policy.auto_promote && policy.selector.name.is_none() && rollback.on_promotion.is_empty());
    assert_eq!(rollback.on_verification.iter().collect::<Vec<_>>(), [&Phase::Failed]);
}

#[test]
fn a_name_that_a_cluster_would_make_is_no_name_here() {
    let stage = stage("- uses: copy").replace("{name: dev,", "{generateName: dev-,");
    let finding = one(Manifests::parse("x.yaml", stage).findings().to_vec(), "generateName");
    assert_eq!(
        (finding.rule, finding.severity, marked(&finding).as_str()),
        (Rule::MissingField, Severity::Error, "dev-")
    );
    assert!(finding.message.contains("this Stage needs it; write name"), "{finding}");
}

#[test]
fn several_faults_are_told_in_one_pass_and_in_order() {
    let text = "apiVersion: kargo.akuity.io/v1alpha1
kind: Stage
metadata: {name: Dev, namespace: shop, lables: {}}
spec:
  requestedFreight:
  - origin: {kind: Warehouse, name: main}
    sources: {direct: yes please, stagess: [a]}
  promotionTemplate:
    spec:
      steps:
      - uses: copy
        config: []
---
kind: Warehouse
metadata: {name: x}
---
a: [
---
apiVersion: kargo.akuity.io/v1alpha1
kind: Stag
";
    let findings = lint(&Manifests::parse("x.yaml", text), &STEPS);
    let lines: Vec<usize> =
        findings.iter().filter_map(|finding| finding.place.as_ref()).map(|place| place.line).collect();
    assert!(lines.is_sorted(), "{}", told(&findings));
    for (line, hint) in [
        (3, "only lower-case letters"),
        (3, "did you mean \"labels\"?"),
        (7, "true or false"),
        (7, "did you mean \"stages\"?"),
        (12, "takes a map"),
        (14, "apiVersion is kargo.akuity.io/v1alpha1"),
        (20, "did you mean \"Stage\"?"),
    ] {
        let here = findings.iter().any(|finding| {
            finding.place.as_ref().is_some_and(|place| place.line == line) && finding.message.contains(hint)
        });
        assert!(here, "line {line}: {hint}\n{}", told(&findings));
    }
    assert!(findings.iter().any(|finding| finding.rule == Rule::Syntax));
}

#[test]
fn what_is_indented_wrongly_is_told_with_what_was_probably_meant() {
    let spec = "requestedFreight:\n- origin:\n  kind: Warehouse\n  name: main\n  sources: {direct: true}";
    let findings = Manifests::parse("x.yaml", document("Stage", "dev", spec)).findings().to_vec();
    let unknown = findings.iter().filter(|finding| finding.rule == Rule::UnknownField);
    let hints: Vec<&Finding> = unknown.filter(|finding| finding.message.contains("\"origin\" above")).collect();
    assert_eq!(hints.iter().map(|finding| marked(finding)).collect::<Vec<_>>(), ["kind", "name"]);
    for (text, hint) in [
        ("apiVersion: kargo.akuity.io/v1alpha1\nkind: Stage\nmetadata:\n\tname: x\n", "blanks instead of tabs"),
        ("apiVersion: kargo.akuity.io/v1alpha1\nspec:\n    a: 1\n  b: 2\n", "The indentation here"),
    ] {
        let finding = one(Manifests::parse("x.yaml", text).findings().to_vec(), text);
        assert!(finding.rule == Rule::Syntax && finding.message.contains(hint), "{finding}");
        assert!(!finding.message.contains(" at char "), "{finding}");
    }
}

#[test]
fn a_finding_looks_like_a_compilers_message() {
    let finding = in_document(
        "Warehouse",
        "subscriptions:\n- image:\n    repoUrl: ghcr.io/acme/app\n    repoURL: ghcr.io/acme/app",
    );
    assert_eq!(
        finding.to_string(),
        "error[unknown-field]: There is no field \"repoUrl\" in spec.subscriptions[0].image; did you mean \"repoURL\"?\n  --> x.yaml:7:7 (Warehouse shop/dev, spec.subscriptions[0].image.repoUrl)\n   |\n7  |       repoUrl: ghcr.io/acme/app\n   |       ^^^^^^^"
    );
}

#[test]
fn templates_around_manifests_are_not_evaluated_and_that_is_said() {
    let chart = "apiVersion: kargo.akuity.io/v1alpha1\nkind: Stage\nmetadata:\n  name: {{ .Values.name }}\n";
    let finding = one(Manifests::parse("templates/stage.yaml", chart).findings().to_vec(), chart);
    assert_eq!((finding.rule, finding.place.as_ref().unwrap().line), (Rule::NotEvaluated, 4), "{finding}");
    assert!(finding.message.contains("helm template"), "{finding}");
    let overlay = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [stage.yaml]\n";
    let finding = one(Manifests::parse("kustomization.yaml", overlay).findings().to_vec(), overlay);
    assert!(finding.rule == Rule::NotEvaluated && finding.message.contains("kustomize build"), "{finding}");
    let control =
        "apiVersion: kargo.akuity.io/v1alpha1\nkind: Stage\n{{- if $enabled }}\nmetadata: {name: a}\n{{- end }}\n";
    let finding = one(Manifests::parse("templates/stage.yaml", control).findings().to_vec(), control);
    assert_eq!(
        (finding.rule, finding.place.as_ref().unwrap().line, marked(&finding).as_str()),
        (Rule::NotEvaluated, 3, "{{"),
        "{finding}"
    );
    // Links are templates of another kind, and braces of an analysis template are none of Helm's.
    let links = document(
        "ProjectConfig",
        "shop",
        "freightLinks: [{title: x, url: 'https://x/{{ .freight.alias }}{{ if .freight }}a{{ end }}'}]",
    );
    assert_eq!(Manifests::parse("x.yaml", links).findings(), []);
    assert_eq!(
        found(&[stage("- uses: copy\n  config: {inPath: '${{ vars.x ?? 1 }}', outPath: \"{{args.url}}\"}")]),
        []
    );
}

#[test]
fn what_is_commercial_is_refused_by_name_with_what_to_write() {
    let request = "requestedFreight: [{origin: {kind: Warehouse, name: a}, sources: {direct: true}}]\n";
    let finding = in_document("Stage", &format!("{request}targets: {{selectors: []}}"));
    assert_eq!(
        (finding.rule, finding.severity, marked(&finding).as_str()),
        (Rule::Commercial, Severity::Error, "targets")
    );
    assert!(finding.message.contains("a stage for each target"), "{finding}");
    let finding = in_document("Promotion", "stage: dev\nfreight: abc\ntarget: eu");
    assert_eq!((finding.rule, finding.severity, path(&finding)), (Rule::Commercial, Severity::Error, "spec.target"));
    assert!(finding.message.contains("write a stage for each target"), "{finding}");
    let windows = document("ProjectConfig", "shop", "promotionWindows: [{name: nights, kind: Deny}]");
    let manifests = Manifests::parse("x.yaml", windows);
    let finding = one(manifests.findings().to_vec(), "windows");
    assert_eq!((finding.rule, finding.severity), (Rule::Commercial, Severity::Warning), "{finding}");
    assert!(finding.message.contains("hold the stages, or promote by hand"), "{finding}");
    assert!(manifests.to_yaml().contains("nights"));
    for (group, kind, severity, hint) in [
        ("kargo.akuity.io", "Target", Severity::Error, "a stage for each target"),
        ("kargo.akuity.io", "PromotionRequest", Severity::Error, "a stage for each target"),
        ("ee.kargo.akuity.io", "CustomPromotionStep", Severity::Warning, "register a step"),
        ("ee.kargo.akuity.io", "EventRouter", Severity::Warning, "events"),
        ("ee.kargo.akuity.io", "MessageChannel", Severity::Warning, "steps::send_message"),
        ("ee.kargo.akuity.io", "ClusterMessageChannel", Severity::Warning, "steps::send_message"),
        ("ee.kargo.akuity.io", "SomethingNew", Severity::Warning, "not read here"),
    ] {
        let text = format!("apiVersion: {group}/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\n");
        let finding = one(Manifests::parse("x.yaml", text).findings().to_vec(), kind);
        assert_eq!((finding.rule, finding.severity), (Rule::Commercial, severity), "{finding}");
        assert!(finding.message.contains(kind) && finding.message.contains(hint), "{finding}");
    }
}
