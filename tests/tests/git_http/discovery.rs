//! What looking for commits costs, and that it finds what stock git finds.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use kargo_core::plugin::{Cursor, DiscoverRequest, Discovery, Source as _};
use kargo_core::{Artifact, ErrorKind, GitCommit, Result, Subscription};
use kargo_git::testing::BareRepository;
use kargo_git::{Credentials, GitCache, GitSource, GitSubscription, Limits};
use kargo_tests::git;

use crate::server::*;

/// A commit of one file on `main`, in the language of `git fast-import`.
fn commit(stream: &mut String, n: usize, path: &str) {
    let (time, message) = (1_700_000_000 + n * 60, format!("Commit {n}"));
    let who = format!("Ada <ada@acme.example> {time} +0000");
    write!(
        stream,
        "commit refs/heads/main\nmark :{}\nauthor {who}\ncommitter {who}\ndata {}\n{message}\nM 100644 inline {path}\ndata {}\n{n}\n",
        n + 1,
        message.len(),
        n.to_string().len(),
    )
    .unwrap();
}

/// A source with the server's password, for relays in front of it too.
fn source_for(server: &Server, url: &str) -> GitSource {
    GitSource::new().credentials(url, Credentials::basic(&server.user, server.password.as_str()))
}

/// The looks of many subscriptions, all at the same time.
async fn look(
    source: &GitSource,
    subscriptions: &[GitSubscription],
    cursors: &[Cursor],
) -> Vec<Result<Option<(Vec<GitCommit>, Cursor)>>> {
    let looks = subscriptions.iter().enumerate().map(|(n, subscription)| async move {
        let config = Subscription::from(subscription.clone()).config;
        let request = DiscoverRequest::new(&config).with_cursor(cursors.get(n));
        match source.discover(&context("discover"), &request).await? {
            Discovery::Unchanged => Ok(None),
            Discovery::Found { candidates, cursor } => {
                let commits = candidates.into_iter().map(|candidate| match candidate {
                    Artifact::Commit(commit) => commit,
                    other => panic!("{other} is no commit"),
                });
                Ok(Some((commits.collect(), cursor.unwrap())))
            }
        }
    });
    futures::future::join_all(looks).await
}

async fn discover(
    source: &GitSource,
    subscriptions: &[GitSubscription],
    cursors: &[Cursor],
) -> (Vec<Vec<GitCommit>>, Vec<Cursor>) {
    let found = look(source, subscriptions, cursors).await.into_iter();
    found.map(|found| found.unwrap().expect("there is news")).unzip()
}

async fn nothing_new(source: &GitSource, subscriptions: &[GitSubscription], cursors: &[Cursor]) {
    for found in look(source, subscriptions, cursors).await {
        assert!(found.unwrap().is_none());
    }
}

fn ids(commits: &[GitCommit]) -> Vec<&str> {
    commits.iter().map(|commit| commit.id.as_str()).collect()
}

fn tags(commits: &[GitCommit]) -> Vec<&str> {
    commits.iter().map(|commit| commit.tag.as_deref().unwrap()).collect()
}

/// The commits of `main` along first parents as stock git has them, each with what it changes beside its first parent.
struct Log(String);

impl Log {
    fn of(repository: &Path) -> Self {
        let format = "--format=%x00%H";
        Self(git(repository, &["log", "main", "--first-parent", "-m", "--name-only", "--no-renames", format]))
    }

    /// The newest 20 that change something below `path`. Git's own filter by path would leave some out.
    fn below(&self, path: &str) -> String {
        let hits = self.0.split('\0').filter_map(|commit| {
            let (id, paths) = commit.split_once('\n')?;
            paths.lines().any(|changed| changed.starts_with(path)).then_some(id)
        });
        hits.take(20).collect::<Vec<_>>().join("\n")
    }
}

