//! Kargo's steps for Git against a server.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kargo_core::Subscription;
use kargo_core::plugin::{DiscoverRequest, Source as _, StepOutcome};
use kargo_git::testing::StepByStep;
use kargo_git::{CredentialRules, Credentials, GitCache, GitSource, GitSubscription, Limits, Timeouts};
use kargo_tests::git;
use kargo_tests::pushing::{
    a_forced_push_keeps_to_its_lease, a_killed_server_has_one_commit, change, lost_races_have_an_end, promotion, push,
    the_deadline_of_a_call_ends_a_push,
};
use serde_json::{Value, json};

use crate::server::*;

const WRITERS: &str = env!("CARGO_BIN_EXE_writers");

fn access(server: &Server, url: &str) -> GitSource {
    GitSource::new().credentials(url, Credentials::basic(&server.user, server.password.as_str()))
}

#[tokio::test]
async fn a_promotion_costs_what_it_changes_and_stock_git_reads_it() {
    let server = Server::find();
    let (name, repository) = server.repository("steps");
    repository.commit("main", &[("big.bin", &noise(1 << 20)), ("env/dev/big.bin", &noise(1 << 20))], "Something big");
    let relay = Relay::new(&server, |_| {});
    let url = relay.url(&name);
    let limits = Limits { bytes: 20_000, requests: 10 };
    let mut promotion = promotion("dev.1", &access(&server, &url).limits(limits));
    change(&mut promotion, &url, "v2").await;
    let outputs = promotion.run("git-push", push()).await;
    assert!(relay.requests() <= 10);
    let stat = |arguments: &[&str]| git(repository.path(), arguments);
    assert_eq!(json!(stat(&["rev-parse", "main"])), outputs["commit"]);
    assert_eq!(stat(&["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
    let format = "--format=%s|%(trailers:key=Kargo-Key,valueonly)|%(trailers:key=Kargo-Freight,valueonly)";
    let log = stat(&["log", "-1", format, "main"]).replace('\n', "");
    assert!(log.starts_with("Set v2|dev.1/step-2|") && log.len() > 40, "{log}");
    fsck(&repository);
}

/// A repository of 100,000 files and 1,000 commits.
fn large(server: &Server) -> String {
    let commit = |n: usize| {
        let who = format!("committer Ada <ada@acme.example> {} +0000", 1_700_000_000 + n * 60);
        format!("commit refs/heads/main\n{who}\ndata 4\nEdit\n")
    };
    let contents = |n: usize| format!("image:\n  tag: v{n}\nreplicas: 2\n");
    let mut stream = String::new();
    for n in 0..100 {
        let text = contents(n);
        write!(stream, "blob\nmark :{}\ndata {}\n{text}\n", n + 1, text.len()).unwrap();
    }
    stream.push_str(&commit(0));
    // Ten environments, a hundred apps, ten parts with ten files each.
    for n in 0..100_000 {
        let (env, app, part, file) = (n / 10_000, n / 100 % 100, n / 10 % 10, n % 10);
        writeln!(stream, "M 100644 :{} env/e{env}/app-{app:02}/part-{part}/values-{file}.yaml", n % 100 + 1).unwrap();
    }
    for n in 1..1_000 {
        let (text, path) = (contents(n), format!("env/e{}/app-{:02}/part-0/values-0.yaml", n % 10, n / 10));
        write!(stream, "{}M 100644 inline {path}\ndata {}\n{text}\n", commit(n), text.len()).unwrap();
    }
    import(server, "steps-large", &stream)
}

#[tokio::test]
async fn one_file_of_100_000_costs_ten_requests_and_20_kb() {
    const FILE: &str = "env/e1/app-02/part-3/values-4.yaml";
    let server = Server::find();
    let name = large(&server);
    let repository = server.root.join(&name);
    assert_eq!(git(&repository, &["rev-list", "--count", "main"]), "1000");
    assert_eq!(git(&repository, &["ls-tree", "-r", "--name-only", "main"]).lines().count(), 100_000);
    let relay = Relay::new(&server, |_| {});
    let url = relay.url(&name);
    let source = access(&server, &url).limits(Limits { bytes: 20_000, requests: 10 });
    let mut promotion = promotion("dev.1", &source);
    promotion.run("git-clone", json!({"repoURL": url, "checkout": [{"path": "src", "branch": "main"}]})).await;
    let path = format!("src/{FILE}");
    let text = promotion.read(&path).await.unwrap();
    promotion.write(&path, &text.replace("replicas: 2", "replicas: 3")).await;
    let changes = promotion.workspace().diff(&promotion.context(2), "src").await.unwrap();
    assert_eq!(changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>(), [FILE]);
    promotion.run("git-commit", json!({"path": "src", "message": "Three replicas"})).await;
    promotion.run("git-push", push()).await;
    let (requests, received) = (relay.requests(), relay.received());
    assert!(requests <= 10 && received <= 20_000, "{requests} requests, {received} bytes");
    assert_eq!(git(&repository, &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{FILE}"));
}

/// Sets the number of replicas in [`PATH`] from the clone to the push.
async fn promote(mut promotion: StepByStep, url: &str, replicas: usize, push: Value) {
    promotion.run("git-clone", json!({"repoURL": url, "checkout": [{"path": "src", "branch": "main"}]})).await;
    write(&mut promotion, replicas, push).await;
}

async fn write(promotion: &mut StepByStep, replicas: usize, push: Value) {
    let path = format!("src/{PATH}");
    let text = promotion.read(&path).await.unwrap();
    let (head, _) = text.rsplit_once("replicas: ").unwrap();
    promotion.write(&path, &format!("{head}replicas: {replicas}\n")).await;
    promotion.run("git-commit", json!({"path": "src", "message": "Scale"})).await;
    promotion.run("git-push", push).await;
}

/// The introduction, the refs, the commit with its root, two directories and the file; then what the server offers, and the push.
const COLD: usize = 8;
/// The refs; then what the server offers, and the push.
const WARM: usize = 3;

#[tokio::test]
async fn what_a_look_or_another_promotion_has_fetched_is_not_fetched_again() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-shared");
    let relay = Relay::new(&server, |_| {});
    let url = relay.url(&name);
    let cache = GitCache::new();
    let source = access(&server, &url).cache(cache.clone());
    promote(promotion("dev.1", &source), &url, 3, push()).await;
    assert_eq!(relay.requests(), COLD);
    // It begins with what the first one has pushed.
    promote(promotion("dev.2", &source), &url, 4, push()).await;
    assert_eq!(relay.requests(), WARM);
    // The same commit again, and more of it, of which only that is fetched which is new.
    let own = json!({"path": "src", "generateTargetBranch": true});
    let mut third = promotion("dev.3", &source);
    third.run("git-clone", json!({"repoURL": url, "checkout": [{"path": "src", "branch": "main"}]})).await;
    assert_eq!(third.read("src/README.md").await.as_deref(), Some("Hello\n"));
    // That is what dev was at first.
    assert_eq!(third.read("src/env/prod/values.yaml").await.as_deref(), Some(VALUES));
    write(&mut third, 5, own.clone()).await;
    assert_eq!(relay.requests(), WARM + 1, "README.md");
    // Two at once.
    let [one, two] = ["dev.4", "dev.5"].map(|id| promote(promotion(id, &source), &url, 6, own.clone()));
    tokio::join!(one, two);
    assert_eq!(relay.requests(), 2 * WARM);
    let replicas = |branch: &str| repository.read(branch, PATH).rsplit_once("replicas: ").unwrap().1.to_owned();
    let branches = ["main", "kargo/promotion/dev.3", "kargo/promotion/dev.4", "kargo/promotion/dev.5"];
    assert_eq!(branches.map(replicas), ["4\n", "5\n", "6\n", "6\n"]);

    // What was shown to one is not told to another, who may not be let in any more.
    let rules = CredentialRules::new().with(&url, Credentials::basic(&server.user, server.password.as_str()));
    let other = GitSource::new().credentials_from(rules).cache(cache.clone());
    promote(promotion("dev.6", &other), &url, 7, push()).await;
    assert_eq!(relay.requests(), COLD);
    promote(promotion("dev.7", &source), &url, 8, push()).await;
    assert_eq!(
        relay.requests(),
        WARM + 4,
        "what the other one has pushed is fetched: a commit, two directories, a file"
    );
    fsck(&repository);
}

#[tokio::test]
async fn what_a_look_has_fetched_a_promotion_does_not_fetch_again() {
    let server = Server::find();
    let (name, _) = server.repository("steps-looked");
    let relay = Relay::new(&server, |_| {});
    let url = relay.url(&name);
    let source = access(&server, &url);
    let look = |subscription: GitSubscription| {
        let (config, source) = (Subscription::from(subscription).config, source.clone());
        async move { source.discover(&context("discover"), &DiscoverRequest::new(&config)).await.unwrap() }
    };
    look(GitSubscription::new(&url).branch("main").include_path("env")).await;
    relay.requests();
    promote(promotion("dev.1", &source), &url, 3, push()).await;
    assert_eq!(relay.requests(), WARM + 1, "the file");
    // Nor the other way round: the commit of the promotion is known.
    look(GitSubscription::new(&url).branch("main")).await;
    assert_eq!(relay.requests(), 1, "the refs");
}

#[tokio::test]
async fn what_was_forgotten_in_between_is_fetched_again() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-forgotten");
    let (crowd, crowded) = server.repository("steps-crowd");
    crowded.commit("main", &[(PATH, &format!("# {}\nreplicas: 2\n", noise(20_000)))], "Something big");
    let relay = Relay::new(&server, |_| {});
    let (url, crowd) = (relay.url(&name), format!("{}/{crowd}", server.url));
    let cache = GitCache::with_capacity(30_000);
    let (source, other) = (access(&server, &url).cache(cache.clone()), access(&server, &crowd).cache(cache.clone()));
    promote(promotion("dev.1", &source), &url, 3, push()).await;
    assert_eq!(relay.requests(), COLD);
    let mut second = promotion("dev.2", &source);
    second.run("git-clone", json!({"repoURL": url, "checkout": [{"path": "src", "branch": "main"}]})).await;
    assert_eq!(relay.requests(), 1, "the refs");
    // Twice as much as there is room for, in its old form and its new one.
    promote(promotion("dev.3", &other), &crowd, 3, push()).await;
    assert!(cache.size() <= 30_000, "{}", cache.size());
    write(&mut second, 4, push()).await;
    assert_eq!(relay.requests(), WARM - 1 + 4, "three directories and the file");
    assert!(repository.read("main", PATH).ends_with("replicas: 4\n"));

    // Without any room each promotion fetches for itself.
    let alone = access(&server, &url).cache(GitCache::with_capacity(0));
    promote(promotion("dev.4", &alone), &url, 5, push()).await;
    assert_eq!(relay.requests(), COLD);
    promote(promotion("dev.5", &alone), &url, 6, push()).await;
    assert_eq!(relay.requests(), COLD - 1, "the server has introduced itself");
    fsck(&repository);
}

#[tokio::test]
async fn what_costs_more_than_it_may_is_an_error_that_says_so() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-limit");
    let texts = noise(20 << 10);
    let files: Vec<(String, String)> =
        (0..20).map(|n| (format!("dir/d{n}/file"), texts[n << 10..(n + 1) << 10].to_owned())).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    repository.commit("main", &files, "Files");
    let url = format!("{}/{name}", server.url);
    let config = json!({"repoURL": url, "checkout": [{"path": "src"}]});
    for (limits, fault) in [
        (Limits { requests: 4, ..Limits::default() }, "more than 4 requests"),
        (Limits { bytes: 15_000, ..Limits::default() }, "more than 15000 bytes"),
    ] {
        let mut promotion = promotion("dev.1", &access(&server, &url).limits(limits));
        promotion.run("git-clone", config.clone()).await;
        let directory = tempfile::tempdir().unwrap();
        let exported = promotion.workspace().export(&promotion.context(2), "src", directory.path()).await;
        let error = exported.unwrap_err();
        assert!(error.message().contains(fault), "{error}");
    }
    // Directories and files of a level are fetched together.
    let mut promotion = promotion("dev.1", &access(&server, &url).limits(Limits { requests: 8, ..Limits::default() }));
    promotion.run("git-clone", config).await;
    let directory = tempfile::tempdir().unwrap();
    promotion.workspace().export(&promotion.context(2), "src", directory.path()).await.unwrap();
    assert_eq!(std::fs::read(directory.path().join("dir/d7/file")).unwrap().len(), 1 << 10);
}

#[tokio::test]
async fn a_lost_answer_a_declining_hook_and_a_slow_one_have_the_right_outcome() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-lost");
    let relay = Relay::new(&server, |_| {});
    let url = relay.url(&name);
    let mut lost = promotion("dev.1", &access(&server, &url));
    change(&mut lost, &url, "v2").await;
    relay.cut.store(true, Ordering::SeqCst);
    let outputs = lost.run("git-push", push()).await;
    assert!(!relay.cut.load(Ordering::SeqCst), "the answer was kept back");
    assert_eq!((json!(repository.head("main")), repository.log("main").len()), (outputs["commit"].clone(), 2));

    let (name, repository) = server.repository("steps-declined");
    hook(&repository, "pre-receive", "echo 'only on Mondays'; exit 1");
    let url = format!("{}/{name}", server.url);
    let mut declined = promotion("dev.1", &access(&server, &url));
    change(&mut declined, &url, "v2").await;
    let reason = declined.fails("git-push", push()).await;
    assert!(reason.contains("only on Mondays") && reason.contains("pre-receive hook declined"), "{reason}");
    assert_eq!(repository.log("main").len(), 1);

    // A hook that takes its time is waited for.
    let (name, repository) = server.repository("steps-patient");
    hook(&repository, "pre-receive", "sleep 10");
    let url = format!("{}/{name}", server.url);
    let mut patient = promotion("dev.1", &access(&server, &url));
    change(&mut patient, &url, "v2").await;
    let outputs = patient.run("git-push", push()).await;
    assert_eq!((json!(repository.head("main")), repository.log("main").len()), (outputs["commit"].clone(), 2));

    // With less patience than the hook needs, the push is settled by the next call.
    let (name, repository) = server.repository("steps-slow");
    hook(&repository, "pre-receive", "sleep 3");
    let url = format!("{}/{name}", server.url);
    let timeouts = Timeouts { read: Duration::from_secs(1), ..Timeouts::default() };
    let mut slow = promotion("dev.1", &access(&server, &url).timeouts(timeouts));
    change(&mut slow, &url, "v2").await;
    let mut outcome = slow.call(3, "git-push", &push(), false, None).await;
    for _ in 0..10 {
        if outcome.is_ok() {
            break;
        }
        outcome = slow.call(3, "git-push", &push(), true, None).await;
    }
    assert!(matches!(outcome, Ok(StepOutcome::Succeeded { .. })), "{outcome:?}");
    // Until the last of the pushes must be over.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(repository.log("main").len(), 2);
    fsck(&repository);
}

#[tokio::test]
async fn git_21_git_22_a_forced_push_keeps_to_its_lease() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-lease");
    let url = format!("{}/{name}", server.url);
    a_forced_push_keeps_to_its_lease(&repository, &url, &access(&server, &url)).await;
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_midst_of_a_push_has_one_commit_over_http() {
    let server = Server::find();
    for when in ["pre-receive", "post-receive"] {
        let (name, repository) = server.repository(&format!("steps-killed-{when}"));
        let url = format!("{}/{name}", server.url);
        a_killed_server_has_one_commit(&repository, &url, &access(&server, &url), when).await;
    }
}

#[tokio::test]
async fn git_03_lost_races_have_an_end() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-races-end");
    let url = format!("{}/{name}", server.url);
    lost_races_have_an_end(&repository, &url, &access(&server, &url)).await;
}

