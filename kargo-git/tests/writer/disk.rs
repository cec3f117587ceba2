//! What is found in a repository on disk: locks and refs of other programs, work trees, formats, and history that is cut off.

use std::time::Duration;

use jiff::Timestamp;
use kargo_core::ErrorKind;
use kargo_git::{GitWriter, Remote};

use crate::{copy_directory, image_tag, promotion, repository, write, write_at};

#[tokio::test]
async fn the_branch_that_a_work_tree_has_checked_out_is_not_moved_under_it() {
    let (repository, _) = repository();
    let work = tempfile::tempdir().unwrap();
    copy_directory(repository.path(), &work.path().join(".git"));
    let config = work.path().join(".git/config");
    std::fs::write(&config, "[core]\n\trepositoryformatversion = 0\n\tbare = false\n").unwrap();
    let writer = GitWriter::new(Remote::new(work.path().to_str().unwrap()).unwrap());
    let update = image_tag("env/dev/values.yaml");
    let error = write(&writer, &promotion("dev.1", "v2"), &update, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("checked out"), "{error}");
    let head = repository.head("main");
    std::fs::write(work.path().join(".git/refs/heads/deploy"), format!("{head}\n")).unwrap();
    assert!(write(&writer, &promotion("dev.1", "v2"), &update.branch("deploy"), false).await.unwrap().changed);
}

#[tokio::test]
async fn a_branch_that_a_linked_work_tree_has_checked_out_is_not_moved_under_it() {
    let (repository, writer) = repository();
    repository.branch("deploy", "main");
    let work = tempfile::tempdir().unwrap();
    let linked = repository.path().join("worktrees/work");
    std::fs::create_dir_all(&linked).unwrap();
    std::fs::write(work.path().join(".git"), format!("gitdir: {}\n", linked.display())).unwrap();
    std::fs::write(linked.join("gitdir"), format!("{}\n", work.path().join(".git").display())).unwrap();
    std::fs::write(linked.join("commondir"), "../..\n").unwrap();
    std::fs::write(linked.join("HEAD"), "ref: refs/heads/deploy\n").unwrap();
    let update = image_tag("env/dev/values.yaml");
    let error = write(&writer, &promotion("dev.1", "v2"), &update.clone().branch("deploy"), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("checked out"), "{error}");
    assert!(write(&writer, &promotion("dev.1", "v2"), &update.clone(), false).await.unwrap().changed);
    // Through the work tree it is the same repository.
    let writer = GitWriter::new(Remote::new(work.path().to_str().unwrap()).unwrap());
    let error = write(&writer, &promotion("dev.2", "v3"), &update.clone().branch("deploy"), false).await.unwrap_err();
    assert!(error.message().contains("checked out"), "{error}");
    // Once the work tree is gone it is in nobody's way.
    drop(work);
    let writer = GitWriter::new(Remote::new(repository.url()).unwrap());
    assert!(write(&writer, &promotion("dev.3", "v4"), &update.branch("deploy"), false).await.unwrap().changed);
}

#[tokio::test]
async fn a_repository_in_a_format_that_is_not_known_is_left_alone() {
    let (repository, writer) = repository();
    let config = repository.path().join("config");
    let write = || async { write(&writer, &promotion("dev.1", "v2"), &image_tag("env/dev/values.yaml"), false).await };
    for (extension, named) in [("refStorage = reftable", "refstorage"), ("somethingNew = true", "somethingnew")] {
        let text = format!("[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\t{extension}\n");
        std::fs::write(&config, text).unwrap();
        let error = write().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().to_lowercase().contains(named), "{error}");
    }
    let text = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\trefStorage = files\n\tobjectFormat = sha1\n";
    std::fs::write(&config, text).unwrap();
    assert!(write().await.unwrap().changed);
}

#[tokio::test]
async fn packed_refs_and_packed_objects_are_read() {
    let (repository, writer) = repository();
    let head = repository.head("main");
    std::fs::write(
        repository.path().join("packed-refs"),
        format!("# pack-refs with: peeled fully-peeled sorted \n{head} refs/heads/main\n"),
    )
    .unwrap();
    std::fs::remove_file(repository.path().join("refs/heads/main")).unwrap();
    write(&writer, &promotion("dev.1", "v2"), &image_tag("env/dev/values.yaml"), false).await.unwrap();
    assert_eq!(repository.log("main").len(), 2);
}

#[tokio::test]
async fn a_ref_lock_that_a_killed_writer_left_does_not_stop_the_next() {
    let (repository, writer) = repository();
    // What a process that is killed between locking the ref and moving it leaves behind.
    let unborn = "5".repeat(40);
    std::fs::write(repository.path().join("kargo-update"), format!("{unborn} refs/heads/main\n")).unwrap();
    std::fs::write(repository.path().join("refs/heads/main.lock"), format!("{unborn}\n")).unwrap();
    let began = std::time::Instant::now();
    write(&writer, &promotion("dev.1", "v2"), &image_tag("env/dev/values.yaml"), true).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(repository.log("main").len(), 2);
}

#[tokio::test]
async fn the_lock_of_a_living_program_is_waited_for() {
    let (repository, writer) = repository();
    let lock = repository.path().join("refs/heads/main.lock");
    std::fs::write(&lock, "").unwrap();
    let program = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::fs::remove_file(lock).unwrap();
    });
    write(&writer, &promotion("dev.1", "v2"), &image_tag("env/dev/values.yaml"), false).await.unwrap();
    assert!(program.is_finished(), "the lock was not broken");
    program.await.unwrap();
}

#[tokio::test]
async fn a_call_that_was_dropped_does_not_move_the_branch_afterwards() {
    let (repository, writer) = repository();
    let lock = repository.path().join("refs/heads/main.lock");
    std::fs::write(&lock, "").unwrap();
    let (promotion, update) = (promotion("dev.1", "v2"), image_tag("env/dev/values.yaml"));
    let call = write(&writer, &promotion, &update, false);
    assert!(tokio::time::timeout(Duration::from_millis(500), call).await.is_err(), "it waits for the lock");
    std::fs::remove_file(lock).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(repository.log("main").len(), 1);
    write(&writer, &promotion, &update, true).await.unwrap();
    assert_eq!(repository.log("main").len(), 2);
}

#[tokio::test]
async fn a_repository_whose_history_is_cut_off_is_written_to() {
    let (repository, writer) = repository();
    let start = repository.head("main");
    let boundary = repository.commit("main", &[("README.md", "Hello again\n")], "All there is");
    std::fs::write(repository.path().join("shallow"), format!("{boundary}\n")).unwrap();
    std::fs::remove_file(repository.path().join("objects").join(&start[..2]).join(&start[2..])).unwrap();
    let soon = Timestamp::now() + Duration::from_secs(2);
    let update = image_tag("env/dev/values.yaml");
    let first = write_at(&writer, &promotion("dev.1", "v2"), &update, soon, true).await.unwrap();
    assert!(first.changed);
    assert_eq!(write_at(&writer, &promotion("dev.1", "v2"), &update, soon, true).await.unwrap(), first);
    // What began before all there is may have been cut off with the rest.
    let error = write(&writer, &promotion("dev.0", "v1"), &update, true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("history") && error.message().contains("dev.0/step-1"), "{error}");
}
