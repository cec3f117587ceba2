//! `kustomize-build`, `helm-template`, `helm-update-chart`, with scripts in the place of the programs.
//!
//! The program is `sh`, and the first argument that the real ones get, such as `build`, is the script in the workspace that it runs.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::ErrorKind;
use crate::steps::program::Program;
use crate::steps::typed::Typed;
use crate::steps::{helm, kustomize};

const SHELL: Program = Program { name: "sh", install: "a shell" };
const MISSING: Program = Program { name: "kargo-no-such-program", install: "the program" };

const CHART: &str =
    "name: shop\ndependencies:\n- name: redis\n  repository: https://charts.example\n  version: 1.0.0\n";

/// Programs that kustomize starts are in no directory that it knows, so scripts name them by their path.
fn build_with(program: Program) -> Typed<kustomize::Build> {
    Typed(kustomize::Build { kustomize: program, helm: SHELL, remote_bases: false })
}

async fn succeeded(step: &dyn Step, workspace: &Workspace, config: Value) -> Map<String, Value> {
    match call(step, workspace, &config).await {
        Ok(StepOutcome::Succeeded { outputs, .. }) => outputs,
        other => panic!("{config}: {other:?}"),
    }
}

#[test]
fn without_the_program_the_error_says_what_to_install() {
    let files = [("k/kustomization.yaml", "resources: []\n"), ("c/Chart.yaml", CHART)];
    block_on(async {
        let workspace = workspace(&files).await;
        let paths = |path: &str| json!({"path": path, "outPath": "out"});
        for (step, config) in [
            (&build_with(MISSING) as &dyn Step, paths("k")),
            (&Typed(helm::Template(MISSING)), paths("c")),
            (&Typed(helm::UpdateChart(MISSING)), json!({"path": "c"})),
        ] {
            let error = call(step, &workspace, &config).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            contains(error.message(), &["kargo-no-such-program", "install the program"]);
        }
    });
}

const MANIFESTS: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: App\n  namespace: a\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: app\n  namespace: b\n---\n# nothing\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n";

#[test]
fn kustomize_build_writes_one_file_or_one_of_each() {
    let script = format!("echo \"$@\" >&2\n/bin/cat <<'END'\n{MANIFESTS}END\n");
    let files = [("build", script.as_str()), ("kustomization.yaml", "resources: []\n")];
    let build = build_with(SHELL);
    block_on(async {
        let workspace = workspace(&files).await;
        succeeded(&build, &workspace, json!({"path": ".", "outPath": "out/all.yaml"})).await;
        assert_eq!(tree(&workspace).await["out/all.yaml"], MANIFESTS);
        succeeded(&build, &workspace, json!({"path": "./", "outPath": "each"})).await;
        succeeded(&build, &workspace, json!({"path": ".", "outPath": "kust", "outputFormat": "kustomize"})).await;
        let tree = tree(&workspace).await;
        let names: Vec<&str> = tree.keys().filter(|path| path.contains('/')).map(String::as_str).collect();
        let each = ["each/a-deployment-app.yaml", "each/b-service-app.yaml", "each/namespace-a.yaml"];
        let kust = ["kust/a_apps_v1_deployment_app.yaml", "kust/b_v1_service_app.yaml", "kust/v1_namespace_a.yaml"];
        assert_eq!(names, [&each[..], &kust[..], &["out/all.yaml"]].concat());
        assert_eq!(tree["each/namespace-a.yaml"], "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n");
    });
}

#[test]
fn kustomize_sees_what_it_refers_to_and_nothing_else() {
    let script = "[ -e other ] && exit 1\n/bin/cat base/d/x.yaml common/y.yaml\n";
    let files = [
        ("build", script),
        ("dev/kustomization.yaml", "resources:\n- ../base/d\n- x/../../build\n"),
        ("base/d/kustomization.yaml", "resources: [x.yaml]\nconfigMapGenerator:\n- files: [y=../../common/y.yaml]\n"),
        ("base/d/x.yaml", "x: 1\n"),
        ("common/y.yaml", "y: 1\n"),
        ("other/z.yaml", "z: 1\n"),
    ];
    let build = build_with(SHELL);
    block_on(async {
        let workspace = workspace(&files).await;
        succeeded(&build, &workspace, json!({"path": "dev", "outPath": "o.yaml"})).await;
        assert_eq!(tree(&workspace).await["o.yaml"], "x: 1\ny: 1\n");
        workspace.write(&context(), "dev/kustomization.yaml", "resources: [../../../etc]\n").await.unwrap();
        let error = call(&build, &workspace, &json!({"path": "dev", "outPath": "o.yaml"})).await.unwrap_err();
        contains(error.message(), &["../../../etc", "outside of the workspace"]);
    });
}

