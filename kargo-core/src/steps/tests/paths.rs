//! Every field of every step that takes a path, with paths that would lead out of the workspace: they are taken as if it were all there is,
//! and where Kargo refuses them, they are refused.

use super::*;
use crate::steps::program::Program;
use crate::steps::typed::Typed;
use crate::steps::{helm, kustomize};

const SHELL: Program = Program { name: "sh", install: "a shell" };

/// A directory `d`, a link to it, and a link that leads out of the workspace and there to `d`.
const FILES: [(&str, &str); 17] = [
    ("d/x.yaml", "a: 1\n"),
    ("d/x.json", "{\"a\": 1}\n"),
    ("d/x.toml", "a = 1\n"),
    ("d/x.tf", "a = 1\n"),
    ("d/Chart.yaml", "name: shop\ndependencies:\n- {name: own, repository: 'file://../dependency', version: 1.0.0}\n"),
    ("d/kustomization.yaml", "resources: [../build]\nimages: []\n"),
    ("d/sub/y", "1\n"),
    ("all.tar", ""),
    ("build", "echo 'kind: A'\n"),
    ("template", "echo 'kind: A'\n"),
    ("dependency", "true\n"),
    ("free", ""),
    ("over.yaml", "b: 2\n"),
    ("in", "->d"),
    ("out", "->../../d"),
    ("far", "->/d"),
    ("d/up", "->../../../d/sub"),
];

/// A step, where in its configuration the path stands (`PATH`), and the path as it is.
type Row = (&'static str, Value, &'static str);

fn rows() -> Vec<Row> {
    let one = |path: &str| json!({"path": path, "updates": [{"key": "a", "value": 2}]});
    let parse = json!({"path": "PATH", "outputs": [{"name": "a", "fromExpression": "a"}]});
    vec![
        ("copy", json!({"inPath": "PATH", "outPath": "new"}), "d/x.yaml"),
        ("copy", json!({"inPath": "PATH", "outPath": "new"}), "d/sub"),
        ("copy", json!({"inPath": "over.yaml", "outPath": "PATH"}), "d/new.yaml"),
        ("yaml-update", one("PATH"), "d/x.yaml"),
        ("json-update", one("PATH"), "d/x.json"),
        ("toml-update", one("PATH"), "d/x.toml"),
        ("hcl-update", one("PATH"), "d/x.tf"),
        ("yaml-parse", parse.clone(), "d/x.yaml"),
        ("json-parse", parse.clone(), "d/x.json"),
        ("toml-parse", parse, "d/x.toml"),
        ("yaml-merge", json!({"inFiles": ["over.yaml", "PATH"], "outFile": "new"}), "d/x.yaml"),
        ("yaml-merge", json!({"inFiles": ["over.yaml"], "outFile": "PATH"}), "d/new.yaml"),
        ("tar", json!({"inPath": "PATH", "outPath": "new"}), "d/sub"),
        ("tar", json!({"inPath": "over.yaml", "outPath": "PATH"}), "d/new.tar"),
        ("untar", json!({"inPath": "PATH", "outPath": "new"}), "d/all.tar"),
        ("untar", json!({"inPath": "all.tar", "outPath": "PATH"}), "d/sub"),
        ("kustomize-set-image", json!({"path": "PATH", "images": [{"image": "a", "tag": "1"}]}), "d"),
        ("kustomize-build", json!({"path": "PATH", "outPath": "new.yaml"}), "d"),
        ("kustomize-build", json!({"path": "d", "outPath": "PATH"}), "d/new.yaml"),
        ("helm-template", json!({"path": "PATH", "outPath": "new.yaml", "valuesFiles": ["template"]}), "d"),
        ("helm-template", json!({"path": "d", "outPath": "PATH", "valuesFiles": ["template"]}), "d/new.yaml"),
        ("helm-template", json!({"path": "d", "outPath": "new.yaml", "valuesFiles": ["template", "PATH"]}), "d/x.yaml"),
        ("helm-update-chart", json!({"path": "PATH"}), "d"),
    ]
}

