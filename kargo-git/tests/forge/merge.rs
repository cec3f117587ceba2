//! `git-merge-pr`.

use std::time::Duration;

use kargo_core::plugin::Step as _;
use kargo_core::{ErrorKind, Retry};
use kargo_git::testing::forge::Fault;
use kargo_git::{MergePullRequest, Provider};
use serde_json::json;

use crate::bench::{ALL, Bench, assert_failed, assert_skipped, assert_waits, outputs};

#[tokio::test]
async fn it_merges_and_says_by_which_commit() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        let outcome = bench.merge(1).await.unwrap();
        assert_eq!(outputs(&outcome)["commit"], bench.fake.tip("main").as_str(), "{provider}");
        assert_eq!(bench.fake.read("main", "tag").as_deref(), Some("v2"), "{provider}");
        assert_eq!(bench.states(), ["merged"], "{provider}");
    }
}

#[tokio::test]
async fn every_way_to_merge_is_one_that_the_provider_takes() {
    for provider in ALL {
        for method in provider.merge_methods() {
            let bench = Bench::with_open(provider).await;
            let outcome = bench.merge_with(json!({"prNumber": 1, "mergeMethod": method}), None).await.unwrap();
            assert_eq!(outputs(&outcome)["commit"], bench.fake.tip("main").as_str(), "{provider} {method}");
        }
        let bench = Bench::with_open(provider).await;
        let before = bench.fake.requests().len();
        let error = bench.merge_with(json!({"prNumber": 1, "mergeMethod": "octopus"}), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{provider}");
        assert!(error.message().contains(provider.merge_methods()[0]), "{error}");
        assert_eq!(bench.fake.requests().len(), before, "{provider}");
    }
}

#[tokio::test]
async fn git_26_one_that_is_merged_is_a_success() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        let commit = bench.fake.merge(1);
        bench.fake.delete_branch("promote");
        let outcome = bench.merge(1).await.unwrap();
        assert_eq!(outputs(&outcome)["commit"], commit.as_str(), "{provider}");
    }
}

#[tokio::test]
async fn git_26_a_merge_whose_answer_was_lost_is_not_made_twice() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        // The one after it has read how things are; at the Data Center those are three questions.
        let reads = if provider == Provider::BitbucketDataCenter { 3 } else { 1 };
        bench.fake.fault_after(reads, Fault::LoseAnswer);
        let error = bench.merge(1).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Backoff, "{provider}: {error}");
        let tip = bench.fake.tip("main");
        assert_eq!(bench.states(), ["merged"], "{provider}");
        let outcome = bench.merge(1).await.unwrap();
        assert_eq!(outputs(&outcome)["commit"], tip.as_str(), "{provider}");
        assert_eq!(bench.fake.tip("main"), tip, "{provider}");
    }
}

#[tokio::test]
async fn git_26_one_that_somebody_merges_at_the_same_time_is_a_success() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        let reads = if provider == Provider::BitbucketDataCenter { 3 } else { 1 };
        bench.fake.fault_after(reads, Fault::MergedFirst(1));
        let outcome = bench.merge(1).await.unwrap();
        assert_eq!(outputs(&outcome)["commit"], bench.fake.tip("main").as_str(), "{provider}");
        let tries = bench
            .fake
            .requests()
            .into_iter()
            .filter(|request| request.ends_with("/merge") || request.starts_with("PATCH"));
        assert!(tries.count() >= 1, "{provider}: it was really too late");
    }
}

#[tokio::test]
async fn conflicts_and_closed_ones_fail_whatever_is_waited_for() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        bench.fake.commit("main", &[("tag", "v1-fixed")], "By hand");
        let config = json!({"prNumber": 1, "wait": true});
        match provider {
            // It does not tell a conflict from not having looked yet.
            Provider::Gitea => {
                drop(assert_waits(bench.merge_with(config.clone(), None).await.unwrap(), "whether it can be merged"))
            }
            _ => assert_failed(&bench.merge_with(config.clone(), None).await.unwrap(), "conflict"),
        }
        bench.fake.close(1);
        assert_failed(&bench.merge_with(config, None).await.unwrap(), "closed without being merged");
        assert_eq!(bench.fake.read("main", "tag").as_deref(), Some("v1-fixed"), "{provider}");
    }
}

