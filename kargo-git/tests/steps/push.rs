//! Pushing, while others push too.

use kargo_core::plugin::StepOutcome;
use kargo_core::{ErrorKind, Result, Retry};
use serde_json::json;

use crate::promotion::*;

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
async fn git_21_git_22_what_somebody_else_has_put_on_a_forced_branch_meanwhile_stays() {
    let repository = start();
    let config = json!({"path": "src", "targetBranch": "rendered/dev", "force": true});
    let promotion = async |id: &str| {
        let mut promotion = Promotion::with(id, steps().own_branches("rendered/"));
        promotion.clone(&repository, "main").await;
        promotion.write("src/a", id).await;
        (promotion.commit("Ours").await, promotion)
    };
    let succeeds = |outcome: Result<StepOutcome>| match outcome {
        Ok(StepOutcome::Succeeded { outputs, .. }) => outputs["commit"].as_str().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    repository.branch("rendered/dev", "main");
    let theirs = repository.commit("rendered/dev", &[("by", "hand")], "By hand");
    let (commit, first) = promotion("dev.1").await;
    // An earlier call of the step may have seen another tip, so that this one may have come since.
    let error = first.call(3, "git-push", &config, true, None).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Never), "{error}");
    assert!(error.message().contains("rendered/dev of ") && error.message().contains(&theirs), "{error}");
    assert_eq!(repository.head("rendered/dev"), theirs);
    // What was there from the first is to go.
    assert_eq!(succeeds(first.call(3, "git-push", &config, false, None).await), commit);
    // So is what this promotion and earlier ones have made, and where nothing would be lost.
    assert_eq!(succeeds(first.call(3, "git-push", &config, true, None).await), commit);
    let (commit, second) = promotion("dev.2").await;
    assert_eq!(succeeds(second.call(3, "git-push", &config, true, None).await), commit);
    let other = second.restarted();
    other.call(1, "git-clone", &second.done()[0].config, false, None).await.unwrap();
    other.write("src/a", "of another try").await;
    other.call(2, "git-commit", &json!({"path": "src", "message": "Other"}), false, None).await.unwrap();
    assert_ne!(succeeds(other.call(3, "git-push", &config, true, None).await), commit);
    let main = repository.head("main");
    std::fs::write(repository.path().join("refs/heads/rendered/dev"), format!("{main}\n")).unwrap();
    repository.commit("main", &[("README.md", "Main goes on\n")], "More");
    let (commit, third) = promotion("dev.3").await;
    assert_eq!(succeeds(third.call(3, "git-push", &config, true, None).await), commit);
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
    for test in [
        "checkout::a_checkout_is_changed_committed_and_pushed",
        "push::git_01_a_branch_that_has_moved_gets_the_commits_on_top",
    ] {
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
