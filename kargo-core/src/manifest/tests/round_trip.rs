//! What is loaded, written and loaded again is the same, and nothing that was said is lost on the way but what holds anyway.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::manifest::duration;
use crate::manifest::reader::{Node, read};

/// What holds when it is not said, by the end of its path: the one thing that may be in one of the two texts alone.
fn defaults() -> Vec<(&'static str, Value)> {
    let of_lists = [
        "spec/vars",
        "steps/*/vars",
        "spec/steps",
        "spec/promotionPolicies",
        "subscriptions/*/*/includePaths",
        "subscriptions/*/*/allowTagsRegexes",
        "subscriptions/*/*/ignoreTagsRegexes",
        "stageSelector/matchExpressions",
    ];
    let of_maps =
        ["steps/*/config", "steps/*/retry", "metadata/labels", "metadata/annotations", "sources/autoPromotionOptions"];
    let values = [
        ("spec/interval", json!("5m0s")),
        ("spec/freightCreationPolicy", json!("Automatic")),
        ("subscriptions/*/*/strictSemvers", json!(true)),
        ("subscriptions/*/*/blobless", json!(false)),
        ("subscriptions/*/*/cacheByTag", json!(false)),
        ("subscriptions/*/*/insecureSkipTLSVerify", json!(false)),
        ("origin/kind", json!("Warehouse")),
        ("sources/direct", json!(false)),
        ("sources/availabilityStrategy", json!("OneOf")),
        ("autoPromotionOptions/selectionPolicy", json!("NewestFreight")),
        ("steps/*/continueOnError", json!(false)),
        ("retry/errorThreshold", json!(0)),
        ("task/kind", json!("PromotionTask")),
        ("analysisTemplates/*/kind", json!("AnalysisTemplate")),
        ("promotionPolicies/*/autoPromotionEnabled", json!(false)),
        ("autoRollback/onPromotion", json!([])),
        ("autoRollback/onVerification", json!(["Failed"])),
        ("steps/*/if", json!("")),
        ("vars/*/value", json!("")),
        ("args/*/value", json!("")),
        ("charts/*/name", json!("")),
        ("metadata/name", json!("")),
        ("promotionTemplate", json!({"spec": {}})),
        ("immutable", json!(false)),
    ];
    let lists = of_lists.into_iter().map(|path| (path, json!([])));
    let maps = of_maps.into_iter().map(|path| (path, json!({})));
    values.into_iter().chain(lists).chain(maps).collect()
}

/// Fields in which anything may stand: there nothing is a default.
const ANYTHING: [&str; 4] =
    ["steps/*/config", "subscriptions/*/*/config", "artifacts/*/metadata", "AnalysisTemplate/spec"];

fn ends_in(path: &[String], pattern: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let from = path.len().checked_sub(pattern.len());
    from.is_some_and(|from| path[from..].iter().zip(&pattern).all(|(one, wanted)| *wanted == "*" || one == wanted))
}

/// A document in one form: without what holds anyway, and with durations and times as they are written.
fn plain(value: &Value, path: &mut Vec<String>, defaults: &[(&str, Value)]) -> Value {
    if ANYTHING.iter().any(|pattern| ends_in(path, pattern)) {
        return value.clone();
    }
    match value {
        Value::Object(fields) => {
            let mut kept = serde_json::Map::new();
            for (key, inner) in fields {
                path.push(key.clone());
                let inner = plain(inner, path, defaults);
                let holds_anyway = defaults.iter().any(|(end, default)| *default == inner && ends_in(path, end));
                path.pop();
                if !holds_anyway && !inner.is_null() {
                    kept.insert(key.clone(), inner);
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) if path.iter().any(|key| key == "autoRollback") => {
            // A set, whatever the order.
            let mut sorted = items.clone();
            sorted.sort_by_key(Value::to_string);
            Value::Array(sorted)
        }
        Value::Array(items) => {
            let item = |(index, item): (usize, &Value)| {
                path.push(index.to_string());
                let item = plain(item, path, defaults);
                path.pop();
                item
            };
            Value::Array(items.iter().enumerate().map(item).collect())
        }
        Value::String(text) => {
            let is = |end: &str| ends_in(path, end);
            if is("interval") || is("requiredSoakTime") || is("retry/timeout") {
                return duration::write(duration::parse(text).unwrap()).into();
            }
            if is("discoveredAt") {
                return text.parse::<jiff::Timestamp>().unwrap().to_string().into();
            }
            value.clone()
        }
        _ => value.clone(),
    }
}

/// What the documents of a text say, without secrets, which are never written.
fn said(text: &str) -> Vec<Value> {
    let (documents, _) = read(text);
    let documents = documents.iter().map(Node::json).filter(|document| document["kind"] != "Secret");
    let defaults = defaults();
    let kind = |document: &Value| document["kind"].as_str().unwrap_or_default().replace("ClusterAnalysis", "Analysis");
    documents.map(|document| plain(&document, &mut vec![kind(&document)], &defaults)).collect()
}

/// As [`assert_same`], and the text that is written says what the other does.
fn assert_kept(name: &str, text: &str) {
    assert_same(name, text);
    let written = Manifests::parse(name, text).to_yaml();
    for (before, after) in said(text).iter().zip(&said(&written)) {
        assert_eq!(before, after, "{name}:\n{written}");
    }
    assert_eq!(said(text).len(), said(&written).len());
}

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
        // What older Kargos wrote is written in today's words.
        match name.as_str() {
            "mechanisms.yaml" | "old-steps.yaml" => assert_same(&name, &text),
            _ => assert_kept(&name, &text),
        }
    }
}