#[tokio::test]
async fn fifty_seven_subscriptions_of_one_repository_fetch_once_and_poll_with_one_request() {
    const APPS: usize = 57;
    const COMMITS: usize = 15_000;
    let server = Server::find();
    let mut stream = String::new();
    commit(&mut stream, 0, "docs/first.md");
    for n in 1..COMMITS {
        // Some apps change often and some seldom.
        let app = (n * n + n / 7) % APPS;
        commit(&mut stream, n, &format!("apps/app-{app:02}/env/{}/values.yaml", n % 3));
    }
    let name = import(&server, "monorepo", &stream);
    let repository = server.root.join(&name);
    let relay = Relay::new(&server, |_| {});
    let url = relay.url(&name);
    let source = source_for(&server, &url);
    let subscriptions: Vec<GitSubscription> = (0..APPS)
        .map(|app| GitSubscription::new(&url).branch("main").include_path(format!("apps/app-{app:02}")))
        .collect();

    let expected = |found: &[Vec<GitCommit>]| {
        let log = Log::of(&repository);
        for (app, found) in found.iter().enumerate() {
            let expected = log.below(&format!("apps/app-{app:02}/"));
            assert_eq!(ids(found).join("\n"), expected, "app {app}");
        }
    };
    let (first, cursors) = discover(&source, &subscriptions, &[]).await;
    assert_eq!(relay.requests(), 3, "the introduction, the refs, the history");
    expected(&first);

    nothing_new(&source, &subscriptions, &cursors).await;
    assert_eq!(relay.requests(), 1, "the refs");

    let mut more = String::from("reset refs/heads/main\nfrom refs/heads/main^0\n\n");
    commit(&mut more, COMMITS, "apps/app-07/env/0/values.yaml");
    import_more(&repository, &more);
    let (second, cursors) = discover(&source, &subscriptions, &cursors).await;
    assert_eq!(relay.requests(), 2, "the refs, the new commit with its directories");
    expected(&second);
    assert_eq!(ids(&second[7])[0], git(&repository, &["rev-parse", "main"]));
    nothing_new(&source, &subscriptions, &cursors).await;
    assert_eq!(relay.requests(), 1);

    // The one that has not changed since the beginning.
    let seldom = [GitSubscription::new(&url).branch("main").include_path("glob:docs/**")];
    let (found, _) = discover(&source, &seldom, &[]).await;
    assert_eq!(ids(&found[0]), [git(&repository, &["rev-list", "--max-parents=0", "main"])]);
    assert_eq!(relay.requests(), 2, "the refs, the rest of the history");
}

#[tokio::test]
async fn of_ten_thousand_tags_the_newest_twenty_cost_three_requests() {
    const TAGS: usize = 10_000;
    let server = Server::find();
    let mut stream = String::new();
    for n in 0..TAGS / 2 {
        commit(&mut stream, n, "a");
    }
    for n in 0..TAGS {
        let version = format!("v{}.{}.{}", n / 1000, n / 10 % 100, n % 10);
        if n % 2 == 0 {
            write!(stream, "reset refs/tags/{version}\nfrom :{}\n\n", n / 2 + 1).unwrap();
        } else {
            let (time, message) = (1_800_000_000 - n, format!("Release {version}"));
            write!(
                stream,
                "tag {version}\nfrom :{}\ntagger Bob <bob@acme.example> {time} +0000\ndata {}\n{message}\n",
                n / 2 + 1,
                message.len()
            )
            .unwrap();
        }
    }
    let name = import(&server, "tags", &stream);
    let repository = server.root.join(&name);
    let relay = Relay::new(&server, |_| {});
    let url = relay.url(&name);
    let source = source_for(&server, &url).filter("taggers", |_, commit| {
        assert_eq!((commit.tagger.is_some(), commit.author), (commit.annotation.is_some(), "Ada <ada@acme.example>"));
        Ok(true)
    });
    let by_version = [GitSubscription::new(&url).semver(">=1")];
    let (first, cursors) = discover(&source, &by_version, &[]).await;
    assert_eq!(relay.requests(), 3, "the introduction, the refs, the newest tags with their commits");
    let expected = git(
        &repository,
        &[
            "for-each-ref",
            "--sort=-version:refname",
            "--count=20",
            "--format=%(refname:short) %(objectname) %(*objectname)",
            "refs/tags",
        ],
    );
    let expected: Vec<(&str, &str)> = expected
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (tag, id) = (words.next().unwrap(), words.next().unwrap());
            (tag, words.next().filter(|peeled| !peeled.is_empty()).unwrap_or(id))
        })
        .collect();
    assert_eq!(tags(&first[0]).into_iter().zip(ids(&first[0])).collect::<Vec<_>>(), expected);
    nothing_new(&source, &by_version, &cursors).await;
    assert_eq!(relay.requests(), 1);

    let newest = [GitSubscription::new(&url).newest_tags().allow_tags("^v")];
    let (found, _) = discover(&source, &newest, &[]).await;
    let expected = git(
        &repository,
        &["for-each-ref", "--sort=-creatordate", "--count=20", "--format=%(refname:short)", "refs/tags"],
    );
    assert_eq!(tags(&found[0]).join("\n"), expected);
    assert_eq!(relay.requests(), 2, "the refs, and the rest of the tags");

    // All names would be some 800 KB, and a tenth of them some 80.
    let few = source_for(&server, &url).limits(Limits { bytes: 150_000, ..Limits::default() });
    let newest = [GitSubscription::new(&url).newest_tags()];
    let error = look(&few, &newest, &[]).await.remove(0).unwrap_err();
    assert!(error.message().contains("more than 150000 bytes"), "{error}");
    let few = source_for(&server, &url).limits(Limits { bytes: 150_000, ..Limits::default() });
    let (found, _) = discover(&few, &[GitSubscription::new(&url).semver(">=1").allow_tags(r"^v9\.")], &[]).await;
    assert_eq!(tags(&found[0]), tags(&first[0]), "they are those of before");
    let (found, _) =
        discover(&few, &[GitSubscription::new(&url).semver(">=1").allow_tags(r"^v9\.9[0-9]\.0$")], &[]).await;
    assert_eq!(tags(&found[0])[..2], ["v9.99.0", "v9.98.0"]);
    assert_eq!(tags(&found[0]).len(), 10);
}

