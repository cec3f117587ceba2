//! `git-wait-for-pr`.

use std::time::Duration;

use kargo_core::plugin::{Step as _, StepOutcome};
use kargo_core::{ErrorKind, Retry};
use kargo_git::testing::forge::Fault;
use kargo_git::{Provider, WaitForPullRequest};
use serde_json::json;

use crate::bench::{ALL, Bench, assert_failed, assert_skipped, assert_waits, outputs, promotion};

#[tokio::test]
async fn git_27_it_is_asked_once_a_look_and_ends_at_the_look_after_the_merge() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        // Where the state of checks is a question of its own, that is one more.
        let requests_of_a_look = if provider == Provider::BitbucketDataCenter { 2 } else { 1 };
        for _ in 0..3 {
            let before = bench.fake.requests().len();
            let outcome = bench.wait(1).await.unwrap();
            let StepOutcome::Running { check_after, .. } = &outcome else { panic!("{outcome:?}") };
            assert_eq!(*check_after, Duration::from_secs(30), "{provider}");
            assert_eq!(bench.fake.requests().len() - before, requests_of_a_look, "{provider}");
        }
        let commit = bench.fake.merge(1);
        let outcome = bench.wait(1).await.unwrap();
        let outputs = outputs(&outcome);
        assert_eq!(outputs["commit"], commit.as_str(), "{provider}");
        assert_eq!(
            (&outputs["pr"]["id"], &outputs["pr"]["open"], &outputs["pr"]["merged"]),
            (&json!(1), &json!(false), &json!(true))
        );
    }
}

#[tokio::test]
async fn it_says_what_is_missing() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        assert_waits(bench.wait(1).await.unwrap(), "somebody to merge it");
        bench.fake.set_draft(1, true);
        assert_waits(bench.wait(1).await.unwrap(), "draft");
        bench.fake.set_draft(1, false);
        bench.fake.require(Some("build"));
        match provider {
            Provider::GitLab => assert_waits(bench.wait(1).await.unwrap(), "its pipeline"),
            Provider::BitbucketDataCenter => assert_waits(bench.wait(1).await.unwrap(), "its merge checks (build)"),
            Provider::GitHub => assert_waits(bench.wait(1).await.unwrap(), "the checks and reviews"),
            Provider::Azure => assert_waits(bench.wait(1).await.unwrap(), "the approval of build"),
            // The others tell only whoever tries to merge.
            _ => assert_waits(bench.wait(1).await.unwrap(), "somebody to merge it"),
        };
    }
}

#[tokio::test]
async fn a_conflict_is_said_and_waited_for() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        bench.fake.commit("main", &[("tag", "v1-fixed")], "By hand");
        match provider {
            Provider::BitbucketCloud => assert_waits(bench.wait(1).await.unwrap(), "somebody to merge it"),
            Provider::Gitea => assert_waits(bench.wait(1).await.unwrap(), "whether it can be merged"),
            _ => assert_waits(bench.wait(1).await.unwrap(), "conflict"),
        };
    }
}

#[tokio::test]
async fn one_that_is_closed_fails_the_step() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        bench.fake.close(1);
        assert_failed(&bench.wait(1).await.unwrap(), "closed without being merged");
    }
}

#[tokio::test]
async fn core_26_a_gateway_that_times_out_once_ends_nothing() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        bench.fake.fault_after(0, Fault::Status(504));
        let error = bench.wait(1).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Backoff), "{provider}");
        bench.fake.merge(1);
        outputs(&bench.wait(1).await.unwrap());
    }
}

#[tokio::test]
async fn git_27_a_rate_limit_is_waited_out_as_the_server_asks() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        bench.fake.fault_after(0, Fault::RateLimited { seconds: 90 });
        let error = bench.wait(1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited, "{provider}");
        let Retry::After(pause) = error.retry() else { panic!("{provider}: {:?}", error.retry()) };
        assert!((85..=91).contains(&pause.as_secs()), "{provider}: {pause:?}");
    }
}

#[tokio::test]
async fn git_08_without_a_pull_request_there_is_nothing_to_wait_for() {
    let bench = Bench::new(Provider::GitLab).await;
    let step = WaitForPullRequest::new(bench.forges.clone());
    let config = bench.config(json!({"prNumber": null}));
    assert_skipped(&bench.run(&step, &config, None).await.unwrap(), "no pull request");
    bench.abort(&step, &config).await.unwrap();
    let error = bench.run(&step, &bench.config(json!({})), None).await.unwrap_err();
    assert!(error.message().contains("prNumber"), "{error}");
}

#[tokio::test]
async fn one_that_is_not_there_is_an_error_that_stays() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let error = bench.wait(42).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Never), "{provider}");
    }
}

#[tokio::test]
async fn on_abort_it_is_closed_if_this_promotion_opened_it() {
    for provider in ALL {
        let mut bench = Bench::with_open(provider).await;
        let step = WaitForPullRequest::new(bench.forges.clone());
        let config = bench.config(json!({"prNumber": 1}));
        bench.promotion = promotion("prod.11");
        bench.abort(&step, &config).await.unwrap();
        assert_eq!(bench.states(), ["open"], "{provider}: it is another promotion's");
        bench.promotion = promotion("prod.1");
        bench.abort(&step, &config).await.unwrap();
        assert_eq!(bench.states(), ["closed"], "{provider}");
        bench.abort(&step, &config).await.unwrap();
    }
}

#[tokio::test]
async fn on_abort_one_that_is_merged_meanwhile_stays_merged() {
    for provider in ALL {
        let bench = Bench::with_open(provider).await;
        let step = WaitForPullRequest::new(bench.forges.clone());
        bench.fake.merge(1);
        bench.abort(&step, &bench.config(json!({"prNumber": 1}))).await.unwrap();
        assert_eq!(bench.states(), ["merged"], "{provider}");
    }
}

#[tokio::test]
async fn a_configuration_is_checked_when_the_pipeline_is_put_together() {
    let bench = Bench::new(Provider::GitHub).await;
    let step = WaitForPullRequest::new(bench.forges.clone());
    for (config, words) in [
        (json!({"prNumber": 0}), "prNumber"),
        (json!({"prNumber": "seven"}), "seven"),
        (json!({"prNumber": 1, "pollInterval": "soon"}), "soon"),
        (json!({"prNumber": 1, "pollInterval": "10ms"}), "10ms"),
        (json!({"prNumber": 1, "interval": "10s"}), "interval"),
    ] {
        let error = step.validate(&bench.config(config)).unwrap_err();
        assert!(error.message().contains(words), "{error}");
    }
    step.validate(&bench.config(json!({"prNumber": "${{ outputs['open-pr'].pr.id }}", "pollInterval": "1m30s"})))
        .unwrap();
    step.validate(&bench.config(json!({"prNumber": "7"}))).unwrap();
}
