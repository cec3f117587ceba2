//! Kargo's steps for Git over ssh.

use kargo_core::plugin::Plugins;
use kargo_git::testing::StepByStep;
use kargo_git::{Credentials, GitSource, GitSteps, Signer};
use kargo_tests::git;
use serde_json::json;

use crate::server::*;
use crate::signing::verified_by_ssh;

#[tokio::test]
async fn branches_are_checked_out_changed_and_pushed_as_over_http() {
    let server = Server::find();
    for (base, any) in [(&server.url, "true"), (&server.old, "true"), (&server.old, "false")] {
        let (name, repository) = server.repository("steps");
        configure(&repository, "uploadpack.allowAnySHA1InWant", any);
        repository.branch("env/dev", "main");
        repository.commit("env/dev", &[("old.yaml", "old\n")], "Render");
        let url = format!("{base}/{name}");
        let access = GitSource::new()
            .credentials(&url, Credentials::ssh_key(server.key("user")))
            .known_hosts(server.known_by("host"));
        let steps = GitSteps::new(access).sign(Signer::ssh(server.key("user")).unwrap());
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
