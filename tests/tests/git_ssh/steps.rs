//! Kargo's steps for Git over ssh.

use kargo_core::plugin::Plugins;
use kargo_git::testing::StepByStep;
use kargo_git::{Credentials, GitSource, GitSteps, Signer};
use kargo_tests::git;
use kargo_tests::pushing::{
    a_forced_push_keeps_to_its_lease, a_killed_server_has_one_commit, the_deadline_of_a_call_ends_a_push,
};
use serde_json::json;

use crate::server::*;
use crate::signing::verified_by_ssh;

fn access(server: &Server, url: &str) -> GitSource {
    GitSource::new().credentials(url, Credentials::ssh_key(server.key("user"))).known_hosts(server.known_by("host"))
}

#[tokio::test]
async fn git_21_git_22_a_forced_push_keeps_to_its_lease() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-lease");
    let url = format!("{}/{name}", server.url);
    a_forced_push_keeps_to_its_lease(&repository, &url, &access(&server, &url)).await;
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_midst_of_a_push_has_one_commit() {
    let server = Server::find();
    for when in ["pre-receive", "post-receive"] {
        let (name, repository) = server.repository(&format!("steps-killed-{when}"));
        let url = format!("{}/{name}", server.url);
        a_killed_server_has_one_commit(&repository, &url, &access(&server, &url), when).await;
    }
}

#[tokio::test]
async fn the_deadline_of_a_call_ends_a_push_and_leaves_no_process() {
    let server = Server::find();
    let (name, repository) = server.repository("steps-deadline");
    let url = format!("{}/{name}", server.url);
    // One that others share stays for a while.
    let access = access(&server, &url).separate_ssh_connections();
    the_deadline_of_a_call_ends_a_push(&repository, &url, &access).await;
    assert_eq!(ssh_processes(&name), 0, "an ssh is still there");
}

#[tokio::test]
async fn branches_are_checked_out_changed_and_pushed_as_over_http() {
    let server = Server::find();
    for (base, any) in [(&server.url, "true"), (&server.old, "true"), (&server.old, "false")] {
        let (name, repository) = server.repository("steps");
        configure(&repository, "uploadpack.allowAnySHA1InWant", any);
        repository.branch("env/dev", "main");
        repository.commit("env/dev", &[("old.yaml", "old\n")], "Render");
        let url = format!("{base}/{name}");
        let steps = GitSteps::new(access(&server, &url)).sign(Signer::ssh(server.key("user")).unwrap());
        let mut promotion = StepByStep::new("dev.1", steps.register(Plugins::builder()).build());
        let checkout = json!([{"path": "src", "branch": "main"}, {"path": "out", "branch": "env/dev"}]);
        promotion.run("git-clone", json!({"repoURL": url, "checkout": checkout})).await;
        promotion.run("git-clear", json!({"path": "out"})).await;
        promotion.workspace().copy(&promotion.context(0), "src", "out", None).await.unwrap();
        let text = promotion.read(&format!("out/{PATH}")).await.unwrap();
        promotion.write(&format!("out/{PATH}"), &text.replace("v1", "v2")).await;
        promotion.run("git-commit", json!({"path": "out", "message": "Render"})).await;
        // Somebody else is quicker.
        repository.commit("env/dev", &[("theirs", "1")], "Theirs");
        let outputs = promotion.run("git-push", json!({"path": "out"})).await;
        assert_eq!(json!(git(repository.path(), &["rev-parse", "env/dev"])), outputs["commit"]);
        let files = git(repository.path(), &["ls-tree", "-r", "--name-only", "env/dev"]);
        assert_eq!(files.lines().collect::<Vec<_>>(), ["README.md", PATH, "env/prod/values.yaml", "theirs"]);
        assert_eq!(repository.read("env/dev", PATH), VALUES.replace("v1", "v2"), "{base}, {any}");
        git(repository.path(), &["update-ref", "refs/heads/main", "refs/heads/env/dev"]);
        let (good, said) = verified_by_ssh(&server, &repository, "user");
        assert!(good, "{said}");
        fsck(&repository);
    }
}
