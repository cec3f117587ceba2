//! `*-update`, `yaml-merge`, `*-parse`, `kustomize-set-image`.

use super::*;
use crate::expr::{Config, Environment, Scope};

#[test]
fn yaml_update_sets_values_and_says_what_it_did() {
    let file = "image:\n  tag: v1 # set by promotions\nreplicas: 2\ndebug: false\n";
    let config = json!({"path": "dev/values.yaml", "updates": [
        {"key": "image.tag", "value": "1.10"}, {"key": "replicas", "value": "3"}, {"key": "debug", "value": true},
    ]});
    let message = "Updated dev/values.yaml\n\n- image.tag: \"1.10\"\n- replicas: \"3\"\n- debug: true";
    let after = file.replace("v1", "\"1.10\"").replace('2', "3").replace("false", "true");
    succeeds(
        "yaml-update",
        &[("dev/values.yaml", file)],
        &config,
        &[("dev/values.yaml", &after)],
        json!({"commitMessage": message}),
    );
    let none_at_all = json!({"path": "dev/values.yaml", "updates": []});
    succeeds("yaml-update", &[("dev/values.yaml", file)], &none_at_all, &[("dev/values.yaml", file)], none());
}

#[test]
fn a_text_from_an_expression_becomes_a_number_only_where_one_stands() {
    for (before, value, after) in [
        ("a: 2\n", "30", "a: 30\n"),
        ("a: true\n", "false", "a: false\n"),
        ("a: \"2\"\n", "30", "a: \"30\"\n"),
        ("a: x\n", "30", "a: \"30\"\n"),
        ("a: 2\n", "v3", "a: v3\n"),
        ("a: 2\n", "03", "a: \"03\"\n"),
        ("a: 1.1\n", "1.2", "a: \"1.2\"\n"),
        ("a: 3108617\n", "3108618", "a: \"3108618\"\n"),
    ] {
        let config = json!({"path": "f", "updates": [{"key": "a", "value": value}]});
        let shown = if value.starts_with('v') { value.to_owned() } else { format!("\"{value}\"") };
        let message = format!("Updated f\n\n- a: {shown}");
        succeeds("yaml-update", &[("f", before)], &config, &[("f", after)], json!({"commitMessage": message}));
    }
}

/// The expression of the case, with and without its quote, in the fields of the steps that write it.
#[test]
fn yaml_02_digits_that_an_expression_cut_out_of_a_text_are_a_string_in_the_file() {
    let plugins = builtin().build();
    let rendered = |uses: &str, config: Value| {
        let takes_text = |pointer: &str| plugins.step(uses).unwrap().takes_text(pointer);
        let config = Config::parse(&config, &Environment::step()).unwrap();
        config.render(&Scope::default(), &takes_text).unwrap().value
    };
    for (tag, digits) in [("main-123456", "123456"), ("main-12345e7", "12345e7"), ("main-0123", "0123")] {
        for quote in [" | quote()", ""] {
            let value = format!("${{{{ '{tag}' | split('-') | last(){quote} }}}}");
            let config =
                rendered("yaml-update", json!({"path": "f", "updates": [{"key": "image.tag", "value": value}]}));
            let after = format!("image:\n  tag: \"{digits}\"\n");
            let message = format!("Updated f\n\n- image.tag: \"{digits}\"");
            let outputs = json!({"commitMessage": message});
            succeeds("yaml-update", &[("f", "image:\n  tag: main-1\n")], &config, &[("f", &after)], outputs);
            let images = json!({"path": ".", "images": [{"image": "app", "tag": value}]});
            let config = rendered("kustomize-set-image", images);
            assert_eq!(config["images"][0]["tag"], json!(digits), "{value}");
        }
    }
}

#[test]
fn an_update_that_cannot_be_made_names_file_and_key_and_changes_nothing() {
    let config = json!({"path": "f", "updates": [{"key": "image.tga", "value": "v2"}]});
    errs("yaml-update", &[("f", "image: {tag: v1}\n")], &config, &["\"image.tga\"", "did you mean \"tag\"", "file: f"]);
    errs("yaml-update", &[("g", "a: 1\n")], &config, &["There is no \"f\""]);
    errs("json-update", &[("f", "{\"image\": 1}")], &config, &["\"image\" is a single value", "file: f"]);
    errs("toml-update", &[("f", "[image]\ntag = 1\n")], &config, &["did you mean \"tag\"", "file: f"]);
}