#[tokio::test]
async fn what_is_not_ready_fails_or_is_waited_for() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        let waiting = json!({"prNumber": 1, "wait": true, "pollInterval": "15s"});
        bench.fake.set_draft(1, true);
        assert_failed(&bench.merge(1).await.unwrap(), "not set to wait");
        assert_waits(bench.merge_with(waiting.clone(), None).await.unwrap(), "draft");
        bench.fake.set_draft(1, false);
        bench.fake.require(Some("build"));
        assert_failed(&bench.merge(1).await.unwrap(), "not set to wait");
        let words = match provider {
            Provider::GitHub => "what its target branch requires (build is expected.)",
            Provider::GitLab => "its pipeline",
            Provider::Gitea => "checks successful: build",
            Provider::BitbucketCloud => "2 failed merge checks: build",
            Provider::BitbucketDataCenter => "its merge checks (build)",
            _ => "policies are not met (build)",
        };
        assert_waits(bench.merge_with(waiting.clone(), None).await.unwrap(), words);
        assert_eq!(bench.states(), ["open"], "{provider}");
        bench.fake.require(None);
        outputs(&bench.merge_with(waiting, None).await.unwrap());
    }
}

#[tokio::test]
async fn a_forge_that_has_not_looked_yet_is_waited_for_a_short_time_in_any_case() {
    for provider in [Provider::GitLab, Provider::Gitea, Provider::Azure] {
        let mut bench = Bench::new(provider).await;
        bench.fake.check_slowly(4);
        bench.open().await.unwrap();
        let state = assert_waits(bench.merge(1).await.unwrap(), "whether it can be merged").unwrap();
        // How long the step is at it does not count: it may have waited for people.
        bench.started_at -= Duration::from_secs(3600);
        let call = async |state| bench.merge_with(json!({"prNumber": 1}), state).await.unwrap();
        let again = assert_waits(call(Some(&state)).await, "whether it can be merged");
        assert_eq!(again.as_ref(), Some(&state), "{provider}");
        // Two minutes from when that was first seen it counts as no.
        let seen: jiff::Timestamp = state["checkingSince"].as_str().unwrap().parse().unwrap();
        let earlier = json!({"checkingSince": (seen - Duration::from_secs(121)).to_string()});
        assert_failed(&call(Some(&earlier)).await, "not set to wait");
        outputs(&call(Some(&earlier)).await);
    }
    // Asked to merge, GitHub looks.
    let bench = Bench::new(Provider::GitHub).await;
    bench.fake.check_slowly(3);
    bench.open().await.unwrap();
    outputs(&bench.merge(1).await.unwrap());
}

#[tokio::test]
async fn a_merge_behind_the_answer_is_waited_for() {
    for provider in [Provider::GitLab, Provider::BitbucketCloud, Provider::Azure] {
        let bench = Bench::with_open(provider).await;
        bench.fake.merge_slowly(2);
        let mut state = assert_waits(bench.merge(1).await.unwrap(), "is merging");
        let commit = loop {
            match bench.merge_with(json!({"prNumber": 1}), state.as_ref()).await.unwrap() {
                outcome @ kargo_core::plugin::StepOutcome::Running { .. } => state = assert_waits(outcome, "merg"),
                outcome => break outputs(&outcome)["commit"].clone(),
            }
        };
        assert_eq!(commit, bench.fake.tip("main").as_str(), "{provider}");
        let merges = bench.fake.requests().into_iter().filter(|request| {
            request.starts_with("PUT")
                || request.starts_with("PATCH")
                || (request.starts_with("POST") && request.ends_with("/merge"))
        });
        if provider == Provider::BitbucketCloud {
            assert_eq!(merges.count(), 1, "what it has begun is followed");
        }
    }
}

