//! Scenarios of `git-push` that are the same whichever the way to the server.

use std::time::{Duration, Instant};

use kargo_core::plugin::{Plugins, StepOutcome};
use kargo_core::{ErrorKind, Retry};
use kargo_git::testing::{BareRepository, StepByStep};
use kargo_git::{GitSource, GitSteps};
use serde_json::{Value, json};

use crate::git;
use crate::repository::{PATH, configure, fsck, hook, overtake};

/// A promotion to a repository, which may force branches below `rendered/`.
pub fn promotion(id: &str, access: &GitSource) -> StepByStep {
    let steps = GitSteps::new(access.clone()).own_branches("rendered/");
    StepByStep::new(id, steps.register(Plugins::builder()).build())
}

/// Clones main, sets the tag in [`PATH`] and commits.
///
/// # Panics
/// When a step does not succeed, or the file is not there.
pub async fn change(promotion: &mut StepByStep, url: &str, tag: &str) {
    promotion.run("git-clone", json!({"repoURL": url, "checkout": [{"path": "src", "branch": "main"}]})).await;
    let path = format!("src/{PATH}");
    let text = promotion.read(&path).await.expect("the file is there").replace("\"v1\"", &format!("{tag:?}"));
    promotion.write(&path, &text).await;
    promotion.run("git-commit", json!({"path": "src", "message": format!("Set {tag}")})).await;
}

/// The configuration of a push to where the checkout came from.
pub fn push() -> Value {
    json!({"path": "src"})
}

/// A branch of promotions is forced, but not over what somebody else puts there in the midst of the push.
///
/// # Panics
/// When it is not so.
pub async fn a_forced_push_keeps_to_its_lease(repository: &BareRepository, url: &str, access: &GitSource) {
    const BRANCH: &str = "rendered/dev";
    let force = json!({"path": "src", "targetBranch": BRANCH, "force": true});
    repository.branch(BRANCH, "main");
    repository.commit(BRANCH, &[("old", "1")], "Rendered before\n\nKargo-Promotion: dev.0\n");
    let mut first = promotion("dev.1", access);
    change(&mut first, url, "v2").await;
    let outputs = first.run("git-push", force.clone()).await;
    assert_eq!(json!(repository.head(BRANCH)), outputs["commit"]);
    assert_eq!(repository.log(BRANCH).len(), 2, "what was there is put aside");

    overtake(repository, BRANCH, 1, "By hand");
    let mut second = promotion("dev.2", access);
    change(&mut second, url, "v3").await;
    let error = second.try_run("git-push", force.clone()).await.expect_err("somebody else has moved the branch");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Never), "{error}");
    let log = repository.log(BRANCH);
    assert_eq!((log.len(), log[0].subject.as_str()), (3, "By hand"));
    assert!(error.message().contains(BRANCH) && error.message().contains(&log[0].id), "{error}");

    // What the promotion itself has put there, in another process, is its own.
    git(repository.path(), &["update-ref", &format!("refs/heads/{BRANCH}"), "main"]);
    let mut third = promotion("dev.3", access);
    change(&mut third, url, "v4").await;
    std::fs::remove_file(repository.path().join("overtaken")).expect("somebody has moved it");
    overtake(repository, BRANCH, 1, "Elsewhere\\n\\nKargo-Promotion: dev.3\\n");
    let outputs = third.run("git-push", force).await;
    assert_eq!(json!(repository.head(BRANCH)), outputs["commit"]);
    assert_eq!(repository.log(BRANCH).len(), 2);
    fsck(repository);
}