#[test]
fn yaml_06_keys_that_are_missing_are_made_on_request() {
    for (uses, before, after) in [
        ("yaml-update", "image:\n  tag: v1 # t\n", "image:\n  tag: v2 # t\n  digest: \"1\"\n"),
        ("toml-update", "[image]\ntag = 'v1' # t\n", "[image]\ntag = 'v2' # t\ndigest = \"1\"\n"),
    ] {
        let updates = json!([{"key": "image.tag", "value": "v2"}, {"key": "image.digest", "value": "1"}]);
        let config = |create: bool| json!({"path": "f", "updates": updates, "create": create});
        let message = match uses {
            "yaml-update" => "Updated f\n\n- image.tag: v2\n- image.digest: \"1\"",
            _ => "Updated f\n\n- image.tag: \"v2\"\n- image.digest: \"1\"",
        };
        succeeds(uses, &[("f", before)], &config(true), &[("f", after)], json!({"commitMessage": message}));
        errs(uses, &[("f", before)], &config(false), &["\"image.digest\" does not exist", "file: f"]);
        errs(uses, &[("f", before)], &json!({"path": "f", "updates": updates}), &["\"image.digest\" does not exist"]);
    }
    // JSON gets them anyway, and HCL none.
    for uses in ["json-update", "hcl-update"] {
        fails(uses, &[("f", "")], &json!({"path": "f", "updates": [], "create": true}), &["create"]);
    }
}

#[test]
fn json_update_makes_what_is_missing() {
    let config = json!({"path": "f.json", "updates": [
        {"key": "a", "value": "2"}, {"key": "b.-1", "value": "x"}, {"key": "c.d", "value": 1.5}, {"key": "s", "value": "1"},
    ]});
    let message = "Updated f.json\n\n- a: \"2\"\n- b.-1: \"x\"\n- c.d: 1.5\n- s: \"1\"";
    let (before, after) =
        ("{\"a\": 1, \"s\": \"0\"}\n", "{\"a\": 2, \"s\": \"1\", \"b\": [\"x\"], \"c\": {\"d\": 1.5}}\n");
    succeeds("json-update", &[("f.json", before)], &config, &[("f.json", after)], json!({"commitMessage": message}));
}

#[test]
fn toml_update_keeps_quotes_and_comments() {
    let config =
        json!({"path": "f.toml", "updates": [{"key": "image.tag", "value": "1.10"}, {"key": "n", "value": "2"}]});
    let message = "Updated f.toml\n\n- image.tag: \"1.10\"\n- n: \"2\"";
    let (before, after) = ("n = 1\n[image]\ntag = 'v1' # c\n", "n = 2\n[image]\ntag = '1.10' # c\n");
    succeeds("toml-update", &[("f.toml", before)], &config, &[("f.toml", after)], json!({"commitMessage": message}));
}

#[test]
fn hcl_update_sets_arguments_of_blocks() {
    let config = json!({"path": "dev/main.tf", "updates": [
        {"key": "module.vpc.version", "value": "1.10"}, {"key": "resource.app.web.count", "value": "3"},
    ]});
    let message = "Updated dev/main.tf\n\n- module.vpc.version: \"1.10\"\n- resource.app.web.count: \"3\"";
    let before = "module \"vpc\" {\n  version = \"1.9\" # c\n}\nresource \"app\" \"web\" { count = 2 }\n";
    let after = before.replace("1.9", "1.10").replace('2', "3");
    let files = [("dev/main.tf", before)];
    succeeds("hcl-update", &files, &config, &[("dev/main.tf", &after)], json!({"commitMessage": message}));
    let misspelt = json!({"path": "dev/main.tf", "updates": [{"key": "module.vpc.verson", "value": "1"}]});
    errs("hcl-update", &files, &misspelt, &["did you mean \"version\"", "file: dev/main.tf"]);
    fails("hcl-update", &files, &json!({"path": "", "updates": []}), &["`path`"]);
}