#[tokio::test]
async fn the_deadline_of_a_call_ends_a_push_over_http() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-deadline");
    let url = format!("{}/{name}", server.url);
    the_deadline_of_a_call_ends_a_push(&repository, &url, &access(&server, &url)).await;
}

#[tokio::test]
async fn servers_without_filters_of_the_old_protocol_and_with_other_ids_are_written_to() {
    let server = Server::find();
    let old = Relay::new(&server, |bytes| {
        let header = b"git-protocol";
        let at = bytes.windows(header.len()).position(|window| window.eq_ignore_ascii_case(header));
        if let Some(at) = at {
            bytes[at..at + header.len()].copy_from_slice(b"git-pr0toc0l");
        }
    });
    let (no_filter, v0, sha256) = (
        server.repository("steps-no-filter"),
        server.repository("steps-v0"),
        start_sha256(&server.root, "git-http-steps-sha256"),
    );
    for (repository, key) in [(&no_filter.1, "uploadpack.allowFilter"), (&v0.1, "uploadpack.allowAnySHA1InWant")] {
        configure(repository, key, "false");
    }
    let at = |name: &str| format!("{}/{name}", server.url);
    for (url, repository) in [(at(&no_filter.0), no_filter.1), (old.url(&v0.0), v0.1), (at(&sha256.0), sha256.1)] {
        let mut promotion = promotion("dev.1", &access(&server, &url));
        change(&mut promotion, &url, "v2").await;
        // Somebody else is quicker and has changed the same file, so that the commit has to be made again on top, line by line.
        let theirs = VALUES.replace("# The", "# All the");
        repository.commit("main", &[("theirs", "1"), (PATH, &theirs)], "Theirs");
        promotion.run("git-push", push()).await;
        assert_eq!(repository.read("main", PATH), theirs.replace("v1", "v2"), "{url}");
        assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"), "{url}");
        assert_eq!(promotion.read("src/theirs").await.as_deref(), Some("1"));
        promotion.run("git-tag", json!({"path": "src", "tag": "v2", "message": "Release"})).await;
        promotion.run("git-push", json!({"path": "src", "tag": "v2"})).await;
        assert_eq!(git(repository.path(), &["cat-file", "-t", "v2"]), "tag");
        fsck(&repository);
    }
}

