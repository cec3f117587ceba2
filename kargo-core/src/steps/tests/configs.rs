//! Configurations: what is refused, when, and with which words.

use super::*;

#[track_caller]
fn refused(uses: &str, config: &Value, parts: &[&str]) {
    let plugins = builtin().build();
    let error = plugins.step(uses).unwrap().validate(config).expect_err("the configuration must be refused");
    contains(&error.to_string(), parts);
    fails(uses, &[], config, parts);
}

#[test]
fn a_mistake_is_named_with_its_place_and_what_was_meant() {
    refused(
        "copy",
        &json!({"inPath": "a", "outPth": "b"}),
        &["step copy", "unknown field `outPth`", "did you mean \"outPath\"?"],
    );
    refused("copy", &json!({"inPath": "a"}), &["missing field `outPath`"]);
    refused("copy", &Value::Null, &["missing field `inPath`"]);
    refused("copy", &json!({"inPath": "", "outPath": "b"}), &["`inPath` is empty"]);
    refused(
        "yaml-update",
        &json!({"path": "f", "updates": [{"key": "a", "vlue": 1}]}),
        &["updates[0]", "did you mean \"value\"?"],
    );
    refused(
        "yaml-update",
        &json!({"path": "f", "updates": [{"key": "a", "value": [1]}]}),
        &["updates[0].value", "a text, a number or a bool"],
    );
    refused("yaml-update", &json!({"path": "f", "updates": [{"key": "a", "value": null}]}), &["updates[0].value"]);
    refused("tar", &json!({"inPath": "a", "outPath": "b", "gzip": "yes"}), &["\"gzip\"", "a boolean"]);
    refused("helm-template", &json!({"path": "a", "outPath": "b", "outLayout": "flatt"}), &["did you mean \"flat\"?"]);
    refused(
        "helm-template",
        &json!({"path": "a", "outPath": "b", "releaseName": "--help"}),
        &["releaseName", "that begins with a letter"],
    );
    refused(
        "kustomize-build",
        &json!({"path": "a", "outPath": "b", "plugin": {"helm": {"apiVersion": []}}}),
        &["did you mean \"apiVersions\"?"],
    );
    refused("delete", &json!({}), &["exactly one of `path` and `paths`"]);
    refused("delete", &json!({"path": "a", "paths": ["b"]}), &["exactly one"]);
    refused("yaml-parse", &json!({"path": "a", "outputs": []}), &["`outputs` has no entry"]);
    refused("yaml-merge", &json!({"inFiles": [], "outFile": "b"}), &["`inFiles` has no entry"]);
    for (mode, part) in
        [("0755", "executable"), ("0602", "everybody"), ("644", "octal"), ("0888", "octal"), ("01644", "octal")]
    {
        refused("file-write", &json!({"path": "a", "contents": "", "permissions": mode}), &[part]);
    }
}

#[test]
fn yaml_17_an_image_needs_a_tag_or_a_digest_and_not_both() {
    refused(
        "kustomize-set-image",
        &json!({"path": "a", "images": [{"image": "app"}]}),
        &["\"app\"", "neither", "latest"],
    );
    let both = json!({"path": "a", "images": [{"image": "app", "tag": "1", "digest": "sha256:0a"}]});
    refused("kustomize-set-image", &both, &["\"app\"", "both"]);
}

#[test]
fn expressions_may_stand_where_their_values_are_not_known_yet() {
    let plugins = builtin().build();
    for (uses, config) in [
        ("tar", json!({"inPath": "${{ vars.a }}", "outPath": "b", "gzip": "${{ vars.gzip }}"})),
        ("yaml-update", json!({"path": "f", "updates": "${{ vars.updates }}"})),
        ("helm-template", json!({"path": "a", "outPath": "b", "outLayout": "${% vars.layout %}"})),
        ("file-write", json!({"path": "a", "contents": "", "permissions": "${{ vars.mode }}"})),
        (
            "kustomize-set-image",
            json!({"path": "a", "images": [{"image": "${{ vars.image }}", "tag": "${{ vars.tag }}"}]}),
        ),
        ("fail", Value::Null),
    ] {
        plugins.step(uses).unwrap().validate_template(&config).unwrap_or_else(|error| panic!("{uses}: {error}"));
    }
    let unknown = json!({"path": "f", "updates": [{"key": "a", "vlue": "${{ vars.tag }}"}]});
    let error = plugins.step("yaml-update").unwrap().validate_template(&unknown).unwrap_err();
    contains(error.message(), &["did you mean \"value\"?"]);
    let unknown = json!({"path": "f", "updates": "${{ vars.updates }}", "more": 1});
    assert!(plugins.step("yaml-update").unwrap().validate_template(&unknown).is_err());
}

#[test]
fn texts_stay_texts_and_steps_that_change_files_restore_them() {
    let plugins = builtin().build();
    let step = |uses: &str| plugins.step(uses).unwrap();
    assert!(step("yaml-update").takes_text("/updates/12/value"));
    assert!(!step("yaml-update").takes_text("/updates/x/value"));
    assert!(!step("yaml-update").takes_text("/updates/0"));
    assert!(step("kustomize-set-image").takes_text("/images/0/tag"));
    assert!(!step("compose-output").takes_text("/a"), "an output is what the expression gives");
    assert!(!step("tar").takes_text("/gzip"));
    for (uses, restores) in
        [("copy", true), ("yaml-update", true), ("helm-template", true), ("yaml-parse", false), ("fail", false)]
    {
        assert_eq!(step(uses).restores(), restores, "{uses}");
    }
}
