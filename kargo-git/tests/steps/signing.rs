//! Signed commits: with keys that stand in the steps, and by gpg, which has the time in what it signs.

use std::process::Command;
use std::time::Duration;

use kargo_core::ErrorKind;
use kargo_core::plugin::StepOutcome;
use kargo_git::Signer;
use kargo_git::testing::{BareRepository, DoneStep, KeyRing, StepByStep};
use serde_json::{Value, json};

use crate::promotion::*;

fn signed_by(ring: &KeyRing) -> Promotion {
    Promotion::with("dev.1", steps().sign(Signer::gpg("kargo@acme.example", Some(ring.path())).unwrap()))
}

/// Runs the steps that a promotion has done again on the workspace of `again`, as after a restart.
async fn restore(promotion: &StepByStep, again: &StepByStep) {
    for DoneStep { number, uses, config, outputs, .. } in promotion.done() {
        if uses == "git-commit" {
            again.write("src/a", "1").await;
        }
        again.call(*number, uses, config, true, Some(outputs)).await.unwrap();
    }
}

fn git(repository: &BareRepository, ring: &KeyRing, arguments: &[&str]) -> (bool, String) {
    let mut git = Command::new("git");
    git.arg("-C").arg(repository.path()).args(arguments).env("GNUPGHOME", ring.path()).env("LC_ALL", "C");
    let output = git.output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[tokio::test]
async fn git_04_what_gpg_has_signed_and_nobody_has_pushed_is_the_same_after_a_restart() {
    let (repository, ring) = (start(), KeyRing::new("Kargo <kargo@acme.example>"));
    let mut promotion = signed_by(&ring);
    let checkout = json!([
        {"path": "src", "branch": "env/new", "create": true},
        {"path": "other", "branch": "env/other", "create": true},
    ]);
    let first = promotion.run("git-clone", json!({"repoURL": repository.url(), "checkout": checkout})).await;
    promotion.write("src/a", "1").await;
    let commit = promotion.commit("Signed").await;
    promotion.run("git-tag", json!({"path": "src", "tag": "v1", "message": "Release"})).await;
    assert_eq!(first["commits"]["src"], first["commits"]["other"]);

    // Signed at another time it would be another commit.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let again = promotion.restarted();
    restore(&promotion, &again).await;
    for (number, config) in
        [(4, json!({"path": "src"})), (5, json!({"path": "src", "tag": "v1"})), (6, json!({"path": "other"}))]
    {
        let outcome = again.call(number, "git-push", &config, false, None).await.unwrap();
        assert!(matches!(outcome, StepOutcome::Succeeded { .. }), "{outcome:?}");
    }
    let log = repository.log("env/new");
    assert_eq!(
        (log.len(), log[0].id.as_str(), json!(log[1].id)),
        (2, commit.as_str(), first["commits"]["src"].clone())
    );
    assert_eq!(json!(repository.head("env/other")), first["commits"]["other"]);
    for id in [log[0].id.as_str(), log[1].id.as_str()] {
        let (good, said) = git(&repository, &ring, &["verify-commit", "-v", id]);
        assert!(good && said.contains("Good signature from \"Kargo <kargo@acme.example>\""), "{said}");
    }
    assert_eq!(git(&repository, &ring, &["rev-parse", "v1^{commit}"]).1.trim(), commit);
    assert!(git(&repository, &ring, &["fsck", "--strict"]).0);
    // The tag that was made before the restart is the one that is there.
    promotion.run("git-push", json!({"path": "src", "tag": "v1"})).await;
}

#[tokio::test]
async fn git_04_what_cannot_be_made_again_is_refused() {
    let (repository, ring) = (start(), KeyRing::new("Kargo <kargo@acme.example>"));
    let mut promotion = signed_by(&ring);
    promotion.clone(&repository, "main").await;
    promotion.write("src/a", "1").await;
    promotion.commit("Signed").await;
    let again = promotion.restarted();
    let [clone, commit] = promotion.done() else { panic!("{:?}", promotion.done()) };
    again.call(clone.number, &clone.uses, &clone.config, true, Some(&clone.outputs)).await.unwrap();
    again.write("src/a", "1").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for signature in [None, Some("-----BEGIN PGP SIGNATURE-----")] {
        let mut outputs = commit.outputs.clone();
        assert!(outputs.remove("signature").is_some_and(|signature| signature.as_str().unwrap().contains("PGP")));
        outputs.extend(signature.map(|text| ("signature".to_owned(), Value::from(text))));
        let error = again.call(commit.number, &commit.uses, &commit.config, true, Some(&outputs)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("promote again"), "{error}");
    }
    again.call(commit.number, &commit.uses, &commit.config, true, Some(&commit.outputs)).await.unwrap();
}

#[tokio::test]
async fn a_signing_key_of_the_clone_or_of_the_commit_signs_it() {
    let keys = tempfile::tempdir().unwrap();
    let mut allowed = String::new();
    let mut key = |name: &str| {
        let path = keys.path().join(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
        assert!(made.unwrap().success());
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        allowed.push_str(&format!("{name}@acme.example {public}"));
        json!({"name": name, "email": format!("{name}@acme.example"), "signingKey": std::fs::read_to_string(path).unwrap()})
    };
    let (ada, bob) = (key("ada"), key("bob"));
    std::fs::write(keys.path().join("allowed"), allowed).unwrap();
    let repository = start();
    let mut promotion = Promotion::new("dev.1");
    let checkout = json!([{"path": "src", "branch": "main"}]);
    promotion.run("git-clone", json!({"repoURL": repository.url(), "checkout": checkout, "author": ada})).await;
    promotion.write("src/a", "1").await;
    promotion.commit("By the clone's").await;
    promotion.write("src/a", "2").await;
    promotion.run("git-commit", json!({"path": "src", "message": "By the step's", "author": bob})).await;
    promotion.push().await;
    for (commit, signer) in [("main", "bob@acme.example"), ("main~1", "ada@acme.example")] {
        let file = format!("gpg.ssh.allowedSignersFile={}", keys.path().join("allowed").display());
        let mut verify = Command::new("git");
        verify.arg("-C").arg(repository.path()).args(["-c", &file, "verify-commit", "-v", commit]);
        let output = verify.env("LC_ALL", "C").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains(&format!("Good \"git\" signature for {signer}")), "{said}");
    }
}