#[tokio::test]
async fn histories_that_grow_merge_and_are_replaced_are_followed_as_git_sees_them() {
    let server = Server::find();
    let (name, repository) = server.repository("moving");
    let relay = Relay::new(&server, |_| {});
    let urls = [relay.url(&name), repository.url()];
    let source = source_for(&server, &urls[0]);
    let subscriptions: Vec<GitSubscription> = urls
        .iter()
        .flat_map(|url| ["env/dev/", "env/", "src/", "README.md"].map(|path| (url, path)))
        .map(|(url, path)| GitSubscription::new(url).branch("main").include_path(path))
        .collect();
    let mut cursors = Vec::new();
    let start = repository.head("main");
    for round in 0..6 {
        match round {
            0 => {}
            1 => (0..30).for_each(|n| {
                let files = [("src/a/b/c/d", n.to_string()), ("env/prod/x", (n / 3).to_string())];
                let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
                repository.commit("main", &files, &format!("Commit {n}"));
            }),
            2 => {
                repository.branch("side", "main");
                repository.commit("side", &[("env/dev/side.yaml", "1")], "On the side");
                repository.commit("main", &[("src/a/b/c/d", "main")], "On main");
                repository.merge("main", "side", &[("env/dev/side.yaml", "1")], "Merge");
            }
            3 => {
                repository.reset("main", &start);
                repository.commit("main", &[("env/dev/new.yaml", "1"), ("src/a/b/c/d", "3")], "Instead");
            }
            4 => repository.reset("main", &start),
            _ => {
                // Nothing in common with what was there.
                repository.commit("other", &[("env/dev/other", "1")], "Another beginning");
                repository.commit("other", &[("src/a/b/x", "1")], "And on");
                repository.reset("main", &repository.head("other"));
            }
        }
        let (found, next) = discover(&source, &subscriptions, &cursors).await;
        let log = Log::of(repository.path());
        for (found, subscription) in found.iter().zip(&subscriptions) {
            let expected = log.below(&subscription.include_paths[0]);
            assert_eq!(ids(found).join("\n"), expected, "round {round}, {subscription:?}");
        }
        cursors = next;
        nothing_new(&source, &subscriptions, &cursors).await;
    }
}

