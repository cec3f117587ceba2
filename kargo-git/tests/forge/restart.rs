//! Killed between any two requests, and started again.

use kargo_core::plugin::StepOutcome;
use kargo_git::testing::forge::Fault;
use serde_json::json;

use crate::bench::{ALL, Bench, number, outputs};

/// Opens and merges as an engine would whose process dies at each fault: nothing but the steps' outputs outlives it.
async fn promote(bench: &Bench) -> u32 {
    let mut deaths = 0;
    let mut again = |result: kargo_core::Result<StepOutcome>| match result {
        Ok(outcome @ StepOutcome::Succeeded { .. }) => Some(outcome),
        Ok(StepOutcome::Running { .. }) => None,
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            deaths += 1;
            assert!(deaths < 4, "{error}");
            None
        }
    };
    let mut config = bench.branches();
    config["labels"] = json!(["bot"]);
    let opened = loop {
        if let Some(outcome) = again(bench.open_with(&config).await) {
            break number(&outcome);
        }
    };
    loop {
        if let Some(outcome) = again(bench.merge_with(json!({"prNumber": opened, "wait": true}), None).await) {
            assert_eq!(outputs(&outcome)["commit"], bench.fake.tip("main").as_str());
            break;
        }
    }
    loop {
        if again(bench.wait(opened).await).is_some() {
            return deaths;
        }
    }
}

#[tokio::test]
async fn git_09_git_26_there_is_one_pull_request_and_one_merge_wherever_it_dies() {
    for provider in ALL {
        let calm = Bench::new(provider).await;
        assert_eq!(promote(&calm).await, 0, "{provider}");
        let requests = calm.fake.requests();
        let changes = requests.iter().filter(|request| !request.starts_with("GET")).count();
        assert!(changes >= 2, "{provider}: {requests:?}");
        for (at, request) in requests.iter().enumerate() {
            for fault in [Fault::LoseAnswer, Fault::Status(503)] {
                let bench = Bench::new(provider).await;
                bench.fake.fault_after(at, fault.clone());
                assert_eq!(promote(&bench).await, 1, "{provider}: {fault:?} at {}", request);
                let pulls = bench.fake.pull_requests();
                assert_eq!(pulls.len(), 1, "{provider}: {fault:?} at {}", request);
                assert_eq!(pulls[0].state, "merged", "{provider}: {fault:?} at {}", request);
                assert_eq!(pulls[0].merge_commit.as_deref(), Some(bench.fake.tip("main").as_str()), "{provider}");
                assert_eq!(
                    pulls[0].labels,
                    calm.fake.pull_requests()[0].labels,
                    "{provider}: {fault:?} at {}",
                    request
                );
            }
        }
    }
}

#[tokio::test]
async fn git_09_a_process_that_is_killed_while_it_waits_for_an_answer_does_nothing_twice() {
    for provider in ALL {
        let calm = Bench::new(provider).await;
        calm.open().await.unwrap();
        let to_open = calm.fake.requests().len();
        calm.merge(1).await.unwrap();
        let to_merge = calm.fake.requests().len() - to_open;
        for at in 0..to_open {
            let bench = Bench::new(provider).await;
            bench.fake.fault_after(at, Fault::Hang);
            tokio::select! {
                () = bench.fake.hung() => {}
                outcome = bench.open() => panic!("{provider} {at}: {outcome:?}"),
            }
            assert_eq!(number(&bench.open().await.unwrap()), 1, "{provider} {at}");
            assert_eq!(bench.states(), ["open"], "{provider} {at}");
        }
        for at in 0..to_merge {
            let bench = Bench::with_open(provider).await;
            bench.fake.fault_after(at, Fault::Hang);
            tokio::select! {
                () = bench.fake.hung() => {}
                outcome = bench.merge(1) => panic!("{provider} {at}: {outcome:?}"),
            }
            let merged_before = bench.fake.pull_requests()[0].merge_commit.clone();
            outputs(&bench.merge(1).await.unwrap());
            let merged = bench.fake.pull_requests()[0].merge_commit.clone();
            assert_eq!(merged.as_deref(), Some(bench.fake.tip("main").as_str()), "{provider} {at}");
            // Where the merge itself had got through, nothing was merged again.
            assert!(merged_before.is_none() || merged_before == merged, "{provider} {at}");
        }
    }
}

#[tokio::test]
async fn git_09_many_that_open_the_same_at_once_share_one() {
    for provider in ALL {
        let bench = Bench::new(provider).await;
        let all = futures::future::join_all((0..4).map(|_| bench.open())).await;
        for outcome in all {
            assert_eq!(number(&outcome.unwrap()), 1, "{provider}");
        }
        assert_eq!(bench.fake.pull_requests().len(), 1, "{provider}");
        // They really were at once: more than one had seen none.
        let tries = bench.fake.requests().into_iter().filter(|request| request.starts_with("POST"));
        assert!(tries.count() > 1, "{provider}");
    }
}