#[test]
fn yaml_merge_lays_files_over_each_other() {
    let files = [("base.yaml", "a: 1 # one\nb: {c: 2}\n"), ("dev.yaml", "b: {d: 3}\n"), ("empty.yaml", "")];
    let config = json!({"inFiles": ["base.yaml", "empty.yaml", "dev.yaml"], "outFile": "out/values.yaml"});
    let message = "Merged YAML files to out/values.yaml\n\n- base.yaml\n- empty.yaml\n- dev.yaml";
    let mut after = files.to_vec();
    after.push(("out/values.yaml", "a: 1 # one\nb: {c: 2, d: 3}\n"));
    succeeds("yaml-merge", &files, &config, &after, json!({"commitMessage": message}));
    let config = json!({"inFiles": ["base.yaml", "prod.yaml"], "outFile": "out", "ignoreMissingFiles": true});
    let mut after = files.to_vec();
    after.push(("out", "a: 1 # one\nb: {c: 2}\n"));
    succeeds("yaml-merge", &files, &config, &after, json!({"commitMessage": "no YAML files merged"}));
    errs("yaml-merge", &files, &json!({"inFiles": ["base.yml"], "outFile": "o"}), &["\"base.yml\""]);
}

#[test]
fn parse_reads_values_by_expressions() {
    let outputs = json!([
        {"name": "tag", "fromExpression": "image.tag"},
        {"name": "first", "fromExpression": "list[0] + 1"},
        {"name": "all", "fromExpression": "image"},
        {"name": "none", "fromExpression": "nowhere"},
    ]);
    let config = json!({"path": "f", "outputs": outputs});
    let found = json!({"tag": "1.10", "first": 2, "all": {"tag": "1.10"}, "none": null});
    for (uses, file) in [
        ("yaml-parse", "image: {tag: '1.10'}\nlist: [1]\n"),
        ("json-parse", "{\"image\": {\"tag\": \"1.10\"}, \"list\": [1]}"),
        ("toml-parse", "list = [1]\n[image]\ntag = '1.10'\n"),
    ] {
        succeeds(uses, &[("f", file)], &config, &[("f", file)], found.clone());
    }
    let root = json!({"path": "f", "outputs": [{"name": "n", "fromExpression": "len(root)"}]});
    succeeds("yaml-parse", &[("f", "- a\n- b\n")], &root, &[("f", "- a\n- b\n")], json!({"n": 2}));
}

#[test]
fn parse_says_what_cannot_be_read() {
    let one = |expression: &str| json!({"path": "f", "outputs": [{"name": "n", "fromExpression": expression}]});
    errs("yaml-parse", &[("f", "")], &one("a"), &["empty", "file: f"]);
    errs("yaml-parse", &[("f", "a: [")], &one("a"), &["not valid YAML", "file: f"]);
    errs("json-parse", &[("f", "{")], &one("a"), &["not valid JSON", "file: f"]);
    errs("yaml-parse", &[("f", "a: 1\n")], &one("a +"), &["output: n"]);
    errs("yaml-parse", &[("f", "a: 1\n")], &one("b.c"), &["output: n", "file: f"]);
    errs("toml-parse", &[], &one("a"), &["There is no \"f\""]);
}

const KUSTOMIZATION: &str =
    "images:\n- name: db # the store\n  newName: ghcr.io/acme/db\n  newTag: v1\nresources: [../base]\n";

#[test]
fn kustomize_set_image_changes_what_is_asked_for() {
    let config = json!({"path": "dev/", "images": [
        {"image": "ghcr.io/acme/db", "name": "db", "newName": "*", "tag": "9075807"}, {"image": "app", "digest": "sha256:0a"},
    ]});
    let after = "images:\n- name: db # the store\n  newName: ghcr.io/acme/db\n  newTag: \"9075807\"\n- name: app\n  digest: sha256:0a\n\
                 resources: [../base]\n";
    let message = "Updated dev/ to use new images\n\n- app@sha256:0a\n- db:9075807";
    let files = |text| [("dev/kustomization.yaml", text)];
    succeeds("kustomize-set-image", &files(KUSTOMIZATION), &config, &files(after), json!({"commitMessage": message}));
}

