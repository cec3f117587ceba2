//! What is checked out, changed and committed.

use kargo_core::plugin::StepOutcome;
use kargo_git::testing::BareRepository;
use serde_json::json;

use crate::promotion::*;

#[tokio::test]
async fn a_checkout_is_changed_committed_and_pushed() {
    let repository = start();
    let mut promotion = Promotion::new("dev.1");
    let outputs = promotion.clone(&repository, "main").await;
    assert_eq!(outputs["commits"]["./src"], json!(repository.head("main")));
    assert_eq!(promotion.read("src/env/dev/values.yaml").await.unwrap(), "tag: v1\n");
    promotion.write("src/env/dev/values.yaml", "tag: v2\n").await;
    promotion.write("src/env/new/deep/file", "new\n").await;
    let commit = promotion.commit("Promote to dev\n\nSigned-off-by: A <a@b>").await;
    assert_eq!(repository.log("main").len(), 1, "nothing is pushed yet");
    let outputs = promotion.push().await;
    assert_eq!((outputs["commit"].as_str().unwrap(), outputs["branch"].as_str().unwrap()), (commit.as_str(), "main"));
    assert!(!outputs.contains_key("commitURL"), "the repository is on no forge");
    let log = repository.log("main");
    assert_eq!(log[0].id, commit);
    assert_eq!(log[0].changed_files, ["env/dev/values.yaml", "env/new/deep/file"]);
    assert_eq!((log[0].subject.as_str(), log[0].author.as_str()), ("Promote to dev", "Kargo <kargo@acme.example>"));
    assert_eq!(log[0].time, promotion.started_at());
    for (key, value) in [("Promotion", "dev.1"), ("Stage", "dev"), ("Actor", "user:alice"), ("Key", "dev.1/step-2")] {
        assert_eq!(log[0].trailers[&format!("Kargo-{key}")], value);
    }
}

/// YAML-11, and GIT-07 for one file among many.
#[tokio::test]
async fn yaml_11_of_twenty_files_the_one_that_is_changed_is_in_the_commit() {
    let repository = BareRepository::new();
    let files: Vec<String> = (0..20).map(|n| format!("env/{n}/values.yaml")).collect();
    let contents: Vec<(&str, &str)> =
        files.iter().map(|path| (path.as_str(), "image: {tag: 'v1'}   # set by hand\n")).collect();
    repository.commit("main", &contents, "Start");
    let builtin = kargo_core::steps::builtin();
    let plugins = steps().register(builtin).build();
    let mut promotion = kargo_git::testing::StepByStep::new("dev.1", plugins);
    let checkout = json!({"repoURL": repository.url(), "checkout": [{"path": "src"}]});
    promotion.run("git-clone", checkout).await;
    for (path, value) in [(&files[7], "v2"), (&files[8], "v1")] {
        let update = json!({"path": format!("src/{path}"), "updates": [{"key": "image.tag", "value": value}]});
        promotion.try_run("yaml-update", update).await.unwrap();
    }
    promotion.run("git-commit", json!({"path": "src", "message": "Promote"})).await;
    promotion.run("git-push", json!({"path": "src"})).await;
    let log = repository.log("main");
    assert_eq!((log.len(), log[0].changed_files.as_slice()), (2, &files[7..8]));
    assert_eq!(repository.read("main", &files[7]), "image: {tag: 'v2'}   # set by hand\n");
}

#[tokio::test]
async fn the_author_is_the_steps_the_clones_or_the_hosts() {
    let repository = start();
    let mut promotion = Promotion::new("dev.1");
    let ada = json!({"name": "Ada", "email": "ada@acme.example"});
    let checkout = json!([{"path": "src", "branch": "main"}]);
    promotion.run("git-clone", json!({"repoURL": repository.url(), "checkout": checkout, "author": ada})).await;
    promotion.write("src/a", "1").await;
    promotion.commit("By the clone's").await;
    promotion.write("src/a", "2").await;
    let bob = json!({"name": "Bob", "email": "bob@acme.example"});
    promotion.run("git-commit", json!({"path": "src", "message": "By the step's", "author": bob})).await;
    promotion.push().await;
    let authors: Vec<String> = repository.log("main").into_iter().take(2).map(|commit| commit.author).collect();
    assert_eq!(authors, ["Bob <bob@acme.example>", "Ada <ada@acme.example>"]);
}