#[tokio::test]
async fn a_merge_behind_the_answer_may_take_longer_than_a_check() {
    for provider in [Provider::GitLab, Provider::BitbucketCloud, Provider::Azure] {
        let mut bench = Bench::with_open(provider).await;
        bench.fake.merge_slowly(5);
        let state = assert_waits(bench.merge(1).await.unwrap(), "is merging");
        bench.started_at -= Duration::from_secs(600);
        let again = bench.merge_with(json!({"prNumber": 1}), state.as_ref()).await.unwrap();
        assert_eq!(assert_waits(again, "is merging"), state, "{provider}");
    }
}

#[tokio::test]
async fn a_merge_behind_the_answer_is_found_without_what_was_remembered() {
    for provider in [Provider::GitLab, Provider::BitbucketCloud, Provider::Azure] {
        let bench = Bench::with_open(provider).await;
        bench.fake.merge_slowly(1);
        assert_waits(bench.merge(1).await.unwrap(), "is merging");
        let mut looks = 0;
        while !matches!(bench.merge(1).await.unwrap(), kargo_core::plugin::StepOutcome::Succeeded { .. }) {
            looks += 1;
            assert!(looks < 10, "{provider}");
        }
        assert_eq!(bench.states(), ["merged"], "{provider}");
    }
}

#[tokio::test]
async fn a_way_to_merge_that_the_repository_does_not_allow_is_said() {
    for (provider, method) in [
        (Provider::GitHub, "squash"),
        (Provider::Gitea, "squash"),
        (Provider::BitbucketCloud, "squash"),
        (Provider::BitbucketDataCenter, "squash"),
        (Provider::Azure, "squash"),
    ] {
        let bench = Bench::with_open(provider).await;
        bench.fake.forbid_method(method);
        let outcome = bench.merge_with(json!({"prNumber": 1, "mergeMethod": method}), None).await.unwrap();
        let words = match provider {
            Provider::Azure => "does not allow the merge strategy squash",
            Provider::BitbucketDataCenter => "not enabled",
            _ => "not allowed",
        };
        assert_failed(&outcome, words);
    }
}

#[tokio::test]
async fn trouble_on_the_way_is_tried_again() {
    for provider in ALL {
        for (fault, kind) in
            [(Fault::Status(502), ErrorKind::Unavailable), (Fault::RateLimited { seconds: 5 }, ErrorKind::RateLimited)]
        {
            for ahead in 0..2 {
                let bench = Bench::with_open(provider).await;
                bench.fake.fault_after(ahead, fault.clone());
                let error = bench.merge(1).await.unwrap_err();
                assert_eq!(error.kind(), kind, "{provider} {ahead}");
                assert_ne!(error.retry(), Retry::Never, "{provider} {ahead}");
                outputs(&bench.merge(1).await.unwrap());
            }
        }
    }
}

#[tokio::test]
async fn on_abort_it_is_closed_and_without_a_pull_request_there_is_nothing_to_do() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        let step = MergePullRequest::new(bench.forges.clone());
        bench.abort(&step, &bench.config(json!({"prNumber": 1}))).await.unwrap();
        assert_eq!(bench.states(), ["closed"], "{provider}");
        let outcome = bench.merge_with(json!({"prNumber": null}), None).await.unwrap();
        assert_skipped(&outcome, "no pull request");
    }
}

#[tokio::test]
async fn a_configuration_is_checked_when_the_pipeline_is_put_together() {
    let bench = Bench::new(Provider::GitHub).await;
    let step = MergePullRequest::new(bench.forges.clone());
    let check = |more| step.validate(&bench.config(more));
    let error = check(json!({"prNumber": 1, "mergeMethod": "fast-forward-only"})).unwrap_err();
    assert!(error.message().contains("merge, squash, rebase"), "{error}");
    check(json!({"prNumber": 1, "mergeMethod": "${{ vars.method }}", "wait": "${{ vars.wait }}"})).unwrap();
    check(json!({"repoURL": "https://git.example/a/b", "provider": "${{ vars.provider }}", "prNumber": 1})).unwrap();
    let open = json!({"repoURL": "${{ vars.repo }}", "prNumber": 1, "provider": "gitlab", "mergeMethod": "rebase"});
    assert!(step.validate(&open).unwrap_err().message().contains("merge, squash"));
}