#[test]
fn a_secret_is_never_written() {
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: chat, namespace: shop}\nstringData: {token: hunter2}\n";
    let manifests = Manifests::parse("x.yaml", format!("{}---\n{secret}", warehouse()));
    let written: Vec<bool> = manifests.iter().map(|manifest| manifest.to_yaml().is_some()).collect();
    assert_eq!(written, [true, false]);
    assert!(
        !manifests.to_yaml().contains("hunter2") && !manifests.to_yaml().contains("chat"),
        "{}",
        manifests.to_yaml()
    );
}

#[test]
fn what_a_field_would_lose_is_seen() {
    // The comparison that the other tests make is not blind.
    let text = warehouse();
    for (from, to) in [
        ("image: {repoURL: ghcr.io/acme/app}", "image: {repoURL: ghcr.io/acme/app, discoveryLimit: 7}"),
        ("name: main", "name: other"),
        ("spec:", "spec:\n  interval: 6m"),
    ] {
        assert_ne!(said(&text), said(&text.replace(from, to)), "{to}");
    }
    assert_eq!(
        said(&text),
        said(&text.replace("spec:", "spec:\n  interval: 300s\n  freightCreationPolicy: Automatic"))
    );
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

/// `name: value` when there is a value.
fn field(name: &'static str, value: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    prop::option::of(value)
        .prop_map(move |value| value.map(|value| format!(", {name}: {value}")).unwrap_or_default())
        .boxed()
}

/// Several fields, each of which may be there.
fn fields(fields: Vec<BoxedStrategy<String>>) -> BoxedStrategy<String> {
    fields.prop_map(|fields| fields.concat().trim_start_matches(", ").to_owned()).boxed()
}

fn words(words: &[&'static str]) -> BoxedStrategy<String> {
    prop::sample::select(words.to_vec()).prop_map(str::to_owned).boxed()
}

fn flag() -> BoxedStrategy<String> {
    any::<bool>().prop_map(|flag| flag.to_string()).boxed()
}

fn listed(item: impl Strategy<Value = String> + 'static, count: std::ops::Range<usize>) -> BoxedStrategy<String> {
    prop::collection::vec(item, count).prop_map(|items| format!("[{}]", items.join(", "))).boxed()
}

fn any_warehouse() -> impl Strategy<Value = String> {
    let tags = || {
        vec![
            field("strictSemvers", flag()),
            field("allowTagsRegexes", listed(words(&["'^v\\d+$'", "rc"]), 0..3)),
            field("ignoreTagsRegexes", listed(words(&["'^latest$'"]), 0..2)),
            field("discoveryLimit", (1..=100_u32).prop_map(|limit| limit.to_string())),
            field("insecureSkipTLSVerify", flag()),
        ]
    };
    let git = [
        vec![
            field("commitSelectionStrategy", words(&["NewestFromBranch", "NewestTag", "SemVer", "Lexical"])),
            field("branch", words(&["main", "release/1.x"])),
            field("semverConstraint", words(&["'^1.2'", "'>=1 <3'"])),
            field("includePaths", listed(words(&["app", "'glob:a/**'", "'regex:^b'"]), 0..3)),
            field("blobless", flag()),
            field("since", words(&["2026-01-01T00:00:00Z"])),
            field("expressionFilter", words(&["'id != \"\"'"])),
        ],
        tags(),
    ]
    .concat();
    let image = [
        vec![
            field("imageSelectionStrategy", words(&["SemVer", "Lexical", "NewestBuild"])),
            field("constraint", words(&["'^1'", "1.x"])),
            field("platform", words(&["linux/amd64", "linux/arm64/v8"])),
            field("cacheByTag", flag()),
        ],
        tags(),
    ]
    .concat();
    let chart = vec![field("semverConstraint", words(&["'1.x'"])), field("discoveryLimit", words(&["3"]))];
    let subscriptions = (name(), fields(git), fields(image), fields(chart), prop::option::of(text())).prop_map(
        |(name, git, image, chart, own)| {
            let own = own.map(|own| format!(", {{name: {name}-own, model: {{config: {{a: {}}}}}}}", quoted(&own))).unwrap_or_default();
            format!("[{{name: {name}, git: {{repoURL: 'https://x/y', {git}}}}}, {{image: {{repoURL: x/y, {image}}}}}, {{chart: {{repoURL: 'oci://x/z', {chart}}}}}{own}]")
        },
    );
    let rest = vec![
        field("shard", name()),
        field("interval", (1..100_000_u32).prop_map(|seconds| format!("{seconds}s"))),
        field("freightCreationPolicy", words(&["Automatic", "Manual"])),
        field("freightCreationCriteria", words(&["{expression: 'true'}"])),
    ];
    (name(), subscriptions, fields(rest)).prop_map(|(name, subscriptions, rest)| {
        document("Warehouse", &name, &format!("{{subscriptions: {subscriptions}, {rest}}}"))
    })
}

fn any_project_config() -> impl Strategy<Value = String> {
    let operator = prop_oneof![
        words(&["operator: Exists", "operator: DoesNotExist"]),
        (words(&["In", "NotIn"]), listed(name(), 1..3))
            .prop_map(|(operator, values)| format!("operator: {operator}, values: {values}")),
    ];
    let expression = (name(), operator).prop_map(|(key, operator)| format!("{{key: {key}, {operator}}}"));
    let selector = (
        0..1_000_000_u32,
        fields(vec![field("matchLabels", words(&["{a: b}"])), field("matchExpressions", listed(expression, 0..3))]),
        words(&["", "'glob:p*", "'regex:^p"]),
    )
        .prop_map(|(number, rest, kind)| match kind.as_str() {
            "" => format!("{{name: s{number}, {rest}}}"),
            pattern => format!("{{name: {pattern}{number}', {rest}}}"),
        });
    let rollback = fields(vec![
        field("onPromotion", words(&["[]", "[Failed]", "[Failed, Errored]"])),
        field("onVerification", words(&["[]", "[Failed]", "[Error, Failed]"])),
    ]);
    let policy = (
        selector,
        field("autoPromotionEnabled", flag()),
        field("autoRollback", rollback.prop_map(|fields| format!("{{{fields}}}"))),
    )
        .prop_map(|(selector, promotes, rollback)| format!("{{stageSelector: {selector}{promotes}{rollback}}}"));
    let link = (text(), field("description", text().prop_map(|text| quoted(&text)))).prop_map(|(title, rest)| {
        format!("{{title: {}, url: 'https://x/{{{{ .freight.alias }}}}'{rest}}}", quoted(&format!("t{title}")))
    });
    let rest = fields(vec![
        field("promotionPolicies", listed(policy, 0..3)),
        field("freightLinks", listed(link, 1..3)),
        field("webhookReceivers", words(&["[{name: h, github: {secretRef: {name: s}}}]"])),
    ]);
    rest.prop_map(|rest| document("ProjectConfig", "shop", &format!("{{{rest}}}")))
}

fn any_task() -> impl Strategy<Value = String> {
    let vars = prop::collection::btree_map(name(), prop::option::of(text()), 0..3);
    (words(&["PromotionTask", "ClusterPromotionTask"]), name(), vars, listed(step(), 1..4)).prop_map(
        |(kind, name, vars, steps)| {
            let var = |(name, value): (&String, &Option<String>)| {
                let value = value.as_ref().map(|value| format!(", value: {}", quoted(value))).unwrap_or_default();
                format!("{{name: {name}{value}}}")
            };
            let vars: Vec<String> = vars.iter().map(var).collect();
            let text = document(&kind, &name, &format!("{{vars: [{}], steps: {steps}}}", vars.join(", ")));
            if kind.starts_with("Cluster") { text.replace(", namespace: shop", "") } else { text }
        },
    )
}

fn any_freight() -> impl Strategy<Value = String> {
    let said = |name| field(name, text().prop_map(|text| quoted(&format!("a{text}"))));
    let commit = fields(vec![
        said("branch"),
        said("tag"),
        said("message"),
        said("author"),
        said("committer"),
        field("subscriptionName", name()),
    ]);
    let commit = (name(), commit).prop_map(|(id, rest)| format!("{{repoURL: 'https://x/y', id: {id}, {rest}}}"));
    let image =
        (name(), fields(vec![field("annotations", words(&["{a.b/c: '1.10'}"])), field("subscriptionName", name())]))
            .prop_map(|(tag, rest)| format!("{{repoURL: x/y, tag: {tag}, digest: 'sha256:0', {rest}}}"));
    let chart = (
        words(&["repoURL: 'oci://x/z'", "repoURL: 'https://x', name: z", "repoURL: 'oci://x/z', name: ''"]),
        fields(vec![field("subscriptionName", name())]),
    )
        .prop_map(|(place, rest)| format!("{{{place}, version: '1.10', {rest}}}"));
    let other = (name(), text()).prop_map(|(name, value)| {
        format!(
            "{{artifactType: model, subscriptionName: {name}, version: '7', metadata: {{a: [{}]}}}}",
            quoted(&value)
        )
    });
    let lists = fields(vec![
        field("charts", listed(chart, 0..3).prop_filter("one at least", |list| list != "[]")),
        field("images", listed(image, 1..3)),
        field("artifacts", listed(other, 1..3)),
        field("alias", name()),
        field("discoveredAt", words(&["2026-01-01T00:00:00Z", "'2026-01-01T02:00:00+02:00'"])),
    ]);
    (field("generateName", name()), listed(commit, 1..3), lists).prop_map(|(generated, commits, lists)| {
        format!("{{apiVersion: kargo.akuity.io/v1alpha1, kind: Freight, metadata: {{namespace: shop{generated}}}, origin: {{kind: Warehouse, name: main}}, commits: {commits}, {lists}}}\n")
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
        assert_kept("x.yaml", &text);
    }

    #[test]
    fn any_warehouse_task_freight_and_rules_stay_what_they_are(
        text in prop_oneof![any_warehouse(), any_project_config(), any_task(), any_freight()],
    ) {
        let read = Manifests::parse("x.yaml", text.as_str());
        prop_assert!(read.findings().is_empty(), "{}\n{}", text, told(read.findings()));
        assert_kept("x.yaml", &text);
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
        "apiVersion: kargo.akuity.io/v1alpha1\nkind: Freight\nmetadata: {namespace: shop, generateName: fox-}\nalias: a\ndiscoveredAt: 2026-01-01T00:00:00Z\norigin: {kind: Warehouse, name: main}\ncommits: [{repoURL: 'https://x/y', id: abc, branch: b, message: m, author: a, committer: c}]\nimages: [{repoURL: x, tag: '1', digest: 'sha256:0', annotations: {a: b}}]\ncharts: [{repoURL: 'oci://x/z', version: '1.10', subscriptionName: z}, {repoURL: 'https://x', name: z, version: '2'}]\nartifacts: [{artifactType: t, subscriptionName: s, version: '1', metadata: {a: 1}}]\n".into(),
        "apiVersion: argoproj.io/v1alpha1\nkind: ClusterAnalysisTemplate\nmetadata: {name: b}\nspec: {metrics: [{name: x, provider: {web: {url: 'http://x'}}}]}\n".into(),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: shop}\ndata: {a: 'true', long: \"a\\nb\\n\"}\nbinaryData: {logo: iVBORw0=}\nimmutable: true\n".into(),
    ];
    for text in texts {
        assert_eq!(Manifests::parse("x.yaml", text.as_str()).findings(), [], "{text}");
        assert_kept("x.yaml", &text);
    }
}