#[test]
fn kustomize_set_image_takes_the_images_of_the_freight() {
    let after = "images:\n- name: ghcr.io/acme/app\n  newTag: \"1.10\"\n  digest: sha256:1.10\n- name: ghcr.io/acme/db\n  newTag: v2\n  digest: sha256:v2\n";
    let message = "Updated . to use new images\n\n- ghcr.io/acme/app:1.10@sha256:1.10\n- ghcr.io/acme/db:v2@sha256:v2";
    let before = "images:\n- name: ghcr.io/acme/app\n  newTag: v0\n";
    succeeds(
        "kustomize-set-image",
        &[("Kustomization", before)],
        &json!({"path": "."}),
        &[("Kustomization", after)],
        json!({"commitMessage": message}),
    );
}

#[test]
fn kustomize_set_image_needs_exactly_one_kustomization() {
    let config = json!({"path": "dev", "images": [{"image": "app", "tag": "v1"}]});
    errs(
        "kustomize-set-image",
        &[("dev/values.yaml", "")],
        &config,
        &["no kustomization in \"dev\"", "kustomization.yaml"],
    );
    let two = [("dev/kustomization.yaml", ""), ("dev/Kustomization", "")];
    errs("kustomize-set-image", &two, &config, &["several", "Kustomization, kustomization.yaml"]);
    errs("kustomize-set-image", &[("dve/kustomization.yaml", "")], &config, &["Did you mean \"dve\"?"]);
}

#[test]
fn yaml_11_a_step_writes_only_the_file_that_changes() {
    block_on(async {
        let names: Vec<String> = (0..20).map(|n| format!("{n}/values.yaml")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "tag:   v1 # keep\n")).collect();
        let before = workspace(&files).await;
        let nodes = before.walk(&context(), ".").await.unwrap();
        let plugins = builtin().build();
        let update = |path: &str, value: &str| json!({"path": path, "updates": [{"key": "tag", "value": value}]});
        for config in [update("7/values.yaml", "v2"), update("8/values.yaml", "v1")] {
            call(plugins.step("yaml-update").unwrap(), &before, &config).await.unwrap();
        }
        let after = before.walk(&context(), ".").await.unwrap();
        let changed: Vec<&str> = nodes
            .iter()
            .zip(&after)
            .filter(|(old, new)| !old.1.same_as(&new.1))
            .map(|(_, new)| new.0.as_str())
            .collect();
        assert_eq!(changed, ["7/values.yaml"]);
    });
}

#[test]
fn an_image_that_freight_of_two_warehouses_has_is_refused_until_it_is_named() {
    let image = |tag: &str| -> Artifact {
        Artifact::Image(
            serde_json::from_value(
                json!({"repoURL": "ghcr.io/acme/app", "tag": tag, "digest": format!("sha256:{tag}")}),
            )
            .unwrap(),
        )
    };
    let mut promotion = promotion();
    let other = Freight::new("other", vec![image("2.0")], Timestamp::UNIX_EPOCH);
    promotion.collection = promotion.collection.with(other);
    let plugins = builtin().build();
    let step = plugins.step("kustomize-set-image").unwrap();
    block_on(async {
        let workspace = workspace(&[("kustomization.yaml", "images: []\n")]).await;
        let run = async |config: Value| {
            let request =
                StepRequest::new(&promotion, "step", &config, Timestamp::UNIX_EPOCH).with_workspace(&workspace);
            step.run(&context(), &request).await
        };
        let error = run(json!({"path": "."})).await.unwrap_err();
        contains(error.message(), &["more than one image of \"ghcr.io/acme/app\"", "name it in `images`"]);
        assert_eq!(tree(&workspace).await["kustomization.yaml"], "images: []\n");
        run(json!({"path": ".", "images": [{"image": "ghcr.io/acme/app", "tag": "2.0"}]})).await.unwrap();
        contains(&tree(&workspace).await["kustomization.yaml"], &["name: ghcr.io/acme/app", "newTag: \"2.0\""]);
    });
}
