//! Servers that speak Git in other ways, and what a write costs.

use kargo_core::ErrorKind;
use kargo_core::plugin::{History as _, Relation};
use kargo_git::{GitWriter, Limits};
use kargo_tests::git;

use crate::server::*;

#[tokio::test]
async fn a_server_without_filters_is_written_to_within_the_limit() {
    let server = Server::find();
    let (name, repository) = server.repository("no-filter");
    configure(&repository, "uploadpack.allowFilter", "false");
    // Not even by id, as far as an old server would go.
    configure(&repository, "uploadpack.allowAnySHA1InWant", "false");
    repository.commit("main", &[("big.bin", &noise(1 << 20))], "Something big");
    let written = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap();
    assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
    assert!(written.changed);
    let limits = Limits { bytes: 100_000, ..Limits::default() };
    let small = GitWriter::new(server.remote(&name).limits(limits).build().unwrap());
    let error = write(&small, "dev.2", "v3", PATH, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("allowFilter"), "{error}");
}

#[tokio::test]
async fn with_filters_a_big_repository_costs_a_few_kilobytes() {
    let server = Server::find();
    let (name, repository) = server.repository("filter");
    repository.commit("main", &[("big.bin", &noise(1 << 20)), ("env/dev/big.bin", &noise(1 << 20))], "Something big");
    let limits = Limits { bytes: 20_000, requests: 12 };
    let writer = GitWriter::new(server.remote(&name).limits(limits).build().unwrap());
    assert!(write(&writer, "dev.1", "v2", PATH, false).await.unwrap().changed);
    assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
    fsck(&repository);
}

#[tokio::test]
async fn a_server_that_speaks_only_the_old_protocol_is_written_to() {
    let server = Server::find();
    let (name, repository) = server.repository("v0");
    let relay = Relay::new(&server, |bytes| {
        let header = b"git-protocol";
        let at = bytes.windows(header.len()).position(|window| window.eq_ignore_ascii_case(header));
        if let Some(at) = at {
            bytes[at..at + header.len()].copy_from_slice(b"git-pr0toc0l");
        }
    });
    for (n, any) in ["true", "false"].into_iter().enumerate() {
        configure(&repository, "uploadpack.allowAnySHA1InWant", any);
        let writer = GitWriter::new(server.remote_at(&relay.url(&name)).build().unwrap());
        let (id, tag) = (format!("dev.{n}"), format!("v2.{n}"));
        let written = write(&writer, &id, &tag, PATH, false).await.unwrap();
        assert!(written.changed);
        assert_eq!(write(&writer, &id, &tag, PATH, true).await.unwrap(), written);
        assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
        let cx = context("relate");
        let first = repository.log("main").pop().unwrap().id;
        let relation = writer.remote().relate(&cx, &written.revision, &first.as_str().into()).await.unwrap();
        assert_eq!(relation, Relation::Later);
    }
}

#[tokio::test]
async fn a_repository_whose_ids_are_sha256_is_written_to() {
    let server = Server::find();
    let (name, repository) = start_sha256(&server.root, "git-http-sha256");
    let written = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap();
    assert_eq!(written.revision.as_str().len(), 64);
    assert_eq!(git(repository.path(), &["rev-parse", "main"]), written.revision.as_str());
    fsck(&repository);
}
