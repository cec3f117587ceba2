//! Making, moving and removing branches and tags of a repository on this machine.
#![allow(missing_docs, clippy::unwrap_used)]

use kargo_core::plugin::Context;
use kargo_core::{ErrorKind, Revision};
use kargo_git::testing::BareRepository;
use kargo_git::{PushOptions, RefChange, Remote};

fn revision(id: &str) -> Revision {
    Revision::from(id)
}

async fn change(repository: &BareRepository, changes: &[RefChange]) -> kargo_core::Result<()> {
    let remote = Remote::new(repository.url()).unwrap();
    remote.change_refs(&Context::system("refs"), changes, &PushOptions::new()).await
}

#[tokio::test]
async fn branches_and_tags_are_made_moved_and_removed_together_or_not_at_all() {
    let repository = BareRepository::new();
    let first = revision(&repository.commit("main", &[("a", "1")], "First"));
    let second = revision(&repository.commit("main", &[("a", "2")], "Second"));
    let make =
        [RefChange::create("refs/heads/env/dev", first.clone()), RefChange::create("refs/tags/v1", second.clone())];
    change(&repository, &make).await.unwrap();
    change(&repository, &make).await.expect("what was made is made");
    assert_eq!(repository.head("env/dev"), first.as_str());

    let forward = RefChange::update("refs/heads/env/dev", first.clone(), second.clone());
    let stale = RefChange::delete("refs/tags/v1", first.clone());
    let error = change(&repository, &[forward.clone(), stale]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("refs/tags/v1") && error.message().contains(second.as_str()), "{error}");
    assert_eq!(repository.head("env/dev"), first.as_str(), "one did not fit, so none was changed");

    change(&repository, &[forward, RefChange::delete("refs/tags/v1", second.clone())]).await.unwrap();
    assert_eq!(repository.head("env/dev"), second.as_str());
    change(&repository, &[RefChange::create("refs/tags/v1", first.clone())]).await.expect("the tag was gone");
}

#[tokio::test]
async fn only_a_branch_of_a_promotion_is_set_back() {
    let repository = BareRepository::new();
    let first = revision(&repository.commit("main", &[("a", "1")], "First"));
    let second = revision(&repository.commit("main", &[("a", "2")], "Second"));
    repository.branch("kargo/promotion/dev.1", "main");
    for name in ["refs/heads/main", "refs/heads/kargo/promotions"] {
        let back = RefChange::update(name, second.clone(), first.clone());
        let error = change(&repository, &[back]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        assert!(error.message().contains("set back"), "{error}");
    }
    let own = "refs/heads/kargo/promotion/dev.1";
    let lease = RefChange::update(own, first.clone(), second.clone());
    change(&repository, &[lease]).await.expect("it is there already");
    change(&repository, &[RefChange::update(own, second, first.clone())]).await.unwrap();
    assert_eq!(repository.head("kargo/promotion/dev.1"), first.as_str());
    change(&repository, &[RefChange::delete(own, first)]).await.unwrap();
    assert!(repository.log("kargo/promotion/dev.1").is_empty());
}

#[tokio::test]
async fn what_is_no_branch_or_tag_is_refused_before_anything_is_asked() {
    let remote = Remote::new("https://git.invalid/x.git").unwrap();
    let id = revision(&"1".repeat(40));
    for (name, to) in [
        ("main", &id),
        ("HEAD", &id),
        ("refs/notes/x", &id),
        ("refs/heads/a..b", &id),
        ("refs/heads/", &id),
        ("refs/heads/main", &revision("v1")),
    ] {
        let change = [RefChange::create(name, to.clone())];
        let error = remote.change_refs(&Context::system("refs"), &change, &PushOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name} {to}");
    }
    let options = PushOptions::new().option("ci.skip\nmain");
    let change = [RefChange::create("refs/heads/x", id)];
    let error = remote.change_refs(&Context::system("refs"), &change, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_repository_without_hooks_takes_no_push_options() {
    let repository = BareRepository::new();
    let first = revision(&repository.commit("main", &[("a", "1")], "First"));
    let remote = Remote::new(repository.url()).unwrap();
    let (change, options) = ([RefChange::create("refs/heads/x", first)], PushOptions::new().option("ci.skip"));
    let error = remote.change_refs(&Context::system("refs"), &change, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(repository.log("x").is_empty());
}
