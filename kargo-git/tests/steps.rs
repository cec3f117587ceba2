//! Kargo's steps for Git, one after the other on one workspace, in repositories on this machine.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use kargo_core::ErrorKind;
use kargo_core::plugin::{Context, Plugins, StepOutcome};
use kargo_git::testing::{BareRepository, DoneStep, StepByStep};
use kargo_git::{GitSource, GitSteps, PushOptions, RefChange, Remote};
use serde_json::{Map, Value, json};

/// A promotion of which each step is one call, and of which the checkout is `src`.
struct Promotion(StepByStep);

impl Deref for Promotion {
    type Target = StepByStep;

    fn deref(&self) -> &StepByStep {
        &self.0
    }
}

impl DerefMut for Promotion {
    fn deref_mut(&mut self) -> &mut StepByStep {
        &mut self.0
    }
}

fn steps() -> GitSteps {
    GitSteps::new(GitSource::new()).committer("Kargo", "kargo@acme.example")
}

impl Promotion {
    fn new(id: &str) -> Self {
        Self::with(id, steps())
    }

    fn with(id: &str, steps: GitSteps) -> Self {
        Self(StepByStep::new(id, steps.register(Plugins::builder()).build()))
    }

    async fn clone(&mut self, repository: &BareRepository, branch: &str) -> Map<String, Value> {
        let config = json!({"repoURL": repository.url(), "checkout": [{"path": "./src", "branch": branch}]});
        self.run("git-clone", config).await
    }

    async fn commit(&mut self, message: &str) -> String {
        let outputs = self.run("git-commit", json!({"path": "src", "message": message})).await;
        outputs["commit"].as_str().unwrap().to_owned()
    }

    async fn push(&mut self) -> Map<String, Value> {
        self.run("git-push", json!({"path": "src"})).await
    }
}

fn files(repository: &BareRepository, branch: &str) -> BTreeMap<String, String> {
    repository.files_at(&repository.head(branch), "")
}

fn start() -> BareRepository {
    let repository = BareRepository::new();
    repository.commit("main", &[("env/dev/values.yaml", "tag: v1\n"), ("README.md", "Hello\n")], "Start");
    repository
}

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
    promotion.run("git-clear", json!({"path": "out"})).await;
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
async fn git_01_a_branch_that_has_moved_gets_the_commits_on_top() {
    let repository = start();
    let mut promotion = Promotion::new("dev.1");
    promotion.clone(&repository, "main").await;
    promotion.write("src/env/dev/values.yaml", "tag: v2\n").await;
    promotion.commit("One").await;
    promotion.write("src/env/dev/more.yaml", "more\n").await;
    promotion.commit("Two").await;
    let theirs = repository.commit("main", &[("env/prod/values.yaml", "tag: v9\n"), ("README.md", "Bye\n")], "Theirs");
    let outputs = promotion.push().await;
    let log = repository.log("main");
    let subjects: Vec<&str> = log.iter().map(|commit| commit.subject.as_str()).collect();
    assert_eq!(subjects, ["Two", "One", "Theirs", "Start"]);
    assert_eq!((log[2].id.as_str(), outputs["commit"].as_str().unwrap()), (theirs.as_str(), log[0].id.as_str()));
    assert_eq!((log[0].changed_files.len(), log[1].changed_files.len()), (1, 1));
    // What came from the others is seen by later steps.
    assert_eq!(promotion.read("src/env/prod/values.yaml").await.unwrap(), "tag: v9\n");
    promotion.write("src/env/prod/values.yaml", "tag: v10\n").await;
    promotion.commit("Three").await;
    promotion.push().await;
    assert_eq!(repository.read("main", "env/prod/values.yaml"), "tag: v10\n");
    assert_eq!(repository.log("main").len(), 5);
}

