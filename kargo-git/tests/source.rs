//! Looking for commits in a repository on this machine.
#![allow(missing_docs, clippy::unwrap_used)]

use kargo_core::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source};
use kargo_core::{Artifact, ErrorKind, GitCommit, Subscription};
use kargo_git::testing::BareRepository;
use kargo_git::{GitSource, GitSubscription};

async fn discover(subscription: GitSubscription, cursor: Option<&Cursor>) -> Discovery {
    let config = Subscription::from(subscription).config;
    let cx = Context::system("discover");
    GitSource::new().discover(&cx, &DiscoverRequest::new(&config).with_cursor(cursor)).await.unwrap()
}

fn found(discovery: Discovery) -> (Vec<GitCommit>, Cursor) {
    let Discovery::Found { candidates, cursor } = discovery else { panic!("nothing was found") };
    let commits = candidates.into_iter().map(|candidate| match candidate {
        Artifact::Commit(commit) => commit,
        other => panic!("{other} is no commit"),
    });
    (commits.collect(), cursor.unwrap())
}

#[tokio::test]
async fn the_newest_commits_of_a_branch_are_found_with_subject_and_author() {
    let repository = BareRepository::new();
    let long = "x".repeat(90);
    let ids: Vec<String> =
        ["First\n\nBody", "Second", &long].map(|m| repository.commit("main", &[("a", m)], m)).into_iter().collect();
    let subscription = GitSubscription::new(repository.url()).branch("main");
    let (commits, cursor) = found(discover(subscription.clone(), None).await);
    assert_eq!(commits.iter().map(|c| &c.id).collect::<Vec<_>>(), ids.iter().rev().collect::<Vec<_>>());
    assert_eq!(commits[2].message.as_deref(), Some("First"));
    assert_eq!(commits[0].message.as_deref(), Some(format!("{}...", "x".repeat(80)).as_str()));
    assert_eq!(commits[0].author.as_deref(), Some("Tester <tester@localhost>"));
    assert_eq!(commits[0].branch.as_deref(), Some("main"));
    assert_eq!(commits[0].repo_url, repository.url());

    assert_eq!(discover(subscription.clone(), Some(&cursor)).await, Discovery::Unchanged);
    let (two, _) = found(discover(subscription.clone().discovery_limit(2), Some(&cursor)).await);
    assert_eq!(two.len(), 2, "a cursor of another configuration does not count");
    let newest = repository.commit("main", &[("a", "4")], "Fourth");
    let (commits, _) = found(discover(subscription, Some(&cursor)).await);
    assert_eq!(commits[0].id, newest);
}

#[tokio::test]
async fn without_a_branch_the_default_one_is_looked_at_and_not_named() {
    let repository = BareRepository::new();
    let config = Subscription::from(GitSubscription::new(repository.url())).config;
    let cx = Context::system("discover");
    let error = GitSource::new().discover(&cx, &DiscoverRequest::new(&config)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "an empty repository is no empty result");
    let id = repository.commit("main", &[("a", "1")], "First");
    let (commits, _) = found(discover(GitSubscription::new(repository.url()), None).await);
    assert_eq!((commits[0].id.as_str(), commits[0].branch.as_deref()), (id.as_str(), None));
}

#[tokio::test]
async fn git_14_an_annotated_tag_gives_the_commit_and_not_the_tag() {
    let repository = BareRepository::new();
    let old = repository.commit("main", &[("a", "1")], "First");
    let tag = repository.tag("v1.0.0", "main", Some("Release 1.0.0\n"));
    let new = repository.commit("main", &[("a", "2")], "Second");
    repository.tag("v1.1.0", "main", None);
    let (commits, _) = found(discover(GitSubscription::new(repository.url()).semver("^1"), None).await);
    let seen: Vec<_> = commits.iter().map(|c| (c.tag.as_deref().unwrap(), c.id.as_str())).collect();
    assert_eq!(seen, [("v1.1.0", new.as_str()), ("v1.0.0", old.as_str())]);
    assert_ne!(tag, old);
    assert_eq!(commits[1].message.as_deref(), Some("First"));
}

#[tokio::test]
async fn git_13_tags_of_one_commit_are_candidates_of_their_own_the_highest_first() {
    let repository = BareRepository::new();
    repository.commit("main", &[("a", "1")], "First");
    for tag in ["v1.9.0", "v1.10.0", "v1.2.0", "v2.0.0-rc.1", "v2", "latest"] {
        repository.tag(tag, "main", None);
    }
    let tags = |commits: Vec<GitCommit>| commits.into_iter().map(|c| c.tag.unwrap()).collect::<Vec<_>>();
    let subscription = GitSubscription::new(repository.url()).semver("^1");
    let (commits, cursor) = found(discover(subscription.clone(), None).await);
    assert_eq!(tags(commits), ["v1.10.0", "v1.9.0", "v1.2.0"]);
    assert_eq!(discover(subscription.clone(), Some(&cursor)).await, Discovery::Unchanged);
    repository.tag("not-a-version", "main", None);
    assert_eq!(discover(subscription.clone(), Some(&cursor)).await, Discovery::Unchanged);
    repository.tag("v1.11.0", "main", None);
    let (commits, _) = found(discover(subscription.discovery_limit(2), Some(&cursor)).await);
    assert_eq!(tags(commits), ["v1.11.0", "v1.10.0"]);
    let lenient = GitSubscription::new(repository.url()).semver(">=2").lenient_semvers();
    assert_eq!(tags(found(discover(lenient, None).await).0), ["v2"]);
}

#[tokio::test]
async fn no_tag_that_fits_is_an_empty_result_and_a_missing_branch_an_error() {
    let repository = BareRepository::new();
    repository.commit("main", &[("a", "1")], "First");
    let (commits, _) = found(discover(GitSubscription::new(repository.url()).semver("^1"), None).await);
    assert!(commits.is_empty());
    let config = Subscription::from(GitSubscription::new(repository.url()).branch("mian")).config;
    let cx = Context::system("discover");
    let error = GitSource::new().discover(&cx, &DiscoverRequest::new(&config)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("did you mean main?"), "{error}");
}

#[test]
fn an_ssh_url_that_cannot_be_one_is_refused_when_the_pipeline_is_put_together() {
    let validate = |url: &str| GitSource::new().validate(&Subscription::from(GitSubscription::new(url)).config);
    validate("git@git.example:acme/app.git").unwrap();
    for url in ["git@-oProxyCommand=x:acme/app.git", "ssh://git:s3cret@git.example/x", "git@git.example:"] {
        let error = validate(url).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && !error.report().contains("s3cret"), "{url}: {error}");
    }
}
