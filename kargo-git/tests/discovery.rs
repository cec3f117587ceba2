//! Looking for commits by tags, times and paths, in repositories on this machine with odd things in them.
#![allow(missing_docs, clippy::unwrap_used)]

use jiff::Timestamp;
use kargo_core::plugin::{Context, Cursor, DiscoverRequest, Discovery, Source};
use kargo_core::{Artifact, Error, ErrorKind, GitCommit, Result, Subscription};
use kargo_git::testing::BareRepository;
use kargo_git::{GitSource, GitSubscription};

async fn try_discover(
    source: &GitSource,
    subscription: &GitSubscription,
    cursor: Option<&Cursor>,
) -> Result<Option<(Vec<GitCommit>, Cursor)>> {
    let config = Subscription::from(subscription.clone()).config;
    let request = DiscoverRequest::new(&config).with_cursor(cursor);
    let Discovery::Found { candidates, cursor } = source.discover(&Context::system("discover"), &request).await? else {
        return Ok(None);
    };
    let commits = candidates.into_iter().map(|candidate| match candidate {
        Artifact::Commit(commit) => commit,
        other => panic!("{other} is no commit"),
    });
    Ok(Some((commits.collect(), cursor.unwrap())))
}

async fn discover(source: &GitSource, subscription: &GitSubscription) -> Vec<GitCommit> {
    try_discover(source, subscription, None).await.unwrap().unwrap().0
}

async fn failure(source: &GitSource, subscription: &GitSubscription) -> Error {
    try_discover(source, subscription, None).await.unwrap_err()
}

fn tags(commits: &[GitCommit]) -> Vec<&str> {
    commits.iter().map(|commit| commit.tag.as_deref().unwrap()).collect()
}

fn messages(commits: &[GitCommit]) -> Vec<&str> {
    commits.iter().map(|commit| commit.message.as_deref().unwrap()).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test]
async fn git_11_only_commits_that_change_an_included_path_are_found() {
    let repository = BareRepository::new();
    repository.commit("main", &[("env/prod/a.yaml", "1"), ("environment/x", "1"), ("env/top", "1")], "Start");
    repository.commit("main", &[("environment/x", "2")], "Neighbour");
    repository.commit("main", &[("env/prod/a.yaml", "2")], "Deep");
    repository.commit("main", &[("env/top", "2")], "Top");
    repository.commit("main", &[("env/notes.md", "2")], "Notes");
    let source = GitSource::new();
    let with = |selector: &str| GitSubscription::new(repository.url()).branch("main").include_path(selector);
    for (subscription, expected) in [
        (with("env"), vec!["Notes", "Top", "Deep", "Start"]),
        (with("glob:env/*"), vec!["Notes", "Top", "Start"]),
        (with("glob:env/**"), vec!["Notes", "Top", "Deep", "Start"]),
        (with("regex:^env/.*$"), vec!["Notes", "Top", "Deep", "Start"]),
        (with("env").exclude_path("glob:**/*.md"), vec!["Top", "Deep", "Start"]),
        (with("env").exclude_path("env/prod").discovery_limit(2), vec!["Notes", "Top"]),
        (GitSubscription::new(repository.url()).exclude_path("env"), vec!["Neighbour", "Start"]),
        (with("charts"), vec![]),
    ] {
        assert_eq!(messages(&discover(&source, &subscription).await), expected, "{subscription:?}");
    }
}

#[tokio::test]
async fn a_merge_is_compared_with_its_first_parent_and_its_side_is_not_walked() {
    let repository = BareRepository::new();
    repository.commit("main", &[("env/a", "1"), ("src/a", "1")], "Start");
    repository.branch("side", "main");
    repository.commit("side", &[("env/a", "2")], "On the side");
    repository.commit("main", &[("src/a", "2")], "On main");
    repository.merge("main", "side", &[("env/a", "2")], "Merge");
    repository.branch("other", "main");
    repository.commit("other", &[("src/b", "1")], "Other");
    repository.merge("main", "other", &[], "Merge that changes nothing here");
    let subscription = GitSubscription::new(repository.url()).branch("main");
    let source = GitSource::new();
    let all = ["Merge that changes nothing here", "Merge", "On main", "Start"];
    assert_eq!(messages(&discover(&source, &subscription).await), all);
    let filtered = subscription.include_path("env");
    assert_eq!(messages(&discover(&source, &filtered).await), ["Merge", "Start"]);
}

