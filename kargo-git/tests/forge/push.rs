//! `github-push`, on a fake of GitHub over a real repository.

use kargo_core::plugin::{Plugins, StepOutcome};
use kargo_core::{Error, ErrorKind, Retry};
use kargo_git::testing::forge::{FakeForge, Fault};
use kargo_git::testing::{BareRepository, DoneStep, LoggedCommit, StepByStep};
use kargo_git::{CredentialRules, GitHubPush, GitSource, GitSteps, Provider};
use serde_json::{Value, json};

/// A repository at GitHub with one file, and the steps on it.
struct World {
    fake: FakeForge,
    repository: BareRepository,
}

impl World {
    async fn new() -> Self {
        let fake = FakeForge::start(Provider::GitHub).await;
        let repository = BareRepository::new();
        repository.commit("main", &[("dev.yaml", "tag: v1\n"), ("prod.yaml", "tag: v0\n")], "Start");
        fake.serve_repository(&repository);
        Self { fake, repository }
    }

    fn steps(&self) -> GitSteps {
        let access = GitSource::new().credentials(&self.fake.url(), self.fake.credentials());
        GitSteps::new(access).committer("Kargo", "kargo@acme.example")
    }

    fn plugins(&self, attribute_all: bool) -> Plugins {
        let push = GitHubPush::new(self.steps(), self.fake.forges().unwrap());
        let push = if attribute_all { push.attribute_all() } else { push };
        self.steps().register(Plugins::builder()).step("github-push", push).build()
    }

    /// A promotion with one commit that is to be pushed.
    async fn promotion(&self, attribute_all: bool) -> StepByStep {
        let mut promotion = StepByStep::new("dev.1", self.plugins(attribute_all));
        promotion.run("git-clone", self.clone_config()).await;
        self.change(&mut promotion, "tag: v2\n").await;
        promotion
    }

    fn clone_config(&self) -> Value {
        json!({"repoURL": self.fake.url(), "checkout": [{"path": "./src", "branch": "main"}]})
    }

    async fn change(&self, promotion: &mut StepByStep, text: &str) {
        promotion.write("src/dev.yaml", text).await;
        promotion.run("git-commit", json!({"path": "src", "message": format!("Promote {}", text.trim())})).await;
    }

    fn log(&self) -> Vec<LoggedCommit> {
        self.repository.log("main")
    }

    /// No ref is left under which commits came.
    fn assert_clean(&self) {
        let packed = std::fs::read_to_string(self.repository.path().join("packed-refs")).unwrap_or_default();
        assert!(!packed.contains("kargo/staging"), "{packed}");
        let left = std::fs::read_dir(self.repository.path().join("refs/kargo/staging"));
        assert_eq!(left.map_or(0, Iterator::count), 0);
    }
}

fn push() -> Value {
    json!({"path": "src"})
}

fn generated() -> Value {
    json!({"path": "src", "generateTargetBranch": true})
}

#[tokio::test]
async fn github_makes_the_commits_again_and_signs_them() {
    let world = World::new().await;
    let mut promotion = world.promotion(true).await;
    world.change(&mut promotion, "tag: v3\n").await;
    let outputs = promotion.run("github-push", push()).await;
    let log = world.log();
    assert_eq!(log.len(), 3);
    assert_eq!((log[0].subject.as_str(), log[1].subject.as_str()), ("Promote tag: v3", "Promote tag: v2"));
    for commit in &log[..2] {
        assert!(commit.author.starts_with("kargo[bot] <"), "{}", commit.author);
        assert_eq!(commit.trailers["Co-authored-by"], "Kargo <kargo@acme.example>");
        assert_eq!(commit.trailers["Kargo-Promotion"], "dev.1");
        assert_eq!((commit.parents, commit.changed_files.as_slice()), (1, ["dev.yaml".to_owned()].as_slice()));
    }
    assert_eq!(outputs["commit"], log[0].id.as_str());
    assert_eq!(outputs["branch"], "main");
    let page = format!("{}/commit/{}", world.fake.url().trim_end_matches(".git"), log[0].id);
    assert_eq!(outputs["commitURL"], page);
    world.assert_clean();

    // The checkout stands on the commit that GitHub has made.
    world.change(&mut promotion, "tag: v4\n").await;
    promotion.run("github-push", push()).await;
    assert_eq!(world.log()[1].id, log[0].id);
    assert_eq!(world.repository.read("main", "dev.yaml"), "tag: v4\n");
    // With nothing new there is nothing to do.
    let before = world.fake.requests().len();
    promotion.run("github-push", push()).await;
    assert_eq!((world.log().len(), world.repository.read("main", "prod.yaml")), (4, "tag: v0\n".to_owned()));
    assert!(!world.fake.requests()[before..].iter().any(|request| request.contains("/git/commits")));
}

