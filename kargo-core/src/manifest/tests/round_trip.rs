//! What is loaded, written and loaded again is the same.

use proptest::prelude::*;

use super::*;

fn assert_same(name: &str, text: &str) {
    let read = Manifests::parse(name, text);
    let written = read.to_yaml();
    let again = Manifests::parse(name, written.as_str());
    let errors: Vec<Finding> = again.findings().iter().filter(|finding| finding.is_error()).cloned().collect();
    assert_eq!(errors, [], "{written}");
    assert!(read.iter().eq(again.iter()), "{name}:\n{written}");
    assert_eq!(again.to_yaml(), written);
}

#[test]
fn the_examples_and_the_fixtures_stay_what_they_are() {
    for (name, text) in fixtures() {
        assert_same(&name, &text);
    }
}

/// Names that no reader of YAML takes for anything else.
fn name() -> impl Strategy<Value = String> {
    "k[a-z0-9]{1,8}"
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text as it could be the value of a variable or of a configuration.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,16}",
        Just("${{ vars.x }}".to_owned()),
        Just("1.10".to_owned()),
        Just("yes".to_owned()),
        Just("two\nlines\n".to_owned()),
        Just("# no comment: - x".to_owned()),
    ]
}

fn step() -> impl Strategy<Value = String> {
    let config = prop::collection::btree_map(name(), text(), 0..4);
    let vars = prop::collection::btree_map(name(), text(), 0..3);
    (
        prop::sample::select(STEPS.to_vec()),
        prop::option::of(text()),
        any::<bool>(),
        prop::option::of(1_u64..10_000),
        0_u32..4,
        vars,
        config,
    )
        .prop_map(|(uses, condition, goes_on, seconds, errors, vars, config)| {
            let mut step = format!("{{uses: {uses}, continueOnError: {goes_on}, config: {}", serde_json::json!(config));
            if let Some(condition) = condition {
                step += &format!(", if: {}", quoted(&condition));
            }
            if let Some(seconds) = seconds {
                step += &format!(", retry: {{timeout: {seconds}s, errorThreshold: {errors}}}");
            }
            let vars: Vec<String> =
                vars.iter().map(|(name, value)| format!("{{name: {name}, value: {}}}", quoted(value))).collect();
            step + &format!(", vars: [{}]}}", vars.join(", "))
        })
}

fn any_stage() -> impl Strategy<Value = String> {
    let sources =
        (any::<bool>(), prop::collection::btree_set(name(), 1..4), any::<bool>(), prop::option::of(0_u64..1_000_000));
    (name(), prop::collection::btree_map(name(), sources, 1..4), prop::collection::vec(step(), 0..4), prop::option::of(text())).prop_map(
        |(stage, requests, steps, label)| {
            let requests: Vec<String> = requests
                .iter()
                .map(|(origin, (direct, stages, all, soak))| {
                    let stages: Vec<&str> = stages.iter().map(String::as_str).collect();
                    let strategy = if *all { "All" } else { "OneOf" };
                    let soak = soak.map(|soak| format!(", requiredSoakTime: {soak}s")).unwrap_or_default();
                    format!("{{origin: {{kind: Warehouse, name: {origin}}}, sources: {{direct: {direct}, stages: [{}], availabilityStrategy: {strategy}{soak}}}}}", stages.join(", "))
                })
                .collect();
            let label = label.map(|label| format!(", labels: {{a/b: {}}}", quoted(&label))).unwrap_or_default();
            format!(
                "apiVersion: kargo.akuity.io/v1alpha1\nkind: Stage\nmetadata: {{name: {stage}, namespace: shop{label}}}\nspec: {{requestedFreight: [{}], promotionTemplate: {{spec: {{steps: [{}]}}}}}}\n",
                requests.join(", "),
                steps.join(", ")
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_stage_stays_what_it_is(text in any_stage()) {
        let read = Manifests::parse("x.yaml", text.as_str());
        prop_assert!(read.findings().iter().all(|finding| !finding.is_error()), "{}\n{}", text, told(read.findings()));
        assert_same("x.yaml", &text);
    }
}

#[test]
fn every_kind_stays_what_it_is() {
    let texts = [
        document("Warehouse", "main", "shard: eu\ninterval: 90s\nfreightCreationPolicy: Manual\nfreightCreationCriteria: {expression: 'true'}\nsubscriptions:\n- name: a\n  git: {repoURL: 'git@git.example:x/y', commitSelectionStrategy: Lexical, strictSemvers: false, ignoreTagsRegexes: [rc], blobless: true, since: 2026-01-01T00:00:00Z, expressionFilter: 'id != \"\"'}\n- name: m\n  model: {config: {a: [1, {b: null}]}, discoveryLimit: 3}\n- chart: {repoURL: 'https://charts.example', name: x, semverConstraint: '>1'}"),
        document("ProjectConfig", "shop", "promotionPolicies:\n- stageSelector: {name: 'regex:^prod', matchLabels: {a: b}, matchExpressions: [{key: k, operator: NotIn, values: [v]}, {key: k, operator: Exists}]}\n  autoPromotionEnabled: true\n  autoRollback: {onPromotion: [Errored], onVerification: [Error, Failed]}\n- stageSelector: {}\n  autoRollback: {}\nwebhookReceivers:\n- name: hook\n  github: {secretRef: {name: s}}\nstageLinks:\n- {title: x, url: 'https://x'}"),
        document("PromotionTask", "task", "vars: [{name: a}, {name: b, value: c}]\nsteps: [{uses: copy, config: {inPath: a}}]"),
        document("Promotion", "p", "stage: dev\norigin: {kind: Warehouse, name: main}\nvars: [{name: a, value: b}]\nsteps: [{uses: copy}]"),
        document("Stage", "dev", "vars: [{name: a, value: b}]\nrequestedFreight: [{origin: {kind: Warehouse, name: main}, sources: {stages: [up], autoPromotionOptions: {selectionPolicy: MatchUpstream}}}]\npromotionTemplate: {spec: {vars: [{name: c, value: d}], steps: [{task: {name: t, kind: ClusterPromotionTask}, as: t, vars: [{name: e}]}]}}\nverification: {analysisTemplates: [{name: a}, {name: b, kind: ClusterAnalysisTemplate}], analysisRunMetadata: {labels: {l: m}}, args: [{name: an-arg, value: v}]}"),
        "apiVersion: kargo.akuity.io/v1alpha1\nkind: Freight\nmetadata: {namespace: shop, name: ''}\nalias: a\ndiscoveredAt: 2026-01-01T00:00:00Z\norigin: {kind: Warehouse, name: main}\ncommits: [{repoURL: 'https://x/y', id: abc, branch: b, message: m, author: a, committer: c}]\nimages: [{repoURL: x, tag: '1', digest: 'sha256:0', annotations: {a: b}}]\nartifacts: [{artifactType: t, subscriptionName: s, version: '1', metadata: {a: 1}}]\n".into(),
        "apiVersion: argoproj.io/v1alpha1\nkind: ClusterAnalysisTemplate\nmetadata: {name: b}\nspec: {metrics: [{name: x, provider: {web: {url: 'http://x'}}}]}\n".into(),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: shop}\ndata: {a: 'true', long: \"a\\nb\\n\"}\n".into(),
    ];
    for text in texts {
        assert_eq!(Manifests::parse("x.yaml", text.as_str()).findings(), [], "{text}");
        assert_same("x.yaml", &text);
    }
}
