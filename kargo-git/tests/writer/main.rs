//! Writing to a repository on this machine.
#![allow(missing_docs, clippy::unwrap_used)]

mod disk;

use std::time::Duration;

use jiff::Timestamp;
use kargo_core::plugin::{Context, History, Relation, WriteRequest, Writer, Written};
use kargo_core::{Actor, Artifact, ErrorKind, Freight, Image, Pick, PromotionInfo, Result, Retry};
use kargo_git::testing::BareRepository;
use kargo_git::{GitWriter, Remote, YamlUpdate};

const VALUES: &str =
    "# The shop's values.\nimage:\n  repository: ghcr.io/acme/app\n  tag: \"v1\" # set by Kargo\nreplicas: 2\n";

fn promotion(id: &str, tag: &str) -> PromotionInfo {
    let image = Image {
        repo_url: "ghcr.io/acme/app".into(),
        tag: tag.into(),
        digest: format!("sha256:{}", "0".repeat(64)),
        annotations: Default::default(),
        created_at: None,
        subscription_name: None,
    };
    let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let freight = Freight::new("main", vec![Artifact::Image(image)], at);
    PromotionInfo::new("shop", id, "dev", freight, Actor::user("alice"), at)
}

fn started() -> Timestamp {
    "2026-01-02T03:04:06.789Z".parse().unwrap()
}

fn image_tag(path: &str) -> YamlUpdate {
    YamlUpdate::new(path).set("image.tag", Pick::ImageTag("ghcr.io/acme/app".into()))
}

fn context(key: &str) -> Context {
    Context::new(std::sync::Arc::new(kargo_core::SystemClock), Actor::user("alice"), key)
}

async fn write(writer: &GitWriter, promotion: &PromotionInfo, update: &YamlUpdate, resumed: bool) -> Result<Written> {
    write_at(writer, promotion, update, started(), resumed).await
}

async fn write_at(
    writer: &GitWriter,
    promotion: &PromotionInfo,
    update: &YamlUpdate,
    started: Timestamp,
    resumed: bool,
) -> Result<Written> {
    let config = serde_json::to_value(update).unwrap();
    let cx = context(&format!("{}/step-1", promotion.id));
    writer.write(&cx, &WriteRequest::new(promotion, &config, started).resumed(resumed)).await
}

fn repository() -> (BareRepository, GitWriter) {
    let repository = BareRepository::new();
    repository.commit("main", &[("env/dev/values.yaml", VALUES), ("README.md", "Hello\n")], "Start");
    let writer = GitWriter::new(Remote::new(repository.url()).unwrap());
    (repository, writer)
}

#[tokio::test]
async fn a_promotion_is_one_commit_of_one_line_with_its_trailers() {
    let (repository, writer) = repository();
    let promotion = promotion("dev.1", "v2");
    let written = write(&writer, &promotion, &image_tag("env/dev/values.yaml"), false).await.unwrap();
    assert!(written.changed);
    assert_eq!(written.outputs["commit"], written.revision.as_str());
    assert_eq!(written.outputs["branch"], "main");
    assert_eq!(repository.read("main", "env/dev/values.yaml"), VALUES.replace("v1", "v2"));
    let log = repository.log("main");
    assert_eq!(log.len(), 2);
    assert_eq!(log[0].id, written.revision.as_str());
    assert_eq!(log[0].changed_files, ["env/dev/values.yaml"]);
    assert_eq!(log[0].subject, format!("Promote v2 ({}) to dev", promotion.freight.id().short()));
    assert_eq!(log[0].author, "Kargo <kargo@localhost>");
    assert_eq!(log[0].time.to_string(), "2026-01-02T03:04:06Z");
    let trailer = |key: &str| log[0].trailers[key].as_str();
    assert_eq!(trailer("Kargo-Promotion"), "dev.1");
    assert_eq!(trailer("Kargo-Freight"), promotion.freight.id().as_str());
    assert_eq!(trailer("Kargo-Stage"), "dev");
    assert_eq!(trailer("Kargo-Actor"), "user:alice");
    assert_eq!(trailer("Kargo-Key"), "dev.1/step-1");
}

#[tokio::test]
async fn git_07_when_nothing_changes_there_is_no_commit() {
    let (repository, writer) = repository();
    let before = repository.head("main");
    let written = write(&writer, &promotion("dev.1", "v1"), &image_tag("env/dev/values.yaml"), false).await.unwrap();
    assert!(!written.changed);
    assert_eq!(written.revision.as_str(), before);
    assert_eq!(repository.log("main").len(), 1);
}