#[tokio::test]
async fn git_07_what_ends_as_it_began_is_no_commit_and_no_push() {
    let repository = start();
    let head = repository.head("main");
    let mut promotion = Promotion::new("dev.1");
    promotion.clone(&repository, "main").await;
    promotion.write("src/env/dev/values.yaml", "tag: v2\n").await;
    promotion.write("src/env/dev/values.yaml", "tag: v1\n").await;
    // Directories without files are none for Git.
    promotion.write("src/empty/file", "x").await;
    promotion.workspace().remove(&promotion.context(0), "src/empty/file").await.unwrap();
    let outcome = promotion.try_run("git-commit", json!({"path": "src", "message": "Nothing"})).await.unwrap();
    let StepOutcome::Skipped { outputs, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(outputs["commit"], json!(head));
    assert_eq!(promotion.push().await["commit"], json!(head));
    assert_eq!(repository.log("main").len(), 1);
}

#[tokio::test]
async fn what_differs_from_the_commit_is_told_at_any_time() {
    let repository = start();
    let mut promotion = Promotion::new("dev.1");
    promotion.clone(&repository, "main").await;
    let diff = async |promotion: &Promotion| {
        let changes = promotion.workspace().diff(&promotion.context(0), "src").await.unwrap();
        changes.iter().map(|change| format!("{:?} {}", change.kind(), change.path)).collect::<Vec<_>>()
    };
    assert_eq!(diff(&promotion).await, [""; 0]);
    promotion.write("src/env/dev/values.yaml", "tag: v2\n").await;
    promotion.write("src/new", "1").await;
    assert_eq!(diff(&promotion).await, ["Modified env/dev/values.yaml", "Added new"]);
    promotion.commit("Change").await;
    assert_eq!(diff(&promotion).await, [""; 0]);
    // What is not committed stays when the rest is pushed.
    promotion.write("src/new", "2").await;
    promotion.push().await;
    assert_eq!(diff(&promotion).await, ["Modified new"]);
    promotion.commit("More").await;
    // The commit is made again on top of what others have pushed, whose files come with it.
    repository.commit("main", &[("theirs", "1")], "Theirs");
    promotion.push().await;
    assert_eq!(diff(&promotion).await, [""; 0]);
    promotion.workspace().remove(&promotion.context(0), "src/theirs").await.unwrap();
    assert_eq!(diff(&promotion).await, ["Removed theirs"]);
}

#[tokio::test]
async fn several_branches_of_one_repository_are_checked_out_together_and_files_copied_between_them() {
    let repository = start();
    let first = repository.head("main");
    repository.tag("v1", "main", Some("Release\n"));
    repository.branch("env/dev", "main");
    repository.commit("env/dev", &[("old.yaml", "old\n")], "Render");
    repository.commit("main", &[("app.yaml", "rendered\n")], "More");
    let mut promotion = Promotion::new("dev.1");
    let outputs = promotion
        .run(
            "git-clone",
            json!({"repoURL": repository.url(), "checkout": [
                {"path": "./src"},
                {"path": "./out", "branch": "env/dev", "as": "out"},
                {"path": "./tagged", "tag": "v1"},
                {"path": "./first", "commit": first},
            ]}),
        )
        .await;
    let commits = outputs["commits"].as_object().unwrap();
    assert_eq!(commits["./src"], json!(repository.head("main")));
    assert_eq!(commits["out"], json!(repository.head("env/dev")));
    assert_eq!((&commits["./tagged"], &commits["./first"]), (&json!(first), &json!(first)));
    let cleared = promotion.run("git-clear", json!({"path": "out"})).await;
    assert!(cleared.is_empty(), "{cleared:?}");
    promotion.workspace().copy(&promotion.context(0), "src", "out", None).await.unwrap();
    promotion.run("git-commit", json!({"path": "out", "message": "Render"})).await;
    let outputs = promotion.run("git-push", json!({"path": "out"})).await;
    assert_eq!(outputs["branch"], json!("env/dev"));
    assert_eq!(files(&repository, "env/dev"), files(&repository, "main"));
    let reason = promotion.fails("git-push", json!({"path": "tagged"})).await;
    assert!(reason.contains("targetBranch"), "{reason}");
}

#[tokio::test]
async fn files_of_another_repository_are_brought_along() {
    let (source, target) = (start(), BareRepository::new());
    target.commit("main", &[("README.md", "Target\n")], "Start");
    source.commit("main", &[("env/dev/deep/a", "a\n")], "Deep");
    let mut promotion = Promotion::new("dev.1");
    promotion.clone(&source, "main").await;
    let config = json!({"repoURL": target.url(), "checkout": [{"path": "out", "branch": "main"}]});
    promotion.run("git-clone", config).await;
    promotion.workspace().copy(&promotion.context(0), "src/env", "out/env", None).await.unwrap();
    promotion.run("git-commit", json!({"path": "out", "message": "Copy"})).await;
    promotion.run("git-push", json!({"path": "out"})).await;
    let pushed = files(&target, "main");
    assert_eq!(pushed.keys().collect::<Vec<_>>(), ["README.md", "env/dev/deep/a", "env/dev/values.yaml"]);
    assert_eq!(pushed["env/dev/deep/a"], "a\n");
}

#[tokio::test]
async fn a_branch_that_is_new_begins_with_a_commit_of_its_own() {
    let repository = start();
    let mut promotion = Promotion::new("dev.1");
    let checkout = json!({"path": "src", "branch": "env/new", "create": true});
    let config = json!({"repoURL": repository.url(), "checkout": [checkout]});
    let outputs = promotion.run("git-clone", config.clone()).await;
    promotion.write("src/a", "1").await;
    promotion.commit("First").await;
    promotion.push().await;
    let log = repository.log("env/new");
    let subjects: Vec<&str> = log.iter().map(|commit| commit.subject.as_str()).collect();
    assert_eq!(subjects, ["First", "Initial commit"]);
    assert_eq!((outputs["commits"]["src"].as_str().unwrap(), log[1].parents), (log[1].id.as_str(), 0));
    // Another promotion finds it there.
    let outputs = Promotion::new("dev.2").run("git-clone", config).await;
    assert_eq!(outputs["commits"]["src"], json!(log[0].id));
}

#[tokio::test]
async fn a_sparse_checkout_is_cleared_as_far_as_it_goes() {
    let repository = start();
    repository.commit(
        "main",
        &[("env/dev/deep/a", "1"), ("env/prod/a", "1"), ("env/file", "1"), ("charts/app/a", "1"), ("envy", "1")],
        "More",
    );
    let mut promotion = Promotion::new("dev.1");
    let checkout = json!({"path": "src", "branch": "main", "sparse": ["env/dev"]});
    promotion.run("git-clone", json!({"repoURL": repository.url(), "checkout": [checkout], "blobless": true})).await;
    promotion.run("git-clear", json!({"path": "src"})).await;
    promotion.commit("Clear").await;
    promotion.push().await;
    assert_eq!(files(&repository, "main").keys().collect::<Vec<_>>(), ["charts/app/a", "env/prod/a"]);
}