#[tokio::test]
async fn a_branch_that_was_set_back_or_has_moved_is_followed_to_where_it_stands() {
    let repository = BareRepository::new();
    let source = GitSource::new();
    let subscription = GitSubscription::new(repository.url()).branch("main").include_path("env");
    let first = repository.commit("main", &[("env/a", "1")], "First");
    repository.commit("main", &[("env/a", "2")], "Second");
    let (found, cursor) = try_discover(&source, &subscription, None).await.unwrap().unwrap();
    assert_eq!(messages(&found), ["Second", "First"]);
    assert!(try_discover(&source, &subscription, Some(&cursor)).await.unwrap().is_none(), "nothing is new");
    repository.reset("main", &first);
    repository.commit("main", &[("env/a", "3")], "Instead");
    let (found, cursor) = try_discover(&source, &subscription, Some(&cursor)).await.unwrap().unwrap();
    assert_eq!(messages(&found), ["Instead", "First"]);
    repository.reset("main", &first);
    let (found, _) = try_discover(&source, &subscription, Some(&cursor)).await.unwrap().unwrap();
    assert_eq!(messages(&found), ["First"]);
}

#[tokio::test]
async fn nothing_that_fits_within_the_depth_is_an_error_and_never_an_empty_result() {
    let repository = BareRepository::new();
    repository.commit("main", &[("env/a", "1")], "Start");
    for n in 0..20 {
        repository.commit("main", &[("src/a", &n.to_string())], &format!("Commit {n}"));
        repository.tag(&format!("v1.{n}.0"), "main", None);
    }
    let (shallow, deep) = (GitSource::new().search_depth(20), GitSource::new().search_depth(21));
    let by_branch = GitSubscription::new(repository.url()).branch("main").include_path("env");
    let error = failure(&shallow, &by_branch).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("20 commits") && error.message().contains("search_depth"), "{error}");
    assert_eq!(messages(&discover(&deep, &by_branch).await), ["Start"]);
    let by_tag = GitSubscription::new(repository.url()).semver("*").include_path("env");
    let error = failure(&GitSource::new().search_depth(19), &by_tag).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("19 tags"), "{error}");
    assert!(discover(&shallow, &by_tag).await.is_empty(), "all were looked at, and none fits");
    // Who looks deeper looks again, though the refs stand where they stood.
    let some = GitSubscription::new(repository.url()).branch("main").include_path("src");
    let (_, cursor) = try_discover(&shallow, &some, None).await.unwrap().unwrap();
    assert!(try_discover(&shallow, &some, Some(&cursor)).await.unwrap().is_none());
    assert!(try_discover(&deep, &some, Some(&cursor)).await.unwrap().is_some());
    // What was found before the end is told, though it is less than was wanted.
    assert_eq!(discover(&GitSource::new().search_depth(3), &some).await.len(), 3);
}

#[tokio::test]
async fn history_that_a_repository_is_given_later_is_found() {
    let repository = BareRepository::new();
    let first = repository.commit("main", &[("env/a", "1"), ("src/a", "1")], "First");
    let second = repository.commit("main", &[("src/a", "2")], "Second");
    for name in ["v1.0.0", "v1.1.0"] {
        repository.tag(name, "main", Some("Release\n"));
    }
    let (above, rest) = first.split_at(2);
    let (file, elsewhere) = (repository.path().join("objects").join(above).join(rest), repository.path().join("kept"));
    std::fs::rename(&file, &elsewhere).unwrap();
    std::fs::write(repository.path().join("shallow"), format!("{second}\n")).unwrap();
    let source = GitSource::new();
    let all = GitSubscription::new(repository.url()).branch("main");
    let (by_path, by_tag) = (all.clone().include_path("env"), all.clone().semver("*").include_path("env"));
    assert_eq!(messages(&discover(&source, &all).await), ["Second"]);
    // Where history ends, all is new.
    assert_eq!(messages(&discover(&source, &by_path).await), ["Second"]);
    assert_eq!(tags(&discover(&source, &by_tag).await), ["v1.1.0", "v1.0.0"]);

    std::fs::rename(&elsewhere, &file).unwrap();
    std::fs::remove_file(repository.path().join("shallow")).unwrap();
    assert_eq!(messages(&discover(&source, &all).await), ["Second", "First"]);
    assert_eq!(messages(&discover(&source, &by_path).await), ["First"]);
    assert!(discover(&source, &by_tag).await.is_empty());
}

