//! Several refs at a time, and what is told to the hooks.

use kargo_core::{ErrorKind, Revision};
use kargo_git::testing::BareRepository;
use kargo_git::{PushOptions, RefChange};
use kargo_tests::git;

use crate::server::*;

fn exists(repository: &BareRepository, name: &str) -> bool {
    let refs = git(repository.path(), &["for-each-ref", "--format=%(refname)"]);
    refs.lines().any(|each| each == name)
}

#[tokio::test]
async fn refs_change_together_or_not_at_all_unless_one_after_the_other_is_asked_for() {
    let server = Server::find();
    let (name, repository) = server.repository("atomic");
    hook(&repository, "update", "case $1 in refs/heads/locked) echo 'not this one'; exit 1;; esac");
    let (remote, cx) = (server.remote(&name).build().unwrap(), context("refs"));
    let head = Revision::from(repository.head("main"));
    let changes =
        ["refs/heads/free", "refs/heads/locked", "refs/tags/v1"].map(|name| RefChange::create(name, head.clone()));
    let error = remote.change_refs(&cx, &changes, &PushOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("refs/heads/locked: hook declined"), "{error}");
    assert!(error.message().contains("not this one"), "{error}");
    assert!(!exists(&repository, "refs/heads/free") && !exists(&repository, "refs/tags/v1"));

    let error = remote.change_refs(&cx, &changes, &PushOptions::new().one_by_one()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(exists(&repository, "refs/heads/free") && !exists(&repository, "refs/tags/v1"));

    let changes = [
        RefChange::delete("refs/heads/free", head.clone()),
        RefChange::create("refs/tags/v1", head.clone()),
        RefChange::create("refs/heads/env/dev", head),
    ];
    remote.change_refs(&cx, &changes, &PushOptions::new()).await.unwrap();
    remote.change_refs(&cx, &changes, &PushOptions::new()).await.expect("all is as wanted");
    assert!(!exists(&repository, "refs/heads/free") && exists(&repository, "refs/heads/env/dev"));
    fsck(&repository);
}

#[tokio::test]
async fn a_server_that_cannot_change_refs_together_is_not_asked_to() {
    let server = Server::find();
    let (name, repository) = server.repository("not-atomic");
    configure(&repository, "receive.advertiseAtomic", "false");
    let (remote, cx) = (server.remote(&name).build().unwrap(), context("refs"));
    let head = Revision::from(repository.head("main"));
    let changes = ["refs/heads/a", "refs/heads/b"].map(|name| RefChange::create(name, head.clone()));
    let error = remote.change_refs(&cx, &changes, &PushOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("one after the other") && !exists(&repository, "refs/heads/a"), "{error}");
    remote.change_refs(&cx, &changes, &PushOptions::new().one_by_one()).await.unwrap();
    assert!(exists(&repository, "refs/heads/a") && exists(&repository, "refs/heads/b"));
}

#[tokio::test]
async fn push_options_reach_the_hooks_of_a_server_that_takes_them() {
    let server = Server::find();
    let (name, repository) = server.repository("options");
    let (remote, cx) = (server.remote(&name).build().unwrap(), context("refs"));
    let head = Revision::from(repository.head("main"));
    let options = PushOptions::new().option("ci.skip").option("reviewer=ada lovelace");
    let create = |name: &str| [RefChange::create(name, head.clone())];
    let error = remote.change_refs(&cx, &create("refs/heads/a"), &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    configure(&repository, "receive.advertisePushOptions", "true");
    hook(&repository, "pre-receive", "env | grep ^GIT_PUSH_OPTION_ | sort > told");
    remote.change_refs(&cx, &create("refs/heads/a"), &options).await.unwrap();
    let told = std::fs::read_to_string(repository.path().join("told")).unwrap();
    assert_eq!(told, "GIT_PUSH_OPTION_0=ci.skip\nGIT_PUSH_OPTION_1=reviewer=ada lovelace\nGIT_PUSH_OPTION_COUNT=2\n");
}
