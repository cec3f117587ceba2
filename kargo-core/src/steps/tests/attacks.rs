//! What somebody writes who can write the repository's files, and no more: nothing of it makes `helm` or `kustomize` read the host's files,
//! run a program or ask a server. The program is `sh`, as in [`programs`](super::programs).

use super::*;
use crate::steps::program::Program;
use crate::steps::typed::Typed;
use crate::steps::{helm, kustomize};
use crate::{ErrorKind, Retry};

const SHELL: Program = Program { name: "sh", install: "a shell" };
const BUILD: Typed<kustomize::Build> = Typed(kustomize::Build { kustomize: SHELL, helm: SHELL, remote_bases: false });
const SAYS: (&str, &str) = ("build", "for argument; do echo \"# $argument\"; done\necho 'kind: A'\n");

/// The step must be refused before its program runs, with all of `parts`.
#[track_caller]
fn refuses(step: &dyn Step, files: &[(&str, &str)], config: &Value, parts: &[&str]) {
    block_on(async {
        let workspace = workspace(files).await;
        let outcome = call(step, &workspace, config).await;
        let told = match &outcome {
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => error.to_string(),
            Ok(StepOutcome::Failed { reason }) => reason.clone(),
            other => panic!("{files:?} {config}: {other:?}"),
        };
        for part in parts {
            assert!(told.contains(part), "{part:?} is not in {told:?}: {files:?}");
        }
    });
}

#[test]
fn no_name_of_a_file_with_values_is_two() {
    let step = Typed(helm::Template(SHELL));
    for (file, path) in
        [("v.yaml,/etc/hosts", "v.yaml,/etc/hosts"), ("a\"b.yaml", "a\"b.yaml"), ("d,/root/v.yaml", "d,/root/v.yaml")]
    {
        let files = [("Chart.yaml", "name: shop\n"), ("template", "exit 1\n"), (file, "a: 1\n")];
        let config = json!({"path": ".", "outPath": "o.yaml", "valuesFiles": [path]});
        refuses(&step, &files, &config, &[file.split('"').next().unwrap(), "a comma, a quote or a line break"]);
    }
}

#[test]
fn no_value_of_a_configuration_is_an_option_a_path_or_two_entries_of_a_list() {
    let template = Typed(helm::Template(SHELL));
    let files = [("Chart.yaml", "name: shop\n"), ("template", "exit 1\n"), SAYS, ("kustomization.yaml", "")];
    let set = |key: &str, value: &str, literal: bool| json!([{"key": key, "value": value, "literal": literal}]);
    for (field, value, part) in [
        ("releaseName", json!("--post-renderer=./evil.sh"), "`releaseName`"),
        ("releaseName", json!("../../x"), "`releaseName`"),
        ("releaseName", json!("a/b"), "`releaseName`"),
        ("namespace", json!("../x"), "`namespace`"),
        ("apiVersions", json!(["a/v1,b/v1"]), "`apiVersions`"),
        ("apiVersions", json!(["\"a\""]), "`apiVersions`"),
        ("kubeVersion", json!("-x"), "`kubeVersion`"),
        ("setValues", set("a", "1,image.repository=evil", false), "the value of \"a\" has a comma"),
        ("setValues", set("a", "1\\\\,b=2", false), "the value of \"a\" has a comma"),
        ("setValues", set("a", "{1},b={2}", false), "the value of \"a\" has a comma"),
        ("setValues", set("a,b", "1", false), "has a comma in it"),
        ("setValues", set("a=1,b", "1", false), "has `=` in it"),
        ("setValues", set("a=1", "1", true), "has `=` in it"),
    ] {
        let mut config = json!({"path": ".", "outPath": "o.yaml"});
        config[field] = value;
        refuses(&template, &files, &config, &[part]);
    }
    for helm in [json!({"apiVersions": ["a,b"]}), json!({"kubeVersion": "1 --x"})] {
        let config = json!({"path": ".", "outPath": "o.yaml", "plugin": {"helm": helm}});
        refuses(&BUILD, &files, &config, &["which is no version"]);
    }
    // And what is meant goes through.
    for set in [set("a", "{1,2}", false), set("a", "1\\,2", false), set("a", "1,b=2", true), set("a\\,b", "x=y", false)]
    {
        let config = json!({"path": ".", "outPath": "o.yaml", "setValues": set});
        assert!(Step::validate(&template, &config).is_ok(), "{config}");
    }
}