#[tokio::test]
async fn odd_tags_cost_no_more_and_are_passed_over() {
    let server = Server::find();
    let (name, repository) = server.repository("odd-tags");
    let commit = repository.head("main");
    let at = |second| Timestamp::from_second(second).unwrap();
    let inner = repository.tag_object("inner", &commit, "Inner\n", at(1));
    let blob = repository.blob(noise(1 << 20).as_bytes());
    for (name, id) in [
        ("v1.0.0", &inner),
        ("v1.1.0", &repository.tag_object("outer", &inner, "Outer\n", at(2))),
        ("v9.0.0", &repository.tree_of(&commit)),
        ("v9.1.0", &repository.tag_object("tree", &repository.tree_of(&commit), "Of a tree\n", at(3))),
        ("v9.2.0", &repository.tag_object("blob", &blob, "Of a big file\n", at(4))),
    ] {
        repository.point(&format!("refs/tags/{name}"), id);
    }
    let relay = Relay::new(&server, |_| {});
    let url = relay.url(&name);
    for subscription in [
        GitSubscription::new(&url).semver("*"),
        GitSubscription::new(&url).newest_tags(),
        GitSubscription::new(&url).lexical_tags(),
    ] {
        let (found, _) = discover(&source_for(&server, &url), &[subscription], &[]).await;
        assert_eq!(tags(&found[0]), ["v1.1.0", "v1.0.0"]);
        assert!(found[0].iter().all(|found| found.id == commit), "{found:?}");
        assert!(relay.requests() <= 4, "the introduction, the refs, the tags, and the directory by itself");
    }
    let filtered = [GitSubscription::new(&url).semver("*").include_path("README.md")];
    assert_eq!(tags(&discover(&source_for(&server, &url), &filtered, &[]).await.0[0]), ["v1.1.0", "v1.0.0"]);
}

#[tokio::test]
async fn a_shallow_repository_is_looked_at_as_far_as_it_goes() {
    let server = Server::find();
    let (_, whole) = server.repository("whole");
    for n in 0..10 {
        whole.commit("main", &[("env/a", &n.to_string())], &format!("Commit {n}"));
    }
    let name = format!("git-http-shallow-{}-{}.git", std::process::id(), Timestamp::now().as_nanosecond());
    git(&server.root, &["clone", "-q", "--bare", "--depth=3", &whole.url(), &name]);
    let relay = Relay::new(&server, |_| {});
    let local = BareRepository::open(server.root.join(&name)).url();
    for url in [relay.url(&name), local] {
        let branch = GitSubscription::new(&url).branch("main");
        // As Git does, where the history ends all files are new.
        let subscriptions = [branch.clone(), branch.clone().include_path("env"), branch.include_path("README.md")];
        let (found, cursors) = discover(&source_for(&server, &url), &subscriptions, &[]).await;
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1], "{url}");
        nothing_new(&source_for(&server, &url), &subscriptions, &cursors).await;
    }
}

#[tokio::test]
async fn servers_that_send_no_parts_or_speak_the_old_protocol_find_the_same() {
    let server = Server::find();
    let (name, repository) = server.repository("plain");
    for n in 0..40 {
        repository.commit("main", &[("src/a/b", &n.to_string()), ("env/dev/x", &(n / 9).to_string())], &format!("{n}"));
        repository.tag(&format!("v1.{n}.0"), "main", (n % 2 == 0).then_some("Release\n"));
    }
    let old = Relay::new(&server, |bytes| {
        let header = b"git-protocol";
        if let Some(at) = bytes.windows(header.len()).position(|window| window.eq_ignore_ascii_case(header)) {
            bytes[at..at + header.len()].copy_from_slice(b"git-pr0toc0l");
        }
    });
    let new = Relay::new(&server, |_| {});
    for (relay, filter, any) in [(&new, "false", "false"), (&old, "true", "true"), (&old, "false", "false")] {
        configure(&repository, "uploadpack.allowFilter", filter);
        configure(&repository, "uploadpack.allowAnySHA1InWant", any);
        let url = relay.url(&name);
        let branch = GitSubscription::new(&url).branch("main").include_path("env/dev/");
        let tagged = GitSubscription::new(&url).semver("*").include_path("env/dev/");
        let (source, subscriptions) = (source_for(&server, &url), [branch, tagged]);
        for _ in 0..2 {
            let (found, _) = discover(&source, &subscriptions, &[]).await;
            let expected = Log::of(repository.path()).below("env/dev/");
            assert_eq!(ids(&found[0]).join("\n"), expected, "filter {filter}, any {any}");
            // The first commit of the repository has no tag.
            assert_eq!(ids(&found[1]).join("\n"), expected.rsplit_once('\n').unwrap().0, "filter {filter}, any {any}");
            repository.commit("main", &[("src/a/b", &format!("{filter} {any}"))], "More");
        }
    }
}

