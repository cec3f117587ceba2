//! Restarts, and tags.

use kargo_core::ErrorKind;
use kargo_core::plugin::{Context, StepOutcome};
use kargo_git::testing::DoneStep;
use kargo_git::{PushOptions, RefChange, Remote};
use serde_json::json;

use crate::promotion::*;

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
async fn after_a_restart_the_default_branch_is_the_one_that_was_checked_out() {
    let repository = start();
    repository.branch("next", "main");
    let mut promotion = Promotion::new("dev.1");
    let config = json!({"repoURL": repository.url(), "checkout": [{"path": "src"}]});
    let outputs = promotion.run("git-clone", config.clone()).await;
    assert_eq!(outputs["branches"], json!({"src": "main"}));
    let head = repository.path().join("HEAD");
    for (n, now) in ["next", "nothing-yet"].into_iter().enumerate() {
        std::fs::write(&head, format!("ref: refs/heads/{now}\n")).unwrap();
        let mut again = promotion.restarted();
        again.call(1, "git-clone", &config, true, Some(&outputs)).await.unwrap();
        again.write(&format!("src/file-{n}"), now).await;
        again.run("git-commit", json!({"path": "src", "message": "Commit"})).await;
        assert_eq!(again.run("git-push", json!({"path": "src"})).await["branch"], "main", "{now}");
    }
    assert_eq!((repository.log("main").len(), repository.log("next").len()), (3, 1));
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
async fn a_tag_of_a_commit_that_was_made_again_is_not_pushed() {
    for (moves, restarts) in [(false, false), (true, false), (true, true)] {
        let repository = start();
        let mut promotion = Promotion::new("dev.1");
        promotion.clone(&repository, "main").await;
        promotion.write("src/a", "1").await;
        promotion.commit("Ours").await;
        promotion.run("git-tag", json!({"path": "src", "tag": "v1", "message": "Release 1"})).await;
        if moves {
            repository.commit("main", &[("theirs", "1")], "Theirs");
        }
        promotion.push().await;
        let tag = json!({"path": "src", "tag": "v1"});
        let outcome = if restarts {
            let again = promotion.restarted();
            for DoneStep { number, uses, config, outputs, .. } in promotion.done() {
                if uses == "git-commit" {
                    again.write("src/a", "1").await;
                }
                again.call(*number, uses, config, true, Some(outputs)).await.unwrap();
            }
            again.call(5, "git-push", &tag, false, None).await.unwrap()
        } else {
            promotion.try_run("git-push", tag).await.unwrap()
        };
        match outcome {
            StepOutcome::Succeeded { .. } => assert!(!moves),
            StepOutcome::Failed { reason } => assert!(moves && reason.contains("put git-tag behind"), "{reason}"),
            other => panic!("{other:?}"),
        }
        // Where the branch is pushed first, its commit is tagged.
        let outputs = promotion.run("git-tag", json!({"path": "src", "tag": "v2", "message": "Release"})).await;
        promotion.run("git-push", json!({"path": "src", "tag": "v2"})).await;
        assert_eq!(outputs["commit"], json!(repository.head("main")));
    }
}