#[test]
fn no_file_of_a_chart_leads_out_of_the_workspace() {
    let depends = |repository: &str| {
        format!("name: shop\ndependencies:\n- {{name: a, repository: {repository:?}, version: 1.0.0}}\n")
    };
    let plain = "name: shop\nversion: 1.0.0\n";
    for repository in ["file:///etc/chart", "file://UP/etc", "FILE://UP/etc", "file://a/../UP/etc"] {
        for file in [
            "c/Chart.yaml",
            "c/requirements.yaml",
            "c/Chart.lock",
            "c/requirements.lock",
            "c/charts/b/Chart.yaml",
            "c/charts/b/requirements.yaml",
            "c/charts/b/charts/d/Chart.lock",
        ] {
            let up = format!("{}..", "../".repeat(file.matches('/').count()));
            let outside = depends(&repository.replace("UP", &up));
            let files = [
                ("c/Chart.yaml", plain),
                ("dependency", "exit 1\n"),
                ("template", "exit 1\n"),
                (file, outside.as_str()),
            ];
            let parts = ["outside of the workspace", file];
            refuses(&Typed(helm::UpdateChart(SHELL)), &files, &json!({"path": "c"}), &parts);
            let config = json!({"path": "c", "outPath": "o.yaml", "buildDependencies": true});
            refuses(&Typed(helm::Template(SHELL)), &files, &config, &parts);
        }
    }
    let outside = depends("file:///etc/chart");
    let hidden = "name: shop # nothing\u{2028}dependencies: [{name: a, repository: 'file:///etc'}]\n";
    for (files, part) in [
        // What a chart beside it depends on is looked at too.
        ([("c/Chart.yaml", depends("file://../e").as_str()), ("e/Chart.yaml", outside.as_str())], "e/Chart.yaml"),
        // However the fields are spelt.
        (
            [("c/Chart.yaml", outside.replace("repository", "REPO\u{17f}ITORY").as_str()), ("x", "")],
            "outside of the workspace",
        ),
        (
            [("c/Chart.yaml", outside.replace("dependencies", "Dependencies").as_str()), ("x", "")],
            "outside of the workspace",
        ),
        ([("c/Chart.yaml", "name: ../../shop\n"), ("x", "")], "is a path"),
        (
            [("c/Chart.yaml", "name: shop\ndependencies:\n- {name: ../../../etc/x, repository: ''}\n"), ("x", "")],
            "is a path",
        ),
        (
            [("c/Chart.yaml", "name: shop\ndependencies:\n- {name: a, alias: ../x, repository: ''}\n"), ("x", "")],
            "is a path",
        ),
        // Nor can it be hidden from a look at the file.
        ([("c/Chart.yaml", hidden), ("x", "")], "U+2028"),
        ([("c/Chart.yaml", "name: shop\n!!binary ZGVwZW5kZW5jaWVz: []\n"), ("x", "")], "tag"),
        ([("c/Chart.yaml", "name: &a shop\n<<: {dependencies: []}\n"), ("x", "")], "<<"),
    ] {
        let files = [&files[..], &[("template", "exit 1\n")]].concat();
        refuses(&Typed(helm::Template(SHELL)), &files, &json!({"path": "c", "outPath": "o.yaml"}), &[part]);
    }
}