#[tokio::test]
async fn a_step_that_is_run_again_finds_its_commit_under_those_of_others() {
    let (repository, writer) = repository();
    let update = image_tag("env/dev/values.yaml");
    let first = write(&writer, &promotion("dev.1", "v2"), &update, false).await.unwrap();
    let again = write(&writer, &promotion("dev.1", "v2"), &update, true).await.unwrap();
    assert_eq!(again, first);
    for n in 0..40 {
        repository.commit("main", &[("README.md", &format!("Edit {n}\n"))], &format!("Edit {n}"));
    }
    // Somebody else has set another value since; ours is in the past, and is not written a second time.
    write(&writer, &promotion("dev.2", "v3"), &update, false).await.unwrap();
    let again = write(&writer, &promotion("dev.1", "v2"), &update, true).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(repository.log("main").len(), 43);
    assert!(repository.read("main", "env/dev/values.yaml").contains("v3"));
}

#[tokio::test]
async fn a_commit_is_found_under_one_whose_committer_has_a_wrong_clock() {
    let (repository, writer) = repository();
    let update = image_tag("env/dev/values.yaml");
    let first = write(&writer, &promotion("dev.1", "v2"), &update, false).await.unwrap();
    // A machine that has lost its time.
    let long_ago: Timestamp = "2001-01-01T00:00:00Z".parse().unwrap();
    for n in 2..6 {
        let promotion = promotion(&format!("dev.{n}"), &format!("v{}", n + 1));
        write_at(&writer, &promotion, &update, long_ago, false).await.unwrap();
    }
    assert_eq!(write(&writer, &promotion("dev.1", "v2"), &update, true).await.unwrap(), first);
    assert!(repository.read("main", "env/dev/values.yaml").contains("v6"), "nothing is taken back");
    let cx = context("relate");
    let tip = repository.head("main");
    let relation = writer.remote().relate(&cx, &tip.as_str().into(), &first.revision).await.unwrap();
    assert_eq!(relation, Relation::Later);
}

#[tokio::test]
async fn after_a_reset_of_the_branch_the_step_writes_again_and_after_a_revert_it_does_not() {
    let (repository, writer) = repository();
    let update = image_tag("env/dev/values.yaml");
    let before = repository.head("main");
    let first = write(&writer, &promotion("dev.1", "v2"), &update, false).await.unwrap();
    std::fs::write(repository.path().join("refs/heads/main"), format!("{before}\n")).unwrap();
    let again = write(&writer, &promotion("dev.1", "v2"), &update, true).await.unwrap();
    assert_eq!(again, first, "on the same parent it is the same commit");
    let message = format!("Revert \"Promote v2 to dev\"\n\nThis reverts commit {}.", first.revision.as_str());
    repository.commit("main", &[("env/dev/values.yaml", VALUES)], &message);
    let again = write(&writer, &promotion("dev.1", "v2"), &update, true).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(repository.read("main", "env/dev/values.yaml"), VALUES, "what a person took back stays so");
}