#[test]
fn helm_is_told_what_the_configuration_says() {
    let script = "for argument; do echo \"$argument\"; done\necho \"$HOME\" | grep -q kargo-step- || exit 1\n[ -z \"$CARGO\" ] || exit 1\n";
    let files = [("template", script), ("Chart.yaml", "name: shop\n"), ("v.yaml", "a: 1\n")];
    block_on(async {
        let workspace = workspace(&files).await;
        let config = json!({
            "path": ".", "outPath": "o.yaml", "releaseName": "shop", "namespace": "prod", "valuesFiles": ["v.yaml", "none.yaml"],
            "ignoreMissingValueFiles": true, "setValues": [{"key": "a.b", "value": "{1,2}"}, {"key": "c", "value": "x=y", "literal": true}],
            "includeCRDs": true, "disableHooks": true, "skipTests": true, "kubeVersion": "1.33", "apiVersions": ["a/v1"],
        });
        succeeded(&Typed(helm::Template(SHELL)), &workspace, config).await;
        let told = tree(&workspace).await["o.yaml"].clone();
        let place = told.lines().nth(1).unwrap().to_owned();
        let wanted = format!(
            "shop\n{place}\n--namespace=prod\n--values={place}v.yaml\n--set=a.b={{1,2}}\n--set-literal=c=x=y\n--include-crds\n--no-hooks\n\
             --skip-tests\n--kube-version=1.33\n--api-versions=a/v1\n"
        );
        assert_eq!(told, wanted);
        succeeded(&Typed(helm::Template(SHELL)), &workspace, json!({"path": ".", "outPath": "o.yaml"})).await;
        contains(&tree(&workspace).await["o.yaml"], &["release-name\n", "--namespace=shop\n"]);
        let missing = json!({"path": ".", "outPath": "o.yaml", "valuesFiles": ["none.yaml"]});
        let error = call(&Typed(helm::Template(SHELL)), &workspace, &missing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn helm_builds_dependencies_first_and_names_directories_by_the_release_when_told() {
    let tells = "echo \"$0 $*\" >> log\n";
    let script = format!(
        "{tells}for argument; do case $argument in --output-dir=*) out=${{argument#*=}};; esac; done\nif [ -n \"$out\" ]; then mkdir -p $out/x; cp log $out/x/log; exit; fi\ncat log\n"
    );
    let files = [("template", script.as_str()), ("dependency", tells), ("Chart.yaml", "name: shop\n")];
    let step = Typed(helm::Template(SHELL));
    let told = |config: Value, file: &'static str| {
        let step = &step;
        async move {
            let workspace = workspace(&files).await;
            assert_eq!(succeeded(step, &workspace, config).await, Map::new());
            tree(&workspace).await[file].clone()
        }
    };
    block_on(async {
        let plain = told(json!({"path": ".", "outPath": "o.yaml"}), "o.yaml").await;
        assert!(plain.starts_with("template release-name ") && plain.lines().count() == 1, "{plain}");
        let built = told(json!({"path": ".", "outPath": "o.yaml", "buildDependencies": true}), "o.yaml").await;
        let lines: Vec<&str> = built.lines().collect();
        assert!(
            lines[0].starts_with("dependency build --skip-refresh ") && lines[1].starts_with("template "),
            "{built}"
        );
        let named =
            told(json!({"path": ".", "outPath": "o", "releaseName": "r", "useReleaseName": true}), "o/x/log").await;
        assert!(named.starts_with("template r ") && named.trim_end().ends_with("--release-name"), "{named}");
        let not = told(json!({"path": ".", "outPath": "o", "releaseName": "r"}), "o/x/log").await;
        assert!(!not.contains("--release-name"), "{not}");
    });
}

#[test]
fn kustomize_is_told_of_helm_and_puts_nothing_out() {
    let script = "for argument; do echo \"# $argument\"; done\necho 'kind: A'\n";
    let files = [("build", script), ("kustomization.yaml", "resources: []\n")];
    block_on(async {
        let workspace = workspace(&files).await;
        let with_chart = "helmCharts: [{name: shop, repo: 'https://charts.example', version: 1.0.0}]\n";
        workspace.write(&context(), "kustomization.yaml", with_chart).await.unwrap();
        let helm = json!({"apiVersions": ["a/v1", "b/v2"], "kubeVersion": "1.33"});
        let config = json!({"path": ".", "outPath": "o.yaml", "plugin": {"helm": helm}});
        let outputs = succeeded(&build_with(SHELL), &workspace, config).await;
        assert_eq!(outputs, Map::new());
        let told = tree(&workspace).await["o.yaml"].clone();
        let shell = format!("# --helm-command={}", SHELL.path().unwrap().display());
        let wanted = [
            "# --load-restrictor=LoadRestrictionsRootOnly",
            "# --enable-helm",
            &shell,
            "# --helm-api-versions=a/v1",
            "# --helm-api-versions=b/v2",
            "# --helm-kube-version=1.33",
        ];
        assert_eq!(told.lines().take(6).collect::<Vec<_>>(), wanted, "{told}");
        workspace.write(&context(), "kustomization.yaml", "resources: []\n").await.unwrap();
        let plain = json!({"path": ".", "outPath": "o.yaml"});
        succeeded(&build_with(SHELL), &workspace, plain).await;
        let told = tree(&workspace).await["o.yaml"].clone();
        assert!(!told.contains("helm"), "{told}");
    });
}

#[test]
fn helm_template_lays_its_files_over_a_directory() {
    let script = format!(
        "for argument; do case $argument in --output-dir=*) out=${{argument#*=}};; esac; done\n\
         if [ -n \"$out\" ]; then mkdir -p $out/shop/templates; echo new > $out/shop/templates/a.yaml; exit; fi\ncat <<'END'\n---\n{MANIFESTS}---\nx: 1\nEND\n"
    );
    let files = [
        ("template", script.as_str()),
        ("Chart.yaml", "name: shop\n"),
        ("out/kept.yaml", "1\n"),
        ("out/shop/templates/a.yaml", "old\n"),
    ];
    block_on(async {
        let workspace = workspace(&files).await;
        succeeded(&Typed(helm::Template(SHELL)), &workspace, json!({"path": ".", "outPath": "out"})).await;
        let found = tree(&workspace).await;
        assert_eq!((found["out/kept.yaml"].as_str(), found["out/shop/templates/a.yaml"].as_str()), ("1\n", "new\n"));
        succeeded(&Typed(helm::Template(SHELL)), &workspace, json!({"path": ".", "outPath": "f", "outLayout": "flat"}))
            .await;
        let names: Vec<String> = tree(&workspace).await.into_keys().filter(|path| path.starts_with("f/")).collect();
        assert_eq!(
            names,
            ["f/apps-deployment-a-app.yaml", "f/namespace-a.yaml", "f/resource-3.yaml", "f/service-b-app.yaml"]
        );
    });
}

#[test]
fn helm_update_chart_sets_versions_and_fetches_them() {
    let script = "printf 'dependencies:\\n- name: redis\\n  version: 1.1.0\\ngenerated: now\\n' > Chart.lock\nmkdir -p charts; echo packed > charts/redis-1.1.0.tgz\n";
    let files = [
        ("dependency", script),
        ("Chart.yaml", CHART),
        ("Chart.lock", "dependencies:\n- name: redis\n  version: 1.0.0\n- {name: pg, version: 1.0.0}\n"),
    ];
    let config =
        json!({"path": ".", "charts": [{"repository": "https://charts.example", "name": "redis", "version": "1.1.0"}]});
    let update = Typed(helm::UpdateChart(SHELL));
    block_on(async {
        let workspace = workspace(&files).await;
        let outputs = succeeded(&update, &workspace, config.clone()).await;
        let message = "Updated chart dependencies for .\n\n- pg: removed\n- redis: 1.0.0 -> 1.1.0";
        assert_eq!(Value::Object(outputs), json!({"commitMessage": message}));
        let first = tree(&workspace).await;
        assert_eq!(first["Chart.yaml"], CHART.replace("1.0.0", "1.1.0"));
        assert_eq!(first["charts/redis-1.1.0.tgz"], "packed\n");
        // Once more, with another time in the lock.
        workspace.write(&context(), "dependency", script.replace("now", "later")).await.unwrap();
        assert_eq!(succeeded(&update, &workspace, config).await, Map::new());
        assert_eq!(tree(&workspace).await["Chart.lock"], first["Chart.lock"]);
        let wrong =
            json!({"path": ".", "charts": [{"repository": "https://other.example", "name": "redis", "version": "2"}]});
        let error = call(&update, &workspace, &wrong).await.unwrap_err();
        contains(&error.to_string(), &["does not depend on \"redis\"", "Chart.yaml"]);
    });
}

#[test]
fn a_program_that_fails_is_an_error_with_its_words() {
    let files = [("build", "echo no such field >&2; exit 3"), ("kustomization.yaml", "")];
    block_on(async {
        let workspace = workspace(&files).await;
        let error = call(&build_with(SHELL), &workspace, &json!({"path": ".", "outPath": "o"})).await.unwrap_err();
        contains(error.message(), &["sh ended with", "3", "no such field"]);
    });
}

/// Whether a process runs; one that has ended and that nobody has asked about does not.
fn runs(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z') && !state.starts_with('X'))
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_ends_with_all_that_it_has_started_when_the_call_is_cancelled() {
    let told = tempfile::tempdir().unwrap();
    let told = told.path().join("processes");
    let script = format!("/bin/sleep 600 & echo $! $$ > {0}.new; /bin/mv {0}.new {0}; wait", told.display());
    let cancel = CancellationToken::new();
    let cx = context().with_cancellation(cancel.clone());
    block_on(async {
        let workspace = workspace(&[("build", &script), ("kustomization.yaml", "")]).await;
        let (promotion, config) = (promotion(), json!({"path": ".", "outPath": "o"}));
        let request = StepRequest::new(&promotion, "step", &config, Timestamp::UNIX_EPOCH).with_workspace(&workspace);
        let build = build_with(SHELL);
        let wait = async {
            while !told.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            cancel.cancel();
        };
        let (outcome, ()) =
            tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(build.run(&cx, &request), wait) })
                .await
                .expect("the call ends when it is cancelled");
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
        let processes = std::fs::read_to_string(&told).unwrap();
        let gone = async {
            while processes.split_whitespace().any(runs) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("what was started has ended");
    });
}