fn with(config: &Value, path: &str) -> Value {
    serde_json::from_str(&config.to_string().replace("PATH", path)).unwrap()
}

/// How a step ends with a path, and what it leaves.
async fn ends(uses: &str, config: &Value, path: &str) -> (Result<Value, String>, BTreeMap<String, String>) {
    let workspace = workspace(&FILES).await;
    let plugins = builtin().build();
    // An archive with a file in it.
    let pack = json!({"inPath": "over.yaml", "outPath": "all.tar"});
    call(plugins.step("tar").unwrap(), &workspace, &pack).await.unwrap();
    let packed = workspace.read(&context(), "all.tar").await.unwrap().unwrap();
    workspace.write(&context(), "d/all.tar", packed).await.unwrap();
    let (build, template, update) = (
        Typed(kustomize::Build { kustomize: SHELL, helm: SHELL, remote_bases: false }),
        Typed(helm::Template(SHELL)),
        Typed(helm::UpdateChart(SHELL)),
    );
    let step: &dyn Step = match uses {
        "kustomize-build" => &build,
        "helm-template" => &template,
        "helm-update-chart" => &update,
        other => plugins.step(other).unwrap(),
    };
    let outcome = match call(step, &workspace, &with(config, path)).await {
        Ok(StepOutcome::Succeeded { outputs, .. }) => Ok(Value::Object(outputs)),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    };
    (outcome, tree(&workspace).await)
}

#[test]
fn a_path_that_would_lead_out_is_one_within() {
    block_on(async {
        for (uses, config, path) in rows() {
            let plain = ends(uses, &config, path).await;
            assert!(plain.0.is_ok(), "{uses} {config}: {plain:?}");
            let below = path.strip_prefix('d').unwrap_or_default();
            for other in [
                format!("../../{path}"),
                format!("/{path}"),
                format!("./{path}"),
                format!("d/../../{path}"),
                format!("in{below}"),
                format!("out{below}"),
                format!("far{below}"),
            ] {
                let (outcome, left) = ends(uses, &config, &other).await;
                // What is told of it names the path as it is written.
                let outcome =
                    outcome.map(|outputs| outputs.to_string().replace(&other, path).parse::<Value>().unwrap());
                assert_eq!((&outcome, &left), (&plain.0, &plain.1), "{uses} {config} with {other}");
            }
        }
    });
}

#[test]
fn delete_and_file_write_refuse_it() {
    block_on(async {
        for path in ["../../d/x.yaml", "d/../../d/x.yaml"] {
            for config in [
                json!({"path": "PATH"}),
                json!({"paths": ["d/sub", "PATH"]}),
                json!({"path": "PATH", "pathsAreGlobs": true}),
            ] {
                let (outcome, left) = ends("delete", &config, path).await;
                assert!(
                    outcome.as_ref().is_err_and(|error| error.contains("out of the workspace")),
                    "{path}: {outcome:?}"
                );
                assert!(left.contains_key("d/x.yaml") && left.contains_key("d/sub/y"), "{left:?}");
            }
        }
        let before = ends("fail", &json!({}), "").await.1;
        let write = json!({"path": "PATH", "contents": "x", "overwrite": true});
        for path in [
            "../../d/x.yaml",
            "/d/x.yaml",
            "d/../../x",
            "in/x.yaml",
            "out/x.yaml",
            "far/new",
            "d/up/y",
            ".git/config",
            "d/.git/x",
        ] {
            let (outcome, left) = ends("file-write", &write, path).await;
            assert!(outcome.is_err(), "{path}: {outcome:?}");
            assert_eq!(left, before, "{path}");
        }
        // A link itself goes, not what it leads to.
        for path in ["in", "out", "far", "d/up"] {
            let (outcome, left) = ends("delete", &json!({"path": "PATH"}), path).await;
            assert!(
                outcome.is_ok()
                    && !left.contains_key(path)
                    && left.contains_key("d/x.yaml")
                    && left.contains_key("d/sub/y"),
                "{path}"
            );
        }
    });
}