#[tokio::test]
async fn git_03_one_file_changed_by_both_is_merged_by_lines_and_the_same_line_is_a_conflict_that_names_it() {
    const PATH: &str = "env/dev/values.yaml";
    let text = "tag: v1\n# two\n# three\nreplicas: 1\n";
    for (theirs, merged) in [
        (text.replace("v1", "v3"), Err("(line 1)")),
        (text.replace("# two", "# 2"), Err("(lines 1-2)")),
        // The same change is none.
        (text.replace("v1", "v2"), Ok("tag: v2\n# two\n# three\nreplicas: 1\n")),
        (text.replace("replicas: 1", "replicas: 2"), Ok("tag: v2\n# two\n# three\nreplicas: 2\n")),
        (format!("{text}more: 1"), Ok("tag: v2\n# two\n# three\nreplicas: 1\nmore: 1")),
    ] {
        let repository = start();
        repository.commit("main", &[(PATH, text)], "Values");
        let mut promotion = Promotion::new("dev.1");
        promotion.clone(&repository, "main").await;
        promotion.write(&format!("src/{PATH}"), &text.replace("v1", "v2")).await;
        promotion.commit("Ours").await;
        promotion.write("src/second", "2\n").await;
        promotion.commit("Second").await;
        let tip = repository.commit("main", &[(PATH, &theirs), ("theirs", "1\n")], "Theirs");
        match merged {
            Err(lines) => {
                let reason = promotion.fails("git-push", json!({"path": "src"})).await;
                assert!([PATH, lines, &tip].iter().all(|part| reason.contains(part)), "{reason}");
                assert_eq!(repository.head("main"), tip);
            }
            Ok(merged) => {
                promotion.push().await;
                assert_eq!(repository.read("main", PATH), merged);
                assert_eq!(promotion.read(&format!("src/{PATH}")).await.unwrap(), merged);
                let log = repository.log("main");
                assert!(log.iter().all(|commit| commit.parents < 2) && log.iter().any(|commit| commit.id == tip));
                assert_eq!(repository.read("main", "second"), "2\n");
            }
        }
    }
}

#[tokio::test]
async fn git_03_what_one_has_removed_and_the_other_changed_is_a_conflict() {
    for becomes_a_file in [false, true] {
        let repository = start();
        let mut promotion = Promotion::new("dev.1");
        promotion.clone(&repository, "main").await;
        promotion.workspace().remove(&promotion.context(0), "src/env").await.unwrap();
        if becomes_a_file {
            promotion.write("src/env", "a file").await;
        }
        promotion.commit("Ours").await;
        repository.commit("main", &[("env/dev/values.yaml", "tag: v3\n")], "Theirs");
        let reason = promotion.fails("git-push", json!({"path": "src"})).await;
        assert!(reason.contains(": env/dev/values.yaml (the promotion removes it)"), "{becomes_a_file}: {reason}");
        assert_eq!(repository.log("main").len(), 2);
    }
    // What they removed too is no conflict, and what they left alone goes.
    let repository = start();
    let mut promotion = Promotion::new("dev.1");
    promotion.clone(&repository, "main").await;
    promotion.workspace().remove(&promotion.context(0), "src/env").await.unwrap();
    promotion.commit("Ours").await;
    repository.commit("main", &[("other/file", "x")], "Theirs");
    promotion.push().await;
    assert_eq!(files(&repository, "main").keys().collect::<Vec<_>>(), ["README.md", "other/file"]);
}

#[tokio::test]
async fn what_is_not_committed_is_not_lost_when_the_branch_has_moved() {
    let repository = start();
    let mut promotion = Promotion::new("dev.1");
    promotion.clone(&repository, "main").await;
    promotion.write("src/a", "1").await;
    promotion.commit("Ours").await;
    promotion.write("src/b", "not committed").await;
    repository.commit("main", &[("c", "1")], "Theirs");
    let reason = promotion.fails("git-push", json!({"path": "src"})).await;
    assert!(reason.contains("git-commit before git-push"), "{reason}");
    promotion.commit("The rest").await;
    promotion.push().await;
    assert_eq!(repository.read("main", "b"), "not committed");
}

#[tokio::test]
async fn git_21_git_22_only_a_promotions_own_branch_is_forced() {
    let repository = start();
    let mut promotion = Promotion::new("dev.1");
    promotion.clone(&repository, "main").await;
    promotion.write("src/a", "1").await;
    let commit = promotion.commit("Ours").await;
    let reason = promotion.fails("git-push", json!({"path": "src", "targetBranch": "main", "force": true})).await;
    assert!(reason.contains("generateTargetBranch") && reason.contains("own_branches"), "{reason}");
    // What an earlier promotion of this name had left there goes.
    repository.branch("kargo/promotion/dev.1", "main");
    repository.commit("kargo/promotion/dev.1", &[("old", "1")], "Old");
    let outputs = promotion.run("git-push", json!({"path": "src", "generateTargetBranch": true})).await;
    assert_eq!(outputs["branch"], json!("kargo/promotion/dev.1"));
    assert_eq!(repository.head("kargo/promotion/dev.1"), commit);
    assert_eq!(repository.log("main").len(), 1);

    repository.branch("rendered/dev", "main");
    repository.commit("rendered/dev", &[("old", "1")], "Old");
    let mut promotion = Promotion::with("dev.2", steps().own_branches("rendered/"));
    promotion.clone(&repository, "main").await;
    promotion.write("src/a", "2").await;
    let commit = promotion.commit("Ours").await;
    promotion.run("git-push", json!({"path": "src", "targetBranch": "rendered/dev", "force": true})).await;
    assert_eq!(repository.head("rendered/dev"), commit);
}

