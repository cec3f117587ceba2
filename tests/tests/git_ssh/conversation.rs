//! Servers that speak Git in other ways, and what it costs.

use std::io::Write as _;
use std::process::{Command, Stdio};

use kargo_core::ErrorKind;
use kargo_core::plugin::{History as _, Relation};
use kargo_git::{GitWriter, Limits};
use kargo_tests::git;

use crate::server::*;

#[tokio::test]
async fn a_write_to_a_big_repository_costs_a_few_logins_and_kilobytes() {
    let server = Server::find();
    let (name, repository) = server.repository("filter");
    repository.commit("main", &[("big.bin", &noise(1 << 20)), ("env/dev/big.bin", &noise(1 << 20))], "Something big");
    // A listing and a look at the history, the commit with its tree, two trees and a file, the push: each after a login.
    let limits = Limits { bytes: 20_000, requests: 10 };
    let writer = GitWriter::new(server.remote(&name).limits(limits).build().unwrap());
    assert!(write(&writer, "dev.1", "v2", PATH, false).await.unwrap().changed);
    assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
    fsck(&repository);
}

#[tokio::test]
async fn a_deep_look_into_history_costs_no_more_after_a_shallow_one() {
    let server = Server::find();
    let (name, repository) = server.repository("deep");
    let commit = |n: i64| {
        let from = if n == 0 { "from refs/heads/main^0\n" } else { "" };
        format!(
            "commit refs/heads/main\ncommitter T <t@localhost> {} +0000\ndata 1\nx\n{from}\n",
            1_800_000_000 + n * 86_400
        )
    };
    let many: String = (0..3000).map(commit).collect();
    let mut import = Command::new("git")
        .arg("-C")
        .arg(repository.path())
        .args(["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(many.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    let (new, old) = (repository.head("main"), git(repository.path(), &["rev-parse", "main~5"]));
    // The whole history has a hundred times as much.
    let limits = Limits { bytes: 15_000, ..Limits::default() };
    let remote = server.remote(&name).limits(limits).build().unwrap();
    for (observed, wanted, relation) in [(&new, &old, Relation::Later), (&old, &new, Relation::Earlier)] {
        let found =
            remote.relate(&context("relate"), &observed.as_str().into(), &wanted.as_str().into()).await.unwrap();
        assert_eq!(found, relation);
    }
}

#[tokio::test]
async fn a_server_without_filters_is_written_to_within_the_limit() {
    let server = Server::find();
    let (name, repository) = server.repository("no-filter");
    configure(&repository, "uploadpack.allowFilter", "false");
    configure(&repository, "uploadpack.allowAnySHA1InWant", "false");
    repository.commit("main", &[("big.bin", &noise(1 << 20))], "Something big");
    assert!(write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap().changed);
    assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
    let limits = Limits { bytes: 100_000, ..Limits::default() };
    let small = GitWriter::new(server.remote(&name).limits(limits).build().unwrap());
    let error = write(&small, "dev.2", "v3", PATH, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("allowFilter"), "{error}");
}

#[tokio::test]
async fn a_server_that_speaks_only_the_old_protocol_is_written_to() {
    let server = Server::find();
    // Where the client cannot ask for the new one, and where the server does not want it.
    for (n, any) in [(0, "true"), (1, "false"), (2, "false")] {
        let (name, repository) = server.repository(&format!("v0-{n}"));
        configure(&repository, "uploadpack.allowAnySHA1InWant", any);
        configure(&repository, "uploadpack.allowFilter", if n == 2 { "false" } else { "true" });
        let writer = GitWriter::new(server.remote_at(&format!("{}/{name}", server.old)).build().unwrap());
        let written = write(&writer, "dev.1", "v2", PATH, false).await.unwrap();
        assert!(written.changed);
        assert_eq!(write(&writer, "dev.1", "v2", PATH, true).await.unwrap(), written);
        assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
        let first = repository.log("main").pop().unwrap().id;
        let relation =
            writer.remote().relate(&context("relate"), &written.revision, &first.as_str().into()).await.unwrap();
        assert_eq!(relation, Relation::Later);
        fsck(&repository);
    }
}

#[tokio::test]
async fn a_repository_whose_ids_are_sha256_is_written_to() {
    let server = Server::find();
    let (name, repository) = start_sha256(&server.root, "git-ssh-sha256");
    for (n, url) in [&server.url, &server.old].into_iter().enumerate() {
        let writer = GitWriter::new(server.remote_at(&format!("{url}/{name}")).build().unwrap());
        let written = write(&writer, &format!("dev.{n}"), &format!("v2.{n}"), PATH, false).await.unwrap();
        assert_eq!(written.revision.as_str().len(), 64);
        assert_eq!(git(repository.path(), &["rev-parse", "main"]), written.revision.as_str());
    }
    fsck(&repository);
}

#[tokio::test]
async fn what_is_no_git_is_said_to_be_none() {
    let server = Server::find();
    let (name, _repository) = server.repository("greeting");
    // A program in place of ssh: servers greet where Git's protocol should be, or say nothing at all.
    for (script, kind, words) in [
        ("echo 'Welcome to our server!'", ErrorKind::InvalidResponse, "not Git's protocol"),
        ("exit 0", ErrorKind::Unavailable, "said nothing"),
        ("echo 'ERROR: Repository not found.' >&2; exit 1", ErrorKind::NotFound, "Repository not found"),
        ("while :; do printf fff0; head -c 65516 /dev/zero; done", ErrorKind::Unsupported, "bytes"),
    ] {
        let program = server.root.join(format!("ssh-{}-{}", std::process::id(), script.len()));
        // Written by another process: what this one has open for writing, a process that another test starts just then holds open too,
        // and cannot be run.
        let mut install = Command::new("install");
        let install = install.args(["-m", "755", "/dev/stdin"]).arg(&program).stdin(Stdio::piped());
        let mut install = install.spawn().unwrap();
        write!(install.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
        assert!(install.wait().unwrap().success());
        let limits = Limits { bytes: 10 << 20, ..Limits::default() };
        let remote = server.remote(&name).ssh_program(&program).limits(limits).build().unwrap();
        let error = remote.tip(&context("tip"), "main").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{script}: {error}");
        assert!(error.message().contains(words), "{script}: {error}");
    }
}
