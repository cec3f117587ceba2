//! Configurations that cannot work.

use serde_json::{Value, json};

use crate::promotion::*;

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_with_its_fault() {
    let repository = start();
    let url = repository.url();
    let mut promotion = Promotion::new("dev.1");
    let checkout = |checkout: Value| json!({"repoURL": url, "checkout": checkout});
    for (uses, config, fault) in [
        ("git-clone", checkout(json!([])), "at least one checkout"),
        ("git-clone", checkout(json!([{"path": "a", "branch": "main", "tag": "v1"}])), "more than one"),
        ("git-clone", checkout(json!([{"path": "a", "as": "x"}, {"path": "b", "as": "x"}])), "\"as\""),
        ("git-clone", checkout(json!([{"path": "a"}, {"path": "./a/b"}])), "each other's way"),
        ("git-clone", checkout(json!([{"path": "a", "commit": "abc123"}])), "in full"),
        ("git-clone", checkout(json!([{"path": "a", "tag": "v9", "create": true}])), "only create a branch"),
        ("git-clone", checkout(json!([{"path": "a", "tag": "v9"}])), "no tag v9"),
        ("git-clone", checkout(json!([{"path": "a", "branch": "mian"}])), "did you mean main?"),
        ("git-clone", checkout(json!([{"path": "a", "brunch": "main"}])), "brunch"),
        (
            "git-clone",
            json!({"repoURL": url, "checkout": [{"path": "a"}], "recurseSubmodules": true}),
            "recurseSubmodules",
        ),
        (
            "git-clone",
            json!({"repoURL": url, "checkout": [{"path": "a"}], "insecureSkipTLSVerify": true}),
            "ca_certificates",
        ),
        ("git-commit", json!({"path": "src", "message": "x"}), "no git-clone ran before"),
        ("git-push", json!({"path": "src", "tag": "v1", "targetBranch": "main"}), "one of"),
        ("git-push", json!({"path": "src", "maxAttempts": 0}), "at least 1"),
        ("git-push", json!({"path": "src", "provider": "sourceforge"}), "gitlab"),
        ("git-tag", json!({"path": "src", "tag": "a..b", "message": "x"}), "a..b"),
    ] {
        let reason = promotion.fails(uses, config.clone()).await;
        assert!(reason.contains(fault), "{config}: {reason}");
    }
    promotion.clone(&repository, "main").await;
    let reason = promotion.fails("git-clone", checkout(json!([{"path": "src/inner"}]))).await;
    assert!(reason.contains("each other's way"), "{reason}");
    let reason = promotion.fails("git-clear", json!({"path": "out"})).await;
    assert!(reason.contains("checked out are src"), "{reason}");
    promotion.write("taken/file", "x").await;
    let reason = promotion.fails("git-clone", checkout(json!([{"path": "taken"}]))).await;
    assert!(reason.contains("already"), "{reason}");
    let plugins = promotion.plugins();
    assert!(plugins.step("git-clone").unwrap().validate(&checkout(json!([]))).is_err());
    // Of what expressions are yet to give, the fields are checked.
    let template = |path: &str| {
        let checkout = json!([{path: "a", "create": "${{ vars.create }}"}, "${{ vars.more }}"]);
        json!({"repoURL": "${{ vars.repo }}", "checkout": checkout})
    };
    let clone = plugins.step("git-clone").unwrap();
    clone.validate_template(&template("path")).unwrap();
    let error = clone.validate_template(&template("paht")).unwrap_err();
    assert!(error.message().contains("did you mean \"path\"?"), "{error}");
    let push = json!({"path": "${{ vars.path }}", "force": "${{ vars.force }}", "provider": "${{ vars.provider }}"});
    plugins.step("git-push").unwrap().validate_template(&push).unwrap();
    for (uses, config, fault) in [
        ("git-push", json!({"path": "${{ vars.path }}", "targetBranh": "main"}), "unknown field `targetBranh`"),
        ("git-push", json!({"path": "src", "force": "yes"}), "expected a boolean"),
        ("git-commit", json!({"path": "${{ vars.path }}"}), "missing field `message`"),
        ("git-clear", json!({"path": ["${{ vars.path }}"]}), "expected a string"),
        ("git-tag", json!({"path": "${{ vars.path }}", "tag": "v1"}), "missing field `message`"),
    ] {
        let error = plugins.step(uses).unwrap().validate_template(&config).unwrap_err();
        assert!(error.message().contains(fault), "{error}");
    }
    // A version stays a text, whatever expression gives it.
    for (uses, pointer) in [("git-tag", "/tag"), ("git-clone", "/checkout/0/tag"), ("git-commit", "/message")] {
        assert!(plugins.step(uses).unwrap().takes_text(pointer), "{uses} {pointer}");
    }
    assert!(!plugins.step("git-push").unwrap().takes_text("/maxAttempts"));
}