#[tokio::test]
async fn names_that_are_no_text_and_what_is_no_file_stay_as_they_are() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-odd");
    let head = repository.head("main");
    let stream = format!(
        "commit refs/heads/main\ncommitter T <t@localhost> 1 +0000\ndata 3\nOdd\nfrom refs/heads/main^0\n\
         M 100644 inline \"env/dev/stra\\337e.yaml\"\ndata 2\nx\n\nM 120000 inline env/dev/link\ndata 11\nvalues.yaml\n\
         M 100755 inline env/dev/run\ndata 2\nx\n\nM 160000 {head} env/dev/module\n"
    );
    import_more(repository.path(), &stream);
    let listed = || git(repository.path(), &["ls-tree", "main", "env/dev/"]);
    let (before, url) = (listed(), format!("{}/{name}", server.url));
    assert!(before.contains("337"), "{before}");
    let mut promotion = promotion("dev.1", &access(&server, &url));
    change(&mut promotion, &url, "v2").await;
    promotion.run("git-push", push()).await;
    let others =
        |listed: &str| listed.lines().filter(|line| !line.ends_with("values.yaml")).collect::<Vec<_>>().join("|");
    assert_eq!(others(&before), others(&listed()));
    assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
}

/// Commits are made and pushed by a process that finds no program at all.
#[tokio::test]
async fn git_28_a_push_needs_no_git_program() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-alone");
    let url = format!("{}/{name}", server.url);
    let mut process = Command::new(WRITERS);
    process.args(["--repository", &url, "--first", "0", "--writers", "1", "--commits", "2"]);
    process.env("WRITERS_USER", &server.user).env("WRITERS_PASSWORD", &server.password).env("PATH", "/nonexistent");
    let ended = tokio::task::spawn_blocking(move || process.status().unwrap().success());
    assert!(ended.await.unwrap());
    assert_eq!(repository.log("main").len(), 3);
    fsck(&repository);
}