/// A branch that others move in the midst of each push is given up, after so many attempts or at the call's deadline, and has their
/// commits.
///
/// # Panics
/// When it is not so.
pub async fn lost_races_have_an_end(repository: &BareRepository, url: &str, access: &GitSource) {
    overtake(repository, "main", u32::MAX, "Theirs");
    let mut promotion = promotion("dev.1", access);
    change(&mut promotion, url, "v2").await;
    let attempts = json!({"path": "src", "maxAttempts": 3});
    let error = promotion.call(3, "git-push", &attempts, false, None).await.expect_err("others are always quicker");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.message().contains("main of ") && error.message().contains("in 3 attempts"), "{error}");
    assert_eq!(repository.log("main").len(), 4, "the start, and three of theirs");

    let promotion = promotion.patience(Duration::from_secs(1));
    let (began, attempts) = (Instant::now(), json!({"path": "src", "maxAttempts": 1000}));
    let error = promotion.call(3, "git-push", &attempts, true, None).await.expect_err("others are always quicker");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let log = repository.log("main");
    let (last, theirs) = log.split_last().expect("there is the start");
    assert!(last.subject == "Start" && theirs.len() > 3 && theirs.iter().all(|commit| commit.subject == "Theirs"));
    // Once they leave it alone, it is pushed.
    std::fs::remove_file(repository.path().join("hooks/update")).expect("the hook is there");
    let promotion = promotion.patience(Duration::from_secs(60));
    let outcome = promotion.call(3, "git-push", &push(), true, None).await.expect("nobody is in the way");
    assert!(matches!(outcome, StepOutcome::Succeeded { .. }), "{outcome:?}");
    assert_eq!(repository.log("main").len(), log.len() + 1);
    fsck(repository);
}

/// A hook that takes longer than the call may, on a server that gives signs of life, does not hold the call up; and what was pushed is there
/// once, whenever the hook ends.
///
/// # Panics
/// When it is not so.
pub async fn the_deadline_of_a_call_ends_a_push(repository: &BareRepository, url: &str, access: &GitSource) {
    configure(repository, "receive.keepAlive", "1");
    let over = repository.path().join("over");
    // It ends also when nobody is left to hear what it says.
    hook(
        repository,
        "pre-receive",
        &format!("trap '' PIPE HUP TERM\ncat >/dev/null\nsleep 8\ntouch {}", over.display()),
    );
    let mut promotion = promotion("dev.1", access);
    change(&mut promotion, url, "v2").await;
    let promotion = promotion.patience(Duration::from_secs(2));
    let began = Instant::now();
    let error = promotion.call(3, "git-push", &push(), false, None).await.expect_err("the hook takes longer");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Backoff), "{error}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    std::fs::remove_file(repository.path().join("hooks/pre-receive")).expect("the hook is there");
    let promotion = promotion.patience(Duration::from_secs(60));
    let outcome = promotion.call(3, "git-push", &push(), true, None).await.expect("there is no hook any more");
    let StepOutcome::Succeeded { outputs, .. } = outcome else { panic!("{outcome:?}") };
    // The first push may still be under way.
    while !over.exists() && began.elapsed() < Duration::from_secs(12) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(json!(git(repository.path(), &["rev-parse", "main"])), outputs["commit"]);
    assert_eq!(repository.log("main").len(), 2);
    fsck(repository);
}

/// A server that is killed in the midst of a push, before the branch has moved or after, has the commit once in the end.
///
/// # Panics
/// When it is not so.
pub async fn a_killed_server_has_one_commit(repository: &BareRepository, url: &str, access: &GitSource, when: &str) {
    let marker = repository.path().join("killed");
    // The hook's parent is the server's process.
    let script = format!("cat >/dev/null\n[ -e {0} ] && exit 0\ntouch {0}\nkill -KILL $PPID", marker.display());
    hook(repository, when, &script);
    let mut promotion = promotion("dev.1", access);
    change(&mut promotion, url, "v2").await;
    let mut outcome = promotion.call(3, "git-push", &push(), false, None).await;
    for _ in 0..5 {
        match &outcome {
            Ok(_) => break,
            Err(error) => assert_ne!(error.retry(), Retry::Never, "{error}"),
        }
        outcome = promotion.call(3, "git-push", &push(), true, None).await;
    }
    let Ok(StepOutcome::Succeeded { outputs, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(marker.exists(), "nothing was killed");
    let log = repository.log("main");
    assert_eq!((log.len(), json!(log[0].id)), (2, outputs["commit"].clone()), "{when}");
    fsck(repository);
}
