//! A process that writes to a repository on this machine is killed, again and again, and started again.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kargo_core::plugin::{Context, WriteRequest, Writer};
use kargo_core::{Actor, Freight, PromotionInfo};
use kargo_git::testing::BareRepository;
use kargo_git::{GitWriter, Remote, YamlUpdate};

const WRITES: u32 = 150;
const KILLS: u64 = 60;

/// What the killed process does: one write after the other, noting each one that is done in a journal.
async fn write_on(repository: &str, journal: &Path) {
    let writer = GitWriter::new(Remote::new(repository).unwrap());
    let done: u32 = std::fs::read_to_string(journal).map_or(0, |text| text.parse().unwrap());
    for n in done..WRITES {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let promotion = PromotionInfo::new(
            "shop",
            format!("dev.{n}"),
            "dev",
            Freight::new("main", vec![], at),
            Actor::engine(),
            at,
        );
        let update = YamlUpdate::new("values.yaml").set("tag", format!("v{n}").as_str());
        let config = serde_json::to_value(update).unwrap();
        let request = WriteRequest::new(&promotion, &config, at).resumed(n == done);
        let written = writer.write(&Context::system(format!("dev.{n}/step-1")), &request).await.unwrap();
        assert!(written.changed);
        let next = journal.with_extension("next");
        std::fs::write(&next, (n + 1).to_string()).unwrap();
        std::fs::rename(next, journal).unwrap();
    }
}

#[tokio::test]
async fn a_writer_that_is_killed_at_any_instant_makes_each_commit_once() {
    if let Ok(repository) = std::env::var("KARGO_GIT_KILLED_REPOSITORY") {
        let journal = std::env::var("KARGO_GIT_KILLED_JOURNAL").unwrap();
        return write_on(&repository, Path::new(&journal)).await;
    }
    let repository = BareRepository::new();
    repository.commit("main", &[("values.yaml", "tag: start\n")], "Start");
    let journal = repository.path().with_extension("journal");
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_writer_that_is_killed_at_any_instant_makes_each_commit_once"]);
        command.env("KARGO_GIT_KILLED_REPOSITORY", repository.path()).env("KARGO_GIT_KILLED_JOURNAL", &journal);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..KILLS {
        let mut child = start();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(5_000 + random % 50_000));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let began = Instant::now();
    assert!(start().wait().unwrap().success(), "the last one comes to its end");
    assert!(began.elapsed() < Duration::from_secs(60));

    let log = repository.log("main");
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for commit in &log[..log.len() - 1] {
        *times.entry(&commit.trailers["Kargo-Key"]).or_default() += 1;
    }
    assert_eq!(times.len(), WRITES as usize, "no commit is lost");
    assert!(times.values().all(|n| *n == 1), "no commit is made twice: {times:?}");
    assert_eq!(repository.read("main", "values.yaml"), format!("tag: v{}\n", WRITES - 1));
    let locks = std::fs::read_dir(repository.path().join("refs/heads")).unwrap();
    assert!(locks.map(|entry| entry.unwrap().file_name()).all(|name| name == "main"), "no lock is left");
}