#[tokio::test]
async fn a_call_that_comes_late_looks_whether_another_process_did_the_step() {
    let (repository, writer) = repository();
    let update = image_tag("env/dev/values.yaml");
    let first = write(&writer, &promotion("dev.1", "v2"), &update, false).await.unwrap();
    write(&writer, &promotion("dev.2", "v3"), &update, false).await.unwrap();
    // Stalled since before the other process began, and not resumed as far as it knows.
    assert_eq!(write(&writer, &promotion("dev.1", "v2"), &update, false).await.unwrap(), first);
    assert!(repository.read("main", "env/dev/values.yaml").contains("v3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_at_work_on_the_same_step_make_one_commit() {
    let (repository, _) = repository();
    let mut writers = Vec::new();
    for n in 0..6 {
        let link = repository.path().parent().unwrap().join(format!("link{n}"));
        copy_link(repository.path(), &link);
        writers.push(GitWriter::new(Remote::new(link.to_str().unwrap()).unwrap()));
    }
    for round in 0..10 {
        // On time, so that nothing but the race itself makes them look.
        let started = Timestamp::now();
        let tasks = writers.iter().cloned().map(|writer| {
            tokio::spawn(async move {
                let promotion = promotion(&format!("dev.{round}"), &format!("v2.{round}"));
                let config = serde_json::to_value(image_tag("env/dev/values.yaml")).unwrap();
                let cx = context(&format!("{}/step-1", promotion.id));
                writer.write(&cx, &WriteRequest::new(&promotion, &config, started)).await.unwrap()
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap().revision.as_str(), repository.head("main"));
        }
        assert_eq!(repository.log("main").len(), round + 2);
    }
}

#[tokio::test]
async fn a_step_whose_first_try_did_not_get_through_writes_when_it_is_run_again() {
    let (repository, writer) = repository();
    let written = write(&writer, &promotion("dev.1", "v2"), &image_tag("env/dev/values.yaml"), true).await.unwrap();
    assert!(written.changed);
    assert_eq!(repository.head("main"), written.revision.as_str());
}

#[tokio::test]
async fn the_same_step_makes_the_same_commit_in_another_copy_of_the_repository() {
    let (repository, writer) = repository();
    let copy = tempfile::tempdir().unwrap();
    copy_directory(repository.path(), copy.path());
    let other = GitWriter::new(Remote::new(copy.path().to_str().unwrap()).unwrap());
    let update = image_tag("env/dev/values.yaml");
    let one = write(&writer, &promotion("dev.1", "v2"), &update, false).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let two = write(&other, &promotion("dev.1", "v2"), &update, false).await.unwrap();
    assert_eq!(one, two, "times come from the journal, not from the clock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn git_03_writers_of_many_processes_to_one_branch_lose_nothing() {
    let repository = BareRepository::new();
    let files: Vec<String> = (0..8).map(|n| format!("env/s{n}/values.yaml")).collect();
    let contents: Vec<(&str, &str)> = files.iter().map(|path| (path.as_str(), VALUES)).collect();
    repository.commit("main", &contents, "Start");
    let mut tasks = Vec::new();
    for (n, path) in files.iter().cloned().enumerate() {
        // Different paths of one repository are different remotes to the lock of this process, as other processes would be.
        let link = repository.path().parent().unwrap().join(format!("link{n}"));
        copy_link(repository.path(), &link);
        let writer = GitWriter::new(Remote::new(link.to_str().unwrap()).unwrap());
        tasks.push(tokio::spawn(async move {
            for m in 0..5 {
                let promotion = promotion(&format!("s{n}.{m}"), &format!("v{n}.{m}"));
                assert!(write(&writer, &promotion, &image_tag(&path), false).await.unwrap().changed);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let log = repository.log("main");
    assert_eq!(log.len(), 41);
    assert!(log[..40].iter().all(|commit| commit.parents == 1 && commit.changed_files.len() == 1));
    for (n, path) in files.iter().enumerate() {
        assert!(repository.read("main", path).contains(&format!("v{n}.4")));
    }
}

#[tokio::test]
async fn git_03_of_somebody_who_is_quicker_only_another_value_in_the_same_place_is_a_conflict() {
    let path = "env/dev/values.yaml";
    for (theirs, conflict) in [
        (VALUES.replace("v1", "v3"), Some("image.tag")),
        (format!("# New.\n{}", VALUES.replace("v1", "v3")), Some("image.tag")),
        // The same value is there already, the next line is nobody's, and what else is in the file stays.
        (VALUES.replace("v1", "v2"), None),
        (VALUES.replace("replicas: 2", "replicas: 3"), None),
        (format!("# New.\n{VALUES}more: 1\n"), None),
    ] {
        let (repository, writer) = repository();
        repository.branch("other", "main");
        let other = repository.commit("other", &[(path, &theirs)], "Theirs");
        // The step has read the branch and waits for its lock, while somebody else moves it.
        let lock = repository.path().join("refs/heads/main.lock");
        std::fs::write(&lock, "").unwrap();
        let step = tokio::spawn(async move {
            write_at(&writer, &promotion("dev.1", "v2"), &image_tag(path), Timestamp::now(), false).await
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::fs::write(repository.path().join("refs/heads/main"), format!("{other}\n")).unwrap();
        std::fs::remove_file(lock).unwrap();
        let outcome = step.await.unwrap();
        match conflict {
            Some(line) => {
                let error = outcome.unwrap_err();
                assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Never));
                assert!([path, line, &other].iter().all(|part| error.message().contains(part)), "{error}");
                assert_eq!(repository.head("main"), other);
            }
            None => {
                outcome.unwrap();
                assert_eq!(repository.read("main", path), theirs.replace("v1", "v2"));
                assert!(repository.log("main").iter().any(|commit| commit.id == other), "theirs is not lost");
            }
        }
    }
}

#[tokio::test]
async fn a_missing_branch_is_named_with_the_one_that_was_meant() {
    let (_repository, writer) = repository();
    let error = write(&writer, &promotion("p", "v2"), &image_tag("env/dev/values.yaml").branch("mian"), false)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.retry(), Retry::Never);
    assert!(error.message().contains("no branch mian; did you mean main?"), "{error}");
}

#[tokio::test]
async fn a_missing_file_is_named_with_the_one_that_was_meant() {
    let (_repository, writer) = repository();
    for (path, near) in [("env/dev/value.yaml", "env/dev/values.yaml"), ("evn/dev/values.yaml", "did you mean env?")] {
        let error = write(&writer, &promotion("p", "v2"), &image_tag(path), false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains(path) && error.message().contains(near), "{error}");
    }
    let error = write(&writer, &promotion("p", "v2"), &image_tag("env/dev"), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("a directory"), "{error}");
}

#[tokio::test]
async fn a_missing_key_is_named_with_file_and_branch() {
    let (repository, writer) = repository();
    let update = YamlUpdate::new("env/dev/values.yaml").set("image.tga", "v2");
    let error = write(&writer, &promotion("p", "v2"), &update, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    for part in ["image.tga", "env/dev/values.yaml", "main"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(repository.log("main").len(), 1);
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_named() {
    let writer = GitWriter::new(Remote::new("/nowhere/config.git").unwrap());
    let error = write(&writer, &promotion("p", "v2"), &image_tag("a.yaml"), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("/nowhere/config.git"), "{error}");
}

#[tokio::test]
async fn paths_with_spaces_and_letters_of_any_language_are_written() {
    let (repository, writer) = repository();
    let path = "umgebung für/übung 1/wert e.yaml";
    repository.commit("main", &[(path, "\u{feff}image:\r\n  tag: v1\r\n")], "Add");
    write(&writer, &promotion("dev.1", "v2"), &image_tag(path), false).await.unwrap();
    assert_eq!(repository.read("main", path), "\u{feff}image:\r\n  tag: v2\r\n");
}

#[tokio::test]
async fn two_commits_are_related_by_their_history() {
    let (repository, writer) = repository();
    let remote = writer.remote();
    let cx = context("relate");
    let a = repository.head("main");
    repository.branch("side", "main");
    let b = repository.commit("main", &[("README.md", "b\n")], "b");
    let c = repository.commit("side", &[("README.md", "c\n")], "c");
    let unknown = "7".repeat(40);
    for (observed, wanted, relation) in [
        (&a, &a, Relation::Same),
        (&b, &a, Relation::Later),
        (&a, &b, Relation::Earlier),
        (&b, &c, Relation::Diverged),
        (&unknown, &a, Relation::Unknown),
        (&"v1.0".to_owned(), &a, Relation::Unknown),
    ] {
        let found = remote.relate(&cx, &observed.as_str().into(), &wanted.as_str().into()).await.unwrap();
        assert_eq!(found, relation, "{observed} {wanted}");
    }
    let gone = Remote::new("/nowhere/config.git").unwrap();
    assert!(gone.relate(&cx, &a.as_str().into(), &b.as_str().into()).await.is_err(), "could not find out");
}

#[tokio::test]
async fn a_file_of_a_branch_is_read() {
    let (repository, writer) = repository();
    let cx = context("read");
    assert_eq!(writer.remote().tip(&cx, "main").await.unwrap().as_str(), repository.head("main"));
    let read = |path: &'static str| writer.remote().read(&cx, "main", path);
    assert_eq!(read("README.md").await.unwrap().as_deref(), Some(b"Hello\n".as_slice()));
    assert_eq!(read("nothing/here").await.unwrap(), None);
    assert_eq!(read("../x").await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A second repository directory that shares refs and objects with the first, as seen through a bind mount.
fn copy_link(repository: &std::path::Path, link: &std::path::Path) {
    std::fs::create_dir(link).unwrap();
    for entry in std::fs::read_dir(repository).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), link.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn yaml_06_a_missing_key_is_made_on_request() {
    let (repository, writer) = repository();
    let promotion = promotion("dev.1", "v2");
    let digest = YamlUpdate::new("env/dev/values.yaml").set("image.digest", "sha256:0a");
    let error = write(&writer, &promotion, &digest, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("\"digest\"") && error.message().contains("does not exist"), "{error}");
    write(&writer, &promotion, &digest.create(), false).await.unwrap();
    let after = VALUES.replace("# set by Kargo\n", "# set by Kargo\n  digest: sha256:0a\n");
    assert_eq!(repository.read("main", "env/dev/values.yaml"), after);
}