#[tokio::test]
async fn commits_without_a_signature_keep_their_author() {
    let world = World::new().await;
    let mut promotion = world.promotion(false).await;
    promotion.run("github-push", push()).await;
    let commit = &world.log()[0];
    assert_eq!(commit.author, "Kargo <kargo@acme.example>");
    assert_eq!(commit.time, promotion.started_at());
    assert!(!commit.trailers.contains_key("Co-authored-by"));
    world.assert_clean();
}

#[tokio::test]
async fn what_others_have_pushed_meanwhile_stays() {
    let world = World::new().await;
    let mut promotion = world.promotion(true).await;
    let theirs = world.repository.commit("main", &[("prod.yaml", "tag: v1\n")], "By hand");
    promotion.run("github-push", push()).await;
    let log = world.log();
    assert_eq!((log.len(), log[1].id.as_str()), (3, theirs.as_str()));
    assert_eq!(world.repository.read("main", "dev.yaml"), "tag: v2\n");
    world.assert_clean();

    let mut promotion = StepByStep::new("dev.2", world.plugins(true));
    promotion.run("git-clone", world.clone_config()).await;
    world.change(&mut promotion, "tag: v3\n").await;
    world.repository.commit("main", &[("dev.yaml", "tag: other\n")], "By hand");
    let why = promotion.fails("github-push", push()).await;
    assert!(why.contains("dev.yaml (line 1)"), "{why}");
    world.assert_clean();
}

#[tokio::test]
async fn a_branch_of_the_promotion_is_made_and_moved() {
    let world = World::new().await;
    let mut promotion = world.promotion(true).await;
    let outputs = promotion.run("github-push", generated()).await;
    assert_eq!(outputs["branch"], "kargo/promotion/dev.1");
    assert_eq!(world.repository.log("kargo/promotion/dev.1").len(), 2);
    assert_eq!(world.log().len(), 1, "main stays");
    world.change(&mut promotion, "tag: v3\n").await;
    promotion.run("github-push", generated()).await;
    assert_eq!(world.repository.read("kargo/promotion/dev.1", "dev.yaml"), "tag: v3\n");
    world.assert_clean();
}

/// Brings back what a step did.
async fn restore(done: &DoneStep, again: &StepByStep) {
    again.call(done.number, &done.uses, &done.config, true, Some(&done.outputs)).await.unwrap();
}

/// Brings back what the steps before the push did.
async fn restore_commit(promotion: &StepByStep, again: &StepByStep) {
    restore(&promotion.done()[0], again).await;
    again.write("src/dev.yaml", "tag: v2\n").await;
    restore(&promotion.done()[1], again).await;
}

/// Whatever call's answer is lost, and whoever goes on from there: each commit is there once, and nothing is left over.
#[tokio::test]
async fn a_restart_between_any_two_calls_is_safe() {
    for (config, branch) in [(push(), "main"), (generated(), "kargo/promotion/dev.1")] {
        let mut struck = 0;
        for at in 0.. {
            let world = World::new().await;
            let promotion = world.promotion(true).await;
            let before = world.fake.requests().len();
            world.fake.fault_after(at, Fault::LoseAnswer);
            let first = promotion.call(3, "github-push", &config, false, None).await;
            if world.fake.requests().len() - before <= at {
                // It has made all of its calls.
                break;
            }
            struck += 1;
            if let Err(error) = &first {
                assert_ne!(error.retry(), Retry::Never, "call {at}: {error}");
            }
            // The process has died: another one brings back what the steps before did, and calls this one again.
            let again = promotion.restarted();
            restore_commit(&promotion, &again).await;
            let outcome = again.call(3, "github-push", &config, true, None).await;
            let Ok(StepOutcome::Succeeded { outputs, .. }) = outcome else { panic!("call {at}: {outcome:?}") };
            let log = world.repository.log(branch);
            assert_eq!(log.len(), 2, "call {at}: {:?}", log.iter().map(|commit| &commit.subject).collect::<Vec<_>>());
            assert_eq!(outputs["commit"], log[0].id.as_str(), "call {at}");
            // A branch that was made, or moved, is not moved once more.
            let moves = world.fake.requests().into_iter().filter(|request| {
                *request == "POST /api/v3/repos/acme/shop/git/refs"
                    || request.contains("/git/refs/heads/") && !request.starts_with("GET")
            });
            assert_eq!(moves.count(), 1, "call {at}: {:?}", world.fake.requests());
            world.assert_clean();
        }
        assert!(struck >= 8, "{branch}: only {struck} calls were made");
    }
}

#[tokio::test]
async fn what_is_not_committed_stays_after_a_restart_as_it_did_before() {
    let world = World::new().await;
    let mut promotion = world.promotion(true).await;
    promotion.write("src/other.yaml", "not: committed\n").await;
    promotion.run("github-push", push()).await;
    assert_eq!(promotion.read("src/other.yaml").await.as_deref(), Some("not: committed\n"));
    let again = promotion.restarted();
    restore_commit(&promotion, &again).await;
    again.write("src/other.yaml", "not: committed\n").await;
    restore(&promotion.done()[2], &again).await;
    assert_eq!(again.read("src/other.yaml").await.as_deref(), Some("not: committed\n"));
}