#[tokio::test]
async fn git_21_git_22_a_branch_that_was_merged_and_stayed_is_built_anew_on_a_base_that_has_moved() {
    let repository = start();
    let push = json!({"path": "src", "targetBranch": "rendered/dev", "force": true});
    for round in 1..=3 {
        let mut promotion = Promotion::with(&format!("dev.{round}"), steps().own_branches("rendered/"));
        promotion.clone(&repository, "main").await;
        let base = repository.head("main");
        promotion.write("src/env/dev/values.yaml", &format!("tag: r{round}\n")).await;
        promotion.commit("Render").await;
        let outputs = promotion.run("git-push", push.clone()).await;
        assert_eq!(json!(repository.head("rendered/dev")), outputs["commit"]);
        let log = repository.log("rendered/dev");
        assert_eq!((log[0].subject.as_str(), log[1].id.as_str()), ("Render", base.as_str()), "one commit on the base");
        match round {
            // Somebody merges it and does not delete it, and the base goes on.
            1 => _ = repository.merge("main", "rendered/dev", &[("env/dev/values.yaml", "tag: r1\n")], "Merge"),
            // Nobody merges it, and the base goes on.
            _ => _ = repository.commit("main", &[("README.md", &format!("Round {round}\n"))], "Base moves"),
        }
    }
    assert_eq!(repository.read("main", "env/dev/values.yaml"), "tag: r1\n", "the base was never forced");
}