#[test]
fn the_charts_beside_a_chart_are_there_with_those_beside_them() {
    let depends =
        |path: &str| format!("name: shop\ndependencies:\n- {{name: a, repository: 'file://{path}', version: 1.0.0}}\n");
    let files = [
        ("template", "[ -e other ] && exit 1\ncat b/Chart.yaml c/d/Chart.yaml\n".to_owned()),
        ("a/Chart.yaml", depends("../b")),
        ("b/Chart.yaml", depends("../c/d")),
        ("c/d/Chart.yaml", depends("../../a")),
        ("other/Chart.yaml", depends("../a")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    block_on(async {
        let workspace = workspace(&files).await;
        let config = json!({"path": "a", "outPath": "o.yaml", "valuesFiles": ["template"]});
        let outcome = call(&Typed(helm::Template(SHELL)), &workspace, &config).await;
        assert!(outcome.is_ok(), "{outcome:?}");
        contains(&tree(&workspace).await["o.yaml"], &["file://../c/d", "file://../../a"]);
    });
}

#[test]
fn a_kustomization_leads_to_no_server_no_program_and_nowhere_outside() {
    let chart = |field: &str, value: &str| format!("helmCharts: [{{{field}: {value}}}]");
    let generator = "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: x}\nname: shop\n";
    let container = "apiVersion: v1\nkind: X\nmetadata: {name: x, annotations: {config.kubernetes.io/function: 'exec: {path: ./evil.sh}'}}\n";
    let charts = [
        ("releaseName", "--post-renderer=./evil.sh"),
        ("RELEASENAME", "-x"),
        ("relea\u{17f}eName", "-x"),
        ("name", "-x"),
        ("name", "../../../etc"),
        ("name", "'a,/etc/x'"),
        ("version", "--x"),
        ("version", "../../../etc"),
        ("version", "-5"),
        ("repo", "--x"),
        ("repo", "file:///etc"),
        ("namespace", "-n"),
        ("nameTemplate", "-n"),
        ("kubeVersion", "-n"),
        ("apiVersions", "['a,b']"),
        ("digest", "-n"),
        ("valuesFile", "/etc/hosts"),
        ("valuesFile", "../../x"),
        ("valuesFile", "http://x/y"),
        ("additionalValuesFiles", "['v.yaml,/root/.kube/config']"),
        ("additionalValuesFiles", "['../../x']"),
        ("unknown", "x"),
    ];
    let mut rows: Vec<(String, &str)> = charts.iter().map(|(field, value)| (chart(field, value), *field)).collect();
    rows.extend(
        [
            ("resources: ['https://github.com/a/b?ref=--upload-pack=./evil.sh']", "`resources`"),
            ("RESOURCES: ['github.com/a/b']", "fetched from elsewhere"),
            ("bases: ['git::https://x/y']", "`bases`"),
            ("components: ['git@host:a/b']", "`components`"),
            ("resources: ['file:///etc/k']", "fetched from elsewhere"),
            ("resources: ['HTTP://169.254.169.254/x']", "fetched from elsewhere"),
            ("resources: [/etc/k]", "outside of the workspace"),
            ("resources: [../../etc]", "outside of the workspace"),
            ("resources: [none.yaml]", "none.yaml"),
            ("resources: [link]", "symbolic link"),
            ("crds: ['http://x/y']", "fetched from a server"),
            ("configurations: ['https://x/y']", "fetched from a server"),
            ("openapi: {path: 'http://x/y'}", "`openapi`"),
            ("patches: [{path: 'http://x/y'}]", "`patches`"),
            ("patchesJson6902: [{PATH: 'http:x'}]", "`patchesJson6902`"),
            ("patchesStrategicMerge: ['http://x/y']", "`patchesStrategicMerge`"),
            ("replacements: [{path: 'http://x/y'}]", "`replacements`"),
            ("configMapGenerator: [{files: ['key=http://x/y']}]", "`configMapGenerator`"),
            ("secretGenerator: [{envs: ['http://x/y']}]", "`secretGenerator`"),
            ("secretGenerator: [{env: 'http://x/y'}]", "`secretGenerator`"),
            ("secretGenerator: [{files: ['k=/etc/passwd']}]", "outside of the workspace"),
            ("helmGlobals: {configHome: ./home}", "`configHome`"),
            ("helmGlobals: {chartHome: /etc}", "`chartHome`"),
            ("helmGlobals: {chartHome: ../../etc}", "`chartHome`"),
            ("helmGlobals: {chartHome: ../../etc/x=y}", "`chartHome`"),
            ("helmChartInflationGenerator: [{chartName: a, helmBin: ./evil.sh}]", "`helmBin`"),
            ("helmChartInflationGenerator: [{chartName: -a}]", "`chartName`"),
            ("generators: [chart.yaml]", "`releaseName`"),
            ("transformers: [chart.yaml]", "`releaseName`"),
            ("validators: [container.yaml]", "are not run"),
            ("generators: [../patched]", "only `resources` may be there"),
            ("generators: [../chain]", "`releaseName`"),
            ("transformers: ['https://x/y']", "`transformers`"),
            ("transformers: ['{apiVersion: builtin, kind: PatchTransformer, path: \"http://x/y\"}']", "`path`"),
            ("transformers: ['{apiVersion: v1, kind: List, items: [{apiVersion: x/v1, kind: Y}]}']", "are not run"),
            (
                "generators: ['{apiVersion: builtin, kind: HelmChartInflationGenerator, items: [], releaseName: -x}']",
                "is not known",
            ),
            (
                "generators: ['{apiVersion: builtin, kind: ConfigMapGenerator, KIND: XList, envs: [\"http://x\"]}']",
                "`envs`",
            ),
            ("generators: ['a: [']", "neither a path nor YAML"),
            ("anything: else", "is not known"),
            ("namePrefix: a # nothing\u{85}helmGlobals: {configHome: x}", "U+0085"),
            ("!!binary aGVsbUNoYXJ0cw==: []", "tag"),
            ("commonLabels: &a {x: y}\nhelmGlobals: {<<: *a}", "<<"),
            ("- a", "no YAML map"),
            ("a: [", "not handed to a program"),
        ]
        .map(|(text, part)| (text.to_owned(), part)),
    );
    let inflates = format!("{generator}releaseName: --post-renderer=./evil.sh\n");
    for (text, part) in rows {
        let files = [
            SAYS,
            ("k/kustomization.yaml", text.as_str()),
            ("k/chart.yaml", inflates.as_str()),
            ("k/container.yaml", container),
            ("k/v.yaml,/root/.kube/config", "a: 1\n"),
            ("k/link", "->deep/er"),
            ("k/deep/er/kustomization.yaml", ""),
            ("patched/kustomization.yaml", "resources: [x.yaml]\nnamePrefix: --post-renderer\n"),
            ("patched/x.yaml", generator),
            ("chain/kustomization.yaml", "resources: [../last]\n"),
            ("last/kustomization.yaml", "resources: [../k/chart.yaml]\n"),
        ];
        refuses(&BUILD, &files, &json!({"path": "k", "outPath": "o.yaml"}), &[part]);
        // It is the same in what another refers to.
        let files = [&files[..], &[("top/kustomization.yaml", "resources: [../k]\n")]].concat();
        refuses(&BUILD, &files, &json!({"path": "top", "outPath": "o.yaml"}), &[part]);
    }
    // The directory's own path becomes part of such a list.
    let files = [
        SAYS,
        ("top/kustomization.yaml", "resources: ['../x,/root/.kube']\n"),
        ("x,/root/.kube/kustomization.yaml", "helmCharts: [{name: a, additionalValuesFiles: [config]}]\n"),
        ("x,/root/.kube/config", "a: 1\n"),
    ];
    refuses(&BUILD, &files, &json!({"path": "top", "outPath": "o.yaml"}), &["would split it"]);
}

#[test]
fn what_is_harmless_in_a_kustomization_goes_through() {
    let whole = "kind: Kustomization\nresources: [../base, d/x.yaml, ../build]\ncomponents: [../c]\nnamePrefix: a-\nimages: [{name: a, newTag: '1'}]\n\
                 commonAnnotations: {home: 'https://shop.example'}\nconfigMapGenerator:\n- {name: c, literals: ['url=https://shop.example'], \
                 files: [k=d/x.yaml]}\npatches:\n- path: d/x.yaml\n- patch: |-\n    - {op: add, path: /a, value: 'http://x'}\n\
                 transformers:\n- d/t.yaml\n- |-\n  apiVersion: builtin\n  kind: LabelTransformer\n  metadata: {name: l}\n  fieldSpecs: [{path: \
                 metadata/labels}]\n- ../t\n";
    let transformer = "apiVersion: builtin\nkind: NamespaceTransformer\nmetadata: {name: n, namespace: shop}\n";
    let charts = "resources: [../build]\nhelmGlobals: {chartHome: ../charts}\nhelmCharts:\n- name: shop\n  repo: oci://r.example/charts\n  version: '>=1.0.0 <2'\n  \
                  releaseName: shop\n  namespace: dev\n  valuesFile: v.yaml\n  valuesInline: {a: -1}\n  includeCRDs: true\n  apiVersions: \
                  [apps/v1/Deployment]\n";
    let files = [
        SAYS,
        ("k/kustomization.yaml", whole),
        ("k/d/x.yaml", "x: 1\n"),
        ("k/d/t.yaml", transformer),
        ("t/kustomization.yaml", "resources: [n.yaml]\n"),
        ("t/n.yaml", transformer),
        ("base/kustomization.yml", "resources: []\n"),
        ("c/kustomization.yaml", "kind: Component\n"),
        ("h/kustomization.yaml", charts),
        ("h/v.yaml", "a: 1\n"),
        ("charts/shop/Chart.yaml", "name: shop\n"),
    ];
    block_on(async {
        let workspace = workspace(&files).await;
        for (path, helm) in [("k", false), ("h", true)] {
            let outcome = call(&BUILD, &workspace, &json!({"path": path, "outPath": "o.yaml"})).await;
            assert!(outcome.is_ok(), "{outcome:?}");
            let told = tree(&workspace).await["o.yaml"].clone();
            assert_eq!(told.contains("# --enable-helm\n"), helm, "{told}");
        }
    });
}

#[test]
fn kustomize_finds_no_program_and_no_server() {
    let script = "echo \"# [$(/bin/ls \"$PATH\")] $HTTP_PROXY $HTTPS_PROXY $NO_PROXY\"\ngit --version && exit 1\necho 'kind: A'\n";
    let files = [("build", script), ("kustomization.yaml", "resources: []\n")];
    block_on(async {
        let workspace = workspace(&files).await;
        let outcome = call(&BUILD, &workspace, &json!({"path": ".", "outPath": "o.yaml"})).await;
        assert!(outcome.is_ok(), "{outcome:?}");
        let told = tree(&workspace).await["o.yaml"].clone();
        assert!(told.starts_with("# [] http://127.0.0.1:0 http://127.0.0.1:0 \n"), "{told}");
    });
}

#[test]
fn a_program_is_tried_again_only_when_the_network_was_in_its_way() {
    for (words, retry) in [
        ("Error: template: shop/x.yaml:1: nil pointer evaluating", Retry::Never),
        ("Error: can't get a valid version for 1 subchart(s)", Retry::Never),
        ("Error: looks like it is not a chart repository: dial tcp: connect: connection refused", Retry::Backoff),
        ("Error: failed to fetch https://c.example/index.yaml : 503 Service Unavailable", Retry::Backoff),
    ] {
        let script = format!("echo \"{words}\" >&2; exit 1\n");
        let files =
            [("template", script.as_str()), ("build", &script), ("dependency", &script), ("Chart.yaml", "name: a\n")];
        let files = [&files[..], &[("kustomization.yaml", "")]].concat();
        block_on(async {
            let workspace = workspace(&files).await;
            let (template, update) = (Typed(helm::Template(SHELL)), Typed(helm::UpdateChart(SHELL)));
            for step in [&template as &dyn Step, &update, &BUILD] {
                let config = if std::ptr::addr_eq(step, &update) {
                    json!({"path": "."})
                } else {
                    json!({"path": ".", "outPath": "o"})
                };
                let error = call(step, &workspace, &config).await.unwrap_err();
                assert_eq!(error.retry(), retry, "{error}");
                contains(error.message(), &[words]);
            }
        });
    }
}

#[test]
fn a_host_may_have_bases_fetched_by_https_and_charts_of_no_unknown_base_are_rendered() {
    let fetching = Typed(kustomize::Build { kustomize: SHELL, helm: SHELL, remote_bases: true });
    let config = json!({"path": ".", "outPath": "o.yaml"});
    for base in
        ["https://git.example/acme/base//app?ref=v1", "github.com/acme/base?ref=v1", "https://files.example/crds.yaml"]
    {
        let kustomization = format!("resources:\n- {base}\n");
        let files = [SAYS, ("kustomization.yaml", kustomization.as_str())];
        refuses(&BUILD, &files, &config, &["`resources`", base]);
        block_on(async {
            let workspace = workspace(&files).await;
            let outcome = call(&fetching, &workspace, &config).await;
            assert!(matches!(outcome, Ok(StepOutcome::Succeeded { .. })), "{base}: {outcome:?}");
            assert!(!tree(&workspace).await["o.yaml"].contains("--enable-helm"));
        });
        let with_chart = format!("{kustomization}helmCharts: [{{name: shop, repo: 'https://charts.example'}}]\n");
        let files = [SAYS, ("kustomization.yaml", with_chart.as_str())];
        refuses(&fetching, &files, &config, &["has charts, and bases that would be fetched"]);
        let plugins = format!("generators:\n- {base}\n");
        refuses(&fetching, &[SAYS, ("kustomization.yaml", plugins.as_str())], &config, &["`generators`", base]);
    }
    for base in [
        "file:///srv/repo.git",
        "git::ext::sh -c evil",
        "git@git.example:acme/base",
        "ssh://git.example/x",
        "http://git.example/x",
    ] {
        let kustomization = format!("resources: ['{base}']\n");
        refuses(&fetching, &[SAYS, ("kustomization.yaml", kustomization.as_str())], &config, &["by https alone"]);
    }
}