#[tokio::test]
async fn commits_that_are_older_do_not_count() {
    let repository = BareRepository::new();
    for second in [1_000, 2_000, 3_000] {
        repository.commit_at("main", &[("a", &second.to_string())], &format!("At {second}"), at(second));
    }
    let subscription = GitSubscription::new(repository.url()).branch("main").since(at(2_000));
    assert_eq!(messages(&discover(&GitSource::new(), &subscription).await), ["At 3000", "At 2000"]);
    let none = subscription.since(at(4_000));
    assert!(discover(&GitSource::new(), &none).await.is_empty());
}

#[tokio::test]
async fn git_14_the_newest_tags_are_ordered_by_tagger_and_name_the_commit() {
    let repository = BareRepository::new();
    let old = repository.commit_at("main", &[("a", "1")], "Old", at(1_000));
    let new = repository.commit_at("main", &[("a", "2")], "New", at(5_000));
    // Made long after its commit, so it is newer than the plain tag of the newer commit.
    repository.point("refs/tags/late", &repository.tag_object("late", &old, "Late\n", at(9_000)));
    repository.point("refs/tags/early", &repository.tag_object("early", &new, "Early\n", at(2_000)));
    repository.point("refs/tags/plain", &new);
    repository.point("refs/tags/also-plain", &new);
    let subscription = GitSubscription::new(repository.url()).newest_tags();
    let found = discover(&GitSource::new(), &subscription).await;
    assert_eq!(tags(&found), ["late", "also-plain", "plain", "early"]);
    assert_eq!(found.iter().map(|commit| &commit.id).collect::<Vec<_>>(), [&old, &new, &new, &new]);
    assert_eq!(
        tags(&discover(&GitSource::new(), &subscription.ignore_tags("late").discovery_limit(1)).await),
        ["also-plain"]
    );
}

#[tokio::test]
async fn tags_come_in_the_reverse_order_of_their_bytes() {
    let repository = BareRepository::new();
    repository.commit("main", &[("a", "1")], "Start");
    for name in ["2026-01-02", "2026-01-10", "Z", "a", "release/1"] {
        repository.tag(name, "main", None);
    }
    let subscription = GitSubscription::new(repository.url()).lexical_tags();
    let found = discover(&GitSource::new(), &subscription).await;
    assert_eq!(tags(&found), ["release/1", "a", "Z", "2026-01-10", "2026-01-02"]);
    let dated = subscription.allow_tags(r"^\d{4}-").discovery_limit(1);
    assert_eq!(tags(&discover(&GitSource::new(), &dated).await), ["2026-01-10"]);
}

#[tokio::test]
async fn nested_tags_lead_to_the_commit_and_tags_of_other_things_are_passed_over() {
    let repository = BareRepository::new();
    let commit = repository.commit_at("main", &[("env/a", "1")], "Start", at(1_000));
    let inner = repository.tag_object("v1.0.0", &commit, "Inner\n", at(2_000));
    let outer = repository.tag_object("v1.1.0", &inner, "Outer\n", at(3_000));
    let (tree, blob) = (repository.tree_of(&commit), repository.blob(b"A key\n"));
    for (name, id) in [
        ("v1.0.0", &inner),
        ("v1.1.0", &outer),
        ("v9.0.0", &tree),
        ("v9.1.0", &blob),
        ("v9.2.0", &repository.tag_object("v9.2.0", &tree, "Of a tree\n", at(4_000))),
        ("v9.3.0", &repository.tag_object("v9.3.0", &blob, "Of a file\n", at(5_000))),
    ] {
        repository.point(&format!("refs/tags/{name}"), id);
    }
    let by = |subscription: GitSubscription| subscription.discovery_limit(2);
    for subscription in [
        by(GitSubscription::new(repository.url()).semver("*")),
        by(GitSubscription::new(repository.url()).newest_tags()),
        by(GitSubscription::new(repository.url()).lexical_tags()),
        by(GitSubscription::new(repository.url()).semver("*").include_path("env")),
    ] {
        let source = GitSource::new();
        for round in 0..2 {
            let found = discover(&source, &subscription).await;
            assert_eq!(tags(&found), ["v1.1.0", "v1.0.0"], "{subscription:?}, round {round}");
            assert!(found.iter().all(|found| found.id == commit), "{found:?}");
        }
    }
}