/// Four writers in each of two processes, each of them 20 commits to one branch.
#[tokio::test]
async fn git_03_writers_of_two_processes_land_160_commits_in_a_line() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-race");
    configure(&repository, "receive.denyNonFastForwards", "true");
    let url = format!("{}/{name}", server.url);
    let start = |first: &str| {
        let mut process = Command::new(WRITERS);
        process.args(["--repository", &url, "--first", first, "--writers", "4", "--commits", "20"]);
        process.env("WRITERS_USER", &server.user).env("WRITERS_PASSWORD", &server.password).spawn().unwrap()
    };
    let processes = [start("0"), start("4")];
    let ended = tokio::task::spawn_blocking(|| processes.map(|mut process| process.wait().unwrap().success()));
    assert_eq!(ended.await.unwrap(), [true, true]);
    let log = repository.log("main");
    assert_eq!(log.len(), 161);
    assert!(log.iter().take(160).all(|commit| commit.parents == 1 && commit.changed_files.len() == 1));
    let keys: std::collections::BTreeSet<&str> =
        log.iter().filter_map(|commit| commit.trailers.get("Kargo-Key")).map(String::as_str).collect();
    assert_eq!(keys.len(), 160, "each step has one commit");
    for writer in 0..8 {
        assert_eq!(repository.read("main", &format!("race/w{writer}.yaml")), "19\n");
    }
    fsck(&repository);
}
