//! Kargo's steps for Git against a server.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use kargo_core::plugin::StepOutcome;
use kargo_git::{Credentials, GitSource, Limits, Timeouts};
use kargo_tests::git;
use kargo_tests::pushing::{
    a_forced_push_keeps_to_its_lease, change, lost_races_have_an_end, promotion, push,
    the_deadline_of_a_call_ends_a_push,
};
use serde_json::json;

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
    let mut import = Command::new("git");
    import.arg("-C").arg(repository.path()).args(["fast-import", "--quiet"]).stdin(Stdio::piped());
    let mut import = import.spawn().unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
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