#[tokio::test]
async fn a_tag_that_moves_or_goes_is_news_and_one_that_does_not_count_is_not() {
    let repository = BareRepository::new();
    let first = repository.commit("main", &[("a", "1")], "First");
    let second = repository.commit("main", &[("a", "2")], "Second");
    repository.point("refs/tags/v1.0.0", &first);
    repository.point("refs/tags/v1.1.0", &first);
    let source = GitSource::new();
    let subscription = GitSubscription::new(repository.url()).semver("^1");
    let (_, cursor) = try_discover(&source, &subscription, None).await.unwrap().unwrap();
    repository.point("refs/tags/latest", &first);
    repository.point("refs/tags/v2.0.0", &first);
    assert!(try_discover(&source, &subscription, Some(&cursor)).await.unwrap().is_none());
    repository.point("refs/tags/v1.1.0", &second);
    let (found, cursor) = try_discover(&source, &subscription, Some(&cursor)).await.unwrap().unwrap();
    assert_eq!((tags(&found), &found[0].id), (vec!["v1.1.0", "v1.0.0"], &second));
    repository.delete_tag("v1.1.0");
    let (found, _) = try_discover(&source, &subscription, Some(&cursor)).await.unwrap().unwrap();
    assert_eq!(tags(&found), ["v1.0.0"]);
}

#[tokio::test]
async fn a_repository_without_commits_is_no_empty_branch_but_has_no_tags() {
    let repository = BareRepository::new();
    let by_path = GitSubscription::new(repository.url()).include_path("env");
    assert_eq!(failure(&GitSource::new(), &by_path).await.kind(), ErrorKind::NotFound);
    for subscription in [
        GitSubscription::new(repository.url()).newest_tags(),
        GitSubscription::new(repository.url()).lexical_tags(),
        GitSubscription::new(repository.url()).semver("*").include_path("env"),
    ] {
        assert!(discover(&GitSource::new(), &subscription).await.is_empty(), "{subscription:?}");
    }
}

#[tokio::test]
async fn a_huge_message_is_cut_and_costs_no_memory_afterwards() {
    let repository = BareRepository::new();
    let message = format!("Subject {}\n\n{}", "x".repeat(200), "y".repeat(8 << 20));
    repository.commit("main", &[("env/a", "1")], &message);
    let cache = kargo_git::GitCache::new();
    let source = GitSource::new().cache(cache.clone());
    let found = discover(&source, &GitSubscription::new(repository.url()).branch("main")).await;
    let expected = format!("Subject {}...", "x".repeat(72));
    assert_eq!(messages(&found), [expected.as_str()]);
    assert!(cache.size() < 16 << 10, "{}", cache.size());
}

#[tokio::test]
async fn a_filter_of_the_host_sees_commit_and_tag_and_its_name_makes_older_results_void() {
    let repository = BareRepository::new();
    let commit = repository.commit_at("main", &[("a", "1")], "Start", at(1_000));
    for (n, message) in ["Release candidate\n", "Released\n"].iter().enumerate() {
        let name = format!("v1.{n}.0");
        repository.point(&format!("refs/tags/{name}"), &repository.tag_object(&name, &commit, message, at(2_000)));
    }
    let subscription = GitSubscription::new(repository.url()).semver("^1");
    let source = GitSource::new().filter("candidates", |subscription, commit| {
        assert_eq!((commit.author, commit.committer), ("Tester <tester@localhost>", "Tester <tester@localhost>"));
        assert_eq!((commit.subject, commit.tagger), ("Start", Some("Tester <tester@localhost>")));
        assert_eq!((commit.time, subscription.discovery_limit), (at(2_000), 20));
        Ok(commit.annotation == Some("Release candidate"))
    });
    let (found, cursor) = try_discover(&source, &subscription, None).await.unwrap().unwrap();
    assert_eq!(tags(&found), ["v1.0.0"]);
    assert!(try_discover(&source, &subscription, Some(&cursor)).await.unwrap().is_none());
    let other = source.filter("none", |_, _| Ok(false));
    assert!(try_discover(&other, &subscription, Some(&cursor)).await.unwrap().unwrap().0.is_empty());
}

#[tokio::test]
async fn a_cache_without_room_forgets_everything_and_finds_the_same() {
    let repository = BareRepository::new();
    for n in 0..30 {
        repository.commit("main", &[(&*format!("env/{}", n % 3), &*n.to_string())], &format!("Commit {n}"));
    }
    let cache = kargo_git::GitCache::with_capacity(0);
    let source = GitSource::new().cache(cache.clone());
    let looks = (0..3).map(|n| {
        let (source, subscription) = (source.clone(), GitSubscription::new(repository.url()).branch("main"));
        async move { discover(&source, &subscription.include_path(format!("env/{n}"))).await }
    });
    for (n, found) in futures::future::join_all(looks).await.into_iter().enumerate() {
        let expected: Vec<String> = (0..30).rev().filter(|each| each % 3 == n).map(|n| format!("Commit {n}")).collect();
        assert_eq!(messages(&found), expected);
    }
    assert_eq!(cache.size(), 0);
}
