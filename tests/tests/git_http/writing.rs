//! One commit for each step, whatever happens on the way.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use kargo_git::{GitCache, GitWriter, Remote, Timeouts};
use kargo_tests::git;

use crate::server::*;

#[tokio::test]
async fn a_promotion_is_one_commit_that_changes_one_line_of_one_file() {
    let server = Server::find();
    let (name, repository) = server.repository("one-line");
    let written = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap();
    assert!(written.changed);
    let stat = |arguments: &[&str]| git(repository.path(), arguments);
    assert_eq!(stat(&["rev-parse", "main"]), written.revision.as_str());
    assert_eq!(stat(&["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
    let diff = stat(&["diff", "--stat", "main~1", "main"]);
    assert!(diff.contains("1 file changed, 1 insertion(+), 1 deletion(-)"), "{diff}");
    let key = "--format=%(trailers:key=Kargo-Key,valueonly)|%(trailers:key=Kargo-Actor,valueonly)|%an <%ae>|%aI|%cI";
    let log = stat(&["log", "-1", key, "main"]).replace('\n', "");
    assert!(log.starts_with("dev.1/step-1|user:alice|Kargo <kargo@localhost>|2026-01-02T03:04:06"), "{log}");
    assert_eq!(repository.read("main", PATH), VALUES.replace("v1", "v2"));
    fsck(&repository);
    // Another write goes on top of it.
    write(&server.writer(&name), "prod.1", "v2", "env/prod/values.yaml", false).await.unwrap();
    assert_eq!(stat(&["rev-list", "--count", "main"]), "3");
    fsck(&repository);
}

#[tokio::test]
async fn what_one_writer_has_fetched_and_pushed_another_does_not_fetch() {
    let server = Server::find();
    let (name, repository) = server.repository("write-shared");
    let relay = Relay::new(&server, |_| {});
    let (url, cache) = (relay.url(&name), GitCache::new());
    let write = async |id: &str, tag: &str| {
        let writer = GitWriter::new(server.remote_at(&url).cache(cache.clone()).build().unwrap());
        write_at(&writer, id, tag, PATH, Timestamp::now(), false).await.unwrap();
    };
    write("dev.1", "v2").await;
    let cold = "the introduction, the branch, the commit, two directories, the file, what the server offers, the push";
    assert_eq!(relay.requests(), 8, "{cold}");
    write("dev.2", "v3").await;
    assert_eq!(relay.requests(), 4, "the introduction, the branch, what the server offers, the push");
    assert_eq!(repository.read("main", PATH), VALUES.replace("v1", "v3"));
    fsck(&repository);
}

#[tokio::test]
async fn git_07_when_nothing_changes_nothing_is_pushed() {
    let server = Server::find();
    let (name, repository) = server.repository("no-change");
    // The address at which nobody may push is good enough.
    let writer = GitWriter::new(Remote::new(format!("{}/{name}", server.read_only)).unwrap());
    let written = write(&writer, "dev.1", "v1", PATH, false).await.unwrap();
    assert!(!written.changed);
    assert_eq!(written.revision.as_str(), repository.head("main"));
    assert_eq!(repository.log("main").len(), 1);
}

/// Eight spellings of one repository's URL, so that no lock of this process puts the writers in order.
fn spellings(name: &str) -> Vec<String> {
    (0..8).map(|n| format!("{}%{:02x}{}", &name[..n], name.as_bytes()[n], &name[n + 1..])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn git_01_git_03_racing_writers_all_land_in_a_line() {
    let server = Server::find();
    let (name, repository) = server.repository("races");
    let files: Vec<String> = (0..8).map(|n| format!("race/s{n}/values.yaml")).collect();
    let contents: Vec<(&str, &str)> = files.iter().map(|path| (path.as_str(), VALUES)).collect();
    repository.commit("main", &contents, "Files to race on");
    let mut tasks = Vec::new();
    for (n, (path, spelling)) in files.iter().cloned().zip(spellings(&name)).enumerate() {
        let writer = server.writer(&spelling);
        tasks.push(tokio::spawn(async move {
            for m in 0..5 {
                let written = write(&writer, &format!("s{n}.{m}"), &format!("v{n}.{m}"), &path, false).await.unwrap();
                assert!(written.changed);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let log = repository.log("main");
    assert_eq!(log.len(), 42);
    assert!(log[..40].iter().all(|commit| commit.parents == 1 && commit.changed_files.len() == 1));
    let keys: std::collections::BTreeSet<&str> =
        log[..40].iter().map(|commit| commit.trailers["Kargo-Key"].as_str()).collect();
    assert_eq!(keys.len(), 40);
    for (n, path) in files.iter().enumerate() {
        assert!(repository.read("main", path).contains(&format!("v{n}.4")));
    }
    fsck(&repository);
}

#[tokio::test]
async fn git_02_a_lost_race_is_known_by_the_ref_however_the_server_words_it() {
    let server = Server::find();
    let (name, repository) = server.repository("worded");
    let other = repository.commit("other", &[("other.txt", "x\n")], "Somebody else's");
    let marker = repository.path().join("raced");
    // Somebody else wins at the last moment, and the server says so in words of its own.
    let script = format!(
        "[ -e {0} ] && exit 0\ntouch {0}\ngit update-ref refs/heads/main {other}\necho 'incorrect old value provided' >&2\nexit 1",
        marker.display()
    );
    // The winner's commit must have the file, or there would be nothing to write on top of it.
    repository.commit("other", &[(PATH, VALUES)], "Somebody else's values");
    let script = script.replace(&other, &repository.head("other"));
    hook(&repository, "update", &script);
    let written = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap();
    assert!(marker.exists() && written.changed);
    let log = repository.log("main");
    assert_eq!(log[0].id, written.revision.as_str());
    assert_eq!(log[1].subject, "Somebody else's values");
}

#[tokio::test]
async fn a_race_that_is_lost_to_the_same_step_of_another_process_is_won() {
    let server = Server::find();
    let (name, repository) = server.repository("same-step");
    // What the other process does meanwhile: this very step, and then one that comes after it.
    repository.branch("other", "main");
    let other = GitWriter::new(Remote::new(repository.url()).unwrap()).branch("other");
    // On time, so that nothing but the race itself makes it look.
    let started = Timestamp::now();
    let its = write_at(&other, "dev.1", "v2", PATH, started, false).await.unwrap();
    write_at(&other, "dev.2", "v3", PATH, started, false).await.unwrap();
    let marker = repository.path().join("raced");
    let script = "[ -e MARKER ] && exit 0\ntouch MARKER\ngit update-ref refs/heads/main TIP\nexit 1";
    let script = script.replace("MARKER", &marker.display().to_string()).replace("TIP", &repository.head("other"));
    hook(&repository, "update", &script);
    let written = write_at(&server.writer(&name), "dev.1", "v2", PATH, started, false).await.unwrap();
    assert!(marker.exists());
    assert_eq!(written.revision, its.revision);
    assert!(repository.read("main", PATH).contains("v3"), "the later step is not taken back");
}

#[tokio::test]
async fn a_push_whose_answer_is_lost_is_settled_by_the_ref() {
    let server = Server::find();
    let (name, repository) = server.repository("lost");
    let relay = Relay::new(&server, |_| {});
    relay.cut.store(true, Ordering::SeqCst);
    let writer = GitWriter::new(server.remote_at(&relay.url(&name)).build().unwrap());
    let written = write(&writer, "dev.1", "v2", PATH, false).await.unwrap();
    assert!(!relay.cut.load(Ordering::SeqCst), "the answer was kept back");
    assert!(written.changed);
    assert_eq!(repository.log("main").len(), 2);
    assert_eq!(repository.head("main"), written.revision.as_str());
}

#[tokio::test]
async fn a_push_that_lands_after_the_client_gave_up_is_found_by_the_next_call() {
    let server = Server::find();
    let (name, repository) = server.repository("slow");
    hook(&repository, "pre-receive", "sleep 3");
    let timeouts = Timeouts { read: Duration::from_secs(1), ..Timeouts::default() };
    let writer = GitWriter::new(server.remote(&name).timeouts(timeouts).build().unwrap());
    // Five lost answers end a call; by then the first push has landed, or the step is run again.
    let written = write_until_written(&writer, "dev.1", "v2", PATH).await;
    // Whatever the tries were, all of them made the same commit.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let again = write(&writer, "dev.1", "v2", PATH, true).await.unwrap();
    assert_eq!(again, written);
    assert_eq!(repository.log("main").len(), 2);
    fsck(&repository);
}

#[tokio::test]
async fn a_step_that_is_run_again_finds_its_commit_under_those_of_others() {
    let server = Server::find();
    let (name, repository) = server.repository("resumed");
    let writer = server.writer(&name);
    let first = write(&writer, "dev.1", "v2", PATH, false).await.unwrap();
    for n in 0..40 {
        repository.commit("main", &[("README.md", &format!("Edit {n}\n"))], &format!("Edit {n}"));
    }
    write(&writer, "dev.2", "v3", PATH, false).await.unwrap();
    assert_eq!(write(&writer, "dev.1", "v2", PATH, true).await.unwrap(), first);
    assert_eq!(repository.log("main").len(), 43);
}