#[tokio::test]
async fn what_one_credential_was_shown_is_not_told_to_another() {
    let server = Server::find();
    let (name, _repository) = server.repository("secret");
    let url = format!("{}/{name}", server.url);
    let cache = GitCache::new();
    let subscription = [GitSubscription::new(&url).branch("main").include_path("env")];
    let mine = source_for(&server, &server.url).cache(cache.clone());
    assert_eq!(discover(&mine, &subscription, &[]).await.0[0].len(), 1);
    for other in [
        GitSource::new().credentials(&server.url, Credentials::basic(&server.user, "wrong")).cache(cache.clone()),
        GitSource::new().cache(cache.clone()),
    ] {
        for found in look(&other, &subscription, &[]).await {
            assert_eq!(found.unwrap_err().kind(), ErrorKind::Unauthenticated);
        }
    }
}

#[tokio::test]
async fn a_repository_whose_ids_are_sha256_is_looked_at() {
    let server = Server::find();
    let name = format!("git-http-look-sha256-{}-{}.git", std::process::id(), Timestamp::now().as_nanosecond());
    git(&server.root, &["init", "-q", "--bare", "--object-format=sha256", "-b", "main", &name]);
    let mut stream = String::new();
    for n in 0..50 {
        commit(&mut stream, n, ["env/dev/a", "src/b", "env/prod/c"][n % 3]);
    }
    let repository = server.root.join(&name);
    import_more(&repository, &stream);
    let source = source_for(&server, &server.url);
    let subscriptions = [
        GitSubscription::new(format!("{}/{name}", server.url)).branch("main").include_path("env/"),
        GitSubscription::new(repository.to_str().unwrap()).branch("main").include_path("env/"),
    ];
    for found in discover(&source, &subscriptions, &[]).await.0 {
        assert_eq!(ids(&found).join("\n"), Log::of(&repository).below("env/"));
    }
}

#[tokio::test]
async fn git_15_a_big_repository_is_looked_at_without_its_files() {
    let server = Server::find();
    let (name, repository) = server.repository("big");
    for n in 0..4 {
        let big = noise(1 << 20);
        repository.commit(
            "main",
            &[("big.bin", &big[n..]), ("env/dev/big.bin", &big[..n + 1000])],
            &format!("Big {n}"),
        );
        repository.tag(&format!("v1.{n}.0"), "main", None);
    }
    let url = format!("{}/{name}", server.url);
    for subscription in [
        GitSubscription::new(&url).branch("main"),
        GitSubscription::new(&url).branch("main").include_path("env"),
        GitSubscription::new(&url).newest_tags().include_path("env"),
    ] {
        let source = source_for(&server, &url).limits(Limits { bytes: 20_000, ..Limits::default() });
        let (found, _) = discover(&source, &[subscription], &[]).await;
        assert!(found[0].len() >= 4, "{found:?}");
    }
}

#[tokio::test]
async fn git_29_of_five_hundred_branches_one_is_fetched() {
    let server = Server::find();
    let mut stream = String::new();
    commit(&mut stream, 0, "env/a");
    for n in 1..=500 {
        let mut branch = String::new();
        commit(&mut branch, n, &format!("branches/{n}/{}", noise(400).replace(['/', '"', '\\', ' '], "-")));
        stream.push_str(&branch.replace("refs/heads/main", &format!("refs/heads/branch-{n}")));
    }
    let name = import(&server, "branches", &stream);
    let url = format!("{}/{name}", server.url);
    let source = source_for(&server, &url).limits(Limits { bytes: 4_000, requests: 3 });
    let branch = GitSubscription::new(&url).branch("main").include_path("env");
    let (found, _) = discover(&source, &[branch], &[]).await;
    assert_eq!(found[0].len(), 1);
}