/// In a process of its own, which finds no program at all.
#[test]
fn git_28_git_29_a_repository_on_this_machine_is_read_and_pushed_to_without_a_git_program() {
    for test in ["a_checkout_is_changed_committed_and_pushed", "git_01_a_branch_that_has_moved_gets_the_commits_on_top"]
    {
        let mut process = std::process::Command::new(std::env::current_exe().unwrap());
        let output = process.args(["--exact", test]).env("PATH", "/nonexistent").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}

#[tokio::test]
async fn another_branch_is_moved_forward_and_one_that_has_gone_its_own_way_is_left_alone() {
    let repository = start();
    repository.branch("stage/behind", "main");
    repository.branch("stage/apart", "main");
    let apart = repository.commit("stage/apart", &[("apart", "1")], "Apart");
    repository.commit("main", &[("a", "1")], "Main goes on");
    let mut promotion = Promotion::new("dev.1");
    promotion.clone(&repository, "main").await;
    promotion.write("src/b", "1").await;
    let commit = promotion.commit("Ours").await;
    for branch in ["stage/behind", "stage/new"] {
        promotion.run("git-push", json!({"path": "src", "targetBranch": branch})).await;
        assert_eq!(repository.head(branch), commit, "{branch}");
    }
    let reason = promotion.fails("git-push", json!({"path": "src", "targetBranch": "stage/apart"})).await;
    assert!(reason.contains(&apart), "{reason}");
    assert_eq!(repository.head("stage/apart"), apart);
    // The checkout's own branch has nothing of it yet.
    assert_eq!(
        promotion.run("git-push", json!({"path": "src", "targetBranch": "main"})).await["commit"],
        json!(commit)
    );
    assert_eq!(repository.head("main"), commit);
}

#[tokio::test]
async fn a_push_whose_answer_was_lost_is_found_again_also_under_the_commits_of_others() {
    for on_top in [false, true] {
        let repository = start();
        let mut promotion = Promotion::new("dev.1");
        promotion.clone(&repository, "main").await;
        promotion.write("src/a", "1").await;
        promotion.commit("Ours").await;
        // Its commits go on top of this, so that their ids are others than before.
        repository.commit("main", &[("b", "1")], "Theirs");
        let config = json!({"path": "src"});
        let before = promotion.workspace().mounted(&promotion.context(0), "src").await.unwrap().unwrap();
        let first = promotion.call(9, "git-push", &config, false, None).await.unwrap();
        // The engine takes the workspace back when the answer is lost.
        promotion.workspace().mount(&promotion.context(0), "src", before.0, before.1).await.unwrap();
        if on_top {
            repository.commit("main", &[("c", "1")], "Later");
        }
        let again = promotion.call(9, "git-push", &config, true, None).await.unwrap();
        let commit = |outcome: &StepOutcome| match outcome {
            StepOutcome::Succeeded { outputs, .. } => outputs["commit"].clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(commit(&first), commit(&again), "{on_top}");
        let ours = repository.log("main").into_iter().filter(|commit| commit.subject == "Ours").count();
        assert_eq!(ours, 1);
    }
}

#[tokio::test]
async fn git_04_after_a_restart_the_steps_bring_the_same_workspace_back() {
    let repository = start();
    // Where the promotion is interrupted: behind so many steps.
    for interrupted in 1..=7 {
        let mut promotion = Promotion::new(&format!("dev.{interrupted}"));
        promotion.clone(&repository, "main").await;
        let (before, mut edits) = (repository.log("main").len(), Vec::new());
        for n in 0..2 {
            let (path, text) = (format!("src/{interrupted}/{n}"), format!("{n}\n"));
            promotion.write(&path, &text).await;
            edits.push((path, text));
            promotion.commit(&format!("Commit {n}")).await;
            if n == 0 {
                repository.commit("main", &[("theirs", &interrupted.to_string())], "Theirs");
            }
            promotion.push().await;
        }
        promotion.run("git-tag", json!({"path": "src", "tag": format!("v{interrupted}"), "message": "Tag"})).await;
        promotion.run("git-push", json!({"path": "src", "tag": format!("v{interrupted}")})).await;
        let after = repository.log("main").len();
        assert_eq!(after, before + 3);

        // All that the first so many steps did, on a workspace that is new.
        let again = promotion.restarted();
        let mut edits = edits.into_iter();
        for DoneStep { number, uses, config, outputs, .. } in promotion.done().iter().take(interrupted) {
            if uses == "git-commit" {
                let (path, text) = edits.next().unwrap();
                again.write(&path, &text).await;
            }
            let outcome = again.call(*number, uses, config, true, Some(outputs)).await.unwrap();
            assert!(!matches!(outcome, StepOutcome::Failed { .. }), "{uses}: {outcome:?}");
        }
        // And the rest as if it had never got an answer.
        for DoneStep { number, uses, config, outputs, .. } in promotion.done().iter().skip(interrupted) {
            if uses == "git-commit" {
                let (path, text) = edits.next().unwrap();
                again.write(&path, &text).await;
            }
            let outcome = again.call(*number, uses, config, true, None).await.unwrap();
            let StepOutcome::Succeeded { outputs: now, .. } = outcome else { panic!("{uses}: {outcome:?}") };
            assert_eq!(&now, outputs, "{interrupted}: {uses}");
        }
        assert_eq!(repository.log("main").len(), after, "nothing was pushed twice");
    }
}

#[tokio::test]
async fn a_tag_is_made_once_and_never_moved() {
    let repository = start();
    let mut promotion = Promotion::new("dev.1");
    promotion.clone(&repository, "main").await;
    promotion.write("src/a", "1").await;
    let commit = promotion.commit("Ours").await;
    let reason = promotion.fails("git-push", json!({"path": "src", "tag": "v1"})).await;
    assert!(reason.contains("git-tag"), "{reason}");
    let tag = json!({"path": "src", "tag": "v1", "message": "Release 1"});
    assert_eq!(promotion.run("git-tag", tag.clone()).await["commit"], json!(commit));
    let outputs = promotion.run("git-push", json!({"path": "src", "tag": "v1"})).await;
    assert_eq!((&outputs["commit"], &outputs["branch"]), (&json!(commit), &json!("main")));
    assert_eq!(repository.log("main").len(), 1, "only the tag is pushed");
    promotion.run("git-push", json!({"path": "src", "tag": "v1"})).await;

    let mut other = Promotion::new("dev.2");
    other.clone(&repository, "main").await;
    let reason = other.fails("git-tag", tag).await;
    assert!(reason.contains("v1") && reason.contains("already"), "{reason}");
    other.run("git-tag", json!({"path": "src", "tag": "v1", "message": "Other", "force": true})).await;
    let reason = other.fails("git-push", json!({"path": "src", "tag": "v1"})).await;
    assert!(reason.contains("v1") && reason.contains("already"), "{reason}");
    let remote = Remote::new(repository.url()).unwrap();
    let stale = RefChange::delete("refs/tags/v1", kargo_core::Revision::from(commit));
    let error = remote.change_refs(&Context::system("x"), &[stale], &PushOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "an annotated tag is not the commit");
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
    assert!(clone.validate_template(&template("paht")).unwrap_err().message().contains("path"));
    for (uses, config, fault) in [
        (
            "git-push",
            json!({"path": "${{ vars.path }}", "targetBranh": "main"}),
            "no field targetBranh; did you mean targetBranch?",
        ),
        ("git-commit", json!({"path": "${{ vars.path }}"}), "needs the field message"),
        ("git-clear", json!("${{ vars.path }}"), "has fields"),
        ("git-tag", json!({"path": "${{ vars.path }}", "tag": "v1"}), "path, tag and message"),
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
