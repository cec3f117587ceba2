//! Signed commits, which stock git verifies.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kargo_core::{ErrorKind, Retry};
use kargo_git::testing::{BareRepository, KeyRing};
use kargo_git::{GitWriter, Remote, Signer, Timeouts};
use kargo_tests::git;

use crate::server::*;

/// What `git verify-commit` says of the tip of main.
fn verified(repository: &BareRepository, settings: &[&str], gpg_home: &Path) -> (bool, String) {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository.path()).args(settings).args(["verify-commit", "-v", "main"]);
    let output = command.env("GNUPGHOME", gpg_home).env("LC_ALL", "C").output().unwrap();
    (output.status.success(), String::from_utf8([output.stderr, output.stdout].concat()).unwrap())
}

pub(crate) fn verified_by_ssh(server: &Server, repository: &BareRepository, key: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let allowed = directory.path().join("allowed");
    std::fs::write(&allowed, format!("kargo@localhost {}", server.key(&format!("{key}.pub")))).unwrap();
    let allowed = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    verified(repository, &["-c", "gpg.format=ssh", "-c", &allowed], directory.path())
}

#[tokio::test]
async fn a_commit_that_is_signed_by_an_ssh_key_is_verified_by_git() {
    let server = Server::find();
    let (sha1, sha256) = (server.repository("signed"), start_sha256(&server.root, "git-ssh-signed-sha256"));
    for (name, repository) in [sha1, sha256] {
        let writer = server.writer(&name).sign(Signer::ssh(server.key("user")).unwrap());
        let written = write(&writer, "dev.1", "v2", PATH, false).await.unwrap();
        assert_eq!(git(repository.path(), &["rev-parse", "main"]), written.revision.as_str());
        let (good, said) = verified_by_ssh(&server, &repository, "user");
        assert!(good && said.contains("Good \"git\" signature for kargo@localhost"), "{said}");
        let (good, said) = verified_by_ssh(&server, &repository, "stranger");
        assert!(!good, "a stranger's key is believed: {said}");
        fsck(&repository);
    }
}

#[tokio::test]
async fn a_step_that_is_run_again_makes_the_very_same_commit_with_its_signature() {
    let server = Server::find();
    let (_, repository) = server.repository("same-signature");
    let directory = tempfile::tempdir().unwrap();
    git(directory.path(), &["clone", "-q", "--bare", repository.path().to_str().unwrap(), "copy.git"]);
    let copy = BareRepository::open(directory.path().join("copy.git"));
    let mut commits = Vec::new();
    for repository in [&repository, &copy] {
        let writer = GitWriter::new(Remote::new(repository.url()).unwrap());
        let writer = writer.sign(Signer::ssh(server.key("user")).unwrap());
        commits.push(write(&writer, "dev.1", "v2", PATH, false).await.unwrap().revision);
    }
    assert_eq!(commits[0], commits[1]);
    assert!(verified_by_ssh(&server, &copy, "user").0);
}

#[tokio::test]
async fn a_commit_that_is_signed_by_gpg_is_verified_by_git_and_there_is_one_of_it() {
    let server = Server::find();
    let (name, repository) = server.repository("gpg");
    let ring = KeyRing::new("Kargo <kargo@localhost>");
    let signer = Signer::gpg("kargo@localhost", Some(ring.path())).unwrap();
    let writer = server.writer(&name).sign(signer);
    // The server dies after the branch has moved, and its answer with it.
    let marker = repository.path().join("killed");
    hook(
        &repository,
        "post-receive",
        &format!("cat >/dev/null\n[ -e {0} ] || {{ touch {0}; kill -KILL $PPID; }}", marker.display()),
    );
    let written = write(&writer, "dev.1", "v2", PATH, false).await.unwrap();
    assert!(marker.exists());
    assert_eq!(repository.head("main"), written.revision.as_str());
    let (good, said) = verified(&repository, &[], ring.path());
    assert!(good && said.contains("Good signature from \"Kargo <kargo@localhost>\""), "{said}");
    // After a crash, at another time, which a signature would have in it.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(write(&writer, "dev.1", "v2", PATH, true).await.unwrap(), written);
    assert_eq!(repository.log("main").len(), 2);
    fsck(&repository);
}

#[tokio::test]
async fn a_push_that_lands_late_and_one_with_another_signature_are_not_two_commits() {
    let server = Server::find();
    let (name, repository) = server.repository("gpg-late");
    let ring = KeyRing::new("Kargo <kargo@localhost>");
    let signer = Signer::gpg("kargo@localhost", Some(ring.path())).unwrap();
    // The first push is given up while the server is still at it; the second one is signed a second or more later.
    hook(&repository, "pre-receive", "sleep 3");
    let timeouts = Timeouts { read: Duration::from_secs(1), ..Timeouts::default() };
    let writer = GitWriter::new(server.remote(&name).timeouts(timeouts).build().unwrap()).sign(signer);
    let written = write_until_written(&writer, "dev.1", "v2", PATH).await;
    // Until the last of the pushes must be over.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(repository.head("main"), written.revision.as_str());
    assert_eq!(repository.log("main").len(), 2);
    assert!(verified(&repository, &[], ring.path()).0);
}

#[tokio::test]
async fn when_gpg_does_not_sign_nothing_is_pushed() {
    let server = Server::find();
    let (name, repository) = server.repository("no-gpg-key");
    let ring = KeyRing::new("Somebody <somebody@localhost>");
    let signer = Signer::gpg("kargo@localhost", Some(ring.path())).unwrap();
    let error = write(&server.writer(&name).sign(signer), "dev.1", "v2", PATH, false).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{error}");
    assert!(error.message().contains("No secret key"), "gpg's own words are missing: {error}");
    assert_eq!(repository.log("main").len(), 1);
}