#[tokio::test]
async fn a_ref_that_cannot_be_removed_is_left_behind_and_the_push_is_done() {
    let calm = World::new().await;
    let promotion = calm.promotion(true).await;
    let before = calm.fake.requests().len();
    promotion.call(3, "github-push", &push(), false, None).await.unwrap();
    let last = calm.fake.requests().len() - before - 1;

    let world = World::new().await;
    let promotion = world.promotion(true).await;
    world.fake.fault_after(last, Fault::Status(403));
    let outcome = promotion.call(3, "github-push", &push(), false, None).await.unwrap();
    assert!(matches!(outcome, StepOutcome::Succeeded { .. }), "{outcome:?}");
    assert!(world.fake.requests().pop().unwrap().starts_with("DELETE"), "{:?}", world.fake.requests());
    assert_eq!(world.log().len(), 2);
}

#[tokio::test]
async fn a_tag_of_the_commit_that_github_made_anew_is_not_pushed() {
    let world = World::new().await;
    let mut promotion = world.promotion(true).await;
    promotion.run("git-tag", json!({"path": "src", "tag": "v2", "message": "Release"})).await;
    promotion.run("github-push", push()).await;
    let why = promotion.fails("git-push", json!({"path": "src", "tag": "v2"})).await;
    assert!(why.contains("put git-tag behind the push"), "{why}");
    let outputs = promotion.run("git-tag", json!({"path": "src", "tag": "v3", "message": "Release"})).await;
    promotion.run("git-push", json!({"path": "src", "tag": "v3"})).await;
    assert_eq!(outputs["commit"], world.log()[0].id.as_str());
}

#[tokio::test]
async fn git_push_puts_out_the_commits_page_when_the_provider_is_known() {
    let world = World::new().await;
    let url = world.fake.url();
    let base = url.trim_end_matches(".git");
    for (n, (provider, page)) in
        [(None, None), (Some(""), None), (Some("github"), Some("/commit/")), (Some("gitlab"), Some("/-/commit/"))]
            .into_iter()
            .enumerate()
    {
        let mut promotion = StepByStep::new(&format!("dev.{n}"), world.plugins(false));
        promotion.run("git-clone", world.clone_config()).await;
        world.change(&mut promotion, &format!("tag: w{n}\n")).await;
        let mut config = generated();
        config.as_object_mut().unwrap().extend(provider.map(|provider| ("provider".to_owned(), json!(provider))));
        let outputs = promotion.run("git-push", config).await;
        let branch = format!("kargo/promotion/dev.{n}");
        let commit = world.repository.head(&branch);
        let mut expected = json!({"branch": branch, "commit": commit});
        if let Some(page) = page {
            expected["commitURL"] = format!("{base}{page}{commit}").into();
        }
        assert_eq!(json!(outputs), expected, "{provider:?}");
    }
}

#[tokio::test]
async fn what_github_does_not_take_is_told() {
    // More than ten commits.
    let world = World::new().await;
    let mut promotion = world.promotion(true).await;
    for n in 0..10 {
        world.change(&mut promotion, &format!("tag: w{n}\n")).await;
    }
    let why = promotion.fails("github-push", push()).await;
    assert!(why.contains("has 11 commits, and at most 10"), "{why}");

    // A rule against it, and no token.
    let world = World::new().await;
    world.fake.protect_branch("main");
    let promotion = world.promotion(true).await;
    let error: Error = promotion.call(3, "github-push", &push(), false, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("Repository rule violations found"), "{error}");
    assert_eq!(world.log().len(), 1);

    let forges = world.fake.forges_with(CredentialRules::new()).unwrap();
    let push_step = GitHubPush::new(world.steps(), forges);
    let plugins = world.steps().register(Plugins::builder()).step("github-push", push_step).build();
    let mut promotion = StepByStep::new("dev.3", plugins);
    promotion.run("git-clone", world.clone_config()).await;
    world.change(&mut promotion, "tag: v2\n").await;
    let why = promotion.fails("github-push", push()).await;
    assert!(why.contains("there is no token for the API"), "{why}");

    // A repository that is not at GitHub, and fields that there are not.
    let plugins = world.plugins(true);
    let step = plugins.step("github-push").unwrap();
    for (config, part) in [
        (json!({"path": "src", "tag": "v1"}), "unknown field `tag`"),
        (json!({"path": "src", "targetBranch": "a", "generateTargetBranch": true}), "takes one of"),
        (json!({"path": "src", "maxAttempts": 0}), "maxAttempts"),
    ] {
        let error = step.validate(&config).unwrap_err();
        assert!(error.to_string().contains(part), "{part:?} is not in {error}");
    }
}
