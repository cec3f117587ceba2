//! One commit for each step, whatever happens on the way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use kargo_core::ErrorKind;
use kargo_core::plugin::Progress;
use kargo_git::{GitWriter, Timeouts};
use kargo_tests::git;

use crate::server::*;

#[tokio::test]
async fn a_promotion_is_one_commit_that_changes_one_line_of_one_file() {
    let server = Server::find();
    let (name, repository) = server.repository("one-line");
    let written = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap();
    assert!(written.changed);
    assert_eq!(git(repository.path(), &["rev-parse", "main"]), written.revision.as_str());
    assert_eq!(git(repository.path(), &["diff", "--numstat", "main~1", "main"]), format!("1\t1\t{PATH}"));
    assert_eq!(repository.read("main", PATH), VALUES.replace("v1", "v2"));
    // Run again, it finds its commit; with nothing to change, it makes none.
    assert_eq!(write(&server.writer(&name), "dev.1", "v2", PATH, true).await.unwrap(), written);
    assert!(!write(&server.writer(&name), "dev.2", "v2", PATH, false).await.unwrap().changed);
    assert_eq!(repository.log("main").len(), 2);
    fsck(&repository);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn git_01_git_03_racing_writers_all_land_in_a_line() {
    let server = Server::find();
    let (name, repository) = server.repository("races");
    let files: Vec<String> = (0..4).map(|n| format!("race/s{n}/values.yaml")).collect();
    let contents: Vec<(&str, &str)> = files.iter().map(|path| (path.as_str(), VALUES)).collect();
    repository.commit("main", &contents, "Files to race on");
    // Spelt differently, so that no lock of this process puts the writers in order.
    let spelt = |n: usize| format!("{}%{:02x}{}", &name[..n], name.as_bytes()[n], &name[n + 1..]);
    let mut tasks = Vec::new();
    for (n, path) in files.iter().cloned().enumerate() {
        let writer = server.writer(&spelt(n));
        tasks.push(tokio::spawn(async move {
            for m in 0..3 {
                let (id, tag) = (format!("s{n}.{m}"), format!("v{n}.{m}"));
                assert!(write(&writer, &id, &tag, &path, false).await.unwrap().changed);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let log = repository.log("main");
    assert_eq!(log.len(), 14);
    assert!(log[..12].iter().all(|commit| commit.parents == 1 && commit.changed_files.len() == 1));
    fsck(&repository);
}

#[tokio::test]
async fn git_02_a_lost_race_is_known_by_the_ref_however_the_server_words_it() {
    let server = Server::find();
    let (name, repository) = server.repository("worded");
    repository.commit("other", &[(PATH, VALUES)], "Somebody else's values");
    let marker = repository.path().join("raced");
    let script = format!(
        "[ -e {0} ] && exit 0\ntouch {0}\ngit update-ref refs/heads/main {1}\necho 'incorrect old value provided' >&2\nexit 1",
        marker.display(),
        repository.head("other")
    );
    hook(&repository, "update", &script);
    let said = Arc::new(Mutex::new(Vec::new()));
    let progress = Progress::to({
        let said = Arc::clone(&said);
        move |message| said.lock().unwrap().push(message.to_owned())
    });
    let cx = context("dev.1/step-1").with_progress(progress);
    let started = Timestamp::now();
    let written = write_in(cx, &server.writer(&name), "dev.1", "v2", PATH, started, false).await.unwrap();
    assert!(marker.exists() && written.changed);
    // Known at once, though the process that is asked where the branch stands had been asked before.
    let said = said.lock().unwrap().clone();
    assert!(said.len() == 1 && said[0].contains("main has moved"), "{said:?}");
    let log = repository.log("main");
    assert_eq!(
        (&log[0].id, log[1].subject.as_str()),
        (&written.revision.as_str().to_owned(), "Somebody else's values")
    );
}

#[tokio::test]
async fn a_hook_that_refuses_is_heard() {
    let server = Server::find();
    let (name, repository) = server.repository("hook");
    hook(&repository, "pre-receive", "echo 'main is frozen until Monday' >&2\nexit 1");
    let error = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("main is frozen until Monday"), "{error}");
    assert_eq!(repository.log("main").len(), 1);
}

#[tokio::test]
async fn a_slow_hook_is_waited_for_as_long_as_the_server_gives_signs_of_life() {
    let server = Server::find();
    let (name, repository) = server.repository("slow-hook");
    configure(&repository, "receive.keepAlive", "1");
    hook(&repository, "pre-receive", "sleep 10");
    let after = repository.path().join("after");
    hook(&repository, "post-receive", &format!("sleep 1; touch {}", after.display()));
    let timeouts = Timeouts { read: Duration::from_secs(5), ..Timeouts::default() };
    let writer = GitWriter::new(server.remote(&name).timeouts(timeouts).build().unwrap());
    assert!(write(&writer, "dev.1", "v2", PATH, false).await.unwrap().changed);
    assert!(after.exists(), "the hook that runs after the push was cut off");
    assert_eq!(repository.log("main").len(), 2);
}

#[tokio::test]
async fn a_push_that_lands_after_the_client_gave_up_is_found_by_the_next_call() {
    let server = Server::find();
    let (name, repository) = server.repository("gave-up");
    hook(&repository, "pre-receive", "sleep 3");
    let timeouts = Timeouts { read: Duration::from_secs(1), ..Timeouts::default() };
    let writer = GitWriter::new(server.remote(&name).timeouts(timeouts).build().unwrap());
    let written = write_until_written(&writer, "dev.1", "v2", PATH).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(write(&writer, "dev.1", "v2", PATH, true).await.unwrap(), written);
    assert_eq!(repository.log("main").len(), 2);
    fsck(&repository);
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_midst_of_a_push_has_one_commit_in_the_end() {
    let server = Server::find();
    // The hook's parent is the server's process. Before the branch has moved, and after.
    for when in ["pre-receive", "post-receive"] {
        let (name, repository) = server.repository(when);
        let marker = repository.path().join("killed");
        hook(
            &repository,
            when,
            &format!("cat >/dev/null\n[ -e {0} ] && exit 0\ntouch {0}\nkill -KILL $PPID", marker.display()),
        );
        let written = write(&server.writer(&name), "dev.1", "v2", PATH, false).await.unwrap();
        assert!(marker.exists() && written.changed, "{when}");
        assert_eq!(repository.head("main"), written.revision.as_str(), "{when}");
        assert_eq!(repository.log("main").len(), 2, "{when}");
        assert_eq!(write(&server.writer(&name), "dev.1", "v2", PATH, true).await.unwrap(), written, "{when}");
        fsck(&repository);
    }
}

#[tokio::test]
async fn a_call_that_is_cancelled_leaves_no_process() {
    let server = Server::find();
    let (name, repository) = server.repository("cancelled");
    hook(&repository, "pre-receive", "sleep 3");
    let writer = server.writer(&name);
    let call = tokio::spawn(async move { write(&writer, "dev.1", "v2", PATH, false).await });
    while ssh_processes(&name) < 2 {
        assert!(!call.is_finished(), "the write was over before two processes were seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    for _ in 0..100 {
        if ssh_processes(&name) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("an ssh is still there");
}
